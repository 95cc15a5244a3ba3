"""
Sockets on their way to being connected.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

#: Seconds after which the next address of a server is tried beside the one before (RFC 8305, 5).
STAGGER = 0.25


class ConnectFailed(Exception):
    """
    There is no connection.

    :ivar reason: why, in a few words for people.
    :ivar timed_out: whether it took too long.
    """

    def __init__(self, reason: str, timed_out: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.timed_out = timed_out


class Place(NamedTuple):
    """A socket address, as :mod:`socket` has it."""

    family: int
    address: Any


class _Attempt:
    """One socket on its way to being connected."""

    def __init__(self, reactor: Any, place: Place, ended: Callable[[_Attempt, OSError | None], None]) -> None:
        self.reactor = reactor
        self.place = place
        self.ended = ended
        self.socket = socket.socket(place.family, socket.SOCK_STREAM)
        self.socket.setblocking(False)

    def start(self) -> None:
        try:
            self.socket.connect(self.place.address)
        except BlockingIOError as error:
            if self.place.family == socket.AF_UNIX:
                self.stop(error)
            else:
                self.reactor.addWriter(self)
            return
        except OSError as error:
            self.stop(error)
            return
        self.ended(self, None)

    def stop(self, error: OSError | None = None) -> None:
        """Give up; ``ended`` is called if there is an error."""
        self.socket.close()
        if error is not None:
            self.ended(self, error)

    def give_up(self) -> None:
        """Stop while it is connecting."""
        self.reactor.removeWriter(self)
        self.socket.close()

    # What the reactor calls

    def fileno(self) -> int:
        return self.socket.fileno()

    def logPrefix(self) -> str:
        return "connecting"

    def doWrite(self) -> None:
        self.reactor.removeWriter(self)
        number = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            self.stop(OSError(number, os.strerror(number)))
        else:
            self.ended(self, None)

    def connectionLost(self, reason: Failure) -> None:
        if self.socket.fileno() != -1:
            self.doWrite()


class Attempts:
    """
    Tries the addresses of a server, the next one when one fails or takes long.

    :ivar done: fires with a connected socket and its address.
    """

    def __init__(self, reactor: Any, places: Sequence[Place], timeout: float) -> None:
        self.reactor = reactor
        self.done: Deferred[tuple[socket.socket, Place]] = Deferred(lambda _: self._clear())
        self._left = deque(places)
        self._open: set[_Attempt] = set()
        self._stagger: Any = None
        self._deadline = reactor.callLater(timeout, self._too_late)
        self._next()

    def _next(self) -> None:
        self._stop_staggering()
        try:
            attempt = _Attempt(self.reactor, self._left.popleft(), self._ended)
        except OSError as error:
            self._failed(error)
            return
        self._open.add(attempt)
        if self._left:
            self._stagger = self.reactor.callLater(STAGGER, self._next)
        attempt.start()

    def _ended(self, attempt: _Attempt, error: OSError | None) -> None:
        self._open.discard(attempt)
        if error is not None:
            self._failed(error)
            return
        self._clear()
        self.done.callback((attempt.socket, attempt.place))

    def _failed(self, error: OSError) -> None:
        if self._left:
            self._next()
        elif not self._open:
            self._clear()
            self.done.errback(ConnectFailed((error.strerror or str(error)).lower()))

    def _too_late(self) -> None:
        self._clear()
        self.done.errback(ConnectFailed("it does not answer in time", timed_out=True))

    def _clear(self) -> None:
        self._stop_staggering()
        if self._deadline.active():
            self._deadline.cancel()
        self._left.clear()
        for attempt in self._open:
            attempt.give_up()
        self._open.clear()

    def _stop_staggering(self) -> None:
        if self._stagger is not None and self._stagger.active():
            self._stagger.cancel()
