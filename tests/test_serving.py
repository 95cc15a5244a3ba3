"""
Who serves: this process or its workers, and what workers are told.
"""

import sys

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from mixweb.config import load
from mixweb.draft import ConfigError
from mixweb.dump import to_toml
from mixweb.feature import Wrap, settings_fields
from mixweb.plan import Host, Plan, Server
from mixweb.registry import registry
from mixweb.server import WebService
from mixweb.serving import Here, InWorkers, command, environment, handed_on
from mixweb.worker import loaded_from
from tests.test_contract import sample

#: Settings, in text, of features that are otherwise tried with things made in Python, which cannot be handed on.
THINGS = {
    "distrib": {"to": "unix:/run/socket"},
    "pages": {"app": "tests.pages.web:site"},
    "proxy": {"to": ("http://127.0.0.1:9",)},
}


@pytest.mark.parametrize("name", registry().features)
def test_handed_on(name, tmp_path, monkeypatch):
    """What a worker is told to serve is what was to be served, for every feature, in every place."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "index.html").write_text("hello")
    settings = sample(name, tmp_path)
    if name in THINGS:
        settings = registry().features[name].settings(**THINGS[name])
    taken_away = "accesslog" if name == "secureheaders" else "secureheaders"
    wrapper = isinstance(registry().features[name], Wrap)
    plan = Plan(
        Server(workers=2, port="8080", listen=("tcp:80",), max_body_bytes=5, drain=3),
        Host(settings, without=[taken_away]),
        (settings,) if wrapper else (),
        [Host("a.example", "*.a.example"), *(() if wrapper else (Host("b.example", settings),))],
    )
    found = loaded_from(handed_on(plan)).plan
    assert found.server == Server(port="8080", listen=("tcp:80",), max_body_bytes=5, drain=3)
    again = [*found.default.settings, *found.defaults, *(item for host in found.hosts for item in host.settings)]
    assert len(again) == 2
    for one in again:
        for item in settings_fields(one):
            assert value_of(one, item.name, tmp_path) == value_of(settings, item.name, tmp_path), item.name
    assert found.hosts[0].names == ("a.example", "*.a.example")
    assert taken_away in found.default.without


def value_of(settings, name, folder):
    """A value, lists as tuples and paths in a folder as relative ones."""
    value = getattr(settings, name)
    if isinstance(value, list):
        return tuple(value)
    return str(value).removeprefix(f"{folder}").lstrip("/.") if name in ("path", "users") else value


def test_virtual_hosts_are_read_once(tmp_path):
    """A folder of virtual hosts is read by the process that starts the workers, and not again by each of them."""
    (tmp_path / "hosts" / "a.example").mkdir(parents=True)
    (tmp_path / "site.toml").write_text('vhosts = "hosts"\nworkers = 2\n')
    plan = load(tmp_path / "site.toml", environment={}).plan
    assert "vhosts" not in handed_on(plan)
    assert [host.names for host in loaded_from(handed_on(plan)).plan.hosts] == [("a.example",)]


def test_the_same_interpreter(monkeypatch):
    """A worker is run by this interpreter, finds the same modules, and gets the same kind of reactor."""
    program, option, text, module, *path = command(reactor)
    assert (program, option, path) == (sys.executable, "-c", sys.path)
    assert "mixweb.cli" in text
    assert module == type(reactor).__module__
    assert command(Clock())[3] == "twisted.internet.default"


def test_colours(monkeypatch):
    """Workers colour their lines when the terminal takes colours."""
    monkeypatch.setenv("A_NAME", "value")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(sys, "__stdout__", Terminal())
    assert environment(True)["FORCE_COLOR"] == "1"
    assert environment(True)["A_NAME"] == "value"
    assert "FORCE_COLOR" not in environment(False)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "FORCE_COLOR" not in environment(True)


class Terminal:
    """What a person reads."""

    def isatty(self):
        return True


def service_of(folder, text, interactive=False):
    """A service of a configuration in a folder."""
    (folder / "site.toml").write_text(text)
    return WebService(lambda: load(folder / "site.toml", environment={}), reactor, interactive)


def test_who_serves(tmp_path):
    """Without workers this process serves; with them they do, and the number of them is no question while they run."""
    assert isinstance(service_of(tmp_path, 'port = "0"\n').serving, Here)
    assert isinstance(service_of(tmp_path, 'port = "0"\nworkers = 1\n').serving, InWorkers)


@pytest.mark.parametrize(("before", "after"), [("", "workers = 1\n"), ("workers = 2\n", "workers = 1\n")])
@pytest_twisted.ensureDeferred
async def test_number_of_workers(before, after, tmp_path):
    """The number of workers cannot be changed by a reload."""
    service = service_of(tmp_path, 'port = "0"\n' + before)
    (tmp_path / "site.toml").write_text('port = "0"\n' + after)
    with pytest.raises(ConfigError, match=r"workers: there are \d as long as the server runs; start it again"):
        await service.renew()


@pytest_twisted.ensureDeferred
async def test_port_of_a_reload(tmp_path):
    """A server that has chosen its port stays on it."""
    service = service_of(tmp_path, "", interactive=True)
    service.privilegedStartService()
    before = service.urls
    (tmp_path / "site.toml").write_text('[respond]\nbody = "hi"\n')
    await service.renew()
    assert service.urls == before
    assert "respond" in to_toml(service.plan)
    await service.serving.stop(0, lambda running: None)


class Waiting:
    """Workers that begin when they are told to, and are stopped while they change."""

    def __init__(self):
        self.begun = Deferred()
        self.stopping = False

    def start(self, built):
        return self.begun

    async def change(self, order):
        self.stopping = True

    async def stop(self, seconds, tell):
        """They stop at once."""

    def stop_now(self):
        """They have stopped."""


@pytest.mark.parametrize("stopped", [False, True])
def test_start_that_is_stopped(stopped, tmp_path, monkeypatch):
    """The addresses are said when the workers serve, and not at all when the server is stopped before."""
    service = service_of(tmp_path, 'port = "0"\nworkers = 1\n')
    service.serving = Waiting()
    said = []
    monkeypatch.setattr(service, "announce", lambda: said.append("ready"))
    monkeypatch.setattr(service, "_take_signal", lambda name, act: None)
    service.startService()
    if stopped:
        service.stopService()
    assert said == []
    service.serving.begun.callback(None)
    assert said == ([] if stopped else ["ready"])


@pytest_twisted.ensureDeferred
async def test_reload_that_is_stopped(tmp_path, monkeypatch):
    """A server that is stopped while its workers change listens nowhere afterwards."""
    service = service_of(tmp_path, 'port = "0"\nworkers = 1\n')
    service.privilegedStartService()
    monkeypatch.setattr(service.serving, "_workers", Waiting())
    await service.renew()
    assert service.urls == []
