"""
Who serves what was built: this process, or its workers.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import LoopingCall

from mixweb.assemble import Tree
from mixweb.draft import ConfigError, Origin, Problem
from mixweb.dump import to_toml
from mixweb.engine.crowd import connections_by_files
from mixweb.engine.http1 import Limits
from mixweb.engine.listeners import Listen, Listeners
from mixweb.engine.site import Site
from mixweb.engine.timeouts import CHECK_INTERVAL, Timeouts
from mixweb.engine.tls import CertificateService
from mixweb.engine.workers import HeldListeners, Order, Refused, Workers
from mixweb.kit.colours import uses_colour
from mixweb.plan import Plan, Server

#: How often a stopping server looks whether its last answer is out, in seconds.
_DRAIN_LOOK = 0.05

#: How long connections that were dropped may take to end, in seconds.
_LAST_ENDS = 1.0

#: What the interpreter of a worker runs: with this one's module path it finds what this one does.
_BOOT = "import sys; sys.path[:] = sys.argv[2:]; from mixweb.cli import work; work(sys.argv[1])"


@dataclass(frozen=True)
class Built:
    """A configuration that was read, checked and built."""

    plan: Plan
    listens: Sequence[Listen]
    tree: Tree


class Serving(Protocol):
    """
    Serves what was built.

    :ivar listeners: where it listens.
    """

    listeners: Listeners

    def start(self, built: Built) -> Deferred[None]:
        """Begin, once it listens; fires when requests are answered."""

    async def change(self, old: Built, new: Built) -> None:
        """
        Serve something else. Connections stay.

        :raises Exception: that is not possible; it goes on as before.
        """

    async def stop(self, seconds: float, tell: Callable[[int], None]) -> None:
        """
        Take no more connections; returns when the running answers are out.

        :param seconds: that they are given.
        :param tell: called with how many there are.
        """

    def stop_now(self) -> None:
        """End the answers that are waited for."""


class Here:
    """
    Serves in this process.

    :param services: what the services of a tree, and the certificates, run with.
    :param listeners: makes the ports.
    :ivar site: what the connections are served by.
    """

    def __init__(
        self,
        reactor: Any,
        certificates: CertificateService,
        services: MultiService,
        built: Built,
        listeners: Callable[[Any, Any, CertificateService], Listeners] = Listeners,
    ) -> None:
        self.reactor = reactor
        self.services = services
        self.site = Site(built.tree.root, reactor=reactor)
        certificates.setServiceParent(services)
        self._put(built)
        self.listeners = listeners(reactor, self._factory(built.plan), certificates)

    def _factory(self, plan: Plan) -> Any:
        if not plan.server.personal:
            return self.site
        from mixweb.shared import personal_factory

        return personal_factory(self.site)

    def start(self, built: Built) -> Deferred[None]:
        """Nothing: who listens serves."""
        return succeed(None)

    async def change(self, old: Built, new: Built) -> None:
        """Listen where the new one says, and let its tree answer the next requests."""
        await self.listeners.listen_on(new.listens)
        self._put(new)
        self.reactor.callLater(new.plan.server.drain, _end, old.tree)

    def _put(self, built: Built) -> None:
        """Let a tree answer from now on; its services run with it."""
        server = built.plan.server
        built.tree.services.setServiceParent(self.services)
        self.site.resource = built.tree.root
        self.site.observers = built.tree.observers
        self.site.extended_connect = built.tree.tunnels
        self.site.takes_connect = built.tree.connects
        self.site.displayTracebacks = server.display_tracebacks
        set_limits(self.site, server)

    @property
    def running(self) -> int:
        """How many requests are being answered."""
        return sum(len(channel.requests) for channel in self.site.channels)

    async def stop(self, seconds: float, tell: Callable[[int], None]) -> None:
        """Close the ports, and wait for the running answers."""
        await self.listeners.stop()
        self.site.draining = True
        for channel in list(self.site.channels):
            channel.drain()
        tell(self.running)
        await self._until_closed(seconds)
        self.stop_now()
        # What was cut off is logged when it has ended.
        await self._until_closed(_LAST_ENDS)

    async def _until_closed(self, seconds: float) -> None:
        end = self.reactor.seconds() + seconds
        look = LoopingCall(lambda: look.stop() if not self.site.channels or self.reactor.seconds() >= end else None)
        look.clock = self.reactor
        await look.start(_DRAIN_LOOK)

    def stop_now(self) -> None:
        """Drop all connections."""
        for channel in list(self.site.channels):
            channel.abortConnection()


def set_limits(site: Site, server: Server) -> None:
    """Have a site read no more, and wait no longer, than the settings say: from the next connection or request on."""
    site.limits = Limits(
        request_line=server.max_line_bytes,
        field=server.max_header_bytes,
        field_section=server.max_header_bytes,
        fields=server.max_headers,
    )
    # Measured twice within that time: who stalls in between is found out at the second one.
    body = max(server.header_timeout / 2 - CHECK_INTERVAL, CHECK_INTERVAL)
    site.timeouts = Timeouts(server.header_timeout, body, server.min_body_rate, server.send_timeout)
    site.timeOut = server.idle_timeout
    site.max_body_bytes = server.max_body_bytes
    site.max_pipelined_bytes = server.max_pipelined_bytes
    site.max_http2_streams = server.max_http2_streams
    site.http2 = server.http2
    site.h2c = server.h2c and server.http2 != "off"
    site.channels.most = server.max_connections or connections_by_files()
    site.channels.most_of_origin = server.max_connections_per_address


def _end(tree: Tree) -> None:
    """Stop the services of a tree whose last requests had their time."""
    if tree.services.parent is not None:
        tree.services.disownServiceParent()


class InWorkers:
    """
    Serves in processes of their own, each with a copy of everything.

    :param count: how many.
    :param interactive: whether a person watches the terminal.
    """

    def __init__(self, reactor: Any, certificates: CertificateService, count: int, interactive: bool) -> None:
        self.listeners: Listeners = HeldListeners(reactor, certificates, count)
        self._interactive = interactive
        screen = _write_to_screen if interactive else None
        self._workers = Workers(count, command(reactor), environment(interactive), reactor, screen)

    def start(self, built: Built) -> Deferred[None]:
        """Start them."""
        return Deferred.fromCoroutine(self._workers.start(self._order(built)))

    async def change(self, old: Built, new: Built) -> None:
        """Listen where either says, have them change one after the other, and then listen where the new one says."""
        await self.listeners.listen_on([*new.listens, *old.listens])
        kept = old
        try:
            await self._workers.change(self._order(new))
            kept = new
        except Refused as reason:
            raise ConfigError([Problem(Origin(reason.worker), reason.problem)]) from None
        finally:
            await self.listeners.listen_on([] if self._workers.stopping else kept.listens)

    def _order(self, built: Built) -> Order:
        work = {"plan": handed_on(built.plan), "interactive": self._interactive}
        return Order(work, self.listeners.opened[: len(built.listens)])

    async def stop(self, seconds: float, tell: Callable[[int], None]) -> None:
        """Have them stop, and wait until they have ended."""
        # With the sockets of this process closed first, those of the workers are the last: what waits there is served.
        self._workers.stopping = True
        await self.listeners.stop()
        await self._workers.stop(seconds, tell)

    def stop_now(self) -> None:
        """Have them drop all connections."""
        self._workers.stop_now()


def handed_on(plan: Plan) -> str:
    """A plan as the text that a worker reads: complete, and to be served by itself, with its part of the connections."""
    server = plan.server
    share = -(-server.max_connections // max(server.workers, 1))
    return to_toml(replace(plan, server=replace(server, workers=0, vhosts="", max_connections=share)))


def command(reactor: Any) -> list[str]:
    """The interpreter of a worker: the same as this one, with the same kind of reactor."""
    module = type(reactor).__module__
    chosen = module if hasattr(sys.modules[module], "install") else "twisted.internet.default"
    return [sys.executable, "-c", _BOOT, chosen, *map(str, sys.path)]


def environment(interactive: bool) -> Mapping[str, str]:
    """The environment of a worker: this one's, and whether the terminal that its lines go to takes colours."""
    colours = {"FORCE_COLOR": "1"} if interactive and uses_colour(sys.__stdout__) else {}
    return {**os.environ, **colours}


def _write_to_screen(lines: bytes) -> None:
    if sys.__stdout__ is not None:
        sys.__stdout__.write(lines.decode("utf-8", "replace"))
        sys.__stdout__.flush()
