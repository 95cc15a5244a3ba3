"""
Text with placeholders.

``{name}`` stands for a value and ``{{name}}`` for ``{name}`` itself. Every other brace is text, so that JSON and CSS
are written as they are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from html import escape
from types import MappingProxyType
from typing import Generic, TypeAlias, TypeVar

T = TypeVar("T")

#: Reads one value off what a template is rendered for.
Getter: TypeAlias = Callable[[T], str]

_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.\[\]-]*"
_PLACEHOLDER = re.compile(rf"\{{\{{(?P<text>{_NAME})\}}\}}|\{{(?P<name>{_NAME})\}}")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SCRIPT = str.maketrans({character: f"\\u{ord(character):04x}" for character in "<>&'`$"})


class Template(Generic[T]):
    """
    Text that is compiled once and rendered often.

    :param known: what each name stands for.
    :param families: by the part before the dot, what ``family.rest`` stands for, made from the rest.
    :raises ValueError: naming the placeholder that is not known.
    :ivar constant: the text where there is no placeholder in it, else ``None``.
    :ivar names: the placeholders in it.
    """

    def __init__(
        self,
        text: str,
        known: Mapping[str, Getter[T]],
        families: Mapping[str, Callable[[str], Getter[T]]] = MappingProxyType({}),
    ) -> None:
        self.names: set[str] = set()
        self._parts: list[str | Getter[T]] = []
        position = 0
        for found in _PLACEHOLDER.finditer(text):
            self._parts.append(text[position : found.start()])
            self._parts.append(_getter(found["name"], known, families) if found["name"] else f"{{{found['text']}}}")
            self.names.update(filter(None, [found["name"]]))
            position = found.end()
        self._parts.append(text[position:])
        self.constant = None if self.names else "".join(part for part in self._parts if isinstance(part, str))

    def render(self, subject: T, escape: Callable[[str], str] = str) -> str:
        """
        The text with its values.

        :param escape: what is done to each value.
        """
        if self.constant is not None:
            return self.constant
        return "".join([part if isinstance(part, str) else escape(part(subject)) for part in self._parts])


def _getter(name: str, known: Mapping[str, Getter[T]], families: Mapping[str, Callable[[str], Getter[T]]]) -> Getter[T]:
    family, _, rest = name.partition(".")
    if name in known:
        return known[name]
    if rest and family in families:
        return families[family](rest)
    names = [*known, *(f"{family}.NAME" for family in families)]
    near = get_close_matches(name, names, 1)
    listed = ", ".join(f"{{{item}}}" for item in near or names)
    hint = f"; did you mean {listed}?" if near else f"; known here: {listed}." if names else " here."
    raise ValueError(f"there is no placeholder {{{name}}}{hint} Write {{{{{name}}}}} for the text itself")


def escape_script(text: str) -> str:
    """A value inside the quotes of a JSON or JavaScript string, also where that stands in HTML."""
    return json.dumps(text)[1:-1].translate(_SCRIPT)


def escape_field(text: str) -> str:
    """A value inside a field value: without control characters."""
    return _CONTROLS.sub("", text)


def escape_for(content_type: str) -> Callable[[str], str]:
    """How values are written into content of a media type: markup and strings of JSON and JavaScript cannot be left."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind.endswith(("html", "xml")):
        return escape
    if "json" in kind or kind.endswith("script"):
        return escape_script
    return str
