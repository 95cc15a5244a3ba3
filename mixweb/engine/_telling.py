"""
What channels tell requests before they are complete, also those of Twisted, which are not prepared for it.
"""

from __future__ import annotations

from typing import Any


def introduce(request: Any, method: bytes, target: bytes, version: bytes) -> None:
    """Tell a request its line."""
    if hasattr(request, "begin"):
        request.begin(method, target, version)
    else:
        request.method, request.uri, request.clientproto = method, target, version


def refuse(request: Any, status: int, detail: str) -> None:
    """
    Have a request answered with an error, as the last one of its connection.

    :param request: one that has not been answered.
    :param detail: one sentence for the client.
    """
    if hasattr(request, "refuse"):
        request.refuse(status, detail)
    else:
        request.setResponseCode(status)
        request.setHeader(b"Connection", b"close")
        request.setHeader(b"Content-Type", b"text/plain; charset=utf-8")
        request.write(detail.encode() + b"\n")
        request.finish()
