"""
What a process and its workers say to each other: lines of JSON over a unix socket, with descriptors where needed.
"""

import json
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IFileDescriptorReceiver, IPushProducer
from twisted.internet.protocol import Factory
from twisted.logger import ILogObserver, LogEvent, LogLevel, eventAsText, globalLogPublisher
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure
from twisted.python.log import callWithContext
from zope.interface import implementer

#: What Twisted gives out as the namespace of messages from before there were any.
_LEGACY = "log_legacy"

#: How much of the log may wait to be taken, in bytes.
MAX_WAITING = 8 * 1024 * 1024

#: How long one message may be, in bytes.
MAX_MESSAGE = 64 * 1024 * 1024


@implementer(IFileDescriptorReceiver, IPushProducer)
class Link(LineOnlyReceiver):
    """
    One end of the connection between a process and its worker.

    :param received: called with each message and the descriptors that came with it, which it is to close.
    :param lost: called when the other process is gone.
    :ivar full: whether much of what was sent has not been taken yet.
    """

    transport: Any
    delimiter = b"\n"
    MAX_LENGTH = MAX_MESSAGE

    def __init__(self, received: Callable[[Any, Sequence[int]], None], lost: Callable[[], None]) -> None:
        self.full = False
        self._received = received
        self._lost = lost
        self._descriptors: list[int] = []
        self._closing: Deferred[None] | None = None

    @classmethod
    def over(
        cls, end: socket.socket, reactor: Any, received: Callable[[Any, Sequence[int]], None], lost: Callable[[], None]
    ) -> "Link":
        """A link over one end of a pair of sockets, which belongs to it from then on."""
        link = cls(received, lost)
        factory = Factory.forProtocol(lambda: link)
        factory.noisy = False
        end.setblocking(False)
        reactor.adoptStreamConnection(end.fileno(), socket.AF_UNIX, factory)
        end.close()
        return link

    def send(self, message: Mapping[str, Any], descriptors: Sequence[int] = ()) -> None:
        """
        Send a message.

        :param descriptors: copies of them go with it.
        """
        for descriptor in descriptors:
            self.transport.sendFileDescriptor(descriptor)
        self.sendLine(json.dumps({**message, "descriptors": len(descriptors)}).encode())

    def close(self) -> "Deferred[None]":
        """Close it when all has been sent; fires when it is closed. ``lost`` is not called."""
        if self._closing is None:
            self._closing = Deferred()
            self.transport.unregisterProducer()
            self.transport.loseConnection()
        return self._closing

    def connectionMade(self) -> None:
        self.transport.registerProducer(self, True)

    def fileDescriptorReceived(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)
        self._descriptors.append(descriptor)

    def lineReceived(self, line: bytes) -> None:
        message = json.loads(line)
        count = message.pop("descriptors")
        descriptors, self._descriptors = self._descriptors[:count], self._descriptors[count:]
        # What follows from it is logged as no doing of this connection.
        callWithContext({"system": "-"}, self._received, message, descriptors)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        if self._closing is None:
            self._closing = Deferred()
            self._lost()
        self._closing.callback(None)

    def pauseProducing(self) -> None:
        self.full = True

    def resumeProducing(self) -> None:
        self.full = False

    def stopProducing(self) -> None:
        """The connection is lost: ``connectionLost`` sees to it."""


@implementer(ILogObserver)
class LogSender:
    """
    A log observer that sends what is logged over a link. What comes while :data:`MAX_WAITING` bytes wait is lost.

    :ivar lost: how many events were lost since the last one that was sent.
    """

    def __init__(self, link: Link) -> None:
        self.link = link
        link.transport.bufferSize = MAX_WAITING
        self.lost = 0

    def __call__(self, event: LogEvent) -> None:
        if self.link.full:
            self.lost += 1
            return
        lost, self.lost = self.lost, 0
        if lost:
            self.link.send({"log": {"level": "warn", "text": f"{lost} lines of the log were lost: they came too fast"}})
        packed = pack(event)
        if packed["text"]:
            self.link.send({"log": packed})


def pack(event: LogEvent) -> dict[str, Any]:
    """A log event as plain values: its text, with the traceback of a failure, when it was, and whose it is."""
    return {
        "text": eventAsText(event, includeTimestamp=False, includeSystem=False),
        "time": event.get("log_time"),
        "level": (event.get("log_level") or LogLevel.info).name,
        "namespace": event.get("log_namespace", ""),
        "system": event.get("log_system"),
    }


def publish(packed: Mapping[str, Any], worker: str, now: float) -> None:
    """
    Log what a worker has logged.

    :param worker: what the log calls it, where a feature has not said whose line it is.
    :param now: the time of what has none.
    """
    level = LogLevel.lookupByName(packed["level"])
    namespace, system = packed.get("namespace", ""), packed.get("system")
    if system in (None, "-"):
        system = worker if namespace in ("", _LEGACY) else f"{worker}, {namespace}#{level.name}"
    globalLogPublisher(
        {
            "log_format": "{text}",
            "text": packed["text"],
            "log_time": packed.get("time") or now,
            "log_level": level,
            "log_namespace": namespace,
            "log_system": system,
        }
    )
