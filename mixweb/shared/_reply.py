"""
The answer that a published site gives to a request that was handed on to it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.python.compat import nativeString
from twisted.spread import pb
from twisted.spread.banana import SIZE_LIMIT
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from mixweb.engine.request import Request
from mixweb.interfaces import IClientAddress
from mixweb.kit.bodylength import BodyLength, declared_length

_CONNECTION_FIELDS = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade")
)

_REASON = re.compile(rb"[\t\x20-\x7e\x80-\xff]*\Z")

_NO_SUCH_METHOD = "twisted.spread.flavors.NoSuchMethod"


class _Passed(pb.Copyable):
    """A request as the published site gets it."""

    def __init__(self, state: dict[str, Any]) -> None:
        self.state = state

    def getTypeToCopyFor(self, perspective: object) -> bytes:
        return b"twisted.web.server.Request"

    def getStateToCopyFor(self, perspective: object) -> dict[str, Any]:
        return self.state


@implementer(IPushProducer)
class Reply(pb.Referenceable):
    """What a published site may do with the answer to a request."""

    def __init__(self, request: Request, open_replies: set[Reply], count_waiting: Callable[[int], None]) -> None:
        """
        :param open_replies: has it as long as the request is not answered.
        :param count_waiting: told how many bytes more, or less, wait for the client.
        """
        self.request = request
        self.open_replies = open_replies
        self.count_waiting = count_waiting
        self.gone = False
        self.paused = False
        self.relay: _Relay | None = None
        self.body: BodyLength | None = None
        self.unread: list[tuple[Deferred[None], int]] = []
        self.ended: list[Deferred[None]] = []
        open_replies.add(self)
        request.notifyFinish().addBoth(self._end)

    def ask(self, publisher: pb.RemoteReference) -> Deferred[Any]:
        """
        Pass the request.

        :raises HTTPError: 400 when its form is malformed.
        """
        length = self.request.content.seek(0, 2)
        whole = length <= SIZE_LIMIT
        state = self.request.getStateToCopyFor(None, whole)
        trusted = IClientAddress(self.request, None)
        if trusted is not None:
            state["client"] = ("INET", trusted.host, 0)
        passed = _Passed(state | {"remote": self, "tells_end": True})
        asked: Deferred[Any] = (
            publisher.callRemote("request", passed)
            if whole
            else publisher.callRemote("request_in_parts", passed, length)
        )
        return asked

    def take(self, result: Any) -> None:
        """Take what the call returned: nothing, as the answer comes through this object, or all of the body."""
        if result != NOT_DONE_YET:
            self.remote_write(result if isinstance(result, bytes) else str(result).encode())
            self.remote_finish()

    def fail(self, error: Exception) -> None:
        """Answer that there is no answer; drop the connection of a client that has a part of one."""
        if self.gone:
            return
        self._stop_relay()
        if isinstance(error, pb.RemoteError) and nativeString(error.remoteType) == _NO_SUCH_METHOD:
            self.request.error(413, f"The server of this site takes at most {SIZE_LIMIT} bytes.")
        else:
            self.request.error(502, "The server of this site failed.")

    def _end(self, _: object) -> None:
        self.gone = True
        self.open_replies.discard(self)
        if self.relay is not None:
            self.relay.stop("stopProducing")
            self.relay = None
        self.resumeProducing()
        for ended in self.ended:
            ended.callback(None)

    # What the other side calls

    def remote_setResponseCode(self, code: int, message: bytes | None = None) -> None:
        if not self._begun and isinstance(code, int) and 200 <= code <= 599:
            plain = isinstance(message, bytes) and _REASON.match(message)
            self.request.setResponseCode(code, message if plain else None)

    def remote_setHeader(self, name: bytes | str, value: bytes | str) -> None:
        name, value = (text.encode("latin-1") if isinstance(text, str) else text for text in (name, value))
        if name.lower() == b"content-length":
            declared_length([value])
        if not self._begun and name.lower() not in _CONNECTION_FIELDS:
            self.request.setHeader(name, value)

    def remote_addCookie(self, name: bytes, value: bytes, **attributes: Any) -> None:
        if not self._begun:
            self.request.addCookie(name, value, **attributes)

    def remote_setETag(self, tag: bytes) -> None:
        if not self._begun:
            self.request.setETag(tag)

    def remote_setLastModified(self, when: float) -> None:
        if not self._begun:
            self.request.setLastModified(when)

    @property
    def _begun(self) -> bool:
        return self.gone or bool(self.request.startedWriting)

    def remote_write(self, data: bytes) -> Deferred[None] | None:
        """Answered when the client takes more."""
        if self.gone:
            return None
        if not isinstance(data, bytes):
            raise pb.Error("a body is bytes")
        if self.body is None:
            self.body = BodyLength(self.request)
        if not self.request.producer:
            self.request.registerProducer(self, True)
        self.request.write(self.body.cut(data))
        if not self.paused:
            return None
        read: Deferred[None] = Deferred()
        self.unread.append((read, len(data)))
        self.count_waiting(len(data))
        return read

    def remote_finish(self) -> None:
        if self.gone:
            return
        if self.body is None:
            self.body = BodyLength(self.request)
        self._stop_relay()
        if self.body.left:
            self.remote_abort()
        else:
            self.request.finish()

    def remote_abort(self) -> None:
        self.fail(pb.Error("the answer could not be completed"))

    def remote_read(self, offset: int, length: int) -> bytes:
        """A part of the body of the request."""
        if self.gone:
            raise pb.Error("the client has left")
        self.request.content.seek(offset)
        return self.request.content.read(min(length, SIZE_LIMIT))

    def remote_notifyFinish(self) -> Deferred[None] | None:
        """Answered when the request has ended, whether it was answered or the client has left."""
        if self.gone:
            return None
        self.ended.append(Deferred())
        return self.ended[-1]

    def remote_registerProducer(self, producer: pb.RemoteReference, streaming: bool) -> None:
        if not self.gone:
            self._stop_relay()
            self.relay = _Relay(producer, bool(streaming))
            self.request.registerProducer(self, True)

    def remote_unregisterProducer(self) -> None:
        if not self.gone:
            self._stop_relay()

    def _stop_relay(self) -> None:
        if self.request.producer:
            self.request.unregisterProducer()
        if self.relay is not None:
            self.relay.stop()
            self.relay = None

    # What the client's connection tells

    def pauseProducing(self) -> None:
        """The client does not take what is sent."""
        self.paused = True
        if self.relay is not None:
            self.relay.pause()

    def resumeProducing(self) -> None:
        """The client takes more."""
        self.paused = False
        unread, self.unread = self.unread, []
        self.count_waiting(-sum(length for _, length in unread))
        for read, _ in unread:
            read.callback(None)
        if self.relay is not None:
            self.relay.resume()

    def stopProducing(self) -> None:
        """The client has left."""


class _Relay:
    """
    A producer in another process.

    One that gives a piece each time it is asked is asked again when its answer has come, so that it is never asked for
    more than the client takes.
    """

    def __init__(self, producer: pb.RemoteReference, streaming: bool) -> None:
        self.producer: pb.RemoteReference | None = producer
        self.streaming = streaming
        self.paused = False
        self.asked = False
        if not streaming:
            self._pull()

    def _pull(self, _: object = None) -> None:
        self.asked = False
        if self.producer is not None and not self.paused:
            self.asked = True
            self._call("resumeProducing")

    def _call(self, name: str) -> None:
        assert self.producer is not None
        try:
            called = self.producer.callRemote(name)
        except pb.DeadReferenceError:
            return
        if self.streaming:
            called.addErrback(lambda _: None)
        else:
            called.addCallbacks(self._pull, lambda _: None)

    def pause(self) -> None:
        """Have it wait."""
        self.paused = True
        if self.streaming and self.producer is not None:
            self._call("pauseProducing")

    def resume(self) -> None:
        """Have it go on."""
        self.paused = False
        if self.producer is None or self.asked:
            return
        if self.streaming:
            self._call("resumeProducing")
        else:
            self._pull()

    def stop(self, last: str = "") -> None:
        """
        Ask it for no more.

        :param last: what to call it with before.
        """
        if last and self.producer is not None:
            self._call(last)
        self.producer = None
