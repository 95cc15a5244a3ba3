"""
Several processes that serve together: each keeps what it has answered itself, and passes on who asks for another's.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from tempfile import gettempdir
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.web.resource import Resource

from mixweb.engine.clients import connect, unix_place
from mixweb.engine.errors import HTTPError
from mixweb.engine.listeners import prepare
from mixweb.engine.request import Request
from mixweb.engine.responses import ResponseHead
from mixweb.engine.site import Site
from mixweb.kit.upstream.pool import Pool, PoolLimits
from mixweb.kit.upstream.relay import Answer, Relay

#: How long it may take to reach another process, in seconds.
_PATIENCE = 2.0

_FRAMING = frozenset([b"connection", b"keep-alive", b"transfer-encoding"])

#: Answers a request for a path, given as segments.
Answerer = Callable[[Request, Sequence[bytes]], Any]


class _Door(Resource):
    """What other processes of this server ask: who reaches the socket has shown the token elsewhere."""

    isLeaf = True

    def __init__(self, answer: Answerer) -> None:
        super().__init__()
        self._answer = answer

    def render(self, request: Request) -> Any:
        request.setHeader(b"Cache-Control", b"no-store")
        request.setHeader(b"X-Content-Type-Options", b"nosniff")
        return self._answer(request, request.postpath)


class _PassedOn(Relay):
    """A request that another process answers."""

    def __init__(self, request: Request, pool: Pool, target: bytes) -> None:
        super().__init__(request)
        self._pool = pool
        self._target = target

    def choose(self, tried: Sequence[Pool]) -> Pool | None:
        return None if tried else self._pool

    def head(self) -> bytes:
        given = self.request.getHeader
        kept = [
            b"%b: %b\r\n" % (name, value)
            for name in (b"Accept", b"Content-Type", b"Last-Event-ID")
            if (value := given(name)) is not None
        ]
        return b"%b %b HTTP/1.1\r\nHost: localhost\r\n%b" % (self.method, self._target, b"".join(kept))

    def fields(self, head: ResponseHead) -> Answer:
        return [(name.title(), [value]) for name, value in head.fields.pairs if name.lower() not in _FRAMING]


class Workers:
    """
    The processes that were started by the same one and have the same token.

    :param key: that nobody else has; the folder of the sockets is named for it.
    """

    _log = Logger()

    def __init__(self, reactor: Any, key: str) -> None:
        self.folder = os.path.join(gettempdir(), f"mixweb-inspect-{os.getppid()}-{key}")
        self._reactor = reactor
        self._port: Any = None

    def open(self, answer: Answerer) -> None:
        """Let the others ask this process."""
        try:
            os.makedirs(self.folder, mode=0o700, exist_ok=True)
            found = os.lstat(self.folder)
            if found.st_uid != os.geteuid() or found.st_mode & 0o077:
                raise OSError(f"{self.folder} belongs to somebody else")
            path = self._path(os.getpid())
            with suppress(FileNotFoundError):
                os.unlink(path)
            site = Site(_Door(answer), reactor=self._reactor)
            site.noisy = False
            self._port = self._reactor.listenUNIX(path, site, mode=0o600)
            prepare(self._port)
        except Exception as reason:
            message = "inspect: what other workers answer is not shown: {reason}"
            self._log.warn(message, reason=str(reason))

    def close(self) -> Deferred[None] | None:
        """Let nobody ask any more."""
        port, self._port = self._port, None
        if port is None:
            return None
        ended: Deferred[None] = port.stopListening()
        for process in self._sockets():
            if process == os.getpid() or not _lives(process):
                with suppress(OSError):
                    os.unlink(self._path(process))
        with suppress(OSError):
            os.rmdir(self.folder)
        return ended

    def _sockets(self) -> list[int]:
        try:
            return [int(name) for name in os.listdir(self.folder) if name.isdigit()]
        except OSError:
            return []

    def _path(self, process: int) -> str:
        return os.path.join(self.folder, str(process))

    @property
    def processes(self) -> list[int]:
        """All that can be asked, this one too."""
        others = self._sockets() if self._port is not None else []
        return sorted({os.getpid(), *filter(_lives, others)})

    def pass_on(self, request: Request, process: int, target: bytes) -> None:
        """
        Have another process answer a request.

        :param target: below ``api``, with the query.
        :raises HTTPError: when there is no such process.
        """
        if process not in self.processes:
            raise HTTPError(404, "There is no such process, or not any more.")
        places = [unix_place(self._path(process))]
        pool = Pool(lambda protocol: connect(self._reactor, places, protocol, _PATIENCE), PoolLimits())
        pool.close()  # it keeps no connection
        _PassedOn(request, pool, target).start()


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
