"""
Two connections joined: what comes on one leaves on the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol, ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from zope.interface import implementer

from mixweb.engine.request import Request

Pairs = Iterable[tuple[bytes, bytes]]


@implementer(IHalfCloseableProtocol)
class End(Protocol):
    """
    One end of a tunnel.

    :ivar other: the other one.
    :ivar open: whether it can still be sent to.
    :ivar tunnel: what it is an end of.
    """

    transport: Any
    other: End
    tunnel: Tunnel
    open = True

    def connectionMade(self) -> None:
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpKeepAlive(True)

    def dataReceived(self, data: bytes) -> None:
        self.tunnel.moved = True
        self.other.transport.write(data)

    def readConnectionLost(self) -> None:
        """Nothing more comes: the other side is told so when all has been sent."""
        self.other.close()

    def writeConnectionLost(self) -> None:
        """All has been sent."""

    def close(self) -> None:
        """Close this end when all has been sent."""
        if self.open:
            self.open = False
            self.transport.unregisterProducer()
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.open = False
        self.other.close()
        self.tunnel.lost()


class Talker(End):
    """The client's end of a tunnel that is open for as long as both sides like: it does not hold a server up that stops."""

    def drain(self) -> None:
        """The server stops."""
        self.tunnel.close()


class FarEnd(End):
    """
    The end at another server.

    :param connection: the protocol that it was before; it is told of the end.
    """

    def __init__(self, connection: Protocol) -> None:
        self.connection = connection

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self.connection.connectionLost(reason)


class Tunnel:
    """
    Two ends that are joined.

    :param near: the client's end.
    :param connection: the protocol of the other one so far.
    :ivar moved: whether something has come since somebody set this to false.
    :ivar ended: called when both ends are closed.
    """

    def __init__(self, near: End, connection: Protocol) -> None:
        self.near, self.far = near, FarEnd(connection)
        self.near.other, self.far.other = self.far, self.near
        self.near.tunnel = self.far.tunnel = self
        self.moved = True
        self.ended: Callable[[], object] = int
        self._open_ends = 2
        transport: Any = connection.transport
        transport.unregisterProducer()
        transport.protocol = self.far
        self.far.makeConnection(transport)

    def join(self, rest: bytes) -> None:
        """
        Have each end be read no faster than the other one takes it.

        :param rest: what has come at the far end already.
        """
        near, far = self.near.transport, self.far.transport
        near.registerProducer(far, True)
        far.registerProducer(near, True)
        if rest:
            near.write(rest)

    def lost(self) -> None:
        """An end is closed."""
        self._open_ends -= 1
        if not self._open_ends:
            self.ended()

    def close(self) -> None:
        """Close both ends."""
        self.near.close()
        self.far.close()


def upgrade(request: Request, name: bytes, fields: Pairs, connection: Protocol, rest: bytes) -> Tunnel:
    """
    Answer a request with another protocol, and join its connection with one to another server that speaks it.

    :param name: of the protocol.
    :param fields: of the answer.
    :param rest: what has come from that server behind its answer.
    """
    tunnel = Tunnel(Talker(), connection)
    request.upgrade(tunnel.near, name, fields)
    tunnel.join(rest)
    return tunnel


def open_tunnel(request: Request, connection: Protocol) -> Tunnel:
    """Answer a CONNECT of HTTP/1.1, and join its connection with another one."""
    channel = request.channel
    tunnel = Tunnel(End(), connection)
    request.code, request.startedWriting = 200, 1
    channel.writeHeaders(b"HTTP/1.1", b"200", b"OK", Headers())
    channel._protocolUpgradeForWebsockets(tunnel.near)
    tunnel.join(b"")
    return tunnel
