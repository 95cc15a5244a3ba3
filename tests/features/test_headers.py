"""
Headers set, added and removed.
"""

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from mixweb.assemble import Assembler
from mixweb.features.headers import Headers, HeadersWrapper
from mixweb.features.respond import Respond
from mixweb.plan import Host, Plan
from mixweb.testing import SiteAgent


class Call(Resource):
    """Answers with what a function returns."""

    isLeaf = True

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def render_GET(self, request):
        request.setHeader(b"X-Own", b"own")
        request.setHeader(b"X-Other", b"other")
        request.addCookie(b"a", b"b")
        return self.answer(request)


def whole(request):
    return b"x"


def later(request):
    waiting = Deferred()
    waiting.addCallback(lambda _: b"x")
    request.notifyFinish()
    waiting.callback(None)
    return waiting


def written(request):
    request.write(b"x")
    request.finish()
    return NOT_DONE_YET


@pytest.mark.parametrize("answer", [whole, later, written])
@pytest.mark.parametrize(
    ("settings", "sent"),
    [
        ({}, {"X-Own": "own", "X-Other": "other", "Set-Cookie": "a=b", "Server": "mixweb"}),
        ({"set": ["X-Foo: Foobar"]}, {"X-Foo": "Foobar", "X-Own": "own"}),
        ({"set": ["x-own: mine", "X-OWN: yours"]}, {"X-Own": "mine, yours"}),
        ({"set": ["Server: other"]}, {"Server": "other"}),
        ({"add": ["X-Own: mine", "X-New: n"]}, {"X-Own": "own, mine", "X-New": "n"}),
        ({"remove": ["x-own"]}, {"X-Own": None, "X-Other": "other"}),
        ({"remove": ["X-*"]}, {"X-Own": None, "X-Other": None, "Set-Cookie": "a=b"}),
        ({"remove": ["set-cookie", "server"]}, {"Set-Cookie": None, "Server": None, "X-Own": "own"}),
        ({"remove": ["x-ow"]}, {"X-Own": "own"}),
        ({"remove": ["X-Own"], "add": ["X-Own: new"]}, {"X-Own": "new"}),
        ({"set": ["X-Own: new"], "add": ["X-Own: more"]}, {"X-Own": "new, more"}),
        ({"set": ["X-Empty:"]}, {"X-Empty": ""}),
        ({"set": ["X-Umlaut: é"]}, {"X-Umlaut": "é"}),
    ],
)
def test_answers(settings, sent, answer):
    """Headers of the answer are removed, set and added, in this order, however the resource answers."""
    found = SiteAgent(HeadersWrapper(Headers(**settings), Call(answer))).get("/")
    assert {name: found[name] for name in sent} == sent
    assert found.body == b"x"


@pytest.mark.parametrize(("method", "status"), [("GET", 500), ("POST", 405), ("OPTIONS", 204), ("BREW", 501)])
def test_errors(method, status):
    """Errors have them too, and answers that no resource made."""
    wrapped = HeadersWrapper(Headers(["X-Foo: bar"]), Call(lambda request: 1 / 0))
    found = SiteAgent(wrapped).request(method, "/")
    assert (found.status, found["X-Foo"]) == (status, "bar")


def test_framing_stays():
    """A glob takes away everything but what frames the message."""
    found = SiteAgent(HeadersWrapper(Headers(remove=["*"]), Call(whole))).get("/")
    assert [name for name, _ in found.headers.getAllRawHeaders()] == [b"Content-Length"]
    found = SiteAgent(HeadersWrapper(Headers(remove=["*"]), Call(written))).get("/")
    assert [name for name, _ in found.headers.getAllRawHeaders()] == [b"Transfer-Encoding"]


def seen(request):
    names = (b"Range", b"X-A", b"X-B", b"Host", b"Content-Length")
    return b"|".join(b",".join(request.requestHeaders.getRawHeaders(name, [])) for name in names)


@pytest.mark.parametrize(
    ("settings", "body"),
    [
        ({}, b"bytes=0-1|1|2|localhost|"),
        ({"request_remove": ["range"]}, b"|1|2|localhost|"),
        ({"request_remove": ["X-*", "nothing"]}, b"bytes=0-1|||localhost|"),
        ({"request_remove": ["*"]}, b"|||localhost|"),
        ({"request_set": ["X-A: 5", "X-A: 6"]}, b"bytes=0-1|5,6|2|localhost|"),
        ({"request_set": ["X-A: 5"], "request_remove": ["*"]}, b"|5||localhost|"),
    ],
)
def test_requests(settings, body):
    """Resources see the request without what is removed and with what is set; its host stays."""
    agent = SiteAgent(HeadersWrapper(Headers(**settings), Call(seen)))
    assert agent.get("/", {"Range": "bytes=0-1", "X-A": "1", "X-B": "2"}).body == body


def test_beside_the_secure_headers():
    """What is set here counts more than what the server adds by itself."""
    plan = Plan(default=Host(Respond("x"), Headers(["X-Frame-Options: SAMEORIGIN"])))
    found = SiteAgent(Assembler(Clock()).assemble(plan).root).get("/")
    assert (found["X-Frame-Options"], found["X-Content-Type-Options"]) == ("SAMEORIGIN", "nosniff")


@pytest.mark.parametrize("setting", ["set", "add", "request_set"])
@pytest.mark.parametrize(
    "line", ["X", "X Y: z", "A: b\r\nC: d", "Content-Length: 1", "Transfer-Encoding: x", "Connection: x"]
)
def test_refused_lines(setting, line):
    """A malformed line, or one that frames the message, is an error that names the setting."""
    with pytest.raises(ValueError, match=f"^{setting}: "):
        Headers(**{setting: [line]})


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("remove", "Content-Length"),
        ("request_remove", "Host"),
        ("request_set", "Host: x"),
        ("request_remove", "upgrade"),
    ],
)
def test_refused_names(setting, value):
    """Neither framing nor the host a request is for can be changed."""
    with pytest.raises(ValueError, match=f"^{setting}: .* cannot be changed"):
        Headers(**{setting: [value]})
