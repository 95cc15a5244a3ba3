"""
HTTP digest (RFC 7616): nonces that this process knows again, and what an answer to them is.
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Callable, Sequence
from hmac import compare_digest
from hmac import new as hmac
from secrets import token_bytes

from mixweb.features.auth._credentials import Digest

#: The algorithms, the one liked best first.
ALGORITHMS = {"SHA-256": "sha256", "MD5": "md5"}

#: Seconds that a nonce may be used.
LIFETIME = 300

#: Nonces whose uses are remembered; those issued before the ones that were forgotten are not taken any more.
_MAX_NONCES = 4096

#: How far the requests of a client may overtake each other.
_WINDOW = 128

_RANDOM, _SIGNATURE = 8, 16


class Nonces:
    """
    Makes nonces and tells how they are used.

    :param key: that they are signed with; whoever has it takes them for its own.
    :param seconds: the time.
    """

    def __init__(self, key: bytes, seconds: Callable[[], float]) -> None:
        self._key = key
        self._seconds = seconds
        # By nonce: the highest count so far, and which of those below it were there.
        self._used: OrderedDict[str, tuple[int, int]] = OrderedDict()
        self._forgotten = 0.0

    def new(self) -> str:
        """A nonce that was never there."""
        return self._signed(int(self._seconds() * 1000).to_bytes(8, "big") + token_bytes(_RANDOM))

    def issued(self, nonce: str) -> bool:
        """Whether a nonce was made here, lately, and its uses are still known."""
        when = self._when(nonce)
        fresh = when is not None and 0 <= self._seconds() - when <= LIFETIME
        return fresh and (nonce in self._used or (when or 0) > self._forgotten)

    def _when(self, nonce: str) -> float | None:
        """When it was made, in seconds; ``None`` when it is not one of ours."""
        try:
            data = urlsafe_b64decode(nonce.encode() + b"=" * (-len(nonce) % 4))
        except ValueError:
            return None
        body = data[: 8 + _RANDOM]
        if not compare_digest(self._signed(body).encode(), nonce.encode()):
            return None
        return int.from_bytes(body[:8], "big") / 1000

    def use(self, nonce: str, count: int) -> bool:
        """
        Take note that a nonce was used; whether it was for the first time with this count.

        :param nonce: one that was :meth:`issued`.
        """
        highest, seen = self._used.get(nonce, (0, 0))
        if count > highest:
            shift = min(count - highest, _WINDOW)
            highest, seen = count, (seen << shift | 1) & ((1 << _WINDOW) - 1)
        else:
            bit = 1 << (highest - count) if highest - count < _WINDOW else 0
            if not bit or seen & bit:
                return False
            seen |= bit
        self._used[nonce] = highest, seen
        self._forget()
        return True

    def _forget(self) -> None:
        while len(self._used) > _MAX_NONCES:
            nonce, _ = self._used.popitem(last=False)
            self._forgotten = max(self._forgotten, self._when(nonce) or 0)

    def _signed(self, body: bytes) -> str:
        signature = hmac(self._key, b"digest nonce" + body, "sha256").digest()[:_SIGNATURE]
        return urlsafe_b64encode(body + signature).decode().rstrip("=")


def expected(given: Digest, method: bytes, ha1: str) -> str:
    """The ``response`` that goes with the other parameters (RFC 7616, 3.4.1)."""
    second = _hash(given.algorithm, method.decode("latin-1") + ":" + given.uri)
    middle = f"{given.nonce}:{given.count_text}:{given.cnonce}:auth"
    return _hash(given.algorithm, f"{ha1}:{middle}:{second}")


def _hash(algorithm: str, text: str) -> str:
    return hashlib.new(ALGORITHMS[algorithm], text.encode()).hexdigest()


def challenges(realm: str, nonce: str, algorithms: Sequence[str], stale: bool) -> list[bytes]:
    """The challenges, one for each algorithm."""
    tail = ", stale=true" if stale else ""
    return [
        f'Digest realm="{realm}", qop="auth", algorithm={algorithm}, nonce="{nonce}", charset=UTF-8{tail}'.encode()
        for algorithm in algorithms
    ]
