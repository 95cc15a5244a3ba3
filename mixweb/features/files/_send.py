"""
Sending pieces of a file as fast as the client takes them.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable
from typing import Any

from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from mixweb.engine.channel import Channel
from mixweb.engine.request import Request
from mixweb.engine.transports import file_sender
from mixweb.kit.ranges import Piece, Span

#: How much of a file is read at once, in bytes.
CHUNK_BYTES = 128 * 1024

#: How much one answer writes before others get their turn, in bytes.
TURN_BYTES = 512 * 1024


@implementer(IPushProducer)
class PieceProducer:
    """
    Writes pieces of a file to a request and finishes it.

    A file that turns out shorter has the connection dropped: what is missing is never made up.

    :param descriptor: of the file; closed when the request ends, however it ends.
    """

    _log = Logger()

    def __init__(self, request: Request, descriptor: int, pieces: Iterable[Piece]) -> None:
        self.request = request
        self.descriptor = descriptor
        self.pieces = deque(pieces)
        self.paused = False
        self._writing = False
        self._turn: Any = None

    def start(self) -> None:
        """Begin to send."""
        self.request.notifyFinish().addBoth(self._end)
        self.request.registerProducer(self, True)
        self._write()

    def pauseProducing(self) -> None:
        """The client does not take more for now."""
        self.paused = True

    def resumeProducing(self) -> None:
        """The client has taken what was written."""
        self.paused = False
        if not self._writing and self._turn is None:
            self._write()

    def stopProducing(self) -> None:
        """The client has left."""
        self.paused = True

    def _write(self) -> None:
        self._turn = None
        self._writing = True
        room = TURN_BYTES
        try:
            while self.pieces and room > 0 and not self.paused:
                data = self._take()
                self.request.write(data)
                room -= len(data)
        except OSError as reason:
            self._log.warn("{uri}: {reason}; connection dropped", uri=self.request.uri, reason=str(reason))
            self.request.abort()
            return
        finally:
            self._writing = False
        if not self.pieces and self.descriptor >= 0:
            self.request.unregisterProducer()
            self.request.finish()
        elif not self.paused:
            self._turn = self.request.site.reactor.callLater(0, self._write)

    def _take(self) -> bytes:
        """
        The next bytes to send.

        :raises OSError: when the file has not what it had.
        """
        taken: list[bytes] = []
        room = CHUNK_BYTES
        while self.pieces and room > 0:
            piece = self.pieces.popleft()
            if isinstance(piece, Span):
                data = os.pread(self.descriptor, min(room, piece.size), piece.start)
                if len(data) < min(room, piece.size):
                    raise OSError("the file became shorter while it was sent")
                if len(data) < piece.size:
                    self.pieces.appendleft(Span(piece.start + len(data), piece.size - len(data)))
            else:
                data = piece
            taken.append(data)
            room -= len(data)
        return b"".join(taken)

    def _end(self, _: object) -> None:
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        self.paused = True
        descriptor, self.descriptor = self.descriptor, -1
        os.close(descriptor)


def send(request: Request, descriptor: int, pieces: list[Piece]) -> int:
    """
    Send pieces of an open file after the head of the answer, and finish the request.

    :param descriptor: closed in the end.
    :returns: ``NOT_DONE_YET``, so that a resource may return it.
    """
    if len(pieces) == 1 and isinstance(pieces[0], Span):
        request.write(b"")
        transport = _plain_transport(request)
        if transport is not None:
            _hand_over(request, transport, descriptor, pieces[0])
            return NOT_DONE_YET
    PieceProducer(request, descriptor, pieces).start()
    return NOT_DONE_YET


def _plain_transport(request: Request) -> Any:
    """What sends a file as it is, in the body of this answer; ``None`` where its bytes pass through something else."""
    plain = isinstance(request.channel, Channel) and request.body_is_plain
    return file_sender(request.channel.transport) if plain else None


def _hand_over(request: Request, transport: Any, descriptor: int, span: Span) -> None:
    """Have the kernel send it."""
    gone: list[object] = []
    request.notifyFinish().addErrback(gone.append)
    file = os.fdopen(descriptor, "rb", buffering=0)

    def count(sent: int) -> None:
        request.sentLength += sent

    try:
        sending = transport.sendfile(file, span.start, span.size, count)
    except ValueError:
        request.abort()
        return
    sending.addCallbacks(lambda _: request.finish(), lambda _: None if gone else request.abort())
