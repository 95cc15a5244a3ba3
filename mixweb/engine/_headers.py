"""
Header fields between bytes and Twisted's ``Headers``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, AnyStr, TypeVar, overload

from twisted.web.http_headers import Headers

from mixweb.engine.http1 import Fields

T = TypeVar("T")

_NOT_REASON = re.compile(rb"[^\t\x20-\x7e\x80-\xff]+")


class RequestFields(Headers):
    """
    The headers of a request. They share what was parsed with other requests until they are changed.

    :param fields: the parsed field section.
    """

    __slots__ = ("_fields",)

    def __init__(self, fields: Fields) -> None:
        self._fields: Fields | None = fields

    def __getattr__(self, name: str) -> Any:
        # Everything that is not answered here asks for the fields as Twisted keeps them.
        if name != "_rawHeaders" or self._fields is None:
            raise AttributeError(name)
        own = Headers()
        for field, value in self._fields.pairs:
            own.addRawHeader(field, value)
        self._fields = None
        self._rawHeaders = own._rawHeaders
        return self._rawHeaders

    def copy(self) -> Headers:
        """A copy that may be changed by itself."""
        copied = Headers()
        for name, values in self.getAllRawHeaders():
            copied.setRawHeaders(name, values)
        return copied

    def hasHeader(self, name: AnyStr) -> bool:
        """Whether there is a field of this name."""
        if self._fields is None:
            return super().hasHeader(name)
        return _key(name) in self._fields.values

    def has_any(self, names: frozenset[bytes]) -> bool:
        """
        Whether there is any of these fields.

        :param names: in lower case.
        """
        if self._fields is None:
            return any(super(RequestFields, self).hasHeader(name) for name in names)
        return not names.isdisjoint(self._fields.values)

    @overload
    def getRawHeaders(self, name: AnyStr) -> Sequence[AnyStr] | None: ...

    @overload
    def getRawHeaders(self, name: AnyStr, default: T) -> Sequence[AnyStr] | T: ...

    def getRawHeaders(self, name: AnyStr, default: T | None = None) -> Sequence[AnyStr] | T | None:
        """The values of a field in a list of their own, as text when the name is text; ``default`` without any."""
        if self._fields is None:
            return super().getRawHeaders(name, default)
        values = self._fields.values.get(_key(name))
        if values is None:
            return default
        return [value.decode("utf8") for value in values] if isinstance(name, str) else list(values)


class ResponseFields(Headers):
    """
    The headers of an answer, which every answer begins with.

    :param date: the value of ``Date``.
    """

    __slots__ = ()

    def __init__(self, date: bytes) -> None:
        self._rawHeaders = {b"Server": [b"mixweb"], b"Date": [date]}

    def put(self, name: bytes, value: bytes) -> None:
        """Set a field that this server made: its name as ``Headers`` spells it, a value that needs no check."""
        self._rawHeaders[name] = [value]

    def fill(self, fields: Mapping[bytes, bytes]) -> None:
        """Set those fields that there are not; names and values as for :meth:`put`."""
        own = self._rawHeaders
        for name, value in fields.items():
            if name not in own:
                own[name] = [value]

    def has(self, name: bytes) -> bool:
        """Whether there is a field, named as ``Headers`` spells it."""
        return name in self._rawHeaders


def _key(name: str | bytes) -> bytes:
    return (name.encode("iso-8859-1") if isinstance(name, str) else name).lower()


def tidy_reason(reason: bytes) -> bytes:
    """A reason phrase without what may not be in one (RFC 9112, 4)."""
    return _NOT_REASON.sub(b" ", reason)


@lru_cache(maxsize=256)
def _status_line(code: int, reason: bytes) -> bytes:
    return b"HTTP/1.1 %d %b" % (code, tidy_reason(reason))


@lru_cache(maxsize=256)
def _head_format(parts: int) -> bytes:
    return b"%b\r\n" + b"%b: %b\r\n" * (parts // 2) + b"\r\n"


def format_head(code: int, reason: bytes, headers: Headers) -> bytes:
    """The head of an answer as it is sent. The version is always the one this server has (RFC 9110, 6.2)."""
    parts = [_status_line(code, reason)]
    for name, values in headers._rawHeaders.items():
        for value in values:
            parts += (name, value)
    return _head_format(len(parts)) % tuple(parts)
