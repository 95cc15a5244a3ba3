"""
Values of requests become values of Python, by annotation: str, int, float, bool, date, datetime, UUID, Enum, Literal, list and
dataclass; nothing else is guessed.

A value comes as text (from a path, a query, a form, a header, a cookie) or as JSON, which has types of its own.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass
from datetime import date, datetime
from enum import Enum
from functools import partial
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints
from uuid import UUID

_TRUE = frozenset(("true", "1", "yes", "on"))
_FALSE = frozenset(("false", "0", "no", "off"))

#: How much of a bad value an error shows.
_SHOWN = 40


class Problems(ValueError):
    """
    What is wrong with a value.

    :ivar found: pairs of where in it, and what.
    """

    def __init__(self, *found: tuple[str, str]) -> None:
        super().__init__("; ".join(f"{where}: {what}" if where else what for where, what in found))
        self.found = found

    def inside(self, where: str) -> list[tuple[str, str]]:
        """The same problems of a part of something."""
        return [(f"{where}.{inner}" if inner else where, what) for inner, what in self.found]


@dataclass(frozen=True)
class Conversion:
    """
    How values of one type are made.

    :ivar expected: what a value must be, in words.
    :ivar from_text: makes one of text; raises ``ValueError``.
    :ivar from_json: makes one of what JSON holds; raises ``ValueError``.
    :ivar item: of the elements, when it is a list.
    """

    expected: str
    from_text: Callable[[str], Any]
    from_json: Callable[[Any], Any]
    item: Conversion | None = None

    def text(self, value: str) -> Any:
        """
        A value of text.

        :raises Problems: when it is none.
        """
        return self._made(self.from_text, value)

    def json(self, value: Any) -> Any:
        """
        A value of JSON.

        :raises Problems: when it is none.
        """
        return self._made(self.from_json, value)

    def _made(self, make: Callable[[Any], Any], value: Any) -> Any:
        try:
            return make(value)
        except Problems:
            raise
        except (ValueError, TypeError, OverflowError, RecursionError):
            raise Problems(("", f"expected {self.expected}, got {shown(value)}")) from None


def shown(value: Any) -> str:
    """A bad value for an error: its beginning, quoted; of JSON, also what it is."""
    if isinstance(value, (dict, list)):
        return "an object" if isinstance(value, dict) else "a list"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = repr(value).encode("ascii", "backslashreplace").decode() if isinstance(value, str) else str(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def _str(value: str) -> str:
    if not value.isascii():
        value.encode()  # what was not UTF-8 has lone surrogates in it
    return value


def _int(value: str) -> int:
    digits = value[1:] if value[:1] in ("-", "+") else value
    if not (digits.isascii() and digits.isdigit()):
        raise ValueError(value)
    return int(value)


def _float(value: str) -> float:
    found = float(value)
    if "_" in value or not math.isfinite(found):
        raise ValueError(value)
    return found


def _bool(value: str) -> bool:
    lower = value.lower()
    if lower in _TRUE or lower in _FALSE:
        return lower in _TRUE
    raise ValueError(value)


def _same(kinds: tuple[type, ...], value: Any) -> Any:
    if type(value) not in kinds:
        raise ValueError(value)
    return value


def _json_float(value: Any) -> float:
    return _float(str(_same((int, float), value)))


def _from_json_text(make: Callable[[str], Any], value: Any) -> Any:
    return make(_same((str,), value))


def _no_text(value: str) -> Any:
    raise ValueError(value)


def _written(expected: str, make: Callable[[str], Any]) -> Conversion:
    """Of a type that JSON holds as text."""
    return Conversion(expected, make, partial(_from_json_text, make))


_SIMPLE: dict[Any, Conversion] = {
    str: _written("text in UTF-8", _str),
    int: Conversion("an integer", _int, partial(_same, (int,))),
    float: Conversion("a number", _float, _json_float),
    bool: Conversion("true or false", _bool, partial(_same, (bool,))),
    date: _written("a date (2026-12-31)", date.fromisoformat),
    datetime: _written("a date and time (2026-12-31T23:59)", datetime.fromisoformat),
    UUID: _written("a UUID", UUID),
    Any: Conversion("text in UTF-8", _str, lambda value: value),
    object: Conversion("text in UTF-8", _str, lambda value: value),
}

KNOWN = "str, int, float, bool, date, datetime, UUID, an Enum, a Literal, a list, a dataclass, and these or None"


def conversion(annotation: Any) -> Conversion:
    """
    How values of an annotation are made.

    :raises TypeError: when nothing is known about it.
    """
    if annotation in _SIMPLE:
        return _SIMPLE[annotation]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation is list or origin is list:
        return _list(conversion(arguments[0] if arguments else str))
    if annotation is dict or (origin is dict and arguments[0] is str):
        return _dict(conversion(arguments[1] if arguments else Any))
    if origin in (Union, UnionType):
        return _optional(annotation, [choice for choice in arguments if choice is not NoneType])
    if origin is Literal:
        return _choice({choice: choice for choice in arguments})
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return _choice({member.value: member for member in annotation})
    if isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
        return _dataclass(annotation)
    raise TypeError(f"{type_name(annotation)} cannot be made of what a request brings; known are {KNOWN}")


def type_name(annotation: Any) -> str:
    """What an annotation is called."""
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


def _list(item: Conversion) -> Conversion:
    def from_json(value: Any) -> list[Any]:
        return _each(item, dict(enumerate(_same((list,), value))))

    return Conversion(f"a list ({item.expected} in it)", lambda value: [item.text(value)], from_json, item)


def _dict(item: Conversion) -> Conversion:
    def from_json(value: Any) -> dict[str, Any]:
        return dict(zip(_same((dict,), value), _each(item, value), strict=True))

    return Conversion("an object", _no_text, from_json)


def _each(item: Conversion, values: Mapping[Any, Any]) -> list[Any]:
    """The values of JSON, made; all their problems at once."""
    made, problems = [], []
    for key, value in values.items():
        try:
            made.append(item.json(value))
        except Problems as reason:
            problems += reason.inside(str(key))
    if problems:
        raise Problems(*problems)
    return made


def _optional(annotation: Any, choices: list[Any]) -> Conversion:
    """``T | None``: null of JSON is None, and so is an empty field of a form unless text is wanted."""
    if len(choices) != 1 or len(get_args(annotation)) != 2:
        raise TypeError(f"{annotation} is more than one type; known are {KNOWN}")
    inner = conversion(choices[0])
    from_text = inner.from_text if choices[0] is str else lambda value: inner.from_text(value) if value else None
    return Conversion(
        inner.expected, from_text, lambda value: value if value is None else inner.json(value), inner.item
    )


def _choice(members: dict[Any, Any]) -> Conversion:
    by_text = {str(value): member for value, member in members.items()}
    by_type = {(type(value), value): member for value, member in members.items()}  # true of JSON is not 1
    expected = "one of " + ", ".join(repr(value) for value in members)
    return Conversion(
        expected, lambda value: _member(by_text, value), lambda value: _member(by_type, (type(value), value))
    )


def _member(table: dict[Any, Any], key: Any) -> Any:
    if key not in table:
        raise ValueError(key)
    return table[key]


def _dataclass(kind: type) -> Conversion:
    """Of an object of JSON; members that the class has no field for do not count."""
    conversions: dict[str, Conversion] = {}
    fields = {item.name: item for item in dataclasses.fields(kind) if item.init}
    required = {name for name, item in fields.items() if item.default is MISSING and item.default_factory is MISSING}

    def from_json(value: Any) -> Any:
        if not conversions:  # a class may have fields of its own type
            hints = get_type_hints(kind)
            conversions.update({name: conversion(hints[name]) for name in fields})
        _same((dict,), value)
        problems = [(name, "missing") for name in fields if name in required and name not in value]
        made: dict[str, Any] = {}
        for name in fields:
            try:
                if name in value:
                    made[name] = conversions[name].json(value[name])
            except Problems as reason:
                problems += reason.inside(name)
        if problems:
            raise Problems(*problems)
        return kind(**made)

    return Conversion("an object", _no_text, from_json)


def check_fields(kind: Any, seen: frozenset[Any] = frozenset()) -> None:
    """
    Whether all that a type is made of is known.

    :raises TypeError: naming what is not.
    """
    for inner in get_args(kind):
        check_fields(inner, seen)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind) and kind not in seen:
        for name, annotation in get_type_hints(kind).items():
            try:
                conversion(annotation)
            except TypeError as reason:
                raise TypeError(f"{kind.__name__}.{name}: {reason}") from None
            check_fields(annotation, seen | {kind})
