"""
Server-sent events (WHATWG HTML, 9.2): a stream of messages that a browser's ``EventSource`` reads.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

_LINE = re.compile(r"\r\n|\r|\n")

#: How long a stream is silent at most, in seconds: a comment shows proxies that it lives, and us when the client has left.
HEARTBEAT = 15.0

#: How many messages may wait for one client.
_WAITING = 100


@dataclass(frozen=True)
class Event:
    """
    One message.

    :ivar data: text, or anything that JSON can hold.
    :ivar name: what the browser's listener is called; empty for ``message``.
    :ivar id: what the browser sends as ``Last-Event-ID`` when it comes back.
    :ivar retry: after how many milliseconds it does; 0 for its own choice.
    """

    data: Any
    name: str = ""
    id: str = ""
    retry: int = 0

    def encode(self) -> bytes:
        """The message as it is sent."""
        text = self.data if isinstance(self.data, str) else json.dumps(self.data)
        lines = [f"event: {_one_line(self.name)}"] if self.name else []
        lines += [f"id: {_one_line(self.id)}"] if self.id else []
        lines += [f"retry: {self.retry}"] if self.retry else []
        lines += [f"data: {line}" for line in _LINE.split(text)]
        return "\n".join([*lines, "", ""]).encode()


def _one_line(text: str) -> str:
    return _LINE.sub(" ", text).replace("\0", "")


class Events:
    """
    An answer of server-sent events.

    :param source: gives the messages: an asynchronous generator of events, text or what JSON can hold, or a :class:`Feed`.
    """

    def __init__(self, source: AsyncIterable[Any]) -> None:
        self.source = source

    async def stream(self, reactor: Any) -> AsyncGenerator[bytes, None]:
        """The messages as they are sent, and a comment wherever there is none for a while."""
        source = aiter(self.source)
        arrival = Arrival(source)
        try:
            yield _COMMENT
            while True:
                while not await arrival.within(HEARTBEAT, reactor):
                    yield _COMMENT
                message = arrival.take()
                if message is _END:
                    return
                yield (message if isinstance(message, Event) else Event(message)).encode()
                arrival = Arrival(source)
        finally:
            arrival.waiting.cancel()
            if isinstance(source, AsyncGenerator):
                await source.aclose()


_COMMENT = b":\n\n"
_END = object()


class Arrival:
    """The next message of a source, which is asked for it at once."""

    def __init__(self, source: AsyncIterator[Any]) -> None:
        self._outcome: Any = None
        self._told: Deferred[bool] | None = None
        self.arrived = False
        self.waiting = Deferred.fromCoroutine(_next(source))
        self.waiting.addBoth(self._arrive)

    def _arrive(self, outcome: Any) -> None:
        self.arrived, self._outcome = True, outcome
        if self._told is not None:
            self._told.callback(True)

    async def within(self, seconds: float, reactor: Any) -> bool:
        """Wait for it so long; whether it is there."""
        if self.arrived:
            return True
        told: Deferred[bool] = Deferred()
        self._told = told
        timer = reactor.callLater(seconds, told.callback, False)
        try:
            return await told
        finally:
            self._told = None
            if timer.active():
                timer.cancel()

    def take(self) -> Any:
        """The message, which has arrived; raises what the source has raised."""
        if isinstance(self._outcome, Failure):
            self._outcome.raiseException()
        return self._outcome


async def _next(source: AsyncIterator[Any]) -> Any:
    return await anext(source, _END)


class _Listener:
    """One who reads a feed."""

    def __init__(self) -> None:
        self.messages: deque[Any] = deque()
        self.lost = False
        self._bell: Deferred[None] | None = None

    def ring(self) -> None:
        """Have :meth:`ready` return."""
        bell, self._bell = self._bell, None
        if bell is not None:
            bell.callback(None)

    async def ready(self) -> None:
        """Return when there is something to read."""
        self._bell = Deferred()
        await self._bell


class Feed:
    """
    Sends the same messages to all who listen; each time it is iterated over, one more does.

    A listener that is a hundred messages behind is dropped: its stream ends, and a browser comes back by itself.
    """

    def __init__(self) -> None:
        self._listeners: set[_Listener] = set()

    def __len__(self) -> int:
        return len(self._listeners)

    def send(self, message: Any) -> None:
        """Send an :class:`Event`, text, or what JSON can hold."""
        for listener in list(self._listeners):
            listener.lost = len(listener.messages) >= _WAITING
            if not listener.lost:
                listener.messages.append(message)
            listener.ring()

    async def __aiter__(self) -> AsyncGenerator[Any, None]:
        listener = _Listener()
        self._listeners.add(listener)
        try:
            while not listener.lost:
                if listener.messages:
                    yield listener.messages.popleft()
                else:
                    await listener.ready()
        finally:
            self._listeners.discard(listener)
