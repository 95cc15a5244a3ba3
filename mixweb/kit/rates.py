"""
Rates of requests: how they are written, counted in a store, and told to clients.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from math import ceil
from typing import Any, Literal, TypeAlias

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import IResource

from mixweb.engine.request import Request
from mixweb.stores import Decision, IStore, StoreError
from mixweb.wrapper import Wrapper

#: What happens when the store is down.
WhenDown: TypeAlias = Literal["open", "closed"]

_RATE = re.compile(r"([1-9][0-9]{0,8}) ?(?:/|per) ?([1-9][0-9]{0,6})? ?(s|m|h|d|seconds?|minutes?|hours?|days?)\Z")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}

#: Seconds after which a client may ask again when the store is down.
_DOWN = 5

log = Logger(namespace="mixweb.limits")


@dataclass(frozen=True)
class Rate:
    """
    So many requests at once; they come back evenly.

    :ivar text: as it was written.
    :ivar period: seconds until all of them are back.
    """

    text: str
    count: int
    period: int

    @property
    def policy(self) -> str:
        """What clients are told of it (draft-ietf-httpapi-ratelimit-headers)."""
        return f'"{self.text}";q={self.count};w={self.period}'


def parse_rate(text: str) -> Rate:
    """
    A rate: ``100/minute``, ``20/s``, ``5000 per hour``, ``30/10s``.

    :raises ValueError: when it is none.
    """
    found = _RATE.match(text.strip().lower())
    if found is None:
        raise ValueError(f"{text!r} is not a rate; expected a number and a time, as 100/minute or 30/10s")
    return Rate(text.strip(), int(found[1]), int(found[2] or 1) * _SECONDS[found[3][0]])


def parse_rates(texts: Sequence[str]) -> tuple[Rate, ...]:
    """
    Several rates, the one with the shortest period first: what it refuses does not count for the others.

    :raises ValueError: when one of them is none.
    """
    return tuple(sorted(map(parse_rate, texts), key=lambda rate: rate.period))


@dataclass(frozen=True)
class Count:
    """
    Where a request stands.

    :ivar rate: the one that leaves the least.
    """

    rate: Rate
    decision: Decision

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        """What the client is told."""
        left, wait = self.decision.remaining, self.decision.retry_after
        # One more comes back after this much time.
        seconds = ceil(wait) if wait else ceil(self.rate.period / self.rate.count)
        return [
            (b"RateLimit-Policy", self.rate.policy.encode()),
            (b"RateLimit", f'"{self.rate.text}";r={left};t={max(seconds, 1)}'.encode()),
        ]


async def count(store: IStore, key: str, rates: Sequence[Rate]) -> Count:
    """
    Count a request.

    :param key: whom for.
    :param rates: at least one; those behind one that refuses it do not count it.
    """
    tightest: Count | None = None
    for rate in rates:
        name = sha256(f"{key}\0{rate.count}/{rate.period}".encode()).hexdigest()[:32]
        found = Count(rate, await store.hit(f"rate:{name}".encode(), rate.count, rate.period))
        if not found.decision.allowed:
            return found
        if tightest is None or found.decision.remaining < tightest.decision.remaining:
            tightest = found
    assert tightest is not None
    return tightest


class RateWrapper(Wrapper):
    """
    Answers 429 to requests that are too many. A subclass says whom a request is counted for.

    :param name: tells the counts of one feature from those of another.
    """

    def __init__(self, inner: IResource, store: IStore, name: str, when_down: WhenDown) -> None:
        super().__init__(inner)
        self.store = store
        self.name = name
        self.when_down = when_down
        self._told = False

    def counted(self, request: Request) -> tuple[str, Sequence[Rate]] | None:
        """Whom a request is counted for, and by which rates; ``None`` for nobody."""
        return None

    def handle(self, request: Request) -> None:
        counted = self.counted(request)
        if counted is None:
            self.forward(request)
            return
        counting: Deferred[Any] = Deferred.fromCoroutine(count(self.store, f"{self.name}\0{counted[0]}", counted[1]))
        counting.addErrback(self._not_counted)
        found: Any = counting.result if counting.called else None
        if counting.called and not isinstance(found, Failure):
            self._admit(request, found)
        else:
            self.spawn(request, self._admit_late(request, counting))

    def _not_counted(self, failure: Failure) -> None:
        failure.trap(StoreError)
        if not self._told:
            log.warn("{name}: requests are not counted: {reason}", name=self.name, reason=failure.getErrorMessage())
        self._told = True

    async def _admit_late(self, request: Request, counting: Deferred[Any]) -> None:
        self._admit(request, await counting)

    def _admit(self, request: Request, found: Count | None) -> None:
        self._told = self._told and found is None
        if found is None:
            self._admit_uncounted(request)
        elif found.decision.allowed:
            request.before_headers(lambda request: _tell(request, found))
            self.forward(request)
        else:
            retry = (b"Retry-After", b"%d" % ceil(found.decision.retry_after))
            request.error(429, "There were too many requests. Try again later.", [retry, *found.fields])

    def _admit_uncounted(self, request: Request) -> None:
        if self.when_down == "open":
            self.forward(request)
        else:
            request.error(503, "Requests cannot be counted just now.", [(b"Retry-After", b"%d" % _DOWN)])


def _tell(request: Request, found: Count) -> None:
    for name, value in found.fields:
        request.responseHeaders.addRawHeader(name, value)
