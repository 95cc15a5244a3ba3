"""
Where users are kept.
"""

import os

import bcrypt
import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from mixweb.features.auth import _hashes as hashes
from mixweb.features.auth._cred import CheckerUsers, checker_of
from mixweb.features.auth._files import User
from mixweb.features.auth._fileusers import FileUsers
from mixweb.features.auth._pool import Busy, WorkPool
from mixweb.features.auth._storeusers import StoreUsers
from mixweb.features.auth._users import Anybody, Changed, Nobody, ReadOnly, Taken, wait
from mixweb.stores import open_store
from tests.features.auth.test_lockout import result

ALICE = "Wonder-land1"
CHEAP = bcrypt.hashpw(ALICE.encode(), bcrypt.gensalt(4)).decode()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def pool(clock):
    return WorkPool(clock, 1, 1)


@pytest.fixture
def path(tmp_path):
    """A file of users."""
    found = tmp_path / "users"
    found.write_text(f"alice:{CHEAP}:admin\nbob:Looking-glass2\n")
    return found


@pytest.fixture(params=["file", "store"])
def users(request, clock, pool, path):
    """Users that can be changed, kept in each of the ways there are."""
    if request.param == "file":
        return FileUsers(str(path), "", "", clock, pool, rehash=True)
    store = open_store("memory:", clock)
    store.open()
    found = StoreUsers(store, "memory:", "", pool, rehash=True)
    result(found.put(User("alice", CHEAP, frozenset(["admin"]))))
    result(found.put(User("bob", "{CLEAR}Looking-glass2")))
    return found


def find(users, name):
    """A user, at once."""
    return result(wait_for(users, name))


async def wait_for(users, name):
    return await wait(users.find(name))


def test_finding(users):
    """A user is found by name, and nobody else."""
    assert find(users, "alice").roles == {"admin"}
    assert find(users, "Alice") is None
    assert result(users.look("alice")) == find(users, "alice")


def test_verifying(users):
    """A password is checked; an old hash is stored anew as argon2id when it was right, and only then."""
    assert result(users.verify("alice", "wrong")) is None
    assert result(users.verify("mallory", ALICE)) is None
    assert find(users, "alice").password == CHEAP
    renewed = result(users.verify("alice", ALICE))
    assert hashes.is_current(renewed.password)
    assert renewed == find(users, "alice")
    assert renewed.roles == {"admin"}
    assert result(users.verify("alice", ALICE)) == renewed
    assert hashes.is_current(result(users.verify("bob", "Looking-glass2")).password)


def test_making(users):
    """A user is made once; the name of another one is taken."""
    made = result(users.create("carol", "Down-rabbit3", frozenset(["staff"])))
    assert find(users, "carol") == made
    assert result(users.verify("carol", "Down-rabbit3")) == made
    with pytest.raises(Taken):
        result(users.create("carol", "Something-else4", frozenset()))
    assert find(users, "carol") == made


def test_changing(users):
    """A password is changed, roles stay; who knew an older state is told that it changed meanwhile."""
    alice = find(users, "alice")
    changed = result(users.change(alice, "Down-rabbit3"))
    assert changed.stamp != alice.stamp
    assert changed.roles == {"admin"}
    assert result(users.verify("alice", ALICE)) is None
    assert result(users.verify("alice", "Down-rabbit3")) == changed
    with pytest.raises(Changed):
        result(users.change(alice, "Up-again-1234"))


def test_unknown_names_cost_a_check(users, monkeypatch):
    """A name that nobody has is checked against a stored password as well, always against the same one."""
    seen = []
    monkeypatch.setattr(hashes, "check", lambda name, stored, password: seen.append(stored) and False)
    for name in ("mallory", "mallory", *map(str, range(40))):
        assert result(users.verify(name, "x")) is None
    assert len(seen) == 42
    assert seen[0] == seen[1]
    kept = {CHEAP, "{CLEAR}Looking-glass2"}
    assert set(seen) == kept or all(stored.startswith("$argon2id$") for stored in seen)


def test_a_file_that_changes(path, clock, pool):
    """A file is read again within a second when it changes, and goes on counting when it is gone."""
    users = FileUsers(str(path), "", "", clock, pool, rehash=False)
    users.watch.startService()
    path.write_text("carol:Down-rabbit3\n")
    os.utime(path, ns=(1, 1))
    clock.advance(1)
    assert users.find("carol")
    assert users.find("alice") is None
    path.unlink()
    clock.advance(1)
    assert users.find("carol")
    path.write_text("dave:Down-rabbit3\n")
    assert result(users.look("dave")).name == "dave"
    users.watch.stopService()


def test_broken_lines_are_told_once(path, clock, pool, events):
    """Each broken line is logged with the file and its number: once, not at each change of the file."""
    path.write_text("broken\nalice:secret\n")
    users = FileUsers(str(path), "", "", clock, pool, rehash=False)
    assert len(events) == 1
    assert events[0].startswith(f"{path}:1: expected")
    path.write_text("broken\nalice:secret\nbob\n")
    result(users.look("alice"))
    assert len(events) == 2
    assert events[1].startswith(f"{path}:3: ")


def test_a_file_that_cannot_be_written(path, clock, pool, events, monkeypatch):
    """Who gets in gets in, though the hash cannot be stored anew."""
    users = FileUsers(str(path), "", "", clock, pool, rehash=True)
    monkeypatch.setattr(os, "replace", lambda *names: (_ for _ in ()).throw(PermissionError(13, "no")))
    assert result(users.verify("alice", ALICE)).name == "alice"
    assert "stays stored as it is" in events[0]
    assert sorted(os.listdir(path.parent)) == ["users"]


def test_digest_users(tmp_path, clock, pool):
    """Users of an htdigest file stay such ones: what digest has to know is not hashed away, a new password is an HA1 too."""
    path = tmp_path / "users.htdigest"
    path.write_text(f"alice:r:{hashes.ha1('MD5', 'alice', 'r', ALICE)}\n")
    users = FileUsers(str(path), "", "", clock, pool, rehash=True)
    assert users.realms == {"r"}
    assert users.digests == ("MD5",)
    alice = result(users.verify("alice", ALICE))
    assert alice.password.startswith("{HA1}MD5:r:")
    result(users.change(alice, "Down-rabbit3"))
    assert path.read_text() == f"alice:r:{hashes.ha1('MD5', 'alice', 'r', 'Down-rabbit3')}\n"
    key = hashes.ha1("MD5", "alice", "r", "Down-rabbit3")
    assert result(users.verify_digest("alice", "r", "MD5", lambda ha1: ha1 == key)).name == "alice"
    assert result(users.verify_digest("alice", "r", "SHA-256", lambda ha1: True)) is None
    assert result(users.verify_digest("mallory", "r", "MD5", lambda ha1: True)) is None


def test_collections_of_users_are_told_apart(path, tmp_path, clock, pool):
    """No two collections have the same identity; the same file has the same one."""
    other = tmp_path / "other"
    other.write_text("")
    link = tmp_path / "link"
    link.symlink_to(path)
    stores = [StoreUsers(open_store("memory:", clock), url, name, pool, True) for url in "ab" for name in "xy"]
    files = [FileUsers(str(name), "", "", clock, pool, True) for name in (path, other)]
    checkers = [CheckerUsers(checker_of(text), text) for text in ("memory:a:b", "memory:c:d")]
    found = [users.identity for users in (*stores, *files, *checkers, Nobody(), Anybody())]
    assert len(set(found)) == len(found)
    assert FileUsers(str(link), "", "", clock, pool, True).identity == files[0].identity


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_checkers(kind, tmp_path):
    """A checker of twisted.cred checks names and passwords, also as HTTP digest; it has no roles and changes nothing."""
    (tmp_path / "passwords").write_text("alice:secret\n")
    description = "memory:alice:secret" if kind == "memory" else f"file:{tmp_path}/passwords"
    users = CheckerUsers(checker_of(description), description)
    assert result(users.verify("alice", "secret")) == User("alice", "")
    assert result(users.verify("alice", "wrong")) is None
    assert result(users.verify("mallory", "secret")) is None
    assert users.digests == ("SHA-256", "MD5")
    key = hashes.ha1("MD5", "alice", "r", "secret")
    assert result(users.verify_digest("alice", "r", "MD5", lambda ha1: ha1 == key)) == User("alice", "")
    assert result(users.verify_digest("alice", "r", "MD5", lambda ha1: False)) is None
    assert not users.editable
    with pytest.raises(ReadOnly):
        result(users.create("bob", "x", frozenset()))
    with pytest.raises(ReadOnly):
        result(users.change(User("alice", ""), "x"))


@pytest.mark.parametrize(
    ("description", "problem"),
    [
        ("nothing:x", "there is no checker 'nothing'"),
        ("memory:x", "memory cannot use"),
        ("anonymous:", "does not check names"),
    ],
)
def test_checkers_that_there_are_not(description, problem):
    """A checker that there is not, or that is of no use here, is refused."""
    with pytest.raises(ValueError, match=problem):
        checker_of(description)


def test_nobody_and_anybody():
    """Where there are no users nobody gets in; where nobody is asked, everybody has a name."""
    assert result(Nobody().verify("a", "b")) is None
    assert result(Nobody().look("a")) is None
    assert result(Anybody().look("a")) == User("a", "")


def test_the_queue_has_an_end(monkeypatch, clock):
    """More calls than may wait are refused at once; a place is free when a thread is done, not when its client has left."""
    from mixweb.features.auth import _pool

    jobs = []

    def defer(reactor, pool, work, *args):
        jobs.append((work, args, Deferred()))
        return jobs[-1][2]

    monkeypatch.setattr(_pool, "deferToThreadPool", defer)
    pool = WorkPool(clock, 1, 2)
    pool._threaded = True
    running = [Deferred.fromCoroutine(pool.run(lambda: "done")) for _ in range(3)]
    with pytest.raises(Busy):
        result(pool.run(lambda: "never"))
    running[1].addErrback(lambda failure: "left").cancel()
    with pytest.raises(Busy):
        result(pool.run(lambda: "never"))
    for work, args, done in jobs:
        try:
            done.callback(work(*args))
        except BaseException:
            done.errback()
    assert pool.under_way == 0
    assert [one.result for one in running] == ["done", "left", "done"]
