"""
What is kept of requests: as much as there is room for, the latest ones, and those that were pinned.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from mixweb.engine.request import Request
from mixweb.features.inspect._record import Body, Limits, Record

#: How many removed records are remembered, so that those who look on learn of it.
_GONE = 1000


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
