"""
Stores: where features keep what must outlive a request, a reload, or the process.

A store is named by a URL: ``memory:`` is the memory of the process (``memory:NAME`` another part of it),
``sqlite:PATH`` a file that survives a restart and that several processes of one machine may share; ``redis://HOST``,
``rediss://HOST`` (TLS) and ``unix:PATH`` are a Redis, which several machines may share.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary, WeakValueDictionary

from twisted.application.service import Service
from twisted.internet.defer import Deferred

from mixweb.stores.interface import (
    DEADLINE,
    Conflict,
    Decision,
    Entry,
    IStore,
    Status,
    StoreError,
    StoreFull,
    StoreUnavailable,
)
from mixweb.stores.memory import MemoryStore
from mixweb.stores.sqlite import SqliteStore
from mixweb.stores.urls import Address, StoreURL, check_url, hidden, located

__all__ = [
    "DEADLINE",
    "Conflict",
    "Decision",
    "Entry",
    "IStore",
    "Status",
    "StoreError",
    "StoreFull",
    "StoreService",
    "StoreURL",
    "StoreUnavailable",
    "check_url",
    "hidden",
    "located",
    "open_store",
    "stores_in_use",
]

#: The stores in use, so that a reloaded configuration finds again what the one before it kept.
_stores: WeakKeyDictionary[Any, WeakValueDictionary[tuple[str, float], Any]] = WeakKeyDictionary()


def _memory(address: Address, reactor: Any, deadline: float) -> IStore:
    return MemoryStore(reactor)


def _sqlite(address: Address, reactor: Any, deadline: float) -> IStore:
    folder, name = os.path.split(address.path)
    if not os.path.isdir(folder):
        raise ValueError(f"store: there is no folder '{folder}' for '{name}'")
    return SqliteStore(address.path, reactor, deadline=deadline)


def _redis(address: Address, reactor: Any, deadline: float) -> IStore:
    try:
        from mixweb.stores.redis import RedisStore
    except ImportError as reason:
        raise ValueError(f"store: {address.scheme}: needs txredisapi: pip install 'mixweb[redis]' ({reason})") from None
    return RedisStore(address, reactor, deadline=deadline)


_SCHEMES: dict[str, Callable[[Address, Any, float], IStore]] = {
    "memory": _memory,
    "sqlite": _sqlite,
    **dict.fromkeys(("redis", "rediss", "unix"), _redis),
}


def open_store(url: str, reactor: Any, *, deadline: float = DEADLINE) -> IStore:
    """
    The store of a URL: the same one for everybody on a reactor, as long as somebody has it.

    Whoever uses it calls its ``open`` and ``close``, or has a :class:`StoreService` do so.

    :param url: a relative path in it counts from the current directory.
    :param deadline: how long a call may take, in seconds.
    :raises ValueError: when there is no such store, or no folder for its file.
    """
    check_url(url)
    key = located(url, Path.cwd()), deadline
    found = _stores.setdefault(reactor, WeakValueDictionary())
    store = found.get(key)
    if store is None:
        address = check_url(key[0])
        store = found[key] = _SCHEMES[address.scheme](address, reactor, deadline)
    return store


def stores_in_use(reactor: Any) -> list[tuple[str, IStore]]:
    """The stores that somebody has, each with its URL."""
    found = _stores.get(reactor)
    return (
        [] if found is None else sorted(((url, store) for (url, _), store in found.items()), key=lambda pair: pair[0])
    )


class StoreService(Service):
    """
    Has a store open while the service runs.

    :param store: as :func:`open_store` returns it.
    """

    def __init__(self, store: IStore) -> None:
        self.store = store

    def startService(self) -> None:
        super().startService()
        self.store.open()

    def stopService(self) -> Deferred[None]:
        super().stopService()
        closed: Deferred[None] = self.store.close()
        return closed
