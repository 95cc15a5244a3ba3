"""
Connections to other servers, over transports of our own: they send at once when nothing is queued.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from twisted.internet import main
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IHandshakeListener, IProtocol, IResolutionReceiver
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from mixweb.engine._attempts import Attempts, ConnectFailed, Place
from mixweb.engine._tls_transport import TLSServer
from mixweb.engine._transport import QuickServer
from mixweb.engine.transports import Server, UNIXServer

__all__ = ["TLS", "ConnectFailed", "Place", "client_context", "connect", "is_address", "resolve", "unix_place"]


@dataclass(frozen=True)
class TLS:
    """
    How to speak TLS to a server.

    :ivar name: what it is asked for, and what its certificate must be for where the context verifies that.
    """

    context: ssl.SSLContext
    name: str


def is_address(host: str) -> bool:
    """Whether a host is an IP address, without brackets."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


@implementer(IResolutionReceiver)
class _Receiver:
    def __init__(self, host: str, done: Deferred[list[Place]]) -> None:
        self.host = host
        self.done = done
        self.found: list[Place] = []

    def resolutionBegan(self, resolution: object) -> None:
        """Nothing."""

    def addressResolved(self, address: Any) -> None:
        self.found.append(_place(address.host, address.port))

    def resolutionComplete(self) -> None:
        if self.done.called:
            return
        if self.found:
            self.done.callback(self.found)
        else:
            self.done.errback(ConnectFailed("there is no such host"))


def _place(host: str, port: int) -> Place:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return Place(family, (host, port))


def resolve(reactor: Any, host: str, port: int) -> Deferred[list[Place]]:
    """
    The addresses of a host.

    :param host: a name, or an IP address without brackets.
    :returns: fires with at least one; fails with :class:`ConnectFailed`.
    """
    if is_address(host):
        return succeed([_place(host, port)])
    done: Deferred[list[Place]] = Deferred()
    reactor.nameResolver.resolveHostName(_Receiver(host, done), host, port)
    return done


def unix_place(path: str) -> Place:
    """The address of a UNIX socket; ``@`` begins a name that is in no folder."""
    return Place(socket.AF_UNIX, "\0" + path[1:] if path.startswith("@") else path)


class Client(Server):
    """
    The client's side of a TCP connection.

    What is written waits for the end of the reactor's round, where it knows such a thing: requests that leave together
    wake the server less often. When the server takes no more, what it has said is read all the same.
    """

    def write(self, data: bytes) -> None:
        if self._in_read or self.TLS or self._finish is QuickServer.finish_read:
            super().write(data)
        elif data and self.connected and not self._writeDisconnected:
            self._tempDataBuffer.append(data)
            self._tempDataLen += len(data)
            if self._tempDataLen > self.CORK_LIMIT:
                self._flush()
            else:
                self._finish(self)

    def doWrite(self) -> Any:
        return _read_on(self, super().doWrite())


class UNIXClient(UNIXServer):
    """The client's side of a connection over a UNIX socket."""

    def doWrite(self) -> Any:
        return _read_on(self, super().doWrite())


def _read_on(transport: Server, why: Any) -> Any:
    """
    Give up writing, and not reading, when the other side takes no more.

    A server that refuses a body may have answered, and closed the connection with the rest of the body unread.
    """
    if why is not main.CONNECTION_LOST or not transport.connected:
        return why
    transport.stopWriting()
    transport.dataBuffer, transport.offset = b"", 0
    transport._tempDataBuffer, transport._tempDataLen = [], 0
    return None


class TLSClient(TLSServer):
    """
    The client's side of a TLS connection.

    :param tls: what is spoken.
    :ivar why: what went wrong in the handshake, in a few words.
    """

    why = "the TLS handshake was not finished"

    def __init__(
        self, sock: socket.socket, protocol: Any, place: Place, reactor: Any, tls: TLS, timeout: float
    ) -> None:
        super().__init__(
            sock, protocol, place.address, None, 0, reactor, context=tls.context, handshake_timeout=timeout
        )
        self._name = tls.name
        self.startWriting()

    def _wrap(self) -> None:
        self.stopReading()
        self.stopWriting()
        self.socket = self._context.wrap_socket(
            self.socket, do_handshake_on_connect=False, server_hostname=self._name or None
        )
        self.fileno = self.socket.fileno
        self.startReading()
        self.startWriting()

    def _handshake_failed(self, error: OSError | ValueError) -> Any:
        if isinstance(error, ssl.SSLCertVerificationError):
            self.why = f"its certificate is not accepted: {error.verify_message}"
        else:
            self.why = f"the TLS handshake failed: {getattr(error, 'reason', None) or error}"
        return super()._handshake_failed(error)

    def _answer_plain_http(self) -> None:
        """It is not us who answer."""


@implementer(IHandshakeListener)
class _Handshake(Protocol):
    """Waits for the end of a handshake, then gives its place to the real protocol."""

    def __init__(self, protocol: IProtocol, done: Deferred[IProtocol]) -> None:
        self.protocol = protocol
        self.done = done

    def handshakeCompleted(self) -> None:
        transport: Any = self.transport
        transport.protocol = self.protocol
        self.protocol.makeConnection(transport)
        self.done.callback(self.protocol)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        transport: Any = self.transport
        if not self.done.called:
            self.done.errback(ConnectFailed(transport.why))


def connect(
    reactor: Any, places: Sequence[Place], protocol: IProtocol, timeout: float, tls: TLS | None = None
) -> Deferred[IProtocol]:
    """
    Connect a protocol to the first of several addresses that answers.

    :param timeout: seconds for all of them together, and again for the TLS handshake.
    :returns: fires with the protocol, connected, and after the handshake; fails with :class:`ConnectFailed`.
    """
    if not places:
        return fail(ConnectFailed("it has no address"))

    def begin(connected: tuple[socket.socket, Place]) -> IProtocol | Deferred[IProtocol]:
        sock, place = connected
        if tls is not None:
            return _begin_tls(reactor, sock, place, protocol, tls, timeout)
        transport: Any
        if place.family == socket.AF_UNIX:
            transport = UNIXClient(sock, protocol, place.address, None, 0, reactor)
        else:
            transport = Client(sock, protocol, place.address, None, 0, reactor)
            transport.setTcpNoDelay(True)
        protocol.makeConnection(transport)
        return protocol

    return Attempts(reactor, places, timeout).done.addCallback(begin)


def _begin_tls(
    reactor: Any, sock: socket.socket, place: Place, protocol: IProtocol, tls: TLS, timeout: float
) -> Deferred[IProtocol]:
    done: Deferred[IProtocol] = Deferred(lambda _: transport.abortConnection())
    waiting = _Handshake(protocol, done)
    transport = TLSClient(sock, waiting, place, reactor, tls, timeout)
    if place.family != socket.AF_UNIX:
        transport.setTcpNoDelay(True)
    waiting.makeConnection(transport)
    return done


def client_context(cafile: str = "", verify: bool = True) -> ssl.SSLContext:
    """
    How TLS is spoken to servers: certificates are verified against those of the system.

    :param cafile: a PEM file of authorities in the place of the system's.
    :param verify: ``False`` accepts any certificate.
    """
    context = ssl.create_default_context(cafile=cafile or None)
    context.set_alpn_protocols(["http/1.1"])
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
