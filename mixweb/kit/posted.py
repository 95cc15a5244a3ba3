"""
Pages that clients post: as a form with ``data`` and ``type``, or as JSON with Base64 ``data``.
"""

from __future__ import annotations

import json
import mimetypes
import os
from base64 import b64decode
from binascii import a2b_base64
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import unquote_to_bytes

from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.interfaces import IReactorThreads
from twisted.internet.threads import deferToThreadPool

from mixweb.engine.errors import HTTPError
from mixweb.engine.request import Request

#: The type of a page when none is given, or one that the system does not know.
DEFAULT_TYPE = "text/plain"

#: A longer body is read in a thread.
_INLINE_BYTES = 65536

#: How many such bodies are in memory at once.
_AT_ONCE = 4

#: No form of a page has more pairs of name and value than this.
_MAX_PAIRS = 1000

#: What a form needs for a page: three bytes for each of the page's, and its names.
_FORM_FACTOR, _FORM_EXTRA = 3, 4096


@dataclass(frozen=True)
class Page:
    """
    A page.

    :ivar type: its media type, without parameters.
    """

    data: bytes
    type: str


@dataclass(frozen=True)
class Format:
    """
    How a body says what the page is.

    :ivar fields: the page's ``data`` and ``type`` in a body, as they are.
    :ivar decode: makes the data of the field ``data``.
    :raises ValueError: from both, when that is not possible.
    """

    fields: Callable[[bytes], dict[str, Any]]
    decode: Callable[[Any], bytes]


def unquote_plus(value: bytes) -> bytes:
    """A value of a form, decoded."""
    return unquote_to_bytes(value.replace(b"+", b" "))


def form_fields(body: bytes) -> dict[str, Any]:
    """
    The first ``data`` and ``type`` of a form, and any ``=`` in them.

    :raises ValueError: when there is no pair in it, or too many of them.
    """
    if body.count(b"&") >= _MAX_PAIRS:
        raise ValueError(f"Cannot load parameters from request! A form has at most {_MAX_PAIRS} of them.")
    found: dict[str, Any] = {}
    pairs = [pair for pair in body.split(b"&") if b"=" in pair]
    if not pairs:
        raise ValueError("Cannot load parameters from request!")
    for pair in pairs:
        name, _, value = pair.partition(b"=")
        found.setdefault(unquote_plus(name).decode("utf-8", "replace"), value)
    if isinstance(kind := found.get("type"), bytes):
        found["type"] = unquote_plus(kind).decode("utf-8", "replace")
    return found


def plain_form_fields(body: bytes) -> dict[str, Any]:
    """The same; a second ``=`` in a pair is refused."""
    if any(pair.count(b"=") > 1 for pair in body.split(b"&", _MAX_PAIRS)):
        raise ValueError("Cannot load parameters from request!")
    return form_fields(body)


def json_fields(body: bytes) -> dict[str, Any]:
    """
    The members of a JSON object.

    :raises ValueError: when it is none.
    """
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise ValueError("Cannot decode JSON!") from None
    if not isinstance(found, dict):
        raise ValueError("Cannot load parameters from request! The JSON is not an object.")
    return found


def base64(text: str) -> bytes:
    """
    What Base64 stands for (RFC 4648, 4), with nothing else in it.

    :raises ValueError: when it is not that.
    """
    return a2b_base64(text, strict_mode=True)


def base64_field(decode: Callable[[str], bytes], value: Any) -> bytes:
    """
    The data of a member of a JSON object.

    :raises ValueError: when it cannot be decoded.
    """
    try:
        if isinstance(value, str):
            return decode(value)
    except ValueError:
        pass
    raise ValueError("Cannot Base64 decode request data!")


_FORM = "application/x-www-form-urlencoded"
_JSON = ("application/json", "text/json")

_FORMATS = {
    _FORM: Format(form_fields, unquote_plus),
    **dict.fromkeys(_JSON, Format(json_fields, partial(base64_field, base64))),
}
_LOOSE_FORMATS = {
    _FORM: Format(plain_form_fields, unquote_plus),
    **dict.fromkeys(_JSON, Format(json_fields, partial(base64_field, b64decode))),
}


def known_types() -> frozenset[str]:
    """The media types of the system."""
    mimetypes.init()
    return frozenset([*mimetypes.types_map.values(), *mimetypes.common_types.values()])


def media_type(value: Any, known: frozenset[str]) -> str:
    """
    The type of a page: what was asked for, without parameters, where it is known.

    :raises ValueError: when it is not text.
    """
    if not isinstance(value, str):
        raise ValueError('The "type" parameter is not text.')
    asked = value.partition(";")[0].strip().lower()
    return asked if asked in known else DEFAULT_TYPE


def page_of(declared: bytes | None, body: bytes, known: frozenset[str], loose: bool) -> Page:
    """
    The page in a body.

    :param declared: the ``Content-Type`` of the body.
    :param known: the types that a page may have.
    :param loose: whether Base64 may have other characters in it, and a form no ``=`` in a value.
    :raises HTTPError: 400 when there is none.
    """
    kind = (declared or b"").partition(b";")[0].strip().lower().decode("latin-1")
    format = (_LOOSE_FORMATS if loose else _FORMATS).get(kind)
    if format is None:
        raise HTTPError(400, f"Unknown Content-Type: {kind or 'none'}")
    try:
        fields = format.fields(body)
        if "data" not in fields:
            raise ValueError('No "data" parameter present!')
        return Page(format.decode(fields["data"]), media_type(fields.get("type", DEFAULT_TYPE), known))
    except ValueError as reason:
        raise HTTPError(400, str(reason)) from None


class PageReader:
    """
    Reads the pages that requests bring.

    :param max_bytes: of a page; a longer one is refused with 413.
    :param loose: whether bodies are read as mixnmatchttp does (:func:`page_of`).
    """

    def __init__(self, reactor: Any, max_bytes: int, loose: bool) -> None:
        self.max_bytes = max_bytes
        self.loose = loose
        self._known = known_types()
        self._reactor = reactor
        self._turns = DeferredSemaphore(_AT_ONCE)

    async def read(self, request: Request) -> Page:
        """
        The page that a request brings.

        :raises HTTPError: 400 when it brings none, 413 when it is too long.
        """
        length = request.content.seek(0, os.SEEK_END)
        if length > self.max_bytes * _FORM_FACTOR + _FORM_EXTRA:
            raise self._too_long()
        if length <= _INLINE_BYTES or not IReactorThreads.providedBy(self._reactor):
            page = self._parse(*self._content(request))
        else:
            async with self._turns:
                pool = self._reactor.getThreadPool()
                page = await deferToThreadPool(self._reactor, pool, self._parse, *self._content(request))
        if len(page.data) > self.max_bytes:
            raise self._too_long()
        return page

    def _content(self, request: Request) -> tuple[bytes | None, bytes]:
        request.content.seek(0)
        return request.getHeader(b"Content-Type"), request.content.read()

    def _parse(self, declared: bytes | None, body: bytes) -> Page:
        return page_of(declared, body, self._known, self.loose)

    def _too_long(self) -> HTTPError:
        return HTTPError(413, f"A page has at most {self.max_bytes} bytes.")


def answer_with(request: Request, page: Page, unsafe: bool) -> bytes:
    """
    Answer with a page of somebody's.

    :param unsafe: whether browsers may take its scripts for those of this site.
    :returns: the body.
    """
    request.setHeader(b"Content-Type", page.type.encode())
    request.setHeader(b"X-Content-Type-Options", b"nosniff")
    if not unsafe:
        request.setHeader(b"Content-Security-Policy", b"sandbox")
    return page.data


def shielded(work: Deferred[Any]) -> Deferred[Any]:
    """What ``work`` comes to; to cancel this does not cancel that."""
    waiting: Deferred[Any] = Deferred()
    work.addBoth(waiting.callback)
    return waiting
