"""
Requests sent again, to this server and no other: over a connection that exists in memory only.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IPushProducer, ISSLTransport, ITransport
from twisted.python.failure import Failure
from zope.interface import alsoProvides, implementer

from mixweb.features.inspect._record import Record
from mixweb.features.inspect._recorder import Recorder
from mixweb.features.inspect._show import lines, request_line
from mixweb.kit.secrets import Secrets

#: How long an answer is waited for, in seconds.
PATIENCE = 10.0

#: An answer is not taken further than this, in bytes.
MOST_BYTES = 16 * 1024 * 1024

#: What frames a message, and is made anew for one that was changed.
_FRAMING = (b"content-length", b"transfer-encoding")


def message_of(head: str, body: bytes, original: Record | None, secrets: Secrets, frame: bool = True) -> bytes:
    """
    The bytes of a request that somebody has written, or changed.

    :param head: the request line and the header lines. A line that stands as it was shown is the original's, also where
        something in it was hidden.
    :param frame: whether ``Content-Length`` is set right; else all is sent as it is written.
    """
    known = {} if original is None else _known_lines(original, secrets)
    written = [known.get(line, line.encode()) for line in head.replace("\r\n", "\n").rstrip("\n").split("\n")]
    if frame:
        written = _framed(written, body)
    return b"\r\n".join([*written, b"", body])


def _known_lines(record: Record, secrets: Secrets) -> dict[str, bytes]:
    """The lines of a record by how they are shown."""
    line = b"%b %b %b" % (record.method, record.target, record.wire)
    shown = [f"{name}: {value}" for name, value in lines(record.fields, secrets)]
    sent = [name + b": " + value for name, value in record.fields]
    return {request_line(record, secrets): line, **dict(zip(shown, sent, strict=True))}


def _framed(head: list[bytes], body: bytes) -> list[bytes]:
    length = b"Content-Length: %d" % len(body)
    places = [index for index, line in enumerate(head) if line.partition(b":")[0].strip().lower() in _FRAMING]
    framed = [line for index, line in enumerate(head) if index not in places[1:]]
    if places:
        framed[places[0]] = length
    elif body:
        framed.append(length)
    return framed


@implementer(ITransport, IPushProducer)
class Line:
    """
    The transport of a request that is sent again. What is answered is dropped: the record of the request has it.

    :ivar record: of the request, as soon as the server knows it for one.
    :ivar over: fires when the request has ended, or the server hangs up.
    """

    disconnecting = False
    offset = 0
    dataBuffer = b""

    def __init__(self, peer: Any, host: Any, secure: bool, replay_of: int) -> None:
        self.replay_of = replay_of
        self.record: Record | None = None
        self.over: Deferred[None] = Deferred()
        self._peer = peer
        self._host = host
        self._taken = 0
        if secure:
            alsoProvides(self, ISSLTransport)

    def recorded(self, record: Record) -> None:
        """The server has read a request."""
        self.record = self.record or record

    def ended(self, record: Record) -> None:
        """Some request has ended."""
        if record is self.record:
            self.abortConnection()

    def write(self, data: bytes) -> None:
        self._taken += len(data)
        if self._taken > MOST_BYTES:
            self.abortConnection()

    def writeSequence(self, data: Any) -> None:
        for piece in data:
            self.write(piece)

    def abortConnection(self) -> None:
        self.disconnecting = True
        if not self.over.called:
            self.over.callback(None)

    loseConnection = loseWriteConnection = abortConnection

    def getPeer(self) -> Any:
        return self._peer

    def getHost(self) -> Any:
        return self._host

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Nothing is delayed."""

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """All is taken at once."""

    def unregisterProducer(self) -> None:
        """All is taken at once."""

    def pauseProducing(self) -> None:
        """What is sent was sent."""

    resumeProducing = stopProducing = pauseProducing


async def send(recorder: Recorder, site: Any, line: Line, message: bytes) -> Record:
    """
    Send a request to a site, and wait for the end of its answer, or for :data:`PATIENCE` seconds.

    :returns: its record.
    :raises ValueError: when it is no whole request.
    """
    channel = site.buildProtocol(line.getPeer())
    recorder.ended.append(line.ended)
    try:
        channel.makeConnection(line)
        channel.dataReceived(message)
        if line.record is None:
            raise ValueError("this is not a whole request: it ends before its head, or its body, does")
        await line.over.addTimeout(PATIENCE, site.reactor)
    except TimeoutError:
        pass
    finally:
        recorder.ended.remove(line.ended)
        channel.connectionLost(Failure(ConnectionDone()))
    assert line.record is not None
    return line.record
