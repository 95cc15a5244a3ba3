"""
Wrappers: what stands in front of a resource.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.web.resource import IResource, getChildForRequest
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from mixweb.engine.errors import Declined, HTTPError
from mixweb.engine.request import Request

__all__ = ["Declined", "HTTPError", "Wrapper"]


@implementer(IResource)
class Wrapper:
    """
    A leaf in front of a resource: it sees each request once, with the whole remaining path.

    A subclass overrides :meth:`handle`, which answers or calls :meth:`forward` once.

    :param inner: the resource that stands behind.
    """

    isLeaf = True

    def __init__(self, inner: IResource) -> None:
        self.inner = inner

    def handle(self, request: Request) -> None:
        """Answer, or :meth:`forward`, or :meth:`spawn` what does."""
        self.forward(request)

    def forward(self, request: Request) -> None:
        """Let the resource inside answer."""
        inner = self.inner
        request.render(inner if inner.isLeaf else getChildForRequest(inner, request))

    def spawn(self, request: Request, coroutine: Coroutine[Any, Any, Any]) -> Deferred[Any]:
        """
        Run what waits: cancelled when the client leaves, a 500 on error, the connection dropped if headers had left.
        """
        return request.spawn(coroutine)

    def render(self, request: Request) -> int:
        if not isinstance(request, Request):
            raise TypeError(f"{type(self).__name__} needs mixweb.Site: a stock Site has no response hooks")
        self.handle(request)
        return NOT_DONE_YET

    def getChildWithDefault(self, name: bytes, request: Request) -> IResource:
        raise TypeError("a wrapper is a leaf: it has no children")

    def putChild(self, path: bytes, child: IResource) -> None:
        self.inner.putChild(path, child)
