"""
Refresh tokens: each can be used once, for an access token and the next refresh token.

A login begins a family. The store has one record of it, with a hash of the token that comes next. Whoever shows another
one of the family has a copy of a token that was used: the family ends, for the thief and for the user.
"""

from __future__ import annotations

import json
import re
from hashlib import sha256
from hmac import compare_digest
from secrets import token_urlsafe
from typing import NamedTuple

from mixweb.stores import Conflict, IStore

_TOKEN = re.compile(r"([A-Za-z0-9_-]{22})\.([A-Za-z0-9_-]{43})\Z")
_SCHEMA = 1


class Reused(Exception):
    """
    A refresh token was used before; its family has ended.

    :ivar name: of the user whose family it was.
    """

    def __init__(self, name: str) -> None:
        super().__init__("the refresh token was used before")
        self.name = name


class Holder(NamedTuple):
    """
    Whom a family is for.

    :ivar users: the identity of the collection that the user is of.
    :ivar stamp: the user's, when the family began.
    """

    users: str
    name: str
    stamp: str


class RefreshTokens:
    """
    Makes refresh tokens and takes them back.

    :param lifetime: of a token that is not used, in seconds.
    """

    def __init__(self, store: IStore, lifetime: float) -> None:
        self._store = store
        self._lifetime = lifetime

    async def begin(self, holder: Holder) -> str:
        """The first token of a family."""
        family = token_urlsafe(16)
        return await self._put(family, holder, 0)

    async def use(self, token: str) -> tuple[Holder, str] | None:
        """
        Whom a token is for, and the next one; ``None`` when it is no token, or over.

        :raises Reused: when it is not the one that comes next.
        """
        parts = _TOKEN.match(token)
        entry = None if parts is None else await self._store.get(_key(parts[1]))
        if parts is None or entry is None:
            return None
        record = json.loads(entry.value)
        holder = Holder(*record["holder"])
        if compare_digest(record["next"], _hash(parts[2])):
            try:
                return holder, await self._put(parts[1], holder, entry.version)
            except Conflict:
                pass
        await self._store.delete(_key(parts[1]))
        raise Reused(holder.name)

    async def end(self, token: str) -> None:
        """End the family of a token; there need not be one."""
        parts = _TOKEN.match(token)
        if parts is not None:
            await self._store.delete(_key(parts[1]))

    async def _put(self, family: str, holder: Holder, version: int) -> str:
        following = token_urlsafe(32)
        record = {"schema": _SCHEMA, "holder": holder, "next": _hash(following)}
        await self._store.put(_key(family), json.dumps(record).encode(), self._lifetime, version)
        return f"{family}.{following}"


def _key(family: str) -> bytes:
    return f"auth:refresh:{_hash(family)}".encode()


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()
