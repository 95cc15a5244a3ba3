"""
Checkers of twisted.cred as users.
"""

from __future__ import annotations

from dataclasses import dataclass
from hmac import compare_digest
from typing import Any

from twisted.cred.checkers import ICredentialsChecker, InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.credentials import IUsernameHashedPassword, IUsernamePassword
from twisted.cred.error import UnauthorizedLogin, UnhandledCredentials
from twisted.cred.strcred import StrcredException, findCheckerFactories, makeChecker
from zope.interface import implementer

from mixweb.features.auth._digest import ALGORITHMS
from mixweb.features.auth._files import User
from mixweb.features.auth._hashes import ha1
from mixweb.features.auth._users import Anybody, Proof, identity_of


def checker_of(description: str) -> Any:
    """
    The checker that a description of ``twistd --auth`` means.

    :raises ValueError: when there is none that takes names and passwords.
    """
    kind, _, rest = description.partition(":")
    known = sorted({factory.authType for factory in findCheckerFactories()})
    if kind not in known:
        raise ValueError(
            f"users: there is no checker {kind!r}, only {', '.join(known)}; a file is given as ./{description}"
        )
    try:
        checker: Any = makeChecker(description)
    except (StrcredException, ValueError, OSError) as reason:
        raise ValueError(f"users: {kind} cannot use {rest!r}: {reason}") from None
    if not {IUsernamePassword, IUsernameHashedPassword} & set(checker.credentialInterfaces):
        raise ValueError(f"users: {kind} does not check names with passwords")
    if isinstance(checker, InMemoryUsernamePasswordDatabaseDontUse):
        # Twisted's own plugin leaves text where credentials have bytes.
        given: dict[Any, Any] = checker.users
        checker.users = {name.encode(): password.encode() for name, password in given.items()}
    return checker


@implementer(IUsernamePassword)
@dataclass
class PasswordCredentials:
    """A name and a password, compared in a time that tells nothing."""

    username: bytes
    password: bytes

    def checkPassword(self, password: bytes) -> bool:
        """Whether it is this password."""
        return compare_digest(self.password, password)


@implementer(IUsernameHashedPassword)
class DigestCredentials:
    """What a digest's answer says."""

    def __init__(self, name: str, realm: str, algorithm: str, proof: Proof) -> None:
        self.username = name.encode()
        self._parts = (algorithm, name, realm)
        self._proof = proof

    def checkPassword(self, password: bytes) -> bool:
        """Whether it was made with this password."""
        return self._proof(ha1(*self._parts, password.decode("utf-8", "replace")))


class CheckerUsers(Anybody):
    """
    Users whom a checker knows. It does not tell whom; they have no roles, and nothing about them can be changed.

    :param description: what it was made of.
    """

    def __init__(self, checker: Any, description: str) -> None:
        self._checker = ICredentialsChecker(checker)
        self.identity = identity_of(f"checker:{description}")
        if IUsernameHashedPassword in checker.credentialInterfaces:
            self.digests = tuple(ALGORITHMS)

    async def verify(self, name: str, password: str) -> User | None:
        return await self._ask(PasswordCredentials(name.encode(), password.encode()))

    async def verify_digest(self, name: str, realm: str, algorithm: str, proof: Proof) -> User | None:
        return await self._ask(DigestCredentials(name, realm, algorithm, proof))

    async def _ask(self, credentials: Any) -> User | None:
        try:
            avatar = await self._checker.requestAvatarId(credentials)
        except (UnauthorizedLogin, UnhandledCredentials):
            return None
        name = avatar.decode("utf-8", "replace") if isinstance(avatar, bytes) else avatar
        return User(name, "") if isinstance(name, str) and name else None
