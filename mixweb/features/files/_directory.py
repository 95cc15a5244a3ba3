"""
Answering with a directory.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from twisted.internet.threads import deferToThreadPool
from twisted.web.server import NOT_DONE_YET

from mixweb.engine.fields import preferred_type
from mixweb.engine.request import Request
from mixweb.features.files._listing import Listing, View, as_json, as_text, scan
from mixweb.features.files._lookup import Names
from mixweb.features.files._page import CONTENT_SECURITY_POLICY, as_html
from mixweb.features.files._walk import Tree

#: How many names are looked at without going to a thread.
INLINE_STEPS = 256

_OFFERS = (b"text/html", b"application/json", b"text/plain")
_FORMATS = {b"html": b"text/html", b"json": b"application/json", b"text": b"text/plain"}


def list_directory(request: Request, descriptor: int, path: bytes, tree: Tree, names: Names, reactor: Any) -> int:
    """
    Answer with what is in a directory.

    :param descriptor: of the directory, readable; closed in the end.
    :param path: where it is.
    :param reactor: whose threads read a directory of more than :data:`INLINE_STEPS` names.
    """
    view = View.of(request.args)
    chosen = _FORMATS.get(request.args.get(b"format", [b""])[-1])
    kind = chosen or preferred_type(request.requestHeaders.getRawHeaders(b"Accept"), _OFFERS)

    def listed(name: bytes) -> bool:
        return names.served(name) and view.shows(name)

    listing = Listing(view, scan(descriptor, listed, _link_rule(path, tree)))
    write = _writer(request, kind, listing)
    complete = listing.gather(INLINE_STEPS)
    request.setHeader(b"Content-Type", kind if kind == b"application/json" else kind + b"; charset=utf-8")
    request.responseHeaders.addRawHeader(b"Vary", b"Accept")
    request.setHeader(b"X-Content-Type-Options", b"nosniff")
    if kind == b"text/html":
        request.setHeader(b"Content-Security-Policy", CONTENT_SECURITY_POLICY)
    if complete:
        request.complete(write())
        return NOT_DONE_YET

    def rest() -> bytes:
        listing.gather()
        return write()

    request.spawn(deferToThreadPool(reactor, reactor.getThreadPool(), rest)).addCallback(_complete, request)
    return NOT_DONE_YET


def _complete(body: bytes | None, request: Request) -> None:
    if body is not None:
        request.complete(body)


def _link_rule(directory: bytes, tree: Tree) -> Callable[[bytes], bool]:
    if tree.symlinks == "inside":
        return lambda name: tree.inside(os.path.join(directory, name)) is not None
    return lambda name: tree.symlinks == "follow"


def _writer(request: Request, kind: bytes, listing: Listing) -> Callable[[], bytes]:
    """What makes the body; it may be called in a thread."""
    above = [segment.decode("utf-8", "replace") for segment in request.prepath if segment]
    below = [segment.decode("utf-8", "replace") for segment in request.postpath if segment]
    if kind == b"application/json":
        path = "/" + "".join(name + "/" for name in (*above, *below))
        return lambda: as_json(listing, path)
    if kind == b"text/plain":
        return lambda: as_text(listing)
    return lambda: as_html(listing, above, below)
