"""
Keeps pages under names that can be given once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeAlias
from uuid import uuid4

from twisted.internet.defer import Deferred
from twisted.web.error import UnsupportedMethod
from twisted.web.resource import Resource

from mixweb.engine.errors import HTTPError
from mixweb.engine.request import Request
from mixweb.feature import Context, Mount, MountSettings, option
from mixweb.features._cache_pages import Limits, PageError, Pages
from mixweb.kit.compat import HELP, Compat, check_compat, check_method, extra_arguments, missing_argument
from mixweb.kit.posted import PageReader, answer_with, shielded
from mixweb.paths import split_path
from mixweb.stores import IStore, StoreFull, StoreUnavailable, StoreURL, check_url

MAX_BYTES = 2 * 1024 * 1024

#: Seconds after which a client may ask again when the store is down.
_RETRY_SECONDS = 5

_NO_STORE = (b"Cache-Control", b"no-store")

Action: TypeAlias = Callable[[Request], Any]


@dataclass(frozen=True)
class Cache(MountSettings):
    """Keep pages that are posted under names, each of which can be given once."""

    at: str = option("/cache", help="Path it is mounted at.", metavar="PATH", kw_only=True)
    store: StoreURL = option("", help="Where pages are kept; empty for the server's store.", metavar="URL")
    max_bytes: int = option(MAX_BYTES, help="All pages together, in bytes.", metavar="BYTES")
    max_page_bytes: int = option(0, help="Longest page, in bytes; 0 for as long as all together.", metavar="BYTES")
    max_names: int = option(
        4096, help="How many names can be given, those of cleared pages included.", metavar="NUMBER"
    )
    max_name_bytes: int = option(200, help="Longest name, in bytes.", metavar="BYTES")
    ttl: int = option(0, help="Seconds that a page and its name are kept; 0 for always.", metavar="SECONDS")
    unsafe: bool = option(False, help="Let browsers run the scripts of a page as scripts of this site. Unsafe.")
    compat: Compat = option("", help=HELP, metavar="NAME")

    def __post_init__(self) -> None:
        if self.store:
            check_url(self.store)
        for name in ("max_bytes", "max_names", "max_name_bytes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        for name in ("max_page_bytes", "ttl"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative")
        check_compat(self.compat)

    @property
    def page_bytes(self) -> int:
        """The longest page, in bytes."""
        return min(self.max_page_bytes or self.max_bytes, self.max_bytes)


class CacheResource(Resource):
    """
    Pages at ``NAME``, and ``new`` and ``clear``.

    :param store: open while requests come.
    """

    isLeaf = True

    def __init__(self, settings: Cache, store: IStore, reactor: Any) -> None:
        super().__init__()
        self.settings = settings
        self.compat = settings.compat
        self.reader = PageReader(reactor, settings.page_bytes, loose=bool(settings.compat))
        limits = Limits(settings.max_bytes, settings.page_bytes, settings.max_names, settings.ttl or None)
        self.pages = Pages(store, b"cache:/" + b"/".join(split_path(settings.at)), limits, settings.at)

    def render(self, request: Request) -> Any:
        request.setHeader(*_NO_STORE)
        actions = self._actions(tuple(filter(None, request.postpath)))
        check_method(self.compat, request.method)
        if request.method not in actions:
            raise UnsupportedMethod(sorted(actions))
        return actions[request.method](request)

    def _actions(self, segments: tuple[bytes, ...]) -> dict[bytes, Action]:
        """
        What can be done at a path.

        :raises HTTPError: 404 when there is nothing.
        """
        match segments:
            case ():
                return {b"GET": self._lacks_name, b"POST": self._lacks_name, b"DELETE": self._clearing()}
            case (b"new",):
                return {b"GET": self.new_name}
            case (b"clear",):
                return self._clear_actions(self._clearing())
            case (b"clear", name) if b"/" not in name:
                return self._clear_actions(self._clearing(name))
            case (name,) if b"/" not in name:
                return {
                    b"GET": lambda request: self.show(request, name),
                    b"POST": lambda request: self.save(request, name),
                    b"DELETE": self._clearing(name),
                }
        raise extra_arguments(segments[1:] or segments)

    def _clear_actions(self, clear: Action) -> dict[bytes, Action]:
        """GET clears, because pages use it; HEAD never does."""
        return {b"GET": clear, b"HEAD": self._nothing} | ({} if self.compat else {b"POST": clear})

    def _clearing(self, name: bytes | None = None) -> Action:
        def clear(request: Request) -> Coroutine[Any, Any, None]:
            return self._done(self.pages.clear_all() if name is None else self.pages.clear(name))

        return clear

    def _lacks_name(self, request: Request) -> None:
        raise missing_argument(self.compat, "the name of a page")

    async def _nothing(self, request: Request) -> None:
        """204."""

    def new_name(self, request: Request) -> bytes:
        """A name that nobody has."""
        request.setHeader(b"Content-Type", b"text/plain")
        return str(uuid4()).encode()

    async def show(self, request: Request, name: bytes) -> bytes:
        """
        A page.

        :raises HTTPError: when there is none.
        """
        return answer_with(request, await self._told(self.pages.load(name)), self.settings.unsafe)

    async def save(self, request: Request, name: bytes) -> None:
        """
        Keep the page that a request brings.

        :raises HTTPError: when it brings none, or it cannot be kept.
        """
        if len(name) > self.settings.max_name_bytes:
            raise HTTPError(400, f"A name has at most {self.settings.max_name_bytes} bytes.")
        try:
            page = await self.reader.read(request)
        except HTTPError as error:
            raise self._error(error.status, error.detail) from None
        await self._done(self.pages.save(name, page))

    async def _done(self, work: Coroutine[Any, Any, None]) -> None:
        """Have something done to its end, also when the client leaves."""
        await self._told(shielded(Deferred.fromCoroutine(work)))

    async def _told(self, work: Awaitable[Any]) -> Any:
        """
        What it comes to.

        :raises HTTPError: when it cannot be done.
        """
        try:
            return await work
        except PageError as error:
            raise self._error(error.status, str(error)) from None
        except StoreFull:
            raise self._error(507, "Cannot save any more pages: the store is full.") from None
        except StoreUnavailable:
            retry = (b"Retry-After", b"%d" % _RETRY_SECONDS)
            raise HTTPError(503, "The pages cannot be reached just now.", [retry]) from None

    def _error(self, status: int, detail: str) -> HTTPError:
        """An answer with its status, or 500 for what mixnmatchttp has no other one for."""
        return HTTPError(500 if self.compat and status != 400 else status, detail)


def build(settings: Cache, context: Context) -> CacheResource:
    if settings.unsafe:
        context.warn(f"cache: unsafe = true, anybody's scripts can run as scripts of this site at {settings.at}")
    resource = CacheResource(settings, context.store(settings.store), context.reactor)
    context.offers.append(resource.pages)
    return resource


FEATURE = Mount("cache", Cache, build)
