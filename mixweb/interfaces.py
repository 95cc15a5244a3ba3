"""
What features tell each other through the request.

A feature that finds something out sets it as a component of the request (``request.setComponent(IUser, user)``); another
asks for it (``IUser(request, None)``).
"""

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
    the ``session`` feature; nothing is stored and no cookie set until something is put into it.
    """

    new = Attribute("whether the client brought no session of ours")

    def rotate() -> None:
        """Go on under a new id, with what it holds: at login, and whenever rights change."""

    def end() -> None:
        """Forget it, here and at the client."""


class IFormToken(Interface):
    """What a form sends along to show that it is one of ours, where the ``csrf`` feature stands in front."""

    field = Attribute("the name of the form field, as text")
    value = Attribute("the token for this request, as text; another one each time it is asked for")


class ISessionTag(Interface):
    """What marks the log lines of one session."""

    tag = Attribute("six characters of text that do not give the session away")
