"""
HTTP/2 by Twisted's framing, with our requests: it says goodbye before it closes, and closes after it has said so.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from h2.errors import ErrorCodes
from hyperframe.frame import GoAwayFrame
from priority import TooManyStreamsError  # type: ignore[import-untyped]
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web._http2 import H2Connection, H2Stream


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

    def __init__(self, site: Any, limits: Any = None, timeouts: Any = None) -> None:
        super().__init__(site.reactor)
        self.site = self.factory = site
        self.conn.local_settings.max_concurrent_streams = site.max_http2_streams
        self.conn.local_settings.acknowledge()
        self._closed_windows: set[int] = set()

    @property
    def requests(self) -> list[Any]:
        return list(self.streams.values())

    def connectionMade(self) -> None:
        self.site.channels.add(self)
        super().connectionMade()

    def readConnectionLost(self) -> None:
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone, _cancelTimeouts: bool = True) -> None:
        self.site.channels.leave(self)
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
            self.conn.reset_stream(event.stream_id, ErrorCodes.REFUSED_STREAM)
            return
        super()._requestReceived(event)
        stream = self.streams.get(event.stream_id)
        if stream is not None:
            stream.flowControlBlocked = partial(self._wait_for_window, stream)

    def _wait_for_window(self, stream: Any) -> None:
        """Twisted's sending loop would go round and round for a stream whose window is closed."""
        H2Stream.flowControlBlocked(stream)
        if self.conn.local_flow_control_window(stream.streamID) <= 0:
            self.priority.block(stream.streamID)
            self._closed_windows.add(stream.streamID)

    def dataReceived(self, data: bytes) -> None:
        try:
            super().dataReceived(data)
        except TooManyStreamsError:
            self.conn.close_connection(ErrorCodes.ENHANCE_YOUR_CALM)
            self._terminate(Failure())
        if self._closed_windows:
            self._resume_streams()

    def _is_open(self, stream_id: int) -> bool:
        """Whether an answer may still be sent: a client can take a request back in the packet that brought it."""
        stream = self.conn.streams.get(stream_id)
        return stream is not None and not stream.closed

    def _requestEnded(self, event: Any) -> None:
        if self._is_open(event.stream_id) and event.stream_id in self.streams:
            super()._requestEnded(event)

    def _requestDataReceived(self, event: Any) -> None:
        if event.stream_id in self.streams:
            super()._requestDataReceived(event)
        else:
            # The rest of a body that was refused; other streams share its part of the connection's window.
            self.conn.acknowledge_received_data(event.flow_controlled_length, event.stream_id)

    def abortRequest(self, streamID: int) -> None:
        # Twisted resets with NO_ERROR, which a client takes for the end of a whole answer (RFC 9113, 8.1).
        if self._is_open(streamID):
            self.conn.reset_stream(streamID, ErrorCodes.INTERNAL_ERROR)
            if self._tryToWriteControlData():
                self._requestDone(streamID)

    def _resume_streams(self) -> None:
        """Send on where the client has opened a window, by an update or by a setting."""
        for stream_id in list(self._closed_windows):
            if stream_id not in self.streams:
                self._closed_windows.discard(stream_id)
            elif self.conn.local_flow_control_window(stream_id) > 0:
                self._closed_windows.discard(stream_id)
                self.priority.unblock(stream_id)
        waiting, self._sendingDeferred = self._sendingDeferred, None
        if waiting is not None:
            waiting.callback(None)
