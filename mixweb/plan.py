"""
The plan of a server: values that say what is served, before anything is built.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from mixweb.engine.site import MAX_BODY_BYTES
from mixweb.feature import FilePath, Settings, option


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
    http2: str = option("twisted", help="HTTP/2 over TLS: twisted or off.", metavar="NAME")
    vhosts: FilePath = option("", help="Folder whose subfolders and TOML files are virtual hosts.", metavar="DIR")
    max_body_bytes: int = option(MAX_BODY_BYTES, help="Longest request body, in bytes.", metavar="BYTES")
    workers: int = option(0, help="Processes that serve; with 0, this one does.", metavar="COUNT")
    drain: int = option(30, help="Seconds that running requests are given when the server stops.", metavar="SECONDS")
    display_tracebacks: bool = option(False, help="Show tracebacks to clients. Unsafe.")
    personal: bool = option(False, help="Publish the site to a shared server on ~/.twistd-web-pb instead of by HTTP.")
    compat: str = option(
        "", help="Status codes of mixnmatchttp for every feature that has them, or empty.", metavar="NAME"
    )
    quiet: bool = option(False, help="Print one line for each address and nothing else.")

    def __post_init__(self) -> None:
        if not 0 <= self.https <= 65535:
            raise ValueError("https must be a port from 1 to 65535")
        if self.https and not self.certificate:
            raise ValueError("https needs a certificate: add --certificate FILE")
        if self.compat not in ("", "mixnmatchttp"):
            raise ValueError(f"compat must be 'mixnmatchttp' or empty, not {self.compat!r}")
        if self.http2 not in ("twisted", "off"):
            raise ValueError(f"http2 must be 'twisted' or 'off', not {self.http2!r}")
        for name in ("max_body_bytes", "workers", "drain"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative")


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
