"""
Whom a request is counted for.
"""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address

from mixweb.engine.request import Request
from mixweb.interfaces import IClientAddress

#: Other addresses of one IPv6 network are had for nothing.
_IPV6_PREFIX = 64


def client_address(request: Request) -> str:
    """The address that a request is from, as trusted proxies tell it; ``unix`` for a UNIX socket."""
    known = IClientAddress(request, None)
    return str(known.host if known is not None else getattr(request.getClientAddress(), "host", "unix"))


def network(address: str) -> str:
    """What counts as one address: an IPv4 address, or a network of IPv6."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if not isinstance(found, IPv6Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(IPv6Address(int(found) >> 128 - _IPV6_PREFIX << 128 - _IPV6_PREFIX))
