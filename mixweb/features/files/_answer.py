"""
Answering with a file: preconditions, ranges, and what is sent.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from secrets import token_hex
from time import time

from twisted.web.http_headers import Headers
from twisted.web.server import NOT_DONE_YET

from mixweb.engine._headers import RequestFields
from mixweb.engine.files import FieldBlock, is_settled
from mixweb.engine.request import Request
from mixweb.features.files._send import send
from mixweb.kit.conditional import Conditions, State, evaluate, range_applies
from mixweb.kit.ranges import Piece, Span, length, multipart, select

_CONDITIONS = (b"If-Match", b"If-None-Match", b"If-Modified-Since", b"If-Unmodified-Since")
_ASKING = frozenset(name.lower() for name in (*_CONDITIONS, b"Range"))


@dataclass(frozen=True, slots=True)
class Representation:
    """
    What is sent for a file.

    :ivar size: in bytes.
    :ivar fields: what describes it, with ``Content-Type``.
    :ivar unchanged: what is said of it to a client that has it.
    :ivar body: its content; ``None`` for a file that is too large to be kept in memory.
    """

    size: int
    state: State
    content_type: bytes
    fields: FieldBlock
    unchanged: FieldBlock
    body: bytes | None = None


def entity_tag(status: os.stat_result, body: bytes | None, now: int) -> bytes:
    """
    The entity tag of a file (RFC 9110, 8.8.3): of its content where that is at hand, else of inode, size and time of
    change. The latter is weak as long as another write might not show in it.

    :param now: nanoseconds since the epoch, from before the file was opened.
    """
    if body is not None:
        return b'"%b"' % hashlib.blake2b(body, digest_size=12).hexdigest().encode("ascii")
    weak = b"" if is_settled(status.st_mtime_ns, now) else b"W/"
    return b'%b"%x-%x-%x"' % (weak, status.st_ino, status.st_size, status.st_mtime_ns)


def answer(request: Request, representation: Representation, descriptor: int = -1) -> bytes | int:
    """
    Answer a GET or HEAD.

    :param descriptor: the open file where the representation has no body; closed in the end.
    """
    if not _asks(request.requestHeaders):
        representation.fields.set_on(request.responseHeaders)
        return content(request, representation, descriptor)
    status = evaluate(_conditions(request), representation.state)
    if status == 200 and request.method == b"GET":
        spans = _spans(request, representation)
        if spans is not None:
            return _partial(request, representation, descriptor, spans)
    if status != 200:
        _close(descriptor)
    if status == 304:
        return _not_modified(request, representation)
    if status == 412:
        return request.error(412, "The file is not in the state that was asked for.")
    representation.fields.set_on(request.responseHeaders)
    return content(request, representation, descriptor)


def _asks(fields: Headers) -> bool:
    """Whether a client asks for anything but the whole file as it is."""
    if isinstance(fields, RequestFields):
        return fields.has_any(_ASKING)
    return any(fields.hasHeader(name) for name in _ASKING)


def content(request: Request, representation: Representation, descriptor: int) -> bytes | int:
    """Send the whole content of a representation, none of it to a HEAD."""
    if representation.body is not None:
        return representation.body
    request.setHeader(b"Content-Length", b"%d" % representation.size)
    if request.method == b"HEAD":
        _close(descriptor)
        request.finish()
        return NOT_DONE_YET
    return send(request, descriptor, [Span(0, representation.size)])


def _conditions(request: Request) -> Conditions:
    return Conditions(*(_joined(request, name) for name in _CONDITIONS))


def _joined(request: Request, name: bytes) -> bytes | None:
    values = request.requestHeaders.getRawHeaders(name)
    return None if values is None else b", ".join(values)


def _spans(request: Request, representation: Representation) -> list[Span] | None:
    value = _joined(request, b"Range")
    if value is None or not range_applies(_joined(request, b"If-Range"), representation.state, time()):
        return None
    return select(value, representation.size)


def _partial(request: Request, representation: Representation, descriptor: int, spans: list[Span]) -> bytes | int:
    size = representation.size
    if not spans:
        _close(descriptor)
        return request.error(416, f"The file has {size} bytes.", [(b"Content-Range", b"bytes */%d" % size)])
    representation.fields.set_on(request.responseHeaders)
    pieces: list[Piece] = list(spans)
    if len(spans) > 1:
        boundary = token_hex(16).encode("ascii")
        parts = multipart(spans, size, representation.content_type, boundary)
        if parts is None:
            return content(request, representation, descriptor)
        pieces = parts
        request.setHeader(b"Content-Type", b"multipart/byteranges; boundary=" + boundary)
    else:
        request.setHeader(b"Content-Range", spans[0].content_range(size))
    request.setResponseCode(206)
    if representation.body is not None:
        return _cut(representation.body, pieces)
    request.setHeader(b"Content-Length", b"%d" % length(pieces))
    return send(request, descriptor, pieces)


def _cut(body: bytes, pieces: Sequence[Piece]) -> bytes:
    return b"".join(
        [body[piece.start : piece.start + piece.size] if isinstance(piece, Span) else piece for piece in pieces]
    )


def _not_modified(request: Request, representation: Representation) -> int:
    representation.unchanged.set_on(request.responseHeaders)
    request.setResponseCode(304)
    if request.method == b"HEAD":
        request.setHeader(b"Content-Length", b"%d" % representation.size)
    request.finish()
    return NOT_DONE_YET


def _close(descriptor: int) -> None:
    if descriptor >= 0:
        os.close(descriptor)
