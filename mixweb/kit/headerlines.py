"""
Header lines in settings.
"""

from __future__ import annotations

from collections.abc import Iterable

from mixweb.engine.fields import field_line

#: What frames messages and keeps connections: the server alone sets them (RFC 9110, 7.6.1; RFC 9112, 6).
FRAMING = frozenset(
    b"connection content-length keep-alive proxy-connection te trailer transfer-encoding upgrade".split()
)


def header_lines(setting: str, lines: Iterable[str]) -> list[tuple[bytes, bytes]]:
    """
    The names and values of ``Name: value`` lines.

    :param setting: the name of the setting, for errors.
    :raises ValueError: when one is malformed or frames the message.
    """
    found = []
    for line in lines:
        try:
            name, value = field_line(line)
        except ValueError as reason:
            raise ValueError(f"{setting}: {reason}") from None
        check_name(setting, name.decode("ascii"))
        found.append((name, value))
    return found


def check_name(setting: str, name: str, more: Iterable[bytes] = ()) -> None:
    """
    Refuse a field that is the server's own.

    :param more: further names, lower case.
    :raises ValueError: naming it.
    """
    if name.lower().encode() in FRAMING.union(more):
        raise ValueError(f"{setting}: {name} cannot be changed, it belongs to the server")
