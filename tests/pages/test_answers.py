"""
What handlers may return and raise.
"""

import json
from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum
from uuid import UUID

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from twisted.web.static import Data
from twisted.web.template import Element, TagLoader, renderer, tags

from mixweb.engine.site import Site
from mixweb.pages import Html, HTTPError, Pages, Redirect, Request, TypedText
from mixweb.testing import SiteAgent

HTML = "text/html; charset=utf-8"


class Colour(Enum):
    RED = "red"


@dataclass
class Part:
    name: str
    when: date


class Greeting(Element):
    loader = TagLoader(tags.p(render="name"))

    @renderer
    def name(self, request, tag):
        return tag("<", request.path.decode(), ">")


def generator():
    yield "é"
    yield b"2"


async def async_generator():
    yield "é"
    await succeed(None)
    yield b"2"


async def late(value):
    await succeed(None)
    return value


SOME = UUID("12345678-1234-5678-1234-567812345678")
RETURNED = [
    (lambda: "é", 200, HTML, "é"),
    (lambda: "", 200, HTML, ""),
    (lambda: Html("<b>"), 200, HTML, "<b>"),
    (lambda: TypedText("a,b", "text/csv"), 200, "text/csv", "a,b"),
    (lambda: b"bytes", 200, "text/html", "bytes"),
    (lambda: {"a": "é", "b": [1, None]}, 200, "application/json", '{"a":"é","b":[1,null]}'),
    (lambda: Part("x", date(2026, 1, 2)), 200, "application/json", '{"name":"x","when":"2026-01-02"}'),
    (
        lambda: {"parts": [Part("x", date(2026, 1, 2))]},
        200,
        "application/json",
        '{"parts":[{"name":"x","when":"2026-01-02"}]}',
    ),
    (
        lambda: {"a": datetime(2026, 1, 2, 3), "b": SOME, "c": Colour.RED, "d": {3, 1}},
        200,
        "application/json",
        f'{{"a":"2026-01-02T03:00:00","b":"{SOME}","c":"red","d":[1,3]}}',
    ),
    (Greeting, 200, HTML, "<!DOCTYPE html>\n<p>&lt;/&gt;</p>"),
    (lambda: tags.b("<"), 200, HTML, "<!DOCTYPE html>\n<b>&lt;</b>"),
    (lambda: None, 204, None, ""),
    (lambda: Data(b"data", "text/x"), 200, "text/x", "data"),
    (lambda: succeed("later"), 200, HTML, "later"),
    (lambda: late({"a": 1}), 200, "application/json", '{"a":1}'),
    (lambda: late(None), 204, None, ""),
    (lambda: late(succeed(late("nested"))), 200, HTML, "nested"),
    (generator, 200, HTML, "é2"),
    (async_generator, 200, HTML, "é2"),
    (lambda: late(generator()), 200, HTML, "é2"),
    (lambda: Redirect("/there"), 303, "text/plain; charset=utf-8", "303 See Other\nThis is at /there\n"),
    (lambda: HTTPError(418, "Short."), 418, "text/plain; charset=utf-8", None),
]


def site_of(handler, **route):
    """A site with one handler."""
    site = Pages()
    site.route("/", **route)(handler)
    return site


@pytest.mark.parametrize(("handler", "status", "kind", "text"), RETURNED)
def test_returned(handler, status, kind, text):
    """What a handler returns is sent as what it is, also when it comes later."""
    answer = SiteAgent(site_of(lambda: handler())).get("/")
    assert (answer.status, answer["Content-Type"]) == (status, kind)
    assert text is None or answer.text == text


@pytest.mark.parametrize(("handler", "status", "kind", "text"), RETURNED)
def test_head(handler, status, kind, text):
    """A HEAD gets the same without the body."""
    answer = SiteAgent(site_of(lambda: handler())).request("HEAD", "/")
    assert (answer.status, answer["Content-Type"], answer.body) == (status, kind, b"")


def test_own_headers():
    """A handler may set status and header itself; its content type stays."""

    def handler(request: Request) -> dict:
        request.setResponseCode(201)
        request.setHeader("Content-Type", "application/problem+json")
        request.addCookie("a", "b")
        return {}

    answer = SiteAgent(site_of(handler)).get("/")
    assert (answer.status, answer["Content-Type"], answer["Set-Cookie"]) == (201, "application/problem+json", "a=b")


def test_written():
    """What was written is the answer when nothing is returned; a handler may also finish when it likes."""

    def written(request: Request) -> None:
        request.write(b"writ")
        request.write(b"ten")

    def finished(request: Request) -> None:
        request.write(b"all")
        request.finish()

    def later(request: Request) -> int:
        request.site.reactor.callLater(1, lambda: request.complete(b"at last"))
        return NOT_DONE_YET

    assert SiteAgent(site_of(written)).get("/").text == "written"
    assert SiteAgent(site_of(finished)).get("/").text == "all"
    agent = SiteAgent(site_of(later))
    exchange = agent.open()
    assert exchange.answers() == []
    agent.clock.advance(1)
    assert exchange.answer.text == "at last"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([1], "put it into a dict"),
        (5, "a handler returned int; expected text, bytes"),
        (Part, "a handler returned type"),
        (object(), "a handler returned object"),
        ({"a": object()}, "object cannot be JSON"),
    ],
)
def test_not_sendable(value, said, failures):
    """Anything else is an error of the program, and the log says what was expected."""
    for made in (lambda: value, lambda: late(value)):
        assert SiteAgent(site_of(made)).get("/").status == 500
    assert len(failures) == 2
    assert all(said in failure.getErrorMessage() for failure in failures)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("raised", [True, False])
def test_redirects(status, raised):
    """A redirect is raised or returned, with the status and the address that it was given."""

    def handler():
        if raised:
            raise Redirect("/a b?c=é#d", status)
        return Redirect("/a b?c=é#d", status)

    async def later():
        return handler()

    for made in (handler, later):
        answer = SiteAgent(site_of(made)).get("/")
        assert (answer.status, answer["Location"]) == (status, "/a%20b?c=%C3%A9#d")


def test_no_address_splits_the_header():
    """A line feed in an address is percent-encoded; no other status is a redirect."""
    answer = SiteAgent(site_of(lambda: Redirect("/a\r\nX-Evil: 1"))).get("/")
    assert (answer["Location"], answer["X-Evil"]) == ("/a%0D%0AX-Evil:%201", None)
    with pytest.raises(ValueError, match="status must be 301, 302, 303, 307 or 308, not 200"):
        Redirect("/", 200)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_raised(asynchronous, failures):
    """An HTTPError is its status, as the client reads it, with its headers; it is no failure."""
    error = HTTPError(429, "Too <often>.", [(b"Retry-After", b"5")])
    answer = SiteAgent(site_of(lambda: fail(error) if asynchronous else raise_(error))).get(
        "/", {"Accept": "application/json"}
    )
    assert (answer.status, answer["Retry-After"]) == (429, "5")
    assert json.loads(answer.body)["detail"] == "Too <often>."
    assert failures == []


def raise_(error):
    raise error


async def raise_late(error):
    await succeed(None)
    raise error


async def raise_while_streaming():
    raise KeyError("secret")
    yield ""


@pytest.mark.parametrize("displayed", [False, True])
@pytest.mark.parametrize(
    "handler", [lambda: raise_(KeyError("secret")), lambda: raise_late(KeyError("secret")), raise_while_streaming]
)
def test_anything_else_raised(handler, displayed, failures, events):
    """Any other exception is a 500, whose page has the traceback only where the site displays them; the log has it once."""
    site = Site(site_of(handler), reactor=Clock())
    site.displayTracebacks = displayed
    answer = SiteAgent(site).get("/?x=1", {"Accept": "text/html"})
    assert answer.status == 500
    assert ("secret" in answer.text) == displayed
    assert [failure.type for failure in failures] == [KeyError]
    assert len(events) == 1
    assert "GET /?x=1" in events[0]["log_format"].format(**events[0])


@pytest.fixture
def events():
    """What was logged."""
    from twisted.logger import globalLogPublisher

    seen = []
    globalLogPublisher.addObserver(seen.append)
    yield seen
    globalLogPublisher.removeObserver(seen.append)


def test_resources_get_the_rest():
    """A resource that is returned answers below the route: it gets what ``<path:...>`` has taken, or nothing."""

    class Tell(Resource):
        isLeaf = True

        def render_GET(self, request):
            return repr((request.prepath, request.postpath)).encode()

    site = Pages()
    site.route("/a/<path:rest>")(lambda rest: Tell())
    site.route("/b/<name>")(lambda name: Tell())
    root = Resource()
    root.putChild(b"x", site)
    agent = SiteAgent(root)
    assert agent.get("/x/a/b/c").text == "([b'x', b'a'], [b'b', b'c'])"
    assert agent.get("/x/a/").text == "([b'x', b'a'], [b''])"
    assert agent.get("/x/b/c").text == "([b'x', b'b', b'c'], [])"


def test_streams_wait_for_the_client():
    """A generator is asked for more only while the client takes what was written; it is closed when the client leaves."""
    asked = []

    async def many():
        try:
            for number in range(1000):
                asked.append(number)
                yield "x" * 1000
        finally:
            asked.append("closed")

    def few():
        try:
            for number in range(1000):
                asked.append(number)
                yield "x" * 1000
        finally:
            asked.append("closed")

    for generator in (many, few):
        asked.clear()
        exchange = SiteAgent(site_of(generator)).connect()
        exchange.request("GET", "/")
        before = len(asked)
        assert 0 < before < 1000
        exchange.transport.producer.pauseProducing()
        exchange.site.reactor.advance(1)
        paused = len(asked)
        exchange.site.reactor.advance(1)
        assert len(asked) == paused <= before + 1
        exchange.disconnect()
        assert asked[-1] == "closed"


def test_what_waits_is_cancelled():
    """What a handler waits for is cancelled when the client leaves."""
    cancelled = []
    exchange = SiteAgent(site_of(lambda: Deferred(cancelled.append))).open()
    exchange.disconnect()
    assert len(cancelled) == 1
