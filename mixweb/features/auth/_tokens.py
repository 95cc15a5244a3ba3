"""
Access tokens: those made here, and those of an outside issuer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hmac import new as hmac
from secrets import token_urlsafe
from typing import Any

from joserfc.jwk import OctKey

from mixweb.features.auth._files import User
from mixweb.features.auth._issuer import IssuerKeys
from mixweb.features.auth._jwt import Expected, TokenError, claims_of, sign, unverified
from mixweb.features.auth._keys import SYMMETRIC, VerifyingKey, check_key
from mixweb.features.auth._users import Users, wait

#: No token gives more roles than this.
MAX_ROLES = 1000


@dataclass(frozen=True)
class Bearing:
    """
    Whom a token is for.

    :ivar claims: what it says.
    """

    name: str
    roles: frozenset[str]
    claims: Mapping[str, Any]


@dataclass(frozen=True)
class Names:
    """The claims that say who somebody is; a dot leads into an object."""

    name: str = "sub"
    roles: str = "roles"


def bearing_of(claims: Mapping[str, Any], names: Names) -> Bearing:
    """
    Whom claims are about.

    :raises TokenError: when they do not say it.
    """
    name = _claim(claims, names.name)
    if not isinstance(name, str) or not name or len(name) > 256 or not name.isprintable():
        raise TokenError(f"the token names nobody ({names.name})")
    roles = _claim(claims, names.roles)
    found = roles.split() if isinstance(roles, str) else roles if roles is not None else []
    if not isinstance(found, list) or len(found) > MAX_ROLES or not all(isinstance(role, str) for role in found):
        raise TokenError(f"the token's roles are malformed ({names.roles})")
    return Bearing(name, frozenset(found), claims)


def _claim(claims: Mapping[str, Any], path: str) -> Any:
    if path in claims:
        return claims[path]
    found: Any = claims
    for part in path.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


class OwnTokens:
    """
    Tokens that are signed here.

    :param keys: the first one signs; any of them is believed.
    :param users: whose they are; ``None`` when nobody is known here and the claims say everything.
    """

    def __init__(
        self,
        keys: Sequence[tuple[str, Any]],
        users: Users | None,
        expected: Expected,
        names: Names,
        lifetime: float,
        seconds: Callable[[], float],
    ) -> None:
        self.lifetime = lifetime
        self.algorithm = keys[0][0]
        self.expected = expected
        self._users = users
        self._names = names
        self._seconds = seconds
        self._key = keys[0][1]
        self.public: list[dict[str, Any]] = []
        self.keys: list[VerifyingKey] = []
        for algorithm, key in keys:
            check_key(key, algorithm)
            kid = None if algorithm in SYMMETRIC else key.thumbprint()
            self.keys.append(VerifyingKey(key, frozenset([algorithm]), kid))
            if kid is not None:
                self.public.append({**key.as_dict(private=False), "use": "sig", "alg": algorithm, "kid": kid})

    @property
    def signs(self) -> bool:
        """Whether tokens can be made: a public key only checks them."""
        return self.keys[0].kid is None or bool(self._key.is_private)

    def make(self, user: User) -> str:
        """
        An access token.

        :param user: one of those that are known here.
        """
        now = int(self._seconds())
        claims: dict[str, Any] = {
            "sub": user.name,
            "iat": now,
            "exp": now + int(self.lifetime),
            "jti": token_urlsafe(12),
        }
        claims |= {"roles": sorted(user.roles), "stamp": _stamp(self._key, user)}
        claims |= {"iss": self.expected.issuer} if self.expected.issuer else {}
        claims |= {"aud": self.expected.audience} if self.expected.audience else {}
        return sign(claims, self._key, self.algorithm, self.keys[0].kid)

    async def check(self, token: str) -> Bearing:
        """
        Whom a token is for.

        :raises TokenError: when it is not to be believed.
        """
        claims = claims_of(token, self.keys, self.expected, self._seconds())
        if self._users is None:
            return bearing_of(claims, self._names)
        name = claims.get("sub")
        user: User | None = await wait(self._users.find(name)) if isinstance(name, str) else None
        if user is not None and not self._is_stamped(claims, user):
            # Another process may have changed the user just now.
            user = await self._users.look(user.name)
        if user is None or not self._is_stamped(claims, user):
            raise TokenError("the token is of a user who is gone, or has another password now")
        return Bearing(user.name, user.roles, claims)

    def _is_stamped(self, claims: Mapping[str, Any], user: User) -> bool:
        stamps = [_stamp(key.key, user) for key in self.keys]
        return claims.get("stamp") in stamps or None in stamps


def _stamp(key: Any, user: User) -> str | None:
    """The user's stamp as a token shows it: not even weak passwords can be guessed from it. A public key knows none."""
    if isinstance(key, OctKey):
        secret = key.raw_value
    elif key.is_private:
        secret = str(key.as_dict(private=True)["d"]).encode()
    else:
        return None
    return hmac(secret, b"stamp" + user.stamp.encode(), "sha256").hexdigest()[:24]


class OutsideTokens:
    """
    Tokens of an outside issuer.

    :param keys: the issuer's.
    :param expected: has the issuer's name and an audience.
    """

    def __init__(self, keys: IssuerKeys, expected: Expected, names: Names, seconds: Callable[[], float]) -> None:
        self.expected = expected
        self._keys = keys
        self._names = names
        self._seconds = seconds

    async def check(self, token: str) -> Bearing:
        """
        Whom a token is for.

        :raises TokenError: when it is not to be believed.
        :raises IssuerUnavailable: when the issuer's keys cannot be had.
        """
        keys = await self._keys.get(unverified(token).kid)
        return bearing_of(claims_of(token, keys, self.expected, self._seconds()), self._names)


class Tokens:
    """
    All tokens that are believed.

    :ivar own: those made here.
    """

    def __init__(self, own: OwnTokens | None, outside: OutsideTokens | None) -> None:
        self.own = own
        self._outside = outside

    def __bool__(self) -> bool:
        return self.own is not None or self._outside is not None

    async def check(self, token: str) -> Bearing:
        """
        Whom a token is for; who it says that it is from decides by whose keys and rules it is checked.

        :raises TokenError: when it is not to be believed.
        :raises IssuerUnavailable: when an issuer's keys cannot be had.
        """
        if self._outside is not None and (
            self.own is None or unverified(token).issuer == self._outside.expected.issuer
        ):
            return await self._outside.check(token)
        if self.own is None:
            raise TokenError("tokens are not taken here")
        return await self.own.check(token)
