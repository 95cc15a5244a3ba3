"""
Answers that are held back until something else is done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers

from mixweb.engine.errors import HTTPError, accepted_types, error_body
from mixweb.engine.request import Request

#: What does not belong to an error that takes the place of an answer.
_NOT_OF_ERRORS = (
    b"Accept-Ranges", b"Content-Disposition", b"Content-Encoding", b"Content-Language", b"Content-Length", b"Content-Range",
    b"Content-Type", b"ETag", b"Last-Modified", b"Location", b"Set-Cookie", b"Transfer-Encoding",
)  # fmt: skip


def hold_answer(request: Request, until: Deferred[Any]) -> None:
    """
    Have the answer to a request leave when something is done, and an error in its place when that fails. To be called
    before the head leaves, as a hook of ``before_headers`` does. Who writes the answer is slowed down meanwhile.

    :param until: fails with the :class:`HTTPError` to answer with; anything else is logged, and a 500.
    """
    # The log asks for them in the end, when the client may have left.
    _ = request.client, request.host
    held = HeldChannel(request)
    request.channel = held
    if request.producer is not None:
        held.take_over(request.producer, request.streamingProducer)
    until.addCallbacks(lambda _: held.release(), held.refuse)


class _HeldSite:
    """Stands in the place of a site: that a request has ended is told when its answer has left."""

    def __init__(self, site: Any) -> None:
        self.ended = False
        self._site = site

    def __getattr__(self, name: str) -> Any:
        return getattr(self._site, name)

    def log(self, request: Any) -> None:
        """Remember it."""
        self.ended = True

    def tell(self, request: Any) -> None:
        """Tell it now."""
        if self.ended:
            self._site.log(request)


class HeldChannel:
    """Stands between a request and its channel; see :func:`hold_answer`."""

    _log = Logger()

    def __init__(self, request: Request) -> None:
        self._request = request
        self._channel = request.channel
        self._writes: list[Callable[[], None]] = []
        self._headers: Headers | None = None
        self._producer: tuple[Any, bool] | None = None
        self._refusal: HTTPError | None = None
        self._done = False
        self.site = _HeldSite(self._channel.site)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)

    @property
    def persistent(self) -> bool:
        """Whether the connection is kept."""
        return bool(self._channel.persistent)

    @persistent.setter
    def persistent(self, kept: bool) -> None:
        self._channel.persistent = kept

    # What the request does

    def writeAnswer(self, code: int, reason: bytes, headers: Headers, body: bytes) -> None:
        """Keep a whole answer."""
        self._headers = headers
        self._writes.append(lambda: self._send(code, reason, headers, body))

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Headers) -> None:
        """Keep the head of an answer."""
        self._headers = headers
        self._writes.append(lambda: self._channel.writeHeaders(version, code, reason, headers))
        if self._refusal is not None:
            # Who writes the head has not finished with it.
            self._request.site.reactor.callLater(0, self._answer_refusal)

    def write(self, data: bytes) -> None:
        """Keep a piece of an answer."""
        self._writes.append(lambda: self._channel.write(data))

    def writeSequence(self, pieces: Iterable[bytes]) -> None:
        """Keep several pieces of an answer."""
        self.write(b"".join(pieces))

    def take_over(self, producer: Any, streaming: bool) -> None:
        """Have somebody wait who has begun to write."""
        self._channel.unregisterProducer()
        self.registerProducer(producer, streaming)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Have somebody wait who would write more."""
        self._producer = (producer, streaming)
        if streaming:
            producer.pauseProducing()

    def unregisterProducer(self) -> None:
        """Nobody waits any more."""
        self._producer = None

    def requestDone(self, request: Request) -> None:
        """The answer is complete."""
        self._done = True
        if self._refusal is not None:
            self._answer_refusal()

    # How it goes on

    def release(self) -> None:
        """Let everything go that was held, and what comes later pass by."""
        request = self._request
        if request.channel is self:
            request.channel = self._channel
        if not request._disconnected:
            for write in self._writes:
                write()
            if self._producer is not None:
                producer, streaming = self._producer
                self._channel.registerProducer(producer, streaming)
                if streaming:
                    producer.resumeProducing()
        self._finish()

    def refuse(self, reason: Failure) -> None:
        """Answer with an error in the place of what is held, or will be."""
        if isinstance(reason.value, HTTPError):
            self._refusal = reason.value
        else:
            self._log.failure("{line}", reason, line=self._request.line)
            self._refusal = HTTPError(500, "The server failed to answer.")
        if self._headers is not None:
            self._answer_refusal()

    def _answer_refusal(self) -> None:
        headers, refusal = self._headers, self._refusal
        if headers is None or refusal is None:
            return
        self._headers = None
        request = self._request
        if not request._disconnected:
            body = self._make_error(refusal, headers)
            request.setResponseCode(refusal.status)
            request.sentLength = 0 if request.is_bodiless else len(body)
            self._send(refusal.status, request.code_message, headers, b"" if request.is_bodiless else body)
            if not self._done:
                self._stop()
        self._finish()

    def _make_error(self, refusal: HTTPError, headers: Headers) -> bytes:
        """The body of the error; the headers become its own, so that those of the wrappers stay."""
        request = self._request
        for name in _NOT_OF_ERRORS:
            headers.removeHeader(name)
        for name, value in refusal.headers:
            headers.setRawHeaders(name, [value])
        page = request.error_pages(request, refusal.status, refusal.detail) if request.error_pages else None
        kind, body = page or error_body(refusal.status, refusal.detail, accepted_types(request.requestHeaders))
        headers.setRawHeaders(b"Content-Type", [kind])
        headers.setRawHeaders(b"Content-Length", [b"%d" % len(body)])
        headers.addRawHeader(b"Vary", b"Accept")
        return body

    def _stop(self) -> None:
        """For who still writes it is as if the client had left."""
        request = self._request
        if self._producer is not None:
            self._producer[0].stopProducing()
            request.producer = None
        request.connectionLost(Failure(ConnectionAborted()))
        self._channel.requestDone(request)

    def _send(self, code: int, reason: bytes, headers: Headers, body: bytes) -> None:
        channel = self._channel
        if hasattr(channel, "writeAnswer"):
            channel.writeAnswer(code, reason, headers, body)
            return
        channel.writeHeaders(self._request.clientproto, b"%d" % code, reason, headers)
        if body:
            channel.write(body)

    def _finish(self) -> None:
        """Tell that the request has ended, if it has."""
        self.site.tell(self._request)
        if self._done and not self._request._disconnected:
            self._channel.requestDone(self._request)
