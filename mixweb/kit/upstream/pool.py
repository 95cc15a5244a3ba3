"""
The connections to one server: kept for the next request, limited in number, given up when they are silent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IProtocol
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from mixweb.engine.clients import ConnectFailed
from mixweb.kit.upstream.connection import Broken, Connection, Exchange

#: Connects a protocol; fires with it, fails with :class:`mixweb.engine.clients.ConnectFailed`.
Connect = Callable[[IProtocol], "Deferred[IProtocol]"]

#: Seconds between two looks at the connections.
TICK = 1.0

#: Seconds after which an unused connection lets go of what only makes its next answer cheaper to read.
FORGET = 5


class NoConnection(Broken):
    """The server cannot be reached. Nothing was sent."""


class Overloaded(Broken):
    """There is no connection to be had. Nothing was sent."""

    def __init__(self) -> None:
        super().__init__(503, "The server behind this one has too many requests.")


@dataclass(frozen=True)
class PoolLimits:
    """
    How many connections there are, and how long they take. Times are whole seconds.

    :ivar connections: at most; 0 for any number.
    :ivar queue: exchanges that wait for one, at most.
    :ivar queue_seconds: how long they wait.
    :ivar first_byte: for which a server may say nothing after a request.
    :ivar between: for which it may then be silent.
    :ivar keep: how long a connection is kept without a use.
    """

    connections: int = 0
    queue: int = 1000
    queue_seconds: int = 10
    first_byte: int = 60
    between: int = 60
    keep: int = 30


class Pool:
    """
    The connections to one server.

    :param connect: makes them.
    :ivar busy: how many exchanges are under way, those that wait included.
    :ivar tick: counts the calls of :meth:`look`.
    :ivar closed: whether no connection is kept any more.
    """

    def __init__(self, connect: Connect, limits: PoolLimits) -> None:
        self.connect = connect
        self.limits = limits
        self.tick = 0
        self.closed = False
        self.connections: set[Connection] = set()
        self._idle: list[Connection] = []
        self._waiting: deque[tuple[Exchange, int]] = deque()
        self._connecting: dict[Exchange, Deferred[Any]] = {}

    @property
    def busy(self) -> int:
        return len(self.connections) - len(self._idle) + len(self._connecting) + len(self._waiting)

    # What exchanges ask for

    def begin(self, exchange: Exchange, fresh: bool = False) -> None:
        """
        Have an exchange started on a connection, now or soon, or told that it is broken.

        :param fresh: whether to take no connection that was used before.
        """
        if self._idle and not fresh:
            exchange.started(self._idle.pop())
            return
        limits = self.limits
        if not limits.connections or len(self.connections) + len(self._connecting) < limits.connections:
            self._connect(exchange)
        elif fresh and self._idle:
            self._idle.pop(0).drop()
            self._connect(exchange)
        elif len(self._waiting) < limits.queue:
            self._waiting.append((exchange, self.tick))
        else:
            exchange.broken(Overloaded())

    def cancel(self, exchange: Exchange) -> None:
        """Forget an exchange that has not been started."""
        connecting = self._connecting.pop(exchange, None)
        if connecting is not None:
            connecting.cancel()
        self._waiting = deque(item for item in self._waiting if item[0] is not exchange)

    def _connect(self, exchange: Exchange) -> None:
        connection = Connection(self)
        connecting = self._connecting[exchange] = self.connect(connection)
        connecting.addCallbacks(self._connected, self._failed, (exchange, connection), errbackArgs=(exchange,))

    def _connected(self, _: IProtocol, exchange: Exchange, connection: Connection) -> None:
        self._connecting.pop(exchange, None)
        self.connections.add(connection)
        exchange.started(connection)

    def _failed(self, reason: Failure, exchange: Exchange) -> None:
        self._connecting.pop(exchange, None)
        if reason.check(CancelledError):
            self._start_waiting()
            return
        self._start_waiting()
        exchange.broken(_unreachable(reason.value))

    # What connections tell

    def release(self, connection: Connection) -> None:
        """A connection may be used for another request."""
        connection.mark = self.tick
        if self._waiting:
            self._waiting.popleft()[0].started(connection)
        elif self.closed:
            connection.drop()
        else:
            self._idle.append(connection)

    def lost(self, connection: Connection) -> None:
        """A connection has ended."""
        self.connections.discard(connection)
        if connection.exchange is None and connection in self._idle:
            self._idle.remove(connection)
        self._start_waiting()

    def _start_waiting(self) -> None:
        """Give the place of a connection that has ended to an exchange that waits."""
        if self._waiting and len(self.connections) + len(self._connecting) < self.limits.connections:
            self._connect(self._waiting.popleft()[0])

    # Time

    def look(self) -> None:
        """Give up what takes too long. It is called every :data:`TICK` seconds."""
        self.tick += 1
        limits = self.limits
        while self._waiting and self.tick - self._waiting[0][1] > limits.queue_seconds:
            self._waiting.popleft()[0].broken(Overloaded())
        while self._idle and self.tick - self._idle[0].mark > limits.keep:
            self._idle.pop(0).drop()
        for connection in list(self.connections):
            if connection.exchange is not None:
                self._check(connection, limits)
            elif self.tick - connection.mark > FORGET:
                connection.forget()

    def _check(self, connection: Connection, limits: PoolLimits) -> None:
        if connection.paused or connection.patient:
            return
        allowed = limits.between if connection.answering else limits.first_byte
        if self.tick - connection.mark > allowed:
            connection.fail(Broken(504, "The server behind this one does not answer in time."))

    def close(self) -> None:
        """Close the connections that are not used, and keep none from here on."""
        self.closed = True
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.drop()


def _unreachable(error: BaseException | None) -> Broken:
    if isinstance(error, Broken):
        return error
    late = isinstance(error, ConnectFailed) and error.timed_out
    return NoConnection(504 if late else 502, f"The server behind this one cannot be reached: {error}.")


class PoolService(Service):
    """Looks after pools as long as a resource tree lives."""

    def __init__(self, reactor: Any, pools: list[Pool]) -> None:
        self.pools = pools
        self._looking = LoopingCall(self._look)
        self._looking.clock = reactor

    def _look(self) -> None:
        for pool in self.pools:
            pool.look()

    def startService(self) -> None:
        super().startService()
        self._looking.start(TICK, now=False)

    def stopService(self) -> None:
        super().stopService()
        if self._looking.running:
            self._looking.stop()
        for pool in self.pools:
            pool.close()
