"""
The upstream servers of one proxy: which of them is asked, and which is left alone because it does not answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from math import log

from twisted.logger import Logger

from mixweb.features.proxy._target import Target
from mixweb.kit.upstream.pool import Pool


@dataclass(eq=False)
class Upstream:
    """
    A server.

    :ivar target: where it is; ``None`` for one that a function connects to.
    :ivar name: what it is called in the log.
    :ivar weight: its share of the requests.
    :ivar healthy: what the last health check said.
    :ivar failures: how often in a row it did not answer.
    :ivar rested: the tick of its pool up to which it is left alone, where there are others.
    """

    target: Target
    pool: Pool
    name: str
    weight: int = 1
    healthy: bool = True
    failures: int = 0
    rested: int = 0
    credit: int = 0

    @property
    def resting(self) -> bool:
        """Whether it has failed too often a moment ago."""
        return self.pool.tick < self.rested


Policy = Callable[[Sequence[Upstream], bytes], Upstream]


def round_robin(choices: Sequence[Upstream], key: bytes) -> Upstream:
    """Each in its turn, those with more weight more often and evenly between the others."""
    for upstream in choices:
        upstream.credit += upstream.weight
    chosen = max(choices, key=lambda upstream: upstream.credit)
    chosen.credit -= sum(upstream.weight for upstream in choices)
    return chosen


def least_connections(choices: Sequence[Upstream], key: bytes) -> Upstream:
    """The one that has least to do for its weight; in turn where there are several."""
    load = {upstream: upstream.pool.busy / upstream.weight for upstream in choices}
    least = min(load.values())
    return round_robin([upstream for upstream in choices if load[upstream] == least], key)


def by_hash(choices: Sequence[Upstream], key: bytes) -> Upstream:
    """
    The same for the same key, whoever else is there (rendezvous hashing).

    :param key: what says that two requests belong together.
    """

    def score(upstream: Upstream) -> float:
        digest = blake2b(key + b"\0" + upstream.name.encode(), digest_size=8).digest()
        return -upstream.weight / log((int.from_bytes(digest) + 1) / (2**64 + 1))

    return max(choices, key=score)


POLICIES: dict[str, Policy] = {
    "round-robin": round_robin,
    "least-connections": least_connections,
    "address": by_hash,
    "cookie": by_hash,
}


class Upstreams:
    """
    Chooses among servers.

    :param policy: which of :data:`POLICIES`.
    :param max_failures: after which a server is left alone; 0 for never.
    :param rest: for how many seconds.
    """

    _log = Logger(namespace="mixweb.features.proxy")

    def __init__(self, upstreams: Sequence[Upstream], policy: str, max_failures: int, rest: int) -> None:
        self.all = list(upstreams)
        self.policy = POLICIES[policy]
        self.max_failures = max_failures
        self.rest = rest
        self.only = self.all[0] if len(self.all) == 1 else None

    def choose(self, key: bytes, tried: Sequence[Pool]) -> Upstream | None:
        """
        The next one to ask; one that is resting only where there is no other.

        :param tried: the pools of those that could not be reached.
        """
        if self.only is not None and not tried:
            return self.only if self.only.healthy else None
        choices = [upstream for upstream in self.all if upstream.healthy and upstream.pool not in tried]
        fit = [upstream for upstream in choices if not upstream.resting] or choices
        if len(fit) < 2:
            return fit[0] if fit else None
        return self.policy(fit, key)

    def succeeded(self, upstream: Upstream) -> None:
        """It has answered."""
        if upstream.failures:
            if upstream.resting or upstream.failures >= self.max_failures > 0:
                self._log.info("{name} answers again", name=upstream.name)
            upstream.failures = upstream.rested = 0

    def failed(self, upstream: Upstream, reason: str) -> None:
        """It has not answered."""
        upstream.failures += 1
        if upstream.failures == 1:
            self._log.warn("{name}: {reason}", name=upstream.name, reason=reason)
        if self.max_failures and upstream.failures >= self.max_failures:
            upstream.rested = upstream.pool.tick + self.rest

    def checked(self, upstream: Upstream, healthy: bool, reason: str) -> None:
        """What a health check has found."""
        if healthy is not upstream.healthy:
            upstream.healthy = healthy
            if healthy:
                upstream.failures = upstream.rested = 0
                self._log.info("{name} is healthy again", name=upstream.name)
            else:
                self._log.warn("{name} is not healthy: {reason}", name=upstream.name, reason=reason)
