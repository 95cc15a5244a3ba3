"""
Which servers may be reached through this one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import translate
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from mixweb.engine.authority import Authority

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

#: IPv4 addresses inside of IPv6 ones (RFC 6052, 2.1).
_NAT64 = IPv6Network("64:ff9b::/96")

#: What words stand for.
WORDS: dict[str, tuple[Network, ...]] = {
    "loopback": tuple(map(ip_network, ("127.0.0.0/8", "::1/128"))),
    "link-local": tuple(map(ip_network, ("169.254.0.0/16", "fe80::/10"))),
    "private": tuple(map(ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"))),
}


def embedded(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for, whichever way that is written; any other address as it is."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None) or address


def is_public(address: Address) -> bool:
    """Whether an address is one of the open Internet: not of this machine, its networks, or a group."""
    real = embedded(address)
    return real.is_global and not (real.is_multicast or real.is_reserved or real.is_unspecified)


@dataclass(frozen=True)
class Named:
    """
    What a setting names.

    :ivar networks: of addresses.
    :ivar names: matches host names in lower case; ``None`` when there are none.
    """

    networks: Sequence[Network]
    names: re.Pattern[str] | None

    def has_address(self, address: Address) -> bool:
        """Whether an address is in one of the networks."""
        real = embedded(address)
        return any(real.version == network.version and real in network for network in self.networks)

    def has_name(self, host: str) -> bool:
        """Whether a host has one of the names."""
        return self.names is not None and self.names.match(host) is not None


def named(setting: str, items: Iterable[str]) -> Named:
    """
    What the items of a setting name: addresses, networks, the words of :data:`WORDS`, names and globs of hosts.

    :raises ValueError: when one is nothing of that.
    """
    networks: list[Network] = []
    globs: list[str] = []
    for item in items:
        if item in WORDS:
            networks += WORDS[item]
            continue
        try:
            networks.append(ip_network(item))
        except ValueError as reason:
            if "/" in item or ":" in item or not re.fullmatch(r"[A-Za-z0-9_.*?-]+", item):
                raise ValueError(f"{setting}: {item!r} is no address, network or name of a host ({reason})") from None
            globs.append(item.lower().removesuffix("."))
    return Named(networks, re.compile("|".join(map(translate, globs))) if globs else None)


class Rules:
    """
    Which servers may be reached.

    :param hosts: names, globs, addresses and networks; nothing for all of the Internet.
    :param private: what of it may be reached that is not public.
    :param ports: that may be reached.
    :param connect_ports: that tunnels may lead to.
    """

    def __init__(
        self, hosts: Sequence[str], private: Sequence[str], ports: Sequence[int], connect_ports: Sequence[int]
    ) -> None:
        self.hosts = named("hosts", hosts)
        self.private = named("private", private)
        self.limited = bool(hosts)
        self.ports = frozenset(ports)
        self.connect_ports = frozenset(connect_ports)

    def refusal(self, authority: Authority, port: int, tunnel: bool) -> str:
        """
        Why a server may not be asked for, in a sentence; empty when its addresses decide.

        :param tunnel: whether by CONNECT.
        """
        if port not in (self.connect_ports if tunnel else self.ports):
            return f"Port {port} may not be reached through this server{' by CONNECT' if tunnel else ''}."
        host = authority.host.decode("ascii")
        if not self.limited or self.hosts.has_name(host) or self.private.has_name(host):
            return ""
        try:
            literal = ip_address(host)
        except ValueError:
            # By name only what is named may be reached: what a name leads to is up to its owner.
            return "This host may not be reached through this server."
        return "" if self.hosts.has_address(literal) else "This host may not be reached through this server."

    def may_connect(self, authority: Authority, address: str) -> bool:
        """
        Whether an address may be connected to.

        :param authority: that was asked for.
        :param address: one of its addresses.
        """
        found = ip_address(address.partition("%")[0])
        host = authority.host.decode("ascii")
        return is_public(found) or self.private.has_address(found) or self.private.has_name(host)
