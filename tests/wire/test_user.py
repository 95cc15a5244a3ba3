"""
A user's own server behind the one that has the port, over a real socket.
"""

import os
import tempfile
from types import SimpleNamespace

import pytest
import pytest_twisted
import treq
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint, UNIXServerEndpoint
from twisted.spread import pb
from twisted.web import distrib
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from twisted.web.server import Site as StockSite
from twisted.web.static import File

from mixweb.engine.site import Site
from mixweb.features.user import Homes, UserDirectory, UserDirectoryResource
from mixweb.shared import personal_factory


class Pages(Resource):
    """What a user publishes."""

    def __init__(self, folder):
        super().__init__()
        self.putChild(b"", self)
        self.putChild(b"file", File(folder))
        self.putChild(b"wait", Waiting())

    def render_GET(self, request):
        return b"my own server"

    def render_POST(self, request):
        return request.content.read()[::-1]


class Waiting(Resource):
    """Never answers."""

    isLeaf = True

    def __init__(self):
        super().__init__()
        self.asked = Deferred()
        self.left = Deferred()

    def render_GET(self, request):
        request.notifyFinish().addErrback(lambda _: self.left.callback(None))
        self.asked.callback(None)
        return NOT_DONE_YET


class Machine:
    """A server with the port, and the one of the user ``me``."""

    def __init__(self, home):
        self.home = home
        account = SimpleNamespace(pw_name="me", pw_uid=os.getuid(), pw_gecos="", pw_dir=home)
        accounts = SimpleNamespace(getpwall=lambda: [account], getpwnam={"me": account}.__getitem__)
        self.users = UserDirectoryResource(Homes(UserDirectory(), accounts), reactor)
        self.pages = Pages(home)
        self.pool = HTTPConnectionPool(reactor)
        self.agent = Agent(reactor, pool=self.pool)

    async def start(self):
        self.port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(Site(self.users))
        self.url = f"http://127.0.0.1:{self.port.getHost().port}/me.twistd/"

    async def publish(self, kind):
        """Start the user's server."""
        factory = (
            personal_factory(Site(self.pages))
            if kind == "mixweb"
            else pb.PBServerFactory(distrib.ResourcePublisher(StockSite(self.pages)))
        )
        self.personal = await UNIXServerEndpoint(reactor, os.path.join(self.home, ".twistd-web-pb")).listen(factory)

    async def ask(self, path="", method="GET", **options):
        response = await treq.request(method, self.url + path, agent=self.agent, **options)
        return response.code, await response.content()

    async def stop(self):
        self.users.disconnect()
        await self.pool.closeCachedConnections()
        await self.port.stopListening()
        if getattr(self, "personal", None):
            await self.personal.stopListening()


@pytest_twisted.async_yield_fixture
async def machine():
    """A machine with one user, in a folder whose path is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="mw") as home:
        made = Machine(home)
        await made.start()
        yield made
        await made.stop()


@pytest.mark.parametrize("kind", ["mixweb", "twisted"])
@pytest_twisted.ensureDeferred
async def test_pages(machine, kind):
    """The pages, forms and files of the user's server come through the other one, unchanged."""
    content = os.urandom(3_000_000)
    with open(os.path.join(machine.home, "big"), "wb") as file:
        file.write(content)
    await machine.publish(kind)
    assert await machine.ask() == (200, b"my own server")
    assert await machine.ask(method="POST", data=b"abc") == (200, b"cba")
    assert await machine.ask("file/big") == (200, content)
    assert (await machine.ask("none"))[0] == 404


@pytest_twisted.ensureDeferred
async def test_long_upload(machine):
    """A form that is longer than one message of the protocol arrives whole."""
    content = os.urandom(2_000_000)
    await machine.publish("mixweb")
    assert await machine.ask(method="POST", data=content) == (200, content[::-1])


@pytest_twisted.ensureDeferred
async def test_restart(machine):
    """While the user's server is down the answer is an error; when it is back its pages are."""
    assert (await machine.ask())[0] == 404
    await machine.publish("mixweb")
    assert (await machine.ask())[0] == 200
    await machine.personal.stopListening()
    machine.users.disconnect()
    assert (await machine.ask())[0] in (404, 502)
    await machine.publish("mixweb")
    assert await machine.ask() == (200, b"my own server")


@pytest_twisted.ensureDeferred
async def test_client_leaves(machine):
    """The user's server learns that a client of the other one has left."""
    await machine.publish("mixweb")
    waiting = machine.pages.children[b"wait"]
    asked = treq.get(machine.url + "wait", agent=machine.agent)
    asked.addErrback(lambda _: None)
    await waiting.asked.addTimeout(5, reactor)
    asked.cancel()
    await waiting.left.addTimeout(5, reactor)
