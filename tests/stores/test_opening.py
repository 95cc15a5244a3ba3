"""
Stores by their URLs.
"""

import gc
import sys
from weakref import ref

import pytest
from twisted.internet.task import Clock

from mixweb.stores import StoreService, open_store
from mixweb.stores.memory import MemoryStore
from mixweb.stores.redis import RedisStore
from mixweb.stores.sqlite import SqliteStore


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("memory:", MemoryStore),
        ("memory:pages", MemoryStore),
        ("sqlite:store.db", SqliteStore),
        ("unix:redis.sock", RedisStore),
        ("redis://localhost/1", RedisStore),
    ],
)
def test_kinds(url, kind, tmp_path, monkeypatch):
    """The URL names the kind of store; the same one is the same store, as long as somebody has it."""
    monkeypatch.chdir(tmp_path)
    clock = Clock()
    store = open_store(url, clock)
    assert type(store) is kind
    assert open_store(url, clock) is store
    assert open_store(url + "2", clock) is not store
    assert open_store(url, Clock()) is not store
    assert open_store(url, clock, deadline=9) is not store
    seen = ref(store)
    del store
    gc.collect()
    assert seen() is None


def test_paths(tmp_path, monkeypatch):
    """A relative path counts from the current directory, as it was when the store was named."""
    monkeypatch.chdir(tmp_path)
    clock = Clock()
    store = open_store("sqlite:store.db", clock)
    assert store.path == str(tmp_path / "store.db")
    assert open_store(f"sqlite:{tmp_path}/x/../store.db", clock) is store


def test_unknown():
    """What is no URL of a store opens none."""
    with pytest.raises(ValueError, match="store must be memory:"):
        open_store("store.db", Clock())


def test_missing_library(monkeypatch):
    """A Redis needs a library, and what is to be done is said when it is missing."""
    monkeypatch.setitem(sys.modules, "mixweb.stores.redis", None)
    with pytest.raises(ValueError, match=r"store: redis: needs txredisapi: pip install 'mixweb\[redis\]'"):
        open_store("redis://localhost", Clock())


def test_no_folder(tmp_path):
    """A file whose folder is missing is refused at once."""
    with pytest.raises(ValueError, match=r"there is no folder .*missing' for 'store.db'"):
        open_store(f"sqlite:{tmp_path}/missing/store.db", Clock())


def test_services(wait, loop):
    """What one service keeps is there for the next one that begins before the first has ended, and is gone after both."""
    store = open_store("memory:", loop)
    first, second = StoreService(store), StoreService(open_store("memory:", loop))
    first.startService()
    wait(store.put(b"k", b"v"))
    second.startService()
    wait(first.stopService())
    assert wait(store.get(b"k")).value == b"v"
    wait(second.stopService())
    assert wait(store.get(b"k")) is None
