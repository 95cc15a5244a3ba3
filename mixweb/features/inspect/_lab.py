"""
What is there for testers on the same host, and the pages that a cache keeps.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any
from uuid import uuid4

from mixweb.engine.errors import HTTPError
from mixweb.features.inspect._decode import text_of
from mixweb.features.inspect._show import Json
from mixweb.interfaces import IPages
from mixweb.kit.posted import Page, known_types, media_type
from mixweb.stores import StoreError

_TOOLS = ("cache", "echo", "goto", "lab")


class Lab:
    """
    The tools of testers.

    :param mounts: names and paths of the mounts of the host.
    :param offers: what features let others do with them.
    """

    def __init__(self, mounts: Sequence[tuple[str, str]], offers: Sequence[Any]) -> None:
        self._mounts = mounts
        self._offers = offers
        self._types = known_types()

    @property
    def _caches(self) -> list[Any]:
        return [offer for offer in self._offers if IPages.providedBy(offer)]

    async def told(self) -> Json:
        """Where the tools are, and what the caches keep."""
        found = [(name, "/" + at.strip("/")) for name, at in self._mounts if name in _TOOLS]
        return {
            "tools": [{"name": name, "at": at} for name, at in found],
            "caches": [await self._cache(pages) for pages in self._caches],
            "new": str(uuid4()),
        }

    async def _cache(self, pages: Any) -> Json:
        listed = await _told(pages.listed())
        found = [
            {"name": text_of(name), "type": kind, "size": size, "until": until, "cleared": kind is None}
            for name, kind, size, until in listed
        ]
        return {"at": pages.at, "pages": found}

    def _pages(self, cache: bytes) -> Any:
        number = int(cache) if cache.isdigit() and len(cache) < 4 else -1
        caches = self._caches
        if not 0 <= number < len(caches):
            raise HTTPError(404, "There is no such cache.")
        return caches[number]

    async def page(self, cache: bytes, name: bytes) -> Page:
        """
        A page.

        :param cache: its number, as text.
        :raises HTTPError: when there is none.
        """
        found: Page = await _told(self._pages(cache).load(name))
        return found

    async def clear(self, cache: bytes, name: bytes | None) -> Json:
        """Forget a page, or all of them; their names stay taken."""
        pages = self._pages(cache)
        await _told(pages.clear_all() if name is None else pages.clear(name))
        return {}

    async def retype(self, cache: bytes, name: bytes, asked: Json) -> Json:
        """Give a page another type."""
        kind = media_type(str(asked.get("type", "")), self._types)
        await _told(self._pages(cache).retype(name, kind))
        return {"type": kind}

    async def save(self, cache: bytes, name: bytes, page: Page) -> None:
        """Keep a page under a name that was never given."""
        if not name or b"/" in name or name in (b"new", b"clear"):
            raise HTTPError(400, "A page cannot have this name.")
        await _told(self._pages(cache).save(name, page))

    def page_of(self, data: bytes, kind: str) -> Page:
        """A page of this data, with its type where that is known."""
        return Page(data, media_type(kind, self._types))


async def _told(work: Awaitable[Any]) -> Any:
    """
    What it comes to.

    :raises HTTPError: when it cannot be done.
    """
    try:
        return await work
    except StoreError:
        raise HTTPError(503, "The pages cannot be reached just now.", [(b"Retry-After", b"5")]) from None
    except Exception as reason:
        status = getattr(reason, "status", None)
        if status is None:
            raise
        raise HTTPError(status, str(reason)) from None
