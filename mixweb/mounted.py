"""
Resources of others as mounts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeGuard
from urllib.parse import quote

from twisted.web.http import MOVED_PERMANENTLY
from twisted.web.pages import notFound
from twisted.web.resource import IResource, getChildForRequest
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from mixweb.engine.errors import Declined, HTTPError, error_of
from mixweb.engine.request import Request

#: What Twisted's resources say of a child that they do not have.
_NO_CHILD = error_of(notFound())


def is_resource(found: object) -> TypeGuard[IResource]:
    """Whether an object can be asked for children and rendered: a resource, or a site in the place of one."""
    return not isinstance(found, type) and hasattr(found, "getChildWithDefault") and hasattr(found, "render")


def redirect_to_directory(request: Request) -> bytes:
    """
    Answer with a redirect to the same path with a slash at its end.

    :returns: what ``render`` is to return.
    :raises HTTPError: 404 where the path ends in one.
    """
    name = request.prepath[-1] if request.prepath else b""
    if not name:
        raise HTTPError(404, "Nothing is here.")
    query = request.uri.partition(b"?")[1:]
    request.setResponseCode(MOVED_PERMANENTLY)
    request.setHeader(b"Location", b"./" + quote(name, safe="").encode("ascii") + b"/" + b"".join(query))
    return b""


@implementer(IResource)
class MountedResource:
    """
    A tree of any resources as a mount.

    The mount's own path, with its slash, is the root of the tree itself where that has no child with the empty name. A
    path that the tree has nothing at is declined.

    :param find: gives the root of the tree, once for each request.
    """

    isLeaf = True

    def __init__(self, find: Callable[[], IResource]) -> None:
        self.find = find

    def render(self, request: Request) -> int:
        request.render(self._page(request))
        return NOT_DONE_YET

    def _page(self, request: Request) -> IResource:
        own = request.postpath in ([], [b""])
        root = self.find()
        page: IResource = getChildForRequest(root, request)
        if error_of(page) != _NO_CHILD:
            return page
        if own and root is not page:
            return root
        if isinstance(request, Request):
            raise Declined
        return page

    def getChildWithDefault(self, name: bytes, request: Request) -> IResource:
        raise TypeError("a mounted resource is a leaf: its children are those of its tree")

    def putChild(self, path: bytes, child: IResource) -> None:
        self.find().putChild(path, child)
