"""
The HTTP/1.1 connection: order, framing, closing, timeouts and what requests are told.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.web import server
from twisted.web.http_headers import Headers
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from mixweb.engine._headers import RequestFields
from mixweb.engine.channel import LINGER_BYTES
from mixweb.engine.http1 import Head, Parser
from mixweb.engine.request import Request
from mixweb.engine.site import Site
from mixweb.engine.timeouts import Timeouts
from mixweb.testing import SiteAgent
from tests.engine.wires import GET, POST, BareWire, Client, OverTLS, Wire, get


class Tell(Resource):
    """Says what it was asked."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Any] = []

    def render(self, request: Any) -> bytes:
        self.asked.append(request)
        return b" ".join([request.method, request.uri, request.content.read()])


class Wait(Resource):
    """Answers when the test says so, except to ``/now``."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[Any] = []
        self.gone: list[bytes] = []

    def render(self, request: Any) -> bytes | int:
        if request.uri == b"/now":
            return b"/now"
        request.notifyFinish().addErrback(lambda _: self.gone.append(request.uri))
        self.waiting.append(request)
        return NOT_DONE_YET

    def answer(self) -> None:
        request = self.waiting.pop(0)
        request.setHeader(b"Content-Length", b"%d" % len(request.uri))
        request.write(request.uri)
        request.finish()


CUTS = pytest.mark.parametrize("size", [1, 7, 1 << 30], ids=["by 1", "by 7", "whole"])

SEVERAL = (
    get(b"/1")
    + POST
    + b"Content-Length: 7\r\n\r\nGET /x "
    + POST
    + b"Transfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n2\r\nde\r\n0\r\nX: y\r\n\r\n"
    + b"\r\n"
    + get(b"/1")
    + get(b"/2?a=b")
)


@CUTS
def test_pipelined_requests(size: int) -> None:
    """Requests on one connection are answered in order, with their bodies, wherever they are cut."""
    client = Client(Tell())
    client.send(SEVERAL, size)
    assert client.bodies == [b"GET /1 ", b"POST / GET /x ", b"POST / abcde", b"GET /1 ", b"GET /2?a=b "]
    assert client.wire.open


def test_many_pipelined_requests() -> None:
    """Ten thousand requests that arrive at once are answered in a loop."""
    client = Client(Tell())
    client.send(GET * 10_000)
    assert client.received.count(b"HTTP/1.1 200 OK\r\n") == 10_000


@CUTS
def test_answers_keep_the_order_of_requests(size: int) -> None:
    """A request is not begun before the one ahead of it has been answered, however late that is."""
    resource = Wait()
    client = Client(resource)
    client.send(get(b"/slow") + get(b"/now") + get(b"/late") + get(b"/now"), size)
    assert (client.statuses, len(resource.waiting)) == ([], 1)
    resource.answer()
    assert client.bodies == [b"/slow", b"/now"]
    resource.answer()
    assert client.bodies == [b"/slow", b"/now", b"/late", b"/now"]


def test_many_late_answers() -> None:
    """Requests that wait for a late answer are gone through in a loop, too."""
    resource = Wait()
    client = Client(resource)
    client.send(get(b"/slow") + get(b"/now") * 2_000)
    resource.answer()
    assert client.received.count(b"/now") == 2_000


CLOSING = [
    get(b"/", b"Connection: close\r\n"),
    get(b"/", b"Connection: keep-alive, Close\r\n"),
    b"GET / HTTP/1.0\r\n\r\n",
    b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
]


@CUTS
@pytest.mark.parametrize("request_bytes", CLOSING)
def test_last_request(request_bytes: bytes, size: int) -> None:
    """After its last request a connection is closed, and the answer says so."""
    client = Client(Tell())
    client.send(request_bytes, size)
    assert client.bodies == [b"GET / "]
    assert b"\r\nConnection: close\r\n" in client.received
    assert client.wire.disconnecting


@pytest.mark.parametrize("request_bytes", CLOSING)
def test_nothing_follows_the_last_request(request_bytes: bytes) -> None:
    """What follows the last request is not read, and does not cut its answer off."""
    client = Client(Tell())
    client.send(request_bytes + get(b"/more"))
    client.send(get(b"/more"))
    assert client.bodies == [b"GET / "]
    assert client.wire.half_closed
    assert not client.wire.disconnecting


def test_what_follows_the_last_request_is_read_away() -> None:
    """Reading that had stopped goes on after the last answer, for what follows to be dropped."""
    resource = Wait()
    client = Client(resource)
    client.send(get(b"/slow", b"Connection: close\r\n") + b"x" * 20000)
    assert client.wire.producerState == "paused"
    resource.answer()
    assert (client.wire.producerState, client.wire.half_closed) == ("producing", True)


def test_what_a_request_is_told() -> None:
    """A request has its line, its headers and the fields in the order and case received."""
    resource = Tell()
    client = Client(resource)
    client.send(b"PUT /a?b HTTP/1.1\r\nhost: a\r\nX-b: 1\r\nx-A: 2\r\nX-B: 3\r\nContent-Length: 2\r\n\r\nhi")
    (request,) = resource.asked
    assert (request.method, request.uri, request.clientproto) == (b"PUT", b"/a?b", b"HTTP/1.1")
    assert request.requestHeaders.getRawHeaders(b"x-b") == [b"1", b"3"]
    assert request.head.line.target == b"/a?b"
    assert request.head.fields.pairs[:3] == ((b"host", b"a"), (b"X-b", b"1"), (b"x-A", b"2"))


def test_addresses() -> None:
    """A request knows both ends of its connection."""
    resource = Wait()
    client = Client(resource)
    client.send(get(b"/slow"))
    (request,) = resource.waiting
    assert (request.getClientAddress().host, request.getHost().port) == ("127.0.0.2", 80)


def test_minor_version() -> None:
    """HTTP/1.2 is served as HTTP/1.1 (RFC 9110, 2.5)."""
    client = Client(Tell())
    client.send(b"GET / HTTP/1.2\r\nHost: a\r\n\r\n" + GET)
    assert client.bodies == [b"GET / "] * 2


def test_host_of_the_target() -> None:
    """The host that an absolute target names takes the place of the Host field (RFC 9112, 3.2.2)."""
    resource = Tell()
    client = Client(resource)
    client.send(b"GET http://b:81/c HTTP/1.1\r\nHost: a\r\n\r\n" + GET)
    assert [request.getHeader(b"Host") for request in resource.asked] == [b"b:81", b"a"]
    assert [request.getRequestHostname() for request in resource.asked] == [b"b", b"a"]
    assert client.bodies == [b"GET /c ", b"GET / "]


def test_connect() -> None:
    """No tunnel is opened, and none reaches a resource."""
    resource = Tell()
    client = Client(resource)
    client.send(b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (client.statuses, client.logged) == ([501], [(b"CONNECT", b"a:80", 501)])
    assert resource.asked == []
    assert client.wire.half_closed


REFUSED = [
    (b"GET  / HTTP/1.1\r\n\r\n", (b"-", b"-", 400)),
    (b"GET / HTTP/1.1\r\n\r\n", (b"GET", b"/", 400)),
    (b"HEAD / HTTP/2.0\r\n\r\n", (b"HEAD", b"/", 505)),
    (b"GET /" + b"a" * 20000, (b"-", b"-", 414)),
    (b"GET / HTTP/1.1\r\nX: " + b"a" * 70000, (b"GET", b"/", 431)),
    (get(b"/", b"Expect: more\r\n"), (b"GET", b"/", 417)),
    (POST + b"Content-Length: 99999999999999999999\r\n\r\n", (b"POST", b"/", 413)),
    (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n", (b"POST", b"/", 501)),
    (POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcX", (b"POST", b"/", 400)),
]


@CUTS
@pytest.mark.parametrize(("data", "logged"), REFUSED, ids=[repr(data[:30]) for data, _ in REFUSED])
def test_refusals(data: bytes, logged: tuple[bytes, bytes, int], size: int) -> None:
    """What cannot be read is answered once, logged, and nothing behind it is run; the answer is not cut off."""
    resource = Tell()
    client = Client(resource)
    client.send(data, size)
    client.send(GET * 3, size)
    assert (client.statuses, client.logged) == ([logged[2]], [logged])
    assert b"\r\nConnection: close\r\n" in client.received
    assert resource.asked == []
    assert client.wire.half_closed
    assert not client.wire.disconnecting


def test_refusal_comes_after_the_answers_before_it() -> None:
    """A request that is refused waits for the answers to those before it."""
    resource = Wait()
    client = Client(resource)
    client.send(get(b"/slow") + b"nonsense\r\n\r\n")
    assert client.statuses == []
    resource.answer()
    assert client.statuses == [200, 400]


@CUTS
@pytest.mark.parametrize(
    "data",
    [
        POST + b"Content-Length: 11\r\n\r\n" + b"x" * 11,
        POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"6\r\nabcdef\r\n" * 2 + b"0\r\n\r\n",
    ],
    ids=["announced", "chunked"],
)
def test_body_over_its_limit(data: bytes, size: int) -> None:
    """A body over the site's limit is refused, announced or not; the rest of it is dropped and nothing is rendered."""
    resource = Tell()
    client = Client(resource, max_body_bytes=10)
    client.send(data + GET, size)
    assert (client.statuses, resource.asked) == ([413], [])
    assert client.logged == [(b"POST", b"/", 413)]
    assert client.wire.half_closed


def test_request_without_a_body_refuses() -> None:
    """A request may refuse itself before it is rendered, though it has no body."""

    class Busy(Request):
        def gotLength(self, length: int | None) -> None:
            super().gotLength(length)
            self.refuse(503, "Too many.")

        def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
            pytest.fail("received after it was refused")

    client = Client(Tell(), request_factory=Busy)
    client.send(GET * 2)
    assert client.statuses == [503]
    assert client.wire.half_closed


EXPECT = b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def test_continue() -> None:
    """A client that expects it is told to continue, once, and the body is read."""
    client = Client(Tell())
    client.send(POST + EXPECT)
    assert client.received == CONTINUE
    client.send(b"hi" + GET)
    assert client.statuses == [100, 200, 200]
    assert b"POST / hi" in client.received


@pytest.mark.parametrize(
    ("data", "statuses"),
    [
        (POST + EXPECT + b"hi", [200]),
        (b"POST / HTTP/1.0\r\n" + EXPECT, []),
        (get(b"/", b"Expect: 100-continue\r\n"), [200]),
        (POST + b"Content-Length: 11\r\nExpect: 100-continue\r\n\r\n", [413]),
    ],
    ids=["body is there", "HTTP/1.0", "no body", "refused"],
)
def test_no_continue(data: bytes, statuses: list[int]) -> None:
    """A client is not told to continue when it does not wait for it, or does not need to send its body."""
    client = Client(Tell(), max_body_bytes=10)
    client.send(data)
    assert client.statuses == statuses


# Half-closed clients


@pytest.mark.parametrize("data", [b"", GET], ids=["fresh", "idle"])
def test_idle_client_half_closes(data: bytes) -> None:
    """When a client that waits for nothing sends no more, the connection is closed."""
    client = Client(Tell())
    client.send(data)
    client.channel.readConnectionLost()
    assert client.wire.disconnecting


def test_half_closed_client_gets_its_answers() -> None:
    """A client that sends no more gets the answers to all its requests; then the connection is closed."""
    resource = Wait()
    client = Client(resource)
    client.send(get(b"/slow") + get(b"/now") + get(b"/late"))
    client.channel.readConnectionLost()
    resource.answer()
    assert client.bodies == [b"/slow", b"/now"]
    assert client.wire.open
    resource.answer()
    assert client.bodies == [b"/slow", b"/now", b"/late"]
    assert client.wire.disconnecting


@pytest.mark.parametrize("data", [b"GET / HT", POST + b"Content-Length: 9\r\n\r\nhello"], ids=["head", "body"])
def test_half_closed_within_a_request(data: bytes) -> None:
    """A request that was not sent to its end is not run."""
    resource = Tell()
    client = Client(resource)
    client.send(data)
    client.channel.readConnectionLost()
    assert client.wire.disconnecting
    client.leave()
    assert (client.received, resource.asked) == (b"", [])


def test_half_closed_client_that_has_left() -> None:
    """A client that sends no more is held for gone when its answer is silent for five seconds."""
    resource = Wait()
    client = Client(resource)
    client.send(get(b"/slow"))
    client.wait(100)
    client.channel.readConnectionLost()
    client.wait(4)
    assert client.wire.open
    resource.waiting[0].write(b"piece")
    client.wait(4)
    assert client.wire.open
    client.wait(3)
    assert client.wire.aborted


def test_reading_is_not_resumed_on_a_half_closed_connection() -> None:
    """Nothing more is read from a client that sends no more, which would be told again and again."""
    resource = Wait()
    client = Client(resource)
    client.send(get(b"/slow") + get(b"/now", b"X: %b\r\n" % (b"a" * 16384)) + get(b"/late"))
    assert client.wire.producerState == "paused"
    client.channel.readConnectionLost()
    resource.answer()
    assert (len(client.statuses), client.wire.producerState) == (2, "paused")
    resource.answer()
    assert (len(client.statuses), client.wire.disconnecting) == (3, True)
    assert client.wire.producerState == "paused"


def test_closing_a_half_closed_connection_does_not_resume_reading() -> None:
    """Nothing is read from a client that sends no more when its connection is closed, either."""
    resource = Wait()
    client = Client(resource)
    client.send(get(b"/slow") + b"x" * 20000)
    client.channel.readConnectionLost()
    resource.waiting[0].loseConnection()
    assert (client.wire.disconnecting, client.wire.producerState) == (True, "paused")


def test_client_of_a_refusal_closes() -> None:
    """When the client of a refused request closes its side, the connection ends."""
    client = Client(Tell())
    client.send(b"nonsense\r\n\r\n")
    assert not client.wire.disconnecting
    client.channel.readConnectionLost()
    assert client.wire.disconnecting


def test_client_closes_before_it_has_taken_the_refusal() -> None:
    """The connection of a refused request also ends when the transport is still full of the answer."""

    class Full(Wire):
        def write(self, data: bytes) -> None:
            super().write(data)
            self.producer.pauseProducing()

    client = Client(Tell(), wire=Full())
    client.send(b"nonsense\r\n\r\n")
    client.channel.readConnectionLost()
    assert client.wire.disconnecting


def test_refused_after_the_client_half_closed() -> None:
    """There is nothing to wait for when the client of a refused request sends no more."""
    resource = Wait()
    client = Client(resource)
    client.send(get(b"/slow") + b"nonsense\r\n\r\n")
    client.channel.readConnectionLost()
    resource.answer()
    assert client.statuses == [200, 400]
    assert client.wire.disconnecting


def test_refused_over_tls() -> None:
    """A transport that cannot half-close, as Twisted's TLS, is closed: it reads on until the client closes, too."""

    client = Client(Tell(), wire=OverTLS(), secure=True)
    client.send(b"nonsense\r\n\r\n")
    assert client.wire.disconnecting
    client.send(GET)
    client.wait(20)
    assert (client.statuses, client.wire.aborted) == ([400], True)


def test_refused_over_a_transport_that_cannot_half_close() -> None:
    """Without half-closing the connection is closed."""
    client = Client(Tell(), wire=BareWire())
    client.send(b"nonsense\r\n\r\n")
    assert (client.statuses, client.wire.disconnecting) == ([400], True)


def test_refused_over_tls_that_can_half_close() -> None:
    """A TLS transport that can half-close does."""
    client = Client(Tell(), secure=True)
    client.send(b"nonsense\r\n\r\n")
    assert client.wire.half_closed
    assert not client.wire.disconnecting


# Backpressure


def test_reading_stops_while_a_request_is_open() -> None:
    """While a request waits for its answer no more than 16 KiB are read ahead."""
    resource = Wait()
    client = Client(resource)
    client.send(get(b"/slow") + b"x" * 16384)
    assert client.wire.producerState == "producing"
    client.send(b"x")
    assert client.wire.producerState == "paused"


def test_reading_goes_on_after_the_answer() -> None:
    """Reading goes on when the request that was waited for has been answered."""
    resource = Wait()
    client = Client(resource)
    client.send(get(b"/slow") + POST + b"Content-Length: 40000\r\n\r\n" + b"x" * 20000)
    assert client.wire.producerState == "paused"
    resource.answer()
    assert client.wire.producerState == "producing"


def test_no_request_is_begun_while_the_client_takes_nothing() -> None:
    """While the transport is full requests are not begun, and not read ahead without end."""
    resource = Tell()
    client = Client(resource)
    client.channel.pauseProducing()
    client.send(GET * 10)
    assert (resource.asked, client.wire.producerState) == ([], "producing")
    client.send(GET * 1000)
    assert (resource.asked, client.wire.producerState) == ([], "paused")
    client.channel.resumeProducing()
    assert len(client.statuses) == 1010
    assert client.wire.producerState == "producing"


class Producer:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def pauseProducing(self) -> None:
        self.told.append("pause")

    def resumeProducing(self) -> None:
        self.told.append("resume")

    def stopProducing(self) -> None:
        self.told.append("stop")


def test_producer_of_an_answer_is_paused() -> None:
    """What the transport says reaches the producer of the open answer; the next request waits for the transport."""
    resource = Wait()
    client = Client(resource)
    client.send(get(b"/slow") + get(b"/now"))
    producer = Producer()
    request = resource.waiting[0]
    request.registerProducer(producer, True)
    client.channel.pauseProducing()
    client.channel.resumeProducing()
    client.channel.pauseProducing()
    request.unregisterProducer()
    request.finish()
    assert producer.told == ["pause", "resume", "pause"]
    assert len(client.statuses) == 1
    client.channel.resumeProducing()
    assert len(client.statuses) == 2


def test_transport_that_is_filled_by_an_answer() -> None:
    """An answer that fills the transport is the last one until there is room."""

    class Full(Tell):
        def render(self, request: Any) -> bytes:
            request.channel.pauseProducing()
            return super().render(request)

    client = Client(Full())
    client.send(GET * 3)
    for count in (1, 2, 3):
        assert len(client.statuses) == count
        client.channel.resumeProducing()
    assert len(client.statuses) == 3


# Timeouts


def drip(data: bytes) -> Iterator[bytes]:
    """One byte at a time, and no end."""
    yield from (data[number : number + 1] for number in range(len(data)))
    while True:
        yield b"a"


TIMES = [
    ("fresh", b"", b"", 58, 61, []),
    ("idle", GET, b"", 58, 61, [200]),
    ("empty lines", b"", b"\r\n" * 40, 58, 61, []),
    ("slow line", b"", b"GET /", 28, 30, [408]),
    ("slow field", b"GET / HTTP/1.1\r\nHost: a\r\nX: ", b"a", 28, 30, [408]),
    ("silent line", b"GET /", None, 28, 30, [408]),
    ("silent after the line", b"GET / HTTP/1.1\r\n", None, 28, 30, [408]),
    ("slow second head", GET, b"GET /", 28, 30, [200, 408]),
    ("slow body", POST + b"Content-Length: 999\r\n\r\n", b"a", 12, 30, [408]),
    ("slow chunk", POST + b"Transfer-Encoding: chunked\r\n\r\nFFF\r\n", b"a", 12, 30, [408]),
    ("silent body", POST + b"Content-Length: 999\r\n\r\n", None, 12, 30, [408]),
]


@pytest.mark.parametrize(
    ("first", "slow", "least", "most", "statuses"), [row[1:] for row in TIMES], ids=[row[0] for row in TIMES]
)
def test_slow_clients(first: bytes, slow: bytes | None, least: int, most: int, statuses: list[int]) -> None:
    """A client that is idle or too slow is cut off in time, however regularly it sends something."""
    client = Client(Tell())
    client.clock.advance(0.4)
    client.send(first)
    dripping = drip(slow) if slow else None
    seconds = 0
    while client.wire.open and seconds < 200:
        if dripping:
            client.send(next(dripping))
        client.wait(1)
        seconds += 1
    assert least <= seconds <= most
    assert client.statuses == statuses


def test_body_that_stalls() -> None:
    """A body that came fast and then stalls is cut off within thirty seconds; one that keeps its rate is not."""
    client = Client(Tell())
    client.send(POST + b"Content-Length: 1000000\r\n\r\n")
    for _ in range(300):
        client.send(b"x" * 300)
        client.wait(1)
    assert client.wire.open
    client.wait(30)
    assert client.statuses == [408]
    assert client.wire.half_closed


def test_each_body_has_to_keep_its_rate() -> None:
    """A body that stalls is not helped by one that came before it."""
    client = Client(Tell())
    client.send(POST + b"Content-Length: 90000\r\n\r\n" + b"x" * 90000)
    client.send(POST + b"Content-Length: 90000\r\n\r\n")
    client.wait(16)
    assert client.statuses == [200, 408]


def test_request_may_take_its_time() -> None:
    """There is no timeout while the server prepares an answer."""
    resource = Wait()
    client = Client(resource)
    client.send(get(b"/slow"))
    client.wait(1000)
    resource.answer()
    assert client.bodies == [b"/slow"]
    client.wait(58)
    assert client.wire.open


def test_idle_time_starts_with_each_answer() -> None:
    """A connection that is used now and then stays open."""
    client = Client(Tell())
    for _ in range(10):
        client.send(GET)
        client.wait(50)
    assert client.wire.open


def test_no_idle_timeout() -> None:
    """A site without an idle timeout keeps idle connections."""
    client = Client(Tell())
    client.channel.timeOut = None
    client.wait(1000)
    assert client.wire.open


@pytest.mark.parametrize("progress", ["offset", "dataBuffer", "busy"])
def test_client_that_takes_nothing(progress: str) -> None:
    """A client that takes nothing of an answer for sixty seconds is dropped; a slow one is not."""

    class Transfer:
        def __init__(self, offset: int) -> None:
            self.offset = offset

    client = Client(Wait())
    client.send(get(b"/slow"))
    client.channel.pauseProducing()
    for second in range(200):
        value: Any = {"offset": second, "dataBuffer": b"x" * second, "busy": Transfer(second)}[progress]
        setattr(client.wire, progress, value)
        client.wait(1)
    assert client.wire.open
    client.wait(58)
    assert client.wire.open
    client.wait(3)
    assert client.wire.aborted


def test_client_that_does_not_let_go() -> None:
    """A connection that is being closed is dropped when the client takes nothing for fifteen seconds."""
    client = Client(Tell())
    client.send(get(b"/", b"Connection: close\r\n"))
    client.wait(13)
    assert not client.wire.aborted
    client.wait(3)
    assert client.wire.aborted


def test_client_of_a_refusal_sends_on() -> None:
    """A client that does not mind its refusal has the connection closed after fifteen seconds."""
    client = Client(Tell())
    client.send(b"nonsense\r\n\r\n")
    for _ in range(14):
        client.send(b"x" * 1000)
        client.wait(1)
        assert not client.wire.disconnecting
    client.wait(2)
    assert client.wire.disconnecting


def test_client_of_a_refusal_sends_too_much() -> None:
    """A client that sends 64 MiB after its refusal is dropped."""
    client = Client(Tell())
    client.send(b"nonsense\r\n\r\n")
    piece = bytes(1 << 20)
    for _ in range(LINGER_BYTES >> 20):
        client.send(piece)
    assert not client.wire.aborted
    client.send(b"x")
    assert client.wire.aborted


def test_own_times() -> None:
    """All times but the idle one are settings."""
    client = Client(Tell(), timeouts=Timeouts(head=5, linger=2))
    client.send(b"GET")
    client.wait(6)
    assert client.statuses == [408]
    client.wait(3)
    assert client.wire.disconnecting


def test_idle_connection_forgets() -> None:
    """What is remembered to serve the next request faster is forgotten while nothing comes."""
    resource = Tell()
    client = Client(resource)
    client.send(GET * 3)
    for _ in range(3):
        client.channel.getPeer()
    assert client.wire.asked_for_peer == 1
    client.wait(3)
    client.send(GET)
    client.channel.getPeer()
    assert client.wire.asked_for_peer == 2
    _, second, third, later = (request.head for request in resource.asked)
    assert third is second
    assert later is not second
    assert later.line == second.line


# The end of a connection


@pytest.mark.parametrize("data", [b"", GET, get(b"/slow"), POST + b"Content-Length: 9\r\n\r\nx"])
def test_client_leaves(data: bytes) -> None:
    """When the client leaves, its request is told, and the site does not look at the connection any more."""
    resource = Wait()
    client = Client(resource)
    assert client.site.channels == {client.channel}
    client.send(data)
    client.leave()
    assert resource.gone == [request.uri for request in resource.waiting]
    assert client.site.channels == set()


def test_request_loses_its_connection() -> None:
    """A request may close its connection, and nothing that follows it is run."""
    resource = Wait()
    client = Client(resource)
    client.send(get(b"/slow"))
    resource.waiting[0].loseConnection()
    client.send(get(b"/now"))
    client.channel.loseConnection()
    assert (client.received, client.wire.disconnecting) == (b"", True)


def test_request_finishes_after_it_closed() -> None:
    """A request that closes its connection may finish; the next one is not begun."""
    resource = Wait()
    client = Client(resource)
    client.send(get(b"/slow") + get(b"/now"))
    resource.waiting[0].loseConnection()
    resource.answer()
    assert client.bodies == [b"/slow"]


def test_request_aborts_its_connection() -> None:
    """A request may drop its connection."""
    resource = Wait()
    client = Client(resource)
    client.send(get(b"/slow"))
    resource.waiting[0].abort()
    client.send(get(b"/now"))
    assert (client.received, client.wire.aborted) == (b"", True)


def test_drain_while_a_request_is_open() -> None:
    """A connection that drains answers the open request, says that it closes, and closes."""
    resource = Wait()
    client = Client(resource)
    client.send(get(b"/slow"))
    client.channel.drain()
    resource.answer()
    assert b"\r\nConnection: close\r\n" in client.received
    assert client.wire.disconnecting


def test_drain_while_an_answer_is_sent() -> None:
    """An answer that has begun is finished before a draining connection is closed."""
    resource = Wait()
    client = Client(resource)
    client.send(get(b"/slow"))
    resource.waiting[0].write(b"piece")
    client.channel.drain()
    assert client.wire.open
    resource.waiting[0].finish()
    assert client.wire.disconnecting


def test_drain_while_idle() -> None:
    """A request that is on its way when a connection begins to drain is answered; it is the last one."""
    client = Client(Tell())
    client.send(GET)
    client.channel.drain()
    assert client.wire.open
    client.send(GET)
    assert client.statuses == [200, 200]
    assert client.received.count(b"\r\nConnection: close\r\n") == 1
    assert client.wire.disconnecting


def test_drain_of_an_idle_connection_ends() -> None:
    """A draining connection on which no request comes is closed after a second or two."""
    client = Client(Tell())
    client.send(GET)
    client.wait(5)
    client.channel.drain()
    client.wait(2)
    assert client.wire.disconnecting


# Twisted's contracts


def test_only_the_open_request_is_done() -> None:
    """A request that is not being answered cannot be done; whether it is the one is asked by ``!=``."""

    class Proxy:
        def __ne__(self, other: object) -> bool:
            return other is not resource.waiting[0]

    resource = Wait()
    client = Client(resource)
    client.send(get(b"/slow"))
    with pytest.raises(TypeError):
        client.channel.requestDone(object())
    client.channel.requestDone(Proxy())
    client.send(get(b"/now"))
    assert client.bodies == [b"/now"]


def test_stock_request() -> None:
    """Twisted's own request works on the channel, refusals included."""
    resource = Tell()
    client = Client(resource, request_factory=server.Request)
    client.site._parsePOSTFormSubmission = True
    client.send(get(b"/a", b"Cookie: b=c\r\n") + POST + b"Content-Length: 2\r\n\r\nhi" + b"nonsense\r\n\r\n")
    assert client.statuses == [200, 200, 400]
    assert resource.asked[0].received_cookies == {b"b": b"c"}
    assert b"The request line is malformed.\n" in client.received
    assert client.wire.half_closed


def test_stock_request_with_a_malformed_form() -> None:
    """A form that Twisted's request cannot read is answered with 400."""
    client = Client(Tell(), request_factory=server.Request)
    client.site._parsePOSTFormSubmission = True
    kind = b"Content-Type: multipart/form-data\r\n"
    client.send(POST + kind + b"Content-Length: 5\r\n\r\n--x\r\n")
    assert client.statuses == [400]
    assert client.wire.disconnecting


def test_refused_after_its_answer_began() -> None:
    """When a request turns out to be malformed after its answer has begun, the connection is dropped."""

    class Streaming(Request):
        def gotLength(self, length: int | None) -> None:
            super().gotLength(length)
            self.write(b"begun")

    client = Client(Tell(), request_factory=Streaming)
    client.send(POST + b"Transfer-Encoding: chunked\r\n\r\nx")
    assert client.statuses == [200]
    assert client.wire.aborted
    client.leave()


def test_head_of_an_answer_as_pairs() -> None:
    """The head of an answer may be given as pairs, as Twisted allows."""
    client = Client(Wait())
    client.send(get(b"/slow"))
    client.channel.writeHeaders(b"HTTP/1.0", b"200", b"OK", [(b"x-a", b"b\r\nc")])
    assert client.received == b"HTTP/1.1 200 OK\r\nX-A: b c\r\n\r\n"


def test_head_of_an_answer() -> None:
    """The version of an answer is that of the server (RFC 9110, 6.2); repeated fields are lines of their own."""
    client = Client(Wait())
    client.send(get(b"/slow"))
    client.channel.writeHeaders(b"HTTP/1.0", b"200", b"OK", Headers({b"a": [b"b", b"c"], b"d": [b"e"]}))
    assert client.received == b"HTTP/1.1 200 OK\r\nA: b\r\nA: c\r\nD: e\r\n\r\n"


def test_connection_of_somebody_else() -> None:
    """A connection that turns out to be another protocol's, as HTTP/2, is not timed any more."""
    client = Client(Tell())
    client.channel.setTimeout(None)
    client.wait(1000)
    assert client.wire.open
    assert client.site.channels == set()


class Frames(Protocol):
    """What a connection is upgraded to."""

    def __init__(self) -> None:
        self.seen: list[bytes | str] = []

    def dataReceived(self, data: bytes) -> None:
        self.seen.append(data)

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008
        self.seen.append("lost")


class Upgrade(Wait):
    """Hands its connection to another protocol."""

    def render(self, request: Any) -> int:
        super().render(request)
        self.frames = Frames()
        request.channel._protocolUpgradeForWebsockets(self.frames)
        request.channel.transport.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        return NOT_DONE_YET


def test_upgrade() -> None:
    """An upgraded connection belongs to its protocol: data, producers and time; the request learns of its end."""
    resource = Upgrade()
    client = Client(resource)
    client.send(get(b"/up") + b"first")
    assert resource.frames.seen == []
    client.clock.advance(0)
    client.send(GET)
    client.wire.registerProducer(Producer(), True)
    client.wait(1000)
    assert resource.frames.seen == [b"first", GET]
    assert (client.statuses, client.wire.open, resource.gone) == ([101], True, [])
    assert client.site.channels == {client.channel}
    client.leave()
    assert (resource.frames.seen[2:], resource.gone) == (["lost"], [b"/up"])
    assert client.site.channels == set()


def test_upgraded_client_half_closes() -> None:
    """An upgraded connection is closed when the client sends no more."""
    resource = Upgrade()
    client = Client(resource)
    client.send(get(b"/up"))
    client.channel.readConnectionLost()
    assert client.wire.disconnecting


# Headers that are shared


def fields_of(lines: bytes) -> RequestFields:
    parser = Parser()
    parser.receive(b"GET / HTTP/1.0\r\n" + lines + b"\r\n")
    head = parser.next_event()
    assert isinstance(head, Head)
    return RequestFields(head.fields)


LINES = b"Host: a\r\nx-B: 1\r\nX-b: \xc3\xa9\r\n"


def test_headers() -> None:
    """The headers of a request are found by any spelling of their names, as bytes or text."""
    headers = fields_of(LINES)
    assert headers.getRawHeaders(b"x-b") == [b"1", b"\xc3\xa9"]
    assert headers.getRawHeaders("X-B") == ["1", "é"]
    assert headers.getRawHeaders(b"Y") is None
    assert headers.getRawHeaders(b"Y", [b"z"]) == [b"z"]
    assert (headers.hasHeader(b"hOST"), headers.hasHeader("Y")) == (True, False)


def test_headers_as_twisted_has_them() -> None:
    """In everything else they are what Twisted's own headers are."""
    headers, twisted = fields_of(LINES), Headers({b"Host": [b"a"], b"X-B": [b"1", b"\xc3\xa9"]})
    assert list(headers.getAllRawHeaders()) == list(twisted.getAllRawHeaders())
    assert headers == twisted
    assert fields_of(LINES).copy() == twisted
    with pytest.raises(AttributeError):
        _ = headers.missing


def test_changed_headers() -> None:
    """A request that changes its headers, or a list it got from them, changes no other request's."""
    resource = Tell()
    client = Client(resource)
    client.send(get(b"/", b"X: y\r\n") * 4)
    first, second, third, fourth = (request.requestHeaders for request in resource.asked)
    first.getRawHeaders(b"X").append(b"z")
    second.addRawHeader(b"X", b"z")
    second.setRawHeaders(b"Host", [b"b"])
    dict(third.getAllRawHeaders())[b"X"].append(b"z")
    third.removeHeader(b"Host")
    assert (second.getRawHeaders(b"X"), second.getRawHeaders(b"Host")) == ([b"y", b"z"], [b"b"])
    assert third.hasHeader(b"Host") is False
    assert dict(first.getAllRawHeaders()) == dict(fourth.getAllRawHeaders()) == {b"Host": [b"a"], b"X": [b"y"]}
    client.send(get(b"/", b"X: y\r\n"))
    assert resource.asked[-1].getHeader(b"X") == b"y"


def test_a_failing_connection_harms_no_other(failures: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection whose timeouts cannot be looked at is dropped, and the others are looked after."""
    clock = Clock()
    site = Site(Resource(), reactor=clock)
    site.startFactory()
    exchanges = [SiteAgent(site, clock=clock).connect() for _ in range(3)]
    for channel in list(site.channels)[:1]:
        monkeypatch.setattr(channel, "_describe", lambda: 1 / 0)
    clock.pump([5] * 14)
    assert all(exchange.transport.disconnecting for exchange in exchanges)
    assert [exchange.transport.aborted for exchange in exchanges].count(True) == 1
    assert failures
    site.stopFactory()
