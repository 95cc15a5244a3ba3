"""
Health checks: upstream servers are asked for a page again and again.
"""

from __future__ import annotations

from typing import Any

from twisted.application.service import Service
from twisted.internet.task import LoopingCall

from mixweb.engine.responses import ResponseHead
from mixweb.features.proxy._target import join
from mixweb.features.proxy._upstreams import Upstream, Upstreams
from mixweb.kit.upstream.connection import Broken, Connection
from mixweb.kit.upstream.pool import Pool, PoolLimits


class Check:
    """
    One look at a server.

    :param accepted: the lowest and the highest status of a healthy one.
    """

    method = b"GET"

    def __init__(self, upstreams: Upstreams, upstream: Upstream, head: bytes, accepted: tuple[int, int]) -> None:
        self.upstreams = upstreams
        self.upstream = upstream
        self.head = head
        self.accepted = accepted
        self.connection: Connection | None = None

    def started(self, connection: Connection) -> None:
        self.connection = connection
        connection.ask(self)
        connection.sent()
        connection.send(self.head)

    def interim(self, head: ResponseHead) -> None:
        """Nothing."""

    def switched(self, head: ResponseHead, connection: Connection, rest: bytes) -> None:
        connection.drop()
        self._found(False, "it switched to another protocol")

    def whole(self, head: ResponseHead, body: bytes) -> None:
        low, high = self.accepted
        self._found(low <= head.status <= high, f"its health page has the status {head.status}")

    def begun(self, head: ResponseHead) -> None:
        """Its page is long; what it says in its head is enough."""
        self.whole(head, b"")
        assert self.connection is not None
        self.connection.drop()

    def data(self, piece: bytes) -> None:
        """Nothing."""

    def complete(self) -> None:
        """Nothing."""

    pause_sending = resume_sending = complete

    def broken(self, reason: Broken) -> None:
        self._found(False, reason.detail)

    def _found(self, healthy: bool, reason: str) -> None:
        self.upstreams.checked(self.upstream, healthy, reason)


class HealthService(Service):
    """
    Checks servers as long as a resource tree lives.

    :param path: of the page that is asked for.
    :param interval: seconds between two looks at a server.
    :param timeout: seconds for an answer.
    """

    def __init__(
        self,
        reactor: Any,
        upstreams: Upstreams,
        path: str,
        interval: int,
        timeout: int,
        accepted: tuple[int, int],
    ) -> None:
        self.upstreams = upstreams
        self.accepted = accepted
        limits = PoolLimits(connections=1, queue=0, first_byte=timeout, between=timeout, keep=2 * interval)
        self.pools = [Pool(upstream.pool.connect, limits) for upstream in upstreams.all]
        self.heads = [_head(upstream, path.encode("ascii")) for upstream in upstreams.all]
        self._checking = self._every(reactor, self.check)
        self._looking = self._every(reactor, self._look)
        self.interval = interval

    def _every(self, reactor: Any, call: Any) -> LoopingCall:
        looping = LoopingCall(call)
        looping.clock = reactor
        return looping

    def check(self) -> None:
        """Look at all servers now."""
        for upstream, pool, head in zip(self.upstreams.all, self.pools, self.heads, strict=True):
            if not pool.busy:
                pool.begin(Check(self.upstreams, upstream, head, self.accepted))

    def _look(self) -> None:
        for pool in self.pools:
            pool.look()

    def startService(self) -> None:
        super().startService()
        self._checking.start(self.interval)
        self._looking.start(1, now=False)

    def stopService(self) -> None:
        super().stopService()
        for looping in (self._checking, self._looking):
            if looping.running:
                looping.stop()
        for pool in self.pools:
            pool.close()


def _head(upstream: Upstream, path: bytes) -> bytes:
    target = upstream.target
    return b"GET %b HTTP/1.1\r\nHost: %b\r\nUser-Agent: mixweb\r\n\r\n" % (
        join(target.base, target.tail, path),
        target.authority,
    )
