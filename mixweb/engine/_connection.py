"""
One connection of HTTP/1.1: how fast it is read, how long its client may take, and how it ends.
"""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer, ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, _NoPushProducer
from zope.interface import implementer

from mixweb.engine.http1 import DEFAULT_LIMITS, Limits, Parser
from mixweb.engine.timeouts import CHECK_INTERVAL, DEFAULT_TIMEOUTS, Timeouts

#: What a refused client may still send before the connection is dropped, in bytes.
LINGER_BYTES = 64 * 1024 * 1024


class ChannelSite(Protocol):
    """
    What a channel needs of its site.

    :ivar channels: the connections that are open; the site calls :meth:`Channel.check_timeouts` of each every
        :data:`CHECK_INTERVAL` seconds.
    :ivar max_body_bytes: what is accepted of a request that does not say otherwise.
    :ivar max_pipelined_bytes: what is read ahead while a request is answered.
    :ivar max_http2_streams: requests at a time on a connection of HTTP/2.
    :ivar http2: who speaks it: ``own`` or ``twisted``.
    :ivar h2c: whether it is spoken in clear text, too, with clients that know it.
    :ivar takes_connect: whether CONNECT is for a resource.
    """

    channels: Any
    reactor: Any
    http2: str
    h2c: bool
    max_body_bytes: int
    max_pipelined_bytes: int
    max_http2_streams: int
    takes_connect: bool


@implementer(IHalfCloseableProtocol)
class Connection(HTTPChannel):
    """
    What of a channel has to do with its connection.

    :param limits: what is read before a request is refused.
    :param timeouts: how long a client may take.
    :ivar too_many: whether there are as many connections as there may be, without this one.
    """

    site: ChannelSite
    transport: Any
    requestFactory: Any
    _networkProducer: Any

    too_many = False

    _ended = False
    _closing = False
    _upgraded: Any = None
    _draining = False
    _read_closed = False
    _reading_paused = False
    _body_paused = False
    _body_bytes = 0
    _discarded = 0

    def __init__(self, limits: Limits = DEFAULT_LIMITS, timeouts: Timeouts = DEFAULT_TIMEOUTS) -> None:
        self.requests: list[Any] = []
        self.timeouts = timeouts
        self._parser = Parser(limits)
        # What every connection changes is set here, before there are many: CPython then keeps it without a dictionary.
        self._handlingRequest = False
        self._running = False
        self.persistent = True
        self._begun = 0
        self._peer: Any = None
        self._host: Any = None
        self._activity: tuple[object, ...] = ()
        self._since = 0.0

    # What the transport tells

    def connectionMade(self) -> None:
        """The client has connected."""
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
        self._networkProducer = IPushProducer(self.transport, _NoPushProducer())
        self._networkProducer.registerProducer(self, True)
        self.site.channels.admit(self)

    @property
    def unread(self) -> bytes:
        """What was received and is in no request yet."""
        return self._parser.unread

    def _read_on(self) -> None:
        """Act on what has arrived."""
        raise NotImplementedError

    def refuse(self, status: int, detail: str) -> None:
        """
        Answer the request that is being read with an error, and read no more.

        :param detail: one sentence for the client.
        """
        raise NotImplementedError

    def readConnectionLost(self) -> None:
        """The client sends no more; it still gets the answers to what it has sent."""
        self._read_closed = True
        if self._upgraded is not None:
            self.transport.loseConnection()
        elif self._ended or not self._stalled():
            self.loseConnection()

    def writeConnectionLost(self) -> None:
        """The last answer has been sent."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The client has left."""
        self._ended = True
        self.site.channels.leave(self)
        self._parser.take_rest()
        for request in self.requests:
            request.connectionLost(reason)

    def pauseProducing(self) -> None:
        """The client does not take what is sent: no more requests are begun, and their senders wait."""
        self._waitingForTransport = True
        if self._requestProducer is not None:
            self._requestProducer.pauseProducing()

    def resumeProducing(self) -> None:
        """The client has taken what was sent."""
        self._waitingForTransport = False
        if self._requestProducer is not None:
            self._requestProducer.resumeProducing()
        self._read_on()

    # Reading no faster than requests are answered

    def _stalled(self) -> bool:
        return self._handlingRequest or self._waitingForTransport or self._body_paused

    def _regulate_reading(self) -> None:
        full = self._stalled() and self._parser.buffered > self.site.max_pipelined_bytes
        if full is not self._reading_paused:
            self._reading_paused = full
            if full:
                self._networkProducer.pauseProducing()
            elif not self._read_closed:
                self._networkProducer.resumeProducing()

    def _stop_regulating(self) -> None:
        producer, self._networkProducer = self._networkProducer, _NoPushProducer()
        if self._reading_paused and not self._read_closed:
            producer.resumeProducing()
        producer.unregisterProducer()

    # The end

    def drain(self) -> None:
        """
        Close the connection after the request that is open, or else after the next one, or soon when none comes.

        A protocol that it was handed to is told by its own ``drain()``, if it has one.
        """
        self._draining = True
        self.persistent = False
        if hasattr(self._upgraded, "drain"):
            self._upgraded.drain()
        if self.requests:
            self.requests[0].responseHeaders.setRawHeaders(b"Connection", [b"close"])

    def loseConnection(self) -> None:
        """Close the connection when everything has been sent."""
        if not self._closing:
            self._ended = self._closing = True
            self._stop_regulating()
            self.transport.loseConnection()

    def abortConnection(self) -> None:
        """Drop the connection, with what has not been sent."""
        self._ended = True
        self.transport.abortConnection()

    def _linger(self) -> None:
        """
        Close the connection of a client that may still be sending.

        To close it with input unread would have the kernel reset it, and the answer could get lost.
        """
        if self._read_closed or not self._can_half_close():
            self.loseConnection()
            return
        self._ended = True
        self._parser.take_rest()
        self._stop_regulating()
        self.transport.loseWriteConnection()

    def _can_half_close(self) -> bool:
        # Twisted's TLS finds this method at the socket below it: called there, it would cut the answer off.
        return hasattr(type(self.transport) if self.isSecure() else self.transport, "loseWriteConnection")

    def _discard(self, data: bytes) -> None:
        self._discarded += len(data)
        if self._discarded > LINGER_BYTES:
            self.abortConnection()

    # Time

    def setTimeout(self, period: int | None) -> None:
        """Change the idle timeout; ``None`` also ends all other timeouts, as the connection is somebody else's then."""
        self.timeOut = period
        if period is None:
            self.site.channels.discard(self)

    def check_timeouts(self, now: float) -> None:
        """
        Close the connection, or refuse the request, when the client takes too long.

        :param now: of any clock, in seconds; the next call comes :data:`CHECK_INTERVAL` seconds later.
        """
        activity = self._describe()
        if activity != self._activity:
            self._activity = activity
            self._since = now
            return
        kind = activity[0]
        allowed = self._allowed(kind)
        # It may have begun right after the look before.
        if allowed is not None and now - self._since > allowed - CHECK_INTERVAL * 1.5:
            self._since = now
            self._time_out(kind, allowed)
        if kind == "idle":
            self._parser.forget()
            self._peer = self._host = None

    def _describe(self) -> tuple[object, ...]:
        """What the connection is busy with. As long as it is the same, nothing has moved."""
        if self._upgraded is not None:
            return ("upgraded",)
        if self._closing:
            return "closing", *self._sent()
        if self._ended:
            return ("lingering",)
        if self._waitingForTransport:
            return "sending", *self._sent()
        if self._handlingRequest and self._read_closed:
            return "half closed", self._begun, self.requests[0].sentLength, *self._sent()
        if self._handlingRequest or self._body_paused:
            return "handling", self._begun
        if self._parser.in_body:
            return "body", self._begun
        return "head" if self._parser.in_head else "idle", self._begun

    def _sent(self) -> tuple[int, int, int]:
        """Changes whenever the kernel takes something."""
        file_transfer = getattr(self.transport, "busy", None)
        return (
            getattr(self.transport, "offset", 0),
            len(getattr(self.transport, "dataBuffer", b"")),
            getattr(file_transfer, "offset", 0),
        )

    def _allowed(self, kind: object) -> float | None:
        if kind == "idle":
            return CHECK_INTERVAL if self._draining else self.timeOut
        times = self.timeouts
        return {
            "closing": self.abortTimeout,
            "lingering": times.linger,
            "sending": times.send,
            "half closed": times.half_closed,
            "body": times.body,
            # A busy server may look late.
            "head": times.head - CHECK_INTERVAL,
        }.get(str(kind))

    def _time_out(self, kind: object, seconds: float) -> None:
        if kind == "body":
            received, self._body_bytes = self._body_bytes, 0
            if received < self.timeouts.body_rate * seconds:
                self._refuse_slow_body()
        elif kind == "head":
            self.refuse(408, "The request takes too long.")
        elif kind == "idle":
            self.timeoutConnection()
        elif kind == "lingering":
            self.loseConnection()
        else:
            self.abortConnection()

    def _refuse_slow_body(self) -> None:
        if self.requests:
            self.refuse(408, "The body of the request comes too slowly.")
        else:
            # It has been answered already.
            self.loseConnection()

    def timeoutConnection(self) -> None:
        """The client has been idle for too long."""
        self.loseConnection()
