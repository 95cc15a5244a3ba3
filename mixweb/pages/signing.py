"""
Signed cookies: values that a client keeps and cannot change.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

#: Keys of fewer bytes can be guessed.
_MIN_KEY_BYTES = 16

_DAY = 86400


class CookieSigner:
    """
    Signs values, each for the name of its cookie, with the time.

    :param keys: the one to sign with first; the others are taken still, so that keys can be changed.
    :raises ValueError: when a key is too short, or itsdangerous is missing.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        if any(len(key.encode()) < _MIN_KEY_BYTES for key in keys):
            raise ValueError(f"a key of cookie_secret has at least {_MIN_KEY_BYTES} bytes; it must be random")
        try:
            import itsdangerous
        except ImportError:
            raise ValueError("cookie_secret needs itsdangerous: pip install 'mixweb[signing]'") from None
        self._module = itsdangerous
        self._keys = [key.encode() for key in reversed(keys)]

    def sign(self, name: str, value: bytes) -> bytes:
        """The value and its signature, in characters that a cookie may have."""
        return bytes(self._signer(name, self._keys).sign(urlsafe_b64encode(value).rstrip(b"=")))

    def unsign(self, name: str, signed: bytes, max_age_days: float) -> bytes | None:
        """The value; ``None`` when the signature is not of this name and one of the keys, or too old."""
        return self._unsigned(name, signed, max_age_days, self._keys)

    def key_version(self, name: str, signed: bytes) -> int | None:
        """Which key has signed it, the oldest being 1; ``None`` when none has."""
        for number, key in enumerate(self._keys, 1):
            if self._unsigned(name, signed, None, [key]) is not None:
                return number
        return None

    def _signer(self, name: str, keys: list[bytes]) -> Any:
        return self._module.TimestampSigner(keys, salt=f"mixweb.cookie.{name}", digest_method=sha256)

    def _unsigned(self, name: str, signed: bytes, max_age_days: float | None, keys: list[bytes]) -> bytes | None:
        seconds = None if max_age_days is None else int(max_age_days * _DAY)
        try:
            value = bytes(self._signer(name, keys).unsign(signed, max_age=seconds))
            return urlsafe_b64decode(value + b"=" * (-len(value) % 4))
        except (self._module.BadSignature, ValueError):
            return None
