"""
What upstream servers are told about on whose behalf they are asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

from mixweb.kit.upstream.fields import NOT_ASKED

#: What says on whose behalf a request is sent: we say it anew.
FORWARDED = frozenset(
    b"forwarded x-forwarded-for x-forwarded-host x-forwarded-port x-forwarded-prefix x-forwarded-proto"
    b" x-forwarded-protocol x-forwarded-scheme x-forwarded-server x-forwarded-ssl x-real-ip x-client-ip"
    b" x-original-host x-url-scheme front-end-https client-ip true-client-ip x-cluster-client-ip".split()
)

#: What is not passed on as it came.
DROPPED = NOT_ASKED | FORWARDED


@dataclass(frozen=True)
class Origin:
    """
    On whose behalf a request is sent.

    :ivar client: the address as text; empty when it has none.
    :ivar proxies: trusted proxies between it and us, nearest last.
    :ivar host: the ``Host`` that was asked for, or empty.
    :ivar prefix: the path that was taken off, quoted; empty for none.
    """

    client: str
    proxies: tuple[str, ...]
    secure: bool
    host: bytes
    prefix: bytes


def _node(address: str) -> str:
    """An address as RFC 7239, 6 has it."""
    try:
        return f'"[{address}]"' if ip_address(address).version == 6 else address
    except ValueError:
        return "unknown"


def _quoted(value: bytes) -> bytes:
    return b'"' + value.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def x_forwarded(origin: Origin) -> list[tuple[bytes, bytes]]:
    """The fields that most software reads."""
    nodes = [node for node in (origin.client, *origin.proxies) if node]
    fields = [(b"X-Forwarded-For", ", ".join(nodes).encode("ascii"))] if nodes else []
    fields.append((b"X-Forwarded-Proto", b"https" if origin.secure else b"http"))
    if origin.host:
        fields.append((b"X-Forwarded-Host", origin.host))
    if origin.prefix:
        fields.append((b"X-Forwarded-Prefix", origin.prefix))
    return fields


def forwarded(origin: Origin) -> list[tuple[bytes, bytes]]:
    """The field of RFC 7239."""
    host = b";host=" + _quoted(origin.host) if origin.host else b""
    first = b"for=%b%b;proto=%b" % (_node(origin.client).encode(), host, b"https" if origin.secure else b"http")
    others = [b"for=" + _node(proxy).encode() for proxy in origin.proxies]
    return [(b"Forwarded", b", ".join([first, *others]))]
