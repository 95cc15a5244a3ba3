"""
HTTP/2 by Twisted's framing, with our requests: it says goodbye before it closes, and closes after it has said so.
"""

from __future__ import annotations

from typing import Any

from hyperframe.frame import GoAwayFrame
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web._http2 import H2Connection


class Http2Channel(H2Connection):
    """
    An HTTP/2 connection.

    :ivar requests: the streams whose answers are not complete.
    """

    site: Any
    factory: Any
    transport: Any
    requestFactory: Any
    callLater: Any
    _draining = False
    _idle_looks = 0

    @property
    def requests(self) -> list[Any]:
        return list(self.streams.values())

    def connectionMade(self) -> None:
        self.site.channels.add(self)
        super().connectionMade()

    def connectionLost(self, reason: Failure = connectionDone, _cancelTimeouts: bool = True) -> None:
        self.site.channels.discard(self)
        super().connectionLost(reason, _cancelTimeouts)

    def check_timeouts(self, now: float) -> None:
        """
        Close a drained connection that the client has left open. Other times are kept by Twisted's connection.

        Closed at once, with the client's window updates unread, the kernel would reset it and cut the last answer off.
        """
        if not self._draining or self.streams or self.transport.dataBuffer or self.transport._tempDataLen:
            self._idle_looks = 0
            return
        self._idle_looks += 1
        if self._idle_looks > 1:
            self.transport.loseConnection()

    def pauseProducing(self) -> None:
        # A transport may say so again while it is blocked; to wait anew would forget who waits already.
        if self._consumerBlocked is None:
            super().pauseProducing()

    def drain(self) -> None:
        """Take no more streams (RFC 9113, 6.8) and close when the answers under way have been sent."""
        self._draining = True
        self.transport.write(GoAwayFrame(0, last_stream_id=self.conn.highest_inbound_stream_id).serialize())

    def abortConnection(self) -> None:
        """Drop the connection, with what has not been sent."""
        self.transport.abortConnection()

    def _requestReceived(self, event: Any) -> None:
        if self._draining:
            self.conn.reset_stream(event.stream_id, 7)
        else:
            super()._requestReceived(event)
