"""
What is sent on a connection of HTTP/2, within its windows, and what is remembered of that. No I/O.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Generic, TypeVar

from mixweb.engine._h2_frame import (
    CONNECTION_WINDOW,
    CONTINUATION,
    DRAIN_PING,
    EMPTY_TABLE,
    END_HEADERS,
    END_STREAM,
    FIRST_WINDOW,
    FRAME_HEADER,
    HEADERS,
    HIGHEST,
    INITIAL_WINDOW_SIZE,
    LONG,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME,
    NO_RFC7540_PRIORITIES,
    PING,
    REMEMBERED,
    RST_STREAM,
    SETTING,
    SETTINGS,
    STREAM_WINDOW,
    WINDOW_UPDATE,
    Code,
    frame,
    goaway,
)
from mixweb.engine._h2_priority import Priority
from mixweb.engine.h2fields import RequestHead, RequestRefusal

S = TypeVar("S", bound="FrameStream")


class FrameStream:
    """
    A stream as far as its frames go. What the client means by them it is told by its methods.

    :ivar ended: whether the client has sent all of it.
    :ivar closed: whether it takes nothing more.
    :ivar send_window: octets that may be sent; may be negative.
    :ivar receive_window: octets that the client may send.
    :ivar taken: octets that were taken and that the client may not send again yet.
    :ivar left: octets of the body that have not come; ``None`` when its length was not announced.
    """

    ended = False
    closed = False
    receive_window = STREAM_WINDOW
    taken = 0
    left: int | None = None

    def __init__(self, connection: Any, stream_id: int) -> None:
        self.connection = connection
        self.id = stream_id
        self.send_window: int = connection.initial_window

    def begin(self, head: RequestHead) -> None:
        """This is the request; unless the stream has ended its body follows."""
        raise NotImplementedError

    def begin_refused(self, refusal: RequestRefusal) -> None:
        """This request is to be answered with an error."""
        raise NotImplementedError

    def receive(self, data: bytes) -> None:
        """Here is a piece of the body. :meth:`FrameConnection.take` is to be called when somebody has taken it."""
        raise NotImplementedError

    def receive_end(self) -> None:
        """That was all of the body."""
        raise NotImplementedError

    def was_reset(self, code: int) -> None:
        """The stream was closed before its answer was complete, by the client or for a mistake of the client."""
        raise NotImplementedError

    def window_opened(self) -> None:
        """More may be sent than before."""
        raise NotImplementedError

    def prioritize(self, priority: Priority) -> None:
        """The client has changed its mind about the order of its answers."""
        raise NotImplementedError


class FrameSender(Generic[S]):
    """
    A connection as far as it sends.

    :param max_streams: requests that are answered at the same time.
    :ivar out: what is to be sent.
    :ivar out_bytes: how much that is.
    :ivar streams: those that are not closed, by their ids.
    :ivar send_window: octets of bodies that may be sent; may be negative.
    :ivar initial_window: of each stream.
    """

    # There may be many connections, and without this each would have a dictionary of its own.
    __slots__ = (
        "_early",
        "_early_due",
        "_last_id",
        "_next_id",
        "_receive_window",
        "_reset_ids",
        "_table_due",
        "_taken",
        "initial_window",
        "max_streams",
        "out",
        "out_bytes",
        "send_window",
        "streams",
    )

    def __init__(self, max_streams: int) -> None:
        self.max_streams = max_streams
        self.out: list[Any] = []
        self.out_bytes = 0
        self.streams: dict[int, S] = {}
        self.send_window = self.initial_window = FIRST_WINDOW
        self._receive_window = CONNECTION_WINDOW
        self._taken = 0
        self._next_id = 1
        self._last_id: int | None = None
        self._reset_ids: dict[int, None] = {}
        self._early: list[int] = []
        self._early_due = 0
        self._table_due = False

    def _send(self, data: bytes) -> None:
        self.out.append(data)
        self.out_bytes += len(data)

    def begin(self, settings: Iterable[tuple[int, int]]) -> None:
        """
        Say what this server does.

        :param settings: besides those that all connections have.
        """
        values = {
            MAX_CONCURRENT_STREAMS: self.max_streams,
            INITIAL_WINDOW_SIZE: STREAM_WINDOW,
            NO_RFC7540_PRIORITIES: 1,
            **dict(settings),
        }
        self._send(frame(SETTINGS, 0, 0, b"".join([SETTING.pack(*item) for item in values.items()])))
        self._send(frame(WINDOW_UPDATE, 0, 0, LONG.pack(CONNECTION_WINDOW - FIRST_WINDOW)))

    def send_answer(self, stream: FrameStream, block: bytes, body: bytes) -> bool:
        """
        Send the head and the body of an answer in one piece, if they fit, and end the stream.

        :returns: whether they were sent.
        """
        size = len(body)
        if not (size <= MAX_FRAME and size <= stream.send_window and size <= self.send_window):
            return False
        length = len(block)
        if length > MAX_FRAME or self._table_due:
            return False
        stream_id = stream.id
        if size:
            self.send_window -= size
            self.out += (
                FRAME_HEADER.pack(length << 8 | HEADERS, END_HEADERS, stream_id),
                block,
                FRAME_HEADER.pack(size << 8, END_STREAM, stream_id),
                body,
            )
        else:
            self.out += (FRAME_HEADER.pack(length << 8 | HEADERS, END_HEADERS | END_STREAM, stream_id), block)
        self.out_bytes += length + size
        return True

    def send_head(self, stream: FrameStream, block: bytes, end: bool = False) -> None:
        """Send a header block, in several frames if it is long."""
        if self._table_due:
            self._table_due = False
            block = EMPTY_TABLE + block
        kind, flags = HEADERS, END_STREAM if end else 0
        while len(block) > MAX_FRAME:
            self._send(frame(kind, flags, stream.id, block[:MAX_FRAME]))
            block = block[MAX_FRAME:]
            kind, flags = CONTINUATION, 0
        self._send(frame(kind, flags | END_HEADERS, stream.id, block))

    def send_data(self, stream: FrameStream, pieces: list[Any], size: int, end: bool) -> None:
        """
        Send a frame of a body.

        :param size: octets that the pieces have; no more than :data:`MAX_FRAME` and both windows.
        """
        stream.send_window -= size
        self.send_window -= size
        self.out.append(FRAME_HEADER.pack(size << 8, END_STREAM if end else 0, stream.id))
        self.out += pieces
        self.out_bytes += size + 9

    def close(self, stream: FrameStream) -> None:
        """The answer has been sent to its end. What still comes for it is passed over."""
        stream.closed = True
        del self.streams[stream.id]
        if not stream.ended:
            remember(self._reset_ids, stream.id, None)
            self._early.append(stream.id)

    def stop_early(self) -> None:
        """
        Ask clients that still send what was answered not to (RFC 9113, 8.1), if it was answered before the last call.

        Some drop an answer that they have not read when its stream is reset.
        """
        early, self._early = self._early, []
        for stream_id in early[: self._early_due]:
            if stream_id in self._reset_ids:
                self._send(frame(RST_STREAM, 0, stream_id, LONG.pack(Code.NO_ERROR)))
        self._early += early[self._early_due :]
        self._early_due = len(self._early)

    def reset(self, stream_id: int, code: int) -> S | None:
        """
        Close a stream at once; what still comes for it is passed over.

        :returns: the stream, if it was open.
        """
        self._send(frame(RST_STREAM, 0, stream_id, LONG.pack(code)))
        stream = self.streams.pop(stream_id, None)
        if stream is not None:
            stream.closed = True
        if stream is None or not stream.ended:
            remember(self._reset_ids, stream_id, None)
        return stream

    def take(self, stream: FrameStream, count: int) -> None:
        """Somebody has taken so many octets of a body: when it is worth it, the client is told that it may send more."""
        self.ignore(count)
        if not (stream.ended or stream.closed):
            stream.taken += count
            if stream.taken >= STREAM_WINDOW // 2:
                self._send(frame(WINDOW_UPDATE, 0, stream.id, LONG.pack(stream.taken)))
                stream.receive_window += stream.taken
                stream.taken = 0

    def ignore(self, count: int) -> None:
        """Nobody takes so many octets of a body: other streams share its part of the window of the connection."""
        self._taken += count
        if self._taken >= CONNECTION_WINDOW // 2:
            self._send(frame(WINDOW_UPDATE, 0, 0, LONG.pack(self._taken)))
            self._receive_window += self._taken
            self._taken = 0

    def announce_end(self) -> None:
        """Ask the client to open no more streams; those that are on their way are answered (RFC 9113, 6.8)."""
        if self._last_id is None:
            self._send(goaway(HIGHEST, Code.NO_ERROR) + frame(PING, 0, 0, DRAIN_PING))

    def refuse_streams(self) -> None:
        """Answer no more streams than there are, and say so."""
        if self._last_id is None:
            self._last_id = self._highest_id()
            self._send(goaway(self._last_id, Code.NO_ERROR))

    @property
    def refuses_streams(self) -> bool:
        """Whether only those streams are answered that there are."""
        return self._last_id is not None

    def _highest_id(self) -> int:
        return max(self._next_id - 2, 0) if self._last_id is None else self._last_id


def remember(about: dict[int, Any], stream_id: int, fact: Any) -> None:
    """Note something of a stream, and forget the oldest note."""
    about[stream_id] = fact
    if len(about) > REMEMBERED:
        del about[next(iter(about))]
