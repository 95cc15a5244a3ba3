"""
Whose turn it is to send: the priorities of HTTP (RFC 9218).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any, NamedTuple

#: One turn of so many is given out of order, so that what is urgent for ever keeps nothing else from being sent.
_FAIR_TURN = 8


class Priority(NamedTuple):
    """
    How an answer is to be sent.

    :ivar urgency: from 0, the most urgent, to 7.
    :ivar incremental: whether a part of it is of use before the rest is there.
    """

    urgency: int
    incremental: bool


#: Of a client that says nothing: it is served fairly, where RFC 9218, 4.2 would have one answer after the other.
UNSAID = Priority(3, True)


def parse_priority(lines: Iterable[bytes]) -> Priority:
    """
    What ``priority`` says (RFC 9218, 4); what is malformed in it is passed over.

    :param lines: the values of the field; none when it is not there.
    """
    text = b",".join(lines)
    urgency, incremental = 3, False
    for member in text.split(b","):
        key, _, value = member.partition(b";")[0].strip(b" \t").partition(b"=")
        if key == b"u" and len(value) == 1 and value in b"01234567":
            urgency = int(value)
        elif key == b"i" and value in (b"", b"?0", b"?1"):
            incremental = value != b"?0"
    return Priority(urgency, incremental) if text else UNSAID


class Turns:
    """
    Streams that have something to send, each with a ``priority``: the most urgent first, and those of one urgency in turn,
    but an answer that is not incremental as a whole.

    :ivar waiting: those of each urgency; empty when there are none.
    """

    __slots__ = ("_count", "_in_order", "waiting")

    def __init__(self) -> None:
        self.waiting: dict[int, deque[Any]] = {}
        self._count = 0
        self._in_order = True

    def add(self, stream: Any) -> None:
        """Have a stream wait for its turn behind its equals."""
        self._line(stream).append(stream)

    def put_back(self, stream: Any) -> None:
        """Have the stream that had its turn wait for the next one."""
        if self._in_order and not stream.priority.incremental:
            self._line(stream).appendleft(stream)
        else:
            self._line(stream).append(stream)

    def remove(self, stream: Any) -> None:
        """Have a stream wait no more; its priority must be what it was."""
        urgency = stream.priority.urgency
        self.waiting[urgency].remove(stream)
        self._tidy(urgency)

    def take(self) -> Any:
        """The stream whose turn it is; it waits no more."""
        waiting = self.waiting
        self._count += 1
        self._in_order = self._count % _FAIR_TURN != 0
        urgency = min(waiting)
        if not self._in_order:
            urgency = sorted(waiting)[self._count // _FAIR_TURN % len(waiting)]
        line = waiting[urgency]
        if self._in_order or line[0].priority.incremental:
            stream = line.popleft()
        else:
            # Past the one that is sent as a whole.
            line.rotate(-1)
            stream = line.popleft()
            line.rotate(1)
        self._tidy(urgency)
        return stream

    def _line(self, stream: Any) -> deque[Any]:
        return self.waiting.setdefault(stream.priority.urgency, deque())

    def _tidy(self, urgency: int) -> None:
        if not self.waiting[urgency]:
            del self.waiting[urgency]
