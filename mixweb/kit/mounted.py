"""
Resources of others as mounts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeGuard

from twisted.web.http import MOVED_PERMANENTLY
from twisted.web.pages import notFound
from twisted.web.resource import IResource, getChildForRequest
from twisted.web.server import NOT_DONE_YET

from mixweb.engine.errors import TWISTED_PAGES, Declined, error_of
from mixweb.engine.request import Request
from mixweb.wrapper import Leaf

#: What Twisted's resources say of a child that they do not have.
_NO_CHILD = error_of(notFound())


def is_resource(found: object) -> TypeGuard[IResource]:
    """Whether an object can be asked for children and rendered: a resource, or a site in the place of one."""
    return not isinstance(found, type) and hasattr(found, "getChildWithDefault") and hasattr(found, "render")


def decline(request: Request) -> bytes:
    """
    Leave a path to other mounts; under a stock site, which asks nobody else, answer with 404.

    :returns: what ``render`` is to return.
    :raises Declined: under :class:`mixweb.Site`.
    """
    if isinstance(request, Request):
        raise Declined
    body: bytes = notFound().render(request)
    return body


def redirect_to_directory(request: Request) -> bytes:
    """
    Answer with a redirect to the same path with a slash at its end; where it has one, :func:`decline`.

    :returns: what ``render`` is to return.
    """
    path, question, query = request.uri.partition(b"?")
    name = path.rpartition(b"/")[2]
    if not name:
        return decline(request)
    request.setResponseCode(MOVED_PERMANENTLY)
    request.setHeader(b"Location", b"./" + name + b"/" + question + query)
    return b""


class MountedResource(Leaf):
    """
    A tree of any resources as a mount.

    The mount's own path, with its slash, is the root of the tree itself where that has no child with the empty name. A
    path that the tree has nothing at is declined.

    :param find: gives the root of the tree, once for each request.
    """

    def __init__(self, find: Callable[[], IResource]) -> None:
        self.find = find

    def handle(self, request: Request) -> None:
        page = self._page(request)
        if page is None:
            raise Declined
        request.render(page)

    def render(self, request: Request) -> int:
        if isinstance(request, Request):
            return super().render(request)
        request.render(self._page(request) or notFound())
        return NOT_DONE_YET

    def _page(self, request: Request) -> IResource | None:
        own = request.postpath in ([], [b""])
        root = self.find()
        page: IResource = getChildForRequest(root, request)
        if isinstance(page, TWISTED_PAGES) and error_of(page) == _NO_CHILD:
            return root if own and page is not root else None
        return page

    def putChild(self, path: bytes, child: IResource) -> None:
        self.find().putChild(path, child)
