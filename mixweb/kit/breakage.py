"""
Answers that break on the wire, for tests of clients.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, TypeAlias

from twisted.internet.error import ConnectionAborted
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers

from mixweb.engine.request import Request

#: How an answer breaks: the connection is reset in its place; half of the body comes; ``Content-Length`` is wrong.
Fault: TypeAlias = Literal["reset", "truncate", "length"]

FAULTS: tuple[Fault, ...] = ("reset", "truncate", "length")


def break_answer(request: Request, fault: Fault, reactor: Any, difference: int = 1) -> None:
    """
    Have the answer to a request break, whatever it will be. After it the connection is closed; over HTTP/2 the stream is
    reset in the place of a truncated body.

    An answer without a body is not truncated. The length of one that declares none cannot be wrong: it is truncated.

    :param difference: how many bytes more ``length`` declares than are sent; may be negative.
    """
    request.channel = BrokenChannel(request, fault, reactor, difference)


class BrokenChannel:
    """Stands between a request and its channel; see :func:`break_answer`."""

    def __init__(self, request: Request, fault: Fault, reactor: Any, difference: int) -> None:
        self._request = request
        self._channel = request.channel
        self._fault = fault
        self._reactor = reactor
        self._difference = difference
        self._is_http2 = request.clientproto == b"HTTP/2"
        self._left: int | None = None
        self._cut = self._done = False

    def __getattr__(self, name: str) -> Any:
        if name == "writeAnswer":
            raise AttributeError(name)  # a whole answer comes as head and body then
        return getattr(self._channel, name)

    @property
    def persistent(self) -> bool:
        """Whether the connection is kept."""
        return bool(self._channel.persistent)

    @persistent.setter
    def persistent(self, kept: bool) -> None:
        self._channel.persistent = kept

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Headers) -> None:
        """Send the head of an answer."""
        if self._fault == "reset":
            self._cut_off()
            return
        declared = headers.getRawHeaders(b"Content-Length")
        if declared is None:
            self._fault = "truncate"
        elif self._fault == "length":
            headers.setRawHeaders(b"Content-Length", [b"%d" % max(int(declared[0]) + self._difference, 0)])
            self.persistent = False
        else:
            self._left = int(declared[0]) // 2
        self._channel.writeHeaders(version, code, reason, headers)

    def write(self, data: bytes) -> None:
        """Send a piece of an answer."""
        if self._cut:
            return
        if self._fault != "truncate":
            self._channel.write(data)
            return
        if self._left is None:
            self._left = len(data) // 2
        self._channel.write(data[: self._left])
        self._left -= len(data)
        if self._left < 0:
            self._cut_off()

    def writeSequence(self, pieces: Iterable[bytes]) -> None:
        """Send several pieces of an answer."""
        self.write(b"".join(pieces))

    def requestDone(self, request: Request) -> None:
        """The answer is complete, or would have been."""
        self._done = True
        if self._cut and self._is_http2:
            self._channel.abortConnection()
            return
        if self._cut:
            self.persistent = False
        self._channel.requestDone(request)

    def _cut_off(self) -> None:
        self._cut = True
        if self._fault == "reset" and not self._is_http2:
            self._channel.abortConnection()
        else:
            self._reactor.callLater(0, self._close)

    def _close(self) -> None:
        """End an answer that would go on."""
        request = self._request
        if self._done or request._disconnected:
            return
        producer = request.producer
        if producer is not None:
            request.unregisterProducer()
            producer.stopProducing()
        if self._is_http2:
            self._channel.abortConnection()
            request.connectionLost(Failure(ConnectionAborted()))
        else:
            self._channel.loseConnection()


class _HeldHead:
    """Stands in the place of a channel and keeps the head of an answer."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Headers) -> None:
        """Take the head."""
        self.code, self.reason, self.headers = code, reason, headers
        self.lines = [
            b"HTTP/1.1 %b %b\r\n" % (code, reason),
            *(b"%b: %b\r\n" % (name, value) for name, values in headers.getAllRawHeaders() for value in values),
            b"\r\n",
        ]


async def drip_head(request: Request, reactor: Any, seconds: float) -> None:
    """
    Send the head of an answer line by line; over HTTP/2, where it has no lines, at once in the end.

    The answer must declare its length.

    :param seconds: that it takes.
    """
    channel, held = request.channel, _HeldHead()
    request.channel = held
    request.write(b"")
    request.channel = channel
    if request.clientproto == b"HTTP/2":
        await deferLater(reactor, seconds)
        channel.writeHeaders(b"HTTP/1.1", held.code, held.reason, held.headers)
        return
    for line in held.lines:
        await deferLater(reactor, seconds / len(held.lines))
        channel.write(line)
