"""
The body of one request, and who gets it.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from twisted.python.failure import Failure

from mixweb.engine.errors import HTTPError

if TYPE_CHECKING:
    from mixweb.engine._receiving import ReceivingRequest

#: What is kept of a body in memory, in bytes; the rest goes to a file.
SPOOL_BYTES = 100_000

#: A body that was kept is given to a receiver in pieces of so many bytes,
PIECE_BYTES = 64 * 1024

#: and others have their turn after so many of them.
_TURN_PIECES = 16


def too_long(limit: int, length: int | None = None) -> str:
    """What a client is told whose body is refused."""
    if length is None:
        return f"The body is longer than {limit} bytes."
    return f"The body has {length} bytes; at most {limit} are accepted."


def _file_for(length: int | None) -> BinaryIO:
    if length is not None and length <= SPOOL_BYTES:
        return BytesIO()
    return cast(BinaryIO, SpooledTemporaryFile(SPOOL_BYTES))


def attempt(request: ReceivingRequest, call: Callable[[], object]) -> None:
    """Call what belongs to a request; when it fails, the request does."""
    try:
        call()
    except Exception:
        request.processingFailed(Failure())


class IncomingBody:
    """
    The body of a request, which is told to each method: kept as a whole, or handed on piece by piece.

    :ivar length: of it, as announced, in bytes; ``None`` when it is not known.
    :ivar arrived: whether all of it is there.
    :ivar paused: whether nothing of it is to be handed on for now.
    """

    # What most bodies never need is not set on them.
    arrived = False
    paused = False

    _content: BinaryIO | None = None
    _data: Callable[[bytes], None] | None = None
    _complete: Callable[[], None] | None = None
    _waiting: tuple[Callable[[Any], None], ...] = ()
    _replay: _Replay | None = None

    def __init__(self, length: int | None) -> None:
        self.length = length

    # What arrives

    def take(self, request: ReceivingRequest, data: bytes) -> None:
        """Hand the next piece on, or keep it."""
        receive = self._data
        if receive is not None:
            attempt(request, lambda: receive(data))
            return
        if self._content is None:
            self._content = request.content = _file_for(self.length)
        self._content.write(data)

    def end(self, request: ReceivingRequest) -> None:
        """That was all of it."""
        self.arrived = request.body_complete = True
        if self._content is not None:
            self._content.seek(0)
        if self._complete is not None or self._waiting:
            self._tell(request)

    def _tell(self, request: ReceivingRequest) -> None:
        # They may have been asked for when there was no form yet.
        request.__dict__.pop("args", None)
        complete, self._data, self._complete = self._complete, None, None
        waiting, self._waiting = self._waiting, ()
        if complete is not None:
            attempt(request, complete)
        for callback in waiting:
            if not request.is_over:
                attempt(request, lambda: callback(request))  # noqa: B023 - called at once

    def limit_changed(self, request: ReceivingRequest) -> None:
        """A body that is there may be too long, or short enough now."""
        if self.arrived:
            request.body_complete = request._received_bytes <= request.max_body_bytes

    # Who gets it

    def keep(self, request: ReceivingRequest, callback: Callable[[Any], None]) -> None:
        """
        Call back when it has been kept as a whole.

        :raises HTTPError: 413 when it is too long.
        """
        self._check(request)
        if self.arrived:
            callback(request)
        elif self._data is not None:
            raise RuntimeError("the body of this request is not kept: somebody receives it")
        else:
            self._waiting = (*self._waiting, callback)
            self._resume_channel(request)

    def hand_on(self, request: ReceivingRequest, data: Callable[[bytes], None], complete: Callable[[], None]) -> None:
        """
        Hand it on piece by piece.

        :raises HTTPError: 413 when it is too long.
        """
        self._check(request)
        if self._data is not None or self._replay is not None:
            raise RuntimeError("the body of this request is received by somebody else")
        if self.arrived or self._waiting:
            self._replay = _Replay(self, data, complete)
            self.keep(request, self._replay.begin)
        else:
            self._data, self._complete = data, complete
            self._resume_channel(request)

    def _check(self, request: ReceivingRequest) -> None:
        length = request._received_bytes if self.arrived else self.length
        if length is not None and length > request.max_body_bytes:
            request.close_after()
            raise HTTPError(413, too_long(request.max_body_bytes, length))

    # How fast

    def pause(self, request: ReceivingRequest) -> None:
        """Hand on nothing more for now."""
        self.paused = True
        if not self.arrived and hasattr(request.channel, "pause_body"):
            request.channel.pause_body()

    def resume(self, request: ReceivingRequest) -> None:
        """Go on handing it on."""
        self.paused = False
        if self._replay is not None:
            self._replay.go_on()
        elif self._data is not None or self._waiting:
            self._resume_channel(request)

    def _resume_channel(self, request: ReceivingRequest) -> None:
        if not self.paused and hasattr(request.channel, "resume_body"):
            request.channel.resume_body()


class _Replay:
    """Gives a receiver a body that was kept."""

    __slots__ = ("_body", "_complete", "_data", "_request", "_running")

    def __init__(self, body: IncomingBody, data: Callable[[bytes], None], complete: Callable[[], None]) -> None:
        self._request: ReceivingRequest | None = None
        self._body = body
        self._data = data
        self._complete = complete
        self._running = False

    def begin(self, request: ReceivingRequest) -> None:
        """Give it from its beginning."""
        self._request = request
        request.content.seek(0)
        self.go_on()

    def go_on(self) -> None:
        """Give some more."""
        request = self._request
        if request is not None and not self._running:
            self._running = True
            attempt(request, lambda: self._give(request))
            self._running = False

    def _give(self, request: ReceivingRequest) -> None:
        for _ in range(_TURN_PIECES):
            if self._body.paused or request.is_over:
                return
            piece = request.content.read(PIECE_BYTES)
            if not piece:
                self._request = None
                self._complete()
                return
            self._data(piece)
        request.site.reactor.callLater(0, self.go_on)
