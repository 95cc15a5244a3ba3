"""
Two applications of WebSockets: one that repeats what it is told, one that tells everybody.
"""

from __future__ import annotations

from typing import Any

from twisted.python.failure import Failure
from twisted.web.websocket import WebSocketTransport

from mixweb.engine.request import Request


class Echo:
    """Sends each message back."""

    transport: WebSocketTransport

    def negotiationStarted(self, transport: WebSocketTransport) -> None:
        self.transport = transport

    def negotiationFinished(self) -> None:
        pass

    def textMessageReceived(self, message: str) -> None:
        self.transport.sendTextMessage(message)

    def bytesMessageReceived(self, data: bytes | bytearray) -> None:
        self.transport.sendBytesMessage(bytes(data))

    def pongReceived(self, payload: bytes) -> None:
        pass

    def connectionLost(self, reason: Failure) -> None:
        pass


class EchoFactory:
    """Makes an :class:`Echo` for each WebSocket."""

    def buildProtocol(self, request: Request) -> Echo:
        return Echo()


class Member(Echo):
    """Sends each message to all members of a room."""

    def __init__(self, room: set[Member]) -> None:
        self.room = room

    def negotiationFinished(self) -> None:
        self.room.add(self)

    def textMessageReceived(self, message: str) -> None:
        for member in list(self.room):
            member.transport.sendTextMessage(message)

    def bytesMessageReceived(self, data: bytes | bytearray) -> None:
        for member in list(self.room):
            member.transport.sendBytesMessage(bytes(data))

    def connectionLost(self, reason: Failure) -> None:
        self.room.discard(self)


class BroadcastFactory:
    """One room for all."""

    def __init__(self) -> None:
        self.room: set[Member] = set()

    def buildProtocol(self, request: Request) -> Member:
        return Member(self.room)


EXAMPLES: dict[str, Any] = {"echo": EchoFactory, "broadcast": BroadcastFactory}
