"""
The pages of users: their folders, their servers, and the list of both.
"""

import os
import socket
from types import SimpleNamespace

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IReactorThreads
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from zope.interface import implementer

from mixweb.assemble import Mounts
from mixweb.features.user import FEATURE, Homes, UserDirectory, UserDirectoryResource
from mixweb.testing import SiteAgent, make_context


@implementer(IReactorThreads)
class Threads:
    """A reactor whose threads are done at once, and where nobody answers on sockets."""

    def __init__(self):
        self.connected = []

    def getThreadPool(self):
        return self

    def callInThreadWithCallback(self, on_result, work, *arguments):
        on_result(True, work(*arguments))

    def callFromThread(self, work, *arguments):
        work(*arguments)

    def connectUNIX(self, path, factory, timeout, checkPID=0):
        self.connected.append(path)
        factory.clientConnectionFailed(None, Failure(ConnectError()))


@pytest.fixture
def home(tmp_path):
    """Home directories: alice has a folder and a server, bob a folder, carol nothing, mallory the socket of another."""
    pages = tmp_path / "alice" / "public_html"
    (pages / "sub dir").mkdir(parents=True)
    (tmp_path / "bob" / "public_html").mkdir(parents=True)
    (tmp_path / "carol").mkdir()
    (tmp_path / "mallory").mkdir()
    (pages / "index.html").write_text("alice's page")
    (pages / "notes").write_text("plain")
    (pages / ".secret").write_text("hidden")
    (pages / "sub dir" / "a.txt").write_text("deep")
    (pages / "sub dir" / ".b").write_text("hidden")
    (pages / "inside").symlink_to("sub dir")
    (pages / "outside").symlink_to("../../bob")
    (pages / "passwd").symlink_to("/etc/passwd")
    for name in ("alice", "mallory"):
        with socket.socket(socket.AF_UNIX) as listener:
            here = os.getcwd()
            os.chdir(tmp_path / name)
            listener.bind(".twistd-web-pb")
            os.chdir(here)
    return tmp_path


@pytest.fixture
def agent(home):
    """Asks a user directory below /users."""

    def account(name, uid, real_name):
        return SimpleNamespace(pw_name=name, pw_uid=uid, pw_gecos=f"{real_name},,,", pw_dir=str(home / name))

    accounts = {
        "alice": account("alice", os.getuid(), "Alice <A>"),
        "bob": account("bob", os.getuid(), ""),
        "carol": account("carol", os.getuid(), "Carol"),
    }
    if os.getuid():
        accounts["mallory"] = account("mallory", os.getuid() + 1, "Mallory")
    database = SimpleNamespace(getpwall=lambda: list(accounts.values()), getpwnam=accounts.__getitem__)

    def make(at="/users", **options):
        threads = Threads()
        users = UserDirectoryResource(Homes(UserDirectory(**options), database), threads)
        found = SiteAgent(Mounts([(at, users)]))
        found.threads = threads
        return found

    return make


async def get(asked, target):
    """The answer, once it is complete: files come piece by piece."""
    exchange = asked.open("GET", target)
    while not exchange.answers():
        await deferLater(reactor, 0)
    return exchange.answer


def test_list(agent):
    """The list has the users that offer something, and what; names are escaped."""
    found = agent().get("/users/")
    assert found["Content-Type"] == "text/html; charset=utf-8"
    assert [line for line in found.text.splitlines() if line.startswith("<li>")] == [
        '<li><a href="alice/">Alice &lt;A&gt; (file)</a></li>',
        '<li><a href="alice.twistd/">Alice &lt;A&gt; (twistd)</a></li>',
        '<li><a href="bob/">bob (file)</a></li>',
    ]


@pytest.mark.parametrize(
    ("target", "status", "body"),
    [
        ("/users/alice/", 200, "alice's page"),
        ("/users/alice/notes", 200, "plain"),
        ("/users/alice/sub%20dir/a.txt", 200, "deep"),
        ("/users/alice/inside/a.txt", 200, "deep"),
        ("/users/alice/.secret", 404, None),
        ("/users/alice/outside/", 404, None),
        ("/users/alice/passwd", 404, None),
        ("/users/alice/../bob/", 200, None),
        ("/users/alice/..%2F..%2Fcarol", 404, None),
        ("/users/alice/none", 404, None),
        ("/users/carol/", 404, None),
        ("/users/carol.twistd/", 404, None),
        ("/users/bob.twistd/", 404, None),
        ("/users/mallory.twistd/", 404, None),
        ("/users/nobody/", 404, None),
        ("/users/%00/", 404, None),
        ("/users/%FF/", 404, None),
        ("/users/.twistd/", 404, None),
        ("/users/alice.twistd/", 502, None),
        ("/users/carol", 404, None),
    ],
)
@pytest_twisted.ensureDeferred
async def test_pages(agent, target, status, body):
    """A user's folder is served, but nothing outside of it and no hidden name; what is not offered is not there."""
    found = await get(agent(), target)
    assert found.status == status
    assert body is None or found.text == body


@pytest.mark.parametrize(
    ("at", "target", "location"),
    [
        ("/users", "/users", "./users/"),
        ("/users", "/users/alice", "./alice/"),
        ("/users", "/users/alice.twistd?a=b", "./alice.twistd/?a=b"),
        ("/", "/alice", "./alice/"),
    ],
)
def test_slash(agent, at, target, location):
    """The list and each user are directories: without the slash they are redirected."""
    found = agent(at).get(target)
    assert (found.status, found["Location"]) == (301, location)


@pytest_twisted.ensureDeferred
async def test_types(agent):
    """A file whose name says nothing is not shown as a page; a listing leaves out what is hidden."""
    asked = agent()
    assert (await get(asked, "/users/alice/notes"))["Content-Type"] == "application/octet-stream"
    listing = asked.get("/users/alice/sub%20dir/").text
    assert "a.txt" in listing
    assert ".b" not in listing


def test_methods(agent):
    """The list and the files are for reading."""
    asked = agent()
    assert asked.request("POST", "/users/").status == 405
    assert asked.request("DELETE", "/users/alice/notes").status == 405
    assert asked.request("HEAD", "/users/").body == b""


@pytest_twisted.ensureDeferred
async def test_settings(agent, home):
    """The folder and the socket may have other names."""
    (home / "bob" / "www" / "pages").mkdir(parents=True)
    (home / "bob" / "www" / "pages" / "index.html").write_text("bob's page")
    asked = agent(directory="www/pages", socket="none")
    assert (await get(asked, "/users/bob/")).text == "bob's page"
    assert asked.get("/users/alice/").status == 404
    assert asked.get("/users/alice.twistd/").status == 404


def test_servers_are_looked_up(agent, home):
    """A user's server is asked on the socket in the home directory."""
    asked = agent()
    for _ in range(3):
        asked.get("/users/alice.twistd/x")
    assert asked.threads.connected == [str(home / "alice" / ".twistd-web-pb")] * 3


@pytest.mark.parametrize(
    "options", [{"directory": "/etc"}, {"directory": ""}, {"socket": "../x"}, {"directory": "a/../b"}]
)
def test_wrong_settings(options):
    """A name that leads out of the home directory is refused."""
    with pytest.raises(ValueError, match="must be a path inside a home directory"):
        UserDirectory(**options)


def test_build():
    """The feature serves the users of this machine, and closes its connections when it stops."""
    services = []
    users = FEATURE.build(UserDirectory(), make_context(Threads(), add_service=services.append))
    assert SiteAgent(users).get("/").status == 200
    services[0].startService()
    services[0].stopService()
    assert users.sites == {}
