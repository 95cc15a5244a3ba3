"""
Cookies that features set.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from mixweb.engine._headers import ResponseFields
from mixweb.engine.fields import TOKEN

#: With which requests of other sites a cookie is sent.
SameSite: TypeAlias = Literal["lax", "strict", "none"]

_PREFIX = b"__Host-"


@dataclass(frozen=True)
class Cookie:
    """
    A cookie without its value.

    Over TLS it is sent over TLS alone, under a name that nobody else can set it by: with ``__Host-`` in front where it is
    for all paths of one host (RFC 6265bis, 4.1.3.2). So one of a TLS connection never travels in clear.

    :ivar domain: also for the hosts below this one; empty for the host alone.
    :ivar max_age: in seconds; 0 for as long as the browser runs.
    :ivar same_site: ``none`` is for TLS alone, elsewhere it is ``lax``.
    """

    name: str
    path: str = "/"
    domain: str = ""
    max_age: int = 0
    same_site: SameSite = "lax"
    http_only: bool = True
    partitioned: bool = False

    def __post_init__(self) -> None:
        if not TOKEN.match(self.name.encode()) or self.name.lower().startswith(("__host-", "__secure-")):
            raise ValueError(f"cookie must be a name without prefix, not {self.name!r}")
        for name in ("path", "domain"):
            value = getattr(self, name)
            if not value.isascii() or not value.isprintable() or ";" in value:
                raise ValueError(f"{name} cannot stand in a cookie: {value!r}")
        if not self.path.startswith("/"):
            raise ValueError(f"path must begin with a slash, not {self.path!r}")

    def name_of(self, secure: bool) -> bytes:
        """What it is called, over TLS or not."""
        prefix = _PREFIX if secure and self.path == "/" and not self.domain else b""
        return prefix + self.name.encode()

    def set(self, value: bytes, secure: bool) -> bytes:
        """What sets it, as ``Set-Cookie`` has it."""
        return self._line(value, secure, self.max_age)

    def delete(self, secure: bool) -> bytes:
        """What deletes it."""
        return self._line(b"", secure, 0) + b"; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0"

    def _line(self, value: bytes, secure: bool, max_age: int) -> bytes:
        same_site = self.same_site if secure or self.same_site != "none" else "lax"
        attributes = [
            f"; Path={self.path}",
            f"; Domain={self.domain}" if self.domain else "",
            f"; Max-Age={max_age}" if max_age else "",
            "; Secure" if secure else "",
            "; HttpOnly" if self.http_only else "",
            f"; SameSite={same_site.capitalize()}",
            "; Partitioned" if self.partitioned and secure else "",
        ]
        return b"%b=%b%b" % (self.name_of(secure), value, "".join(attributes).encode())


def vary_on_cookie(headers: ResponseFields) -> None:
    """Tell caches that the answer would be another one with other cookies."""
    if not headers.has(b"Vary"):
        headers.put(b"Vary", b"Cookie")
        return
    lines = headers.getRawHeaders(b"Vary") or []
    if not {name.strip().lower() for line in lines for name in line.split(b",")} & {b"cookie", b"*"}:
        headers.addRawHeader(b"Vary", b"Cookie")


def make_private(headers: ResponseFields) -> None:
    """Tell caches that the answer is for one client, unless something else has been said."""
    vary_on_cookie(headers)
    if not headers.has(b"Cache-Control"):
        headers.put(b"Cache-Control", b"private")
