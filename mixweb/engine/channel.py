"""
One HTTP/1.1 connection: what arrives becomes requests, one after the other, and their answers go back in that order.
"""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol, IPushProducer, ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, _NoPushProducer
from twisted.web.http_headers import Headers
from zope.interface import implementer

from mixweb.engine._headers import RequestFields, format_head
from mixweb.engine.http1 import DEFAULT_LIMITS, Head, Limits, Line, Parser, Refusal
from mixweb.engine.http2 import Http2Channel
from mixweb.engine.timeouts import CHECK_INTERVAL, DEFAULT_TIMEOUTS, Timeouts

#: What a refused client may still send before the connection is dropped, in bytes.
LINGER_BYTES = 64 * 1024 * 1024

#: To copy a body of fewer bytes behind its head costs less than a second write.
ONE_WRITE_BYTES = 64 * 1024

#: Stands for a request line that could not be read.
_UNREAD_LINE = Line(b"-", b"-", b"-", None, b"HTTP/1.1")


def _introduce(request: Any, line: Line) -> None:
    """Tell a request its line before it is complete."""
    if hasattr(request, "begin"):
        request.begin(line.method, line.uri, line.version)
    else:
        request.method, request.uri, request.clientproto = line.method, line.uri, line.version


class ChannelSite(Protocol):
    """
    What a channel needs of its site.

    :ivar channels: the connections that are open; the site calls :meth:`Channel.check_timeouts` of each every
        :data:`CHECK_INTERVAL` seconds.
    """

    channels: set[Any]
    reactor: Any


@implementer(IHalfCloseableProtocol)
class Channel(HTTPChannel):
    """
    An HTTP/1.1 connection.

    Towards requests it is Twisted's channel, with two additions. A request that cannot be read is told so by its
    ``refuse(status, detail)``, which answers and finishes. A request that finishes before its body is complete, or
    refuses it, gets no more of it: the answer is the last one of the connection.

    :param limits: what is read before a request is refused.
    :param timeouts: how long a client may take.
    """

    site: ChannelSite
    transport: Any
    requestFactory: Any
    _networkProducer: Any

    _ended = False
    _closing = False
    _upgraded = False
    _draining = False
    _read_closed = False
    _reading_paused = False
    _body_paused = False
    _continue_due = False
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
        self.site.channels.add(self)
        if self.isSecure():
            self.dataReceived = self._receive_first  # type: ignore[method-assign]

    def _receive_first(self, data: bytes) -> None:
        """Over TLS the first bytes tell that a protocol was negotiated."""
        del self.dataReceived
        if getattr(self.transport, "negotiatedProtocol", None) == b"h2":
            self._become_http2()
        self.dataReceived(data)

    def _become_http2(self) -> None:
        self.site.channels.discard(self)
        self._networkProducer.unregisterProducer()
        connection = Http2Channel(self.site.reactor)
        connection.site = connection.factory = self.site
        connection.requestFactory = self.requestFactory
        connection.timeOut = self.timeOut
        connection.callLater = self.callLater
        connection.makeConnection(self.transport)
        self._networkProducer.registerProducer(connection, True)
        self.dataReceived = connection.dataReceived  # type: ignore[method-assign]
        self.connectionLost = connection.connectionLost  # type: ignore[method-assign]
        self.readConnectionLost = self.transport.loseConnection  # type: ignore[method-assign]

    def dataReceived(self, data: bytes) -> None:
        """Read what the client sent."""
        if self._ended:
            self._discard(data)
            return
        self._parser.receive(data)
        if self._handlingRequest:
            self._regulate_reading()
        else:
            self._read_on()

    def readConnectionLost(self) -> None:
        """The client sends no more; it still gets the answers to what it has sent."""
        self._read_closed = True
        if self._upgraded:
            self.transport.loseConnection()
        elif self._ended or not self._stalled():
            self.loseConnection()

    def writeConnectionLost(self) -> None:
        """The last answer has been sent."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The client has left."""
        self._ended = True
        self.site.channels.discard(self)
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

    # Requests

    def _stalled(self) -> bool:
        return self._handlingRequest or self._waitingForTransport or self._body_paused

    def _read_on(self) -> None:
        """Act on what has arrived: a loop, as a request that is answered at once makes room for the next one."""
        if self._running:
            return
        self._running = True
        next_event = self._parser.next_event
        try:
            while not (self._handlingRequest or self._waitingForTransport or self._ended or self._body_paused):
                event = next_event()
                if event is None:
                    if self._read_closed:
                        self.loseConnection()
                    elif self._reading_paused:
                        self._regulate_reading()
                    return
                if type(event) is Head:
                    self._begin(event)
                elif type(event) is bytes:
                    self._body_bytes += len(event)
                    self.requests[0].handleContentChunk(event)
                else:
                    self._handlingRequest = True
                    line = self._head.line
                    self.requests[0].requestReceived(line.method, line.uri, line.version)
        except Refusal as refusal:
            self.refuse(refusal.status, refusal.detail)
        finally:
            self._running = False
        if not self._ended:
            self._regulate_reading()

    def _begin(self, head: Head) -> None:
        line, fields, persistent = head
        self._begun += 1
        request = self.requestFactory(self)
        request.head = head
        request.requestHeaders = headers = RequestFields(fields)
        self.requests.append(request)
        self.persistent = persistent and not self._draining
        if not self.persistent:
            request.responseHeaders.setRawHeaders(b"Connection", [b"close"])
        if line.authority is not None:
            if line.method == b"CONNECT":
                _introduce(request, line)
                raise Refusal(501, "This server opens no tunnels.")
            headers.setRawHeaders(b"Host", [line.authority])
        request.parseCookies()
        if fields.length == 0:
            request.gotLength(0)
            if not self._ended:
                self._handlingRequest = True
                request.requestReceived(line.method, line.uri, line.version)
        else:
            self._begin_body(head, request)

    def _begin_body(self, head: Head, request: Any) -> None:
        self._head = head
        self._body_bytes = 0
        _introduce(request, head.line)
        self._continue_due = (
            head.fields.expect != b"" and head.line.version == b"HTTP/1.1" and not self._parser.buffered
        )
        request.gotLength(head.fields.length)
        self._send_continue()

    def _send_continue(self) -> None:
        if self._continue_due and not (self._body_paused or self._ended):
            self._continue_due = False
            self._send100Continue()

    def pause_body(self) -> None:
        """
        Give the request no more of its body until :meth:`resume_body`.

        In ``gotLength`` it also holds back ``100 Continue``.
        """
        self._body_paused = True

    def resume_body(self) -> None:
        """Go on after :meth:`pause_body`."""
        self._body_paused = False
        self._send_continue()
        self._read_on()

    def refuse(self, status: int, detail: str) -> None:
        """
        Answer the request that is being read with an error, and read no more.

        :param detail: one sentence for the client.
        """
        self.persistent = False
        if not self.requests:
            self.requests.append(self._make_refused())
        request = self.requests[0]
        if request.startedWriting:
            self.abortConnection()
        elif hasattr(request, "refuse"):
            request.refuse(status, detail)
        else:
            request.setResponseCode(status)
            request.setHeader(b"Connection", b"close")
            request.setHeader(b"Content-Type", b"text/plain; charset=utf-8")
            request.write(detail.encode() + b"\n")
            request.finish()

    def _make_refused(self) -> Any:
        request = self.requestFactory(self)
        _introduce(request, self._parser.line or _UNREAD_LINE)
        return request

    def _respondToBadRequestAndDisconnect(self) -> None:
        self.refuse(400, "The body of the request is malformed.")

    def requestDone(self, request: Any) -> None:
        """The answer to the request is complete."""
        if request != self.requests[0]:
            raise TypeError(f"{request!r} is not the request that is being answered")
        del self.requests[0]
        complete, self._handlingRequest = self._handlingRequest, False
        if self._ended:
            return
        if not complete or (not self.persistent and self._parser.buffered):
            self._linger()
        elif not self.persistent:
            self.loseConnection()
        elif not self._running:
            self._read_on()

    def _protocolUpgradeForWebsockets(self, protocol: IProtocol) -> None:
        self._upgraded = True
        rest = self._parser.take_rest()
        self._stop_regulating()
        super()._protocolUpgradeForWebsockets(protocol)

        def connectionLost(reason: Failure = connectionDone) -> None:
            protocol.connectionLost(reason)
            Channel.connectionLost(self, reason)

        self.connectionLost = connectionLost  # type: ignore[method-assign]
        if rest:
            self.callLater(0, lambda: protocol.dataReceived(rest))

    # Reading no faster than requests are answered

    def _regulate_reading(self) -> None:
        full = self._stalled() and self._parser.buffered > self._optimisticEagerReadSize
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

    # What requests ask for

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Any) -> None:
        """Send the head of an answer."""
        if isinstance(headers, Headers):
            self._announce_close(headers)
            self.transport.write(format_head(int(code), reason, headers))
        else:
            super().writeHeaders(b"HTTP/1.1", code, reason, headers)

    def writeAnswer(self, code: int, reason: bytes, headers: Headers, body: bytes) -> None:
        """Send a whole answer: head and body in one write while the body is small."""
        self._announce_close(headers)
        head = format_head(code, reason, headers)
        if len(body) < ONE_WRITE_BYTES:
            self.transport.write(head + body)
        else:
            self.transport.writeSequence([head, body])

    def _announce_close(self, headers: Headers) -> None:
        if not self._handlingRequest:
            # The body is not complete yet, and the rest of it will not be read.
            headers.setRawHeaders(b"Connection", [b"close"])

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

    # The end

    def drain(self) -> None:
        """Close the connection after the request that is open, or else after the next one, or soon when none comes."""
        self._draining = True
        self.persistent = False
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
        if self._upgraded:
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
        file_transfer = getattr(self.transport, "_busy", None)
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
            "head": times.head,
        }.get(str(kind))

    def _time_out(self, kind: object, seconds: float) -> None:
        if kind == "body":
            received, self._body_bytes = self._body_bytes, 0
            if received < self.timeouts.body_rate * seconds:
                self.refuse(408, "The body of the request comes too slowly.")
        elif kind == "head":
            self.refuse(408, "The request takes too long.")
        elif kind == "idle":
            self.timeoutConnection()
        elif kind == "lingering":
            self.loseConnection()
        else:
            self.abortConnection()

    def timeoutConnection(self) -> None:
        """The client has been idle for too long."""
        self.loseConnection()
