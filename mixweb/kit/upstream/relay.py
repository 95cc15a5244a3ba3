"""
The relay of one request to another server, and of its answer back.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from zope.interface import implementer

from mixweb.engine.request import Request
from mixweb.engine.responses import ResponseHead
from mixweb.kit.upstream.body import Body, body_of, no_body
from mixweb.kit.upstream.connection import Broken, Connection
from mixweb.kit.upstream.pool import NoConnection, Overloaded, Pool
from mixweb.kit.upstream.tunnel import upgrade

#: Methods that may be repeated (RFC 9110, 9.2.2).
IDEMPOTENT = frozenset(
    [b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE", b"PROPFIND", b"SEARCH", b"REPORT", b"QUERY"]
)

#: What this server has said itself before, and the other one says better.
_REPLACED = frozenset([b"Server", b"Date"])

Answer = Sequence[tuple[bytes, Sequence[bytes]]]


@implementer(IPushProducer)
class Relay:
    """
    Passes a request on, and its answer back. A subclass says to which server, and how.

    :param switch: the protocol that the connection may switch to, in lower case; empty for none.
    """

    body: Body

    #: Whether the connection is for nobody else afterwards.
    single = False

    __slots__ = ("_gone", "_retried", "_tried", "_waits", "body", "connection", "method", "pool", "request", "switch")

    def __init__(self, request: Request, switch: bytes = b"") -> None:
        self.request = request
        self.switch = switch
        if switch:
            # Over HTTP/2 a WebSocket is asked for with CONNECT, and what comes with it is no body (RFC 8441).
            self.method, self.body = b"GET", no_body(b"GET")
        else:
            self.method, self.body = request.method, body_of(request)
        self.pool: Pool | None = None
        self.connection: Connection | None = None
        self._gone = False
        self._waits = False
        self._tried: tuple[Pool, ...] = ()
        self._retried = False

    # What a subclass decides

    def choose(self, tried: Sequence[Pool]) -> Pool | None:
        """
        The server to ask, or the next one.

        :param tried: those that could not be reached.
        """
        raise NotImplementedError

    def head(self) -> bytes:
        """The request line and the fields for the server that was chosen last, without those that frame the body."""
        raise NotImplementedError

    def fields(self, head: ResponseHead) -> Answer:
        """The fields of an answer as the client gets them: names as ``Headers`` spells them, and their values."""
        raise NotImplementedError

    def ended(self, reason: Broken | None) -> None:
        """
        Told how it went with a server.

        :param reason: why there is no answer, or no whole one.
        """

    # How it goes

    def start(self) -> None:
        """Begin; everything else follows from what happens."""
        # It stands among the Deferreds of notifyFinish, which cost as much as all else here: they are only called.
        self.request.notifications.append(self)  # type: ignore[arg-type]
        self._next(None)

    def _next(self, reason: Broken | None) -> None:
        pool = self.pool = self.choose(self._tried)
        if pool is None:
            self._refuse(reason or NoConnection(503, "No server behind this one is available."))
        else:
            self._waits = True
            pool.begin(self)

    def _refuse(self, reason: Broken) -> None:
        headers = [(b"Retry-After", b"5")] if reason.status == 503 else []
        self.request.error(reason.status, reason.detail, headers)

    def callback(self, _: object) -> None:
        """The request has been answered, not always by this relay, or the client has left."""
        self._gone = True
        self.body.stop()
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.drop()
        elif self._waits and self.pool is not None:
            self.pool.cancel(self)

    errback = callback

    # What the connection tells

    def started(self, connection: Connection) -> None:
        self.connection = connection
        self._waits = False
        connection.ask(self)
        if self.single:
            connection.single = True
        self.body.begin(connection, self.head() + self.body.framing + b"\r\n")

    def interim(self, head: ResponseHead) -> None:
        channel = self.request.channel
        if head.status == 100:
            self.body.go_on()
        elif hasattr(channel, "write_interim"):
            channel.write_interim(head.status, head.reason, Headers(dict(self.fields(head))))

    def switched(self, head: ResponseHead, connection: Connection, rest: bytes) -> None:
        self.connection = None
        if not self.switch or head.fields.values.get(b"upgrade", (b"",))[0].lower() != self.switch:
            connection.drop()
            self.broken(Broken(502, "The server behind this one switched to another protocol unasked."))
            return
        self.ended(None)
        fields = [
            (name, value)
            for name, values in self.fields(head)
            for value in values
            if self.request.method == b"GET" or name.lower() != b"sec-websocket-accept"
        ]
        upgrade(self.request, self.switch, fields, connection, rest)

    def whole(self, head: ResponseHead, body: bytes) -> None:
        self.connection = None
        self.body.stop()
        self.ended(None)
        request = self.request
        try:
            self.take(head)
            gather = getattr(request.transport, "gather", None)
            if self.method == b"HEAD":
                request.finish()
            elif gather is None:
                request.complete(body)
            else:
                gather(lambda: request.complete(body))
        except Exception:
            self._fail()

    def begun(self, head: ResponseHead) -> None:
        assert self.connection is not None
        self.connection.patient = head.fields.values.get(b"content-type", (b"",))[0].startswith(b"text/event-stream")
        try:
            self.take(head)
            self.request.registerProducer(self, True)
            self.request.write(b"")
        except Exception:
            self._fail()

    def data(self, piece: bytes) -> None:
        try:
            self.request.write(piece)
        except Exception:
            self._fail()

    def complete(self) -> None:
        self.connection = None
        self.body.stop()
        self.ended(None)
        self.request.unregisterProducer()
        try:
            self.request.finish()
        except Exception:
            self._fail()

    def _fail(self) -> None:
        """What stands in front of this relay, and has its part in the answer, has failed."""
        reason = Failure()
        if self.request.producer:
            self.request.unregisterProducer()
        self.request.processingFailed(reason)

    def broken(self, reason: Broken) -> None:
        self.connection = None
        self.body.stop()
        if self._gone:
            return
        if self.request.startedWriting:
            self.ended(reason)
            self.request.unregisterProducer()
            self.request.abort()
        elif reason.untouched and not self._retried and self.body.replayable and self.method in IDEMPOTENT:
            self._retried = True
            assert self.pool is not None
            self._waits = True
            self.pool.begin(self, fresh=True)
        else:
            self._try_others(reason)

    def _try_others(self, reason: Broken) -> None:
        """Where nothing was sent, another server may be asked."""
        if not isinstance(reason, Overloaded):
            self.ended(reason)
        if isinstance(reason, NoConnection | Overloaded):
            assert self.pool is not None
            self._tried += (self.pool,)
            self._next(reason)
        else:
            self._refuse(reason)

    def pause_sending(self) -> None:
        self.body.pause()

    def resume_sending(self) -> None:
        self.body.resume()

    # The answer

    def take(self, head: ResponseHead) -> None:
        """Make the head of an answer that of the answer to the request."""
        request = self.request
        request.code = head.status
        request.code_message = head.reason
        request.defaultContentType = None
        headers = request.responseHeaders._rawHeaders
        if headers.keys() == _REPLACED:
            # As every answer begins.
            for name, values in self.fields(head):
                headers[name] = [*values]
            return
        for name, values in self.fields(head):
            there = headers.get(name)
            headers[name] = [*values] if there is None or name in _REPLACED else [*there, *values]

    # What the client's connection tells

    def pauseProducing(self) -> None:
        if self.connection is not None:
            self.connection.pause()

    def resumeProducing(self) -> None:
        if self.connection is not None:
            self.connection.resume()

    def stopProducing(self) -> None:
        """The client has left, and :meth:`errback` is told so."""
