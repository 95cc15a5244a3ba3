"""
Routes, and the table that finds the one of a path: one step of a dictionary for each segment.

A segment that a route names comes before a variable, and variables are tried by kind: int, float, uuid, str, path. Regular
expressions are tried last, in the order in which they were given.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mixweb.pages.patterns import KINDS, Kind, PathPattern, Pattern, RegexPattern, Variable, rest_text

_ORDER = list(KINDS.values())
_RAW = KINDS["raw"]

_TOKEN = re.compile(r"[A-Z][A-Z-]*\Z")


class RouteError(ValueError):
    """What is wrong with routes and their handlers, each problem with its file and line."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Place(NamedTuple):
    """Where something stands."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


def caller(depth: int = 1) -> Place:
    """
    Where the function was called that asks.

    :param depth: how many more calls lie between.
    """
    frame = sys._getframe(depth + 1)
    return Place(frame.f_code.co_filename, frame.f_lineno)


def check_methods(methods: Iterable[str]) -> frozenset[bytes]:
    """
    Methods as requests have them.

    :raises ValueError: when one is none.
    """
    found = [methods] if isinstance(methods, str) else list(methods)
    for method in found:
        if not _TOKEN.match(method):
            raise ValueError(f"{method!r} is no method: write it in capital letters, as GET")
    return frozenset(method.encode() for method in found)


@dataclass
class Route:
    """
    One way to a handler.

    :ivar target: the function or class, as it was declared.
    :ivar methods: those that it answers; HEAD belongs to GET.
    :ivar host: the name of the only host that it exists for, or a wildcard; empty for all.
    :ivar wrappers: what makes the wrappers in front of it, outermost first.
    :ivar action: answers a request with the values of the variables; made when the application is.
    """

    pattern: Pattern
    target: Any
    methods: frozenset[bytes]
    place: Place
    name: str = ""
    host: str = ""
    wrappers: Sequence[Callable[[Any], Any]] = ()
    action: Callable[..., None] = field(default=lambda *_: None, repr=False)

    @property
    def title(self) -> str:
        """What the handler is called."""
        return getattr(self.target, "__qualname__", None) or type(self.target).__name__

    def row(self) -> tuple[str, str, str, Place]:
        """Methods, path, handler and place, for a list of routes."""
        methods = ", ".join(sorted(method.decode() for method in self.methods))
        return methods, self.host + self.pattern.text, f"{self.target.__module__}.{self.title}", self.place


#: The routes of one path by method.
Actions = dict[bytes, Route]


#: What a table has for a path: the routes by method, and the values of the variables.
Found = tuple[Actions, tuple[Any, ...]]


class Node:
    """What may come at one place of a path."""

    __slots__ = ("actions", "children", "variables")

    def __init__(self) -> None:
        self.children: dict[bytes, Node] = {}
        self.variables: dict[Kind, Node] = {}
        self.actions: Actions = {}

    def step(self, part: bytes | Variable) -> Node:
        """The node behind a part of a pattern, made where it is missing."""
        if isinstance(part, bytes):
            return self.children.setdefault(part, Node())
        if part.kind not in self.variables:
            known = {**self.variables, part.kind: Node()}
            self.variables = {kind: known[kind] for kind in _ORDER if kind in known}
        return self.variables[part.kind]

    def find(self, segments: Sequence[bytes], index: int, values: tuple[Any, ...], raw: bytes | None) -> Found | None:
        """What is at the segments from ``index`` on."""
        if index == len(segments):
            if raw is None:
                return (self.actions, values) if self.actions else None
            node = self.variables.get(_RAW)
            return None if node is None else (node.actions, (*values, raw))
        segment = segments[index]
        child = self.children.get(segment)
        found = child.find(segments, index + 1, values, raw) if child is not None else None
        for kind, node in self.variables.items():
            if found is None and kind is not _RAW:
                found = node.take(kind, segments, index, values, raw)
        return found

    def take(
        self, kind: Kind, segments: Sequence[bytes], index: int, values: tuple[Any, ...], raw: bytes | None
    ) -> Found | None:
        """What is behind a variable, if the segment is one of its kind."""
        try:
            if kind.rest:
                return self.actions, (*values, rest_text(segments[index:]))
            return self.find(segments, index + 1, (*values, kind.decode(segments[index])), raw)
        except ValueError:
            return None


class RouteTable:
    """
    Finds routes by path.

    :ivar exact: those of paths without variables.
    :ivar raw_prefixes: where targets are to stay undecoded.
    """

    def __init__(self) -> None:
        self._root = Node()
        self.exact: dict[tuple[bytes, ...], Actions] = {}
        self._expressions: dict[tuple[str, int], tuple[RegexPattern, Actions]] = {}
        self.raw_prefixes: list[tuple[bytes | None, ...]] = []

    def add(self, route: Route) -> None:
        """
        Take a route.

        :raises RouteError: naming both places where there is one for its path and method.
        """
        actions = self._actions(route.pattern)
        for method in sorted(route.methods):
            other = actions.get(method)
            if other is not None:
                raise RouteError(
                    f"{route.place}: {method.decode()} {route.pattern.text} is {route.title} here,"
                    f" and {other.title} at {other.place}"
                )
            actions[method] = route

    def _actions(self, pattern: Pattern) -> Actions:
        if isinstance(pattern, RegexPattern):
            return self._expressions.setdefault((pattern.text, pattern.regex.flags), (pattern, {}))[1]
        node = self._root
        for part in pattern.parts:
            node = node.step(part)
        if not pattern.names:
            self.exact[tuple(part for part in pattern.parts if isinstance(part, bytes))] = node.actions
        elif pattern.variables[pattern.names[-1]] is _RAW:
            self.raw_prefixes.append(raw_prefix(pattern))
        return node.actions

    def find(self, segments: Sequence[bytes], raw: bytes | None = None) -> Found | None:
        """
        What there is for a path.

        :param segments: decoded; the last one is empty where the path ends in a slash.
        :param raw: what follows a raw prefix, if the path has come to one.
        """
        if raw is None:
            actions = self.exact.get(tuple(segments))
            if actions is not None:
                return actions, ()
        found = self._root.find(segments, 0, (), raw)
        if found is None and raw is None:
            for pattern, actions in self._expressions.values():
                values = pattern.match(segments)
                if values is not None:
                    return actions, values
        return found


def raw_prefix(pattern: PathPattern) -> tuple[bytes | None, ...]:
    """The segments before a pattern's last one; ``None`` is any."""
    return tuple(part if isinstance(part, bytes) else None for part in pattern.parts[:-1])
