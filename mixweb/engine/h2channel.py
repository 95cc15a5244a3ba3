"""
One connection of HTTP/2: what arrives becomes requests, each on its stream, and their answers share the connection.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer, ISSLTransport
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import _NoPushProducer
from zope.interface import implementer

from mixweb.engine._h2_frame import ENABLE_CONNECT_PROTOCOL, MAX_HEADER_LIST_SIZE, ConnectionFault
from mixweb.engine._h2_priority import Turns
from mixweb.engine._h2_stream import HELD_BYTES, Http2Stream
from mixweb.engine._head import DEFAULT_LIMITS, Limits
from mixweb.engine.h2fields import RequestHead, RequestReader
from mixweb.engine.h2frames import FrameConnection
from mixweb.engine.timeouts import CHECK_INTERVAL, DEFAULT_TIMEOUTS, Timeouts

#: Frames of bodies that are handed to the transport together: then it can say that it is full.
FLUSH_FRAMES = 8

#: Frames of bodies after which other connections have their turn.
TURN_FRAMES = 32

#: What a client may still send that was told to stop, in octets.
LINGER_BYTES = 64 * 1024 * 1024


class _Look(NamedTuple):
    """What a stream has been doing since when, and how far it had come then."""

    doing: str
    since: float
    amount: int


@implementer(IPushProducer, IHalfCloseableProtocol)
class Http2Connection(FrameConnection[Http2Stream]):
    """
    An HTTP/2 connection.

    What is to be sent is handed to the transport in one piece at the end of a turn: when what has arrived was read, or
    when something was written at another time. While the transport is full nothing is read.

    :param site: that answers.
    :param limits: what is read before a request is refused.
    :param timeouts: how long a client may take.
    :ivar working: whether this is a turn.
    :ivar held_bytes: octets of answers that wait to be sent.
    :ivar deferred: requests that have to wait before they are processed.
    :ivar turns: streams that have something to send.
    :ivar is_secure: whether the connection is encrypted.
    """

    stream_class = Http2Stream

    __slots__ = (
        "_activity",
        "_blocked",
        "_closing",
        "_discarded",
        "_draining",
        "_host",
        "_limits",
        "_looks",
        "_network",
        "_peer",
        "_scheduled",
        "_since",
        "callLater",
        "deferred",
        "held_bytes",
        "is_secure",
        "requestFactory",
        "site",
        "timeOut",
        "timeouts",
        "too_many",
        "transport",
        "turns",
        "working",
    )

    def __init__(self, site: Any, limits: Limits = DEFAULT_LIMITS, timeouts: Timeouts = DEFAULT_TIMEOUTS) -> None:
        super().__init__(RequestReader(limits, site.extended_connect), site.max_http2_streams)
        self.site = site
        self.requestFactory: Any = site.requestFactory
        self.callLater: Any = site.reactor.callLater
        self.timeOut: float | None = site.timeOut
        self.timeouts = timeouts
        self.too_many = False
        self.transport: Any = None
        self.working = self._scheduled = self._blocked = self._closing = False
        self.held_bytes = self._discarded = self._draining = 0
        self.turns = Turns()
        self.deferred: list[tuple[Http2Stream, RequestHead]] = []
        self._limits = limits
        self._looks: dict[int, _Look] = {}
        self._activity: tuple[object, ...] = ()
        self._since = 0.0
        self._peer: Any = None
        self._host: Any = None

    @property
    def requests(self) -> list[Http2Stream]:
        """The streams whose answers are not out."""
        return list(self.streams.values())

    # What the transport tells

    def makeConnection(self, transport: Any) -> None:
        """The client has connected, and has chosen HTTP/2."""
        self.transport = transport
        self.is_secure = ISSLTransport.providedBy(transport)
        self._network: Any = IPushProducer(transport, _NoPushProducer())
        self.site.channels.add(self)
        settings = {MAX_HEADER_LIST_SIZE: self._limits.field_section}
        if self.site.extended_connect:
            settings[ENABLE_CONNECT_PROTOCOL] = 1
        self.begin(settings.items())
        self.flush()

    def dataReceived(self, data: bytes) -> None:
        """Read what the client sent."""
        if self._closing:
            self._discard(data)
        elif self._blocked:
            self.keep(data)
        else:
            self._work(data)

    def readConnectionLost(self) -> None:
        """The client sends no more, so that no more can be sent to it for long."""
        self._stop()
        self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """The last frame has been sent."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The client has left."""
        self.ended = self._closing = True
        self.site.channels.leave(self)
        self._lose_streams(reason)

    def pauseProducing(self) -> None:
        """The client does not take what is sent."""
        self._blocked = True
        if not self._closing:
            self._network.pauseProducing()

    def resumeProducing(self) -> None:
        """The client has taken what was sent."""
        self._blocked = False
        self._work(b"")
        if not (self._blocked or self._closing):
            self._network.resumeProducing()

    def stopProducing(self) -> None:
        """The transport sends no more."""

    # Turns

    def wake(self) -> None:
        """Something is to be sent, or streams have something to send: soon, together with all else of this moment."""
        if not self.working:
            self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self.callLater(0, self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        if not self._closing:
            self._work(b"")

    def _work(self, data: bytes) -> None:
        self.working = True
        try:
            if not self._blocked:
                self.receive(data)
            if self.deferred:
                self._begin_deferred()
            if self.turns.waiting:
                self._send_frames()
        finally:
            self.working = False
        if self.out:
            self.flush()
        if self.ended or (self._last_id is not None and not self.streams):
            self.loseConnection()
        elif self.deferred and self.held_bytes <= HELD_BYTES:
            self.wake()

    def _send_frames(self) -> None:
        turns = self.turns
        count = 0
        while turns.waiting and self.send_window > 0 and not self._blocked:
            if count == TURN_FRAMES:
                self._schedule()
                return
            stream = turns.take()
            stream.waits = False
            if stream.send_frame() and not stream.waits:
                stream.waits = True
                turns.put_back(stream)
            count += 1
            if count % FLUSH_FRAMES == 0:
                self.flush()

    def flush(self) -> None:
        """Hand to the transport what is to be sent."""
        data = b"".join(self.out)
        self.out.clear()
        self.out_bytes = 0
        self.transport.write(data)

    def is_full(self) -> bool:
        """Whether the transport takes no more."""
        self.flush()
        return self._blocked

    def _begin_deferred(self) -> None:
        while self.deferred and self.held_bytes <= HELD_BYTES:
            stream, head = self.deferred.pop(0)
            if not stream.closed:
                stream.begin(head, True)

    # The end

    def on_fault(self, fault: ConnectionFault) -> None:
        """End all streams; the connection is closed at the end of the turn."""
        self._lose_streams(Failure(ConnectionLost(fault.detail)))

    def _lose_streams(self, reason: Failure) -> None:
        streams, self.streams = self.streams, {}
        self.deferred.clear()
        for stream in streams.values():
            stream.closed = True
        for stream in streams.values():
            stream.lost(reason)

    def drain(self) -> None:
        """Ask the client to open no more streams, answer those that there are, and close."""
        if not self._draining:
            self._draining = 1
            self.announce_end()
            for stream in self.requests:
                stream.drain()
            self.wake()

    def loseConnection(self) -> None:
        """
        Close the connection of a client that may still be sending.

        To close it with input unread would have the kernel reset it, and what was sent last could get lost.
        """
        if not self._closing:
            self._stop()
            if self._can_half_close():
                self.transport.loseWriteConnection()
            else:
                self.transport.loseConnection()

    def _stop(self) -> None:
        """Read nothing more, and send no more than is handed to the transport."""
        self.ended = self._closing = True
        if self.out:
            self.flush()
        if self._blocked:
            self._network.resumeProducing()
        self._network.unregisterProducer()

    def _can_half_close(self) -> bool:
        # Twisted's TLS finds this method at the socket below it: called there, it would cut the answer off.
        return hasattr(type(self.transport) if self.is_secure else self.transport, "loseWriteConnection")

    def abortConnection(self) -> None:
        """Drop the connection, with what has not been sent."""
        self.ended = self._closing = True
        self.transport.abortConnection()

    def _discard(self, data: bytes) -> None:
        self._discarded += len(data)
        if self._discarded > LINGER_BYTES:
            self.abortConnection()

    # Time

    def check_timeouts(self, now: float) -> None:
        """
        Close the connection, or streams of it, when the client takes too long.

        :param now: of any clock, in seconds; the next call comes :data:`CHECK_INTERVAL` seconds later.
        """
        self.calm(CHECK_INTERVAL)
        if not self._closing:
            self.stop_early()
            if self.out:
                self.wake()
        if self._draining and not self.refuses_streams:
            self._draining += 1
            if self._draining > 2:
                # It has not said that it knows.
                self.refuse_streams()
                self.wake()
        if self.streams:
            self._check_streams(now)
        activity = self._describe()
        if activity != self._activity:
            self._activity = activity
            self._since = now
            return
        kind = activity[0]
        allowed = self._allowed.get(kind)
        # It may have begun right after the look before.
        if allowed is not None and now - self._since > allowed - CHECK_INTERVAL * 1.5:
            self._since = now
            self._time_out(kind)
        elif kind == "idle":
            self.reader.forget()
            self._peer = self._host = None

    def _describe(self) -> tuple[object, ...]:
        """What the connection is busy with. As long as it is the same, nothing has moved."""
        if self._closing:
            return "closing", *self._sent()
        if self._blocked:
            return "sending", *self._sent()
        unfinished = self.unfinished
        if unfinished is not None:
            return "head", unfinished
        return ("busy",) if self.streams else ("idle", self._next_id)

    def _sent(self) -> tuple[int, int]:
        """Changes whenever the kernel takes something."""
        return getattr(self.transport, "offset", 0), len(getattr(self.transport, "dataBuffer", b""))

    @property
    def _allowed(self) -> dict[object, float | None]:
        """How long each thing may take, in seconds."""
        times = self.timeouts
        return {
            "closing": times.linger,
            "sending": times.send,
            "head": times.head,
            "idle": self.timeOut,
        }

    def _time_out(self, kind: object) -> None:
        if kind in ("closing", "sending"):
            self.abortConnection()
        else:
            self.refuse_streams()
            self.loseConnection()

    def _check_streams(self, now: float) -> None:
        before, self._looks = self._looks, {}
        allowed = {"sending": self.timeouts.send, "receiving": self.timeouts.body}
        for stream in self.requests:
            doing, amount = self._progress(stream)
            look = before.get(stream.id)
            if look is None or look.doing != doing or (doing == "sending" and look.amount != amount):
                look = _Look(doing, now, amount)
            elif doing in allowed and now - look.since > allowed[doing] - CHECK_INTERVAL * 1.5:
                self._judge(stream, amount - look.amount)
                look = _Look(doing, now, amount)
            self._looks[stream.id] = look

    def _progress(self, stream: Http2Stream) -> tuple[str, int]:
        """What a stream does, and how far it has come."""
        if stream.pending_bytes:
            return "sending", stream.sent_bytes
        if not stream.is_receiving:
            return "handling", 0
        begun, size = self.unfinished_data
        return "receiving", stream.received_bytes + (size if begun == stream.id else 0)

    def _judge(self, stream: Http2Stream, moved: int) -> None:
        """A stream had its time, and so many octets have moved."""
        if stream.pending_bytes:
            stream.abortConnection()
        elif moved < self.timeouts.body_rate * self.timeouts.body:
            stream.refuse(408, "The body of the request comes too slowly.")

    # What streams ask for

    def getPeer(self) -> Any:
        """The client's address."""
        if self._peer is None:
            self._peer = self.transport.getPeer()
        return self._peer

    def getHost(self) -> Any:
        """The address the client connected to."""
        if self._host is None:
            self._host = self.transport.getHost()
        return self._host
