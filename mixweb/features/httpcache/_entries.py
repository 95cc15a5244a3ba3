"""
Stored answers: what is kept of them, in memory and as bytes.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from struct import Struct

from mixweb.features.httpcache._directives import field_names, parse
from mixweb.features.httpcache._rules import Fields, Policy, Stored, lifetime, updated, vary_key

#: What a stored answer takes up besides its body, in bytes, for what it has less of than of bytes.
_OVERHEAD = 1024

#: Variants of one page that are kept.
MAX_VARIANTS = 32

_LENGTH = Struct(">I")

#: The scheme (whether it is secure), the authority in lower case, and the target of a page.
Key = tuple[bool, bytes, bytes]

Pairs = Sequence[tuple[bytes, Sequence[bytes]]]


@dataclass(frozen=True, slots=True)
class Entry:
    """
    A stored answer.

    :ivar fields: as they are sent, names as ``Headers`` spells them.
    :ivar varies: the names of the request fields it varies by, in lower case.
    :ivar variant: what those were in the request it answered.
    :ivar stored: what decides about its use.
    """

    status: int
    reason: bytes
    fields: Pairs
    body: bytes
    varies: tuple[bytes, ...]
    variant: tuple[bytes | None, ...]
    stored: Stored

    @property
    def size(self) -> int:
        """The bytes that it takes up, about."""
        return _OVERHEAD + len(self.body) + sum(len(name) + sum(map(len, values)) + 64 for name, values in self.fields)

    @property
    def by_name(self) -> dict[bytes, Sequence[bytes]]:
        """The fields by name in lower case."""
        return lower(self.fields)


def lower(fields: Pairs) -> dict[bytes, Sequence[bytes]]:
    """Fields by name in lower case."""
    return {name.lower(): values for name, values in fields}


def make(
    status: int,
    reason: bytes,
    fields: Pairs,
    body: bytes,
    asked: Callable[[bytes], Sequence[bytes] | None],
    age: float,
    now: float,
    policy: Policy,
) -> Entry:
    """
    An entry for an answer.

    :param asked: gives the lines of a field of the request, or ``None``.
    :param age: how old it was when it came, in seconds.
    :param now: when that was, in seconds since the epoch.
    """
    names: Fields = lower(fields)
    directives = parse(names.get(b"cache-control", ()))
    varies = field_names(names.get(b"vary", ()))
    stored = Stored(directives, lifetime(status, directives, names, now, policy), age, now)
    return Entry(status, reason, tuple(fields), body, varies, vary_key(varies, asked), stored)


def freshened(entry: Entry, news: Pairs, age: float, now: float, policy: Policy) -> Entry:
    """
    The same answer after the server has said that it still holds (RFC 9111, 4.3.4).

    :param news: the fields of what the server said; ``age`` and ``now`` of that, as for :func:`make`.
    """
    fields = updated(entry.fields, news)
    again = make(entry.status, entry.reason, fields, entry.body, lambda _: None, age, now, policy)
    return replace(again, varies=entry.varies, variant=entry.variant)


def dump(entry: Entry) -> bytes:
    """An entry as bytes."""
    head = {
        "status": entry.status,
        "reason": entry.reason.decode("latin-1"),
        "fields": [
            [name.decode("latin-1"), [value.decode("latin-1") for value in values]] for name, values in entry.fields
        ],
        "varies": [name.decode("latin-1") for name in entry.varies],
        "variant": [None if value is None else value.decode("latin-1") for value in entry.variant],
        "age": entry.stored.initial_age,
        "time": entry.stored.response_time,
    }
    data = json.dumps(head).encode()
    return _LENGTH.pack(len(data)) + data + entry.body


def load(data: bytes, policy: Policy) -> Entry:
    """
    An entry from bytes.

    :raises ValueError: when they are none.
    """
    try:
        (length,) = _LENGTH.unpack_from(data)
        head = json.loads(data[_LENGTH.size : _LENGTH.size + length])
        fields = [
            (name.encode("latin-1"), [value.encode("latin-1") for value in values]) for name, values in head["fields"]
        ]
        varies = tuple(name.encode("latin-1") for name in head["varies"])
        variant = tuple(None if value is None else value.encode("latin-1") for value in head["variant"])
        body = data[_LENGTH.size + length :]
        age, now = float(head["age"]), float(head["time"])
        made = make(head["status"], head["reason"].encode("latin-1"), fields, body, lambda _: None, age, now, policy)
    except Exception as reason:
        raise ValueError(f"not a stored answer: {reason}") from None
    return replace(made, varies=varies, variant=variant)


class Memory:
    """
    Entries by their keys; those not used for the longest time are dropped first.

    :param max_bytes: what they take up at most.
    :ivar size: what they take up.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.size = 0
        self._pages: OrderedDict[Key, list[Entry]] = OrderedDict()

    def __len__(self) -> int:
        return sum(map(len, self._pages.values()))

    def variants(self, key: Key) -> Sequence[Entry]:
        """The entries of a page, the one stored last first."""
        found = self._pages.get(key)
        if found is None:
            return ()
        self._pages.move_to_end(key)
        return found

    def find(self, key: Key, asked: Callable[[bytes], Sequence[bytes] | None]) -> Entry | None:
        """
        The entry that answers a request, fresh or not (RFC 9111, 4.1).

        :param asked: gives the lines of a field of the request, or ``None``.
        """
        for entry in self.variants(key):
            if not entry.varies or vary_key(entry.varies, asked) == entry.variant:
                return entry
        return None

    def put(self, key: Key, entry: Entry) -> None:
        """Keep an entry in the place of the one it supersedes."""
        others = [
            other
            for other in self._pages.get(key, ())
            if (other.varies, other.variant) != (entry.varies, entry.variant)
        ]
        self.drop(key)
        kept = [entry, *others[: MAX_VARIANTS - 1]]
        self._pages[key] = kept
        self.size += sum(other.size for other in kept)
        while self.size > self.max_bytes:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        _, dropped = self._pages.popitem(last=False)
        self.size -= sum(entry.size for entry in dropped)

    def drop(self, key: Key) -> bool:
        """Forget a page, with all its variants; whether there was one."""
        dropped = self._pages.pop(key, None)
        if dropped is None:
            return False
        self.size -= sum(entry.size for entry in dropped)
        return True

    def __iter__(self) -> Iterator[Key]:
        return iter(self._pages)
