"""
A request as far as it is answered: what waits, what fails, and the end.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from twisted.web import http
from twisted.web.error import UnsupportedMethod
from twisted.web.server import NOT_DONE_YET

from mixweb.engine._rendered import answer_unsupported
from mixweb.engine._sending import SendingRequest
from mixweb.engine.errors import Declined, HTTPError, accepted_types, error_body

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


class AnsweringRequest(SendingRequest):
    """
    What of a request sees to it that there is one answer, whatever happens.

    :ivar error_pages: asked for the content type and body of an error answer before the built-in page is taken.
    :ivar on_decline: called with the request when the mount that was asked declines late; else that is a 404.
    """

    error_pages: Callable[[Any, int, str], tuple[bytes, bytes] | None] | None = None

    on_decline: Callable[[Any], None] | None = None

    _refused = False
    _settled = False
    _logged = False
    _received_bytes = 0
    _left_channel: Any = None

    content: Any

    def spawn(
        self, work: Coroutine[Any, Any, Any] | Deferred[Any], then: Callable[[Any], object] | None = None
    ) -> Deferred[Any]:
        """
        Run what waits on behalf of this request: cancelled when the client leaves or its body is refused, a 500 when it
        fails, the connection dropped when the head of the answer had left before.

        :param then: called with the result, not after a failure.
        :returns: fires with the result, or with ``None`` after a failure.
        """
        running = work if isinstance(work, Deferred) else Deferred.fromCoroutine(work)
        self.notifyFinish().addCallbacks(
            lambda _: running.cancel() if self._refused else None, lambda _: running.cancel()
        )
        if then is None:
            running.addErrback(self._failed)
        else:
            running.addCallbacks(then, self._failed)
        return running

    def _failed(self, reason: Failure) -> None:
        if not self.is_over:
            self.processingFailed(reason)
        elif self._disconnected:
            if not reason.check(CancelledError, HTTPError):
                self._log.failure("after the client of {line} had left", reason, line=self.line)
        elif not (self._refused and reason.check(CancelledError)):
            self.processingFailed(reason)

    # Errors

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
        kind, body = page or error_body(status, detail, accepted_types(self.requestHeaders), traceback)
        self.setHeader(b"Content-Type", kind)
        self.responseHeaders.addRawHeader(b"Vary", b"Accept")
        self.complete(body)
        return NOT_DONE_YET

    def refuse(self, status: int, detail: str) -> None:
        """Answer with an error and close the connection, or drop it; the rest of the request is not read."""
        if self._refused or self.is_over:
            return
        if self.startedWriting:
            self.abort()
            return
        self._refused = self._settled = True
        self.close_after()
        self.error(status, detail)

    def close_after(self) -> None:
        """Have this answer be the last one of an HTTP/1 connection."""
        if self.clientproto != b"HTTP/2":
            self.setHeader(b"Connection", b"close")
            self.channel.persistent = False

    def processingFailed(self, reason: Failure) -> Failure:
        """Answer with what went wrong; the log has the traceback, the page only where the site displays tracebacks."""
        if self.finished or self._disconnected:
            self._log.failure("after the answer to {line}", reason, line=self.line)
        elif isinstance(reason.value, HTTPError):
            self.error(reason.value.status, reason.value.detail, reason.value.headers)
        elif reason.check(Declined):
            self._decline()
        elif isinstance(reason.value, UnsupportedMethod):
            answer_unsupported(self, None, set(reason.value.allowedMethods))
        else:
            self._log.failure("{line}", reason, line=self.line)
            self.error(
                500,
                "The server failed to answer.",
                traceback=reason.getTraceback() if self.site.displayTracebacks else "",
            )
        return reason

    def _decline(self) -> None:
        next_one, self.on_decline = self.on_decline, None
        if next_one is None or self.startedWriting:
            self.error(404, "Nothing is here.")
            return
        try:
            next_one(self)
        except Exception:
            self.processingFailed(Failure())

    # The end

    def _end(self) -> None:
        self.finished = 1
        if not self._logged:
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
            self._log.error("{line}: a producer was not unregistered", line=self.line)
            self.unregisterProducer()
        channel, self.channel = self.channel, None
        self._left_channel = channel
        channel.requestDone(self)
        self._release()
        if self.has_lazy and "notifications" in self.__dict__:
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
        """Let go of what belongs to the request alone."""
        if self._received_bytes and "content" in self.__dict__:
            self.content.close()

    @property
    def is_over(self) -> bool:
        """Whether nothing more can be answered."""
        return bool(self.finished) or self._disconnected

    @property
    def was_cut_off(self) -> bool:
        """Whether it ended before it was answered: the client has left, or its body was refused."""
        return self._disconnected or self._refused
