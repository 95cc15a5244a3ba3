"""
How long a client may take.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Seconds between two looks at a connection.
CHECK_INTERVAL = 1.0


@dataclass(frozen=True, slots=True)
class Timeouts:
    """
    How long a client may take, in seconds. How long it may be idle is the site's ``timeOut``.

    :ivar head: from the first byte of a request to the end of its head; then it is answered with 408.
    :ivar body: the time over which the rate of a body is measured, again and again.
    :ivar body_rate: bytes per second below which a body is answered with 408.
    :ivar send: for which a client may take nothing of an answer.
    :ivar half_closed: for which the answer to a client that sends no more may be silent. Such a client may have left.
    :ivar linger: after a refusal, for the client to notice it.
    """

    head: float = 30
    body: float = 14
    body_rate: float = 256
    send: float = 60
    half_closed: float = 5
    linger: float = 15


DEFAULT_TIMEOUTS = Timeouts()
