"""
``wsgi.input`` while the body is still arriving.
"""

from __future__ import annotations

from collections.abc import Callable
from io import RawIOBase
from threading import Condition
from typing import Any

from mixweb.engine.request import Request

#: What may wait to be read, in bytes, before the client is made to wait.
HIGH_BYTES = 256 * 1024


class StreamedInput(RawIOBase):
    """
    The body of a request: filled in the reactor's thread, read in the application's, which waits for what has not come.

    :param hand_over: has work done in the reactor's thread.
    """

    def __init__(self, request: Request, hand_over: Callable[..., None]) -> None:
        self._request = request
        self._hand_over = hand_over
        self._waiting = bytearray()
        self._paused = False
        self._complete = False
        self._gone = False
        self._changed = Condition()

    # In the reactor's thread

    def begin(self) -> None:
        """Take the body from now on."""
        self._request.receive_body(self._take, self._end)

    def _take(self, data: bytes) -> None:
        with self._changed:
            self._waiting += data
            self._changed.notify()
            full = len(self._waiting) > HIGH_BYTES
            self._paused = self._paused or full
        if full:
            self._request.pause_body()

    def _end(self) -> None:
        with self._changed:
            self._complete = True
            self._changed.notify()

    def abandon(self) -> None:
        """No more will come: the client has left, or has been answered."""
        with self._changed:
            self._gone = True
            self._changed.notify()

    def _resume(self) -> None:
        if not self._gone:
            self._request.resume_body()

    # In the application's thread

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """
        Read what there is, at least a byte; nothing at the end.

        :raises OSError: when the client has left.
        """
        with self._changed:
            while not (self._waiting or self._complete or self._gone):
                self._changed.wait()
            if not self._waiting:
                if self._complete:
                    return 0
                raise OSError("the client has left before the end of the body")
            count = min(len(self._waiting), len(buffer))
            buffer[:count] = self._waiting[:count]
            del self._waiting[:count]
            resume = self._paused and len(self._waiting) <= HIGH_BYTES // 2
            self._paused = self._paused and not resume
        if resume:
            self._hand_over(self._resume)
        return count
