"""
Frames of HTTP/2: tables of what may come when, and of what is said to what may not.
"""

import struct

import pytest
from twisted.web.http_headers import Headers

from mixweb.engine import _h2_frame
from mixweb.engine._h2_frame import (
    ACK,
    CONNECTION_WINDOW,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    MAX_FRAME,
    PADDED,
    PING,
    PREFACE,
    PRIORITIZED,
    PRIORITY,
    PRIORITY_UPDATE,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    STREAM_WINDOW,
    WINDOW_UPDATE,
    Code,
    frame,
)
from mixweb.engine._h2_priority import Priority, Turns, parse_priority
from mixweb.engine.h2fields import RequestReader, response_block
from mixweb.engine.h2frames import FrameConnection, FrameStream
from mixweb.engine.hpack import encode_field

ALL = END_HEADERS | END_STREAM
UNKNOWN = 0xBE


def block(method=b"GET", *fields):
    """A header block that changes no table."""
    pseudo = [(b":method", method), (b":scheme", b"https"), (b":path", b"/"), (b":authority", b"localhost")]
    return b"".join(encode_field(name, value) for name, value in [*pseudo, *fields])


def long(number):
    """A number in four octets."""
    return struct.pack(">I", number)


def settings(*pairs):
    """A SETTINGS frame."""
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", *pair) for pair in pairs))


def get(stream):
    """A request without a body."""
    return frame(HEADERS, ALL, stream, block())


def post(stream, *fields):
    """The head of a request with a body."""
    return frame(HEADERS, END_HEADERS, stream, block(b"POST", *fields))


class Stream(FrameStream):
    """Notes what it is told."""

    def begin(self, head):
        self.connection.told.append((self.id, "begin", head.method.decode()))

    def begin_refused(self, refusal):
        self.connection.told.append((self.id, "refused", refusal.status))

    def receive(self, data):
        self.connection.told.append((self.id, "data", data))

    def receive_end(self):
        self.connection.told.append((self.id, "end"))

    def was_reset(self, code):
        self.connection.told.append((self.id, "reset", code))

    def window_opened(self):
        self.connection.told.append((self.id, "window", self.send_window))

    def prioritize(self, priority):
        self.connection.told.append((self.id, "priority", *priority))


class Connection(FrameConnection):
    """Notes what its streams are told, and why it failed."""

    stream_class = Stream

    def __init__(self, begun=True, **more):
        super().__init__(RequestReader(**more))
        self.told = []
        self.fault = None
        self.full = False
        if begun:
            self.receive(PREFACE + settings())
            self.sent()

    def on_fault(self, fault):
        self.fault = fault.code

    def is_full(self):
        return self.full

    def sent(self):
        """The frames that were sent since this was asked: type, flags, stream and payload."""
        data, at, found = b"".join(self.out), 0, []
        self.out.clear()
        self.out_bytes = 0
        while at < len(data):
            length, flags, stream = struct.unpack_from(">IBI", data, at)
            end = at + 9 + (length >> 8)
            found.append((length & 0xFF, flags, stream, data[at + 9 : end]))
            at = end
        return found


def outcome(connection):
    """What became of the last thing a client did: the code of a GOAWAY, those of streams that were reset, or nothing."""
    sent = connection.sent()
    gone = [payload[4:8] for kind, _, _, payload in sent if kind == GOAWAY]
    if gone:
        assert struct.unpack(">I", gone[0])[0] == connection.fault
        assert connection.ended
        return connection.fault.name
    assert connection.fault is None
    return {
        stream: Code(struct.unpack(">I", payload)[0]).name for kind, _, stream, payload in sent if kind == RST_STREAM
    }


#: What a client sends on a connection on which stream 1 waits for its answer, stream 3 for the rest of its body, stream 5
#: is closed, 7 was reset here and 9 by the client; and what becomes of it.
FRAMES = {
    "DATA for a body": (frame(DATA, 0, 3, b"x"), {}),
    "DATA without a stream": (frame(DATA, 0, 0, b"x"), "PROTOCOL_ERROR"),
    "DATA after the end": (frame(DATA, 0, 1, b"x"), {1: "STREAM_CLOSED"}),
    "DATA for a closed stream": (frame(DATA, 0, 5, b"x"), "STREAM_CLOSED"),
    "DATA for one reset here": (frame(DATA, 0, 7, b"x"), {}),
    "DATA for one reset there": (frame(DATA, 0, 9, b"x"), "STREAM_CLOSED"),
    "DATA for an idle stream": (frame(DATA, 0, 11, b"x"), "PROTOCOL_ERROR"),
    "DATA for an even stream": (frame(DATA, 0, 2, b"x"), "PROTOCOL_ERROR"),
    "DATA with padding": (frame(DATA, PADDED, 3, b"\2x\0\0"), {}),
    "DATA of padding": (frame(DATA, PADDED, 3, b"\3\0\0\0"), {}),
    "DATA with too much padding": (frame(DATA, PADDED, 3, b"\4\0\0\0"), "PROTOCOL_ERROR"),
    "DATA with padding and no octet": (frame(DATA, PADDED, 3), "FRAME_SIZE_ERROR"),
    "HEADERS without a stream": (frame(HEADERS, ALL, 0, block()), "PROTOCOL_ERROR"),
    "HEADERS for an even stream": (frame(HEADERS, ALL, 12, block()), "PROTOCOL_ERROR"),
    "HEADERS for a low even stream": (frame(HEADERS, ALL, 2, block()), "PROTOCOL_ERROR"),
    "HEADERS of a new stream": (get(11), {}),
    "HEADERS that leave one out": (get(13), {}),
    "HEADERS for one that was left out": (get(15) + get(13), "PROTOCOL_ERROR"),
    "HEADERS after the end": (get(1), {1: "STREAM_CLOSED"}),
    "HEADERS for a closed stream": (get(5), "STREAM_CLOSED"),
    "HEADERS for one reset here": (get(7), {}),
    "HEADERS for one reset there": (get(9), "STREAM_CLOSED"),
    "HEADERS with padding": (frame(HEADERS, ALL | PADDED, 11, b"\2" + block() + b"\0\0"), {}),
    "HEADERS with too much padding": (frame(HEADERS, ALL | PADDED, 11, b"\xff" + block()), "PROTOCOL_ERROR"),
    "HEADERS with a priority": (frame(HEADERS, ALL | PRIORITIZED, 11, long(3) + b"\1" + block()), {}),
    "HEADERS with both": (frame(HEADERS, ALL | PRIORITIZED | PADDED, 11, b"\1" + long(3) + b"\1" + block() + b"\0"), {}),
    "HEADERS that depend on themselves": (
        frame(HEADERS, ALL | PRIORITIZED, 11, long(11) + b"\1" + block()), "PROTOCOL_ERROR",
    ),
    "HEADERS with half a priority": (frame(HEADERS, ALL | PRIORITIZED, 11, b"\0\0"), "FRAME_SIZE_ERROR"),
    "HEADERS that are no request": (frame(HEADERS, ALL, 11, b"\x82"), {11: "PROTOCOL_ERROR"}),
    "HEADERS that cannot be decoded": (frame(HEADERS, ALL, 11, b"\xff\xff"), "COMPRESSION_ERROR"),
    "HEADERS of a body that does not come": (
        frame(HEADERS, ALL, 11, block(b"POST", (b"content-length", b"1"))), {11: "PROTOCOL_ERROR"},
    ),
    "trailers": (frame(HEADERS, ALL, 3, encode_field(b"x-sum", b"1")), {}),
    "trailers that do not end": (frame(HEADERS, END_HEADERS, 3, encode_field(b"x-sum", b"1")), {3: "PROTOCOL_ERROR"}),
    "trailers with pseudo-fields": (frame(HEADERS, ALL, 3, encode_field(b":path", b"/")), {3: "PROTOCOL_ERROR"}),
    "trailers that cannot be decoded": (frame(HEADERS, ALL, 3, b"\x80"), "COMPRESSION_ERROR"),
    "a block in pieces": (
        frame(HEADERS, END_STREAM, 11, block()[:3]) + frame(CONTINUATION, 0, 11, block()[3:5])
        + frame(CONTINUATION, END_HEADERS, 11, block()[5:]), {},
    ),
    "a block that is interrupted": (frame(HEADERS, END_STREAM, 11, block()[:3]) + frame(PING, 0, 0, bytes(8)), "PROTOCOL_ERROR"),
    "a block with another one in it": (
        frame(HEADERS, END_STREAM, 11, block()[:3]) + frame(CONTINUATION, END_HEADERS, 13, block()[3:]), "PROTOCOL_ERROR",
    ),
    "an empty block that goes on": (frame(HEADERS, END_STREAM, 11) + frame(CONTINUATION, END_HEADERS, 11, block()), {}),
    "CONTINUATION of nothing": (frame(CONTINUATION, END_HEADERS, 11, block()), "PROTOCOL_ERROR"),
    "CONTINUATION of what is complete": (get(11) + frame(CONTINUATION, END_HEADERS, 11), "PROTOCOL_ERROR"),
    "CONTINUATION in many frames": (
        frame(HEADERS, END_STREAM, 11, block()[:3]) + 32 * frame(CONTINUATION, 0, 11), "ENHANCE_YOUR_CALM",
    ),
    "CONTINUATION of many octets": (
        frame(HEADERS, END_STREAM, 11, bytes(MAX_FRAME)) + 4 * frame(CONTINUATION, 0, 11, bytes(MAX_FRAME)), "ENHANCE_YOUR_CALM",
    ),
    "PRIORITY": (frame(PRIORITY, 0, 3, long(1) + b"\1"), {}),
    "PRIORITY of an idle stream": (frame(PRIORITY, 0, 99, long(1) + b"\1"), {}),
    "PRIORITY of a closed stream": (frame(PRIORITY, 0, 5, long(1) + b"\1"), {}),
    "PRIORITY without a stream": (frame(PRIORITY, 0, 0, long(1) + b"\1"), "PROTOCOL_ERROR"),
    "PRIORITY on itself": (frame(PRIORITY, 0, 3, long(2**31 + 3) + b"\1"), "PROTOCOL_ERROR"),
    "PRIORITY that is short": (frame(PRIORITY, 0, 3, long(1)), {3: "FRAME_SIZE_ERROR"}),
    "PRIORITY that is short, idle": (frame(PRIORITY, 0, 99, long(1)), "FRAME_SIZE_ERROR"),
    "RST_STREAM": (frame(RST_STREAM, 0, 3, long(8)), {}),
    "RST_STREAM of a closed stream": (frame(RST_STREAM, 0, 5, long(8)), {}),
    "RST_STREAM of one reset here": (frame(RST_STREAM, 0, 7, long(8)), {}),
    "RST_STREAM of an idle stream": (frame(RST_STREAM, 0, 11, long(8)), "PROTOCOL_ERROR"),
    "RST_STREAM without a stream": (frame(RST_STREAM, 0, 0, long(8)), "PROTOCOL_ERROR"),
    "RST_STREAM that is short": (frame(RST_STREAM, 0, 3, b"\0"), "FRAME_SIZE_ERROR"),
    "SETTINGS of a stream": (frame(SETTINGS, 0, 1), "PROTOCOL_ERROR"),
    "SETTINGS that are short": (frame(SETTINGS, 0, 0, b"\0\0\0"), "FRAME_SIZE_ERROR"),
    "SETTINGS agreed to": (frame(SETTINGS, ACK, 0), {}),
    "SETTINGS agreed to with something": (frame(SETTINGS, ACK, 0, bytes(6)), "FRAME_SIZE_ERROR"),
    "SETTINGS unknown": (settings((0xFF, 7)), {}),
    "SETTINGS for push": (settings((_h2_frame.ENABLE_PUSH, 2)), "PROTOCOL_ERROR"),
    "SETTINGS for a small frame": (settings((_h2_frame.MAX_FRAME_SIZE, 16383)), "PROTOCOL_ERROR"),
    "SETTINGS for a large frame": (settings((_h2_frame.MAX_FRAME_SIZE, 2**24)), "PROTOCOL_ERROR"),
    "SETTINGS for the largest frame": (settings((_h2_frame.MAX_FRAME_SIZE, 2**24 - 1)), {}),
    "SETTINGS for a window": (settings((_h2_frame.INITIAL_WINDOW_SIZE, 2**31 - 1)), {}),
    "SETTINGS for a large window": (settings((_h2_frame.INITIAL_WINDOW_SIZE, 2**31)), "FLOW_CONTROL_ERROR"),
    "SETTINGS for priorities": (settings((_h2_frame.NO_RFC7540_PRIORITIES, 2)), "PROTOCOL_ERROR"),
    "PUSH_PROMISE": (frame(PUSH_PROMISE, END_HEADERS, 3, long(4) + block()), "PROTOCOL_ERROR"),
    "PING": (frame(PING, 0, 0, b"12345678"), {}),
    "PING of a stream": (frame(PING, 0, 3, b"12345678"), "PROTOCOL_ERROR"),
    "PING that is short": (frame(PING, 0, 0, b"1234567"), "FRAME_SIZE_ERROR"),
    "GOAWAY of a stream": (frame(GOAWAY, 0, 3, bytes(8)), "PROTOCOL_ERROR"),
    "GOAWAY that is short": (frame(GOAWAY, 0, 0, bytes(7)), "FRAME_SIZE_ERROR"),
    "WINDOW_UPDATE": (frame(WINDOW_UPDATE, 0, 0, long(1)), {}),
    "WINDOW_UPDATE of nothing": (frame(WINDOW_UPDATE, 0, 0, long(0)), "PROTOCOL_ERROR"),
    "WINDOW_UPDATE of too much": (frame(WINDOW_UPDATE, 0, 0, long(2**31 - 1)), "FLOW_CONTROL_ERROR"),
    "WINDOW_UPDATE that is short": (frame(WINDOW_UPDATE, 0, 0, b"\0"), "FRAME_SIZE_ERROR"),
    "WINDOW_UPDATE of a stream": (frame(WINDOW_UPDATE, 0, 1, long(1)), {}),
    "WINDOW_UPDATE of a stream, nothing": (frame(WINDOW_UPDATE, 0, 1, long(2**31)), {1: "PROTOCOL_ERROR"}),
    "WINDOW_UPDATE of a stream, too much": (frame(WINDOW_UPDATE, 0, 1, long(2**31 - 1)), {1: "FLOW_CONTROL_ERROR"}),
    "WINDOW_UPDATE of a closed stream": (frame(WINDOW_UPDATE, 0, 5, long(0)), {}),
    "WINDOW_UPDATE of one reset here": (frame(WINDOW_UPDATE, 0, 7, long(1)), {}),
    "WINDOW_UPDATE of an idle stream": (frame(WINDOW_UPDATE, 0, 11, long(1)), "PROTOCOL_ERROR"),
    "PRIORITY_UPDATE": (frame(PRIORITY_UPDATE, 0, 0, long(1) + b"u=1"), {}),
    "PRIORITY_UPDATE of an idle stream": (frame(PRIORITY_UPDATE, 0, 0, long(99) + b"u=1"), {}),
    "PRIORITY_UPDATE of nonsense": (frame(PRIORITY_UPDATE, 0, 0, long(1) + b"\xff=,;"), {}),
    "PRIORITY_UPDATE on a stream": (frame(PRIORITY_UPDATE, 0, 1, long(1) + b"u=1"), "PROTOCOL_ERROR"),
    "PRIORITY_UPDATE of no stream": (frame(PRIORITY_UPDATE, 0, 0, long(0) + b"u=1"), "PROTOCOL_ERROR"),
    "PRIORITY_UPDATE of a push": (frame(PRIORITY_UPDATE, 0, 0, long(2) + b"u=1"), "PROTOCOL_ERROR"),
    "PRIORITY_UPDATE that is short": (frame(PRIORITY_UPDATE, 0, 0, b"\0"), "FRAME_SIZE_ERROR"),
    "an unknown frame": (frame(UNKNOWN, 0xFF, 3, b"x"), {}),
    "an unknown frame of no stream": (frame(UNKNOWN, 0, 0), {}),
    "a reserved bit": (frame(PING, 0, 2**31, b"12345678"), {}),
    "a frame that is too long": (frame(UNKNOWN, 0, 0, bytes(MAX_FRAME + 1)), "FRAME_SIZE_ERROR"),
    "a frame that will be too long": (frame(DATA, 0, 3, bytes(MAX_FRAME + 1))[:9], "FRAME_SIZE_ERROR"),
}  # fmt: skip


@pytest.fixture
def connection():
    """A connection with a stream in each state."""
    made = Connection()
    made.receive(get(1) + post(3) + get(5) + post(7) + post(9) + frame(RST_STREAM, 0, 9, long(8)))
    made.send_answer(made.streams[5], response_block(200, Headers()), b"")
    made.close(made.streams[5])
    made.reset(7, Code.NO_ERROR)
    made.sent()
    made.told.clear()
    return made


@pytest.mark.parametrize("pieces", [0, 1, 7])
@pytest.mark.parametrize("name", FRAMES)
def test_frames(name, pieces, connection):
    """Every frame in every state of a stream has the outcome that RFC 9113 has, however it is cut."""
    data, expected = FRAMES[name]
    if pieces and len(data) < 1000:
        for at in range(0, len(data), pieces):
            connection.receive(data[at : at + pieces])
    else:
        connection.receive(data)
    assert outcome(connection) == expected
    if isinstance(expected, str):
        connection.receive(get(101))
        assert connection.sent() == []
        assert all(told[0] != 101 for told in connection.told)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (get(11), [(11, "begin", "GET")]),
        (frame(HEADERS, ALL | PADDED, 11, b"\2" + block() + b"\0\0"), [(11, "begin", "GET")]),
        (post(11) + frame(DATA, END_STREAM, 11, b"x"), [(11, "begin", "POST"), (11, "data", b"x"), (11, "end")]),
        (post(11) + frame(DATA, END_STREAM, 11), [(11, "begin", "POST"), (11, "end")]),
        (frame(DATA, PADDED, 3, b"\2xy\0\0"), [(3, "data", b"xy")]),
        (frame(DATA, PADDED | END_STREAM, 3, b"\3\0\0\0"), [(3, "end")]),
        (frame(DATA, 0, 7, b"late"), []),
        (frame(HEADERS, ALL, 3, encode_field(b"x-sum", b"1")), [(3, "end")]),
        (frame(RST_STREAM, 0, 3, long(8)), [(3, "reset", 8)]),
        (frame(WINDOW_UPDATE, 0, 1, long(5)), [(1, "window", 65540)]),
        (frame(WINDOW_UPDATE, 0, 1, long(0)), [(1, "reset", 1)]),
        (frame(PRIORITY_UPDATE, 0, 0, long(1) + b"u=1, i"), [(1, "priority", 1, True)]),
        (frame(HEADERS, ALL, 11, block(b"CONNECT")), [(11, "reset", 1)]),
        (frame(HEADERS, ALL, 11, block(b"GET", *[(b"x", b"y")] * 600)), [(11, "refused", 431)]),
    ],
)
def test_what_streams_are_told(data, told, connection):
    """Streams are told what is meant for them, and nothing of closed ones."""
    if told and told[0][1] == "reset" and told[0][0] == 11:
        told = []  # it has never begun
    connection.receive(data)
    assert connection.told == told


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", Code.PROTOCOL_ERROR),
        (PREFACE[:10] + b"x", Code.PROTOCOL_ERROR),
        (PREFACE + get(1), Code.PROTOCOL_ERROR),
        (PREFACE + frame(SETTINGS, ACK, 0), Code.PROTOCOL_ERROR),
        (PREFACE + settings(), None),
        (PREFACE[:10], None),
        (PREFACE, None),
        (PREFACE + settings()[:8], None),
    ],
)
def test_preface(data, fault):
    """A client begins with the preface and SETTINGS, in pieces of any size, and with nothing else."""
    for size in (1, 7, 1000):
        connection = Connection(begun=False)
        for at in range(0, len(data), size):
            connection.receive(data[at : at + size])
        assert connection.fault == fault


def test_what_the_server_says_first():
    """The server begins with its settings, and opens the window of the connection."""
    connection = Connection()
    connection.begin({_h2_frame.MAX_HEADER_LIST_SIZE: 65536}.items())
    (kind, _, _, payload), update = connection.sent()
    assert kind == SETTINGS
    assert dict(struct.iter_unpack(">HI", payload)) == {3: 100, 4: STREAM_WINDOW, 9: 1, 6: 65536}
    assert update == (WINDOW_UPDATE, 0, 0, long(CONNECTION_WINDOW - 65535))


def test_answers_to_frames(connection):
    """SETTINGS and PING are answered, in the order in which they came; answers to them are not."""
    connection.receive(frame(PING, 0, 0, b"12345678") + settings((4, 1)) + frame(PING, ACK, 0, b"abcdefgh"))
    assert connection.sent() == [(PING, ACK, 0, b"12345678"), (SETTINGS, ACK, 0, b"")]


# Windows


def test_initial_window(connection):
    """A changed initial window changes those of all streams, and may make them negative."""
    one = connection.streams[1]
    connection.send_data(one, [b"x" * 1000], 1000, False)
    connection.receive(settings((4, 500)))
    assert one.send_window == 500 - 1000
    assert connection.streams[3].send_window == 500
    assert connection.told == []
    connection.receive(settings((4, 1001)))
    assert connection.told == [(1, "window", 1), (3, "window", 1001)]
    connection.receive(get(11))
    assert connection.streams[11].send_window == 1001
    assert connection.send_window == 65535 - 1000


def test_initial_window_overflow(connection):
    """A changed initial window that makes the window of a stream too large ends the connection."""
    connection.receive(frame(WINDOW_UPDATE, 0, 1, long(2**31 - 1 - 65535)) + settings((4, 65536)))
    assert connection.fault is Code.FLOW_CONTROL_ERROR


def test_received_too_much(connection):
    """What exceeds the window of a stream resets it, and what exceeds that of the connection ends it."""
    frames = STREAM_WINDOW // MAX_FRAME
    connection.receive(frame(DATA, 0, 3, bytes(MAX_FRAME)) * frames)
    assert outcome(connection) == {}
    connection.receive(frame(DATA, 0, 3, b"x"))
    assert outcome(connection) == {3: "FLOW_CONTROL_ERROR"}
    for stream in (11, 13, 15):
        connection.receive(post(stream) + frame(DATA, 0, stream, bytes(MAX_FRAME)) * (frames - 1))
    connection.receive(post(17) + frame(DATA, 0, 17, bytes(MAX_FRAME)) * 2 + frame(DATA, 0, 17, bytes(MAX_FRAME - 1)))
    assert outcome(connection) == {}
    connection.receive(frame(DATA, 0, 17, b"x"))
    assert outcome(connection) == "FLOW_CONTROL_ERROR"


def test_padding_counts(connection):
    """Padding counts for the windows, and is given back at once."""
    padded = frame(DATA, PADDED, 3, b"\xff" + bytes(254) + bytes(255))
    for _ in range(511):
        connection.receive(padded)
    assert connection.streams[3].receive_window == STREAM_WINDOW - 511 * 510
    assert connection.sent() == []
    connection.receive(padded * 2)
    assert connection.sent() == [(WINDOW_UPDATE, 0, 3, long(512 * 256))]


def test_given_back(connection):
    """A client is told that it may send more when half a window was taken, also of a stream that was reset."""
    piece = frame(DATA, 0, 3, bytes(16_000))
    for _ in range(9):
        connection.receive(piece)
        connection.take(connection.streams[3], 16_000)
    assert connection.sent() == [(WINDOW_UPDATE, 0, 3, long(144_000))]
    assert connection.streams[3].receive_window == STREAM_WINDOW
    for _ in range(24):
        connection.receive(frame(DATA, 0, 7, bytes(16_000)))
    assert connection.sent() == [(WINDOW_UPDATE, 0, 0, long(33 * 16_000))]


def test_not_given_back(connection):
    """Nobody is told to send more of a body that nobody takes."""
    connection.receive(frame(DATA, 0, 3, bytes(16_000)) * 16)
    assert connection.sent() == []
    connection.receive(frame(DATA, 0, 3, bytes(16_000)))
    assert outcome(connection) == {3: "FLOW_CONTROL_ERROR"}


def test_nothing_for_what_has_ended(connection):
    """A stream that has ended gets no WINDOW_UPDATE."""
    connection.receive(frame(DATA, 0, 3, bytes(16_000)) * 15 + frame(DATA, END_STREAM, 3, bytes(16_000)))
    connection.take(connection.streams[3], 16 * 16_000)
    assert connection.sent() == []


# Bodies


@pytest.mark.parametrize(
    ("length", "sizes", "expected"),
    [
        (5, [5], {}),
        (5, [2, 3], {}),
        (5, [6], {11: "PROTOCOL_ERROR"}),
        (5, [4], {11: "PROTOCOL_ERROR"}),
        (5, [], {11: "PROTOCOL_ERROR"}),
        (0, [], {}),
        (0, [1], {11: "PROTOCOL_ERROR"}),
    ],
)
@pytest.mark.parametrize("ended_by", ["data", "trailers"])
def test_content_length(length, sizes, expected, ended_by, connection):
    """A body has as many octets as were announced."""
    connection.receive(post(11, (b"content-length", b"%d" % length)))
    for size in sizes:
        connection.receive(frame(DATA, PADDED, 11, b"\1" + bytes(size) + b"\0"))
    end = frame(DATA, END_STREAM, 11) if ended_by == "data" else frame(HEADERS, ALL, 11, encode_field(b"x-sum", b"1"))
    connection.receive(end)
    assert outcome(connection) == expected
    assert ((11, "end") in connection.told) is (expected == {})


def test_late_frames(connection):
    """What comes for a stream that was reset here is passed over to its end, and decoded; the next is a mistake."""
    indexed = b"\x40" + b"\x01a" + b"\x01b"
    connection.receive(frame(DATA, 0, 7, b"x") + frame(HEADERS, ALL, 7, indexed))
    connection.receive(frame(HEADERS, ALL, 11, block() + b"\xbe"))
    assert outcome(connection) == {}
    connection.receive(frame(DATA, 0, 7, b"x"))
    assert outcome(connection) == "STREAM_CLOSED"


def test_remembered_resets(connection):
    """No more streams are remembered than some, the oldest are forgotten."""
    for stream in range(11, 11 + 4 * _h2_frame.REMEMBERED, 2):
        connection.receive(post(stream))
        connection.reset(stream, Code.NO_ERROR)
    assert len(connection._reset_ids) == _h2_frame.REMEMBERED
    connection.receive(frame(DATA, 0, 7, b"x"))
    assert connection.fault is Code.STREAM_CLOSED


# What a client may not overdo


def test_streams_at_a_time():
    """Streams beyond the limit are refused, and their blocks decoded."""
    connection = Connection()
    connection.max_streams = 2
    connection.receive(get(1) + get(3) + frame(HEADERS, ALL, 5, block() + b"\x40\x01a\x01b"))
    assert outcome(connection) == {5: "REFUSED_STREAM"}
    connection.close(connection.streams[1])
    connection.receive(frame(HEADERS, ALL, 7, block() + b"\xbe"))
    assert outcome(connection) == {}
    assert [told[0] for told in connection.told] == [1, 3, 7]


FLOODS = {
    "resets": lambda stream: get(stream) + frame(RST_STREAM, 0, stream, long(8)),
    "provoked resets": lambda stream: get(stream) + frame(WINDOW_UPDATE, 0, stream, long(0)),
    "malformed requests": lambda stream: frame(HEADERS, ALL, stream, b"\x82"),
    "both in turn": lambda stream: (
        (get(stream) + frame(RST_STREAM, 0, stream, long(8)))
        if stream % 4 == 1
        else frame(HEADERS, ALL, stream, b"\x82")
    ),
    "PING": lambda stream: frame(PING, 0, 0, bytes(8)),
    "SETTINGS": lambda stream: settings((4, 65535)),
    "empty DATA": lambda stream: frame(DATA, 0, 1),
    "empty DATA of padding": lambda stream: frame(DATA, PADDED, 1, b"\0"),
    "unknown frames": lambda stream: frame(UNKNOWN, 0, 0, b"x"),
    "PING and unknown frames": lambda stream: frame(PING if stream % 4 == 1 else UNKNOWN, 0, 0, bytes(8)),
}


@pytest.mark.parametrize("name", FLOODS)
def test_floods(name):
    """Each flood ends the connection after a thousand, unless it takes its time: then it goes on."""
    slow, quick = Connection(), Connection()
    for connection in (slow, quick):
        connection.receive(post(1))
        for number in range(1500):
            if connection is quick and connection.fault is not None:
                break
            connection.receive(FLOODS[name](2 * number + 3))
            if connection is slow and number % 33 == 0:
                connection.calm(1)
    assert slow.fault is None
    assert quick.fault is Code.ENHANCE_YOUR_CALM
    assert 998 <= number <= 1001


def test_empty_data_for_a_reset_stream(connection):
    """Empty frames of a body that nobody wants are a flood, too."""
    connection.receive(frame(DATA, 0, 7) * 900)
    assert outcome(connection) == {}
    connection.receive(frame(DATA, 0, 7) * 100)
    assert outcome(connection) == "ENHANCE_YOUR_CALM"


def test_harmless(connection):
    """PRIORITY, PRIORITY_UPDATE and WINDOW_UPDATE cost little, and may come often; few priorities are remembered."""
    for number in range(5000):
        connection.receive(
            frame(PRIORITY, 0, 2 * number + 1, long(0) + b"\1")
            + frame(WINDOW_UPDATE, 0, 0, long(1))
            + frame(PRIORITY_UPDATE, 0, 0, long(2 * number + 1001) + b"u=1")
        )
    assert outcome(connection) == {}
    assert len(connection._priorities) <= _h2_frame.REMEMBERED


def test_full():
    """A connection that has much to send reads no further when it is told so, and goes on from there."""
    connection = Connection()
    connection.full = True
    connection.receive(frame(PING, 0, 0, bytes(8)) * 10)
    assert len(connection.sent()) == 10
    connection.out_bytes = _h2_frame.OUT_BYTES
    connection.receive(frame(PING, 0, 0, bytes(8)) * 10 + get(1))
    assert len(connection.sent()) == 1
    assert connection.told == []
    connection.receive(b"")
    assert len(connection.sent()) == 9
    assert connection.told == [(1, "begin", "GET")]


# What is sent


def test_answer_in_one_piece(connection):
    """A whole answer is sent as HEADERS and DATA when both windows and a frame hold it, and not otherwise."""
    head = response_block(200, Headers())
    one = connection.streams[1]
    one.send_window = 10
    assert not connection.send_answer(one, head, bytes(11))
    one.send_window, connection.send_window = 100, 10
    assert not connection.send_answer(one, head, bytes(11))
    one.send_window = connection.send_window = 2**20
    assert not connection.send_answer(one, head, bytes(MAX_FRAME + 1))
    assert not connection.send_answer(one, bytes(MAX_FRAME + 1), b"")
    assert connection.sent() == []
    assert connection.send_answer(one, head, b"body")
    assert connection.sent() == [(HEADERS, END_HEADERS, 1, head), (DATA, END_STREAM, 1, b"body")]
    assert connection.send_window == 2**20 - 4
    assert connection.send_answer(one, head, b"")
    assert connection.sent() == [(HEADERS, ALL, 1, head)]


def test_long_block(connection):
    """A block that is too long for a frame is continued."""
    head = bytes(range(256)) * 150
    connection.send_head(connection.streams[1], head, True)
    sent = connection.sent()
    assert [(kind, flags) for kind, flags, _, _ in sent] == [
        (HEADERS, END_STREAM), (CONTINUATION, 0), (CONTINUATION, END_HEADERS),
    ]  # fmt: skip
    assert b"".join(payload for _, _, _, payload in sent) == head


@pytest.mark.parametrize(("sizes", "due"), [([0], True), ([4095, 4096], True), ([4096], False), ([65536], False)])
def test_smaller_table(sizes, due, connection):
    """A client that makes its table smaller gets the size of ours in front of the next block, once (RFC 7541, 4.2)."""
    connection.receive(b"".join(settings((_h2_frame.HEADER_TABLE_SIZE, size)) for size in sizes))
    connection.sent()
    head = response_block(200, Headers())
    assert connection.send_answer(connection.streams[1], head, b"") is not due
    if due:
        connection.send_head(connection.streams[1], head)
    connection.send_head(connection.streams[3], head)
    assert [payload for _, _, _, payload in connection.sent()] == [b"\x20" + head if due else head, head]


def test_early_answer(connection):
    """The body of an answered request is passed over; the stream is reset, when the client had time to read the answer."""
    connection.receive(post(11))
    connection.close(connection.streams[3])
    connection.close(connection.streams[11])
    connection.stop_early()
    assert connection.sent() == []
    connection.receive(frame(DATA, 0, 3, bytes(100)) + frame(DATA, END_STREAM, 11, bytes(100)))
    connection.stop_early()
    assert connection.sent() == [(RST_STREAM, 0, 3, long(0))]
    connection.receive(frame(DATA, 0, 3, bytes(100)) + frame(DATA, END_STREAM, 3, bytes(100)))
    connection.stop_early()
    assert outcome(connection) == {}
    assert connection.told == [(11, "begin", "POST")]


# The end


def test_drain(connection):
    """A connection to be ended says so, and when the client has seen that, which streams will be answered."""
    connection.announce_end()
    (kind, _, _, payload), (_, _, _, ping) = connection.sent()
    assert (kind, payload) == (GOAWAY, long(2**31 - 1) + long(0))
    connection.receive(get(11) + frame(PING, ACK, 0, ping) + get(13))
    assert connection.sent() == [(GOAWAY, 0, 0, long(11) + long(0)), (RST_STREAM, 0, 13, long(Code.REFUSED_STREAM))]
    assert [told[0] for told in connection.told] == [11]
    assert connection.refuses_streams
    connection.announce_end()
    connection.refuse_streams()
    assert connection.sent() == []
    connection.receive(frame(DATA, 0, 101, b"x"))
    assert connection.sent()[0][3][:8] == long(11) + long(Code.PROTOCOL_ERROR)


def test_client_goes(connection):
    """A client that says that it goes opens no more streams; those that there are stay."""
    connection.receive(frame(GOAWAY, 0, 0, long(0) + long(0) + b"bye"))
    assert connection.refuses_streams
    assert connection.fault is None
    assert sorted(connection.streams) == [1, 3]


@pytest.mark.parametrize(
    ("data", "unfinished", "of_data"),
    [
        (b"", None, (0, 0)),
        (get(11), None, (0, 0)),
        (get(11)[:4], b"", (0, 0)),
        (frame(DATA, 0, 3, bytes(100))[:50], None, (3, 50)),
        (frame(HEADERS, END_STREAM, 11, b"x"), (11, END_STREAM), (0, 0)),
    ],
)
def test_unfinished(data, unfinished, of_data, connection):
    """It is known what a client has begun to send, so that it can be hurried."""
    connection.receive(data)
    assert connection.unfinished == (data if unfinished == b"" else unfinished)
    assert connection.unfinished_data == of_data


# Priorities


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], (3, True)),
        ([b""], (3, True)),
        ([b"u=0"], (0, False)),
        ([b"u=7, i"], (7, True)),
        ([b"i"], (3, True)),
        ([b"i=?1"], (3, True)),
        ([b"u=1,i=?0"], (1, False)),
        ([b"u=1", b"i"], (1, True)),
        ([b"u=1;x=2 , i;y"], (1, True)),
        ([b"u=8"], (3, False)),
        ([b"u=-1"], (3, False)),
        ([b"u"], (3, False)),
        ([b"u=1.5, i=yes"], (3, False)),
        ([b"other=1"], (3, False)),
        ([b"u=1, u=2"], (2, False)),
    ],
)
def test_parse_priority(lines, expected):
    """Priorities are read as RFC 9218 has it, and what is malformed is passed over."""
    assert parse_priority(lines) == expected


def test_priority_of(connection):
    """A priority that was said before a stream began counts before that of its head."""
    connection.receive(frame(PRIORITY_UPDATE, 0, 0, long(11) + b"u=6"))
    heads = []
    Stream.begin, kept = (lambda self, head: heads.append(head)), Stream.begin
    try:
        for stream in (11, 13):
            connection.receive(frame(HEADERS, ALL, stream, block(b"GET", (b"priority", b"u=2"))))
    finally:
        Stream.begin = kept
    found = [connection.priority_of(connection.streams[id_], head) for id_, head in zip((11, 13), heads, strict=True)]
    assert found == [(6, False), (2, False)]


class Sender:
    """A stream that waits for its turn."""

    def __init__(self, name, urgency, incremental=True):
        self.name = name
        self.priority = Priority(urgency, incremental)


def order(senders, turns):
    """Who has had a turn, when each has something to send for ever."""
    waiting = Turns()
    for sender in senders:
        waiting.add(sender)
    names = ""
    for _ in range(turns):
        sender = waiting.take()
        names += sender.name
        waiting.put_back(sender)
    return names


@pytest.mark.parametrize(
    ("senders", "expected"),
    [
        ([Sender("a", 3), Sender("b", 3), Sender("c", 3)], "abcabcabcabcabca"),
        ([Sender("a", 3, False), Sender("b", 3, False), Sender("c", 3, False)], "aaaaaaabaaaaaaac"),
        ([Sender("a", 5), Sender("b", 1)], "bbbbbbbabbbbbbbb"),
        ([Sender("a", 5), Sender("b", 1), Sender("c", 1)], "bcbcbcbacbcbcbcb"),
        ([Sender("a", 7), Sender("b", 5), Sender("c", 0)], "cccccccbcccccccacccccccc"),
    ],
)
def test_turns(senders, expected):
    """The most urgent is sent first, equals in turn, a whole answer at once; and nobody is kept waiting for ever."""
    assert order(senders, len(expected)) == expected


def test_turns_end():
    """Who waits no more is forgotten."""
    one, two = Sender("a", 3), Sender("b", 3)
    waiting = Turns()
    waiting.add(one)
    waiting.add(two)
    waiting.remove(one)
    assert waiting.take() is two
    assert not waiting.waiting
