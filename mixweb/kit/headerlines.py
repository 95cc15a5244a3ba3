"""
Header lines in settings.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import translate

from twisted.web.http_headers import Headers

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


def names_matcher(globs: Iterable[str], protected: frozenset[bytes]) -> re.Pattern[bytes] | None:
    """
    Matches the lower case names that the globs mean, without the protected ones.

    :returns: ``None`` for no globs.
    """
    choices = "|".join(translate(glob.lower()) for glob in globs)
    if not choices:
        return None
    kept = "|".join(re.escape(name.decode("ascii")) for name in sorted(protected))
    return re.compile(rf"(?!(?:{kept})\Z)(?:{choices})".encode())


def grouped(lines: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, list[bytes]]]:
    """The values of each name, names in lower case and in the order they first come."""
    table: dict[bytes, list[bytes]] = {}
    for name, value in lines:
        table.setdefault(name.lower(), []).append(value)
    return list(table.items())


def remove_matching(headers: Headers, matcher: re.Pattern[bytes] | None) -> None:
    """Take the headers away whose names match."""
    if matcher is not None:
        for name in [name for name, _ in headers.getAllRawHeaders() if matcher.match(name.lower())]:
            headers.removeHeader(name)
