"""
The generic cell rate algorithm.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixweb.stores import Decision
from mixweb.stores._gcra import decide


@pytest.mark.parametrize(
    ("stored", "cost", "decision", "kept"),
    [
        (None, 1, Decision(True, 4, 0), 1002),
        (None, 5, Decision(True, 0, 0), 1010),
        (None, 0, Decision(True, 5, 0), None),
        (900, 1, Decision(True, 4, 0), 1002),
        (1004, 1, Decision(True, 2, 0), 1006),
        (1004, 0, Decision(True, 3, 0), None),
        (1008, 1, Decision(True, 0, 0), 1010),
        (1009, 1, Decision(False, 0, 1), None),
        (1006, 3, Decision(False, 2, 2), None),
        (1010, 5, Decision(False, 0, 10), None),
        (1010, 0, Decision(True, 0, 0), None),
        (9999, 1, Decision(False, 0, 2), None),
    ],
)
def test_decide(stored, cost, decision, kept):
    """Five hits in ten seconds, at second 1000; a clock that was set back shuts nobody out for longer than the period."""
    assert decide(stored, 1000, 5, 10, cost) == (decision, kept)


@given(
    st.integers(1, 1000),
    st.floats(1, 1e6),
    st.lists(st.floats(0, 1e4), min_size=1, max_size=50),
)
def test_never_more(burst, period, pauses):
    """In no period are there more than twice the burst, and a hit that has waited as it was told is allowed."""
    now, kept, taken = 1e9, None, []
    for pause in pauses:
        now += pause
        decision, until = decide(kept, now, burst, period, 1)
        if not decision.allowed:
            assert 0 < decision.retry_after <= period
            now += decision.retry_after + 1e-6
            decision, until = decide(kept, now, burst, period, 1)
            assert decision.allowed
        kept = until
        taken.append(now)
    assert sum(1 for when in taken if when > now - period) <= 2 * burst


@given(st.integers(1, 50), st.floats(1, 1e7), st.floats(0, 2e9))
def test_whole_burst(burst, period, now):
    """Rounding takes no hit away from a burst and adds none to it."""
    kept = None
    for left in reversed(range(burst)):
        decision, kept = decide(kept, now, burst, period, 1)
        assert decision == Decision(True, left, 0)
    assert decide(kept, now, burst, period, 1)[0].allowed is False
    decision, kept = decide(None, now, burst, period, burst)
    assert decision == Decision(True, 0, 0)
    assert decide(kept, now, burst, period, 1)[0].allowed is False
