"""
Files that hold a whole answer (``.asis``): read, and said again in the framing of the connection.
"""

from __future__ import annotations

import os

from twisted.web.iweb import IRequest
from twisted.web.resource import IResource
from twisted.web.server import NOT_DONE_YET
from twisted.web.static import Registry
from zope.interface import implementer

from mixweb.engine.request import Request
from mixweb.features.files._send import send
from mixweb.kit.heads import MAX_HEAD_BYTES, parse_head
from mixweb.kit.ranges import Span


@implementer(IResource)
class AsIs:
    """Answers with what the file says: status, fields and body."""

    isLeaf = True

    def __init__(self, path: str, registry: Registry) -> None:
        self.path = path

    def render(self, request: Request) -> int:
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            head = parse_head(os.pread(descriptor, MAX_HEAD_BYTES, 0))
            if head is None:
                raise ValueError("no empty line ends the head")
        except ValueError as reason:
            os.close(descriptor)
            raise ValueError(f"{self.path} does not hold an answer: {reason}") from None
        size = max(os.fstat(descriptor).st_size - head.length, 0)
        if head.status is not None:
            request.setResponseCode(head.status, head.reason)
        request.defaultContentType = None
        for name, value in head.fields:
            request.responseHeaders.addRawHeader(name, value)
        request.setHeader(b"Content-Length", b"%d" % size)
        if request.method == b"HEAD" or request.code in (204, 304):
            os.close(descriptor)
            request.finish()
            return NOT_DONE_YET
        return send(request, descriptor, [Span(head.length, size)])

    def getChildWithDefault(self, name: bytes, request: IRequest) -> IResource:
        return self

    def putChild(self, path: bytes, child: IResource) -> None:
        raise ValueError("a file has no children")
