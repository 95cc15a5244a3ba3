"""
What the API is asked, and how it answers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable
from typing import Any

from mixweb.engine.errors import HTTPError
from mixweb.engine.request import Request
from mixweb.features.inspect._decode import query_value
from mixweb.features.inspect._show import Json

#: What the API is sent is no longer than this, as JSON in bytes.
_MAX_BYTES = 4 * 1024 * 1024

#: What JSON can write, and UTF-8 cannot.
_SURROGATE = re.compile("[\ud800-\udfff]")


async def answer_late(request: Request, work: Awaitable[Any]) -> bytes:
    """The document that something comes to, as the body of an answer."""
    return answer_json(request, await work)


def answer_json(request: Request, document: Any) -> bytes:
    """A document, as the body of an answer."""
    request.setHeader(b"Content-Type", b"application/json")
    return json.dumps(document).encode()


def answer_text(request: Request, text: str, kind: bytes = b"text/plain; charset=utf-8") -> bytes:
    """Text, as the body of an answer."""
    request.setHeader(b"Content-Type", kind)
    return text.encode()


def argument_of(request: Request, name: str) -> str:
    """A parameter of the query; empty without one."""
    return query_value(request.target, name)


def number_of(request: Request, name: str) -> int:
    """
    A number in the query; 0 without one.

    :raises HTTPError: 400 when it is none.
    """
    text = argument_of(request, name) or "0"
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise HTTPError(400, f"{name} is a number.")
    return int(text)


def check_type(request: Request) -> None:
    """
    Other pages can post forms, but JSON only where they are allowed to.

    :raises HTTPError: 415 for a body that is no JSON.
    """
    kind = (request.getHeader(b"Content-Type") or b"").partition(b";")[0].strip().lower()
    if kind != b"application/json":
        raise HTTPError(415, "Send Content-Type: application/json.")


def document_of(request: Request) -> Json:
    """
    The JSON object that a request brings; an empty one for an empty body.

    :raises HTTPError: 400 when it brings something else, 413 when that is too long.
    """
    request.content.seek(0)
    data = request.content.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise HTTPError(413, f"At most {_MAX_BYTES} bytes are taken here.")
    try:
        found = json.loads(data or b"{}")
    except (ValueError, RecursionError):
        raise HTTPError(400, "The body is not JSON.") from None
    if not isinstance(found, dict):
        raise HTTPError(400, "The JSON is not an object.")
    return found


def text_in(asked: Json, name: str) -> str:
    """
    A member of a document that is text; empty without one.

    :raises HTTPError: 400 when it is none.
    """
    found = asked.get(name, "")
    if not isinstance(found, str) or _SURROGATE.search(found):
        raise HTTPError(400, f"{name} is text.")
    return found
