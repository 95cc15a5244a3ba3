"""
What the endpoints have in common: reading what is sent, logging in, and answering people and programs.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from twisted.web.error import UnsupportedMethod
from twisted.web.resource import Resource

from mixweb.engine.errors import HTTPError
from mixweb.engine.request import Request
from mixweb.features.auth._files import User
from mixweb.features.auth._forms import Fields, body_fields, is_foreign, likes_pages, own_origin, query_fields
from mixweb.features.auth._goto import any_url, local_path
from mixweb.features.auth._login import Doorman, log
from mixweb.features.auth._pages import Form, show
from mixweb.features.auth._policy import Creators, PasswordPolicy
from mixweb.features.auth._refresh import Holder, RefreshTokens
from mixweb.features.auth._refusals import refusing
from mixweb.features.auth._session import Login, remember
from mixweb.features.auth._tokens import OwnTokens
from mixweb.interfaces import IFormToken, ISession
from mixweb.kit.addresses import client_address
from mixweb.stores import IStore

Answer = Callable[[Request], Any]


class Endpoint(Resource):
    """
    Answers some methods.

    :param methods: by method, what answers it.
    """

    isLeaf = True

    def __init__(self, methods: Mapping[bytes, Answer]) -> None:
        super().__init__()
        self._methods = methods

    def render(self, request: Request) -> Any:
        if request.method not in self._methods:
            raise UnsupportedMethod(sorted(self._methods))
        request.setHeader(b"Cache-Control", b"no-store")
        return self._methods[request.method](request)


@dataclass(frozen=True)
class Paths:
    """Where the endpoints are; empty where there is none."""

    login: str = ""
    logout: str = ""
    changepwd: str = ""
    register: str = ""
    authtoken: str = ""


@dataclass(frozen=True)
class Office:
    """
    What the endpoints work with.

    :ivar own: makes access tokens, if they are made.
    :ivar goto_any: whether a ``goto`` may lead to other sites.
    """

    doorman: Doorman
    store: IStore
    paths: Paths
    passwords: PasswordPolicy
    creators: Creators
    realm: str
    own: OwnTokens | None = None
    refresh: RefreshTokens | None = None
    goto_any: bool = False

    def goto(self, request: Request, fields: Fields) -> str:
        """Where a request wants to go in the end; empty for nowhere in particular."""
        asked = fields.text("goto") or query_fields(request).text("goto")
        return any_url(asked) if self.goto_any else local_path(asked, own_origin(request))

    def enter(self, request: Request, user: User, scheme: str = "session") -> None:
        """
        Have a browser be logged in as a user.

        :raises HTTPError: 501 when there are no sessions here.
        """
        if ISession(request, None) is None:
            raise HTTPError(501, "There are no sessions here to log in with: the session feature was taken away.")
        remember(request, self.doorman.users.identity, Login(user.name, user.stamp, scheme))
        log.info("login of {user} from {address}", user=ascii(user.name), address=client_address(request))

    async def welcome(self, request: Request, fields: Fields, user: User) -> Any:
        """Log a user in: a program with tokens where they are made, anybody else with a session."""
        if self.makes_tokens and wants_json(request, fields):
            return answer_json(request, await self.tokens(user))
        self.enter(request, user)
        return self.leave(request, fields, {"user": user.name, "roles": sorted(user.roles)})

    def leave(self, request: Request, fields: Fields, document: Mapping[str, Any]) -> bytes:
        """Answer what was done: go on, or say it to a program."""
        goto = self.goto(request, fields)
        if fields.json or not (goto or likes_pages(request)):
            return answer_json(request, document)
        return redirect(request, goto or self.paths.login)

    @property
    def makes_tokens(self) -> bool:
        """Whether tokens are made here."""
        return self.own is not None and self.own.signs

    async def tokens(self, user: User) -> dict[str, Any]:
        """New tokens for a user."""
        assert self.refresh is not None
        holder = Holder(self.doorman.users.identity, user.name, user.stamp)
        return self.token_document(user, await self.refresh.begin(holder))

    def token_document(self, user: User, refresh: str) -> dict[str, Any]:
        """What a program is given (RFC 6749, 5.1)."""
        assert self.own is not None
        return {
            "access_token": self.own.make(user),
            "token_type": "Bearer",
            "expires_in": int(self.own.lifetime),
            "refresh_token": refresh,
            "user": user.name,
            "roles": sorted(user.roles),
        }


def changing(handle: Callable[[Request, Fields], Awaitable[Any]]) -> Answer:
    """What answers a request that changes something: not one that a page of another site had a browser send."""

    async def answer(request: Request) -> Any:
        # Where tokens of forms are checked in front, so was this, with the origins that are trusted there.
        if IFormToken(request, None) is None and is_foreign(request):
            raise HTTPError(403, "A page of another site sent this.")
        with refusing():
            return await handle(request, body_fields(request))

    return answer


def wants_json(request: Request, fields: Fields) -> bool:
    """Whether a program asks."""
    return fields.json or not likes_pages(request)


def answer_json(request: Request, document: Any) -> bytes:
    """Answer with JSON."""
    request.setHeader(b"Content-Type", b"application/json")
    return json.dumps(document).encode() + b"\n"


def redirect(request: Request, target: str, status: int = 303) -> bytes:
    """Answer with a redirect."""
    request.setResponseCode(status)
    request.setHeader(b"Location", target.encode())
    return b""


def refuse_form(request: Request, fields: Fields, form: Form, status: int, problem: str) -> bytes:
    """
    Show a form again, with what is wrong with what was sent.

    :raises HTTPError: the same, to a program.
    """
    if wants_json(request, fields):
        raise HTTPError(status, problem)
    request.setResponseCode(status)
    return show(request, form, problem)
