"""
The guard: who a request is from, whether that one may, and what a stranger is told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from twisted.internet.defer import Deferred
from twisted.web.resource import IResource
from zope.interface import implementer

from mixweb.engine.errors import HTTPError
from mixweb.engine.request import Request
from mixweb.features.auth._credentials import Basic, Bearer, Credentials, Digest, Malformed, single
from mixweb.features.auth._digest import challenges
from mixweb.features.auth._files import User
from mixweb.features.auth._forms import MAX_BYTES, is_navigation, is_script
from mixweb.features.auth._jwt import TokenError
from mixweb.features.auth._login import Doorman, Stale, Wrong, failed
from mixweb.features.auth._pages import with_goto
from mixweb.features.auth._refusals import refusing
from mixweb.features.auth._rules import Everyone, Policy, Who
from mixweb.features.auth._session import Login, recall
from mixweb.features.auth._tokens import Tokens
from mixweb.features.auth._users import Users, wait
from mixweb.interfaces import ISession, IUser
from mixweb.kit.addresses import client_address
from mixweb.wrapper import Wrapper

#: Whom a rule admits.
Admits: TypeAlias = Who | Everyone

#: What answers a request that may be answered.
Forward: TypeAlias = Callable[[Request], object]

ANYONE = Who(anyone=True)


@implementer(IUser)
@dataclass(frozen=True)
class Identity:
    """
    Who a request is from.

    :ivar claims: what the token says, for one with a token.
    """

    name: str
    roles: frozenset[str]
    scheme: str
    claims: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Entrance:
    """
    How one may get in.

    :ivar schemes: ``form``, ``basic``, ``digest``, ``bearer``.
    :ivar digests: the algorithms of digest challenges.
    :ivar login: the path of the login page.
    """

    schemes: frozenset[str]
    realm: str
    digests: tuple[str, ...]
    login: str


class AuthWrapper(Wrapper):
    """
    Lets those through that the policy admits.

    :param endpoints: what is at which path, whoever asks.
    """

    def __init__(
        self,
        inner: IResource,
        policy: Policy,
        entrance: Entrance,
        doorman: Doorman,
        tokens: Tokens,
        endpoints: Mapping[tuple[bytes, ...], IResource],
    ) -> None:
        super().__init__(inner)
        self.policy = policy
        self.entrance = entrance
        self.doorman = doorman
        self.tokens = tokens
        self.endpoints = endpoints

    @property
    def users(self) -> Users:
        """Those who are known."""
        return self.doorman.users

    def handle(self, request: Request) -> None:
        path = request.canonical_path
        segments = path.segments[:-1] if path.segments[-1:] == (b"",) else path.segments
        endpoint = self.endpoints.get(segments) if path.raw is None else None
        if endpoint is None:
            who = self.policy.decide(request.method, path)
            if who is None:
                self.forward(request)
            else:
                self._guard(request, who, self.forward)
        elif int(request.getHeader(b"Content-Length") or 0) > MAX_BYTES:
            request.refuse(413, f"At most {MAX_BYTES} bytes are read here.")
        else:
            self._guard(request, ANYONE, lambda request: request.render(endpoint))

    def _guard(self, request: Request, who: Admits, then: Forward) -> None:
        """Find out who it is, and let those go on who may."""
        lines = request.requestHeaders.getRawHeaders(b"Authorization")
        if lines:
            self.spawn(request, self._by_credentials(request, who, then, lines))
            return
        login = recall(request, self.users.identity)
        if login is None:
            self._decide(request, who, then, None)
            return
        found = self.users.find(login.name)
        if not isinstance(found, Deferred) and found is not None and found.stamp == login.stamp:
            self._decide(request, who, then, Identity(found.name, found.roles, login.scheme))
        else:
            self.spawn(request, self._by_session(request, who, then, login, found))

    async def _by_session(self, request: Request, who: Admits, then: Forward, login: Login, found: Any) -> None:
        with refusing():
            user = await wait(found)
            if user is None or user.stamp != login.stamp:
                # Another process may have changed the user just now.
                user = await self.users.look(login.name)
        valid = user is not None and user.stamp == login.stamp
        self._decide(request, who, then, Identity(user.name, user.roles, login.scheme) if valid else None)

    async def _by_credentials(self, request: Request, who: Admits, then: Forward, lines: Sequence[bytes]) -> None:
        try:
            given = single(lines, self.entrance.schemes)
        except Malformed as reason:
            raise HTTPError(400, f"{reason}.") from None
        if given is None:
            self._decide(request, who, then, None)
            return
        try:
            with refusing():
                identity = await self._identify(request, given)
        except Wrong:
            self._challenge(request)
        except Stale:
            self._challenge(request, stale=True)
        except TokenError as reason:
            failed(client_address(request), "bearer", str(reason))
            self._challenge(request, problem=str(reason))
        else:
            self._decide(request, who, then, identity)

    async def _identify(self, request: Request, given: Credentials) -> Identity:
        address = client_address(request)
        match given:
            case Bearer(token):
                found = await self.tokens.check(token)
                return Identity(found.name, found.roles, "bearer", found.claims)
            case Basic():
                return _identity(await self.doorman.by_basic(given, address), "basic")
            case Digest():
                user = await self.doorman.by_digest(given, request.method, request.uri, address)
                return _identity(user, "digest")

    def _decide(self, request: Request, who: Admits, then: Forward, identity: Identity | None) -> None:
        if identity is not None:
            request.setComponent(IUser, identity)
        if who.anyone:
            then(request)
        elif identity is None:
            self._ask(request)
        elif who.admits(identity):
            _keep_private(request)
            then(request)
        else:
            request.error(403, "You are not among those who may see this.")

    def _ask(self, request: Request) -> None:
        """Have a stranger say who it is: a person by the login page, a program by a challenge."""
        if "form" in self.entrance.schemes and ISession(request, None) is not None and is_navigation(request):
            goto = request.uri.decode("latin-1") if request.method in (b"GET", b"HEAD") else ""
            request.setHeader(b"Location", with_goto(self.entrance.login, goto).encode())
            request.setHeader(b"Cache-Control", b"no-store")
            request.setResponseCode(303)
            request.complete(b"")
        else:
            self._challenge(request)

    def _challenge(self, request: Request, stale: bool = False, problem: str = "") -> None:
        for line in self.challenges(request, stale, problem):
            request.responseHeaders.addRawHeader(b"WWW-Authenticate", line)
        request.setHeader(b"Cache-Control", b"no-store")
        request.error(
            401, f"{problem[:1].upper()}{problem[1:]}." if problem else "This is for known users: say who you are."
        )

    def challenges(self, request: Request, stale: bool = False, problem: str = "") -> list[bytes]:
        """
        How one may say who one is (RFC 9110, 11.6.1).

        :param stale: whether an answer to a digest only came too late.
        :param problem: what is wrong with a token.
        """
        schemes, realm = self.entrance.schemes, self.entrance.realm
        found: list[bytes] = []
        if "bearer" in schemes:
            error = f', error="invalid_token", error_description="{problem}"' if problem else ""
            found.append(f'Bearer realm="{realm}"{error}'.encode())
        # To these two a browser that runs a script would open a window of its own.
        if "digest" in schemes and not is_script(request):
            found += challenges(realm, self.doorman.nonces.new(), self.entrance.digests, stale)
        if "basic" in schemes and not is_script(request):
            found.append(f'Basic realm="{realm}", charset="UTF-8"'.encode())
        return found or [cookie_challenge(realm, self.entrance.login)]


def cookie_challenge(realm: str, login: str) -> bytes:
    """What tells that a form is to be filled in; browsers do nothing about it by themselves."""
    return f'Cookie realm="{realm}", form-action="{login}"'.encode()


def _identity(user: User, scheme: str) -> Identity:
    return Identity(user.name, user.roles, scheme)


def _keep_private(request: Request) -> None:
    """What one user may see is not kept for others, nor shown after a logout, unless the resource says so."""
    headers = request.responseHeaders
    if headers.getRawHeaders(b"Cache-Control") == [b"private"]:
        # So says a session that was looked into.
        headers.put(b"Cache-Control", b"private, no-cache")
    else:
        request.before_headers(_say_private)


def _say_private(request: Request) -> None:
    if not request.responseHeaders.has(b"Cache-Control"):
        request.responseHeaders.put(b"Cache-Control", b"private, no-cache")
