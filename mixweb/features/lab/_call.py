"""
What the endpoints are given, and what they are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import parse_qs, quote

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from mixweb.engine.errors import HTTPError
from mixweb.engine.request import Request
from mixweb.feature import MountSettings, option

#: The methods of endpoints that take any.
ANY = (b"DELETE", b"GET", b"PATCH", b"POST", b"PUT")

#: Names and values that a query or form may have at most.
MAX_FIELDS = 1000

_SECONDS = re.compile(r"\d{1,9}(?:\.\d{1,9})?\Z", re.ASCII)
_WHOLE = re.compile(r"-?\d{1,18}\Z", re.ASCII)

#: A document of more bytes is not indented.
_INDENTED_BYTES = 16 * 1024

# No document is markup, whatever type somebody has it sent as.
_NO_MARKUP = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


@dataclass(frozen=True)
class Lab(MountSettings):
    """Endpoints that answer as they are asked to, to test clients: those of httpbin, and faults."""

    at: str = option("/lab", help="Path it is mounted at.", metavar="PATH", kw_only=True)
    max_bytes: int = option(10 * 1024 * 1024, help="Longest body that can be asked for, in bytes.", metavar="BYTES")
    max_seconds: float = option(10.0, help="Longest time that can be asked for.", metavar="SECONDS")
    max_redirects: int = option(100, help="Longest chain of redirects that can be asked for.", metavar="NUMBER")
    max_lines: int = option(100, help="Most lines of /stream that can be asked for.", metavar="NUMBER")
    max_body_bytes: int = option(
        256 * 1024, help="Longest request body that is shown, in bytes; a longer one is 413.", metavar="BYTES"
    )

    def __post_init__(self) -> None:
        for name in ("max_bytes", "max_redirects", "max_lines", "max_body_bytes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        if not 0 <= self.max_seconds <= 86400:
            raise ValueError("max_seconds must be from 0 to 86400")


@dataclass(slots=True)
class Call:
    """
    A request to one endpoint.

    :ivar base: the path of the mount, percent-encoded, without a slash at its end.
    """

    request: Request
    settings: Lab
    reactor: Any
    base: str
    query: dict[str, list[str]] = field(init=False)

    def __post_init__(self) -> None:
        text = self.request.target.partition(b"?")[2].decode("utf-8", "replace")
        try:
            self.query = parse_qs(text, keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="replace")
        except ValueError:
            raise HTTPError(400, f"The query has more than {MAX_FIELDS} fields.") from None

    def value(self, name: str, default: str = "") -> str:
        """The first value of a query field."""
        return self.query.get(name, [default])[0]

    def header(self, name: bytes) -> bytes:
        """All lines of a request header, joined; empty for none."""
        return b", ".join(self.request.requestHeaders.getRawHeaders(name) or ())

    def sleep(self, seconds: float) -> Deferred[None]:
        """Fires after so many seconds."""
        return deferLater(self.reactor, seconds)

    def seconds(self, text: str) -> float:
        """A time, at most the longest that can be asked for."""
        if not _SECONDS.match(text):
            raise HTTPError(400, f"{text!r} is not a number of seconds.")
        return min(float(text), self.settings.max_seconds)

    def size(self, text: str) -> int:
        """A number of bytes, at most the most that can be asked for."""
        return whole(text, 0, self.settings.max_bytes)

    def kind(self, media_type: bytes) -> None:
        """Set the type of the answer."""
        self.request.setHeader(b"Content-Type", media_type)

    def json(self, document: Any) -> bytes:
        """The answer that is a JSON document."""
        self.kind(b"application/json")
        return json_text(document)

    def redirect(self, location: str, status: int = 302) -> bytes:
        """The answer that leads elsewhere."""
        self.request.setResponseCode(status)
        self.request.setHeader(b"Location", location.encode("ascii"))
        self.kind(b"text/plain; charset=utf-8")
        return location.encode("ascii") + b"\n"


def whole(text: str, least: int, most: int) -> int:
    """
    A whole number; a greater one than ``most`` is that.

    :raises HTTPError: 400 when it is none, or less than ``least``.
    """
    if not _WHOLE.match(text) or int(text) < least:
        raise HTTPError(400, f"{text!r} is not a whole number of at least {least}.")
    return min(int(text), most)


def json_text(document: Any, indented: bool = True) -> bytes:
    """A JSON document and a line break, without the characters of markup."""
    text = json.dumps(document, sort_keys=True)
    if indented and len(text) <= _INDENTED_BYTES:
        with suppress(RecursionError):
            text = json.dumps(document, sort_keys=True, indent=2)
    return text.translate(_NO_MARKUP).encode() + b"\n"


def header_text(value: bytes) -> str:
    """A header value as text: UTF-8 where it is, else ISO 8859-1."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


#: Answers a call with the arguments of the path: bytes, or what waits or streams.
Answer: TypeAlias = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """
    One endpoint.

    :ivar path: below the mount; ``{name}`` is a segment that is an argument, ``{name...}`` any number of them.
    :ivar help: what it answers, in a few words.
    """

    path: str
    answer: Answer
    help: str
    methods: tuple[bytes, ...] = (b"GET",)


class Routes:
    """
    Finds endpoints by path.

    :param endpoints: of those that match, the first is taken.
    """

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self.endpoints = endpoints
        self._by_name: dict[str, list[tuple[list[str], Endpoint]]] = {}
        for endpoint in endpoints:
            first, *rest = endpoint.path.strip("/").split("/")
            self._by_name.setdefault(first, []).append((rest, endpoint))

    def find(self, segments: Sequence[str]) -> tuple[Endpoint, list[str]] | None:
        """The endpoint of a path and the arguments in it; ``None`` where there is none."""
        for pattern, endpoint in self._by_name.get(segments[0], ()):
            arguments = _match(pattern, segments[1:])
            if arguments is not None:
                return endpoint, arguments
        return None


def _match(pattern: list[str], segments: Sequence[str]) -> list[str] | None:
    if pattern and pattern[-1].endswith("...}"):
        return []
    if len(pattern) != len(segments):
        return None
    arguments = []
    for part, segment in zip(pattern, segments, strict=True):
        if part.startswith("{"):
            arguments.append(segment)
        elif part != segment:
            return None
    return arguments


def quoted_path(segments: Sequence[bytes]) -> str:
    """Segments as they stand in a URL, each with a slash before it."""
    return "".join("/" + quote(segment, safe="") for segment in segments)
