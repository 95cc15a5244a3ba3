"""
Pages, their answer: status, header, body, and what is worked out when it is complete.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, TypeAlias

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from mixweb.kit.etags import tag_matches
from mixweb.kit.rules import clean_url
from mixweb.pages.answers import HTML, JSON, to_json
from mixweb.pages.call import Call

if TYPE_CHECKING:
    from mixweb.engine.request import Request

Chunk: TypeAlias = str | bytes | Mapping[str, Any]

#: A longer answer gets no ETag by itself.
_TAGGED_BYTES = 1024 * 1024

_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

#: What describes a body that is not sent (RFC 9110, 15.4.5).
_OF_A_BODY = ("Content-Type", "Content-Language", "Content-Encoding", "Content-Length")


@implementer(IPushProducer)
class _Outflow:
    """Tells when more may be written."""

    def __init__(self) -> None:
        self._paused = False
        self._waiting: list[Deferred[None]] = []

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        waiting, self._waiting = self._waiting, []
        for ready in waiting:
            ready.callback(None)

    def stopProducing(self) -> None:
        """The client has left: who waits is cancelled with the page."""

    def ready(self) -> Deferred[None]:
        """Fires when the client has taken what was written."""
        if not self._paused:
            return succeed(None)
        self._waiting.append(Deferred())
        return self._waiting[-1]


class PageAnswer:
    """
    What of a page makes its answer.

    :ivar call: the request on its way to this page.
    :ivar request: the request itself.
    """

    def __init__(self, call: Call) -> None:
        self.call = call
        self.request: Request = call.request
        self._chunks: list[bytes] = []
        self._flow: _Outflow | None = None
        self._finished = False
        self._status_set = False
        self._before = {name: list(values) for name, values in self.request.responseHeaders.getAllRawHeaders()}
        self.clear()

    # Status and header

    def set_default_headers(self) -> None:
        """Override to set header fields of every answer, those of errors too."""

    def clear(self) -> None:
        """Forget status, header and body so far."""
        headers = self.request.responseHeaders
        for name, _ in list(headers.getAllRawHeaders()):
            headers.removeHeader(name)
        for name, values in self._before.items():
            headers.setRawHeaders(name, values)
        self._chunks = []
        self.request.setResponseCode(200)
        self._status_set = False
        self.set_default_headers()

    def set_status(self, status_code: int, reason: str | None = None) -> None:
        """Set the status; HTTP/2 and later send no reason."""
        self.request.setResponseCode(status_code, None if reason is None else _header_value(reason).encode("latin-1"))
        self._status_set = True

    def get_status(self) -> int:
        """The status."""
        return int(self.request.code)

    def set_header(self, name: str, value: Any) -> None:
        """
        Set a field in the place of what it was.

        :param value: text, a number, or a time.
        """
        self.request.responseHeaders.setRawHeaders(name, [_header_value(value)])

    def add_header(self, name: str, value: Any) -> None:
        """Add a field beside others of its name."""
        self.request.responseHeaders.addRawHeader(name, _header_value(value))

    def clear_header(self, name: str) -> None:
        """Take a field away."""
        self.request.responseHeaders.removeHeader(name)

    def redirect(self, url: str, permanent: bool = False, status: int | None = None) -> None:
        """
        Send the client elsewhere, and finish.

        :param permanent: 301 in the place of 302.
        :param status: any other one, 300 to 399.
        """
        if self._flow is not None:
            raise RuntimeError("redirect() after flush(): the status has left")
        chosen = status if status is not None else 301 if permanent else 302
        if not 300 <= chosen <= 399:
            raise ValueError(f"status must be 300 to 399, not {chosen}")
        self.set_status(chosen)
        self.set_header("Location", clean_url(_header_value(url)))
        self.finish()

    # Body

    def write(self, chunk: Chunk) -> None:
        """
        Add to the body.

        :param chunk: text (UTF-8), bytes, or a dict, which is JSON.
        :raises TypeError: of a list: it is to be in a dict.
        """
        if self._finished:
            raise RuntimeError("write() after finish()")
        if isinstance(chunk, Mapping):
            if not self.request.responseHeaders.hasHeader("Content-Type"):
                self.set_header("Content-Type", JSON.decode())
            chunk = to_json(dict(chunk))
        elif not isinstance(chunk, (str, bytes)):
            hint = ": put it into a dict" if isinstance(chunk, list) else ""
            raise TypeError(f"write() takes text, bytes or a dict, not {type(chunk).__name__}{hint}")
        self._chunks.append(chunk.encode() if isinstance(chunk, str) else chunk)

    def flush(self) -> Deferred[None]:
        """
        Send what was written so far; status and header leave with the first time.

        :returns: fires when the client has taken it: to be waited for by those who write much.
        """
        if self._finished or self.request.is_over:
            return succeed(None)
        if self._flow is None:
            self._flow = _Outflow()
            self._set_default_type()
            self.request.registerProducer(self._flow, True)
        self.request.write(self._take_chunks())
        return self._flow.ready()

    def finish(self, chunk: Chunk | None = None) -> Deferred[None]:
        """
        The answer is complete.

        :param chunk: written before.
        """
        if self._finished:
            raise RuntimeError("finish() called twice")
        if chunk is not None:
            self.write(chunk)
        self.on_body_finish()
        self._finished = True
        if self.request.is_over:
            return succeed(None)
        if self._flow is None:
            self._finish_whole()
        else:
            self.request.write(self._take_chunks())
            self.request.unregisterProducer()
            self.request.finish()
        return succeed(None)

    def on_body_finish(self) -> None:
        """Override to do something when the body is complete and the header has not left, unless it was flushed."""

    def _finish_whole(self) -> None:
        if self.request.method in (b"GET", b"HEAD") and self.get_status() == 200:
            if not self.request.responseHeaders.hasHeader("ETag"):
                self.set_etag_header()
            if self.check_etag_header():
                self.set_status(304)
                self._chunks = []
        if not self._chunks and not self._status_set:
            self.set_status(204)
        if self._chunks:
            self._set_default_type()
        else:
            for name in _OF_A_BODY:
                self.clear_header(name)
        self.request.complete(self._take_chunks())

    def _set_default_type(self) -> None:
        if not self.request.responseHeaders.hasHeader("Content-Type"):
            self.set_header("Content-Type", HTML.decode())

    def _take_chunks(self) -> bytes:
        chunks, self._chunks = self._chunks, []
        return b"".join(chunks)

    # Entity tags

    def compute_etag(self) -> str | None:
        """The entity tag of what was written, in quotes; override for another one, or None for none."""
        if not self._chunks or sum(map(len, self._chunks)) > _TAGGED_BYTES:
            return None
        digest = blake2b(digest_size=12)
        for chunk in self._chunks:
            digest.update(chunk)
        return f'"{digest.hexdigest()}"'

    def set_etag_header(self) -> None:
        """Set ``ETag`` to what :meth:`compute_etag` says."""
        etag = self.compute_etag()
        if etag is not None:
            self.set_header("ETag", etag)

    def check_etag_header(self) -> bool:
        """Whether the client has the answer with this ``ETag`` already."""
        tags = self.request.requestHeaders.getRawHeaders(b"If-None-Match")
        etag = self.request.responseHeaders.getRawHeaders(b"ETag")
        return bool(tags and etag) and tag_matches(b",".join(tags or ()), (etag or [b""])[-1])


def _header_value(value: Any) -> str:
    """
    A value as a field has it.

    :raises ValueError: when it has control characters, which would end the field.
    """
    if isinstance(value, datetime):
        moment = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
        return format_datetime(moment.astimezone(UTC), usegmt=True)
    text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
    if _CONTROLS.search(text):
        raise ValueError(f"a header cannot have control characters: {text!r}")
    return text
