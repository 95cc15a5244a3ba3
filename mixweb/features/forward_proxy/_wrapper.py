"""
What answers requests for other servers.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import Protocol
from twisted.web.http_headers import Headers
from twisted.web.resource import IResource
from zope.interface import Attribute, Interface, implementer

from mixweb.engine.authority import Authority, parse_authority
from mixweb.engine.clients import ConnectFailed
from mixweb.engine.request import Request
from mixweb.engine.responses import ResponseHead
from mixweb.features.forward_proxy._connect import Connector, Pools, Server
from mixweb.features.forward_proxy._rules import Rules
from mixweb.interfaces import IUser
from mixweb.kit.addresses import client_address
from mixweb.kit.upstream.fields import Via, answered, asked, binds, block, goes_further, pairs_of
from mixweb.kit.upstream.pool import NoConnection, Pool
from mixweb.kit.upstream.relay import Answer, Relay
from mixweb.kit.upstream.tunnel import Tunnel, open_tunnel
from mixweb.wrapper import HTTPError, Wrapper

_PORTS = {False: 80, True: 443}

_ALLOWED = b"DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"

#: What an answer of another server has of this one, unless it says so itself.
_KEPT = (b"Connection", b"Date")


class IProxied(Interface):
    """A request for another server."""

    server = Attribute("the Server that it is for")
    authorization = Attribute("what it says to that server of itself: the lines of Authorization, or None")


@implementer(IProxied)
class Proxied:
    """A request for another server."""

    def __init__(self, server: Server, authorization: Sequence[bytes] | None) -> None:
        self.server = server
        self.authorization = authorization


def server_of(request: Request) -> Server | None:
    """The server that a request names in its target; ``None`` for one that is for this server."""
    line = getattr(request.head, "line", None)
    if line is None or line.authority is None:
        return None
    authority = parse_authority(line.authority)
    secure = line.target[:8].lower() == b"https://"
    port = authority.port or _PORTS[secure]
    host = request.getHost()
    if port == getattr(host, "port", None) and is_own(authority, host.host):
        return None
    return Server(secure, authority, port)


def is_own(authority: Authority, host: str) -> bool:
    """Whether a name means the address that the client is connected to."""
    name = authority.host.decode("ascii")
    return name == host or (name == "localhost" and ip_address(host).is_loopback)


class ForwardProxyWrapper(Wrapper):
    """
    Passes requests for other servers on to them.

    :param anyone: whether clients of other machines need not be known.
    :param max_tunnels: that are open at once.
    """

    def __init__(
        self,
        inner: IResource,
        rules: Rules,
        connector: Connector,
        pools: Pools,
        *,
        anyone: bool = False,
        max_tunnels: int = 1000,
    ) -> None:
        super().__init__(inner)
        self.rules = rules
        self.connector = connector
        self.pools = pools
        self.anyone = anyone
        self.max_tunnels = max_tunnels
        self.tunnels: set[Tunnel] = set()
        self.via = Via()

    def watch(self, request: Request) -> None:
        """
        Look at each request before anything else does: what it says to a proxy of itself is what it says to us.
        """
        server = server_of(request)
        if server is None:
            return
        headers = request.requestHeaders
        request.setComponent(IProxied, Proxied(server, headers.getRawHeaders(b"Authorization")))
        headers.removeHeader(b"Authorization")
        own = headers.getRawHeaders(b"Proxy-Authorization")
        if own is not None:
            headers.removeHeader(b"Proxy-Authorization")
            headers.setRawHeaders(b"Authorization", own)
        request.before_headers(ask_for_proxy)

    def handle(self, request: Request) -> None:
        proxied: Any = IProxied(request, None)
        if proxied is None:
            if request.method == b"CONNECT":
                raise HTTPError(405, "No tunnel leads to this server itself.", [(b"Allow", b"GET, HEAD, OPTIONS")])
            self.forward(request)
            return
        self.check(request, proxied.server)
        if request.method == b"CONNECT":
            request.spawn(self.open(request, proxied.server))
        else:
            self.relay(request, proxied)

    def check(self, request: Request, server: Server) -> None:
        """
        Whether a client may ask a server.

        :raises HTTPError: when it may not.
        """
        if not self.anyone and IUser(request, None) is None and not is_local(client_address(request)):
            raise HTTPError(
                407, "Only known users may reach other servers.", [(b"Proxy-Authenticate", b'Basic realm="proxy"')]
            )
        why = self.rules.refusal(server.authority, server.port, request.method == b"CONNECT")
        if why:
            raise HTTPError(403, why)
        if request.method == b"TRACE":
            raise HTTPError(405, "TRACE is not passed on.", [(b"Allow", _ALLOWED)])

    # Requests

    def relay(self, request: Request, proxied: Proxied) -> None:
        """Pass a request on."""
        if goes_further(request):
            ForwardRelay(self, request, proxied).start()
        else:
            request.setResponseCode(204)
            request.complete(b"")

    def lines(self, request: Request, proxied: Proxied) -> bytes:
        """The fields of a request as the other server gets them."""
        pairs = [(name, value) for name, value in asked(pairs_of(request)) if name.lower() != b"authorization"]
        pairs += [(b"Authorization", value) for value in proxied.authorization or ()]
        return block([*pairs, self.via.of(request)])

    # Tunnels

    async def open(self, request: Request, server: Server) -> None:
        """Open a tunnel."""
        if not request.body_complete:
            raise HTTPError(400, "CONNECT has no body.")
        if len(self.tunnels) >= self.max_tunnels:
            raise HTTPError(503, "Too many tunnels are open.", [(b"Retry-After", b"5")])
        far = Protocol()
        await self._connect(server, far)
        if request.is_over:
            far.transport.abortConnection()  # type: ignore[union-attr]
            return
        forget_this_server(request)
        tunnel = open_tunnel(request, far)
        self.tunnels.add(tunnel)
        tunnel.ended = lambda: self.tunnels.discard(tunnel)

    async def _connect(self, server: Server, protocol: IProtocol) -> None:
        try:
            await self.connector.connect(server, protocol)
        except NoConnection as reason:
            raise HTTPError(reason.status, reason.detail) from None
        except ConnectFailed as reason:
            raise HTTPError(504 if reason.timed_out else 502, f"The server cannot be reached: {reason}.") from None

    def look(self) -> None:
        """Close the tunnels through which nothing came since the last look."""
        for tunnel in list(self.tunnels):
            if not tunnel.moved:
                tunnel.close()
            tunnel.moved = False


def is_local(address: str) -> bool:
    """Whether a client is on this machine."""
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return address == "unix"


def ask_for_proxy(request: Request) -> None:
    """An answer of this server that asks who one is asks it for itself as a proxy (RFC 9110, 11.7.1)."""
    headers = request.responseHeaders
    if request.code == 401:
        request.setResponseCode(407)
        challenges = headers.getRawHeaders(b"WWW-Authenticate")
        if challenges:
            headers.removeHeader(b"WWW-Authenticate")
            headers.setRawHeaders(b"Proxy-Authenticate", challenges)


def forget_this_server(request: Request) -> None:
    """Keep what stands in front of this, and is about this server's pages, away from the answer of another one."""
    request.unhook()
    kept = {name: [*values] for name, values in request.responseHeaders.getAllRawHeaders() if name in _KEPT}
    request.responseHeaders._rawHeaders = kept


class ForwardRelay(Relay):
    """One request on its way to the server it names."""

    __slots__ = ("lines", "proxied", "single", "wrapper")

    def __init__(self, wrapper: ForwardProxyWrapper, request: Request, proxied: Proxied) -> None:
        self.wrapper = wrapper
        self.proxied = proxied
        self.lines = wrapper.lines(request, proxied)
        self.single = binds(proxied.authorization)
        super().__init__(request)

    def choose(self, tried: Sequence[Pool]) -> Pool | None:
        pool = self.wrapper.pools.of(self.proxied.server)
        return None if pool in tried else pool

    def head(self) -> bytes:
        line = self.request.head.line
        return b"%b %b HTTP/1.1\r\nHost: %b\r\n%b" % (self.method, line.uri, line.authority, self.lines)

    def fields(self, head: ResponseHead) -> Answer:
        if head.notes is None:
            headers = Headers()
            for name, value in answered(head.fields.pairs):
                headers.addRawHeader(name, value)
            head.notes = [*headers.getAllRawHeaders()]
        fields: Answer = head.notes
        return fields

    def take(self, head: ResponseHead) -> None:
        forget_this_server(self.request)
        super().take(head)
