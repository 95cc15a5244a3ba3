"""
Passwords as they are stored, and what they cost.

A stored password has a mark that says what it is: ``$argon2id$...``, ``$2b$...`` and others of crypt(3), ``{SHA}`` and
``{SSHA}`` of LDAP, ``{CLEAR}`` and hexadecimal ``{MD5}``, ``{SHA1}``, ``{SHA256}``, ``{SHA512}``; or it is an HA1 of
HTTP digest, ``{HA1}ALGORITHM:REALM:HEX``.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64decode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from hmac import compare_digest
from secrets import token_urlsafe
from typing import Any
from unicodedata import normalize

import bcrypt
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

#: A longer password is nobody's.
MAX_PASSWORD_BYTES = 1024

#: What new hashes cost: some tens of milliseconds and 19 MiB.
HASHER = PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1)

CLEAR = "{CLEAR}"
HA1 = "{HA1}"

#: bcrypt looks at no more than this.
_BCRYPT_BYTES = 72

_MARK = re.compile(r"\$[^$]+\$|\{[A-Z0-9]+\}")
_BCRYPT = re.compile(r"\$2[aby]\$(?P<cost>\d\d)\$[./A-Za-z0-9]{53}\Z")
_ARGON2 = re.compile(
    r"\$argon2(?:id|i|d)\$v=19\$m=(?P<memory>\d{1,9}),t=(?P<time>\d{1,9}),p=(?P<lanes>\d{1,9})(?:\$[A-Za-z0-9+/]+){2}\Z"
)
_CRYPT = re.compile(r"\$[a-z0-9]+\$(?:(?:rounds=)?(?P<rounds>\d{1,18})\$)?[^$]*\$[./A-Za-z0-9]+\Z")
_HEX = {"{MD5}": "md5", "{SHA1}": "sha1", "{SHA256}": "sha256", "{SHA512}": "sha512"}
_DIGEST = {"MD5": "md5", "SHA-256": "sha256"}


@dataclass(frozen=True)
class Scheme:
    """
    One way to store passwords.

    :ivar check: whether a password is the stored one: name, stored, password.
    :ivar form: what a stored one looks like; its groups are what it costs.
    :ivar most: what each of them may be at most.
    """

    check: Callable[[str, str, str], bool]
    form: re.Pattern[str] = re.compile("")
    most: Sequence[int] = ()


def normalized(text: str) -> str:
    """A name or password in the one form that all ways to type it have (RFC 8265)."""
    return normalize("NFC", text)


def new_hash(password: str) -> str:
    """What is stored for a new password. It takes its time: call it in a thread."""
    return HASHER.hash(password)


@cache
def decoy() -> str:
    """A hash of a password that nobody knows."""
    return new_hash(token_urlsafe(32))


def is_current(stored: str) -> bool:
    """Whether a stored password is as good as a new one would be."""
    return stored.startswith("$argon2id$") and not HASHER.check_needs_rehash(stored)


def check(name: str, stored: str, password: str) -> bool:
    """
    Whether a password is the one that is stored. It takes its time: call it in a thread.

    :param name: of the user, as an HA1 has it.
    :param stored: one without a :func:`problem`.
    """
    if len(password) > MAX_PASSWORD_BYTES or "\0" in password:
        return False
    return _scheme(stored).check(name, stored, password)


def problem(stored: str) -> str:
    """What is wrong with a stored password, for the owner of the file; empty when it can be checked."""
    try:
        scheme = _scheme(stored)
        found = scheme.form.match(stored)
        if found is None:
            raise ValueError("this hash is malformed")
        if any(int(value or 0) > most for value, most in zip(found.groups(), scheme.most, strict=True)):
            raise ValueError("checking this hash would cost too much")
        if scheme.check is _check_digest:
            _stored_digest(stored)
    except ValueError as reason:
        return str(reason)
    return ""


def ha1(algorithm: str, name: str, realm: str, password: str) -> str:
    """The HA1 of a user (RFC 7616, 3.4.2)."""
    return hashlib.new(_DIGEST[algorithm], f"{name}:{realm}:{password}".encode()).hexdigest()


def has_digest(stored: str, algorithm: str) -> bool:
    """Whether HTTP digest can be checked with a stored password."""
    return stored.startswith((CLEAR, f"{HA1}{algorithm}:"))


def digest_key(stored: str, algorithm: str, name: str, realm: str) -> str | None:
    """The HA1 that a stored password comes to; ``None`` when that cannot be known."""
    if stored.startswith(CLEAR):
        return ha1(algorithm, name, realm, stored.removeprefix(CLEAR))
    prefix = f"{HA1}{algorithm}:{realm}:"
    return stored.removeprefix(prefix) if stored.startswith(prefix) else None


def _scheme(stored: str) -> Scheme:
    mark = _MARK.match(stored)
    if mark is None:
        raise ValueError("this is no hash that can be checked")
    found = _SCHEMES.get(mark[0])
    if found is None:
        raise ValueError(f"hashes with {mark[0]} are not known")
    if found.check is _check_crypt:
        _crypt_handler(mark[0])
    return found


def _stored_digest(stored: str) -> tuple[str, bytes, bytes]:
    """
    The algorithm, digest and salt of a stored digest.

    :raises ValueError: when it is malformed.
    """
    mark, brace, text = stored.partition("}")
    name = _HEX.get(mark + brace, "sha1")
    length = hashlib.new(name).digest_size
    try:
        data = bytes.fromhex(text) if mark + brace in _HEX else b64decode(text, validate=True)
    except ValueError:
        data = b""
    if len(data) < length or (len(data) > length) != (mark == "{SSHA"):
        raise ValueError(f"this is no {mark}{brace} digest")
    return name, data[:length], data[length:]


def _check_argon2(name: str, stored: str, password: str) -> bool:
    try:
        return HASHER.verify(stored, password)
    except (VerificationError, InvalidHashError):
        return False


def _check_bcrypt(name: str, stored: str, password: str) -> bool:
    data = password.encode()
    same = bcrypt.checkpw(data[:_BCRYPT_BYTES], stored.encode())
    # Longer ones with the same beginning would be the same to bcrypt.
    return same and len(data) <= _BCRYPT_BYTES


def _check_digest(name: str, stored: str, password: str) -> bool:
    algorithm, digest, salt = _stored_digest(stored)
    return compare_digest(hashlib.new(algorithm, password.encode() + salt).digest(), digest)


def _check_clear(name: str, stored: str, password: str) -> bool:
    return compare_digest(stored.removeprefix(CLEAR).encode(), password.encode())


def _check_ha1(name: str, stored: str, password: str) -> bool:
    algorithm, _, rest = stored.removeprefix(HA1).partition(":")
    realm, _, key = rest.rpartition(":")
    return compare_digest(ha1(algorithm, name, realm, password), key.lower())


def _check_crypt(name: str, stored: str, password: str) -> bool:
    handler = _crypt_handler(stored[: stored.index("$", 1) + 1])
    try:
        return bool(handler.verify(password, stored))
    except ValueError:
        return False


def _crypt_handler(mark: str) -> Any:
    try:
        from passlib import hash as handlers
    except ImportError:
        raise ValueError(f"{mark} hashes need a library: pip install 'mixweb[crypt]'") from None
    return getattr(handlers, _CRYPT_NAMES[mark])


_CRYPT_NAMES = {
    "$apr1$": "apr_md5_crypt",
    "$1$": "md5_crypt",
    "$5$": "sha256_crypt",
    "$6$": "sha512_crypt",
    "$sha1$": "sha1_crypt",
}

_SCHEMES: dict[str, Scheme] = {
    **dict.fromkeys(["$argon2id$", "$argon2i$", "$argon2d$"], Scheme(_check_argon2, _ARGON2, (1024 * 1024, 64, 64))),
    **dict.fromkeys(["$2a$", "$2b$", "$2y$"], Scheme(_check_bcrypt, _BCRYPT, (16,))),
    **dict.fromkeys(["{SHA}", "{SSHA}", *_HEX], Scheme(_check_digest)),
    **dict.fromkeys(_CRYPT_NAMES, Scheme(_check_crypt, _CRYPT, (2_000_000,))),
    CLEAR: Scheme(_check_clear),
    HA1: Scheme(_check_ha1),
}
