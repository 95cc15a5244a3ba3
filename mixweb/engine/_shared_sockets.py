"""
Listening sockets that one process opens and its workers accept from.
"""

import os
import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from typing import Any

from twisted.internet import tcp
from twisted.internet.abstract import isIPv6Address
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.protocols.haproxy import proxyEndpoint
from zope.interface import implementer

from mixweb.engine._closing import let_in
from mixweb.engine.listeners import (
    EVERYWHERE,
    NO_IPV6,
    Listen,
    Listeners,
    Opened,
    listen,
    prepare,
    transport_for,
)
from mixweb.engine.tls import CertificateService, Source
from mixweb.engine.transports import Port, UNIXServer


def refusal(listen: Listen) -> str | None:
    """Why workers cannot accept from there, if they cannot."""
    if listen.kind == "endpoint" and not listen.endpoint.startswith("systemd:"):
        kind = listen.endpoint.partition(":")[0]
        return f"cannot listen on {listen.description!r} with workers: they share no {kind}: endpoint; use tcp: or tls:"
    if listen.kind == "tcp" and not hasattr(socket, "SO_REUSEPORT"):
        return f"cannot listen on {listen.description!r} with workers: this system has no SO_REUSEPORT"
    return None


def packed(listen: Listen) -> dict[str, Any]:
    """A place to listen as plain values."""
    return asdict(listen)


def unpacked(values: dict[str, Any]) -> Listen:
    """The place that ``packed`` made them of."""
    tls = values["tls"]
    return Listen(**{**values, "tls": tls and Source(**tls)})


# In the process that opens them


class Held:
    """
    The sockets of one place to listen. This process does not accept from them.

    :param sockets: one for each worker, or one for all.
    :param port: the port of Twisted's that the socket belongs to, if there is one.
    """

    def __init__(self, sockets: Sequence[socket.socket], port: Any = None) -> None:
        self._sockets = sockets
        self._port = port

    def descriptor(self, number: int) -> int:
        """The descriptor for a worker, counted from 0."""
        return self._sockets[number % len(self._sockets)].fileno()

    def getHost(self) -> Any:
        """The address, as a port of Twisted's tells it."""
        if self._port is not None:
            return self._port.getHost()
        name = self._sockets[0].getsockname()
        return IPv4Address("TCP", *name) if len(name) == 2 else IPv6Address("TCP", *name)

    def stopListening(self) -> "Deferred[object]":
        """Close them; what the workers have of them stays open."""
        if self._port is not None:
            return maybeDeferred(self._port.stopListening)
        for one in self._sockets:
            one.close()
        return succeed(None)


class _Nobody(Factory):
    noisy = False


class HeldListeners(Listeners):
    """
    The sockets that workers accept from: of TCP one for each, which the kernel spreads connections over.

    :param count: how many workers there are.
    """

    def __init__(self, reactor: Any, certificates: CertificateService, count: int) -> None:
        super().__init__(reactor, _Nobody(), certificates)
        self._count = count

    async def _keep_or_open(self, wanted: Listen, old: Opened | None, changes: list[Callable[[], None]]) -> Opened:
        if old is not None:
            return Opened(wanted, old.port)
        if wanted.kind == "tcp":
            return Opened(wanted, Held(_open(wanted, self._count)))
        port: Any = await listen(replace(wanted, tls=None, proxied=False), self._factory, self._reactor)
        port.stopReading()
        return Opened(wanted, Held([port.socket], port))


def _open(listen: Listen, count: int) -> list[socket.socket]:
    if listen.interface != EVERYWHERE:
        return _bind(listen, listen.interface, count)
    try:
        return _bind(listen, "::", count)
    except CannotListenError as error:
        if getattr(error.socketError, "errno", None) not in NO_IPV6:
            raise
        return _bind(listen, "", count)


def _bind(listen: Listen, interface: str, count: int) -> list[socket.socket]:
    family = socket.AF_INET6 if isIPv6Address(interface) else socket.AF_INET
    opened: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(interface or "0.0.0.0", listen.port, family, socket.SOCK_STREAM)  # noqa: S104
        address: Any = found[0][4]
        if listen.port:
            # Another server's socket that may be shared, too, keeps this one from being bound.
            _bound(family, address, shared=False).close()
        for _ in range(count):
            opened.append(_bound(family, address, shared=True))
            address = opened[0].getsockname()
        for one in opened:
            one.listen(listen.backlog)
    except (OSError, UnicodeError) as error:
        for one in opened:
            one.close()
        raise CannotListenError(interface, listen.port, error) from error
    return opened


def _bound(family: int, address: Any, shared: bool) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind(address)
    except BaseException:
        made.close()
        raise
    return made


# In a worker


class AdoptedPort(Port):
    """A port on a listening socket that another process has opened."""

    def __init__(self, opened: socket.socket, factory: IProtocolFactory, reactor: Any) -> None:
        super().__init__(0, factory, interface="::" if opened.family == socket.AF_INET6 else "", reactor=reactor)
        self._preexistingSocket = opened


class AdoptedUNIXPort(AdoptedPort):
    """The same on a unix socket, whose name in the file system belongs to the process that has opened it."""

    transport: Any = UNIXServer

    def getHost(self) -> UNIXAddress:
        return UNIXAddress(self.socket.getsockname())

    def startListening(self) -> None:
        tcp._reservedFD.reserve()
        self.factory.doStart()  # type: ignore[union-attr]
        assert self._preexistingSocket is not None
        self.socket, self._preexistingSocket = self._preexistingSocket, None
        self.fileno = self.socket.fileno  # type: ignore[method-assign]
        self._shouldShutdown = False
        self.connected = True
        self.startReading()

    def _buildAddr(self, address: Any) -> Any:
        return UNIXAddress(address or None)

    def _logConnectionLostMsg(self) -> None:
        """The process that has opened it logs this."""


def adopt(listen: Listen, descriptor: int, factory: IProtocolFactory, reactor: Any, transport: Any) -> AdoptedPort:
    """
    Accept connections from a socket that another process has opened.

    :param descriptor: of the socket; it belongs to the port from then on.
    :param transport: see ``transport_for``.
    """
    opened = socket.socket(fileno=descriptor)
    opened.setblocking(False)
    let_in(opened)
    kind = AdoptedUNIXPort if opened.family == socket.AF_UNIX else AdoptedPort
    port = kind(opened, factory, reactor)
    if listen.kind != "tcp":
        # All workers accept from this one: each that wakes takes one connection, so that the others get theirs.
        port.BATCH = 1
        port.last = listen.kind == "unix"
    port.startListening()
    if kind is AdoptedPort:
        prepare(port, transport)
    return port


@implementer(IStreamServerEndpoint)
class _Adopting:
    def __init__(self, adopt: Callable[[IProtocolFactory], AdoptedPort]) -> None:
        self._adopt = adopt

    def listen(self, protocolFactory: IProtocolFactory) -> "Deferred[IListeningPort]":
        return maybeDeferred(self._adopt, protocolFactory)


class AdoptedListeners(Listeners):
    """The open ports of a worker, on sockets that it is given."""

    def __init__(self, reactor: Any, factory: IProtocolFactory, certificates: CertificateService) -> None:
        super().__init__(reactor, factory, certificates)
        self._given: dict[Listen, int] = {}

    def give(self, listens: Iterable[Listen], descriptors: Iterable[int]) -> None:
        """Have the next ``listen_on`` use these. Those that are not needed are closed."""
        self._close_given()
        self._given = dict(zip(listens, descriptors, strict=True))

    def _close_given(self) -> None:
        while self._given:
            os.close(self._given.popitem()[1])

    def leave(self) -> None:
        """Leave what waits when the ports are closed to the process that comes next."""
        for opened in self.opened:
            opened.port.last = False

    async def listen_on(self, listens: Iterable[Listen]) -> None:
        try:
            await super().listen_on(listens)
        finally:
            self._close_given()

    async def _keep_or_open(self, wanted: Listen, old: Opened | None, changes: list[Callable[[], None]]) -> Opened:
        if old is not None:
            return await super()._keep_or_open(wanted, old, changes)
        transport = transport_for(wanted, self._certificates, self._handshake_timeout)
        descriptor = self._given.pop(wanted)
        endpoint: Any = _Adopting(lambda factory: adopt(wanted, descriptor, factory, self._reactor, transport))
        return Opened(wanted, await (proxyEndpoint(endpoint) if wanted.proxied else endpoint).listen(self._factory))
