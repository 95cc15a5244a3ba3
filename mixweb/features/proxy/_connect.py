"""
How upstream servers are connected to.
"""

from __future__ import annotations

from functools import cached_property
from ssl import SSLContext
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import connectProtocol
from twisted.internet.interfaces import IProtocol, IStreamClientEndpoint

from mixweb.engine.clients import TLS, ConnectFailed, client_context, connect, resolve, unix_place
from mixweb.features.proxy._target import Target
from mixweb.features.proxy._upstreams import Upstream
from mixweb.kit.upstream.pool import Connect, Pool, PoolLimits

#: What is known of a server that a function connects to.
_UNKNOWN = Target("http", "", 0, "", b"localhost", b"", False)


class Connecting:
    """
    How the servers of one proxy are connected to.

    :param timeout: seconds for connecting.
    :param ca: a file with authorities, or empty for those of the system.
    :param tls_name: the name that certificates must have; empty for that of the URL.
    :param verify: whether certificates are looked at.
    """

    def __init__(self, reactor: Any, timeout: int, ca: str = "", tls_name: str = "", verify: bool = True) -> None:
        self.reactor = reactor
        self.timeout = timeout
        self.ca = ca
        self.tls_name = tls_name
        self.verify = verify

    @cached_property
    def context(self) -> SSLContext:
        """How TLS is spoken."""
        return client_context(self.ca, self.verify)

    def upstream(self, item: Target | Connect, number: int, weight: int, limits: PoolLimits) -> Upstream:
        """
        A server.

        :param item: where it is or, as one gave it in Python, a function or an endpoint of Twisted's that connects to it.
        """
        if isinstance(item, Target):
            return Upstream(item, Pool(self.to(item), limits), item.name, weight)
        return Upstream(_UNKNOWN, Pool(_adapted(item), limits), f"upstream {number}", weight)

    def to(self, target: Target) -> Connect:
        """
        What connects protocols to a server.

        :raises OSError: when the file of authorities cannot be read.
        """
        if target.socket:
            return lambda protocol: connect(self.reactor, [unix_place(target.socket)], protocol, self.timeout)
        tls = TLS(self.context, self.tls_name or target.host) if target.scheme == "https" else None

        def begin(protocol: IProtocol) -> Deferred[IProtocol]:
            found = resolve(self.reactor, target.host, target.port)
            if not found.called:
                found.addTimeout(self.timeout, self.reactor, onTimeoutCancel=_no_address)
            return found.addCallback(lambda places: connect(self.reactor, places, protocol, self.timeout, tls))

        return begin


def _no_address(_: object, __: object) -> Any:
    raise ConnectFailed("its name is not resolved in time", timed_out=True)


def _adapted(item: Any) -> Connect:
    if IStreamClientEndpoint.providedBy(item):
        return lambda protocol: connectProtocol(item, protocol)
    connecting: Connect = item
    return connecting
