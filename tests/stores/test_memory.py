"""
The memory store: what it takes up.
"""

import pytest

from mixweb.stores import StoreFull
from mixweb.stores.memory import ITEM_BYTES


@pytest.fixture
def store(users):
    """A store of a thousand bytes beside the overhead of ten items."""
    return users.memory(max_bytes=1000 + 10 * ITEM_BYTES)


def size(store, wait):
    return wait(store.status()).size


def test_full(store, wait):
    """A value for which there is no room is refused and changes nothing; one that is smaller than before is not."""
    for number in range(9):
        wait(store.put(b"%d" % number, b"x" * 109))
    with pytest.raises(StoreFull):
        wait(store.put(b"a", b"x" * 110))
    with pytest.raises(StoreFull):
        wait(store.put(b"0", b"x" * (110 + ITEM_BYTES + 10)))
    assert wait(store.get(b"0")).value == b"x" * 109
    assert wait(store.get(b"a")) is None
    wait(store.put(b"a", b"x" * 9))
    with pytest.raises(StoreFull):
        wait(store.hit(b"b", 1, 10))
    assert wait(store.put(b"0", b"y" * 109))
    wait(store.delete(b"1"))
    assert wait(store.hit(b"b", 1, 10)).allowed is True
    with pytest.raises(StoreFull):
        wait(store.put(b"1", b"x"))


def test_time_makes_room(store, loop, wait):
    """What is over takes up no room, however much of it there is, and is cleared away by other calls."""
    for round in range(3):
        for number in range(10):
            wait(store.put(b"%d-%d" % (round, number), b"x" * 90, 5))
        with pytest.raises(StoreFull):
            wait(store.put(b"more", b"x" * 90, 5))
        loop.advance(5)
    assert size(store, wait) == 0


def test_more_than_some(users, loop, wait):
    """Where very much is over at once, a call that needs the room finds it."""
    store = users.memory(max_bytes=1000 * (ITEM_BYTES + 10))
    for number in range(1000):
        wait(store.put(b"%4d" % number, b"x" * 6, 5))
        wait(store.touch(b"%4d" % number, 4))
    loop.advance(4)
    assert wait(store.put(b"k", b"x" * 900 * ITEM_BYTES))


@pytest.mark.parametrize("hits", [False, True])
def test_nothing_piles_up(users, loop, wait, hits):
    """Values that come, change and go leave nothing behind, though their time was long."""
    store = users.memory()
    table = store._hits if hits else store._values
    for number in range(3000):
        key = b"%d" % number
        if hits:
            wait(store.hit(key, 1, 10**6))
        else:
            wait(store.put(key, b"v", 10**6))
            wait(store.put(key, b"v", 10**5))
            wait(store.touch(key, 10**4))
            wait(store.touch(key, 10**7))
        wait(store.delete(key))
    assert len(table._heap) < 100
    assert size(store, wait) == 0


def test_one_key_changes(users, wait):
    """One key that gets another deadline again and again is queued a few times only."""
    store = users.memory()
    for number in range(3000):
        wait(store.put(b"k", b"v", 10_000 - number))
    assert len(store._values._heap) < 100


def test_nothing_is_left(users, wait):
    """What is in memory is gone when the last user has closed the store."""
    store = users.memory()
    wait(store.put(b"k", b"v"))
    users.close(store)
    assert wait(store.get(b"k")) is None
    users.use(store)
    assert wait(store.get(b"k")) is None
