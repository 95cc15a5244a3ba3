"""
Applications under a stock site of Twisted's: each of its requests carries one of ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from twisted.web.resource import IResource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from mixweb.engine.body import IBodyReceiver
from mixweb.engine.errors import Declined
from mixweb.engine.request import Request
from mixweb.wrapper import Leaf

#: How much of a body is handed over at once, in bytes.
_PIECE_BYTES = 64 * 1024

#: The version of ours: whoever writes it out sees to chunks and connections, as HTTP/2 does.
_FRAMED = b"HTTP/2"


def adopt(stock: Any, handle: Callable[[Request], None]) -> int:
    """
    Have a request of a stock site answered as one of ours.

    :param stock: a ``twisted.web.server.Request``.
    :param handle: answers ours.
    :returns: what ``render`` is to return.
    """
    channel = _StockChannel(stock, handle)
    request = Request(channel)
    request.requestHeaders = stock.requestHeaders
    stock.notifyFinish().addErrback(channel.lost, request)
    stock.content.seek(0, 2)
    length = stock.content.tell()
    stock.content.seek(0)
    if length:
        request.begin(stock.method, stock.uri, _FRAMED)
        request.gotLength(length)
        while piece := stock.content.read(_PIECE_BYTES):
            request.handleContentChunk(piece)
    request.requestReceived(stock.method, stock.uri, _FRAMED)
    return NOT_DONE_YET


class _StockSite:
    """What our request asks of its site."""

    def __init__(self, site: Any, resource: IResource) -> None:
        self.resource = resource
        self.displayTracebacks = site.displayTracebacks
        self.reactor = site.reactor
        self.max_body_bytes = float("inf")
        self.observers: tuple[()] = ()

    def getResourceFor(self, request: Request) -> IResource:
        """The resource that answers a request."""
        request.site = self  # type: ignore[assignment]
        return self.resource


@implementer(IBodyReceiver)
class _Entry(Leaf):
    """Where our request goes on from where the stock one had come to."""

    def __init__(self, stock: Any, handle: Callable[[Request], None]) -> None:
        self.stock = stock
        self.pass_on = handle

    def handle(self, request: Request) -> None:
        base = [segment for segment in self.stock.prepath if segment]
        segments = [*request.canonical_path.segments]
        if segments[: len(base)] != base:
            raise Declined
        request.prepath, request.postpath = base, segments[len(base) :]
        self.pass_on(request)


class _StockChannel:
    """Writes the answer to the stock request."""

    def __init__(self, stock: Any, handle: Callable[[Request], None]) -> None:
        self.stock = stock
        self.site = _StockSite(stock.site, _Entry(stock, handle))
        self.transport = stock.transport
        self.persistent = True

    def lost(self, reason: Failure, request: Request) -> None:
        """The client has left."""
        if not request.finished:
            request.connectionLost(reason)

    def getPeer(self) -> Any:
        return self.stock.client

    def getHost(self) -> Any:
        return self.stock.host

    def isSecure(self) -> bool:
        return bool(self.stock.isSecure())

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Headers) -> None:
        """Set status and header of the stock request."""
        self.stock.setResponseCode(int(code), reason)
        for name, values in headers.getAllRawHeaders():
            self.stock.responseHeaders.setRawHeaders(name, values)

    def write(self, data: bytes) -> None:
        self.stock.write(data)

    def writeSequence(self, pieces: Iterable[bytes]) -> None:
        self.stock.write(b"".join(pieces))

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self.stock.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        self.stock.unregisterProducer()

    def requestDone(self, request: Request) -> None:
        """The answer is complete."""
        self.stock.finish()

    def abortConnection(self) -> None:
        if self.stock.channel is not None:
            self.stock.channel.abortConnection()
