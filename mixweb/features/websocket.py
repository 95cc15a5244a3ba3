"""
WebSockets (RFC 6455).
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from binascii import Error
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha1
from typing import Any

from twisted.internet.task import LoopingCall
from twisted.web.resource import IResource
from twisted.web.websocket import WebSocketProtocol, WebSocketServerFactory

from mixweb.engine.authority import parse_authority
from mixweb.engine.errors import HTTPError
from mixweb.engine.fields import TOKEN
from mixweb.engine.request import Request
from mixweb.feature import Context, Mount, MountSettings, option
from mixweb.features._websocket_examples import EXAMPLES
from mixweb.kit.imports import import_name
from mixweb.kit.websocket import Caps, Wire
from mixweb.wrapper import Leaf

_KEY_SUFFIX = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@dataclass(frozen=True)
class WebSocket(MountSettings):
    """Settings of the ``websocket`` feature."""

    factory: str | WebSocketServerFactory[WebSocketProtocol] = option(
        "echo", principal=True, help="Dotted name of a factory, or echo or broadcast.", metavar="NAME"
    )
    at: str = option("/ws", help="Path it is mounted at.", metavar="PATH", kw_only=True)
    origins: Sequence[str] = option(
        (), help="Origins whose pages may connect besides its own; * for all.", metavar="ORIGIN"
    )
    protocols: Sequence[str] = option((), help="Sub-protocols that are spoken, best first.", metavar="NAME")
    max_message_bytes: int = option(1024 * 1024, help="Longest message from a client, in bytes.", metavar="BYTES")
    max_unsent_bytes: int = option(
        4 * 1024 * 1024, help="What may wait for a client that does not read, in bytes.", metavar="BYTES"
    )
    max_connections: int = option(10000, help="How many may be open at once.", metavar="NUMBER")
    ping: float = option(30.0, help="Seconds between pings; a silent client is dropped at the next. 0 for none.")

    def __post_init__(self) -> None:
        for name in self.protocols:
            if not TOKEN.match(name.encode()):
                raise ValueError(f"protocols: {name!r} is not a token")
        for origin in self.origins:
            if origin != "*" and not re.fullmatch(r"https?://[^/\s]+", origin):
                raise ValueError(f"origins: {origin!r} is not an origin like https://a.example")
        for name in ("max_message_bytes", "max_unsent_bytes", "max_connections"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        if self.ping < 0:
            raise ValueError("ping must not be negative")


def is_same_origin(origin: bytes, host: bytes, secure: bool) -> bool:
    """Whether an ``Origin`` is that of a page of the host itself."""
    scheme, _, authority = origin.partition(b"://")
    if scheme.lower() != (b"https" if secure else b"http"):
        return False
    try:
        one, other = parse_authority(authority), parse_authority(host)
    except ValueError:
        return False
    default = 443 if secure else 80
    return (one.host, one.port or default) == (other.host, other.port or default)


def accept_key(key: bytes) -> bytes:
    """
    The answer to a client's ``Sec-WebSocket-Key`` (RFC 6455, 4.2.2).

    :raises ValueError: when it is not 16 bytes in Base64.
    """
    try:
        if len(b64decode(key, validate=True)) != 16:
            raise ValueError("the key has not 16 bytes")
    except Error as reason:
        raise ValueError("the key is not Base64") from reason
    return b64encode(sha1(key + _KEY_SUFFIX).digest())  # noqa: S324 - what the RFC has


def tokens(values: Sequence[bytes] | None) -> list[bytes]:
    """The members of a field that is a list."""
    return [member.strip() for member in b",".join(values or ()).split(b",") if member.strip()]


class WebSocketResource(Leaf):
    """Takes WebSockets, and refuses everything else."""

    def __init__(self, settings: WebSocket, reactor: Any) -> None:
        self.settings = settings
        self.reactor = reactor
        self.factory = find_factory(settings.factory)
        self.origins = frozenset(origin.lower().encode() for origin in settings.origins)
        self.protocols = [name.encode() for name in settings.protocols]
        self.caps = Caps(settings.max_message_bytes, settings.max_unsent_bytes)
        self.open: set[Wire] = set()
        self.pings = LoopingCall(self.check_alive)
        self.pings.clock = reactor

    def handle(self, request: Request) -> None:
        key = self._check(request)
        if len(self.open) >= self.settings.max_connections:
            request.setHeader(b"Retry-After", b"5")
            raise HTTPError(503, "Too many WebSockets are open.")
        offered = tokens(request.requestHeaders.getRawHeaders(b"Sec-WebSocket-Protocol"))
        agreed = next((name for name in self.protocols if name in offered), None)
        fields = [(b"Sec-WebSocket-Accept", key)] if key else []
        if agreed is not None:
            fields.append((b"Sec-WebSocket-Protocol", agreed))
        protocol = self.factory.buildProtocol(request)
        wire = Wire(protocol, self.caps, self.reactor, self._ended, agreed.decode() if agreed else None)
        self.open.add(wire)
        if self.settings.ping and not self.pings.running:
            self.pings.start(self.settings.ping, now=False)
        request.upgrade(wire, b"websocket", fields)
        wire.begin()

    def _check(self, request: Request) -> bytes:
        """
        The value of ``Sec-WebSocket-Accept``; empty where the stream itself is the agreement (RFC 8441).

        :raises HTTPError: when this is no WebSocket, or not one that may be opened.
        """
        self._check_origin(request)
        asked = request.requestHeaders.getRawHeaders
        if request.method == b"CONNECT":
            return b""
        upgrades = [name.lower() for name in tokens(asked(b"Upgrade"))]
        named = [name.lower() for name in tokens(asked(b"Connection"))]
        if request.method != b"GET" or b"websocket" not in upgrades or b"upgrade" not in named:
            request.setHeader(b"Upgrade", b"websocket")
            raise HTTPError(426, "Here are WebSockets only.")
        if tokens(asked(b"Sec-WebSocket-Version")) != [b"13"]:
            request.setHeader(b"Sec-WebSocket-Version", b"13")
            raise HTTPError(426, "Only version 13 of WebSocket is spoken.")
        keys = asked(b"Sec-WebSocket-Key") or []
        try:
            return accept_key(keys[0] if len(keys) == 1 else b"")
        except ValueError as reason:
            raise HTTPError(400, f"Sec-WebSocket-Key: {reason}.") from None

    def _check_origin(self, request: Request) -> None:
        """A page of another site may not speak with the cookies of this one; what is no page names no origin."""
        origins = request.requestHeaders.getRawHeaders(b"Origin")
        if not origins or b"*" in self.origins:
            return
        host = request.getHeader(b"Host") or b""
        if len(origins) > 1 or not (
            origins[0].lower() in self.origins or is_same_origin(origins[0], host, request.isSecure())
        ):
            raise HTTPError(403, "Pages of this origin may not connect.")

    def _ended(self, wire: Wire) -> None:
        self.open.discard(wire)
        if not self.open and self.pings.running:
            self.pings.stop()

    def check_alive(self) -> None:
        """Drop those that are silent."""
        for wire in list(self.open):
            wire.check_alive()


def find_factory(factory: Any) -> WebSocketServerFactory[WebSocketProtocol]:
    """
    A factory, by its name.

    :raises ValueError: when it builds no protocols.
    """
    found = factory
    if isinstance(factory, str):
        found = EXAMPLES.get(factory) or import_name(factory)
    if isinstance(found, type):
        found = found()
    if not hasattr(found, "buildProtocol"):
        raise ValueError(f"factory: '{factory}' has no buildProtocol(request)")
    return found  # type: ignore[no-any-return]


def build(settings: WebSocket, context: Context) -> IResource:
    if "*" in settings.origins:
        context.warn(f"websocket at {settings.at}: pages of every site may connect, with the cookies of this one")
    context.expect_tunnels()
    return WebSocketResource(settings, context.reactor)


FEATURE = Mount("websocket", WebSocket, build)
