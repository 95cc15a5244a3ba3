"""
A server's life: it listens, takes a new configuration without dropping a connection, and ends when the last answer is out.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from mixweb.assemble import Assembler, BuildError, Tree
from mixweb.config import ConfigError, Loaded, Origin, Problem
from mixweb.engine.listeners import Listeners
from mixweb.engine.site import Site
from mixweb.feature import MountSettings
from mixweb.plan import Host, Plan
from mixweb.registry import registry

#: How often a stopping server looks whether its last answer is out, in seconds.
_DRAIN_LOOK = 0.05


def assemble(loaded: Loaded, reactor: Any, interactive: bool = False) -> Tree:
    """
    Build the tree of a configuration; one without any mount serves the current directory.

    :raises ConfigError: naming where the settings stand that a feature refused.
    """
    try:
        return Assembler(reactor, interactive).assemble(with_content(loaded.plan))
    except BuildError as reason:
        feature = registry().of(reason.settings).name
        origin = loaded.origin(reason.settings) or Origin(feature)
        raise ConfigError([Problem(origin, f"{feature}: {reason}")]) from reason


def with_content(plan: Plan) -> Plan:
    """The plan itself, or one that serves the current directory where it has no mount at all."""
    if any(isinstance(item, MountSettings) for host in (plan.default, *plan.hosts) for item in host.settings):
        return plan
    files = registry().features["files"].settings()
    default = Host(*plan.default.settings, files, without=plan.default.without)
    return Plan(plan.server, default, plan.defaults, plan.hosts)


class WebService(MultiService):
    """
    A web server as a service.

    :param load: reads the configuration; called at once, and at each reload.
    :param reactor: what everything runs on.
    :ivar site: what the connections are served by.
    :ivar plan: the configuration in force.
    """

    _log = Logger()

    def __init__(self, load: Callable[[], Loaded], reactor: Any, interactive: bool = False) -> None:
        super().__init__()
        self.reactor = reactor
        self.interactive = interactive
        self._load = load
        loaded = load()
        self.plan = loaded.plan
        self.tree = assemble(loaded, reactor, interactive)
        self.site = Site(self.tree.root, reactor=reactor)
        self._put(self.tree)
        self.listeners = Listeners(reactor, self.site)

    # Life

    def privilegedStartService(self) -> None:
        """Bind, while the process still may."""
        super().privilegedStartService()

    def startService(self) -> None:
        super().startService()
        self._take_signal("SIGHUP", self.reload)
        for warning in self.tree.warnings:
            self._log.warn("{warning}", warning=warning)

    def stopService(self) -> Deferred[None]:
        """Take no more connections, let the running answers end, then end the rest."""
        self._take_signal("SIGINT", self._stop_now)
        self._take_signal("SIGTERM", self._stop_now)
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await self.listeners.stop()
        await self._drain()
        await super().stopService()

    async def _drain(self) -> None:
        """Wait for the running answers, as long as the server's ``drain`` says."""
        self.site.draining = True
        for channel in list(self.site.channels):
            channel.drain()
        running = self._running()
        if running:
            self._log.warn("stopping, {running} requests in flight (Ctrl-C again to stop now)", running=running)
        end = self.reactor.seconds() + self.plan.server.drain
        look = LoopingCall(lambda: look.stop() if not self.site.channels or self.reactor.seconds() >= end else None)
        look.clock = self.reactor
        await look.start(_DRAIN_LOOK)
        self._stop_now()

    def _running(self) -> int:
        return sum(len(channel.requests) for channel in self.site.channels)

    def _stop_now(self) -> None:
        for channel in list(self.site.channels):
            channel.abortConnection()

    def _take_signal(self, name: str, act: Callable[[], object]) -> None:
        """Have a signal act in the reactor's thread."""
        signal.signal(getattr(signal, name), lambda *_: self.reactor.callFromThread(act))

    # The tree

    def reload(self) -> None:
        """
        Take the configuration again: when it is good the new tree answers from the next request on, and connections stay;
        when it is not, every problem is logged and nothing changes.
        """
        try:
            loaded = self._load()
            tree = assemble(loaded, self.reactor, self.interactive)
        except ConfigError as reason:
            self._log.error("not reloaded: {problems}", problems="\n".join(map(str, reason.problems)))
            return
        except Exception:
            self._log.failure("not reloaded")
            return
        old, self.tree, self.plan = self.tree, tree, loaded.plan
        self._put(tree)
        self.listeners.reload(self.plan.server)
        self.reactor.callLater(self.plan.server.drain, self._end, old)
        self._log.info("reloaded")

    def _put(self, tree: Tree) -> None:
        """Let a tree answer from now on; its services run with it."""
        server = self.plan.server
        tree.services.setServiceParent(self)
        self.site.resource = tree.root
        self.site.observers = tree.observers
        self.site.max_body_bytes = server.max_body_bytes
        self.site.displayTracebacks = server.display_tracebacks

    def _end(self, tree: Tree) -> None:
        """Stop the services of a tree whose last requests had their time."""
        if tree.services.parent is not None:
            tree.services.disownServiceParent()
