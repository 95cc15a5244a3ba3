"""
The side of a shared server that has the port: requests are handed on to the sites that other processes publish.
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.spread import pb
from twisted.web.resource import IResource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from mixweb.engine.errors import HTTPError
from mixweb.engine.request import Request
from mixweb.shared._reply import Reply

#: How much of the answers of one published site may wait for slow clients before nothing more is read of it, in bytes.
MAX_WAITING = 16 * 1024 * 1024


class _Broker(pb.Broker):
    """Each request that is under way counts as a reference that the other side has."""

    maxBrokerRefCount = 65536


class _ClientFactory(pb.PBClientFactory):
    protocol = _Broker
    noisy = False


@implementer(IResource)
class RemoteSite:
    """
    A site that another process publishes.

    The connection is made for the first request and kept; when it is lost, the requests under way are answered with 502
    and the next one makes another.

    :param endpoint: where it is published.
    :param name: what the log calls it.
    """

    isLeaf = True
    _log = Logger()

    def __init__(self, endpoint: IStreamClientEndpoint, name: str) -> None:
        self.endpoint = endpoint
        self.name = name
        self.replies: set[Reply] = set()
        self.waiting_bytes = 0
        self._publisher: pb.RemoteReference | None = None
        self._expecting: list[Deferred[pb.RemoteReference]] | None = None
        self._read_paused = False

    @property
    def idle(self) -> bool:
        """Whether there is no connection and nothing under way."""
        return self._publisher is None and self._expecting is None

    def getChildWithDefault(self, name: bytes, request: Request) -> IResource:
        raise TypeError("a remote site is a leaf: it has no children")

    def putChild(self, path: bytes, child: IResource) -> None:
        raise TypeError("a remote site is a leaf: it has no children")

    def render(self, request: Request) -> int:
        request.spawn(self._hand_on(request))
        return NOT_DONE_YET

    async def _hand_on(self, request: Request) -> None:
        try:
            publisher = await self._connected()
        except CancelledError:
            raise
        except Exception as error:
            self._log.info("no site is published on {name}: {error}", name=self.name, error=error)
            request.error(502, "The server that this site is on does not answer.")
            return
        reply = Reply(request, self.replies, self.count_waiting)
        try:
            result = await reply.ask(publisher)
        except (CancelledError, HTTPError):
            raise
        except Exception as error:
            self._log.warn("the site on {name} failed: {error}", name=self.name, error=error)
            reply.fail(error)
        else:
            reply.take(result)

    # The connection

    def _connected(self) -> Deferred[pb.RemoteReference]:
        ready: Deferred[pb.RemoteReference] = Deferred()
        if self._publisher is not None:
            ready.callback(self._publisher)
        elif self._expecting is not None:
            self._expecting.append(ready)
        else:
            self._expecting = [ready]
            factory = _ClientFactory()
            factory.getRootObject().addCallbacks(self._made, self._answer_expecting)
            self.endpoint.connect(factory).addErrback(self._answer_expecting)
        return ready

    def _made(self, publisher: pb.RemoteReference) -> None:
        publisher.broker.notifyOnDisconnect(self._lost)
        self._publisher = publisher
        self._read_paused = False
        self._answer_expecting(publisher)

    def _answer_expecting(self, result: pb.RemoteReference | Failure) -> None:
        expecting, self._expecting = self._expecting or [], None
        for ready in expecting:
            if not ready.called:
                ready.callback(result)

    def _lost(self) -> None:
        self._publisher = None
        for reply in list(self.replies):
            reply.fail(pb.PBConnectionLost("the connection was lost"))

    def disconnect(self) -> None:
        """Close the connection, if there is one."""
        if self._publisher is not None:
            self._publisher.broker.transport.loseConnection()

    def count_waiting(self, length: int) -> None:
        """Note that so many bytes more, or less, wait for clients."""
        self.waiting_bytes += length
        too_much = self.waiting_bytes > MAX_WAITING
        if self._publisher is not None and too_much is not self._read_paused:
            self._read_paused = too_much
            transport = self._publisher.broker.transport
            (transport.pauseProducing if too_much else transport.resumeProducing)()
