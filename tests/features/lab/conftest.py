"""
A lab and a client of it.
"""

import pytest
from twisted.internet.task import Clock

from mixweb.assemble import Assembler
from mixweb.engine.site import Site
from mixweb.features.lab import Lab
from mixweb.plan import Host, Plan
from mixweb.testing import SiteAgent


class LabAgent(SiteAgent):
    """Asks a lab, and lets its time pass."""

    def __init__(self, *settings, secure=False):
        clock = Clock()
        plan = Plan(default=Host(*settings, without=["accesslog", "secureheaders"]))
        tree = Assembler(clock).assemble(plan)
        super().__init__(Site(tree.root, reactor=clock), peer="192.0.2.7", secure=secure, clock=clock)

    def ask(self, target, headers=(), method="GET", body=b""):
        """The answer of an endpoint, whatever time it takes."""
        exchange = self.open(method, target, headers, body)
        for _ in range(20_000):
            if exchange.answers():
                break
            self.clock.advance(0.02)
        return exchange.answer


@pytest.fixture
def make_lab():
    """Makes a lab with settings."""
    return lambda secure=False, **settings: LabAgent(Lab(**settings), secure=secure)


@pytest.fixture
def lab(make_lab):
    """A lab at /lab."""
    return make_lab()
