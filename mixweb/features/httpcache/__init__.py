"""
A cache for what other servers and programs answer (RFC 9111).
"""

from __future__ import annotations

from dataclasses import dataclass

from twisted.web.resource import IResource

from mixweb.engine.fields import TOKEN
from mixweb.feature import Context, Stage, Wrap, WrapperSettings, option
from mixweb.features.httpcache._rules import Policy
from mixweb.features.httpcache._shared import Shared
from mixweb.features.httpcache._wrapper import HttpCacheWrapper
from mixweb.stores import StoreURL, check_url

_NOT_NEGATIVE = ("default_ttl", "stale_while_revalidate", "stale_if_error", "wait")


@dataclass(frozen=True)
class HttpCache(WrapperSettings):
    """Store answers that say they may be stored, and answer from them: a shared cache."""

    max_bytes: int = option(64 << 20, help="Memory for stored answers, in bytes.", metavar="BYTES")
    max_entry_bytes: int = option(4 << 20, help="A longer body is not stored, in bytes.", metavar="BYTES")
    default_ttl: int = option(
        0, help="Seconds for which answers are fresh that do not say so; with 0 they are not stored.", metavar="SECONDS"
    )
    stale_while_revalidate: int = option(
        0,
        help="Seconds for which a stale answer is used while a new one is got, if it does not say.",
        metavar="SECONDS",
    )
    stale_if_error: int = option(
        0,
        help="Seconds for which a stale answer is used in the place of an error, if it does not say.",
        metavar="SECONDS",
    )
    wait: int = option(
        5, help="Seconds that requests wait for another one for the same page; 0 for none.", metavar="SECONDS"
    )
    obey_requests: bool = option(True, help="Let requests ask for fresher answers (Cache-Control: no-cache, max-age).")
    strip_cookies: bool = option(False, help="Store answers that set cookies, without the cookies.")
    keep: bool = option(False, help="Keep answers in the store too: they survive a restart, and workers share them.")
    store: StoreURL = option("", help="Where they are kept; by default in the server's store.", metavar="URL")
    name: str = option("mixweb", help="What Cache-Status calls this cache.")

    def __post_init__(self) -> None:
        for name in _NOT_NEGATIVE:
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative")
        if not 0 < self.max_entry_bytes <= self.max_bytes:
            raise ValueError("max_entry_bytes must be at least 1, and not more than max_bytes")
        if not TOKEN.match(self.name.encode()) or not self.name[0].isalpha():
            raise ValueError(f"name must be a word, not {self.name!r}")
        if self.store:
            check_url(self.store)
            if not self.keep:
                raise ValueError("store is where answers are kept with keep = true")


def build(settings: HttpCache, inner: IResource, context: Context) -> IResource:
    if isinstance(inner, HttpCacheWrapper):
        raise ValueError("httpcache is there twice; one of them is enough")
    policy = Policy(
        settings.default_ttl,
        settings.stale_while_revalidate,
        settings.stale_if_error,
        settings.strip_cookies,
        settings.obey_requests,
    )
    shared = None
    if settings.keep:
        shared = Shared(context.store(settings.store), policy)
        context.add_service(shared)
    return HttpCacheWrapper(
        inner,
        policy,
        context.reactor,
        name=settings.name,
        max_bytes=settings.max_bytes,
        max_entry_bytes=settings.max_entry_bytes,
        wait=settings.wait,
        shared=shared,
    )


FEATURE = Wrap("httpcache", Stage.CACHE, HttpCache, build)
