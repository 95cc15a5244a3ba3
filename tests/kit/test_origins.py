"""
Whose pages requests come from.
"""

import pytest

from mixweb.engine.authority import parse_authority
from mixweb.kit.origins import is_foreign, is_same_origin


@pytest.mark.parametrize(
    ("origin", "host", "secure", "same"),
    [
        (b"http://a.example", b"a.example", False, True),
        (b"http://a.example:80", b"a.example", False, True),
        (b"http://a.example", b"a.example:80", False, True),
        (b"HTTP://A.Example", b"a.example", False, True),
        (b"http://a.example:8080", b"a.example:8080", False, True),
        (b"http://a.example:8080", b"a.example:8081", False, False),
        (b"http://a.example", b"a.example:8081", False, False),
        (b"http://b.example", b"a.example", False, False),
        (b"http://a.example.evil.example", b"a.example", False, False),
        (b"http://a.example@evil.example", b"a.example", False, False),
        (b"https://a.example", b"a.example", False, False),
        (b"https://a.example", b"a.example", True, True),
        (b"https://a.example:443", b"a.example", True, True),
        (b"http://a.example", b"a.example", True, False),
        (b"https://[::1]:8443", b"[0:0::1]:8443", True, True),
        (b"null", b"a.example", False, False),
        (b"", b"a.example", False, False),
        (b"http://", b"a.example", False, False),
        (b"http://a.example/", b"a.example", False, False),
        (b"file://", b"a.example", False, False),
    ],
)
def test_same_origin(origin, host, secure, same):
    """Scheme, host and port have to be the same."""
    assert is_same_origin(origin, parse_authority(host), secure) is same


def test_no_host():
    """Where no host is named no origin is that of it."""
    assert is_same_origin(b"http://a.example", None, False) is False


OWN, OTHER, FRIEND = b"http://a.example", b"http://b.example", b"https://friend.example"


@pytest.mark.parametrize(
    ("site", "origin", "referer", "foreign"),
    [
        (None, None, None, False),
        (b"same-origin", None, None, False),
        (b"none", None, None, False),
        (b"same-site", None, None, True),
        (b"cross-site", None, None, True),
        (b"unknown", None, None, True),
        (b"same-origin", OWN, None, False),
        (b"same-origin", b"https://a.example", None, False),
        (b"cross-site", OWN, None, True),
        (b"cross-site", OTHER, None, True),
        (b"cross-site", FRIEND, None, False),
        (b"cross-site", b"HTTPS://Friend.example", None, False),
        (None, OWN, None, False),
        (None, OTHER, None, True),
        (None, b"null", None, True),
        (None, FRIEND, None, False),
        (None, None, b"http://a.example/page?x", False),
        (None, None, b"http://b.example/a.example", True),
        (None, None, b"https://friend.example/", False),
        (None, OWN, b"http://b.example/", False),
        (None, OTHER, b"http://a.example/", True),
    ],
)
def test_foreign(site, origin, referer, foreign):
    """What the browser makes of it counts first, then the origin, then the page that was left; trusted ones may."""
    host = parse_authority(b"a.example")
    assert is_foreign(site, origin, referer, host, False, {FRIEND}) is foreign
