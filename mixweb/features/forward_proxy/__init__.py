"""
A forward proxy: clients reach other servers through this one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.application.service import Service
from twisted.internet.task import LoopingCall
from twisted.web.resource import IResource

from mixweb.feature import Context, Stage, Wrap, WrapperSettings, option
from mixweb.features.forward_proxy._connect import Connector, Pools
from mixweb.features.forward_proxy._rules import Rules
from mixweb.features.forward_proxy._wrapper import ForwardProxyWrapper
from mixweb.kit.upstream.pool import TICK, PoolLimits

_LEAST = {
    "connect_timeout": 1,
    "timeout": 1,
    "idle_timeout": 1,
    "tunnel_timeout": 1,
    "max_tunnels": 0,
    "max_connections": 0,
}


@dataclass(frozen=True)
class ForwardProxy(WrapperSettings):
    """Let clients reach other servers through this one: a forward proxy."""

    hosts: Sequence[str] = option(
        (), help="Host, glob, address or network that may be reached; by default all of the Internet.", metavar="HOST"
    )
    ports: Sequence[int] = option((80, 443), help="Port that may be reached.")
    connect_ports: Sequence[int] = option((443,), help="Port that CONNECT may open a tunnel to.", metavar="PORT")
    private: Sequence[str] = option(
        (),
        help="Host, address, network, loopback, link-local or private (networks) that may be reached besides.",
        metavar="HOST",
    )
    anyone: bool = option(False, help="Let anybody use it, not only known users and this machine. Unsafe.")
    connect_timeout: int = option(10, help="Seconds for connecting to a server.", metavar="SECONDS")
    timeout: int = option(60, help="Seconds until an answer begins.", metavar="SECONDS")
    idle_timeout: int = option(60, help="Seconds for which an answer may then be silent.", metavar="SECONDS")
    tunnel_timeout: int = option(600, help="Seconds for which a tunnel may be silent.", metavar="SECONDS")
    max_tunnels: int = option(1000, help="Tunnels that are open at once.", metavar="NUMBER")
    max_connections: int = option(100, help="Connections to one server; 0 for any number.", metavar="NUMBER")

    def __post_init__(self) -> None:
        Rules(self.hosts, self.private, self.ports, self.connect_ports)
        for name, least in _LEAST.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}")
        for name in ("ports", "connect_ports"):
            for port in getattr(self, name):
                if not 0 < port < 65536:
                    raise ValueError(f"{name}: {port} is no port")


class Timekeeper(Service):
    """Looks after connections and tunnels as long as a resource tree lives."""

    def __init__(self, reactor: Any, pools: Pools, wrapper: ForwardProxyWrapper, tunnel_timeout: int) -> None:
        self.pools = pools
        self._calls = [
            (self._every(reactor, pools.look), TICK),
            (self._every(reactor, wrapper.look), float(tunnel_timeout)),
        ]

    def _every(self, reactor: Any, call: Callable[[], None]) -> LoopingCall:
        looping = LoopingCall(call)
        looping.clock = reactor
        return looping

    def startService(self) -> None:
        super().startService()
        for looping, seconds in self._calls:
            looping.start(seconds, now=False)

    def stopService(self) -> None:
        super().stopService()
        for looping, _ in self._calls:
            if looping.running:
                looping.stop()
        self.pools.close()


def build(settings: ForwardProxy, inner: IResource, context: Context) -> IResource:
    rules = Rules(settings.hosts, settings.private, settings.ports, settings.connect_ports)
    limits = PoolLimits(
        connections=settings.max_connections, first_byte=settings.timeout, between=settings.idle_timeout
    )
    connector = Connector(context.reactor, rules, settings.connect_timeout)
    pools = Pools(connector, limits)
    wrapper = ForwardProxyWrapper(
        inner, rules, connector, pools, anyone=settings.anyone, max_tunnels=settings.max_tunnels
    )
    context.add_service(Timekeeper(context.reactor, pools, wrapper, settings.tunnel_timeout))
    context.watch(wrapper.watch)
    context.expect_connect()
    who = "anybody" if settings.anyone else "known users, and all of this machine,"
    what = "these hosts" if settings.hosts else "other servers"
    context.warn(f"forward-proxy: {who} can reach {what} through this server")
    return wrapper


FEATURE = Wrap("forward-proxy", Stage.TRANSFORM, ForwardProxy, build)
