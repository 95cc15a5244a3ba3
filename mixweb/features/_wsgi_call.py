"""
One call of a WSGI application (PEP 3333), in a thread.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from io import TextIOBase
from threading import Event
from types import TracebackType
from typing import Any, TypeAlias

from twisted.internet.interfaces import IPushProducer
from twisted.internet.threads import blockingCallFromThread
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from mixweb.engine.request import Request
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


@implementer(IPushProducer)
class Call:
    """
    One call of an application: :meth:`run` in a thread, everything that touches the request in the reactor's.

    The application waits while the client does not take what was sent.
    """

    _log = Logger(namespace="mixweb.features.wsgi")

    def __init__(self, application: Application, request: Request, environ: dict[str, Any], reactor: Any) -> None:
        self.application = application
        self.request = request
        self.errors: TextIOBase = environ["wsgi.errors"]
        self.environ = environ
        self.reactor = reactor
        self.status: tuple[int, bytes] | None = None
        self.fields: list[tuple[bytes, bytes]] = []
        self.length: int | None = None
        self.body: BodyLength | None = None
        self.begun = False
        self.gone = False
        self._taken = Event()
        self._taken.set()
        request.notifyFinish().addBoth(self._ended)

    # In the application's thread

    def run(self) -> None:
        """Call the application and send what it gives."""
        if self.gone:
            return
        reason = self._call()
        self.errors.flush()
        if reason is None:
            self._later(self._finish)
        else:
            self._later(self._fail, reason)

    def _call(self) -> Failure | None:
        try:
            self._iterate(self.application(self.environ, self.start_response))
            if self.status is None:
                raise RuntimeError("the application did not call start_response")
        except BaseException:
            return Failure()
        return None

    def _iterate(self, pieces: Iterable[bytes]) -> None:
        try:
            if type(pieces) is list and len(pieces) == 1 and self._is_all(pieces[0]):
                self._later(self._complete, pieces[0])
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
        self.reactor.callFromThread(self._do, work, *arguments)

    def _is_all(self, piece: bytes) -> bool:
        """Whether a piece is a whole body that nothing is wrong with."""
        return bool(piece) and type(piece) is bytes and self.status is not None and self.length in (None, len(piece))

    def start_response(self, status: str, headers: list[tuple[str, str]], exc_info: _ExcInfo | None = None) -> Any:
        """The application's ``start_response``."""
        if exc_info is not None:
            try:
                if self.begun:
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
        if not self.gone:
            blockingCallFromThread(self.reactor, self._send, data)
            self._taken.wait()

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
            self.request.complete(body)

    def _send(self, data: bytes) -> None:
        if self.gone:
            return
        if not self.begun:
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
        self._taken.set()

    def pauseProducing(self) -> None:
        """The client takes no more for now."""
        if not self.gone:
            self._taken.clear()

    def resumeProducing(self) -> None:
        """The client takes more."""
        self._taken.set()

    def stopProducing(self) -> None:
        """The client has left."""
        self._taken.set()
