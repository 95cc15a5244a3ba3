"""
Who is asked: the value of ``Host`` and ``:authority``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address

_AUTHORITY = re.compile(
    rb"(?:(?P<name>(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+)|\[(?P<ip6>[0-9A-Fa-f:.]+)\])(?::(?P<port>[0-9]{0,5}))?\Z"
)


@dataclass(frozen=True, slots=True)
class Authority:
    """
    A host and port.

    :ivar host: lower case, without port, brackets and final dot; an IPv6 address in its canonical form.
    :ivar port: the port that was named, or ``None``.
    """

    host: bytes
    port: int | None = None


@lru_cache(maxsize=1024)
def parse_authority(value: bytes) -> Authority:
    """
    Read ``uri-host [":" port]`` (RFC 9110, 7.2; RFC 3986, 3.2).

    :raises ValueError: when it is malformed.
    """
    found = _AUTHORITY.match(value) if len(value) < 512 else None
    if found is None:
        raise ValueError("malformed host")
    port = int(found["port"]) if found["port"] else None
    if port is not None and port > 65535:
        raise ValueError("malformed port")
    if found["ip6"] is None:
        return Authority(found["name"].lower().removesuffix(b"."), port)
    return Authority(IPv6Address(found["ip6"].decode("ascii")).compressed.encode("ascii"), port)
