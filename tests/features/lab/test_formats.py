"""
Documents, images, codings, and answers that break.
"""

import gzip
import json
import struct
import zlib
from html.parser import HTMLParser
from xml.etree import ElementTree

import brotli
import pytest

from mixweb.features.lab._formats import png, zstd


@pytest.mark.parametrize(
    ("path", "name", "coding", "decompress"),
    [
        ("/gzip", "gzipped", "gzip", gzip.decompress),
        ("/deflate", "deflated", "deflate", zlib.decompress),
        ("/brotli", "brotli", "br", brotli.decompress),
        ("/zstd", "zstd", "zstd", zstd.decompress),
    ],
)
def test_codings(path, name, coding, decompress, lab):
    """The request is shown in a content coding, whatever the client accepts."""
    answer = lab.ask(f"/lab{path}", {"Accept-Encoding": "identity"})
    assert answer["Content-Encoding"] == coding
    found = json.loads(decompress(answer.body))
    assert found == {
        name: True,
        "method": "GET",
        "origin": "192.0.2.7",
        "headers": {"Accept-Encoding": "identity", "Host": "localhost"},
    }


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/html", "text/html; charset=utf-8"),
        ("/json", "application/json"),
        ("/xml", "application/xml"),
        ("/encoding/utf8", "text/html; charset=utf-8"),
        ("/forms/post", "text/html; charset=utf-8"),
        ("/robots.txt", "text/plain"),
        ("/deny", "text/plain"),
        ("/image/svg", "image/svg+xml"),
    ],
)
def test_documents(path, kind, lab):
    """Documents are what their type says."""
    answer = lab.ask(f"/lab{path}")
    assert (answer.status, answer["Content-Type"]) == (200, kind)
    if "html" in kind:
        tags = []
        parser = HTMLParser()
        parser.handle_starttag = lambda tag, attributes: tags.append(tag)
        parser.feed(answer.text)
        assert tags[:2] == ["html", "head"]
    elif "json" in kind:
        assert json.loads(answer.body)["slideshow"]["slides"]
    elif "xml" in kind:
        assert len(ElementTree.fromstring(answer.body)) == 2


@pytest.mark.parametrize(
    ("query", "status", "encoding"),
    [("", 200, "x-www-form-urlencoded"), ("?type=multipart", 200, "form-data"), ("?type=%22%3E", 400, "")],
)
def test_form(query, status, encoding, lab):
    """The form is sent to /post, in either encoding."""
    answer = lab.ask(f"/lab/forms/post{query}")
    assert answer.status == status
    if status == 200:
        assert 'action="/lab/post"' in answer.text
        assert encoding in answer.text


def test_png(lab):
    """The image is a PNG whose parts are whole."""
    answer = lab.ask("/lab/image/png")
    assert (answer["Content-Type"], answer.body) == ("image/png", png())
    kinds, rest = [], answer.body.removeprefix(b"\x89PNG\r\n\x1a\n")
    while rest:
        length, kind = struct.unpack(">I4s", rest[:8])
        assert zlib.crc32(rest[4 : 8 + length]) == struct.unpack(">I", rest[8 + length : 12 + length])[0]
        if kind == b"IDAT":
            assert len(zlib.decompress(rest[8 : 8 + length])) == 64 * (1 + 64 * 3)
        kinds.append(kind)
        rest = rest[12 + length :]
    assert kinds == [b"IHDR", b"IDAT", b"IEND"]


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, "image/png"),
        ("image/svg+xml", "image/svg+xml"),
        ("image/png", "image/png"),
        ("image/svg+xml, image/png;q=0.5", "image/svg+xml"),
        ("*/*", "image/png"),
    ],
)
def test_image(accept, kind, lab):
    """The image is of the type that the client likes best."""
    answer = lab.ask("/lab/image", {} if accept is None else {"Accept": accept})
    assert (answer["Content-Type"], answer["Vary"]) == (kind, "Accept")


def test_reset(lab):
    """No answer comes; the connection is reset."""
    exchange = lab.open("GET", "/lab/reset")
    assert exchange.transport.aborted
    assert exchange.received == b""


@pytest.mark.parametrize(
    ("path", "declared", "body"),
    [
        ("/truncate/10", 10, b"abcde"),
        ("/truncate/1", 1, b""),
        ("/wrong-length/10", 36, b"abcdefghijklmnopqrstuvwxyz"),
        ("/wrong-length/-10", 16, b"abcdefghijklmnopqrstuvwxyz"),
        ("/wrong-length/-26", 0, b"abcdefghijklmnopqrstuvwxyz"),
    ],
)
def test_lengths(path, declared, body, lab):
    """What is declared is not what is sent, and the connection is closed."""
    exchange = lab.open("GET", f"/lab{path}")
    head, _, rest = exchange.received.partition(b"\r\n\r\n")
    assert f"Content-Length: {declared}".encode() in head.split(b"\r\n")
    assert rest == body
    assert exchange.transport.disconnecting
    assert not exchange.transport.aborted


@pytest.mark.parametrize(
    "path", ["/truncate/0", "/truncate/x", "/wrong-length/-27", "/wrong-length/x", "/slow-headers/x"]
)
def test_lengths_refused(path, lab):
    """What is no number is 400, and whole."""
    exchange = lab.open("GET", f"/lab{path}")
    assert exchange.answer.status == 400
    assert len(exchange.answer.body) == int(exchange.answer["Content-Length"])


def test_slow_headers(lab):
    """The head comes line by line; the connection goes on after the answer."""
    exchange = lab.open("GET", "/lab/slow-headers/5")
    seen = []
    for _ in range(100):
        lab.clock.advance(0.05)
        seen.append(exchange.received)
    assert seen[0] == b""
    assert all(b"\r\n\r\n" not in received for received in seen[:95])
    assert all(received.endswith(b"\r\n") for received in seen[:95] if received)
    assert len(set(seen)) >= 5
    lab.clock.advance(0.1)
    assert json.loads(exchange.answer.body) == {"seconds": 5.0}
    exchange.request("GET", "/lab/uuid")
    assert [answer.status for answer in exchange.answers()] == [200, 200]
