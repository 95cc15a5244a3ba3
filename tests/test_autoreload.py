"""
Starting anew when files change.
"""

import os
import sys
from pathlib import Path

import pytest
from twisted.internet.task import Clock

import mixweb
from mixweb.autoreload import INTERVAL, Autoreload, config_files, module_files, start_anew
from mixweb.commandline import Parser
from mixweb.config import load
from mixweb.plan import Server


class Reactor(Clock):
    """A clock that notes what is to be done at the end."""

    def __init__(self):
        super().__init__()
        self.triggers = []

    def addSystemEventTrigger(self, *trigger):
        self.triggers.append(trigger)


@pytest.fixture
def watched(tmp_path, monkeypatch):
    """What looks after a module and a file, and what it has done."""
    module, config = tmp_path / "watched_module.py", tmp_path / "site.toml"
    for path in (module, config):
        path.write_text("a = 1\n")
    monkeypatch.setitem(sys.modules, "watched_module", type(sys)("watched_module"))
    sys.modules["watched_module"].__file__ = str(module)
    reactor, done = Reactor(), []
    service = Autoreload(reactor, lambda: {str(config)}, lambda: done.append("reload"), lambda: done.append("stop"))
    service.startService()
    yield module, config, reactor, done
    service.stopService()


def change(path, text, seconds):
    """Write a file, at another time than before."""
    path.write_text(text)
    os.utime(path, (seconds, seconds))


def test_changes(watched):
    """A changed configuration is taken again; a changed module has the program start anew, once it compiles."""
    module, config, reactor, done = watched
    reactor.advance(INTERVAL)
    assert done == []
    change(config, "b = 1\n", 1)
    reactor.advance(INTERVAL)
    reactor.advance(INTERVAL)
    assert done == ["reload"]
    change(module, "b = (\n", 1)
    reactor.advance(INTERVAL)
    assert done == ["reload"]
    change(module, "b = 1\n", 2)
    reactor.advance(INTERVAL)
    assert done == ["reload", "stop"]
    assert reactor.triggers == [("after", "shutdown", start_anew)]


def test_a_file_that_is_gone(watched):
    """A module whose file is gone is no change; that it is back, with another content, is one."""
    module, _, reactor, done = watched
    module.unlink()
    reactor.advance(INTERVAL)
    assert done == []
    change(module, "c = 1\n", 5)
    reactor.advance(INTERVAL)
    assert done == ["stop"]


def test_which_files(tmp_path):
    """The modules that people edit are looked at, and the files that a configuration was read from."""
    files = module_files()
    assert mixweb.__file__ in files
    assert os.__file__ not in files
    assert pytest.__file__ not in files
    path = tmp_path / "site.toml"
    path.write_text('port = "8080"\n[respond]\nbody = "x"\n')
    assert config_files(load(path, Parser().parse(["--echo"]).draft, {})) == {str(path)}
    assert Path(next(iter(config_files(load(path, None, {}))))).is_file()


def test_not_with_workers():
    """Workers are not started anew."""
    with pytest.raises(ValueError, match="reload needs workers = 0"):
        Server(reload=True, workers=2)
