"""
What an answer says about caching: ``Cache-Status`` (RFC 9211) and ``Age``.
"""

from __future__ import annotations


class Note:
    """
    What becomes of a request, for ``Cache-Status``.

    :param name: of this cache.
    :param forwarded: why the request was passed on, as ``fwd`` has it (RFC 9211, 2.2); empty where it was not.
    """

    def __init__(self, name: str, forwarded: str = "") -> None:
        self.name = name
        self.forwarded = forwarded

    def hit(self, ttl: float) -> bytes:
        """
        A stored answer was used.

        :param ttl: seconds for which it is still fresh; negative for one that is stale.
        """
        return f"{self.name}; hit; ttl={int(ttl)}".encode("ascii")

    def collapsed(self, ttl: float) -> bytes:
        """The answer to another request for the same page was used, which was under way."""
        return f"{self.name}; fwd=uri-miss; collapsed; ttl={int(ttl)}".encode("ascii")

    def passed(self, status: int, stored: bool = False, detail: str = "", ttl: float | None = None) -> bytes:
        """
        The request was passed on.

        :param status: of the answer to it, where the client gets another one; 0 else.
        :param detail: why the answer was not stored.
        :param ttl: seconds for which the answer is fresh.
        """
        parts = [self.name, f"fwd={self.forwarded}"]
        if status:
            parts.append(f"fwd-status={status}")
        if ttl is not None:
            parts.append(f"ttl={int(ttl)}")
        if stored:
            parts.append("stored")
        if detail:
            parts.append(f"detail={detail}")
        return "; ".join(parts).encode("ascii")
