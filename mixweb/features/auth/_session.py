"""
Who a session is of.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from mixweb.engine.request import Request
from mixweb.interfaces import ISession

_KEY = "auth"


class Login(NamedTuple):
    """
    What a session knows of a login.

    :ivar stamp: the user's when it logged in: with another password the session is over.
    :ivar scheme: ``session`` or ``dummy``.
    """

    name: str
    stamp: str
    scheme: str


def remember(request: Request, users: str, login: Login) -> None:
    """
    Have a request's session be of a user from now on, under a new id. What was somebody else's is forgotten.

    :param users: the identity of the collection that the user is of: no other one takes its word.
    """
    session: Any = ISession(request)
    before = recall(request, users)
    if _KEY in session and (before is None or before.name != login.name):
        session.clear()
    session[_KEY] = {"users": users, "name": login.name, "stamp": login.stamp, "scheme": login.scheme}
    session.rotate()


def recall(request: Request, users: str) -> Login | None:
    """
    The login that a request's session knows of.

    :param users: the identity of the collection that the user has to be of.
    """
    session: Any = ISession(request, None)
    found = None if session is None else session.peek(_KEY)
    # A page may write what it likes into a session.
    if (
        not isinstance(found, dict)
        or not {"users", "name", "stamp", "scheme"} <= found.keys()
        or found["users"] != users
    ):
        return None
    return Login(found["name"], found["stamp"], found["scheme"])


def forget(request: Request) -> None:
    """End a request's session, here and in the browser, also when there was none."""
    session: Any = ISession(request, None)
    if session is not None:
        session.end()
