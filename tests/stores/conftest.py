"""
Stores on a clock.
"""

from queue import SimpleQueue

import pytest
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from mixweb.stores.memory import MemoryStore
from mixweb.stores.sqlite import SqliteStore

#: How long a thread may take, in real seconds.
PATIENCE = 20


class Loop(Clock):
    """A clock that also hears of what threads have done, when it is waited for."""

    def __init__(self):
        super().__init__()
        self.told = SimpleQueue()

    def callFromThread(self, function, *arguments):
        self.told.put((function, arguments))

    def turn(self):
        """Wait for a thread to say something."""
        function, arguments = self.told.get(timeout=PATIENCE)
        function(*arguments)

    def wait(self, deferred):
        """What a Deferred comes to; its failure is raised."""
        outcome = []
        deferred.addBoth(outcome.append)
        while not outcome:
            self.turn()
        if isinstance(outcome[0], Failure):
            outcome[0].raiseException()
        return outcome[0]


class Users:
    """Opens stores on a clock, and closes them again."""

    def __init__(self, folder):
        self.folder = folder
        self.loop = Loop()
        self.loop.advance(1_000_000)
        self.stores = []

    def memory(self, **options):
        return self.use(MemoryStore(self.loop, **options))

    def sqlite(self, name="store.db", **options):
        return self.use(SqliteStore(str(self.folder / name), self.loop, seconds=self.loop.seconds, **options))

    def use(self, store):
        store.open()
        self.stores.append(store)
        return store

    def close(self, store):
        self.stores.remove(store)
        self.loop.wait(store.close())


@pytest.fixture
def users(tmp_path):
    """Opens stores that are closed with the test."""
    users = Users(tmp_path)
    yield users
    users.loop.advance(0)
    for store in list(users.stores):
        users.close(store)
    assert [call for call in users.loop.getDelayedCalls() if call.active()] == []


@pytest.fixture
def loop(users):
    """The clock."""
    return users.loop


@pytest.fixture
def wait(loop):
    """What a Deferred comes to."""
    return loop.wait


@pytest.fixture(params=["memory", "sqlite"])
def store(request, users):
    """A store of each kind."""
    return getattr(users, request.param)()
