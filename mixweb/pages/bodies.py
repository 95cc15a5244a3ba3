"""
What a request brings besides its path: the query, a form, a JSON document, files.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import unquote_plus

from multipart import parse_options_header

from mixweb.engine.errors import HTTPError
from mixweb.engine.request import Request
from mixweb.pages.uploads import Limits, MultipartReader, Upload

#: The values of each name. Bytes that are not UTF-8 are lone surrogates in them.
Fields = dict[str, list[str]]

#: In the place of a JSON document that there is not.
ABSENT: Any = object()

_URLENCODED = "application/x-www-form-urlencoded"
_MULTIPART = "multipart/form-data"
_JSON = ("application/json", "text/json")


def parse_pairs(data: bytes) -> Fields:
    """The names and values of a query, or of a form that is written as one (WHATWG URL, 5.1)."""
    found: Fields = {}
    text = data.decode("utf-8", "surrogateescape")
    plain = "%" not in text and "+" not in text
    for pair in text.split("&"):
        if pair:
            name, _, value = pair.partition("=")
            if not plain:
                name = unquote_plus(name, errors="surrogateescape")
                value = unquote_plus(value, errors="surrogateescape")
            if name in found:
                found[name].append(value)
            else:
                found[name] = [value]
    return found


@dataclass
class Content:
    """
    What the body of a request holds.

    :ivar form: the fields of a form.
    :ivar json: the JSON document, if it is one.
    :ivar uploads: the files of a form.
    """

    form: Fields = field(default_factory=dict)
    json: Any = ABSENT
    uploads: dict[str, list[Upload]] = field(default_factory=dict)


NO_CONTENT = Content()


class Reader(Protocol):
    """Takes a body piece by piece."""

    def feed(self, data: bytes) -> None:
        """Take a piece; ``HTTPError`` when it cannot be taken."""

    def finish(self) -> Content:
        """What the body holds; ``HTTPError`` when that cannot be told."""

    def close(self) -> None:
        """Forget what was taken."""


class FormReader:
    """Of a form with files."""

    def __init__(self, boundary: str, limits: Limits, reactor: Any) -> None:
        self._reader = MultipartReader(boundary, limits, reactor)
        self.feed = self._reader.feed
        self.close = self._reader.close

    def finish(self) -> Content:
        self._reader.end()
        return Content(self._reader.fields, uploads=self._reader.uploads)


class WholeReader:
    """Of a body that is parsed in one piece."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._pieces: list[bytes] = []
        self._length = 0

    def feed(self, data: bytes) -> None:
        self._length += len(data)
        if self._length > self.limits.form_bytes:
            raise HTTPError(413, f"A form or document has at most {self.limits.form_bytes} bytes.")
        self._pieces.append(data)

    def close(self) -> None:
        self._pieces.clear()

    def finish(self) -> Content:
        return self.parse(b"".join(self._pieces))

    def parse(self, body: bytes) -> Content:
        """What is in the whole body."""
        if body.count(b"&") >= self.limits.fields:
            raise HTTPError(413, f"A form has at most {self.limits.fields} fields.")
        return Content(parse_pairs(body))


class JsonReader(WholeReader):
    """Of a JSON document."""

    def parse(self, body: bytes) -> Content:
        if not body:
            return NO_CONTENT
        try:
            return Content(json=json.loads(body))
        except (ValueError, RecursionError) as reason:
            raise HTTPError(400, f"The body is no JSON document: {reason}.") from None


def reader_of(request: Request, limits: Limits) -> Reader | None:
    """
    What reads the body of a request; ``None`` when nothing is known about its type, or there is none.

    :raises HTTPError: when the type is malformed.
    """
    declared = (request.getHeader(b"Content-Type") or b"").decode("latin-1")
    kind, options = parse_options_header(declared)
    if kind == _MULTIPART:
        if not options.get("boundary"):
            raise HTTPError(400, "The Content-Type names no boundary.")
        return FormReader(options["boundary"], limits, request.site.reactor)
    if kind == _URLENCODED:
        return WholeReader(limits)
    return JsonReader(limits) if kind in _JSON or kind.endswith("+json") else None
