"""
What stands between a socket and a protocol: TCP, unix sockets and TLS, with fewer system calls than Twisted's own.

They send at once when nothing is queued, hand files to the kernel, and close as ``doRead`` returns. A port builds its
connections from one of them when its ``transport`` attribute is set to it.
"""

import errno
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from stat import S_ISREG
from typing import Any, BinaryIO

from twisted.internet import main, tcp, unix
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger
from twisted.protocols.haproxy._wrapper import HAProxyProtocolWrapper
from twisted.python.failure import Failure

from mixweb.engine._closing import accept_waiting, keep_off
from mixweb.engine._tls_transport import TLSFacts, TLSServer
from mixweb.engine._transport import QuickServer, unmapped

__all__ = ["Port", "QuickServer", "Server", "TLSFacts", "TLSServer", "UNIXPort", "UNIXServer", "file_sender"]

NO_SENDFILE = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}
"""What ``sendfile(2)`` says on a file system that cannot do it."""


@dataclass
class Transfer:
    """
    A part of a file on its way out.

    :ivar head: what goes before it.
    :ivar offset: of the next byte.
    :ivar end: the offset behind the last byte.
    :ivar progress: called with how many bytes the kernel has taken, each time that it takes some.
    """

    head: bytes
    file: BinaryIO
    offset: int
    end: int
    done: "Deferred[None]"
    progress: Callable[[int], object]


class Server(QuickServer):
    """A TCP connection that can also send files by ``sendfile(2)``."""

    FILE_LIMIT = 512 * 1024
    """How many bytes of a file are sent before other connections get their turn."""

    log = Logger()

    busy: Transfer | None = None
    """The file that is being sent, if there is one: what is written meanwhile waits for its end."""

    def sendfile(
        self, file: BinaryIO, offset: int, count: int, progress: Callable[[int], object] = lambda count: None
    ) -> "Deferred[None]":
        """
        Send a part of a file after all that was written so far. The file is closed, whatever happens.

        What is written meanwhile follows it. When the file turns out to be shorter than it was, the connection is
        dropped. Cancelling the Deferred aborts the connection.

        :param file: opened for reading in binary mode; its length is that of ``os.fstat`` of it, not of its name.
        :param progress: called with how many bytes have been handed to the kernel, each time that there are more.
        :returns: fires when the last byte has been handed to the kernel, and fails when the connection is lost first.
        :raises ValueError: it is no regular file, or does not hold these bytes.
        :raises RuntimeError: another file is being sent, or this connection has switched to TLS.
        """
        try:
            self._check_file(file, offset, count)
        except BaseException:
            file.close()
            raise
        if not self.connected or self._writeDisconnected:
            file.close()
            return fail(Failure(main.CONNECTION_LOST))
        if self._tempDataLen:
            self._flush()
        head = self.dataBuffer[self.offset :] + b"".join(self._tempDataBuffer)
        self.dataBuffer, self.offset, self._tempDataBuffer, self._tempDataLen = b"", 0, [], 0
        done: Deferred[None] = Deferred(lambda _: self.abortConnection())
        transfer = Transfer(head, file, offset, offset + count, done, progress)
        if not head and self._send_first(transfer):
            file.close()
            return succeed(None)
        self.busy = transfer
        self._maybePauseProducer()
        self.startWriting()
        return transfer.done

    def _check_file(self, file: BinaryIO, offset: int, count: int) -> None:
        if self.busy is not None:
            raise RuntimeError("another file is being sent on this connection")
        if self.TLS:
            raise RuntimeError("a file cannot be sent past TLS: register a producer")
        facts = os.fstat(file.fileno())
        if not S_ISREG(facts.st_mode):
            raise ValueError("only a regular file can be sent")
        if offset < 0 or count < 0 or offset + count > facts.st_size:
            raise ValueError(f"the file has {facts.st_size} bytes: {count} bytes from {offset} are not in it")

    def _send_first(self, transfer: Transfer) -> bool:
        try:
            self._send_piece(transfer)
        except OSError:
            return False
        return transfer.offset == transfer.end

    def _send_piece(self, transfer: Transfer) -> int:
        count = min(transfer.end - transfer.offset, self.FILE_LIMIT)
        try:
            sent = os.sendfile(self.socket.fileno(), transfer.file.fileno(), transfer.offset, count)
        except OSError as error:
            if error.errno not in NO_SENDFILE:
                raise
            sent = self.socket.send(os.pread(transfer.file.fileno(), min(count, self.SEND_LIMIT), transfer.offset))
        transfer.offset += sent
        transfer.progress(sent)
        return sent

    def _isSendBufferFull(self) -> bool:
        return self.busy is not None or bool(super()._isSendBufferFull())

    def doWrite(self) -> Any:
        transfer = self.busy
        if transfer is None:
            return super().doWrite()
        try:
            going_well = self._go_on(transfer)
        except BlockingIOError:
            return None
        except OSError:
            return main.CONNECTION_LOST
        if not going_well:
            self.log.warn("a file got shorter while it was sent to {peer}: connection dropped", peer=self.client[0])
            return main.CONNECTION_LOST
        if transfer.head or transfer.offset < transfer.end:
            return None
        self.busy = None
        transfer.file.close()
        transfer.done.callback(None)
        return super().doWrite() if self.busy is None else None

    def _go_on(self, transfer: Transfer) -> bool:
        if transfer.head:
            transfer.head = transfer.head[self.socket.send(transfer.head) :]
        if transfer.head or transfer.offset == transfer.end:
            return True
        return self._send_piece(transfer) > 0

    def connectionLost(self, reason: Failure) -> None:
        transfer, self.busy = self.busy, None
        if transfer is not None:
            transfer.file.close()
        super().connectionLost(reason)
        if transfer is not None and not transfer.done.called:
            transfer.done.errback(reason)


class UNIXServer(Server):
    """A connection over a unix socket. File descriptors that its client passes along are not taken."""

    def __init__(
        self, sock: socket.socket, protocol: Any, client: str | bytes, server: Any, number: int, reactor: Any
    ) -> None:
        super().__init__(sock, protocol, (client, None), server, number, reactor)

    def getHost(self) -> UNIXAddress:
        """The address of the listening socket."""
        return UNIXAddress(self.socket.getsockname())

    def getPeer(self) -> UNIXAddress:
        """The address of the client, nearly always without a name."""
        return UNIXAddress(self.client[0] or None)

    def getTcpNoDelay(self) -> bool:
        return False

    def setTcpNoDelay(self, enabled: bool) -> None:
        """There is no such thing on a unix socket."""


def file_sender(transport: object) -> Server | None:
    """The transport to call ``sendfile`` on, or None where the bytes of a file must pass through a layer (TLS)."""
    if isinstance(transport, HAProxyProtocolWrapper):
        transport = transport.transport
    return transport if isinstance(transport, Server) and not transport.TLS else None


class UNIXPort(unix.Port):
    """A listening unix socket. Who waits to be accepted when it is closed is accepted first."""

    transport: Any = UNIXServer

    def connectionLost(self, reason: Failure) -> None:
        accept_waiting(self)
        super().connectionLost(reason)


class Port(tcp.Port):
    """
    A listening TCP socket that accepts with less ado than Twisted's.

    Its factory, too, is told of an IPv4 client of a dual stack socket as IPv4. Who waits to be accepted when it is closed
    is accepted first.

    :ivar last: whether nobody accepts from the socket after this port.
    """

    last = True

    BATCH = 64
    """How many connections are accepted before those that are open get their turn."""

    transport: Any = Server

    log = Logger()

    _closing: "Deferred[None] | None" = None

    def stopListening(self, *arguments: Any) -> "Deferred[None] | None":
        """Close it; to do that a second time is no mistake."""
        if self._closing is None:
            if self.connected and self.last:
                keep_off(self.socket)
            self._closing = super().stopListening(*arguments)
        return self._closing

    loseConnection = stopListening

    def connectionLost(self, reason: Failure) -> None:
        if self.connected:
            if self.last:
                accept_waiting(self)
            super().connectionLost(reason)
            self._closing = None

    def doRead(self) -> None:
        for _ in range(self.BATCH):
            try:
                accepted, peer = self.socket.accept()
            except BlockingIOError:
                return
            except OSError:
                # Twisted knows what to do when descriptors run out.
                super().doRead()
                return
            self._connect(accepted, peer)
            if self.disconnecting:
                return

    def _connect(self, accepted: socket.socket, peer: tuple[Any, ...]) -> None:
        transport = None
        if len(peer) == 4 and peer[3]:
            peer = tcp._getrealname(peer)
        try:
            assert self.factory is not None
            protocol = self.factory.buildProtocol(self._buildAddr(peer))
            if protocol is None:
                accepted.close()
                return
            self.sessionno += 1
            transport = self.transport(accepted, protocol, peer, self, self.sessionno, self.reactor)
            protocol.makeConnection(transport)
        except BaseException:
            self.log.failure("connection from {peer} could not be set up", peer=peer[0])
            if transport is None:
                accepted.close()
            else:
                transport.abortConnection()

    def _buildAddr(self, address: tuple[Any, ...]) -> IPv4Address | IPv6Address:
        address = unmapped(address)
        return IPv4Address("TCP", *address) if len(address) == 2 else IPv6Address("TCP", *address)
