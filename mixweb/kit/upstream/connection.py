"""
One connection to another server: a request at a time, its answer as it arrives.
"""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol as ConnectionProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from mixweb.engine.http1 import Refusal
from mixweb.engine.responses import ResponseHead, ResponseParser


class Broken(Exception):
    """
    There is no answer, or no whole one.

    :ivar status: 502, 503 or 504.
    :ivar detail: one sentence for the client, which names no addresses.
    :ivar untouched: whether the server may not have seen the request: a connection that was kept for later had ended.
    """

    def __init__(self, status: int, detail: str, untouched: bool = False) -> None:
        super().__init__(status, detail)
        self.status = status
        self.detail = detail
        self.untouched = untouched


class Exchange(Protocol):
    """
    What asks, and takes the answer.

    One of :meth:`whole` or, after any number of pieces, :meth:`complete` ends an answer; :meth:`broken` ends everything.
    """

    method: bytes

    def started(self, connection: Connection) -> None:
        """Here is a connection: call its :meth:`Connection.ask`."""

    def interim(self, head: ResponseHead) -> None:
        """An interim answer: 100 to 199, but not 101."""

    def switched(self, head: ResponseHead, connection: Connection, rest: bytes) -> None:
        """101: the connection is the exchange's own from here on; ``rest`` has come on it already."""

    def whole(self, head: ResponseHead, body: bytes) -> None:
        """All of an answer."""

    def begun(self, head: ResponseHead) -> None:
        """The head of an answer whose body follows in pieces."""

    def data(self, piece: bytes) -> None:
        """A piece of the body."""

    def complete(self) -> None:
        """The answer has ended."""

    def broken(self, reason: Broken) -> None:
        """There is no answer, or the rest of it does not come."""

    def pause_sending(self) -> None:
        """The server does not take what is sent."""

    def resume_sending(self) -> None:
        """The server takes more of the request."""


class Keeper(Protocol):
    """
    Whose connections they are.

    :ivar tick: counts seconds.
    """

    tick: int

    def release(self, connection: Connection) -> None:
        """It may be used for another request."""

    def lost(self, connection: Connection) -> None:
        """It has ended."""


@implementer(IPushProducer)
class Connection(ConnectionProtocol):
    """
    A connection to a server.

    :ivar exchange: what it is used for; ``None`` while it waits for a use.
    :ivar mark: the keeper's tick when something last moved.
    :ivar reused: whether it has served another exchange before.
    :ivar answering: whether something of the answer has come.
    :ivar paused: whether it is not read, because the client does not take what is sent.
    :ivar single: whether it is of no use for another exchange.
    :ivar patient: whether the answer may be silent for as long as it likes.
    """

    transport: Any
    exchange: Exchange | None = None
    answering = False
    patient = False
    paused = False
    reused = False
    single = False
    mark = 0
    _persistent = False

    def __init__(self, keeper: Keeper) -> None:
        self.keeper = keeper
        self._parser = ResponseParser()
        self._sent = True

    def connectionMade(self) -> None:
        self.transport.registerProducer(self, True)

    # The request

    def ask(self, exchange: Exchange) -> None:
        """Begin an exchange: what is sent from here on, until :meth:`sent`, is its request."""
        self.exchange = exchange
        self.answering = self.patient = self._sent = False
        self._parser.expect(exchange.method)

    def send(self, data: bytes) -> None:
        """Send a piece of the request."""
        self.mark = self.keeper.tick
        self.transport.write(data)

    def sent(self) -> None:
        """The request is complete, or is with the next piece."""
        self._sent = True

    def drop(self) -> None:
        """Close the connection, whatever it is used for."""
        self.exchange = None
        self.transport.abortConnection()

    def fail(self, reason: Broken) -> None:
        """Close the connection, and tell why."""
        exchange, self.exchange = self.exchange, None
        self.transport.abortConnection()
        if exchange is not None:
            exchange.broken(reason)

    def forget(self) -> None:
        """Let go of what only makes the next answer cheaper to read."""
        self._parser.forget()

    # The answer

    def pause(self) -> None:
        """Read no more of the answer for now."""
        self.paused = True
        self.transport.pauseProducing()

    def resume(self) -> None:
        """Read on."""
        self.paused = False
        self.mark = self.keeper.tick
        self.transport.resumeProducing()

    def dataReceived(self, data: bytes) -> None:
        exchange = self.exchange
        if exchange is None:
            # Said unasked, it could be taken for the answer to the next request.
            self.drop()
            return
        self.mark = self.keeper.tick
        self.answering = True
        self._parser.receive(data)
        try:
            self._read(exchange)
        except Refusal as refusal:
            self.fail(Broken(502, f"The answer of the server behind this one is malformed. {refusal.detail}"))

    def _read(self, exchange: Exchange) -> None:
        next_event = self._parser.next_event
        while self.exchange is exchange:
            event = next_event()
            if event is None:
                return
            if type(event) is bytes:
                exchange.data(event)
            elif event is ResponseParser.END:
                self._end(exchange)
                exchange.complete()
            elif event.status >= 200:
                self._begin(exchange, event)
            elif event.status == 101:
                self.exchange = None
                exchange.switched(event, self, self._parser.take_rest())
            else:
                exchange.interim(event)

    def _begin(self, exchange: Exchange, head: ResponseHead) -> None:
        """Begin an answer; one that has come as a whole is not cut in pieces."""
        self._persistent = head.persistent
        body = self._parser.take_whole()
        if body is None:
            exchange.begun(head)
        else:
            self._end(exchange)
            exchange.whole(head, body)

    def _end(self, exchange: Exchange) -> None:
        self.exchange = None
        if self.paused:
            self.resume()
        if self._persistent and self._sent and not self.single and self._parser.idle:
            self.reused = True
            self.keeper.release(self)
        elif self._sent:
            self.transport.loseConnection()
        else:
            self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.keeper.lost(self)
        exchange, self.exchange = self.exchange, None
        if exchange is None:
            return
        if self._parser.end() is not None:
            exchange.complete()
        elif self.answering:
            exchange.broken(Broken(502, "The answer of the server behind this one ended before it was complete."))
        else:
            detail = "The server behind this one closed the connection without an answer."
            exchange.broken(Broken(502, detail, untouched=self.reused))

    # What the transport tells

    def pauseProducing(self) -> None:
        if self.exchange is not None:
            self.exchange.pause_sending()

    def resumeProducing(self) -> None:
        self.mark = self.keeper.tick
        if self.exchange is not None:
            self.exchange.resume_sending()

    def stopProducing(self) -> None:
        """The connection has ended, and :meth:`connectionLost` tells so."""
