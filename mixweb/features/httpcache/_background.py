"""
Requests that nobody waits for: a page is asked for again while its stored answer is used.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from typing import Any

from twisted.internet._producer_helpers import _PullToPush
from twisted.internet.error import ConnectionAborted
from twisted.python.failure import Failure

from mixweb.engine.request import Request
from mixweb.interfaces import IClientAddress


class Nobody:
    """
    A channel whose answers go nowhere.

    :param request: whose addresses it has.
    """

    transport = None
    persistent = True

    def __init__(self, request: Request) -> None:
        channel = request.channel
        self.site = copy(channel.site)
        # No client has asked: there is nothing to tell the access log.
        self.site.observers = []
        self.getPeer, self.getHost = channel.getPeer, channel.getHost
        self.secure = bool(request.isSecure())
        self.request: Request | None = None
        self.producer: Any = None

    def isSecure(self) -> bool:
        return self.secure

    def writeHeaders(self, *_: object) -> None:
        """Nobody is told."""

    def write(self, data: bytes) -> None:
        """Nobody is told."""

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Nobody is told."""

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self.producer = producer if streaming else _PullToPush(producer, self)
        if not streaming:
            self.producer.startStreaming()

    def unregisterProducer(self) -> None:
        producer, self.producer = self.producer, None
        if isinstance(producer, _PullToPush):
            producer.stopStreaming()

    def requestDone(self, request: Request) -> None:
        self.request = None

    def abortConnection(self) -> None:
        """The answer could not be completed."""
        request, self.request = self.request, None
        if request is not None:
            request.connectionLost(Failure(ConnectionAborted()))

    loseConnection = abortConnection


def repeated(request: Request) -> Request:
    """The same request in nobody's name: without its user, its session and its conditions."""
    channel = Nobody(request)
    again = channel.request = type(request)(channel)
    again.head = request.head
    again.requestHeaders = request.requestHeaders.copy()
    again.begin(b"GET", request.target, b"HTTP/1.1")
    again.uri, again.raw_path = request.uri, request.raw_path
    again.site = channel.site
    again.raw_prefixes, again.canonical_path = request.raw_prefixes, request.canonical_path
    again.prepath, again.postpath = list(request.prepath), list(request.postpath)
    client = IClientAddress(request, None)
    if client is not None:
        again.client = request.client
        again.setComponent(IClientAddress, client)
    return again
