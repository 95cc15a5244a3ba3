"""
The URLs of upstream servers, and which path of theirs a request is for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import idna

from mixweb.engine.authority import parse_authority
from mixweb.kit.rewriting import Step, rewritten
from mixweb.kit.rules import path_text, quote_path

_PORTS = {"http": 80, "https": 443}

_UNIX = re.compile(r"unix:(?://)?(?P<socket>[/@][^:]*)(?::(?P<path>/.*)?)?\Z", re.DOTALL)

#: A path whose segments mean themselves.
_PLAIN_PATH = re.compile(r"[!$&'()*+,./0-9:;=@A-Z_a-z~%-]*\Z")


@dataclass(frozen=True)
class Target:
    """
    Where an upstream server is.

    :ivar scheme: ``http`` or ``https``.
    :ivar host: its name or address, without brackets; empty for a UNIX socket.
    :ivar socket: the path of its UNIX socket, or empty.
    :ivar authority: what ``Host`` says to it.
    :ivar base: the path of its URL, without a slash at the end.
    :ivar tail: whether it had one.
    """

    scheme: str
    host: str
    port: int
    socket: str
    authority: bytes
    base: bytes
    tail: bool

    @property
    def name(self) -> str:
        """What it is called in the log."""
        return f"unix:{self.socket}" if self.socket else f"{self.scheme}://{self.authority.decode('ascii')}"


def parse_target(url: str) -> Target:
    """
    Read ``http://host:port/path``, ``https://...`` or ``unix:/path/of/socket[:/path]``.

    :raises ValueError: saying what is wrong with it.
    """
    found = _UNIX.match(url)
    if found:
        base, tail = _base(url, found["path"] or "")
        return Target("http", "", 0, found["socket"], b"localhost", base, tail)
    try:
        parts = urlsplit(url)
        scheme, host, port = parts.scheme, parts.hostname, parts.port
    except ValueError as reason:
        raise ValueError(f"to: {url!r} is no URL: {reason}") from None
    if scheme not in _PORTS or not host:
        expected = "http://HOST:PORT, https://HOST or unix:/SOCKET"
        raise ValueError(f"to: {url!r} is no URL of a server; expected {expected}{_hint(url)}")
    if "@" in parts.netloc:
        raise ValueError("to: a URL with a name and password; send them by request_set 'Authorization: ...'")
    if parts.query or parts.fragment:
        raise ValueError(f"to: {url!r} has more than a path behind the host")
    base, tail = _base(url, parts.path)
    authority = _authority(url, host, None if port == _PORTS[scheme] else port)
    return Target(scheme, _ascii(host), port or _PORTS[scheme], "", authority, base, tail)


def _hint(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    if separator and scheme in ("ws", "wss"):
        return f"; did you mean http{scheme[2:]}://{rest}?"
    return "" if separator or not url or url.startswith("/") else f"; did you mean http://{url}?"


def _ascii(host: str) -> str:
    try:
        return host if host.isascii() else idna.encode(host, uts46=True).decode("ascii")
    except idna.IDNAError:
        raise ValueError(f"to: {host!r} is no host name") from None


def _authority(url: str, host: str, port: int | None) -> bytes:
    name = f"[{host}]" if ":" in host else _ascii(host)
    value = (name if port is None else f"{name}:{port}").encode("ascii")
    try:
        parse_authority(value)
    except ValueError:
        raise ValueError(f"to: {url!r} has no host name in it") from None
    return value


def _base(url: str, path: str) -> tuple[bytes, bool]:
    quoted = path if _PLAIN_PATH.match(path) else quote(path, safe="!$&'()*+,/:;=@%~")
    if "//" in quoted or re.search(r"/\.\.?(?:/|\Z)", quoted):
        raise ValueError(f"to: the path of {url!r} has empty or dot segments")
    return quoted.rstrip("/").encode("ascii"), quoted.endswith("/")


class Paths:
    """
    Makes the path and query that an upstream server is asked for.

    :param strip: whether the mount's own path is left out.
    :param steps: what then makes another path of it.
    """

    def __init__(self, strip: bool, steps: Sequence[Step] = ()) -> None:
        self.strip = strip
        self.steps = steps

    def rest(self, request: Any) -> bytes:
        """What goes behind the path of an upstream's URL, with the query: it is empty or begins with a slash or ``?``."""
        raw = request.canonical_path.raw
        if raw is not None:
            return self._raw(request, raw)
        segments = request.postpath if self.strip else [*request.prepath, *request.postpath]
        target: bytes = request.target
        path, question, query = target.partition(b"?")
        if self.steps:
            return self._rewritten(segments, query)
        if b"%" not in path:
            # Decoding has changed nothing.
            rest = b"/" + b"/".join(segments) if segments else b""
        else:
            rest = quote_path(path_text(segments)).encode("ascii") if segments else b""
        return rest + question + query

    def _raw(self, request: Any, raw: bytes) -> bytes:
        target: bytes = request.target
        if not self.strip:
            return target
        if raw and not raw.startswith(b"?"):
            return b"/" + raw
        return (b"/" if target.partition(b"?")[0].endswith(b"/") else b"") + raw

    def _rewritten(self, segments: Sequence[bytes], query: bytes) -> bytes:
        found = rewritten(segments, self.steps)
        changed, added = (segments, "") if found is None else found
        path = quote_path(path_text(changed)).encode("ascii") if changed else b""
        queries = b"&".join(filter(None, [added.encode("ascii"), query]))
        return path + (b"?" + queries if queries else b"")


def join(base: bytes, tail: bool, rest: bytes) -> bytes:
    """
    The target that an upstream server is asked for.

    :param base: the path of its URL, without a slash at the end.
    :param tail: whether it had one.
    :param rest: as of :meth:`Paths.rest`.
    """
    if rest.startswith(b"/"):
        return base + rest
    return (base + b"/" if tail or not base else base) + rest


Connect = Callable[..., Any]


def targets(to: Iterable[str | Connect]) -> list[Target | Connect]:
    """
    What a setting means; a text of it may have several URLs, with blanks between them.

    :raises ValueError: naming what is no URL.
    """
    found: list[Target | Connect] = []
    for item in to:
        found += map(parse_target, item.split() or [""]) if isinstance(item, str) else [item]
    return found
