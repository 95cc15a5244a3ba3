"""
The side of a shared server that publishes a site: requests arrive by Perspective Broker and are answered that way.
"""

from __future__ import annotations

from collections.abc import Iterable
from tempfile import TemporaryFile
from typing import Any, BinaryIO
from urllib.parse import quote

from twisted.internet._producer_helpers import _PullToPush
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.spread import pb
from twisted.spread.banana import SIZE_LIMIT
from twisted.web.http_headers import Headers
from twisted.web.server import NOT_DONE_YET

from mixweb.engine.request import Request
from mixweb.engine.site import Site

#: How much a producer may be ahead of what the shared server has taken, in bytes.
MAX_AHEAD = 256 * 1024

#: Belong to the connection with the client, which the shared server has.
_CONNECTION_FIELDS = frozenset((b"Connection", b"Transfer-Encoding"))

#: Cookie attributes by their names in ``Set-Cookie``, as ``addCookie`` calls them.
_ATTRIBUTES = {
    b"expires": "expires",
    b"domain": "domain",
    b"path": "path",
    b"max-age": "max_age",
    b"secure": "secure",
    b"httponly": "httpOnly",
    b"samesite": "sameSite",
}

#: What a segment of a path may have as it is (RFC 3986, 3.3).
_SEGMENT = "!$&'()*+,;=:@"


def cookie_arguments(line: bytes) -> tuple[bytes, bytes, dict[str, Any]]:
    """The value of ``Set-Cookie`` as arguments of ``addCookie``: name, value and attributes."""
    pair, *rest = (part.strip() for part in line.split(b";"))
    name, _, value = pair.partition(b"=")
    attributes: dict[str, Any] = {}
    for part in rest:
        key, equals, text = part.partition(b"=")
        known = _ATTRIBUTES.get(key.strip().lower())
        if known:
            attributes[known] = text.strip() if equals else True
    return name, value, attributes


def quote_path(segments: Iterable[bytes]) -> bytes:
    """Decoded segments as a path."""
    return b"".join(b"/" + quote(segment, safe=_SEGMENT).encode("ascii") for segment in segments)


class Publisher(pb.Root):
    """
    Answers the requests that a shared server hands on.

    :param site: whose resources answer.
    """

    def __init__(self, site: Site) -> None:
        self.site = site

    def remote_request(self, passed: Any) -> int:
        """Answer a request, a :class:`twisted.web.distrib.Request`."""
        PublishedChannel(self.site, passed).answer(passed, passed.content)
        return NOT_DONE_YET

    def remote_request_in_parts(self, passed: Any, length: int) -> int:
        """
        Answer a request with a body that is too long for one message.

        :param length: of its body, in bytes.
        """
        channel = PublishedChannel(self.site, passed)
        if length > self.site.max_body_bytes:
            channel.refuse(passed, length)
        else:
            fetched = Deferred.fromCoroutine(channel.fetch(length))
            fetched.addCallbacks(lambda content: channel.answer(passed, content), lambda _: channel.abortConnection())
        return NOT_DONE_YET


class PublishedRequest(Request):
    """
    A request that came through a shared server.

    Its site sees it as if it was mounted at the root; only the URLs it makes for itself know its real place.

    :ivar outer: the segments of the path that led to the site.
    """

    outer: list[bytes]

    def take(self, passed: Any, content: BinaryIO) -> None:
        """Become the request that was passed."""
        self.outer = list(passed.prepath)
        query = b"".join(passed.uri.partition(b"?")[1:])
        self.content = content
        self._received_bytes = content.seek(0, 2)
        content.seek(0)
        self.requestHeaders = passed.requestHeaders
        self.begin(passed.method, (quote_path(passed.postpath) or b"/") + query, passed.clientproto)
        self.process()

    def getSession(self, sessionInterface: Any = None, forceNotSecure: bool = False) -> Any:
        self.sitepath = list(self.outer)
        return super().getSession(sessionInterface, forceNotSecure)

    def _prePathURL(self, prepath: list[bytes]) -> bytes:
        url: bytes = super()._prePathURL([*self.outer, *prepath])
        return url

    def _begin_body(self) -> None:
        # The frames of a body are those of the connection with the client.
        version, self.clientproto = self.clientproto, b"HTTP/1.0"
        super()._begin_body()
        self.clientproto = version


class PublishedChannel:
    """
    What a published request has in the place of a connection.

    :param passed: the request as it came.
    """

    transport = None
    persistent = False
    _log = Logger()

    def __init__(self, site: Site, passed: Any) -> None:
        self.site = site
        self.remote: Any = passed.remote
        self.broker: Any = passed.remote.broker
        self.outer = quote_path(passed.prepath)
        self.secure = bool(passed._forceSSL)
        self.peer = _address(passed.client)
        self.here = _address(passed.host)
        self.request: PublishedRequest | None = PublishedRequest(self)
        self.producer: Any = None
        self.ahead = 0
        self.paused = False
        self.broker.notifyOnDisconnect(self.lost)
        if getattr(passed, "tells_end", False):
            self.remote.callRemote("notifyFinish").addBoth(self.lost)

    # The life of the request

    def answer(self, passed: Any, content: BinaryIO) -> None:
        """Have the request answered."""
        if self.request is None:
            content.close()
        else:
            self.request.take(passed, content)

    def refuse(self, passed: Any, length: int) -> None:
        """Answer that the body is too long."""
        if self.request is not None:
            self.request.begin(passed.method, passed.uri, passed.clientproto)
            self.request.requestHeaders = passed.requestHeaders
            self.request.gotLength(length)

    async def fetch(self, length: int) -> BinaryIO:
        """The body, which the shared server has."""
        content: BinaryIO = TemporaryFile()  # noqa: SIM115 - closed when the request ends
        try:
            for offset in range(0, length, SIZE_LIMIT):
                content.write(await self.remote.callRemote("read", offset, SIZE_LIMIT))
        except BaseException:
            content.close()
            raise
        return content

    def lost(self, _: object = None) -> None:
        """The client or the shared server has left, unless the answer is complete."""
        request = self._end()
        if request is not None:
            request.connectionLost(Failure(ConnectionDone()))

    def _end(self) -> PublishedRequest | None:
        """Let go of everything: the shared server counts what is referred to."""
        request, self.request = self.request, None
        if request is not None:
            self.broker.dontNotifyOnDisconnect(self.lost)
            self.unregisterProducer()
            self.remote = None
        return request

    def requestDone(self, request: Request) -> None:
        """The answer is complete."""
        self._call("finish")
        self._end()

    def abortConnection(self) -> None:
        """The answer cannot be completed."""
        self._call("abort")
        self.lost()

    loseConnection = abortConnection

    # What requests ask for

    def isSecure(self) -> bool:
        """Whether the client came over TLS."""
        return self.secure

    def getPeer(self) -> Any:
        """The client's address."""
        return self.peer

    def getHost(self) -> Any:
        """The address that the client connected to."""
        return self.here

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Headers) -> None:
        """Send the head of an answer."""
        self._call("setResponseCode", int(code), reason)
        for name, values in headers.getAllRawHeaders():
            if name == b"Set-Cookie":
                for value in values:
                    key, text, attributes = cookie_arguments(value)
                    self._call("addCookie", key, text, **attributes)
            elif name == b"Location":
                self._call("setHeader", name, self._outward(values[0]))
            elif name not in _CONNECTION_FIELDS:
                self._call("setHeader", name, b", ".join(values))

    def _outward(self, location: bytes) -> bytes:
        """A location as the client has to see it."""
        return self.outer + location if location.startswith(b"/") and not location.startswith(b"//") else location

    def write(self, data: bytes) -> None:
        """Send a piece of the body."""
        for start in range(0, len(data), SIZE_LIMIT):
            piece = data[start : start + SIZE_LIMIT]
            self.ahead += len(piece)
            taken = self._call("write", piece, pbanswer=True)
            if taken is not None:
                taken.addBoth(self._taken, len(piece))
        if self.producer is not None and not self.paused and self.ahead > MAX_AHEAD:
            self.paused = True
            self.producer.pauseProducing()

    def _taken(self, _: object, length: int) -> None:
        self.ahead -= length
        if self.paused and self.producer is not None and self.ahead <= MAX_AHEAD:
            self.paused = False
            self.producer.resumeProducing()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Have a producer paused while the shared server has not taken what was sent."""
        self.producer = producer if streaming else _PullToPush(producer, self)
        self.paused = False
        if not streaming:
            self.producer.startStreaming()

    def unregisterProducer(self) -> None:
        """The producer is done."""
        producer, self.producer = self.producer, None
        if isinstance(producer, _PullToPush):
            producer.stopStreaming()

    def _call(self, name: str, *arguments: Any, pbanswer: bool = False, **keywords: Any) -> Deferred[Any] | None:
        if self.remote is None:
            return None
        try:
            called: Deferred[Any] | None = self.remote.callRemote(name, *arguments, pbanswer=pbanswer, **keywords)
        except pb.DeadReferenceError:
            return None
        return called


def _address(address: Any) -> Any:
    if isinstance(address, IPv4Address) and ":" in address.host:
        return IPv6Address("TCP", address.host, address.port)
    return address
