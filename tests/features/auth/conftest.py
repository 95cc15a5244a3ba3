"""
Sites with a guard, and clients that keep cookies.
"""

import json
from base64 import b64encode
from dataclasses import dataclass, replace
from urllib.parse import urlencode

import pytest
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.web.resource import Resource

from mixweb.assemble import Assembler
from mixweb.engine.site import Site
from mixweb.feature import Mount, MountSettings
from mixweb.interfaces import IUser
from mixweb.plan import Host, Plan, Server
from mixweb.registry import Registry, registry
from mixweb.testing import SiteAgent

ALICE, BOB = "Wonder-land1", "Looking-glass2"

#: What a browser sends when a person goes to a page.
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8", "Sec-Fetch-Mode": "navigate"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/json", "Accept": "application/json"}


@dataclass(frozen=True)
class Who(MountSettings):
    """Says who asks."""


class WhoResource(Resource):
    """Says who asks, as JSON."""

    isLeaf = True

    def render_GET(self, request):
        user = IUser(request, None)
        request.setHeader(b"Content-Type", b"application/json")
        return json.dumps(user and [user.name, sorted(user.roles), user.scheme]).encode()

    def render_POST(self, request):
        return b"posted"


def basic(name, password):
    """The field for a name and password."""
    return {"Authorization": "Basic " + b64encode(f"{name}:{password}".encode()).decode()}


def bearer(token):
    """The field for a token."""
    return {"Authorization": f"Bearer {token}"}


class Client:
    """Sends requests, and the cookies that it was given."""

    def __init__(self, agent):
        self.agent = agent
        self.clock = agent.clock
        self.cookies = {}

    def request(self, method, target, headers=(), body=b""):
        sent = dict(headers)
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        answer = self.agent.request(method, target, sent, body)
        for line in answer.headers.getRawHeaders("Set-Cookie", []):
            name, _, value = line.partition(";")[0].partition("=")
            if not value or "max-age=0" in line.lower():
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = value
        return answer

    def get(self, target, headers=()):
        return self.request("GET", target, headers)

    def browse(self, target):
        """Go to a page as a person in a browser does."""
        return self.get(target, BROWSER)

    def submit(self, target, **fields):
        """Send a form as a browser does."""
        return self.request("POST", target, BROWSER | FORM, urlencode(fields).encode())

    def post(self, target, headers=(), **members):
        """Send JSON as a program does."""
        return self.request("POST", target, JSON | dict(headers), json.dumps(members).encode())

    def who(self, target="/", headers=()):
        """Whom the site takes this client for."""
        answer = self.get(target, headers)
        assert answer.status == 200, answer.text
        return answer.body and json.loads(answer.body)

    def other(self, peer=None):
        """Another client of the same site, maybe at another address."""
        return Client(SiteAgent(self.agent.site, peer=peer or self.agent.peer, clock=self.clock))


class Guarded:
    """
    A site.

    :ivar warnings: what was said at start.
    """

    def __init__(self, *settings, clock=None, store="memory:", without=("accesslog", "secureheaders")):
        self.clock = clock or Clock()
        if not self.clock.seconds():
            self.clock.advance(1_800_000_000)
        plan = Plan(Server(store=store), Host(Who(), *settings, without=without))
        features = [*registry().features.values(), Mount("who", Who, lambda settings, context: WhoResource())]
        tree = Assembler(self.clock, found=Registry(features)).assemble(plan)
        self.warnings = tree.warnings
        self.services = tree.services
        tree.services.startService()
        self.site = Site(tree.root, reactor=self.clock)
        self.site.observers += tree.observers

    def client(self, peer="127.0.0.1", secure=False):
        """A client of it."""
        return Client(SiteAgent(self.site, peer=peer, secure=secure, clock=self.clock))


@pytest.fixture
def users(tmp_path):
    """A file of users with hashes that cost nothing to check."""
    path = tmp_path / "users"
    path.write_text(f"alice:{ALICE}:admin,staff\nbob:{BOB}\n")
    return path


@pytest.fixture
def guarded():
    """Makes sites; their services end with the test."""
    made = []

    def make(*settings, **more):
        made.append(Guarded(*settings, **more))
        return made[-1]

    yield make
    for site in made:
        site.services.stopService()


@pytest.fixture
def events():
    """The lines that the log of logins got."""
    seen = []

    def observe(event):
        if event.get("log_namespace") == "mixweb.auth":
            seen.append(event["log_format"].format(**event))

    globalLogPublisher.addObserver(observe)
    yield seen
    globalLogPublisher.removeObserver(observe)


@pytest.fixture
def settings(users):
    """The settings that most tests change something about."""
    from mixweb.features.auth import Auth

    return lambda **changes: replace(Auth(users, rehash=False), **changes)
