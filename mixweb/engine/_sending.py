"""
A request as far as its answer is sent: hooks, filters, and the head and body in one write.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, time
from typing import TYPE_CHECKING, Any, Protocol
from warnings import warn

from twisted.internet.defer import Deferred
from twisted.web import http, server
from twisted.web.http import datetimeToString

from mixweb.engine._headers import ResponseFields
from mixweb.engine._lazy import Lazy
from mixweb.engine.errors import reason_phrase

if TYPE_CHECKING:
    from mixweb.engine.site import Site

#: Answers that never have a body (RFC 9110, 6.4.1 and 15.3.6).
_BODILESS = frozenset([*range(100, 200), 204, 205, 304])


class BodyFilter(Protocol):
    """
    Changes a response body on its way out.

    One that gives back what it is fed, and nothing else, has a true attribute ``keeps_length``: ``Content-Length`` stays.
    """

    def feed(self, data: bytes) -> bytes:
        """What to send for the next piece of the body; may be empty."""

    def flush(self) -> bytes:
        """What is left to send after the last piece."""


class Witness(Protocol):
    """Sees the bodies of a request and of its answer go by."""

    def received(self, data: bytes) -> None:
        """A piece of the request's body has arrived."""

    def sent(self, data: bytes) -> None:
        """A piece of the answer's body leaves, as it is without framing."""


class _Clock:
    """The value of ``Date``, made anew once a second."""

    def __init__(self) -> None:
        self.until = 0.0
        self.value = b""

    def __call__(self, now: float) -> bytes:
        """:param now: ``time.monotonic()``."""
        if now >= self.until:
            wall = time()
            self.value = datetimeToString(int(wall))
            self.until = now + 1 - wall % 1
        return self.value


_date = _Clock()


class SendingRequest(server.Request):
    """
    What of a request sends its answer.

    :ivar received: ``time.monotonic()`` when the request began.
    :ivar witness: who sees what the request brings and how it is answered, if anybody does.
    """

    site: Site
    channel: Any
    responseHeaders: ResponseFields

    clientproto = b"HTTP/1.1"
    queued = False
    witness: Witness | None = None

    has_lazy = False
    _is_head = False
    _chunked = False
    _declared: int | None = None
    _head_sent = False
    _hooks: list[Callable[[Any], None]] | None = None

    cookies = Lazy[list[bytes]](lambda self: [])
    notifications = Lazy[list[Deferred[None]]](lambda self: [])
    _filters = Lazy[list[BodyFilter]](lambda self: [])

    def __init__(self, channel: Any, queued: bool = False) -> None:
        self.channel = channel
        self.transport = channel.transport
        self.received = now = monotonic()
        self.responseHeaders = ResponseFields(_date(now))

    # What changes on the way out

    def setResponseCode(self, code: int, message: bytes | None = None) -> None:
        """Set the status; its usual reason phrase where no other is given."""
        super().setResponseCode(code, reason_phrase(code) if message is None else message)

    def before_headers(self, hook: Callable[[Any], None]) -> None:
        """
        Have ``hook`` called once, before status and headers leave: the hook that was given last (the innermost) first.
        """
        if self._hooks is None:
            self._hooks = [hook]
        else:
            self._hooks.append(hook)

    def filter_body(self, body_filter: BodyFilter) -> None:
        """
        Send the response body through a filter: the innermost first. A hook of :meth:`before_headers` may call it too.
        """
        if self.startedWriting:
            self._filters.append(body_filter)
        else:
            self._filters.insert(0, body_filter)

    def unhook(self) -> None:
        """Take back all hooks, filters and cookies that were given: the answer is that of another server."""
        self._hooks = None
        self.etag = self.lastModified = None
        self.__dict__.pop("_filters", None)
        self.__dict__.pop("cookies", None)

    # What leaves

    def complete(self, body: bytes) -> None:
        """Answer with a whole body, or the rest of one, and finish."""
        if self.startedWriting:
            self.write(body)
            self.finish()
            return
        headers = self.responseHeaders
        if body or not self._is_head or not headers.has(b"Content-Length"):
            headers.put(b"Content-Length", b"%d" % len(body))
        self._prepare(headers)
        if self._is_head or self.code in _BODILESS:
            if not self._is_head or self._filtered or self.code in _BODILESS:
                headers.removeHeader(b"Content-Length")
            if self.code == 205:
                # Unlike other answers that never have one, it has to say so (RFC 9110, 15.3.6).
                headers.put(b"Content-Length", b"0")
            body = b""
        elif self._filtered:
            for body_filter in self._filters:
                body = body_filter.feed(body) + body_filter.flush()
            headers.put(b"Content-Length", b"%d" % len(body))
        self.sentLength = len(body)
        if self.witness is not None:
            self.witness.sent(body)
        self._head_sent = True
        channel = self.channel
        if hasattr(channel, "writeAnswer"):
            channel.writeAnswer(self.code, self.code_message, headers, body)
        else:
            channel.writeHeaders(self.clientproto, b"%d" % self.code, self.code_message, headers)
            if body:
                channel.write(body)
        self._end()

    def write(self, data: bytes) -> None:
        """Send a piece of the body, and the head before the first one."""
        if self.finished:
            raise RuntimeError("Request.write called on a request after Request.finish was called.")
        if self._disconnected:
            return
        if not self.startedWriting:
            self._begin_body()
        if self._is_head or self.code in _BODILESS:
            return
        if self._filtered:
            for body_filter in self._filters:
                data = body_filter.feed(data)
        self._send(data)

    def finish(self) -> None:
        """The answer is complete."""
        if self._disconnected:
            raise RuntimeError(
                "Request.finish called on a request after its connection was lost; "
                "use Request.notifyFinish to keep track of this."
            )
        if self.finished:
            warn("Request.finish called twice.", stacklevel=2)
            return
        if not self.startedWriting:
            self._finish_unwritten()
            return
        if self._filtered and not self.is_bodiless:
            data = b""
            for body_filter in self._filters:
                data = (body_filter.feed(data) if data else b"") + body_filter.flush()
            self._send(data)
        if self._chunked:
            self.channel.write(b"0\r\n\r\n")
        if self._declared is not None and self.sentLength < self._declared:
            self._log.error("{line}: the body is shorter than its Content-Length; connection dropped", line=self.line)
            self.abort()
        else:
            self._end()

    def _finish_unwritten(self) -> None:
        if self._is_head:
            self._begin_body()
            self._end()
        else:
            self.complete(b"")

    @property
    def line(self) -> str:
        """Method and target, for messages."""
        return f"{self.method.decode('ascii', 'replace')} {self.uri.decode('ascii', 'replace')}"

    @property
    def is_bodiless(self) -> bool:
        """Whether the answer has no body, whatever is written."""
        return self._is_head or self.code in _BODILESS

    @property
    def _filtered(self) -> bool:
        return self.has_lazy and "_filters" in self.__dict__

    @property
    def _changes_length(self) -> bool:
        return self._filtered and not all(getattr(body_filter, "keeps_length", False) for body_filter in self._filters)

    @property
    def body_is_plain(self) -> bool:
        """Whether what is written from now on leaves as it is: through no filter, in no chunks, seen by nobody."""
        return not (self._filtered or self._chunked or self.witness is not None)

    def _prepare(self, headers: ResponseFields) -> None:
        """Everything the head is made of, before the hooks see it, then the hooks."""
        self.startedWriting = 1
        if self.lastModified is not None and not headers.has(b"Last-Modified"):
            headers.put(b"Last-Modified", datetimeToString(self.lastModified))
        if self.etag is not None:
            headers.setRawHeaders(b"ETag", [self.etag])
        if self.has_lazy and "cookies" in self.__dict__:
            for cookie in self.cookies:
                headers.addRawHeader(b"Set-Cookie", cookie)
        if self.defaultContentType and not headers.has(b"Content-Type") and not self._describes_no_body(headers):
            headers.put(b"Content-Type", self.defaultContentType)
        if self._hooks is not None:
            for hook in reversed(self._hooks):
                headers.settle()
                hook(self)
        if b"Transfer-Encoding" in headers._rawHeaders:
            # The framing is the connection's (RFC 9112, 6.1), whatever a resource says.
            headers.removeHeader(b"Transfer-Encoding")

    def _describes_no_body(self, headers: ResponseFields) -> bool:
        return self.code in _BODILESS or headers._rawHeaders.get(b"Content-Length") == [b"0"]

    def _begin_body(self) -> None:
        headers = self.responseHeaders
        self._prepare(headers)
        if self._changes_length or self.code == 204 or self.code < 200:
            headers.removeHeader(b"Content-Length")
        if self.code == 205:
            headers.put(b"Content-Length", b"0")
        self._declared = None if self.is_bodiless else self._declared_length(headers)
        framed = self.is_bodiless or self._declared is not None
        if self.clientproto == b"HTTP/1.1" and not framed:
            headers.put(b"Transfer-Encoding", b"chunked")
            self._chunked = True
        self._head_sent = True
        self.channel.writeHeaders(self.clientproto, b"%d" % self.code, self.code_message, headers)

    def _declared_length(self, headers: ResponseFields) -> int | None:
        """What ``Content-Length`` promises; taken away when it is not one number (RFC 9110, 8.6)."""
        values = headers.getRawHeaders(b"Content-Length") or [b""]
        if len(values) == 1 and values[0].isdigit():
            return int(values[0])
        headers.removeHeader(b"Content-Length")
        return None

    def _send(self, data: bytes) -> None:
        if self._declared is not None and self.sentLength + len(data) > self._declared:
            self._log.error("{line}: the body is longer than its Content-Length; the rest is not sent", line=self.line)
            data = data[: self._declared - self.sentLength]
        if not data:
            return
        self.sentLength += len(data)
        if self.witness is not None:
            self.witness.sent(data)
        if self._chunked:
            self.channel.writeSequence(http.toChunk(data))
        else:
            self.channel.write(data)

    def abort(self) -> None:
        """Drop the connection: what was sent of the answer cannot be taken back."""
        if self.channel is not None:
            self.channel.abortConnection()

    def _end(self) -> None:
        raise NotImplementedError
