"""
Colours of terminals.
"""

from __future__ import annotations

import os
from typing import IO

CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}


def is_terminal(stream: IO[str] | None) -> bool:
    """Whether a person reads the stream."""
    return stream is not None and stream.isatty()


def uses_colour(stream: IO[str] | None) -> bool:
    """Whether to colour: not with ``NO_COLOR``, else with ``FORCE_COLOR``, else on a terminal."""
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or is_terminal(stream)


def paint(text: str, colour: str, stream: IO[str] | None) -> str:
    """The text in a colour, where the stream takes it."""
    return f"\x1b[{CODES[colour]}m{text}\x1b[0m" if uses_colour(stream) else text
