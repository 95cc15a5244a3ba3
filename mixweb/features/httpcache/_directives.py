"""
Cache directives (RFC 9111, 5.2 and 1.2.2), of requests and answers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from mixweb.engine.fields import TOKEN

#: The largest number of seconds; a larger one means this one (RFC 9111, 1.2.2).
MAX_SECONDS = 2**31

_MEMBER = re.compile(rb"[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?:=(\"(?:[^\"\\]|\\.)*\"|[^\", \t]*))?[ \t]*(?:,|\Z)")

#: Directives by name, in lower case, with their arguments; an argument that is not there is ``None``.
Directives = Mapping[bytes, bytes | None]


def parse(lines: Iterable[bytes]) -> dict[bytes, bytes | None]:
    """
    The directives of ``Cache-Control``. Of one that is there more than once the first counts; what is malformed does not.

    :param lines: of the field.
    """
    found: dict[bytes, bytes | None] = {}
    value, place = b",".join(lines), 0
    while place < len(value):
        member = _MEMBER.match(value, place)
        if member is None:
            comma = value.find(b",", place)
            place = len(value) if comma < 0 else comma + 1
            continue
        place = member.end()
        name, argument = member.groups()
        if argument is not None and argument.startswith(b'"'):
            argument = re.sub(rb"\\(.)", rb"\1", argument[1:-1])
        found.setdefault(name.lower(), argument)
    return found


def seconds(directives: Directives, name: bytes) -> int | None:
    """
    The seconds that a directive names; ``None`` where it is not there.

    One that is malformed names none (RFC 9111, 4.2.1: the answer counts as stale).
    """
    if name not in directives:
        return None
    argument = directives[name] or b""
    if not argument.isdigit():
        return 0
    return MAX_SECONDS if len(argument) > 10 else min(int(argument), MAX_SECONDS)


def request_directives(control: Iterable[bytes] | None, pragma: Iterable[bytes] | None) -> dict[bytes, bytes | None]:
    """
    The directives of a request. ``Pragma: no-cache`` counts where there is no ``Cache-Control`` (RFC 9111, 5.4).

    :param control: the lines of ``Cache-Control``, if there are any; ``pragma`` those of ``Pragma``.
    """
    if control is not None:
        return parse(control)
    return {b"no-cache": None} if pragma is not None and b"no-cache" in parse(pragma) else {}


def field_names(lines: Iterable[bytes]) -> tuple[bytes, ...]:
    """The names in ``Vary``, in lower case, each once, in the order of the alphabet; ``*`` alone when it is among them."""
    names = {name.strip(b" \t").lower() for name in b",".join(lines).split(b",")} - {b""}
    if b"*" in names or not all(TOKEN.match(name) for name in names):
        return (b"*",)
    return tuple(sorted(names))
