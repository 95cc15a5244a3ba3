"""
What was given for a server, before it is checked, and what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_type_hints

from mixweb.convert import convert, convert_text, is_list, is_table, secret
from mixweb.feature import Feature, Wrap, settings_fields


@dataclass(frozen=True)
class Origin:
    """
    Where something was said.

    :ivar place: a file's name, an option or a variable.
    :ivar line: in the file, from 1.
    """

    place: str
    line: int | None = None

    def __str__(self) -> str:
        return self.place if self.line is None else f"{self.place}:{self.line}"


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, and where."""

    origin: Origin
    message: str

    def __str__(self) -> str:
        return f"{self.origin}: {self.message}"


class ConfigError(ValueError):
    """
    Everything that is wrong with a configuration, a line each.

    :ivar problems: in the order of files and lines.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = sorted(
            dict.fromkeys(problems), key=lambda problem: (problem.origin.place, problem.origin.line or 0)
        )
        super().__init__("\n".join(str(problem) for problem in self.problems))


@dataclass(frozen=True)
class Given:
    """
    A value as it was given.

    :ivar data: of a TOML document, or the texts of the command line or environment.
    :ivar base: what a relative path counts from.
    """

    data: Any
    origin: Origin
    base: Path
    textual: bool = False


@dataclass
class Table:
    """What was given for one instance of a feature."""

    feature: str
    origin: Origin
    values: dict[str, Given] = field(default_factory=dict)
    off: bool = False

    def at(self, found: Feature) -> object:
        """What tells it from another instance of the same feature in the same host."""
        if isinstance(found, Wrap):
            return None
        given = self.values.get("at")
        text = found.settings.at if given is None else given.data
        return str(text[-1] if isinstance(text, list) and text else text).strip("/")


@dataclass
class HostTables:
    """What was given for one host."""

    name: str
    origin: Origin
    tables: list[Table] = field(default_factory=list)
    aliases: list[Given] = field(default_factory=list)


@dataclass
class Draft:
    """All that was given, before it is checked."""

    server: dict[str, Given] = field(default_factory=dict)
    default: HostTables = field(default_factory=lambda: HostTables("default", Origin("")))
    defaults: HostTables = field(default_factory=lambda: HostTables("*", Origin("")))
    hosts: dict[str, HostTables] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def copy(self) -> Draft:
        """A draft that may be changed without changing this one."""
        return deepcopy(self)

    def problem(self, origin: Origin, message: str) -> None:
        """Note something that is wrong."""
        self.problems.append(Problem(origin, message))


def suggest(name: str, known: Iterable[str]) -> str:
    """ "; did you mean ...?" when a known name is near."""
    near = get_close_matches(name, list(known), 1, 0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


def convert_given(given: Given, settings: type, name: str) -> Any:
    """
    The value of one field.

    :raises ValueError: without the field's name.
    """
    annotation = get_type_hints(settings, include_extras=True)[name]
    if not given.textual:
        is_secret = next(item.metadata["secret"] for item in settings_fields(settings) if item.name == name)
        return convert(secret(given.data, given.base) if is_secret else given.data, annotation, given.base)
    values = [convert_text(text, annotation, given.base) for text in given.data]
    if is_list(annotation):
        return tuple(item for value in values for item in value)
    if is_table(annotation):
        return {key: item for value in values for key, item in value.items()}
    return values[-1]
