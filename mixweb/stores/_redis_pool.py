"""
Calls to a Redis over a few connections.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure
from txredisapi import RedisError, ResponseError

from mixweb.stores._redis_link import Keeper, Link, Refused, endpoint_of, introduce
from mixweb.stores.interface import StoreFull, StoreUnavailable
from mixweb.stores.urls import Address

T = TypeVar("T")

#: How many connections there are.
LINKS = 4

#: More calls than this do not wait for a connection.
MAX_WAITING = 10_000


class Pool:
    """
    Connections to a Redis, and what is known of it.

    One that does not answer in time is put aside until it does, and dropped when it goes on like that. Without any, a
    call waits for one as long as the Redis has only just been lost; later, or when it was not answering, it fails at once.

    :param name: what to call the Redis in messages.
    :ivar trouble: why there is no connection; empty when there is one.
    :ivar refused: whether that will stay so as long as nothing is changed.
    """

    _log = Logger()

    def __init__(self, address: Address, reactor: Any, deadline: float, name: str) -> None:
        self.refused = False
        self._reactor = reactor
        self._deadline = deadline
        self._name = name
        self._links: list[Link] = []
        self._waiting: list[Deferred[None]] = []
        self.trouble = ""
        self._patient_until = reactor.seconds() + deadline
        endpoint = endpoint_of(address, reactor, deadline)

        async def greet(link: Link) -> None:
            await introduce(link, address)

        self._keepers = [
            Keeper(endpoint, reactor, deadline, partial(Link, reactor), greet, self._add, self._lost)
            for _ in range(LINKS)
        ]

    async def stop(self) -> None:
        """Let go of all connections."""
        await DeferredList([keeper.stop() for keeper in self._keepers])

    async def call(self, act: Callable[[Link], Awaitable[T]]) -> T:
        """
        Have something done over a connection; cancelled when it takes too long.

        :raises StoreUnavailable: when that is not possible.
        :raises StoreFull: when the Redis has no room.
        """
        began = self._reactor.seconds()
        link = await self._link()
        try:
            return await act(link)
        except CancelledError:
            if self._reactor.seconds() - began >= self._deadline:
                self._doubt(link)
            raise
        except ResponseError as reason:
            text = str(reason).strip()
            raise (StoreFull if "OOM " in text else StoreUnavailable)(f"{self._name}: {text}") from None
        except RedisError as reason:
            raise StoreUnavailable(f"{self._name}: {reason}") from None

    async def _link(self) -> Link:
        """The connection with the least to do."""
        while not self._links:
            if self._reactor.seconds() >= self._patient_until or len(self._waiting) >= MAX_WAITING:
                raise StoreUnavailable(f"{self._name}: {self.trouble or 'there is no connection'}")
            waiter: Deferred[None] = Deferred()
            self._waiting.append(waiter)
            try:
                await waiter
            except CancelledError:
                self._waiting.remove(waiter)
                raise
        return min(self._links, key=lambda link: len(link.replyQueue.waiting))

    def _add(self, link: Link) -> None:
        """A connection is ready."""
        self._links.append(link)
        if self.trouble:
            self._log.info("{name} can be used again", name=self._name)
        self.trouble, self.refused = "", False
        self._wake()

    def _wake(self) -> None:
        """Have the calls that wait look again."""
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.callback(None)

    def _lost(self, reason: Failure) -> None:
        """A connection was lost, or could not be made."""
        if self._links:
            self._links = [link for link in self._links if link.connected]
            self._patient_until = self._reactor.seconds() + self._deadline
        if not self._links:
            self.refused = reason.check(Refused) is not None
            if self.refused:
                self._patient_until = 0
            self._note(reason.getErrorMessage() or type(reason.value).__name__)

    def _note(self, trouble: str) -> None:
        """There is no connection."""
        if trouble != self.trouble:
            self.trouble = trouble
            self._log.warn("{name} cannot be used: {trouble}", name=self._name, trouble=trouble)
        if self._reactor.seconds() >= self._patient_until:
            self._wake()

    def _doubt(self, link: Link) -> None:
        """Put a connection aside until it answers."""
        if link not in self._links:
            return
        self._links.remove(link)
        if not self._links:
            self._patient_until = 0
            self._note("it does not answer")

        def drop(_: Failure) -> None:
            link.transport.abortConnection()

        asked: Deferred[Any] = link.ping()
        asked.addTimeout(self._deadline, self._reactor).addCallbacks(lambda _: self._add(link), drop)
