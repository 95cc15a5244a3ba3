"""
Answers in a store: they survive a restart, and workers and machines share them.

A page's own key has its only answer or, where that varies, the names of the fields it varies by; each variant then has a
key of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b
from secrets import token_bytes
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from mixweb.features.httpcache import _entries
from mixweb.features.httpcache._entries import Entry, Key
from mixweb.features.httpcache._rules import Policy, has_validator, is_strict, vary_key
from mixweb.stores import IStore, StoreError

#: How long an answer is kept that can be validated when it is stale, in seconds.
_VALIDATABLE_SECONDS = 24 * 3600

_CHANNEL = b"httpcache"

_ENTRY, _VARIES = b"E", b"V"

#: Bytes that tell apart what was stored before and after a page was forgotten.
_ROUND_BYTES = 12

Asked = Callable[[bytes], Sequence[bytes] | None]


def digest(key: Key) -> bytes:
    """A page's key as a store has it."""
    secure, authority, target = key
    return blake2b(b"%d\0%b\0%b" % (secure, authority, target), digest_size=20).hexdigest().encode("ascii")


class Shared(Service):
    """
    Answers in a store. When that is down, nothing is found in it.

    :param store: open as long as this is used.
    """

    _log = Logger(namespace="mixweb.features.httpcache")

    def __init__(self, store: IStore, policy: Policy) -> None:
        self.store = store
        self.policy = policy
        self._told = False
        self._watchers: list[Callable[[Callable[[Key], bool]], None]] = []
        self._end: Callable[[], None] | None = None

    # The life of the subscription

    def startService(self) -> None:
        super().startService()
        self.store.subscribe(_CHANNEL, self._heard).addCallbacks(self._subscribed, self._failed)

    def _subscribed(self, end: Callable[[], None]) -> None:
        if self.running:
            self._end = end
        else:
            end()

    def stopService(self) -> None:
        super().stopService()
        end, self._end = self._end, None
        if end is not None:
            end()

    def watch(self, watcher: Callable[[Callable[[Key], bool]], None]) -> None:
        """Have ``watcher`` called when pages are forgotten elsewhere, with what tells of a key whether it is one."""
        self._watchers.append(watcher)

    def _heard(self, data: bytes) -> None:
        for watcher in self._watchers:
            watcher(lambda key: digest(key) == data)

    # Answers

    async def find(self, key: Key, asked: Asked) -> Entry | None:
        """The answer to a request, fresh or not; ``None`` when there is none, or no store."""
        try:
            return await self._find(b"httpcache:" + digest(key), asked)
        except StoreError as reason:
            self._tell(reason)
        except ValueError as reason:
            self._log.warn("{reason}", reason=reason)
        return None

    async def _find(self, place: bytes, asked: Asked) -> Entry | None:
        found = await self.store.get(place)
        if found is not None and found.value.startswith(_VARIES):
            varies = found.value[1 + _ROUND_BYTES :].split(b",")
            found = await self.store.get(_variant_place(place, found.value[1 : 1 + _ROUND_BYTES], varies, asked))
        if found is None or not found.value.startswith(_ENTRY):
            return None
        entry = _entries.load(found.value[1:], self.policy)
        return entry if vary_key(entry.varies, asked) == entry.variant else None

    def put(self, key: Key, entry: Entry) -> None:
        """Keep an answer."""
        self._do(self._put(b"httpcache:" + digest(key), entry))

    async def _put(self, place: bytes, entry: Entry) -> None:
        ttl = self._ttl(entry)
        if entry.varies:
            place = await self._page_of_variants(place, entry, ttl)
        await self.store.put(place, _ENTRY + _entries.dump(entry), ttl)

    async def _page_of_variants(self, place: bytes, entry: Entry, ttl: float) -> bytes:
        """Note by what a page varies; the place for one variant of it."""
        found = await self.store.get(place)
        names = b",".join(entry.varies)
        if found is not None and found.value[:1] == _VARIES and found.value[1 + _ROUND_BYTES :] == names:
            mark = found.value[1 : 1 + _ROUND_BYTES]
            await self.store.touch(place, max(ttl, _VALIDATABLE_SECONDS))
        else:
            mark = token_bytes(_ROUND_BYTES)
            await self.store.put(place, _VARIES + mark + names, max(ttl, _VALIDATABLE_SECONDS))
        variant = dict(zip(entry.varies, entry.variant, strict=True))
        return _variant_place(place, mark, entry.varies, lambda name: _lines(variant[name]))

    def drop(self, key: Key) -> None:
        """Forget a page, here and in all processes."""
        self._do(self._drop(digest(key)))

    async def _drop(self, name: bytes) -> None:
        await self.store.delete(b"httpcache:" + name)
        await self.store.publish(_CHANNEL, name)

    def _ttl(self, entry: Entry) -> float:
        stored, policy = entry.stored, self.policy
        left = stored.lifetime - stored.initial_age
        if has_validator(entry.by_name):
            return max(left, 0) + _VALIDATABLE_SECONDS
        stale = 0 if is_strict(stored.directives) else max(policy.stale_while_revalidate, policy.stale_if_error)
        return max(left + stale, 1)

    # A store that is down

    def _do(self, work: Any) -> None:
        Deferred.fromCoroutine(work).addCallbacks(self._works, self._failed)

    def _works(self, _: object) -> None:
        self._told = False

    def _failed(self, reason: Failure) -> None:
        if isinstance(reason.value, StoreError):
            self._tell(reason.value)
        else:
            self._log.failure("an answer was not stored", reason)

    def _tell(self, reason: BaseException) -> None:
        if not self._told:
            self._told = True
            self._log.warn("answers are kept in memory only: {reason}", reason=reason)


def _lines(value: bytes | None) -> Sequence[bytes] | None:
    return None if value is None else [value]


def _variant_place(place: bytes, mark: bytes, varies: Sequence[bytes], asked: Asked) -> bytes:
    values = vary_key(varies, asked)
    told = b"\0".join(b"-" if value is None else b"+" + value for value in values)
    return place + b":" + blake2b(mark + told, digest_size=20).hexdigest().encode("ascii")
