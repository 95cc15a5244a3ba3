"""
A fixed answer, with values of the request in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from time import time
from typing import TypeAlias
from uuid import uuid4

from twisted.web.error import UnsupportedMethod
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from mixweb.engine.fields import TOKEN
from mixweb.engine.request import Request
from mixweb.feature import Context, Mount, MountSettings, option
from mixweb.interfaces import IClientAddress
from mixweb.kit.headerlines import header_lines
from mixweb.kit.placeholders import Getter, Template, escape_field, escape_for

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")

_MEDIA_TYPE = re.compile(r"[!#-'*+.0-9A-Z^-z|~-]+/[!#-'*+.0-9A-Z^-z|~-]+(?:[ \t]*;[ -~]*)?\Z")

RequestTemplate: TypeAlias = Template[Request]


@dataclass(frozen=True)
class Respond(MountSettings):
    """Answer every request with the same thing; values of the request may be in it."""

    body: str = option("", principal=True, help="Text of the answer; may have placeholders ({path}, {arg.NAME} ...).")
    status: int = option(200, help="Status code, 200 to 599.")
    headers: Sequence[str] = option((), help="Header of the answer; may have placeholders.", metavar="'NAME: VALUE'")
    type: str = option("text/plain; charset=utf-8", help="Content-Type; decides how values are escaped.")
    methods: Sequence[str] = option(_METHODS, help="Methods that are answered.")
    close: bool = option(False, help="Close the connection after the answer.")
    abort: bool = option(False, help="Drop the connection without an answer.")

    def __post_init__(self) -> None:
        if not 200 <= self.status <= 599:
            raise ValueError(f"status must be from 200 to 599, not {self.status}")
        for method in self.methods:
            if not TOKEN.match(method.encode()) or method != method.upper():
                raise ValueError(f"methods: {method!r} is not a method (they are in capitals)")
        if self.type:
            content_type(self.type)
        header_templates(self.headers, time)
        body_template(self.body, time)


def content_type(text: str) -> bytes:
    """
    The value of ``Content-Type``: text is sent as UTF-8 and says so.

    :raises ValueError: when it names another charset, or is none.
    """
    kind, _, parameters = text.lower().partition(";")
    if not _MEDIA_TYPE.match(text):
        raise ValueError(f"type: {text!r} is not a media type")
    charset = parameters.replace(" ", "").replace('"', "").partition("charset=")[2].partition(";")[0]
    if charset not in ("", "utf-8"):
        raise ValueError(f"type: the body is sent as UTF-8, not as {charset}")
    return (text if charset or not kind.startswith("text/") else text + "; charset=utf-8").encode("ascii")


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _client(request: Request) -> str:
    known = IClientAddress(request, None)
    return str(known.host if known is not None else getattr(request.client, "host", ""))


def _header(name: str) -> Getter[Request]:
    field = name.encode()
    if not TOKEN.match(field):
        raise ValueError(f"there is no header {name!r}")
    return lambda request: _text(b", ".join(request.requestHeaders.getRawHeaders(field, [])))


def _argument(name: str) -> Getter[Request]:
    key = name.encode()
    return lambda request: _text(request.args.get(key, [b""])[0])


def _known(now: Callable[[], float]) -> Mapping[str, Getter[Request]]:
    def moment(request: Request) -> str:
        return datetime.fromtimestamp(now(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    return {
        "method": lambda request: _text(request.method),
        "path": lambda request: _text(request.canonical_path.text),
        "query": lambda request: _text(request.target.partition(b"?")[2]),
        "host": lambda request: _text(request.getRequestHostname()),
        "client": _client,
        "uuid": lambda request: str(uuid4()),
        "time": moment,
    }


_FAMILIES = {"header": _header, "arg": _argument}


def body_template(text: str, now: Callable[[], float]) -> RequestTemplate:
    """
    The body, compiled.

    :raises ValueError: naming the placeholder that is not known.
    """
    try:
        return Template(text, _known(now), _FAMILIES)
    except ValueError as reason:
        raise ValueError(f"body: {reason}") from None


def header_templates(lines: Sequence[str], now: Callable[[], float]) -> list[tuple[bytes, RequestTemplate]]:
    """
    The headers, compiled.

    :raises ValueError: naming the line that is malformed or the placeholder that is not known.
    """
    try:
        return [
            (name, Template(value.decode(), _known(now), _FAMILIES)) for name, value in header_lines("headers", lines)
        ]
    except ValueError as reason:
        raise ValueError(f"headers: {str(reason).removeprefix('headers: ')}") from None


class RespondResource(Resource):
    """
    Answers everything at and below its path with one answer.

    :param now: tells the time, in seconds since 1970.
    """

    isLeaf = True

    def __init__(self, settings: Respond, now: Callable[[], float] = time) -> None:
        super().__init__()
        self.status = settings.status
        self.methods = sorted(method.encode() for method in settings.methods)
        self.body = body_template(settings.body, now)
        self.escape = escape_for(settings.type)
        self.headers = header_templates(settings.headers, now)
        self.type = content_type(settings.type) if settings.type and settings.status not in (204, 304) else b""
        self.is_constant = self.body.constant is not None and all(
            value.constant is not None for _, value in self.headers
        )
        self.close = settings.close
        self.abort = settings.abort

    def render(self, request: Request) -> bytes | int:
        if self.abort:
            request.abort()
            return NOT_DONE_YET
        if request.method not in self.methods:
            raise UnsupportedMethod(self.methods)
        body = self.body.render(request, self.escape).encode()
        self._set_headers(request)
        if self.close and request.clientproto != b"HTTP/2":
            request.close_after()
        return body

    def _set_headers(self, request: Request) -> None:
        request.setResponseCode(self.status)
        if self.type:
            request.setHeader(b"Content-Type", self.type)
        if not self.is_constant:
            request.setHeader(b"Cache-Control", b"no-store")
        seen: set[bytes] = set()
        for name, value in self.headers:
            if name.lower() not in seen:
                request.responseHeaders.removeHeader(name)
                seen.add(name.lower())
            request.responseHeaders.addRawHeader(name, value.render(request, escape_field))


def build(settings: Respond, context: Context) -> RespondResource:
    return RespondResource(settings, context.reactor.seconds)


FEATURE = Mount("respond", Respond, build)
