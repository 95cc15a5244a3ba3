"""
How often one may fail.

Failures are counted for a user at an address, for an address and for a user, each in several cells: the first ones are
free, then there is one more try every few seconds, later every few minutes. What is refused is not counted, and a name
that nobody has counts as any other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from secrets import token_hex

from twisted.internet.defer import FirstError, gatherResults

from mixweb.kit.addresses import network
from mixweb.stores import Decision, IStore

_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86400.0

#: For a user at an address: so many times the free failures, and the seconds in which they come back.
_NEAR = ((1, _MINUTE), (2, 15 * _MINUTE), (3, 6 * _HOUR))

#: For an address with all users, and for a user with all addresses.
_WIDE = ((5, 10 * _MINUTE), (20, _DAY))


class Locked(Exception):
    """
    There were too many failures.

    :ivar seconds: until there may be another try.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(f"locked for {seconds:.0f} s")
        self.seconds = seconds


@dataclass(frozen=True)
class Cell:
    """A limit: so many failures at once, that come back evenly over a period in seconds."""

    key: bytes
    burst: int
    period: float


def cells(name: str, address: str, attempts: int, epoch: str = "") -> list[Cell]:
    """
    What a failure counts against.

    :param attempts: how many failures of a user at an address are free.
    :param epoch: another one when the user was unlocked.
    """
    address = network(address)
    limits = [(f"{name}\0{address}\0{epoch}", _NEAR), (f"\0{address}", _WIDE), (f"{name}\0", _WIDE)]
    return [
        Cell(_key("failures", f"{subject}\0{level}"), attempts * times, period)
        for subject, levels in limits
        for level, (times, period) in enumerate(levels)
    ]


def _key(kind: str, subject: str) -> bytes:
    return f"auth:{kind}:{sha256(subject.encode()).hexdigest()[:32]}".encode()


def _epoch_key(name: str) -> bytes:
    return _key("unlocked", name)


class Try:
    """
    One try to log in.

    :ivar decisions: what each cell said of it.
    """

    def __init__(self, store: IStore, found: Sequence[Cell], decisions: Sequence[Decision]) -> None:
        self._store = store
        self._cells = found
        self._decisions = decisions

    async def failed(self) -> None:
        """Count it."""
        await hits(self._store, self._cells)

    async def succeeded(self) -> None:
        """Forget the failures of this user at this address; those of others there, or elsewhere, still count."""
        for cell, said in zip(self._cells[: len(_NEAR)], self._decisions, strict=False):
            if said.remaining < cell.burst:
                await self._store.delete(cell.key)


class Lockout:
    """
    Counts failures.

    :param attempts: how many are free; 0 for all.
    """

    def __init__(self, store: IStore, attempts: int) -> None:
        self._store = store
        self._attempts = attempts
        self._under_way: Counter[bytes] = Counter()

    @asynccontextmanager
    async def attempt(self, name: str, address: str) -> AsyncIterator[Try]:
        """
        One try.

        :raises Locked: when there may be none yet.
        """
        found = await self._cells(name, address)
        keys = [cell.key for cell in found]
        before = [self._under_way[key] for key in keys]
        self._under_way.update(keys)
        try:
            decisions = await hits(self._store, found, cost=0)
            await self._check(found, before, decisions)
            yield Try(self._store, found, decisions)
        finally:
            self._under_way -= Counter(keys)

    async def _cells(self, name: str, address: str) -> Sequence[Cell]:
        if not self._attempts:
            return ()
        epoch = await self._store.get(_epoch_key(name))
        return cells(name, address, self._attempts, "" if epoch is None else epoch.value.decode())

    async def _check(self, found: Sequence[Cell], before: Sequence[int], decisions: Sequence[Decision]) -> None:
        full = [cell for cell, said in zip(found, decisions, strict=True) if not said.remaining]
        if full:
            refused = await hits(self._store, full)
            raise Locked(max([1.0, *(said.retry_after for said in refused)]))
        # What is under way may fail too: nobody gets more tries by having them at once.
        if any(said.remaining <= running for said, running in zip(decisions, before, strict=True)):
            raise Locked(1.0)


async def hits(store: IStore, found: Sequence[Cell], cost: int = 1) -> Sequence[Decision]:
    """Hit cells."""
    waiting = [store.hit(cell.key, cell.burst, cell.period, cost) for cell in found]
    try:
        return await gatherResults(waiting, consumeErrors=True)
    except FirstError as failure:
        failure.subFailure.raiseException()
        raise


async def unlock(store: IStore, name: str, attempts: int) -> None:
    """Let a user try again, from wherever."""
    for cell in cells(name, "", attempts)[-len(_WIDE) :]:
        await store.delete(cell.key)
    # The addresses that it failed from are not known: from now on all of them count anew.
    await store.put(_epoch_key(name), token_hex(8).encode(), 2 * _DAY)
