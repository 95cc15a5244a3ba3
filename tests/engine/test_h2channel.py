"""
Connections of HTTP/2: requests on their streams, how their answers share a connection, and how it ends.
"""

import struct

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web import server
from twisted.web.http_headers import Headers
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, TextMessage
from zope.interface import implementer

from mixweb._testing_http2 import Http2Exchange, _frames
from mixweb.engine._h2_frame import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADER_TABLE_SIZE,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MAX_FRAME,
    PADDED,
    PING,
    PREFACE,
    PRIORITY_UPDATE,
    RST_STREAM,
    SETTINGS,
    STREAM_WINDOW,
    WINDOW_UPDATE,
    Code,
    frame,
)
from mixweb.engine._h2_stream import HELD_BYTES
from mixweb.engine.body import IBodyReceiver
from mixweb.engine.h2channel import Http2Connection
from mixweb.engine.hpack import Decoder, encode_field
from mixweb.engine.site import Site
from mixweb.features.websocket import WebSocket, build
from mixweb.testing import MemoryTransport, SiteAgent, make_context

ALL = END_HEADERS | END_STREAM


def long(number):
    """A number in four octets."""
    return struct.pack(">I", number)


def settings(**values):
    """SETTINGS with an initial window or a table size."""
    names = {"window": INITIAL_WINDOW_SIZE, "table": HEADER_TABLE_SIZE}
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", names[name], value) for name, value in values.items()))


def request(stream, path="/", method="GET", end=True, **fields):
    """The HEADERS of a request."""
    pairs = {":method": method, ":scheme": "https", ":path": path, ":authority": "localhost", **fields}
    block = b"".join(encode_field(name.replace("_", "-").encode(), value.encode()) for name, value in pairs.items())
    return frame(HEADERS, ALL if end else END_HEADERS, stream, block)


class Client:
    """A client that sees every frame."""

    def __init__(self, pages, window=2**20, begin=True, **changes):
        self.clock = Clock()
        self.site = pages if isinstance(pages, Site) else Site(pages, reactor=self.clock)
        self.clock = self.site.reactor
        for name, value in changes.items():
            setattr(self.site, name, value)
        self.transport = MemoryTransport(True, IPv4Address("TCP", "127.0.0.1", 443), IPv4Address("TCP", "10.0.0.1", 5))
        self.transport.negotiatedProtocol = b"h2"
        self.protocol = self.site.buildProtocol(None)
        self.protocol.makeConnection(self.transport)
        self.decoder = Decoder()
        self.writes = []
        write = self.transport.write
        self.transport.write = lambda data: (self.writes.append(len(data)), write(data))[1]
        if begin:
            self.send(PREFACE + settings(window=window) + frame(WINDOW_UPDATE, 0, 0, long(2**30)))
            self.frames()
        self.writes.clear()

    def send(self, *frames):
        """Deliver frames in one read."""
        self.protocol.dataReceived(b"".join(frames))

    @property
    def channel(self):
        (found,) = self.site.channels
        return found

    def frames(self):
        """What was sent since the last look."""
        self.clock.advance(0)
        data = self.transport.value()
        self.transport.clear()
        return list(_frames(data))

    def of(self, stream):
        """What was sent on a stream since the last look: heads as dictionaries, bodies, and codes of resets."""
        return self.sorted().get(stream, [])

    def sorted(self):
        """What was sent on each stream since the last look."""
        found = {}
        for kind, flags, stream, payload in self.frames():
            seen = found.setdefault(stream, [])
            if kind == HEADERS:
                seen.append({name.decode(): value.decode() for name, value in self.decoder.decode(payload)})
            elif kind == DATA:
                seen.append(payload)
            elif kind == RST_STREAM:
                seen.append(Code(struct.unpack(">I", payload)[0]))
            if flags & END_STREAM and kind in (HEADERS, DATA):
                seen.append("end")
        return found

    def goaways(self):
        """Last stream and code of each GOAWAY since the last look."""
        return [struct.unpack(">II", payload[:8]) for kind, _, _, payload in self.frames() if kind == GOAWAY]

    def sweep(self, seconds):
        """So many seconds pass, with a look at the connection in each."""
        for _ in range(seconds):
            self.clock.advance(1)
            for channel in list(self.site.channels):
                channel.check_timeouts(self.clock.seconds())


class Page(Resource):
    """Answers every method with a function, and keeps what happened to its requests."""

    isLeaf = True

    def __init__(self, answer=b"hello"):
        super().__init__()
        self.answer = answer
        self.requests = []
        self.ended = []

    def render(self, request):
        self.requests.append(request)
        request.notifyFinish().addBoth(lambda found: self.ended.append(found and type(found.value)))
        return self.answer(request) if callable(self.answer) else self.answer


def agent(answer, **changes):
    """Asks a page over HTTP/2."""
    page = Page(answer)
    made = SiteAgent(page, http2=True)
    for name, value in changes.items():
        setattr(made.site, name, value)
    made.page = page
    return made


# Requests and answers


def test_answer():
    """A request has its line, fields and addresses; its answer is sent in lower case, without fields of a connection."""

    def answer(request):
        request.setHeader(b"X-Thing", b"one")
        request.setHeader(b"Connection", b"close")
        facts = (
            request.method,
            request.uri,
            request.clientproto,
            request.getHeader(b"host"),
            request.getHeader(b"cookie"),
        )
        assert facts == (b"PUT", b"/a?b=c", b"HTTP/2", b"localhost", b"a=b; c=d")
        assert request.transport is None
        assert request.isSecure()
        assert (request.getClientAddress().host, request.getHost().port) == ("10.0.0.1", 443)
        return b"hello"

    client = Client(Page(answer))
    fields = b"".join(encode_field(b"cookie", value) for value in (b"a=b", b"c=d"))
    head = request(1, "/a?b=c", "PUT")
    client.send(frame(HEADERS, ALL, 1, head[9:] + fields))
    headers, body, end = client.of(1)
    assert headers.pop("date")
    assert headers == {
        ":status": "200", "server": "mixweb", "content-type": "text/html", "content-length": "5", "x-thing": "one",
    }  # fmt: skip
    assert (body, end) == (b"hello", "end")
    assert client.channel.requests == []


@pytest.mark.parametrize(
    ("method", "status", "length"),
    [("HEAD", 200, "5"), ("GET", 204, None), ("GET", 304, None), ("GET", 200, "5"), ("GET", 404, "5")],
)
def test_bodiless(method, status, length):
    """HEAD, 204 and 304 have no body, and end with their head."""

    def answer(request):
        request.setResponseCode(status)
        return b"hello"

    client = Client(Page(answer))
    client.send(request(1, method=method))
    headers, *rest = client.of(1)
    assert (headers[":status"], headers.get("content-length")) == (str(status), length)
    assert rest == ([b"hello", "end"] if method == "GET" and status in (200, 404) else ["end"])


def test_head_in_pieces():
    """The answer to HEAD that is written in pieces has no body either."""

    def answer(request):
        request.write(b"hello")
        request.finish()
        return NOT_DONE_YET

    client = Client(Page(answer))
    client.send(request(1, method="HEAD"))
    assert client.of(1)[1:] == [b"", "end"]


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_pieces(size):
    """A conversation that is cut anywhere goes as one that is not."""
    client = Client(Page(lambda request: request.content.read()), begin=False)
    data = b"".join(
        [
            PREFACE, settings(window=2**20), frame(SETTINGS, ACK, 0), request(1), request(3, method="POST", end=False),
            frame(DATA, PADDED, 3, b"\3abc\0\0\0"), frame(PING, 0, 0, b"12345678"), frame(DATA, 0, 3, b"def"),
            frame(HEADERS, ALL, 3, encode_field(b"x-sum", b"1")), request(5, method="POST", end=False, content_length="2"),
            frame(DATA, END_STREAM, 5, b"gh"),
        ]
    )  # fmt: skip
    for at in range(0, len(data), size):
        client.send(data[at : at + size])
    found = client.sorted()
    assert [found[stream][1:] for stream in (1, 3, 5)] == [["end"], [b"abcdef", "end"], [b"gh", "end"]]


@pytest.mark.parametrize("answer", [b"x" * 100_000, [b"x" * 40_000, b"y" * 60_000], [b"z"] * 5000])
def test_large_answers(answer):
    """A large answer comes in frames, whatever the pieces it was written in."""

    def write(request):
        for piece in answer:
            request.write(piece)
        request.finish()
        return NOT_DONE_YET

    client = Client(Page(answer if isinstance(answer, bytes) else write))
    client.send(request(1))
    headers, *body, end = client.of(1)
    assert b"".join(body) == b"".join([answer] if isinstance(answer, bytes) else answer)
    assert max(map(len, body)) <= MAX_FRAME
    assert end == "end"
    assert ("content-length" in headers) is isinstance(answer, bytes)


def test_one_write():
    """What is answered in one read leaves in one write, and so does what is answered later at one moment."""
    later = [Deferred() for _ in range(3)]
    client = Client(
        Page(lambda request: later[len(request.site.resource.requests) - 4] if request.uri == b"/late" else b"x")
    )
    client.send(*[request(stream) for stream in (1, 3, 5)])
    assert len(client.writes) == 1
    client.send(*[request(stream, "/late") for stream in (7, 9, 11)])
    assert len(client.writes) == 1
    for waiting in later:
        waiting.callback(b"late")
    assert len(client.writes) == 1
    client.clock.advance(0)
    assert len(client.writes) == 2
    assert sorted(client.sorted()) == [1, 3, 5, 7, 9, 11]


def test_another_request_factory():
    """Twisted's own request works as well."""
    client = Client(Page(lambda request: b"%b %b" % (request.method, request.content.read())))
    client.site.requestFactory = server.Request
    client = Client(client.site)
    client.send(request(1), request(3, method="POST", end=False), frame(DATA, END_STREAM, 3, b"body"))
    found = client.sorted()
    assert found[1][1:] == [b"GET ", "end"]
    assert found[3][1:] == [b"POST body", "end"]


def test_refusals(failures):
    """What cannot be served is answered with the status that HTTP/1.1 has for it."""
    exchange = agent(b"hello").connect()
    exchange.request("GET", "/", [("x-thing", "y")] * 501)
    exchange.request("GET", "/" + "x" * 20_000)
    exchange.request("POST", "/", {"Expect": "more"}, b"body")
    exchange.request("POST", "/", {"Content-Length": "99999999999999999999"}, b"body")
    exchange.request("OPTIONS", "*")
    assert [answer.status for answer in exchange.answers()] == [431, 414, 417, 413, 204]
    exchange.send(frame(HEADERS, ALL, 99, encode_field(b":method", b"CONNECT") + encode_field(b":authority", b"a:1")))
    assert exchange.goaway is None
    assert failures == []


def test_connect():
    """A plain CONNECT is refused."""
    client = Client(Page())
    client.send(
        frame(HEADERS, END_HEADERS, 1, encode_field(b":method", b"CONNECT") + encode_field(b":authority", b"a:1"))
    )
    assert client.of(1)[0][":status"] == "501"


def test_refusal_of_another_request():
    """A request of Twisted's is refused in plain text."""
    client = Client(Page())
    client.site.requestFactory = server.Request
    client = Client(client.site)
    client.send(request(1, **{f"x{number}": "" for number in range(501)}))
    headers, body, *_ = client.of(1)
    assert (headers[":status"], headers["content-type"]) == ("431", "text/plain; charset=utf-8")
    assert body == b"The header section has more than 500 fields.\n"


def test_interim():
    """A page can send an interim answer before its own; nothing comes of it when the client has left."""
    hints = Headers({b"Link": [b"</a.css>; rel=preload"]})

    def answer(request):
        request.channel.write_interim(103, b"Early Hints", hints)
        return NOT_DONE_YET

    client = Client(Page(answer))
    client.send(request(1))
    assert client.of(1) == [{":status": "103", "link": "</a.css>; rel=preload"}]
    channel = client.site.resource.requests[0].channel
    client.send(frame(RST_STREAM, 0, 1, long(8)))
    channel.write_interim(103, b"Early Hints", hints)
    channel.writeAnswer(200, b"OK", hints, b"late")
    assert client.frames() == []


@pytest.mark.parametrize("known", [True, False])
def test_tls_facts(known):
    """A stream tells what was agreed on for its connection, where its transport knows."""
    client = Client(Page(lambda request: repr(request.channel.facts()).encode()))
    if known:
        client.transport.facts = lambda: "TLSv1.3"
    client.send(request(1))
    assert client.of(1)[1] == (b"'TLSv1.3'" if known else b"None")


def test_malformed():
    """A malformed request resets its stream, and the next one is answered."""
    client = Client(Page())
    client.send(request(1, x_thing="\x01"), request(3, connection="close"), request(5))
    found = client.sorted()
    assert found[1] == found[3] == [Code.PROTOCOL_ERROR]
    assert found[5][1:] == [b"hello", "end"]


# Bodies of requests


class Receiver:
    """Takes bodies as they come, and pauses when told."""

    def __init__(self, pausing=False):
        self.pausing = pausing
        self.taken = bytearray()
        self.complete = False

    def __call__(self, request):
        self.request = request
        request.receive_body(self.take, self.end)
        return NOT_DONE_YET

    def take(self, data):
        self.taken += data
        if self.pausing:
            self.request.pause_body()

    def end(self):
        self.complete = True
        self.request.finish()


ReceivingPage = implementer(IBodyReceiver)(type("ReceivingPage", (Page,), {}))


def test_upload():
    """A large body is given to the page as a whole."""
    assert (
        agent(lambda request: b"%d" % len(request.content.read())).request("POST", "/", body=b"x" * 3_000_000).text
        == "3000000"
    )


def test_streamed_upload():
    """A body goes to its receiver as it comes, and the client may send more when it was taken."""
    receiver = Receiver()
    client = Client(ReceivingPage(receiver))
    client.send(request(1, method="POST", end=False))
    for _ in range(8):
        client.send(frame(DATA, 0, 1, bytes(MAX_FRAME)))
    assert len(receiver.taken) == 8 * MAX_FRAME
    assert [found[:3] for found in client.frames()] == [(WINDOW_UPDATE, 0, 1)]
    client.send(frame(DATA, END_STREAM, 1, b"end"))
    assert receiver.complete
    assert client.of(1)[-1] == "end"


def test_paused_upload():
    """A receiver that pauses gets nothing, and the client no window, until it goes on."""
    receiver = Receiver(pausing=True)
    client = Client(ReceivingPage(receiver))
    client.send(request(1, method="POST", end=False), *[frame(DATA, 0, 1, bytes(MAX_FRAME))] * 16)
    client.send(frame(DATA, END_STREAM, 1))
    assert len(receiver.taken) == MAX_FRAME
    assert client.of(1) == []
    receiver.pausing = False
    receiver.request.resume_body()
    assert len(receiver.taken) == STREAM_WINDOW
    assert receiver.complete


def test_upload_without_pause_after_window():
    """A paused receiver that goes on has the window opened again."""
    receiver = Receiver(pausing=True)
    client = Client(ReceivingPage(receiver))
    client.send(request(1, method="POST", end=False), *[frame(DATA, 0, 1, bytes(MAX_FRAME))] * 16)
    assert client.frames() == []
    receiver.pausing = False
    receiver.request.resume_body()
    updates = [(stream, payload) for kind, _, stream, payload in client.frames() if kind == WINDOW_UPDATE]
    assert updates == [(1, long(STREAM_WINDOW // 2))] * 2


def test_receiver_that_pauses_and_goes_on():
    """A receiver may go on while it is called: it gets the pieces in their order, one after the other."""
    receiver = Receiver()
    client = Client(ReceivingPage(receiver))
    client.send(request(1, method="POST", end=False))
    depth = []

    def take(data):
        depth.append(len(depth) - len(receiver.taken))
        receiver.request.pause_body()
        receiver.request.resume_body()
        receiver.taken += data

    receiver.request._body._data = take
    receiver.request.pause_body()
    client.send(frame(DATA, 0, 1, b"a"), frame(DATA, 0, 1, b"b"), frame(DATA, END_STREAM, 1, b"c"))
    receiver.request.resume_body()
    assert receiver.taken == b"abc"
    assert depth == [0, 0, 0]
    assert receiver.complete


def test_body_of_an_answer_on_its_way():
    """What comes of a body whose request was answered is passed over, also while the answer waits to be sent."""
    client = Client(ReceivingPage(b"x" * 1000), window=0)
    client.send(request(1, method="POST", end=False))
    for _ in range(64):
        client.send(frame(DATA, 0, 1, bytes(4096)))
    assert client.of(1)[1:] == []
    client.send(frame(DATA, 0, 1, bytes(1)))
    assert client.of(1) == [Code.FLOW_CONTROL_ERROR]


def test_continue():
    """A client that waits for it is told to continue when the body is first wanted, and once."""
    receiver = Receiver()
    page = ReceivingPage(lambda request: NOT_DONE_YET)
    client = Client(page)
    client.send(request(1, method="POST", end=False, expect="100-continue"))
    assert client.of(1) == []
    receiver(page.requests[0])
    assert client.of(1) == [{":status": "100"}]
    client.send(frame(DATA, END_STREAM, 1, b"body"))
    assert client.of(1)[0][":status"] == "200"
    assert receiver.taken == b"body"


def test_no_continue():
    """A client that did not wait, or is refused, is not told to continue."""
    client = Client(Page(), max_body_bytes=3)
    fields = {"expect": "100-continue", "content_length": "4"}
    client.send(request(1, method="POST", end=False, **fields))
    assert [head[":status"] for head in client.of(1)[:1]] == ["413"]


@pytest.mark.parametrize("announced", [True, False])
def test_too_long(announced):
    """A body that is too long is refused; the rest of it is passed over, and its stream reset without an error."""
    client = Client(Page(), max_body_bytes=20_000)
    more = {"content_length": "50000"} if announced else {}
    client.send(request(1, method="POST", end=False, **more))
    client.send(frame(DATA, 0, 1, bytes(MAX_FRAME)))
    client.send(frame(DATA, 0, 1, bytes(MAX_FRAME)))
    headers, _, end = client.of(1)
    assert (headers[":status"], end) == ("413", "end")
    client.sweep(1)
    assert client.frames() == []
    client.sweep(1)
    assert client.of(1) == [Code.NO_ERROR]
    client.send(frame(DATA, 0, 1, bytes(MAX_FRAME)), frame(DATA, END_STREAM, 1, b"x"), request(3))
    assert client.of(3)[1:] == [b"hello", "end"]


def test_early_answer_gives_windows_back():
    """What is sent of a body that nobody wants any more does not close the window of the connection."""
    client = Client(ReceivingPage(b"no"))
    for stream in range(1, 201, 2):
        client.send(request(stream, method="POST", end=False), frame(DATA, 0, stream, bytes(MAX_FRAME)))
    updates = [payload for kind, _, stream, payload in client.frames() if kind == WINDOW_UPDATE and not stream]
    assert len(updates) == 3


def test_queued_body_is_given_back():
    """A body that was kept for a paused receiver is given back to the connection when the stream is reset."""
    client = Client(ReceivingPage(Receiver(pausing=True)))
    for stream in (1, 3, 5, 7):
        client.send(request(stream, method="POST", end=False), *[frame(DATA, 0, stream, bytes(MAX_FRAME))] * 15)
        client.send(frame(RST_STREAM, 0, stream, long(8)))
    updates = [payload for kind, _, stream, payload in client.frames() if kind == WINDOW_UPDATE and not stream]
    assert sum(struct.unpack(">I", payload)[0] for payload in updates) >= 512 * 1024


# Windows


def test_round_robin():
    """Four answers under small windows go side by side, as the windows open."""
    client = Client(Page(b"x" * 300), window=100)
    client.send(*[request(stream) for stream in (1, 3, 5, 7)])
    orders = []
    for _ in range(3):
        sent = [(stream, len(payload)) for kind, _, stream, payload in client.frames() if kind == DATA]
        orders.append(sent)
        client.send(*[frame(WINDOW_UPDATE, 0, stream, long(100)) for stream in (1, 3, 5, 7)])
    assert orders == [[(stream, 100) for stream in (1, 3, 5, 7)]] * 3
    assert client.channel.requests == []


def test_frames_in_turn():
    """Large answers share the connection frame by frame; a small one does not wait for them."""
    client = Client(Page(lambda request: b"x" * (100_000 if request.uri == b"/large" else 5)))
    client.send(request(1, "/large"), request(3, "/large"), request(5))
    order = [stream for kind, _, stream, _ in client.frames() if kind == DATA]
    assert order == [5, *[1, 3] * 7]


def test_window_of_the_connection():
    """The window of the connection is shared, and nothing is sent when it is closed."""
    client = Client(Page(b"x" * 50_000), begin=False)
    client.send(PREFACE + settings(window=2**20), request(1), request(3))
    sent = [(stream, len(payload)) for kind, _, stream, payload in client.frames() if kind == DATA]
    assert sum(size for _, size in sent) == 65535
    assert {stream for stream, _ in sent} == {1, 3}
    client.send(frame(WINDOW_UPDATE, 0, 0, long(100_000)))
    sent += [(stream, len(payload)) for kind, _, stream, payload in client.frames() if kind == DATA]
    assert sum(size for _, size in sent) == 100_000
    assert client.channel.requests == []


@pytest.mark.parametrize("by", ["update", "setting"])
def test_negative_window(by):
    """A window that was made negative has to be opened past nothing before more is sent."""
    client = Client(Page(b"x" * 3000), window=1000)
    client.send(request(1))
    assert sum(len(payload) for kind, _, _, payload in client.frames() if kind == DATA) == 1000
    client.send(settings(window=200))
    (stream,) = client.channel.requests
    assert stream.send_window == -800
    for size, expected in ((800, 0), (1, 1), (3000, 1999)):
        if by == "update":
            client.send(frame(WINDOW_UPDATE, 0, 1, long(size)))
        else:
            client.send(settings(window=client.channel.initial_window + size))
        assert sum(len(payload) for kind, _, _, payload in client.frames() if kind == DATA) == expected
    assert client.channel.requests == []


def test_whole_answer_under_a_closed_window():
    """The head of an answer is sent under a closed window, and an answer without a body as a whole."""
    client = Client(Page(lambda request: b"" if request.uri == b"/empty" else b"x"), window=0)
    client.send(request(1), request(3, "/empty"))
    found = client.sorted()
    assert len(found[1]) == 1
    assert found[3][1:] == ["end"]


def test_smaller_table():
    """A client that has made its table smaller can read what follows."""
    client = Client(Page())
    client.send(settings(table=0), request(1), request(3))
    blocks = [payload for kind, _, _, payload in client.frames() if kind == HEADERS]
    assert [block[:1] for block in blocks] == [b"\x20", b"\x88"]


# Priorities


def test_urgency():
    """What is more urgent is sent first, as the field or PRIORITY_UPDATE has it."""
    client = Client(Page(b"x" * 40_000), window=0)
    client.send(
        request(1, priority="u=5"), request(3, priority="u=1"), request(5),
        frame(PRIORITY_UPDATE, 0, 0, long(7) + b"u=0"), request(7, priority="u=7"),
    )  # fmt: skip
    client.send(frame(PRIORITY_UPDATE, 0, 0, long(1) + b"u=2"), settings(window=2**20))
    order = [stream for kind, _, stream, _ in client.frames() if kind == DATA]
    assert order[:7] == [7, 7, 7, 3, 3, 3, 1]
    assert sorted(order) == [1, 1, 1, 3, 3, 3, 5, 5, 5, 7, 7, 7]


def test_reprioritized_while_it_waits():
    """An answer that waits for its turn is put elsewhere when the client wants it."""
    client = Client(Page(b"x" * 40_000), begin=False)
    client.send(PREFACE + settings(window=2**20), request(1), request(3), request(5))
    client.frames()
    client.send(frame(PRIORITY_UPDATE, 0, 0, long(5) + b"u=0"), frame(WINDOW_UPDATE, 0, 0, long(20_000)))
    order = [stream for kind, _, stream, _ in client.frames() if kind == DATA]
    assert order[:1] == [5]


# Producers


class Pull:
    """A pull producer of some pieces."""

    def __init__(self, request, pieces, size=1000):
        self.request = request
        self.pieces = pieces
        self.size = size
        self.stopped = False
        request.registerProducer(self, False)

    def resumeProducing(self):
        self.pieces -= 1
        self.request.write(b"x" * self.size)
        if not self.pieces:
            self.request.unregisterProducer()
            self.request.finish()

    def stopProducing(self):
        self.stopped = True


class Push(Pull):
    """A push producer that writes when it is not paused."""

    def __init__(self, request, pieces, size=1000):
        self.request, self.pieces, self.size = request, pieces, size
        self.paused = self.stopped = False
        self.calls = []
        request.registerProducer(self, True)

    def produce(self):
        while not self.paused and self.pieces:
            Pull.resumeProducing(self)

    def pauseProducing(self):
        self.calls.append("pause")
        self.paused = True

    def resumeProducing(self):
        self.calls.append("resume")
        self.paused = False
        self.produce()


def producing(kind, made, *arguments):
    """A page that answers by a producer."""

    def answer(request):
        made.append(kind(request, *arguments))
        return NOT_DONE_YET

    return Page(answer)


@pytest.mark.parametrize("size", [1, 1000, 50_000])
def test_pull_producer(size):
    """A pull producer is asked until it has finished."""
    made = []
    client = Client(producing(Pull, made, 20, size))
    client.send(request(1))
    _, *body, end = client.of(1)
    assert sum(map(len, body)) == 20 * size
    assert end == "end"


def test_pull_producer_waits():
    """A pull producer is asked for no more than the client takes."""
    made = []
    client = Client(producing(Pull, made, 20), window=2500)
    client.send(request(1))
    assert made[0].pieces == 17
    client.send(frame(WINDOW_UPDATE, 0, 1, long(1000)))
    assert made[0].pieces == 16
    client.channel.pauseProducing()
    client.send(frame(WINDOW_UPDATE, 0, 1, long(100_000)))
    assert made[0].pieces == 16
    client.channel.resumeProducing()
    client.clock.advance(0)
    assert made[0].pieces == 0


def test_pull_producer_that_waits_itself():
    """A pull producer that has nothing yet does not keep the reactor busy, and is asked again when it has written."""
    client = Client(Page(lambda request: NOT_DONE_YET))
    client.send(request(1))
    (asked,) = client.site.resource.requests

    class Lazy:
        calls = 0

        def resumeProducing(self):
            self.calls += 1

    lazy = Lazy()
    asked.registerProducer(lazy, False)
    for _ in range(10):
        client.clock.advance(0)
    assert lazy.calls == 1
    asked.write(b"x")
    for _ in range(10):
        client.clock.advance(0)
    assert lazy.calls == 2


def test_push_producer():
    """A push producer is paused while too much waits, and resumed when half of it was sent."""
    made = []
    client = Client(producing(Push, made, 200), window=0)
    client.send(request(1))
    made[0].produce()
    assert made[0].calls == ["pause"]
    assert made[0].pieces == 200 - 66
    client.send(frame(WINDOW_UPDATE, 0, 1, long(30_000)))
    assert made[0].calls == ["pause"]
    client.send(frame(WINDOW_UPDATE, 0, 1, long(10_000)))
    assert made[0].calls == ["pause", "resume", "pause"]
    client.send(frame(WINDOW_UPDATE, 0, 1, long(2**20)))
    _, *body, end = client.of(1)
    assert sum(map(len, body)) == 200_000
    assert end == "end"


@pytest.mark.parametrize("kind", [Pull, Push])
@pytest.mark.parametrize("how", ["reset", "lost", "fault", "aborted"])
def test_producers_stop(how, kind, failures):
    """When a stream or its connection ends its producer is stopped, its request is told, and the others go on."""
    made = []
    page = producing(kind, made, 100)
    client = Client(page, window=0)
    client.send(request(1), request(3))
    if how == "reset":
        client.send(frame(RST_STREAM, 0, 1, long(8)))
    elif how == "lost":
        client.protocol.connectionLost(Failure(ConnectionDone()))
    elif how == "fault":
        client.send(frame(DATA, 0, 0))
    else:
        page.requests[0].abort()
        client.clock.advance(0)
        assert client.of(1)[-1] is Code.INTERNAL_ERROR
    left = {"reset": 1, "aborted": 1, "lost": 0, "fault": 0}[how]
    assert [producer.stopped for producer in made] == [True, not left]
    kinds = {"reset": ConnectionLost, "lost": ConnectionDone, "fault": ConnectionLost, "aborted": ConnectionAborted}
    assert page.ended == [kinds[how]] * (2 - left)
    if left:
        client.send(frame(WINDOW_UPDATE, 0, 3, long(2**20)))
        if kind is Push:
            made[1].produce()
        assert client.of(3)[-1] == "end"
    assert failures == []


def test_failing_producer(failures):
    """A producer that fails costs its own stream, and no other."""

    class Failing(Pull):
        def resumeProducing(self):
            raise RuntimeError("as told")

    made = []
    client = Client(producing(Failing, made, 1))
    client.send(request(1))
    client.site.resource.answer = b"hello"
    client.send(request(3))
    found = client.sorted()
    assert found[1][-1] is Code.INTERNAL_ERROR
    assert found[3][1:] == [b"hello", "end"]
    assert [failure.type for failure in failures] == [RuntimeError]


def test_producer_after_much():
    """A producer that is registered when too much waits already is paused at once."""

    def answer(request):
        request.write(bytes(100_000))
        made.append(Push(request, 1))
        return NOT_DONE_YET

    made = []
    client = Client(Page(answer), window=0)
    client.send(request(1))
    assert made[0].calls == ["pause"]


def test_late_producer():
    """A producer for a stream that is closed is stopped at once; a second one is refused."""
    client = Client(Page(lambda request: NOT_DONE_YET))
    client.send(request(1))
    (asked,) = client.site.resource.requests
    channel = asked.channel
    one = Push(asked, 1)
    with pytest.raises(ValueError, match="producing already"):
        channel.registerProducer(one, True)
    client.send(frame(RST_STREAM, 0, 1, long(8)))
    one.stopped = False
    channel.registerProducer(one, True)
    assert one.stopped


def test_written_after_the_end():
    """What is written to a stream that is closed goes nowhere."""
    client = Client(Page(lambda request: NOT_DONE_YET))
    client.send(request(1))
    channel = client.site.resource.requests[0].channel
    client.send(frame(RST_STREAM, 0, 1, long(8)))
    channel.writeHeaders(b"HTTP/2", b"200", b"OK", server.Request(channel).responseHeaders)
    channel.write(b"x")
    channel.writeSequence([b"x"])
    channel.finish()
    channel.abortConnection()
    assert client.frames() == []
    assert client.channel.held_bytes == 0


def test_lose_connection():
    """A page that closes the connection ends its own stream, with what it has written."""

    def answer(request):
        request.write(b"some")
        request.channel.loseConnection()
        return NOT_DONE_YET

    page = Page(answer)
    client = Client(page)
    client.send(request(1))
    assert client.of(1)[1:] == [b"some", "end"]
    assert page.ended == [ConnectionDone]
    assert not client.transport.disconnecting


# What one client may cost


def test_output_bound():
    """A client that does not read is not read from; when it reads again everything is answered."""
    client = Client(Page(b"x" * 1000), window=2**30)
    write = client.transport.write

    def full(data):
        write(data)
        client.channel.pauseProducing()

    client.transport.write = full
    client.send(*[request(stream) for stream in range(1, 6001, 2)])
    sent = len(client.transport.value())
    assert sent < 100_000
    assert client.transport.producerState == "paused"
    client.send(*[request(stream) for stream in range(6001, 6101, 2)])
    assert len(client.transport.value()) == sent
    client.transport.write = write
    client.channel.resumeProducing()
    assert client.transport.producerState == "producing"
    assert len([1 for kind, _, _, _ in client.frames() if kind == HEADERS]) == 3050


def test_transport_pushes_back():
    """Large answers are handed to the transport no faster than it takes them, eight frames at a time."""
    client = Client(Page(b"x" * 10_000_000), window=2**30)
    write = client.transport.write

    def full(data):
        write(data)
        client.channel.pauseProducing()

    client.transport.write = full
    client.send(request(1))
    assert len(client.transport.value()) < 200_000
    for _ in range(3):
        client.channel.resumeProducing()
    assert len(client.transport.value()) < 800_000
    assert client.clock.getDelayedCalls() == []


def test_turns_of_other_connections():
    """A large answer that the transport always takes leaves others their turn now and then."""
    client = Client(Page(b"x" * 10_000_000), window=2**30)
    client.send(request(1))
    assert len(client.transport.value()) < 600_000
    for _ in range(30):
        client.clock.advance(0)
    assert len(client.transport.value()) > 10_000_000


def test_held_answers():
    """While much waits for a client that takes nothing its requests are not processed; then they are."""
    page = Page(lambda request: b"x" * 100_000)
    client = Client(page, window=0)
    client.send(*[request(stream) for stream in range(1, 101, 2)])
    client.send(request(101, method="POST", end=False), frame(DATA, END_STREAM, 101, b"body"))
    assert len(page.requests) == HELD_BYTES // 100_000 + 1
    client.send(frame(RST_STREAM, 0, 99, long(8)))
    client.send(settings(window=2**20))
    for _ in range(100):
        client.clock.advance(0)
    assert len(page.requests) == 50
    ends = [stream for kind, flags, stream, _ in client.frames() if kind == DATA and flags & END_STREAM]
    assert len(ends) == 50
    assert client.channel.held_bytes == 0


def test_stalled_streams():
    """Answers that a client does not take are dropped in time, those that it takes slowly are not."""
    client = Client(Page(b"x" * 1000), window=0)
    client.send(*[request(stream) for stream in range(1, 21, 2)])
    client.frames()
    for _ in range(12):
        client.sweep(5)
        client.send(frame(WINDOW_UPDATE, 0, 1, long(1)))
    found = client.sorted()
    assert {stream for stream, seen in found.items() if seen == [Code.INTERNAL_ERROR]} == set(range(3, 21, 2))
    assert client.channel.held_bytes < 1000
    client.sweep(61)
    assert client.of(1) == [Code.INTERNAL_ERROR]


def test_idle_gives_back():
    """An idle connection remembers no requests of its client."""
    client = Client(Page())
    client.send(request(1))
    assert client.channel.reader._heads
    client.sweep(3)
    assert not client.channel.reader._heads
    client.send(request(3))
    assert client.of(3)[1:] == [b"hello", "end"]


def test_too_many_connections():
    """A connection too many is answered with 503."""
    made = agent(b"hello")
    made.site.channels.most = 1
    first, second = made.connect(), made.connect()
    for exchange in (first, second):
        exchange.request("GET", "/")
    assert [first.answer.status, second.answer.status] == [200, 503]


def test_streams_at_a_time():
    """Requests beyond the limit of the site are refused, so that the client may try again."""
    client = Client(Page(lambda request: NOT_DONE_YET), max_http2_streams=2)
    client.send(*[request(stream) for stream in (1, 3, 5)])
    assert client.sorted() == {5: [Code.REFUSED_STREAM]}


# Time


@pytest.mark.parametrize(
    ("data", "seconds"),
    [
        (b"", 30),
        (PREFACE, 30),
        (PREFACE + settings(window=9)[:5], 30),
        (PREFACE + settings(window=9), 60),
        (PREFACE + settings(window=9) + frame(HEADERS, END_STREAM, 1, b"\x82"), 30),
        (PREFACE + settings(window=9) + request(1)[:-1], 30),
        (PREFACE + settings(window=9) + request(1), 60),
        (PREFACE + settings(window=9) + frame(PING, 0, 0, bytes(8))[:-1], 30),
    ],
)
def test_slow_clients(data, seconds):
    """A client that is slow with a head is cut off in time, bytes or not, and an idle one later."""
    client = Client(Page(), begin=False)
    client.send(PREFACE[:1])
    rest = data[1:]
    if rest:
        client.send(rest)
    client.sweep(seconds - 3)
    assert not client.transport.disconnecting
    client.sweep(5)
    assert client.transport.disconnecting
    assert client.goaways()[-1][1] == Code.NO_ERROR


def test_trickled_head():
    """A header block that comes octet by octet is cut off just as well."""
    client = Client(Page())
    data = frame(HEADERS, END_STREAM, 1, b"\x82") + frame(9, 0, 1, b"x" * 100)
    for octet in data[:40]:
        client.send(bytes([octet]))
        client.sweep(1)
    assert client.transport.disconnecting


def test_slow_body():
    """A body that comes too slowly is answered with 408, one that is slow enough is not; other streams go on."""
    client = Client(Page(lambda request: b"hello"))
    client.send(request(1, method="POST", end=False), request(3, method="POST", end=False))
    for _ in range(20):
        client.send(frame(DATA, 0, 1, bytes(300)))
        client.sweep(1)
    found = client.sorted()
    assert found[3][0][":status"] == "408"
    assert found[3][-1] is Code.NO_ERROR
    assert 1 not in found
    client.send(frame(DATA, END_STREAM, 1))
    assert client.of(1)[1:] == [b"hello", "end"]


def test_slow_body_of_an_answer_that_began():
    """An answer that has begun is broken off when the body comes too slowly."""

    def answer(request):
        request.receive_body(lambda data: None, lambda: None)
        request.write(b"begun")
        return NOT_DONE_YET

    page = ReceivingPage(answer)
    client = Client(page)
    client.send(request(1, method="POST", end=False))
    client.sweep(20)
    assert client.of(1)[1:] == [b"begun", Code.INTERNAL_ERROR]
    assert page.ended == [ConnectionAborted]


def test_slow_frame():
    """The part of a frame that is there counts for the body."""
    client = Client(Page())
    client.send(request(1, method="POST", end=False))
    data = frame(DATA, END_STREAM, 1, bytes(MAX_FRAME))
    for at in range(0, len(data), 300):
        client.send(data[at : at + 300])
        client.sweep(1)
    assert client.of(1)[1:] == [b"hello", "end"]


def test_paused_body_has_time():
    """A body that the page does not want yet may come when it likes."""
    client = Client(ReceivingPage(Receiver(pausing=True)))
    client.send(request(1, method="POST", end=False), frame(DATA, 0, 1, b"x"))
    client.sweep(100)
    assert client.sorted() == {}


def test_long_handling():
    """A page may take its time."""
    client = Client(Page(lambda request: NOT_DONE_YET))
    client.send(request(1))
    client.sweep(1000)
    assert client.frames() == []
    assert not client.transport.disconnecting


def test_blocked_transport():
    """A client that takes nothing of what was handed to the transport is dropped."""
    client = Client(Page())
    client.channel.pauseProducing()
    client.sweep(57)
    assert not client.transport.aborted
    client.sweep(4)
    assert client.transport.aborted


# The end


def test_fault():
    """After a mistake the client is told, nothing of it is read any more, and the connection is closed, in the end by force."""
    page = Page(lambda request: NOT_DONE_YET)
    client = Client(page)
    client.send(request(1))
    channel = client.channel
    client.send(frame(PING, 0, 1, bytes(8)), request(3))
    assert client.goaways() == [(1, Code.PROTOCOL_ERROR)]
    assert client.transport.disconnecting
    assert page.ended == [ConnectionLost]
    client.send(request(5) * 1000)
    assert len(page.requests) == 1
    assert client.frames() == []
    client.sweep(12)
    assert not client.transport.aborted
    client.sweep(4)
    assert client.transport.aborted
    client.protocol.connectionLost(Failure(ConnectionDone()))
    assert channel not in client.site.channels


def test_endless_input():
    """A client that goes on sending after it was told to go is dropped."""
    client = Client(Page())
    client.send(frame(PING, 0, 1, bytes(8)))
    for _ in range(65):
        client.send(bytes(1024 * 1024))
    assert client.transport.aborted


def test_drain():
    """A drained connection says so, answers what there is, refuses the rest, and closes."""
    waiting = Deferred()
    client = Client(Page(waiting))
    client.send(request(1))
    client.channel.drain()
    first, ping = client.frames()
    assert struct.unpack(">II", first[3]) == (2**31 - 1, 0)
    client.send(frame(PING, ACK, 0, ping[3]))
    assert client.goaways() == [(1, 0)]
    client.send(request(3))
    assert client.sorted() == {3: [Code.REFUSED_STREAM]}
    assert not client.transport.disconnecting
    waiting.callback(b"late")
    assert client.of(1)[1:] == [b"late", "end"]
    assert client.transport.disconnecting


class Whole(StringTransport):
    """A transport that cannot be closed on one side alone."""

    def abortConnection(self):
        self.disconnecting = True


@pytest.mark.parametrize("blocked", [False, True])
def test_closed_as_a_whole(blocked):
    """A transport that cannot be closed on one side is closed on both, blocked or not."""
    site = Site(Page(), reactor=Clock())
    connection = Http2Connection(site)
    transport = Whole()
    connection.makeConnection(transport)
    transport.registerProducer(connection, True)
    if blocked:
        connection.pauseProducing()
        assert transport.producerState == "paused"
        connection.loseConnection()
        assert transport.producerState == "producing"
    else:
        connection.dataReceived(b"nonsense, and no HTTP/2 at all")
    assert transport.disconnecting
    assert transport.producer is None


def test_drain_on_the_way():
    """A request that was sent before the client knew that the connection ends is answered."""
    client = Client(Page())
    client.channel.drain()
    ping = client.frames()[1][3]
    client.send(request(1))
    assert client.of(1)[1:] == [b"hello", "end"]
    client.send(frame(PING, ACK, 0, ping))
    assert client.goaways() == [(1, 0)]
    assert client.transport.disconnecting


def test_drain_before_it_began():
    """A connection that is drained before its client has said a word is drained as soon as it speaks HTTP/2."""
    client = Client(Page(), begin=False)
    client.channel.drain()
    client.send(PREFACE + settings(window=2**20), request(1))
    found = client.frames()
    (ping,) = [payload for kind, flags, _, payload in found if kind == PING and not flags & ACK]
    assert [stream for kind, _, stream, _ in found if kind == HEADERS] == [1]
    client.send(frame(PING, ACK, 0, ping))
    assert client.goaways() == [(1, 0)]
    assert client.transport.disconnecting


def test_drain_of_a_silent_client():
    """A client that does not say that it has noticed is waited for a second or two."""
    client = Client(Page())
    client.channel.drain()
    client.channel.drain()
    assert client.goaways() == [(2**31 - 1, 0)]
    client.sweep(1)
    assert client.goaways() == []
    client.sweep(2)
    assert client.goaways() == [(0, 0)]
    assert client.transport.disconnecting


def test_client_goes():
    """When a client says that it goes the connection is closed after the answers under way."""
    waiting = Deferred()
    client = Client(Page(waiting))
    client.send(request(1), frame(GOAWAY, 0, 0, bytes(8)))
    assert not client.transport.disconnecting
    waiting.callback(b"late")
    assert client.of(1)[1:] == [b"late", "end"]
    assert client.transport.disconnecting


def test_half_closed():
    """A client that sends no more has gone: what was being sent is, and the rest is dropped."""
    client = Client(Page(b"hello"))
    client.send(request(1))
    client.protocol.readConnectionLost()
    assert client.of(1)[1:] == [b"hello", "end"]
    assert client.transport.disconnecting


def test_abort():
    """All connections can be dropped at once."""
    client = Client(Page(lambda request: NOT_DONE_YET))
    client.send(request(1))
    client.channel.abortConnection()
    assert client.transport.aborted


# Other protocols on a stream


class Echo(Protocol):
    """Sends back what comes, and keeps what happened."""

    def __init__(self):
        self.seen = []

    def dataReceived(self, data):
        self.seen.append(data)
        self.transport.write(data)

    def connectionLost(self, reason):
        self.seen.append(reason.type)


def tunnel(client, stream=1):
    """An extended CONNECT."""
    client.send(request(stream, "/ws", "CONNECT", end=False, **{":protocol": "websocket"}))


@pytest.fixture
def echo():
    """A client whose streams become echoes, and the echoes."""
    made = []

    def answer(request):
        assert (request.method, request.head.protocol) == (b"CONNECT", b"websocket")
        made.append(Echo())
        request.upgrade(made[-1], b"websocket", [(b"X-Chosen", b"echo")])
        return NOT_DONE_YET

    client = Client(Page(answer), extended_connect=True)
    return client, made


def test_tunnel(echo):
    """A stream becomes a transport: 200, then bytes both ways, to the end of the client."""
    client, made = echo
    tunnel(client)
    head = client.of(1)[0]
    assert (head[":status"], head["x-chosen"]) == ("200", "echo")
    client.send(frame(DATA, 0, 1, b"one"))
    assert client.of(1) == [b"one"]
    transport = made[0].transport
    assert (transport.getPeer().host, transport.getHost().port) == ("10.0.0.1", 443)
    transport.writeSequence([b"t", b"wo"])
    assert client.of(1) == [b"two"]
    client.send(frame(DATA, END_STREAM, 1, b"three"))
    assert client.of(1) == [b"three", "end"]
    client.clock.advance(0)
    assert made[0].seen == [b"one", b"three", ConnectionDone]
    assert client.channel.requests == []


@pytest.mark.parametrize(
    ("end", "code", "reason"),
    [
        (lambda client, transport: transport.loseConnection(), Code.NO_ERROR, ConnectionDone),
        (lambda client, transport: transport.stopProducing(), Code.NO_ERROR, ConnectionDone),
        (lambda client, transport: transport.abortConnection(), Code.CANCEL, ConnectionAborted),
        (lambda client, transport: client.send(frame(RST_STREAM, 0, 1, long(8))), None, ConnectionLost),
        (lambda client, transport: client.send(frame(DATA, 0, 0)), None, ConnectionLost),
        (lambda client, transport: client.protocol.connectionLost(Failure(ConnectionDone())), None, ConnectionDone),
    ],
)
def test_tunnel_ends(end, code, reason, echo):
    """Whoever ends a tunnel, its protocol is told once, and nothing is written any more."""
    client, made = echo
    tunnel(client)
    client.frames()
    end(client, made[0].transport)
    made[0].transport.write(b"late")
    seen = client.of(1)
    assert [found for found in seen if isinstance(found, Code)] == ([] if code is None else [code])
    assert b"late" not in seen
    client.clock.advance(0)
    assert made[0].seen == [reason]
    assert client.site.resource.ended == [reason]


def test_tunnel_backpressure(echo):
    """A tunnel slows down what is written to it, and the client when it is told to."""
    client, made = echo
    client.send(settings(window=0))
    tunnel(client)
    transport = made[0].transport
    calls = []

    class Producer:
        pauseProducing = staticmethod(lambda: calls.append("pause"))
        resumeProducing = staticmethod(lambda: calls.append("resume"))
        stopProducing = staticmethod(lambda: calls.append("stop"))

    transport.registerProducer(Producer, True)
    transport.write(bytes(100_000))
    client.send(frame(WINDOW_UPDATE, 0, 1, long(100_000)))
    assert calls == ["pause", "resume"]
    transport.unregisterProducer()
    transport.pauseProducing()
    client.send(frame(DATA, 0, 1, b"later"))
    assert made[0].seen == []
    transport.resumeProducing()
    assert made[0].seen == [b"later"]


def test_tunnel_drains(echo):
    """What has become of a stream is told when the server ends, if it wants to know."""
    client, made = echo
    tunnel(client)
    made[0].drain = made[0].transport.loseConnection
    client.channel.drain()
    assert client.of(1)[-2:] == ["end", Code.NO_ERROR]


def test_failing_tunnel(echo, failures):
    """A protocol that fails costs its own stream."""
    client, made = echo
    tunnel(client)
    client.frames()
    made[0].dataReceived = lambda data: 1 / 0
    client.send(frame(DATA, 0, 1, b"x"))
    assert client.of(1) == [Code.CANCEL]
    assert [failure.type for failure in failures] == [ZeroDivisionError]


def test_websocket():
    """A WebSocket is opened on a stream, speaks, and closes (RFC 8441)."""
    context = make_context(Clock())
    client = Client(Site(build(WebSocket("echo"), context), reactor=context.reactor), extended_connect=True)
    tunnel(client)
    assert client.of(1)[0][":status"] == "200"
    peer = Connection(ConnectionType.CLIENT)
    client.send(frame(DATA, 0, 1, peer.send(TextMessage("hello"))))
    peer.receive_data(b"".join(client.of(1)))
    assert [event.data for event in peer.events()] == ["hello"]
    client.send(frame(DATA, 0, 1, peer.send(CloseConnection(1000))))
    *data, end, reset = client.of(1)
    peer.receive_data(b"".join(data))
    assert [event.code for event in peer.events()] == [1000]
    assert (end, reset) == ("end", Code.NO_ERROR)
    assert client.channel.requests == []


def test_no_tunnel_unasked():
    """An extended CONNECT is malformed where it was not announced, and 405 where the page has none."""
    client = Client(Page())
    tunnel(client)
    assert client.of(1) == [Code.PROTOCOL_ERROR]
    client = Client(Resource(), extended_connect=True)
    tunnel(client)
    assert client.of(1)[0][":status"] in ("404", "405")


# Which protocol


def test_announced():
    """What the server says first is what it has: the limits of the site, and tunnels where it takes them."""
    client = Client(Page(), begin=False, extended_connect=True, max_http2_streams=7)
    client.send(PREFACE + settings(window=9))
    said = dict(struct.iter_unpack(">HI", client.frames()[0][3]))
    assert said == {3: 7, 4: STREAM_WINDOW, 6: 65536, 8: 1, 9: 1}


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_clear_text(size):
    """In clear text HTTP/2 is spoken with a client that begins with its preface, if the site says so."""
    agent = SiteAgent(Page())
    agent.site.h2c = True
    exchange = agent.connect()
    data = PREFACE + settings(window=2**20) + request(1)
    for at in range(0, len(data), size):
        exchange.send(data[at : at + size])
    kinds = [kind for kind, _, _, _ in _frames(exchange.received)]
    assert kinds == [SETTINGS, WINDOW_UPDATE, SETTINGS, HEADERS, DATA]
    exchange = agent.connect()
    exchange.request("GET", "/")
    assert exchange.answer.body == b"hello"
    exchange = agent.connect()
    exchange.send(b"PRI * HTTP/2.0\r\n\r\nno")
    assert b"HTTP/1.1 400" in exchange.received or b"HTTP/1.1 505" in exchange.received


def test_no_clear_text():
    """Unless the site says so, the preface is a bad request."""
    exchange = SiteAgent(Page()).connect()
    exchange.send(PREFACE)
    assert exchange.received.startswith(b"HTTP/1.1 ")


def test_twisted():
    """Twisted's own connections can be had by a setting."""
    made = agent(b"hello", http2="twisted")
    assert made.get("/").body == b"hello"
    assert type(made.page.requests[0]._left_channel).__module__ == "twisted.web._http2"


def test_exchange_is_complete():
    """The client for tests sends bodies as the windows allow, and answers what it is asked."""
    exchange = agent(lambda request: request.content.read()).connect()
    assert isinstance(exchange, Http2Exchange)
    exchange.request("POST", "/", {"X-Long": "y" * 20_000}, b"x" * 500_000)
    assert exchange.answer.body == b"x" * 500_000
