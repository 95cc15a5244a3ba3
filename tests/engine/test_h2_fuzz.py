"""
HTTP/2 against made-up frames, and against a client that keeps the rules.

``MIXWEB_FUZZ=10000`` makes that many connections, other ones in each run.
"""

from __future__ import annotations

import os

import h2.config
import h2.connection
import h2.events
import h2.settings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from tests.engine.test_h2_probes import Connection, Link, Server
from tests.wire.http2 import (
    DATA,
    INITIAL_WINDOW_SIZE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
    number,
    request,
    setting,
)

ASKED = int(os.environ.get("MIXWEB_FUZZ", "0"))

fuzz = settings(
    max_examples=ASKED or 150,
    derandomize=not ASKED,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


class Puller:
    """Writes when it is asked to."""

    def __init__(self, request, size):
        self.request = request
        self.left = size

    def resumeProducing(self):
        piece = min(self.left, 10_000)
        self.left -= piece
        self.request.write(b"p" * piece)
        if not self.left:
            self.request.unregisterProducer()
            self.request.finish()

    def stopProducing(self):
        self.left = 0


class Pusher(Puller):
    """Writes until it is told to wait."""

    def __init__(self, request, size, clock):
        super().__init__(request, size)
        self.clock = clock
        self.paused = False

    def push(self):
        while self.left and not self.paused:
            Puller.resumeProducing(self)

    def pauseProducing(self):
        self.paused = True

    def resumeProducing(self):
        self.paused = False
        self.clock.callLater(0, self.push)


class Pages(Resource):
    """Answers in all ways: ``/KIND/SIZE`` with so many bytes, and a POST with what was posted."""

    isLeaf = True

    def __init__(self, clock):
        super().__init__()
        self.clock = clock
        self.waiting = []

    def render_GET(self, request):
        kind, _, size = request.path[1:].partition(b"/")
        size = int(size or b"0")
        if kind == b"late":
            answer = Deferred()
            self.clock.callLater(1, answer.callback, b"p" * size)
            return answer
        if kind == b"never":
            return Deferred()
        if kind == b"pull":
            request.registerProducer(Puller(request, size), False)
            return NOT_DONE_YET
        if kind == b"push":
            pusher = Pusher(request, size, self.clock)
            request.registerProducer(pusher, True)
            pusher.push()
            return NOT_DONE_YET
        if kind == b"pieces":
            request.write(b"p" * (size // 2))
            request.write(b"p" * (size - size // 2))
            request.finish()
            return NOT_DONE_YET
        return b"p" * size

    def render_POST(self, request):
        return request.content.read()


def serve():
    """A server of these pages."""
    server = Server()
    server.site.resource = Pages(server.clock)
    return server


PATHS = [b"/now/0", b"/now/9", b"/now/70000", b"/late/9", b"/never", b"/pull/50000", b"/push/200000", b"/pieces/40000"]
streams = st.sampled_from([0, 1, 1, 3, 3, 5, 7, 9, 2, 2**31 - 1])
bits = st.sampled_from([0, 1, 4, 5, 5, 8, 13, 0x20, 0x2D, 0xFF])
numbers = st.sampled_from([0, 1, 100, 65535, 2**31 - 1, 2**31, 2**32 - 1]).map(number)
blocks = st.sampled_from(
    [
        request(1, b"/now/9")[9:],
        request(1, b"/now/9", b"\x83")[9:],
        request(1, b"/now/9", b"\x83")[9:] + b"\x0f\x0d\x015",
        b"\x82",
        b"\x20",
        b"\xff",
        b"\x00\x01a\x01b",
        b"\x00\x01A\x01b",
    ]
)
payloads = st.one_of(
    st.binary(max_size=12),
    numbers,
    blocks,
    blocks.map(lambda block: b"\x02" + block + b"\0\0"),
    blocks.map(lambda block: number(3) + b"\x10" + block),
    st.builds(lambda name, value: setting(name, int.from_bytes(value, "big")), st.integers(0, 10), numbers),
    st.sampled_from([b"x" * 5, b"y" * 16384, b"z" * 9000, b"\x04abcd" * 3]),
)
wild_frames = st.builds(frame, st.integers(0, 10) | st.sampled_from([0x10, 0xEE]), bits, streams, payloads)
asked = st.builds(
    lambda stream, path, post, end: request(stream, path, b"\x83" if post else b"\x82", end),
    *(st.sampled_from([1, 3, 5, 7, 9, 11]), st.sampled_from(PATHS), st.booleans(), st.booleans()),
)
tame_frames = st.one_of(
    asked,
    asked,
    st.builds(
        lambda stream, flags, data: frame(DATA, flags, stream, data), streams, st.sampled_from([0, 0, 1]), payloads
    ),
    st.builds(lambda stream, size: frame(WINDOW_UPDATE, 0, stream, number(size)), streams, st.integers(1, 70_000)),
    st.builds(lambda size: frame(SETTINGS, 0, 0, setting(INITIAL_WINDOW_SIZE, size)), st.integers(0, 100_000)),
    st.builds(lambda stream: frame(RST_STREAM, 0, stream, number(8)), streams),
)
acts = st.one_of(tame_frames, tame_frames, tame_frames, wild_frames, st.sampled_from(["wait", "read", "drain"]))


def check_books(channel):
    """Whatever happened, what is counted is what there is."""
    assert len(channel.streams) <= 100
    assert channel.held_bytes == sum(stream.pending_bytes for stream in channel.streams.values())
    for stream in channel.streams.values():
        assert not stream.closed
        assert stream.pending_bytes == sum(map(len, stream._pending or ()))


@fuzz
@given(taken=st.lists(acts, min_size=1, max_size=30), cut=st.integers(1, 1000))
def test_anything(failures, taken, cut):
    """Whatever a client sends, nothing fails, and nothing is left when it has gone."""
    server = serve()
    client = Connection(server, ())
    (channel,) = server.site.channels
    for act in taken:
        if act == "wait":
            server.wait(1)
        elif act == "read":
            client.read()
        elif act == "drain":
            channel.drain()
        else:
            for at in range(0, len(act), cut):
                client.send(act[at : at + cut])
        server.clock.advance(0)
        check_books(channel)
    client.read()
    channel.connectionLost(Failure(ConnectionDone()))
    server.wait(3)
    check_books(channel)
    assert (channel.streams, channel.held_bytes, len(server.site.channels)) == ({}, 0, 0)
    assert failures == []


class Library(Link):
    """
    A client that keeps the rules, by a library.

    :param window: of its streams, in octets.
    :param takes: how much of an answer it takes before it says so, in octets.
    :param cut: how much it sends at a time, in octets.
    """

    def __init__(self, server, window, takes, cut):
        super().__init__(server)
        self.takes, self.cut = takes, cut
        self.connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=None))
        self.connection.initiate_connection()
        self.connection.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window})
        self.untaken = {}
        self.unsent = {}
        self.bodies = {}
        self.ended = set()
        self.exchange()

    def ask(self, path, body):
        """Send a request, with a body unless it is ``None``."""
        stream = self.connection.get_next_available_stream_id()
        method = b"GET" if body is None else b"POST"
        fields = [(b":method", method), (b":path", path), (b":scheme", b"https"), (b":authority", b"localhost")]
        self.connection.send_headers(stream, fields, end_stream=not body)
        if body:
            self.unsent[stream] = body
        self.bodies[stream] = b""
        return stream

    def exchange(self):
        """Send what there is to send and read what there is, once."""
        self.send_bodies()
        data = self.connection.data_to_send()
        for at in range(0, len(data), self.cut):
            assert self.send(data[at : at + self.cut])
        self.server.clock.advance(0)
        received = self.transport.value()
        self.transport.empty()
        for event in self.connection.receive_data(received):
            self.note(event)
        return bool(data or received)

    def send_bodies(self):
        """Send as much of the bodies as the windows let."""
        for stream, body in list(self.unsent.items()):
            size = min(self.connection.local_flow_control_window(stream), 16384, len(body))
            if size:
                self.connection.send_data(stream, body[:size], end_stream=size == len(body))
                self.unsent[stream] = body[size:]
            if not self.unsent[stream]:
                del self.unsent[stream]

    def note(self, event):
        """Take what has come."""
        assert not isinstance(event, (h2.events.StreamReset, h2.events.ConnectionTerminated)), event
        if isinstance(event, h2.events.DataReceived):
            stream = event.stream_id
            self.bodies[stream] += event.data
            self.untaken[stream] = self.untaken.get(stream, 0) + event.flow_controlled_length
            if self.untaken[stream] >= self.takes:
                self.take(stream)
        elif isinstance(event, h2.events.StreamEnded):
            self.ended.add(event.stream_id)
            self.take(event.stream_id)

    def take(self, stream):
        """Say that what has come was taken."""
        taken = self.untaken.pop(stream, 0)
        if taken:
            self.connection.acknowledge_received_data(taken, stream)


bodies = st.none() | st.integers(0, 400_000).map(lambda size: bytes(size))
asks = st.tuples(st.sampled_from([path for path in PATHS if path != b"/never"]), bodies, st.integers(0, 3))


@fuzz
@given(
    asked=st.lists(asks, min_size=1, max_size=12),
    window=st.sampled_from([1000, 16384, 65535, 300_000]),
    takes=st.sampled_from([1, 1000]),
    cut=st.sampled_from([7, 1000, 65536]),
)
def test_answers(failures, asked, window, takes, cut):
    """Every request of a client that keeps the rules is answered with its body, whatever the windows and cuts are."""
    server = serve()
    client = Library(server, window, takes, cut)
    expected = {}
    for path, body, turns in asked:
        size = int(path.rpartition(b"/")[2])
        expected[client.ask(path, body)] = b"p" * size if body is None else body
        for _ in range(turns):
            client.exchange()
    for _ in range(3):
        while client.exchange():
            pass
        server.wait(1)
    assert client.ended == set(expected)
    assert client.bodies == expected
    (channel,) = server.site.channels
    check_books(channel)
    assert (channel.streams, failures) == ({}, [])
