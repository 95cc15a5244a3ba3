"""
The keys of an outside issuer of tokens: a JWK set in a file or at a URL.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool, ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers

from mixweb.features.auth._keys import KeyProblem, VerifyingKey, public_keys
from mixweb.kit.posted import shielded

#: A longer set is not read.
MAX_BYTES = 256 * 1024

#: Seconds that keys are taken from memory, that they may be used when the issuer cannot be reached, and between two tries.
FRESH, STALE, PAUSE = 3600.0, 86400.0, 30.0

#: Seconds that an issuer may take to answer.
TIMEOUT = 5.0

log = Logger(namespace="mixweb.auth")


class IssuerUnavailable(Exception):
    """The keys cannot be had just now."""


class IssuerKeys:
    """
    Keys, remembered.

    :param read: reads the set, as bytes of JSON.
    :param algorithms: those that are allowed.
    :param seconds: the time.
    :param fresh: seconds that a set is taken from memory.
    """

    def __init__(
        self,
        read: Callable[[], Awaitable[bytes]],
        algorithms: Sequence[str],
        seconds: Callable[[], float],
        fresh: float = FRESH,
        pause: float = PAUSE,
    ) -> None:
        self._read = read
        self._algorithms = algorithms
        self._seconds = seconds
        self._fresh, self._pause = fresh, pause
        self._keys: list[VerifyingKey] = []
        self._when = self._tried = float("-inf")
        self._loading: Deferred[None] | None = None

    async def get(self, kid: str | None) -> list[VerifyingKey]:
        """
        The keys.

        :param kid: that of the token at hand: when it is not known, the issuer is asked for new ones.
        :raises IssuerUnavailable: when there are none.
        """
        if self._wants(kid):
            await shielded(self._loaded())
        if self._seconds() - self._when > max(STALE, self._fresh):
            raise IssuerUnavailable
        return self._keys

    def _wants(self, kid: str | None) -> bool:
        """Whether the issuer is to be asked: the keys are old or lack this one, and it was not asked just now."""
        now = self._seconds()
        lacking = kid is not None and all(key.kid not in (kid, None) for key in self._keys)
        old = now - self._when >= self._fresh
        return (lacking or old) and (self._loading is not None or now - self._tried >= self._pause)

    def _loaded(self) -> Deferred[None]:
        """Fires when the set was read: once for all who wait."""
        if self._loading is None:
            self._tried = self._seconds()
            self._loading = Deferred()
            Deferred.fromCoroutine(self._load()).addBoth(self._done)
        return self._loading or succeed(None)

    def _done(self, result: Any) -> None:
        waiting, self._loading = self._loading, None
        if waiting is not None:
            waiting.callback(None)

    async def _load(self) -> None:
        try:
            self._keys = public_keys(json.loads(await self._read()), self._algorithms)
            self._when = self._seconds()
        except KeyProblem as reason:
            log.error("the keys of the issuer cannot be used: {reason}", reason=reason)
        except Exception as reason:
            log.error("the keys of the issuer cannot be had: {reason}", reason=reason)


class _Body(Protocol):
    """
    Collects the body of an answer, up to a limit.

    :ivar done: fires with it.
    """

    def __init__(self) -> None:
        self.done: Deferred[bytes] = Deferred(lambda _: self._abort())
        self._data = b""

    def dataReceived(self, data: bytes) -> None:
        self._data += data
        if len(self._data) > MAX_BYTES:
            self._abort()

    def _abort(self) -> None:
        if self.transport is not None:
            self.transport.abortConnection()  # type: ignore[attr-defined]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.done.called:
            return
        if len(self._data) > MAX_BYTES:
            self.done.errback(ValueError(f"a JWK set has at most {MAX_BYTES} bytes"))
        elif reason.check(ResponseDone, PotentialDataLoss):
            self.done.callback(self._data)
        else:
            self.done.errback(reason)


def fetch(url: str, reactor: Any) -> Callable[[], Awaitable[bytes]]:
    """What reads a URL: no redirects, a deadline, and no more bytes than a set has."""
    from treq.client import HTTPClient

    client = HTTPClient(Agent(reactor, connectTimeout=TIMEOUT, pool=HTTPConnectionPool(reactor, persistent=False)))

    async def read() -> bytes:
        response = await client.get(
            url,
            headers=Headers({"Accept": ["application/json"]}),
            allow_redirects=False,
            unbuffered=True,
            timeout=TIMEOUT,
            reactor=reactor,
        )
        body = _Body()
        body.done.addTimeout(TIMEOUT, reactor)
        response.deliverBody(body)
        data = await body.done
        if response.code != 200:
            raise OSError(f"{url} answered {response.code}")
        return data

    return read
