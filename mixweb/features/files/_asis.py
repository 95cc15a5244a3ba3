"""
Files that hold a whole answer (``.asis``): read, and said again in the framing of the connection.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from twisted.web.iweb import IRequest
from twisted.web.resource import IResource
from twisted.web.server import NOT_DONE_YET
from twisted.web.static import Registry
from zope.interface import implementer

from mixweb.engine.errors import reason_phrase
from mixweb.engine.fields import field_line
from mixweb.engine.request import Request
from mixweb.features.files._ranges import Span
from mixweb.features.files._send import send

#: A head of more bytes is refused.
_MAX_HEAD_BYTES = 64 * 1024

#: What belongs to a connection or to the framing of a message.
_FRAMING = frozenset(
    b"connection content-length date keep-alive proxy-connection te trailer transfer-encoding upgrade".split()
)

_STATUS_LINE = re.compile(r"HTTP/\d(?:\.\d)? (?P<status>[2-5]\d\d)(?: (?P<reason>.*))?\Z")
_STATUS_FIELD = re.compile(r"(?P<status>[2-5]\d\d)(?: (?P<reason>.*))?\Z")


@dataclass(frozen=True, slots=True)
class Head:
    """
    The beginning of a file that holds an answer.

    :ivar length: where the body begins, in bytes.
    """

    status: int
    reason: bytes
    fields: list[tuple[bytes, bytes]]
    length: int


def parse_head(data: bytes) -> Head:
    """
    Read the head: a status line or a ``Status`` field, or neither for 200; fields; an empty line.

    Lines end in LF or CRLF. Fields of the framing are left out.

    :raises ValueError: when it is none.
    """
    end = re.search(rb"(?:^|\n)\r?\n", data)
    if end is None:
        raise ValueError("no empty line ends the head")
    lines = data[: end.start()].decode("utf-8", "replace").split("\n")
    lines = [line.removesuffix("\r") for line in lines if line.strip()]
    first = _STATUS_LINE.match(lines[0]) if lines else None
    fields = [field_line(line) for line in (lines[1:] if first else lines)]
    for name, value in fields:
        if name.lower() == b"status":
            first = _STATUS_FIELD.match(value.decode())
            if first is None:
                raise ValueError("the status is not one of 200 to 599")
    status = int(first["status"]) if first else 200
    reason = (first["reason"] or "").encode() if first else b""
    kept = [(name, value) for name, value in fields if name.lower() not in _FRAMING | {b"status"}]
    return Head(status, reason or reason_phrase(status), kept, end.end())


@implementer(IResource)
class AsIs:
    """Answers with what the file says: status, fields and body."""

    isLeaf = True

    def __init__(self, path: str, registry: Registry) -> None:
        self.path = path

    def render(self, request: Request) -> int:
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            head = parse_head(os.pread(descriptor, _MAX_HEAD_BYTES, 0))
        except ValueError as reason:
            os.close(descriptor)
            raise ValueError(f"{self.path} does not hold an answer: {reason}") from None
        size = max(os.fstat(descriptor).st_size - head.length, 0)
        request.setResponseCode(head.status, head.reason)
        request.defaultContentType = None
        for name, value in head.fields:
            request.responseHeaders.addRawHeader(name, value)
        request.setHeader(b"Content-Length", b"%d" % size)
        if request.method == b"HEAD" or head.status in (204, 304):
            os.close(descriptor)
            request.finish()
            return NOT_DONE_YET
        return send(request, descriptor, [Span(head.length, size)])

    def getChildWithDefault(self, name: bytes, request: IRequest) -> IResource:
        return self

    def putChild(self, path: bytes, child: IResource) -> None:
        raise ValueError("a file has no children")
