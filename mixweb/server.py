"""
A server's life: it listens, takes a new configuration without dropping a connection, and ends with its last answer.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from mixweb.assemble import Assembler, BuildError, Tree
from mixweb.config import ConfigError, Loaded, Origin, Problem
from mixweb.engine.listeners import Listen, Listeners, free_port, https, parse_all
from mixweb.engine.site import Site
from mixweb.engine.tls import CertificateService
from mixweb.feature import MountSettings
from mixweb.plan import Host, Plan, Server
from mixweb.registry import registry

DEFAULT_PORT = 8080

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


def listens(loaded: Loaded, interactive: bool = False) -> list[Listen]:
    """
    Where a server listens: what it says, else port 8080 of loopback, or the next free one when a person watches.

    :raises ConfigError: naming the descriptions that make no sense.
    """
    server = loaded.plan.server
    found: list[Listen] = []
    problems: list[Problem] = []
    for name, description in [*(("listen", text) for text in server.listen), ("port", server.port)]:
        if description:
            try:
                found += parse_all(description, server.public)
            except ValueError as reason:
                problems.append(Problem(_origin(loaded, name), str(reason)))
    if server.https:
        found.append(https(server.https, os.fspath(server.certificate), os.fspath(server.privkey) or None, server.public))
    if problems:
        raise ConfigError(problems)
    if not found and server.personal:
        found = parse_all(f"unix:{os.path.expanduser('~/.twistd-web-pb')}")
    return found or parse_all(str(free_port(DEFAULT_PORT) if interactive else DEFAULT_PORT), server.public)


def _origin(loaded: Loaded, name: str) -> Origin:
    given = loaded.draft.server.get(name)
    return Origin(name) if given is None else given.origin


def explain_refusal(reason: CannotListenError) -> str:
    """One line about a port that is taken, with one that is free."""
    where = f"{reason.interface}:{reason.port}" if isinstance(reason.port, int) else str(reason.port)
    why = getattr(reason.socketError, "strerror", None) or str(reason.socketError)
    text = f"mixweb: cannot listen on {where.removeprefix(':')}: {why.lower()}"
    if isinstance(reason.port, int) and reason.port < 65535:
        try:
            return f"{text}; port {free_port(reason.port + 1, reason.interface)} is free"
        except (CannotListenError, OSError):
            return text
    return text


class WebService(MultiService):
    """
    A web server as a service.

    :param load: reads the configuration; called at once, and at each reload.
    :param reactor: what everything runs on.
    :param interactive: whether a person watches the terminal.
    :ivar site: what the connections are served by.
    :ivar plan: the configuration in force.
    :raises ConfigError: with all that is wrong.
    """

    _log = Logger()

    def __init__(self, load: Callable[[], Loaded], reactor: Any, interactive: bool = False) -> None:
        super().__init__()
        self.reactor = reactor
        self.interactive = interactive
        self._load = load
        loaded = load()
        self.plan = loaded.plan
        server = self.plan.server
        self.certificates = CertificateService(reactor, http2=server.http2 != "off", strict_sni=server.strict_sni)
        self.certificates.setServiceParent(self)
        self._listens = self._checked_listens(loaded)
        self.tree = assemble(loaded, reactor, interactive)
        self.site = Site(self.tree.root, reactor=reactor)
        self._put(self.tree)
        self.listeners = Listeners(reactor, self._factory(), self.certificates)

    def _factory(self) -> Any:
        if not self.plan.server.personal:
            return self.site
        from mixweb.shared import personal_factory

        return personal_factory(self.site)

    @property
    def urls(self) -> list[str]:
        """The addresses it answers at, once it has been started."""
        return [url for opened in self.listeners.opened for url in opened.urls]

    # Life

    def privilegedStartService(self) -> None:
        """Bind, while the process still may."""
        super().privilegedStartService()
        failures: list[Failure] = []
        self._listen().addErrback(failures.append)
        if failures:
            reason = failures[0].value
            self.cannot_listen(explain_refusal(reason) if isinstance(reason, CannotListenError) else str(reason))
            failures[0].raiseException()

    def cannot_listen(self, message: str) -> None:
        """Told why, before the error passes on."""

    def startService(self) -> None:
        super().startService()
        self._take_signal("SIGHUP", self.reload)
        self.announce()

    def announce(self) -> None:
        """Say where it answers, a line for each address."""
        for url in self.urls:
            self._log.info("{url}", url=url)
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
        running = sum(len(channel.requests) for channel in self.site.channels)
        if running:
            self._log.warn("stopping, {running} requests in flight (Ctrl-C again to stop now)", running=running)
        end = self.reactor.seconds() + self.plan.server.drain
        look = LoopingCall(lambda: look.stop() if not self.site.channels or self.reactor.seconds() >= end else None)
        look.clock = self.reactor
        await look.start(_DRAIN_LOOK)
        self._stop_now()

    def _stop_now(self) -> None:
        for channel in list(self.site.channels):
            channel.abortConnection()

    def _take_signal(self, name: str, act: Callable[[], object]) -> None:
        """Have a signal act in the reactor's thread."""
        signal.signal(getattr(signal, name), lambda *_: self.reactor.callFromThread(act))

    # What is served, and where

    def reload(self) -> None:
        """
        Take the configuration again: when it is good the new tree answers from the next request on, and connections
        stay; when it is not, every problem is logged and nothing changes.
        """
        try:
            loaded = self._load()
            listens = self._checked_listens(loaded)
            tree = assemble(loaded, self.reactor, self.interactive)
        except ConfigError as reason:
            self._log.error("not reloaded: {problems}", problems="\n".join(map(str, reason.problems)))
            return
        except Exception:
            self._log.failure("not reloaded")
            return
        old, self.tree, self.plan, self._listens = self.tree, tree, loaded.plan, listens
        self._put(tree)
        self.reactor.callLater(self.plan.server.drain, self._end, old)
        self._listen().addCallbacks(lambda _: self._log.info("reloaded"), self._listen_failed)

    def _listen(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.listeners.listen_on(self._listens))

    def _listen_failed(self, reason: Failure) -> None:
        self._log.error("reloaded, but where it listens is as before: {reason}", reason=reason.getErrorMessage())

    def _checked_listens(self, loaded: Loaded) -> list[Listen]:
        found = listens(loaded, self.interactive)
        for item in found:
            try:
                if item.tls is not None:
                    self.certificates.store(item.tls)
            except ValueError as reason:
                raise ConfigError([Problem(_origin(loaded, "certificate"), str(reason))]) from None
        return found

    def _put(self, tree: Tree) -> None:
        """Let a tree answer from now on; its services run with it."""
        server: Server = self.plan.server
        tree.services.setServiceParent(self)
        self.site.resource = tree.root
        self.site.observers = tree.observers
        self.site.max_body_bytes = server.max_body_bytes
        self.site.displayTracebacks = server.display_tracebacks

    def _end(self, tree: Tree) -> None:
        """Stop the services of a tree whose last requests had their time."""
        if tree.services.parent is not None:
            tree.services.disownServiceParent()
