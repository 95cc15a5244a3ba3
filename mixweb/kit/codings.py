"""
Content codings (RFC 9110, 8.4.1): which of them a client takes, and what makes them.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib import import_module
from typing import Any, Protocol

from mixweb.engine.fields import weights


def choose(accept: tuple[bytes, ...], codings: tuple[bytes, ...]) -> bytes | None:
    """
    The coding to send; ``None`` for the content as it is.

    :param accept: the lines of ``Accept-Encoding``; none of them, and the content is sent as it is.
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


class Stream(Protocol):
    """Encodes a body piece by piece."""

    def feed(self, data: bytes) -> bytes:
        """The next piece, encoded as far as can be."""

    def push(self) -> bytes:
        """What lets the client decode all that was fed."""

    def flush(self) -> bytes:
        """The end."""


@dataclass(frozen=True)
class Coder:
    """
    One coding with one effort.

    :ivar whole: encodes a whole body.
    :ivar stream: makes what encodes a body in pieces; it takes up little memory, as there may be many.
    """

    whole: Callable[[bytes], bytes]
    stream: Callable[[], Stream]


class _Stream:
    def __init__(self, feed: Callable[[bytes], bytes], push: Callable[[], bytes], flush: Callable[[], bytes]) -> None:
        self.feed = feed
        self.push = push
        self.flush = flush


def _gzip(level: int) -> Coder:
    try:
        library: Any = import_module("isal.isal_zlib")
        level = {1: 1, 6: 2, 9: 3}[level]
    except ImportError:
        library = zlib

    def stream() -> Stream:
        compressor = library.compressobj(level, zlib.DEFLATED, 16 + 13, 5)
        return _Stream(compressor.compress, partial(compressor.flush, zlib.Z_SYNC_FLUSH), compressor.flush)

    return Coder(partial(library.compress, level=level, wbits=16 + 15), stream)


def _brotli(quality: int) -> Coder:
    import brotli

    def stream() -> Stream:
        compressor = brotli.Compressor(quality=quality, lgwin=16)
        return _Stream(compressor.process, compressor.flush, compressor.finish)

    return Coder(partial(brotli.compress, quality=quality), stream)


def _zstd(level: int) -> Coder:
    try:
        zstd: Any = import_module("compression.zstd")
    except ImportError:
        zstd = import_module("backports.zstd")
    options = {zstd.CompressionParameter.compression_level: level, zstd.CompressionParameter.window_log: 16}

    def stream() -> Stream:
        compressor = zstd.ZstdCompressor(options=options)
        return _Stream(compressor.compress, partial(compressor.flush, compressor.FLUSH_BLOCK), compressor.flush)

    return Coder(partial(zstd.compress, level=level), stream)


_MAKERS: dict[str, tuple[Callable[[int], Coder], dict[str, int]]] = {
    "zstd": (_zstd, {"fast": 1, "normal": 3, "best": 12}),
    "br": (_brotli, {"fast": 2, "normal": 5, "best": 9}),
    "gzip": (_gzip, {"fast": 1, "normal": 6, "best": 9}),
}

#: The codings that there are, those that make less of a text first.
CODINGS = tuple(_MAKERS)

#: How hard they try.
EFFORTS = ("fast", "normal", "best")


def coder(coding: str, effort: str) -> Coder:
    """
    What makes a coding.

    :param coding: one of :data:`CODINGS`.
    :param effort: one of :data:`EFFORTS`.
    """
    make, levels = _MAKERS[coding]
    return make(levels[effort])
