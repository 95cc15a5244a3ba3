"""
A store in a file, for several processes of one machine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread
from time import time
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from mixweb.stores._database import Database, Message
from mixweb.stores._subscriptions import Callback, Subscriptions
from mixweb.stores.interface import (
    DEADLINE,
    Decision,
    Entry,
    IStore,
    Status,
    StoreUnavailable,
    check_message,
    check_ttl,
)

T = TypeVar("T")

#: How large the file may become, in bytes.
MAX_BYTES = 1024 * 1024 * 1024

#: More calls than this do not wait in line.
MAX_WAITING = 10_000

#: How often messages are looked for while somebody subscribes, in seconds.
POLL_SECONDS = 0.1

#: How often what is over is cleared away, in seconds.
SWEEP_SECONDS = 60

#: How many calls the thread takes before it tells the reactor of them.
_BATCH = 64

_END = None


class Job:
    """
    A call on its way through the thread.

    :ivar result: fires in the reactor's thread.
    """

    def __init__(self, work: Callable[[Database], Any]) -> None:
        self.work = work
        self.result: Deferred[Any] = Deferred(self._cancel)
        self._cancelled = False
        self._outcome: Any = None

    def _cancel(self, _: Deferred[Any]) -> None:
        self._cancelled = True

    def run(self, database: Database) -> None:
        """Do it, unless nobody waits for it any more."""
        if not self._cancelled:
            try:
                self._outcome = self.work(database)
            except Exception:
                self._outcome = Failure()

    def tell(self) -> None:
        """Fire the result."""
        if not self.result.called:
            self.result.callback(self._outcome)


class DatabaseThread:
    """
    Runs calls one after the other in a thread of its own.

    :ivar ended: fires when the last one is done and the file is closed.
    """

    def __init__(self, reactor: Any, database: Database) -> None:
        self.ended: Deferred[None] = Deferred()
        self._reactor = reactor
        self._database = database
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        Thread(target=self._run, name="mixweb-sqlite", daemon=True).start()

    def call(self, work: Callable[[Database], T]) -> Deferred[T]:
        """Have something done."""
        if self._jobs.qsize() >= MAX_WAITING:
            return fail(StoreUnavailable("too many calls wait for the store"))
        job = Job(work)
        self._jobs.put(job)
        return job.result

    def end(self) -> Deferred[None]:
        """Take no more calls."""
        self._jobs.put(_END)
        return self.ended

    def _run(self) -> None:
        going = True
        while going:
            jobs, going = self._next_jobs()
            for job in jobs:
                job.run(self._database)
            self._reactor.callFromThread(self._tell, jobs)
        self._database.close()
        self._reactor.callFromThread(self.ended.callback, None)

    def _next_jobs(self) -> tuple[list[Job], bool]:
        """Wait for a call and take those behind it too; whether more may come."""
        jobs: list[Job] = []
        job = self._jobs.get()
        while job is not _END:
            jobs.append(job)
            if len(jobs) == _BATCH:
                return jobs, True
            try:
                job = self._jobs.get_nowait()
            except Empty:
                return jobs, True
        return jobs, False

    def _tell(self, jobs: list[Job]) -> None:
        for job in jobs:
            job.tell()


@implementer(IStore)
class SqliteStore:
    """
    Keeps everything in an SQLite file. Calls fail while no user has opened it.

    Another process may see what is published a tenth of a second later.

    :param path: of the file; it is made when it is missing, for the user of the process alone.
    :param reactor: with threads.
    :param deadline: how long a call may take, in seconds.
    :param seconds: the wall clock, which the processes share.
    """

    _log = Logger()

    def __init__(
        self,
        path: str,
        reactor: Any,
        *,
        deadline: float = DEADLINE,
        seconds: Callable[[], float] = time,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self.path = path
        self.deadline = deadline
        self.seconds = seconds
        self.max_bytes = max_bytes
        self._reactor = reactor
        self._users = 0
        self._thread: DatabaseThread | None = None
        self._subscriptions = Subscriptions()
        self._position = 0
        self._polling = False
        self._timers = [self._timer(self._sweep), self._timer(self._poll)]

    def _timer(self, act: Callable[[], object]) -> LoopingCall:
        timer = LoopingCall(act)
        timer.clock = self._reactor
        return timer

    # Life

    def open(self) -> None:
        self._users += 1
        if self._users == 1:
            database = Database(self.path, self.seconds, self.deadline, self.max_bytes)
            self._thread = DatabaseThread(self._reactor, database)
            sweep, poll = self._timers
            sweep.start(SWEEP_SECONDS)
            poll.start(POLL_SECONDS, now=False)

    def close(self) -> Deferred[None]:
        self._users -= 1
        if self._users or self._thread is None:
            return succeed(None)
        for timer in self._timers:
            timer.stop()
        thread, self._thread = self._thread, None
        return thread.end()

    def _call(self, work: Callable[[Database], T]) -> Deferred[T]:
        if self._thread is None:
            return fail(StoreUnavailable(f"{self.path} is not open"))
        called = self._thread.call(work)
        called.addTimeout(self.deadline, self._reactor, self._late)
        return called

    def _late(self, value: Any, timeout: float) -> Any:
        if isinstance(value, Failure) and value.check(CancelledError):
            raise StoreUnavailable(f"{self.path} did not answer within {timeout:g} seconds")
        return value

    # Values

    def get(self, key: bytes) -> Deferred[Entry | None]:
        return self._call(lambda database: database.get(key))

    def put(self, key: bytes, value: bytes, ttl: float | None = None, if_version: int | None = None) -> Deferred[int]:
        return self._checked(partial(check_ttl, ttl), lambda database: database.put(key, value, ttl, if_version))

    def touch(self, key: bytes, ttl: float | None) -> Deferred[bool]:
        return self._checked(partial(check_ttl, ttl), lambda database: database.touch(key, ttl))

    def delete(self, key: bytes) -> Deferred[bool]:
        return self._call(lambda database: database.delete(key))

    def scan(self, prefix: bytes, limit: int, after: bytes = b"") -> Deferred[list[bytes]]:
        return self._call(lambda database: database.scan(prefix, limit, after))

    def hit(self, key: bytes, burst: int, period: float, cost: int = 1) -> Deferred[Decision]:
        return self._call(lambda database: database.hit(key, burst, period, cost))

    def _checked(self, check: Callable[[], None], work: Callable[[Database], T]) -> Deferred[T]:
        try:
            check()
        except ValueError:
            return fail(Failure())
        return self._call(work)

    def _sweep(self) -> None:
        def swept(more: bool) -> None:
            if more and self._thread is not None:
                self._sweep()

        self._call(Database.sweep).addCallbacks(swept, self._warn)

    def _warn(self, reason: Failure) -> None:
        self._log.warn("{reason}", reason=reason.getErrorMessage())

    # Messages

    def publish(self, channel: bytes, data: bytes) -> Deferred[None]:
        return self._checked(partial(check_message, data), lambda database: database.publish(channel, data))

    def subscribe(self, channel: bytes, callback: Callback) -> Deferred[Callable[[], None]]:
        def known(position: int) -> Callable[[], None]:
            if not self._subscriptions:
                self._position = position
            return self._subscriptions.add(channel, callback)

        return self._call(Database.last_message).addCallback(known)

    def _poll(self) -> None:
        if self._subscriptions and not self._polling:
            self._polling = True
            found = self._call(lambda database: database.messages(self._position))
            found.addCallbacks(self._deliver, self._warn).addBoth(self._polled)

    def _polled(self, _: object) -> None:
        self._polling = False

    def _deliver(self, messages: list[Message]) -> None:
        for number, channel, data in messages:
            if number > self._position:
                self._position = number
                self._subscriptions.deliver(channel, data)

    # Health

    def status(self) -> Deferred[Status]:
        began = self._reactor.seconds()

        def answered(status: Status) -> Status:
            latency = self._reactor.seconds() - began
            return replace(status, latency=latency, state="degraded" if latency > self.deadline / 4 else "up")

        def failed(reason: Failure) -> Status:
            return Status("down", self._reactor.seconds() - began, detail=reason.getErrorMessage())

        return self._call(Database.status).addCallbacks(answered, failed)
