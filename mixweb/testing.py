"""
For tests, also of those who use mixweb: requests through the front door, in memory, with a clock for time.

.. code-block:: python

    agent = SiteAgent(Hello())
    assert agent.get("/").body == b"hello"
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from twisted.application.service import IService, MultiService
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from twisted.web.resource import IResource

from mixweb.engine.site import Site
from mixweb.feature import Context

Fields = Mapping[str, str] | Iterable[tuple[str, str]]


@dataclass(frozen=True)
class Answer:
    """
    A complete answer.

    :ivar status: the status code.
    :ivar headers: as sent; ``answer["Content-Type"]`` is the text of one field or ``None``.
    :ivar body: without chunked framing.
    :ivar interim: status codes of the interim answers before it.
    """

    status: int
    reason: str
    headers: Headers
    body: bytes
    interim: tuple[int, ...] = ()

    def __getitem__(self, name: str) -> str | None:
        values = self.headers.getRawHeaders(name)
        return None if values is None else ", ".join(values)

    @property
    def text(self) -> str:
        """The body as UTF-8."""
        return self.body.decode()


class Exchange:
    """One connection in memory: what is sent to the site and what it answered."""

    def __init__(
        self, site: Site, peer: str = "127.0.0.1", secure: bool = False, protocol: bytes | None = None
    ) -> None:
        self.transport = MemoryTransport(secure, IPv4Address("TCP", "127.0.0.1", 8080), IPv4Address("TCP", peer, 54321))
        self.transport.negotiatedProtocol = protocol
        self.site = site
        self.protocol = site.buildProtocol(self.transport.getPeer())
        assert self.protocol is not None
        self.protocol.makeConnection(self.transport)
        self.heads: list[bytes] = []

    def send(self, data: bytes) -> None:
        """Deliver bytes to the site."""
        self.protocol.dataReceived(data)

    def request(self, method: str, target: str, headers: Fields = (), body: bytes = b"") -> None:
        """Deliver a request; ``Host: localhost`` and ``Content-Length`` are added where they are not given."""
        lines = list(headers.items() if isinstance(headers, Mapping) else headers)
        names = {name.lower() for name, _ in lines}
        if "host" not in names:
            lines.insert(0, ("Host", "localhost"))
        if body and not names & {"content-length", "transfer-encoding"}:
            lines.append(("Content-Length", str(len(body))))
        head = "".join([f"{method} {target} HTTP/1.1\r\n", *(f"{name}: {value}\r\n" for name, value in lines), "\r\n"])
        self.heads.append(method.encode())
        self.send(head.encode("utf-8") + body)

    def disconnect(self) -> None:
        """The client leaves."""
        self.protocol.connectionLost(Failure(ConnectionDone()))

    @property
    def received(self) -> bytes:
        """All bytes the site sent; a streaming producer is asked for more until it pauses or ends."""
        for _ in range(100_000):
            producer: Any = self.transport.producer
            if producer is None or self.transport.streaming:
                break
            producer.resumeProducing()
        return bytes(self.transport.value())

    def answers(self) -> list[Answer]:
        """The complete answers so far."""
        found = []
        rest = self.received
        for method in self.heads:
            answer, rest = _parse(rest, method, closed=self.transport.disconnecting or self.transport.aborted)
            if answer is None:
                break
            found.append(answer)
        return found

    @property
    def answer(self) -> Answer:
        """
        The only answer.

        :raises AssertionError: when there is none yet, or more than one.
        """
        found = self.answers()
        assert len(found) == 1, f"expected one complete answer, got {len(found)}: {self.received[:200]!r}"
        return found[0]


class MemoryTransport(StringTransport):
    """A transport that keeps what is written."""

    aborted = False
    negotiatedProtocol: bytes | None = None

    def __init__(self, secure: bool, host: IPv4Address, peer: IPv4Address) -> None:
        super().__init__(hostAddress=host, peerAddress=peer)
        if secure:
            from twisted.internet.interfaces import ISSLTransport
            from zope.interface import directlyProvides, providedBy

            directlyProvides(self, providedBy(self), ISSLTransport)

    def abortConnection(self) -> None:
        self.aborted = True
        self.disconnecting = True

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Nothing to delay."""

    def loseWriteConnection(self) -> None:
        self.disconnecting = True


def _parse(data: bytes, method: bytes, closed: bool) -> tuple[Answer | None, bytes]:
    interim: list[int] = []
    while True:
        head, separator, rest = data.partition(b"\r\n\r\n")
        if not separator:
            return None, data
        first, *lines = head.split(b"\r\n")
        status = int(first.split(b" ")[1])
        if status >= 200 or status == 101:
            break
        interim.append(status)
        data = rest
    headers = Headers()
    for line in lines:
        name, _, value = line.partition(b": ")
        headers.addRawHeader(name, value)
    body: bytes | None
    if method == b"HEAD" or status in (101, 204, 304):
        body = b""
    elif headers.hasHeader(b"Transfer-Encoding"):
        body, rest = _dechunk(rest)
    elif length := headers.getRawHeaders(b"Content-Length"):
        body, rest = (rest[: int(length[0])], rest[int(length[0]) :]) if len(rest) >= int(length[0]) else (None, rest)
    else:
        body, rest = (rest, b"") if closed else (None, rest)
    if body is None:
        return None, data
    reason = first.partition(b" ")[2].partition(b" ")[2].decode("ascii")
    return Answer(status, reason, headers, body, tuple(interim)), rest


def _dechunk(data: bytes) -> tuple[bytes | None, bytes]:
    body = b""
    while True:
        size, separator, rest = data.partition(b"\r\n")
        if not separator:
            return None, data
        length = int(size, 16)
        if len(rest) < length + 2:
            return None, data
        body += rest[:length]
        data = rest[length + 2 :]
        if not length:
            return body, data


class SiteAgent:
    """
    Sends requests to a site or a resource, in memory.

    :param target: a :class:`mixweb.Site`, or the resource to make one of.
    :param peer: the address that requests come from.
    :param secure: whether they come over TLS.
    :param http2: whether they come over HTTP/2, and TLS.
    :ivar clock: the site's time.
    """

    def __init__(
        self,
        target: Site | IResource,
        *,
        peer: str = "127.0.0.1",
        secure: bool = False,
        http2: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self.clock = clock or Clock()
        self.site = target if isinstance(target, Site) else Site(target, reactor=self.clock)
        self.peer = peer
        self.secure = secure or http2
        self.http2 = http2

    def open(self, method: str = "GET", target: str = "/", headers: Fields = (), body: bytes = b"") -> Exchange:
        """Begin a request that may take a while."""
        exchange = self.connect()
        exchange.request(method, target, headers, body)
        return exchange

    def connect(self) -> Exchange:
        """A connection on which nothing was sent."""
        if self.http2:
            from mixweb._testing_http2 import Http2Exchange

            return Http2Exchange(self.site, self.clock, self.peer)
        return Exchange(self.site, self.peer, self.secure)

    def request(self, method: str, target: str, headers: Fields = (), body: bytes = b"") -> Answer:
        """Send a request on a connection of its own and return its answer, which must be complete at once."""
        return self.open(method, target, headers, body).answer

    def get(self, target: str, headers: Fields = ()) -> Answer:
        """Send a GET."""
        return self.request("GET", target, headers)


def make_context(reactor: Any = None, **changes: Any) -> Context:
    """
    A context to build one feature with; its services, observers, raw prefixes and warnings are kept in lists.

    :param changes: what to put in the place of its fields.
    """
    services = MultiService()
    observers: list[Any] = []
    given: dict[str, Any] = {
        "reactor": reactor or Clock(),
        "add_service": lambda service: IService(service).setServiceParent(services),
        "observe": observers.append,
        "announce_raw": lambda prefix: None,
        "warn": lambda message: None,
    }
    return Context(**(given | changes))
