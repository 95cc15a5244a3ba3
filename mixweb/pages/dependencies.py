"""
What a handler asks for by type: the request, the session, the user, a log.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlencode

from twisted.logger import Logger
from twisted.web.http import Request as TwistedRequest
from twisted.web.iweb import IRequest
from zope.interface.interface import InterfaceClass

from mixweb.engine.errors import HTTPError
from mixweb.engine.requestlog import RequestLog
from mixweb.interfaces import ISession, IUser
from mixweb.pages.call import Call
from mixweb.pages.redirects import Redirect


class Session(MutableMapping[str, Any]):
    """The session of the request, as the ``session`` feature keeps it (:class:`mixweb.interfaces.ISession`)."""

    new: bool

    def rotate(self) -> None:
        """Go on under a new id, with what it holds: at login, and whenever rights change."""
        raise NotImplementedError

    def end(self) -> None:
        """Forget it, here and at the client."""
        raise NotImplementedError


class User(Protocol):
    """Who the request is from (:class:`mixweb.interfaces.IUser`)."""

    name: str
    roles: frozenset[str]
    scheme: str


class Provider(NamedTuple):
    """
    What gives a handler an object of a type.

    :ivar find: finds it; ``None`` when there is none.
    :ivar feature: which has to be mounted for it; empty for none.
    :ivar need: finds it; raises where there is none.
    """

    find: Callable[[Call], Any]
    feature: str = ""
    need: Callable[[Call], Any] | None = None


def session_of(call: Call) -> Session:
    """
    The session of a request.

    :raises RuntimeError: when the session feature is not mounted.
    """
    found: Any = ISession(call.request, None)
    if found is None:
        raise RuntimeError("a handler asks for the session, but the session feature is not mounted: add --session")
    session: Session = found
    return session


def user_of(call: Call) -> User:
    """
    The user of a request.

    :raises HTTPError: when nobody is logged in: a page that is only read is exchanged for the login page.
    """
    user: User | None = IUser(call.request, None)
    if user is not None:
        return user
    if call.app.login_url and call.request.method in (b"GET", b"HEAD"):
        raise Redirect(login_with_next(call.app.login_url, call))
    raise HTTPError(403, "Log in first.")


def login_with_next(url: str, call: Call) -> str:
    """A login URL that leads back to the request's."""
    back = call.request.uri.decode("latin-1")
    return url if "?" in url else f"{url}?{urlencode({'next': back})}"


_PROVIDERS: dict[Any, Provider] = {
    Session: Provider(lambda call: ISession(call.request, None), "session", session_of),
    User: Provider(lambda call: IUser(call.request, None), "auth", user_of),
    Logger: Provider(lambda call: call.request.log),
    RequestLog: Provider(lambda call: call.request.log),
}
_REQUEST = Provider(lambda call: call.request)


def provide(kind: type, find: Callable[[Call], Any]) -> None:
    """Have handlers ask for a further type."""
    _PROVIDERS[kind] = Provider(find)


def provider(annotation: Any) -> Provider | None:
    """What gives objects of a type, if it is one that is not made of arguments."""
    if isinstance(annotation, InterfaceClass):
        return _REQUEST if annotation is IRequest else None
    if isinstance(annotation, type) and issubclass(annotation, TwistedRequest):
        return _REQUEST
    try:
        return _PROVIDERS.get(annotation)
    except TypeError:  # an annotation that cannot be a key, like a list of types
        return None
