"""
What is not shown to those who read along: secrets in targets, header fields and bodies.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from fnmatch import translate
from urllib.parse import unquote_to_bytes

#: A value of a request; text only where the request line was never read.
Value = bytes | str

#: Hides the secrets in a URL or request target.
Mask = Callable[[Value], bytes]

#: Names of parameters whose values are secret.
SECRETS = ("*passw*", "*token*", "*secret*", "*key", "*code", "code_*", "*signature", "*credential*", "sig")

#: Stands for a value that is not shown.
HIDDEN = b"***"

_USERINFO = re.compile(rb"(://[^/?#@:]*:)[^/?#@]*@")
_SCHEME = re.compile(rb"[A-Za-z][A-Za-z0-9_-]*(?= )")
_COOKIE = re.compile(rb"=[^;]*")

#: A string of JSON, or the beginning of one that is cut off; and what may stand behind one that is the name of a member.
_STRING = rb'"(?:[^"\\]|\\.?)*+(?:"|\Z)'
_VALUE = rb'(?:%b|[^\s,{}\[\]"]++|\[(?:[^\[\]{}"]|%b)*+(?:\]|\Z))' % (_STRING, _STRING)
_MEMBER = re.compile(rb"(%b)(?:(\s*+:\s*+)%b)?+" % (_STRING, _VALUE), re.DOTALL)

_PART_NAME = re.compile(rb'[; ]name="?([^";\r\n]*)')
_BOUNDARY = re.compile(rb'boundary="?([^";]+)', re.IGNORECASE)

#: Fields whose names look like secrets and are none.
_HARMLESS = frozenset([b"sec-websocket-key", b"sec-token-binding"])

_URLS = frozenset([b"location", b"content-location", b"referer"])


def name_matcher(patterns: Sequence[str]) -> re.Pattern[bytes] | None:
    """Matches the names, in lower case, that globs stand for; ``None`` when there are no globs."""
    given = [translate(pattern.lower()) for pattern in patterns if pattern]
    return re.compile("|".join(given).encode()) if given else None


def masking(patterns: Sequence[str]) -> Mask:
    """
    What hides secrets in a URL or request target: the values of some query parameters, and a password before a host.

    :param patterns: globs of parameter names; case does not matter.
    """
    secret = name_matcher(patterns)

    def masked(target: Value) -> bytes:
        if isinstance(target, str):
            return target.encode()
        if b"@" in target:
            target = _USERINFO.sub(rb"\1***@", target)
        path, question, query = target.partition(b"?")
        if not query or secret is None:
            return target
        return path + question + _mask_pairs(query, secret)

    return masked


def _mask_pairs(query: bytes, secret: re.Pattern[bytes]) -> bytes:
    return b"&".join([_mask_pair(pair, secret) for pair in query.split(b"&")])


def _mask_pair(pair: bytes, secret: re.Pattern[bytes]) -> bytes:
    """``name=value``; ``;`` and ``?`` may begin another one, but never end a secret."""
    kept = []
    for piece in re.split(rb"([;?])", pair):
        name, equals, _ = piece.partition(b"=")
        if equals and secret.match(unquote_to_bytes(name.replace(b"+", b" ")).lower()):
            kept.append(name + b"=" + HIDDEN)
            break
        kept.append(piece)
    return b"".join(kept)


class Secrets:
    """
    Hides what is secret in messages: credentials, cookies, and the values of what globs name.

    :param patterns: globs of the names of parameters, fields and members of JSON; case does not matter. Without any
        nothing is hidden.
    """

    def __init__(self, patterns: Sequence[str] = SECRETS) -> None:
        self._secret = name_matcher(patterns)
        self._mask = masking(patterns)

    @property
    def hides(self) -> bool:
        """Whether anything is hidden."""
        return self._secret is not None

    def target(self, target: bytes) -> bytes:
        """A URL or request target."""
        return self._mask(target) if self._secret is not None else target

    def is_secret(self, name: bytes) -> bool:
        """Whether the value of a parameter is hidden."""
        return self._secret is not None and self._secret.match(name.lower()) is not None

    def field(self, name: bytes, value: bytes) -> bytes:
        """The value of a header field. Of credentials the scheme is left, of cookies their names and attributes."""
        if self._secret is None:
            return value
        lower = name.lower()
        if lower in (b"authorization", b"proxy-authorization"):
            scheme = _SCHEME.match(value)
            return (scheme[0] + b" " if scheme else b"") + HIDDEN
        if lower == b"cookie":
            return _COOKIE.sub(b"=" + HIDDEN, value)
        if lower == b"set-cookie":
            return _COOKIE.sub(b"=" + HIDDEN, value, count=1)
        if lower in _URLS:
            return self._mask(value)
        return HIDDEN if lower not in _HARMLESS and self._secret.match(lower) else value

    def body(self, declared: bytes, body: bytes) -> bytes:
        """
        A body, or the beginning of one.

        :param declared: its ``Content-Type``.
        """
        if self._secret is None or not body:
            return body
        kind = declared.partition(b";")[0].strip().lower()
        if kind == b"application/x-www-form-urlencoded":
            return _mask_pairs(body, self._secret)
        if kind.endswith(b"json"):
            return _MEMBER.sub(self._member, body)
        if kind.startswith(b"multipart/"):
            return self._parts(declared, body)
        return body

    def _member(self, found: re.Match[bytes]) -> bytes:
        name = found[1].strip(b'"')
        return found[1] + found[2] + b'"%b"' % HIDDEN if found[2] and self.is_secret(name) else found[0]

    def _parts(self, declared: bytes, body: bytes) -> bytes:
        boundary = _BOUNDARY.search(declared)
        if boundary is None:
            return body
        mark = b"--" + boundary[1].strip()
        return mark.join([self._part(part) for part in body.split(mark)])

    def _part(self, part: bytes) -> bytes:
        head, blank, content = part.partition(b"\r\n\r\n")
        name = _PART_NAME.search(head)
        if name is None or not content or not self.is_secret(name[1]):
            return part
        return head + blank + HIDDEN + b"\r\n"
