"""
The page for those who come from twistd web: every block of it is run.
"""

import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest
import pytest_twisted
import twisted.internet
from twisted.application.service import IServiceCollection, loadApplication
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.internet.testing import MemoryReactorClock

from mixweb.assemble import Assembler
from mixweb.commandline import Parser
from mixweb.config import load
from mixweb.engine.site import Site
from mixweb.features.files import Files, FilesResource
from mixweb.testing import SiteAgent, make_context

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "howto" / "coming-from-twistd-web.md").read_text()
FENCE = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = {name: text for _, name, text in FENCE.findall(PAGE) if name}
COMMANDS = [
    line.removeprefix("$ ")
    for language, _, text in FENCE.findall(PAGE)
    if language == "console"
    for line in text.splitlines()
]

#: What else there is in the folder that the blocks are run in.
FILES = {
    "htdocs/index.html": "htdocs",
    "htdocs/index.rpy": "from twisted.web.static import Data\nresource = Data(b'index script', 'text/plain')",
    "doc/index.html": "doc",
    "foo/index.html": "foo",
    "bar/index.html": "bar",
    "baz/shop.rpy": "from twisted.web.static import Data\nresource = Data(b'baz', 'text/plain')",
    "users/alice/index.html": "alice",
    "perlsite/page.txt": "perl site",
    "vhosts/a.example/index.html": "a",
    "vhosts/default/index.html": "default",
    "cgi-bin/hello.cgi": "#!/bin/sh\n",
    "ports": "8080 8081\n",
}

#: Path, host, and what the answer is.
Request = tuple[str, str, int, str]

HTDOCS = [("/", "localhost", 200, "htdocs")]

ANSWERS = {
    "simple.py": [("/", "localhost", 200, "<html>Hello, world!</html>")],
    "zipped.py": [("/", "localhost", 200, "<html>Hello, world!</html>")],
    "tree.tac": [
        (path, "localhost", status, text)
        for path, status, text in [
            ("/", 200, "Hello from /"),
            ("/fred", 200, "Hello from /fred"),
            ("/bob", 200, "Hello from /bob"),
            ("/fred/", 200, "Hello from /fred/"),
            ("/bob/", 200, "Hello from /bob/"),
            ("/none", 404, "404 Not Found\nSorry. No luck finding that resource.\n"),
        ]
    ],
    "plain.tac": HTDOCS,
    "mixed.tac": HTDOCS,
    "mixed.toml": HTDOCS,
    "stacked.tac": HTDOCS,
    "children.tac": [*HTDOCS, ("/doc/", "localhost", 200, "doc"), ("/cgi-bin/", "localhost", 404, "")],
    "processors.tac": [
        ("/", "localhost", 200, "index script"),
        ("/my", "localhost", 200, "<html>Hello, world!</html>"),
        ("/my.rpy", "localhost", 200, "<html>Hello, world!</html>"),
    ],
    "settings.tac": [
        ("/", "localhost", 200, "index script"),
        ("/my", "localhost", 200, "<html>Hello, world!</html>"),
    ],
    "names.tac": [
        ("/", "localhost", 200, "htdocs"),
        ("/", "foo.com", 200, "foo"),
        ("/", "BAR.com:8080", 200, "bar"),
        ("/shop", "baz", 200, "baz"),
    ],
    "hosts.tac": [
        ("/", "localhost", 200, "htdocs"),
        ("/", "foo.com", 200, "foo"),
        ("/", "www.foo.com", 200, "foo"),
        ("/", "bar.com", 200, "bar"),
        ("/shop", "baz", 200, "baz"),
    ],
    "directories.tac": [("/", "a.example", 200, "a"), ("/", "other.example", 200, "htdocs")],
    "ports.tac": HTDOCS,
    "monster.tac": [*HTDOCS, ("/vhost.rpy/http/example.com:80/", "localhost", 200, "htdocs")],
    "rewritten.tac": [*HTDOCS, ("/~alice/", "localhost", 200, "alice")],
    "htdocs/my.rpy": [("/my.rpy", "localhost", 200, "<html>Hello, world!</html>")],
    "htdocs/reloaded.rpy": [
        ("/reloaded.rpy", "localhost", 200, "Hello, world! I am located at [b'reloaded.rpy']."),
        ("/reloaded.rpy/", "localhost", 200, "Hello, world! I am located at [b'reloaded.rpy', b'']."),
    ],
    "htdocs/rendering.rpy": [
        ("/rendering.rpy/written", "localhost", 200, "one two"),
        ("/rendering.rpy/waiting", "localhost", 200, "waited"),
        ("/rendering.rpy/streaming", "localhost", 200, "0\n1\n2\n"),
    ],
    "htdocs/visits.rpy": [("/visits.rpy", "localhost", 200, "visit 1")],
    "htdocs/counter.rpy": [("/counter.rpy", "localhost", 200, f"you are visitor {number}") for number in (1, 2)],
    "htdocs/perl.rpy": [("/perl.rpy/page.txt", "localhost", 200, "perl site")],
    "htdocs/whole.asis": [("/whole.asis", "localhost", 200, "Hello world\n")],
}

#: Blocks that others use or that have a test of their own.
OTHERS = {
    "located.py", "sillyweb.py", "helloworld.py", "forward.py", "reverse.py", "htdocs/wanted.rpy", "wsgi.tac", "pool.tac",
}  # fmt: skip


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The current directory, with the blocks of the page and the files that they serve."""
    for name, text in (FILES | BLOCKS).items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    yield tmp_path
    for name in ("located", "sillyweb", "helloworld"):
        sys.modules.pop(name, None)


def run_program(name, monkeypatch):
    """Run a program as far as ``reactor.run()``; the factory that listens."""
    fake = MemoryReactorClock()
    fake.run = lambda: None
    with monkeypatch.context() as patch:
        patch.setattr(twisted.internet, "reactor", fake)
        runpy.run_path(name)
    [(port, factory, *_)] = fake.tcpServers
    assert port == 8080
    return factory


def load_sites(name):
    """The sites that a .tac listens with."""
    found = []
    for service in IServiceCollection(loadApplication(name, "python")):
        if hasattr(service, "tree"):
            found.append(Site(service.tree.root))
        else:
            found.append(service.factory if hasattr(service, "factory") else service.args[1])
    return found


def make_site(name, monkeypatch):
    """The site of a block."""
    if name.endswith(".py"):
        return run_program(name, monkeypatch)
    if name.endswith(".tac"):
        return load_sites(name)[0]
    if name.endswith(".toml"):
        return assemble(load(Path(name), Parser().parse([]).draft).plan)
    return Site(FilesResource(Files("htdocs"), make_context(reactor)))


def assemble(plan):
    return Site(Assembler(reactor).assemble(plan).root)


async def ask(site, path, host="localhost", headers=()):
    """The answer, once it is complete."""
    exchange = SiteAgent(site).open("GET", path, [("Host", host), *headers])
    for _ in range(2000):
        if exchange.answers():
            break
        await deferLater(reactor, 0.001)
    return exchange.answer


def test_nothing_is_left_out():
    """Every block with a name is tried below, and nothing that is not on the page."""
    assert set(BLOCKS) == set(ANSWERS) | OTHERS
    languages = {language for language, name, _ in FENCE.findall(PAGE) if not name}
    assert languages == {"console", "apache"}


@pytest.mark.parametrize("name", ANSWERS)
@pytest_twisted.ensureDeferred
async def test_answers(name, monkeypatch):
    """A block serves what the page says."""
    site = make_site(name, monkeypatch)
    for path, host, status, text in ANSWERS[name]:
        answer = await ask(site, path, host)
        assert (answer.status, answer.text if text else "") == (status, text), path


def test_ports():
    """The ports of a file are each listened on."""
    assert [service.args[0] for service in IServiceCollection(loadApplication("ports.tac", "python"))] == [8080, 8081]


@pytest_twisted.ensureDeferred
async def test_encoder(monkeypatch):
    """Twisted's encoder compresses for those who ask for it."""
    import gzip

    answer = await ask(run_program("zipped.py", monkeypatch), "/", headers=[("Accept-Encoding", "gzip")])
    assert (answer["Content-Encoding"], answer["Content-Length"]) == ("gzip", str(len(answer.body)))
    assert gzip.decompress(answer.body) == b"<html>Hello, world!</html>"


@pytest_twisted.ensureDeferred
async def test_session():
    """A session is found again by its cookie, which scripts and other sites cannot use."""
    site = make_site("htdocs/visits.rpy", None)
    answer = await ask(site, "/visits.rpy")
    cookie, *attributes = answer["Set-Cookie"].split("; ")
    assert {"HttpOnly", "SameSite=Lax"} <= set(attributes)
    assert (await ask(site, "/visits.rpy", headers=[("Cookie", cookie)])).text == "visit 2"
    for session in list(site.sessions.values()):
        session.expire()


@pytest.mark.filterwarnings("ignore:twisted.web.http.HTTPClient")
def test_forward_proxy(monkeypatch):
    """The forward proxy is Twisted's own."""
    from twisted.web.proxy import Proxy

    assert type(run_program("forward.py", monkeypatch).buildProtocol(None)) is Proxy


@pytest.mark.filterwarnings("ignore:twisted.web.http.HTTPClient")
def test_reverse_proxy(monkeypatch):
    """The reverse proxy is a resource of the site."""
    assert run_program("reverse.py", monkeypatch).resource.host == "www.example.com"


@pytest_twisted.ensureDeferred
async def test_not_wanted(failures):
    """A client that leaves ends what waits for it."""
    site = make_site("htdocs/wanted.rpy", None)
    exchange = SiteAgent(site).open("GET", "/wanted.rpy")
    assert exchange.received.endswith(b"hello world\r\n")
    before = len(reactor.getDelayedCalls())
    exchange.disconnect()
    assert len(reactor.getDelayedCalls()) == before - 1
    assert failures == []


@pytest_twisted.ensureDeferred
async def test_wsgi():
    """An application answers in mixweb's threads."""
    [service] = IServiceCollection(loadApplication("wsgi.tac", "python"))
    service.tree.services.startService()
    try:
        assert (await ask(Site(service.tree.root), "/")).text == "Hello World!"
    finally:
        await service.tree.services.stopService()


@pytest_twisted.ensureDeferred
async def test_wsgi_of_twisted(monkeypatch):
    """An application answers in Twisted's resource, in threads of one's own."""
    starts, ends = [], []
    with monkeypatch.context() as patch:
        patch.setattr(reactor, "callWhenRunning", starts.append)
        patch.setattr(reactor, "addSystemEventTrigger", lambda phase, event, stop: ends.append(stop))
        [site] = load_sites("pool.tac")
    starts[0]()
    try:
        assert (await ask(site, "/")).text == "Hello World!"
    finally:
        ends[0]()


@pytest.mark.parametrize("command", COMMANDS)
def test_commands(command):
    """Each command is one that there is, and what it asks for can be built."""
    words = shlex.split(command, posix=True)
    if words[0] == "kill":
        return
    if words[:2] == ["twistd", "-ny"]:
        assert words[2] in BLOCKS
        return
    arguments = words[words.index("web-mix") + 1 :] if words[0] == "twistd" else ["--files", *words[1:]]
    assert words[0] in ("twistd", "mixweb")
    loaded = load(None, Parser().parse(arguments).draft)
    assemble(loaded.plan)


def option_names(text):
    return set(re.findall(r"`--([a-z-]+)", text))


def test_options_of_twistd_web():
    """Every option of twistd web is on the page and is understood."""
    from twisted.web.tap import Options

    named = option_names(PAGE)
    parser = Parser()
    own = set(parser.options)
    options = Options()
    theirs = {
        name.replace("_", "-") for name in [*options.longOpt, *options.synonyms] if len(name) > 1 and "_" not in name
    }
    theirs = {name.rstrip("=") for name in theirs if len(name.rstrip("=")) > 1}
    assert theirs - own == set()
    assert theirs - named <= {"version", "help"}


def test_page_of_each_feature():
    """The commands on the pages of these features are ones that there are."""
    for name in ("script", "class", "wsgi", "user"):
        page = (ROOT / "docs" / "features" / f"{name}.md").read_text()
        commands = re.findall(r"^mixweb (.*)$", page, re.MULTILINE)
        assert commands
        for command in commands:
            Parser().parse(shlex.split(command))
