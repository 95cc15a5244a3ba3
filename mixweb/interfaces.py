"""
What features tell each other through the request.

A feature that finds something out sets it as a component of the request (``request.setComponent(IUser, user)``); another
asks for it (``IUser(request, None)``).
"""

from collections.abc import Awaitable
from typing import Any

from zope.interface import Attribute, Interface


class IClientAddress(Interface):
    """Who sent the request, when trusted proxies stand between."""

    host = Attribute("the address as text")
    proxies = Attribute("the addresses of the trusted proxies it came through, nearest last")


class IUser(Interface):
    """Who the request is from, when it was authenticated."""

    name = Attribute("the user's name as text")
    roles = Attribute("the user's roles, a frozenset of text without the #")
    scheme = Attribute("how the user was recognised: session, basic, digest, bearer, dummy ...")


class ISession(Interface):
    """
    The session of a request: text keys and values that JSON can hold, kept in a store.

    It is a mutable mapping (``session["n"] = 1``, ``session.get``, ``session.pop`` ...). It exists for every request behind
    the ``session`` feature; nothing is stored and no cookie set until something is put into it. What changed is saved before
    the answer leaves, unless its status is a 5xx.
    """

    new = Attribute("whether the client brought no session of ours")
    used = Attribute("whether the answer depends on what it holds, so that it is for this client alone")

    def peek(key: str) -> Any:
        """What a key holds, to be looked at and not to be changed; cheaper than a look into it. ``None`` for nothing."""

    def rotate() -> None:
        """
        Go on under a new id, with what it holds: at login, and whenever rights change. Keys that begin with ``~`` stay
        behind: what was agreed under the id before.

        :raises RuntimeError: when the head of the answer has left.
        """

    def end() -> None:
        """
        Forget it, here and at the client.

        :raises RuntimeError: when the head of the answer has left.
        """


class IFormToken(Interface):
    """What a form sends along to show that it is one of ours, where the ``csrf`` feature stands in front."""

    field = Attribute("the name of the form field, as text")
    value = Attribute("the token for this request, as text; another one each time it is asked for")


class IPages(Interface):
    """
    Pages that are kept under names, for tools that show them.

    What cannot be done is an exception with the ``status`` to answer with, or one of the store's. Names are bytes.
    """

    at = Attribute("the path they are mounted at, as text")

    def listed() -> Awaitable[list[tuple[bytes, str | None, int, float | None]]]:
        """Each name with the type of its page, its bytes and the time it is forgotten; of a cleared page no type."""

    def load(name: bytes) -> Awaitable[Any]:
        """A page, with ``data`` and ``type``."""

    def save(name: bytes, page: Any) -> Awaitable[None]:
        """Keep a page under a name that none had before."""

    def retype(name: bytes, type: str) -> Awaitable[None]:
        """Give a page another type."""

    def clear(name: bytes) -> Awaitable[None]:
        """Forget a page; its name stays taken."""

    def clear_all() -> Awaitable[None]:
        """Forget all pages."""


class ISessionTag(Interface):
    """What marks the log lines of one session."""

    tag = Attribute("six characters of text that do not give the session away")
