"""
Rates of requests.
"""

import pytest
from twisted.internet.task import Clock

from mixweb.kit.rates import count, parse_rate, parse_rates
from mixweb.stores import open_store
from tests.features.auth.test_lockout import result


@pytest.mark.parametrize(
    ("text", "number", "period"),
    [
        ("100/minute", 100, 60),
        ("20/s", 20, 1),
        ("5000 per hour", 5000, 3600),
        ("30/10s", 30, 10),
        ("1 / day", 1, 86400),
        ("10/2 Minutes", 10, 120),
    ],
)
def test_how_a_rate_is_written(text, number, period):
    """A rate is a number and a time."""
    found = parse_rate(text)
    assert (found.count, found.period) == (number, period)
    assert found.policy == f'"{text}";q={number};w={period}'


@pytest.mark.parametrize(
    "text", ["", "100", "/minute", "0/s", "-1/s", "1/0s", "1/fortnight", "1.5/s", "1/s 2/s", '1/s"']
)
def test_what_is_no_rate(text):
    """Anything else is refused."""
    with pytest.raises(ValueError, match="is not a rate"):
        parse_rate(text)


def test_several_rates():
    """Of several rates each holds; what the shorter one refuses does not count for the longer one."""
    clock = Clock()
    store = open_store("memory:", clock)
    store.open()
    rates = parse_rates(["5/hour", "2/second"])
    assert [rate.text for rate in rates] == ["2/second", "5/hour"]

    def go(number):
        found = [result(count(store, "alice", rates)) for _ in range(number)]
        return [one.decision.allowed for one in found], found[-1].rate.text

    assert go(3) == ([True, True, False], "2/second")
    clock.advance(1)
    assert go(2) == ([True, True], "2/second")
    clock.advance(1)
    assert go(2) == ([True, False], "5/hour")
    assert result(count(store, "bob", rates)).decision.allowed
