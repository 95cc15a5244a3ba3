"""
A server's life: it listens, takes a new configuration without dropping a connection, and ends with its last answer.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from secrets import token_urlsafe
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.error import CannotListenError
from twisted.logger import Logger
from twisted.python.failure import Failure

from mixweb._store_checks import ask_servers, unshared
from mixweb.assemble import Assembler, BuildError, Tree
from mixweb.autoreload import Autoreload, config_files
from mixweb.config import Loaded
from mixweb.draft import ConfigError, Origin, Problem
from mixweb.dump import to_toml
from mixweb.engine.listeners import Listen, free_port, https, parse_all
from mixweb.engine.tls import CertificateService, CertificateStore
from mixweb.engine.workers import refusal
from mixweb.feature import About, Settings
from mixweb.inspection import addresses, inspected, inspectors, is_local
from mixweb.plan import Plan
from mixweb.registry import registry
from mixweb.serving import Built, Here, InWorkers, Serving

DEFAULT_PORT = 8080


def assemble(loaded: Loaded, reactor: Any, interactive: bool = False, about: About | None = None) -> Tree:
    """
    Build the tree of a configuration.

    :param about: the server that it is for.

    :raises ConfigError: naming where the settings stand that features refused.
    """
    try:
        return Assembler(reactor, interactive, about=about, origin=loaded.origin).assemble(loaded.plan)
    except BuildError as failed:
        problems = []
        for settings, reason in failed.refused:
            feature = registry().of(settings).name
            problems.append(Problem(loaded.origin(settings) or Origin(feature), f"{feature}: {reason}"))
        raise ConfigError(problems) from failed


def listens(loaded: Loaded, default: Callable[[], int]) -> list[Listen]:
    """
    Where a server listens.

    :param default: tells the port, of loopback, when the configuration does not.
    :raises ConfigError: naming the descriptions that make no sense.
    """
    server = loaded.plan.server
    found: list[Listen] = []
    problems: list[Problem] = []
    for name, description in [*(("listen", text) for text in server.listen), ("port", server.port)]:
        if description != "":
            try:
                found += parse_all(str(description), server.public)
            except ValueError as reason:
                problems.append(Problem(_origin(loaded, name), str(reason)))
    if server.https:
        found.append(
            https(server.https, os.fspath(server.certificate), os.fspath(server.privkey) or None, server.public)
        )
    if problems:
        raise ConfigError(problems)
    if not found and server.personal:
        found = parse_all(f"unix:{os.path.expanduser('~/.twistd-web-pb')}")
    return found or parse_all(str(default()), server.public)


def unshareable(loaded: Loaded, found: Sequence[Listen]) -> Iterator[Problem]:
    """
    What several workers cannot serve together: each of them has its own memory.

    :param found: where they are to listen.
    """
    server = loaded.plan.server
    if server.workers:
        for item in found:
            reason = refusal(item)
            if reason:
                yield Problem(_origin(loaded, "port" if item.description == str(server.port) else "listen"), reason)
        for settings, reason in unshared(loaded.plan):
            yield Problem(_origin_of(loaded, settings), reason)


async def ask_stores(loaded: Loaded, reactor: Any) -> tuple[Sequence[Problem], Sequence[str]]:
    """What is wrong with stores in servers, and what is wrong with them just now."""
    problems, warnings = await ask_servers(loaded.plan, reactor)
    return [Problem(_origin_of(loaded, settings), reason) for settings, reason in problems], warnings


def _origin_of(loaded: Loaded, settings: Settings) -> Origin:
    """Where settings were given; what comes with other features has the server's store."""
    return loaded.origin(settings) or _origin(loaded, "store")


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
    :ivar built: the configuration in force.
    :ivar serving: who serves it.
    :ivar is_worker: whether this is one of several processes that serve together.
    :raises ConfigError: with all that is wrong.
    """

    is_worker = False

    _log = Logger()

    def __init__(self, load: Callable[[], Loaded], reactor: Any, interactive: bool = False) -> None:
        super().__init__()
        self.reactor = reactor
        self.interactive = interactive
        self._load = load
        self._stopping = False
        self._changing = DeferredLock()
        self._token = token_urlsafe(18)
        loaded = load()
        server = loaded.plan.server
        self.certificates = CertificateService(reactor, http2=server.http2 != "off", strict_sni=server.strict_sni)
        self.about = About(worker=self.is_worker, certificates=self._served_certificates)
        self.built = self._build(loaded)
        self.serving = self._serving()
        if server.reload:
            Autoreload(reactor, lambda: self._config_files, self.reload, self.end_now).setServiceParent(self)

    def _serving(self) -> Serving:
        workers = self.plan.server.workers
        if workers:
            return InWorkers(self.reactor, self.certificates, workers, self.interactive)
        return Here(self.reactor, self.certificates, self, self.built)

    @property
    def plan(self) -> Plan:
        """What is served."""
        return self.built.plan

    @property
    def tree(self) -> Tree:
        """What it was built to; with workers, each of them has its own."""
        return self.built.tree

    @property
    def urls(self) -> list[str]:
        """The addresses it answers at, once it has been started."""
        return [url for opened in self.serving.listeners.opened for url in opened.urls]

    @property
    def inspectors(self) -> list[str]:
        """The addresses that its inspectors are opened at, once it has been started."""
        return addresses(self.plan, self.urls, self._token)

    def _served_certificates(self) -> list[tuple[str, Sequence[str], float]]:
        """What is told of the certificates that are served."""
        return [
            (found.path, found.names, found.not_after.timestamp())
            for store in self.certificates.stores
            for found in store.certificates
        ]

    # Life

    def privilegedStartService(self) -> None:
        """Bind, while the process still may."""
        super().privilegedStartService()
        failures: list[Failure] = []
        Deferred.fromCoroutine(self.serving.listeners.listen_on(self.built.listens)).addErrback(failures.append)
        if failures:
            reason = failures[0].value
            self.cannot_listen(explain_refusal(reason) if isinstance(reason, CannotListenError) else str(reason))
            failures[0].raiseException()

    def cannot_listen(self, message: str) -> None:
        """Told why, before the error passes on."""

    def startService(self) -> None:
        super().startService()
        self._take_signal("SIGHUP", self.reload)
        self.serving.start(self.built).addCallbacks(self._started, partial(self._log.failure, "not started"))

    def _started(self, _: None) -> None:
        if not self._stopping:
            self.announce()

    def announce(self) -> None:
        """Say where it answers, a line for each address."""
        for url in self.urls:
            self._log.info("{url}", url=url)
        for url in self.inspectors:
            self._log.info("Inspect {url}", url=url)
        for warning in self.tree.warnings:
            self._log.warn("{warning}", warning=warning)

    def stopService(self) -> Deferred[None]:
        """Take no more connections, let the running answers end, then end the rest."""
        self._stopping = True
        self._take_signal("SIGINT", self.serving.stop_now)
        self._take_signal("SIGTERM", self.serving.stop_now)
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await self.serving.stop(self.plan.server.drain, self.announce_stop)
        await super().stopService()

    def end_now(self) -> None:
        """Have the whole process end, and drop all connections."""
        self.serving.stop_now()
        self.reactor.stop()

    def announce_stop(self, running: int) -> None:
        """Say how many answers are waited for, if any are."""
        if running:
            self._log.warn("stopping, {running} requests in flight (Ctrl-C again to stop now)", running=running)

    def _take_signal(self, name: str, act: Callable[[], object]) -> None:
        """Have a signal act in the reactor's thread."""
        signal.signal(getattr(signal, name), lambda *_: self.reactor.callFromThread(act))

    # What is served, and where

    def reload(self) -> Deferred[None]:
        """
        Take the configuration again: when it is good the new tree answers from the next request on, and connections
        stay; when it is not, every problem is logged and nothing changes.

        :returns: fires when it is done.
        """
        return Deferred.fromCoroutine(self._reload())

    async def _reload(self) -> None:
        try:
            await self._changing.run(lambda: Deferred.fromCoroutine(self.renew()))
        except CannotListenError as reason:
            self._log.error("not reloaded: {problem}", problem=explain_refusal(reason).removeprefix("mixweb: "))
        except ValueError as reason:
            self._log.error("not reloaded: {problems}", problems=reason)
        except Exception:
            self._log.failure("not reloaded")
        else:
            self._log.info("reloaded")

    async def renew(self) -> None:
        """
        Take the configuration again.

        :raises ConfigError: with all that is wrong; nothing has changed.
        :raises CannotListenError: a port is taken; nothing has changed.
        :raises ValueError: a port needs what is not there; nothing has changed.
        """
        loaded = self._load()
        if loaded.plan.server.workers != self.plan.server.workers:
            message = f"workers: there are {self.plan.server.workers} as long as the server runs; start it again"
            raise ConfigError([Problem(_origin(loaded, "workers"), message)])
        built = self._build(loaded)
        await self.serving.change(self.built, built)
        self.built = built

    def _build(self, loaded: Loaded) -> Built:
        found = self.wanted(loaded)
        loaded = inspected(loaded, self.interactive and is_local(found), self._token)
        problems = [*self._unreadable(loaded, found), *unshareable(loaded, found)]
        try:
            tree = assemble(loaded, self.reactor, self.interactive, self.about)
        except ConfigError as failed:
            raise ConfigError([*problems, *failed.problems]) from failed
        if problems:
            raise ConfigError(problems)
        if any(inspectors(loaded.plan)) and not is_local(found):
            tree.warnings.append("inspect: other machines can reach it, and its token is what guards it")
        self.about.configuration = to_toml(loaded.plan, hide=True)
        self._config_files = config_files(loaded)
        return Built(loaded.plan, found, tree)

    def wanted(self, loaded: Loaded) -> Sequence[Listen]:
        """Where the configuration wants it to listen."""
        return listens(loaded, lambda: self._default_port)

    @cached_property
    def _default_port(self) -> int:
        return free_port(DEFAULT_PORT) if self.interactive else DEFAULT_PORT

    def _unreadable(self, loaded: Loaded, found: Sequence[Listen]) -> Iterator[Problem]:
        """Certificates that cannot be served. Those that workers will serve are only looked at."""
        read = CertificateStore if loaded.plan.server.workers else self.certificates.store
        for item in found:
            try:
                if item.tls is not None:
                    read(item.tls)
            except ValueError as reason:
                yield Problem(_origin(loaded, "certificate"), str(reason))
