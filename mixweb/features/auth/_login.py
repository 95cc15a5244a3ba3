"""
Whether somebody is who they say: the checks, the limits on failures, and the log of both.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from hashlib import sha256
from hmac import compare_digest
from hmac import new as hmac
from secrets import token_bytes

from twisted.logger import Logger

from mixweb.features.auth._credentials import Basic, Digest
from mixweb.features.auth._digest import ALGORITHMS, Nonces, expected
from mixweb.features.auth._files import User
from mixweb.features.auth._lockout import Locked, Lockout
from mixweb.features.auth._users import Users, wait

#: Where failures are logged; a line begins in the same way for all of them.
log = Logger(namespace="mixweb.auth")

#: Seconds that a password that was right need not be checked again, and how many of them are remembered.
_REMEMBER_SECONDS, _REMEMBER_MOST = 60.0, 1024

#: So much of what a client says is logged.
_SHOWN = 80


class Wrong(Exception):
    """These are not the name and password of anybody."""


class Stale(Exception):
    """The nonce of a digest cannot be used any more; another one will do."""


def failed(address: str, scheme: str, reason: str, name: str = "") -> None:
    """
    Log a failure.

    What comes from outside stands at the end, as a literal: no name can look like another line, or another address.
    """
    user = f", user {name[:_SHOWN]!a}" if name else ""
    log.warn(
        "login failed from {address}: {scheme}, {reason}{user}",
        address=address,
        scheme=scheme,
        reason=reason,
        user=user,
    )


class Remembered:
    """Passwords that were right a short while ago, as what cannot be turned back into them."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._key = token_bytes(32)
        self._found: OrderedDict[bytes, tuple[str, float]] = OrderedDict()

    def _digest(self, given: Basic) -> bytes:
        return hmac(self._key, f"{given.name}\0{given.password}".encode(), sha256).digest()

    def knows(self, given: Basic, stamp: str) -> bool:
        """Whether they were right, and the user still has this stamp."""
        known, until = self._found.get(self._digest(given), ("", 0.0))
        return until > self._seconds() and known == stamp

    def add(self, given: Basic, stamp: str) -> None:
        """Remember them."""
        self._found[self._digest(given)] = stamp, self._seconds() + _REMEMBER_SECONDS
        while len(self._found) > _REMEMBER_MOST:
            self._found.popitem(last=False)


class Doorman:
    """
    Checks names and passwords.

    :param realm: of digests.
    :param nonces: those of this process.
    """

    def __init__(
        self, users: Users, lockout: Lockout, realm: str, nonces: Nonces, seconds: Callable[[], float]
    ) -> None:
        self.users = users
        self.realm = realm
        self.nonces = nonces
        self._lockout = lockout
        self._remembered = Remembered(seconds)

    async def by_password(self, name: str, password: str, address: str, scheme: str) -> User:
        """
        The user with this name and password.

        :param scheme: how they came, for the log.
        :raises Wrong: when there is none.
        :raises Locked: when there were too many failures.
        """
        return await self._tried(name, address, scheme, lambda: self.users.verify(name, password))

    async def by_basic(self, given: Basic, address: str) -> User:
        """The same for credentials that come with every request."""
        user: User | None = await wait(self.users.find(given.name))
        if user is not None and self._remembered.knows(given, user.stamp):
            return user
        user = await self.by_password(given.name, given.password, address, "basic")
        self._remembered.add(given, user.stamp)
        return user

    async def by_digest(self, given: Digest, method: bytes, target: bytes, address: str) -> User:
        """
        The user whose answer to a challenge this is.

        :param target: the request's, as received.
        :raises Stale: when it may be right, but the challenge is not to be answered any more.
        """
        meant = given.realm == self.realm and given.uri.encode("utf-8", "replace") == target
        if not meant or given.algorithm not in ALGORITHMS:
            failed(address, "digest", "an answer to another challenge", given.name)
            raise Wrong
        if not self.nonces.issued(given.nonce):
            raise Stale

        def proof(ha1: str) -> bool:
            return compare_digest(expected(given, method, ha1).encode(), given.response.lower().encode())

        def check() -> Awaitable[User | None]:
            return self.users.verify_digest(given.name, self.realm, given.algorithm, proof)

        user = await self._tried(given.name, address, "digest", check)
        if not self.nonces.use(given.nonce, given.count):
            failed(address, "digest", "an answer that was used before", given.name)
            raise Stale
        return user

    async def _tried(self, name: str, address: str, scheme: str, check: Callable[[], Awaitable[User | None]]) -> User:
        try:
            async with self._lockout.attempt(name, address) as attempt:
                user = await check()
                if user is not None:
                    await attempt.succeeded()
                    return user
                await attempt.failed()
        except Locked:
            failed(address, scheme, "locked", name)
            raise
        failed(address, scheme, "wrong name or password", name)
        raise Wrong
