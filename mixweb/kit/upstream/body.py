"""
The body of a request on its way to another server. What is sent is framed anew, never copied.
"""

from __future__ import annotations

from typing import BinaryIO, Protocol

from twisted.internet.interfaces import IDelayedCall
from twisted.web.http import toChunk

from mixweb.engine.errors import HTTPError
from mixweb.engine.request import Request
from mixweb.kit.upstream.connection import Connection

#: Bytes of a kept body that are sent at once.
_PIECE = 64 * 1024

#: How long a server may take to say whether it wants a body, in seconds.
EXPECT_SECONDS = 1.0

#: Methods whose requests say that there is no body, when there is none (RFC 9110, 8.6).
_MAY_HAVE_BODY = frozenset([b"POST", b"PUT", b"PATCH"])


class Body(Protocol):
    """
    A body that is to be sent.

    :ivar framing: the fields that say where it ends.
    :ivar replayable: whether it can be sent again.
    """

    framing: bytes
    replayable: bool

    def begin(self, connection: Connection, head: bytes) -> None:
        """
        Send a request to the end.

        :param head: all of it, with :attr:`framing`.
        """

    def go_on(self) -> None:
        """The server wants the body (RFC 9110, 10.1.1)."""

    def pause(self) -> None:
        """Send no more for now."""

    def resume(self) -> None:
        """Send on."""

    def stop(self) -> None:
        """Send nothing more, and read nothing more from the client."""


class NoBody:
    """There is none."""

    replayable = True

    def __init__(self, framing: bytes = b"") -> None:
        self.framing = framing

    def begin(self, connection: Connection, head: bytes) -> None:
        connection.sent()
        connection.send(head)

    def pause(self) -> None:
        """Nothing to pause."""

    go_on = resume = stop = pause


_NONE, _EMPTY = NoBody(), NoBody(b"Content-Length: 0\r\n")


def no_body(method: bytes) -> NoBody:
    """What a request without a body sends in the place of one."""
    return _EMPTY if method in _MAY_HAVE_BODY else _NONE


class KeptBody:
    """
    A body that has arrived.

    :param content: a file that it begins at the start of.
    :param length: its bytes.
    """

    replayable = True

    def __init__(self, content: BinaryIO, length: int) -> None:
        self.content = content
        self.framing = b"Content-Length: %d\r\n" % length
        self._left = length
        self._length = length
        self._connection: Connection | None = None
        self._paused = False

    def begin(self, connection: Connection, head: bytes) -> None:
        self._connection = connection
        self._paused = False
        self._left = self._length
        self.content.seek(0)
        self._send(connection, head + self._read())
        self._send_on()

    def _read(self) -> bytes:
        piece = self.content.read(min(self._left, _PIECE))
        self._left -= len(piece)
        return piece

    def _send(self, connection: Connection, data: bytes) -> None:
        if not self._left:
            self._connection = None
            connection.sent()
        connection.send(data)

    def go_on(self) -> None:
        """It is on its way already."""

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        self._paused = False
        self._send_on()

    def _send_on(self) -> None:
        while self._connection is not None and not self._paused:
            self._send(self._connection, self._read())

    def stop(self) -> None:
        self._connection = None


class StreamedBody:
    """
    A body that is sent while it arrives.

    A client that waits to be told to continue is told so when the server does, or does not say anything for
    :data:`EXPECT_SECONDS`.

    :param length: its bytes; ``None`` when that is not known.
    """

    replayable = False

    def __init__(self, request: Request, length: int | None, expects: bool) -> None:
        self.request = request
        self.chunked = length is None
        self.expects = expects
        self.framing = b"Transfer-Encoding: chunked\r\n" if length is None else b"Content-Length: %d\r\n" % length
        if expects:
            self.framing += b"Expect: 100-continue\r\n"
        self._connection: Connection | None = None
        self._patience: IDelayedCall | None = None

    def begin(self, connection: Connection, head: bytes) -> None:
        self._connection = connection
        connection.send(head)
        if self.expects:
            self._patience = self.request.site.reactor.callLater(EXPECT_SECONDS, self.go_on)
        else:
            self.request.receive_body(self._data, self._complete)

    def go_on(self) -> None:
        if self.expects and self._connection is not None:
            self.expects = False
            self._stop_waiting()
            self.request.receive_body(self._data, self._complete)

    def _stop_waiting(self) -> None:
        if self._patience is not None and self._patience.active():
            self._patience.cancel()

    def _data(self, data: bytes) -> None:
        if self._connection is not None and data:
            self._connection.send(b"".join(toChunk(data)) if self.chunked else data)

    def _complete(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.sent()
            if self.chunked:
                connection.send(b"0\r\n\r\n")

    def pause(self) -> None:
        if self._connection is not None:
            self.request.pause_body()

    def resume(self) -> None:
        if self._connection is not None and not self.expects:
            self.request.resume_body()

    def stop(self) -> None:
        self._connection = None
        self._stop_waiting()


def body_of(request: Request) -> Body:
    """
    The body of a request.

    :raises HTTPError: 413 when it is too long.
    """
    if request.body_complete:
        received = request._received_bytes
        return KeptBody(request.content, received) if received else no_body(request.method)
    announced = None if request._body is None else request._body.length
    if announced is not None and announced > request.max_body_bytes:
        request.close_after()
        raise HTTPError(413, f"The body has {announced} bytes; at most {request.max_body_bytes} are accepted.")
    return StreamedBody(request, announced, request.head is not None and request.head.fields.expect != b"")
