"""
Real connections on loopback: our transports on one side, blocking sockets in a thread on the other.
"""

import socket
import ssl
import struct
from contextlib import suppress
from functools import partial
from select import select

import trustme
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.threads import deferToThread

from mixweb.engine.listeners import prepare
from mixweb.engine.tls import server_context
from mixweb.engine.transports import Port, Server, TLSServer

AUTHORITY = trustme.CA()
CERTIFICATE = AUTHORITY.issue_cert("localhost")
TIMEOUT = 10


class Peer(Protocol):
    """The server's side of a connection. ``script`` is called with itself and what was received."""

    def __init__(self, script=None, made=None):
        self.script = script
        self.made = made
        self.received = bytearray()
        self.lost = Deferred()
        self.reason = None

    def connectionMade(self):
        if self.made:
            self.made(self)

    def dataReceived(self, data):
        self.received += data
        if self.script:
            self.script(self, data)

    def connectionLost(self, reason):
        self.reason = reason
        self.lost.callback(reason.type)


class Peers(Factory):
    """Makes the peers, and fires ``Deferreds`` with them as they come."""

    noisy = False

    def __init__(self, make):
        self.make = make
        self.peers = []
        self.waiting = []

    def buildProtocol(self, address):
        peer = self.make()
        self.peers.append(peer)
        for waiting in self.waiting:
            waiting.callback(peer)
        self.waiting = []
        return peer

    def next(self):
        """Fires with the next peer."""
        self.waiting.append(Deferred())
        return self.waiting[-1]


class Loopback:
    """A listening port of one kind (tcp, unix, tls), and how to connect to it."""

    def __init__(self, kind, make, folder, **options):
        self.kind = kind
        self.factory = Peers(make)
        if kind == "unix":
            self.address = str(folder / "socket")
            self.port = reactor.listenUNIX(self.address, self.factory)
            prepare(self.port)
            return
        self.port = Port(0, self.factory, 1024, "127.0.0.1", reactor)
        self.port.startListening()
        self.address = ("127.0.0.1", self.port.getHost().port)
        prepare(self.port, Server if kind == "tcp" else tls_transport(**options))

    def plain(self):
        """A blocking socket, connected, without TLS."""
        client = socket.socket(socket.AF_UNIX if self.kind == "unix" else socket.AF_INET)
        client.settimeout(TIMEOUT)
        try:
            client.connect(self.address)
        except OSError:
            client.close()
            raise
        return client

    def connect(self, **options):
        """A blocking socket, connected, with TLS where the port speaks it."""
        client = self.plain()
        return client_context(**options).wrap_socket(client, server_hostname="localhost") if self.secure else client

    @property
    def secure(self):
        return self.kind == "tls"

    async def run(self, client):
        """What ``client`` returns, called in a thread with a connected socket that is closed afterwards."""
        return await deferToThread(self._run, client)

    def _run(self, client):
        with self.connect() as connection:
            return client(connection)

    async def close(self):
        await self.port.stopListening()
        for peer in self.factory.peers:
            if peer.reason is None and peer.transport is not None:
                peer.transport.abortConnection()
                await peer.lost


def tls_transport(context=None, **options):
    """What builds TLS transports with the test certificate."""
    if context is None:
        context = server_context()
        CERTIFICATE.configure_cert(context)
    return partial(TLSServer, context=context, **options)


def client_context(alpn=None, maximum=None, identity=None):
    """A context that trusts the test certificate."""
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    if alpn:
        context.set_alpn_protocols(alpn)
    if maximum:
        context.maximum_version = maximum
    if identity:
        identity.configure_cert(context)
    return context


def read_all(connection):
    """All bytes up to the end of the stream."""
    pieces = []
    with suppress(ssl.SSLZeroReturnError):
        while piece := connection.recv(65536):
            pieces.append(piece)
    return b"".join(pieces)


def read_exactly(connection, count):
    """The next ``count`` bytes."""
    data = bytearray()
    while len(data) < count:
        piece = connection.recv(min(65536, count - len(data)))
        if not piece:
            raise AssertionError(f"the stream ended after {len(data)} of {count} bytes")
        data += piece
    return bytes(data)


def exchange(connection, data):
    """Send some data and receive as much, both at the same time, in one thread: an SSL object is not for two."""
    connection.settimeout(0)
    left, got = memoryview(data), bytearray()
    while len(got) < len(data):
        readable, writable, _ = select([connection], [connection] if left else [], [], TIMEOUT)
        if not (readable or writable):
            raise AssertionError(f"stuck with {len(left)} bytes to send and {len(got)} received")
        with suppress(BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            while readable:
                got += connection.recv(65536)
        with suppress(BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            while left:
                left = left[connection.send(left[:65536]) :]
    return bytes(got)


def send_end(connection):
    """Tell the other side that nothing more comes, and stay able to read."""
    if not isinstance(connection, ssl.SSLSocket):
        connection.shutdown(socket.SHUT_WR)
        return
    connection.settimeout(0)
    with suppress(ssl.SSLWantReadError, ssl.SSLZeroReturnError):
        connection.unwrap()
    connection.settimeout(TIMEOUT)


def reset(connection):
    """Close a socket so that the other side gets an RST."""
    if connection.family != socket.AF_UNIX:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
