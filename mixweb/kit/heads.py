"""
Heads of answers as files and programs write them: lines of text before the body.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mixweb.engine.errors import reason_phrase
from mixweb.engine.fields import field_line

#: A longer head is refused, in bytes.
MAX_HEAD_BYTES = 64 * 1024

#: What belongs to the connection.
_FRAMING = frozenset(b"connection date keep-alive proxy-connection te trailer transfer-encoding upgrade".split())

_END = re.compile(rb"(?:^|\n)\r?\n")
_STATUS_LINE = re.compile(r"HTTP/\d(?:\.\d)? (?P<status>[2-5]\d\d)(?: (?P<reason>.*))?\Z")
_STATUS_FIELD = re.compile(r"(?P<status>[2-5]\d\d)(?: (?P<reason>.*))?\Z")


@dataclass(frozen=True, slots=True)
class Head:
    """
    The head of an answer.

    :ivar status: as a status line or a ``Status`` field has it; ``None`` when there is neither.
    :ivar length: where the body begins, in bytes.
    """

    status: int | None
    reason: bytes
    fields: list[tuple[bytes, bytes]]
    length: int


def parse_head(data: bytes) -> Head | None:
    """
    Read the head at the beginning of data; ``None`` when its end is not there yet.

    Lines end in LF or CRLF. Fields that belong to the connection are left out.

    :raises ValueError: when it is none, or has more than :data:`MAX_HEAD_BYTES`.
    """
    end = _END.search(data, 0, MAX_HEAD_BYTES)
    if end is None:
        if len(data) >= MAX_HEAD_BYTES:
            raise ValueError(f"no empty line ends the head within {MAX_HEAD_BYTES} bytes")
        return None
    lines = data[: end.start()].decode("utf-8", "replace").split("\n")
    lines = [line.removesuffix("\r") for line in lines if line.strip()]
    first = _STATUS_LINE.match(lines[0]) if lines else None
    fields = [field_line(line) for line in (lines[1:] if first else lines)]
    for name, value in fields:
        if name.lower() == b"status":
            first = _STATUS_FIELD.match(value.decode())
            if first is None:
                raise ValueError("the status is not one of 200 to 599")
    kept = [(name, value) for name, value in fields if name.lower() not in _FRAMING | {b"status"}]
    if first is None:
        return Head(None, b"", kept, end.end())
    status = int(first["status"])
    return Head(status, (first["reason"] or "").encode() or reason_phrase(status), kept, end.end())
