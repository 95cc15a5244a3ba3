"""
Probes: they note who comes by, and change nothing.
"""

import pytest
from twisted.internet.task import Clock
from twisted.web.resource import Resource
from zope.interface import implementer

from mixweb import Respond
from mixweb.assemble import Assembler, Watched
from mixweb.engine.body import IBodyReceiver
from mixweb.engine.site import Site
from mixweb.feature import Mount, MountSettings, option
from mixweb.plan import Host, Plan
from mixweb.registry import Registry, registry
from mixweb.route import Probe, Trace, bare
from mixweb.testing import SiteAgent
from mixweb.wrapper import Declined
from tests.samples import SAMPLES, Echo, Files, Goto, Tag


class Witness(Trace):
    """A trace that sees bodies, too."""

    def __init__(self):
        super().__init__()
        self.bodies = []

    def received(self, data):
        self.bodies.append(data)

    def sent(self, data):
        self.bodies.append(data)


class Watching(MountSettings):
    """Settings of a mount that watches."""

    at: str = option("/watching", help="Path.", kw_only=True)


def agents(*settings, found=SAMPLES):
    """The same plan without and with probes, and what the latter have noted of each request."""
    seen = []

    def watch(request):
        request.witness = Witness()
        seen.append(request.witness)

    def build(item, context):
        context.watch(watch)
        return Resource()

    probed = Registry([*found.features.values(), Mount("watching", Watching, build, watches=True)])
    plain = Assembler(Clock(), found=found).assemble(Plan(default=Host(*settings)))
    watched = Assembler(Clock(), found=probed).assemble(Plan(default=Host(*settings, Watching(at="/watching"))))
    assert isinstance(watched.root, Watched)
    assert not isinstance(plain.root, (Watched, Probe))
    return SiteAgent(Site(plain.root, reactor=Clock())), SiteAgent(Site(watched.root, reactor=Clock())), seen


@pytest.mark.parametrize("target", ["/", "/a/b", "/echo", "/echo/declined", "/goto///x?y", "/none/declined", "/%00"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "BREW"])
def test_transparent(method, target):
    """Answers are the same with probes and without."""
    plain, watched, seen = agents(Files(), Echo(), Goto(), Tag("x", paths=["/echo/"]))
    before, after = plain.request(method, target), watched.request(method, target)
    assert (before.status, before.body) == (after.status, after.body)
    one, other = (dict(item.headers.getAllRawHeaders()) for item in (before, after))
    one.pop(b"Date"), other.pop(b"Date")
    assert one == other
    assert len(seen) == 1


def test_steps():
    """The parts are noted in the order that a request comes to them, with what they make of the answer."""
    _, watched, seen = agents(Files(), Echo(), Tag("x", paths=["/echo/"]))
    watched.get("/echo/declined")
    steps = seen[0].steps
    assert [(step.station.name, step.declined) for step in steps] == [
        ("default", False), ("tag", False), ("mounts", False), ("echo", True), ("files", True),
    ]  # fmt: skip
    assert [step.entered for step in steps] == sorted(step.entered for step in steps)
    assert all(step.passed >= steps[-1].entered for step in steps)
    assert b"X-Tags" not in steps[2].after
    assert steps[0].after[b"X-Tags"] == (b"x",)


@implementer(IBodyReceiver)
class Hasty(Resource):
    """Declines, at once or when the body is there."""

    isLeaf = True

    def __init__(self, late):
        super().__init__()
        self.late = late

    def render(self, request):
        if self.late:
            request.when_body(self.decline)
            return 1
        raise Declined

    def decline(self, request):
        raise Declined


@pytest.mark.parametrize("late", [False, True])
def test_declined_while_the_body_arrives(late):
    """A mount that declines after it has waited for the body is noted, and the next one answers."""

    class Late(MountSettings):
        pass

    features = [
        *registry().features.values(),
        Mount("late", Late, lambda settings, context: Hasty(late), declines=True),
    ]
    _, watched, seen = agents(Late(at="/a"), Respond("next"), found=Registry(features))
    exchange = watched.connect()
    exchange.request("POST", "/a/x", {"Content-Length": "4"})
    exchange.send(b"bo")
    exchange.send(b"dy")
    assert exchange.answer.status in (200, 405)
    declined = {step.station.name: step.declined for step in seen[0].steps}
    assert (declined["late"], declined["respond"]) == (True, False)
    assert b"".join(seen[0].bodies).startswith(b"body")


def test_bare():
    """What stands behind a probe is found, and what has none in front is itself."""
    resource = Resource()
    assert bare(Probe(None, resource)) is resource
    assert bare(resource) is resource
