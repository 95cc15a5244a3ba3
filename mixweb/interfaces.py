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


class ISessionTag(Interface):
    """What marks the log lines of one session."""

    tag = Attribute("six characters of text that do not give the session away")
