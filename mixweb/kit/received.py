"""
A request as its client sent it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mixweb.engine.request import Request


def received_target(request: Request) -> bytes:
    """The target as received, in whatever form; empty where it was never read."""
    head = request.head
    # That of HTTP/2 has no line.
    target = request.uri if head is None else getattr(head, "line", head).target
    return target if isinstance(target, bytes) and target != b"-" else b""


def received_fields(request: Request) -> Sequence[tuple[bytes, bytes]]:
    """
    Names and values of all header lines, in the order and case received.

    Where the channel does not keep them (Twisted's HTTP/2) the lines of one name stand together.
    """
    head: Any = request.head
    if head is not None:
        pairs: Sequence[tuple[bytes, bytes]] = head.fields.pairs
        return pairs
    return [(name, value) for name, values in request.requestHeaders.getAllRawHeaders() for value in values]
