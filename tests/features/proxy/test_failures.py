"""
Upstream servers that fail and misbehave: the client gets the right status, nobody else notices, the pool is sound.
"""

import pytest

from tests.upstreams import HELLO, Server

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"

#: What a server says before it closes or not, the status and body the client gets; None for a connection that is dropped.
MISBEHAVIOURS = {
    "nothing": (b"", "close", 502, None),
    "reset": (b"", "reset", 502, None),
    "half a status line": (b"HTTP/1.1 20", "close", 502, None),
    "half a head": (OK + b"Content-Le", "close", 502, None),
    "half a body": (OK + b"Content-Length: 10\r\n\r\nhello", "close", None, None),
    "half a body and a reset": (OK + b"Content-Length: 10\r\n\r\nhello", "reset", None, None),
    "half a chunk": (CHUNKED + b"a\r\nhello", "close", None, None),
    "no last chunk": (CHUNKED + b"5\r\nhello\r\n", "close", None, None),
    "no end of trailers": (CHUNKED + b"5\r\nhello\r\n0\r\nX: y\r\n", "close", None, None),
    "more than its length": (OK + b"Content-Length: 2\r\n\r\nhi" + HELLO, "", 200, "hi"),
    "less than its length": (OK + b"Content-Length: 10\r\n\r\nhi", "close", None, None),
    "two lengths": (OK + b"Content-Length: 2\r\nContent-Length: 20\r\n\r\nhi", "", 502, None),
    "the same length twice": (OK + b"Content-Length: 2, 2\r\n\r\nhi", "", 502, None),
    "length and chunks": (OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "", 502, None),
    "a negative length": (OK + b"Content-Length: -2\r\n\r\nhi", "", 502, None),
    "chunked garbage": (CHUNKED + b"xyz\r\nhello\r\n", "", None, None),
    "chunks too long": (CHUNKED + b"2\r\nhello\r\n0\r\n\r\n", "", None, None),
    "chunked garbage at once": (OK + b"Transfer-Encoding: xchunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "", 502, None),
    "gzip framing": (OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "", 502, None),
    "HTTP/0.9": (b"<p>hello", "close", 502, None),
    "HTTP/2": (b"\x00\x00\x00\x04\x00\x00\x00\x00\x00", "", 502, None),
    "TLS": (b"\x15\x03\x01\x00\x02\x02\x46", "close", 502, None),
    "another protocol": (b"SSH-2.0-OpenSSH_9.2\r\n", "", 502, None),
    "bare line feeds": (b"HTTP/1.1 200 OK\nContent-Length: 2\n\nhi", "", 502, None),
    "a bare line feed": (OK + b"X: y\nContent-Length: 2\r\n\r\nhi", "", 502, None),
    "a folded field": (OK + b"X: y\r\n z\r\nContent-Length: 2\r\n\r\nhi", "", 502, None),
    "a blank before the colon": (OK + b"Content-Length : 2\r\n\r\nhi", "", 502, None),
    "a NUL": (OK + b"X: \x00\r\nContent-Length: 2\r\n\r\nhi", "", 502, None),
    "status 999": (b"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n", "", 502, None),
    "status 99": (b"HTTP/1.1 99 Odd\r\nContent-Length: 0\r\n\r\n", "", 502, None),
    "huge fields": (OK + b"X: " + b"a" * 70_000 + b"\r\n\r\n", "", 502, None),
    "many fields": (OK + b"X: y\r\n" * 600 + b"\r\n", "", 502, None),
    "a field without end": (OK + b"X: " + b"a" * 70_000, "", 502, None),
    "101 unasked": (b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", "", 502, None),
    "101 to h2c": (b"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", "", 502, None),
    "only interim answers": (b"HTTP/1.1 100 Continue\r\n\r\n" * 3, "close", 502, None),
    "interim answers": (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 P\r\n\r\n" + HELLO, "", 200, "hello"),
    "trailers": (CHUNKED + b"5\r\nhello\r\n0\r\nSet-Cookie: a=b\r\nContent-Length: 9\r\n\r\n", "", 200, "hello"),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\n\r\nhello", "close", 200, "hello"),
    "no length": (OK + b"\r\nhello", "close", 200, "hello"),
    "a body with 204": (b"HTTP/1.1 204 N\r\nContent-Length: 5\r\n\r\nhello", "", 204, ""),
    "a second answer": (HELLO + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", "", 200, "hello"),
    "a split answer": (OK + b"Content-Length: 5\r\nX: a\r\r\n\r\nhello", "", 502, None),
}  # fmt: skip


@pytest.mark.parametrize("size", [1, 1000, 1 << 30], ids=["by 1", "by 1000", "whole"])
@pytest.mark.parametrize("name", MISBEHAVIOURS)
def test_misbehaviour(name, size, behind, failures):
    """Whatever a server says, the client gets an answer that is whole or visibly none, and the next one gets its own."""
    said, end, status, body = MISBEHAVIOURS[name]
    proxied = behind(Server())
    exchange = proxied.open("GET", "/")
    connection = proxied.server.last
    for start in range(0, len(said), size):
        if connection.open:
            connection.send(said[start : start + size])
    if connection.open and end:
        getattr(connection, end)()
    if status is None:
        assert exchange.transport.aborted or exchange.answer.status == 502
    else:
        assert (exchange.answer.status, body) in [(status, None), (status, exchange.answer.text)]
    assert proxied.is_sound()
    assert b"evil" not in exchange.received
    assert failures == []


def test_every_502_says_why(behind):
    """The error page says what is wrong, and names no addresses."""
    proxied = behind(Server())
    exchange = proxied.open("GET", "/")
    proxied.server.last.send(b"HTTP/1.1 999 Odd\r\n\r\n")
    assert "status line of the answer is malformed" in exchange.answer.text
    assert "192.0.2.1" not in exchange.answer.text


def test_unasked(behind):
    """What a server says unasked is not taken for the answer to the next request."""
    proxied = behind()
    assert proxied.get("/").text == "hello"
    proxied.server.last.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    assert proxied.server.open == []
    assert proxied.is_sound()


REFUSALS = [("connection refused", False, 502), ("it does not answer in time", True, 504)]


@pytest.mark.parametrize(("reason", "timed_out", "status"), REFUSALS)
def test_unreachable(reason, timed_out, status, behind):
    """A server that cannot be reached is 502, one that does not answer at all 504, and both say so."""
    proxied = behind()
    proxied.server.refuse(reason, timed_out)
    answer = proxied.get("/")
    assert answer.status == status
    assert f"cannot be reached: {reason}" in answer.text


@pytest.mark.parametrize(("scheme", "kept"), [("Basic x", 1), ("NTLM x", 0), ("negotiate x", 0), ("Bearer ntlm", 1)])
def test_connections_that_are_somebodys(scheme, kept, behind):
    """A connection that somebody has proved who he is for is used for nobody else."""
    proxied = behind()
    proxied.get("/", {"Authorization": scheme})
    assert len(proxied.server.open) == kept


def test_timeout(behind):
    """A server that does not begin to answer is given up: 504."""
    proxied = behind(Server(), timeout=5)
    exchange = proxied.open("GET", "/")
    proxied.wait(5)
    assert exchange.answers() == []
    proxied.wait(2)
    assert exchange.answer.status == 504
    assert proxied.server.open == []


def test_silence(behind):
    """A server that stops in the middle of an answer is given up: what there is of it is visibly not all."""
    proxied = behind(Server(), timeout=60, idle_timeout=5)
    exchange = proxied.open("GET", "/")
    proxied.server.last.send(CHUNKED + b"5\r\nhello\r\n")
    proxied.wait(4)
    proxied.server.last.send(b"5\r\nhello\r\n")
    proxied.wait(5)
    assert not exchange.transport.aborted
    proxied.wait(2)
    assert exchange.transport.aborted
    assert proxied.server.open == []


def test_event_streams_may_be_silent(behind):
    """A stream of server-sent events is passed on as it comes, and may be silent for as long as it likes."""
    proxied = behind(Server(), idle_timeout=5)
    exchange = proxied.open("GET", "/")
    proxied.server.last.send(OK + b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert b"text/event-stream" in exchange.received
    proxied.wait(100)
    proxied.server.last.send(b"9\r\ndata: 1\n\n\r\n")
    assert exchange.received.endswith(b"9\r\ndata: 1\n\n\r\n")
    exchange.disconnect()
    assert proxied.server.open == []


def test_kept_connections_are_given_up(behind):
    """A connection without a use is closed after a while."""
    proxied = behind(keep_alive=5)
    proxied.get("/")
    proxied.wait(5)
    assert len(proxied.server.open) == 1
    proxied.wait(2)
    assert proxied.server.open == []
    assert proxied.is_sound()


def test_no_connections_are_kept_when_the_server_stops(behind):
    """When the server stops, unused connections end; an answer under way does not, and its connection is not kept."""
    proxied = behind(Server())
    first, second = proxied.open("GET", "/"), proxied.open("GET", "/")
    kept, used = proxied.server.accepted
    kept.send(HELLO)
    proxied.services.stopService()
    assert not kept.open
    used.send(HELLO)
    assert [first.answer.text, second.answer.text] == ["hello", "hello"]
    assert proxied.server.open == []


STALE = [
    ("GET", "", "close", 200, 2),
    ("GET", "", "reset", 200, 2),
    ("HEAD", "", "close", 200, 2),
    ("DELETE", "", "close", 200, 2),
    ("PUT", "body", "close", 200, 2),
    ("POST", "body", "close", 502, 1),
    ("POST", "", "close", 502, 1),
    ("PATCH", "body", "close", 502, 1),
]


@pytest.mark.parametrize(("method", "body", "end", "status", "asked"), STALE)
def test_stale_connections(method, body, end, status, asked, behind):
    """A kept connection that turns out to have ended is replaced once, for requests that may be repeated."""
    proxied = behind()
    proxied.get("/")
    server = proxied.server
    server.answer = None
    exchange = proxied.open(method, "/x", body=body.encode())
    getattr(server.last, end)()
    if status == 200:
        assert server.last.received.endswith(body.encode())
        server.last.send(HELLO if method != "HEAD" else OK + b"\r\n")
    assert exchange.answer.status == status
    assert server.received.count(b" /x ") == asked


def test_only_once(behind):
    """A second connection that ends without an answer is an answer in itself."""
    proxied = behind()
    proxied.get("/")
    proxied.server.answer = None
    exchange = proxied.open("GET", "/x")
    proxied.server.last.close()
    proxied.server.last.close()
    assert exchange.answer.status == 502
    assert len(proxied.server.accepted) == 2


def test_not_after_a_first_byte(behind):
    """A request is not repeated when something of the answer has come."""
    proxied = behind()
    proxied.get("/")
    proxied.server.answer = None
    exchange = proxied.open("GET", "/x")
    proxied.server.last.send(b"H")
    proxied.server.last.close()
    assert exchange.answer.status == 502
    assert len(proxied.server.accepted) == 1


def test_clients_that_leave(behind):
    """When a client leaves, its server is no longer asked, at whatever point that is."""
    proxied = behind(Server())
    for said in (b"", b"HTTP/1.1", OK + b"Content-Length: 10\r\n\r\nhello"):
        exchange = proxied.open("GET", "/")
        if said:
            proxied.server.last.send(said)
        exchange.disconnect()
        assert proxied.server.open == []
    assert proxied.is_sound()


def test_clients_that_leave_before_there_is_a_connection(behind):
    """A connection is not waited for when the client has left."""
    proxied = behind()
    proxied.server.refusal = "never"
    proxied.open("GET", "/").disconnect()
    assert len(proxied.server.cancelled) == 1
    proxied.server.refusal = None
    assert proxied.is_sound()


def test_limits(behind):
    """No more connections are opened than may be; requests wait for one, for a while, and the rest is 503."""
    proxied = behind(Server(), max_connections=2, queue=2, queue_timeout=5)
    exchanges = [proxied.open("GET", f"/{number}") for number in range(5)]
    server = proxied.server
    assert len(server.accepted) == 2
    assert exchanges[4].answer.status == 503
    assert exchanges[4].answer["Retry-After"] == "5"
    server.accepted[0].send(HELLO)
    assert exchanges[0].answer.text == "hello"
    assert server.accepted[0].received.count(b"GET /2 ") == 1
    proxied.wait(7)
    assert exchanges[3].answer.status == 503
    exchanges[1].disconnect()
    server.accepted[0].send(HELLO)
    assert exchanges[2].answer.text == "hello"
    assert proxied.is_sound()


def test_waiting_clients_that_leave(behind):
    """A client that leaves while it waits for a connection makes room."""
    proxied = behind(Server(), max_connections=1, queue=1)
    first, second = proxied.open("GET", "/1"), proxied.open("GET", "/2")
    second.disconnect()
    third = proxied.open("GET", "/3")
    proxied.server.last.send(HELLO)
    proxied.server.last.send(HELLO)
    assert [first.answer.text, third.answer.text] == ["hello", "hello"]
    assert b"/2" not in proxied.server.received


def test_the_place_of_a_lost_connection(behind):
    """When a connection ends, a request that waits gets another one."""
    proxied = behind(Server(), max_connections=1)
    first, second = proxied.open("GET", "/1"), proxied.open("GET", "/2")
    proxied.server.last.close()
    assert first.answer.status == 502
    proxied.server.last.send(HELLO)
    assert second.answer.text == "hello"


def test_what_fails_in_front(behind, failures):
    """When something fails that stands in front of the proxy, the client is told; it does not wait for ever."""
    proxied = behind(Server())
    exchange = proxied.open("GET", "/")
    exchange.protocol.requests[0].before_headers(lambda request: 1 / 0)
    proxied.server.last.send(HELLO)
    assert exchange.answer.status == 500
    exchange = proxied.open("GET", "/")
    exchange.protocol.requests[0].before_headers(lambda request: 1 / 0)
    proxied.server.last.send(CHUNKED)
    assert exchange.answer.status == 500
    assert [failure.type for failure in failures] == [ZeroDivisionError] * 2
    assert proxied.is_sound()


def test_pipelined_requests(behind):
    """Pipelined requests are answered in their order, each with its own answer."""
    proxied = behind(Server())
    exchange = proxied.agent.connect()
    exchange.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number for number in range(3)))
    exchange.heads += [b"GET"] * 3
    for number in range(3):
        assert b"GET /%d " % number in proxied.server.last.received
        proxied.server.last.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % number)
    assert [answer.text for answer in exchange.answers()] == ["0", "1", "2"]
