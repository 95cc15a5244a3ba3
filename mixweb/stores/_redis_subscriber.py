"""
What is published in a Redis.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from txredisapi import RedisError

from mixweb.stores._redis_link import Keeper, SubscriberLink, endpoint_of, introduce
from mixweb.stores._subscriptions import Callback, Subscriptions
from mixweb.stores.interface import StoreUnavailable
from mixweb.stores.urls import Address


class Subscriber:
    """A connection on which a Redis tells what is published, to all who subscribe."""

    def __init__(self, address: Address, reactor: Any, deadline: float) -> None:
        self._address = address
        self._subscriptions = Subscriptions()
        self._link: SubscriberLink | None = None
        self._waiting: list[Deferred[None]] = []
        endpoint = endpoint_of(address, reactor, deadline)
        build = partial(SubscriberLink, reactor, self._subscriptions.deliver)
        self._keeper = Keeper(endpoint, reactor, deadline, build, self._greet, self._ready, self._failed)

    def stop(self) -> Deferred[Any]:
        """Let go of the connection."""
        return self._keeper.stop()

    async def add(self, channel: bytes, callback: Callback) -> Callable[[], None]:
        """
        Call a function from now on.

        :returns: ends that; may be called again.
        :raises StoreUnavailable: when that is not possible.
        """
        end = self._subscriptions.add(channel, callback)
        try:
            link = await self._connected()
            await link.subscribe([channel])
        except RedisError as reason:
            end()
            raise StoreUnavailable(str(reason)) from None
        except CancelledError:
            end()
            raise
        return partial(self._end, channel, end)

    def _end(self, channel: bytes, end: Callable[[], None]) -> None:
        end()
        link = self._link
        if link is not None and link.connected and channel not in self._subscriptions.channels:
            link.unsubscribe([channel]).addErrback(lambda reason: reason.trap(RedisError))

    async def _connected(self) -> SubscriberLink:
        while self._link is None or not self._link.connected:
            waiter: Deferred[None] = Deferred()
            self._waiting.append(waiter)
            try:
                await waiter
            except CancelledError:
                self._waiting.remove(waiter)
                raise
        return self._link

    async def _greet(self, link: SubscriberLink) -> None:
        await introduce(link, self._address)
        for channel in self._subscriptions.channels:
            await link.subscribe([channel])

    def _ready(self, link: SubscriberLink) -> None:
        self._link = link
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.callback(None)

    def _failed(self, reason: Failure) -> None:
        """The calls tell."""
