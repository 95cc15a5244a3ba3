"""
The tree of endpoints as it was declared, checked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from mixweb.pages.routes import check_methods

_ATTRIBUTES = ("$allowed_methods", "$args", "$raw_args", "$disabled", "$required", "$name")

#: How many arguments each rule allows: at least, at most.
_RULES: dict[Any, tuple[int, int | None]] = {"?": (0, 1), "*": (0, None), "+": (1, None)}


@dataclass
class Node:
    """
    One endpoint, or a place on the way to some.

    :ivar names: of its path; ``*`` for a variable segment.
    :ivar variables: what the values of these are called.
    :ivar methods: those that are allowed, HEAD and OPTIONS among them.
    :ivar least: the smallest number of arguments.
    :ivar most: the largest; ``None`` for any.
    :ivar raw_args: whether arguments are handed over as they were sent.
    :ivar disabled: whether it is no endpoint itself.
    :ivar required: the parameters that a call must have.
    :ivar actions: what answers each method.
    :ivar handled: the names of what does.
    """

    names: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    methods: frozenset[str] = frozenset()
    least: int = 0
    most: int | None = 0
    raw_args: bool = False
    disabled: bool = False
    required: tuple[str, ...] = ()
    children: dict[str, Node] = field(default_factory=dict)
    actions: dict[bytes, Callable[[Any], None]] = field(default_factory=dict)
    handled: dict[str, None] = field(default_factory=dict)

    def below(self) -> Iterator[Node]:
        """It, and everything below it."""
        yield self
        for child in self.children.values():
            yield from child.below()

    def child(self, name: str, value: str) -> tuple[Node | None, list[str]]:
        """
        What is at the next segment, and the value that the segment is for it.

        :param name: the segment as names are compared.
        :param value: the segment as a value.
        """
        found = self.children.get(name) if name != "*" else None
        if found is not None:
            return found, []
        return self.children.get("*"), [value]

    def handler_names(self, method: str) -> list[str]:
        """What its handler for a method may be called, the most specific first."""
        words = [_word(name) for name in self.names if name != "*"]
        paths = ["_".join(words[:count]) for count in range(len(words), 0, -1)]
        return [name for path in paths for name in (f"do_{method}_{path}", f"do_{path}")] + ["do_default"]

    @property
    def args_shown(self) -> str:
        """The arguments, for a list of endpoints."""
        if self.most is None:
            return "/..." if self.least == 0 else "/ARG..."
        return "/ARG" * self.least + "[/ARG]" * (self.most - self.least)


def _word(name: str) -> str:
    return re.sub(r"\W", "_", name)


def parse(tree: Mapping[str, Any], fold: Callable[[str], str]) -> Node:
    """
    The root of a declared tree.

    :param fold: makes names that are to match the same.
    :raises ValueError: naming what is wrong.
    """
    root = _node((), (), {"$disabled": True, **tree}, fold)
    taken: dict[str, Node] = {}
    for node in root.below():
        if node.disabled or not node.names:
            continue
        name = node.handler_names("GET")[1]
        other = taken.setdefault(name, node) if node.names[-1] != "*" else node
        if other is not node:
            raise ValueError(f"/{'/'.join(other.names)} and /{'/'.join(node.names)} would both be handled by {name}")
    return root


def _node(
    names: tuple[str, ...], variables: tuple[str, ...], tree: Mapping[str, Any], fold: Callable[[str], str]
) -> Node:
    path = "/" + "/".join(names)
    given = {key: value for key, value in tree.items() if key.startswith("$")}
    _check_attributes(path, given)
    if names[-1:] == ("*",):
        variables = (*variables, str(given.get("$name") or _default_name(names)))
    methods = {method.decode() for method in check_methods(given.get("$allowed_methods", ["GET"]))}
    least, most = _count(path, given.get("$args", 0))
    node = Node(
        names=names,
        variables=variables,
        methods=frozenset(methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set())),
        least=least,
        most=most,
        raw_args=given.get("$raw_args", False),
        disabled=given.get("$disabled", False),
        required=tuple(given.get("$required", ())),
    )
    for name, below in tree.items():
        if not name.startswith("$"):
            _add_child(node, path, name, below, fold)
    if node.raw_args and node.children:
        raise ValueError(f"{path} has $raw_args: it cannot have endpoints below it")
    return node


def _add_child(node: Node, path: str, name: str, below: Any, fold: Callable[[str], str]) -> None:
    key = fold(name)
    if not name or "/" in name or key in node.children or name in (".", ".."):
        raise ValueError(f"{name!r} below {path} is no name of an endpoint, or there twice")
    if not isinstance(below, Mapping):
        raise ValueError(f"{name!r} below {path} must be a dict of attributes and names, not {type(below).__name__}")
    node.children[key] = _node((*node.names, name), node.variables, below, fold)


def _default_name(names: tuple[str, ...]) -> str:
    """A variable segment is called like the name before it."""
    return next((name for name in reversed(names) if name != "*"), "name")


def _check_attributes(path: str, given: Mapping[str, Any]) -> None:
    for key, value in given.items():
        if key not in _ATTRIBUTES:
            near = get_close_matches(key, _ATTRIBUTES, 1)
            raise ValueError(f"{path} has {key}, which is no attribute; there are {', '.join(near or _ATTRIBUTES)}")
        if key in ("$raw_args", "$disabled") and not isinstance(value, bool):
            raise ValueError(f"{path}: {key} must be True or False, not {value!r}")
        if key == "$required" and (isinstance(value, str) or not all(isinstance(name, str) for name in value)):
            raise ValueError(f"{path}: $required must be a list of names, not {value!r}")


def _count(path: str, rule: Any) -> tuple[int, int | None]:
    if isinstance(rule, int) and not isinstance(rule, bool) and rule >= 0:
        return rule, rule
    if not isinstance(rule, str) or rule not in _RULES:
        raise ValueError(f"{path}: $args must be a number, '?', '*' or '+', not {rule!r}")
    return _RULES[rule]
