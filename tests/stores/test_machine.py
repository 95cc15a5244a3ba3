"""
Stores against a model: whatever is done in whatever order, they answer as a dict would.
"""

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from mixweb.stores import Conflict
from tests.stores.conftest import Users

KEYS = st.sampled_from([b"a", b"a\0", b"b", b"\xff"])
VALUES = st.binary(max_size=8)
TIMES = st.one_of(st.none(), st.integers(1, 20))

SETTINGS = settings(
    max_examples=100, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck), database=None
)


class Machine(RuleBasedStateMachine):
    """Does the same to a store and to a dict of (value, version, end)."""

    kind = ""
    versions = Bundle("versions")

    users = None

    @initialize()
    def begin(self):
        self.folder = tempfile.TemporaryDirectory()
        self.users = Users(Path(self.folder.name))
        self.store = getattr(self.users, self.kind)()
        self.loop = self.users.loop
        self.model = {}
        self.highest = 0

    def teardown(self):
        if self.users is not None:
            self.users.close(self.store)
            self.folder.cleanup()

    def current(self, key):
        """What the model has under a key."""
        found = self.model.get(key)
        return None if found is None or (found[2] is not None and found[2] <= self.loop.seconds()) else found

    def end(self, ttl):
        return None if ttl is None else self.loop.seconds() + ttl

    def put(self, key, value, ttl, if_version):
        found = self.current(key)
        version = 0 if found is None else found[1]
        if if_version not in (None, version):
            with pytest.raises(Conflict) as caught:
                self.loop.wait(self.store.put(key, value, ttl, if_version))
            assert caught.value.version == version
            return version
        new = self.loop.wait(self.store.put(key, value, ttl, if_version))
        assert new > self.highest
        self.highest = new
        self.model[key] = (value, new, self.end(ttl))
        return new

    @rule(target=versions, key=KEYS, value=VALUES, ttl=TIMES)
    def put_any(self, key, value, ttl):
        return self.put(key, value, ttl, None)

    @rule(target=versions, key=KEYS, value=VALUES, ttl=TIMES)
    def put_first(self, key, value, ttl):
        return self.put(key, value, ttl, 0)

    @rule(target=versions, key=KEYS, value=VALUES, ttl=TIMES, version=versions)
    def put_version(self, key, value, ttl, version):
        return self.put(key, value, ttl, version)

    @rule(key=KEYS, ttl=TIMES)
    def touch(self, key, ttl):
        found = self.current(key)
        assert self.loop.wait(self.store.touch(key, ttl)) == (found is not None)
        if found is not None:
            self.model[key] = (*found[:2], self.end(ttl))

    @rule(key=KEYS)
    def delete(self, key):
        assert self.loop.wait(self.store.delete(key)) == (self.current(key) is not None)
        self.model.pop(key, None)

    @rule(seconds=st.sampled_from([0.5, 1, 5, 60]))
    def advance(self, seconds):
        self.loop.advance(seconds)

    @invariant()
    def same(self):
        keys = [key for key in sorted(self.model) if self.current(key)]
        assert self.loop.wait(self.store.scan(b"", 100)) == keys
        for key in self.model:
            found = self.current(key)
            assert self.loop.wait(self.store.get(key)) == (None if found is None else found[:2])


class MemoryMachine(Machine):
    """In memory."""

    kind = "memory"


class SqliteMachine(Machine):
    """In a file."""

    kind = "sqlite"


class RedisMachine(Machine):
    """In a Redis."""

    kind = "redis"


TestMemoryMachine = MemoryMachine.TestCase
TestMemoryMachine.settings = SETTINGS
TestSqliteMachine = SqliteMachine.TestCase
TestSqliteMachine.settings = SETTINGS
TestRedisMachine = pytest.mark.usefixtures("redis_server")(RedisMachine.TestCase)
TestRedisMachine.settings = settings(SETTINGS, max_examples=40)
