"""
Files in memory: a small file that is asked for again is answered from here after one ``os.stat``.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Container, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from twisted.web.http_headers import Headers

V = TypeVar("V")

#: What one cache holds at most, in bytes.
MAX_BYTES = 32 * 1024 * 1024

#: Files of more bytes are not kept in memory.
MAX_FILE_BYTES = 128 * 1024

#: What an entry costs besides its body, in bytes.
_OVERHEAD = 2048

_SECOND = 1_000_000_000


def fingerprint(status: os.stat_result) -> tuple[int, int, int, int, int]:
    """What changes when a file's content is written or another file takes its place."""
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino, status.st_dev


def is_settled(stamp: int, now: int) -> bool:
    """
    Whether a later write is sure to leave another time stamp than this one.

    Time stamps advance in steps of up to 10 ms, on file systems that keep whole seconds of up to 2 s: a file written
    twice within a step shows one stamp for two contents.

    :param stamp: ``st_mtime_ns`` or ``st_ctime_ns``.
    :param now: nanoseconds since the epoch.
    """
    step = _SECOND // 10 if stamp % _SECOND else 2 * _SECOND
    return now - stamp > step


class FieldBlock:
    """
    Header fields that are made once and set on many answers.

    :param fields: names with their values.
    """

    def __init__(self, fields: Iterable[tuple[bytes, Sequence[bytes]]]) -> None:
        headers = Headers()
        for name, values in fields:
            headers.setRawHeaders(name, values)
        self.fields = dict(headers.getAllRawHeaders())

    def only(self, names: Container[bytes]) -> FieldBlock:
        """The block of those fields that have one of these names."""
        return FieldBlock((name, values) for name, values in self.fields.items() if name in names)

    def set_on(self, headers: Headers) -> None:
        """Set the fields; those of ``Vary`` are added to what there is."""
        # What setRawHeaders makes sure of was made sure of once; the lists are the answer's own.
        own = headers._rawHeaders
        vary = own.get(b"Vary")
        own.update({name: [*values] for name, values in self.fields.items()})
        if vary is not None and b"Vary" in self.fields:
            own[b"Vary"] = [*vary, *self.fields[b"Vary"]]


@dataclass(slots=True)
class _Entry(Generic[V]):
    path: bytes
    fingerprint: tuple[int, int, int, int, int]
    value: V
    weight: int


class FileCache(Generic[V]):
    """
    What was made of files, bounded in bytes, the least recently used dropped first.

    :param max_bytes: how much it holds.
    :ivar weight: how much it holds now, in bytes.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self.max_bytes = max_bytes
        self.weight = 0
        self._entries: OrderedDict[Hashable, _Entry[V]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable) -> V | None:
        """What is kept under a key, if its file is still what it was."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        try:
            unchanged = fingerprint(os.stat(entry.path)) == entry.fingerprint
        except OSError:
            unchanged = False
        if not unchanged:
            self.discard(key)
            return None
        self._entries.move_to_end(key)
        return entry.value

    def put(self, key: Hashable, path: bytes, status: os.stat_result, value: V, size: int, now: int) -> None:
        """
        Keep what was made of a file. A file that has just been written is not kept: :func:`is_settled`.

        :param path: where the file is, for ``os.stat``.
        :param status: of the opened file, from before it was read.
        :param size: bytes that ``value`` holds.
        :param now: nanoseconds since the epoch, from before the file was read.
        """
        self.discard(key)
        weight = size + _OVERHEAD
        if weight > self.max_bytes or not is_settled(max(status.st_mtime_ns, status.st_ctime_ns), now):
            return
        self._entries[key] = _Entry(path, fingerprint(status), value, weight)
        self.weight += weight
        while self.weight > self.max_bytes:
            self.weight -= self._entries.popitem(last=False)[1].weight

    def discard(self, key: Hashable) -> None:
        """Forget a key."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.weight -= entry.weight
