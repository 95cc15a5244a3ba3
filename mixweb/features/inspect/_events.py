"""
Server-sent events: those who look on are told what has changed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure
from zope.interface import implementer

from mixweb.engine.request import Request

#: How often those who look on are told, in seconds.
INTERVAL = 0.2

#: A line that says nothing is sent after so many intervals in which there was nothing to say.
_HEARTBEAT = 75

#: How many may look on at once.
MOST = 16

#: What has changed since a version, with the version now.
Changes = Callable[[int], dict[str, Any]]


@implementer(IPushProducer)
class Stream:
    """
    One who looks on.

    :param changes: what is told.
    :param version: what is known already.
    """

    def __init__(self, request: Request, changes: Changes, version: int) -> None:
        self.request = request
        self.version = version
        self._changes = changes
        self._paused = False
        self._quiet = 0
        request.setHeader(b"Content-Type", b"text/event-stream; charset=utf-8")
        request.setHeader(b"Cache-Control", b"no-store, no-transform")
        request.setHeader(b"X-Accel-Buffering", b"no")
        request.registerProducer(self, True)
        request.write(b"retry: 1000\n\n")

    def tell(self) -> None:
        """Send what has changed, unless the client is slow: then it is told of all of it later."""
        if self._paused:
            return
        news = self._changes(self.version)
        self.version = news["version"]
        self._quiet += 1
        if news["requests"] or news["gone"] or news["reset"]:
            self._send(b"id: %d\nevent: changes\ndata: %b\n\n" % (self.version, json.dumps(news).encode()))
        elif self._quiet >= _HEARTBEAT:
            self._send(b": \n\n")

    def _send(self, data: bytes) -> None:
        self._quiet = 0
        self.request.write(data)

    def end(self) -> None:
        """Say no more."""
        self.request.unregisterProducer()
        self.request.finish()

    def pauseProducing(self) -> None:
        """The client does not take more for now."""
        self._paused = True

    def resumeProducing(self) -> None:
        """The client has taken what was sent."""
        self._paused = False

    def stopProducing(self) -> None:
        """The client has left."""
        self._paused = True


class Feed:
    """All who look on."""

    def __init__(self, reactor: Any) -> None:
        self.streams: list[Stream] = []
        self._loop = LoopingCall(self._tell)
        self._loop.clock = reactor

    @property
    def is_full(self) -> bool:
        """Whether nobody else may look on."""
        return len(self.streams) >= MOST

    def add(self, stream: Stream) -> None:
        """Tell somebody from now on, until they leave."""
        self.streams.append(stream)
        stream.request.notifyFinish().addBoth(lambda reason: self._left(stream, reason))
        stream.tell()
        if not self._loop.running:
            self._loop.start(INTERVAL, now=False)

    def _left(self, stream: Stream, reason: Failure | None) -> None:
        self.streams.remove(stream)
        if not self.streams and self._loop.running:
            self._loop.stop()

    def _tell(self) -> None:
        for stream in list(self.streams):
            if stream.request.site.draining:
                stream.end()
            else:
                stream.tell()

    def end(self) -> None:
        """Say no more to anybody."""
        for stream in list(self.streams):
            stream.end()
