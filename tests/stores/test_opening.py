"""
Stores by their URLs.
"""

import gc
from weakref import ref

import pytest
from twisted.internet.task import Clock

from mixweb.stores import StoreService, check_url, open_store
from mixweb.stores.memory import MemoryStore
from mixweb.stores.sqlite import SqliteStore


@pytest.mark.parametrize(
    ("url", "kind"),
    [("memory:", MemoryStore), ("memory:pages", MemoryStore), ("sqlite:store.db", SqliteStore)],
)
def test_kinds(url, kind, tmp_path, monkeypatch):
    """The URL names the kind of store; the same one is the same store, as long as somebody has it."""
    monkeypatch.chdir(tmp_path)
    clock = Clock()
    store = open_store(url, clock)
    assert type(store) is kind
    assert open_store(url, clock) is store
    assert open_store(url + "x", clock) is not store
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


@pytest.mark.parametrize("url", ["", "memory", "redis://localhost", "sqlite:", "sqlite", "Memory:", "store.db"])
def test_unknown(url):
    """Any other URL is refused."""
    with pytest.raises(ValueError, match="store must be 'memory:' or 'sqlite:PATH', not "):
        check_url(url)


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
