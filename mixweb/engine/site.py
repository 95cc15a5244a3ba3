"""
The site: what all connections of a server share.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.web import server
from twisted.web.resource import IResource

from mixweb.engine.request import Request

#: A request body of more bytes is refused with 413 unless the server is told another limit.
MAX_BODY_BYTES = 100 * 1024 * 1024


class Site(server.Site):
    """
    Serves a resource tree.

    :param resource: the root.
    :param reactor: tells the time; the global reactor when ``None``.
    :param max_body_bytes: of a request; a longer one is refused with 413 while it arrives.
    :ivar observers: called with each request when its answer is complete or its client has left.
    """

    requestFactory = Request
    _log = Logger()

    def __init__(
        self, resource: IResource, *, reactor: IReactorTime | None = None, max_body_bytes: int = MAX_BODY_BYTES, **options: Any
    ) -> None:
        super().__init__(resource, reactor=reactor, parsePOSTFormSubmission=False, **options)
        self.max_body_bytes = max_body_bytes
        self.observers: list[Callable[[Request], None]] = []

    def log(self, request: Request) -> None:
        """Tell the observers that a request has ended."""
        for observe in self.observers:
            try:
                observe(request)
            except Exception:
                self._log.failure("an observer of requests failed")
