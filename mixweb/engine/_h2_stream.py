"""
One stream of HTTP/2: the channel of a request.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IProtocol
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers

from mixweb.engine._h2_frame import Code
from mixweb.engine._h2_sending import SendingStream
from mixweb.engine._h2_tunnel import Tunnel
from mixweb.engine._headers import RequestFields
from mixweb.engine._telling import introduce, refuse
from mixweb.engine.h2fields import DecodedFields, RequestHead, RequestRefusal, response_block

if TYPE_CHECKING:
    from mixweb.engine.h2channel import Http2Connection

#: Requests wait to be processed while more than this waits to be sent on their connection, in octets.
HELD_BYTES = 1024 * 1024

_CONTINUE = response_block(100, Headers())

#: Of a request that is not processed.
_NO_FIELDS = DecodedFields((), b"", None, b"")


class Http2Stream(SendingStream):
    """
    Towards requests it is Twisted's channel, with what :class:`mixweb.engine.channel.Channel` adds to it.

    :ivar request: whose answer is not complete.
    :ivar received_bytes: octets of its body that were handed on.
    """

    transport = None
    persistent = True
    request: Any = None
    received_bytes = 0

    _tunnel: Tunnel | None = None
    _all_sent = False
    _continue_due = False
    _body_paused = False
    _delivering = False
    _body: deque[bytes] | None = None
    _body_complete = False

    def __init__(self, connection: Http2Connection, stream_id: int) -> None:
        self.connection = connection
        self.id = stream_id
        self.send_window = connection.initial_window
        self.site = connection.site

    # The request

    def begin(self, head: RequestHead, waited: bool = False) -> None:
        """Have a request processed, when not too much is held for this client already."""
        connection = self.connection
        if not waited and (connection.held_bytes > HELD_BYTES or connection.deferred):
            self._body_paused = True
            connection.deferred.append((self, head))
            return
        self.head = head
        self.request = request = connection.requestFactory(self)
        request.head = head
        if not hasattr(request, "headReceived"):
            # One of Twisted's, which does not ask for what it needs.
            request.requestHeaders = RequestFields(head.fields)
            request.parseCookies()
        if (self.ended and self._body is None) or head.protocol is not None:
            self._body_paused = head.protocol is not None
            request.gotLength(0)
            request.requestReceived(head.method, head.target, b"HTTP/2")
        else:
            self._begin_body(head, request)

    def _begin_body(self, head: RequestHead, request: Any) -> None:
        introduce(request, head.method, head.target, b"HTTP/2")
        self._continue_due = head.fields.expect != b"" and self._body is None
        self._body_paused = True
        request.gotLength(head.length)
        if self.request is None:
            return
        if hasattr(request, "headReceived"):
            request.headReceived()
        else:
            self.resume_body()

    def begin_refused(self, refusal: RequestRefusal) -> None:
        """Answer a request that is not processed."""
        self.request = request = self.connection.requestFactory(self)
        request.head = RequestHead(refusal.method, refusal.target, b"", b"", None, _NO_FIELDS, None)
        introduce(request, refusal.method, refusal.target, b"HTTP/2")
        self.refuse(refusal.status, refusal.detail)

    def refuse(self, status: int, detail: str) -> None:
        """
        Answer the request with an error, and read no more of it.

        :param detail: one sentence for the client.
        """
        if self.request.startedWriting:
            self.abortConnection()
        else:
            refuse(self.request, status, detail)

    # Its body

    def receive(self, data: bytes) -> None:
        """Hand a piece of the body on, or keep it."""
        if self._body_paused or self._body:
            if self._body is None:
                self._body = deque()
            self._body.append(data)
        else:
            self._give(data)

    def receive_end(self) -> None:
        """Tell that the body is complete, when all of it was handed on."""
        self._body_complete = True
        self._deliver()

    def _give(self, data: bytes) -> None:
        self.received_bytes += len(data)
        tunnel = self._tunnel
        if tunnel is not None:
            self.attempt(lambda: tunnel.protocol.dataReceived(data))
        elif self.request is not None:
            self.request.handleContentChunk(data)
        else:
            self.connection.ignore(len(data))
            return
        self.connection.take(self, len(data))

    def _deliver(self) -> None:
        if self._delivering:
            return
        self._delivering = True
        body = self._body
        while body and not (self._body_paused or self.closed):
            self._give(body.popleft())
        self._delivering = False
        if self._body_complete and not (body or self._body_paused or self.closed):
            self._body_complete = False
            if self._tunnel is not None:
                self._tunnel.loseConnection()
            elif self.request is not None and self.head is not None:
                self.request.requestReceived(self.head.method, self.head.target, b"HTTP/2")

    def pause_body(self) -> None:
        """Give the request no more of its body until :meth:`resume_body`."""
        self._body_paused = True

    def resume_body(self) -> None:
        """Give the request its body, or go on with it; the first time a client that waits for it is told to continue."""
        self._body_paused = False
        if self._continue_due:
            self._continue_due = False
            if not (self._body or self._body_complete):
                self.connection.send_head(self, _CONTINUE)
        self._deliver()
        self.connection.wake()

    # Its answer

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Headers) -> None:
        """Send the head of an answer."""
        if not self.closed:
            self._continue_due = False
            self.connection.send_head(self, response_block(int(code), headers))
            self.connection.wake()

    def write_interim(self, code: int, reason: bytes, headers: Headers) -> None:
        """Send an interim answer (RFC 9110, 15.2)."""
        if not self.closed:
            self.connection.send_head(self, response_block(code, headers))
            self.connection.wake()

    def writeAnswer(self, code: int, reason: bytes, headers: Headers, body: bytes) -> None:
        """Send a whole answer: in one piece while it fits into a frame and the windows."""
        if self.closed:
            return
        connection = self.connection
        block = response_block(code, headers)
        if connection.send_answer(self, block, body):
            self._all_sent = True
        else:
            self._continue_due = False
            connection.send_head(self, block, not body)
            self._all_sent = not body
            self.write(body)
        if not connection.working:
            connection.wake()

    def requestDone(self, request: Any) -> None:
        """The answer to the request is complete."""
        self.request = None
        if self._all_sent and self.ended and self._body is None:
            # As nearly all streams end.
            self.closed = True
            del self.connection.streams[self.id]
        elif self._all_sent:
            self.close()
        else:
            self._drop_body()
            self._body_paused = False
            self.finish()

    @property
    def is_receiving(self) -> bool:
        """Whether a body is to come that somebody wants."""
        return not (self.ended or self._body_paused or self.request is None or self._tunnel is not None)

    # Its end

    def close(self) -> None:
        """The answer has been sent to its end."""
        if self._tunnel is None or self.ended:
            self.connection.close(self)
        else:
            self.connection.reset(self.id, Code.NO_ERROR)
        self.let_go()
        if self.request is not None:
            self._lose(Failure(ConnectionDone()))

    def let_go(self) -> None:
        """Give back what a closed stream has not sent, and what nobody has taken of its body."""
        super().let_go()
        self._drop_body()

    def _drop_body(self) -> None:
        if self._body:
            self.connection.ignore(sum(map(len, self._body)))
            self._body.clear()

    def loseConnection(self) -> None:
        """End the answer with what has been written."""
        self.finish()

    def abortConnection(self) -> None:
        """Drop the stream, with what has not been sent."""
        if not self.closed:
            self.connection.reset(self.id, Code.INTERNAL_ERROR if self._tunnel is None else Code.CANCEL)
            self.let_go()
            self._lose(Failure(ConnectionAborted()))
            self.connection.wake()

    def drain(self) -> None:
        """The connection is to end; what took the place of a request is told, as nobody knows how long it lasts."""
        if self._tunnel is not None and hasattr(self._tunnel.protocol, "drain"):
            self._tunnel.protocol.drain()

    def _lose(self, reason: Failure) -> None:
        # Whoever has ended it is not told before it has returned.
        self.connection.callLater(0, self.lost, reason)

    def was_reset(self, code: int) -> None:
        """There is nobody any more who waits for the answer."""
        self.lost(Failure(ConnectionLost(f"the stream was reset with code {code}")))

    def lost(self, reason: Failure) -> None:
        """The stream is closed, and not because the answer is complete."""
        self.let_go()
        request, tunnel = self.request, self._tunnel
        self.request = self._tunnel = None
        self.stop_producer()
        if tunnel is not None:
            self.attempt(lambda: tunnel.lost(reason))
        if request is not None and request.channel is not None:
            self.attempt(lambda: request.connectionLost(reason))

    # Another protocol

    def _protocolUpgradeForWebsockets(self, protocol: IProtocol) -> None:
        """Have a protocol take what comes for the request, an extended CONNECT (RFC 8441) whose head has been answered."""
        self._tunnel = tunnel = Tunnel(self, protocol)
        protocol.makeConnection(tunnel)
        self.resume_body()

    # The connection

    def getPeer(self) -> Any:
        """The client's address."""
        return self.connection.getPeer()

    def getHost(self) -> Any:
        """The address the client connected to."""
        return self.connection.getHost()

    def isSecure(self) -> bool:
        """Whether the connection is encrypted."""
        return self.connection.is_secure

    def facts(self) -> Any:
        """What was agreed on for the connection, as a transport of TLS tells it; ``None`` where that does not tell."""
        facts = getattr(self.connection.transport, "facts", None)
        return None if facts is None else facts()
