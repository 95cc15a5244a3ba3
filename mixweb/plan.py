"""
The plan of a server: values that say what is served, before anything is built.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from mixweb.engine.site import MAX_BODY_BYTES
from mixweb.feature import FilePath, Settings, option
from mixweb.stores import StoreURL, check_url

#: What settings of the server are at least: below it no request would be answered.
_LEAST = {
    "max_line_bytes": 64,
    "max_header_bytes": 256,
    "max_headers": 1,
    "max_body_bytes": 0,
    "max_pipelined_bytes": 0,
    "max_connections": 0,
    "max_connections_per_address": 0,
    "max_http2_streams": 1,
    "header_timeout": 1,
    "min_body_rate": 0,
    "idle_timeout": 1,
    "send_timeout": 1,
    "workers": 0,
    "drain": 0,
}


@dataclass(frozen=True)
class Server:
    """Settings of the server itself."""

    port: str | int = option("", help="Port on loopback, or an endpoint description (tcp:8080).", metavar="PORT")
    listen: Sequence[str] = option(
        (), help="Endpoint description to listen on, or @FILE with one a line; repeatable.", metavar="STRPORTS"
    )
    public: bool = option(False, help="Listen on all addresses, not only on loopback.")
    https: int = option(0, help="Port for TLS; 0 for none.", metavar="PORT")
    certificate: FilePath = option(
        "", help="PEM file with the certificate chain, or a folder of PEM files.", metavar="PATH"
    )
    privkey: FilePath = option("", help="PEM file with the key; by default it is in the certificate's.", metavar="FILE")
    strict_sni: bool = option(False, help="Refuse TLS clients that name a host without a certificate.")
    http2: str = option("own", help="HTTP/2 over TLS: own, twisted or off.", metavar="NAME")
    h2c: bool = option(False, help="HTTP/2 also without TLS, with clients that know it.")
    vhosts: FilePath = option("", help="Folder whose subfolders and TOML files are virtual hosts.", metavar="DIR")
    max_line_bytes: int = option(16 * 1024, help="Longest request line, in bytes; 414.", metavar="BYTES")
    max_header_bytes: int = option(64 * 1024, help="Most header lines of a request, in bytes; 431.", metavar="BYTES")
    max_headers: int = option(500, help="Most header lines of a request; 431.", metavar="COUNT")
    max_body_bytes: int = option(MAX_BODY_BYTES, help="Longest request body, in bytes; 413.", metavar="BYTES")
    max_pipelined_bytes: int = option(
        16 * 1024, help="Bytes that are read ahead while a request is answered; the rest waits.", metavar="BYTES"
    )
    max_connections: int = option(
        0, help="Most connections; 503. With 0, about three quarters of the files it may open.", metavar="COUNT"
    )
    max_connections_per_address: int = option(
        0, help="Most connections from one address, or one /64 of IPv6; 503. 0 for any number.", metavar="COUNT"
    )
    max_http2_streams: int = option(100, help="Most requests at a time on a connection of HTTP/2.", metavar="COUNT")
    header_timeout: int = option(30, help="Seconds for line and headers of a request; 408.", metavar="SECONDS")
    min_body_rate: int = option(256, help="Bytes in a second that a body must come with; 408.", metavar="BYTES")
    idle_timeout: int = option(60, help="Seconds that a connection may be idle between requests.", metavar="SECONDS")
    send_timeout: int = option(60, help="Seconds that a client may take nothing of an answer.", metavar="SECONDS")
    store: StoreURL = option(
        "memory:", help="Where features keep state: memory:, sqlite:PATH, redis://HOST or unix:PATH.", metavar="URL"
    )
    workers: int = option(0, help="Processes that serve; with 0, this one does.", metavar="COUNT")
    drain: int = option(30, help="Seconds that running requests are given when the server stops.", metavar="SECONDS")
    reload: bool = option(False, help="Start anew when a module has changed, take a changed file; for development.")
    display_tracebacks: bool = option(False, help="Show tracebacks to clients. Unsafe.")
    personal: bool = option(False, help="Publish the site to a shared server on ~/.twistd-web-pb instead of by HTTP.")
    compat: str = option(
        "", help="Status codes of mixnmatchttp for every feature that has them, or empty.", metavar="NAME"
    )
    quiet: bool = option(False, help="Print one line for each address and nothing else.")

    def __post_init__(self) -> None:
        if not 0 <= self.https <= 65535:
            raise ValueError("https must be a port from 1 to 65535")
        if self.reload and self.workers:
            raise ValueError("reload needs workers = 0")
        if self.https and not self.certificate:
            raise ValueError("https needs a certificate: add --certificate FILE")
        if self.compat not in ("", "mixnmatchttp"):
            raise ValueError(f"compat must be 'mixnmatchttp' or empty, not {self.compat!r}")
        if self.http2 not in ("own", "twisted", "off"):
            raise ValueError(f"http2 must be 'own', 'twisted' or 'off', not {self.http2!r}")
        for name, least in _LEAST.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}" if least else f"{name} must not be negative")
        check_url(self.store)


class Host:
    """
    What one host, or the default one, serves.

    :param parts: strings are names (``shop.example``, ``*.shop.example``, ``a.example:8080``), the rest are settings.
    :param without: names of features to take away that are on by default or for every host.
    """

    def __init__(self, *parts: str | Settings, without: Iterable[str] = ()) -> None:
        self.names = tuple(part for part in parts if isinstance(part, str))
        self.settings = tuple(part for part in parts if not isinstance(part, str))
        self.without = frozenset(without)
        for part in self.settings:
            if not isinstance(part, Settings):
                raise TypeError(f"Host takes names and settings, not {part!r}")

    def __repr__(self) -> str:
        parts = [repr(part) for part in (*self.names, *self.settings)]
        if self.without:
            parts.append(f"without={sorted(self.without)!r}")
        return f"Host({', '.join(parts)})"


@dataclass(frozen=True)
class Plan:
    """
    All of a server.

    :ivar default: the host that answers to every other name.
    :ivar defaults: wrappers of every host.
    """

    server: Server = field(default_factory=Server)
    default: Host = field(default_factory=Host)
    defaults: Sequence[Settings] = ()
    hosts: Sequence[Host] = ()
