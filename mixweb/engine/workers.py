"""
Processes that serve together: told what to serve, replaced when they end, and stopped when their answers are out.

A worker is a new interpreter. It has one connection to the process that started it, over which it is told what to serve and
given its listening sockets, and over which it logs; when that connection is lost it stops by itself.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError, gatherResults, succeed
from twisted.logger import Logger

from mixweb.engine._shared_sockets import AdoptedListeners, HeldListeners, packed, refusal, unpacked
from mixweb.engine._worker_link import Link, LogSender
from mixweb.engine._worker_process import LINK, WorkerProcess
from mixweb.engine.listeners import Opened

__all__ = [
    "LINK",
    "AdoptedListeners",
    "HeldListeners",
    "Link",
    "LogSender",
    "Order",
    "Refused",
    "Workers",
    "delay",
    "refusal",
    "unpacked",
]

#: A worker that ends before it is so old, in seconds, is not replaced at once every time.
YOUNG = 10.0

#: The longest time before a worker is replaced, in seconds.
MAX_DELAY = 16.0

#: After so many ends in a row it is said that something is wrong.
TOO_MANY = 5

#: How long a worker may take to change to something else, in seconds.
PATIENCE = 60.0

#: How long after the time to drain a worker may still be there, in seconds.
GRACE = 5.0


def delay(ends: int) -> float:
    """How long to wait with the next process when so many young ones have ended in a row, in seconds."""
    return min(2.0 ** (ends - 2), MAX_DELAY) if ends > 1 else 0.0


class Refused(Exception):
    """
    A worker cannot serve what it was told to.

    :ivar worker: its name.
    :ivar problem: what it says is wrong.
    """

    def __init__(self, worker: str, problem: str) -> None:
        super().__init__(f"{worker}: {problem}")
        self.worker = worker
        self.problem = problem


@dataclass(frozen=True)
class Order:
    """
    What all workers are to serve.

    :ivar work: plain values that mean something to the workers.
    :ivar opened: where they accept connections; the ports are those of ``HeldListeners``.
    """

    work: Mapping[str, Any]
    opened: Sequence[Opened]

    def give(self, process: WorkerProcess, number: int) -> "Deferred[str | None]":
        """
        Give it to one of them.

        :param number: of the worker, from 0.
        :returns: fires with the empty text, with what is wrong, or with ``None`` when it has ended instead.
        """
        message = {"work": self.work, "listens": [packed(opened.listen) for opened in self.opened]}
        return process.ask(message, [opened.port.descriptor(number) for opened in self.opened])


class Workers:
    """
    Processes that serve together.

    :param count: how many.
    :param command: the program and its arguments.
    :param environment: of the processes.
    :param screen: takes what they write to standard output, in whole lines; it is logged when there is none.
    :ivar order: what they serve, once they were started.
    :ivar stopping: whether those that end are not replaced any more.
    """

    log = Logger()

    order: Order

    def __init__(
        self,
        count: int,
        command: Sequence[str],
        environment: Mapping[str, str],
        reactor: Any,
        screen: Callable[[bytes], None] | None = None,
    ) -> None:
        self.command = command
        self.environment = environment
        self.reactor = reactor
        self.screen = screen
        self.stopping = False
        self._places = [_Place(self, number) for number in range(count)]

    @property
    def processes(self) -> list[WorkerProcess]:
        """All that run, with those that are about to leave."""
        return [process for place in self._places for process in place.processes]

    async def start(self, order: Order) -> None:
        """Start them; returns when each of them serves, or has ended instead."""
        self.order = order
        await gatherResults([place.start() for place in self._places])

    async def change(self, order: Order) -> None:
        """
        Have them serve something else, one after the other.

        :raises Refused: one of them cannot; all serve what they did before.
        """
        before, self.order = self.order, order
        try:
            for place in self._places:
                await place.change()
        except Refused:
            self.order = before
            for place in self._places:
                with suppress(Refused):
                    await place.change()
            raise

    async def stop(self, seconds: float, tell: Callable[[int], None]) -> None:
        """
        Have them take no more connections and end when their answers are out; returns when all have ended.

        :param seconds: that the running answers are given.
        :param tell: called with how many answers are running.
        """
        self.stopping = True
        for place in self._places:
            place.forget()
        processes = self.processes
        counts = gatherResults([process.ask({"stop": "soon"}) for process in processes])
        counts.addCallback(lambda found: tell(sum(count or 0 for count in found)))
        late = self.reactor.callLater(seconds + GRACE, self._kill)
        await gatherResults([process.gone for process in processes])
        if late.active():
            late.cancel()

    def stop_now(self) -> None:
        """End those that are stopping without waiting for their answers."""
        for process in self.processes:
            process.ask({"stop": "now"})

    def _kill(self) -> None:
        for process in self.processes:
            process.kill()


class _Place:
    """The place of one worker, where one process follows the other."""

    def __init__(self, workers: Workers, number: int) -> None:
        self.name = f"worker {number + 1}"
        self.processes: list[WorkerProcess] = []
        self._workers = workers
        self._number = number
        self._current: WorkerProcess | None = None
        self._ends = 0
        self._next: Any = None

    def start(self) -> "Deferred[None]":
        """Start a process; fires when it serves, or has ended instead."""
        workers = self._workers
        process = WorkerProcess(self.name, workers.reactor, workers.screen, self._leaving, self._ended)
        self._next = None
        try:
            process.start(workers.command, workers.environment)
        except OSError as error:
            workers.log.error("{name} cannot be started: {error}", name=self.name, error=error)
            self._come_back(0.0)
            return succeed(None)
        self._current = process
        self.processes.append(process)
        return workers.order.give(process, self._number).addCallback(self._began)

    def _began(self, problem: str | None) -> None:
        if problem:
            self._workers.log.error("{name} cannot serve: {problem}", name=self.name, problem=problem)

    async def change(self) -> None:
        """
        Have the process, if there is one, serve what the order says now.

        :raises Refused: it cannot.
        """
        if self._current is None:
            return
        answer = self._workers.order.give(self._current, self._number)
        try:
            problem = await answer.addTimeout(PATIENCE, self._workers.reactor)
        except TimeoutError:
            problem = f"it has not answered for {PATIENCE:.0f} s"
        if problem:
            raise Refused(self.name, problem)

    def forget(self) -> None:
        """Start no more processes."""
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _leaving(self, process: WorkerProcess) -> None:
        if process is self._current and not self._workers.stopping:
            message = "{name} (process {pid}) was asked to end; another one takes its place"
            self._workers.log.info(message, name=self.name, pid=process.pid)
            self.start()

    def _ended(self, process: WorkerProcess, how: str) -> None:
        self.processes.remove(process)
        if process is not self._current:
            return
        self._current = None
        if not self._workers.stopping:
            message = "{name} (process {pid}) has ended: {how}"
            self._workers.log.error(message, name=self.name, pid=process.pid, how=how)
            self._come_back(self._workers.reactor.seconds() - process.began)

    def _come_back(self, age: float) -> None:
        self._ends = self._ends + 1 if age < YOUNG else 1
        wait = delay(self._ends)
        if self._ends == TOO_MANY:
            message = (
                "{name} has ended {ends} times, each time within {young:.0f} s: it is tried again every {most:.0f} s"
            )
            self._workers.log.critical(message, name=self.name, ends=TOO_MANY, young=YOUNG, most=MAX_DELAY)
        self._next = self._workers.reactor.callLater(wait, self.start)
