"""
The sqlite store: its file, its thread, and what goes wrong with them.
"""

import sqlite3
import stat

import pytest
from twisted.internet.defer import CancelledError

from mixweb.stores import Conflict, StoreFull, StoreUnavailable, sqlite
from mixweb.stores._database import Database
from mixweb.stores.sqlite import SWEEP_SECONDS


@pytest.fixture
def store(users):
    """A store in a file."""
    return users.sqlite(deadline=0.5)


@pytest.fixture
def path(tmp_path):
    """Its file."""
    return tmp_path / "store.db"


@pytest.fixture
def foreign(path):
    """Another program at the file."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=5)
    yield connection
    connection.close()


def test_restart(users, wait):
    """Values, versions, deadlines and hits are there again after the store was closed."""
    store = users.sqlite()
    version = wait(store.put(b"k", b"v", 10))
    wait(store.hit(b"k", 1, 10))
    users.close(store)
    again = users.sqlite()
    assert wait(again.get(b"k")) == (b"v", version)
    assert wait(again.hit(b"k", 1, 10)).allowed is False
    wait(again.delete(b"k"))
    users.close(again)
    third = users.sqlite()
    assert wait(third.put(b"k", b"v", None, 0)) > version
    users.loop.advance(10)
    assert wait(third.get(b"k")) is not None


def test_file(store, path, wait):
    """The file is for the process's user alone, and so is what stands beside it."""
    wait(store.put(b"k", b"v"))
    files = sorted(path.parent.iterdir())
    assert [file.name for file in files] == ["store.db", "store.db-shm", "store.db-wal"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_two_stores(users, wait):
    """Two stores on one file see each other's values at once, and only one of two writers wins."""
    first, second = users.sqlite(), users.sqlite()
    version = wait(first.put(b"k", b"1"))
    assert wait(second.get(b"k")) == (b"1", version)
    newer = wait(second.put(b"k", b"2", None, version))
    with pytest.raises(Conflict) as caught:
        wait(first.put(b"k", b"3", None, version))
    assert caught.value.version == newer
    assert wait(first.hit(b"k", 1, 10)).allowed is True
    assert wait(second.hit(b"k", 1, 10)).allowed is False


def test_messages_between_stores(users, loop, wait):
    """What one store publishes reaches the subscribers of another, from the moment they subscribed."""
    first, second = users.sqlite(), users.sqlite()
    wait(first.publish(b"c", b"before"))
    seen = []
    end = wait(second.subscribe(b"c", seen.append))
    for number in range(250):
        wait(first.publish(b"c", b"%d" % number))
    for _ in range(3):
        loop.advance(0.1)
        wait(second.get(b""))
    assert seen == [b"%d" % number for number in range(250)]
    end()
    wait(first.publish(b"c", b"unheard"))
    loop.advance(0.1)
    wait(second.get(b""))
    wait(second.subscribe(b"c", seen.append))
    wait(first.publish(b"c", b"heard"))
    loop.advance(0.1)
    wait(second.get(b""))
    assert seen[250:] == [b"heard"]


def test_sweep(store, foreign, loop, wait):
    """What is over is taken out of the file by and by, however much it is."""
    calls = [store.put(b"%d" % number, b"v", 5) for number in range(2500)]
    calls += [store.hit(b"%d" % number, 1, 5) for number in range(1500)]
    calls += [store.publish(b"c", b"m"), store.put(b"stays", b"v")]
    for call in calls:
        wait(call)

    def rows():
        return [
            foreign.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("entries", "hits", "messages")
        ]

    assert rows() == [2501, 1500, 1]
    loop.advance(SWEEP_SECONDS)
    for _ in range(4):
        wait(store.get(b""))
    assert rows() == [1, 0, 0]


def test_many_messages(users, foreign, loop, wait):
    """Only so many messages are kept, also when they are young."""
    store = users.sqlite()
    wait(store.get(b"k"))
    foreign.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10500)"
        " INSERT INTO messages (channel, data, sent) SELECT x'00', x'00', ? FROM n",
        (loop.seconds() + 1000,),
    )
    loop.advance(SWEEP_SECONDS)
    wait(store.get(b""))
    assert foreign.execute("SELECT count(*), max(id) FROM messages").fetchone() == (10000, 10500)


def test_deadline(store, foreign, loop, wait):
    """A call that another process keeps waiting fails at its deadline; those behind it that are late too are never made."""
    wait(store.put(b"k", b"1"))
    foreign.execute("BEGIN IMMEDIATE")
    waiting = [store.put(b"k", b"2"), store.put(b"l", b"2"), store.delete(b"k")]
    loop.advance(0.5)
    for call in waiting:
        with pytest.raises(StoreUnavailable, match=r"did not answer within 0\.5 seconds"):
            wait(call)
    foreign.execute("ROLLBACK")
    assert wait(store.get(b"k")).value in (b"1", b"2")
    assert wait(store.get(b"l")) is None
    assert wait(store.put(b"k", b"3"))


def test_status(store, foreign, loop, wait):
    """The status is degraded when it took long and down when it did not come."""
    wait(store.get(b"k"))
    assert wait(store.status()).state == "up"
    slow = store.status()
    loop.advance(0.2)
    assert wait(slow).state == "degraded"
    late = store.status()
    loop.advance(0.5)
    found = wait(late)
    assert (found.state, found.latency) == ("down", 0.5)
    assert "did not answer" in found.detail


def test_cancelled(store, foreign, wait):
    """A call that nobody waits for any more is not made."""
    wait(store.get(b"k"))
    foreign.execute("BEGIN IMMEDIATE")
    block = store.put(b"l", b"v")
    call = store.put(b"k", b"v")
    call.cancel()
    with pytest.raises(CancelledError):
        wait(call)
    foreign.execute("ROLLBACK")
    assert wait(block)
    assert wait(store.get(b"k")) is None


def test_too_many_calls(store, foreign, loop, wait, monkeypatch):
    """Only so many calls wait in line; more of them fail at once, those in line do not."""
    monkeypatch.setattr(sqlite, "MAX_WAITING", 100)
    wait(store.get(b"k"))
    foreign.execute("BEGIN IMMEDIATE")
    calls = [store.put(b"k", b"v") for _ in range(100 + 2 * 64)]
    refused = [call for call in calls if call.called]
    assert refused
    for call in refused:
        with pytest.raises(StoreUnavailable, match="too many"):
            wait(call)
    foreign.execute("ROLLBACK")
    for call in calls:
        if call not in refused:
            assert wait(call)


def test_closed(users, wait):
    """A store that is not open fails, also with what it was asked for meanwhile; what came before is done."""
    store = users.sqlite()
    call = store.put(b"k", b"v")
    users.close(store)
    assert wait(call)
    with pytest.raises(StoreUnavailable, match="is not open"):
        wait(store.get(b"k"))
    assert wait(store.status()).state == "down"
    assert wait(users.use(store).get(b"k")).value == b"v"


def test_full(users, loop, wait):
    """A file has a limited size; when it is reached a put is refused, and there is room again after a delete."""
    store = users.sqlite(max_bytes=200_000)
    wait(store.put(b"big", b"x" * 100_000))
    with pytest.raises(StoreFull):
        wait(store.put(b"more", b"x" * 100_000))
    assert wait(store.get(b"more")) is None
    assert len(wait(store.get(b"big")).value) == 100_000
    wait(store.delete(b"big"))
    assert wait(store.put(b"more", b"x" * 100_000))


@pytest.mark.parametrize("content", [b"not a database at all " * 100, b"other"])
def test_wrong_file(users, path, wait, content):
    """A file that is something else is left alone; once it is out of the way the store works, without a restart."""
    if content == b"other":
        with sqlite3.connect(path) as other:
            other.execute("CREATE TABLE mine (a)")
        other.close()
    else:
        path.write_bytes(content)
    before = path.read_bytes()
    store = users.sqlite()
    for call in (lambda: store.get(b"k"), lambda: store.put(b"k", b"v"), lambda: store.hit(b"k", 1, 1)):
        with pytest.raises(StoreUnavailable, match=r"store\.db"):
            wait(call())
    assert path.read_bytes() == before
    path.unlink()
    assert wait(store.put(b"k", b"v"))
    assert wait(store.get(b"k")).value == b"v"


def test_no_folder(users, tmp_path, wait):
    """A folder that is missing makes calls fail until it is there."""
    store = users.sqlite("folder/store.db")
    with pytest.raises(StoreUnavailable, match="No such file or directory"):
        wait(store.get(b"k"))
    (tmp_path / "folder").mkdir()
    assert wait(store.put(b"k", b"v"))


def test_newer_layout(store, path, users, foreign, wait):
    """A file of a newer version is left alone."""
    wait(store.put(b"k", b"v"))
    users.close(store)
    foreign.execute("PRAGMA user_version = 2")
    with pytest.raises(StoreUnavailable, match="was not made by this version"):
        wait(users.use(store).get(b"k"))


def test_made_at_once(users, wait):
    """Several stores may make the same file at the same time."""
    stores = [users.sqlite() for _ in range(8)]
    calls = [store.put(b"k", b"v", None, 0) for store in stores]
    outcomes = [wait(call.addErrback(lambda reason: reason.value)) for call in calls]
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Conflict"] * 7 + ["int"]


def test_broken_later(store, path, wait, loop):
    """When the file breaks while it is open, calls fail, and work again with the next file."""
    wait(store.put(b"k", b"v"))

    def broken(database: Database):
        raise sqlite3.DatabaseError("disk image is malformed")

    def call(database: Database):
        with database.connected() as connection:
            broken(connection)

    with pytest.raises(StoreUnavailable, match="malformed"):
        wait(store._call(call))
    path.unlink()
    for name in ("store.db-wal", "store.db-shm"):
        path.with_name(name).unlink(missing_ok=True)
    assert wait(store.get(b"k")) is None
    assert wait(store.put(b"k", b"v"))
