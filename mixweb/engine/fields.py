"""
Field values: the small grammars of RFC 9110 that several parts need.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*\Z")
_WEIGHT = re.compile(rb";[ \t]*[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*\Z")


def field_line(line: str) -> tuple[bytes, bytes]:
    """
    The name and value of a field written ``Name: value``.

    :raises ValueError: when it is not a field line of RFC 9110, 5.
    """
    name, colon, value = line.partition(":")
    encoded, content = name.strip().encode(), value.strip().encode()
    if not colon or not TOKEN.match(encoded):
        raise ValueError(f"{line!r} is not a header line; expected 'Name: value'")
    if not _VALUE.match(content):
        raise ValueError(f"the value of header {name.strip()!r} has control characters")
    return encoded, content


def options(values: Iterable[bytes]) -> set[bytes]:
    """
    The options of a ``Connection`` field, in lower case (RFC 9110, 7.6.1).

    :param values: the lines of the field.
    """
    return {option.strip(b" \t") for option in b",".join(values).lower().split(b",")}


def weights(values: Iterable[bytes]) -> dict[bytes, float]:
    """
    The members of an ``Accept*`` field with their weights (RFC 9110, 12.4.2), lower case, parameters kept.

    :param values: the lines of the field.
    """
    found: dict[bytes, float] = {}
    for member in b",".join(values).lower().split(b","):
        weight = _WEIGHT.search(member)
        name = member[: weight.start()].strip() if weight else member.strip()
        if name:
            found[name] = float(weight.group(1)) if weight else 1.0
    return found


def preferred_type(accept: Sequence[bytes] | None, offers: Sequence[bytes]) -> bytes:
    """
    The media type of ``offers`` that the client likes best; the first one where it likes several, or none.

    :param accept: the lines of ``Accept``, or ``None``.
    """
    if not accept:
        return offers[0]
    liked = weights(accept)

    def weight(offer: bytes) -> float:
        kind = offer.partition(b"/")[0] + b"/*"
        return next((liked[name] for name in (offer, kind, b"*/*") if name in liked), 0.0)

    return max(offers, key=weight)


class DefaultFields(dict[bytes, bytes]):
    """
    Fields for answers that have none of their name: names as ``Headers`` spells them, values that need no check.

    :ivar lines: all of them as HTTP/1.1 sends them.
    :ivar block: all of them as HTTP/2 sends them; made when first needed.
    """

    block = b""

    def __init__(self, fields: Mapping[bytes, bytes]) -> None:
        super().__init__(fields)
        self.lines = b"".join([b"\r\n" + name + b": " + value for name, value in fields.items()])
