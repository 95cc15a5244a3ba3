"""
PEM files: what is in them, and which certificate belongs to which key. They are read here and nowhere else.
"""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from stat import S_ISREG

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

MAX_BYTES = 1 << 20

SUFFIXES = (".pem", ".crt", ".key")

_PRIVATE_KEY = re.compile(rb"-----BEGIN ((?:[A-Z0-9]+ )?PRIVATE KEY)-----.*?-----END \1-----", re.DOTALL)

Stamp = tuple[int, int, int]


@dataclass(frozen=True)
class PemFile:
    """What one PEM file holds: the certificates in order, and the public half of its first private key (DER)."""

    path: str
    chain: tuple[x509.Certificate, ...]
    key: bytes | None


def stamp(path: str) -> Stamp:
    """
    What changes when a file does: modification time (ns), size and inode.

    :raises ValueError: there is no such file, or it is no regular file.
    """
    try:
        facts = os.stat(path)
    except OSError as error:
        raise ValueError(_cannot_read(path, error)) from None
    if not S_ISREG(facts.st_mode):
        raise ValueError(f"{path!r} is not a file")
    return facts.st_mtime_ns, facts.st_size, facts.st_ino


def read(path: str) -> PemFile:
    """
    Read one PEM file.

    :raises ValueError: it cannot be read, a part of it is broken, or its key is encrypted.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ValueError(_cannot_read(path, error)) from None
    if len(data) > MAX_BYTES:
        raise ValueError(f"{path!r} is larger than {MAX_BYTES} bytes: not a PEM file")
    return PemFile(path, _chain_in(path, data), _key_in(path, data))


def paths_in(folder: str) -> list[str]:
    """The PEM files in a folder and in its subfolders, in alphabetical order; none when it cannot be listed."""
    found = []
    for where, folders, files in os.walk(folder):
        found += [os.path.join(where, file) for file in files if file.endswith(SUFFIXES)]
        if where != folder:
            folders.clear()
    return sorted(found)


def pairs(files: Iterable[PemFile]) -> list[tuple[str, str]]:
    """
    The paths of each certificate and its key.

    A key may stand in the same file or in any other. Of several files with the same certificate the one with the
    longest chain is taken (certbot's ``fullchain.pem`` over ``cert.pem``).
    """
    files = sorted(files, key=lambda file: file.path)
    keys: dict[bytes, str] = {}
    for file in files:
        if file.key is not None:
            keys.setdefault(file.key, file.path)
    best: dict[bytes, PemFile] = {}
    for file in files:
        if file.chain and public_key(file.chain[0]) in keys:
            leaf = fingerprint(file.chain[0])
            if leaf not in best or len(file.chain) > len(best[leaf].chain):
                best[leaf] = file
    return sorted((file.path, _key_path(file, keys)) for file in best.values())


def public_key(certificate: x509.Certificate) -> bytes:
    """The public key of a certificate, in the same form as ``PemFile.key``."""
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def fingerprint(certificate: x509.Certificate) -> bytes:
    """SHA-256 of a certificate."""
    return certificate.fingerprint(hashes.SHA256())


def dns_names(certificate: x509.Certificate) -> tuple[str, ...]:
    """The DNS names of the subjectAltName, in lower case."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ()
    return tuple(name.lower() for name in extension.value.get_values_for_type(x509.DNSName))


def _cannot_read(path: str, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return f"there is no file {path!r}"
    return f"{path!r} cannot be read: {error.strerror}"


def _chain_in(path: str, data: bytes) -> tuple[x509.Certificate, ...]:
    if b"-----BEGIN CERTIFICATE-----" not in data:
        return ()
    try:
        chain = tuple(x509.load_pem_x509_certificates(data))
        dns_names(chain[0])
        public_key(chain[0])
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError(f"the certificate in {path!r} is broken: {error}") from None
    return chain


def _key_in(path: str, data: bytes) -> bytes | None:
    found = _PRIVATE_KEY.search(data)
    if found is None:
        return None
    block = found.group() + b"\n"
    if found.group(1).startswith(b"ENCRYPTED") or b"Proc-Type: 4,ENCRYPTED" in block:
        raise ValueError(f"the private key in {path!r} is encrypted: decrypt it with openssl pkey -in OLD -out NEW")
    try:
        key = load_pem_private_key(block, None).public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ValueError(f"the private key in {path!r} is broken: {error}") from None
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _key_path(file: PemFile, keys: dict[bytes, str]) -> str:
    wanted = public_key(file.chain[0])
    return file.path if file.key == wanted else keys[wanted]
