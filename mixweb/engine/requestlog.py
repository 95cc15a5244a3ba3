"""
What is logged on behalf of a request, so that it can be told whose lines belong together.
"""

from __future__ import annotations

from typing import Any

from twisted.logger import Logger

from mixweb.interfaces import IClientAddress, ISessionTag


class RequestLog(Logger):
    """
    A log whose lines are tagged with the client's address and what marks its session: ``[127.0.0.1-4f09ab]``, or
    ``[127.0.0.1-...]`` without one. The fields of an event have them as ``client`` and ``session``.
    """

    def __init__(self, request: Any) -> None:
        super().__init__("mixweb.request")
        self._request = request

    def emit(self, level: Any, format: str | None = None, **fields: Any) -> None:
        """Log an event."""
        client, session = client_of(self._request), session_tag(self._request)
        tags = {"log_system": f"{client}-{session or '...'}", "client": client, "session": session}
        super().emit(level, format, **{**tags, **fields})


def client_of(request: Any) -> str:
    """The address that a request is from; ``local`` for a socket of this machine that has none."""
    known = IClientAddress(request, None)
    return str(getattr(known or request.getClientAddress(), "host", "") or "local")


def session_tag(request: Any) -> str:
    """What marks the lines of one session; empty without one."""
    known = ISessionTag(request, None)
    return "" if known is None else str(known.tag)
