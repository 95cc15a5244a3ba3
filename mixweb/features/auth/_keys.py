"""
Keys that tokens are signed with: which algorithm a key is for, and which keys are too weak for any.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from warnings import catch_warnings

from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey, import_key

#: The shortest secret in bytes, or the smallest RSA key in bits, for an algorithm (RFC 7518, 3.2 and 3.3).
_LEAST = {"HS256": 32, "HS384": 48, "HS512": 64}
_LEAST |= {f"{kind}{bits}": 2048 for kind in ("RS", "PS") for bits in (256, 384, 512)}
_CURVES = {
    "ES256": ("P-256",),
    "ES384": ("P-384",),
    "ES512": ("P-521",),
    "EdDSA": ("Ed25519", "Ed448"),
    "Ed25519": ("Ed25519",),
}

#: The algorithms that there are.
ALGORITHMS = (*_LEAST, *_CURVES)

#: Those whose key is a secret.
SYMMETRIC = ("HS256", "HS384", "HS512")

#: How a secret is written.
ENCODINGS = ("clear", "base64std", "base64url")

#: So many keys of a set are looked at.
_MAX_KEYS = 100

#: The moduli of a broken generator (CVE-2017-15361) are powers of 65537 to all of these.
_ROCA_PRIMES = (
    3,
    5,
    7,
    11,
    13,
    17,
    19,
    23,
    29,
    31,
    37,
    41,
    43,
    47,
    53,
    59,
    61,
    67,
    71,
    73,
    79,
    83,
    89,
    97,
    101,
    103,
    107,
)


class KeyProblem(ValueError):
    """A key that cannot be used; the text says why."""


@dataclass(frozen=True)
class VerifyingKey:
    """
    A key and the algorithms that it is for.

    :ivar kid: its name, if it has one.
    """

    key: Any
    algorithms: frozenset[str]
    kid: str | None = None


def check_key(key: Key, algorithm: str) -> None:
    """
    Whether a key may be used with an algorithm.

    :raises KeyProblem: when it is of another kind, or too weak.
    """
    if algorithm in SYMMETRIC and isinstance(key, OctKey):
        if len(key.raw_value) < _LEAST[algorithm]:
            raise KeyProblem(f"a secret for {algorithm} has at least {_LEAST[algorithm]} bytes (RFC 7518, 3.2)")
    elif algorithm in _LEAST and algorithm not in SYMMETRIC and isinstance(key, RSAKey):
        if key.public_key.key_size < _LEAST[algorithm]:
            raise KeyProblem(f"an RSA key for {algorithm} has at least {_LEAST[algorithm]} bits (RFC 7518, 3.3)")
        if _is_roca(key.public_key.public_numbers().n):
            raise KeyProblem("this RSA key was made by a broken generator (CVE-2017-15361)")
    elif not (isinstance(key, (ECKey, OKPKey)) and key.curve_name in _CURVES.get(algorithm, ())):
        raise KeyProblem(f"this key is not for {algorithm}")


def _is_roca(modulus: int) -> bool:
    return all(modulus % prime in {pow(65537, power, prime) for power in range(prime)} for prime in _ROCA_PRIMES)


def _suits(key: Key, algorithm: str) -> bool:
    try:
        check_key(key, algorithm)
    except KeyProblem:
        return False
    return True


def secret_key(secret: str, encoding: str) -> OctKey:
    """
    The key that a secret is.

    :param encoding: one of :data:`ENCODINGS`.
    :raises KeyProblem: when it is not written in this way.
    """
    decoders: dict[str, Callable[[str], bytes]] = {"base64std": _base64std, "base64url": _base64url}
    decode = decoders.get(encoding, str.encode)
    try:
        data = decode(secret)
    except ValueError:
        raise KeyProblem(f"secret is no {encoding}") from None
    if b"-----BEGIN" in data:
        raise KeyProblem("secret is a key in PEM form: that belongs into token_keys")
    return OctKey(data, data)


def _base64std(text: str) -> bytes:
    return b64decode(text + "=" * (-len(text) % 4), validate=True)


def _base64url(text: str) -> bytes:
    if "+" in text or "/" in text:
        raise ValueError("these are not of base64url")
    return b64decode((text + "=" * (-len(text) % 4)).translate({ord("-"): "+", ord("_"): "/"}), validate=True)


def pem_key(data: bytes) -> Key:
    """
    The private or public key in a PEM file.

    :raises KeyProblem: when there is none that can be used.
    """
    try:
        found: Any = load_pem_public_key(data) if b"PUBLIC KEY" in data else load_pem_private_key(data, None)
    except TypeError:
        raise KeyProblem("the key is encrypted; it is needed without a password") from None
    except ValueError:
        raise KeyProblem("there is no key in PEM form") from None
    for kind in (RSAKey, ECKey, OKPKey):
        try:
            key: Key = _imported(kind.import_key, data)
            return key
        except (JoseError, ValueError, TypeError):
            continue
    raise KeyProblem(f"a {type(found).__name__.strip('_')} signs no tokens")


def _imported(load: Callable[[Any], Any], data: Any) -> Any:
    """A key; joserfc's warnings about weak ones are not needed, as :func:`check_key` refuses them."""
    with catch_warnings(action="ignore", category=SecurityWarning):
        return load(data)


def public_keys(document: Any, algorithms: Sequence[str]) -> list[VerifyingKey]:
    """
    The keys of a JWK set (RFC 7517, 5) that signatures are checked with; what cannot be one of them is left out.

    :param algorithms: those that are allowed.
    :raises KeyProblem: when it is no such set, or one that leaves open which key is meant.
    """
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list) or not all(isinstance(item, dict) for item in keys):
        raise KeyProblem("this is no JWK set")
    secret = {item.get("kty") == "oct" for item in keys}
    named = [(item["kid"], item.get("kty")) for item in keys if isinstance(item.get("kid"), str)]
    if len(secret) > 1:
        raise KeyProblem("secrets and public keys are in one set")
    if len(set(named)) < len(named):
        raise KeyProblem("two keys of one kind have the same name (kid)")
    return [found for item in keys[:_MAX_KEYS] if (found := _public_key(item, algorithms)) is not None]


def _public_key(item: dict[str, Any], algorithms: Sequence[str]) -> VerifyingKey | None:
    if item.get("use", "sig") != "sig" or "verify" not in item.get("key_ops", ["verify"]):
        return None
    try:
        key = _imported(import_key, item)
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    wanted = [item["alg"]] if "alg" in item else ALGORITHMS
    usable = frozenset(name for name in wanted if name in algorithms and _suits(key, name))
    kid = item.get("kid")
    return VerifyingKey(key, usable, kid if isinstance(kid, str) else None) if usable else None
