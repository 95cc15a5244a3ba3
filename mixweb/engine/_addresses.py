"""
The addresses of ports: what to print, and which port is free.
"""

import errno
import os
import socket
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort

from mixweb.engine._listen import EVERYWHERE, LOOPBACK, Listen


def urls(listen: Listen, port: IListeningPort) -> list[str]:
    """
    The URLs of an open port: the one for this machine first, then those for others.

    A port 0 shows the real port. A unix socket is shown as ``unix:PATH``, what has no address as its description.
    """
    address: Any = port.getHost()
    if isinstance(address, UNIXAddress):
        name = os.fsdecode(address.name or b"")
        return ["unix:" + name.replace("\0", "@")]
    if not isinstance(address, IPv4Address | IPv6Address):
        return [listen.description]
    hosts = [address.host]
    if address.host in ("0.0.0.0", "::"):  # noqa: S104 - it is compared, not bound
        hosts = [LOOPBACK, *_own_addresses(address.host)]
    return [_url(listen.scheme, host, address.port) for host in hosts]


def free_port(first: int = 8080, interface: str = LOOPBACK, tries: int = 100) -> int:
    """
    The first port from ``first`` on that nobody listens on.

    :raises CannotListenError: none of ``tries`` ports is free.
    """
    why = OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
    for port in range(first, min(first + tries, 65536)):
        try:
            _probe(port, interface)
        except OSError as error:
            why = error
        else:
            return port
    raise CannotListenError(interface, first, why)


def _url(scheme: str, host: str, port: int) -> str:
    host = f"[{host}]" if ":" in host else host
    standard = {"http": 80, "https": 443}[scheme] == port
    return f"{scheme}://{host}/" if standard else f"{scheme}://{host}:{port}/"


def _own_addresses(wildcard: str) -> list[str]:
    """The addresses of this machine that others reach it by; nothing is sent to find out."""
    found = []
    probes = [(socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")]
    for family, target in probes if wildcard == "::" else probes[:1]:
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((target, 9))
                found.append(probe.getsockname()[0])
        except OSError:
            continue
    return found


def _probe(port: int, interface: str) -> None:
    family = socket.AF_INET6 if ":" in interface else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("" if interface == EVERYWHERE else interface, port))
