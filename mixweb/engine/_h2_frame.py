"""
What a frame of HTTP/2 is made of (RFC 9113): numbers, limits, and how it is packed. No I/O.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct

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
RANGES = {
    ENABLE_PUSH: (0, 1),
    MAX_FRAME_SIZE: (MAX_FRAME, 2**24 - 1),
    ENABLE_CONNECT_PROTOCOL: (0, 1),
    NO_RFC7540_PRIORITIES: (0, 1),
}

HIGHEST = 2**31 - 1
FIRST_WINDOW = 2**16 - 1
FIRST_TABLE = 4096

#: Length and type, flags, stream.
FRAME_HEADER = Struct(">IBI")
LONG = Struct(">I")
TWO_LONGS = Struct(">II")
SETTING = Struct(">HI")

#: Makes a dynamic table empty (RFC 7541, 6.3): what a client expects in front of a block when it has made its table smaller.
EMPTY_TABLE = b"\x20"

#: The PING that tells when the client has seen the GOAWAY before it.
DRAIN_PING = b"draining"


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


def broken(detail: str) -> ConnectionFault:
    """What is not as it must be."""
    return ConnectionFault(Code.PROTOCOL_ERROR, detail)


def check_size(name: str, fits: bool) -> None:
    """
    Let a frame pass that has the length that frames of its type have.

    :raises ConnectionFault: it has not.
    """
    if not fits:
        raise ConnectionFault(Code.FRAME_SIZE_ERROR, f"{name} has a wrong length")


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """A frame as it is sent."""
    return FRAME_HEADER.pack(len(payload) << 8 | kind, flags, stream_id) + payload


def goaway(last_id: int, code: int, detail: bytes = b"") -> bytes:
    """
    A GOAWAY as it is sent.

    :param last_id: of the last stream that is answered.
    """
    return frame(GOAWAY, 0, 0, TWO_LONGS.pack(last_id, code) + detail)


def unpad(flags: int, payload: bytes) -> bytes:
    """
    What is in front of the padding (RFC 9113, 6.1).

    :raises ConnectionFault: it is longer than the frame.
    """
    if not flags & PADDED:
        return payload
    check_size("a padded frame", bool(payload))
    if payload[0] >= len(payload):
        raise broken("the padding is longer than the frame")
    return payload[1 : len(payload) - payload[0]]


def check_dependency(stream_id: int, payload: bytes) -> None:
    """
    Let a priority pass that depends on another stream.

    :raises ConnectionFault: it depends on itself.
    """
    # All that is left of the priorities of RFC 7540 is that they must not be wrong.
    if len(payload) >= 5 and LONG.unpack_from(payload)[0] & HIGHEST == stream_id:
        raise broken("a stream depends on itself")
