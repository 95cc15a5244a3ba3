"""
A folder of files and a client of it.
"""

import os
from pathlib import Path

import pytest

from mixweb.engine.files import FileCache
from mixweb.features.files import Files, FilesResource
from mixweb.testing import SiteAgent

#: Large enough not to be kept in memory.
BIG = bytes(range(256)) * 800

MTIME = 1_000_000_000.5


def write(root, name, content=b"content", mtime=MTIME):
    """Make a file that was written long ago."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    os.utime(path, (mtime, mtime))
    return path


@pytest.fixture
def root(tmp_path):
    """The folder that is served; beside it lies what is not."""
    (tmp_path / "secret.txt").write_text("secret")
    found = tmp_path / "root"
    found.mkdir()
    return found


@pytest.fixture
def add(root):
    """Makes a file below the root."""
    return lambda name, content=b"content", mtime=MTIME: write(root, name, content, mtime)


@pytest.fixture
def serve(root):
    """A client of the folder, served with some settings."""

    def agent(path=None, reactor=None, **settings):
        resource = FilesResource(Files(path or root, **settings), reactor=reactor, cache=FileCache())
        return SiteAgent(resource)

    return agent


@pytest.fixture
def descriptors():
    """How many descriptors are open, to compare with later."""
    return lambda: len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def settled(monkeypatch):
    """Files count as written long ago, so that they are kept in memory."""
    monkeypatch.setattr("mixweb.engine.files.is_settled", lambda stamp, now: True)
