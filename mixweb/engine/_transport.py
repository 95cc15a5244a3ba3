"""
What our transports have in common.
"""

import socket
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet import main, tcp
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.python.failure import Failure

CONNECTION_DONE = Failure(main.CONNECTION_DONE)

MAPPED = "::ffff:"


def unmapped(address: tuple[Any, ...]) -> tuple[Any, ...]:
    """The host and port of an IPv4 address that a dual stack socket shows as IPv6; any other address as it is."""
    if len(address) == 4 and address[0].startswith(MAPPED) and "." in address[0]:
        return address[0].removeprefix(MAPPED), address[1]
    return address


class QuickServer(tcp.Server):
    """
    A connection that sends at once when nothing is queued, and closes as soon as all is sent.

    What is written during one ``dataReceived`` is sent together afterwards (at once when it is more than ``CORK_LIMIT``
    bytes). A failing send queues the data, and ``doWrite`` finds out and reports it: ``connectionLost`` is never called
    from within ``write``. An IPv4 client of a dual stack socket is told as IPv4.
    """

    CORK_LIMIT = 64 * 1024

    client: tuple[Any, ...]

    _in_read = False
    busy: object = None
    """What is waited for before anything written can be sent, besides the queue: a handshake, a file; else ``None``."""

    # close(2) ends the connection just as well: no other process has the socket.
    _shouldShutdown = False

    def __init__(
        self, sock: socket.socket, protocol: Any, client: tuple[Any, ...], server: Any, number: int, reactor: Any
    ) -> None:
        tcp.Connection.__init__(self, sock, protocol, reactor)
        self.client = client = unmapped(client)
        if len(client) != 2:
            self._addressType = IPv6Address
        self.hostname = client[0]
        self.server = server
        self.sessionno = number
        # A reactor that knows how lets transports finish together at the end of a round: fewer switches to the client.
        self._finish = getattr(reactor, "finish_later", QuickServer.finish_read)
        self.startReading()
        self.connected = 1

    def logPrefix(self) -> str:
        """The prefix of what is logged for this connection."""
        return f"{self._getLogPrefix(getattr(self, 'protocol', None))},{self.sessionno},{self.hostname}"

    def __repr__(self) -> str:
        protocol = type(getattr(self, "protocol", None)).__name__
        return f"<{protocol} #{self.sessionno} on {getattr(self.server, '_realPortNumber', None)}>"

    def getHost(self) -> Any:
        """The address of this side of the connection."""
        name = unmapped(self.socket.getsockname())
        return IPv4Address("TCP", *name) if len(name) == 2 else IPv6Address("TCP", *tcp._getrealname(name))

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Whether small pieces are sent without waiting for more; nothing to do when the port has seen to it."""
        if not (enabled and getattr(self.server, "no_delay", False)):
            super().setTcpNoDelay(enabled)

    def doRead(self) -> Any:
        try:
            data = self.socket.recv(self.bufferSize)
        except BlockingIOError:
            return None
        except OSError:
            return main.CONNECTION_LOST
        if not data:
            return main.CONNECTION_DONE
        return self._received(data)

    def _received(self, data: bytes) -> None:
        self._in_read = True
        try:
            self.protocol.dataReceived(data)
        finally:
            self._in_read = False
        if self._tempDataLen or self.disconnecting:
            self._finish(self)

    def gather(self, call: Callable[[], object]) -> None:
        """Call what writes, and send that as what is written during ``dataReceived`` is sent: together, soon."""
        if self._in_read:
            call()
            return
        self._in_read = True
        try:
            call()
        finally:
            self._in_read = False
        if self._tempDataLen or self.disconnecting:
            self._finish(self)

    def finish_read(self) -> None:
        """Send what was written during ``dataReceived``, and close if that was asked for. The reactor calls this."""
        if self._tempDataLen and self.connected and not self._aborting:
            self._flush()
        if self.disconnecting and self.connected and not self._aborting:
            self._close_after_read()

    def _close_after_read(self) -> None:
        waits = self.producer is not None and (not self.streamingProducer or self.producerPaused)
        if not (waits or self.dataBuffer or self.busy) and self._postLoseConnection():
            self.connectionLost(CONNECTION_DONE)
        else:
            self.stopReading()
            self.startWriting()

    def loseConnection(self) -> None:
        """Close the connection when all that was written has been sent; soon after ``dataReceived`` if called in it."""
        if self._in_read and not (self.TLS or self._writeDisconnected):
            self.disconnecting = 1
        else:
            super().loseConnection()

    def write(self, data: bytes) -> None:
        """Send what the kernel takes now, and the rest when it takes more."""
        if self.TLS:
            super().write(data)
            return
        if not isinstance(data, bytes):
            raise TypeError("Data must be bytes")
        if data and self.connected and not self._writeDisconnected:
            self._tempDataBuffer.append(data)
            self._tempDataLen += len(data)
            if not self._in_read or self._tempDataLen > self.CORK_LIMIT:
                self._flush()

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """Send several pieces together; large ones are not copied."""
        pieces = [piece for piece in iovec if piece]
        if self.TLS:
            super().writeSequence(pieces)
            return
        if not all(isinstance(piece, bytes) for piece in pieces):
            raise TypeError("Data must be bytes")
        if pieces and self.connected and not self._writeDisconnected:
            self._tempDataBuffer += pieces
            self._tempDataLen += sum(map(len, pieces))
            if not self._in_read or self._tempDataLen > self.CORK_LIMIT:
                self._flush()

    def _flush(self) -> None:
        """Send what is queued. What is left over stays uncopied: a cached body is shared by many connections."""
        pieces = self._tempDataBuffer
        if self.dataBuffer or self.busy:
            self._maybePauseProducer()
            return
        sent = self._send_now(pieces)
        if sent == self._tempDataLen:
            pieces.clear()
            self._tempDataLen = 0
            if self.producer is not None and not self.streamingProducer:
                self.startWriting()
            return
        done = 0
        while sent >= len(pieces[done]):
            sent -= len(pieces[done])
            done += 1
        self.dataBuffer = pieces[done]
        self.offset = sent
        del pieces[: done + 1]
        self._tempDataLen = sum(map(len, pieces))
        self._maybePauseProducer()
        self.startWriting()

    def _send_now(self, pieces: list[bytes]) -> int:
        """How many bytes the kernel took; 0 also for an error, which comes again in ``doWrite``."""
        try:
            if len(pieces) == 1:
                return self.socket.send(pieces[0])
            if self._tempDataLen <= self.CORK_LIMIT:
                return self.socket.send(b"".join(pieces))
            return self.socket.sendmsg(pieces)
        except OSError:
            return 0

    def writeSomeData(self, data: Any) -> Any:
        return super().writeSomeData(data) if len(data) else 0

    def doWrite(self) -> Any:
        # The doRead of the same event may have closed the connection.
        return super().doWrite() if self.connected else None
