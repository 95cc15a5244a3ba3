"""
The generic cell rate algorithm: a limit in one number, the time at which all hits so far will have been worked off.
"""

from __future__ import annotations

from mixweb.stores.interface import Decision

#: The part of a hit that does not count, so that what rounding adds up to does not cost a whole one.
ROUNDING = 1e-3


def check_limit(burst: int, period: float, cost: int) -> None:
    """
    A limit must allow a hit of this cost some time.

    :raises ValueError: when it never does.
    """
    if not (burst >= 1 and period > 0 and 0 <= cost <= burst):
        raise ValueError("burst must be at least 1, period positive and cost from 0 to burst")


def decide(stored: float | None, now: float, burst: int, period: float, cost: int) -> tuple[Decision, float | None]:
    """
    Whether a hit is allowed.

    :param stored: the number that was kept, if any; one further ahead than a full limit counts as a full limit.
    :returns: the decision, and the number to keep from now on; ``None`` when the hit is not counted.
    :raises ValueError: when no such hit could ever be allowed.
    """
    check_limit(burst, period, cost)
    each = period / burst
    ahead = min(max((stored or 0) - now, 0.0), period)
    after = ahead + cost * each
    if after - period > each * ROUNDING:
        return Decision(False, int((period - ahead) / each + ROUNDING), after - period), None
    return Decision(True, max(int((period - after) / each + ROUNDING), 0), 0.0), (now + after if cost else None)
