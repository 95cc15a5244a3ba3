"""
One stream of HTTP/2: the channel of a request.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers

from mixweb.engine._h2_priority import UNSAID, Priority
from mixweb.engine._h2_tunnel import Tunnel
from mixweb.engine._headers import RequestFields
from mixweb.engine.h2fields import DecodedFields, RequestHead, RequestRefusal, response_block
from mixweb.engine.h2frames import MAX_FRAME, Code, FrameStream

if TYPE_CHECKING:
    from mixweb.engine.h2channel import Http2Connection

#: Requests wait to be processed while more than this waits to be sent on their connection, in octets.
HELD_BYTES = 1024 * 1024

#: What a frame takes of a body that needs several: with its header it fills a TLS record, in octets.
FRAME_BYTES = MAX_FRAME - 9

#: A producer has to wait while more than this waits to be sent, and until it is half of it, in octets.
PENDING_BYTES = 64 * 1024

_CONTINUE = response_block(100, Headers())

#: Of a request that is not processed.
_NO_FIELDS = DecodedFields((), b"", None, b"")


class Http2Stream(FrameStream):
    """
    Towards requests it is Twisted's channel, with what :class:`mixweb.engine.channel.Channel` adds to it.

    :ivar request: whose answer is not complete.
    :ivar pending_bytes: octets of the answer that wait to be sent.
    :ivar sent_bytes: octets of the answer that were sent.
    :ivar received_bytes: octets of the body that the request has taken.
    :ivar waits: whether it waits for its turn to send.
    """

    # What most streams never need is not set on them.
    transport = None
    persistent = True
    request: Any = None
    pending_bytes = 0
    sent_bytes = 0
    received_bytes = 0
    waits = False

    _log = Logger()
    _head: RequestHead | None = None
    _priority: Priority | None = None
    _tunnel: Tunnel | None = None

    _all_sent = False
    _finished = False
    _pending: list[Any] | None = None
    _producer: Any = None
    _pulls = False
    _producer_paused = False

    _continue_due = False
    _body_paused = False
    _delivering = False
    _body: deque[bytes] | None = None
    _body_complete = False

    connection: Http2Connection

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
        self._head = head
        self.request = request = connection.requestFactory(self)
        request.head = head
        request.requestHeaders = RequestFields(head.fields)
        request.parseCookies()
        if (self.ended and self._body is None) or head.protocol is not None:
            self._body_paused = head.protocol is not None
            request.gotLength(0)
            request.requestReceived(head.method, head.target, b"HTTP/2")
        else:
            self._begin_body(head, request)

    def _begin_body(self, head: RequestHead, request: Any) -> None:
        _introduce(request, head.method, head.target)
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
        _introduce(request, refusal.method, refusal.target)
        self.refuse(refusal.status, refusal.detail)

    def refuse(self, status: int, detail: str) -> None:
        """
        Answer the request with an error, and read no more of it.

        :param detail: one sentence for the client.
        """
        request = self.request
        if request.startedWriting:
            self.abortConnection()
        elif hasattr(request, "refuse"):
            request.refuse(status, detail)
        else:
            request.setResponseCode(status)
            request.setHeader(b"Content-Type", b"text/plain; charset=utf-8")
            request.write(detail.encode() + b"\n")
            request.finish()

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
            self._attempt(lambda: tunnel.protocol.dataReceived(data))
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
            elif self.request is not None and self._head is not None:
                self.request.requestReceived(self._head.method, self._head.target, b"HTTP/2")

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

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Any) -> None:
        """Send the head of an answer."""
        if self.closed:
            return
        if not isinstance(headers, Headers):
            pairs, headers = headers, Headers()
            for name, value in pairs:
                headers.addRawHeader(name, value)
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

    def write(self, data: bytes) -> None:
        """Send a piece of a body."""
        size = len(data)
        if self.closed or not size:
            return
        if self._pending is None:
            self._pending = []
        self._pending.append(data if size <= FRAME_BYTES else memoryview(data))
        self.pending_bytes += size
        self.connection.held_bytes += size
        self._want_turn()
        if self._producer is not None and not self._pulls and self.pending_bytes > PENDING_BYTES:
            self._pause_producer()

    def writeSequence(self, pieces: Iterable[bytes]) -> None:
        """Send several pieces of a body."""
        self.write(b"".join(pieces))

    def requestDone(self, request: Any) -> None:
        """The answer to the request is complete."""
        self.request = None
        if self._all_sent and self.ended and self._body is None:
            # As nearly all streams end.
            self.closed = True
            del self.connection.streams[self.id]
        elif self._all_sent:
            self._close()
        else:
            self._drop_body()
            self._body_paused = False
            self.finish()

    def finish(self) -> None:
        """Nothing follows what was written."""
        if self.closed:
            return
        if self.pending_bytes:
            self._finished = True
        else:
            self.connection.send_data(self, [], 0, True)
            self._close()
        self.connection.wake()

    def _want_turn(self) -> None:
        if not self.waits and self.send_window > 0:
            self.waits = True
            self.connection.turns.add(self)
            self.connection.wake()

    def window_opened(self) -> None:
        """Send on, if there is something."""
        if self.pending_bytes or self._pulls:
            self._want_turn()

    def send_frame(self) -> bool:
        """
        Take a turn: send a frame, when a pull producer has made something to send.

        :returns: whether to wait for another turn.
        """
        pulled = self._pulls and not self.pending_bytes
        if pulled:
            self._attempt(self._producer.resumeProducing)
        connection = self.connection
        size = min(self.pending_bytes, FRAME_BYTES, self.send_window, connection.send_window)
        if size > 0 and not self.closed:
            pieces = self._take_pending(size)
            end = self._finished and not self.pending_bytes
            connection.send_data(self, pieces, size, end)
            if end:
                self._close()
        if self._producer_paused and self.pending_bytes <= PENDING_BYTES // 2:
            self._producer_paused = False
            self._attempt(self._producer.resumeProducing)
        if self.closed or self.send_window <= 0:
            return False
        return self.pending_bytes > 0 or (self._pulls and size > 0)

    def _take_pending(self, size: int) -> list[Any]:
        pending = self._pending
        assert pending is not None
        self.pending_bytes -= size
        self.connection.held_bytes -= size
        self.sent_bytes += size
        count = 0
        for piece in pending:
            if len(piece) > size:
                break
            size -= len(piece)
            count += 1
        pieces = pending[:count]
        del pending[:count]
        if size:
            pieces.append(pending[0][:size])
            pending[0] = pending[0][size:]
        return pieces

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Have a producer write no faster than the client takes it."""
        if self._producer is not None:
            raise ValueError(f"{self._producer!r} is producing already")
        if self.closed:
            producer.stopProducing()
            return
        self._producer = producer
        self._pulls = not streaming
        if self._pulls:
            self._want_turn()
        elif self.pending_bytes > PENDING_BYTES:
            self._pause_producer()

    def unregisterProducer(self) -> None:
        """The producer has ended."""
        self._producer = None
        self._pulls = self._producer_paused = False

    def _pause_producer(self) -> None:
        if not self._producer_paused:
            self._producer_paused = True
            self._attempt(self._producer.pauseProducing)

    @property
    def priority(self) -> Priority:
        """How its answer is to be sent."""
        if self._priority is None:
            self._priority = UNSAID if self._head is None else self.connection.priority_of(self, self._head)
        return self._priority

    def prioritize(self, priority: Priority) -> None:
        """Have its answer sent in another order."""
        waits = self.waits
        if waits:
            self.connection.turns.remove(self)
        self._priority = priority
        if waits:
            self.connection.turns.add(self)

    @property
    def is_receiving(self) -> bool:
        """Whether a body is to come that somebody wants."""
        return not (self.ended or self._body_paused or self.request is None or self._tunnel is not None)

    # Its end

    def _close(self) -> None:
        self.connection.close(self)
        if self.waits or self._body:
            self._let_go()
        if self.request is not None:
            self._lose(Failure(ConnectionDone()))

    def _let_go(self) -> None:
        """Give back what a closed stream holds."""
        connection = self.connection
        connection.held_bytes -= self.pending_bytes
        self.pending_bytes = 0
        self._pending = None
        if self.waits:
            self.waits = False
            connection.turns.remove(self)
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
            self._let_go()
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
        self._let_go()
        producer, request, tunnel = self._producer, self.request, self._tunnel
        self._producer = self.request = self._tunnel = None
        self._pulls = self._producer_paused = False
        if producer is not None:
            self._attempt(producer.stopProducing)
        if tunnel is not None:
            self._attempt(lambda: tunnel.lost(reason))
        if request is not None and request.channel is not None:
            self._attempt(lambda: request.connectionLost(reason))

    def _attempt(self, call: Callable[[], object]) -> None:
        """Call what belongs to an application; when it fails its stream is dropped, and no other."""
        try:
            call()
        except Exception:
            self._log.failure("stream {id} failed", id=self.id)
            self.abortConnection()

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


def _introduce(request: Any, method: bytes, target: bytes) -> None:
    """Tell a request its line before it is complete."""
    if hasattr(request, "begin"):
        request.begin(method, target, b"HTTP/2")
    else:
        request.method, request.uri, request.clientproto = method, target, b"HTTP/2"
