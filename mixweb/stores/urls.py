"""
Where stores are: their URLs.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, TypeAlias
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit

#: A store's URL in a setting; a relative path in it counts from the file that holds it, or from the current directory.
StoreURL: TypeAlias = Annotated[str, "store"]

#: What the keys of a Redis that others use too begin with.
PREFIX = "mixweb:"

REDIS_PORT = 6379

_REDIS = ("redis", "rediss", "unix")
_KINDS = "memory:, sqlite:PATH, redis://HOST, rediss://HOST or unix:PATH"

#: The options of a Redis URL that name files.
_FILES = ("ca", "cert")

_PASSWORD = re.compile(r"(://[^:/?#@]*:)[^/?#]*@")


@dataclass(frozen=True)
class Address:
    """
    A store's URL, taken apart.

    :ivar scheme: which kind of store it is.
    :ivar path: the name of a memory, the path of a file, or of a socket.
    :ivar host: of a server; empty for a socket.
    :ivar prefix: what all keys begin with.
    :ivar ca: a file with the certificates that are trusted; empty for those of the system.
    :ivar cert: a file with a certificate and its key to show.
    """

    scheme: str
    path: str = ""
    host: str = ""
    port: int = REDIS_PORT
    user: str = ""
    password: str = field(default="", repr=False)
    database: int = 0
    prefix: str = PREFIX
    ca: str = ""
    cert: str = ""


def check_url(url: str) -> Address:
    """
    What a store's URL means.

    :raises ValueError: when there is no such store.
    """
    scheme, colon, rest = url.partition(":")
    if colon and (scheme == "memory" or (scheme == "sqlite" and rest)):
        return Address(scheme, rest)
    if colon and scheme in _REDIS:
        try:
            return _redis_address(urlsplit(url))
        except ValueError as reason:
            raise ValueError(f"store is {hidden(url)!r}: {reason}") from None
    raise ValueError(f"store must be {_KINDS}, not {hidden(url)!r}")


def _redis_address(parts: SplitResult) -> Address:
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    is_socket = parts.scheme == "unix"
    allowed = {"prefix", *(("database",) if is_socket else ()), *(_FILES if parts.scheme == "rediss" else ())}
    unknown = options.keys() - allowed
    if unknown:
        raise ValueError(f"there is no option {min(unknown)!r}, only {', '.join(sorted(allowed))}")
    if parts.fragment:
        raise ValueError("a # in it is written %23")
    if is_socket and (parts.hostname or not parts.path):
        raise ValueError("expected the path of a socket, as unix:/run/redis/redis.sock")
    if not is_socket and not parts.hostname:
        raise ValueError(f"expected a host, as {parts.scheme}://localhost:{REDIS_PORT}")
    database = options.pop("database", "") if is_socket else parts.path.strip("/")
    if database and not re.fullmatch("[0-9]{1,5}", database):
        raise ValueError(f"the database is {database!r}; expected its number")
    return Address(
        parts.scheme,
        path=parts.path if is_socket else "",
        host=parts.hostname or "",
        port=REDIS_PORT if parts.port is None else parts.port,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        database=int(database or 0),
        **options,
    )


def located(url: str, base: Path) -> str:
    """
    The same URL with absolute paths; one that makes no sense as it is.

    :param base: what relative ones count from.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "sqlite" and rest:
        return f"sqlite:{_absolute(rest, base)}"
    if scheme == "unix" and not rest.startswith("//") and rest.partition("?")[0]:
        path, mark, options = rest.partition("?")
        return f"unix:{_absolute(path, base)}{mark}{options}"
    if scheme == "rediss" and "?" in rest:
        before, _, query = url.partition("?")
        pairs = parse_qsl(query, keep_blank_values=True)
        found = [(name, _absolute(value, base) if name in _FILES and value else value) for name, value in pairs]
        return f"{before}?{urlencode(found, safe='/:')}"
    return url


def _absolute(path: str, base: Path) -> str:
    try:
        return os.path.abspath(base / Path(path).expanduser())
    except RuntimeError:
        raise ValueError(f"{path!r} names a user that does not exist") from None


def hidden(url: str) -> str:
    """The URL as it may be shown: without its password."""
    return _PASSWORD.sub(r"\1(hidden)@", url)
