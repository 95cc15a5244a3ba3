"""
Answering with what is posted.
"""

import base64
import json

import pytest
from twisted.internet.task import Clock

from mixweb.features.echo import Echo, build
from mixweb.testing import SiteAgent, make_context

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/json"}
ALL_BYTES = bytes(range(256))


def encoded(data):
    """Base64 as text."""
    return base64.b64encode(data).decode()


def document(**members):
    """A JSON object."""
    return json.dumps(members).encode()


def agent(warn=None, **settings):
    return SiteAgent(build(Echo(**settings), make_context(Clock(), **({"warn": warn} if warn else {}))))


PAGES = [
    (FORM, b"data=hello", b"hello", "text/plain"),
    (FORM, b"data=a+b%20c%2Bd", b"a b c+d", "text/plain"),
    (FORM, b"data=%00%ff%C3%A9\xff", b"\x00\xff\xc3\xa9\xff", "text/plain"),
    (FORM, b"data=a;b", b"a;b", "text/plain"),
    (FORM, b"data=", b"", "text/plain"),
    (FORM, b"data=1&data=2", b"1", "text/plain"),
    (FORM, b"x=1&&junk&%64ata=hi&type=text/html", b"hi", "text/html"),
    (FORM, b"type=text%2Fcss&data=x", b"x", "text/css"),
    (FORM, b"data=x&type=text/html; charset%3Dutf-8", b"x", "text/html"),
    (FORM, b"data=x&type=TEXT/HTML", b"x", "text/html"),
    (FORM, b"data=x&type=image/svg%2bxml", b"x", "image/svg+xml"),
    (FORM, b"data=x&type=image/webp", b"x", "image/webp"),
    (FORM, b"data=x&type=application/x-unheard-of", b"x", "text/plain"),
    (FORM, b"data=x&type=text/html%0d%0aX-Evil:1", b"x", "text/plain"),
    (FORM, b"data=x&type=%ff", b"x", "text/plain"),
    (FORM, b"data=x&type=", b"x", "text/plain"),
    ({"Content-Type": "Application/X-WWW-Form-Urlencoded; charset=UTF-8"}, b"data=x", b"x", "text/plain"),
    (JSON, document(data=encoded(b"hello")), b"hello", "text/plain"),
    (JSON, document(data=encoded(ALL_BYTES), type="image/png"), ALL_BYTES, "image/png"),
    (JSON, document(data=""), b"", "text/plain"),
    (JSON, document(data="eA==", type="text/html;charset=x", more=[1]), b"x", "text/html"),
    (JSON, document(data="eA==", type="no/such-type"), b"x", "text/plain"),
    (JSON, b'\xef\xbb\xbf{"data": "eA=="}', b"x", "text/plain"),
    ({"Content-Type": "text/json"}, document(data="eA=="), b"x", "text/plain"),
    ({"Content-Type": "application/json; charset=utf-8"}, document(data="eA=="), b"x", "text/plain"),
]


@pytest.mark.parametrize("compat", ["", "mixnmatchttp"])
@pytest.mark.parametrize(("headers", "body", "data", "kind"), PAGES)
def test_pages(headers, body, data, kind, compat):
    """The answer is the page byte for byte, with the type that was asked for where the system knows it."""
    answer = agent(compat=compat).request("POST", "/?data=not-this", headers, body)
    assert (answer.status, answer.body, answer["Content-Type"]) == (200, data, kind)
    assert answer["X-Evil"] is None


NO_DATA = 'No "data" parameter present!'
NO_PARAMETERS = "Cannot load parameters from request!"
NO_BASE64 = "Cannot Base64 decode request data!"

#: Headers, body, detail, and the status with mixnmatchttp's codes.
WRONG = [
    (FORM, b"type=text/html", NO_DATA, 400),
    (FORM, b"Data=x", NO_DATA, 400),
    (FORM, b"", NO_PARAMETERS, 400),
    (FORM, b"data", NO_PARAMETERS, 400),
    (FORM, b"&".join([b"data=x"] * 1001), "A form has at most 1000 of them.", 400),
    (JSON, b"{}", NO_DATA, 400),
    (JSON, b"", "Cannot decode JSON!", 400),
    (JSON, b"{", "Cannot decode JSON!", 400),
    (JSON, b'{"data": "eA=="', "Cannot decode JSON!", 400),
    (JSON, b'{"data": "\xff"}', "Cannot decode JSON!", 400),
    (JSON, b"[" * 100_000, "Cannot decode JSON!", 400),
    (JSON, b"[1]", "The JSON is not an object.", 400),
    (JSON, b'"data"', "The JSON is not an object.", 400),
    (JSON, b"null", "The JSON is not an object.", 400),
    (JSON, document(data=None), NO_BASE64, 400),
    (JSON, document(data=5), NO_BASE64, 400),
    (JSON, document(data=["eA=="]), NO_BASE64, 400),
    (JSON, document(data="eA"), NO_BASE64, 400),
    (JSON, document(data="é"), NO_BASE64, 400),
    (JSON, document(data="@@@"), NO_BASE64, 200),
    (JSON, document(data="eA==\n"), NO_BASE64, 200),
    (JSON, document(data="e A=="), NO_BASE64, 200),
    (JSON, document(data="eA==", type=5), 'The "type" parameter is not text.', 400),
    ({}, b"data=x", "Unknown Content-Type: none", 400),
    ({"Content-Type": "text/plain"}, b"data=x", "Unknown Content-Type: text/plain", 400),
    ({"Content-Type": "multipart/form-data; boundary=x"}, b"data=x", "Unknown Content-Type: multipart/form-data", 400),
]


@pytest.mark.parametrize("compat", ["", "mixnmatchttp"])
@pytest.mark.parametrize(("headers", "body", "detail", "loose"), WRONG)
def test_wrong(headers, body, detail, loose, compat):
    """What is no page is 400 with the reason, and the connection goes on."""
    exchange = agent(compat=compat).connect()
    exchange.request("POST", "/?data=in-the-url&type=text/html", headers, body)
    exchange.request("POST", "/", FORM, b"data=next")
    answer, following = exchange.answers()
    assert answer.status == (loose if compat else 400)
    assert following.body == b"next"
    if answer.status == 400:
        assert detail in answer.text.replace('\\"', '"')
    else:
        assert answer.body in (b"", b"x")


@pytest.mark.parametrize(("compat", "status"), [("", 200), ("mixnmatchttp", 400)])
def test_equals(compat, status):
    """A value may have an equals sign in it, where mixnmatchttp takes none."""
    answer = agent(compat=compat).request("POST", "/", FORM, b"data=a=b=")
    assert answer.status == status
    assert answer.body == b"a=b=" or status == 400


@pytest.mark.parametrize(
    ("method", "target", "compat", "status", "allow"),
    [
        ("GET", "/", "", 405, "OPTIONS, POST"),
        ("HEAD", "/", "", 405, "OPTIONS, POST"),
        ("PUT", "/", "", 405, "OPTIONS, POST"),
        ("DELETE", "/", "", 405, "OPTIONS, POST"),
        ("OPTIONS", "/", "", 204, "OPTIONS, POST"),
        ("BREW", "/", "", 501, None),
        ("GET", "/", "mixnmatchttp", 405, "OPTIONS, POST"),
        ("PUT", "/", "mixnmatchttp", 501, None),
        ("PATCH", "/", "mixnmatchttp", 501, None),
        ("DELETE", "/", "mixnmatchttp", 501, None),
        ("POST", "/more", "", 404, None),
        ("GET", "/more/parts", "", 404, None),
        ("POST", "/more", "mixnmatchttp", 404, None),
    ],
)
def test_methods(method, target, compat, status, allow):
    """Pages are posted, to the path itself."""
    answer = agent(compat=compat).request(method, target, FORM, b"data=x")
    assert (answer.status, answer["Allow"]) == (status, allow)


def test_extra_parts():
    """What is too much in a path is named, percent-encoded."""
    answer = agent().request("POST", "/a/%3cb%3E/", {**FORM, "Accept": "text/html"}, b"data=x")
    assert answer.status == 404
    assert "Extra arguments: a/%3Cb%3E." in answer.text


def test_slash():
    """A slash at the end does not matter."""
    assert agent().request("POST", "//./", FORM, b"data=x").body == b"x"


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        (FORM, b"data=" + b"x" * 100, 200),
        (FORM, b"data=" + b"%78" * 100, 200),
        (FORM, b"data=" + b"x" * 101, 413),
        (FORM, b"data=" + b"x" * 10_000, 413),
        (JSON, document(data=encoded(b"x" * 100)), 200),
        (JSON, document(data=encoded(b"x" * 101)), 413),
    ],
)
def test_too_long(headers, body, status):
    """A page that is too long is 413, and the connection goes on."""
    exchange = agent(max_bytes=100).connect()
    exchange.request("POST", "/", headers, body)
    exchange.request("POST", "/", FORM, b"data=next")
    answer, following = exchange.answers()
    assert answer.status == status
    assert answer.body == b"x" * 100 or status == 413
    assert following.body == b"next"


@pytest.mark.parametrize("data", [b"x" * 2_000_000, ALL_BYTES * 8000])
def test_long(data):
    """Long pages come back whole."""
    assert agent().request("POST", "/", JSON, document(data=encoded(data))).body == data
    form = b"data=" + b"".join(b"%%%02x" % byte for byte in data[:500_000])
    assert agent().request("POST", "/", FORM, form).body == data[:500_000]


def test_chunked():
    """The length of a body need not be known before."""
    exchange = agent().connect()
    exchange.request("POST", "/", {**FORM, "Transfer-Encoding": "chunked"}, b"5\r\ndata=\r\n3\r\nabc\r\n0\r\n\r\n")
    assert exchange.answer.body == b"abc"


def test_scripts():
    """Scripts of a page do not run, unless they are let; whoever starts the server is told so."""
    warned = []
    answer = agent(warned.append).request("POST", "/", FORM, b"data=<script>&type=text/html")
    assert (answer["Content-Security-Policy"], answer["X-Content-Type-Options"]) == ("sandbox", "nosniff")
    assert warned == []
    answer = agent(warned.append, unsafe=True).request("POST", "/", FORM, b"data=<script>&type=text/html")
    assert (answer["Content-Security-Policy"], answer["X-Content-Type-Options"]) == (None, "nosniff")
    assert warned == ["echo: unsafe = true, anybody's scripts can run as scripts of this site at /echo"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"max_bytes": 0}, "max_bytes must be at least 1"),
        ({"compat": "apache"}, "compat must be 'mixnmatchttp' or empty, not 'apache'"),
    ],
)
def test_refused(settings, said):
    """Wrong settings are told when they are made."""
    with pytest.raises(ValueError, match=said):
        Echo(**settings)
