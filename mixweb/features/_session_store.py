"""
Sessions in a store. There are no locks: who saves first is first, who comes second puts its changes on top.
"""

from __future__ import annotations

from collections import OrderedDict
from hashlib import sha256
from math import inf
from secrets import token_urlsafe

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from mixweb.features._session_data import LiveSession, decode, encode
from mixweb.stores import Conflict, Entry, IStore, StoreError, StoreUnavailable

#: Bytes of randomness in an id.
_ID_BYTES = 24

#: So often a session may be changed by others before a change is given up.
_ATTEMPTS = 50

#: A session that is used is kept from ending once in this part of its time.
_TOUCHES = 20

#: Of so many sessions it is remembered when they were touched.
_REMEMBERED = 10_000


class TooLarge(Exception):
    """A session holds more than it may."""


class Sessions:
    """
    Loads and saves sessions.

    :param timeout: seconds that a session lives unused; 0 for as long as it may.
    :param lifetime: seconds that a session lives in any case; 0 for as long as it is used.
    :param max_bytes: what a session may hold, as JSON.
    """

    _log = Logger()

    def __init__(self, store: IStore, timeout: int, lifetime: int, max_bytes: int) -> None:
        self._store = store
        self._timeout = timeout or inf
        self._lifetime = lifetime or inf
        self._max_bytes = max_bytes
        self._touch_after = self._timeout / _TOUCHES
        self._touched: OrderedDict[bytes, float] = OrderedDict()

    @staticmethod
    def key_of(id: bytes, scope: bytes) -> bytes:
        """
        What a session is stored under: nobody who reads the store learns an id.

        :param scope: where the id is good, and nowhere else.
        """
        return b"session:" + sha256(b"%b\0%b" % (scope, id)).hexdigest().encode("ascii")

    def make(self, scope: bytes) -> tuple[str, bytes]:
        """A new id, and what it is stored under."""
        id = token_urlsafe(_ID_BYTES)
        return id, self.key_of(id.encode("ascii"), scope)

    def find(self, key: bytes) -> Deferred[Entry | None]:
        """What is stored under a key."""
        return self._store.get(key)

    def load(self, session: LiveSession, key: bytes, entry: Entry) -> bool:
        """Have a session be what is stored, unless that is over; now and then keep it from ending."""
        stored, now = decode(entry.value), self._store.seconds()
        if stored is None or stored[0] <= now:
            return False
        session.load(key, entry.version, *stored)
        if now - self._touched.get(key, -inf) >= self._touch_after:
            self._remember(key)
            self._store.touch(key, self._ttl(stored[0])).addErrback(lambda reason: reason.trap(StoreError))
        return True

    async def save(self, session: LiveSession) -> None:
        """
        Store what has changed.

        :raises StoreError: when that is not possible.
        :raises TooLarge: when it holds too much.
        """
        for key in session.ended:
            await self._store.delete(key)
        if session.id is not None:
            await self._create(session)
        elif session.version and session.is_changed:
            await self._replace(session)

    def forget(self, key: bytes) -> None:
        """End a session that no request is about."""
        self._store.delete(key).addErrback(self._warn)

    async def _create(self, session: LiveSession) -> None:
        """Store a session under its new id; only then there is none under the one before."""
        assert session.key is not None
        before = session.moved_from
        if before is not None:
            await self._catch_up(session, *before)
        until = self._store.seconds() + self._lifetime
        text = session.text
        version = await self._store.put(session.key, self._encoded(until, text), self._ttl(until), 0)
        if before is not None:
            await self._store.delete(before[0])
        session.saved(version, until, text)
        self._remember(session.key)

    async def _catch_up(self, session: LiveSession, key: bytes, version: int) -> None:
        """Take what others have stored under the id before; of what is over meanwhile nothing is taken along."""
        entry = await self._store.get(key)
        stored = None if entry is None else decode(entry.value)
        if entry is None or stored is None:
            session.merge(0, "{}")
        elif entry.version != version:
            session.merge(0, stored[1])
            session.drop_bound()

    async def _replace(self, session: LiveSession) -> None:
        assert session.key is not None
        for _ in range(_ATTEMPTS):
            text = session.text
            value = self._encoded(session.until, text)
            try:
                version = await self._store.put(session.key, value, self._ttl(session.until), session.version)
            except Conflict:
                entry = await self._store.get(session.key)
                stored = None if entry is None else decode(entry.value)
                if entry is None or stored is None:
                    return  # what is over stays so
                session.merge(entry.version, stored[1])
            else:
                session.saved(version, session.until, text)
                self._remember(session.key)
                return
        raise StoreUnavailable("the session changes all the time")

    def _encoded(self, until: float, text: str) -> bytes:
        if len(text) > self._max_bytes:
            raise TooLarge(f"a session has at most {self._max_bytes} bytes, not {len(text)}")
        return encode(until, text)

    def _ttl(self, until: float) -> float:
        return max(min(self._timeout, until - self._store.seconds()), 0.001)

    def _remember(self, key: bytes) -> None:
        """A session was kept from ending just now."""
        self._touched[key] = self._store.seconds()
        self._touched.move_to_end(key)
        if len(self._touched) > _REMEMBERED:
            self._touched.popitem(last=False)

    def _warn(self, reason: Failure) -> None:
        self._log.warn("a session could not be ended: {reason}", reason=reason.getErrorMessage())
