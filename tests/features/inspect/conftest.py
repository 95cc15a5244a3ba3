"""
A server with an inspector, in memory.
"""

import json

import pytest
from twisted.application.service import MultiService
from twisted.internet.task import Clock

from mixweb import Files, Host, Inspect, Respond
from mixweb.assemble import Assembler
from mixweb.engine.site import Site
from mixweb.feature import About
from mixweb.plan import Plan
from mixweb.testing import SiteAgent

TOKEN = "open-sesame"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
NOW = 1_800_000_000.0


class Inspected:
    """An assembled plan with an inspector in it, and what it tells."""

    def __init__(self, *settings, hosts=(), inspect=None, about=None, clock=None, **changes):
        self.clock = clock or Clock()
        if clock is None:
            self.clock.advance(NOW)
        self.about = about or About()
        inspect = inspect or Inspect(token=TOKEN, **changes)
        plan = Plan(default=Host(*settings, inspect, without=["accesslog"]), hosts=hosts)
        self.tree = Assembler(self.clock, about=self.about).assemble(plan)
        site = Site(self.tree.root, reactor=self.clock, max_body_bytes=1_000_000)
        site.observers += self.tree.observers
        self.site = site
        self.agent = SiteAgent(site, clock=self.clock)
        self.services = MultiService()
        self.tree.services.setServiceParent(self.services)
        self.services.startService()

    @property
    def recorder(self):
        """What keeps the requests."""
        return self.about.kept["inspect"].recorder

    def api(self, method, path, document=None, headers=None):
        """The answer to a request to the API, of somebody who has the token."""
        given = {**BEARER, **(headers or {})}
        if method == "GET":
            return self.agent.get(f"/~mix/api/{path}", given)
        body = b"" if document is None else json.dumps(document).encode()
        return self.agent.request(method, f"/~mix/api/{path}", {**given, "Content-Type": "application/json"}, body)

    def ask(self, path, method="GET", document=None):
        """The document that the API answers with."""
        answer = self.api(method, path, document)
        assert answer.status == 200, answer.text
        return json.loads(answer.body)

    def listed(self, **query):
        """The requests that the list tells of."""
        parts = "&".join(f"{name}={value}" for name, value in query.items())
        return self.ask(f"requests?{parts}")["requests"]

    def last(self):
        """All that is told of the last request."""
        return self.ask(f"requests/{self.listed()[-1]['id']}")


@pytest.fixture
def inspected(tmp_path):
    """Makes servers with an inspector; their services are stopped with the test."""
    (tmp_path / "index.html").write_text("<p>hello</p>")
    made = []

    def make(*settings, **options):
        made.append(Inspected(*(settings or (Files(tmp_path), Respond("hi", at="/hi"))), **options))
        return made[-1]

    yield make
    for server in made:
        server.services.stopService()
