"""
What is hidden from those who read along.
"""

import time

import pytest

from mixweb.kit.secrets import SECRETS, Secrets

S = b"s3cret"


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        (b"Authorization", b"Bearer s3cret", b"Bearer ***"),
        (b"authorization", b"s3cret", b"***"),
        (b"Proxy-Authorization", b"Basic s3cret", b"Basic ***"),
        (b"Cookie", b"a=s3cret; b=s3cret=x;c", b"a=***; b=***;c"),
        (b"Set-Cookie", b"a=s3cret; Path=/; Max-Age=1", b"a=***; Path=/; Max-Age=1"),
        (b"X-Api-Key", b"s3cret", b"***"),
        (b"X-CSRF-Token", b"s3cret", b"***"),
        (b"Location", b"https://u:s3cret@h/?code=s3cret&a=1", b"https://u:***@h/?code=***&a=1"),
        (b"Referer", b"/?TOKEN=s3cret", b"/?TOKEN=***"),
        (b"Sec-WebSocket-Key", b"dGhl", b"dGhl"),
        (b"Content-Type", b"text/plain", b"text/plain"),
        (b"X-Keyboard", b"qwerty", b"qwerty"),
    ],
)
def test_fields(name, value, shown):
    """Of credentials the scheme is left, of cookies their names and attributes; other fields are hidden by their names."""
    assert Secrets().field(name, value) == shown
    assert Secrets(()).field(name, value) == value


@pytest.mark.parametrize(
    ("kind", "body", "shown"),
    [
        (b"text/plain", b"password=s3cret", b"password=s3cret"),
        (b"application/x-www-form-urlencoded", b"pass%77ord=s3cret&a=1", b"pass%77ord=***&a=1"),
        (
            b"application/json",
            b'{"a": 1, "Password" : "s3\\"cret", "n": [1]}',
            b'{"a": 1, "Password" : "***", "n": [1]}',
        ),
        (b"application/json", b'{"api_key":12345,"b":true}', b'{"api_key":"***","b":true}'),
        (b"application/json", b'{"token": {"deep": 1}}', b'{"token": {"deep": 1}}'),
        (
            b"application/json",
            b'{"tokens": ["a]", 2 , "b"], "x": ["token", "y"]}',
            b'{"tokens": "***", "x": ["token", "y"]}',
        ),
        (b"application/json", b'{"tokens": ["cut', b'{"tokens": "***"'),
        (b"application/json", b'["password", {"a": "password", "b": 1}]', b'["password", {"a": "password", "b": 1}]'),
        (b"application/ld+json; charset=utf-8", b'{"secret":"cut of', b'{"secret":"***"'),
        (b"multipart/form-data", b"no boundary, password", b"no boundary, password"),
        (
            b'multipart/form-data; boundary="x y"',
            b'--x y\r\nContent-Disposition: form-data; name="token"; x=1\r\n\r\ns3\r\ncret\r\n--x y\r\n\r\nok\r\n--x y--',
            b'--x y\r\nContent-Disposition: form-data; name="token"; x=1\r\n\r\n***\r\n--x y\r\n\r\nok\r\n--x y--',
        ),
        (b"application/json", b"", b""),
    ],
)
def test_bodies(kind, body, shown):
    """Forms, JSON and multipart bodies are shown without what is named like a secret, cut off or not."""
    assert Secrets().body(kind, body) == shown
    assert Secrets(()).body(kind, body) == body


def test_own_names():
    """Other names are secret where one says so; an empty one hides nothing."""
    assert Secrets(["pin"]).target(b"/?token=1&PIN=2") == b"/?token=1&PIN=***"
    assert not Secrets([""]).hides
    assert Secrets([""]).target(b"/?token=1") == b"/?token=1"
    assert Secrets(SECRETS).is_secret(b"New-Password")


@pytest.mark.parametrize(
    "body",
    [
        b'"' * 300_000,
        b'{"a":' * 60_000,
        b'"\\' * 150_000,
        b"&=" * 150_000,
        b'"key" : ' * 40_000,
        b'"a":[' * 60_000,
        b'"\\"' * 99_999 + b"\\",
    ],
)
def test_long_bodies(body):
    """No body takes long to look through."""
    begun = time.process_time()
    for kind in (b"application/json", b"application/x-www-form-urlencoded"):
        Secrets().body(kind, body)
    assert time.process_time() - begun < 3
