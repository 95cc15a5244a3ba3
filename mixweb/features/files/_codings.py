"""
Files that were compressed beforehand: which of them a client takes (RFC 9110, 12.5.3).
"""

from __future__ import annotations

from functools import lru_cache

from mixweb.engine.fields import weights

#: Content coding to the extension of its files, best first.
EXTENSIONS = {b"br": b".br", b"zstd": b".zst", b"gzip": b".gz"}


def choose(accept: tuple[bytes, ...], codings: tuple[bytes, ...]) -> bytes | None:
    """
    The coding to send; ``None`` for the file as it is.

    :param accept: the lines of ``Accept-Encoding``; none of them, and the file is sent as it is.
    :param codings: that there are, best first.
    """
    if not accept or not codings:
        return None
    return _choose(accept, codings) if sum(map(len, accept)) < 256 else _choose.__wrapped__(accept, codings)


@lru_cache(maxsize=256)
def _choose(accept: tuple[bytes, ...], codings: tuple[bytes, ...]) -> bytes | None:
    liked = weights(accept)
    if b"x-gzip" in liked:
        liked.setdefault(b"gzip", liked[b"x-gzip"])
    best = max(codings, key=lambda coding: liked.get(coding, liked.get(b"*", 0.0)))
    weight = liked.get(best, liked.get(b"*", 0.0))
    return best if weight > 0 and weight >= liked.get(b"identity", 0.0) else None
