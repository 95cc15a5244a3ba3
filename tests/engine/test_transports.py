"""
The transports, on loopback.
"""

import os
import random
import socket
import ssl
from contextlib import contextmanager

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IHandshakeListener,
    IPullProducer,
    IPushProducer,
    ISSLTransport,
)
from twisted.internet.ssl import PrivateCertificate
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import LogLevel, globalLogPublisher
from zope.interface import implementer

from mixweb.engine._transport import unmapped
from mixweb.engine.tls import ServerSocket, server_context
from mixweb.engine.transports import Port, TLSFacts, file_sender
from tests.engine.loopback import (
    AUTHORITY,
    CERTIFICATE,
    Loopback,
    Peer,
    client_context,
    exchange,
    read_all,
    read_exactly,
    reset,
    send_end,
)

MEBI = 1 << 20

KINDS = ("tcp", "unix", "tls")

every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest_twisted.async_yield_fixture
async def loop(tmp_path):
    """Makes listening ports that are closed when the test ends."""
    opened = []

    def make(kind, script=None, made=None, make_peer=None, **options):
        opened.append(Loopback(kind, make_peer or (lambda: Peer(script, made)), tmp_path, **options))
        return opened[-1]

    yield make
    for one in opened:
        await one.close()


@pytest.fixture
def logged():
    """All events that are logged while the test runs."""
    events = []
    globalLogPublisher.addObserver(events.append)
    yield events
    globalLogPublisher.removeObserver(events.append)


def errors(logged):
    """The types of the exceptions that were logged."""
    failures = [event.get("log_failure") or event.get("failure") for event in logged]
    return [failure.type for failure in failures if failure is not None]


def bytes_of(count, seed=1):
    """Bytes that tell a wrong order."""
    return random.Random(seed).randbytes(count)


def echo(peer, data):
    peer.transport.write(data)


def closing(*pieces):
    """A script that answers with some pieces and closes."""

    def script(peer, data):
        for piece in pieces:
            peer.transport.write(piece)
        peer.transport.loseConnection()

    return script


def request(connection):
    """Send one byte, and read up to the end."""
    connection.sendall(b"?")
    return read_all(connection)


def ask(connection):
    """The same, and close the connection."""
    with connection:
        return request(connection)


# Writing


@every_kind
@pytest_twisted.ensureDeferred
async def test_bytes_one_at_a_time(loop, kind):
    """What is sent one byte at a time, and read one byte at a time, arrives in order."""
    text = bytes_of(300)

    def client(connection):
        for byte in text:
            connection.sendall(bytes([byte]))
        return b"".join(connection.recv(1) for _ in text)

    assert await loop(kind, echo).run(client) == text


@pytest.mark.parametrize(("kind", "size"), [("tcp", 4), ("unix", 4), ("tls", 30)])
@pytest_twisted.ensureDeferred
async def test_much_both_ways(loop, kind, size):
    """Megabytes go both ways at the same time, with backpressure in between."""
    data = bytes_of(MEBI) * size

    def script(peer, piece):
        if peer.transport.producer is None:
            peer.transport.registerProducer(peer.transport, True)
        peer.transport.write(piece)

    assert await loop(kind, script).run(lambda connection: exchange(connection, data)) == data


BODY = bytes_of(5 * MEBI)

ANSWERS = {
    "nothing": [],
    "one byte": [b"x"],
    "head and body": [b"head", b"body"],
    "an empty piece": [b"a", b"", b"b"],
    "more pieces than sendmsg takes": [b"%d," % number for number in range(3000)],
    "large": [BODY],
    "small and large": [b"head", BODY, b"tail"],
    "large pieces": [BODY[start : start + 100_000] for start in range(0, len(BODY), 100_000)],
}


@every_kind
@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS.keys())
@pytest.mark.parametrize("how", ["write", "writeSequence"])
@pytest.mark.parametrize("when", ["in dataReceived", "later"])
@pytest_twisted.ensureDeferred
async def test_all_is_sent_before_the_close(loop, kind, answer, how, when):
    """Whatever was written, and however, is sent before loseConnection closes the connection."""

    def respond(transport):
        if how == "write":
            for piece in answer:
                transport.write(piece)
        else:
            transport.writeSequence(answer)
        transport.loseConnection()

    def script(peer, data):
        if when == "later":
            reactor.callLater(0, respond, peer.transport)
        else:
            respond(peer.transport)

    port = loop(kind, script)
    assert await port.run(request) == b"".join(answer)
    (peer,) = port.factory.peers
    assert await peer.lost is ConnectionDone


@every_kind
@pytest_twisted.ensureDeferred
async def test_what_is_written_after_lose_connection_is_sent(loop, kind):
    """As long as the connection is open, what is written is sent, also after loseConnection."""

    def script(peer, data):
        peer.transport.write(b"one ")
        peer.transport.loseConnection()
        peer.transport.write(b"two")

    assert await loop(kind, script).run(request) == b"one two"


@every_kind
@pytest_twisted.ensureDeferred
async def test_one_send_for_what_is_written_together(loop, kind):
    """All that is written in one dataReceived leaves with one send, and nothing waits for a poll."""
    calls = []

    def script(peer, data):
        transport = peer.transport
        send, transport.startWriting = transport._send_now, lambda: calls.append("poll")
        transport._send_now = lambda pieces: calls.append(list(pieces)) or send(pieces)
        transport.write(b"a")
        transport.writeSequence([b"b", b"c"])
        transport.write(b"d")

    def client(connection):
        connection.sendall(b"?")
        return read_exactly(connection, 4)

    assert await loop(kind, script).run(client) == b"abcd"
    assert calls == [[b"a", b"b", b"c", b"d"]]


@every_kind
@pytest.mark.parametrize("data", ["text", 1, bytearray(b"x"), memoryview(b"x")], ids=repr)
@pytest_twisted.ensureDeferred
async def test_only_bytes_are_written(loop, kind, data):
    """Anything but bytes is refused with a TypeError."""
    refused = []

    def script(peer, _):
        for call in (lambda: peer.transport.write(data), lambda: peer.transport.writeSequence([b"x", data])):
            try:
                call()
            except TypeError as error:
                refused.append(str(error))
        peer.transport.loseConnection()

    assert await loop(kind, script).run(request) == b""
    assert refused == ["Data must be bytes"] * 2


@every_kind
@pytest_twisted.ensureDeferred
async def test_a_failing_send_is_reported_by_do_write(loop, kind):
    """A write to a connection that the client has reset never calls connectionLost itself; doWrite does."""
    port = loop(kind, echo)
    calls = []
    coming = port.factory.next()
    client = await deferToThread(port.connect)
    await deferToThread(lambda: (client.sendall(b"?"), client.recv(1)))
    peer = await coming
    peer.transport.stopReading()
    reset(client)
    for _ in range(20):
        peer.transport.write(b"x" * 100_000)
        calls.append(peer.reason)
    assert calls == [None] * 20
    assert await peer.lost is ConnectionLost
    peer.transport.write(b"ignored")
    peer.transport.writeSequence([b"ignored"])


class Broken:
    """A socket that the kernel does not send on any more."""

    def __init__(self, connection):
        self.connection = connection

    def __getattr__(self, name):
        return getattr(self.connection, name)

    def send(self, *args):
        raise BrokenPipeError(32, "Broken pipe")

    write = sendmsg = send


@every_kind
@pytest.mark.parametrize("pieces", [[b"x"], [b"x", b"y"], [b"x" * 70_000, b"y"]], ids=["one", "two", "large"])
@pytest_twisted.ensureDeferred
async def test_an_error_of_the_kernel(loop, kind, pieces):
    """What cannot be sent is queued, and doWrite returns the reason for the reactor to act on."""
    port = loop(kind, echo)
    coming = port.factory.next()
    client = await deferToThread(port.connect)
    await deferToThread(lambda: (client.sendall(b"?"), client.recv(1)))
    transport = (await coming).transport
    transport.socket = Broken(transport.socket)
    transport.writeSequence(pieces)
    assert isinstance(transport.doWrite(), ConnectionLost)
    assert transport.connected
    client.close()


@pytest.mark.filterwarnings("ignore::DeprecationWarning:OpenSSL")
@pytest.mark.filterwarnings("ignore::DeprecationWarning:twisted")
@pytest_twisted.ensureDeferred
async def test_start_tls(loop, tmp_path):
    """After startTLS everything passes through TLS, and a file cannot be sent past it."""
    private = PrivateCertificate.loadPEM(CERTIFICATE.private_key_and_cert_chain_pem.bytes())
    refused = []

    def script(peer, data):
        transport = peer.transport
        if not transport.TLS:
            transport.write(b"go on")
            transport.startTLS(private.options())
            return
        refused.append(file_sender(transport))
        with file_of(tmp_path, b"x") as file, pytest.raises(RuntimeError, match="past TLS"):
            transport.sendfile(file, 0, 1)
        transport.write(b"one ")
        transport.writeSequence([b"two ", b"three"])
        transport.loseConnection()

    def client(connection):
        connection.sendall(b"STARTTLS")
        assert read_exactly(connection, 5) == b"go on"
        with client_context().wrap_socket(connection, server_hostname="localhost") as secure:
            return request(secure)

    assert await loop("tcp", script).run(client) == b"one two three"
    assert refused == [None]


# Producers


@implementer(IPushProducer)
class Push:
    """Writes until it is paused; ``turns`` tells what it was asked."""

    def __init__(self, transport, pieces):
        self.transport = transport
        self.pieces = iter(pieces)
        self.turns = []
        self.paused = False
        self.done = Deferred()

    def pauseProducing(self):
        self.turns.append("pause")
        self.paused = True

    def resumeProducing(self):
        self.turns.append("resume")
        self.paused = False
        while not self.paused:
            piece = next(self.pieces, None)
            if piece is None:
                self.transport.unregisterProducer()
                self.transport.loseConnection()
                return
            self.transport.write(piece)

    def stopProducing(self):
        self.turns.append("stop")
        self.paused = True


@implementer(IPullProducer)
class Pull(Push):
    """Writes one piece whenever it is asked."""

    def resumeProducing(self):
        self.turns.append("resume")
        piece = next(self.pieces, None)
        if piece is None:
            self.transport.unregisterProducer()
            self.transport.loseConnection()
        else:
            self.transport.write(piece)


@every_kind
@pytest.mark.parametrize(("producing", "streaming"), [(Push, True), (Pull, False)])
@pytest.mark.parametrize("size", [1, 1000, 300_000])
@pytest_twisted.ensureDeferred
async def test_producers(loop, kind, producing, streaming, size):
    """A producer of either kind gets all through; a push producer is paused while the client does not read."""
    pieces = [bytes_of(size, seed) for seed in range(40)]
    producers = []

    def script(peer, data):
        peer.transport.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 50_000)
        producer = producing(peer.transport, pieces)
        producers.append(producer)
        peer.transport.registerProducer(producer, streaming)
        if streaming:
            producer.resumeProducing()

    assert await loop(kind, script).run(request) == b"".join(pieces)
    (producer,) = producers
    assert "stop" not in producer.turns
    assert ("pause" in producer.turns) == (streaming and size == 300_000)


@every_kind
@pytest.mark.parametrize(("producing", "streaming"), [(Push, True), (Pull, False)])
@pytest_twisted.ensureDeferred
async def test_a_producer_is_stopped_when_the_client_leaves(loop, kind, producing, streaming):
    """stopProducing is called once when the connection is lost."""
    producers = []

    def script(peer, data):
        producers.append(producing(peer.transport, iter(lambda: b"x" * 100_000, None)))
        peer.transport.registerProducer(producers[0], streaming)
        if streaming:
            producers[0].resumeProducing()

    port = loop(kind, script)

    def client(connection):
        connection.sendall(b"?")
        return connection.recv(10)

    await port.run(client)
    await port.factory.peers[0].lost
    assert producers[0].turns.count("stop") == 1


@every_kind
@pytest_twisted.ensureDeferred
async def test_a_second_producer_is_refused(loop, kind):
    """Only one producer at a time."""
    refused = []

    def script(peer, data):
        producer = Push(peer.transport, [])
        peer.transport.registerProducer(producer, True)
        with pytest.raises(RuntimeError) as error:
            peer.transport.registerProducer(producer, True)
        refused.append(error.value)
        peer.transport.unregisterProducer()
        peer.transport.loseConnection()

    await loop(kind, script).run(request)
    assert len(refused) == 1


@every_kind
@pytest_twisted.ensureDeferred
async def test_reading_stops_and_goes_on(loop, kind):
    """While reading is paused nothing is received; what was sent meanwhile comes afterwards."""
    port = loop(kind)
    counts = []

    def script(peer, data):
        peer.transport.pauseProducing()
        counts.append(len(peer.received))
        reactor.callLater(0.01, go_on, peer)

    def go_on(peer):
        counts.append(len(peer.received))
        peer.transport.resumeProducing()

    port.factory.make = lambda: Peer(script)

    def client(connection):
        connection.sendall(bytes_of(MEBI))
        send_end(connection)
        return read_all(connection)

    await port.run(client)
    assert counts[-1] == MEBI
    assert counts[::2] == counts[1::2]


# Closing


@implementer(IHalfCloseableProtocol)
class HalfCloseable(Peer):
    """Notes the ends of either direction."""

    def __init__(self, script=None):
        super().__init__(script)
        self.ends = []

    def readConnectionLost(self):
        self.ends.append("read")
        self.transport.write(b"I heard " + bytes(self.received))
        self.transport.loseConnection()

    def writeConnectionLost(self):
        self.ends.append("write")


@every_kind
@pytest_twisted.ensureDeferred
async def test_half_closed_clients_get_their_answer(loop, kind):
    """A client that has closed its side still gets the answer."""
    port = loop(kind, make_peer=HalfCloseable)

    def client(connection):
        connection.sendall(b"all")
        send_end(connection)
        return read_all(connection)

    assert await port.run(client) == b"I heard all"
    assert port.factory.peers[0].ends == ["read"]


@every_kind
@pytest_twisted.ensureDeferred
async def test_half_close(loop, kind):
    """loseWriteConnection sends what is queued, then the end; what the client still sends is received."""

    def script(peer, data):
        if not peer.ends and peer.received == b"?":
            peer.transport.write(BODY)
            peer.transport.loseWriteConnection()

    port = loop(kind, make_peer=lambda: HalfCloseable(script))

    def client(connection):
        connection.sendall(b"?")
        got = read_all(connection)
        connection.sendall(b" and more")
        send_end(connection)
        return got

    assert await port.run(client) == BODY
    (peer,) = port.factory.peers
    await peer.lost
    assert peer.received == b"? and more"
    assert peer.ends == ["write", "read"]


@every_kind
@pytest_twisted.ensureDeferred
async def test_abort(loop, kind):
    """abortConnection drops what is queued, and both sides learn that the connection was cut."""

    def script(peer, data):
        peer.transport.write(b"lost")
        peer.transport.abortConnection()

    port = loop(kind, script)

    def client(connection):
        connection.sendall(b"?")
        try:
            return connection.recv(10)
        except ConnectionResetError:
            return b""

    assert await port.run(client) == b""
    (peer,) = port.factory.peers
    assert await peer.lost is ConnectionAborted


@every_kind
@pytest_twisted.ensureDeferred
async def test_abort_wins_over_lose(loop, kind):
    """After loseConnection, abortConnection still cuts the connection."""

    def script(peer, data):
        peer.transport.loseConnection()
        peer.transport.abortConnection()

    port = loop(kind, script)
    coming = port.factory.next()
    client = await deferToThread(port.connect)
    client.sendall(b"?")
    assert await (await coming).lost is ConnectionAborted
    client.close()


@every_kind
@pytest_twisted.ensureDeferred
async def test_an_exception_costs_one_connection(loop, kind, logged):
    """An exception in dataReceived is logged and drops that connection; others go on."""

    def script(peer, data):
        if data == b"!":
            raise ZeroDivisionError
        peer.transport.write(data)

    port = loop(kind, script)

    def client(connection):
        with port.connect() as other:
            other.sendall(b"!")
            ended = read_end(other)
        connection.sendall(b"still here")
        return ended, read_exactly(connection, 10)

    assert await port.run(client) == (True, b"still here")
    assert errors(logged) == [ZeroDivisionError]


def read_end(connection):
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


@every_kind
@pytest_twisted.ensureDeferred
async def test_a_client_that_leaves(loop, kind):
    """The protocol is told when the client closes (ConnectionDone) and when it resets (ConnectionLost, but not by TLS)."""
    port = loop(kind, echo)
    for leave, expected in [(socket.socket.close, ConnectionDone), (reset, ConnectionLost)]:
        coming = port.factory.next()
        client = await deferToThread(port.connect)
        await deferToThread(lambda client=client: (client.sendall(b"?"), client.recv(1)))
        leave(client)
        assert await (await coming).lost is (expected if kind == "tcp" else ConnectionDone)


# Addresses


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (("1.2.3.4", 80), ("1.2.3.4", 80)),
        (("::ffff:1.2.3.4", 80, 0, 0), ("1.2.3.4", 80)),
        (("::1", 80, 0, 0), ("::1", 80, 0, 0)),
        (("::ffff:1:2", 80, 0, 0), ("::ffff:1:2", 80, 0, 0)),
        (("socket", None), ("socket", None)),
    ],
)
def test_unmapped(address, expected):
    """An IPv4 address that a dual stack socket shows as IPv6 becomes IPv4 again; any other stays."""
    assert unmapped(address) == expected


@pytest.mark.parametrize(
    ("client", "expected"), [("127.0.0.1", IPv4Address("TCP", "127.0.0.1", 0)), ("::1", IPv6Address("TCP", "::1", 0))]
)
@pytest_twisted.ensureDeferred
async def test_addresses_of_a_dual_stack_port(loop, client, expected):
    """On a dual stack port an IPv4 client has IPv4 addresses on both ends, an IPv6 one IPv6."""
    if not socket.has_dualstack_ipv6():
        pytest.skip("there is no IPv6 here")
    port = loop("tcp", echo)
    seen = []
    port.factory.make = lambda: Peer(
        made=lambda peer: seen.extend([peer.transport.getPeer(), peer.transport.getHost()])
    )
    build = port.factory.buildProtocol
    port.factory.buildProtocol = lambda address: seen.append(address) or build(address)
    dual = Port(0, port.factory, 5, "::", reactor)
    dual.startListening()
    coming = port.factory.next()
    connection = socket.create_connection((client, dual.getHost().port))
    peer = await coming
    connection.close()
    await peer.lost
    await dual.stopListening()
    assert {(type(address), address.host) for address in seen} == {(type(expected), expected.host)}
    assert len(seen) == 3


@pytest_twisted.ensureDeferred
async def test_addresses_of_a_unix_socket(loop):
    """A unix connection tells the socket's path, and a client without a name."""
    port = loop("unix", made=lambda peer: peer.transport.setTcpNoDelay(True))
    coming = port.factory.next()
    client = await deferToThread(port.connect)
    peer = await coming
    assert (peer.transport.getHost().name, peer.transport.getPeer().name) == (os.fsencode(port.address), None)
    assert peer.transport.getTcpNoDelay() is False
    client.close()
    await peer.lost


@pytest_twisted.ensureDeferred
async def test_no_delay(loop):
    """Connections inherit TCP_NODELAY from their port; it can be taken away."""
    port = loop("tcp", echo)
    coming = port.factory.next()
    client = await deferToThread(port.connect)
    transport = (await coming).transport
    seen = [transport.getTcpNoDelay()]
    for enabled in (True, False):
        transport.setTcpNoDelay(enabled)
        seen.append(transport.getTcpNoDelay())
    assert seen == [True, True, False]
    client.close()


@every_kind
@pytest_twisted.ensureDeferred
async def test_log_prefix(loop, kind):
    """What is logged for a connection carries the protocol, a number and the client, also after the end."""
    port = loop(kind)
    coming = port.factory.next()
    client = await deferToThread(port.connect)
    peer = await coming
    transport = peer.transport
    host = "" if kind == "unix" else "127.0.0.1"
    number = transport.sessionno
    assert transport.logPrefix() == f"Peer,{number},{host}"
    assert repr(transport) == f"<Peer #{number} on {None if kind == 'unix' else port.address[1]}>"
    client.close()
    await peer.lost
    assert transport.logPrefix() == f"NoneType,{number},{host}"


# The port


@pytest_twisted.ensureDeferred
async def test_a_protocol_that_cannot_be_made(loop, logged):
    """A factory that has no protocol, or fails, or whose protocol fails, costs one connection; the port goes on."""
    port = loop("tcp", echo)

    def no_protocol():
        return None

    def no_luck():
        raise ZeroDivisionError

    def unlucky():
        return Peer(made=lambda peer: 1 / 0)

    def ended():
        try:
            with port.connect() as connection:
                return read_end(connection)
        except ConnectionResetError:
            return True

    for make in (no_protocol, no_luck, unlucky):
        port.factory.make = make
        assert await deferToThread(ended)
    port.factory.peers.remove(None)
    port.factory.make = lambda: Peer(echo)
    assert await port.run(lambda connection: (connection.sendall(b"?"), connection.recv(1))[1]) == b"?"
    assert errors(logged) == [ZeroDivisionError] * 2


@pytest.mark.parametrize("kind", ["tcp", "tls"])
@pytest_twisted.ensureDeferred
async def test_clients_that_reset_at_once(loop, kind, logged):
    """Clients that are gone before anything can be asked about them leave no trace."""
    port = loop(kind, echo)

    def storm():
        for number in range(300):
            client = port.plain()
            if number % 2:
                client.sendall(b"\x16\x03\x01")
            reset(client)

    await deferToThread(storm)

    def client(connection):
        connection.sendall(b"?")
        return connection.recv(1)

    assert await port.run(client) == b"?"
    for peer in port.factory.peers:
        await peer.lost
    assert errors(logged) == []


@pytest_twisted.ensureDeferred
async def test_a_port_that_is_closed_while_it_accepts(loop):
    """When the first of several connections makes the port stop listening, the others are accepted before it closes."""
    port = loop("tcp", echo)
    stopping = []

    def make():
        stopping.append(port.port.stopListening())
        return Peer(echo)

    port.factory.make = make
    clients = [port.plain() for _ in range(3)]
    port.port.doRead()
    assert len(port.factory.peers) == 1
    await gatherResults(stopping)
    assert len(port.factory.peers) == 3
    assert port.port.stopListening() is None
    for client in clients:
        client.close()
    port.port = Port(0, port.factory, 5, "127.0.0.1", reactor)
    port.port.startListening()


@pytest_twisted.ensureDeferred
async def test_a_link_local_client(loop):
    """The zone of a link-local IPv6 address is part of the address."""
    port = loop("tcp", echo)
    ours, theirs = socket.socketpair()
    index, name = socket.if_nameindex()[0]
    coming = port.factory.next()
    port.port._connect(ours, ("fe80::1", 1234, 0, index))
    peer = await coming
    assert peer.transport.getPeer() == IPv6Address("TCP", f"fe80::1%{name}", 1234, 0, index)
    theirs.close()
    await peer.lost


@pytest_twisted.ensureDeferred
async def test_descriptors_run_out(loop, monkeypatch):
    """When there are no descriptors left for a connection, Twisted's way of recovering is taken."""
    port = loop("tcp", echo)
    calls = []
    listening = port.port.socket

    class Exhausted:
        fileno = listening.fileno

        def accept(self):
            port.port.socket = listening
            raise OSError(24, "too many open files")

    monkeypatch.setattr("twisted.internet.tcp.Port.doRead", lambda self: calls.append(self))
    port.port.socket = Exhausted()
    port.port.doRead()
    assert calls == [port.port]


# Files


@contextmanager
def file_of(folder, data):
    """A file with some bytes, opened for reading; it must be closed in the end."""
    path = folder / "file"
    path.write_bytes(data)
    file = path.open("rb")
    yield file
    assert file.closed


@pytest.mark.parametrize("kind", ["tcp", "unix"])
@pytest.mark.parametrize("head", [[], [b"head"], [BODY]], ids=["no head", "head", "large head"])
@pytest.mark.parametrize(("offset", "count"), [(0, 0), (0, 1), (1, 4), (5, 200_000), (0, len(BODY)), (len(BODY), 0)])
@pytest.mark.parametrize("supported", [True, False], ids=["sendfile", "read"])
@pytest_twisted.ensureDeferred
async def test_sendfile(loop, tmp_path, monkeypatch, kind, head, offset, count, supported):
    """A part of a file goes out after what was written before it, and before what is written after it."""
    if not supported:
        monkeypatch.setattr(os, "sendfile", not_supported)
    sent = []
    with file_of(tmp_path, BODY) as file:

        def script(peer, data):
            for piece in head:
                peer.transport.write(piece)
            sending = peer.transport.sendfile(file, offset, count)
            sending.addCallback(sent.append)
            peer.transport.write(b"tail")
            peer.transport.loseConnection()

        got = await loop(kind, script).run(request)
    assert got == b"".join([*head, BODY[offset : offset + count], b"tail"])
    assert sent == [None]


def not_supported(*args):
    raise OSError(22, "not on this file system")


@pytest_twisted.ensureDeferred
async def test_a_small_file_is_sent_at_once(loop, tmp_path):
    """A head and a file that the kernel takes at once leave without waiting for a poll."""
    done = []
    with file_of(tmp_path, b"file") as file:

        def script(peer, data):
            peer.transport.startWriting = lambda: done.append("poll")
            peer.transport.write(b"head ")
            peer.transport.sendfile(file, 0, 4).addCallback(done.append)

        def client(connection):
            connection.sendall(b"?")
            return read_exactly(connection, 9)

        assert await loop("tcp", script).run(client) == b"head file"
    assert done == [None]


@pytest_twisted.ensureDeferred
async def test_sendfile_when_the_last_has_been_sent(loop, tmp_path):
    """When one file has been sent the next may follow, from within the callback."""
    files = []
    for number in range(5):
        path = tmp_path / str(number)
        path.write_bytes(bytes_of(700_000, number))
        files.append(path.open("rb"))

    def send_next(_, peer):
        if files:
            file = files.pop(0)
            peer.transport.sendfile(file, 0, 700_000).addCallback(send_next, peer)
        else:
            peer.transport.loseConnection()

    got = await loop("tcp", lambda peer, data: send_next(None, peer)).run(request)
    assert got == b"".join(bytes_of(700_000, number) for number in range(5))
    assert files == []


@pytest_twisted.ensureDeferred
async def test_sendfile_pauses_a_producer(loop, tmp_path):
    """While a file waits for the client a push producer is paused, and resumed afterwards."""
    producers = []
    with file_of(tmp_path, BODY) as file:

        def script(peer, data):
            producer = Push(peer.transport, [])
            producers.append(producer)
            peer.transport.registerProducer(producer, True)
            peer.transport.sendfile(file, 0, len(BODY))

        assert await loop("tcp", script).run(request) == BODY
    assert producers[0].turns == ["pause", "resume"]


@pytest.mark.parametrize(
    ("offset", "count", "error"), [(-1, 1, ValueError), (0, -1, ValueError), (0, 11, ValueError), (11, 0, ValueError)]
)
@pytest_twisted.ensureDeferred
async def test_sendfile_refuses_what_is_not_in_the_file(loop, tmp_path, offset, count, error):
    """A range outside of the file is refused before anything is sent; the file is closed."""
    refused = []
    with file_of(tmp_path, b"0123456789") as file:

        def script(peer, data):
            with pytest.raises(error) as caught:
                peer.transport.sendfile(file, offset, count)
            refused.append(str(caught.value))
            peer.transport.loseConnection()

        assert await loop("tcp", script).run(request) == b""
    assert refused == [f"the file has 10 bytes: {count} bytes from {offset} are not in it"]


@pytest_twisted.ensureDeferred
async def test_sendfile_refuses_other_things(loop, tmp_path):
    """What is no regular file is refused, and a second file while one is under way."""
    reader, writer = os.pipe()
    pipe = os.fdopen(reader, "rb")
    other = tmp_path / "other"
    other.write_bytes(b"x")
    refused = []
    with file_of(tmp_path, BODY) as file:

        def script(peer, data):
            with pytest.raises(ValueError, match="regular file"):
                peer.transport.sendfile(pipe, 0, 1)
            peer.transport.sendfile(file, 0, len(BODY))
            second = other.open("rb")
            with pytest.raises(RuntimeError, match="another file"):
                peer.transport.sendfile(second, 0, 1)
            refused.append(second.closed)
            peer.transport.loseConnection()

        assert await loop("tcp", script).run(request) == BODY
    assert refused == [True]
    assert pipe.closed
    os.close(writer)


@pytest_twisted.ensureDeferred
async def test_an_error_of_the_kernel_in_a_file(loop, tmp_path, monkeypatch):
    """When a file cannot be sent on, doWrite returns the reason."""
    with sparse_file(tmp_path) as (_, file):
        client, peer, sending = await stuck_transfer(loop, file, HUGE)
        monkeypatch.setattr(os, "sendfile", broken_pipe)
        assert isinstance(peer.transport.doWrite(), ConnectionLost)
        reset(client)
        assert await failed_with(sending) in (ConnectionLost, ConnectionDone)


def broken_pipe(*args):
    raise BrokenPipeError(32, "Broken pipe")


async def stuck_transfer(loop, file, count):
    """A transfer that waits for its client: the client, the peer, and the Deferred of the transfer."""
    sendings = []
    port = loop("tcp", lambda peer, data: sendings.append(peer.transport.sendfile(file, 0, count)))
    coming = port.factory.next()
    client = await deferToThread(port.connect)
    client.sendall(b"?")
    peer = await coming
    while not sendings:
        await deferLater(reactor, 0)
    return client, peer, sendings[0]


HUGE = 64 * MEBI


@contextmanager
def sparse_file(folder):
    path = folder / "sparse"
    with path.open("wb") as file:
        file.truncate(HUGE)
    opened = path.open("rb")
    yield path, opened
    assert opened.closed


@pytest_twisted.ensureDeferred
async def test_a_file_that_gets_shorter(loop, tmp_path, logged):
    """When the file is cut short under way the connection is dropped, the Deferred fails, and a warning is logged."""
    with sparse_file(tmp_path) as (path, file):
        client, peer, sending = await stuck_transfer(loop, file, HUGE)
        os.truncate(path, 1000)
        got = await deferToThread(read_all, client)
        assert len(got) < HUGE
        assert await peer.lost is ConnectionLost
        assert await failed_with(sending) is ConnectionLost
    client.close()
    warnings = [event for event in logged if event.get("log_level") == LogLevel.warn]
    assert len(warnings) == 1
    assert "shorter" in warnings[0]["log_format"]


async def failed_with(deferred):
    try:
        await deferred
    except Exception as error:
        return type(error)


@pytest_twisted.ensureDeferred
async def test_the_client_of_a_file_leaves(loop, tmp_path):
    """When the client leaves, the Deferred of the transfer fails and the file is closed."""
    with sparse_file(tmp_path) as (_, file):
        client, peer, sending = await stuck_transfer(loop, file, HUGE)
        reset(client)
        await peer.lost
        assert await failed_with(sending) in (ConnectionLost, ConnectionDone)


@pytest_twisted.ensureDeferred
async def test_a_file_is_cancelled(loop, tmp_path, logged):
    """Cancelling the Deferred aborts the connection: half an answer must not look like a whole one."""
    with sparse_file(tmp_path) as (_, file):
        client, peer, sending = await stuck_transfer(loop, file, HUGE)
        sending.addErrback(lambda _: None)
        sending.cancel()
        assert await peer.lost is ConnectionAborted
    client.close()
    await deferLater(reactor, 0)
    assert errors(logged) == []


@pytest_twisted.ensureDeferred
async def test_a_file_for_a_connection_that_is_gone(loop, tmp_path):
    """On a lost connection nothing is sent: the file is closed, and the Deferred fails."""
    port = loop("tcp", closing())
    await port.run(request)
    (peer,) = port.factory.peers
    await peer.lost
    with file_of(tmp_path, b"x") as file:
        assert await failed_with(peer.transport.sendfile(file, 0, 1)) is ConnectionLost


@pytest.mark.parametrize(("kind", "expected"), [("tcp", True), ("unix", True), ("tls", False)])
@pytest_twisted.ensureDeferred
async def test_file_sender(loop, kind, expected):
    """A file may be sent past a protocol's transport only where nothing encrypts in between."""
    port = loop(kind, echo)
    coming = port.factory.next()
    client = await deferToThread(port.connect)
    transport = (await coming).transport
    assert file_sender(transport) is (transport if expected else None)
    assert file_sender(None) is None
    client.close()


# TLS


@pytest.mark.parametrize(
    ("offered", "expected"),
    [(["h2", "http/1.1"], b"h2"), (["http/1.1"], b"http/1.1"), (None, None), (["spdy/3"], None)],
)
@pytest_twisted.ensureDeferred
async def test_alpn(loop, offered, expected):
    """The protocol agreed on is there, as bytes, when the first data arrives."""
    seen = []
    port = loop("tls", lambda peer, data: seen.append(peer.transport.negotiatedProtocol) or closing()(peer, data))
    assert await deferToThread(lambda: ask(port.connect(alpn=offered))) == b""
    assert seen == [expected]


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
@pytest_twisted.ensureDeferred
async def test_facts(loop, version):
    """A TLS transport is secure, and tells version, cipher, server name and ALPN; before the handshake nothing."""
    facts = []

    def made(peer):
        facts.append(peer.transport.facts())
        assert ISSLTransport.providedBy(peer.transport)
        assert peer.transport.TLS is False

    def script(peer, data):
        facts.append(peer.transport.facts())
        peer.transport.loseConnection()

    port = loop("tls", script, made)
    maximum = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}[version]
    await deferToThread(lambda: ask(port.connect(alpn=["h2"], maximum=maximum)))
    nothing, agreed = facts
    assert nothing is None
    assert agreed == TLSFacts(version, agreed.cipher, None, "h2")
    assert "GCM" in agreed.cipher or "CHACHA20" in agreed.cipher


@pytest.mark.parametrize("with_certificate", [True, False])
@pytest_twisted.ensureDeferred
async def test_client_certificate(loop, with_certificate):
    """The certificate of the client, where one is asked for, can be had; None otherwise, and before the handshake."""
    context = server_context()
    CERTIFICATE.configure_cert(context)
    AUTHORITY.configure_trust(context)
    context.verify_mode = ssl.CERT_OPTIONAL
    identity = AUTHORITY.issue_cert("someone@example.com") if with_certificate else None
    seen = []

    def script(peer, data):
        seen.append(peer.transport.getPeerCertificate())
        peer.transport.loseConnection()

    port = loop("tls", script, lambda peer: seen.append(peer.transport.getPeerCertificate()), context=context)
    await deferToThread(lambda: ask(port.connect(identity=identity)))
    assert seen[0] is None
    assert (seen[1] is not None) == with_certificate
    if with_certificate:
        assert seen[1].issuer == trustme_issuer()


def trustme_issuer():
    from cryptography import x509

    return x509.load_pem_x509_certificate(AUTHORITY.cert_pem.bytes()).subject


@pytest_twisted.ensureDeferred
async def test_the_protocol_hears_of_the_handshake(loop):
    """A protocol that listens for it is told when the handshake is complete."""

    @implementer(IHandshakeListener)
    class Listener(Peer):
        def handshakeCompleted(self):
            self.transport.write(self.transport.facts().version.encode())
            self.transport.loseConnection()

    assert await loop("tls", make_peer=Listener).run(read_all) == b"TLSv1.3"


@pytest.mark.parametrize("pieces", [[], [b"hello"], [b"a", BODY, b"b"]], ids=["nothing", "a word", "much"])
@pytest_twisted.ensureDeferred
async def test_what_is_written_before_the_handshake(loop, pieces):
    """What the protocol writes when it is connected is sent after the handshake, then the connection closed."""

    def greet(peer):
        for piece in pieces:
            peer.transport.write(piece)
        peer.transport.loseConnection()

    port = loop("tls", made=greet)

    def client():
        try:
            with port.connect() as connection:
                return read_all(connection)
        except OSError:
            return None

    assert await deferToThread(client) == (b"".join(pieces) if pieces else None)
    assert await port.factory.peers[0].lost is ConnectionDone


@pytest_twisted.ensureDeferred
async def test_pull_producer_before_the_handshake(loop):
    """A pull producer that begins before the handshake gets all through."""

    def made(peer):
        peer.transport.registerProducer(Pull(peer.transport, [b"one ", b"two ", b"three"]), False)

    assert await loop("tls", made=made).run(read_all) == b"one two three"


@pytest_twisted.ensureDeferred
async def test_a_handshake_that_has_no_room(loop, monkeypatch):
    """When the kernel has no room for a part of the handshake, it goes on when there is some."""
    shake_hands = ServerSocket.do_handshake
    full = [True, True]

    def do_handshake(connection):
        if full:
            full.pop()
            raise ssl.SSLWantWriteError
        shake_hands(connection)

    monkeypatch.setattr(ServerSocket, "do_handshake", do_handshake)
    port = loop("tls", echo)
    assert await port.run(lambda connection: (connection.sendall(b"?"), connection.recv(1))[1]) == b"?"
    assert full == []


@pytest_twisted.ensureDeferred
async def test_the_end_is_announced(loop):
    """The connection ends with close_notify: a client that insists on it sees no truncation."""
    port = loop("tls", closing(BODY))

    def client():
        connection = port.plain()
        with client_context().wrap_socket(
            connection, server_hostname="localhost", suppress_ragged_eofs=False
        ) as secure:
            return request(secure)

    assert await deferToThread(client) == BODY


@pytest.mark.parametrize("seed", range(6))
@pytest_twisted.ensureDeferred
async def test_writes_of_all_sizes(loop, seed):
    """Whatever the sizes of the writes, and while the kernel takes little at a time, nothing breaks the TLS layer."""
    chance = random.Random(seed)
    sizes = [chance.choice([1, 100, 16_384, 20_000, 131_072, 131_073, 400_000]) for _ in range(60)]
    pieces = [bytes_of(size, size) for size in sizes]
    left = list(pieces)

    def write_some(peer):
        for _ in range(chance.randrange(1, 4)):
            if not left:
                peer.transport.loseConnection()
                return
            peer.transport.write(left.pop(0))
        reactor.callLater(0, write_some, peer)

    def script(peer, data):
        peer.transport.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, chance.choice([1, 20_000, 100_000]))
        write_some(peer)

    assert await loop("tls", script).run(request) == b"".join(pieces)


@pytest.mark.parametrize("waiting", [0, 100_000], ids=["nothing unread", "much unread"])
@pytest_twisted.ensureDeferred
async def test_an_upload_goes_on_after_the_half_close(loop, waiting):
    """When the end was announced in the middle of an upload, what still comes never reaches the protocol as ciphertext."""
    begun = Deferred()

    def script(peer, data):
        if not begun.called:
            peer.transport.pauseProducing()
            begun.callback(None)

    port = loop("tls", make_peer=lambda: HalfCloseable(script))
    coming = port.factory.next()
    client = await deferToThread(port.connect)
    peer = await coming
    client.sendall(b"u")
    await begun
    await deferToThread(client.sendall, b"u" * waiting)
    peer.transport.write(b"refused")
    peer.transport.loseWriteConnection()
    assert await deferToThread(read_all, client) == b"refused"
    peer.transport.resumeProducing()
    await deferToThread(client.sendall, b"u" * 100_000)
    client.close()
    assert await peer.lost is ConnectionDone
    assert set(peer.received) == {ord("u")}
    assert peer.ends == ["write", "read"]


class Reluctant:
    """The TLS socket of a transport, which at first has no room for its last word."""

    def __init__(self, transport):
        self.transport = transport
        self.connection = transport.socket

    def __getattr__(self, name):
        return getattr(self.connection, name)

    def unwrap(self):
        self.transport.socket = self.connection
        raise ssl.SSLWantWriteError


@pytest.mark.parametrize("close", ["loseConnection", "loseWriteConnection"])
@pytest.mark.parametrize("when", ["in dataReceived", "later"])
@pytest_twisted.ensureDeferred
async def test_the_end_is_announced_when_there_is_room(loop, close, when):
    """When the kernel has no room for close_notify it is sent later, and the connection is closed only then."""

    def end(transport):
        transport.socket = Reluctant(transport)
        transport.write(b"answer")
        getattr(transport, close)()

    def script(peer, data):
        if when == "later":
            reactor.callLater(0, end, peer.transport)
        else:
            end(peer.transport)

    port = loop("tls", script)

    def client():
        plain = port.plain()
        with client_context().wrap_socket(plain, server_hostname="localhost", suppress_ragged_eofs=False) as secure:
            return request(secure)

    assert await deferToThread(client) == b"answer"
    assert await port.factory.peers[0].lost is ConnectionDone


def hello_for(name):
    """A ClientHello for a server name, which may be any bytes."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="x" * len(name))
    with pytest.raises(ssl.SSLWantReadError):
        session.do_handshake()
    return outgoing.read().replace(b"x" * len(name), name)


GARBAGE = {
    "zeros": bytes(1000),
    "letters": b"hello, is this the telnet port?\r\n" * 10,
    "an alert": b"\x15\x03\x01\x00\x02\x02\x00",
    "a broken hello": b"\x16\x03\x01\x02\x00" + b"\xff" * 512,
    "half a hello": hello_for(b"localhost")[:100],
    "a name that is not ASCII": hello_for(b"\xff\xfe.example"),
    "a name with NUL": hello_for(b"a\0b.example"),
    "TLS 1.0": b"\x16\x03\x01\x00\x2d\x01\x00\x00\x29\x03\x01" + bytes(32) + b"\x00\x00\x02\x00\x2f\x01\x00",
    "nothing": b"",
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE.keys())
@pytest_twisted.ensureDeferred
async def test_garbage_instead_of_a_handshake(loop, garbage, logged, capsys):
    """Whatever comes instead of a ClientHello costs one line of debug output at most, and never a traceback."""
    context = server_context()
    CERTIFICATE.configure_cert(context)
    context.sni_callback = lambda *_: None
    port = loop("tls", echo, context=context)
    coming = port.factory.next()

    def client():
        with port.plain() as connection:
            connection.sendall(garbage)
            send_end(connection)
            try:
                read_all(connection)
            except ConnectionResetError:
                return

    logged.clear()
    await deferToThread(client)
    peer = await coming
    await peer.lost
    assert peer.received == b""
    assert [event["log_level"] for event in logged] in ([], [LogLevel.debug])
    assert capsys.readouterr().err == ""


@pytest_twisted.ensureDeferred
async def test_plain_http_is_told_to_use_https(loop):
    """A client that speaks plain HTTP to a TLS port is told so in plain HTTP."""
    port = loop("tls", echo)

    def client():
        with port.plain() as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            return read_all(connection)

    head, _, body = (await deferToThread(client)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert f"Content-Length: {len(body)}".encode() in head
    assert b"https" in body


@pytest_twisted.ensureDeferred
async def test_reset_in_the_middle_of_a_handshake(loop, logged):
    """A client that resets the connection after its ClientHello is forgotten."""
    port = loop("tls", echo)
    coming = port.factory.next()
    client = await deferToThread(port.plain)
    client.sendall(hello_for(b"localhost"))
    peer = await coming
    await deferToThread(client.recv, 1)
    reset(client)
    assert await peer.lost is ConnectionLost
    assert errors(logged) == []


@pytest.mark.parametrize("begin", [b"", hello_for(b"localhost")[:50], hello_for(b"localhost")], ids=len)
@pytest_twisted.ensureDeferred
async def test_stalled_handshakes_are_cut_off(loop, begin):
    """200 clients that never finish the handshake are dropped after the timeout, while others are served."""
    port = loop("tls", echo, handshake_timeout=1.0)
    clients = []

    def stall():
        for _ in range(200):
            client = port.plain()
            client.sendall(begin)
            clients.append(client)

    await deferToThread(stall)

    def served(connection):
        connection.sendall(b"?")
        return connection.recv(1)

    began = reactor.seconds()
    assert await port.run(served) == b"?"
    await gatherResults([peer.lost for peer in port.factory.peers])
    assert reactor.seconds() - began < 6
    for client in clients:
        client.close()


@pytest_twisted.ensureDeferred
async def test_a_client_that_finished_the_handshake_stays(loop):
    """The timeout is for the handshake only."""

    def script(peer, data):
        waiting = [call for call in reactor.getDelayedCalls() if call.func == peer.transport._handshake_too_late]
        peer.transport.write(b"%d" % len(waiting))

    def client(connection):
        connection.sendall(b"?")
        return connection.recv(1)

    assert await loop("tls", script).run(client) == b"0"
