"""
What no client should send: a clear answer, no traceback, and the server goes on.
"""

import re

import pytest


def exchange(server, data):
    """Send bytes, and return all that comes back."""
    with server.connect() as connection:
        connection.sendall(data)
        received = b""
        while True:
            try:
                piece = connection.recv(65536)
            except ConnectionResetError:
                break
            if not piece:
                break
            received += piece
        return received


def get(path, fields=b"", host=b"localhost", version=b"1.1"):
    """A request that asks for its connection to be closed."""
    return b"GET %b HTTP/%b\r\nHost: %b\r\nConnection: close\r\n%b\r\n" % (path, version, host, fields)


TRAVERSALS = [
    b"/../../../../etc/passwd",
    b"/..%2f..%2f..%2fetc/passwd",
    b"/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    b"/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    b"/..%5c..%5cetc/passwd",
    b"/%c0%ae%c0%ae/%c0%ae%c0%ae/etc/passwd",
    b"/%252e%252e/etc/passwd",
    b"//etc/passwd",
    b"/./../etc/passwd",
    b"/sub/../../etc/passwd",
    b"/%u002e%u002e/etc/passwd",
    b"/sub%00/../etc/passwd",
    b"/etc/passwd",
    b"/link",
]

BAD = [
    (get(b"/%00"), 404),
    (get(b"/a%00.txt"), 404),
    (get(b"/" + b"a" * 100_000), 414),
    (get(b"/" + b"a" * 10_000), 404),
    (get(b"/" + b"a/" * 7_000), 404),
    (get(b"/big.bin", b"Range: bytes=" + b",".join(b"%d-%d" % (n, n) for n in range(10_000)) + b"\r\n"), (200, 431)),
    (get(b"/big.bin", b"Range: bytes=" + b",".join(b"0-%d" % n for n in range(2_000)) + b"\r\n"), 200),
    (get(b"/a.txt", b"Content-Length: 5\r\n") + b"hello", 200),
    (get(b"/a.txt", host=b"<script>alert(1)</script>"), 400),
    (get(b"/a.txt", host=b"a b"), 400),
    (get(b"/a.txt", host=b'"><img src=x>'), 400),
    (b"GET /a.txt HTTP/1.1\r\nConnection: close\r\n\r\n", 400),
    (get(b"/a.txt", b"Host: other\r\n"), 400),
    (get(b"/a.txt", b"X: " + b"a" * 70_000 + b"\r\n"), 431),
    (get(b"/a.txt", b"".join(b"X%d: 1\r\n" % n for n in range(600))), 431),
    (b"NONSENSE\r\n\r\n", 400),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 60 + b"\r\n\r\n", 400),
    (get(b"/a.txt", version=b"3.0"), 505),
    (get(b"no-slash"), 400),
    (get(b"/a.txt", b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n") + b"0\r\n\r\n", 400),
    (b"POST /a.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n", 413),
]


@pytest.fixture
def server(twistd, tmp_path):
    """A server of a folder beside which something secret lies."""
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "a.txt").write_text("hello")
    (root / "big.bin").write_bytes(bytes(100_000))
    (root / "link").symlink_to("/etc/passwd")
    return twistd("--port", "0", "--path", root)


def test_traversal(server):
    """No spelling of a path leads out of the folder."""
    for path in TRAVERSALS:
        received = exchange(server, get(path))
        assert re.match(rb"HTTP/1\.1 4\d\d ", received), path
        assert b"root:" not in received, path


def test_bad_requests(server):
    """Each has its status, in a whole answer without markup of the client's; the next request is answered as ever."""
    for data, status in BAD:
        received = exchange(server, data)
        found = int(received.split(b" ", 2)[1]) if received.startswith(b"HTTP/1.1 ") else received[:50]
        assert found in (status if isinstance(status, tuple) else (status,)), (data[:60], found)
        assert b"<script>alert" not in received
        assert b"Traceback" not in received
        assert len(received) < 2 * 100_000 + 2000
        assert exchange(server, get(b"/a.txt")).endswith(b"hello")
    assert "Traceback" not in server.output
