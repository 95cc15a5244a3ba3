"""
Limits by path.
"""

import pytest
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from mixweb.assemble import Assembler
from mixweb.engine.body import IBodyReceiver
from mixweb.engine.site import Site
from mixweb.feature import Mount, MountSettings
from mixweb.features.limit import Limit
from mixweb.plan import Host, Plan
from mixweb.registry import Registry, registry
from mixweb.testing import SiteAgent


def sample(tmp_path, **changes):
    """No more than the server takes in the tests of all features."""
    return Limit(**{"max_body_bytes": 1000, **changes})


class Keep(Resource):
    """Says how long the body is."""

    isLeaf = True

    def render_POST(self, request):
        return b"%d" % len(request.content.read())


@implementer(IBodyReceiver)
class Receive(Resource):
    """The same, while it arrives."""

    isLeaf = True

    def render_POST(self, request):
        pieces = []
        request.receive_body(pieces.append, lambda: request.complete(b"%d" % len(b"".join(pieces))))
        return NOT_DONE_YET


class Kept(MountSettings):
    """Keep."""


class Received(MountSettings):
    """Receive."""


def agent_of(*settings):
    """A client of a server that takes bodies of 100 bytes."""
    mounts = [Mount("kept", Kept, lambda *_: Keep()), Mount("received", Received, lambda *_: Receive())]
    found = Registry([*registry().features.values(), *mounts])
    plan = Plan(default=Host(Kept(), Received(at="/received"), *settings, without=["accesslog"]))
    return SiteAgent(Site(Assembler(None, found=found).assemble(plan).root, max_body_bytes=100))


ROWS = [
    ([], "/a", 100, True),
    ([], "/a", 101, False),
    ([Limit(10)], "/a", 10, True),
    ([Limit(10)], "/a", 11, False),
    ([Limit(0)], "/a", 1, False),
    ([Limit(100_000)], "/a", 100_000, True),
    ([Limit(100_000)], "/a", 100_001, False),
    ([Limit(10, paths=["/x/"])], "/a", 100, True),
    ([Limit(10, paths=["/x/"])], "/x/a", 11, False),
    ([Limit(10, paths=["/x/"])], "//%78/a", 11, False),
    ([Limit(10, except_paths=["/x/"])], "/x/a", 11, True),
    ([Limit(10), Limit(1000, paths=["/x/"])], "/x/a", 1000, True),
    ([Limit(10), Limit(1000, paths=["/x/"])], "/a", 11, False),
    ([Limit(1000), Limit(10, paths=["/x/"])], "/x/a", 11, False),
]


@pytest.mark.parametrize(("settings", "path", "length", "accepted"), ROWS)
@pytest.mark.parametrize("mount", ["", "/received"])
@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("at_once", [True, False])
def test_limits(settings, path, length, accepted, mount, chunked, at_once):
    """The limit of a path, lower or higher than the server's, holds for all bodies; of several the one that stands last."""
    if mount:
        settings = [Limit(item.max_body_bytes, paths=[f"{mount}{path}" for path in item.paths],
                          except_paths=[f"{mount}{path}" for path in item.except_paths]) for item in settings]  # fmt: skip
    body = bytes(length)
    headers = {"Content-Length": str(length)}
    if chunked:
        pieces = [piece for piece in (body[: length // 2], body[length // 2 :]) if piece]
        body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in [*pieces, b""])
        headers = {"Transfer-Encoding": "chunked"}
    exchange = agent_of(*settings).open("POST", mount + path, headers, body if at_once else b"")
    if not at_once and (accepted or chunked):
        exchange.send(body)
    answer = exchange.answer
    assert answer.status == (200 if accepted else 413)
    assert answer.text == str(length) if accepted else answer["Connection"] == "close"


def test_refused_at_once():
    """A body that is announced as too long is not asked for."""
    agent = agent_of(Limit(10))
    exchange = agent.open("POST", "/a", {"Content-Length": "11", "Expect": "100-continue"})
    assert (exchange.answer.status, exchange.answer.interim) == (413, ())
    exchange = agent.open("POST", "/a", {"Content-Length": "10", "Expect": "100-continue"})
    assert exchange.received == b"HTTP/1.1 100 Continue\r\n\r\n"


def test_requests_without_a_body():
    """A request without a body meets no limit."""
    assert agent_of(Limit(0)).get("/a").status == 405


def test_refused():
    """A limit is a number of bytes."""
    with pytest.raises(ValueError, match="max_body_bytes must not be negative"):
        Limit(-1)
