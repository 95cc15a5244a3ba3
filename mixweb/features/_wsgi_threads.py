"""
The threads that applications are called in, and the way back from them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread, current_thread
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from mixweb.engine.errors import HTTPError

#: How long calls that are under way are waited for when the application stops, in seconds.
STOP_SECONDS = 10


class HandOver:
    """
    Has work done in the reactor's thread, in the order it comes from any one thread.

    Waking the reactor costs more than most of the work: it is woken once for all that comes until it has begun.
    """

    _log = Logger(namespace="mixweb.features.wsgi")

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._work: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._awake = False

    def __call__(self, work: Callable[..., object], *arguments: Any) -> None:
        """Called in any thread."""
        self._work.append((work, arguments))
        if not self._awake:
            self._awake = True
            self._reactor.callFromThread(self._run)

    def _run(self) -> None:
        # What is added from here on wakes the reactor again, or is found by the loop.
        self._awake = False
        while self._work:
            work, arguments = self._work.popleft()
            try:
                work(*arguments)
            except Exception:
                self._log.failure("what an application handed over failed")


class ApplicationThreads(Service):
    """
    Threads, begun as they are needed; daemons, so that none can keep the process from ending.

    :param maximum: how many there are at most; further calls wait, and so do all until the service has started.
    :ivar hand_over: has work done in the reactor's thread.
    """

    _log = Logger(namespace="mixweb.features.wsgi")

    def __init__(self, maximum: int, reactor: Any) -> None:
        self.reactor = reactor
        self.maximum = maximum
        self.hand_over = HandOver(reactor)
        self.stopped = False
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._waiting: list[Callable[[], None]] = []
        self._threads: set[Thread] = set()
        self._busy: set[Thread] = set()
        self._stopping: Deferred[None] | None = None

    def startService(self) -> None:
        super().startService()
        self.stopped = False
        self._begin_threads()

    def stopService(self) -> Deferred[None]:
        super().stopService()
        self.stopped = True
        for _ in self._threads:
            self._calls.put(None)
        stopping: Deferred[None] = Deferred()
        self._stopping = stopping
        stopping.addTimeout(STOP_SECONDS, self.reactor)
        stopping.addErrback(lambda _: self._log.warn("calls of a WSGI application did not end in time"))
        self._tell_stopped()
        return stopping

    def start(self, call: Callable[[], None]) -> None:
        """
        Run a call as soon as a thread is free.

        :raises HTTPError: 503 when the threads are stopped.
        """
        if self.stopped:
            raise HTTPError(503, "The application is stopped.")
        self._waiting.append(call)
        if len(self._waiting) == 1:
            self.reactor.callLater(0, self._hand_out)

    def _hand_out(self) -> None:
        # All calls of one turn of the reactor at once: a thread that is woken among them would take turns with the reactor
        # at each of its system calls, which costs more than most calls.
        for call in self._waiting:
            self._calls.put(call)
        self._waiting.clear()
        if self.running:
            self._begin_threads()

    def _begin_threads(self) -> None:
        """As many as wait for one, as long as there may be more."""
        wanted = self._calls.qsize() - (len(self._threads) - len(self._busy))
        for _ in range(min(wanted, self.maximum - len(self._threads))):
            thread = Thread(target=self._work, name="wsgi", daemon=True)
            self._threads.add(thread)
            thread.start()

    def _work(self) -> None:
        thread = current_thread()
        while (call := self._calls.get()) is not None:
            self._busy.add(thread)
            call()
            self._busy.discard(thread)
        self.hand_over(self._ended, thread)

    def _ended(self, thread: Thread) -> None:
        self._threads.discard(thread)
        self._tell_stopped()

    def _tell_stopped(self) -> None:
        if self._stopping is not None and not self._threads:
            stopping, self._stopping = self._stopping, None
            stopping.callback(None)
