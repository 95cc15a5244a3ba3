"""
What handlers return becomes answers: text, bytes, dicts and dataclasses as JSON, elements of ``twisted.web.template``,
resources, generators, server-sent events, and whatever of these comes later.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import AsyncGenerator, Generator
from datetime import date
from enum import Enum
from inspect import isawaitable
from typing import Any
from uuid import UUID

from twisted.internet.defer import Deferred
from twisted.web.iweb import IRenderable
from twisted.web.server import NOT_DONE_YET
from twisted.web.template import Tag, flattenString

from mixweb.engine.errors import HTTPError
from mixweb.engine.request import Request
from mixweb.kit.mounted import is_resource
from mixweb.pages.call import Call
from mixweb.pages.events import Events
from mixweb.pages.given import Given
from mixweb.pages.markup import TypedText
from mixweb.wrapper import pass_to

HTML = b"text/html; charset=utf-8"
JSON = b"application/json"


def to_json(value: Any) -> bytes:
    """
    A value as JSON: dates and UUIDs as text, members of an Enum as their values, dataclasses as objects.

    :raises TypeError: when it cannot be JSON.
    """
    return json.dumps(value, default=_plain, ensure_ascii=False, separators=(",", ":")).encode()


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: getattr(value, item.name) for item in dataclasses.fields(value)}
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} cannot be JSON")


def answer(call: Call, value: Any) -> None:
    """
    Answer with what a handler returned.

    :raises TypeError: when it is nothing that can be sent.
    """
    kind = type(value)
    if kind is str:
        request = call.request
        headers = request.responseHeaders
        if not headers.has(b"Content-Type"):
            headers.put(b"Content-Type", HTML)
        request.complete(value.encode())
    elif kind is bytes:
        call.request.complete(value)
    elif kind is dict:
        _complete(call.request, JSON, to_json(value))
    else:
        _answer_other(call, value)


def _complete(request: Request, content_type: bytes, body: bytes) -> None:
    headers = request.responseHeaders
    if not headers.has(b"Content-Type"):
        headers.put(b"Content-Type", content_type)
    request.complete(body)


def _answer_other(call: Call, value: Any) -> None:
    request = call.request
    if value is None:
        answer_written(request)
    elif value is NOT_DONE_YET:
        return
    elif isinstance(value, Deferred) or isawaitable(value):
        request.spawn(_late(call, value))
    elif isinstance(value, HTTPError):
        request.error(value.status, value.detail, value.headers)
    elif isinstance(value, TypedText):
        _complete(request, value.type.encode("ascii"), value.encode())
    elif isinstance(value, (str, dict)):
        answer(call, str(value) if isinstance(value, str) else dict(value))
    elif isinstance(value, Tag) or IRenderable.providedBy(value):
        request.spawn(flattenString(request, value), lambda text: _complete(request, HTML, b"<!DOCTYPE html>\n" + text))
    elif is_resource(value):
        call.leave_path()
        pass_to(value)(request)
    else:
        _answer_in_pieces(request, value)


def _answer_in_pieces(request: Request, value: Any) -> None:
    if isinstance(value, Events):
        _start(request, b"text/event-stream")
        request.setHeader(b"Cache-Control", b"no-store")
        request.render(Given(value.stream(request.site.reactor)))
    elif isinstance(value, AsyncGenerator):
        _start(request, HTML)
        request.render(Given(value))
    elif isinstance(value, Generator):
        _start(request, HTML)
        request.render(Given(_each(value)))
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        _complete(request, JSON, to_json(value))
    else:
        raise TypeError(_unknown(value))


def _unknown(value: Any) -> str:
    if isinstance(value, list):
        return "a handler returned a list: put it into a dict ({'items': [...]}), or write JSON yourself"
    return (
        f"a handler returned {type(value).__name__}; expected text, bytes, a dict or dataclass, an element, a resource,"
        " a generator, Events, None or something to wait for"
    )


def _start(request: Request, content_type: bytes) -> None:
    if not request.responseHeaders.hasHeader(b"Content-Type"):
        request.setHeader(b"Content-Type", content_type)


async def _each(generator: Generator[Any, None, None]) -> AsyncGenerator[Any, None]:
    try:
        for piece in generator:
            yield piece
    finally:
        generator.close()


async def _late(call: Call, waiting: Any) -> None:
    value = await waiting
    if not call.request.is_over:
        answer(call, value)


def answer_written(request: Request) -> None:
    """Answer with what was written so far; 204 when that is nothing."""
    if request.is_over:
        return
    if request.startedWriting:
        request.finish()
    else:
        request.setResponseCode(204 if request.code == 200 else request.code)
        request.complete(b"")
