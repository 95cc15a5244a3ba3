"""
Pages under names that can be given once, kept in a store.

One record, the register, has all names, and it changes by compare-and-set alone: what it says is so, whichever process
said it. A page is put into the store before its name is in the register and taken out before its name is cleared.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import NamedTuple
from uuid import uuid4

from twisted.internet.defer import DeferredLock
from zope.interface import implementer

from mixweb.interfaces import IPages
from mixweb.kit.posted import Page
from mixweb.stores import Conflict, IStore, StoreUnavailable

#: A page whose name does not get into the register is forgotten after this many seconds.
_GRACE_SECONDS = 60.0

#: So often the register may be changed by others before a change is given up.
_ATTEMPTS = 100

_SCHEMA = 1


class PageError(Exception):
    """
    A page cannot be had or saved.

    :ivar status: the status code to answer with.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class Limits(NamedTuple):
    """
    How much is kept.

    :ivar ttl: seconds that a page and its name are kept; ``None`` for always.
    """

    max_bytes: int
    max_page_bytes: int
    max_names: int
    ttl: float | None


class Kept(NamedTuple):
    """
    What the register says of a name.

    :ivar key: the end of the key that the page has in the store; ``None`` when it was cleared.
    :ivar until: when the name is forgotten; ``None`` for never.
    """

    key: str | None
    type: str
    size: int
    until: float | None

    def is_over(self, now: float) -> bool:
        """Whether the name is forgotten."""
        return self.until is not None and self.until <= now


Register = dict[str, Kept]


@implementer(IPages)
class Pages:
    """
    The pages.

    :param prefix: of all keys in the store.
    :param at: the path they are mounted at.
    """

    def __init__(self, store: IStore, prefix: bytes, limits: Limits, at: str = "") -> None:
        self.at = at
        self._store = store
        self._prefix = prefix
        self._limits = limits
        self._turn = DeferredLock()
        self._version = 0
        self._register: Register = {}

    async def load(self, name: bytes) -> Page:
        """
        A page.

        :raises PageError: 404 when there never was one of this name, 410 when it was cleared.
        """
        kept = (await self._read()).get(_text(name))
        if kept is None or kept.is_over(self._store.seconds()):
            raise PageError(404, "This page has not been cached yet.")
        entry = None if kept.key is None else await self._store.get(self._key(kept.key))
        if entry is None:
            raise PageError(410, "This page has been cleared.")
        return Page(entry.value, kept.type)

    async def listed(self) -> list[tuple[bytes, str | None, int, float | None]]:
        """Each name with the type of its page, its bytes and the time it is forgotten; of a cleared page no type."""
        return [
            (name.encode("latin-1"), None if kept.key is None else kept.type, kept.size, kept.until)
            for name, kept in self._current(await self._read()).items()
        ]

    async def retype(self, name: bytes, type: str) -> None:
        """
        Give a page another type.

        :raises PageError: 404 when there is none.
        """

        def change(register: Register) -> None:
            kept = register.get(_text(name))
            if kept is None or kept.key is None:
                raise PageError(404, "There is no such page.")
            register[_text(name)] = kept._replace(type=type)

        await self._change(change)

    async def save(self, name: bytes, page: Page) -> None:
        """
        Keep a page under a name that no page had before.

        :raises PageError: 409 when the name is taken, 413 when the page is too long, 507 when there is no room.
        """
        if len(page.data) > self._limits.max_page_bytes:
            raise PageError(
                413, f"Cannot save any more pages of this length, at most {self._limits.max_page_bytes} bytes."
            )
        ttl = self._limits.ttl
        until = None if ttl is None else self._store.seconds() + ttl
        kept = Kept(uuid4().hex, page.type, len(page.data), until)
        add = self._adding(_text(name), kept)
        add(self._current(await self._read()))
        assert kept.key is not None
        await self._store.put(self._key(kept.key), page.data, _GRACE_SECONDS)
        await self._change(add)
        await self._store.touch(self._key(kept.key), ttl)

    async def clear(self, name: bytes) -> None:
        """Forget a page; its name stays taken. There need not be one."""
        await self._clear([_text(name)])

    async def clear_all(self) -> None:
        """Forget all pages; their names stay taken."""
        await self._clear(list(await self._read()))

    def _adding(self, name: str, kept: Kept) -> Callable[[Register], None]:
        def add(register: Register) -> None:
            if name in register:
                raise PageError(409, "Cannot overwrite page: choose another name.")
            if len(register) >= self._limits.max_names:
                raise PageError(507, f"Cannot save any more pages: {len(register)} names are taken.")
            if sum(other.size for other in register.values()) + kept.size > self._limits.max_bytes:
                raise PageError(507, "Cannot save any more pages: clear some of them first.")
            register[name] = kept

        return add

    async def _clear(self, names: list[str]) -> None:
        register = await self._read()
        cleared = {name: found for name in names if (found := register.get(name)) is not None and found.key is not None}
        for found in cleared.values():
            await self._store.delete(self._key(found.key or ""))

        def mark(register: Register) -> None:
            for name, found in cleared.items():
                if register.get(name) == found:
                    register[name] = Kept(None, "", 0, found.until)

        if cleared:
            await self._change(mark)

    # The register

    def _key(self, end: str) -> bytes:
        return self._prefix + b":page:" + end.encode()

    def _current(self, register: Register) -> Register:
        """The names that are not forgotten yet."""
        now = self._store.seconds()
        return {name: kept for name, kept in register.items() if not kept.is_over(now)}

    async def _read(self) -> Register:
        entry = await self._store.get(self._prefix + b":register")
        version = 0 if entry is None else entry.version
        if version != self._version:
            self._remember(version, {} if entry is None else _loads(entry.value))
        return self._register

    def _remember(self, version: int, register: Register) -> None:
        self._version = version
        self._register = register

    async def _change(self, change: Callable[[Register], None]) -> None:
        """Have a function change the register; again on its newest state when another process was faster."""
        async with self._turn:
            for _ in range(_ATTEMPTS):
                changed = self._current(await self._read())
                change(changed)
                try:
                    version = await self._store.put(
                        self._prefix + b":register", _dumps(changed), if_version=self._version
                    )
                except Conflict:
                    continue
                self._remember(version, changed)
                return
        raise StoreUnavailable("the names of the pages change all the time")


def _text(name: bytes) -> str:
    """A name as JSON can have it: each byte as the character of that number."""
    return name.decode("latin-1")


def _dumps(register: Register) -> bytes:
    return json.dumps({"schema": _SCHEMA, "names": register}, separators=(",", ":")).encode()


def _loads(value: bytes) -> Register:
    return {name: Kept(*kept) for name, kept in json.loads(value)["names"].items()}
