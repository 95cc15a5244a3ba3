"""
From descriptions to open ports: how mixweb listens.

A port that is ours, or that an endpoint opened for us without putting a layer of its own in between, gets our transports.
"""

import errno
import os
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from stat import S_ISSOCK
from typing import Any

from twisted.internet import tcp, unix
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.protocols.haproxy import proxyEndpoint
from zope.interface import implementer

from mixweb.engine._addresses import free_port, urls
from mixweb.engine._listen import BACKLOG, EVERYWHERE, LOOPBACK, Listen, https, parse, parse_all
from mixweb.engine.tls import CertificateService
from mixweb.engine.transports import Port, Server, TLSServer, UNIXPort, UNIXServer

__all__ = [
    "BACKLOG",
    "EVERYWHERE",
    "LOOPBACK",
    "Listen",
    "Listeners",
    "Opened",
    "free_port",
    "https",
    "listen",
    "parse",
    "parse_all",
    "prepare",
    "urls",
]

HANDSHAKE_TIMEOUT = 10.0

NO_IPV6 = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT}


def listen(
    listen: Listen,
    factory: IProtocolFactory,
    reactor: Any,
    certificates: CertificateService | None = None,
    handshake_timeout: float = HANDSHAKE_TIMEOUT,
) -> Deferred[IListeningPort]:
    """
    Open a port.

    :param certificates: where a ``listen`` with TLS gets its store from; needed for nothing else.
    :param handshake_timeout: seconds for a TLS handshake.
    :returns: fires with the port; fails with ``CannotListenError`` (``interface``, ``port`` and ``socketError`` tell), or
        with ``ValueError`` and a sentence when a file is missing or nothing was passed by systemd.
    """
    endpoint: Any = Endpoint(listen, reactor, certificates, handshake_timeout)
    opened: Deferred[IListeningPort] = (proxyEndpoint(endpoint) if listen.proxied else endpoint).listen(factory)
    return opened


@implementer(IStreamServerEndpoint)
class Endpoint:
    """A ``Listen`` as a Twisted endpoint; see ``listen`` for the parameters."""

    def __init__(
        self, listen: Listen, reactor: Any, certificates: CertificateService | None, handshake_timeout: float
    ) -> None:
        self._listen = listen
        self._reactor = reactor
        self._certificates = certificates
        self._handshake_timeout = handshake_timeout

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Open the port, for connections that the factory makes protocols for."""
        return Deferred.fromCoroutine(self._open(protocolFactory))

    async def _open(self, factory: IProtocolFactory) -> IListeningPort:
        transport = transport_for(self._listen, self._certificates, self._handshake_timeout)
        port: Any
        if self._listen.kind == "tcp":
            port = _open_tcp(self._listen, factory, self._reactor)
        elif self._listen.kind == "unix":
            port = _open_unix(self._listen, factory, self._reactor)
        else:
            port = await _from_string(self._listen, self._reactor).listen(factory)
        if getattr(port, "factory", None) is factory:
            prepare(port, transport)
        opened: IListeningPort = port
        return opened


def transport_for(
    listen: Listen, certificates: CertificateService | None, handshake_timeout: float = HANDSHAKE_TIMEOUT
) -> Any:
    """
    What builds the transports of a TCP port: our plain one, or TLS with the right certificates.

    :raises ValueError: the certificates cannot be read.
    """
    if listen.tls is None:
        return Server
    if certificates is None:
        raise ValueError(f"{listen.description!r} speaks TLS: certificates are needed")
    context = certificates.store(listen.tls).context
    return partial(TLSServer, context=context, handshake_timeout=handshake_timeout)


def prepare(port: Any, transport: Any = Server) -> None:
    """
    Have a listening port of Twisted's build our transports; a port of another kind is left alone.

    :param transport: of a TCP port, as ``transport_for`` returns it.
    """
    if isinstance(port, unix.Port):
        port.transport = UNIXServer  # type: ignore[assignment]
    elif isinstance(port, tcp.Port):
        port.transport = transport
        # The sockets that are accepted inherit it.
        port.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        port.no_delay = True  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Opened:
    """A port that is open, and where."""

    listen: Listen
    port: Any

    @property
    def urls(self) -> list[str]:
        """See ``urls``."""
        return urls(self.listen, self.port)


class Listeners:
    """
    The open ports of a server.

    :param factory: makes the protocols of all of them.
    :param certificates: for TLS.
    :ivar opened: what is open now, in the order asked for.
    """

    def __init__(
        self,
        reactor: Any,
        factory: IProtocolFactory,
        certificates: CertificateService,
        handshake_timeout: float = HANDSHAKE_TIMEOUT,
    ) -> None:
        self.opened: list[Opened] = []
        self._reactor = reactor
        self._factory = factory
        self._certificates = certificates
        self._handshake_timeout = handshake_timeout

    async def listen_on(self, listens: Iterable[Listen]) -> None:
        """
        Listen there and nowhere else. What is open stays open, with other certificates if they are to be others.

        :raises CannotListenError: one of them is taken; everything is as it was before.
        :raises ValueError: one of them needs a file that is missing; everything is as it was before.
        """
        before = {_address(opened.listen): opened for opened in self.opened}
        after: list[Opened] = []
        changes: list[Callable[[], None]] = []
        try:
            for wanted in listens:
                after.append(await self._keep_or_open(wanted, before.get(_address(wanted)), changes))
        except BaseException:
            # Not waited for: who asked learns at once why it cannot be had.
            Deferred.fromCoroutine(_close([opened for opened in after if _address(opened.listen) not in before]))
            raise
        self.opened = after
        for change in changes:
            change()
        kept = {_address(opened.listen) for opened in after}
        await _close(opened for address, opened in before.items() if address not in kept)
        self._certificates.keep(opened.listen.tls for opened in after if opened.listen.tls)

    async def stop(self) -> None:
        """Close all ports. Connections stay."""
        await self.listen_on([])

    async def _keep_or_open(self, wanted: Listen, old: Opened | None, changes: list[Callable[[], None]]) -> Opened:
        if old is None:
            opened = listen(wanted, self._factory, self._reactor, self._certificates, self._handshake_timeout)
            return Opened(wanted, await opened)
        if old.listen.tls != wanted.tls:
            transport = transport_for(wanted, self._certificates, self._handshake_timeout)
            changes.append(partial(prepare, old.port, transport))
        return Opened(wanted, old.port)


def _address(listen: Listen) -> Listen:
    """What makes two ports the same one."""
    return replace(listen, description="", tls=None)


async def _close(closing: Iterable[Opened]) -> None:
    for opened in closing:
        await _stopped(opened.port)


async def _stopped(port: Any) -> None:
    stopping = port.stopListening()
    if stopping is not None:
        await stopping


def _open_tcp(listen: Listen, factory: IProtocolFactory, reactor: Any) -> Port:
    if listen.interface != EVERYWHERE:
        return _bind_tcp(listen, listen.interface, factory, reactor)
    try:
        return _bind_tcp(listen, "::", factory, reactor)
    except CannotListenError as error:
        if getattr(error.socketError, "errno", None) not in NO_IPV6:
            raise
        return _bind_tcp(listen, "", factory, reactor)


def _bind_tcp(listen: Listen, interface: str, factory: IProtocolFactory, reactor: Any) -> Port:
    port = Port(listen.port, factory, listen.backlog, interface, reactor)
    port.startListening()
    return port


def _open_unix(listen: Listen, factory: IProtocolFactory, reactor: Any) -> Any:
    _remove_stale(listen.path)
    if os.path.lexists(listen.path):
        # Found out by bind, it would leave a socket and a started factory behind.
        raise CannotListenError(None, listen.path, OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE)))
    port = UNIXPort(os.fsencode(listen.path), factory, listen.backlog, listen.mode, reactor, int(listen.lockfile))
    port.startListening()
    return port


def _remove_stale(path: str) -> None:
    """Remove a unix socket that nobody listens on any more."""
    try:
        if not S_ISSOCK(os.stat(path).st_mode):
            return
        with socket.socket(socket.AF_UNIX) as probe:
            probe.setblocking(False)
            probe.connect(path)
    except ConnectionRefusedError:
        with suppress(OSError):
            os.unlink(path)
    except OSError:
        return


def _from_string(listen: Listen, reactor: Any) -> Any:
    try:
        return serverFromString(reactor, listen.endpoint)
    except (LookupError, AttributeError) as error:
        if not listen.endpoint.startswith("systemd:"):
            raise ValueError(f"cannot listen on {listen.description!r}: {error}") from error
        text = f"cannot listen on {listen.description!r}: systemd has not passed this socket to this process"
        raise ValueError(text) from None
    except Exception as error:
        raise ValueError(f"cannot listen on {listen.description!r}: {error}") from error
