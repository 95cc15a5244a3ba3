"""
What looks on, for as long as the server lives: it stays when a configuration takes the place of another.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorThreads

from mixweb import __version__
from mixweb.feature import About
from mixweb.features.inspect._events import Feed
from mixweb.features.inspect._filter import Filter
from mixweb.features.inspect._record import Limits
from mixweb.features.inspect._recorder import Recorder
from mixweb.features.inspect._show import Json, summary
from mixweb.features.inspect._stats import ErrorLog, Statistics
from mixweb.features.inspect._workers import Answerer, Workers
from mixweb.kit.secrets import Secrets
from mixweb.stores import Status, hidden, stores_in_use


class Inspector:
    """
    Looks on.

    :param workers: the processes that serve together; ``None`` where one serves alone.
    :ivar answer: answers other processes.
    """

    answer: Answerer

    def __init__(self, reactor: Any, limits: Limits, workers: Workers | None = None) -> None:
        self.workers = workers
        self.recorder = Recorder(limits, reactor.seconds)
        self.statistics = Statistics(reactor.seconds)
        self.log = ErrorLog()
        self.feed = Feed(reactor)
        self._reactor = reactor
        self._trees = 0
        self.recorder.ended.append(self.statistics.count)

    def begin(self) -> None:
        """A resource tree that it is part of is in use."""
        self._trees += 1
        if self._trees == 1:
            self.log.listen()
            if self.workers is not None:
                self.workers.open(lambda request, segments: self.answer(request, segments))

    def end(self) -> Deferred[None] | None:
        """A resource tree is no longer in use."""
        self._trees -= 1
        if self._trees:
            return None
        self.log.leave()
        self.feed.end()
        return None if self.workers is None else self.workers.close()

    def changes(self, version: int, wanted: Filter, secrets: Secrets) -> Json:
        """
        What has changed since a version: the requests that are new or not as they were, and the numbers of those gone.

        ``reset`` says that this is all there is, and what is known from before means nothing.
        """
        recorder = self.recorder
        # Versions are of this run of the server: one from before, or from another process, means nothing.
        known = version if version <= recorder.version else 0
        changed = [record for record in recorder if record.version > known]
        shown = [record for record in changed if wanted(record)]
        # What is no longer as a filter wants it is gone for those who use the filter.
        gone = [*recorder.gone_since(known), *(record.id for record in changed if not wanted(record))]
        return {
            "process": os.getpid(),
            "version": recorder.version,
            "most": recorder.limits.requests,
            "reset": known == 0 and recorder.version > 0,
            "requests": [summary(record, secrets) for record in shown],
            "gone": gone if known else [],
        }

    async def status(self, about: About, secrets: Secrets) -> Json:
        """How the server is."""
        stores = stores_in_use(self._reactor)
        found: Sequence[Status] = await gatherResults([store.status() for _, store in stores])
        return {
            **self.statistics.told(secrets),
            "now": self._reactor.seconds(),
            "version": __version__.public(),
            "python": sys.version.partition(" ")[0],
            "process": os.getpid(),
            "memory": resident_bytes(),
            "in_flight": self.recorder.in_flight,
            "upgraded": sum(record.status == 101 and record.state == "open" for record in self.recorder),
            "kept": {"requests": len(self.recorder), "bytes": self.recorder.size},
            "limits": vars(self.recorder.limits),
            "threads": _threads(self._reactor),
            "stores": [{"url": hidden(url), **vars(status)} for (url, _), status in zip(stores, found, strict=True)],
            "certificates": [
                {"path": path, "names": list(names), "ends": ends} for path, names, ends in about.certificates()
            ],
            "configuration": about.configuration,
            "errors": list(self.log.errors)[::-1],
        }


def resident_bytes() -> int | None:
    """The memory of this process, where the system tells."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return None


def _threads(reactor: Any) -> Json | None:
    """What the threads of the reactor do; ``None`` where there are none yet."""
    pool = getattr(reactor, "threadpool", None) if IReactorThreads.providedBy(reactor) else None
    if pool is None:
        return None
    return {"most": pool.max, "there": pool.workers, "working": len(pool.working), "waiting": pool.q.qsize()}


class InspectorService(Service):
    """Has an inspector look on while a resource tree is in use."""

    def __init__(self, inspector: Inspector) -> None:
        self._inspector = inspector

    def startService(self) -> None:
        super().startService()
        self._inspector.begin()

    def stopService(self) -> Deferred[None] | None:
        super().stopService()
        return self._inspector.end()
