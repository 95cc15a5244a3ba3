"""
What every store owes.
"""

import pytest
from zope.interface.verify import verifyObject

from mixweb.stores import Conflict, Decision, Entry, IStore
from mixweb.stores.interface import MAX_MESSAGE_BYTES
from tests.stores.conftest import TOLERANCE

NASTY = [b"", b"\0", b"\xff", b"\xff\xff", b"a%b", b"'; DROP TABLE entries; --", "é".encode(), b"x" * 5000]


def test_interface(store):
    """A store has all that the interface names."""
    assert verifyObject(IStore, store)


@pytest.mark.parametrize("value", [*NASTY, b"x" * 3_000_000], ids=lambda value: repr(value[:9]))
@pytest.mark.parametrize("key", NASTY, ids=lambda key: repr(key[:9]))
def test_bytes(store, wait, key, value):
    """Any bytes are kept under any bytes, as they were."""
    version = wait(store.put(key, value))
    assert version > 0
    assert wait(store.get(key)) == Entry(value, version)
    assert wait(store.get(key + b"x")) is None
    assert wait(store.delete(key)) is True
    assert wait(store.get(key)) is None
    assert wait(store.delete(key)) is False


def test_versions(store, wait):
    """Each put gives a key a higher version, also after the key was forgotten."""
    first = wait(store.put(b"k", b"1"))
    second = wait(store.put(b"k", b"1"))
    wait(store.delete(b"k"))
    third = wait(store.put(b"k", b"1"))
    assert 0 < first < second < third


@pytest.mark.parametrize("had", [False, True])
@pytest.mark.parametrize(
    ("if_version", "on_none", "on_some"),
    [
        (None, True, True),
        (0, True, False),
        ("current", True, True),
        ("before", False, False),
        (10**9, False, False),
    ],
)
def test_compare_and_set(store, wait, if_version, on_none, on_some, had):
    """A put that names a version replaces that one only, and 0 means that there is none; a refused one changes nothing."""
    before = wait(store.put(b"k", b"0"))
    current = wait(store.put(b"k", b"1"))
    if not had:
        wait(store.delete(b"k"))
        current = 0
    wanted = {"current": current, "before": before}.get(if_version, if_version)
    allowed = on_some if had else on_none
    if allowed:
        version = wait(store.put(b"k", b"2", None, wanted))
        assert version > current
        assert wait(store.get(b"k")) == Entry(b"2", version)
    else:
        with pytest.raises(Conflict) as caught:
            wait(store.put(b"k", b"2", None, wanted))
        assert caught.value.version == current
        assert wait(store.get(b"k")) == (Entry(b"1", current) if had else None)


def test_time_to_live(store, loop, wait):
    """A value is there until its time is over, and from then on as if it had never been."""
    version = wait(store.put(b"k", b"v", 10))
    wait(store.put(b"other", b"v"))
    loop.advance(9.75)
    assert wait(store.get(b"k")) == Entry(b"v", version)
    loop.advance(0.25)
    assert wait(store.get(b"k")) is None
    assert wait(store.scan(b"", 9)) == [b"other"]
    assert wait(store.touch(b"k", 10)) is False
    assert wait(store.delete(b"k")) is False
    assert wait(store.put(b"k", b"new", 10, if_version=0)) > version


def test_put_replaces_time_to_live(store, loop, wait):
    """A put sets the time to live anew: longer, shorter or none."""
    for key, ttl in ((b"longer", 20), (b"shorter", 5), (b"none", None)):
        wait(store.put(key, b"1", 10))
        wait(store.put(key, b"2", ttl))
    loop.advance(5)
    assert wait(store.scan(b"", 9)) == [b"longer", b"none"]
    loop.advance(10)
    assert wait(store.scan(b"", 9)) == [b"longer", b"none"]
    loop.advance(5)
    assert wait(store.scan(b"", 9)) == [b"none"]


def test_touch(store, loop, wait):
    """Touching gives another time to live and leaves value and version."""
    versions = {key: wait(store.put(key, key, 10)) for key in (b"longer", b"shorter", b"none")}
    assert wait(store.touch(b"longer", 20)) is True
    assert wait(store.touch(b"shorter", 5)) is True
    assert wait(store.touch(b"none", None)) is True
    assert wait(store.touch(b"missing", 5)) is False
    loop.advance(5)
    assert wait(store.get(b"shorter")) is None
    loop.advance(14)
    assert wait(store.get(b"longer")) == Entry(b"longer", versions[b"longer"])
    loop.advance(1)
    assert wait(store.get(b"longer")) is None
    loop.advance(10**6)
    assert wait(store.get(b"none")) == Entry(b"none", versions[b"none"])


@pytest.mark.parametrize("ttl", [0, -1, float("nan")])
def test_wrong_time_to_live(store, wait, ttl):
    """A time to live that is not positive is refused."""
    for call in (lambda: store.put(b"k", b"v", ttl), lambda: store.touch(b"k", ttl)):
        with pytest.raises(ValueError, match="ttl must be positive"):
            wait(call())
    assert wait(store.get(b"k")) is None


KEYS = [b"", b"a", b"a/", b"a/1", b"a/1/x", b"a/2", b"a0", b"b", b"\xfe\xff", b"\xff", b"\xff\xff", b"\xff\xff\x00"]


@pytest.mark.parametrize("limit", [1, 2, 100])
@pytest.mark.parametrize("after", [b"", b"a/1", b"a/10", b"\xff"])
@pytest.mark.parametrize("prefix", [b"", b"a", b"a/", b"a/1", b"c", b"\xfe", b"\xff", b"\xff\xff"])
def test_scan(store, wait, prefix, after, limit):
    """A scan has the keys with the prefix in order, at most so many, behind the one that is named."""
    for key in reversed(KEYS):
        wait(store.put(key, b"v"))
    expected = sorted(key for key in KEYS if key.startswith(prefix) and (not after or key > after))
    assert wait(store.scan(prefix, limit, after)) == expected[:limit]


def test_hits(store, loop, wait):
    """So many hits are allowed at once; they come back one after the other, all of them after the period."""
    decisions = [wait(store.hit(b"k", 3, 30)) for _ in range(4)]
    assert decisions[:3] == [Decision(True, 2, 0), Decision(True, 1, 0), Decision(True, 0, 0)]
    assert decisions[3] == pytest.approx(Decision(False, 0, 10), abs=TOLERANCE)
    loop.advance(9)
    assert wait(store.hit(b"k", 3, 30)) == pytest.approx(Decision(False, 0, 1), abs=TOLERANCE)
    loop.advance(1)
    assert wait(store.hit(b"k", 3, 30)) == Decision(True, 0, 0)
    assert wait(store.hit(b"k", 3, 30)).allowed is False
    loop.advance(30)
    assert wait(store.hit(b"k", 3, 30, cost=0)) == Decision(True, 3, 0)
    assert wait(store.hit(b"k", 3, 30, cost=3)) == Decision(True, 0, 0)
    assert wait(store.hit(b"other", 3, 30)) == Decision(True, 2, 0)


def test_hits_and_values(store, wait):
    """Hits and values of one key do not meet, but both are forgotten with it."""
    version = wait(store.put(b"k", b"v"))
    assert wait(store.hit(b"k", 1, 10)).allowed is True
    assert wait(store.hit(b"k", 1, 10)).allowed is False
    assert wait(store.get(b"k")) == Entry(b"v", version)
    assert wait(store.scan(b"", 9)) == [b"k"]
    assert wait(store.delete(b"k")) is True
    assert wait(store.hit(b"k", 1, 10)).allowed is True
    assert wait(store.delete(b"k")) is False


@pytest.mark.parametrize("arguments", [(0, 1), (1, 0), (1, -1), (1, 1, 2), (1, 1, -1)])
def test_wrong_limits(store, wait, arguments):
    """A limit that allows nothing ever is refused."""
    with pytest.raises(ValueError, match="burst"):
        wait(store.hit(b"k", *arguments))


def until(loop, store, condition):
    """Let time pass until something is so; a store that works in a thread is asked something each time."""
    for _ in range(10):
        if condition():
            return
        loop.advance(0.1)
        loop.wait(store.get(b""))
    raise AssertionError("it did not come to that")


def test_messages(store, loop, wait, failures):
    """What is published reaches all subscribers of the channel, in order; one that fails does not disturb the others."""
    first, second, other = [], [], []

    def wrong(data):
        raise KeyError(data)

    wait(store.subscribe(b"c", wrong))
    end = wait(store.subscribe(b"c", first.append))
    wait(store.subscribe(b"c", second.append))
    wait(store.subscribe(b"d", other.append))
    for data in (b"1", b"\0\xff", b""):
        assert wait(store.publish(b"c", data)) is None
        until(loop, store, lambda data=data: data in second)
    end()
    end()
    wait(store.publish(b"c", b"more"))
    wait(store.publish(b"d", b"other"))
    until(loop, store, lambda: other)
    assert first == [b"1", b"\0\xff", b""]
    assert second == [*first, b"more"]
    assert other == [b"other"]
    assert len(failures) == 4


def test_long_message(store, wait):
    """A message has a limited length."""
    assert wait(store.publish(b"c", b"x" * MAX_MESSAGE_BYTES)) is None
    with pytest.raises(ValueError, match="at most"):
        wait(store.publish(b"c", b"x" * (MAX_MESSAGE_BYTES + 1)))


def test_status(store, loop, wait):
    """The status tells how much there is."""
    wait(store.put(b"a", b"x" * 10000))
    wait(store.put(b"b", b"x", 1))
    loop.advance(1)
    found = wait(store.status())
    assert (found.state, found.entries, found.detail) == ("up", 1, "")
    assert found.size > 10000


def test_users(store, users, wait):
    """A store is open until its last user closes it, and can be opened again."""
    wait(store.put(b"k", b"v"))
    users.use(store)
    users.close(store)
    assert wait(store.get(b"k")).value == b"v"
    users.close(store)
    users.use(store)
    wait(store.put(b"l", b"w"))
    assert wait(store.get(b"l")).value == b"w"
