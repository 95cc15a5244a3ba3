"""
What a resource may return becomes an answer.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from functools import partial
from inspect import iscoroutine
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.web.error import UnsupportedMethod
from twisted.web.resource import IResource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

if TYPE_CHECKING:
    from mixweb.engine._answering import AnsweringRequest

#: Methods of registered specifications: a resource that has them not answers 405, any other token 501 (RFC 9110, 9.1).
KNOWN_METHODS = frozenset(
    b"GET HEAD POST PUT DELETE CONNECT OPTIONS TRACE PATCH QUERY ACL BASELINE-CONTROL BIND CHECKIN CHECKOUT COPY LABEL"
    b" LINK LOCK MERGE MKACTIVITY MKCALENDAR MKCOL MKREDIRECTREF MKWORKSPACE MOVE ORDERPATCH PROPFIND PROPPATCH REBIND"
    b" REPORT SEARCH UNBIND UNCHECKOUT UNLINK UNLOCK UPDATE UPDATEREDIRECTREF VERSION-CONTROL".split()
)

#: A generator that never waits lets others have their turn after so many pieces.
_TURN_PIECES = 64


class EncoderFilter:
    """One of Twisted's encoders as a filter."""

    def __init__(self, encoder: Any) -> None:
        self.feed: Callable[[bytes], bytes] = encoder.encode
        self.flush: Callable[[], bytes] = encoder.finish


def answer(request: AnsweringRequest, found: Any, resource: IResource | None = None) -> None:
    """
    Answer with what a resource returned.

    :param resource: asked again for a HEAD when it turns out that it has GET alone.
    :raises TypeError: it is nothing to answer with.
    """
    if isinstance(found, bytes):
        request.complete(found)
    elif found is NOT_DONE_YET:
        return
    elif isinstance(found, str):
        if not request.responseHeaders.hasHeader(b"Content-Type"):
            request.setHeader(b"Content-Type", b"text/html; charset=utf-8")
        request.complete(found.encode())
    elif isinstance(found, Deferred) or iscoroutine(found):
        _answer_when(request, found, resource)
    elif isinstance(found, AsyncGenerator):
        _answer_when(request, _stream(request, found), resource)
    else:
        raise TypeError(
            f"render returned {type(found).__name__}; expected bytes, text, NOT_DONE_YET or something to wait for"
        )


def _answer_when(request: AnsweringRequest, waiting: Any, resource: IResource | None) -> None:
    running = waiting if isinstance(waiting, Deferred) else Deferred.fromCoroutine(waiting)
    running.addErrback(partial(_answer_unsupported_late, request, resource))
    request.spawn(running, partial(_answer_late, request))


def _answer_late(request: AnsweringRequest, found: Any) -> None:
    if request.is_over:
        if not (found is None or found is NOT_DONE_YET or request.was_cut_off):
            request._log.error("{line}: what was returned after the answer is not sent", line=request.line)
        return
    if found is not None:
        try:
            answer(request, found)
        except Exception:
            request.processingFailed(Failure())
    elif request.startedWriting:
        request.finish()
    else:
        request.setResponseCode(204)
        request.complete(b"")


def _answer_unsupported_late(request: AnsweringRequest, resource: IResource | None, reason: Failure) -> Any:
    error = reason.value
    if not isinstance(error, UnsupportedMethod) or request.is_over or request.startedWriting:
        return reason
    answer_unsupported(request, resource, set(error.allowedMethods))
    return NOT_DONE_YET


def answer_unsupported(request: AnsweringRequest, resource: IResource | None, allowed: set[bytes]) -> None:
    """
    Answer a method that a resource has not.

    :param resource: rendered as for GET when that will do.
    :param allowed: the methods that it has.
    """
    allowed |= {b"OPTIONS", b"HEAD"} if b"GET" in allowed else {b"OPTIONS"}
    if request.method == b"HEAD" and b"GET" in allowed and resource is not None:
        request.method = b"GET"
        try:
            found = resource.render(request)
            # It may look at the method when it begins.
            found = Deferred.fromCoroutine(found) if iscoroutine(found) else found
        finally:
            request.method = b"HEAD"
        answer(request, found)
        return
    allow = b", ".join(sorted(allowed))
    if request.method == b"OPTIONS":
        request.setResponseCode(204)
        request.setHeader(b"Allow", allow)
        request.complete(b"")
    elif request.method in KNOWN_METHODS:
        request.error(405, f"Allowed here: {allow.decode('ascii')}.", [(b"Allow", allow)])
    else:
        request.error(501, "This method is not known.")


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


async def _stream(request: AnsweringRequest, generator: AsyncGenerator[Any, None]) -> None:
    flow = _Flow()
    request.registerProducer(flow, True)
    try:
        written = 0
        async for piece in generator:
            request.write(piece if isinstance(piece, bytes) else piece.encode())
            if request.is_bodiless:
                break
            written += 1
            if flow.paused:
                await flow.ready()
            elif written % _TURN_PIECES == 0:
                await deferLater(request.site.reactor, 0)
    finally:
        await generator.aclose()
        if not request._disconnected:
            request.unregisterProducer()
    request.finish()
