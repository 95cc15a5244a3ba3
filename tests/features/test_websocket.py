"""
WebSockets: who may open one, what passes, and how it ends.
"""

import tracemalloc

import pytest
from twisted.internet.task import Clock
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage

from mixweb.assemble import Mounts
from mixweb.engine.site import Site
from mixweb.features.websocket import WebSocket, accept_key, build, is_same_origin
from mixweb.kit.websocket import CLOSE_SECONDS, WebSocketClosed
from mixweb.testing import SiteAgent, make_context

UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "keep-alive, Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


class Recorder:
    """Keeps what it is told; answers nothing."""

    def __init__(self, request):
        self.request = request
        self.seen = []

    def negotiationStarted(self, transport):
        self.transport = transport

    def negotiationFinished(self):
        self.seen.append("open")

    def textMessageReceived(self, message):
        self.seen.append(message)
        if message == "fail":
            raise RuntimeError("as told")

    bytesMessageReceived = pongReceived = textMessageReceived

    def connectionLost(self, reason):
        self.seen.append((reason.value.code, reason.value.reason, reason.value.remote))


class Recorders:
    """Makes recorders, and keeps them."""

    def __init__(self):
        self.made = []

    def buildProtocol(self, request):
        self.made.append(Recorder(request))
        return self.made[-1]


class Client:
    """A client of one WebSocket."""

    def __init__(self, exchange):
        self.exchange = exchange
        self.frames = Connection(ConnectionType.CLIENT)
        self.read = 0

    @property
    def status(self):
        return int(self.exchange.received.split()[1])

    def send(self, event):
        self.exchange.send(self.frames.send(event))

    def events(self):
        """What the server has sent since the last look."""
        _, _, frames = self.exchange.received.partition(b"\r\n\r\n")
        data, self.read = frames[self.read :], len(frames)
        self.frames.receive_data(data)
        return list(self.frames.events())


class Server:
    """A site with a WebSocket."""

    def __init__(self, factory=None, **settings):
        self.clock = Clock()
        self.factory = factory or Recorders()
        self.resource = build(WebSocket(self.factory, **settings), make_context(self.clock))
        self.site = Site(Mounts([("/ws", self.resource)]), reactor=self.clock)

    def connect(self, method="GET", secure=False, **changes):
        """A client that has asked; a field that is ``None`` is left out."""
        fields = {**UPGRADE, **{name.replace("_", "-"): value for name, value in changes.items()}}
        headers = [(name, value) for name, value in fields.items() if value is not None]
        return Client(SiteAgent(self.site, clock=self.clock, secure=secure).open(method, "/ws", headers))


def test_handshake():
    """The handshake is that of the RFC."""
    server = Server()
    client = server.connect()
    head = client.exchange.received.decode()
    assert head.startswith("HTTP/1.1 101 Switching Protocols\r\n")
    for line in ("Upgrade: websocket", "Connection: Upgrade", "Sec-Websocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="):
        assert line in head.split("\r\n")
    assert "Content-Length" not in head
    assert server.factory.made[0].seen == ["open"]


@pytest.mark.parametrize(
    ("changes", "status", "field"),
    [
        ({"Upgrade": None}, 426, "Upgrade: websocket"),
        ({"Upgrade": "h2c"}, 426, "Upgrade: websocket"),
        ({"Connection": "close"}, 426, "Upgrade: websocket"),
        ({"method": "POST"}, 426, "Upgrade: websocket"),
        ({"Sec_WebSocket_Version": "8"}, 426, "Sec-Websocket-Version: 13"),
        ({"Sec_WebSocket_Version": None}, 426, "Sec-Websocket-Version: 13"),
        ({"Sec_WebSocket_Key": None}, 400, ""),
        ({"Sec_WebSocket_Key": "c2hvcnQ="}, 400, ""),
        ({"Sec_WebSocket_Key": "not base64 at all"}, 400, ""),
        ({"Origin": "http://evil.example"}, 403, ""),
        ({"Origin": "null"}, 403, ""),
    ],
)
def test_refused(changes, status, field):
    """What is no WebSocket, or not from a page of this site, is told why."""
    server = Server()
    client = server.connect(**changes)
    assert client.status == status
    assert field in client.exchange.received.decode()
    assert server.factory.made == []


@pytest.mark.parametrize(
    ("origin", "host", "secure", "same"),
    [
        (b"http://a.example", b"a.example", False, True),
        (b"http://A.example:80", b"a.example", False, True),
        (b"http://a.example:8080", b"a.example:8080", False, True),
        (b"https://a.example", b"a.example:443", True, True),
        (b"http://[::1]:8080", b"[::1]:8080", False, True),
        (b"http://a.example", b"a.example", True, False),
        (b"https://a.example", b"a.example", False, False),
        (b"http://a.example:8081", b"a.example:8080", False, False),
        (b"http://b.a.example", b"a.example", False, False),
        (b"http://a.example.evil", b"a.example", False, False),
        (b"null", b"a.example", False, False),
        (b"http://", b"a.example", False, False),
        (b"http://a.example/x", b"a.example", False, False),
    ],
)
def test_same_origin(origin, host, secure, same):
    """Scheme, host and port are compared, with the usual port where none is named."""
    assert is_same_origin(origin, host, secure) is same


@pytest.mark.parametrize(
    ("origins", "origin", "status"),
    [
        (["https://b.example"], "https://b.example", 101),
        (["https://b.example"], "https://B.example", 101),
        (["https://b.example"], "https://c.example", 403),
        (["*"], "https://c.example", 101),
        ([], None, 101),
    ],
)
def test_origins(origins, origin, status):
    """Other origins may be named; what is no browser names none."""
    assert Server(origins=origins).connect(Origin=origin).status == status


@pytest.mark.parametrize(
    ("spoken", "offered", "agreed"),
    [
        (["b", "a"], "a, b", "b"),
        (["b"], "a", None),
        ([], "a", None),
        (["a"], None, None),
    ],
)
def test_subprotocols(spoken, offered, agreed):
    """Of the sub-protocols that are offered, the one is agreed on that the server likes best."""
    server = Server(protocols=spoken)
    head = server.connect(Sec_WebSocket_Protocol=offered).exchange.received.decode()
    assert ("Sec-Websocket-Protocol: b" in head) is (agreed == "b")
    assert "Sec-Websocket-Protocol" in head if agreed else "Sec-Websocket-Protocol" not in head
    assert server.factory.made[0].transport.subprotocol == agreed


def test_messages():
    """Messages pass both ways, in pieces too, and control frames in between."""
    server = Server()
    client = server.connect()
    app = server.factory.made[0]
    client.send(TextMessage("héllo"))
    client.send(TextMessage("in ", message_finished=False))
    client.send(Ping(b"p"))
    client.send(TextMessage("pieces"))
    client.send(BytesMessage(b"\0\xff"))
    client.send(Pong(b"pong"))
    assert app.seen == ["open", "héllo", "in pieces", b"\0\xff", b"pong"]
    app.transport.sendTextMessage("tëxt")
    app.transport.sendBytesMessage(b"\xff" * 70000)
    app.transport.ping(b"there?")
    pong, text, *data, ping = client.events()
    assert (pong.payload, text.data, ping.payload) == (b"p", "tëxt", b"there?")
    assert b"".join(bytes(part.data) for part in data) == b"\xff" * 70000


def test_one_byte_at_a_time():
    """Frames may be cut anywhere."""
    server = Server()
    client = server.connect()
    for byte in client.frames.send(TextMessage("x" * 300)):
        client.exchange.send(bytes([byte]))
    assert server.factory.made[0].seen == ["open", "x" * 300]


def test_many_pieces():
    """A message takes no more memory than it has bytes, in however many pieces it comes."""
    server = Server()
    client = server.connect()
    client.exchange.send(b"\x02\x80\0\0\0\0")
    empty, short = b"\x00\x80\0\0\0\0", b"\x00\x82\0\0\0\0ab"
    tracemalloc.start()
    try:
        for pieces in [empty * 1000] * 20 + [short * 1000] * 20:
            client.exchange.send(pieces)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 150_000
    client.exchange.send(b"\x80\x80\0\0\0\0")
    assert server.factory.made[0].seen == ["open", b"ab" * 20_000]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\xff\xff", 1002),
        (b"\x81\x01a", 1002),
        (b"\x81\x82\0\0\0\0\xc3\x28", 1007),
        (b"\x89\xfe\x00\x7e", 1002),
        (b"\x82\xfe\x27\x10\0\0\0\0" + b"x" * 10000, 1009),
    ],
)
def test_bad_clients(data, code):
    """What is against the protocol, or too long, ends the WebSocket with a code that says so; the application is told."""
    server = Server(max_message_bytes=5000)
    client = server.connect()
    client.exchange.send(data)
    (close,) = client.events()
    assert close.code == code
    client.exchange.send(b"more")
    client.exchange.disconnect()
    assert server.factory.made[0].seen == ["open", (code, "", False)]
    assert server.resource.open == set()


def test_client_closes():
    """A client that ends it is answered, and its words reach the application."""
    server = Server()
    client = server.connect()
    client.send(CloseConnection(3001, "enough"))
    (close,) = client.events()
    assert close.code == 3001
    assert client.exchange.transport.disconnecting
    client.exchange.disconnect()
    assert server.factory.made[0].seen == ["open", (3001, "enough", True)]


def test_application_closes():
    """The client is told and given time to agree; one that does not is dropped."""
    server = Server()
    for agrees in (True, False):
        client = server.connect()
        app = server.factory.made[-1]
        app.transport.loseConnection(4000, "done")
        app.transport.sendTextMessage("nothing")
        (close,) = client.events()
        assert (close.code, close.reason) == (4000, "done")
        if agrees:
            client.send(close.response())
            assert client.exchange.transport.disconnecting
        else:
            server.clock.advance(CLOSE_SECONDS + 1)
            assert client.exchange.transport.aborted
        client.exchange.disconnect()
        assert app.seen == ["open", (4000, "done", False)]
    assert [call for call in server.clock.getDelayedCalls() if call.func.__name__ == "abortConnection"] == []


def test_connection_breaks():
    """A connection that breaks is told as 1006."""
    server = Server()
    server.connect().exchange.disconnect()
    assert server.factory.made[0].seen == ["open", (1006, "", True)]


def test_error_in_the_application(failures):
    """An error in one WebSocket ends it with 1011, and no other."""
    server = Server()
    client, other = server.connect(), server.connect()
    client.send(TextMessage("fail"))
    assert client.events()[0].code == 1011
    other.send(TextMessage("fine"))
    assert server.factory.made[1].seen == ["open", "fine"]
    assert len(failures) == 1


def test_pings():
    """A client that answers stays; a silent one is dropped at the second ping."""
    server = Server(ping=10)
    lively, silent = server.connect(), server.connect()
    for _ in range(3):
        server.clock.advance(10)
        for event in lively.events():
            lively.send(event.response())
    assert silent.exchange.transport.aborted
    assert not lively.exchange.transport.aborted
    for client in (lively, silent):
        client.exchange.disconnect()
    assert not server.resource.pings.running


def test_slow_reader():
    """A client that does not read is not read from, and dropped when too much waits for it."""
    server = Server(max_unsent_bytes=1000)
    client = server.connect()
    app, transport = server.factory.made[0], client.exchange.transport
    told = []
    app.transport.attachProducer(Producer(told))
    transport.producer.pauseProducing()
    assert (transport.producerState, told) == ("paused", ["pause"])
    app.transport.sendBytesMessage(b"x" * 500)
    transport.producer.resumeProducing()
    assert (transport.producerState, told) == ("producing", ["pause", "resume"])
    transport.producer.pauseProducing()
    for _ in range(2):
        app.transport.sendBytesMessage(b"x" * 499)
    assert transport.aborted


class Producer:
    """Notes what it is told."""

    def __init__(self, told):
        self.pauseProducing = lambda: told.append("pause")
        self.resumeProducing = lambda: told.append("resume")
        self.stopProducing = lambda: told.append("stop")


def test_limit():
    """No more WebSockets are opened than may be; one that ends makes room."""
    server = Server(max_connections=1)
    first = server.connect()
    assert (first.status, server.connect().status) == (101, 503)
    first.exchange.disconnect()
    assert server.connect().status == 101


def test_drain():
    """When the server ends, clients are told that it goes away."""
    server = Server()
    client = server.connect()
    for channel in list(server.site.channels):
        channel.drain()
    assert client.events()[0].code == 1001


def test_examples():
    """The echo repeats, the broadcast tells all."""
    client = Server("echo").connect()
    client.send(TextMessage("a"))
    client.send(BytesMessage(b"b"))
    assert [event.data for event in client.events()] == ["a", b"b"]
    server = Server("broadcast")
    one, two = server.connect(), server.connect()
    one.send(TextMessage("all"))
    assert [client.events()[0].data for client in (one, two)] == ["all", "all"]
    two.exchange.disconnect()
    one.send(BytesMessage(b"left"))
    assert one.events()[0].data == b"left"


def test_key():
    """The key is answered as in the RFC's example; what is no key is refused."""
    assert accept_key(b"dGhlIHNhbXBsZSBub25jZQ==") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    with pytest.raises(ValueError, match="16 bytes"):
        accept_key(b"AAAA")


def test_reason():
    """What a failure says names code and reason."""
    assert "1001 off" in str(WebSocketClosed(1001, "off"))


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"protocols": ["a b"]}, "protocols: 'a b' is not a token"),
        ({"origins": ["a.example"]}, "origins: 'a.example' is not an origin"),
        ({"max_message_bytes": 0}, "max_message_bytes must be at least 1"),
        ({"ping": -1}, "ping must not be negative"),
    ],
)
def test_settings(settings, problem):
    """Settings that make no sense are refused."""
    with pytest.raises(ValueError, match=problem):
        WebSocket(**settings)


@pytest.mark.parametrize("name", ["mixweb.features.websocket:WebSocket", "mixweb.features.websocket:nothing"])
def test_factories(name):
    """What builds no protocols is no factory."""
    with pytest.raises(ValueError, match="websocket"):
        build(WebSocket(name), make_context(Clock()))


def test_warning():
    """That every site may connect is said at start."""
    said = []
    build(WebSocket(origins=["*"]), make_context(Clock(), warn=said.append))
    assert len(said) == 1
