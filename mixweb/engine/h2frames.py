"""
The frames of HTTP/2 (RFC 9113) as a server reads and writes them. No I/O.

A connection is given what arrives. It checks it, tells its streams what it means, and appends what is to be sent to ``out``,
which somebody else empties. A mistake of the client ends its stream or, as a :class:`ConnectionFault`, the connection.
"""

from __future__ import annotations

from typing import Any, TypeVar

from mixweb.engine._h2_frame import (
    ACK,
    CONTINUATION,
    DATA,
    DRAIN_PING,
    END_HEADERS,
    END_STREAM,
    FIRST_TABLE,
    FRAME_HEADER,
    HEADER_TABLE_SIZE,
    HIGHEST,
    INITIAL_WINDOW_SIZE,
    LONG,
    MAX_BLOCK_BYTES,
    MAX_BLOCK_FRAMES,
    MAX_FRAME,
    OUT_BYTES,
    PADDED,
    PING,
    PREFACE,
    PRIORITIZED,
    PRIORITY_UPDATE,
    RANGES,
    SETTING,
    SETTINGS,
    TOLERATED,
    TOLERATED_PER_SECOND,
    Code,
    ConnectionFault,
    broken,
    check_dependency,
    check_size,
    frame,
    goaway,
    unpad,
)
from mixweb.engine._h2_output import FrameSender, FrameStream, remember
from mixweb.engine._h2_priority import Priority, parse_priority
from mixweb.engine.h2fields import MalformedRequest, RequestHead, RequestReader, RequestRefusal
from mixweb.engine.hpack import HpackError

S = TypeVar("S", bound=FrameStream)


class FrameConnection(FrameSender[S]):
    """
    A connection as far as its frames go.

    :param reader: reads its header blocks.
    :ivar stream_class: makes a stream from the connection and the stream's id.
    :ivar ended: whether nothing more is read.
    """

    stream_class: type[S]

    __slots__ = (
        "_begun",
        "_block",
        "_block_start",
        "_frames_left",
        "_priorities",
        "_resets_left",
        "_rest",
        "_skipped",
        "ended",
        "reader",
    )

    def __init__(self, reader: RequestReader, max_streams: int = 100) -> None:
        super().__init__(max_streams)
        self.reader = reader
        self.ended = False
        self._rest = b""
        self._begun = False
        self._skipped = range(0)
        self._block: list[bytes] = []
        self._block_start = (0, 0)
        self._resets_left = self._frames_left = TOLERATED
        self._priorities: dict[int, Priority] = {}

    # What is asked of whoever does the I/O

    def on_fault(self, fault: ConnectionFault) -> None:
        """The connection is to be closed when the client has been told why, which is in ``out``."""
        raise NotImplementedError

    def is_full(self) -> bool:
        """More than :data:`OUT_BYTES` are to be sent: whether reading has to wait."""
        raise NotImplementedError

    # What arrives

    def receive(self, data: bytes) -> None:
        """
        Act on what has arrived.

        :param data: cut anywhere. Empty to go on after :meth:`is_full`.
        """
        if self._rest:
            data = self._rest + data
        at, end = 0, len(data)
        try:
            if not self._begun:
                at = self._read_preface(data)
            while self._begun and end - at >= 9 and not self.ended:
                length, flags, stream_id = FRAME_HEADER.unpack_from(data, at)
                kind = length & 0xFF
                length >>= 8
                if length > MAX_FRAME:
                    raise ConnectionFault(Code.FRAME_SIZE_ERROR, "a frame is too long")
                begin = at + 9
                after = begin + length
                if after > end:
                    break
                if self._block and kind != CONTINUATION:
                    raise broken("a header block is interrupted")
                at = after
                _READERS[kind](self, flags, stream_id & HIGHEST, data[begin:after])
                if self.out_bytes > OUT_BYTES and self.is_full():
                    break
        except ConnectionFault as fault:
            self._fail(fault)
        except HpackError as error:
            self._fail(ConnectionFault(Code.COMPRESSION_ERROR, str(error)))
        self._rest = b"" if self.ended else data[at:]

    def keep(self, data: bytes) -> None:
        """Take what has arrived, and act on it later."""
        self._rest += data

    @property
    def unfinished(self) -> object:
        """What has begun to arrive and is not part of a body: the same until it is complete; ``None`` without any."""
        if not self._begun:
            return "preface"
        if self._block:
            return self._block_start
        rest = self._rest
        return rest[:9] if rest and rest[3:4] != bytes([DATA]) else None

    @property
    def unfinished_data(self) -> tuple[int, int]:
        """The stream of a frame of a body that has begun to arrive, and how much is there of it."""
        rest = self._rest
        if len(rest) < 9 or rest[3] != DATA:
            return 0, 0
        return LONG.unpack_from(rest, 5)[0] & HIGHEST, len(rest)

    def _read_preface(self, data: bytes) -> int:
        """Where the frames begin, once it is known that the first one is SETTINGS."""
        if not data.startswith(PREFACE[: len(data)]):
            raise broken("this is not HTTP/2")
        at = len(PREFACE)
        if len(data) < at + 9:
            return 0
        if data[at + 3] != SETTINGS or data[at + 4] & ACK:
            raise broken("the first frame is not SETTINGS")
        self._begun = True
        return at

    def _read_headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        if flags & (PADDED | PRIORITIZED):
            payload = unpad(flags, payload)
            if flags & PRIORITIZED:
                check_size("HEADERS", len(payload) >= 5)
                check_dependency(stream_id, payload)
                payload = payload[5:]
        if not flags & END_HEADERS:
            self._block = [payload]
            self._block_start = stream_id, flags
        elif stream_id >= self._next_id:
            self._begin_request(stream_id, flags, payload)
        else:
            self._read_later_block(stream_id, flags, payload)

    def _read_continuation(self, flags: int, stream_id: int, payload: bytes) -> None:
        if not self._block or stream_id != self._block_start[0]:
            raise broken("CONTINUATION continues nothing")
        block = self._block
        block.append(payload)
        if len(block) > MAX_BLOCK_FRAMES or sum(map(len, block)) > MAX_BLOCK_BYTES:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "a header block is too long")
        if flags & END_HEADERS:
            self._block = []
            self._read_headers(END_HEADERS | self._block_start[1] & END_STREAM, stream_id, b"".join(block))

    def _read_later_block(self, stream_id: int, flags: int, block: bytes) -> None:
        stream = self.streams.get(stream_id)
        if stream is None:
            self._skip_block(stream_id, flags, block)
        elif stream.ended:
            self.reader.skip(block)
            self._mistake(stream_id, Code.STREAM_CLOSED)
        else:
            self._read_trailers(stream, flags, block)

    def _begin_request(self, stream_id: int, flags: int, block: bytes) -> None:
        if stream_id != self._next_id:
            if not stream_id & 1:
                raise broken("the id of a stream is even")
            self._skipped = range(self._next_id, stream_id, 2)
        self._next_id = stream_id + 2
        if len(self.streams) >= self.max_streams or self._last_id is not None:
            self.reader.skip(block)
            self._mistake(stream_id, Code.REFUSED_STREAM)
            return
        try:
            head = self.reader.read(block)
        except MalformedRequest:
            self._mistake(stream_id, Code.PROTOCOL_ERROR)
            return
        except RequestRefusal as refusal:
            self.streams[stream_id] = stream = self.stream_class(self, stream_id)
            stream.ended = bool(flags & END_STREAM)
            stream.begin_refused(refusal)
            return
        if flags & END_STREAM and head.length:
            self._mistake(stream_id, Code.PROTOCOL_ERROR)
            return
        self.streams[stream_id] = stream = self.stream_class(self, stream_id)
        if flags & END_STREAM:
            stream.ended = True
        else:
            stream.left = head.length
        stream.begin(head)

    def _skip_block(self, stream_id: int, flags: int, block: bytes) -> None:
        """A block for a stream that is not open."""
        if stream_id in self._reset_ids:
            self.reader.skip(block)
            if flags & END_STREAM:
                del self._reset_ids[stream_id]
        elif stream_id in self._skipped or not stream_id & 1:
            raise broken("the id of a stream is too low")
        else:
            raise ConnectionFault(Code.STREAM_CLOSED, "HEADERS for a stream that is closed")

    def _read_trailers(self, stream: S, flags: int, block: bytes) -> None:
        try:
            self.reader.read_trailers(block)
        except MalformedRequest:
            self._mistake(stream.id, Code.PROTOCOL_ERROR)
            return
        if flags & END_STREAM:
            self._end(stream)
        else:
            self._mistake(stream.id, Code.PROTOCOL_ERROR)

    def _read_data(self, flags: int, stream_id: int, payload: bytes) -> None:
        length = len(payload)
        self._receive_window -= length
        if self._receive_window < 0:
            raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "more than the window of the connection")
        data = unpad(flags, payload) if flags & PADDED else payload
        stream = self.streams.get(stream_id)
        if stream is None or stream.ended:
            self._pass_over(flags, stream_id, stream, length)
            return
        stream.receive_window -= length
        if stream.left is not None:
            stream.left -= len(data)
        if stream.receive_window < 0 or (stream.left is not None and stream.left < 0):
            self.ignore(length)
            self._mistake(stream_id, Code.FLOW_CONTROL_ERROR if stream.receive_window < 0 else Code.PROTOCOL_ERROR)
            return
        ended = flags & END_STREAM
        if length != len(data):
            self.take(stream, length - len(data))
        if data:
            stream.receive(data)
        elif not ended:
            self._count_frame()
        if ended and not stream.closed:
            self._end(stream)

    def _end(self, stream: S) -> None:
        stream.ended = True
        if stream.left:
            self._mistake(stream.id, Code.PROTOCOL_ERROR)
        else:
            stream.receive_end()

    def _pass_over(self, flags: int, stream_id: int, stream: S | None, length: int) -> None:
        """DATA for a stream that takes none."""
        self.ignore(length)
        if stream is not None:
            self._mistake(stream_id, Code.STREAM_CLOSED)
        elif stream_id in self._reset_ids:
            if flags & END_STREAM:
                del self._reset_ids[stream_id]
            elif not length:
                self._count_frame()
        elif self._is_idle(stream_id):
            raise broken("DATA for a stream that has not begun")
        else:
            raise ConnectionFault(Code.STREAM_CLOSED, "DATA for a stream that is closed")

    def _is_idle(self, stream_id: int) -> bool:
        return stream_id >= self._next_id or not stream_id & 1 or stream_id in self._skipped

    def _read_priority(self, flags: int, stream_id: int, payload: bytes) -> None:
        if not stream_id:
            raise broken("PRIORITY without a stream")
        check_dependency(stream_id, payload)
        if len(payload) != 5:
            if stream_id not in self.streams:
                check_size("PRIORITY", False)
            self._mistake(stream_id, Code.FRAME_SIZE_ERROR)

    def _read_reset(self, flags: int, stream_id: int, payload: bytes) -> None:
        check_size("RST_STREAM", len(payload) == 4)
        if self._is_idle(stream_id):
            raise broken("RST_STREAM for a stream that has not begun")
        self._count_reset()
        stream = self.streams.pop(stream_id, None)
        self._reset_ids.pop(stream_id, None)
        if stream is not None:
            stream.closed = True
            stream.was_reset(LONG.unpack(payload)[0])

    def _read_settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise broken("SETTINGS with a stream")
        check_size("SETTINGS", len(payload) % 6 == 0 and not (flags & ACK and payload))
        if flags & ACK:
            return
        self._count_frame()
        for name, value in SETTING.iter_unpack(payload):
            self._set(name, value)
        self._send(frame(SETTINGS, ACK, 0))

    def _set(self, name: int, value: int) -> None:
        low, high = RANGES.get(name, (0, value))
        if not low <= value <= high:
            raise broken("a setting has a value that it cannot have")
        if name == HEADER_TABLE_SIZE:
            self._table_due |= value < FIRST_TABLE
        elif name == INITIAL_WINDOW_SIZE:
            if value > HIGHEST:
                raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "the initial window is too large")
            change = value - self.initial_window
            self.initial_window = value
            for stream in list(self.streams.values()):
                self._widen(stream, change)

    def _widen(self, stream: S, change: int) -> None:
        """The window of a stream changes; it may become negative (RFC 9113, 6.9.2)."""
        stream.send_window += change
        if stream.send_window > HIGHEST:
            raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "the window of a stream is too large")
        if stream.send_window > 0 and change > 0:
            stream.window_opened()

    def _read_push(self, flags: int, stream_id: int, payload: bytes) -> None:
        raise broken("a client cannot push")

    def _read_ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise broken("PING with a stream")
        check_size("PING", len(payload) == 8)
        self._count_frame()
        if not flags & ACK:
            self._send(frame(PING, ACK, 0, payload))
        elif payload == DRAIN_PING:
            self.refuse_streams()

    def _read_goaway(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise broken("GOAWAY with a stream")
        check_size("GOAWAY", len(payload) >= 8)
        self._count_frame()
        self.refuse_streams()

    def _read_window_update(self, flags: int, stream_id: int, payload: bytes) -> None:
        check_size("WINDOW_UPDATE", len(payload) == 4)
        more = LONG.unpack(payload)[0] & HIGHEST
        if not stream_id:
            self.send_window += more
            if not more:
                raise broken("WINDOW_UPDATE of nothing")
            if self.send_window > HIGHEST:
                raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "the window of the connection is too large")
            return
        stream = self.streams.get(stream_id)
        if stream is None:
            if self._is_idle(stream_id):
                raise broken("WINDOW_UPDATE for a stream that has not begun")
        elif not more:
            self._mistake(stream_id, Code.PROTOCOL_ERROR)
        elif stream.send_window + more > HIGHEST:
            self._mistake(stream_id, Code.FLOW_CONTROL_ERROR)
        else:
            self._widen(stream, more)

    def _read_priority_update(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise broken("PRIORITY_UPDATE with a stream")
        check_size("PRIORITY_UPDATE", len(payload) >= 4)
        about = LONG.unpack_from(payload)[0] & HIGHEST
        if not about & 1:
            raise broken("PRIORITY_UPDATE for a stream that there cannot be")
        priority = parse_priority([payload[4:]])
        if about in self.streams:
            self.streams[about].prioritize(priority)
        elif about >= self._next_id:
            remember(self._priorities, about, priority)

    def _read_unknown(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._count_frame()

    def priority_of(self, stream: FrameStream, head: RequestHead) -> Priority:
        """What the client has said before the stream began, or in the head of the request."""
        said = self._priorities.pop(stream.id, None) if self._priorities else None
        return said or parse_priority(head.fields.values.get(b"priority", ()))

    # Mistakes, and what only costs time

    def _mistake(self, stream_id: int, code: Code) -> None:
        """Close a stream for a mistake of the client."""
        self._count_reset()
        stream = self.reset(stream_id, code)
        if stream is not None:
            stream.was_reset(code)

    def _count_reset(self) -> None:
        self._resets_left -= 1
        if self._resets_left < 0:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "too many streams are reset")

    def _count_frame(self) -> None:
        self._frames_left -= 1
        if self._frames_left < 0:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "too many frames that bring nothing")

    def calm(self, seconds: float) -> None:
        """So many seconds have passed."""
        more = int(TOLERATED_PER_SECOND * seconds)
        self._resets_left = min(TOLERATED, self._resets_left + more)
        self._frames_left = min(TOLERATED, self._frames_left + more)

    def _fail(self, fault: ConnectionFault) -> None:
        self.ended = True
        self._send(goaway(self._highest_id(), fault.code, fault.detail.encode("ascii", "replace")))
        self.on_fault(fault)


_READERS: Any = [FrameConnection._read_unknown] * 256
_READERS[: CONTINUATION + 1] = [
    FrameConnection._read_data,
    FrameConnection._read_headers,
    FrameConnection._read_priority,
    FrameConnection._read_reset,
    FrameConnection._read_settings,
    FrameConnection._read_push,
    FrameConnection._read_ping,
    FrameConnection._read_goaway,
    FrameConnection._read_window_update,
    FrameConnection._read_continuation,
]
_READERS[PRIORITY_UPDATE] = FrameConnection._read_priority_update
