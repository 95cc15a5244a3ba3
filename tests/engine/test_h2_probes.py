"""
Clients of HTTP/2 that ask for much and take little, in memory and by the clock: what is held, and when they are cut off.
"""

from __future__ import annotations

from collections import Counter

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.web.resource import Resource

from mixweb.engine.h2frames import TOLERATED, TOLERATED_PER_SECOND
from mixweb.engine.site import Site
from mixweb.testing import MemoryTransport
from tests.wire.http2 import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    LARGEST_WINDOW,
    PING,
    PREFACE,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
    frames,
    number,
    request,
    setting,
)

GET, POST = b"\x82", b"\x83"

#: What the transport takes before it says that it is full, in bytes.
FULL = 256 * 1024

#: What one read brings, in bytes.
READ = 64 * 1024


class Page(Resource):
    """
    Answers with what it was given.

    :ivar rendered: how often it was asked.
    """

    isLeaf = True

    def __init__(self, body):
        super().__init__()
        self.body = body
        self.rendered = 0

    def render_GET(self, request):
        self.rendered += 1
        return self.body

    render_POST = render_GET


class Transport(MemoryTransport):
    """A transport that says when it is full, as a socket does whose client does not read."""

    full = False

    def write(self, data):
        super().write(data)
        if self.io.tell() > FULL and self.producer is not None:
            self.full = True
            self.producer.pauseProducing()

    def empty(self):
        """Have the client read everything."""
        self.clear()
        full, self.full = self.full, False
        if full and self.producer is not None:
            self.producer.resumeProducing()


class Server:
    """A site that its clients connect to."""

    def __init__(self, body=b"x" * 1024):
        self.clock = Clock()
        self.page = Page(body)
        self.site = Site(self.page, reactor=self.clock, timeout=60)
        self.site.http2 = "own"
        self.site.startFactory()

    def connect(self, *settings):
        """A connection."""
        return Connection(self, settings)

    def wait(self, seconds):
        """Let time go by."""
        for _ in range(seconds):
            self.clock.advance(1)


class Link:
    """A connection to a server. What the client sends arrives while the server reads."""

    def __init__(self, server):
        self.server = server
        self.transport = Transport(True, IPv4Address("TCP", "127.0.0.1", 443), IPv4Address("TCP", "127.0.0.1", 5))
        self.transport.negotiatedProtocol = b"h2"
        self.protocol = server.site.buildProtocol(None)
        self.protocol.makeConnection(self.transport)

    @property
    def closed(self):
        """Whether the server has closed the connection, or its half."""
        return self.transport.disconnecting

    def send(self, data):
        """Send octets, as far as the server reads them, and return how many it has read."""
        taken = 0
        while taken < len(data) and self.transport.producerState == "producing" and not self.closed:
            self.protocol.dataReceived(data[taken : taken + READ])
            taken += READ
            self.server.clock.advance(0)
        return min(taken, len(data))


class Connection(Link):
    """A client that sends what it is told to."""

    def __init__(self, server, settings):
        super().__init__(server)
        self.found = []
        self.send(PREFACE + frame(SETTINGS, 0, 0, b"".join(setting(*each) for each in settings)))

    def read(self):
        """Read all frames that there are."""
        while self.transport.value():
            found, rest = frames(self.transport.value())
            assert not rest
            self.found += found
            self.transport.empty()
            self.server.clock.advance(0)
        return self.found

    def codes(self, kind):
        """The error codes of the frames of a kind that were read."""
        at = 4 if kind == GOAWAY else 0
        return [int.from_bytes(payload[at : at + 4], "big") for found, _, _, payload in self.read() if found == kind]


def requests(first, count, path=b"/"):
    """The frames of requests on so many streams."""
    return b"".join(request(stream, path) for stream in range(first, first + 2 * count, 2))


def test_unread_answers():
    """Answers that nobody reads stop the server from reading, and each request is answered when the client goes on."""
    server = Server()
    client = server.connect((INITIAL_WINDOW_SIZE, LARGEST_WINDOW))
    client.send(frame(WINDOW_UPDATE, 0, 0, number(LARGEST_WINDOW - 65535)))
    sent = requests(1, 60_000)
    most = taken = 0
    while taken < len(sent):
        step = client.send(sent[taken : taken + READ])
        most = max(most, len(client.transport.value()))
        held = client.transport.producerState == "paused"
        assert step or held
        taken += step
        if held:
            assert client.send(sent[taken : taken + READ]) == 0
            client.read()
    client.read()
    assert most < 2 * FULL
    ended = Counter(stream for kind, flags, stream, _ in client.found if kind == DATA and flags & END_STREAM)
    assert len(ended) == server.page.rendered == 60_000
    assert set(ended.values()) == {1}


def test_stalled_streams():
    """1,000 streams whose windows are closed are reset when the client has taken nothing for the time it may take."""
    server = Server()
    clients = [server.connect((INITIAL_WINDOW_SIZE, 0)) for _ in range(10)]
    for client in clients:
        client.send(requests(1, 100))
        assert Counter(kind for kind, *_ in client.read())[HEADERS] == 100
    assert server.page.rendered == 1000
    server.wait(50)
    assert not any(client.codes(RST_STREAM) for client in clients)
    server.wait(15)
    for client in clients:
        assert len(client.codes(RST_STREAM)) == 100 or client.closed
    assert not any(channel.requests for channel in server.site.channels)


@pytest.mark.parametrize("window", [0, 1, 1000])
def test_stalled_connection(window):
    """What is held for a client whose windows are closed is bounded: its further requests wait unprocessed."""
    server = Server(b"x" * 65_000)
    client = server.connect((INITIAL_WINDOW_SIZE, window))
    client.send(requests(1, 100))
    (channel,) = server.site.channels
    assert server.page.rendered < 20
    assert channel.held_bytes < 2 * 1024 * 1024
    server.wait(65)
    assert client.codes(RST_STREAM) or client.closed


def test_window_of_the_connection():
    """A closed window of the connection stalls its streams as their own windows do."""
    server = Server(b"x" * 65_535)
    client = server.connect((INITIAL_WINDOW_SIZE, LARGEST_WINDOW))
    client.send(requests(1, 3))
    assert sum(len(payload) for kind, _, _, payload in client.read() if kind == DATA) == 65_535
    server.wait(65)
    assert len(client.codes(RST_STREAM)) == 3 or client.closed


def test_window_opened_late():
    """A client that opens its windows in time gets its answers."""
    server = Server()
    client = server.connect((INITIAL_WINDOW_SIZE, 0))
    client.send(requests(1, 20))
    server.wait(40)
    client.send(frame(SETTINGS, 0, 0, setting(INITIAL_WINDOW_SIZE, 10_000)))
    server.clock.advance(0)
    assert sum(len(payload) for kind, _, _, payload in client.read() if kind == DATA) == 20 * 1024
    assert client.codes(RST_STREAM) == []


def reset(stream):
    """A request that is taken back."""
    return request(stream, b"/") + frame(RST_STREAM, 0, stream, number(8))


def end_twice(stream):
    """Data on a stream that the client has ended."""
    return request(stream, b"/") + frame(DATA, END_STREAM, stream, b"x")


PROVOKED = {
    "reset": reset,
    "window update of nothing": lambda stream: (
        request(stream, b"/", POST, False) + frame(WINDOW_UPDATE, 0, stream, number(0))
    ),
    "window too large": lambda stream: (
        request(stream, b"/", POST, False) + frame(WINDOW_UPDATE, 0, stream, number(LARGEST_WINDOW))
    ),
    "malformed": lambda stream: frame(HEADERS, END_HEADERS | END_STREAM, stream, b"\x82\x87\x84"),
    "longer than announced": lambda stream: (
        frame(HEADERS, END_HEADERS, stream, b"\x83\x87\x84\x01\x01a\x0f\x0d\x011") + frame(DATA, 0, stream, b"xx")
    ),
    "shorter than announced": lambda stream: (
        frame(HEADERS, END_HEADERS, stream, b"\x83\x87\x84\x01\x01a\x0f\x0d\x013") + frame(DATA, 1, stream, b"xx")
    ),
    "trailers that do not end it": lambda stream: (
        request(stream, b"/", POST, False) + frame(HEADERS, END_HEADERS, stream, b"\x00\x01a\x01b")
    ),
}


@pytest.mark.parametrize("name", PROVOKED)
def test_resets(name):
    """A client may cause so many resets at once and so many each second, then it is told to calm down."""
    server = Server(Deferred())
    client = server.connect()
    provoke = PROVOKED[name]
    for stream in range(1, 2 * TOLERATED, 2):
        client.send(provoke(stream))
    assert client.codes(GOAWAY) == []
    server.wait(10)
    first = 2 * TOLERATED + 1
    for stream in range(first, first + 2 * TOLERATED_PER_SECOND * 9, 2):
        client.send(provoke(stream))
    assert client.codes(GOAWAY) == []
    for stream in range(first + 2000, first + 4000, 2):
        client.send(provoke(stream))
    assert client.codes(GOAWAY) == [ENHANCE_YOUR_CALM]
    assert client.closed
    assert server.page.rendered < TOLERATED + TOLERATED_PER_SECOND * 12


def test_one_bucket():
    """Resets that were sent and resets that were provoked, of whatever kind, count together."""
    server = Server(Deferred())
    client = server.connect()
    kinds = list(PROVOKED.values())
    for number_of in range(TOLERATED + 50):
        client.send(kinds[number_of % len(kinds)](2 * number_of + 1))
    assert client.codes(GOAWAY) == [ENHANCE_YOUR_CALM]


def test_resets_of_answered_streams():
    """Resets count for streams, too, that were answered before they came."""
    server = Server(b"x")
    client = server.connect((INITIAL_WINDOW_SIZE, LARGEST_WINDOW))
    client.send(frame(WINDOW_UPDATE, 0, 0, number(LARGEST_WINDOW - 65535)))
    for stream in range(1, 2 * TOLERATED + 100, 2):
        client.send(reset(stream))
    assert client.codes(GOAWAY) == [ENHANCE_YOUR_CALM]
    assert server.page.rendered <= TOLERATED + 1


FLOODS = {
    "ping": frame(PING, 0, 0, bytes(8)),
    "settings": frame(SETTINGS),
    "many settings": frame(SETTINGS, 0, 0, setting(INITIAL_WINDOW_SIZE, 65535) * 100),
    "empty data": frame(DATA, 0, 1),
    "empty data with padding": frame(DATA, 8, 1, b"\x03abc"),
    "unknown": frame(0xEE, 0, 0, b"x"),
}


@pytest.mark.parametrize("name", FLOODS)
def test_floods(name):
    """Frames that bring nothing are counted; answers to them do not pile up."""
    server = Server(Deferred())
    client = server.connect()
    client.send(request(1, b"/", POST, False))
    most = 0
    for _ in range(TOLERATED - 10):
        client.send(FLOODS[name])
        most = max(most, len(client.transport.value()))
        if len(client.transport.value()) > READ:
            client.read()
    assert client.codes(GOAWAY) == []
    client.send(FLOODS[name] * 200)
    assert client.codes(GOAWAY) == [ENHANCE_YOUR_CALM]
    assert client.closed
    assert most < 2 * READ


CHEAP = {
    "priority": lambda count: frame(PRIORITY, 0, 2 * count + 1, number(0) + b"\x05"),
    "window update": lambda count: frame(WINDOW_UPDATE, 0, 0, number(1)),
    "acknowledgements": lambda count: frame(PING, ACK, 0, bytes(8)),
    "priority update": lambda count: frame(0x10, 0, 0, number(2 * count + 1) + b"u=1"),
}


@pytest.mark.parametrize("name", CHEAP)
def test_cheap_frames(name):
    """Frames that are passed over leave nothing behind, or end the connection."""
    server = Server()
    client = server.connect()
    client.send(b"".join(map(CHEAP[name], range(40_000))))
    assert len(client.transport.value()) < READ
    assert client.closed or client.send(request(1, b"/"))
    client.read()
    assert client.closed or server.page.rendered == 1


@pytest.mark.parametrize(
    "flood",
    [
        frame(HEADERS, 0, 1, b"\x82") + frame(CONTINUATION, 0, 1) * 40,
        frame(HEADERS, 0, 1, b"\x82") + frame(CONTINUATION, 0, 1, b"\x00\x01a\x7f\x81\x7c" + b"b" * 16_000) * 5,
    ],
)
def test_continuation(flood):
    """A header block in ever more frames ends the connection before it is decoded."""
    client = Server().connect()
    client.send(flood)
    assert client.codes(GOAWAY) == [ENHANCE_YOUR_CALM]


def test_slow_head():
    """A header block that does not come to its end is cut off in time, whatever its connection does besides."""
    server = Server()
    client = server.connect()
    client.send(frame(HEADERS, 0, 1, b"\x82"))
    for second in range(40):
        server.wait(1)
        if second % 10 == 0 and not client.closed:
            client.send(frame(CONTINUATION, 0, 1))
    assert client.closed


def test_slow_body():
    """A body that comes too slowly is refused in time."""
    server = Server()
    client = server.connect()
    client.send(request(1, b"/", POST, False))
    for _ in range(30):
        client.send(frame(DATA, 0, 1, b"x"))
        server.wait(1)
    heads = [payload for kind, _, stream, payload in client.read() if kind == HEADERS]
    assert heads[0].startswith(b"\x08\x03408")
    assert server.page.rendered == 0


def test_large_section():
    """A small block that means a large section is refused with 431, and the connection goes on."""
    client = Server().connect()
    block = b"\x82\x87\x84\x01\x01a" + b"\x40\x01x\x7f\xa1\x1e" + b"y" * 4000 + b"\xbe" * 12_000
    client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, block) + request(3, b"/"))
    heads = {stream: payload for kind, _, stream, payload in client.read() if kind == HEADERS}
    assert heads[1].startswith(b"\x08\x03431")
    assert heads[3].startswith(b"\x88")


def test_requests_after_the_end():
    """Requests that come behind a GOAWAY of the server are not processed."""
    server = Server()
    client = server.connect()
    client.send(b"".join(map(reset, range(1, 4 * TOLERATED, 2))))
    rendered = server.page.rendered
    client.send(requests(4 * TOLERATED + 1, 100))
    assert server.page.rendered == rendered <= TOLERATED + 1
