"""
Text that is HTML already.
"""

from __future__ import annotations

from html import escape as escape_text
from typing import Any


class Html(str):
    """Text that templates put into a page as it is. Everything else is escaped."""

    __slots__ = ()

    def __html__(self) -> str:
        return str(self)


def escape(value: Any) -> str:
    """A value as it stands in HTML: escaped, unless it is HTML already."""
    return value.__html__() if hasattr(value, "__html__") else escape_text(str(value))


class TypedText(str):
    """
    Text that knows what it is.

    :ivar type: its media type.
    """

    type: str

    def __new__(cls, text: str, type: str) -> TypedText:
        made = super().__new__(cls, text)
        made.type = type
        return made
