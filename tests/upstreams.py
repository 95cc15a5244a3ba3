"""
Servers in memory, for what sends requests to others.
"""

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from mixweb.engine.clients import ConnectFailed

HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


class Wire(StringTransport):
    """The client's side of a connection in memory."""

    def __init__(self, connection):
        super().__init__(peerAddress=IPv4Address("TCP", "192.0.2.1", 80))
        self.connection = connection

    def write(self, data):
        super().write(data)
        self.connection.server.wrote(self.connection)

    def unregisterProducer(self):
        if self.producer is not None:
            super().unregisterProducer()

    def loseConnection(self):
        self.connection.lose(ConnectionDone())

    abortConnection = loseConnection


class Accepted:
    """
    A connection that a server has accepted.

    :ivar open: whether it is.
    """

    def __init__(self, server, protocol):
        self.server = server
        self.protocol = protocol
        self.wire = Wire(self)
        self.open = True

    @property
    def received(self):
        """All bytes that the server got."""
        return self.wire.value()

    @property
    def reading(self):
        """Whether the client reads."""
        return self.wire.producerState == "producing"

    def send(self, data):
        """The server says something."""
        assert self.open
        self.protocol_now.dataReceived(data)

    @property
    def protocol_now(self):
        return getattr(self.wire, "protocol", self.protocol)

    def lose(self, reason):
        """The connection ends, on whichever side."""
        if self.open:
            self.open = False
            self.protocol_now.connectionLost(Failure(reason))

    def close(self):
        """The server closes."""
        self.lose(ConnectionDone())

    def reset(self):
        """The server resets."""
        self.lose(ConnectionLost())

    def fill(self):
        """The server stops reading, and what is sent piles up."""
        self.wire.producer.pauseProducing()

    def drain(self):
        """The server reads on."""
        self.wire.producer.resumeProducing()


class Server:
    """
    A server: what a proxy connects to in memory.

    :param answer: what it says to each request without a body, unless it is ``None``.
    :ivar accepted: its connections, from the first one on.
    :ivar slow: whether every piece that it is sent is as much as it takes for now.
    :ivar cancelled: attempts to connect that were given up.
    :ivar refusal: why it refuses connections, if it does; ``"never"`` for one that does not answer at all.
    """

    def __init__(self, answer=None):
        self.answer = answer
        self.accepted = []
        self.refusal = None
        self.slow = False
        self.cancelled = []

    def __call__(self, protocol):
        if self.refusal == "never":
            return Deferred(self.cancelled.append)
        if self.refusal is not None:
            return fail(self.refusal)
        connection = Accepted(self, protocol)
        self.accepted.append(connection)
        protocol.makeConnection(connection.wire)
        return succeed(protocol)

    def wrote(self, connection):
        """A client has sent something."""
        if self.slow:
            connection.fill()
        if self.answer is not None and connection.received.endswith(b"\r\n\r\n"):
            connection.send(self.answer)

    def refuse(self, reason="connection refused", timed_out=False):
        """Accept no more connections."""
        self.refusal = ConnectFailed(reason, timed_out)

    @property
    def last(self):
        """The connection that was accepted last."""
        return self.accepted[-1]

    @property
    def open(self):
        """Its connections that are open."""
        return [connection for connection in self.accepted if connection.open]

    @property
    def received(self):
        """All bytes that it got, on all connections in their order."""
        return b"".join(connection.received for connection in self.accepted)
