"""
One call of a WSGI application (PEP 3333), in a thread.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from io import BufferedReader
from threading import Event
from types import TracebackType
from typing import Any, TypeAlias

from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from mixweb.engine.request import Request
from mixweb.features._wsgi_environ import ErrorLog, make_environ
from mixweb.features._wsgi_input import StreamedInput
from mixweb.kit.bodylength import BodyLength, declared_length

Application: TypeAlias = Callable[..., Iterable[bytes]]
_ExcInfo: TypeAlias = tuple[type[BaseException], BaseException, TracebackType]

_STATUS = re.compile(r"([2-9]\d\d)(?: ([\t\x20-\x7e\x80-\xff]*))?\Z")

#: What belongs to the server: an application's are dropped.
_SERVER_FIELDS = frozenset(
    b"connection date keep-alive proxy-connection server te trailer transfer-encoding upgrade".split()
)


def parse_status(status: Any) -> tuple[int, bytes]:
    """
    Status code and reason phrase.

    :raises ValueError: when it is not like ``200 OK``.
    """
    found = _STATUS.match(status) if isinstance(status, str) else None
    if found is None:
        raise ValueError(f"the status must be text like '200 OK', not {status!r}")
    return int(found[1]), (found[2] or "").encode("latin-1")


def parse_fields(headers: Any) -> list[tuple[bytes, bytes]]:
    """
    The fields of an answer, without those that belong to the server.

    :raises ValueError: when they are not pairs of text in ISO-8859-1.
    """
    try:
        pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    except (TypeError, ValueError, AttributeError):
        raise ValueError(f"headers must be a list of pairs of text, not {headers!r}") from None
    return [(name, value) for name, value in pairs if name.lower() not in _SERVER_FIELDS]


#: A body of so many bytes that is there at once is sent in one piece.
_WHOLE_BYTES = 64 * 1024

#: What may be on its way from an application to the reactor, in bytes, before the application waits.
_AHEAD_BYTES = 128 * 1024


class _Flow:
    """
    Lets an application run no faster than its client takes what it writes.

    :ivar given: what it has written, in bytes; counted in its thread.
    """

    def __init__(self) -> None:
        self.given = 0
        self._sent = 0
        self._over = False
        self._progress = Event()
        self._taken = Event()
        self._taken.set()

    def wait(self) -> None:
        """In the application's thread: until more may be written."""
        while self.given - self._sent > _AHEAD_BYTES and not self._over:
            self._progress.wait()
            self._progress.clear()
        self._taken.wait()

    def add_sent(self, size: int) -> None:
        """So many bytes have been sent on."""
        self._sent += size
        self._progress.set()

    def pause(self) -> None:
        """The client takes no more for now."""
        if not self._over:
            self._taken.clear()

    def resume(self) -> None:
        """The client takes more."""
        self._taken.set()

    def end(self) -> None:
        """Nobody waits for the client any more."""
        self._over = True
        self._progress.set()
        self._taken.set()


@implementer(IPushProducer)
class Call:
    """
    One call of an application: :meth:`run` in a thread, everything that touches the request in the reactor's.

    The application waits while the client does not take what was sent.

    :param hand_over: has work done in the reactor's thread.
    :param multithread: whether other calls may run at the same time.
    :param body: the body, where it is still arriving.
    """

    _log = Logger(namespace="mixweb.features.wsgi")

    def __init__(
        self,
        application: Application,
        request: Request,
        hand_over: Callable[..., None],
        multithread: bool,
        body: StreamedInput | None = None,
    ) -> None:
        self.application = application
        self.request = request
        self.hand_over = hand_over
        self.multithread = multithread
        self.input = body
        self.status: tuple[int, bytes] | None = None
        self.fields: list[tuple[bytes, bytes]] = []
        self.length: int | None = None
        self.body: BodyLength | None = None
        self.begun = False
        self.complete = False
        self.gone = False
        self._flow: _Flow | None = None
        request.notifyFinish().addBoth(self._ended)

    # In the application's thread

    def run(self) -> None:
        """Call the application and send what it gives."""
        if self.gone:
            return
        # The application may put something else into its environment.
        errors = ErrorLog()
        try:
            body = BufferedReader(self.input) if self.input else None
            environ = make_environ(self.request, errors, self.multithread, body)
            self._iterate(self.application(environ, self.start_response))
            if self.status is None:
                raise RuntimeError("the application did not call start_response")
        except BaseException:
            self._end(errors, self._fail, Failure())
        else:
            self._end(errors, self._finish)

    def _end(self, errors: ErrorLog, work: Callable[..., None], *arguments: Any) -> None:
        errors.flush()
        self._later(work, *arguments)

    def _iterate(self, pieces: Iterable[bytes]) -> None:
        try:
            if type(pieces) is list and self._flow is None and self._are_all(pieces):
                self._later(self._complete, b"".join(pieces))
                return
            for piece in pieces:
                if piece:
                    self.write(piece)
                if self.gone:
                    return
        finally:
            close = getattr(pieces, "close", None)
            if close is not None:
                close()

    def _later(self, work: Callable[..., None], *arguments: Any) -> None:
        self.hand_over(self._do, work, *arguments)

    def _are_all(self, pieces: list[bytes]) -> bool:
        """Whether pieces are a whole short body that nothing is wrong with."""
        if self.status is None or not all(type(piece) is bytes for piece in pieces):
            return False
        size = sum(map(len, pieces))
        return 0 < size <= _WHOLE_BYTES and self.length in (None, size)

    def start_response(self, status: str, headers: list[tuple[str, str]], exc_info: _ExcInfo | None = None) -> Any:
        """The application's ``start_response``."""
        if exc_info is not None:
            try:
                if self._flow is not None:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None
        elif self.status is not None:
            raise RuntimeError("the application called start_response twice")
        self.status, self.fields = parse_status(status), parse_fields(headers)
        self.length = declared_length([value for name, value in self.fields if name.lower() == b"content-length"])
        return self.write

    def write(self, data: bytes) -> None:
        """Send a piece of the body, and wait until the client takes more."""
        if not isinstance(data, bytes):
            raise TypeError(f"the application gave {type(data).__name__} in the place of bytes")
        if self.status is None:
            raise RuntimeError("the application gave a body before it called start_response")
        if self.gone:
            return
        if self._flow is None:
            self._flow = _Flow()
        self._flow.given += len(data)
        self._later(self._send, data)
        self._flow.wait()

    # In the reactor's thread

    def _do(self, work: Callable[..., None], *arguments: Any) -> None:
        if self.gone:
            return
        try:
            work(*arguments)
        except Exception:
            self._fail(Failure())

    def _begin(self) -> None:
        assert self.status is not None
        self.begun = True
        request = self.request
        request.defaultContentType = None
        request.setResponseCode(*self.status)
        for name, value in self.fields:
            request.responseHeaders.addRawHeader(name, value)
        self.body = BodyLength(request)

    def _complete(self, body: bytes) -> None:
        if self.begun:
            self._send(body)
        else:
            self._begin()
            self.complete = True
            self.request.complete(body)

    def _send(self, data: bytes) -> None:
        if self._flow is not None:
            self._flow.add_sent(len(data))
        if not self.begun:
            if len(data) == self.length:
                self._complete(data)
                return
            self._begin()
            self.request.registerProducer(self, True)
        assert self.body is not None
        kept = self.body.cut(data)
        if len(kept) < len(data):
            self._log.error("{uri}: the application gave more than its Content-Length", uri=self.request.uri)
        self.request.write(kept)

    def _finish(self) -> None:
        if not self.begun:
            self._begin()
        if self.request.producer:
            self.request.unregisterProducer()
        assert self.body is not None
        if self.body.left:
            self._fail(Failure(ValueError(f"the application gave {self.body.left} bytes less than its Content-Length")))
            return
        if self.request.method == b"HEAD":
            self.request.write(b"")
        self.request.finish()

    def _fail(self, reason: Failure) -> None:
        if self.request.producer:
            self.request.unregisterProducer()
        self.request.processingFailed(reason)

    def _ended(self, _: object) -> None:
        self.gone = True
        if self._flow is not None:
            self._flow.end()
        if self.input is not None:
            self.input.abandon()

    def pauseProducing(self) -> None:
        """The client takes no more for now."""
        if self._flow is not None:
            self._flow.pause()

    def resumeProducing(self) -> None:
        """The client takes more."""
        if self._flow is not None:
            self._flow.resume()

    def stopProducing(self) -> None:
        """The client has left."""
