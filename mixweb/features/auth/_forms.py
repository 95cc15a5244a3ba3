"""
What clients send to log in: forms and JSON objects; what they like to get.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from mixweb.engine.errors import HTTPError
from mixweb.engine.fields import preferred_type, weights
from mixweb.engine.request import Request
from mixweb.kit.origins import is_foreign as is_foreign_origin

#: A longer body is none of ours.
MAX_BYTES = 64 * 1024

_MAX_FIELDS = 100
_JSON = (b"application/json", b"text/json")
_FORM = b"application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Fields:
    """
    What a client sent.

    :ivar json: whether it was JSON.
    """

    values: Mapping[str, Any]
    json: bool = False

    def text(self, name: str) -> str:
        """
        A field that is text; empty when it is not there.

        :raises HTTPError: 400 when it is something else.
        """
        value = self.values.get(name, "")
        if not isinstance(value, str) or not _is_text(value):
            raise HTTPError(400, f'"{name}" is not text.')
        return value

    def names(self, name: str) -> list[str]:
        """
        A field that is a list of text, or text with commas.

        :raises HTTPError: 400 when it is something else.
        """
        value = self.values.get(name) or []
        found = value.split(",") if isinstance(value, str) else value
        if not isinstance(found, list) or not all(isinstance(item, str) and _is_text(item) for item in found):
            raise HTTPError(400, f'"{name}" is not a list of names.')
        return [item.strip() for item in found if item.strip()]


def _is_text(value: str) -> bool:
    return "\0" not in value and not any("\ud800" <= character <= "\udfff" for character in value)


def query_fields(request: Request) -> Fields:
    """
    The fields in the query of a request.

    :raises HTTPError: 400 when it is malformed.
    """
    return Fields(_pairs(request.target.partition(b"?")[2]))


def body_fields(request: Request) -> Fields:
    """
    The fields in the body of a request.

    :raises HTTPError: 400 when it is malformed, 413 when it is too long, 415 when it is something else.
    """
    length = request.content.seek(0, os.SEEK_END)
    if length > MAX_BYTES:
        raise HTTPError(413, f"At most {MAX_BYTES} bytes are read here.")
    request.content.seek(0)
    body = request.content.read()
    kind = (request.getHeader(b"Content-Type") or b"").partition(b";")[0].strip().lower()
    if kind in _JSON:
        return Fields(_members(body), json=True)
    if kind == _FORM or not body:
        return Fields(_pairs(body))
    raise HTTPError(415, "Send a form (application/x-www-form-urlencoded) or JSON.")


def _pairs(data: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(data.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS)
    except ValueError:
        raise HTTPError(400, "The form is malformed.") from None
    found: dict[str, str] = {}
    for name, value in pairs:
        found.setdefault(name, value)
    return found


def _members(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise HTTPError(400, "The body is no JSON object.")
    return found


def likes_pages(request: Request) -> bool:
    """Whether a client likes a page better than JSON."""
    accept = request.requestHeaders.getRawHeaders(b"Accept")
    return bool(accept) and preferred_type(accept, (b"application/json", b"text/html")) == b"text/html"


def is_navigation(request: Request) -> bool:
    """Whether a person in a browser goes to a page: not a script, an image, or a program."""
    mode = request.getHeader(b"Sec-Fetch-Mode")
    if mode is not None:
        return bool(mode == b"navigate")
    return weights(request.requestHeaders.getRawHeaders(b"Accept") or ()).get(b"text/html", 0.0) > 0


def is_script(request: Request) -> bool:
    """Whether a script of a page asks: its browser would ask the person for a password itself."""
    if (request.getHeader(b"X-Requested-With") or b"").lower() == b"xmlhttprequest":
        return True
    return request.getHeader(b"Sec-Fetch-Mode") not in (None, b"navigate")


def is_foreign(request: Request) -> bool:
    """Whether a page of another site has a browser send this: what changes something is not taken from it."""
    header = request.getHeader
    site, origin, referer = header(b"Sec-Fetch-Site"), header(b"Origin"), header(b"Referer")
    return is_foreign_origin(site, origin, referer, request.authority, request.isSecure())


def own_origin(request: Request) -> str:
    """The origin of this site, as the request names it."""
    authority = request.authority
    scheme = "https" if request.isSecure() else "http"
    if authority is None:
        return f"{scheme}://"
    host = authority.host.decode("latin-1")
    host = f"[{host}]" if ":" in host else host
    port = authority.port
    return f"{scheme}://{host}" + ("" if port in (None, 443 if scheme == "https" else 80) else f":{port}")
