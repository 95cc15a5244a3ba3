"""
What looks on, for as long as the server lives: it stays when a configuration takes the place of another.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import gatherResults
from twisted.internet.interfaces import IReactorThreads

from mixweb import __version__
from mixweb.feature import About
from mixweb.features.inspect._events import Feed
from mixweb.features.inspect._filter import Filter
from mixweb.features.inspect._record import Limits, Recorder
from mixweb.features.inspect._show import Json, summary
from mixweb.features.inspect._stats import ErrorLog, Statistics
from mixweb.kit.secrets import Secrets
from mixweb.stores import Status, hidden, stores_in_use


class Inspector:
    """Looks on."""

    def __init__(self, reactor: Any, limits: Limits) -> None:
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

    def end(self) -> None:
        """A resource tree is no longer in use."""
        self._trees -= 1
        if not self._trees:
            self.log.leave()
            self.feed.end()

    def changes(self, version: int, wanted: Filter, secrets: Secrets) -> tuple[int, Json | None]:
        """
        What has changed since a version.

        :returns: the version now, and what to tell; ``None`` where it is the same.
        """
        recorder = self.recorder
        if recorder.version == version:
            return version, None
        # Versions are of this run of the server: one from before, or from another process, means nothing.
        known = version if version < recorder.version else 0
        return recorder.version, {
            "process": os.getpid(),
            "version": recorder.version,
            "reset": known == 0,
            "requests": [
                summary(record, secrets) for record in recorder if record.version > known and wanted(record)
            ],
            "gone": recorder.gone_since(known) if known else [],
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
            "stores": [
                {"url": hidden(url), **vars(status)} for (url, _), status in zip(stores, found, strict=True)
            ],
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

    def stopService(self) -> None:
        super().stopService()
        self._inspector.end()
