"""
What a store promises, whatever stands behind it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from twisted.internet.defer import Deferred
from zope.interface import Interface

#: How long a call may take, in seconds, unless the store is told otherwise.
DEADLINE = 2.0

#: The longest message that can be published, in bytes.
MAX_MESSAGE_BYTES = 65536


class StoreError(Exception):
    """A store could not do what it was asked for."""


class StoreUnavailable(StoreError):
    """The store is down, or did not answer in time; whether a change was made is not known."""


class StoreFull(StoreError):
    """There is no room; nothing was changed."""


class Conflict(Exception):
    """
    An entry is not the one that was to be replaced; nothing was changed.

    :ivar version: the version that is there; 0 when there is none.
    """

    def __init__(self, version: int) -> None:
        super().__init__(f"the entry has version {version}")
        self.version = version


class Entry(NamedTuple):
    """A value and its version, a positive number."""

    value: bytes
    version: int


class Decision(NamedTuple):
    """
    Whether a hit is within its limit.

    :ivar remaining: how many more hits would be allowed now.
    :ivar retry_after: seconds until this hit would be allowed; 0 when it is.
    """

    allowed: bool
    remaining: int
    retry_after: float


@dataclass(frozen=True)
class Status:
    """
    How a store is.

    :ivar state: ``up``, ``degraded`` (it answers, but slowly), ``down``, or ``refused`` (it can be reached, but will not do
        as it is).
    :ivar latency: seconds that it took to find out.
    :ivar entries: how many values it has.
    :ivar size: bytes that it takes up.
    :ivar detail: why it is down.
    """

    state: str
    latency: float = 0.0
    entries: int = 0
    size: int = 0
    detail: str = ""


class IStore(Interface):
    """
    Keeps bytes under keys of bytes.

    Every call returns a Deferred that fires within the store's deadline. Besides what a call says of itself it may fail
    with :class:`StoreUnavailable`.
    """

    def open() -> None:
        """Begin to use the store; each user does, and calls :meth:`close` when done."""

    def close() -> Deferred[None]:
        """
        End what :meth:`open` began. With its last user a store lets go of threads, files and what is in memory only.

        :returns: a Deferred that fires when that is done.
        """

    def seconds() -> float:
        """Now, in the seconds that times to live are counted in."""

    def get(key: bytes) -> Deferred[Entry | None]:
        """
        What is kept under a key.

        :returns: a Deferred with an :class:`Entry`, or ``None``.
        """

    def put(key: bytes, value: bytes, ttl: float | None = None, if_version: int | None = None) -> Deferred[int]:
        """
        Keep a value.

        :param ttl: seconds until it is forgotten; ``None`` for never.
        :param if_version: the version that it is to replace; 0 when there must be none yet; ``None`` for any.
        :returns: a Deferred with the new version, higher than every version that the key had before. It fails with
            :class:`Conflict`, or with :class:`StoreFull`.
        """

    def touch(key: bytes, ttl: float | None) -> Deferred[bool]:
        """
        Give a value another time to live; its version stays.

        :returns: a Deferred with whether there is such a value.
        """

    def delete(key: bytes) -> Deferred[bool]:
        """
        Forget a value, and the hits on its key.

        :returns: a Deferred with whether there was a value.
        """

    def scan(prefix: bytes, limit: int, after: bytes = b"") -> Deferred[list[bytes]]:
        """
        The keys that begin with a prefix, in order of their bytes.

        :param limit: how many at most.
        :param after: only keys behind this one.
        :returns: a Deferred with a list of keys.
        """

    def hit(key: bytes, burst: int, period: float, cost: int = 1) -> Deferred[Decision]:
        """
        Count a hit against a limit (GCRA). Hits and values of one key do not meet.

        :param burst: hits that are allowed at once; they come back evenly over ``period`` seconds.
        :param cost: hits that this one counts for, up to ``burst``; with 0 it only asks. One that is not allowed is
            not counted.
        :returns: a Deferred with a :class:`Decision`. It may fail with :class:`StoreFull`.
        """

    def publish(channel: bytes, data: bytes) -> Deferred[None]:
        """
        Tell all subscribers something, those in other processes too where the store is shared.

        :param data: at most :data:`MAX_MESSAGE_BYTES`. A message may be lost, so it is a hint, never the truth.
        :returns: a Deferred that fires when the message is on its way.
        """

    def subscribe(channel: bytes, callback: Callable[[bytes], object]) -> Deferred[Callable[[], None]]:
        """
        Have a function called with what is published.

        :returns: a Deferred with a function that ends the subscription. It fires when no later message is missed.
        """

    def status() -> Deferred[Status]:
        """
        How the store is.

        :returns: a Deferred with a :class:`Status`; it does not fail.
        """


def check_ttl(ttl: float | None) -> None:
    """
    A time to live must be positive.

    :raises ValueError: when it is not.
    """
    if ttl is not None and not ttl > 0:
        raise ValueError("ttl must be positive, or None")


def check_message(data: bytes) -> None:
    """
    A message must be short.

    :raises ValueError: when it is not.
    """
    if len(data) > MAX_MESSAGE_BYTES:
        raise ValueError(f"a message has at most {MAX_MESSAGE_BYTES} bytes")
