"""
What is kept of requests: as much as there is room for, the latest ones, and those that were pinned.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

from mixweb.engine.authority import Authority, parse_authority
from mixweb.engine.request import Request
from mixweb.interfaces import IClientAddress, ISessionTag, IUser
from mixweb.kit.received import received_fields, received_target
from mixweb.paths import CanonicalPath
from mixweb.route import HostStation, Trace

#: What a record takes besides bodies and heads, in bytes: about.
_RECORD_BYTES = 4096

#: So many pieces of a body are kept apart: each takes more memory than it has bytes when it is short.
_MOST_PIECES = 64

#: How many removed records are remembered, so that those who look on learn of it.
_GONE = 1000


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


class Recorder:
    """
    Keeps records.

    :param now: the wall clock.
    :param limits: how much is kept; may be changed.
    :ivar begun: how many requests came, without the inspector's own.
    :ivar version: of the last change.
    :ivar listeners: called after each change.
    :ivar ended: called with each record that has ended.
    """

    def __init__(self, limits: Limits, now: Callable[[], float]) -> None:
        self.limits = limits
        self.version = 0
        self.begun = 0
        self.size = 0
        self.listeners: list[Callable[[], None]] = []
        self.ended: list[Callable[[Record], None]] = []
        self._now = now
        self._last = 0
        self._open: dict[int, Record] = {}
        self._done: dict[int, Record] = {}
        self._pinned: dict[int, Record] = {}
        self._gone: deque[tuple[int, int]] = deque(maxlen=_GONE)

    # What requests tell

    def watch(self, request: Request) -> None:
        """A request has come."""
        record = self._new(request)
        request.witness = record
        request.before_headers(record.answered)
        self._open[record.id] = record
        self.size += record.size
        self.begun += 1
        if request.body_size:
            record.received(request.content.read(self.limits.body_bytes))
            record.body.size = request.body_size
            request.content.seek(0)
        self.changed(record)

    def observe(self, request: Request) -> None:
        """A request has ended."""
        record = request.witness
        if not isinstance(record, Record):
            record = request.witness = self._refused(request)
        elif record.seconds is not None:
            return
        if record.own:
            return
        record.end(request)
        self._open.pop(record.id, None)
        (self._pinned if record.pinned else self._done)[record.id] = record
        self._make_room()
        self.changed(record)
        for tell in self.ended:
            tell(record)

    def disown(self, request: Request) -> None:
        """A request is the inspector's own: it is not shown, and as if it had not come."""
        record = request.witness
        if isinstance(record, Record) and self._open.pop(record.id, None) is not None:
            record.own = True
            self.size -= record.size
            self.begun -= 1
            if record.id == self._last:
                self._last -= 1

    def keep(self, record: Record, body: Body, data: bytes) -> None:
        """Keep a piece of a body, as far as there is room."""
        if record.own:
            return
        most = self.limits.body_bytes
        if self.size + len(data) > self.limits.bytes:
            self._make_room(min(len(data), most))
            most = min(most, body.kept + max(0, self.limits.bytes - self.size))
        kept = body.add(data, most)
        record.size += kept
        self.size += kept

    def changed(self, record: Record) -> None:
        """Something about a record is not as it was."""
        if record.own:
            return
        self.version += 1
        record.version = self.version
        for listener in self.listeners:
            listener()

    def _new(self, request: Request) -> Record:
        self._last += 1
        record = Record(self, self._last, request, self._now())
        if record.replay_of is not None:
            line: Any = request.transport
            line.recorded(record)
        return record

    def _refused(self, request: Request) -> Record:
        """The record of a request that was refused before anything saw it."""
        record = self._new(request)
        record.state = "refused"
        record.answer_body.size = request.sentLength
        if request.head is None:
            record.unread = bytes(getattr(request.channel, "unread", b""))[: self.limits.body_bytes]
        record.size += len(record.unread)
        self.size += record.size
        self.begun += 1
        return record

    def _make_room(self, more: int = 0) -> None:
        """Forget the oldest that are not pinned, until the limits are met."""
        limits, done = self.limits, self._done
        while done and (len(done) + len(self._pinned) > limits.requests or self.size + more > limits.bytes):
            self._forget(next(iter(done.values())))

    def _forget(self, record: Record) -> None:
        del (self._pinned if record.pinned else self._done)[record.id]
        self.size -= record.size
        self._gone.append((self.version + 1, record.id))

    # What those who look on ask for

    def __iter__(self) -> Iterator[Record]:
        """All records, the oldest first."""
        found = [*self._pinned.values(), *self._done.values(), *self._open.values()]
        return iter(sorted(found, key=lambda record: record.id))

    def __len__(self) -> int:
        return len(self._pinned) + len(self._done) + self.in_flight

    @property
    def in_flight(self) -> int:
        """How many are being answered."""
        return len(self._open)

    def get(self, number: int) -> Record | None:
        """The record of a number, as long as it is there."""
        return self._done.get(number) or self._pinned.get(number) or self._open.get(number)

    def gone_since(self, version: int) -> list[int]:
        """The numbers of the records that were removed after a version."""
        return [number for when, number in self._gone if when > version]

    def pin(self, record: Record, pinned: bool) -> None:
        """
        Keep a record until it is unpinned, or no longer.

        :raises ValueError: when as many as may be are pinned.
        """
        if pinned == record.pinned:
            return
        if pinned and len(self._pinned) >= self.limits.requests // 2:
            raise ValueError(f"{len(self._pinned)} requests are pinned; unpin one of them first")
        record.pinned = pinned
        before, after = (self._done, self._pinned) if pinned else (self._pinned, self._done)
        if before.pop(record.id, None) is not None:
            after[record.id] = record
        self.changed(record)

    def delete(self, records: Sequence[Record]) -> None:
        """Forget records; those that are still answered stay."""
        for record in records:
            if record.seconds is not None:
                self._forget(record)
        self.version += 1
        for listener in self.listeners:
            listener()
