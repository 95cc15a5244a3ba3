"""
What clients send in ``Authorization``.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from mixweb.features.auth._hashes import normalized

_SCHEME = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?: +(.*))?\Z", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_TOKEN68 = re.compile(r"[A-Za-z0-9._~+/-]+=*\Z")
_PARAMETER = re.compile(
    r"[ \t]*(?P<name>[!#$%&\'*+.^_`|~0-9A-Za-z-]+)[ \t]*=[ \t]*"
    r'(?:"(?P<quoted>(?:[^"\\]|\\.)*+)"|(?P<token>[^\s,"]+))[ \t]*(?:,|\Z)',
    re.DOTALL,
)
_EXTENDED = re.compile(r"UTF-8'[^']*'(.*)\Z", re.IGNORECASE | re.DOTALL)

#: What is longer is no credential of ours.
MAX_LENGTH = 12288

_MAX_PARAMETERS = 32

SCHEMES = ("basic", "bearer", "digest")


class Malformed(ValueError):
    """Credentials that mean nothing; the text says why."""


@dataclass(frozen=True)
class Basic:
    """A name and a password (RFC 7617)."""

    name: str
    password: str


@dataclass(frozen=True)
class Bearer:
    """A token (RFC 6750)."""

    token: str


@dataclass(frozen=True)
class Digest:
    """
    An answer to a digest challenge (RFC 7616, 3.4).

    :ivar count: how often the client says that it used the nonce.
    """

    name: str
    realm: str
    nonce: str
    uri: str
    response: str
    algorithm: str
    cnonce: str
    count: int
    count_text: str


Credentials = Basic | Bearer | Digest


def single(lines: Sequence[bytes], schemes: Collection[str] = SCHEMES) -> Credentials | None:
    """
    The credentials in the lines of a field.

    :param schemes: as for :func:`parse`.
    :raises Malformed: as :func:`parse` does, and when there is more than one.
    """
    if len(lines) > 1:
        raise Malformed("There is more than one Authorization field")
    return parse(lines[0], schemes)


def parse(value: bytes, schemes: Collection[str] = SCHEMES) -> Credentials | None:
    """
    The credentials in a field; ``None`` for a scheme that is not ours.

    :param schemes: those that are ours.
    :raises Malformed: when they are of a scheme of ours and mean nothing.
    """
    found = _SCHEME.match(value)
    if found is None or len(value) > MAX_LENGTH:
        raise Malformed("The Authorization field is malformed" if found is None else "The credentials are too long")
    scheme = found[1].decode().lower()
    return _PARSERS[scheme]((found[2] or b"").strip()) if scheme in SCHEMES and scheme in schemes else None


def _basic(value: bytes) -> Basic:
    try:
        decoded = b64decode(value, validate=True)
    except ValueError:
        raise Malformed("The Basic credentials are no Base64") from None
    try:
        text = decoded.decode()
    except UnicodeDecodeError:
        # What browsers sent before they knew of UTF-8.
        text = decoded.decode("latin-1")
    name, colon, password = text.partition(":")
    if not colon or _CONTROL.search(text):
        raise Malformed("The Basic credentials are no name and password")
    return Basic(normalized(name), normalized(password))


def _bearer(value: bytes) -> Bearer:
    text = value.decode("ascii", "replace")
    if not _TOKEN68.match(text):
        raise Malformed("The Bearer credentials are no token")
    return Bearer(text)


def parameters(text: str) -> dict[str, str]:
    """
    Parameters of credentials, names in lower case (RFC 9110, 11.2).

    :raises Malformed: when they are none, or one is there twice.
    """
    found: dict[str, str] = {}
    position = 0
    while position < len(text):
        match = _PARAMETER.match(text, position)
        if match is None or match["name"].lower() in found or len(found) >= _MAX_PARAMETERS:
            raise Malformed("The Digest credentials are malformed")
        quoted = match["quoted"]
        found[match["name"].lower()] = match["token"] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        position = match.end()
    return found


def _digest(value: bytes) -> Digest:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = value.decode("latin-1")
    found = parameters(text)
    count = found.get("nc", "")
    wanted = ("realm", "nonce", "uri", "response", "cnonce")
    if any(not found.get(name) for name in wanted) or not re.fullmatch("[0-9a-fA-F]{8}", count):
        raise Malformed("The Digest credentials lack a parameter")
    if found.get("qop") != "auth" or found.get("userhash", "false").lower() != "false":
        raise Malformed("The Digest credentials ask for what was not offered")
    name = found.get("username", "")
    if "username*" in found:
        extended = _EXTENDED.match(found["username*"])
        if extended is None or name:
            raise Malformed("The Digest credentials name no user")
        name = unquote(extended[1], errors="replace")
    values = [found[name] for name in wanted]
    realm, nonce, uri, response, cnonce = values
    algorithm = found.get("algorithm", "MD5").upper()
    return Digest(normalized(name), realm, nonce, uri, response, algorithm, cnonce, int(count, 16), count)


_PARSERS: dict[str, Callable[[bytes], Credentials]] = {"basic": _basic, "bearer": _bearer, "digest": _digest}
