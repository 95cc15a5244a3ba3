"""
A stream of HTTP/2 as the transport of another protocol (RFC 8441).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IConsumer, IProtocol, IPushProducer, ITransport
from twisted.python.failure import Failure
from zope.interface import implementer

if TYPE_CHECKING:
    from mixweb.engine._h2_stream import Http2Stream


@implementer(ITransport, IConsumer, IPushProducer)
class Tunnel:
    """
    What a protocol writes to, whose bytes go through a stream.

    :ivar disconnecting: whether the protocol has asked for the end.
    """

    disconnecting = False

    def __init__(self, stream: Http2Stream, protocol: IProtocol) -> None:
        self._stream = stream
        self.protocol = protocol

    def write(self, data: bytes) -> None:
        """Send some bytes."""
        if not self.disconnecting:
            self._stream.write(data)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Send some bytes."""
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        """End the stream when everything has been sent."""
        if not self.disconnecting:
            self.disconnecting = True
            self._stream.finish()

    def abortConnection(self) -> None:
        """End the stream with what has not been sent."""
        self.disconnecting = True
        self._stream.abortConnection()

    def getPeer(self) -> Any:
        """The client's address."""
        return self._stream.getPeer()

    def getHost(self) -> Any:
        """The address the client connected to."""
        return self._stream.getHost()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Have a producer write no faster than the client takes it."""
        self._stream.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        """The producer has ended."""
        self._stream.unregisterProducer()

    def pauseProducing(self) -> None:
        """Have nothing delivered for now; the client is slowed down."""
        self._stream.pause_body()

    def resumeProducing(self) -> None:
        """Go on."""
        self._stream.resume_body()

    def stopProducing(self) -> None:
        """End the stream."""
        self.loseConnection()

    # What the stream tells

    def lost(self, reason: Failure) -> None:
        """There is nothing more, in either direction."""
        self.disconnecting = True
        self.protocol.connectionLost(reason)
