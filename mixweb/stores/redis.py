"""
A store in a Redis, for several machines.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from heapq import nsmallest
from math import ceil
from time import time
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.python.failure import Failure
from zope.interface import implementer

from mixweb.stores._gcra import ROUNDING, check_limit
from mixweb.stores._redis_link import Link, tls_of
from mixweb.stores._redis_pool import Pool
from mixweb.stores._redis_scripts import DELETE, HIT, PUT, TOUCH
from mixweb.stores._redis_subscriber import Subscriber
from mixweb.stores._subscriptions import Callback
from mixweb.stores.interface import (
    DEADLINE,
    Conflict,
    Decision,
    Entry,
    IStore,
    Status,
    StoreUnavailable,
    check_message,
    check_ttl,
)
from mixweb.stores.urls import Address

T = TypeVar("T")

#: How many keys of the database a scan looks at in one step.
_SCAN_STEP = 1000

#: The longest time to live that is told apart from another, in milliseconds.
_MAX_TTL = 2**52

_SPECIAL = (b"\\", b"*", b"?", b"[")


def _entry(data: bytes | None) -> Entry | None:
    if data is None:
        return None
    version, _, value = data.partition(b"\n")
    return Entry(value, int(version))


def _version(number: int) -> int:
    if number <= 0:
        raise Conflict(-number)
    return number


def _decision(numbers: list[int]) -> Decision:
    allowed, remaining, microseconds = numbers
    return Decision(bool(allowed), remaining, microseconds / 1e6)


def milliseconds(ttl: float | None) -> bytes:
    """A time to live as the scripts take it."""
    return b"" if ttl is None else b"%d" % min(max(ceil(min(ttl * 1000, _MAX_TTL)), 1), _MAX_TTL)


def pattern(prefix: bytes) -> bytes:
    """The pattern of all keys with a prefix."""
    for character in _SPECIAL:
        prefix = prefix.replace(character, b"\\" + character)
    return prefix + b"*"


@implementer(IStore)
class RedisStore:
    """
    Keeps everything in a Redis, or what speaks its protocol. Calls fail while no user has opened it.

    Nothing is taken for lost that may be there: when the Redis does not answer, calls fail.

    :param reactor: the one that runs.
    :param deadline: how long a call may take, in seconds.
    :raises ValueError: when the files with certificates cannot be used.
    """

    def __init__(self, address: Address, reactor: Any, *, deadline: float = DEADLINE) -> None:
        where = f"//{address.host}:{address.port}" if address.host else address.path
        self.name = f"{address.scheme}:{where}"
        self.deadline = deadline
        self._address = address
        self._reactor = reactor
        self._prefix = address.prefix.encode()
        self._users = 0
        self._pool: Pool | None = None
        self._subscriber: Subscriber | None = None
        if address.scheme == "rediss":
            tls_of(address)

    # Life

    def open(self) -> None:
        self._users += 1
        if self._users == 1:
            self._pool = Pool(self._address, self._reactor, self.deadline, self.name)

    def close(self) -> Deferred[None]:
        self._users -= 1
        if self._users or self._pool is None:
            return succeed(None)
        pool, self._pool = self._pool, None
        subscriber, self._subscriber = self._subscriber, None
        stopped = Deferred.fromCoroutine(pool.stop())
        return stopped if subscriber is None else stopped.addCallback(lambda _: subscriber.stop())

    def seconds(self) -> float:
        return time()

    def _call(self, act: Callable[[Link], Awaitable[T]]) -> Deferred[T]:
        if self._pool is None:
            return fail(StoreUnavailable(f"{self.name} is not open"))
        return self._in_time(Deferred.fromCoroutine(self._pool.call(act)))

    def _in_time(self, called: Deferred[T]) -> Deferred[T]:
        return called.addTimeout(self.deadline, self._reactor, self._late)

    def _late(self, value: Any, timeout: float) -> Any:
        if isinstance(value, Failure) and value.check(CancelledError):
            raise StoreUnavailable(f"{self.name} did not answer within {timeout:g} seconds")
        return value

    def _script(self, script: bytes, keys: list[bytes], *arguments: bytes) -> Deferred[Any]:
        return self._call(lambda link: link.eval(script, keys, arguments))

    # Values

    def _value(self, key: bytes) -> bytes:
        return b"%bv:{%b}" % (self._prefix, key)

    def _hits(self, key: bytes) -> bytes:
        return b"%bh:{%b}" % (self._prefix, key)

    def get(self, key: bytes) -> Deferred[Entry | None]:
        return self._call(lambda link: link.execute_command("GET", self._value(key))).addCallback(_entry)

    def put(self, key: bytes, value: bytes, ttl: float | None = None, if_version: int | None = None) -> Deferred[int]:
        try:
            check_ttl(ttl)
        except ValueError:
            return fail(Failure())
        keys = [self._value(key), self._prefix + b"version"]
        wanted = b"" if if_version is None else b"%d" % if_version
        return self._script(PUT, keys, value, milliseconds(ttl), wanted).addCallback(_version)

    def touch(self, key: bytes, ttl: float | None) -> Deferred[bool]:
        try:
            check_ttl(ttl)
        except ValueError:
            return fail(Failure())
        return self._script(TOUCH, [self._value(key)], milliseconds(ttl)).addCallback(bool)

    def delete(self, key: bytes) -> Deferred[bool]:
        return self._script(DELETE, [self._value(key), self._hits(key)]).addCallback(bool)

    def scan(self, prefix: bytes, limit: int, after: bytes = b"") -> Deferred[list[bytes]]:
        return self._call(partial(self._scan, prefix, limit, after))

    async def _scan(self, prefix: bytes, limit: int, after: bytes, link: Link) -> list[bytes]:
        """Look at all keys of the database: a Redis has no order."""
        found: list[bytes] = []
        start, cursor = len(self._value(b"")) - 1, b"0"
        wanted = pattern(self._value(prefix)[:-1])
        while True:
            cursor, keys = await link.execute_command("SCAN", cursor, "MATCH", wanted, "COUNT", _SCAN_STEP)
            more = {key[start:-1] for key in keys}
            found = nsmallest(limit, {key for key in more if key > after or not after}.union(found))
            if cursor == b"0":
                return found

    def hit(self, key: bytes, burst: int, period: float, cost: int = 1) -> Deferred[Decision]:
        try:
            check_limit(burst, period, cost)
        except ValueError:
            return fail(Failure())
        numbers = [repr(number).encode() for number in (burst, period, cost, ROUNDING)]
        return self._script(HIT, [self._hits(key)], *numbers).addCallback(_decision)

    # Messages

    def _channel(self, channel: bytes) -> bytes:
        """Those of all databases are in one place."""
        return b"%b%d:%b" % (self._prefix, self._address.database, channel)

    def publish(self, channel: bytes, data: bytes) -> Deferred[None]:
        try:
            check_message(data)
        except ValueError:
            return fail(Failure())
        told = self._call(lambda link: link.execute_command("PUBLISH", self._channel(channel), data))
        return told.addCallback(lambda _: None)

    def subscribe(self, channel: bytes, callback: Callback) -> Deferred[Callable[[], None]]:
        if self._pool is None:
            return fail(StoreUnavailable(f"{self.name} is not open"))
        if self._subscriber is None:
            self._subscriber = Subscriber(self._address, self._reactor, self.deadline)
        return self._in_time(Deferred.fromCoroutine(self._subscriber.add(self._channel(channel), callback)))

    # Health

    def status(self) -> Deferred[Status]:
        began = self._reactor.seconds()

        def answered(found: tuple[int, int]) -> Status:
            latency = self._reactor.seconds() - began
            state = "degraded" if latency > self.deadline / 4 else "up"
            return Status(state, latency, entries=found[0], size=found[1])

        def failed(reason: Failure) -> Status:
            pool = self._pool
            state = "refused" if pool is not None and pool.refused else "down"
            trouble = "" if pool is None else pool.trouble
            return Status(state, self._reactor.seconds() - began, detail=trouble or reason.getErrorMessage())

        return self._call(self._sizes).addCallbacks(answered, failed)

    async def _sizes(self, link: Link) -> tuple[int, int]:
        """How many keys there are in the database, and how many bytes the whole Redis takes up."""
        keys = await link.execute_command("DBSIZE")
        counter = await link.execute_command("EXISTS", self._prefix + b"version")
        memory = await link.execute_command("INFO", "memory")
        return keys - counter, int(memory.partition(b"used_memory:")[2].partition(b"\r\n")[0])
