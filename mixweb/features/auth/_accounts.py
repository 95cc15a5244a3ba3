"""
``/changepwd``, ``/register``, ``/authtoken`` and ``/.well-known/jwks.json``.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from mixweb.engine.errors import HTTPError
from mixweb.engine.request import Request
from mixweb.features.auth._files import check_name, parse_roles
from mixweb.features.auth._forms import Fields, query_fields
from mixweb.features.auth._hashes import normalized
from mixweb.features.auth._lockout import Cell, Locked, hits
from mixweb.features.auth._login import Wrong, failed
from mixweb.features.auth._office import Endpoint, Office, answer_json, changing, refuse_form
from mixweb.features.auth._pages import FIRST_PASSWORD, NEW_PASSWORD, PASSWORD, Form, show, user_input
from mixweb.features.auth._refresh import Reused
from mixweb.features.auth._tokens import OwnTokens
from mixweb.features.auth._users import Changed, Taken, wait
from mixweb.features.auth._wrapper import cookie_challenge
from mixweb.interfaces import IUser
from mixweb.kit.addresses import client_address, network
from mixweb.kit.posted import shielded

#: So many users may be made from one address, by strangers, in an hour.
_STRANGERS, _HOUR = 10, 3600.0

_MAX_ROLES = 100


class ChangePassword(Endpoint):
    """Takes another password; all other sessions and all tokens of the user end."""

    def __init__(self, office: Office) -> None:
        super().__init__({b"GET": self.ask, b"POST": changing(self.take)})
        self._office = office

    def _form(self, request: Request, goto: str) -> Form:
        known = IUser(request, None)
        inputs = (user_input(known.name if known is not None else ""), PASSWORD, NEW_PASSWORD)
        return Form("Change the password", self._office.paths.changepwd, "Change", inputs, goto)

    def ask(self, request: Request) -> bytes:
        """The form."""
        return show(request, self._form(request, self._office.goto(request, query_fields(request))))

    async def take(self, request: Request, fields: Fields) -> Any:
        """Change it."""
        known, form = IUser(request, None), self._form(request, self._office.goto(request, fields))
        name = normalized(fields.text("username")) or (known.name if known is not None else "")
        password, new = normalized(fields.text("password")), normalized(fields.text("new_password"))
        if not (name and password and new):
            return refuse_form(request, fields, form, 400, 'Send "username", "password" and "new_password".')
        users = self._office.doorman.users
        try:
            user = await self._office.doorman.by_password(name, password, client_address(request), "changepwd")
        except Wrong:
            request.setHeader(b"WWW-Authenticate", cookie_challenge(self._office.realm, self._office.paths.login))
            return refuse_form(request, fields, form, 401, "This is not a name with its password.")
        problem = self._office.passwords.problem(new, name)
        if new == password:
            problem = "The new password is the old one."
        if problem:
            return refuse_form(request, fields, form, 400, problem)
        try:
            user = await shielded(Deferred.fromCoroutine(users.change(user, new)))
        except Changed:
            return refuse_form(request, fields, form, 409, "The password was changed meanwhile.")
        return await self._office.welcome(request, fields, user)


class Register(Endpoint):
    """Makes users, for those who may."""

    def __init__(self, office: Office) -> None:
        super().__init__({b"GET": self.ask, b"POST": changing(self.take)})
        self._office = office

    def _form(self, goto: str, name: str = "") -> Form:
        return Form("Become a user", self._office.paths.register, "Register", (user_input(name), FIRST_PASSWORD), goto)

    def ask(self, request: Request) -> bytes:
        """The form."""
        return show(request, self._form(self._office.goto(request, query_fields(request))))

    async def take(self, request: Request, fields: Fields) -> Any:
        """Make a user, and log in as that one unless one was logged in."""
        name, password = normalized(fields.text("username")), normalized(fields.text("password"))
        form, maker = self._form(self._office.goto(request, fields), name), IUser(request, None)
        try:
            roles = self._roles(fields)
            check_name(name)
        except ValueError as reason:
            return refuse_form(request, fields, form, 400, f"{str(reason)[:1].upper()}{str(reason)[1:]}.")
        if not self._office.creators.may(maker, roles):
            raise HTTPError(403, "You may not make such a user.")
        problem = self._office.passwords.problem(password, name)
        if problem:
            return refuse_form(request, fields, form, 400, problem)
        if maker is None:
            await self._limit(client_address(request))
        try:
            user = await shielded(Deferred.fromCoroutine(self._office.doorman.users.create(name, password, roles)))
        except Taken:
            return refuse_form(request, fields, form, 400, "This name is taken.")
        if maker is None:
            return await self._office.welcome(request, fields, user)
        return self._office.leave(request, fields, {"user": user.name, "roles": sorted(user.roles)})

    def _roles(self, fields: Fields) -> frozenset[str]:
        names = fields.names("roles")
        if len(names) > _MAX_ROLES:
            raise ValueError(f"a user has at most {_MAX_ROLES} roles")
        return parse_roles(",".join(names))

    async def _limit(self, address: str) -> None:
        """
        Count a user that a stranger makes.

        :raises Locked: when there were too many from this address.
        """
        cell = Cell(f"auth:registered:{network(address)}".encode(), _STRANGERS, _HOUR)
        (decision,) = await hits(self._office.store, [cell])
        if not decision.allowed:
            raise Locked(decision.retry_after)


class AuthToken(Endpoint):
    """Takes a refresh token for new tokens."""

    def __init__(self, office: Office) -> None:
        super().__init__({b"POST": changing(self.take)})
        self._office = office

    async def take(self, request: Request, fields: Fields) -> Any:
        """Give new tokens."""
        assert self._office.refresh is not None
        users = self._office.doorman.users
        try:
            used = await shielded(Deferred.fromCoroutine(self._office.refresh.use(fields.text("refresh_token"))))
        except Reused as reason:
            failed(client_address(request), "refresh", "a token that was used before", reason.name)
            raise self._refusal() from None
        if used is None:
            raise self._refusal()
        holder, following = used
        user = await wait(users.find(holder.name)) if holder.users == users.identity else None
        if user is None or user.stamp != holder.stamp:
            await self._office.refresh.end(following)
            raise self._refusal()
        return answer_json(request, self._office.token_document(user, following))

    def _refusal(self) -> HTTPError:
        challenge = f'Bearer realm="{self._office.realm}", error="invalid_token"'.encode()
        return HTTPError(401, "This refresh token is not good, or not any more.", [(b"WWW-Authenticate", challenge)])


class KeySet(Endpoint):
    """The public keys that tokens are signed with (RFC 7517, 5)."""

    def __init__(self, own: OwnTokens) -> None:
        super().__init__({b"GET": self.show})
        self._keys = {"keys": own.public}

    def show(self, request: Request) -> bytes:
        """The keys."""
        request.setHeader(b"Cache-Control", b"public, max-age=300")
        return answer_json(request, self._keys)
