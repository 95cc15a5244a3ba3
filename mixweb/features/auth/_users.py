"""
Users, wherever they are kept.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from hashlib import blake2b, sha256
from secrets import token_bytes
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from mixweb.features.auth import _hashes as hashes
from mixweb.features.auth._files import User
from mixweb.features.auth._pool import Busy, WorkPool

#: What tells a digest's answer from any other: made of an HA1.
Proof = Callable[[str], bool]

log = Logger(namespace="mixweb.auth")


class Taken(Exception):
    """There is a user of this name already."""


class Changed(Exception):
    """The user is not what it was any more."""


class ReadOnly(Exception):
    """Nothing can be changed here."""


class Users(Protocol):
    """
    Users, and their passwords.

    :ivar identity: tells one collection from another, wherever it is used.
    :ivar editable: whether users can be made, and passwords changed.
    :ivar realms: those of an htdigest file.
    :ivar digests: the algorithms by which HTTP digest can be checked, the one liked best first.
    """

    identity: str
    editable: bool

    @property
    def realms(self) -> frozenset[str]: ...

    @property
    def digests(self) -> tuple[str, ...]: ...

    def find(self, name: str) -> User | Deferred[User | None] | None:
        """A user, at once where that is possible."""

    async def look(self, name: str) -> User | None:
        """A user as it is now, though it had just been changed by another process."""

    async def verify(self, name: str, password: str) -> User | None:
        """
        The user who has this name and password. It takes the same time for a name that nobody has.

        :raises Busy: when too many are waiting for this.
        """

    async def verify_digest(self, name: str, realm: str, algorithm: str, proof: Proof) -> User | None:
        """The user whose HA1 a proof accepts."""

    async def create(self, name: str, password: str, roles: frozenset[str]) -> User:
        """
        Make a user.

        :raises Taken: when there is one of this name.
        """

    async def change(self, user: User, password: str) -> User:
        """
        Give a user another password.

        :raises Changed: when another one was faster.
        """


class Nobody:
    """No users at all."""

    identity = "nobody"
    editable = False
    realms: frozenset[str] = frozenset()
    digests: tuple[str, ...] = ()

    def find(self, name: str) -> User | None:
        return None

    async def look(self, name: str) -> User | None:
        return self.find(name)

    async def verify(self, name: str, password: str) -> User | None:
        return None

    async def verify_digest(self, name: str, realm: str, algorithm: str, proof: Proof) -> User | None:
        return None

    async def create(self, name: str, password: str, roles: frozenset[str]) -> User:
        raise ReadOnly

    async def change(self, user: User, password: str) -> User:
        raise ReadOnly


class Anybody(Nobody):
    """Everybody who says a name."""

    identity = "anybody"

    def find(self, name: str) -> User | None:
        return User(name, "")


class Hashed(ABC):
    """
    Users whose passwords we check ourselves.

    :param rehash: whether passwords are stored anew, at a login, as new ones are.
    """

    editable = True

    def __init__(self, pool: WorkPool, rehash: bool) -> None:
        self._pool = pool
        self.rehashes = rehash
        self._key = token_bytes(16)
        self._decoys: Sequence[str] = [hashes.decoy()]

    @abstractmethod
    def find(self, name: str) -> User | Deferred[User | None] | None:
        """A user."""

    @abstractmethod
    async def change(self, user: User, password: str) -> User:
        """Give a user another password."""

    async def verify(self, name: str, password: str) -> User | None:
        user: User | None = await wait(self.find(name))
        stored = self._decoy(name) if user is None else user.password
        good = await self._pool.run(hashes.check, name, stored, password)
        if user is None or not good:
            return None
        return await self._renewed(user, password)

    async def _renewed(self, user: User, password: str) -> User:
        """The user with a password stored as new ones are, where that can be done."""
        if not self.rehashes or user.password.startswith(hashes.HA1) or hashes.is_current(user.password):
            return user
        try:
            return await self.change(user, password)
        except (OSError, Changed, Busy) as reason:
            log.warn("the password of {user} stays stored as it is: {reason}", user=user.name, reason=reason)
            return user

    async def verify_digest(self, name: str, realm: str, algorithm: str, proof: Proof) -> User | None:
        user: User | None = await wait(self.find(name))
        key = None if user is None else hashes.digest_key(user.password, algorithm, name, realm)
        good = proof(key or hashes.ha1(algorithm, name, realm, ""))
        return user if good and key is not None else None

    def _decoy(self, name: str) -> str:
        """
        What the password of a name that nobody has is compared with: that of somebody, always the same for a name, so that
        it takes as long as for a name of this collection.
        """
        number = int.from_bytes(blake2b(name.encode(), key=self._key, digest_size=8).digest(), "big")
        return self._decoys[number % len(self._decoys)]


def identity_of(place: str) -> str:
    """What tells a collection from others; it does not say where it is."""
    return sha256(place.encode()).hexdigest()[:24]


async def wait(found: Any) -> Any:
    """What :meth:`Users.find` found."""
    return await found if isinstance(found, Deferred) else found
