"""
Two connections joined: what comes on one leaves on the other.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol, ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from zope.interface import implementer

from mixweb.engine.request import Request
from mixweb.kit.upstream.connection import Connection


@implementer(IHalfCloseableProtocol)
class End(Protocol):
    """
    One end of a tunnel.

    :ivar other: the other one.
    :ivar open: whether it can still be sent to.
    """

    transport: Any
    other: End
    open = True

    def connectionMade(self) -> None:
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpKeepAlive(True)

    def dataReceived(self, data: bytes) -> None:
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


class FarEnd(End):
    """
    The end at another server.

    :param connection: what it was before; it is told of the end.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self.connection.connectionLost(reason)


def open_tunnel(request: Request, status: int, headers: Headers, connection: Connection, rest: bytes) -> None:
    """
    Answer a request, and join its connection with one to another server.

    :param rest: what has come from that server behind its answer.
    """
    channel = request.channel
    request.code = status
    request.startedWriting = 1
    channel.writeHeaders(b"HTTP/1.1", b"%d" % status, b"Switching Protocols" if status == 101 else b"OK", headers)
    near, far = End(), FarEnd(connection)
    near.other, far.other = far, near
    transport: Any = connection.transport
    transport.unregisterProducer()
    transport.protocol = far
    far.makeConnection(transport)
    channel._protocolUpgradeForWebsockets(near)
    near.transport.registerProducer(transport, True)
    transport.registerProducer(near.transport, True)
    if rest:
        near.transport.write(rest)
