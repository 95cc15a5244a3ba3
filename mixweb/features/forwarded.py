"""
Client address, scheme and host as trusted proxies tell them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

from twisted.internet import address
from twisted.internet.interfaces import IAddress
from twisted.logger import Logger
from twisted.web.resource import IResource
from zope.interface import implementer

from mixweb.engine.authority import Authority, parse_authority
from mixweb.engine.request import Request
from mixweb.feature import Context, Stage, Wrap, WrapperSettings, option
from mixweb.features._forwarded import UNIX, Node, Told, Trust, follow, forwarded_hops, x_forwarded_hops
from mixweb.interfaces import IClientAddress
from mixweb.wrapper import Wrapper

T = TypeVar("T")

#: The fields of each kind of header.
FIELDS = {
    "x-forwarded": (b"X-Forwarded-For", b"X-Forwarded-Proto", b"X-Forwarded-Host"),
    "forwarded": (b"Forwarded",),
}

#: Whether a scheme is secure.
SCHEMES = {b"http": False, b"https": True, b"ws": False, b"wss": True}

_VIRTUAL = re.compile(rb"/(https?)/([^/?]+)/?(.*)", re.DOTALL)


@dataclass(frozen=True)
class Forwarded(WrapperSettings):
    """Settings of the ``forwarded`` feature."""

    trusted: Sequence[str] = option(
        ("loopback", "unix"),
        principal=True,
        help="Proxies that are believed: addresses, networks, loopback, private (networks), unix (sockets).",
        metavar="PROXY",
    )
    header: str = option(
        "x-forwarded", help="What they send: x-forwarded (-For, -Proto and -Host) or forwarded (RFC 7239)."
    )
    hops: int = option(0, help="Proxies believed at most; 0 for all that are trusted.", metavar="COUNT")
    vhost_prefix: str = option(
        "",
        help="Path below which they put scheme, host and target, as /vhost.rpy/https/example.com:443/.",
        metavar="PATH",
    )

    def __post_init__(self) -> None:
        Trust(self.trusted)
        if self.header not in FIELDS:
            raise ValueError(f"header is {self.header!r}; expected one of {', '.join(FIELDS)}")
        if self.hops < 0:
            raise ValueError("hops must not be negative")
        if self.vhost_prefix and not re.fullmatch(r"(/[!-.0->@-~]+)+", self.vhost_prefix):
            raise ValueError(f"vhost_prefix is {self.vhost_prefix!r}; expected a path such as '/vhost.rpy'")


@implementer(IClientAddress)
@dataclass(frozen=True)
class ClientAddress:
    """
    Who sent a request that came through proxies.

    :ivar host: the address as text.
    :ivar proxies: addresses of the trusted proxies as text (``unix`` for a UNIX socket), nearest last.
    """

    host: str
    proxies: tuple[str, ...]


class ForwardedWrapper(Wrapper):
    """
    Have trusted proxies say who asks, by which scheme and for which host; what anyone else says is not looked at.
    """

    _log = Logger()

    def __init__(self, settings: Forwarded, inner: IResource) -> None:
        super().__init__(inner)
        self.names = FIELDS[settings.header]
        self.hops = settings.hops
        self.prefix = settings.vhost_prefix.encode("ascii")
        self._trusts = lru_cache(maxsize=1024)(Trust(settings.trusted).__contains__)
        self._noted: set[str] = set()

    def handle(self, request: Request) -> None:
        peer = peer_text(request.getClientAddress())
        if self._trusts(peer):
            self._believe(request, peer)
        self.forward(request)

    def _believe(self, request: Request, peer: str) -> None:
        lines = [request.requestHeaders.getRawHeaders(name, []) for name in self.names]
        if any(lines):
            hops = x_forwarded_hops(*lines) if len(lines) == 3 else forwarded_hops(*lines)
            told = follow(peer, hops, self._trusts, self.hops)
            if lines[0] and (told is None or told.client is None):
                self._note("client", lines[0][-1], peer)
            if told is not None:
                self._apply(request, told, peer)
        if self.prefix and request.target.startswith(self.prefix + b"/"):
            self._leave_prefix(request, peer)

    def _apply(self, request: Request, told: Told, peer: str) -> None:
        if told.client is not None:
            set_client(request, told.client, told.proxies)
        secure = self._read("scheme", told.hop.scheme, parse_scheme, peer)
        authority = self._read("host", told.hop.host, parse_authority, peer)
        set_host(request, secure, authority)

    def _leave_prefix(self, request: Request, peer: str) -> None:
        found = _VIRTUAL.fullmatch(request.target, len(self.prefix))
        if found is None:
            self._note("path", request.target, peer)
            return
        authority = self._read("host", found[2], parse_authority, peer)
        if authority is not None:
            set_host(request, parse_scheme(found[1]), authority)
            request.set_target(b"/" + found[3])
            request.uri, request.raw_path = request.target, request.path

    def _read(self, what: str, value: bytes | None, parse: Callable[[bytes], T], peer: str) -> T | None:
        try:
            return None if value is None else parse(value)
        except ValueError:
            self._note(what, value, peer)
            return None

    def _note(self, what: str, value: bytes | None, peer: str) -> None:
        """Log what cannot be used, once of each kind: it comes with every request."""
        if what not in self._noted:
            self._noted.add(what)
            message = "the trusted proxy {peer} tells a {what} that is ignored: {value!r}"
            self._log.warn(message, peer=peer, what=what, value=(value or b"")[:200])


def parse_scheme(value: bytes) -> bool:
    """
    Whether a scheme is secure.

    :raises ValueError: when it is not one of the web.
    """
    try:
        return SCHEMES[value.lower()]
    except KeyError:
        raise ValueError("unknown scheme") from None


def peer_text(peer: IAddress) -> str:
    """The address of a peer as text; :data:`UNIX` for a UNIX socket, empty for anything else."""
    return UNIX if isinstance(peer, address.UNIXAddress) else str(getattr(peer, "host", ""))


def set_client(request: Request, client: Node, proxies: tuple[str, ...]) -> None:
    """Make a request one of another client."""
    host = str(client.address)
    kind = address.IPv4Address if client.address.version == 4 else address.IPv6Address
    request.client = kind("TCP", host, client.port)
    request.setComponent(IClientAddress, ClientAddress(host, proxies))


def set_host(request: Request, secure: bool | None, authority: Authority | None) -> None:
    """
    Make a request one for another host, by another scheme; ``None`` leaves either.

    The port of the request's URL follows: the one named, else the scheme's own.
    """
    if secure is None and authority is None:
        return
    if secure is not None:
        request._forceSSL = secure
        if request.isSecure() != secure:
            request.isSecure = _insecure  # type: ignore[method-assign]
    default = 443 if request.isSecure() else 80
    if authority is not None:
        request.requestHeaders.setRawHeaders(b"Host", [authority_bytes(authority, default)])
    named = authority or request.authority
    if named is not None:
        request.host = address.IPv4Address("TCP", named.host.decode("ascii"), named.port or default)


def authority_bytes(authority: Authority, default_port: int) -> bytes:
    """The value of ``Host``; the default port is left out."""
    host = b"[%b]" % authority.host if b":" in authority.host else authority.host
    return host if authority.port in (None, default_port) else b"%b:%d" % (host, authority.port)


def _insecure() -> bool:
    return False


def build(settings: Forwarded, inner: IResource, context: Context) -> IResource:
    return ForwardedWrapper(settings, inner)


FEATURE = Wrap("forwarded", Stage.TRUST, Forwarded, build)
