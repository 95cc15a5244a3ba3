"""
Answers of others held to the length they declare, so that what is left over is not taken for the next answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from mixweb.engine.request import Request


def declared_length(values: Sequence[bytes] | None) -> int | None:
    """
    What ``Content-Length`` declares, in bytes.

    :param values: of the field, if there is one.
    :raises ValueError: when it is not one number (RFC 9110, 8.6).
    """
    if not values:
        return None
    if len(values) > 1 or not re.fullmatch(rb"[0-9]{1,18}", values[0]):
        raise ValueError("Content-Length must be one number")
    return int(values[0])


class BodyLength:
    """
    Counts the body of an answer, from before its first piece.

    :param request: with the status and fields of the answer.
    :ivar left: how much of what was declared has not come, in bytes; ``None`` when nothing is to be counted.
    :raises ValueError: when ``Content-Length`` is not one number.
    """

    def __init__(self, request: Request) -> None:
        declared = declared_length(request.responseHeaders.getRawHeaders(b"Content-Length"))
        bodyless = request.method == b"HEAD" or request.code in (204, 304)
        self.left = None if bodyless else declared

    def cut(self, data: bytes) -> bytes:
        """The part of a piece that is within the declared length."""
        if self.left is None:
            return data
        data = data[: self.left]
        self.left -= len(data)
        return data
