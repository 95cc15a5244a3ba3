"""
Stores: where features keep what must outlive a request, a reload, or the process.

A store is named by a URL: ``memory:`` is the memory of the process (``memory:NAME`` another part of it),
``sqlite:PATH`` a file that survives a restart and that several processes of one machine may share.
"""

from __future__ import annotations

import os
from collections.abc import Callable
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
    "StoreUnavailable",
    "check_url",
    "open_store",
]

#: The stores in use, so that a reloaded configuration finds again what the one before it kept.
_stores: WeakKeyDictionary[Any, WeakValueDictionary[tuple[str, float], Any]] = WeakKeyDictionary()


def _memory(name: str, reactor: Any, deadline: float) -> IStore:
    return MemoryStore(reactor)


def _sqlite(path: str, reactor: Any, deadline: float) -> IStore:
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        raise ValueError(f"store: there is no folder '{folder}' for '{os.path.basename(path)}'")
    return SqliteStore(path, reactor, deadline=deadline)


_SCHEMES: dict[str, Callable[[str, Any, float], IStore]] = {"memory": _memory, "sqlite": _sqlite}


def check_url(url: str) -> tuple[str, str]:
    """
    The scheme of a store's URL, and what follows it.

    :raises ValueError: when there is no such store.
    """
    scheme, _, rest = url.partition(":")
    if scheme not in _SCHEMES or ":" not in url or (scheme == "sqlite" and not rest):
        raise ValueError(f"store must be 'memory:' or 'sqlite:PATH', not {url!r}")
    return scheme, os.path.abspath(rest) if scheme == "sqlite" else rest


def open_store(url: str, reactor: Any, *, deadline: float = DEADLINE) -> IStore:
    """
    The store of a URL: the same one for everybody on a reactor, as long as somebody has it.

    Whoever uses it calls its ``open`` and ``close``, or has a :class:`StoreService` do so.

    :param url: a relative path in it counts from the current directory.
    :param deadline: how long a call may take, in seconds.
    :raises ValueError: when there is no such store, or no folder for its file.
    """
    scheme, rest = check_url(url)
    key = (f"{scheme}:{rest}", deadline)
    found = _stores.setdefault(reactor, WeakValueDictionary())
    store = found.get(key)
    if store is None:
        store = found[key] = _SCHEMES[scheme](rest, reactor, deadline)
    return store


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
