"""
The process of a worker: serves what the process that started it says, and nothing of its own will.
"""

from __future__ import annotations

import signal
import socket
import tomllib
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError
from twisted.logger import Logger, globalLogBeginner

from mixweb.config import Checker, Loaded
from mixweb.draft import ConfigError, Draft
from mixweb.engine.listeners import Listen
from mixweb.engine.workers import LINK, AdoptedListeners, Link, LogSender, unpacked
from mixweb.reading import Reader
from mixweb.registry import Registry, registry
from mixweb.server import WebService
from mixweb.serving import Here

#: How long the last lines of the log may take to be taken, in seconds.
_LAST_WORDS = 4.0


class _Text(Reader):
    """Reads tables that were handed on as text; relative paths count from the current directory."""

    def __init__(self, draft: Draft, text: str, found: Registry) -> None:
        super().__init__(draft, Path("plan"), found)
        self._text = text

    def document(self) -> dict[str, Any]:
        return tomllib.loads(self._text)


def loaded_from(text: str, found: Registry | None = None) -> Loaded:
    """
    The plan that was handed on as text.

    :raises ConfigError: a feature refuses its settings.
    """
    found = found or registry()
    draft = Draft()
    _Text(draft, text, found).read_server()
    checker = Checker(draft, found)
    return Loaded(checker.plan(), draft, checker.origins)


class WorkerService(WebService):
    """
    The service of a worker.

    :param order: what to serve.
    :param descriptors: of the sockets to accept from.
    """

    serving: Here
    is_worker = True

    def __init__(self, order: dict[str, Any], descriptors: Sequence[int], reactor: Any) -> None:
        self._take(order)
        super().__init__(lambda: loaded_from(self._plan), reactor, order["work"]["interactive"])
        self.listeners.give(self._listens, descriptors)

    def _take(self, order: dict[str, Any]) -> None:
        self._plan = order["work"]["plan"]
        self._listens = [unpacked(values) for values in order["listens"]]

    def _serving(self) -> Here:
        here = Here(self.reactor, self.certificates, self, self.built, AdoptedListeners)
        here.site.noisy = False
        return here

    @property
    def listeners(self) -> AdoptedListeners:
        """Its ports."""
        assert isinstance(self.serving.listeners, AdoptedListeners)
        return self.serving.listeners

    def wanted(self, loaded: Loaded) -> Sequence[Listen]:
        return self._listens

    async def obey(self, order: dict[str, Any], descriptors: Sequence[int]) -> None:
        """
        Serve something else.

        :raises Exception: that is not possible; nothing has changed.
        """
        before = self._plan, self._listens
        self._take(order)
        self.listeners.give(self._listens, descriptors)
        try:
            await self.renew()
        except BaseException:
            self._plan, self._listens = before
            self.listeners.give((), ())
            raise

    def _take_signal(self, name: str, act: Callable[[], object]) -> None:
        """The process that started this one decides about a reload, and about the end of the end."""
        signal.signal(getattr(signal, name), signal.SIG_IGN)

    def announce(self) -> None:
        """The process that started this one does."""

    def announce_stop(self, running: int) -> None:
        """The process that started this one does."""


class Worker:
    """
    Serves what it is told over its link, until it is told to stop, is asked to by a signal, or has lost the link.

    :ivar observer: sends what is logged over the link.
    """

    _log = Logger()

    def __init__(self, end: socket.socket, reactor: Any) -> None:
        self._reactor = reactor
        self._service: WorkerService | None = None
        self._ending = False
        self._link = Link.over(end, reactor, self._received, self._end)
        self.observer = LogSender(self._link)
        reactor.callWhenRunning(signal.signal, signal.SIGTERM, lambda *_: reactor.callFromThread(self._leave))
        reactor.addSystemEventTrigger("before", "shutdown", self._stop)

    def _received(self, message: dict[str, Any], descriptors: Sequence[int]) -> None:
        if "work" in message:
            Deferred.fromCoroutine(self._work(message, descriptors))
        else:
            self._link.send({"answer": self._service.serving.running if self._service else 0})
            self._end()
            if message["stop"] == "now" and self._service is not None:
                self._service.serving.stop_now()

    async def _work(self, order: dict[str, Any], descriptors: Sequence[int]) -> None:
        self._link.send({"answer": await self._problem(order, descriptors)})
        if self._service is None:
            self._end()

    async def _problem(self, order: dict[str, Any], descriptors: Sequence[int]) -> str:
        """Obey; what is wrong, or the empty text."""
        try:
            if self._service is None:
                self._begin(order, descriptors)
            else:
                await self._service.obey(order, descriptors)
        except ConfigError as reason:
            return "\n".join(problem.message for problem in reason.problems)
        except Exception as reason:
            self._log.failure("what is to be served cannot be")
            return str(reason) or type(reason).__name__
        return ""

    def _begin(self, order: dict[str, Any], descriptors: Sequence[int]) -> None:
        service = WorkerService(order, descriptors, self._reactor)
        service.privilegedStartService()
        service.startService()
        self._service = service

    def _end(self) -> None:
        if not self._ending:
            self._ending = True
            self._reactor.stop()

    def _leave(self) -> None:
        if not self._ending:
            self._link.send({"leaving": True})
            if self._service is not None:
                self._service.listeners.leave()
            self._end()

    def _stop(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._finish())

    async def _finish(self) -> None:
        if self._service is not None:
            await self._service.stopService()
        with suppress(TimeoutError):
            await self._link.close().addTimeout(_LAST_WORDS, self._reactor)


def run(reactor: Any) -> None:
    """Be a worker, until it is time to end."""
    worker = Worker(socket.socket(fileno=LINK), reactor)
    globalLogBeginner.beginLoggingTo([worker.observer])
    reactor.run()
