"""
Where the features of a server keep their state.
"""

import pytest
from twisted.internet.task import Clock
from twisted.web.resource import Resource

import mixweb
from mixweb._store_checks import stateful, unshared
from mixweb.assemble import Assembler
from mixweb.commandline import Parser
from mixweb.config import load
from mixweb.dump import to_toml
from mixweb.features.cache import Cache
from mixweb.features.session import Session
from mixweb.interfaces import ISession
from mixweb.plan import Host, Plan, Server
from mixweb.server import unshareable
from mixweb.stores import StoreService
from mixweb.stores.memory import MemoryStore
from mixweb.stores.sqlite import SqliteStore
from mixweb.testing import SiteAgent, make_context


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A current directory, and one with files beside it."""
    here = tmp_path / "here"
    here.mkdir()
    (tmp_path / "conf").mkdir()
    monkeypatch.chdir(here)
    return tmp_path


def loaded(text="", line=(), environment=None):
    """What a file in another folder and a command line come to."""
    from pathlib import Path

    file = Path.cwd().parent / "conf" / "site.toml"
    file.write_text(text)
    return load(file, Parser().parse(list(line)).draft, environment or {})


@pytest.mark.parametrize(
    ("text", "line", "environment", "store"),
    [
        ("", [], {}, "memory:"),
        ('store = "sqlite:state.db"', [], {}, "sqlite:{folder}/conf/state.db"),
        ('store = "unix:redis.sock"', [], {}, "unix:{folder}/conf/redis.sock"),
        ('store = "rediss://h?ca=ca.pem"', [], {}, "rediss://h?ca={folder}/conf/ca.pem"),
        ("", ["--store", "sqlite:state.db"], {}, "sqlite:{folder}/here/state.db"),
        ("", [], {"MIXWEB_STORE": "sqlite:state.db"}, "sqlite:{folder}/here/state.db"),
        ('store = "sqlite:state.db"', ["--store", "redis://h"], {}, "redis://h"),
        ('store = "redis://:${SECRET}@h"', [], {}, "redis://:geheim@h"),
    ],
)
def test_setting(text, line, environment, store, folder, monkeypatch):
    """The server's store is set in a file, whose folder paths count from, on the command line or in the environment."""
    monkeypatch.setenv("SECRET", "geheim")
    found = loaded(text, line, environment).plan.server.store
    assert found == store.format(folder=folder)


def test_settings_of_features(folder):
    """A feature's own store is written in the same way."""
    plan = loaded('[cache]\nstore = "sqlite:pages.db"\n[session]\n', ["--session-store", "sqlite:s.db"]).plan
    assert sorted(url for _, url in stateful(plan)) == [f"sqlite:{folder}/conf/pages.db", f"sqlite:{folder}/here/s.db"]


def test_shown(folder):
    """A store is written out so that it is read again, and shown without its password."""
    plan = loaded('store = "sqlite:../here/state.db"\n[session]\nstore = "redis://:ge$$heim@h"').plan
    assert to_toml(plan) == 'store = "sqlite:state.db"\n\n[session]\nstore = "redis://:ge$$heim@h"\n'
    assert to_toml(plan, hide=True) == 'store = "sqlite:state.db"\n\n[session]\nstore = "redis://:(hidden)@h"\n'


def test_features_share_it(folder):
    """A feature without a store of its own has the server's: the same for all, open as long as the tree lives."""
    clock = Clock()
    plan = Plan(
        Server(store="memory:shared"),
        default=Host(Cache(), Session(), Cache(at="/other", store=f"sqlite:{folder}/x.db")),
        hosts=[Host("a.example", Session(), Cache(store="memory:"))],
    )
    tree = Assembler(clock).assemble(plan)
    stores = [service.store for service in tree.services if isinstance(service, StoreService)]
    kinds = [type(store) for store in stores]
    assert (kinds.count(MemoryStore), kinds.count(SqliteStore), len(set(stores))) == (4, 1, 3)


def test_context():
    """What a feature is given to be built with has a store, also in tests, and opens and closes it with its services."""
    context = make_context(Clock())
    first, second, other = context.store(), context.store("memory:"), context.store("memory:other")
    assert first is second is not other
    with pytest.raises(ValueError, match="store must be memory:"):
        context.store("nowhere")


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("[session]", ["{file}:1: session: memory: is not shared by workers; give the server a store that is: "]),
        ("[cache]\n\n[session]", ["{file}:1: cache: memory:", "{file}:3: session: memory:"]),
        ('[session]\nstore = "memory:own"', ["{file}:1: session: memory:"]),
        ('[defaults.session]\n[host."a.example"]\n[host."b.example"]', ["{file}:1: session: memory:"]),
        ('[host."a.example".session]', ["{file}:1: session: memory:"]),
        ('[session]\nstore = "sqlite:s.db"', []),
        ('store = "sqlite:s.db"\n[session]\n[cache]', []),
        ('store = "redis://h"\n[session]\n[cache]', []),
        ('store = "redis://h"\n[session]\n[cache]\nstore = "memory:"', ["{file}:3: cache: memory:"]),
        ("[files]", []),
    ],
)
def test_workers(text, problems, folder):
    """Workers cannot share what each of them has in its memory: every feature that would is named, with its place."""
    found = [str(problem) for problem in unshareable(loaded(text, ["--workers", "2"]), [])]
    assert len(found) == len(problems)
    for problem, expected in zip(found, problems, strict=True):
        assert problem.startswith(expected.format(file=folder / "conf" / "site.toml"))
    assert list(unshareable(loaded(text), [])) == []


def test_workers_and_what_comes_along(folder):
    """What comes with another feature is looked at too."""
    (folder / "conf" / "users").write_text("")
    plan = loaded('[auth]\nusers = "users"\nstore = "sqlite:auth.db"').plan
    assert [type(settings).__name__ for settings, _ in unshared(plan)] == ["Session"]


@pytest.mark.parametrize(("store", "status"), [("memory:", 200), ("sqlite:s.db", 503)])
def test_stacks(store, status):
    """A stack of wrappers around any resource opens no store: in memory its features keep what they are given."""
    page = Page()
    agent = SiteAgent(mixweb.stack(page, Session(store=store), reactor=page.clock), clock=page.clock)
    assert agent.get("/").status == status


class Page(Resource):
    """Puts something into the session."""

    isLeaf = True

    def __init__(self):
        super().__init__()
        self.clock = Clock()

    def render_GET(self, request):
        ISession(request)["n"] = 1
        return b""
