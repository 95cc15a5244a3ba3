"""
Certificates for TLS: chosen by the name a client asks for, read again when their files change.

A source is one PEM file (its key in it or beside it) or a folder of PEM files, certbot's ``live`` layout included.
Nothing is read during a handshake: ``CertificateService`` looks at the files once a second, in a thread.
"""

import os
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from twisted.application import service
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from mixweb.engine import _pem
from mixweb.engine._certificates import (
    Certificate,
    ServerSocket,
    by_name,
    choose,
    expiry_warning,
    load,
    server_context,
)

__all__ = [
    "Certificate",
    "CertificateService",
    "CertificateStore",
    "ServerSocket",
    "Source",
    "by_name",
    "choose",
    "load",
    "server_context",
]


@dataclass(frozen=True)
class Source:
    """
    Where certificates come from.

    :param path: a PEM file, or a folder of them (one level of subfolders is looked at too).
    :param privkey: the PEM file of the private key, when ``path`` is a file that does not hold it.
    """

    path: str
    privkey: str | None = None


class CertificateStore:
    """
    The certificates of one source.

    :param source: the file or folder.
    :param http2: offer HTTP/2 by ALPN.
    :param strict_sni: refuse a client that asks for no name or an unknown one, instead of giving it the default: the
        certificate whose file comes first in alphabetical order.
    :param now: the time in seconds since the epoch.
    :raises ValueError: nothing can be served from the source; the sentence names the file.
    """

    context: ssl.SSLContext
    """What sockets are wrapped with. It stays the same when certificates change, and so do the keys of its tickets."""

    log = Logger()

    def __init__(
        self,
        source: Source,
        *,
        http2: bool = True,
        strict_sni: bool = False,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.source = source
        self.http2 = http2
        self.strict_sni = strict_sni
        self.certificates: tuple[Certificate, ...] = ()
        self._now = now
        self._folder = os.path.isdir(source.path)
        if self._folder and source.privkey is not None:
            raise ValueError(f"{source.path!r} is a folder: keys are found in it, {source.privkey!r} is not needed")
        self._files: dict[str, tuple[_pem.Stamp, _pem.PemFile]] = {}
        self._names: dict[str, Certificate] = {}
        self._told: dict[str, str] = {}
        problems = self.refresh()
        if not self.certificates:
            nothing = f"there is no certificate with its private key in the folder {source.path!r}"
            raise ValueError("; ".join(problems.values()) or nothing)
        self.context = server_context(http2)
        self.context.sni_callback = self._name_received

    def refresh(self) -> dict[str, str]:
        """
        Look at the files and read what has changed. A certificate that cannot be read any more stays as it was.

        It blocks: call it in a thread. Each problem is logged once.

        :returns: the paths that are wrong, each with a sentence.
        """
        problems: dict[str, str] = {}
        current = {certificate.path: certificate for certificate in self.certificates}
        pairs = self._pairs(problems)
        for path, privkey in pairs:
            try:
                current[path] = self._certificate(path, privkey, current.get(path))
            except ValueError as error:
                problems[path] = str(error)
        self._missing(current, {path for path, _ in pairs}, problems)
        self.certificates = tuple(current[path] for path in sorted(current))
        self._names = by_name(self.certificates, self._time())
        self._tell(problems)
        return problems

    def choose(self, name: str | None) -> Certificate | None:
        """The certificate for a server name, or the default; None when ``strict_sni`` refuses the name."""
        found = choose(self._names, name)
        return found if found or self.strict_sni else self.certificates[0]

    def warn_of_expiry(self) -> None:
        """Log a warning for each certificate in use that has expired or soon will."""
        used = {*self._names.values(), self.certificates[0]}
        for certificate in sorted(used, key=lambda one: one.path):
            warning = expiry_warning(certificate, self._time())
            if warning:
                self.log.warn("{warning}", warning=warning)

    def _time(self) -> datetime:
        return datetime.fromtimestamp(self._now(), UTC)

    def _pairs(self, problems: dict[str, str]) -> list[tuple[str, str]]:
        if not self._folder:
            return [(self.source.path, self.source.privkey or self.source.path)]
        paths = _pem.paths_in(self.source.path)
        for path in paths:
            try:
                self._read_changed(path)
            except ValueError as error:
                problems[path] = str(error)
        self._files = {path: self._files[path] for path in paths if path in self._files}
        return _pem.pairs(file for _, file in self._files.values())

    def _read_changed(self, path: str) -> None:
        stamp = _pem.stamp(path)
        if path not in self._files or self._files[path][0] != stamp:
            self._files[path] = stamp, _pem.read(path)

    def _certificate(self, path: str, privkey: str, old: Certificate | None) -> Certificate:
        if old is not None and old.stamps == (_pem.stamp(path), _pem.stamp(privkey)):
            return old
        certificate = load(path, privkey, self.http2)
        if old is not None:
            self.log.info("certificate {path!r} has changed and was read again", path=path)
        return certificate

    def _missing(self, current: dict[str, Certificate], found: set[str], problems: dict[str, str]) -> None:
        """Forget what is now served from another file; what is served from none any more is a problem."""
        served = {current[path].fingerprint for path in found & current.keys()}
        for path in current.keys() - found:
            if current[path].fingerprint in served:
                del current[path]
            elif not os.path.exists(path):
                problems[path] = f"{path!r} is gone"
            else:
                problems.setdefault(path, f"{path!r} holds no certificate that a private key beside it fits")

    def _tell(self, problems: dict[str, str]) -> None:
        served = {certificate.path for certificate in self.certificates}
        for path, sentence in problems.items():
            if served and self._told.get(path) != sentence:
                what = "the certificate read before stays in use" if path in served else "it is not used"
                self.log.warn("{sentence}; {what}", sentence=sentence, what=what)
        self._told = problems

    def _name_received(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> int | None:
        if isinstance(connection, ServerSocket):
            connection.sni = name
        certificate = self.choose(name)
        if certificate is None:
            return ssl.AlertDescription.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        connection.context = certificate.context
        return None


class CertificateService(service.Service):
    """
    Keeps the certificates of all sources fresh while it runs.

    :param reactor: its clock, and its threads to read files in.
    :param http2: offer HTTP/2 by ALPN.
    :param strict_sni: see ``CertificateStore``.
    :param in_thread: runs a blocking call; the reactor's thread pool does when it is not given.
    """

    LOOK_EVERY = 1.0
    WARN_EVERY = 86400.0

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        *,
        http2: bool = True,
        strict_sni: bool = False,
        in_thread: Callable[[Callable[[], object]], Awaitable[object]] | None = None,
    ) -> None:
        self.http2 = http2
        self.strict_sni = strict_sni
        self._reactor = reactor
        self._stores: dict[Source, CertificateStore] = {}
        self._in_thread = in_thread or self._defer_to_thread
        self._looking = self._loop(self._look)
        self._warning = self._loop(self._warn)

    @property
    def stores(self) -> tuple[CertificateStore, ...]:
        """The stores opened so far."""
        return tuple(self._stores.values())

    def store(self, source: Source) -> CertificateStore:
        """
        The store of a source, read now when it is new.

        :raises ValueError: nothing can be served from the source.
        """
        if source not in self._stores:
            self._stores[source] = CertificateStore(source, http2=self.http2, strict_sni=self.strict_sni)
            if self.running:
                self._stores[source].warn_of_expiry()
        return self._stores[source]

    def keep(self, sources: Iterable[Source]) -> None:
        """Forget the stores of all other sources."""
        self._stores = {source: self._stores[source] for source in sources if source in self._stores}

    def startService(self) -> None:
        super().startService()
        self._looking.start(self.LOOK_EVERY, now=False)
        self._warning.start(self.WARN_EVERY)

    def stopService(self) -> None:
        super().stopService()
        self._looking.stop()
        self._warning.stop()

    def _loop(self, call: Callable[[], object]) -> LoopingCall:
        loop = LoopingCall(call)
        loop.clock = self._reactor
        return loop

    def _defer_to_thread(self, call: Callable[[], object]) -> Deferred[object]:
        return deferToThreadPool(self._reactor, self._reactor.getThreadPool(), call)

    def _look(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._refresh())

    async def _refresh(self) -> None:
        for store in self.stores:
            try:
                await self._in_thread(store.refresh)
            except Exception:
                self.log.failure("looking at the certificates in {path!r} failed", path=store.source.path)

    def _warn(self) -> None:
        for store in self.stores:
            store.warn_of_expiry()
