"""
How often one may fail.
"""

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from mixweb.features.auth._lockout import Locked, Lockout, unlock
from mixweb.stores import open_store


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(clock):
    """A store in memory."""
    found = open_store("memory:", clock)
    found.open()
    return found


def result(coroutine):
    """What a coroutine comes to at once."""
    seen = []
    Deferred.fromCoroutine(coroutine).addBoth(seen.append)
    (value,) = seen
    if hasattr(value, "raiseException"):
        value.raiseException()
    return value


async def attempt(lockout, name, address, good=False):
    """Seconds to wait, after a try; 0 when there was one."""
    try:
        async with lockout.attempt(name, address) as one:
            await (one.succeeded() if good else one.failed())
    except Locked as reason:
        return reason.seconds
    return 0


def tries(lockout, count, name="alice", address="192.0.2.1", good=False):
    return [result(attempt(lockout, name, address, good)) for _ in range(count)]


def test_the_first_ones_are_free(store):
    """Five failures are free; the next try has to wait, and says how long."""
    found = tries(Lockout(store, 5), 8)
    assert found[:5] == [0] * 5
    assert all(11 < seconds <= 12 for seconds in found[5:])


def test_one_waits_longer_and_longer(store, clock):
    """Who goes on failing waits longer each time there is a try."""
    lockout = Lockout(store, 5)
    waits = []
    while len(waits) < 40:
        (seconds,) = tries(lockout, 1)
        if seconds:
            waits.append(seconds)
            clock.advance(seconds)
    assert waits[0] < 15
    assert max(waits[10:20]) > 60
    assert max(waits[30:]) > 1000


def test_what_is_refused_is_not_counted(store, clock):
    """Trying while locked makes it no worse."""
    lockout = Lockout(store, 5)
    tries(lockout, 100)
    clock.advance(12.01)
    assert tries(lockout, 1) == [0]


@pytest.mark.parametrize(
    ("names", "addresses"),
    [
        (["alice"], ["192.0.2.1"]),
        ([f"user{number}" for number in range(40)], ["192.0.2.1"]),
        (["alice"], [f"192.0.2.{number}" for number in range(40)]),
        (["alice"], [f"2001:db8::{number:x}" for number in range(40)]),
    ],
)
def test_locked_by_thirty(store, names, addresses):
    """One name, many names from one address, and one name from many: by thirty failures there is a wait."""
    lockout = Lockout(store, 5)
    waits = [
        result(attempt(lockout, names[number % len(names)], addresses[number % len(addresses)])) for number in range(40)
    ]
    assert waits[:5] == [0] * 5
    assert all(waits[29:])


def test_others_are_not_locked(store):
    """Somebody else at the same address may try, and the same user at another one."""
    lockout = Lockout(store, 5)
    tries(lockout, 6)
    assert tries(lockout, 1, name="bob") == [0]
    assert tries(lockout, 1, address="192.0.2.2") == [0]


def test_success_forgets_own_failures(store):
    """Who gets in has all tries again; an address that fails with others' names keeps its count."""
    lockout = Lockout(store, 5)
    for number in range(24):
        tries(lockout, 1, name=f"user{number}")
        tries(lockout, 1, name="mine", good=True)
    assert tries(lockout, 1, name="next") == [0]
    assert all(tries(lockout, 1, name="last"))
    other = Lockout(store, 5)
    assert tries(other, 4, address="192.0.2.9") + tries(other, 1, address="192.0.2.9", good=True) == [0] * 5
    assert tries(other, 5, address="192.0.2.9") == [0] * 5


def test_tries_at_the_same_time(store):
    """Nobody gets more tries by having them all at once."""
    lockout = Lockout(store, 5)
    waiting, refused = [], []

    async def slow():
        try:
            async with lockout.attempt("alice", "192.0.2.1") as one:
                waiting.append(Deferred())
                await waiting[-1]
                await one.failed()
        except Locked as reason:
            refused.append(reason.seconds)

    running = [Deferred.fromCoroutine(slow()) for _ in range(30)]
    assert len(waiting) == 5
    assert refused == [1.0] * 25
    for one in waiting:
        one.callback(None)
    assert all(one.called for one in running)
    assert tries(lockout, 1)[0] > 11


def test_unlocked(store):
    """A user who was unlocked has all tries again, from every address."""
    lockout = Lockout(store, 5)
    for number in range(40):
        tries(lockout, 1, address=f"192.0.2.{number % 8}")
    assert all(tries(lockout, 1, address="198.51.100.1"))
    result(unlock(store, "alice", 5))
    assert tries(lockout, 5, address="198.51.100.1") == [0] * 5
    assert tries(lockout, 5, address="192.0.2.1") == [0] * 5


def test_off(store):
    """With no attempts to count, nobody is locked."""
    assert not any(tries(Lockout(store, 0), 100))
