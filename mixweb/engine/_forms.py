"""
What clients fill in: forms and cookies.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import BinaryIO

from twisted.web import http

from mixweb.engine.errors import HTTPError

#: A form larger than this is not read into ``args``; its resource reads ``content``.
MAX_FORM_BYTES = 1024 * 1024

_URLENCODED = b"application/x-www-form-urlencoded"
_MULTIPART = b"multipart/form-data"


def query_arguments(target: bytes) -> dict[bytes, list[bytes]]:
    """The arguments in the query of a target."""
    query = target.partition(b"?")[2]
    return dict(http.parse_qs(query, 1)) if query else {}


def form_arguments(declared: bytes, content: BinaryIO) -> dict[bytes, list[bytes]]:
    """
    The arguments in the body of a request; none when it is no form.

    :param declared: the value of ``Content-Type``.
    :raises HTTPError: 400 when the form is malformed.
    """
    kind = declared.partition(b";")[0].strip().lower()
    if kind not in (_URLENCODED, _MULTIPART):
        return {}
    content.seek(0)
    body = content.read()
    content.seek(0)
    if kind == _URLENCODED:
        return dict(http.parse_qs(body, 1))
    try:
        return dict(http._getMultiPartArgs(body, declared))
    except http._MultiPartParseException:
        raise HTTPError(400, "The multipart body is malformed.") from None


def cookies(lines: Iterable[bytes]) -> dict[bytes, bytes]:
    """
    The cookies by name.

    :param lines: the values of ``Cookie``.
    """
    found: dict[bytes, bytes] = {}
    for line in lines:
        for pair in line.split(b";"):
            name, equals, value = pair.strip().partition(b"=")
            if equals and name:
                found[name] = value
    return found
