"""
Files beside files that say which header fields these are sent with.

``page.html.headers`` is for ``page.html``, ``__dir__.headers`` for all files of its directory; lines: ``Name: value``.
``_headers`` in the root has paths, each followed by indented lines; ``*`` in a path is anything, ``:name`` one segment.
What is nearer to the file wins, name by name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from twisted.logger import Logger
from twisted.web.http_headers import Headers

from mixweb.engine.fields import field_line
from mixweb.features.files._walk import Opened

#: A larger file is not read.
_MAX_BYTES = 64 * 1024

#: Each problem is logged once, and no more than these.
_MAX_TOLD = 100

#: Fields that come from the connection or from the content itself.
_REFUSED = frozenset(
    b"accept-ranges connection content-encoding content-length content-range date etag keep-alive last-modified"
    b" proxy-connection te trailer transfer-encoding upgrade".split()
)

T = TypeVar("T")

FieldList = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Rule:
    """Fields for the paths that a pattern covers."""

    pattern: re.Pattern[str]
    fields: FieldList


def parse_fields(text: str) -> tuple[FieldList, list[str]]:
    """The fields of lines of ``Name: value``, and what is wrong with the lines that are left out."""
    fields: FieldList = []
    problems = []
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            name, value = field_line(line)
        except ValueError as problem:
            problems.append(str(problem))
            continue
        if name.lower() in _REFUSED:
            problems.append(f"{name.decode()} is not for a file to say")
        else:
            fields.append((name, value))
    return fields, problems


def parse_rules(text: str) -> tuple[list[Rule], list[str]]:
    """The rules of a ``_headers`` file, and what is wrong with the lines that are left out."""
    rules: list[Rule] = []
    problems: list[str] = []
    for path, lines in _blocks(text):
        fields, wrong = parse_fields("\n".join(lines))
        problems += wrong
        if path is None:
            problems += [f"{line!r} stands before the first path" for line in lines]
        else:
            rules.append(Rule(_compile(path), fields))
    return rules, problems


def _blocks(text: str) -> Iterator[tuple[str | None, list[str]]]:
    path: str | None = None
    lines: list[str] = []
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        if line[0] in " \t":
            lines.append(line.strip())
            continue
        if path is not None or lines:
            yield path, lines
        path, lines = line.strip(), []
    if path is not None or lines:
        yield path, lines


def _compile(path: str) -> re.Pattern[str]:
    parts = re.split(r"(\*|(?<=/):\w+)", path if path.startswith("/") else "/" + path)
    return re.compile("".join(_part(part) for part in parts) + r"\Z", re.DOTALL)


def _part(part: str) -> str:
    if part == "*":
        return ".*"
    return "[^/]+" if re.fullmatch(r":\w+", part) else re.escape(part)


class Sidecars:
    """
    The fields that sidecar files say.

    :param find: the file at these names below the root, if it may be read.
    """

    _log = Logger()

    def __init__(self, find: Callable[[Sequence[bytes]], Opened | None]) -> None:
        self._find = find
        self._told: set[tuple[Sequence[bytes], str]] = set()

    def fields(self, names: Sequence[bytes]) -> dict[bytes, list[bytes]]:
        """
        The fields for a file: names in their usual spelling with all values that the nearest sidecar gives.

        :param names: the segments of the file below the root.
        """
        *directory, name = names
        path = b"/" + b"/".join(names)
        found = [
            self._from_rules(path.decode("utf-8", "replace")),
            self._from_file((*directory, b"__dir__.headers")),
            self._from_file((*directory, name + b".headers")),
        ]
        result: dict[bytes, list[bytes]] = {}
        for fields in found:
            own = Headers()
            for field in fields:
                own.addRawHeader(*field)
            result |= {field: list(values) for field, values in own.getAllRawHeaders()}
        return result

    def _from_file(self, names: Sequence[bytes]) -> FieldList:
        text = self._read(names)
        return [] if text is None else self._checked(parse_fields(text), names)

    def _from_rules(self, path: str) -> FieldList:
        text = self._read((b"_headers",))
        rules = [] if text is None else self._checked(parse_rules(text), (b"_headers",))
        return [field for rule in rules if rule.pattern.match(path) for field in rule.fields]

    def _checked(self, parsed: tuple[list[T], list[str]], names: Sequence[bytes]) -> list[T]:
        found, problems = parsed
        for problem in problems:
            if len(self._told) < _MAX_TOLD and (names, problem) not in self._told:
                self._told.add((names, problem))
                self._log.warn("{name}: {problem}", name=b"/".join(names), problem=problem)
        return found

    def _read(self, names: Sequence[bytes]) -> str | None:
        opened = self._find(names)
        if opened is None:
            return None
        try:
            if opened.status.st_size > _MAX_BYTES:
                self._log.warn("{path} is larger than {limit} bytes and not read", path=opened.path, limit=_MAX_BYTES)
                return None
            return os.pread(opened.descriptor, _MAX_BYTES, 0).decode("utf-8", "replace")
        finally:
            opened.close()
