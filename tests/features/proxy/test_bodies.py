"""
Bodies on their way through the proxy: in pieces, no faster than they are taken, framed anew.
"""

import zlib

import pytest

from mixweb.features.encode import Encode
from mixweb.features.headers import Headers
from mixweb.features.proxy import FEATURE, Proxy
from mixweb.testing import SiteAgent, make_context
from mixweb.wrapper import Wrapper
from tests.upstreams import HELLO, Server

OK = b"HTTP/1.1 200 OK\r\n"
POST = b"POST /x HTTP/1.1\r\nHost: a\r\n"


def body(server):
    """What a server got behind the head of the request."""
    return server.last.received.partition(b"\r\n\r\n")[2]


def uploading(behind, framing, first=b"", **settings):
    """A proxy in front of a server that has not answered, and a client that has begun to send a body."""
    proxied = behind(Server(), **settings)
    exchange = proxied.agent.connect()
    exchange.heads.append(b"POST")
    exchange.send(POST + framing + b"\r\n\r\n" + first)
    return proxied, exchange


def test_bodies_of_known_length(behind):
    """A body is passed on piece by piece, with the length that was announced."""
    proxied, exchange = uploading(behind, b"Content-Length: 200000", b"a" * 70_000)
    assert b"Content-Length: 200000\r\n" in proxied.server.received
    assert body(proxied.server) == b"a" * 70_000
    exchange.send(b"b" * 130_000)
    assert body(proxied.server) == b"a" * 70_000 + b"b" * 130_000
    proxied.server.last.send(HELLO)
    assert exchange.answer.text == "hello"
    assert len(proxied.server.open) == 1
    assert proxied.is_sound()


def test_bodies_of_unknown_length(behind):
    """A chunked body is passed on in chunks of our own: extensions and trailers are dropped."""
    proxied, exchange = uploading(behind, b"Transfer-Encoding: chunked\r\nTrailer: X-A", b"5;x=y\r\nhello\r\n")
    assert proxied.server.received.count(b"Transfer-Encoding: chunked\r\n") == 1
    assert b"Content-Length" not in proxied.server.received
    assert b"Trailer" not in proxied.server.received
    assert body(proxied.server) == b"5\r\nhello\r\n"
    exchange.send(b"3\r\nabc\r\n0\r\nX-A: 1\r\n\r\n")
    assert body(proxied.server) == b"5\r\nhello\r\n3\r\nabc\r\n0\r\n\r\n"
    proxied.server.last.send(HELLO)
    assert exchange.answer.text == "hello"
    assert proxied.is_sound()


def test_small_bodies(behind):
    """A body that is there with its head is passed on with it."""
    proxied = behind(Server())
    exchange = proxied.open("POST", "/x", body=b"a=b")
    assert proxied.server.received.endswith(b"Content-Length: 3\r\n\r\na=b")
    proxied.server.last.send(HELLO)
    assert exchange.answer.text == "hello"


class WhenComplete(Wrapper):
    """Waits for the whole body."""

    def handle(self, request):
        request.when_body(self.forward)


def test_kept_bodies():
    """A body that something in front of the proxy has waited for is sent as a whole, and again where that is safe."""
    server, body = Server(HELLO), b"".join(b"%05d" % number for number in range(40_000))
    agent = SiteAgent(WhenComplete(FEATURE.build(Proxy([server]), make_context())))
    agent.get("/")
    server.answer = None
    exchange = agent.open("PUT", "/x", body=body)
    assert server.last.received.endswith(b"Content-Length: 200000\r\n\r\n" + body)
    server.last.close()
    assert len(server.accepted) == 2
    assert server.last.received.endswith(b"Content-Length: 200000\r\n\r\n" + body)
    server.last.send(HELLO)
    assert exchange.answer.text == "hello"


def test_kept_bodies_and_slow_servers():
    """A kept body, too, is sent no faster than it is taken."""
    server = Server()
    agent = SiteAgent(WhenComplete(FEATURE.build(Proxy([server]), make_context())))
    server.slow = True
    exchange = agent.open("PUT", "/x", body=b"a" * 200_000)
    assert len(server.last.received) < 70_000
    server.slow = False
    server.last.drain()
    assert len(server.last.received) > 200_000
    server.last.send(HELLO)
    assert exchange.answer.text == "hello"


def test_get_with_a_body(behind):
    """A body of GET is passed on with its framing, so that it is not taken for another request."""
    proxied = behind(Server())
    proxied.open("GET", "/x", body=b"GET /evil HTTP/1.1\r\n\r\n")
    assert proxied.server.received.endswith(b"Content-Length: 22\r\n\r\nGET /evil HTTP/1.1\r\n\r\n")


def test_an_empty_chunked_body(behind):
    """A chunked body with nothing in it ends, too."""
    proxied, exchange = uploading(behind, b"Transfer-Encoding: chunked", b"0\r\n\r\n")
    proxied.server.last.send(HELLO)
    assert exchange.answer.text == "hello"
    assert proxied.is_sound()


def test_slow_servers_slow_clients_down(behind):
    """A client that uploads faster than the server takes it is not read."""
    proxied, exchange = uploading(behind, b"Content-Length: 400000", b"a" * 1000)
    proxied.server.last.fill()
    for _ in range(20):
        exchange.send(b"b" * 10_000)
    assert body(proxied.server) == b"a" * 1000
    assert exchange.transport.producerState == "paused"
    proxied.server.last.drain()
    assert body(proxied.server) == b"a" * 1000 + b"b" * 200_000
    assert exchange.transport.producerState == "producing"


def test_slow_clients_slow_servers_down(behind):
    """A server that answers faster than the client takes it is not read, and is not blamed for its silence."""
    proxied = behind(Server(), idle_timeout=5)
    exchange = proxied.open("GET", "/")
    server = proxied.server.last
    server.send(OK + b"Content-Length: 10\r\n\r\nhello")
    exchange.protocol.pauseProducing()
    assert not server.reading
    proxied.wait(20)
    exchange.protocol.resumeProducing()
    assert server.reading
    server.send(b"world")
    assert exchange.answer.text == "helloworld"
    assert len(proxied.server.open) == 1


@pytest.mark.parametrize("framing", [b"Content-Length: 200000", b"Transfer-Encoding: chunked"])
def test_early_answers(framing, behind):
    """An answer that comes before the body is complete is passed back; the connection with half a request is closed."""
    proxied, exchange = uploading(behind, framing, b"5\r\nhello\r\n")
    proxied.server.last.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
    assert exchange.answer.status == 413
    assert exchange.answer["Connection"] == "close"
    assert proxied.server.open == []
    assert proxied.is_sound()


def test_early_answers_in_pieces(behind):
    """While an early answer is under way the body goes on."""
    proxied, exchange = uploading(behind, b"Content-Length: 100000", b"a" * 10)
    proxied.server.last.send(OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
    assert b"first" in exchange.received
    exchange.send(b"b" * 99_990)
    assert len(body(proxied.server)) == 100_000
    proxied.server.last.send(b"4\r\nlast\r\n0\r\n\r\n")
    assert exchange.answer.text == "firstlast"
    assert len(proxied.server.open) == 1


def test_servers_that_close_while_they_are_sent_a_body(behind):
    """A server that closes in the middle of a body is 502."""
    proxied, exchange = uploading(behind, b"Content-Length: 100000", b"a" * 10)
    proxied.server.last.close()
    assert exchange.answer.status == 502
    assert proxied.is_sound()


def test_clients_that_leave_in_the_middle_of_a_body(behind):
    """When the client leaves in the middle of a body, the server does not take what there is for all of it."""
    proxied, exchange = uploading(behind, b"Transfer-Encoding: chunked", b"5\r\nhello\r\n")
    exchange.disconnect()
    assert proxied.server.open == []
    assert b"0\r\n\r\n" not in proxied.server.received
    assert proxied.is_sound()


def test_malformed_bodies(behind):
    """A body that turns out to be malformed is 400, and the server does not take it for a whole one."""
    proxied, exchange = uploading(behind, b"Transfer-Encoding: chunked", b"5\r\nhello\r\nxyz\r\n")
    assert exchange.answer.status == 400
    assert proxied.server.open == []
    assert b"0\r\n\r\n" not in proxied.server.received
    assert proxied.is_sound()


def test_slow_bodies(behind):
    """A client that takes too long with its body is 408, and the server is let go."""
    proxied, exchange = uploading(behind, b"Content-Length: 100000", b"a" * 10, timeout=100)
    proxied.agent.site.startFactory()
    proxied.wait(40)
    assert exchange.answer.status == 408
    assert proxied.server.open == []


@pytest.mark.parametrize(("framing", "data"), [
    (b"Content-Length: 5000", b""),
    (b"Transfer-Encoding: chunked", b"1000\r\n" + b"a" * 4096),
])  # fmt: skip
def test_bodies_that_are_too_long(framing, data, behind):
    """A body longer than the server accepts is 413: at once where its length is announced."""
    proxied, exchange = uploading(behind, framing, data, max_body_bytes=2000)
    assert exchange.answer.status == 413
    assert proxied.server.open == []
    assert data or proxied.server.accepted == []


EXPECTS = b"Content-Length: 100000\r\nExpect: 100-continue"


def test_expectations_are_passed_on(behind):
    """A client that asks whether to send its body is told to when the server says so."""
    proxied, exchange = uploading(behind, EXPECTS)
    assert b"Expect: 100-continue\r\n" in proxied.server.received
    assert exchange.received == b""
    proxied.server.last.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert exchange.received == b"HTTP/1.1 100 Continue\r\n\r\n"
    exchange.send(b"a" * 100_000)
    assert len(body(proxied.server)) == 100_000
    proxied.server.last.send(HELLO)
    assert (exchange.answer.text, exchange.answer.interim) == ("hello", (100,))


def test_a_body_that_is_not_wanted_is_not_sent(behind):
    """A server that refuses before it has seen the body spares the client the sending."""
    proxied, exchange = uploading(behind, EXPECTS)
    proxied.server.last.send(b"HTTP/1.1 401 Who\r\nContent-Length: 0\r\n\r\n")
    assert (exchange.answer.status, exchange.answer.interim) == (401, ())
    assert proxied.server.open == []


def test_servers_that_know_no_expectations(behind):
    """A server that says nothing for a second gets the body."""
    proxied, exchange = uploading(behind, EXPECTS)
    proxied.wait(1)
    assert exchange.received == b"HTTP/1.1 100 Continue\r\n\r\n"
    exchange.send(b"a" * 100_000)
    assert len(body(proxied.server)) == 100_000


INTERIM = [
    (b"103 Early Hints", b"Link: </a.css>; rel=preload", (103,)),
    (b"102 Processing", b"X-A: 1", (102,)),
    (b"100 Continue", b"X-A: 1", ()),
]


@pytest.mark.parametrize(("status", "field", "interim"), INTERIM)
def test_interim_answers(status, field, interim, behind):
    """Interim answers are passed back as they come, but for those the client has not asked for."""
    proxied = behind(Server())
    exchange = proxied.open("GET", "/")
    proxied.server.last.send(b"HTTP/1.1 %b\r\n%b\r\nConnection: x-c\r\nX-C: d\r\n\r\n" % (status, field))
    assert (field in exchange.received) is bool(interim)
    assert b"X-C" not in exchange.received
    proxied.server.last.send(HELLO)
    assert (exchange.answer.text, exchange.answer.interim) == ("hello", interim)


def test_clients_of_http_1_0(behind):
    """A client of HTTP/1.0 gets no interim answers and no chunks."""
    proxied = behind(Server())
    exchange = proxied.agent.connect()
    exchange.send(b"GET / HTTP/1.0\r\n\r\n")
    server = proxied.server.last
    assert server.received.startswith(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
    server.send(b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK + b"Transfer-Encoding: chunked\r\n\r\n")
    server.send(b"5\r\nhello\r\n0\r\n\r\n")
    head, _, text = exchange.received.partition(b"\r\n\r\n")
    assert b"103" not in head
    assert text == b"hello"
    assert exchange.transport.disconnecting


def test_pieces_are_passed_on_at_once(behind):
    """Every piece leaves as it comes, also through what else changes the answer."""
    proxied = behind(Server(), others=[Headers(["X-A: 1"])])
    exchange = proxied.open("GET", "/")
    proxied.server.last.send(OK + b"Transfer-Encoding: chunked\r\n\r\n")
    assert b"X-A: 1\r\n" in exchange.received
    for piece in (b"1\r\na\r\n", b"1\r\nb\r\n"):
        proxied.server.last.send(piece)
        assert exchange.received.endswith(piece)


def test_compressed_streams(behind):
    """A stream that is compressed on its way is readable up to the last piece, too."""
    proxied = behind(Server(), others=[Encode()])
    exchange = proxied.open("GET", "/", {"Accept-Encoding": "gzip"})
    proxied.server.last.send(OK + b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    reader = zlib.decompressobj(31)
    for number in range(3):
        before = len(exchange.received)
        proxied.server.last.send(b"9\r\ndata: %d\n\n\r\n" % number)
        chunk = exchange.received[before:] if number else exchange.received.partition(b"\r\n\r\n")[2]
        assert reader.decompress(_dechunked(chunk)) == b"data: %d\n\n" % number


def _dechunked(data):
    """The content of some whole chunks."""
    content = b""
    while data:
        size, _, rest = data.partition(b"\r\n")
        content += rest[: int(size, 16)]
        data = rest[int(size, 16) + 2 :]
    return content


SMUGGLERS = [
    b"Content-Length: 5\r\nTransfer-Encoding: chunked",
    b"Content-Length: 5\r\nContent-Length: 6",
    b"Content-Length: 5, 5",
    b"Content-Length: +5",
    b"Transfer-Encoding: chunked, identity",
    b"Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding : chunked",
    b"Transfer-Encoding:\x0bchunked",
    b"X: y\nTransfer-Encoding: chunked",
    b"X: y\r\n Transfer-Encoding: chunked",
]


@pytest.mark.parametrize("framing", SMUGGLERS)
def test_smuggling(framing, behind):
    """A request that says two things about where it ends does not get to the server."""
    proxied, exchange = uploading(behind, framing, b"0\r\n\r\nGET /evil HTTP/1.1\r\nHost: a\r\n\r\n")
    assert exchange.answer.status in (400, 501)
    assert proxied.server.accepted == []
