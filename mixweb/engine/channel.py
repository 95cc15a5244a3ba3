"""
One HTTP/1.1 connection: what arrives becomes requests, one after the other, and their answers go back in that order.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers

from mixweb.engine._connection import LINGER_BYTES, ChannelSite, Connection
from mixweb.engine._h2_frame import PREFACE
from mixweb.engine._headers import RequestFields, format_head, tidy_reason
from mixweb.engine._telling import introduce, refuse
from mixweb.engine.fields import options
from mixweb.engine.h2channel import Http2Connection
from mixweb.engine.http1 import Head, Line, Refusal
from mixweb.engine.http2 import Http2Channel

__all__ = ["LINGER_BYTES", "Channel", "ChannelSite"]

#: To copy a body of fewer bytes behind its head costs less than a second write.
ONE_WRITE_BYTES = 64 * 1024

#: What is left of a body that nobody wants is read, for the next request, when it is no more than so many bytes.
SKIP_BYTES = 64 * 1024

#: Stands for a request line that could not be read.
_UNREAD_LINE = Line(b"-", b"-", b"-", None, b"HTTP/1.1")


class Channel(Connection):
    """
    An HTTP/1.1 connection.

    Towards requests it is Twisted's channel, with three additions. A request that cannot be read is told so by its
    ``refuse(status, detail)``, which answers and finishes. A request that has ``headReceived`` takes its body while it
    arrives (:class:`mixweb.engine.body.BodyChannel`), unless it is all there. A request that finishes before its body is
    complete, or refuses it, gets no more of it: unless little is left, the answer is the last one of the connection.

    :param limits: what is read before a request is refused.
    :param timeouts: how long a client may take.
    """

    requestFactory: Any
    _continue_due = False
    _body_wanted = False
    _first = b""

    # What the transport tells

    def connectionMade(self) -> None:
        """The client has connected."""
        super().connectionMade()
        if self.isSecure():
            self.dataReceived = self._receive_first  # type: ignore[method-assign]
        elif self.site.h2c:
            self.dataReceived = self._receive_preface  # type: ignore[method-assign]

    def _receive_first(self, data: bytes) -> None:
        """Over TLS the first bytes tell that a protocol was negotiated."""
        del self.dataReceived
        if getattr(self.transport, "negotiatedProtocol", None) == b"h2":
            self._become_http2()
        self.dataReceived(data)

    def _receive_preface(self, data: bytes) -> None:
        """In clear text a client that knows that HTTP/2 is spoken begins with its preface (RFC 9113, 3.3)."""
        self._first += data
        if self._first != PREFACE and PREFACE.startswith(self._first):
            return
        data, self._first = self._first, b""
        del self.dataReceived
        if data.startswith(PREFACE):
            self._become_http2()
        self.dataReceived(data)

    def _become_http2(self) -> None:
        self.site.channels.discard(self)
        self._networkProducer.unregisterProducer()
        connection: Any = Http2Channel if self.site.http2 == "twisted" else Http2Connection
        connection = connection(self.site, self._parser.limits, self.timeouts)
        connection.too_many = self.too_many
        connection.requestFactory = self.requestFactory
        connection.timeOut = self.timeOut
        connection.callLater = self.callLater
        connection.makeConnection(self.transport)
        self._networkProducer.registerProducer(connection, True)
        self.dataReceived = connection.dataReceived  # type: ignore[method-assign]
        self.connectionLost = connection.connectionLost  # type: ignore[method-assign]
        self.readConnectionLost = connection.readConnectionLost  # type: ignore[method-assign]
        if IHalfCloseableProtocol.providedBy(connection) and getattr(self.transport, "protocol", None) is self:
            # So that this channel, which nobody needs any more, takes no memory.
            self.transport.protocol = connection
        if self._draining:
            connection.drain()

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

    # Requests

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
                    if self.requests:
                        self.requests[0].handleContentChunk(event)
                elif self.requests:
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
            if line.method == b"CONNECT" and not self.site.takes_connect:
                introduce(request, line.method, line.uri, line.version)
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
        line, fields, _ = head
        if self._is_all_there(fields.length) and hasattr(request, "bodyReceived"):
            request.bodyReceived(self._parser.next_event())
            self._parser.next_event()
            self._handlingRequest = True
            request.requestReceived(line.method, line.uri, line.version)
            return
        self._head = head
        self._body_bytes = 0
        self._body_wanted = False
        introduce(request, line.method, line.uri, line.version)
        self._continue_due = fields.expect != b"" and line.version == b"HTTP/1.1" and not self._parser.buffered
        request.gotLength(fields.length)
        if self._ended:
            return
        if hasattr(request, "headReceived"):
            self._body_paused = True
            request.headReceived()
        else:
            self._send_continue()

    def _is_all_there(self, length: int | None) -> bool:
        return length is not None and length <= self._parser.buffered and length <= self.site.max_body_bytes

    def _send_continue(self) -> None:
        if self._continue_due and not (self._body_paused or self._ended):
            self._continue_due = False
            self._send100Continue()

    def pause_body(self) -> None:
        """Give the request no more of its body until :meth:`resume_body`."""
        self._body_paused = True

    def resume_body(self) -> None:
        """Give the request its body, or go on with it; the first time a client that waits for it is told to continue."""
        self._body_wanted = True
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
        else:
            refuse(request, status, detail)

    def _make_refused(self) -> Any:
        request = self.requestFactory(self)
        line = self._parser.line or _UNREAD_LINE
        introduce(request, line.method, line.uri, line.version)
        return request

    def _respondToBadRequestAndDisconnect(self) -> None:
        self.refuse(400, "The body of the request is malformed.")

    def requestDone(self, request: Any) -> None:
        """The answer to the request is complete."""
        if request is not self.requests[0] and request != self.requests[0]:
            raise TypeError(f"{request!r} is not the request that is being answered")
        del self.requests[0]
        complete = self._handlingRequest or (self.persistent and self._rest_is_short)
        self._handlingRequest = self._body_paused = False
        if self._ended:
            return
        if not complete or (not self.persistent and self._parser.buffered):
            self._linger()
        elif not self.persistent:
            self.loseConnection()
        elif not self._running:
            self._read_on()

    def _protocolUpgradeForWebsockets(self, protocol: IProtocol) -> None:
        self._upgraded = protocol
        rest = self._parser.take_rest()
        self._stop_regulating()
        super()._protocolUpgradeForWebsockets(protocol)

        def connectionLost(reason: Failure = connectionDone) -> None:
            protocol.connectionLost(reason)
            Channel.connectionLost(self, reason)

        self.connectionLost = connectionLost  # type: ignore[method-assign]
        if rest:
            self.callLater(0, lambda: protocol.dataReceived(rest))

    # What requests ask for

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Any) -> None:
        """Send the head of an answer."""
        if isinstance(headers, Headers):
            if not self._handlingRequest or b"Connection" in headers._rawHeaders:
                self._settle_close(headers, self._body_wanted)
            self.transport.write(format_head(int(code), reason, headers))
        else:
            super().writeHeaders(b"HTTP/1.1", code, tidy_reason(reason), headers)

    def write_interim(self, code: int, reason: bytes, headers: Headers) -> None:
        """Send an interim answer (RFC 9110, 15.2), which clients of HTTP/1.0 do not know."""
        if self.requests[0].clientproto == b"HTTP/1.1":
            self.transport.write(format_head(code, reason, headers))

    def writeAnswer(self, code: int, reason: bytes, headers: Headers, body: bytes) -> None:
        """Send a whole answer: head and body in one write while the body is small."""
        if not self._handlingRequest or b"Connection" in headers._rawHeaders:
            self._settle_close(headers, False)
        head = format_head(code, reason, headers)
        if len(body) < ONE_WRITE_BYTES:
            self.transport.write(head + body)
        else:
            self.transport.writeSequence([head, body])

    def _settle_close(self, headers: Headers, body_wanted: bool) -> None:
        """Whether the connection is closed after an answer is said in it, and what it says is done (RFC 9112, 9.6)."""
        said = options(headers.getRawHeaders(b"Connection") or ())
        if b"close" in said or not (self._handlingRequest or body_wanted or self._rest_is_short):
            self.persistent = False
        if not (self.persistent or b"close" in said or b"upgrade" in said):
            headers.setRawHeaders(b"Connection", [b"close"])

    @property
    def _rest_is_short(self) -> bool:
        """Whether what is left of a body costs less to read than another connection."""
        left = self._parser.body_left
        return left is not None and left <= SKIP_BYTES and not self._continue_due

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
