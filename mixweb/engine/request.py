"""
The request: Twisted's interface, with everything made when first asked for and the answer sent in one write.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable
from functools import lru_cache
from inspect import iscoroutine
from io import BytesIO
from tempfile import TemporaryFile
from time import monotonic, time
from typing import TYPE_CHECKING, Any, BinaryIO, Generic, Protocol, TypeVar
from warnings import warn

from twisted.internet.address import UNIXAddress
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.spread.pb import ViewPoint
from twisted.web import http, server
from twisted.web.error import UnsupportedMethod
from twisted.web.http import datetimeToString
from twisted.web.http_headers import Headers
from twisted.web.resource import EncodingResourceWrapper, IResource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from mixweb.engine._headers import ResponseFields
from mixweb.engine.authority import Authority, parse_authority
from mixweb.engine.errors import TWISTED_PAGES, Declined, HTTPError, error_body, error_of
from mixweb.paths import NO_RAW, CanonicalPath, RawPrefixes, canonical, canonical_path

if TYPE_CHECKING:
    from mixweb.engine.site import Site

T = TypeVar("T")

#: Methods of registered specifications: a resource that has them not answers 405, any other token 501 (RFC 9110, 9.1).
KNOWN_METHODS = frozenset(
    b"GET HEAD POST PUT DELETE CONNECT OPTIONS TRACE PATCH QUERY ACL BASELINE-CONTROL BIND CHECKIN CHECKOUT COPY LABEL"
    b" LINK LOCK MERGE MKACTIVITY MKCALENDAR MKCOL MKREDIRECTREF MKWORKSPACE MOVE ORDERPATCH PROPFIND PROPPATCH REBIND"
    b" REPORT SEARCH UNBIND UNCHECKOUT UNLINK UNLOCK UPDATE UPDATEREDIRECTREF VERSION-CONTROL".split()
)

#: What describes a body that an error page takes the place of.
_BODY_FIELDS = (
    b"Accept-Ranges",
    b"Content-Disposition",
    b"Content-Encoding",
    b"Content-Language",
    b"Content-Length",
    b"Content-Range",
    b"Content-Type",
    b"ETag",
    b"Last-Modified",
)

#: A form larger than this is not read into ``args``; its resource reads ``content``.
MAX_FORM_BYTES = 1024 * 1024

#: A generator that never waits lets others have their turn after so many pieces.
_TURN_PIECES = 64

_SPOOL_BYTES = 100_000

#: Resources of Twisted's that this request answers, or helps to answer, itself.
_SPECIAL = (*TWISTED_PAGES, EncodingResourceWrapper)

#: Answers that never have a body (RFC 9110, 6.4.1).
_BODILESS = frozenset([*range(100, 200), 204, 304])


class BodyFilter(Protocol):
    """Changes a response body on its way out."""

    def feed(self, data: bytes) -> bytes:
        """What to send for the next piece of the body; may be empty."""

    def flush(self) -> bytes:
        """What is left to send after the last piece."""


def _address_to_tuple(address: Any) -> tuple[str, Any] | tuple[str, str, int]:
    """An address as :mod:`twisted.web.distrib` reads it, which knows IPv6 by the form of the host alone."""
    if isinstance(address, UNIXAddress):
        return "UNIX", address.name
    return "INET", getattr(address, "host", ""), getattr(address, "port", 0)


class _EncoderFilter:
    """One of Twisted's encoders as a filter."""

    def __init__(self, encoder: Any) -> None:
        self.feed: Callable[[bytes], bytes] = encoder.encode
        self.flush: Callable[[], bytes] = encoder.finish


class Lazy(Generic[T]):
    """An attribute that is made when first asked for."""

    def __init__(self, make: Callable[[Any], T]) -> None:
        self.make = make

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: object, owner: type | None = None) -> T:
        if instance is None:
            return self  # type: ignore[return-value]
        value = instance.__dict__[self.name] = self.make(instance)
        return value


@lru_cache(maxsize=4)
def _date(second: int) -> bytes:
    return bytes(datetimeToString(second))


@implementer(IPushProducer)
class _Flow:
    """Lets a coroutine wait until the client has taken what was written."""

    def __init__(self) -> None:
        self.paused = False
        self._waiting: Deferred[None] | None = None

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)

    def stopProducing(self) -> None:
        self.paused = True

    def ready(self) -> Deferred[None]:
        """Fires when more may be written."""
        self._waiting = Deferred()
        return self._waiting


class Request(server.Request):
    """
    A request of a :class:`mixweb.Site`.

    :ivar uri: the target as received, undecoded.
    :ivar target: the target that is answered: as received, or as it was rewritten.
    :ivar raw_path: the path as received, undecoded, without the query.
    :ivar canonical_path: the path as all rules and mounts see it.
    :ivar head: what the channel read, when it has checked the host already; ``None`` elsewhere.
    :ivar received: ``time.monotonic()`` when the request began.
    :ivar error_pages: asked for the content type and body of an error answer before the built-in page is taken.
    """

    site: Site
    channel: Any
    responseHeaders: ResponseFields
    head: Any = None
    target: bytes
    raw_path: bytes
    canonical_path: CanonicalPath
    raw_prefixes: RawPrefixes = NO_RAW
    error_pages: Callable[[Request, int, str], tuple[bytes, bytes] | None] | None = None
    prepath: list[bytes]
    postpath: list[bytes]

    clientproto = b"HTTP/1.1"

    _is_head = False
    _chunked = False
    _refused = False
    _logged = False
    _received_bytes = 0
    _declared: int | None = None
    _head_sent = False

    args = Lazy[dict[bytes, list[bytes]]](lambda self: self._parse_args())
    client = Lazy[Any](lambda self: (self.channel or self._left_channel).getPeer())
    content = Lazy[BinaryIO](lambda self: BytesIO())
    cookies = Lazy[list[bytes]](lambda self: [])
    host = Lazy[Any](lambda self: (self.channel or self._left_channel).getHost())
    sitepath = Lazy[list[bytes]](lambda self: [])
    notifications = Lazy[list[Deferred[None]]](lambda self: [])
    received_cookies = Lazy[dict[bytes, bytes]](lambda self: self._parse_cookies())
    requestHeaders = Lazy[Headers](lambda self: Headers())
    _adapterCache = Lazy[dict[object, object]](lambda self: {})
    _filters = Lazy[list[BodyFilter]](lambda self: [])

    queued = False
    _left_channel: Any = None
    _hooks: list[Callable[[Request], None]] | None = None

    def __init__(self, channel: Any, queued: bool = False) -> None:
        self.channel = channel
        self.transport = channel.transport
        self.received = monotonic()
        self.responseHeaders = ResponseFields(_date(int(time())))

    # What the channel tells

    def gotLength(self, length: int | None) -> None:
        """
        The header section is complete.

        :param length: of the body in bytes; ``None`` when it is not known.
        """
        if length and length > self.channel.site.max_body_bytes:
            self.refuse(413, f"The body has {length} bytes; at most {self.channel.site.max_body_bytes} are accepted.")
        elif length is None or length > _SPOOL_BYTES:
            self.content = TemporaryFile()  # noqa: SIM115 - closed when the request ends

    def handleContentChunk(self, data: bytes) -> None:
        """Take a piece of the body; the request is refused once the pieces pass the limit of the site."""
        if self._refused:
            return
        self._received_bytes += len(data)
        if self._received_bytes > self.channel.site.max_body_bytes:
            self.refuse(413, f"The body is longer than {self.channel.site.max_body_bytes} bytes.")
        else:
            self.content.write(data)

    def parseCookies(self) -> None:
        """Nothing: cookies are read when asked for."""

    def requestReceived(self, command: bytes, path: bytes | None, version: bytes) -> None:
        """
        The request is complete.

        :param path: the target; ``None`` for a CONNECT of HTTP/2.
        """
        if self._refused:
            return
        if path is None:
            self.begin(command, b"*", version)
            self.refuse(501, "This server opens no tunnels.")
            return
        if self._received_bytes:
            self.content.seek(0)
        self.begin(command, path, version)
        self.process()

    def begin(self, method: bytes, target: bytes, version: bytes) -> None:
        """Note the request line; a channel that knows it before the body does so before ``gotLength``."""
        self.method = method
        self.uri = self.target = target
        self.clientproto = version
        self.path = self.raw_path = target.partition(b"?")[0]
        self._is_head = method == b"HEAD"

    def process(self) -> None:
        """Find the resource and render it."""
        self.site = self.channel.site
        try:
            if self.head is None and not self._host_is_valid():
                self.refuse(400, "The request names no valid host.")
            elif self.uri == b"*":
                self._answer_star()
            else:
                self.canonical_path = found = canonical_path(self.path)
                self.prepath = []
                self.postpath = [*found.segments]
                self.render(self.site.getResourceFor(self))
        except Exception:
            self.processingFailed(Failure())

    def set_target(self, target: bytes) -> None:
        """
        Take another target from here on: path, query and arguments follow it.

        :param target: in origin form, undecoded.
        """
        if target is not self.target:
            self.target = target
            self.path = target.partition(b"?")[0]
            self.__dict__.pop("args", None)
        self.canonical_path = found = canonical(target, self.raw_prefixes)
        self.prepath = [] if found.raw is None else list(found.segments)
        self.postpath = list(found.segments) if found.raw is None else []

    @property
    def authority(self) -> Authority | None:
        """The host that is asked for, as ``Host`` or ``:authority`` names it; ``None`` for HTTP/1.0 without one."""
        value = self.requestHeaders.getRawHeaders(b"Host")
        return parse_authority(value[0]) if value else None

    def getRequestHostname(self) -> bytes:
        """The host without its port; the address of the listener when none was named."""
        authority = self.authority
        return getattr(self.getHost(), "host", "").encode("ascii") if authority is None else authority.host

    def _host_is_valid(self) -> bool:
        values = self.requestHeaders.getRawHeaders(b"Host")
        if not values:
            return self.clientproto == b"HTTP/1.0"
        try:
            parse_authority(values[0])
        except ValueError:
            return False
        return len(values) == 1

    def _answer_star(self) -> None:
        if self.method == b"OPTIONS":
            self.setResponseCode(204)
            self.complete(b"")
        else:
            self.error(400, "The target * is for OPTIONS only.")

    def _parse_args(self) -> dict[bytes, list[bytes]]:
        query = self.target.partition(b"?")[2]
        found: dict[bytes, list[bytes]] = http.parse_qs(query, 1) if query else {}
        if self.method == b"POST" and 0 < self._received_bytes <= MAX_FORM_BYTES:
            found.update(self._parse_form())
        return found

    def _parse_form(self) -> dict[bytes, list[bytes]]:
        declared = self.getHeader(b"Content-Type") or b""
        kind = declared.partition(b";")[0].strip().lower()
        if kind not in (b"application/x-www-form-urlencoded", b"multipart/form-data"):
            return {}
        self.content.seek(0)
        body = self.content.read()
        self.content.seek(0)
        if kind == b"application/x-www-form-urlencoded":
            return dict(http.parse_qs(body, 1))
        try:
            return dict(http._getMultiPartArgs(body, declared))
        except http._MultiPartParseException:
            raise HTTPError(400, "The multipart body is malformed.") from None

    def _parse_cookies(self) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        for line in self.requestHeaders.getRawHeaders(b"Cookie") or ():
            for pair in line.split(b";"):
                name, equals, value = pair.strip().partition(b"=")
                if equals and name:
                    found[name] = value
        return found

    # What resources ask for

    def before_headers(self, hook: Callable[[Request], None]) -> None:
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

    def render(self, resource: IResource) -> None:
        """
        Answer with what a resource renders: bytes, text (sent as UTF-8), a Deferred, a coroutine, an async generator of
        bytes or text, or ``NOT_DONE_YET``.
        """
        if isinstance(resource, _SPECIAL):
            if not isinstance(resource, EncodingResourceWrapper):
                self.error(*error_of(resource))
                return
            self._encode(resource)
        try:
            body = resource.render(self)
        except UnsupportedMethod as unsupported:
            self._render_unsupported(resource, set(unsupported.allowedMethods))
            return
        if type(body) is bytes:
            self.complete(body)
        elif body is not NOT_DONE_YET:
            self._answer(body)

    def _encode(self, resource: EncodingResourceWrapper) -> None:
        """Send the body through the encoder that the wrapper chooses, if it chooses one."""
        encoder = resource.getEncoder(self)
        if encoder is not None:
            self.filter_body(_EncoderFilter(encoder))

    def _render_unsupported(self, resource: IResource, allowed: set[bytes]) -> None:
        allowed |= {b"OPTIONS", b"HEAD"} if b"GET" in allowed else {b"OPTIONS"}
        if self.method == b"HEAD" and b"GET" in allowed:
            self.method = b"GET"
            try:
                body = resource.render(self)
            finally:
                self.method = b"HEAD"
            self._answer(body)
            return
        allow = b", ".join(sorted(allowed))
        if self.method == b"OPTIONS":
            self.setResponseCode(204)
            self.setHeader(b"Allow", allow)
            self.complete(b"")
        elif self.method in KNOWN_METHODS:
            self.error(405, f"Allowed here: {allow.decode('ascii')}.", [(b"Allow", allow)])
        else:
            self.error(501, "This method is not known.")

    def _answer(self, body: Any) -> None:
        if isinstance(body, bytes):
            self.complete(body)
        elif body is NOT_DONE_YET:
            return
        elif isinstance(body, str):
            if not self.responseHeaders.hasHeader(b"Content-Type"):
                self.setHeader(b"Content-Type", b"text/html; charset=utf-8")
            self.complete(body.encode())
        elif isinstance(body, Deferred) or iscoroutine(body):
            self.spawn(body, self._answer_late)
        elif isinstance(body, AsyncGenerator):
            self.spawn(self._stream(body))
        else:
            raise TypeError(
                f"render returned {type(body).__name__}; expected bytes, text, NOT_DONE_YET or something to wait for"
            )

    def _answer_late(self, body: Any) -> None:
        if self._disconnected or self.finished or (body is None and self._refused):
            return
        if body is not None:
            self._answer_safely(body)
        elif self.startedWriting:
            self.finish()
        else:
            self.setResponseCode(204)
            self.complete(b"")

    def _answer_safely(self, body: Any) -> None:
        try:
            self._answer(body)
        except Exception:
            self.processingFailed(Failure())

    def spawn(
        self, work: Coroutine[Any, Any, Any] | Deferred[Any], then: Callable[[Any], object] | None = None
    ) -> Deferred[Any]:
        """
        Run what waits on behalf of this request: cancelled when the client leaves, a 500 when it fails, the connection
        dropped when the head of the answer had left before.

        :param then: called with the result, not after a failure.
        :returns: fires with the result, or with ``None`` after a failure.
        """
        running = work if isinstance(work, Deferred) else Deferred.fromCoroutine(work)
        gone = self.notifyFinish()
        gone.addErrback(lambda _: running.cancel())
        if then is None:
            running.addErrback(self._failed)
        else:
            running.addCallbacks(then, self._failed)
        return running

    def _failed(self, reason: Failure) -> None:
        if self._disconnected:
            reason.trap(CancelledError, Exception)
            if not reason.check(CancelledError):
                self._log.failure("after the client had left", reason)
        elif not self.finished:
            self.processingFailed(reason)

    async def _stream(self, generator: AsyncGenerator[Any, None]) -> None:
        flow = _Flow()
        self.registerProducer(flow, True)
        try:
            written = 0
            async for piece in generator:
                self.write(piece if isinstance(piece, bytes) else piece.encode())
                if self._is_head or self.code in _BODILESS:
                    break
                written += 1
                if flow.paused:
                    await flow.ready()
                elif written % _TURN_PIECES == 0:
                    await deferLater(self.site.reactor, 0)
        finally:
            await generator.aclose()
            if not self._disconnected:
                self.unregisterProducer()
        self.finish()

    # The answer

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
            if not self._is_head or self._filtered:
                headers.removeHeader(b"Content-Length")
            body = b""
        elif "_filters" in self.__dict__:
            for body_filter in self._filters:
                body = body_filter.feed(body) + body_filter.flush()
            headers.put(b"Content-Length", b"%d" % len(body))
        self.sentLength = len(body)
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
        if self._filtered and not (self._is_head or self.code in _BODILESS):
            data = b""
            for body_filter in self._filters:
                data = (body_filter.feed(data) if data else b"") + body_filter.flush()
            self._send(data)
        if self._chunked:
            self.channel.write(b"0\r\n\r\n")
        if self._declared is not None and self.sentLength < self._declared:
            self._log.error("{uri}: the body is shorter than its Content-Length; connection dropped", uri=self.uri)
            self.abort()
        else:
            self._end()

    def _finish_unwritten(self) -> None:
        if self._is_head:
            self._begin_body()
            self._end()
        else:
            self.complete(b"")

    def error(
        self, status: int, detail: str = "", headers: Iterable[tuple[bytes, bytes]] = (), traceback: str = ""
    ) -> int:
        """
        Answer with an error page, as HTML, JSON or text as the client accepts.

        :param detail: one sentence for the client.
        :returns: ``NOT_DONE_YET``, so that a resource may return it.
        """
        if self._head_sent:
            self.abort()
            return NOT_DONE_YET
        if self.startedWriting:
            # What was to change the head failed: the error goes without it.
            self.startedWriting = 0
            self._hooks = None
        for name in _BODY_FIELDS:
            self.responseHeaders.removeHeader(name)
        self.etag = self.lastModified = None
        self.__dict__.pop("_filters", None)
        self.setResponseCode(status)
        for name, value in headers:
            self.setHeader(name, value)
        page = self.error_pages(self, status, detail) if self.error_pages and not traceback else None
        kind, body = page or error_body(status, detail, self.requestHeaders.getRawHeaders(b"Accept"), traceback)
        self.setHeader(b"Content-Type", kind)
        self.responseHeaders.addRawHeader(b"Vary", b"Accept")
        self.complete(body)
        return NOT_DONE_YET

    def refuse(self, status: int, detail: str) -> None:
        """Answer with an error and close the connection; the rest of the request is not read."""
        if self._refused or self.startedWriting:
            return
        self._refused = True
        self.close_after()
        self.error(status, detail)

    def close_after(self) -> None:
        """Have this answer be the last one of an HTTP/1 connection."""
        if self.clientproto != b"HTTP/2":
            self.setHeader(b"Connection", b"close")
            self.channel.persistent = False

    def abort(self) -> None:
        """Drop the connection: what was sent of the answer cannot be taken back."""
        if self.channel is not None:
            self.channel.abortConnection()

    def processingFailed(self, reason: Failure) -> Failure:
        """Answer with what went wrong; the log has the traceback, the page only where the site displays tracebacks."""
        if self.finished or self._disconnected:
            self._log.failure("after the answer to {method} {uri}", reason, method=self.method, uri=self.uri)
        elif isinstance(reason.value, HTTPError):
            self.error(reason.value.status, reason.value.detail, reason.value.headers)
        elif reason.check(Declined):
            self.error(404, "Nothing is here.")
        else:
            self._log.failure("{method} {uri}", reason, method=self.method, uri=self.uri)
            self.error(
                500,
                "The server failed to answer.",
                traceback=reason.getTraceback() if self.site.displayTracebacks else "",
            )
        return reason

    @property
    def _filtered(self) -> bool:
        return "_filters" in self.__dict__

    @property
    def body_is_plain(self) -> bool:
        """Whether what is written from now on leaves as it is: through no filter, in no chunks."""
        return not (self._filtered or self._chunked)

    def _prepare(self, headers: ResponseFields) -> None:
        """Everything the head is made of, before the hooks see it, then the hooks."""
        self.startedWriting = 1
        if self.lastModified is not None and not headers.has(b"Last-Modified"):
            headers.put(b"Last-Modified", datetimeToString(self.lastModified))
        if self.etag is not None:
            headers.setRawHeaders(b"ETag", [self.etag])
        if "cookies" in self.__dict__:
            for cookie in self.cookies:
                headers.addRawHeader(b"Set-Cookie", cookie)
        if self.defaultContentType and not headers.has(b"Content-Type") and not self._describes_no_body(headers):
            headers.put(b"Content-Type", self.defaultContentType)
        if self._hooks is not None:
            for hook in reversed(self._hooks):
                hook(self)

    def _describes_no_body(self, headers: ResponseFields) -> bool:
        return self.code in _BODILESS or headers._rawHeaders.get(b"Content-Length") == [b"0"]

    def _begin_body(self) -> None:
        headers = self.responseHeaders
        self._prepare(headers)
        if self._filtered or self.code == 204 or self.code < 200:
            headers.removeHeader(b"Content-Length")
        bodiless = self._is_head or self.code in _BODILESS
        self._declared = None if bodiless else self._declared_length(headers)
        framed = bodiless or self._declared is not None
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
            self._log.error("{uri}: the body is longer than its Content-Length; the rest is not sent", uri=self.uri)
            data = data[: self._declared - self.sentLength]
        if not data:
            return
        self.sentLength += len(data)
        if self._chunked:
            self.channel.writeSequence(http.toChunk(data))
        else:
            self.channel.write(data)

    def _end(self) -> None:
        self.finished = 1
        self._log_once()
        self._cleanup()

    def _log_once(self) -> None:
        if not self._logged:
            self._logged = True
            site = self.channel.site
            if site.observers:
                site.log(self)

    def _cleanup(self) -> None:
        if self.producer:
            self._log.error("a producer was not unregistered for {uri}", uri=self.uri)
            self.unregisterProducer()
        channel, self.channel = self.channel, None
        self._left_channel = channel
        channel.requestDone(self)
        self._release()
        if "notifications" in self.__dict__:
            waiting, self.notifications = self.notifications, []
            for notification in waiting:
                notification.callback(None)

    def connectionLost(self, reason: Failure) -> None:
        """The client left before the answer was complete."""
        if self.method != http.Request.method:
            self._log_once()
        self._disconnected = True
        self._left_channel, self.channel = self.channel, None
        self._release()
        waiting, self.notifications = self.notifications, []
        for notification in waiting:
            notification.errback(reason)

    def _release(self) -> None:
        if "content" in self.__dict__:
            self.content.close()

    # Twisted's sessions and shared servers

    def getSession(self, sessionInterface: Any = None, forceNotSecure: bool = False) -> Any:
        """Twisted's session, its cookie out of reach of scripts and other sites."""
        before = len(self.cookies)
        session = super().getSession(sessionInterface, forceNotSecure)
        for index in range(before, len(self.cookies)):
            self.cookies[index] += b"; HttpOnly; SameSite=Lax"
        return session

    def getTypeToCopyFor(self, perspective: object = None) -> bytes:
        """The name under which a shared server knows this class."""
        return b"twisted.web.server.Request"

    def getStateToCopyFor(self, perspective: Any, with_body: bool = True) -> dict[str, Any]:
        """
        What a shared server is told of this request, as :mod:`twisted.web.distrib` reads it.

        :param perspective: of the connection to that server; it may answer through the state's ``remote``.
        :param with_body: whether the body is told, and the arguments that it may have.
        """
        self.content.seek(0)
        return {
            "method": self.method,
            "uri": self.target,
            "path": self.path,
            "clientproto": self.clientproto,
            "prepath": list(self.prepath),
            "postpath": list(self.postpath),
            "args": self.args if with_body else {},
            "received_cookies": self.received_cookies,
            "requestHeaders": [(name, list(values)) for name, values in self.requestHeaders.getAllRawHeaders()],
            "cookies": [],
            "notifications": [],
            "_adapterCache": {},
            "_forceSSL": self.isSecure(),
            "client": _address_to_tuple(self.getClientAddress()),
            "host": _address_to_tuple(self.getHost()),
            "content_data": self.content.read() if with_body else b"",
            "remote": ViewPoint(perspective, self),
        }
