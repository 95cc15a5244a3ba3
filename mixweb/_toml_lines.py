"""
Where the keys of a TOML document stand: what ``tomllib`` does not tell.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator

Key = tuple[str | int, ...]

_PART = re.compile(r"""\s*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([A-Za-z0-9_-]+))\s*(\.?)""")
_SKIP = re.compile(r'"""(?:\\.|[^\\])*?"""|\'\'\'.*?\'\'\'|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'|#[^\n]*', re.DOTALL)


def key_lines(text: str) -> dict[Key, int]:
    """
    The line, from 1, of each key and table of a valid document; elements of arrays of tables are counted from 0.
    """
    lines: dict[Key, int] = {}
    counts: dict[Key, int] = {}
    table: Key = ()
    for number, statement in _statements(text):
        if statement.startswith("["):
            array = statement.startswith("[[")
            table = _resolve(_dotted(statement.lstrip("[")), counts, not array)
            if array:
                counts[table] = counts.get(table, -1) + 1
                lines.setdefault(table, number)
                table = (*table, counts[table])
            for end in range(1, len(table) + 1):
                lines.setdefault(table[:end], number)
        else:
            for end in range(1, len(found := _dotted(statement)) + 1):
                lines.setdefault((*table, *found[:end]), number)
    return lines


def _resolve(parts: Key, counts: dict[Key, int], last: bool) -> Key:
    """Put the number of the current element behind each array of tables on the way."""
    key: Key = ()
    for index, part in enumerate(parts):
        key = (*key, part)
        if key in counts and (last or index < len(parts) - 1):
            key = (*key, counts[key])
    return key


def _dotted(text: str) -> Key:
    parts: list[str] = []
    position = 0
    while found := _PART.match(text, position):
        parts.append(next(group for group in found.groups()[:3] if group is not None))
        position = found.end()
        if not found[4]:
            break
    return tuple(parts)


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Lines that begin a table or a key; those inside a multi-line value are left out."""
    blank = _SKIP.sub(lambda found: re.sub(r"[^\n]", "_", found[0]), text)
    spans = deque(found.span() for found in _SKIP.finditer(text) if "\n" in found[0])
    depth = 0
    position = 0
    for number, (line, shape) in enumerate(zip(text.split("\n"), blank.split("\n"), strict=True), 1):
        while spans and spans[0][1] <= position:
            spans.popleft()
        inside = depth > 0 or (bool(spans) and spans[0][0] < position)
        if not inside and shape.strip() and not line.lstrip().startswith("#"):
            yield number, line.strip()
        if not (not inside and shape.lstrip().startswith("[")):
            depth += sum(shape.count(opening) for opening in "[{") - sum(shape.count(closing) for closing in "]}")
        position += len(line) + 1
