"""
Connections to servers that clients name: to the addresses that were looked at, and no other.
"""

from __future__ import annotations

import ssl
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol

from mixweb.engine.authority import Authority
from mixweb.engine.clients import TLS, ConnectFailed, Place, client_context, connect, resolve
from mixweb.features.forward_proxy._rules import Rules
from mixweb.kit.upstream.pool import NoConnection, Pool, PoolLimits

#: How many servers connections are kept to.
MAX_POOLS = 256


class Server(NamedTuple):
    """A server that a client names."""

    secure: bool
    authority: Authority
    port: int


Resolve = Callable[[Any, str, int], "Deferred[list[Place]]"]


class Connector:
    """
    Connects to servers.

    :param timeout: seconds for finding the address, and again for connecting.
    """

    def __init__(self, reactor: Any, rules: Rules, timeout: int, find: Resolve = resolve) -> None:
        self.reactor = reactor
        self.rules = rules
        self.timeout = timeout
        self.find = find

    def connect(self, server: Server, protocol: IProtocol) -> Deferred[IProtocol]:
        """
        Connect a protocol to a server.

        :returns: fails with :class:`mixweb.engine.clients.ConnectFailed`, or with
            :class:`mixweb.kit.upstream.pool.NoConnection` when that is not allowed.
        """
        host = server.authority.host.decode("ascii")
        found = self.find(self.reactor, host, server.port)
        if not found.called:
            found.addTimeout(self.timeout, self.reactor, onTimeoutCancel=_not_resolved)
        tls = TLS(_context(), host) if server.secure else None
        return found.addCallback(
            lambda places: connect(self.reactor, self._allowed(server, places), protocol, self.timeout, tls)
        )

    def _allowed(self, server: Server, places: Sequence[Place]) -> Sequence[Place]:
        """The addresses that may be connected to. They are connected to as they are: nothing is looked up again."""
        allowed = [place for place in places if self.rules.may_connect(server.authority, place.address[0])]
        if not allowed:
            raise NoConnection(403, "The addresses of this host may not be reached through this server.")
        return allowed


def _not_resolved(_: object, __: object) -> Any:
    raise ConnectFailed("its name is not resolved in time", timed_out=True)


@cache
def _context() -> ssl.SSLContext:
    return client_context()


class Pools:
    """
    Pools by server; of those that are too many, the one not used for the longest time goes.

    :ivar all: the pools there are.
    """

    def __init__(self, connector: Connector, limits: PoolLimits) -> None:
        self.connector = connector
        self.limits = limits
        self._pools: OrderedDict[Server, Pool] = OrderedDict()
        self.all: list[Pool] = []

    def of(self, server: Server) -> Pool:
        """The pool of a server."""
        pool = self._pools.get(server)
        if pool is None:
            pool = self._pools[server] = Pool(lambda protocol: self.connector.connect(server, protocol), self.limits)
            self.all.append(pool)
            if len(self._pools) > MAX_POOLS:
                self._pools.popitem(last=False)[1].close()
        self._pools.move_to_end(server)
        return pool

    def look(self) -> None:
        """Look after all pools. One that is closed goes when nothing of it is under way."""
        for pool in self.all:
            pool.look()
        self.all[:] = [pool for pool in self.all if pool.busy or not pool.closed]

    def close(self) -> None:
        """Keep no connections any more."""
        for pool in self.all:
            pool.close()
