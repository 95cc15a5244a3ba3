"""
What one stream of HTTP/2 sends: what was written, and whoever writes more when it was sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from mixweb.engine._h2_frame import MAX_FRAME
from mixweb.engine._h2_output import FrameStream
from mixweb.engine._h2_priority import UNSAID, Priority
from mixweb.engine.h2fields import RequestHead

if TYPE_CHECKING:
    from mixweb.engine.h2channel import Http2Connection

#: What a frame takes of a body that needs several: with its header it fills a TLS record, in octets.
FRAME_BYTES = MAX_FRAME - 9

#: A producer has to wait while more than this waits to be sent, and until it is half of it, in octets.
PENDING_BYTES = 64 * 1024


class SendingStream(FrameStream):
    """
    A stream as far as it sends a body.

    :ivar head: the head of the request; ``None`` when it was not read.
    :ivar pending_bytes: octets that wait to be sent.
    :ivar sent_bytes: octets that were sent.
    :ivar waits: whether it waits for its turn to send.
    """

    # What most streams never need is not set on them.
    head: RequestHead | None = None
    pending_bytes = 0
    sent_bytes = 0
    waits = False

    _log = Logger()
    _finished = False
    _pending: list[Any] | None = None
    _priority: Priority | None = None
    _producer: Any = None
    _pulls = False
    _producer_paused = False

    connection: Http2Connection

    def close(self) -> None:
        """Everything has been sent."""
        raise NotImplementedError

    def abortConnection(self) -> None:
        """Drop the stream, with what has not been sent."""
        raise NotImplementedError

    def write(self, data: bytes) -> None:
        """Send a piece of a body."""
        size = len(data)
        if self.closed or not size:
            return
        if self._pending is None:
            self._pending = []
        self._pending.append(data if size <= FRAME_BYTES else memoryview(data))
        self.pending_bytes += size
        self.connection.held_bytes += size
        self._want_turn()
        if self._producer is not None and not self._pulls and self.pending_bytes > PENDING_BYTES:
            self._pause_producer()

    def writeSequence(self, pieces: Iterable[bytes]) -> None:
        """Send several pieces of a body."""
        self.write(b"".join(pieces))

    def finish(self) -> None:
        """Nothing follows what was written."""
        if self.closed:
            return
        if self.pending_bytes:
            self._finished = True
        else:
            self.connection.send_data(self, [], 0, True)
            self.close()
        self.connection.wake()

    def _want_turn(self) -> None:
        if not self.waits and self.send_window > 0:
            self.waits = True
            self.connection.turns.add(self)
            self.connection.wake()

    def window_opened(self) -> None:
        """Send on, if there is something."""
        if self.pending_bytes or self._pulls:
            self._want_turn()

    def send_frame(self) -> bool:
        """
        Take a turn: send a frame, when a pull producer has made something to send.

        :returns: whether to wait for another turn.
        """
        if self._pulls and not self.pending_bytes:
            self.attempt(self._producer.resumeProducing)
        connection = self.connection
        size = min(self.pending_bytes, FRAME_BYTES, self.send_window, connection.send_window)
        if size > 0 and not self.closed:
            pieces = self._take_pending(size)
            end = self._finished and not self.pending_bytes
            connection.send_data(self, pieces, size, end)
            if end:
                self.close()
        if self._producer_paused and self.pending_bytes <= PENDING_BYTES // 2:
            self._producer_paused = False
            self.attempt(self._producer.resumeProducing)
        if self.closed or self.send_window <= 0:
            return False
        return self.pending_bytes > 0 or (self._pulls and size > 0)

    def _take_pending(self, size: int) -> list[Any]:
        pending = self._pending
        assert pending is not None
        self.pending_bytes -= size
        self.connection.held_bytes -= size
        self.sent_bytes += size
        count = 0
        for piece in pending:
            if len(piece) > size:
                break
            size -= len(piece)
            count += 1
        pieces = pending[:count]
        del pending[:count]
        if size:
            pieces.append(pending[0][:size])
            pending[0] = pending[0][size:]
        return pieces

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Have a producer write no faster than the client takes it."""
        if self._producer is not None:
            raise ValueError(f"{self._producer!r} is producing already")
        if self.closed:
            producer.stopProducing()
            return
        self._producer = producer
        self._pulls = not streaming
        if self._pulls:
            self._want_turn()
        elif self.pending_bytes > PENDING_BYTES:
            self._pause_producer()

    def unregisterProducer(self) -> None:
        """The producer has ended."""
        self._producer = None
        self._pulls = self._producer_paused = False

    def _pause_producer(self) -> None:
        if not self._producer_paused:
            self._producer_paused = True
            self.attempt(self._producer.pauseProducing)

    @property
    def priority(self) -> Priority:
        """How its answer is to be sent."""
        if self._priority is None:
            self._priority = UNSAID if self.head is None else self.connection.priority_of(self, self.head)
        return self._priority

    def prioritize(self, priority: Priority) -> None:
        """Have its answer sent in another order."""
        waits = self.waits
        if waits:
            self.connection.turns.remove(self)
        self._priority = priority
        if waits:
            self.connection.turns.add(self)

    def let_go(self) -> None:
        """Give back what a closed stream has not sent."""
        connection = self.connection
        connection.held_bytes -= self.pending_bytes
        self.pending_bytes = 0
        self._pending = None
        if self.waits:
            self.waits = False
            connection.turns.remove(self)

    def stop_producer(self) -> None:
        """Have nobody write any more."""
        producer = self._producer
        self.unregisterProducer()
        if producer is not None:
            self.attempt(producer.stopProducing)

    def attempt(self, call: Callable[[], object]) -> None:
        """Call what belongs to an application; when it fails its stream is dropped, and no other."""
        try:
            call()
        except Exception:
            self._log.failure("stream {id} failed", id=self.id)
            self.abortConnection()
