"""
What proxies say about the requests they pass on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

#: Peer of a connection over a UNIX socket.
UNIX = "unix"

_NAMED = {
    "loopback": ("127.0.0.0/8", "::1/128"),
    "private": ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"),
}

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_QUOTED = rb'"((?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*)"'
_PAIR = rb"(%b)=(?:(%b)|%b)" % (_TOKEN, _TOKEN, _QUOTED)
_PAIRS = re.compile(_PAIR)
_ELEMENT = re.compile(rb"%b(?:[ \t]*;[ \t]*%b)*" % (_PAIR, _PAIR))

#: One element of ``Forwarded`` has at most this many commas within its quoted strings.
_QUOTED_COMMAS = 3

_NODE = re.compile(rb"(?:([0-9.]+)|\[([0-9A-Fa-f:.]+)\])(?::(?:([0-9]{1,5})|_[0-9A-Za-z._-]+))?")


@dataclass(frozen=True, slots=True)
class Node:
    """
    An address and port.

    :ivar port: 0 when it was not told.
    """

    address: Address
    port: int = 0


@dataclass(frozen=True, slots=True)
class Hop:
    """
    What one proxy says.

    :ivar client: who sent the request to that proxy; ``None`` when it does not say or hides it.
    :ivar scheme: by which the proxy was asked, as received.
    :ivar host: for which it was asked, as received.
    """

    client: Node | None = None
    scheme: bytes | None = None
    host: bytes | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """
    What a request's trusted proxies say together.

    :ivar client: the address nearest to the client that a trusted proxy has seen; ``None`` when none said.
    :ivar proxies: the trusted proxies on the way, nearest last.
    :ivar hop: what the outermost trusted proxy says.
    """

    client: Node | None
    proxies: tuple[str, ...]
    hop: Hop


class Trust:
    """
    The peers that are believed.

    :param names: addresses, networks in CIDR notation, ``loopback``, ``private`` and ``unix``.
    :raises ValueError: for anything else.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.unix = False
        self.networks: list[Network] = []
        for name in names:
            if name == UNIX:
                self.unix = True
            else:
                self.networks += [_network(text) for text in _NAMED.get(name, (name,))]

    def __contains__(self, peer: str) -> bool:
        """
        Whether a peer is believed.

        :param peer: its address as text, or :data:`UNIX`.
        """
        if peer == UNIX:
            return self.unix
        try:
            address = plain(ip_address(peer))
        except ValueError:
            return False
        return any(address in network for network in self.networks)


def _network(text: str) -> Network:
    try:
        return ip_network(text)
    except ValueError as error:
        expected = "an address, a network, 'loopback', 'private' or 'unix'"
        raise ValueError(f"trusted has {text!r}: {error}; expected {expected}") from None


def plain(address: Address) -> Address:
    """An IPv4 address that is written as an IPv6 one becomes itself; a zone is dropped."""
    if isinstance(address, IPv4Address):
        return address
    return address.ipv4_mapped or IPv6Address(address.packed)


def parse_node(value: bytes) -> Node | None:
    """
    Read a node of RFC 7239, 6; ``None`` for ``unknown``, an obfuscated one and anything malformed.
    """
    found = _NODE.fullmatch(value)
    if found is None or int(found[3] or 0) > 65535:
        return None
    try:
        address = IPv4Address(found[1].decode()) if found[1] else IPv6Address(found[2].decode())
    except ValueError:
        return None
    return Node(plain(address), int(found[3] or 0))


def parse_for(value: bytes) -> Node | None:
    """Read a member of ``X-Forwarded-For``: a node, or an IPv6 address without brackets."""
    return parse_node(b"[" + value + b"]" if value.count(b":") > 1 and not value.startswith(b"[") else value)


def forwarded_hops(lines: Sequence[bytes]) -> Iterator[Hop]:
    """
    The elements of ``Forwarded`` (RFC 7239, 4), the last one first; it ends before a malformed one.

    Reading from the end keeps what a client wrote from swallowing what the proxies behind it appended.

    :param lines: of the field.
    """
    members = b",".join(lines).split(b",")
    while members:
        for count in range(1, min(len(members), _QUOTED_COMMAS + 1) + 1):
            text = b",".join(members[-count:]).strip(b" \t")
            if not text or _ELEMENT.fullmatch(text):
                break
        else:
            return
        del members[-count:]
        if text:
            pairs = [(name.lower(), token or _unquote(quoted)) for name, token, quoted in _PAIRS.findall(text)]
            said = dict(pairs)
            if len(said) < len(pairs):
                return
            yield Hop(parse_node(said.get(b"for", b"")), said.get(b"proto"), said.get(b"host"))


def _unquote(text: bytes) -> bytes:
    return re.sub(rb"\\(.)", rb"\1", text)


def x_forwarded_hops(clients: Sequence[bytes], schemes: Sequence[bytes], hosts: Sequence[bytes]) -> Iterator[Hop]:
    """
    What ``X-Forwarded-For``, ``-Proto`` and ``-Host`` say, the last proxy first.

    A list of schemes or hosts that is shorter than the one of clients ends with its first member.

    :param clients: lines of the first field; as ``schemes`` and ``hosts`` of the others.
    """
    said, by, to = _reversed_members(clients), _reversed_members(schemes), _reversed_members(hosts)
    for index in range(max(len(said), 1 if by or to else 0)):
        yield Hop(
            parse_for(said[index]) if said else None,
            by[min(index, len(by) - 1)] if by else None,
            to[min(index, len(to) - 1)] if to else None,
        )


def _reversed_members(lines: Sequence[bytes]) -> list[bytes]:
    members = [member.strip(b" \t") for member in b",".join(lines).split(b",")]
    return [member for member in reversed(members) if member]


def follow(peer: str, hops: Iterable[Hop], trusts: Callable[[str], bool], most: int = 0) -> Told | None:
    """
    Go from proxy to proxy away from a trusted peer, as far as there is trust.

    :param peer: who is connected, as text.
    :param hops: what the proxies say, the nearest first.
    :param trusts: whether an address is a trusted proxy.
    :param most: proxies that are believed at most; 0 for any number.
    :returns: ``None`` when nothing was said.
    """
    client: Node | None = None
    proxies: list[str] = []
    hop: Hop | None = None
    for hop in hops:
        if hop.client is None:
            break
        proxies.insert(0, str(client.address) if client else peer)
        client = hop.client
        if len(proxies) == most or not trusts(str(client.address)):
            break
    return None if hop is None else Told(client, tuple(proxies), hop)
