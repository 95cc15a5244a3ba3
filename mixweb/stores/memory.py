"""
A store in the memory of the process.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from heapq import heapify, heappop, heappush, nsmallest
from itertools import count
from math import inf
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred, execute, succeed
from zope.interface import implementer

from mixweb.stores._gcra import decide
from mixweb.stores._subscriptions import Callback, Subscriptions
from mixweb.stores.interface import Conflict, Decision, Entry, IStore, Status, StoreFull, check_message, check_ttl

T = TypeVar("T")

#: What a memory store holds at most, in bytes.
MAX_BYTES = 64 * 1024 * 1024

#: What an item takes up besides its key and value, in bytes.
ITEM_BYTES = 400

#: How many items that are over a call clears away at most; one that finds no room looks for more of them.
_EXPIRE_SOME, _EXPIRE_MANY = 64, 10_000


@dataclass(slots=True)
class _Item(Generic[T]):
    """
    What a table keeps under a key.

    :ivar deadline: when it is over.
    :ivar queued: the time under which the heap has it.
    """

    value: T
    deadline: float
    queued: float
    size: int


class Table(Generic[T]):
    """
    Values with deadlines.

    :ivar size: bytes that they take up.
    """

    def __init__(self) -> None:
        self.items: dict[bytes, _Item[T]] = {}
        self.size = 0
        self._heap: list[tuple[float, bytes]] = []

    def find(self, key: bytes, now: float) -> _Item[T] | None:
        """The item of a key, unless it is over."""
        item = self.items.get(key)
        return item if item is not None and item.deadline > now else None

    def set(self, key: bytes, value: T, deadline: float, size: int) -> None:
        """Keep a value in the place of any other."""
        before = self.items.get(key)
        self.size += size - (before.size if before else 0)
        self.items[key] = _Item(value, inf, before.queued if before else inf, size)
        self.postpone(key, deadline)

    def postpone(self, key: bytes, deadline: float) -> None:
        """Give an item another deadline."""
        item = self.items[key]
        item.deadline = deadline
        if deadline < item.queued:
            self._queue(key, item)

    def remove(self, key: bytes) -> None:
        """Forget a key."""
        item = self.items.pop(key, None)
        if item is not None:
            self.size -= item.size
        self._tidy()

    def expire(self, now: float, limit: int) -> None:
        """Forget what is over."""
        while limit and self._heap and self._heap[0][0] <= now:
            limit -= 1
            when, key = heappop(self._heap)
            item = self.items.get(key)
            if item is None or item.queued != when:
                continue
            item.queued = inf
            if item.deadline <= now:
                self.remove(key)
            elif item.deadline < inf:
                self._queue(key, item)

    def _queue(self, key: bytes, item: _Item[T]) -> None:
        item.queued = item.deadline
        heappush(self._heap, (item.queued, key))
        self._tidy()

    def _tidy(self) -> None:
        """Take out of the heap what is no longer meant, once that is most of it."""
        if len(self._heap) > 2 * len(self.items) + 64:
            self._heap = [(item.queued, key) for key, item in self.items.items() if item.queued < inf]
            heapify(self._heap)


@implementer(IStore)
class MemoryStore:
    """
    Keeps everything in memory, until its last user closes it.

    :param reactor: tells the time.
    :param max_bytes: with more than this, a little overhead for each item counted, the store is full.
    """

    def __init__(self, reactor: Any, *, max_bytes: int = MAX_BYTES) -> None:
        self.max_bytes = max_bytes
        self._reactor = reactor
        self._users = 0
        self._versions = count(1)
        self._subscriptions = Subscriptions()
        self._forget()

    def _forget(self) -> None:
        self._values: Table[Entry] = Table()
        self._hits: Table[float] = Table()

    def open(self) -> None:
        self._users += 1

    def close(self) -> Deferred[None]:
        self._users -= 1
        if not self._users:
            self._forget()
        return succeed(None)

    def seconds(self) -> float:
        now: float = self._reactor.seconds()
        return now

    def get(self, key: bytes) -> Deferred[Entry | None]:
        return execute(self._get, key)

    def put(self, key: bytes, value: bytes, ttl: float | None = None, if_version: int | None = None) -> Deferred[int]:
        return execute(self._put, key, value, ttl, if_version)

    def touch(self, key: bytes, ttl: float | None) -> Deferred[bool]:
        return execute(self._touch, key, ttl)

    def delete(self, key: bytes) -> Deferred[bool]:
        return execute(self._delete, key)

    def scan(self, prefix: bytes, limit: int, after: bytes = b"") -> Deferred[list[bytes]]:
        return execute(self._scan, prefix, limit, after)

    def hit(self, key: bytes, burst: int, period: float, cost: int = 1) -> Deferred[Decision]:
        return execute(self._hit, key, burst, period, cost)

    def publish(self, channel: bytes, data: bytes) -> Deferred[None]:
        return execute(self._publish, channel, data)

    def subscribe(self, channel: bytes, callback: Callback) -> Deferred[Callable[[], None]]:
        return succeed(self._subscriptions.add(channel, callback))

    def status(self) -> Deferred[Status]:
        self._now()
        return succeed(Status("up", entries=len(self._values.items), size=self._size()))

    def _now(self) -> float:
        """The time; some of what is over by then is cleared away."""
        now = self.seconds()
        self._values.expire(now, _EXPIRE_SOME)
        self._hits.expire(now, _EXPIRE_SOME)
        return now

    def _size(self) -> int:
        return self._values.size + self._hits.size

    def _make_room(self, growth: int, now: float) -> None:
        if growth > 0 and self._size() + growth > self.max_bytes:
            self._values.expire(now, _EXPIRE_MANY)
            self._hits.expire(now, _EXPIRE_MANY)
            if self._size() + growth > self.max_bytes:
                raise StoreFull(f"the store has {self.max_bytes} bytes, and no room for {growth} more")

    def _get(self, key: bytes) -> Entry | None:
        item = self._values.find(key, self._now())
        return None if item is None else item.value

    def _put(self, key: bytes, value: bytes, ttl: float | None, if_version: int | None) -> int:
        check_ttl(ttl)
        now = self._now()
        before = self._values.find(key, now)
        found = 0 if before is None else before.value.version
        if if_version not in (None, found):
            raise Conflict(found)
        size = len(key) + len(value) + ITEM_BYTES
        self._make_room(size - (0 if before is None else before.size), now)
        version = next(self._versions)
        self._values.set(key, Entry(bytes(value), version), inf if ttl is None else now + ttl, size)
        return version

    def _touch(self, key: bytes, ttl: float | None) -> bool:
        check_ttl(ttl)
        now = self._now()
        if self._values.find(key, now) is None:
            return False
        self._values.postpone(key, inf if ttl is None else now + ttl)
        return True

    def _delete(self, key: bytes) -> bool:
        existed = self._values.find(key, self._now()) is not None
        self._values.remove(key)
        self._hits.remove(key)
        return existed

    def _scan(self, prefix: bytes, limit: int, after: bytes) -> list[bytes]:
        now = self._now()
        keys = (key for key, item in self._values.items.items() if key.startswith(prefix) and item.deadline > now)
        return nsmallest(limit, (key for key in keys if key > after) if after else keys)

    def _hit(self, key: bytes, burst: int, period: float, cost: int) -> Decision:
        now = self._now()
        item = self._hits.find(key, now)
        decision, kept = decide(None if item is None else item.value, now, burst, period, cost)
        if kept is not None:
            size = len(key) + ITEM_BYTES
            self._make_room(size if item is None else 0, now)
            self._hits.set(key, kept, kept, size)
        return decision

    def _publish(self, channel: bytes, data: bytes) -> None:
        check_message(data)
        self._reactor.callLater(0, self._subscriptions.deliver, channel, data)
