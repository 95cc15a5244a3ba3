"""
INI files read line by line, and what becomes of them.
"""

from __future__ import annotations

import re
from ast import literal_eval
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mixweb.kit.shown import toml_key, toml_value

_SECTION = re.compile(r"\[(.*)\]\s*\Z")
_WORDS = {"true": True, "on": True, "yes": True, "false": False, "off": False, "no": False}


class Item(NamedTuple):
    """A line that sets something."""

    section: str
    key: str
    text: str
    line: int


def items(text: str) -> Iterator[Item]:
    """
    What an INI file sets; a line that begins with a blank goes on with the one before it.

    :raises ValueError: naming a line that sets nothing.
    """
    section, found = "", None
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith(("#", ";")):
            continue
        if found is not None and line[0] in " \t":
            found = found._replace(text=f"{found.text} {stripped}")
            continue
        if found is not None:
            yield found
        found = None
        if header := _SECTION.match(stripped):
            section = header[1].strip()
            continue
        key, sign, value = (
            re.split(r"([=:])", stripped, maxsplit=1) if re.search("[=:]", stripped) else (stripped, "", "")
        )
        if not sign:
            raise ValueError(f"line {number} is neither a section nor 'key = value': {stripped!r}")
        found = Item(section, key.strip(), value.strip(), number)
    if found is not None:
        yield found


def value_of(text: str) -> Any:
    """What a value stands for: a literal of Python, a word like ``on``, or text as it is."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    try:
        return literal_eval(text)
    except (ValueError, SyntaxError):
        return text


@dataclass
class Writer:
    """
    The tables that are being made.

    :ivar server: settings of the server.
    :ivar tables: a table for each feature.
    :ivar lists: several tables for a feature.
    :ivar notes: what a person has to know, or to do.
    """

    server: dict[str, Any] = field(default_factory=dict)
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    lists: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    notes: list[tuple[int, str]] = field(default_factory=list)

    def set(self, feature: str, **values: Any) -> None:
        """Set fields of a feature; without any, the feature is there."""
        self.tables.setdefault(feature, {}).update(values)

    def add(self, feature: str, key: str, *values: Any) -> None:
        """Add to a list of a feature."""
        found = self.tables.setdefault(feature, {}).setdefault(key, [])
        found += [value for value in values if value not in found]

    def put(self, feature: str, field: str, key: str, value: Any) -> None:
        """Set one entry of a table of a feature."""
        self.tables.setdefault(feature, {}).setdefault(field, {})[key] = value

    def note(self, item: Item, text: str) -> None:
        """Say something about a line."""
        self.notes.append((item.line, f"{item.key}: {text}"))

    def text(self) -> str:
        """All of it as TOML."""
        lines = [f"{key} = {toml_value(value)}" for key, value in self.server.items()]
        for feature, table in self.tables.items():
            lines += ["", f"[{feature}]", *_fields(table)]
        for feature, tables in self.lists.items():
            for table in tables:
                lines += ["", f"[[{feature}]]", *_fields(table)]
        return "\n".join(lines).lstrip("\n") + "\n"


def _fields(table: dict[str, Any]) -> list[str]:
    return [f"{toml_key(key)} = {toml_value(value)}" for key, value in table.items()]
