"""
A proxy in memory, in front of servers in memory.
"""

import pytest
from twisted.internet.task import Clock

from mixweb.assemble import Assembler
from mixweb.engine.site import Site
from mixweb.features.proxy import Proxy
from mixweb.plan import Host, Plan
from mixweb.testing import SiteAgent
from tests.upstreams import HELLO, Server


class Behind:
    """
    A server with a proxy in it.

    :ivar servers: what stands behind it.
    :ivar agent: a client of it.
    """

    def __init__(self, *servers, others=(), secure=False, max_body_bytes=1 << 30, **settings):
        self.clock = Clock()
        self.servers = servers or (Server(HELLO),)
        given = Plan(
            default=Host(Proxy(list(self.servers), **settings), *others, without=["accesslog", "secureheaders"])
        )
        tree = Assembler(self.clock).assemble(given)
        tree.services.startService()
        self.services = tree.services
        self.agent = SiteAgent(
            Site(tree.root, reactor=self.clock, max_body_bytes=max_body_bytes), clock=self.clock, secure=secure
        )
        self.get, self.open, self.request = self.agent.get, self.agent.open, self.agent.request

    @property
    def server(self):
        """The only server."""
        (server,) = self.servers
        return server

    def wait(self, seconds):
        """Let time pass, second by second."""
        for _ in range(int(seconds)):
            self.clock.advance(1)

    def asked(self, *arguments, **more):
        """The head of the request that the server got, as a list of lines."""
        self.request(*arguments, **more)
        return self.server.last.received.split(b"\r\n\r\n")[-2].decode("latin-1").split("\r\n")

    def is_sound(self):
        """Whether the next request is answered as it should be, with nothing of an earlier one in it."""
        self.server.answer = HELLO
        answer = self.get("/sound")
        return answer.status == 200 and answer.text == "hello" and answer.interim == ()


@pytest.fixture
def behind():
    """Makes proxies: ``behind(server, ..., **settings)``."""
    return Behind
