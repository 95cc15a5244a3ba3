"""
``/login`` and ``/logout``.
"""

from __future__ import annotations

from math import ceil
from typing import Any

from mixweb.engine.request import Request
from mixweb.features.auth._files import User
from mixweb.features.auth._forms import Fields, body_fields, query_fields
from mixweb.features.auth._hashes import normalized
from mixweb.features.auth._lockout import Locked
from mixweb.features.auth._login import Wrong
from mixweb.features.auth._office import Endpoint, Office, changing, redirect, refuse_form
from mixweb.features.auth._pages import PASSWORD, Form, show, user_input, with_goto
from mixweb.features.auth._session import forget
from mixweb.features.auth._wrapper import cookie_challenge
from mixweb.interfaces import IUser
from mixweb.kit.addresses import client_address

#: Who logs in without saying a name, where nobody checks it.
GUEST = "guest"

_MAX_NAME = 128


class Login(Endpoint):
    """A form, and what takes it."""

    def __init__(self, office: Office) -> None:
        super().__init__({b"GET": self.ask, b"POST": changing(self.take)})
        self._office = office

    def _form(self, goto: str, name: str = "") -> Form:
        return Form("Log in", self._office.paths.login, "Log in", (user_input(name), PASSWORD), goto)

    def ask(self, request: Request) -> bytes:
        """The form; for one who is logged in, a way out."""
        paths, goto = self._office.paths, self._office.goto(request, query_fields(request))
        known = IUser(request, None)
        if known is None:
            others = [(with_goto(paths.register, goto), "Become a user")] if paths.register else []
            return show(request, self._form(goto), links=others)
        links = [(goto, "Go on")] if goto else []
        links += [(paths.changepwd, "Change the password")] if paths.changepwd else []
        form = Form("You are logged in", paths.logout, "Log out", hint=f"Your name here is {known.name}.")
        return show(request, form, links=links)

    async def take(self, request: Request, fields: Fields) -> Any:
        """Log in."""
        name, password = normalized(fields.text("username")), normalized(fields.text("password"))
        form = self._form(self._office.goto(request, fields), name)
        if not name or not password or len(name) > _MAX_NAME:
            return refuse_form(request, fields, form, 400, 'Send a "username" and a "password".')
        try:
            user = await self._office.doorman.by_password(name, password, client_address(request), "form")
        except Wrong:
            challenge = cookie_challenge(self._office.realm, self._office.paths.login)
            request.setHeader(b"WWW-Authenticate", challenge)
            return refuse_form(request, fields, form, 401, "This is not a name with its password.")
        except Locked as reason:
            request.setHeader(b"Retry-After", b"%d" % ceil(reason.seconds))
            return refuse_form(request, fields, form, 429, "There were too many failures. Try again later.")
        return await self._office.welcome(request, fields, user)


class Logout(Endpoint):
    """Ends a session, or the refresh tokens of a login."""

    def __init__(self, office: Office) -> None:
        super().__init__({b"GET": self.ask, b"POST": changing(self.take)})
        self._office = office

    def ask(self, request: Request) -> bytes:
        """A form: what only looks at a page ends nothing."""
        goto = self._office.goto(request, query_fields(request))
        return show(request, Form("Log out", self._office.paths.logout, "Log out", goto=goto))

    async def take(self, request: Request, fields: Fields) -> Any:
        """Log out."""
        if self._office.refresh is not None:
            await self._office.refresh.end(fields.text("refresh_token"))
        forget(request)
        return self._office.leave(request, fields, {"user": None})


class DummyLogin(Endpoint):
    """Lets everybody in: ``GET /login``, with a ``goto`` or without."""

    def __init__(self, office: Office) -> None:
        super().__init__({b"GET": self.take, b"POST": self.take})
        self._office = office

    def take(self, request: Request) -> bytes:
        """Log in as whoever it says."""
        fields = body_fields(request) if request.method == b"POST" else query_fields(request)
        name = normalized(fields.text("username"))[:_MAX_NAME]
        self._office.enter(request, User(name if name.isprintable() and name else GUEST, ""), "dummy")
        goto = self._office.goto(request, fields)
        return redirect(request, goto, 302) if goto else b""


class DummyLogout(Endpoint):
    """Ends a session at once."""

    def __init__(self, office: Office) -> None:
        super().__init__({b"GET": self.take, b"POST": self.take})
        self._office = office

    def take(self, request: Request) -> bytes:
        """Log out."""
        forget(request)
        goto = self._office.goto(request, query_fields(request))
        return redirect(request, goto, 302) if goto else b""
