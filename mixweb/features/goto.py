"""
Redirects to the address behind its path.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from twisted.web.error import UnsupportedMethod
from twisted.web.resource import Resource

from mixweb.engine.authority import parse_authority
from mixweb.engine.errors import HTTPError
from mixweb.engine.request import Request
from mixweb.feature import Context, Mount, MountSettings, option
from mixweb.kit.compat import HELP, Compat, check_compat, check_method
from mixweb.paths import RawPrefixes, canonical

METHODS = [b"DELETE", b"GET", b"PATCH", b"POST", b"PUT"]

CODES = (301, 302, 303, 307, 308)

#: An address that names its host.
_ABSOLUTE = re.compile(rb"(?i:https?:)?//[^/]")
_ABSOLUTE_LOWER = re.compile(rb"(?:https?:)?//[^/]")

#: What would end a header line, also where it is still percent-encoded.
_ENDS_LINE = re.compile(rb"[\r\n\0]|%0[ad0]", re.IGNORECASE)

_URL = re.compile(rb"((?i:https?:)?)//([^/?#]+)([^?#]*)")
_OWN_QUERY = re.compile(rb"\?[^/#]*")

#: RFC 7239, 4
_PARAMETER = re.compile(rb"[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)=(\"(?:[^\"\\]|\\.)*\"|[^\";, \t]*)[ \t]*(;|,|\Z)")

Header = Callable[[bytes], bytes]


@dataclass(frozen=True)
class Goto(MountSettings):
    """Redirect to any address: an open redirect, for those who need one."""

    at: str = option("/goto", help="Path it is mounted at.", metavar="PATH", kw_only=True)
    code: int = option(307, help="Status code: 301, 302, 303, 307 or 308.", metavar="CODE")
    compat: Compat = option("", help=HELP, metavar="NAME")

    def __post_init__(self) -> None:
        if self.code not in CODES:
            raise ValueError(f"code must be 301, 302, 303, 307 or 308, not {self.code}")
        check_compat(self.compat)


class Base(NamedTuple):
    """
    What a relative address is relative to.

    :ivar origin: ``https://host``, or ``//host``.
    :ivar path: its path, or nothing.
    """

    origin: bytes
    path: bytes = b""


def address_of(raw: bytes) -> bytes:
    """
    The address in what follows the mount's path, as it was sent. What is between a ``?`` right behind the mount's path
    and the next ``/`` is not part of it, nor is a fragment.

    :param raw: with the query, undecoded.
    """
    address = raw.partition(b"/")[2] if raw.startswith(b"?") else raw
    return address.partition(b"#")[0]


def decoded_address_of(raw: bytes) -> bytes:
    """The same as mixnmatchttp has it: decoded, and the first query is not part of it wherever it is."""
    address = _OWN_QUERY.sub(b"", raw, count=1)
    if raw.startswith(b"?"):
        address = address.removeprefix(b"/")
    return unquote_to_bytes(address.partition(b"#")[0].replace(b"+", b" "))


def authority(value: bytes) -> bytes | None:
    """A host with or without port as it stands in a URL; ``None`` when it is none, or a hidden one (RFC 7239, 6.3)."""
    try:
        IPv6Address(value.decode("latin-1"))
    except ValueError:
        pass
    else:
        return b"[%b]" % value
    try:
        parse_authority(value)
    except ValueError:
        return None
    return None if value.startswith(b"_") or value.lower() == b"unknown" else value


def scheme(value: bytes) -> bytes:
    """``http:`` or ``https:``; nothing for anything else."""
    lower = value.lower()
    return lower + b":" if lower in (b"http", b"https") else b""


def first_of_list(value: bytes) -> bytes:
    """The first value of a list."""
    return value.partition(b",")[0].strip()


def forwarded(value: bytes) -> dict[bytes, bytes]:
    """The parameters of the first element of ``Forwarded`` (RFC 7239); none when it is malformed."""
    found: dict[bytes, bytes] = {}
    position = 0
    while match := _PARAMETER.match(value, position):
        text = match[2]
        if text.startswith(b'"'):
            text = re.sub(rb"\\(.)", rb"\1", text[1:-1], flags=re.DOTALL)
        found[match[1].lower()] = text
        position = match.end()
        if match[3] != b";":
            return found
    return {}


def base_of(header: Header) -> Base | None:
    """
    What a relative address is relative to: Referer, Origin, X-Forwarded-Host, X-Forwarded-For and Forwarded are asked in
    this order.

    :param header: gives the value of a header; empty when it is missing.
    """
    for name in (b"Referer", b"Origin"):
        url = _URL.match(header(name))
        if url is not None and authority(url[2]):
            return Base(url[1] + b"//" + url[2], url[3])
    for name in (b"X-Forwarded-Host", b"X-Forwarded-For"):
        host = authority(first_of_list(header(name)))
        if host:
            return Base(scheme(first_of_list(header(b"X-Forwarded-Proto"))) + b"//" + host)
    parameters = forwarded(header(b"Forwarded"))
    for name in (b"host", b"for"):
        host = authority(parameters.get(name, b""))
        if host:
            return Base(scheme(parameters.get(b"proto", b"")) + b"//" + host)
    return None


def join(base: Base, address: bytes) -> bytes:
    """The whole address: one that begins with a slash takes the place of the path, another is appended to it."""
    if address.startswith(b"/"):
        return base.origin + address
    return base.origin + base.path.removesuffix(b"/") + b"/" + address


class GotoResource(Resource):
    """Redirects to the address in the rest of the target."""

    isLeaf = True

    def __init__(self, settings: Goto) -> None:
        super().__init__()
        self.code = settings.code
        self.compat = settings.compat
        self.absolute, self.address_of = (
            (_ABSOLUTE_LOWER, decoded_address_of) if settings.compat else (_ABSOLUTE, address_of)
        )

    def render(self, request: Request) -> bytes:
        check_method(self.compat, request.method)
        if request.method not in METHODS:
            raise UnsupportedMethod(METHODS)
        address = self.address_of(self._rest(request))
        if _ENDS_LINE.search(address):
            raise HTTPError(400, "The address has a line feed, a carriage return or a NUL in it.")
        if not self.absolute.match(address):
            request.setHeader(b"Cache-Control", b"no-store")
            base = base_of(lambda name: b", ".join(request.requestHeaders.getRawHeaders(name, [])))
            if base is None:
                return b""
            address = join(base, address)
        request.setResponseCode(self.code)
        request.setHeader(b"Location", address)
        return b""

    def _rest(self, request: Request) -> bytes:
        """What follows the resource's path, undecoded, wherever it stands in a tree."""
        found = request.canonical_path
        if found.raw is None:
            found = canonical(request.target, RawPrefixes([request.prepath]))
        return found.raw or b""


def build(settings: Goto, context: Context) -> GotoResource:
    context.warn(f"goto: {settings.at} redirects to any address, also for strangers (an open redirect)")
    return GotoResource(settings)


FEATURE = Mount("goto", Goto, build, raw=True)
