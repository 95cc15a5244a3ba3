"""
How many connections there may be, and what becomes of those that are too many.

They are not closed without a word: their requests are answered with 503, and they get little time to send one.
"""

from __future__ import annotations

import resource
import sys
from collections import Counter
from collections.abc import Callable
from ipaddress import IPv6Address
from typing import Any

from twisted.protocols.haproxy._wrapper import HAProxyProtocolWrapper

from mixweb.engine.request import Request
from mixweb.engine.timeouts import Timeouts

#: Seconds that a client may take on a connection too many.
_PATIENCE = 5

_TIMEOUTS = Timeouts(head=_PATIENCE, send=_PATIENCE, linger=2)

#: Files that a process has open besides its connections and what it sends.
_OWN_FILES = 32


def _files() -> int:
    """How many files this process may open for connections, and for what it sends."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return sys.maxsize if files == resource.RLIM_INFINITY else max(files - _OWN_FILES, 2)


def connections_by_files() -> int:
    """How many connections leave enough of the files that this process may open for other things."""
    return _files() * 3 // 4


def origin(channel: Any) -> str | None:
    """
    What connections are counted by: the address, of IPv6 the network of 64 bits, which belongs to one client.

    ``None`` for what comes over a unix socket or behind a PROXY header, which is not read yet.
    """
    transport = channel.transport
    if isinstance(transport, HAProxyProtocolWrapper):
        return None
    host = getattr(transport.getPeer(), "host", None)
    if host is None or ":" not in host:
        return host
    return IPv6Address(host.partition("%")[0]).packed[:8].hex()


class BusyRequest(Request):
    """A request on a connection too many."""

    def process(self) -> None:
        self.site = self.channel.site
        self.setHeader(b"Retry-After", b"%d" % _PATIENCE)
        self.refuse(503, "There are too many connections.")


class Crowd(set[Any]):
    """
    The open connections of a site.

    :param emptied: called when the last one is lost.
    :ivar most: how many there may be.
    """

    def __init__(self, emptied: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self._emptied = emptied
        self.most = sys.maxsize
        self._most_of_origin = 0
        self._by_origin: Counter[str | None] = Counter()
        self._refused: dict[Any, None] = {}

    @property
    def most_of_origin(self) -> int:
        """How many there may be from one address; 0 for any number."""
        return self._most_of_origin

    @most_of_origin.setter
    def most_of_origin(self, most: int) -> None:
        counts = bool(most)
        if counts is not bool(self._most_of_origin):
            self._by_origin = Counter(map(origin, self)) if counts else Counter()
        self._most_of_origin = most

    def admit(self, channel: Any) -> None:
        """Take a new connection, as one too many if there are enough."""
        if len(self) - len(self._refused) >= self.most or self._has_enough(channel):
            self._refuse(channel)
        self.add(channel)

    def _has_enough(self, channel: Any) -> bool:
        if not self._most_of_origin:
            return False
        found = origin(channel)
        return found is not None and self._by_origin[found] >= self._most_of_origin

    def _refuse(self, channel: Any) -> None:
        channel.requestFactory = BusyRequest
        channel.timeouts = _TIMEOUTS
        channel.timeOut = _PATIENCE
        channel.too_many = True
        if len(self._refused) >= _files() // 16:
            next(iter(self._refused)).abortConnection()

    def add(self, channel: Any) -> None:
        if channel not in self:
            super().add(channel)
            if getattr(channel, "too_many", False):
                self._refused[channel] = None
            elif self._most_of_origin:
                self._by_origin[origin(channel)] += 1

    def discard(self, channel: Any) -> None:
        if channel in self:
            super().discard(channel)
            if channel in self._refused:
                del self._refused[channel]
            elif self._most_of_origin:
                self._forget(origin(channel))

    def leave(self, channel: Any) -> None:
        """Take away a connection that is lost; one that becomes something else is only discarded."""
        self.discard(channel)
        if not self:
            self._emptied()

    def _forget(self, found: str | None) -> None:
        self._by_origin[found] -= 1
        if self._by_origin[found] <= 0:
            del self._by_origin[found]
