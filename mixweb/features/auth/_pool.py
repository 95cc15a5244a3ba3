"""
Threads for what takes its time: hashing, and files.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

P = ParamSpec("P")
T = TypeVar("T")


class Busy(Exception):
    """More is waiting than is done in good time."""


class WorkPool(Service):
    """
    Some threads, and a queue that has an end.

    :param reactor: one without threads has the work done at once: in tests with a clock.
    :param threads: how many.
    :param waiting: how many calls may wait for one of them.
    """

    def __init__(self, reactor: Any, threads: int, waiting: int) -> None:
        self._reactor = reactor
        self._most = threads + waiting
        self._pool = ThreadPool(0, threads, "mixweb.auth")
        self._threaded = IReactorFromThreads.providedBy(reactor)
        self.under_way = 0

    def startService(self) -> None:
        super().startService()
        if self._threaded:
            self._pool.start()

    def stopService(self) -> None:
        super().stopService()
        if self._threaded and self._pool.started:
            self._pool.stop()

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """
        What a function returns, called in a thread.

        :raises Busy: when too many calls are waiting already.
        """
        if self.under_way >= self._most:
            raise Busy
        if not self._threaded:
            return work(*args, **kwargs)
        self.under_way += 1
        waiting: Deferred[T] = Deferred()

        def job() -> T:
            if waiting.called:
                raise CancelledError
            return work(*args, **kwargs)

        # The place in the queue is taken until the thread is done, also when nobody waits any more.
        deferToThreadPool(self._reactor, self._pool, job).addBoth(self._done, waiting)
        return await waiting

    def _done(self, result: Any, waiting: Deferred[Any]) -> None:
        self.under_way -= 1
        if not waiting.called:
            waiting.callback(result)
