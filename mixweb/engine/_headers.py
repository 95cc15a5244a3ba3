"""
Header fields between bytes and Twisted's ``Headers``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, AnyStr, TypeVar, overload

from twisted.web.http_headers import Headers

from mixweb.engine.fields import DefaultFields
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

    __slots__ = ("_defaults",)

    def __init__(self, date: bytes) -> None:
        self._rawHeaders = {b"Server": [b"mixweb"], b"Date": [date]}
        # What was filled in last and is not yet among the others: most answers are sent so.
        self._defaults: DefaultFields | None = None

    def settle(self) -> None:
        """Have what was filled in stand among the others, where it can be changed."""
        if self._defaults is not None:
            defaults, self._defaults = self._defaults, None
            self._rawHeaders.update({name: [value] for name, value in defaults.items()})

    @property
    def defaults(self) -> DefaultFields | None:
        """What was filled in and is not among the others."""
        return self._defaults

    def put(self, name: bytes, value: bytes) -> None:
        """Set a field that this server made: its name as ``Headers`` spells it, a value that needs no check."""
        self._rawHeaders[name] = [value]

    def fill(self, fields: DefaultFields) -> None:
        """Set those fields that there are not."""
        self.settle()
        own = self._rawHeaders
        if own.keys().isdisjoint(fields):
            self._defaults = fields
        else:
            own.update({name: [value] for name, value in fields.items() if name not in own})

    def has(self, name: bytes) -> bool:
        """Whether there is a field, named as ``Headers`` spells it."""
        return name in self._rawHeaders or (self._defaults is not None and name in self._defaults)

    def hasHeader(self, name: AnyStr) -> bool:
        self.settle()
        return super().hasHeader(name)

    def getRawHeaders(self, name: Any, default: Any = None) -> Any:
        self.settle()
        return super().getRawHeaders(name, default)

    def getAllRawHeaders(self) -> Iterator[tuple[bytes, Sequence[bytes]]]:
        self.settle()
        return super().getAllRawHeaders()

    def copy(self) -> Headers:
        self.settle()
        return super().copy()


def _key(name: str | bytes) -> bytes:
    return (name.encode("iso-8859-1") if isinstance(name, str) else name).lower()


def tidy_reason(reason: bytes) -> bytes:
    """A reason phrase without what may not be in one (RFC 9112, 4)."""
    return _NOT_REASON.sub(b" ", reason)


@lru_cache(maxsize=256)
def _status_line(code: int, reason: bytes) -> bytes:
    return b"HTTP/1.1 %d %b" % (code, tidy_reason(reason))


def format_head(code: int, reason: bytes, headers: Headers) -> bytes:
    """The head of an answer as it is sent. The version is always the one this server has (RFC 9110, 6.2)."""
    parts = [_status_line(code, reason)]
    for name, values in headers._rawHeaders.items():
        for value in values:
            parts += (b"\r\n", name, b": ", value)
    if type(headers) is ResponseFields and headers.defaults is not None:
        parts.append(headers.defaults.lines)
    parts.append(b"\r\n\r\n")
    return b"".join(parts)
