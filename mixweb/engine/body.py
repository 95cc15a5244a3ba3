"""
The bodies of requests while they arrive.

A request with a body is processed when its head is complete. Wrappers run then, so that a body that nobody wants is not even
sent: a client that asked for it is told to continue when the body is first wanted. A resource that is an
:class:`IBodyReceiver` is rendered then, too; every other one when the whole body is in ``request.content``.
"""

from __future__ import annotations

from typing import Protocol

from zope.interface import Interface


class IBodyReceiver(Interface):
    """
    A resource that is rendered as soon as the head of a request is there.

    It takes the body with ``request.receive_body``, waits for it with ``request.when_body``, or answers without it.
    """


class BodyChannel(Protocol):
    """
    What a channel does that has its requests take their bodies while they arrive.

    It calls ``begin``, ``gotLength`` and ``headReceived`` of the request, after :meth:`resume_body` was called
    ``handleContentChunk`` for each piece, and ``requestReceived`` at the end. A channel without these two methods never
    calls ``headReceived``.
    """

    def pause_body(self) -> None:
        """Give the request no more of its body, and have the client stop sending soon."""

    def resume_body(self) -> None:
        """Give the request its body, or go on with it; the first time have a client that waits for it told to continue."""
