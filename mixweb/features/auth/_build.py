"""
The settings become a guard.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from secrets import token_bytes
from typing import TYPE_CHECKING, Any

from twisted.web.resource import IResource

from mixweb.feature import Context, existing_path
from mixweb.features.auth._accounts import AuthToken, ChangePassword, KeySet, Register
from mixweb.features.auth._digest import Nonces
from mixweb.features.auth._endpoints import DummyLogin, DummyLogout, Login, Logout
from mixweb.features.auth._fileusers import FileUsers
from mixweb.features.auth._issuer import IssuerKeys, fetch
from mixweb.features.auth._jwt import Expected
from mixweb.features.auth._keys import SYMMETRIC, KeyProblem, pem_key, secret_key
from mixweb.features.auth._lockout import Lockout
from mixweb.features.auth._login import Doorman
from mixweb.features.auth._office import Endpoint, Office, Paths
from mixweb.features.auth._policy import Creators, PasswordPolicy
from mixweb.features.auth._pool import WorkPool
from mixweb.features.auth._refresh import RefreshTokens
from mixweb.features.auth._rules import Policy
from mixweb.features.auth._storeusers import StoreUsers
from mixweb.features.auth._tokens import Names, OutsideTokens, OwnTokens, Tokens
from mixweb.features.auth._unlock import UnlockService
from mixweb.features.auth._users import Anybody, Nobody, Users
from mixweb.features.auth._wrapper import AuthWrapper, Entrance
from mixweb.paths import split_path
from mixweb.stores import IStore

if TYPE_CHECKING:
    from mixweb.features.auth import Auth
_REALM = "mixweb"

#: A set in a file is read again after so many seconds.
_FILE_FRESH, _FILE_PAUSE = 5.0, 1.0

_LOOPBACK = re.compile(r"http://(?:localhost|127\.[0-9.]+|\[::1\])[:/]")


def make(settings: Auth, inner: IResource, context: Context) -> IResource:
    """
    The guard in front of a resource.

    :raises ValueError: when the settings do not fit each other, or what they name.
    """
    pool = WorkPool(context.reactor, settings.hash_threads, settings.hash_queue)
    context.add_service(pool)
    store = context.store(settings.store)
    users = _users(settings, store, pool, context)
    realm = settings.realm or next(iter(users.realms), _REALM)
    tokens = _tokens(settings, users, pool, context)
    forms = context.wrappers is None or "session" in context.wrappers
    schemes = frozenset(settings.schemes or _schemes(settings, users, tokens, forms))
    if "form" in schemes and not forms:
        raise ValueError("schemes: form needs sessions, and the session feature was taken away")
    if "digest" in schemes and not users.digests:
        raise ValueError("schemes: digest needs users of an htdigest file, or passwords that can be read")
    nonces = Nonces(settings.secret.encode() or token_bytes(32), context.reactor.seconds)
    doorman = Doorman(users, Lockout(store, settings.attempts), realm, nonces, context.reactor.seconds)
    office = _office(settings, store, doorman, tokens.own, schemes)
    entrance = Entrance(schemes, realm, users.digests, office.paths.login)
    policy = Policy(settings.rules, settings.secrets, settings.paths, settings.except_paths)
    guard = AuthWrapper(inner, policy, entrance, doorman, tokens, _endpoints(office, settings.dummy))
    _check_neighbours(guard, context)
    _warn(settings, users, context)
    return guard


def _users(settings: Auth, store: IStore, pool: WorkPool, context: Context) -> Users:
    place = os.fspath(settings.users)
    if not place:
        return Anybody() if settings.dummy else Nobody()
    scheme, colon, rest = place.partition(":")
    if scheme == "store" and colon:
        return StoreUsers(store, settings.store or context.server_store, rest, pool, settings.rehash)
    if colon and re.fullmatch("[A-Za-z][A-Za-z0-9_+-]+", scheme):
        from mixweb.features.auth._cred import CheckerUsers, checker_of

        return CheckerUsers(checker_of(place), place)
    if not os.path.exists(place):
        raise ValueError(f"users: there is no file '{place}'; mixweb passwd '{place}' NAME makes one")
    path = os.path.abspath(place)
    # Digest has to know what a new kind of hash would hide.
    rehash = settings.rehash and "digest" not in settings.schemes
    found = FileUsers(path, settings.passwords, settings.realm, context.reactor, pool, rehash)
    if len(found.realms) > 1:
        raise ValueError(f"realm: choose one of those in '{place}': {', '.join(sorted(found.realms))}")
    context.add_service(found.watch)
    if (settings.store or context.server_store).startswith("memory:"):
        context.add_service(UnlockService(path, store, settings.attempts, pool, context.reactor))
    return found


def _schemes(settings: Auth, users: Users, tokens: Tokens, forms: bool) -> Sequence[str]:
    if settings.dummy:
        return ("form",)
    found = ["form"] if settings.users and forms else []
    found += ["basic"] if settings.users else []
    found += ["digest"] if users.realms else []
    return [*found, *(["bearer"] if tokens else [])]


def _tokens(settings: Auth, users: Users, pool: WorkPool, context: Context) -> Tokens:
    seconds, names = context.reactor.seconds, Names(settings.name_claim, settings.roles_claim)
    own = outside = None
    if settings.token_algorithm:
        expected = Expected(settings.token_issuer, settings.audience, settings.leeway)
        keys = [(settings.token_algorithm, key) for key in _keys(settings, context)]
        known = None if isinstance(users, Nobody) else users
        own = OwnTokens(keys, known, expected, names, settings.token_lifetime, seconds)
    if settings.jwks:
        expected = Expected(settings.jwks_issuer, settings.jwks_audience, settings.leeway)
        outside = OutsideTokens(_issuer(settings, pool, context), expected, names, seconds)
    return Tokens(own, outside)


def _keys(settings: Auth, context: Context) -> list[Any]:
    if settings.token_algorithm not in SYMMETRIC:
        return [_pem(os.fspath(path)) for path in settings.token_keys]
    if settings.secret:
        return [secret_key(settings.secret, settings.secret_encoding)]
    context.warn(
        "auth: tokens are signed with a secret of this process; set secret for them to outlive it, or for several of them"
    )
    return [secret_key(token_bytes(64).hex(), "clear")]


def _pem(path: str) -> Any:
    try:
        return pem_key(existing_path(path).read_bytes())
    except (KeyProblem, OSError) as reason:
        raise ValueError(f"token_keys: '{path}': {getattr(reason, 'strerror', None) or reason}") from None


def _issuer(settings: Auth, pool: WorkPool, context: Context) -> IssuerKeys:
    place, seconds = os.fspath(settings.jwks), context.reactor.seconds
    if "://" in place:
        if not place.startswith("https://") and not _LOOPBACK.match(place):
            raise ValueError("jwks must be a file or an https URL: who can change the keys can make tokens")
        return IssuerKeys(fetch(place, context.reactor), settings.jwks_algorithms, seconds)
    path = existing_path(place)
    return IssuerKeys(lambda: pool.run(path.read_bytes), settings.jwks_algorithms, seconds, _FILE_FRESH, _FILE_PAUSE)


def _office(settings: Auth, store: IStore, doorman: Doorman, own: OwnTokens | None, schemes: frozenset[str]) -> Office:
    users, creators = doorman.users, Creators(settings.register)
    makes = own is not None and own.signs and bool(settings.users)
    enters = settings.dummy or (bool(settings.users) and ("form" in schemes or makes))
    if creators and not users.editable:
        raise ValueError("register: these users cannot be added to")
    there = {
        "login": enters,
        "logout": enters,
        "changepwd": enters and users.editable,
        "register": bool(creators),
        "authtoken": makes,
    }
    prefix = "/" + "".join(f"{segment.decode()}/" for segment in split_path(settings.prefix))
    return Office(
        doorman,
        store,
        Paths(**{name: prefix + name for name, is_there in there.items() if is_there}),
        PasswordPolicy(settings.password_length, settings.password_kinds),
        creators,
        doorman.realm,
        own,
        RefreshTokens(store, settings.refresh_lifetime) if makes else None,
        settings.goto_any,
    )


def _endpoints(office: Office, dummy: bool) -> Mapping[tuple[bytes, ...], IResource]:
    paths = office.paths
    made: list[tuple[str, type[Any]]] = [
        (paths.login, DummyLogin if dummy else Login),
        (paths.logout, DummyLogout if dummy else Logout),
        (paths.changepwd, ChangePassword),
        (paths.register, Register),
        (paths.authtoken, AuthToken),
    ]
    found: dict[tuple[bytes, ...], Endpoint] = {split_path(path): kind(office) for path, kind in made if path}
    if office.own is not None and office.own.public:
        found[split_path("/.well-known/jwks.json")] = KeySet(office.own)
    return found


def _check_neighbours(guard: AuthWrapper, context: Context) -> None:
    """Two guards of one host must not both be asked for the same login page."""
    for other in context.offers:
        if isinstance(other, AuthWrapper):
            both = [segments for segments in guard.endpoints if segments in other.endpoints]
            if both:
                path = b"/".join(both[0]).decode()
                raise ValueError(f"prefix: /{path} is another [auth]'s already; give this one a prefix of its own")
    context.offers.append(guard)


def _warn(settings: Auth, users: Users, context: Context) -> None:
    if settings.dummy:
        context.warn("auth: EVERYBODY CAN LOG IN, under any name and without a password (dummy)")
    if settings.goto_any:
        context.warn("auth: a login may lead to any other site (goto_any)")
    if any(rule.anyone for rule in Creators(settings.register).rules.values()):
        context.warn("auth: anybody may make themselves a user (register)")
    if isinstance(users, FileUsers) and users.read.clear:
        kept = "; each is hashed at its next login" if users.rehashes else ""
        context.warn(f"auth: passwords in {users.path} ({users.read.clear}) can be read by who can read the file{kept}")
