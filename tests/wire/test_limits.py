"""
Limits: what is too long, too slow or too much is answered, on real sockets.
"""

import re
import socket
import ssl
import time
from contextlib import suppress

import pytest
import trustme

from tests.wire.test_bad_input import exchange, get

POST = b"POST /a.txt HTTP/1.1\r\nHost: a\r\n"


def chunked(length):
    return POST + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (length, bytes(length))


def announced(length, sent=0):
    return POST + b"Content-Length: %d\r\n\r\n%b" % (length, bytes(sent))


REFUSED = [
    ("the longest line", get(b"/" + b"a" * 986), 404),
    ("a longer line", get(b"/" + b"a" * 987), 414),
    ("a line without end", b"GET /" + b"a" * 2000, 414),
    ("long headers", get(b"/a.txt", b"X: " + b"a" * 1900 + b"\r\n"), 200),
    ("too long a header", get(b"/a.txt", b"X: " + b"a" * 2000 + b"\r\n"), 431),
    ("too long headers", get(b"/a.txt", (b"X: " + b"a" * 900 + b"\r\n") * 3), 431),
    ("headers without end", b"GET / HTTP/1.1\r\nX: " + b"a" * 3000, 431),
    ("many headers", get(b"/a.txt", b"X: 1\r\n" * 18), 200),
    ("too many headers", get(b"/a.txt", b"X: 1\r\n" * 19), 431),
    ("too long a body", announced(1001), 413),
    ("too long a body that comes at once", announced(1001, 1001), 413),
    ("too long a body in chunks", chunked(1001), 413),
    ("too long a body for a page without any", b"POST /none HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n", 413),
    ("a slow line", b"GET /", 408),
    ("slow headers", b"GET / HTTP/1.1\r\nHost: a\r\n", 408),
    ("a slow body", announced(900, 10), 408),
    ("a slow body in chunks", POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab", 408),
    ("nonsense", b"nonsense\r\n\r\n", 400),
]

SMALL = [
    *("--max-line-bytes", "1000", "--max-header-bytes", "2000", "--max-headers", "20", "--max-body-bytes", "1000"),
    *("--header-timeout", "4", "--min-body-rate", "10000", "--idle-timeout", "2", "--send-timeout", "2"),
]


@pytest.fixture
def server(twistd, tmp_path):
    """A server with small limits."""
    (tmp_path / "a.txt").write_text("hello")
    with (tmp_path / "big.bin").open("wb") as big:
        big.truncate(100_000_000)
    return twistd("--port", "0", "--path", tmp_path, *SMALL)


def test_refused(server):
    """Each limit has its status, in a whole answer that says that the connection closes; those within it are served."""
    for name, data, status in REFUSED:
        began = time.monotonic()
        received = exchange(server, data)
        head, _, body = received.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 %d " % status), (name, received[:200])
        assert b"\r\nConnection: close" in head, name
        assert len(body) == int(re.search(rb"Content-Length: (\d+)", head)[1]), name
        assert time.monotonic() - began < 10, name
    assert "Traceback" not in server.output


def test_idle(server):
    """A connection that is idle for too long is closed, without a word."""
    with server.connect() as connection:
        connection.sendall(b"GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n")
        began = time.monotonic()
        received = b""
        while piece := connection.recv(65536):
            received += piece
        assert 1 < time.monotonic() - began < 6
        assert received.count(b"HTTP/1.1") == 1
        assert received.endswith(b"hello")


def test_client_that_takes_nothing(server):
    """A client that takes nothing of its answer for too long is dropped; the log says how much it was sent."""
    with server.connect() as connection:
        connection.sendall(b"GET /big.bin HTTP/1.1\r\nHost: a\r\n\r\n")
        logged = server.wait_for(r'"GET /big.bin HTTP/1.1" 499 (\d+)')
        received = b""
        with suppress(ConnectionResetError):
            while piece := connection.recv(1 << 20):
                received += piece
        assert 0 < int(logged[1]) < 100_000_000
        assert len(received) < 100_000_000


def first_answer(connection):
    """The status and head of one answer."""
    connection.sendall(b"GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n")
    received = b""
    while b"\r\n\r\n" not in received:
        piece = connection.recv(65536)
        assert piece, "closed without an answer"
        received += piece
    return int(received.split(b" ")[1]), received


def let_in(connect):
    """The first connection that is let in, of several tried one after the other."""
    for _ in range(100):
        connection = connect()
        if first_answer(connection)[0] == 200:
            return connection
        connection.close()
        time.sleep(0.05)
    pytest.fail("nobody was let in")


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("setting", ["--max-connections", "--max-connections-per-address"])
def test_connections(twistd, tmp_path, secure, setting):
    """On a connection too many the answer is 503 and the end, over TLS as well; when one is closed another is let in."""
    (tmp_path / "a.txt").write_text("hello")
    authority = trustme.CA()
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(tmp_path / "a.pem")
    place = f"tls:{tmp_path / 'a.pem'}:port=0:interface=127.0.0.1" if secure else "0"
    server = twistd("--port", place, "--path", tmp_path, setting, "3")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    port = server.port

    def connect(source="127.0.0.1"):
        plain = socket.create_connection(("127.0.0.1", port), timeout=20, source_address=(source, 0))
        return context.wrap_socket(plain, server_hostname="localhost") if secure else plain

    taken = [connect() for _ in range(3)]
    assert [first_answer(connection)[0] for connection in taken] == [200] * 3
    for _ in range(20):
        with connect() as late:
            status, head = first_answer(late)
            assert (status, b"\r\nConnection: close\r\n" in head, b"\r\nRetry-After: 5\r\n" in head) == (
                503,
                True,
                True,
            )
            while late.recv(65536):
                pass
    with connect("127.0.0.2") as other:
        assert first_answer(other)[0] == (503 if setting == "--max-connections" else 200)
    assert [first_answer(connection)[0] for connection in taken] == [200] * 3
    taken.pop().close()
    taken.append(let_in(connect))
    for connection in taken:
        connection.close()
    assert "Traceback" not in server.output


def test_http2_connections(twistd, curl, tmp_path):
    """Over HTTP/2 a connection too many gets its 503, too."""
    (tmp_path / "a.txt").write_text("hello")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(tmp_path / "a.pem")
    place = f"tls:{tmp_path / 'a.pem'}:port=0:interface=127.0.0.1"
    server = twistd("--port", place, "--path", tmp_path, "--max-connections", "1")
    port = server.port
    ask = (
        "--cacert",
        tmp_path / "ca.pem",
        "--resolve",
        f"localhost:{port}:127.0.0.1",
        f"https://localhost:{port}/a.txt",
    )
    with server.connect():
        for _ in range(100):
            line = curl(*ask)[0]
            if line.split()[1] == "503":
                break
        assert line.split() == ["HTTP/2", "503"]


def test_pipelined_requests(server, tmp_path):
    """A client that sends ever more requests while it takes no answers has to wait."""
    with server.connect() as connection:
        connection.settimeout(2)
        requests = b"GET /big.bin HTTP/1.1\r\nHost: a\r\n\r\n" * 10_000
        sent = 0
        with suppress(TimeoutError, ConnectionError):
            while sent < 50_000_000:
                sent += connection.send(requests)
        assert sent < 50_000_000
