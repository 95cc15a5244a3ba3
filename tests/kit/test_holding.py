"""
Answers that are held back until something else is done.
"""

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from mixweb.engine.errors import HTTPError
from mixweb.engine.site import Site
from mixweb.kit.holding import hold_answer
from mixweb.testing import SiteAgent
from mixweb.wrapper import Leaf


class Held(Leaf):
    """Holds an answer back that somebody else makes."""

    def __init__(self, answer):
        self.answer = answer
        self.until = Deferred()

    def handle(self, request):
        request.before_headers(lambda request: hold_answer(request, self.until))
        self.answer(request)


@pytest.fixture
def agent():
    """A client of what an answer is made by: ``agent.make``."""
    held = Held(lambda request: request.complete(b"whole"))
    agent = SiteAgent(Site(held, reactor=Clock()))
    agent.held = held
    agent.logged = []
    agent.site.observers.append(lambda request: agent.logged.append(request.code))
    return agent


def in_pieces(request):
    """An answer of several writes."""
    for piece in (b"pie", b"", b"ces"):
        request.write(piece)
    request.finish()


@pytest.mark.parametrize(("method", "length"), [("GET", 5), ("HEAD", 0)])
def test_whole_answers(agent, method, length):
    """Nothing of an answer leaves, and nothing is logged, until it may."""
    exchange = agent.open(method)
    assert (exchange.received, agent.logged) == (b"", [])
    agent.held.until.callback(None)
    assert len(exchange.answer.body) == length
    assert agent.logged == [200]


def test_pieces(agent):
    """An answer in pieces leaves as it was written."""
    agent.held.answer = in_pieces
    exchange = agent.open()
    agent.held.until.callback(None)
    assert (exchange.answer.text, exchange.answer["Transfer-Encoding"]) == ("pieces", "chunked")


def test_pieces_afterwards(agent):
    """What is written when the answer may leave passes by."""
    requests = []
    agent.held.answer = lambda request: requests.append(request) or request.write(b"first ")
    exchange = agent.open()
    agent.held.until.callback(None)
    requests[0].write(b"second")
    requests[0].finish()
    assert exchange.answer.text == "first second"


def test_done_before(agent):
    """When there is nothing to wait for, the answer leaves at once."""
    agent.held.until = succeed(None)
    assert agent.get("/").text == "whole"
    agent.held.answer = in_pieces
    agent.held.until = succeed(None)
    assert agent.get("/").text == "pieces"


@pytest.mark.parametrize("answer", [lambda request: request.complete(b"whole"), in_pieces])
def test_refused(agent, answer):
    """An error takes the place of the answer: its headers stay but for what describes the body; the connection goes on."""

    def make(request):
        for name in ("X-Kept", "ETag", "Content-Encoding", "Location", "Set-Cookie"):
            request.setHeader(name, "x")
        answer(request)

    agent.held.answer = make
    exchange = agent.open("GET", "/", {"Accept": "application/json"})
    agent.held.until.errback(HTTPError(503, "Later.", [(b"Retry-After", b"5")]))
    found = exchange.answer
    assert (found.status, found["Retry-After"], found["X-Kept"], found["Content-Type"]) == (
        503,
        "5",
        "x",
        "application/json",
    )
    assert [found[name] for name in ("ETag", "Content-Encoding", "Location", "Set-Cookie")] == [None] * 4
    assert b"Later." in found.body
    assert agent.logged == [503]
    agent.held.answer, agent.held.until = answer, succeed(None)
    exchange.request("GET", "/")
    assert [answer.status for answer in exchange.answers()] == [503, 200]


def test_failure(agent, failures):
    """What fails for a reason of its own is logged, and a 500."""
    exchange = agent.open()
    agent.held.until.errback(KeyError("secret"))
    assert exchange.answer.status == 500
    assert "secret" not in exchange.answer.text
    assert [failure.type for failure in failures] == [KeyError]


def test_error_pages(agent):
    """The error looks as errors do here."""

    def make(request):
        request.error_pages = lambda request, status, detail: (b"text/plain", f"own {status} {detail}".encode())
        request.complete(b"")

    agent.held.answer = make
    exchange = agent.open()
    agent.held.until.errback(HTTPError(503, "Later."))
    assert exchange.answer.text == "own 503 Later."


@pytest.mark.parametrize(
    "answer", [lambda request: request.complete(b"whole"), in_pieces, lambda request: request.write(b"x")]
)
@pytest.mark.parametrize("works", [True, False])
def test_clients_that_leave(agent, answer, works, failures):
    """When the client leaves meanwhile, that is logged once, and nothing fails."""
    agent.held.answer = answer
    exchange = agent.open()
    exchange.disconnect()
    agent.held.until.callback(None) if works else agent.held.until.errback(HTTPError(503))
    assert agent.logged == [200]
    assert failures == []


class Puller:
    """Writes a piece each time it is asked to."""

    def __init__(self, request):
        self.request = request
        self.left = 3
        request.registerProducer(self, False)

    def resumeProducing(self):
        self.left -= 1
        self.request.write(b"piece ")
        if not self.left:
            self.request.unregisterProducer()
            self.request.finish()

    def stopProducing(self):
        self.left = 0


@pytest.mark.parametrize("first", [b"", b"first "])
def test_producers_that_are_asked(agent, first):
    """Who writes only when asked to is asked when the answer may leave, whether it began before or after the head."""
    made = []

    def make(request):
        if first:
            request.write(first)
        made.append(Puller(request))
        if not first:
            request.write(b"")

    agent.held.answer = make
    exchange = agent.open()
    registered = exchange.protocol._requestProducer
    assert (exchange.received, registered, made[0].left) == (b"", None, 3)
    agent.held.until.callback(None)
    for _ in range(3):
        made[0].resumeProducing()
    assert exchange.answer.body == first + b"piece " * 3
