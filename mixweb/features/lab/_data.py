"""
Bodies of any size, at any speed.
"""

from __future__ import annotations

import os
import re
from binascii import a2b_base64
from collections.abc import AsyncGenerator, Callable
from random import Random, SystemRandom
from uuid import uuid4

from mixweb.engine.errors import HTTPError
from mixweb.features.lab._call import ANY, Call, Endpoint, json_text, whole
from mixweb.features.lab._inspect import BODILESS, WITH_BODY, described

#: A body is made in pieces of this size, in bytes.
PIECE_BYTES = 64 * 1024

#: A body that takes its time comes in at most so many pieces, and one that is cut into small pieces too.
MAX_PIECES = 10_000
TIMED_PIECES = 500

#: So many pieces are sent before others get their turn.
_TURN = 50

_RANGE = re.compile(rb"bytes=(?:(\d{1,18})-(\d{1,18})?|-(\d{1,18}))\Z")
_LETTERS = b"abcdefghijklmnopqrstuvwxyz"


async def paced(
    call: Call, make: Callable[[int, int], bytes], start: int, stop: int, piece: int, seconds: float = 0
) -> AsyncGenerator[bytes, None]:
    """
    A body in pieces, and before it nothing, which sends the head.

    :param make: gives the bytes from one position to another.
    :param piece: bytes of each; more where there would be too many.
    :param seconds: that all of it takes.
    """
    total, begun = stop - start, call.reactor.seconds()
    piece = max(piece, -(-total // (TIMED_PIECES if seconds else MAX_PIECES)), 1)
    yield b""
    if call.request.method == b"HEAD":
        return
    for number, position in enumerate(range(start, stop, piece), 1):
        end = min(position + piece, stop)
        if seconds:
            due = begun + seconds * (end - start) / total
            await call.sleep(max(due - call.reactor.seconds(), 0))
        elif number % _TURN == 0:
            await call.sleep(0)
        yield make(position, end)


def random_bytes(call: Call) -> Callable[[int, int], bytes]:
    """Random bytes for :func:`paced`; the same ones each time where the query has a ``seed``."""
    seed = call.value("seed")
    if not seed:
        return lambda start, stop: os.urandom(stop - start)
    source = Random(whole(seed, -(10**18), 10**18))  # noqa: S311 - it is to repeat
    return lambda start, stop: source.randbytes(stop - start)


def declare(call: Call, size: int) -> None:
    """Set type and length of a body."""
    call.kind(b"application/octet-stream")
    call.request.setHeader(b"Content-Length", b"%d" % size)


def some_bytes(call: Call, number: str) -> AsyncGenerator[bytes, None] | bytes:
    size = call.size(number)
    declare(call, size)
    return paced(call, random_bytes(call), 0, size, PIECE_BYTES) if size else b""


def stream_bytes(call: Call, number: str) -> AsyncGenerator[bytes, None]:
    call.kind(b"application/octet-stream")
    piece = whole(call.value("chunk_size", "10240"), 1, PIECE_BYTES)
    return paced(call, random_bytes(call), 0, call.size(number), piece)


async def _lines(call: Call, number: int) -> AsyncGenerator[bytes, None]:
    line = described(call, *BODILESS)
    for index in range(number):
        yield json_text(line | {"id": index}, indented=False)


def stream(call: Call, number: str) -> AsyncGenerator[bytes, None]:
    call.kind(b"application/json")
    return _lines(call, whole(number, 0, call.settings.max_lines))


async def drip(call: Call) -> AsyncGenerator[bytes, None] | bytes:
    size = whole(call.value("numbytes", "10"), 1, call.settings.max_bytes)
    seconds = call.seconds(call.value("duration", "2"))
    code = call.value("code", "200")
    if not re.fullmatch("[2-5][0-9][0-9]", code):
        raise HTTPError(400, "code must be a status code from 200 to 599.")
    wait = call.seconds(call.value("delay", "0"))
    if wait:
        await call.sleep(wait)
    call.request.setResponseCode(int(code))
    if code in ("204", "304"):
        return b""
    declare(call, size)
    return paced(call, lambda start, stop: b"*" * (stop - start), 0, size, 1 if seconds else PIECE_BYTES, seconds)


async def delay(call: Call, number: str) -> bytes:
    await call.sleep(call.seconds(number))
    return call.json(described(call, *WITH_BODY))


async def jitter(call: Call, number: str) -> bytes:
    await call.sleep(SystemRandom().uniform(0, call.seconds(number)))
    return call.json(described(call, *WITH_BODY))


def alphabet(start: int, stop: int) -> bytes:
    """The letters from one position to another of an alphabet that repeats."""
    first = start % 26
    return (_LETTERS * (-(-(stop - start + first) // 26)))[first : first + stop - start]


def span(value: bytes, size: int) -> tuple[int, int] | None:
    """
    What a ``Range`` of one part asks for, as the positions of its begin and end; ``None`` where it is to be ignored.

    :raises ValueError: when there is nothing of it (RFC 9110, 14.1.2).
    """
    found = _RANGE.match(value)
    if found is None:
        return None
    if found[3] is not None:
        start, stop = max(size - int(found[3]), 0), size
    else:
        start, stop = int(found[1]), min(int(found[2] or size) + 1, size)
        if found[2] is not None and int(found[2]) < start:
            return None
    if start >= stop:
        raise ValueError("not satisfiable")
    return start, stop


def ranges(call: Call, number: str) -> AsyncGenerator[bytes, None]:
    request, size = call.request, whole(number, 1, call.settings.max_bytes)
    seconds = call.seconds(call.value("duration", "0"))
    piece = whole(call.value("chunk_size", str(PIECE_BYTES)), 1, PIECE_BYTES)
    tag = b'"range%d"' % size
    request.setHeader(b"ETag", tag)
    request.setHeader(b"Accept-Ranges", b"bytes")
    try:
        part = span(call.header(b"Range"), size) if call.header(b"If-Range") in (b"", tag) else None
    except ValueError:
        raise HTTPError(416, f"There are {size} bytes.", [(b"Content-Range", b"bytes */%d" % size)]) from None
    start, stop = part or (0, size)
    if part:
        request.setResponseCode(206)
        request.setHeader(b"Content-Range", b"bytes %d-%d/%d" % (start, stop - 1, size))
    declare(call, stop - start)
    return paced(call, alphabet, start, stop, piece, seconds)


def decoded(call: Call, value: str) -> bytes:
    text = value.replace("-", "+").replace("_", "/")
    try:
        data = a2b_base64(text + "=" * (-len(text) % 4), strict_mode=True)
    except ValueError:
        raise HTTPError(400, "This is not base64; try bWl4d2Vi.") from None
    try:
        data.decode()
    except UnicodeDecodeError:
        call.kind(b"application/octet-stream")
    else:
        call.kind(b"text/plain; charset=utf-8")
    return data


def uuid(call: Call) -> bytes:
    return call.json({"uuid": str(uuid4())})


ENDPOINTS = [
    Endpoint("/delay/{seconds}", delay, "the request, so many seconds late", ANY),
    Endpoint("/jitter/{seconds}", jitter, "the same, after a random time that is no longer", ANY),
    Endpoint("/drip", drip, "?numbytes= over ?duration= seconds, after ?delay=, with status ?code="),
    Endpoint("/stream/{number}", stream, "so many lines of JSON"),
    Endpoint("/bytes/{number}", some_bytes, "so many random bytes; ?seed= for the same ones again"),
    Endpoint("/stream-bytes/{number}", stream_bytes, "the same in chunks of ?chunk_size="),
    Endpoint("/range/{number}", ranges, "so many letters, any range of them, over ?duration= seconds"),
    Endpoint("/base64/{value}", decoded, "what the value means in base64"),
    Endpoint("/uuid", uuid, "a random UUID"),
]
