"""
A reactor with a leaner poll loop, for ``twistd -r mixweb``: what is readable, and nothing else, is read without ado.

Messages logged while it reads do not carry the prefix of the connection. All else is Twisted's epoll reactor.
"""

from select import EPOLLIN
from typing import Any

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.error import ConnectionFdescWentAway
from twisted.internet.main import installReactor
from twisted.python import log

__all__ = ["MixwebReactor", "install"]


class MixwebReactor(EPollReactor):
    """
    An ``EPollReactor`` that calls ``doRead`` without a logging context; an exception costs only that connection.

    Transports that have read may finish together: see ``finish_later``.
    """

    ROUND = 16
    """How many transports may wait for the end of the round."""

    def __init__(self) -> None:
        self._unfinished: list[Any] = []
        super().__init__()

    def finish_later(self, transport: Any) -> None:
        """
        Call ``transport.finish_read()`` when some more connections have been read.

        Answers that leave together wake the clients less often.
        """
        self._unfinished.append(transport)

    def doPoll(self, timeout: float | None) -> None:
        """
        Wait for events, and handle them.

        :param timeout: seconds to wait at most; None for no limit.
        """
        self._finish_round()
        selectables = self._selectables
        # A signal does not end the wait (PEP 475), the waker does.
        for fd, event in self._poller.poll(-1 if timeout is None else timeout, len(selectables)):
            selectable = selectables.get(fd)
            if selectable is None:
                continue
            if event == EPOLLIN:
                self._read(selectable)
            else:
                log.callWithLogger(selectable, self._doReadOrWrite, selectable, fd, event)
            if len(self._unfinished) >= self.ROUND:
                self._finish_round()
        self._finish_round()

    doIteration = doPoll

    def _read(self, selectable: Any) -> None:
        try:
            why = selectable.doRead() if selectable.fileno() != -1 else ConnectionFdescWentAway()
        except BaseException as error:
            log.callWithLogger(selectable, log.err)
            why = error
        if why:
            self._disconnectSelectable(selectable, why, True)

    def _finish_round(self) -> None:
        while self._unfinished:
            unfinished, self._unfinished = self._unfinished, []
            for transport in unfinished:
                try:
                    transport.finish_read()
                except BaseException as error:
                    log.callWithLogger(transport, log.err)
                    self._disconnectSelectable(transport, error, False)


def install() -> None:
    """Make this the reactor of the process, before anything else imports one."""
    installReactor(MixwebReactor())
