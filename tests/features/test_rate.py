"""
How many requests an address may send.
"""

import pytest
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.web.resource import Resource

from mixweb.features.rate import Rate, build
from mixweb.stores import StoreUnavailable, open_store
from mixweb.testing import SiteAgent, make_context
from mixweb.wrapper import HTTPError


class Page(Resource):
    """Counts how often it is asked."""

    isLeaf = True
    asked = 0

    def render_GET(self, request):
        self.asked += 1
        if request.postpath == [b"wrong"]:
            raise HTTPError(418, "wrong")
        return b"page"


@pytest.fixture
def make():
    """Makes a page behind a rate, and clients of it by address."""

    def made(*rates, **settings):
        clock, page = Clock(), Page()
        resource = build(Rate(rates or ("3/minute",), **settings), page, make_context(clock))
        agent = SiteAgent(resource, clock=clock)
        return lambda peer="192.0.2.1": SiteAgent(agent.site, peer=peer, clock=clock), page, clock

    return made


def test_too_many(make):
    """An address that sends too many is answered 429, and when to come back; nothing behind is asked."""
    client, page, clock = make()
    answers = [client().get("/") for _ in range(5)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429, 429]
    assert page.asked == 3
    assert [answer["RateLimit"] for answer in answers[:3]] == [f'"3/minute";r={left};t=20' for left in (2, 1, 0)]
    assert answers[0]["RateLimit-Policy"] == answers[3]["RateLimit-Policy"] == '"3/minute";q=3;w=60'
    assert (answers[3]["RateLimit"], answers[3]["Retry-After"]) == ('"3/minute";r=0;t=20', "20")
    clock.advance(20)
    assert [client().get("/").status for _ in range(2)] == [200, 429]
    clock.advance(3600)
    assert [client().get("/").status for _ in range(4)] == [200, 200, 200, 429]


@pytest.mark.parametrize(
    ("peers", "served"),
    [
        (["192.0.2.1", "192.0.2.2"], 6),
        (["2001:db8::1", "2001:db8::2"], 3),
        (["2001:db8::1", "2001:db8:0:1::1"], 6),
        (["192.0.2.1", "::ffff:192.0.2.1"], 3),
        (["198.51.100.7", "::ffff:198.51.100.8"], 8),
    ],
)
def test_addresses(peers, served, make):
    """Each address is counted for itself, an IPv6 network as one; those that are exempt are not counted."""
    client, page, _ = make(exempt=["198.51.100.0/24"])
    for number in range(8):
        client(peers[number % 2]).get("/")
    assert page.asked == served


def test_errors_pass(make):
    """What goes wrong behind is answered as ever, with the fields."""
    client, _, _ = make()
    answer = client().get("/wrong")
    assert (answer.status, answer["RateLimit"]) == (418, '"3/minute";r=2;t=20')


@pytest.mark.parametrize(("when_down", "status"), [("open", 200), ("closed", 503)])
@pytest.mark.parametrize("late", [False, True])
def test_a_store_that_is_down(when_down, status, late, make, monkeypatch):
    """When the store is down all requests are let through, or none, as the setting says."""
    client, _, clock = make(when_down=when_down)
    store, waiting = open_store("memory:", clock), Deferred()
    down = StoreUnavailable("down")
    monkeypatch.setattr(store, "hit", lambda *args, **more: waiting if late else fail(down))
    exchange = client().open("GET", "/")
    if late:
        waiting.errback(down)
    assert exchange.answer.status == status
    assert (exchange.answer["Retry-After"] is not None) == (status == 503)


def test_a_store_that_takes_its_time(make, monkeypatch):
    """An answer of the store that comes late counts, also when what is behind goes wrong then."""
    client, _, clock = make()
    store = open_store("memory:", clock)
    hit, waiting = store.hit, Deferred()
    monkeypatch.setattr(store, "hit", lambda *args, **more: waiting.addCallback(lambda _: hit(*args, **more)))
    exchange = client().open("GET", "/wrong")
    waiting.callback(None)
    assert exchange.answer.status == 418


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"rates": []}, "rates: name at least one"),
        ({"rates": ["many"]}, "rates: 'many' is not a rate"),
        ({"exempt": ["home"]}, "exempt: 'home' is neither"),
        ({"store": "nowhere:"}, "store must be"),
    ],
)
def test_settings_that_make_no_sense(settings, problem):
    """What makes no sense is refused, with the name of the setting."""
    with pytest.raises(ValueError, match=problem):
        Rate(**settings)
