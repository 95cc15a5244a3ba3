"""
What is kept of one request.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any

from mixweb.engine.authority import Authority, parse_authority
from mixweb.engine.request import Request
from mixweb.interfaces import IClientAddress, ISessionTag, IUser
from mixweb.kit.received import received_fields, received_target
from mixweb.paths import CanonicalPath
from mixweb.route import HostStation, Trace

if TYPE_CHECKING:
    from mixweb.features.inspect._recorder import Recorder

#: What a record takes besides bodies and heads, in bytes: about.
_RECORD_BYTES = 4096

#: So many pieces of a body are kept apart: each takes more memory than it has bytes when it is short.
_MOST_PIECES = 64


@dataclass(frozen=True)
class Limits:
    """
    How much is kept.

    :ivar requests: how many requests; half of them can be pinned.
    :ivar body_bytes: of one body.
    :ivar bytes: of all together.
    """

    requests: int
    body_bytes: int
    bytes: int


class Body:
    """
    The beginning of a body.

    :ivar size: bytes of the whole.
    """

    __slots__ = ("_pieces", "kept", "size")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self.kept = 0
        self.size = 0

    def add(self, data: bytes, most: int) -> int:
        """
        The next piece.

        :param most: how many bytes of the body may be kept.
        :returns: how many bytes of the piece are kept.
        """
        self.size += len(data)
        room = most - self.kept
        if room <= 0 or self.kept < self.size - len(data):
            return 0
        piece = data[:room]
        self._pieces.append(piece)
        self.kept += len(piece)
        if len(self._pieces) > _MOST_PIECES:
            self._join()
        return len(piece)

    @property
    def data(self) -> bytes:
        """What is kept."""
        if len(self._pieces) > 1:
            self._join()
        return self._pieces[0] if self._pieces else b""

    def _join(self) -> None:
        self._pieces = [b"".join(self._pieces)]

    @property
    def complete(self) -> bool:
        """Whether all of it is kept."""
        return self.kept == self.size


class Record(Trace):
    """
    One request with its answer.

    :ivar id: its number; later ones have higher numbers.
    :ivar version: changes with every change of the record.
    :ivar time: when it began, in seconds since the epoch.
    :ivar began: the same of ``time.monotonic()``.
    :ivar target: as received; empty where the request line could not be read.
    :ivar fields: the header lines in the order and case received.
    :ivar exact: whether the order of lines of different names is the one received.
    :ivar path: the canonical path that was answered; ``None`` before it is known.
    :ivar unread: what could not be read as a request.
    :ivar steps: the parts it came to, in their order.
    :ivar seconds: from its beginning to the end of the answer; ``None`` while it is answered.
    :ivar first: seconds until the head of the answer was complete.
    :ivar state: ``open``, ``done``, ``left`` (the client did, before the end) or ``refused`` (before any part saw it).
    :ivar own: whether the inspector itself was asked.
    """

    __slots__ = (
        "_recorder", "address", "answer", "answer_body", "began", "body", "client", "exact", "fields", "first", "host", "id",
        "local", "method", "note", "own", "path", "pinned", "reason", "replay_of", "seconds", "secure", "session",
        "size", "state", "status", "target", "time", "tls", "unread", "user", "version", "wire",
    )  # fmt: skip

    def __init__(self, recorder: Recorder, number: int, request: Request, now: float) -> None:
        super().__init__()
        self._recorder = recorder
        self.id = self.version = number
        self.time = now - (monotonic() - request.received)
        self.began = request.received
        self.method = request.method if isinstance(request.method, bytes) else b"-"
        self.target = received_target(request)
        self.fields: Sequence[tuple[bytes, bytes]] = received_fields(request)
        self.exact = request.head is not None
        self.wire = request.clientproto
        self.secure = request.isSecure()
        self.tls = _tls_facts(request)
        self.address = _host(request.getClientAddress())
        self.local = request.getHost()
        self.host = (request.requestHeaders.getRawHeaders(b"Host") or [b""])[0]
        self.path: CanonicalPath | None = None
        self.unread = b""
        self.body, self.answer_body = Body(), Body()
        self.client, self.user, self.session = self.address, "", ""
        self.status, self.reason = 0, b""
        self.answer: Sequence[tuple[bytes, bytes]] = ()
        self.first: float | None = None
        self.seconds: float | None = None
        self.state = "open"
        self.pinned = self.own = False
        self.note = ""
        self.replay_of: int | None = getattr(request.transport, "replay_of", None)
        self.size = _RECORD_BYTES + 3 * (len(self.target) + sum(len(name) + len(value) for name, value in self.fields))

    def received(self, data: bytes) -> None:
        """A piece of the request's body has arrived."""
        self._recorder.keep(self, self.body, data)

    def sent(self, data: bytes) -> None:
        """A piece of the answer's body leaves."""
        self._recorder.keep(self, self.answer_body, data)

    def answered(self, request: Request) -> None:
        """The head of the answer is complete."""
        self.first = monotonic() - self.began
        self._take_answer(request)
        self._recorder.changed(self)

    def end(self, request: Request) -> None:
        """The request has ended, well or not."""
        self.seconds = monotonic() - self.began
        if self.state == "open":
            self.state = "done" if request.finished else "left"
        self._take_answer(request)
        self.secure = request.isSecure()
        address = IClientAddress(request, None)
        user, session = IUser(request, None), ISessionTag(request, None)
        self.client = self.address if address is None else str(address.host)
        self.user = "" if user is None else str(user.name)
        self.session = "" if session is None else str(session.tag)

    def _take_answer(self, request: Request) -> None:
        self.status, self.reason = request.code, request.code_message
        self.answer = [(name, value) for name, values in request.responseHeaders.getAllRawHeaders() for value in values]
        self.path = getattr(request, "canonical_path", None)

    @property
    def authority(self) -> Authority | None:
        """The host that was asked for; ``None`` when none was named, or what was named is none."""
        try:
            return parse_authority(self.host)
        except ValueError:
            return None

    @property
    def decided(self) -> str:
        """The name of the part that answered; empty where none did."""
        last = self.steps[-1] if self.steps else None
        return "" if last is None or last.declined or not last.station.answers else str(last.station.name)

    @property
    def vhost(self) -> str:
        """The name of the virtual host."""
        return next((step.station.name for step in self.steps if isinstance(step.station, HostStation)), "")


def _host(address: Any) -> str:
    return str(getattr(address, "host", "") or "")


def _tls_facts(request: Request) -> Any:
    """What was agreed on for the connection; ``None`` where it is not TLS or the transport does not tell."""
    # A stream of HTTP/2 has no transport of its own.
    facts = getattr(request.transport or request.channel, "facts", None) if request.isSecure() else None
    return facts() if callable(facts) else None
