"""
Stores on a clock.
"""

from queue import SimpleQueue

import pytest
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.task import Clock, deferLater
from twisted.python.failure import Failure

from mixweb.stores.memory import MemoryStore
from mixweb.stores.sqlite import SqliteStore
from mixweb.stores.urls import PREFIX, Address
from tests.conftest import needs
from tests.redis_server import TRAVEL, RedisServer

#: How long a thread or a server may take, in real seconds.
PATIENCE = 20

#: The time of a server goes on by itself, in seconds.
TOLERANCE = 0.25


class Loop(Clock):
    """A clock that also hears of what threads and servers have done, when it is waited for."""

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


class ServerLoop(Loop):
    """
    The same for stores in a server: its time goes on by itself, but what little has passed is taken back.

    :ivar reactor: one that only runs when something is waited for.
    """

    reactor = SelectReactor()

    def __init__(self, server):
        super().__init__()
        self.server = server

    def advance(self, amount):
        super().advance(amount)
        self.server.command("EVAL", TRAVEL, 0, PREFIX, amount)
        self.wait(deferLater(self.reactor, 0.002))

    def wait(self, deferred):
        try:
            return super().wait(deferred.addTimeout(PATIENCE, self.reactor))
        finally:
            self.server.command("EVAL", TRAVEL, 0, PREFIX, 0)

    def turn(self):
        self.reactor.doIteration(self.reactor.timeout())
        self.reactor.runUntilCurrent()


class Users:
    """Opens stores on a clock, and closes them again."""

    server = None

    def __init__(self, folder):
        self.folder = folder
        self.loop = Loop()
        self.loop.advance(1_000_000)
        self.stores = []

    def memory(self, **options):
        return self.use(MemoryStore(self.loop, **options))

    def sqlite(self, name="store.db", **options):
        return self.use(SqliteStore(str(self.folder / name), self.loop, seconds=self.loop.seconds, **options))

    def redis(self, **options):
        from mixweb.stores.redis import RedisStore

        if not isinstance(self.loop, ServerLoop):
            self.server.command("FLUSHALL")
            self.loop = ServerLoop(self.server)
        return self.use(RedisStore(Address("unix", path=self.server.path), self.loop.reactor, **options))

    def use(self, store):
        store.open()
        self.stores.append(store)
        return store

    def close(self, store):
        self.stores.remove(store)
        self.loop.wait(store.close())


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory):
    """A Redis, emptied for each test."""
    Users.server = RedisServer(needs("redis-server"), tmp_path_factory.mktemp("redis"))
    yield Users.server
    Users.server.stop()


@pytest.fixture
def users(tmp_path):
    """Opens stores that are closed with the test."""
    users = Users(tmp_path)
    yield users
    users.loop.advance(0)
    for store in list(users.stores):
        users.close(store)
    assert [call for call in users.loop.getDelayedCalls() if call.active()] == []


@pytest.fixture(params=["memory", "sqlite", "redis"])
def store(request, users):
    """A store of each kind."""
    if request.param == "redis":
        request.getfixturevalue("redis_server")
    return getattr(users, request.param)()


@pytest.fixture
def loop(request, users):
    """The clock."""
    if "store" in request.fixturenames:
        request.getfixturevalue("store")
    return users.loop


@pytest.fixture
def wait(loop):
    """What a Deferred comes to."""
    return loop.wait
