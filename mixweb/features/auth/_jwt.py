"""
JSON Web Tokens (RFC 7519) as compact JWS (RFC 7515), read as strictly as they can be written.

The signature is joserfc's; what surrounds it is taken apart here, so that nothing is believed before it is checked: one
spelling of each part, no name twice, no header that asks for something (``crit``, ``b64``), the algorithm one of
those that the key was given for. What a header says of keys (``jwk``, ``jku``, ``x5c``, ``x5u``) is never looked at; its
``kid`` only chooses among known keys.
"""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError

from mixweb.features.auth._keys import ALGORITHMS, VerifyingKey

#: A longer token is refused unread.
MAX_LENGTH = 8192

_PARTS = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\Z")
_TYPES = ("jwt", "at+jwt", "application/at+jwt")
_ASKING = ("crit", "b64", "zip", "enc")


class TokenError(ValueError):
    """A token that is not to be believed; the text says why."""


@dataclass(frozen=True)
class Expected:
    """
    What the claims of a token have to say.

    :ivar issuer: the value of ``iss``; empty for any, or none.
    :ivar audience: a value of ``aud``; when it is empty, a token for an audience is for somebody else.
    :ivar leeway: seconds that clocks may differ.
    """

    issuer: str = ""
    audience: str = ""
    leeway: float = 60


def sign(claims: Mapping[str, Any], key: Any, algorithm: str, kid: str | None) -> str:
    """A token with these claims."""
    header = {"alg": algorithm, "typ": "JWT"} | ({"kid": kid} if kid else {})
    signed = f"{_encode(_dumps(header))}.{_encode(_dumps(claims))}"
    return f"{signed}.{_encode(_model(algorithm).sign(signed.encode(), key))}"


def verified(token: str, keys: Sequence[VerifyingKey]) -> bytes:
    """
    The payload of a compact JWS that one of the keys signed.

    :raises TokenError: when none did.
    """
    head, payload, seal = _split(token)
    algorithm, kid = _check_header(_object(_decode(head)))
    chosen = [key for key in keys if algorithm in key.algorithms and (kid is None or key.kid in (None, kid))]
    signed, signature = f"{head}.{payload}".encode(), _decode(seal)
    if not any(_signed_by(key.key, algorithm, signed, signature) for key in chosen):
        raise TokenError(
            "the signature is not that of a known key" if chosen else f"there is no such key for {algorithm}"
        )
    return _decode(payload)


def _split(token: str) -> tuple[str, str, str]:
    parts = _PARTS.match(token) if len(token) <= MAX_LENGTH else None
    if parts is None:
        raise TokenError("this is no compact JWS" if len(token) <= MAX_LENGTH else "the token is too long")
    return parts[1], parts[2], parts[3]


def claims_of(token: str, keys: Sequence[VerifyingKey], expected: Expected, now: float) -> dict[str, Any]:
    """
    The claims of a token that is to be believed.

    :param now: seconds since the epoch.
    :raises TokenError: when it is not.
    """
    claims = _object(verified(token, keys))
    check_claims(claims, expected, now)
    return claims


@dataclass(frozen=True)
class Unverified:
    """What a token says of itself: to choose a key and rules to check it by, and for nothing else."""

    kid: str | None
    issuer: Any


def unverified(token: str) -> Unverified:
    """
    What a token says of itself.

    :raises TokenError: when it is none.
    """
    header, payload, _ = _split(token)
    return Unverified(_check_header(_object(_decode(header)))[1], _object(_decode(payload)).get("iss"))


def check_claims(claims: Mapping[str, Any], expected: Expected, now: float) -> None:
    """
    Whether claims say that a token is meant for us, and now (RFC 7519, 4.1).

    :raises TokenError: when they do not.
    """
    times = {name: _time(claims, name) for name in ("exp", "nbf", "iat")}
    if times["exp"] is None:
        raise TokenError("the token has no end (exp)")
    if now >= times["exp"] + expected.leeway:
        raise TokenError("the token has expired")
    for name in ("nbf", "iat"):
        begin = times[name]
        if begin is not None and now < begin - expected.leeway:
            raise TokenError(f"the token is not valid yet ({name})")
    if expected.issuer and claims.get("iss") != expected.issuer:
        raise TokenError("the token is from another issuer (iss)")
    audience = claims.get("aud", [])
    names = [audience] if isinstance(audience, str) else audience
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise TokenError("the audience (aud) is malformed")
    meant = expected.audience in names if expected.audience else "aud" not in claims
    if not meant:
        raise TokenError("the token is for another audience (aud)")


def _time(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if name not in claims:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) > 1e12 or not isfinite(value):
        raise TokenError(f"{name} is no time")
    return float(value)


def _check_header(header: Mapping[str, Any]) -> tuple[str, str | None]:
    """
    The algorithm and the name of the key.

    :raises TokenError: when the header asks for what is not done.
    """
    if not header.keys().isdisjoint(_ASKING):
        raise TokenError("the header asks for what is not done here")
    algorithm, kid, kind = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise TokenError("there is no such algorithm (alg)")
    if not (kid is None or isinstance(kid, str)) or not isinstance(kind, str) or kind.lower() not in _TYPES:
        raise TokenError("the header is malformed")
    return algorithm, kid


def _signed_by(key: Any, algorithm: str, signed: bytes, signature: bytes) -> bool:
    try:
        return bool(_model(algorithm).verify(signed, signature, key))
    except (JoseError, ValueError):
        return False


def _model(algorithm: str) -> Any:
    return jws.JWSRegistry.algorithms[algorithm]


def _encode(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


def _decode(text: str) -> bytes:
    """
    The bytes of a part.

    :raises TokenError: when it is not the one way to write them.
    """
    try:
        data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        data = b""
    if _encode(data) != text:
        raise TokenError("a part is no base64url")
    return data


def _dumps(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _object(data: bytes) -> dict[str, Any]:
    """
    A JSON object in which no name is twice.

    :raises TokenError: when it is none.
    """
    try:
        found = json.loads(data.decode(), object_pairs_hook=_once, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise TokenError("a part is no JSON, or has a name twice") from None
    if not isinstance(found, dict):
        raise TokenError("a part is no JSON object")
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is there twice")
    return found


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")
