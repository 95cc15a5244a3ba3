"""
The site: what all connections of a server share.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.web import server
from twisted.web.resource import IResource, getChildForRequest

from mixweb.engine.channel import Channel
from mixweb.engine.crowd import Crowd
from mixweb.engine.http1 import DEFAULT_LIMITS
from mixweb.engine.request import Request
from mixweb.engine.timeouts import CHECK_INTERVAL, DEFAULT_TIMEOUTS

#: A request body of more bytes is refused with 413 unless the server is told another limit.
MAX_BODY_BYTES = 100 * 1024 * 1024


class Site(server.Site):
    """
    Serves a resource tree.

    :param resource: the root.
    :param reactor: tells the time; the global reactor when ``None``.
    :param max_body_bytes: of a request; a longer one is refused with 413 while it arrives.
    :ivar observers: called with each request when its answer is complete or its client has left.
    :ivar channels: the open connections, how many there may be (``most``) and how many from one address
        (``most_of_origin``); each adds itself when it is made and removes itself when it is lost. A channel has ``drain()``:
        close after the answer under way, or the next one, which says ``Connection: close``, or soon.
    :ivar limits: what is read of a request before it is refused.
    :ivar timeouts: how long a client may take. These two are for connections that are made from now on.
    :ivar max_pipelined_bytes: what is read ahead on a connection while a request is answered.
    :ivar max_http2_streams: requests at a time on a connection of HTTP/2.
    :ivar http2: who speaks it where a client has chosen it: ``own`` or ``twisted``.
    :ivar h2c: whether it is spoken in clear text, too, with clients that know it.
    :ivar extended_connect: whether clients are told that a stream may become something else (RFC 8441).
    :ivar takes_connect: whether requests with CONNECT over HTTP/1.1 are for a resource; else they are 501.
    :ivar draining: whether no further request is to be taken on any connection.
    """

    requestFactory: Any = Request
    _log = Logger()
    max_pipelined_bytes = 16 * 1024
    max_http2_streams = 100
    http2 = "own"
    h2c = False
    extended_connect = False
    takes_connect = False
    _sweep: LoopingCall | None = None
    _closed = False

    def __init__(
        self,
        resource: IResource,
        *,
        reactor: IReactorTime | None = None,
        max_body_bytes: int = MAX_BODY_BYTES,
        **options: Any,
    ) -> None:
        super().__init__(resource, reactor=reactor, parsePOSTFormSubmission=False, **options)
        self.max_body_bytes = max_body_bytes
        self.observers: list[Callable[[Request], None]] = []
        self.channels = Crowd(self._rest)
        self.limits = DEFAULT_LIMITS
        self.timeouts = DEFAULT_TIMEOUTS
        self.draining = False
        self._call_later = self.reactor.callLater

    def startFactory(self) -> None:
        """Begin to look after slow clients, and the file of ``logPath``, if it was given."""
        self._closed = False
        if self.logPath is not None and self._logFile is None:
            super().startFactory()
            self.observers.append(super().log)
        if self._sweep is None:
            self._sweep = LoopingCall(self._check_timeouts)
            self._sweep.clock = self.reactor
            self._sweep.start(CHECK_INTERVAL, now=False)

    def stopFactory(self) -> None:
        """The last port was closed; connections that are left are looked after to their end."""
        self._closed = True
        if self._logFile is not None:
            self.observers.remove(super().log)
            super().stopFactory()
        self._rest()

    def _check_timeouts(self) -> None:
        now = self.reactor.seconds()
        for channel in list(self.channels):
            try:
                channel.check_timeouts(now)
            except Exception:
                self._log.failure("a connection could not be looked after; it is dropped")
                channel.abortConnection()

    def _rest(self) -> None:
        """There is nothing more to look after."""
        if self._closed and not self.channels and self._sweep is not None:
            self._sweep.stop()
            self._sweep = None

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """The channel of a new connection."""
        channel: Any = Channel(self.limits, self.timeouts)
        channel.site = channel.factory = self
        channel.requestFactory = self.requestFactory
        channel.timeOut = self.timeOut
        channel.callLater = self._call_later
        return channel

    def getResourceFor(self, request: Request) -> IResource:
        """The resource that answers a request."""
        request.site = self
        if request.prepath:
            request.sitepath = list(request.prepath)
        root: IResource = self.resource
        return root if root.isLeaf else getChildForRequest(root, request)

    def log(self, request: Any) -> None:
        """Tell the observers that a request has ended."""
        for observe in self.observers:
            try:
                observe(request)
            except Exception:
                self._log.failure("an observer of requests failed")
