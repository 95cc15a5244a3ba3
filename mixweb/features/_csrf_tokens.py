"""
Tokens that look different each time they are given, and mean the same secret (the second version of Tornado's).

One that was always the same in compressed answers could be guessed from their lengths (BREACH).
"""

from __future__ import annotations

import re
from secrets import token_bytes

#: Bytes of randomness in a secret.
SECRET_BYTES = 16

_TOKEN = re.compile(rb"2\|([0-9a-f]{8,64})\|([0-9a-f]{32})\|[0-9]{1,12}\Z")


def new_secret() -> bytes:
    """A secret that nobody knows."""
    return token_bytes(SECRET_BYTES)


def mask(secret: bytes, now: float) -> bytes:
    """
    A token: ``2|MASK|MASKED|TIME``.

    :param now: seconds since the epoch.
    """
    key = token_bytes(len(secret))
    return b"2|%b|%b|%d" % (key.hex().encode(), _mixed(secret, key).hex().encode(), now)


def unmask(token: bytes) -> bytes | None:
    """The secret that a token means; ``None`` when it is none."""
    found = _TOKEN.match(token)
    if found is None or len(found[1]) % 2:
        return None
    return _mixed(bytes.fromhex(found[2].decode()), bytes.fromhex(found[1].decode()))


def _mixed(data: bytes, key: bytes) -> bytes:
    return bytes(one ^ key[index % len(key)] for index, one in enumerate(data))
