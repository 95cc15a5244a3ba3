"""
The TLS transport.
"""

import socket
import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from twisted.internet import main
from twisted.internet.interfaces import IHandshakeListener, ISSLTransport
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from mixweb.engine._transport import CONNECTION_DONE, QuickServer

PLAIN_HTTP = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 41\r\nConnection: close\r\n\r\n"
    b"This port speaks HTTPS: use an https URL\n"
)


@contextmanager
def unprintable_names() -> Iterator[None]:
    """
    Keep CPython from printing a traceback for a server name that is not ASCII.

    The client gets its alert all the same.
    """
    print_it = sys.unraisablehook

    def hook(event: Any) -> None:
        if not isinstance(event.exc_value, UnicodeDecodeError):
            print_it(event)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = print_it


@dataclass(frozen=True)
class TLSFacts:
    """What was agreed on in a handshake: ``TLSv1.3``, OpenSSL's name of the cipher, the server name asked for, ALPN."""

    version: str
    cipher: str
    sni: str | None
    alpn: str | None


@implementer(ISSLTransport)
class TLSServer(QuickServer):
    """
    A TLS connection on the standard library's ``ssl``, without memory buffers in between.

    The protocol is connected before the handshake; what it writes waits for the end of it. ``negotiatedProtocol`` is
    the ALPN protocol as bytes, None without one.

    :param context: made by ``server_context``, as ``CertificateStore.context`` is; the socket is wrapped with it.
    :param handshake_timeout: seconds after which a client that has not finished the handshake is dropped.
    """

    READ_SIZE = 64 * 1024
    """More than one TLS record (16 KiB), so that nothing decrypted is ever left behind where no poll sees it."""

    log = Logger()

    negotiatedProtocol: bytes | None = None
    socket: Any
    reactor: Any

    busy: object = "handshake"
    _deaf = False

    def __init__(
        self,
        sock: socket.socket,
        protocol: Any,
        client: tuple[Any, ...],
        server: Any,
        number: int,
        reactor: Any,
        *,
        context: ssl.SSLContext,
        handshake_timeout: float = 10.0,
    ) -> None:
        super().__init__(sock, protocol, client, server, number, reactor)
        self._context = context
        self._too_late = reactor.callLater(handshake_timeout, self._handshake_too_late, handshake_timeout)

    def getPeerCertificate(self) -> x509.Certificate | None:
        """The certificate of the client, None when it sent none (it is not asked for one by default)."""
        der = None if self.busy else self.socket.getpeercert(binary_form=True)
        return x509.load_der_x509_certificate(der) if der else None

    def facts(self) -> TLSFacts | None:
        """What was agreed on, for logs and inspectors; None before the end of the handshake and after the close."""
        cipher = None if self.busy or not self.connected else self.socket.cipher()
        if cipher is None:
            return None
        alpn = self.negotiatedProtocol.decode("ascii") if self.negotiatedProtocol else None
        return TLSFacts(cipher[1], cipher[0], getattr(self.socket, "sni", None), alpn)

    def doRead(self) -> Any:
        if self.busy:
            why = self._shake_hands()
            if why is not None or self.busy or self.disconnecting or not self.connected:
                return why
        try:
            data = self.socket.read(self.READ_SIZE)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None
        except ssl.SSLZeroReturnError:
            data = b""
        except (OSError, ValueError):
            return self._discard() if self._deaf else main.CONNECTION_LOST
        if not data:
            return self._discard() if self._deaf else main.CONNECTION_DONE
        return self._received(data)

    def doWrite(self) -> Any:
        return self._shake_hands() if self.busy else super().doWrite()

    def _shake_hands(self) -> Any:
        try:
            if not isinstance(self.socket, ssl.SSLSocket):
                self._wrap()
            with unprintable_names():
                self.socket.do_handshake()
        except ssl.SSLWantReadError:
            self.stopWriting()
            return None
        except ssl.SSLWantWriteError:
            self.startWriting()
            return None
        except (OSError, ValueError) as error:
            return self._handshake_failed(error)
        self._handshake_done()
        return None

    def _wrap(self) -> None:
        # It raises when the client has gone: after a failing wrap_socket the reactor could not be told any more.
        self.socket.getpeername()
        self.stopReading()
        self.stopWriting()
        self.socket = self._context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.fileno = self.socket.fileno
        self.startReading()

    def _handshake_done(self) -> None:
        self.busy = None
        self._too_late.cancel()
        alpn = self.socket.selected_alpn_protocol()
        self.negotiatedProtocol = alpn.encode("ascii") if alpn else None
        if self.disconnecting:
            self.stopReading()
        if self._tempDataLen or self.disconnecting or self._writeDisconnecting:
            self.startWriting()
        else:
            self.stopWriting()
        if IHandshakeListener.providedBy(self.protocol):
            self.protocol.handshakeCompleted()

    def _handshake_failed(self, error: OSError | ValueError) -> Any:
        reason = getattr(error, "reason", None) or str(error)
        self.log.debug("TLS handshake with {peer} failed: {reason}", peer=self.client[0], reason=reason)
        if reason == "HTTP_REQUEST":
            self._answer_plain_http()
        return main.CONNECTION_LOST

    def _answer_plain_http(self) -> None:
        try:
            # Left unread, the request would make the kernel reset the connection and the answer be lost.
            socket.socket.recv(self.socket, self.READ_SIZE)
            socket.socket.send(self.socket, PLAIN_HTTP)
        except OSError:
            self.log.debug("{peer} has gone before it was told to use https", peer=self.client[0])

    def _handshake_too_late(self, timeout: float) -> None:
        text = "TLS handshake with {peer} was not finished in {timeout} s"
        self.log.debug(text, peer=self.client[0], timeout=timeout)
        self.abortConnection()

    def loseConnection(self) -> None:
        """Close the connection when all that was written has been sent; at once in a handshake nobody waits for."""
        if not self.busy:
            super().loseConnection()
        elif self.connected and not self.disconnecting:
            self.disconnecting = 1
            if not self._tempDataLen:
                self.stopReading()
                self.reactor.callLater(0, self.connectionLost, CONNECTION_DONE)

    def _send_now(self, pieces: list[bytes]) -> int:
        data: bytes | memoryview = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        # OpenSSL refuses a shorter buffer when it is called again: this limit must be that of writeSomeData.
        if len(data) > self.SEND_LIMIT:
            data = memoryview(data)[: self.SEND_LIMIT]
        try:
            sent: int = self.socket.write(data)
        except (OSError, ValueError):
            return 0
        return sent

    def writeSomeData(self, data: Any) -> Any:
        if not len(data):
            return 0
        try:
            return self.socket.write(memoryview(data)[: self.SEND_LIMIT])
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
            return 0
        except (OSError, ValueError):
            return main.CONNECTION_LOST

    def _postLoseConnection(self) -> Any:
        if self._notify_close():
            return main.CONNECTION_DONE
        self.startWriting()
        return None

    def _closeWriteConnection(self) -> None:
        if self._notify_close():
            super()._closeWriteConnection()
        else:
            self.startWriting()

    def _notify_close(self) -> bool:
        """Whether the client has been told that nothing more comes (or cannot be told); False to try again."""
        try:
            self.socket.unwrap()
        except ssl.SSLWantWriteError:
            return False
        except ssl.SSLWantReadError:
            return True
        except (OSError, ValueError):
            pass
        self._deaf = True
        return True

    def _discard(self) -> Any:
        """Read past the end of the TLS layer: what a client still uploads when it has been told to stop."""
        try:
            data = socket.socket.recv(self.socket, self.READ_SIZE)
        except BlockingIOError:
            return None
        except OSError:
            return main.CONNECTION_LOST
        return None if data else main.CONNECTION_DONE

    def connectionLost(self, reason: Failure) -> None:
        if self._too_late.active():
            self._too_late.cancel()
        super().connectionLost(reason)
