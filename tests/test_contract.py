"""
What every feature owes: the same checks for all of them.

A feature is tried with its default settings, or with what ``sample(tmp_path)`` in its own test module returns.
"""

from importlib import import_module
from importlib.util import find_spec

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.web.resource import Resource
from twisted.web.util import Redirect

from mixweb.assemble import Assembler
from mixweb.engine.site import Site
from mixweb.feature import Mount, Stage, Wrap
from mixweb.plan import Host, Plan
from mixweb.registry import Registry, registry
from mixweb.testing import SiteAgent
from tests.samples import Tag, wrap_tag

MOUNTS = [name for name, feature in registry().features.items() if isinstance(feature, Mount)]
WRAPPERS = [name for name, feature in registry().features.items() if isinstance(feature, Wrap)]
SPELLINGS = [
    "{at}", "/{at}", "/.{at}", "/%2e{at}", "/x/..{at}", "/x/%2e%2E{at}", "/../..{at}", "{at}/", "{at}/.", "{at}/x/..",
    "{at}//", "{encoded}", "{at}?q=/../x",
]  # fmt: skip
NASTY = [
    "/%00", "/..%2f..%2fetc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/....//etc/passwd", "/%c0%ae%c0%ae/x", "/" + "a" * 5000,
    "/a" * 1000, "/%ff%fe", "/~root/", "/CON", "/.git/config", "//evil.example/", "/%0d%0aX-Evil:1", "/<script>",
]  # fmt: skip


def sample(name, tmp_path, **changes):
    """Settings of a feature to try it with."""
    own = name.replace("-", "_")
    for module in (f"tests.features.test_{own}", f"tests.features.{own}.test_{own}"):
        try:
            found = find_spec(module)
        except ModuleNotFoundError:
            found = None
        if found is not None and hasattr(import_module(module), "sample"):
            return import_module(module).sample(tmp_path, **changes)
    return registry().features[name].settings(**changes)


def agent_of(*settings, reactor, site=None, without=("accesslog", "secureheaders")):
    """A client of an assembled plan with a wrapper in it that leaves its mark."""
    features = [*registry().features.values(), Wrap("tag", Stage.AUTH, Tag, wrap_tag)]
    plan = Plan(default=Host(*settings, without=without))
    tree = Assembler(reactor, found=Registry(features)).assemble(plan)
    agent = SiteAgent(Site(tree.root, reactor=reactor, max_body_bytes=1000), clock=reactor, **reactor.protocol)
    agent.site.observers += tree.observers
    return agent


@pytest.fixture(params=[{}, {"secure": True}, {"http2": True}], ids=["http1", "tls", "http2"])
def clock(request, monkeypatch, tmp_path):
    """A reactor's time, in a folder of its own; it knows what agents are to speak."""
    from twisted.internet.task import Clock

    monkeypatch.chdir(tmp_path)
    (tmp_path / "index.html").write_text("<p>hello</p>")
    made = Clock()
    made.protocol = request.param
    return made


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("name", MOUNTS)
def test_a_rule_meets_every_spelling(name, spelling, clock, tmp_path):
    """What is in front of a mount is in front of every way to write its path."""
    agent = agent_of(sample(name, tmp_path, at="/mounted"), Tag("seen", paths=["/mounted/"]), reactor=clock)
    exchange = agent.open("GET", spelling.format(at="/mounted", encoded="/%6Dounted"))
    assert b"X-Tags: seen" in exchange.received or exchange.answers() == []


@pytest.mark.parametrize(
    "spelling", [*SPELLINGS, "http://localhost{at}", "{at}?", "{at}/%2e%2e%2f%2e%2e/x", "{at};x/..{at}"]
)
@pytest.mark.parametrize("name", MOUNTS)
def test_a_guard_meets_every_spelling(name, spelling, clock, tmp_path):
    """What is guarded is guarded however it is asked for: a stranger gets nothing of any mount but the question who it is."""
    (tmp_path / "users").write_text("alice:secret\n")
    target = spelling.format(at="/mounted", encoded="/%6Dounted")
    for guard in ({"paths": ["/mounted/"]}, {"rules": ["/mounted/ #admin", "/ anyone"]}, {"secrets": ["mounted"]}):
        auth = registry().features["auth"].settings(str(tmp_path / "users"), **guard)
        agent = agent_of(sample(name, tmp_path, at="/mounted"), auth, reactor=clock)
        for method in ("GET", "HEAD", "POST", "OPTIONS", "BREW"):
            if target.startswith("/") or not agent.http2:
                assert agent.request(method, target).status == 401, (guard, method)
            else:
                assert agent.open(method, target).answers() == []


@pytest.mark.parametrize("path", NASTY)
@pytest.mark.parametrize("name", MOUNTS)
def test_nasty_paths(name, path, clock, tmp_path, failures):
    """No path makes a mount fail, leave its folder, echo markup or split a response."""
    agent = agent_of(sample(name, tmp_path, at="/mounted"), reactor=clock)
    for target in (path, f"/mounted{path}"):
        exchange = agent.open("GET", target.replace("<", "%3C").replace(">", "%3E"))
        received = exchange.received
        assert b"root:x" not in received
        assert b"\r\nX-Evil" not in received
        for answer in exchange.answers():
            assert answer.status < 500, target
    assert failures == []


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "BREW", "DELETE"])
@pytest.mark.parametrize("name", MOUNTS)
def test_methods(name, method, clock, tmp_path, failures):
    """HEAD has no body, a 405 says what is allowed, nothing fails."""
    agent = agent_of(sample(name, tmp_path, at="/mounted"), reactor=clock)
    for answer in agent.open(method, "/mounted/").answers():
        assert answer.status < 500 or answer.status == 501
        assert not (method == "HEAD" and answer.body)
        if answer.status == 405:
            assert "OPTIONS" in answer["Allow"]
    assert failures == []


class Pages(Resource):
    """A page of each kind."""

    def __init__(self):
        super().__init__()
        self.waiting = []
        for name in ("whole", "late", "pieces", "written", "wrong", "unchanged", "text", "never", "get"):
            self.putChild(name.encode(), Page(self, getattr(self, name)))
        self.putChild(b"elsewhere", Redirect(b"/whole"))

    def whole(self, request):
        return b"whole"

    def text(self, request):
        return "téxt"

    def late(self, request):
        return succeed(b"late")

    async def pieces(self, request):
        yield b"pie"
        yield b"ces"

    def written(self, request):
        request.write(b"writ")
        request.write(b"ten")
        request.finish()
        return 1

    def wrong(self, request):
        raise KeyError("secret")

    def unchanged(self, request):
        request.setResponseCode(304)
        return b""

    def never(self, request):
        self.waiting.append(Deferred(lambda d: self.waiting.append("cancelled")))
        return self.waiting[0]

    def get(self, request):
        return b"only"


class Page(Resource):
    """Answers GET with a function."""

    isLeaf = True

    def __init__(self, pages, answer):
        super().__init__()
        self.answer = answer

    def render_GET(self, request):
        return self.answer(request)


def wrapped(name, clock, tmp_path):
    """The pages behind a wrapper, and what was observed."""
    feature = registry().features[name]
    observers, pages = [], Pages()
    from mixweb.testing import make_context

    context = make_context(clock, observe=observers.append)
    resource = feature.build(sample(name, tmp_path), pages, context)
    agent = SiteAgent(Site(resource, reactor=clock, max_body_bytes=1000), clock=clock, **clock.protocol)
    agent.site.observers += observers
    seen = []
    agent.site.observers.append(seen.append)
    return agent, pages, seen


@pytest.mark.parametrize(
    ("method", "path", "status", "body"),
    [
        ("GET", "/whole", 200, "whole"),
        ("GET", "/text", 200, "téxt"),
        ("GET", "/late", 200, "late"),
        ("GET", "/pieces", 200, "pieces"),
        ("GET", "/written", 200, "written"),
        ("HEAD", "/whole", 200, ""),
        ("HEAD", "/pieces", 200, ""),
        ("GET", "/none", 404, None),
        ("GET", "/wrong", 500, None),
        ("GET", "/unchanged", 304, ""),
        ("GET", "/elsewhere", 302, None),
        ("POST", "/get", 405, None),
        ("OPTIONS", "/get", 204, ""),
        ("BREW", "/get", 501, None),
    ],
)
@pytest.mark.parametrize("name", WRAPPERS)
def test_wrappers_keep_answers(name, method, path, status, body, clock, tmp_path, failures):
    """A wrapper with nothing to do leaves every kind of answer as it is, and each request is observed once."""
    agent, _, seen = wrapped(name, clock, tmp_path)
    answer = agent.request(method, path)
    assert answer.status == status
    if body is not None:
        assert answer.text == body
    assert "secret" not in answer.text
    assert [request.code for request in seen] == [status]
    assert len(failures) == (status == 500)


@pytest.mark.parametrize("name", WRAPPERS)
def test_wrappers_and_clients_that_leave(name, clock, tmp_path, failures):
    """When a client leaves, what waits behind a wrapper is cancelled; nothing fails, the request is observed once."""
    agent, pages, seen = wrapped(name, clock, tmp_path)
    exchange = agent.open("GET", "/never")
    exchange.disconnect()
    assert pages.waiting[1:] == ["cancelled"]
    assert len(seen) == 1
    assert failures == []


@pytest.mark.parametrize("name", WRAPPERS)
def test_wrappers_and_bodies_too_big(name, clock, tmp_path):
    """A body that is too big is 413 whatever stands in front."""
    agent, _, seen = wrapped(name, clock, tmp_path)
    assert agent.request("POST", "/get", body=b"x" * 1001).status == 413
    assert len(seen) == 1
