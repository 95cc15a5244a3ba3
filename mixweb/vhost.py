"""
Virtual hosts: which resource tree answers to which name.
"""

from __future__ import annotations

from typing import Any

import idna
from twisted.web.resource import IResource
from twisted.web.vhost import NameVirtualHost
from zope.interface import implementer

from mixweb.engine.authority import parse_authority
from mixweb.engine.body import IBodyReceiver
from mixweb.engine.request import Request
from mixweb.wrapper import Leaf, pass_to


def host_key(name: str | bytes) -> tuple[bytes, int | None]:
    """
    The host and port that a virtual host's name stands for: lower case, international names encoded, no final dot.

    :raises ValueError: when it is not a name, an address or a wildcard (``*.example.com``), with or without a port.
    """
    text = name.decode() if isinstance(name, bytes) else name
    if text.count(":") > 1 and not text.startswith("["):
        text = f"[{text}]"
    wildcard, host = ("*.", text[2:]) if text.startswith("*.") else ("", text)
    try:
        if not host.isascii():
            host, colon, port = host.partition(":")
            host = idna.encode(host, uts46=True).decode("ascii") + colon + port
        authority = parse_authority(host.encode("ascii"))
    except ValueError:
        raise ValueError(f"{text!r} is not a host name") from None
    if b"*" in authority.host:
        raise ValueError(f"{text!r} is not a host name: a wildcard stands for the first label only (*.example.com)")
    return wildcard.encode() + authority.host, authority.port


@implementer(IBodyReceiver)
class VirtualHosts(Leaf, NameVirtualHost):
    """
    Chooses a resource by the host that is asked for: the exact name before the longest wildcard, a name with a port before
    one without, then the default.

    :param default: answers to every other name; 404 when ``None``.
    """

    isLeaf: Any = True  # Twisted declares a number
    default: Any  # an IResource or None; Twisted declares None

    def __init__(self, default: IResource | None = None) -> None:
        NameVirtualHost.__init__(self)
        self.default = default
        self.hosts: dict[tuple[bytes, int | None], IResource] = {}

    def addHost(self, name: str | bytes, resource: IResource) -> None:
        """
        Let a resource answer to a name.

        :param name: text (international names too) or bytes, with a port where only that one is meant.
        :raises ValueError: when it is no host name.
        """
        self.hosts[host_key(name)] = resource

    def removeHost(self, name: str | bytes) -> None:
        """Forget a name."""
        del self.hosts[host_key(name)]

    def choose(self, host: bytes, port: int | None) -> IResource | None:
        """The resource for a host, in lower case and without final dot, and a port."""
        suffix = host
        while True:
            name = host if suffix is host else b"*." + suffix
            found = self.hosts.get((name, port)) or self.hosts.get((name, None))
            if found is not None:
                return found
            _, dot, suffix = suffix.partition(b".")
            if not dot:
                default: IResource | None = self.default
                return default

    def handle(self, request: Request) -> None:
        authority = request.authority if self.hosts else None
        if authority is None:
            found = self.default
        else:
            found = self.choose(authority.host, authority.port or (443 if request.isSecure() else 80))
        if found is None:
            request.error(404, "No site of this name is served here.")
        elif isinstance(found, Leaf) and request.body_complete:
            found.handle(request)
        else:
            pass_to(found)(request)
