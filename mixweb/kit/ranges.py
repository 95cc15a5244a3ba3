"""
Byte ranges of RFC 9110, 14: which pieces of a file answer a Range, and how several travel in one answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple, TypeAlias

_UNIT = re.compile(rb"[Bb][Yy][Tt][Ee][Ss]=")
_SPEC = re.compile(rb"([0-9]+)-([0-9]*)\Z|-([0-9]+)\Z")

#: A Range of more ranges is answered with the whole file.
MAX_RANGES = 64

#: A multipart answer may have this many bytes, or twice those of the file if that is more.
MIN_MULTIPART_BYTES = 4096

_HUGE = 10**18


class Span(NamedTuple):
    """Consecutive bytes of a file."""

    start: int
    size: int

    def content_range(self, total: int) -> bytes:
        """The value of ``Content-Range`` for these bytes of a file of ``total`` bytes."""
        return b"bytes %d-%d/%d" % (self.start, self.start + self.size - 1, total)


#: A part of an answer: bytes as they are, or bytes of the file.
Piece: TypeAlias = bytes | Span


def select(value: bytes, size: int) -> list[Span] | None:
    """
    The spans that a Range asks for, in its order.

    :param value: of the ``Range`` field.
    :param size: of the file, in bytes.
    :returns: nothing when no range can be satisfied (416); ``None`` when the Range is to be ignored: another unit, not
        the grammar, more than :data:`MAX_RANGES`, or overlapping ranges (RFC 9110, 14.2).
    """
    unit = _UNIT.match(value)
    if unit is None or value.count(b",") >= MAX_RANGES:
        return None
    spans = []
    asked = False
    for spec in value[unit.end() :].split(b","):
        spec = spec.strip(b" \t")
        if not spec:
            continue
        asked = True
        try:
            span = _span(spec, size)
        except ValueError:
            return None
        if span is not None:
            spans.append(span)
    return spans if asked and not _overlap(spans) and Span(0, 0) not in spans else None


def _span(spec: bytes, size: int) -> Span | None:
    """
    The span of one range; ``None`` when the file has no such bytes, an empty one for the end of an empty file.

    :raises ValueError: when it is not the grammar.
    """
    found = _SPEC.match(spec)
    if found is None:
        raise ValueError("not a range")
    first, last, suffix = found.groups()
    if suffix is not None:
        length = min(_number(suffix), size)
        return Span(size - length, length) if _number(suffix) else None
    start = _number(first)
    end = _number(last) if last else _HUGE
    if end < start:
        raise ValueError("the range ends before it begins")
    return Span(start, min(end + 1, size) - start) if start < size else None


def _number(digits: bytes) -> int:
    return int(digits) if len(digits) <= 18 else min(int(digits.lstrip(b"0")[:19] or b"0"), _HUGE)


def _overlap(spans: Sequence[Span]) -> bool:
    ordered = sorted(spans)
    return any(before.start + before.size > after.start for before, after in pairwise(ordered))


def multipart(spans: Sequence[Span], size: int, content_type: bytes, boundary: bytes) -> list[Piece] | None:
    """
    The pieces of a ``multipart/byteranges`` body (RFC 9110, 14.6); ``None`` when the whole file is the better answer.

    :param boundary: bytes that the file does not contain.
    """
    pieces: list[Piece] = []
    for span in spans:
        head = b"\r\n--%b\r\nContent-Type: %b\r\nContent-Range: %b\r\n\r\n"
        pieces += [head % (boundary, content_type, span.content_range(size)), span]
    pieces.append(b"\r\n--%b--\r\n" % boundary)
    return pieces if length(pieces) <= max(2 * size, MIN_MULTIPART_BYTES) else None


def length(pieces: Sequence[Piece]) -> int:
    """How many bytes pieces make."""
    return sum(piece.size if isinstance(piece, Span) else len(piece) for piece in pieces)
