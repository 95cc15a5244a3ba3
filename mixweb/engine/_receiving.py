"""
A request as far as its body is received.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any, BinaryIO

from mixweb.engine._answering import AnsweringRequest
from mixweb.engine._incoming import IncomingBody, too_long
from mixweb.engine._lazy import Lazy


class ReceivingRequest(AnsweringRequest):
    """
    What of a request has to do with its body.

    :ivar content: the body, once it is complete; what is received in another way is not in it.
    :ivar body_complete: whether all of the body is in ``content``. It is not when a wrapper is asked that stands in front
        of the resource, nor when an :class:`mixweb.engine.body.IBodyReceiver` is.
    """

    body_complete = True
    content = Lazy[BinaryIO](lambda self: BytesIO())

    _body: IncomingBody | None = None
    _body_limit: int | None = None
    _received_bytes = 0

    # What the channel tells

    def gotLength(self, length: int | None) -> None:
        """
        The header section is complete.

        :param length: of the body in bytes; ``None`` when it is not known.
        """
        if length == 0:
            return
        self.body_complete = False
        self._body = IncomingBody(length)
        if not hasattr(self.channel, "resume_body") and length and length > self.max_body_bytes:
            self.refuse(413, too_long(self.max_body_bytes, length))

    def bodyReceived(self, body: bytes) -> None:
        """All of the body has come with the head, in the place of ``gotLength`` and ``handleContentChunk``."""
        self._received_bytes = len(body)
        self.content = BytesIO(body)
        if self.witness is not None:
            self.witness.received(body)

    def handleContentChunk(self, data: bytes) -> None:
        """Take a piece of the body; the request is refused once the pieces pass the limit."""
        if self.finished or self._disconnected:
            return
        body = self._body
        if body is None:
            # Over HTTP/2 of Twisted's a body may follow a head that has not announced it.
            body = self._body = IncomingBody(None)
            self.body_complete = False
        self._received_bytes += len(data)
        if self.witness is not None:
            self.witness.received(data)
        if self._received_bytes > self.max_body_bytes:
            self.refuse(413, too_long(self.max_body_bytes))
        else:
            body.take(self, data)

    # Who wants it

    @property
    def max_body_bytes(self) -> int:
        """The longest body that is accepted: that of the site, unless something else was set."""
        return self.channel.site.max_body_bytes if self._body_limit is None else self._body_limit

    @max_body_bytes.setter
    def max_body_bytes(self, limit: int) -> None:
        self._body_limit = limit
        body = self._find_body()
        if body is not None:
            body.limit_changed(self)

    def _find_body(self) -> IncomingBody | None:
        if self._body is None and self._received_bytes:
            self._body = IncomingBody(self._received_bytes)
            self._body.arrived = True
        return self._body

    def when_body(self, callback: Callable[[Any], None]) -> None:
        """
        Have ``callback`` called with this request when all of the body is in ``content``: at once, when it is.

        :raises HTTPError: 413 when the body is too long.
        :raises RuntimeError: somebody receives it.
        """
        if self.is_over:
            return
        if self._body is None:
            callback(self)
        else:
            self._body.keep(self, callback)

    def receive_body(self, data: Callable[[bytes], None], complete: Callable[[], None]) -> None:
        """
        Take the body while it arrives, in the place of ``content``.

        Neither is called any more when the request is answered before the end, also because the body is too long or too
        slow, or the client has left: ``notifyFinish`` tells. They may be called before this method returns.

        :param data: called with each piece.
        :param complete: called at the end; at once when there is no body.
        :raises HTTPError: 413 when the body is too long.
        :raises RuntimeError: somebody receives it already.
        """
        if self.is_over:
            return
        body = self._find_body()
        if body is None:
            complete()
        else:
            body.hand_on(self, data, complete)

    def pause_body(self) -> None:
        """Have ``data`` not called for now; the client is slowed down."""
        if self._body is not None and not self.is_over:
            self._body.pause(self)

    def resume_body(self) -> None:
        """Go on after :meth:`pause_body`."""
        if self._body is not None and not self.is_over:
            self._body.resume(self)
