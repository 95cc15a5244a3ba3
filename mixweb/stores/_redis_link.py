"""
Connections to a Redis, each there again soon after it was lost.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any

from OpenSSL.SSL import Connection, Error
from twisted.internet import ssl
from twisted.internet._sslverify import ClientTLSOptions
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from txredisapi import RedisError, RedisProtocol, ResponseError, SubscriberProtocol

from mixweb.stores.urls import Address

#: How long to wait before another attempt to connect, in seconds.
RETRY_SECONDS = 0.2

#: How often a connection is asked for a sign of life, in seconds.
LOOK_SECONDS = 10

#: How the answers of a Redis begin that will be able to answer soon.
_PASSING = ("LOADING", "MASTERDOWN", "BUSY", "TRYAGAIN", "READONLY")


class Refused(Exception):
    """A Redis that can be reached cannot be used as it is."""


class Link(RedisProtocol):
    """
    A connection for calls; answers are bytes or integers.

    :ivar gone: fires when it is lost.
    :ivar reason: why it was.
    """

    reason: Failure

    def __init__(self, reactor: Any) -> None:
        super().__init__(charset=None, convertNumbers=False)
        self.callLater = reactor.callLater
        self.gone: Deferred[None] = Deferred()

    def connectionLost(self, reason: Failure) -> None:
        self.reason = reason
        super().connectionLost(reason)
        self.gone.callback(None)


class SubscriberLink(SubscriberProtocol):
    """
    A connection for what is published.

    :param deliver: called with channel and data.
    :ivar gone: fires when it is lost.
    :ivar reason: why it was.
    """

    reason: Failure

    def __init__(self, reactor: Any, deliver: Callable[[bytes, bytes], None]) -> None:
        super().__init__(charset=None, convertNumbers=False)
        self.callLater = reactor.callLater
        self.gone: Deferred[None] = Deferred()
        self._deliver = deliver

    def messageReceived(self, pattern: bytes | None, channel: bytes, message: bytes) -> None:
        self._deliver(channel, message)

    def connectionLost(self, reason: Failure) -> None:
        self.reason = reason
        super().connectionLost(reason)
        self.gone.callback(None)


async def introduce(link: Any, address: Address) -> None:
    """
    Make a connection ready for calls.

    :raises Refused: when it never will be.
    """
    try:
        if address.password:
            await link.auth(address.password, address.user or None)
        if address.database:
            await link.execute_command("SELECT", address.database)
        await link.ping()
    except ResponseError as reason:
        text = str(reason).strip()
        if text.startswith(_PASSING):
            raise
        raise Refused(text) from None
    if await _is_cluster(link):
        raise Refused("it is in cluster mode, which is not supported")


async def _is_cluster(link: Any) -> bool:
    try:
        return b"cluster_enabled:1" in await link.execute_command("INFO", "cluster")
    except ResponseError:
        return False  # this user may not ask


def endpoint_of(address: Address, reactor: Any, timeout: float) -> Any:
    """Where to connect to."""
    if address.scheme == "unix":
        return UNIXClientEndpoint(reactor, address.path, timeout)
    endpoint = HostnameEndpoint(reactor, address.host.encode("idna"), address.port, timeout)
    return wrapClientTLS(tls_of(address), endpoint) if address.scheme == "rediss" else endpoint


def tls_of(address: Address) -> Any:
    """
    How to speak TLS.

    :raises ValueError: when the files with certificates cannot be used.
    """
    context = ssl.CertificateOptions().getContext()
    for path in filter(None, (address.ca, address.cert)):
        if not os.access(path, os.R_OK):
            raise ValueError(f"store: '{path}' cannot be read")
    try:
        context.load_verify_locations(address.ca) if address.ca else context.set_default_verify_paths()
    except Error:
        raise ValueError(f"store: there is no certificate in '{address.ca}'") from None
    if address.cert:
        try:
            context.use_certificate_chain_file(address.cert)
            context.use_privatekey_file(address.cert)
        except Error:
            raise ValueError(f"store: there is no certificate with its key in '{address.cert}'") from None
    return ClientTLSOptions(lambda _: Connection(context), address.host)


class Keeper:
    """
    Has a connection, and another one soon after it is lost.

    :param build: makes its protocol.
    :param greet: makes it ready.
    :param ready: called with the protocol then.
    :param failed: called with the reason when there is none.
    """

    def __init__(
        self,
        endpoint: Any,
        reactor: Any,
        deadline: float,
        build: Callable[[], Any],
        greet: Callable[[Any], Awaitable[None]],
        ready: Callable[[Any], None],
        failed: Callable[[Failure], None],
    ) -> None:
        self._endpoint = endpoint
        self._reactor = reactor
        self._deadline = deadline
        self._factory = Factory.forProtocol(build)
        self._factory.noisy = False
        self._greet = greet
        self._ready = ready
        self._failed = failed
        self._stopped = False
        self._going = Deferred.fromCoroutine(self._keep())
        self._going.addErrback(lambda reason: reason.trap(CancelledError))

    def stop(self) -> Deferred[Any]:
        """Let go of the connection; fires when that is done."""
        self._stopped = True
        self._going.cancel()
        return self._going

    async def _keep(self) -> None:
        while not self._stopped:
            try:
                await self._connect()
            except Exception:
                # An endpoint may say anything when it is cancelled.
                if self._stopped:
                    return
                self._failed(Failure())
            await deferLater(self._reactor, RETRY_SECONDS)

    async def _connect(self) -> None:
        """
        Connect, and look after the connection.

        :raises Exception: why it is over.
        """
        link = await self._endpoint.connect(self._factory)
        try:
            if ITCPTransport.providedBy(link.transport):
                link.transport.setTcpKeepAlive(True)
            await self._in_time(self._greet(link))
            self._ready(link)
            while not await self._is_gone(link):
                await self._in_time(link.ping())
        except RedisError:
            if link.connected:
                raise
        finally:
            link.transport.abortConnection()
            await until(link.gone)
        link.reason.raiseException()

    def _in_time(self, work: Any) -> Deferred[Any]:
        deferred = work if isinstance(work, Deferred) else Deferred.fromCoroutine(work)
        return deferred.addTimeout(self._deadline, self._reactor)

    async def _is_gone(self, link: Any) -> bool:
        """Whether a connection is lost, soon or in a while."""
        try:
            await until(link.gone).addTimeout(LOOK_SECONDS, self._reactor)
        except TimeoutError:
            return False
        return True


def until(event: Deferred[None]) -> Deferred[None]:
    """Fires when ``event`` does; to cancel this does not cancel that."""
    waiting: Deferred[None] = Deferred()

    def fire(_: None) -> None:
        if not waiting.called:
            waiting.callback(None)

    event.addCallback(fire)
    return waiting
