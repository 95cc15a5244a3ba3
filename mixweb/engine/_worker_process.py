"""
One process of a worker: started, asked, heard, ended.
"""

import os
import socket
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready, ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import LogLevel
from twisted.python.failure import Failure

from mixweb.engine._worker_link import Link, publish

#: The descriptor of the link in the process of a worker.
LINK = 3

#: A line of a worker's standard output is passed on in pieces of so many bytes when it does not end before.
MAX_LINE = 65536

#: How long to listen for what a process has said that is gone, in seconds.
LAST_WORDS = 1.0

STDOUT, STDERR = 1, 2


class WorkerProcess(ProcessProtocol):
    """
    A process that serves what it is told.

    :param name: what the log calls it.
    :param screen: takes whole lines of its standard output; they are logged when there is none.
    :param leaving: called when it takes no more connections and has not been asked to stop from here.
    :param ended: called when it is gone, with how it ended.
    :ivar began: when it was started.
    :ivar gone: fires when it is gone.
    :ivar pid: its process id.
    """

    transport: Any
    pid: int | None = None

    def __init__(
        self,
        name: str,
        reactor: Any,
        screen: Callable[[bytes], None] | None,
        leaving: Callable[["WorkerProcess"], None],
        ended: Callable[["WorkerProcess", str], None],
    ) -> None:
        self.name = name
        self.began = reactor.seconds()
        self.gone: Deferred[None] = Deferred()
        self._reactor = reactor
        self._screen = screen
        self._leaving = leaving
        self._ended = ended
        self._asked: deque[Deferred[Any]] = deque()
        self._link: Link | None = None
        self._rest = {STDOUT: b"", STDERR: b""}
        self._open = {"link", "pipes"}
        self._how = ""
        self._patience: Any = None

    def start(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """
        Start it.

        :raises OSError: the system does not let it.
        """
        ours, theirs = socket.socketpair()
        with theirs, open(os.devnull) as nothing:
            descriptors = {0: nothing.fileno(), STDOUT: "r", STDERR: "r", LINK: theirs.fileno()}
            try:
                self._reactor.spawnProcess(self, command[0], command, environment, childFDs=descriptors)
            except BaseException:
                ours.close()
                raise
        self._link = Link.over(ours, self._reactor, self._received, lambda: self._closed("link"))

    def ask(self, question: Mapping[str, Any], descriptors: Sequence[int] = ()) -> "Deferred[Any]":
        """
        Tell it something.

        :returns: fires with its answer, or with ``None`` when it has ended instead.
        """
        answer: Deferred[Any] = Deferred()
        self._asked.append(answer)
        if self._link is not None:
            self._link.send(question, descriptors)
        return answer

    def connectionMade(self) -> None:
        self.pid = self.transport.pid

    def kill(self) -> None:
        """End it at once."""
        with suppress(ProcessExitedAlready):
            self.transport.signalProcess("KILL")

    def _received(self, message: Any, descriptors: Sequence[int]) -> None:
        if "log" in message:
            publish(message["log"], self.name, self._reactor.seconds())
        elif "leaving" in message:
            self._leaving(self)
        else:
            self._asked.popleft().callback(message["answer"])

    def childDataReceived(self, descriptor: int, data: bytes) -> None:
        whole, feed, rest = (self._rest[descriptor] + data).rpartition(b"\n")
        if not feed and len(rest) > MAX_LINE:
            whole, feed, rest = rest, b"\n", b""
        self._rest[descriptor] = rest
        if feed:
            self._lines(descriptor, whole + feed)

    def _lines(self, descriptor: int, lines: bytes) -> None:
        if descriptor == STDOUT and self._screen is not None:
            self._screen(lines)
            return
        level = LogLevel.warn if descriptor == STDERR else LogLevel.info
        for line in lines.decode("utf-8", "replace").splitlines():
            publish({"text": line, "level": level.name}, self.name, self._reactor.seconds())

    def processExited(self, reason: Failure) -> None:
        self._how = how(reason)
        # What it has started may have kept its pipes.
        self._patience = self._reactor.callLater(LAST_WORDS, self._end)

    def processEnded(self, reason: Failure) -> None:
        self._closed("pipes")

    def _closed(self, what: str) -> None:
        self._open.discard(what)
        if not self._open and self._patience is not None and self._patience.active():
            self._patience.cancel()
            self._end()

    def _end(self) -> None:
        assert self._link is not None
        self._link.close()
        while self._asked:
            self._asked.popleft().callback(None)
        self.gone.callback(None)
        self._ended(self, self._how)


def how(reason: Failure) -> str:
    """How a process has ended, in words."""
    ended = reason.value
    if isinstance(ended, ProcessTerminated):
        return f"signal {ended.signal}" if ended.signal else f"exit status {ended.exitCode}"
    return "exit status 0"
