"""
The frames of HTTP/2 (RFC 9113) as a server reads and writes them. No I/O.

A connection is given what arrives. It checks it, tells its streams what it means, and appends what is to be sent to ``out``,
which somebody else empties. A mistake of the client ends its stream or, as a :class:`ConnectionFault`, the connection.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from struct import Struct
from typing import Any, Generic, TypeVar

from mixweb.engine._h2_priority import Priority, parse_priority
from mixweb.engine.h2fields import MalformedRequest, RequestHead, RequestReader, RequestRefusal
from mixweb.engine.hpack import HpackError

S = TypeVar("S", bound="FrameStream")

#: What a client sends first (RFC 9113, 3.4).
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

#: The longest payload of a frame, in both directions, in octets (RFC 9113, 4.2).
MAX_FRAME = 16 * 1024

#: What a client may send of one body, and of all bodies of its connection, before the application takes it, in octets.
STREAM_WINDOW = 256 * 1024
CONNECTION_WINDOW = 1024 * 1024

#: A header block in more octets or frames ends the connection before it is decoded.
MAX_BLOCK_BYTES = 64 * 1024
MAX_BLOCK_FRAMES = 32

#: Resets of streams that a client may cause, and frames that only cost time: so many at once, and so many each second.
TOLERATED = 1000
TOLERATED_PER_SECOND = 33

#: With more than this to be sent, in octets, it is asked whether to read on.
OUT_BYTES = 64 * 1024

#: How many streams are remembered that were reset here, and priorities of streams that have not begun.
REMEMBERED = 256

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
PRIORITY_UPDATE = 0x10

ACK = END_STREAM = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITIZED = 0x20

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = (
    range(1, 7)
)
ENABLE_CONNECT_PROTOCOL = 0x8
NO_RFC7540_PRIORITIES = 0x9

#: The values that a setting may have (RFC 9113, 6.5.2; RFC 8441, 3; RFC 9218, 2.1).
_RANGES = {
    ENABLE_PUSH: (0, 1),
    MAX_FRAME_SIZE: (MAX_FRAME, 2**24 - 1),
    ENABLE_CONNECT_PROTOCOL: (0, 1),
    NO_RFC7540_PRIORITIES: (0, 1),
}

_HIGHEST = 2**31 - 1
_FIRST_WINDOW = 2**16 - 1
_FIRST_TABLE = 4096

#: Length and type, flags, stream.
_HEADER = Struct(">IBI")
_LONG = Struct(">I")
_TWO_LONGS = Struct(">II")
_SETTING = Struct(">HI")

#: Makes a dynamic table empty (RFC 7541, 6.3): what a client expects in front of a block when it has made its table smaller.
_EMPTY_TABLE = b"\x20"

#: The PING that tells when the client has seen the GOAWAY before it.
_DRAIN_PING = b"draining"


class Code(IntEnum):
    """Why a stream or a connection ends (RFC 9113, 7)."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    ENHANCE_YOUR_CALM = 0xB


class ConnectionFault(Exception):
    """
    What ends a connection.

    :ivar code: that the client is told.
    :ivar detail: a few words for whoever looks after the client.
    """

    def __init__(self, code: Code, detail: str) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail


def _broken(detail: str) -> ConnectionFault:
    return ConnectionFault(Code.PROTOCOL_ERROR, detail)


def _check_size(name: str, fits: bool) -> None:
    if not fits:
        raise ConnectionFault(Code.FRAME_SIZE_ERROR, f"{name} has a wrong length")


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """A frame as it is sent."""
    return _HEADER.pack(len(payload) << 8 | kind, flags, stream_id) + payload


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


class FrameConnection(Generic[S]):
    """
    A connection as far as its frames go.

    :param reader: reads its header blocks.
    :param max_streams: requests that are answered at the same time.
    :ivar stream_class: makes a stream from the connection and the stream's id.
    :ivar out: what is to be sent.
    :ivar out_bytes: how much that is.
    :ivar streams: those that are not closed, by their ids.
    :ivar send_window: octets of bodies that may be sent; may be negative.
    :ivar initial_window: of each stream.
    :ivar ended: whether nothing more is read.
    """

    stream_class: type[S]
    ended = False

    def __init__(self, reader: RequestReader, max_streams: int = 100) -> None:
        self.reader = reader
        self.max_streams = max_streams
        self.out: list[Any] = []
        self.out_bytes = 0
        self.streams: dict[int, S] = {}
        self.send_window = self.initial_window = _FIRST_WINDOW
        self._receive_window = CONNECTION_WINDOW
        self._taken = 0
        self._rest = b""
        self._begun = False
        self._next_id = 1
        self._skipped = range(0)
        self._block: list[bytes] = []
        self._block_start = (0, 0)
        self._resets_left = self._frames_left = TOLERATED
        self._reset_ids: dict[int, None] = {}
        self._priorities: dict[int, Priority] = {}
        self._table_due = False
        self._last_id: int | None = None

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
                length, flags, stream_id = _HEADER.unpack_from(data, at)
                kind = length & 0xFF
                length >>= 8
                if length > MAX_FRAME:
                    raise ConnectionFault(Code.FRAME_SIZE_ERROR, "a frame is too long")
                begin = at + 9
                after = begin + length
                if after > end:
                    break
                if self._block and kind != CONTINUATION:
                    raise _broken("a header block is interrupted")
                at = after
                _READERS[kind](self, flags, stream_id & _HIGHEST, data[begin:after])
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
        return _LONG.unpack_from(rest, 5)[0] & _HIGHEST, len(rest)

    def _read_preface(self, data: bytes) -> int:
        """Where the frames begin, once it is known that the first one is SETTINGS."""
        if not data.startswith(PREFACE[: len(data)]):
            raise _broken("this is not HTTP/2")
        at = len(PREFACE)
        if len(data) < at + 9:
            return 0
        if data[at + 3] != SETTINGS or data[at + 4] & ACK:
            raise _broken("the first frame is not SETTINGS")
        self._begun = True
        return at

    def _read_headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        if flags & (PADDED | PRIORITIZED):
            payload = _unpad(flags, payload)
            if flags & PRIORITIZED:
                _check_size("HEADERS", len(payload) >= 5)
                _check_dependency(stream_id, payload)
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
            raise _broken("CONTINUATION continues nothing")
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
                raise _broken("the id of a stream is even")
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
            raise _broken("the id of a stream is too low")
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
        data = _unpad(flags, payload) if flags & PADDED else payload
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
            raise _broken("DATA for a stream that has not begun")
        else:
            raise ConnectionFault(Code.STREAM_CLOSED, "DATA for a stream that is closed")

    def _is_idle(self, stream_id: int) -> bool:
        return stream_id >= self._next_id or not stream_id & 1 or stream_id in self._skipped

    def _read_priority(self, flags: int, stream_id: int, payload: bytes) -> None:
        if not stream_id:
            raise _broken("PRIORITY without a stream")
        _check_dependency(stream_id, payload)
        if len(payload) != 5:
            if stream_id not in self.streams:
                _check_size("PRIORITY", False)
            self._mistake(stream_id, Code.FRAME_SIZE_ERROR)

    def _read_reset(self, flags: int, stream_id: int, payload: bytes) -> None:
        _check_size("RST_STREAM", len(payload) == 4)
        if self._is_idle(stream_id):
            raise _broken("RST_STREAM for a stream that has not begun")
        self._count_reset()
        stream = self.streams.pop(stream_id, None)
        self._reset_ids.pop(stream_id, None)
        if stream is not None:
            stream.closed = True
            stream.was_reset(_LONG.unpack(payload)[0])

    def _read_settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise _broken("SETTINGS with a stream")
        _check_size("SETTINGS", len(payload) % 6 == 0 and not (flags & ACK and payload))
        if flags & ACK:
            return
        self._count_frame()
        for name, value in _SETTING.iter_unpack(payload):
            self._set(name, value)
        self._send(frame(SETTINGS, ACK, 0))

    def _set(self, name: int, value: int) -> None:
        low, high = _RANGES.get(name, (0, value))
        if not low <= value <= high:
            raise _broken("a setting has a value that it cannot have")
        if name == HEADER_TABLE_SIZE:
            self._table_due |= value < _FIRST_TABLE
        elif name == INITIAL_WINDOW_SIZE:
            if value > _HIGHEST:
                raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "the initial window is too large")
            change = value - self.initial_window
            self.initial_window = value
            for stream in list(self.streams.values()):
                self._widen(stream, change)

    def _widen(self, stream: S, change: int) -> None:
        """The window of a stream changes; it may become negative (RFC 9113, 6.9.2)."""
        stream.send_window += change
        if stream.send_window > _HIGHEST:
            raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "the window of a stream is too large")
        if stream.send_window > 0 and change > 0:
            stream.window_opened()

    def _read_push(self, flags: int, stream_id: int, payload: bytes) -> None:
        raise _broken("a client cannot push")

    def _read_ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise _broken("PING with a stream")
        _check_size("PING", len(payload) == 8)
        self._count_frame()
        if not flags & ACK:
            self._send(frame(PING, ACK, 0, payload))
        elif payload == _DRAIN_PING:
            self.refuse_streams()

    def _read_goaway(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise _broken("GOAWAY with a stream")
        _check_size("GOAWAY", len(payload) >= 8)
        self._count_frame()
        self.refuse_streams()

    def _read_window_update(self, flags: int, stream_id: int, payload: bytes) -> None:
        _check_size("WINDOW_UPDATE", len(payload) == 4)
        more = _LONG.unpack(payload)[0] & _HIGHEST
        if not stream_id:
            self.send_window += more
            if not more:
                raise _broken("WINDOW_UPDATE of nothing")
            if self.send_window > _HIGHEST:
                raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "the window of the connection is too large")
            return
        stream = self.streams.get(stream_id)
        if stream is None:
            if self._is_idle(stream_id):
                raise _broken("WINDOW_UPDATE for a stream that has not begun")
        elif not more:
            self._mistake(stream_id, Code.PROTOCOL_ERROR)
        elif stream.send_window + more > _HIGHEST:
            self._mistake(stream_id, Code.FLOW_CONTROL_ERROR)
        else:
            self._widen(stream, more)

    def _read_priority_update(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise _broken("PRIORITY_UPDATE with a stream")
        _check_size("PRIORITY_UPDATE", len(payload) >= 4)
        about = _LONG.unpack_from(payload)[0] & _HIGHEST
        if not about & 1:
            raise _broken("PRIORITY_UPDATE for a stream that there cannot be")
        priority = parse_priority([payload[4:]])
        if about in self.streams:
            self.streams[about].prioritize(priority)
        elif about >= self._next_id and len(self._priorities) < REMEMBERED:
            self._priorities[about] = priority

    def _read_unknown(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._count_frame()

    def priority_of(self, stream: S, head: RequestHead) -> Priority:
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
        self._send(_goaway(self._highest_id(), fault.code, fault.detail.encode("ascii", "replace")))
        self.on_fault(fault)

    # What is sent

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
        self._send(frame(SETTINGS, 0, 0, b"".join([_SETTING.pack(*item) for item in values.items()])))
        self._send(frame(WINDOW_UPDATE, 0, 0, _LONG.pack(CONNECTION_WINDOW - _FIRST_WINDOW)))

    def send_answer(self, stream: S, block: bytes, body: bytes) -> bool:
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
                _HEADER.pack(length << 8 | HEADERS, END_HEADERS, stream_id),
                block,
                _HEADER.pack(size << 8, END_STREAM, stream_id),
                body,
            )
        else:
            self.out += (_HEADER.pack(length << 8 | HEADERS, END_HEADERS | END_STREAM, stream_id), block)
        self.out_bytes += length + size
        return True

    def send_head(self, stream: S, block: bytes, end: bool = False) -> None:
        """Send a header block, in several frames if it is long."""
        if self._table_due:
            self._table_due = False
            block = _EMPTY_TABLE + block
        kind, flags = HEADERS, END_STREAM if end else 0
        while len(block) > MAX_FRAME:
            self._send(frame(kind, flags, stream.id, block[:MAX_FRAME]))
            block = block[MAX_FRAME:]
            kind, flags = CONTINUATION, 0
        self._send(frame(kind, flags | END_HEADERS, stream.id, block))

    def send_data(self, stream: S, pieces: list[Any], size: int, end: bool) -> None:
        """
        Send a frame of a body.

        :param size: octets that the pieces have; no more than :data:`MAX_FRAME` and both windows.
        """
        stream.send_window -= size
        self.send_window -= size
        self.out.append(_HEADER.pack(size << 8, END_STREAM if end else 0, stream.id))
        self.out += pieces
        self.out_bytes += size + 9

    def close(self, stream: S) -> None:
        """The answer has been sent to its end. A client that is still sending is asked not to (RFC 9113, 8.1)."""
        if stream.ended:
            stream.closed = True
            del self.streams[stream.id]
        else:
            self.reset(stream.id, Code.NO_ERROR)

    def reset(self, stream_id: int, code: int) -> S | None:
        """
        Close a stream at once; what still comes for it is passed over.

        :returns: the stream, if it was open.
        """
        self._send(frame(RST_STREAM, 0, stream_id, _LONG.pack(code)))
        stream = self.streams.pop(stream_id, None)
        if stream is not None:
            stream.closed = True
        if stream is None or not stream.ended:
            self._reset_ids[stream_id] = None
            if len(self._reset_ids) > REMEMBERED:
                del self._reset_ids[next(iter(self._reset_ids))]
        return stream

    def take(self, stream: S, count: int) -> None:
        """Somebody has taken so many octets of a body: when it is worth it, the client is told that it may send more."""
        self.ignore(count)
        if not (stream.ended or stream.closed):
            stream.taken += count
            if stream.taken >= STREAM_WINDOW // 2:
                self._send(frame(WINDOW_UPDATE, 0, stream.id, _LONG.pack(stream.taken)))
                stream.receive_window += stream.taken
                stream.taken = 0

    def ignore(self, count: int) -> None:
        """Nobody takes so many octets of a body: other streams share its part of the window of the connection."""
        self._taken += count
        if self._taken >= CONNECTION_WINDOW // 2:
            self._send(frame(WINDOW_UPDATE, 0, 0, _LONG.pack(self._taken)))
            self._receive_window += self._taken
            self._taken = 0

    def announce_end(self) -> None:
        """Ask the client to open no more streams; those that are on their way are answered (RFC 9113, 6.8)."""
        if self._last_id is None:
            self._send(_goaway(_HIGHEST, Code.NO_ERROR) + frame(PING, 0, 0, _DRAIN_PING))

    def refuse_streams(self) -> None:
        """Answer no more streams than there are, and say so."""
        if self._last_id is None:
            self._last_id = self._highest_id()
            self._send(_goaway(self._last_id, Code.NO_ERROR))

    @property
    def refuses_streams(self) -> bool:
        """Whether only those streams are answered that there are."""
        return self._last_id is not None

    def _highest_id(self) -> int:
        return max(self._next_id - 2, 0) if self._last_id is None else self._last_id


def _goaway(last_id: int, code: int, detail: bytes = b"") -> bytes:
    return frame(GOAWAY, 0, 0, _TWO_LONGS.pack(last_id, code) + detail)


def _unpad(flags: int, payload: bytes) -> bytes:
    """What is in front of the padding (RFC 9113, 6.1)."""
    if not flags & PADDED:
        return payload
    _check_size("a padded frame", bool(payload))
    if payload[0] >= len(payload):
        raise _broken("the padding is longer than the frame")
    return payload[1 : len(payload) - payload[0]]


def _check_dependency(stream_id: int, payload: bytes) -> None:
    # All that is left of the priorities of RFC 7540 is that they must not be wrong.
    if len(payload) >= 5 and _LONG.unpack_from(payload)[0] & _HIGHEST == stream_id:
        raise _broken("a stream depends on itself")


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
