"""
Users in a store.
"""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred

from mixweb.features.auth import _hashes as hashes
from mixweb.features.auth._files import User
from mixweb.features.auth._pool import WorkPool
from mixweb.features.auth._users import Changed, Hashed, Taken, identity_of
from mixweb.stores import Conflict, IStore

_SCHEMA = 1


class StoreUsers(Hashed):
    """
    The users in a store.

    :param url: of the store.
    :param name: tells several collections in one store apart.
    """

    realms: frozenset[str] = frozenset()
    digests: tuple[str, ...] = ()

    def __init__(self, store: IStore, url: str, name: str, pool: WorkPool, rehash: bool) -> None:
        super().__init__(pool, rehash)
        self._store = store
        self._prefix = f"auth:users:{name}:".encode()
        self.identity = identity_of(f"store:{url}:{name}")

    def find(self, name: str) -> Deferred[User | None]:
        return self._store.get(self._prefix + name.encode()).addCallback(partial(_loaded, name))

    async def look(self, name: str) -> User | None:
        return await self.find(name)

    async def create(self, name: str, password: str, roles: frozenset[str]) -> User:
        user = User(name, await self._pool.run(hashes.new_hash, password), roles)
        try:
            await self._put(user, 0)
        except Conflict:
            raise Taken from None
        return user

    async def change(self, user: User, password: str) -> User:
        stored = await self._pool.run(hashes.new_hash, password)
        entry = await self._store.get(self._prefix + user.name.encode())
        found = _loaded(user.name, entry)
        if entry is None or found is None or found.stamp != user.stamp:
            raise Changed("it was changed meanwhile")
        changed = User(user.name, stored, found.roles)
        try:
            await self._put(changed, entry.version)
        except Conflict:
            raise Changed("it was changed meanwhile") from None
        return changed

    async def put(self, user: User) -> None:
        """Keep a user in the place of the one before."""
        await self._put(user, None)

    async def delete(self, name: str) -> bool:
        """Forget a user; whether there was one."""
        return await self._store.delete(self._prefix + name.encode())

    def _put(self, user: User, version: int | None) -> Deferred[int]:
        record = {"schema": _SCHEMA, "password": user.password, "roles": sorted(user.roles)}
        return self._store.put(self._prefix + user.name.encode(), json.dumps(record).encode(), if_version=version)


def _loaded(name: str, entry: Any) -> User | None:
    if entry is None:
        return None
    record = json.loads(entry.value)
    return User(name, record["password"], frozenset(record["roles"]))
