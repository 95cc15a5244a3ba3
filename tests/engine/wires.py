"""
A client of one connection, in memory.
"""

from __future__ import annotations

import re
from typing import Any

import h2.connection
import pytest
from h2.events import RemoteSettingsChanged, ResponseReceived
from h2.settings import SettingCodes
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import ISSLTransport
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from zope.interface import directlyProvides, providedBy

from mixweb.engine.channel import Channel
from mixweb.engine.http1 import DEFAULT_LIMITS, Limits
from mixweb.engine.request import Request
from mixweb.engine.site import Site
from mixweb.engine.timeouts import DEFAULT_TIMEOUTS, Timeouts
from mixweb.testing import MemoryTransport

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"


def get(path: bytes, fields: bytes = b"") -> bytes:
    return b"GET " + path + b" HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n"


class BareWire(StringTransport):
    """A transport that remembers how it was closed, and cannot be half-closed."""

    aborted = False
    half_closed = False
    offset = 0
    asked_for_peer = 0

    def __init__(self) -> None:
        super().__init__(
            hostAddress=IPv4Address("TCP", "127.0.0.1", 80), peerAddress=IPv4Address("TCP", "127.0.0.2", 1)
        )

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Nothing is delayed here."""

    def getPeer(self) -> Any:
        self.asked_for_peer += 1
        return super().getPeer()

    def abortConnection(self) -> None:
        self.aborted = True

    @property
    def open(self) -> bool:
        return not (self.aborted or self.half_closed or self.disconnecting)


class Wire(BareWire):
    """A transport that can be half-closed."""

    def loseWriteConnection(self) -> None:
        self.half_closed = True


class OverTLS(BareWire):
    """A transport that, as Twisted's TLS, hands on to the socket below what it does not know."""

    def __getattr__(self, name: str) -> Any:
        if name == "loseWriteConnection":
            return lambda: pytest.fail("half-closed below TLS")
        raise AttributeError(name)


class Client:
    """A client and its connection to a site that serves one resource."""

    def __init__(
        self,
        resource: Resource,
        *,
        limits: Limits = DEFAULT_LIMITS,
        timeouts: Timeouts = DEFAULT_TIMEOUTS,
        request_factory: Any = Request,
        wire: BareWire | None = None,
        secure: bool = False,
        **options: Any,
    ) -> None:
        self.clock = Clock()
        self.site = Site(resource, reactor=self.clock, **options)
        self.logged: list[tuple[bytes, bytes, int]] = []
        self.site.observers.append(lambda request: self.logged.append((request.method, request.uri, request.code)))
        self.channel: Any = Channel(limits, timeouts)
        self.channel.factory = self.channel.site = self.site
        self.channel.requestFactory = request_factory
        self.channel.callLater = self.clock.callLater
        self.channel.timeOut = 60
        self.wire = wire or Wire()
        if secure:
            directlyProvides(self.wire, providedBy(self.wire), ISSLTransport)
        self.channel.makeConnection(self.wire)

    def send(self, data: bytes, size: int = 1 << 30) -> None:
        for start in range(0, len(data), size):
            self.channel.dataReceived(data[start : start + size])

    def leave(self) -> None:
        self.channel.connectionLost(Failure(ConnectionDone()))

    def wait(self, seconds: int) -> None:
        """Let time pass, with a look at the connection every second."""
        for _ in range(seconds):
            self.clock.advance(1)
            for channel in list(self.site.channels):
                channel.check_timeouts(self.clock.seconds())

    @property
    def received(self) -> bytes:
        return self.wire.value()

    @property
    def statuses(self) -> list[int]:
        return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+) [^\r]+\r\n", self.received)]

    @property
    def bodies(self) -> list[bytes]:
        """The bodies of all answers, each with a Content-Length."""
        found = []
        rest = self.received
        while rest:
            head, _, rest = rest.partition(b"\r\n\r\n")
            length = re.search(rb"Content-Length: (\d+)", head)
            assert length is not None, head
            found.append(rest[: int(length[1])])
            rest = rest[int(length[1]) :]
        return found


class Http2Client:
    """
    A client of a site that speaks HTTP/2.

    :ivar statuses: of the answers that have begun, by stream.
    :ivar streams: how many requests it may send at a time.
    """

    def __init__(self, site: Site) -> None:
        self.clock = site.reactor
        self.transport: Any = MemoryTransport(
            True, IPv4Address("TCP", "127.0.0.1", 443), IPv4Address("TCP", "127.0.0.1", 5)
        )
        self.transport.negotiatedProtocol, self.transport.dataBuffer, self.transport._tempDataLen = b"h2", b"", 0
        self.channel = site.buildProtocol(None)
        self.channel.makeConnection(self.transport)
        self.connection = h2.connection.H2Connection()
        self.connection.initiate_connection()
        self.statuses: dict[int, int] = {}
        self.streams = 0
        self.exchange()

    def begin(self, stream: int, method: str = "GET", path: str = "/", end: bool = True) -> None:
        """Send a head."""
        fields = [(":method", method), (":path", path), (":scheme", "https"), (":authority", "a")]
        self.connection.send_headers(stream, fields, end_stream=end)
        self.exchange()

    def send(self, stream: int, data: bytes, end: bool = False) -> None:
        """Send a piece of a body."""
        self.connection.send_data(stream, data, end_stream=end)
        self.exchange()

    def exchange(self) -> None:
        """Have both sides read what the other one has sent."""
        for _ in range(10):
            self.channel.dataReceived(self.connection.data_to_send())
            self.clock.advance(0)
            received = self.transport.value()
            self.transport.clear()
            for event in self.connection.receive_data(received) if received else ():
                if isinstance(event, ResponseReceived):
                    self.statuses[event.stream_id] = int(dict(event.headers)[b":status"])
                elif isinstance(event, RemoteSettingsChanged):
                    changed = event.changed_settings.get(SettingCodes.MAX_CONCURRENT_STREAMS)
                    self.streams = changed.new_value if changed else self.streams
