"""
What is in a directory, in the order and form that was asked for.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from stat import S_ISDIR, S_ISREG
from typing import NamedTuple
from urllib.parse import quote

#: A directory of more entries is listed in part.
MAX_ENTRIES = 10_000

_SORTS = ("name", "size", "date")
_DIGITS = re.compile(r"(\d+)")


class Entry(NamedTuple):
    """
    A file or directory.

    :ivar size: in bytes; 0 for a directory.
    :ivar modified: seconds since the epoch.
    """

    name: bytes
    is_directory: bool
    size: int
    modified: float

    @property
    def text(self) -> str:
        """The name for people: what is not UTF-8 is replaced."""
        return self.name.decode("utf-8", "replace")

    @property
    def href(self) -> str:
        """The relative reference to it: never taken for a scheme."""
        return "./" + quote(self.name, safe="!$&'()*+,;=:@~") + ("/" if self.is_directory else "")

    @property
    def time(self) -> str:
        """When it changed, as RFC 3339 has it, in UTC."""
        try:
            moment = datetime.fromtimestamp(int(self.modified), UTC)
        except (OverflowError, ValueError, OSError):
            moment = datetime.fromtimestamp(0, UTC)
        return moment.isoformat().removesuffix("+00:00") + "Z"


@dataclass(frozen=True, slots=True)
class View:
    """
    What was asked for.

    :ivar sort: ``name``, ``size`` or ``date``.
    :ivar filter: text that names have in them, whatever the case.
    """

    sort: str = "name"
    descending: bool = False
    filter: str = ""

    @classmethod
    def of(cls, args: Mapping[bytes, Sequence[bytes]]) -> View:
        """The view that the arguments of a query ask for; what they get wrong is as if it were not there."""

        def last(name: bytes) -> str:
            return args.get(name, (b"",))[-1].decode("utf-8", "replace")

        sort = last(b"sort")
        return cls(sort if sort in _SORTS else "name", last(b"order") == "desc", last(b"filter").strip()[:255])

    def shows(self, name: bytes) -> bool:
        """Whether a name passes the filter."""
        return not self.filter or self.filter.casefold() in name.decode("utf-8", "replace").casefold()

    def arrange(self, entries: Sequence[Entry]) -> list[Entry]:
        """The entries in order, directories first, equal ones by name."""
        ordered = sorted(
            entries, key=lambda entry: _natural(entry.text), reverse=self.sort == "name" and self.descending
        )
        if self.sort == "size":
            ordered.sort(key=lambda entry: entry.size, reverse=self.descending)
        elif self.sort == "date":
            ordered.sort(key=lambda entry: entry.modified, reverse=self.descending)
        return sorted(ordered, key=lambda entry: not entry.is_directory)


def _natural(text: str) -> list[tuple[int, int, str]]:
    """A key that sorts names as people do: case does not count, numbers do."""
    parts = _DIGITS.split(text.casefold())
    return [
        (0, int(part), "") if part.isascii() and part.isdigit() and len(part) < 19 else (1, 0, part) for part in parts
    ]


def scan(
    directory: int, wanted: Callable[[bytes], bool], link: Callable[[bytes], bool]
) -> Generator[Entry | None, None, None]:
    """
    Look through an open directory; one step, ``None`` or an entry, for each name there is.

    The directory is closed at the end, and when the iterator is.

    :param directory: a descriptor that may be read.
    :param wanted: whether a name is to be listed.
    :param link: whether the symbolic link of a name is to be listed.
    """
    try:
        with os.scandir(directory) as found:
            for item in found:
                name = os.fsencode(item.name)
                try:
                    shown = wanted(name) and (not item.is_symlink() or link(name))
                    yield _entry(name, item.stat()) if shown else None
                except OSError:
                    yield None
    finally:
        os.close(directory)


def _entry(name: bytes, status: os.stat_result) -> Entry | None:
    if S_ISDIR(status.st_mode):
        return Entry(name, True, 0, status.st_mtime)
    return Entry(name, False, status.st_size, status.st_mtime) if S_ISREG(status.st_mode) else None


class Listing:
    """
    The entries of a directory, gathered in steps.

    :param steps: from :func:`scan`.
    :ivar truncated: whether there are more than :data:`MAX_ENTRIES`.
    """

    def __init__(self, view: View, steps: Generator[Entry | None, None, None]) -> None:
        self.view = view
        self.entries: list[Entry] = []
        self.truncated = False
        self._steps = steps

    def gather(self, steps: int | None = None) -> bool:
        """
        Take so many steps, or all that are left.

        :returns: whether that was all.
        """
        for taken, entry in enumerate(self._steps, 1):
            if entry is not None:
                if len(self.entries) == MAX_ENTRIES:
                    self.truncated = True
                    self._steps.close()
                    return True
                self.entries.append(entry)
            if taken == steps:
                return False
        return True

    def arranged(self) -> list[Entry]:
        """The entries in the order that was asked for."""
        return self.view.arrange(self.entries)


def as_json(listing: Listing, path: str) -> bytes:
    """One object: the path, the entries and whether some were left out."""
    entries = [
        {
            "name": entry.text,
            "type": "directory" if entry.is_directory else "file",
            "size": None if entry.is_directory else entry.size,
            "modified": entry.time,
            "url": entry.href,
        }
        for entry in listing.arranged()
    ]
    return json.dumps({"path": path, "entries": entries, "truncated": listing.truncated}).encode() + b"\n"


def as_text(listing: Listing) -> bytes:
    """A name on each line, those of directories with a slash; line breaks in names are written ``\\n``."""
    lines = [
        entry.text.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r") + ("/" if entry.is_directory else "")
        for entry in listing.arranged()
    ]
    if listing.truncated:
        lines.append(f"... only {MAX_ENTRIES} entries are listed")
    return "".join(line + "\n" for line in lines).encode()
