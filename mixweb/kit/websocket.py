"""
WebSockets (RFC 6455): what stands between a connection and the protocols that :mod:`twisted.web.websocket` describes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.websocket import WebSocketProtocol
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage
from wsproto.utilities import LocalProtocolError
from zope.interface import implementer

#: What a client that was told of the end is given to say so too, in seconds.
CLOSE_SECONDS = 5

NORMAL, GOING_AWAY, PROTOCOL_ERROR, NO_CODE, ABNORMAL, TOO_BIG, INTERNAL_ERROR = (
    1000,
    1001,
    1002,
    1005,
    1006,
    1009,
    1011,
)


class WebSocketClosed(ConnectionDone):
    """
    Why a WebSocket ended; the value of the failure that its protocol's ``connectionLost`` is given.

    :ivar code: of the side that ended it (RFC 6455, 7.4): 1005 when it gave none, 1006 when the connection broke.
    :ivar reason: its words.
    :ivar remote: whether the client ended it.
    """

    def __init__(self, code: int, reason: str = "", remote: bool = False) -> None:
        super().__init__(f"{code} {reason}".rstrip())
        self.code = code
        self.reason = reason
        self.remote = remote


@dataclass(frozen=True)
class Caps:
    """
    What one WebSocket may use.

    :ivar message_bytes: the longest message that is taken.
    :ivar unsent_bytes: how much may wait for a client that does not read.
    """

    message_bytes: int
    unsent_bytes: int


@implementer(IPushProducer)
class Wire(Protocol):
    """
    One WebSocket, from the end of the handshake on. It is the transport of a protocol, as ``WebSocketTransport`` has it.

    A client that does not read what is sent is not read from either, and dropped when too much waits for it.

    :param protocol: of the application.
    :param ended: called once, when it is over.
    :ivar subprotocol: that was agreed on; ``None`` for none.
    """

    transport: Any
    _log = Logger()

    def __init__(
        self,
        protocol: WebSocketProtocol,
        caps: Caps,
        reactor: Any,
        ended: Callable[[Wire], object],
        subprotocol: str | None,
    ) -> None:
        self.protocol = protocol
        self.subprotocol = subprotocol
        self.alive = True
        self._caps = caps
        self._reactor = reactor
        self._ended = ended
        self._frames = Connection(ConnectionType.SERVER)
        self._closed: WebSocketClosed | None = None
        self._failed = False
        self._message = bytearray()
        self._paused = False
        self._unsent = 0
        self._producer: Any = None
        self._timer: Any = None

    # What the connection tells

    def connectionMade(self) -> None:
        self.transport.registerProducer(self, True)
        self._tell(self.protocol.negotiationStarted, self)

    def begin(self) -> None:
        """The handshake has been sent."""
        self._tell(self.protocol.negotiationFinished)

    def dataReceived(self, data: bytes) -> None:
        """Read what the client sent."""
        self.alive = True
        if self._failed or self._frames.state is ConnectionState.CLOSED:
            return
        self._frames.receive_data(data)
        for event in self._frames.events():
            self._receive(event)
            if self._failed:
                return

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone; the application is told why."""
        self._stop_timer()
        self._ended(self)
        closed = self._closed or WebSocketClosed(ABNORMAL, remote=True)
        self._tell(self.protocol.connectionLost, Failure(closed))

    def readConnectionLost(self) -> None:
        """A client that sends no more has gone."""
        self.transport.loseConnection()

    def pauseProducing(self) -> None:
        """The client does not take what is sent."""
        self._paused = True
        self._unsent = 0
        self.transport.pauseProducing()
        if self._producer is not None:
            self._producer.pauseProducing()

    def resumeProducing(self) -> None:
        """The client has taken what was sent."""
        self._paused = False
        self.transport.resumeProducing()
        if self._producer is not None:
            self._producer.resumeProducing()

    def stopProducing(self) -> None:
        """The client has left."""
        if self._producer is not None:
            self._producer.stopProducing()

    # Messages

    def _receive(self, event: object) -> None:
        if isinstance(event, (TextMessage, BytesMessage)):
            self._take(event)
        elif isinstance(event, Ping):
            self._send(event.response())
        elif isinstance(event, Pong):
            self._tell(self.protocol.pongReceived, bytes(event.payload))
        elif isinstance(event, CloseConnection):
            self._closing(event)

    def _take(self, event: TextMessage | BytesMessage) -> None:
        data = event.data
        # A list of the pieces could take far more memory than they have bytes.
        self._message += data.encode() if isinstance(data, str) else data
        if len(self._message) > self._caps.message_bytes:
            self._fail(TOO_BIG, f"a message has at most {self._caps.message_bytes} bytes")
            return
        if not event.message_finished:
            return
        message, self._message = self._message, bytearray()
        if self._closed is not None:
            return
        if isinstance(event, TextMessage):
            self._tell(self.protocol.textMessageReceived, message.decode())
        else:
            self._tell(self.protocol.bytesMessageReceived, bytes(message))

    def _closing(self, event: CloseConnection) -> None:
        """The client ends it, or agrees to the end, or does what wsproto has no sense for: then nothing has been closed yet."""
        if self._frames.state is ConnectionState.OPEN:
            self._fail(event.code, event.reason or "")
            return
        if self._closed is None:
            self._closed = WebSocketClosed(event.code, event.reason or "", remote=True)
        if self._frames.state is ConnectionState.REMOTE_CLOSING:
            self._send(event.response())
        self._drop()

    def _tell(self, method: Callable[..., object], *arguments: object) -> None:
        """Call the application; an error in it ends this WebSocket and no other."""
        try:
            method(*arguments)
        except Exception:
            self._log.failure("in a WebSocket")
            self.loseConnection(INTERNAL_ERROR)

    def _fail(self, code: int, reason: str) -> None:
        """End it because of what the client did, without waiting for its consent; what it still sends is not read."""
        self._log.info("WebSocket closed with {code}: {reason}", code=code, reason=reason)
        self._say_close(code, "")
        self._failed = True
        if hasattr(type(self.transport), "loseWriteConnection"):
            # Closing with input unread would reset the connection, and the code could get lost.
            self.transport.unregisterProducer()
            self.transport.loseWriteConnection()
            self._timer = self._reactor.callLater(CLOSE_SECONDS, self.transport.abortConnection)
        else:
            self._drop()

    def _say_close(self, code: int, reason: str) -> None:
        if self._closed is None:
            self._closed = WebSocketClosed(code, reason)
            if self._frames.state is ConnectionState.OPEN:
                self._send(CloseConnection(code, reason))

    def _drop(self) -> None:
        self._stop_timer()
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def _send(self, event: Any) -> None:
        try:
            data = self._frames.send(event)
        except LocalProtocolError:
            return
        if self._paused:
            self._unsent += len(data)
            if self._unsent > self._caps.unsent_bytes:
                self._log.info("WebSocket dropped: its client does not read what is sent")
                self.transport.abortConnection()
                return
        self.transport.write(data)

    # What the application asks for

    def sendTextMessage(self, text: str) -> None:
        """Send a message of text; nothing, once the WebSocket is being closed."""
        self._send(TextMessage(text))

    def sendBytesMessage(self, data: bytes) -> None:
        """Send a message of bytes; nothing, once the WebSocket is being closed."""
        self._send(BytesMessage(data))

    def ping(self, payload: bytes = b"") -> None:
        """Ask for a sign of life."""
        self._send(Ping(payload))

    def loseConnection(self, code: int = NORMAL, reason: str = "") -> None:
        """
        End it: the client is told, and given a few seconds to agree.

        :param reason: at most 123 bytes in UTF-8.
        """
        if self._closed is None:
            self._say_close(code, reason)
            self._timer = self._reactor.callLater(CLOSE_SECONDS, self.transport.abortConnection)

    def drain(self) -> None:
        """The server ends."""
        self.loseConnection(GOING_AWAY)

    def check_alive(self) -> None:
        """Drop a client that has said nothing since the last call; ask the others for a sign of life."""
        if not self.alive:
            self.transport.abortConnection()
            return
        self.alive = False
        self.ping()

    def attachProducer(self, producer: IPushProducer) -> None:
        """Have a producer told when the client takes no more, and when it does again."""
        self._producer = producer
        if self._paused:
            producer.pauseProducing()

    def detachProducer(self) -> None:
        """Tell the producer no more."""
        self._producer = None
