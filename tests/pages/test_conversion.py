"""
Values of requests as values of Python.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from enum import Enum, IntEnum
from typing import Any, Literal, Optional
from uuid import UUID

import pytest

from mixweb.pages.conversion import Problems, check_fields, conversion, shown

SOME = UUID("12345678-1234-5678-1234-567812345678")


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Size(IntEnum):
    SMALL = 1
    LARGE = 2


@dataclass
class Part:
    name: str
    count: int = 1


@dataclass
class Order:
    title: str
    parts: list[Part]
    colour: Colour = Colour.RED
    due: date | None = None
    tags: list[str] = field(default_factory=list)
    inner: Optional[Order] = None  # noqa: UP045 - the old spelling, too


@dataclass
class Wrong:
    value: complex


TEXTS = [
    (str, "x é", "x é"),
    (str, "\udcff", "expected text in UTF-8, got '\\udcff'"),
    (Any, "x", "x"),
    (int, "12", 12),
    (int, "-3", -3),
    (int, "+3", 3),
    (int, "x", "expected an integer, got 'x'"),
    (int, "", "expected an integer, got ''"),
    (int, "1_0", "expected an integer, got '1_0'"),
    (int, " 1", "expected an integer, got ' 1'"),
    (int, "1.0", "expected an integer, got '1.0'"),
    (int, "٣", "expected an integer, got '\\u0663'"),
    (int, "9" * 5000, f"expected an integer, got '{'9' * 39}..."),
    (float, "1.5", 1.5),
    (float, "-2", -2.0),
    (float, "1e3", 1000.0),
    (float, "nan", "expected a number, got 'nan'"),
    (float, "inf", "expected a number, got 'inf'"),
    (float, "1e999", "expected a number, got '1e999'"),
    (float, "1_0", "expected a number, got '1_0'"),
    (bool, "true", True),
    (bool, "On", True),
    (bool, "0", False),
    (bool, "no", False),
    (bool, "", "expected true or false, got ''"),
    (bool, "2", "expected true or false, got '2'"),
    (date, "2026-12-31", date(2026, 12, 31)),
    (date, "31.12.2026", "expected a date (2026-12-31), got '31.12.2026'"),
    (datetime, "2026-12-31T23:59", datetime(2026, 12, 31, 23, 59)),
    (datetime, "now", "expected a date and time (2026-12-31T23:59), got 'now'"),
    (UUID, str(SOME), SOME),
    (UUID, "x", "expected a UUID, got 'x'"),
    (Colour, "blue", Colour.BLUE),
    (Colour, "BLUE", "expected one of 'red', 'blue', got 'BLUE'"),
    (Size, "2", Size.LARGE),
    (Literal["a", 1], "1", 1),
    (Literal["a", 1], "b", "expected one of 'a', 1, got 'b'"),
    (list[int], "3", [3]),
    (int | None, "3", 3),
    (int | None, "", None),
    (Optional[date], "", None),  # noqa: UP045
    (str | None, "", ""),
    (Part, '{"name": "x"}', 'expected an object, got \'{"name": "x"}\''),
    (dict[str, int], "x", "expected an object, got 'x'"),
]

JSON = [
    (str, "x", "x"),
    (str, 1, "expected text in UTF-8, got 1"),
    (str, None, "expected text in UTF-8, got null"),
    (Any, {"a": 1}, {"a": 1}),
    (object, [1], [1]),
    (int, 3, 3),
    (int, True, "expected an integer, got true"),
    (int, 3.0, "expected an integer, got 3.0"),
    (int, "3", "expected an integer, got '3'"),
    (float, 3, 3.0),
    (float, 1.5, 1.5),
    (float, float("nan"), "expected a number, got nan"),
    (bool, False, False),
    (bool, 0, "expected true or false, got 0"),
    (date, "2026-12-31", date(2026, 12, 31)),
    (date, 5, "expected a date (2026-12-31), got 5"),
    (UUID, str(SOME), SOME),
    (Colour, "red", Colour.RED),
    (Size, 1, Size.SMALL),
    (Size, True, "expected one of 1, 2, got true"),
    (Literal["a", 1], True, "expected one of 'a', 1, got true"),
    (Literal["a", 1], [], "expected one of 'a', 1, got a list"),
    (list[int], [1, 2], [1, 2]),
    (list[int], [1, "x", None], "1: expected an integer, got 'x'; 2: expected an integer, got null"),
    (list, ["a"], ["a"]),
    (list[int], {"a": 1}, "expected a list (an integer in it), got an object"),
    (int | None, None, None),
    (int | None, "x", "expected an integer, got 'x'"),
    (dict[str, int], {"a": 1}, {"a": 1}),
    (dict[str, int], {"a": "x"}, "a: expected an integer, got 'x'"),
    (dict, {"a": "x"}, {"a": "x"}),
    (dict, [], "expected an object, got a list"),
    (Part, {"name": "x", "more": 1}, Part("x")),
    (Part, {"count": "x"}, "name: missing; count: expected an integer, got 'x'"),
    (Part, [], "expected an object, got a list"),
    (
        Order,
        {"title": "t", "parts": [{"name": "a", "count": 2}], "colour": "blue", "due": "2026-01-02", "tags": ["x"]},
        Order("t", [Part("a", 2)], Colour.BLUE, date(2026, 1, 2), ["x"]),
    ),
    (Order, {"title": "t", "parts": [], "inner": {"title": "i", "parts": []}}, Order("t", [], inner=Order("i", []))),
    (
        Order,
        {"parts": [{"name": 1}, {}], "colour": "green", "inner": {"title": "i"}},
        "title: missing; parts.0.name: expected text in UTF-8, got 1; parts.1.name: missing; "
        "colour: expected one of 'red', 'blue', got 'green'; inner.parts: missing",
    ),
]


@pytest.mark.parametrize(("annotation", "text", "value"), TEXTS)
def test_text(annotation, text, value):
    """Text becomes a value of the annotation, or it is said what was expected."""
    check(conversion(annotation).text, text, value)


@pytest.mark.parametrize(("annotation", "document", "value"), JSON)
def test_json(annotation, document, value):
    """What JSON holds becomes a value of the annotation without being bent, and all its problems are said at once."""
    check(conversion(annotation).json, document, value)


def check(make, given, value):
    """That it makes the value, or that the value says why not."""
    if isinstance(value, str) and ("expected" in value or "missing" in value):
        with pytest.raises(Problems) as caught:
            make(given)
        assert str(caught.value) == value
    else:
        assert (make(given), type(make(given))) == (value, type(value))


def test_deep():
    """A document that is nested too deeply is a bad one."""
    document = {"title": "t", "parts": []}
    for _ in range(2000):
        document = {"title": "t", "parts": [], "inner": document}
    with pytest.raises(Problems):
        conversion(Order).json(document)


@pytest.mark.parametrize(
    ("annotation", "said"),
    [
        (complex, "complex cannot be made of what a request brings; known are str, int"),
        (int | str, "is more than one type"),
        (int | str | None, "is more than one type"),
        (set[int], "set"),
        (dict[int, str], "dict"),
        (list[complex], "complex cannot be made"),
    ],
)
def test_unknown(annotation, said):
    """Nothing is guessed about other types."""
    with pytest.raises(TypeError, match=said):
        conversion(annotation)


def test_fields_are_checked():
    """A dataclass is known when all its fields are."""
    check_fields(Order)
    check_fields(list[Order] | None)
    for annotation in (Wrong, list[Wrong], Wrong | None):
        with pytest.raises(TypeError, match=r"Wrong\.value: complex cannot be made"):
            check_fields(annotation)


def test_shown():
    """A bad value is shown shortly and without control characters."""
    assert shown("a\r\nb\x00") == r"'a\r\nb\x00'"
    assert len(shown("x" * 1000)) < 50
