"""
What a certificate is served with, and which one is chosen for a name.
"""

import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from mixweb.engine import _pem

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""The TLS 1.2 suites: forward secret and authenticated. Those of TLS 1.3 all are."""

GROUPS = "X25519:prime256v1:secp384r1"

EXPIRES_SOON = timedelta(days=14)


@dataclass(frozen=True)
class Certificate:
    """
    A certificate ready to be served.

    ``names`` are the DNS names of its subjectAltName in lower case, ``stamps`` tell the files it was read from.
    """

    path: str
    names: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    fingerprint: bytes
    stamps: tuple[_pem.Stamp, _pem.Stamp]
    context: ssl.SSLContext


class ServerSocket(ssl.SSLSocket):
    """An ``SSLSocket`` that remembers the server name its client sent, and whose ``shutdown`` keeps the TLS layer."""

    sni: str | None = None

    def shutdown(self, how: int) -> None:
        socket.socket.shutdown(self, how)


def server_context(http2: bool = True) -> ssl.SSLContext:
    """
    TLS 1.2 and 1.3 with forward secret AEAD suites, session tickets, ALPN, and no certificate yet.

    :param http2: offer ``h2`` beside ``http/1.1``.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sslsocket_class = ServerSocket
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    # All suites are good, so the client says which one its hardware is fast at.
    context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["h2", "http/1.1"] if http2 else ["http/1.1"])
    if hasattr(context, "set_groups"):  # Python 3.15
        context.set_groups(GROUPS)
    return context


def load(path: str, privkey: str, http2: bool = True) -> Certificate:
    """
    Read a certificate and its key, and make a context that serves them.

    :raises ValueError: a file is missing or broken, the key is encrypted or belongs to another certificate.
    """
    stamps = _pem.stamp(path), _pem.stamp(privkey)
    chain, key = _pem.read(path).chain, _pem.read(privkey).key
    if not chain:
        raise ValueError(f"{path!r} holds no certificate")
    if key is None:
        raise ValueError(f"{privkey!r} holds no private key")
    leaf = chain[0]
    if key != _pem.public_key(leaf):
        raise ValueError(f"the private key in {privkey!r} does not match the certificate in {path!r}")
    context = server_context(http2)
    try:
        # A password, so that OpenSSL never asks for one on the terminal.
        context.load_cert_chain(path, privkey, password="")
    except (OSError, ValueError) as error:
        raise ValueError(f"the certificate in {path!r} with the key in {privkey!r} cannot be used: {error}") from None
    validity = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    return Certificate(path, _pem.dns_names(leaf), *validity, _pem.fingerprint(leaf), stamps, context)


def by_name(certificates: Iterable[Certificate], now: datetime) -> dict[str, Certificate]:
    """Each DNS name with its certificate: one that is valid now before others, then the one that is valid longest."""
    ranked = sorted(certificates, key=lambda one: (one.not_before <= now < one.not_after, one.not_after))
    return {name: certificate for certificate in ranked for name in certificate.names}


def choose(names: dict[str, Certificate], name: str | None) -> Certificate | None:
    """The certificate for a server name: the exact name, or else a wildcard for its first label (RFC 6125, 6.4.3)."""
    if not name:
        return None
    name = name.lower().rstrip(".")
    return names.get(name) or names.get("*." + name.partition(".")[2])


def expiry_warning(certificate: Certificate, now: datetime) -> str | None:
    """The sentence about a certificate that has expired or will within ``EXPIRES_SOON``."""
    left = certificate.not_after - now
    what = f"certificate {certificate.path!r} ({', '.join(certificate.names) or 'no name'})"
    if left <= timedelta(0):
        return f"{what} expired on {certificate.not_after:%Y-%m-%d}"
    if left < EXPIRES_SOON:
        return f"{what} expires on {certificate.not_after:%Y-%m-%d}, in {left.days} days"
    return None
