"""
Heads of answers as files and programs write them.
"""

import pytest

from mixweb.kit.heads import parse_head


@pytest.mark.parametrize(
    ("data", "status", "reason", "fields", "body"),
    [
        (b"HTTP/1.1 418 Teapot\r\nX-A: b\r\n\r\nbody", 418, b"Teapot", [(b"X-A", b"b")], b"body"),
        (b"HTTP/1.0 404\nX-A: b\n\nbody", 404, b"Not Found", [(b"X-A", b"b")], b"body"),
        (b"HTTP/2 200 \n\n", 200, b"OK", [], b""),
        (b"Status: 201 Made\nX-A: b\nX-A: c\n\n\nbody", 201, b"Made", [(b"X-A", b"b"), (b"X-A", b"c")], b"\nbody"),
        (b"X-A: b\n\nbody", None, b"", [(b"X-A", b"b")], b"body"),
        (b"\nbody", None, b"", [], b"body"),
        (
            b"HTTP/1.1 200 OK\nContent-Length: 9\nConnection: x\nTransfer-Encoding: chunked\nDate: x\n\nb",
            200,
            b"OK",
            [(b"Content-Length", b"9")],
            b"b",
        ),
    ],
)
def test_parse_head(data, status, reason, fields, body):
    """A head has a status line or a status field or neither, and no framing of its own."""
    head = parse_head(data)
    assert (head.status, head.reason, head.fields, data[head.length :]) == (status, reason, fields, body)


@pytest.mark.parametrize(
    "data",
    [
        b"x" * 70000,
        b"HTTP/1.1 100 Go\n\n",
        b"Status: 99\n\n",
        b"X A: b\n\n",
        b"X: \x00\n\n",
    ],
)
def test_bad_heads(data):
    """What is no head is refused."""
    with pytest.raises(ValueError, match=r"\w"):
        parse_head(data)


@pytest.mark.parametrize("data", [b"", b"no head", b"HTTP/1.1 200 OK\nX-A: b", b"X-A: b\r\n\r"])
def test_unfinished(data):
    """A head without its end may still get one."""
    assert parse_head(data) is None
