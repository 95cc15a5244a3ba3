"""
Who is told what is published.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

Callback = Callable[[bytes], object]


class Subscriptions:
    """The functions that are called for each channel."""

    _log = Logger()

    def __init__(self) -> None:
        self._callbacks: dict[bytes, dict[object, Callback]] = {}

    def __bool__(self) -> bool:
        return bool(self._callbacks)

    @property
    def channels(self) -> list[bytes]:
        """What somebody subscribes to."""
        return list(self._callbacks)

    def add(self, channel: bytes, callback: Callback) -> Callable[[], None]:
        """
        Call a function from now on.

        :returns: ends that; may be called again.
        """
        mark = object()
        self._callbacks.setdefault(channel, {})[mark] = callback

        def end() -> None:
            callbacks = self._callbacks.get(channel, {})
            callbacks.pop(mark, None)
            if not callbacks:
                self._callbacks.pop(channel, None)

        return end

    def deliver(self, channel: bytes, data: bytes) -> None:
        """Call the functions of a channel; one that fails does not keep the others from being called."""
        for callback in list(self._callbacks.get(channel, {}).values()):
            try:
                callback(data)
            except Exception:
                self._log.failure("a subscriber failed")
