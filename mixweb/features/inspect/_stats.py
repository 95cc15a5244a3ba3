"""
What can be counted: how many requests, how fast, how they ended, and what went wrong.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from heapq import heappush, heappushpop
from math import ceil
from typing import NamedTuple

from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogPublisher
from zope.interface import implementer

from mixweb.features.inspect._decode import text_of
from mixweb.features.inspect._record import Record
from mixweb.features.inspect._show import Json, milliseconds
from mixweb.kit.secrets import Secrets

#: So many of the last durations are counted in the percentiles.
_DURATIONS = 2000

#: Requests per second are those of so many seconds.
_SECONDS = 60

#: So many different hosts are counted by name; clients choose them.
_NAMES = 100

#: How many slow requests, and how many errors, are remembered.
_SLOW = 10
_ERRORS = 50

_ERROR_TEXT = 4000


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """
    The smallest number that so large a share of numbers does not exceed; ``None`` of none.

    :param share: from 0 to 1.
    """
    return ordered[max(0, ceil(share * len(ordered)) - 1)] if ordered else None


class Slow(NamedTuple):
    """One of the slowest requests; the slowest and earliest is the greatest."""

    seconds: float
    order: int
    method: bytes
    host: bytes
    target: bytes
    status: int
    module: str

    def told(self, secrets: Secrets) -> Json:
        """As plain values."""
        return {
            "id": -self.order,
            "ms": milliseconds(self.seconds),
            "method": text_of(self.method),
            "host": text_of(self.host),
            "target": text_of(secrets.target(self.target)),
            "status": self.status,
            "module": self.module,
        }


class Statistics:
    """
    Counts the requests that have ended.

    :param now: the wall clock.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.since = now()
        self.total = 0
        self.statuses: Counter[str] = Counter()
        self.modules: Counter[str] = Counter()
        self.hosts: Counter[str] = Counter()
        self._durations: deque[float] = deque(maxlen=_DURATIONS)
        self._by_second: dict[int, int] = {}
        self._slow: list[Slow] = []

    def count(self, record: Record) -> None:
        """A request has ended."""
        seconds = record.seconds or 0.0
        self.total += 1
        self.statuses["left" if record.state == "left" else str(record.status)] += 1
        self.modules[record.decided or "none"] += 1
        host = record.vhost or "none"
        self.hosts[host if host in self.hosts or len(self.hosts) < _NAMES else "others"] += 1
        self._durations.append(seconds)
        self._count_second(int(self._now()))
        entry = Slow(seconds, -record.id, record.method, record.host, record.target, record.status, record.decided)
        if len(self._slow) < _SLOW:
            heappush(self._slow, entry)
        elif entry > self._slow[0]:
            heappushpop(self._slow, entry)

    def _count_second(self, second: int) -> None:
        if second not in self._by_second:
            self._by_second = {old: n for old, n in self._by_second.items() if old > second - _SECONDS}
        self._by_second[second] = self._by_second.get(second, 0) + 1

    def per_second(self) -> list[int]:
        """How many requests ended in each of the last seconds, the latest last."""
        now = int(self._now())
        return [self._by_second.get(second, 0) for second in range(now - _SECONDS + 1, now + 1)]

    def told(self, secrets: Secrets) -> Json:
        """Everything that was counted."""
        ordered = sorted(self._durations)
        recent = self.per_second()
        lived = max(1.0, min(_SECONDS, self._now() - self.since))
        return {
            "uptime": round(self._now() - self.since, 1),
            "total": self.total,
            "per_second": round(sum(recent) / lived, 2),
            "recent": recent,
            "p50": milliseconds(percentile(ordered, 0.5)),
            "p95": milliseconds(percentile(ordered, 0.95)),
            "p99": milliseconds(percentile(ordered, 0.99)),
            "statuses": dict(self.statuses.most_common()),
            "modules": dict(self.modules.most_common()),
            "hosts": dict(self.hosts.most_common()),
            "slow": [entry.told(secrets) for entry in sorted(self._slow, reverse=True)],
        }


@implementer(ILogObserver)
class ErrorLog:
    """Remembers the last errors that are logged while it listens."""

    def __init__(self) -> None:
        self.errors: deque[Json] = deque(maxlen=_ERRORS)

    def listen(self) -> None:
        """Begin."""
        globalLogPublisher.addObserver(self)

    def leave(self) -> None:
        """End."""
        globalLogPublisher.removeObserver(self)

    def __call__(self, event: LogEvent) -> None:
        level = event.get("log_level", LogLevel.info)
        if level < LogLevel.error:
            return
        failure = event.get("log_failure")
        self.errors.append(
            {
                "time": event.get("log_time"),
                "level": level.name,
                "where": event.get("log_namespace", ""),
                "text": formatEvent(event)[:_ERROR_TEXT],
                "traceback": "" if failure is None else failure.getTraceback()[-_ERROR_TEXT:],
            }
        )
