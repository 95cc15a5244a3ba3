"""
Leaves, which take the whole remaining path, and wrappers: leaves that stand in front of a resource.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.web.resource import IResource, getChildForRequest
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from mixweb.engine.body import IBodyReceiver
from mixweb.engine.errors import Declined, HTTPError
from mixweb.engine.request import Request

__all__ = ["Declined", "HTTPError", "Leaf", "Wrapper", "pass_to"]


@implementer(IResource)
class Leaf:
    """A resource that sees each request once, with the whole remaining path. A subclass overrides :meth:`handle`."""

    isLeaf = True

    def handle(self, request: Request) -> None:
        """Answer, or have another resource answer."""
        raise Declined

    def render(self, request: Request) -> int:
        if not isinstance(request, Request):
            raise TypeError(f"{type(self).__name__} needs mixweb.Site: a stock Site has no response hooks")
        self.handle(request)
        return NOT_DONE_YET

    def getChildWithDefault(self, name: bytes, request: Request) -> IResource:
        raise TypeError(f"{type(self).__name__} is a leaf: it has no children")

    def putChild(self, path: bytes, child: IResource) -> None:
        raise TypeError(f"{type(self).__name__} is a leaf: it takes no children")


def pass_to(resource: IResource) -> Callable[[Request], None]:
    """
    What lets a resource answer a request; decided once, so that a stack of leaves costs a call for each.

    A resource that is no :class:`mixweb.engine.body.IBodyReceiver` answers when the body is complete.
    """
    if isinstance(resource, Leaf):
        return resource.handle if IBodyReceiver.providedBy(resource) else _when_complete(resource.handle)
    if resource.isLeaf:
        return lambda request: request.render(resource)

    def render(request: Request) -> None:
        if request.body_complete:
            request.render(getChildForRequest(resource, request))
        else:
            request.when_body(render)

    return render


def _when_complete(handle: Callable[[Request], None]) -> Callable[[Request], None]:
    return lambda request: handle(request) if request.body_complete else request.when_body(handle)


@implementer(IBodyReceiver)
class Wrapper(Leaf):
    """
    A leaf in front of a resource.

    A subclass overrides :meth:`handle`, which answers or calls ``forward`` once. It is called when the head of the request
    is there: one that needs the body waits for it with ``request.when_body``.

    :param inner: the resource that stands behind.
    :ivar forward: lets the resource inside answer a request.
    """

    def __init__(self, inner: IResource) -> None:
        self.inner = inner
        self.forward: Callable[[Request], None] = pass_to(inner)

    def handle(self, request: Request) -> None:
        """Answer, or ``forward``, or :meth:`spawn` what does."""
        self.forward(request)

    def spawn(self, request: Request, coroutine: Coroutine[Any, Any, Any]) -> Deferred[Any]:
        """
        Run what waits: cancelled when the client leaves, a 500 on error, the connection dropped if headers had left.
        """
        return request.spawn(coroutine)

    def putChild(self, path: bytes, child: IResource) -> None:
        self.inner.putChild(path, child)
