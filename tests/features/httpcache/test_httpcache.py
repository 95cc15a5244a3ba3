"""
The cache: what it sends, whom it has wait, what it forgets.
"""

import re

import pytest
from twisted.internet.defer import Deferred
from twisted.web.resource import Resource

from mixweb.features.encode import Encode
from mixweb.features.encode import build as build_encode
from mixweb.features.httpcache import FEATURE, HttpCache
from mixweb.features.httpcache._directives import field_names, parse, seconds
from mixweb.features.httpcache._rules import shared_origin
from mixweb.interfaces import IClientAddress, ISession, IUser
from mixweb.stores import StoreUnavailable
from mixweb.testing import make_context
from mixweb.wrapper import Wrapper
from tests.features.httpcache.conftest import BEGIN, date


def sample(tmp_path, **changes):
    """A cache."""
    return HttpCache(**changes)


REFUSED = [
    ({"default_ttl": -1}, "default_ttl must not be negative"),
    ({"wait": -1}, "wait must not be negative"),
    ({"max_entry_bytes": 0}, "max_entry_bytes"),
    ({"max_bytes": 10, "max_entry_bytes": 11}, "max_entry_bytes"),
    ({"name": "a b"}, "name must be a word"),
    ({"name": "1"}, "name must be a word"),
    ({"store": "nonsense", "keep": True}, "store must be"),
    ({"store": "memory:x"}, "keep = true"),
]


@pytest.mark.parametrize(("settings", "message"), REFUSED)
def test_settings(settings, message):
    """Settings that make no sense are refused."""
    with pytest.raises(ValueError, match=re.escape(message)):
        HttpCache(**settings)


def test_only_one():
    """One cache in front of another one is a mistake."""
    inner = FEATURE.build(HttpCache(), Resource(), make_context())
    with pytest.raises(ValueError, match="twice"):
        FEATURE.build(HttpCache(), inner, make_context())


DIRECTIVES = [
    ([b"a, B=1 ,c=\"x, \\\"y\\\"\""], {b"a": None, b"b": b"1", b"c": b'x, "y"'}),
    ([b"a=1, a=2"], {b"a": b"1"}),
    ([b"a", b"b"], {b"a": None, b"b": None}),
    ([b",, a ,"], {b"a": None}),
    ([b"a b, c"], {b"c": None}),
    ([b"a=, b"], {b"a": b"", b"b": None}),
    ([b'a="x, b'], {b"b": None}),
    ([b""], {}),
]  # fmt: skip


@pytest.mark.parametrize(("lines", "found"), DIRECTIVES)
def test_directives(lines, found):
    """The grammar of Cache-Control."""
    assert parse(lines) == found


def test_long_lists_of_directives():
    """A long field takes no long time."""
    assert parse([b'a="' * 30_000]) == {}
    assert len(parse([b'a,;="' * 10_000])) <= 1


SECONDS = [(b"60", 60), (None, 0), (b"", 0), (b"-1", 0), (b"1.5", 0), (b"9" * 30, 2**31), (b"99999999999", 2**31)]


@pytest.mark.parametrize(("argument", "found"), SECONDS)
def test_seconds(argument, found):
    """Seconds that are none are over, and huge ones are many."""
    assert seconds({b"x": argument}, b"x") == found
    assert seconds({}, b"x") is None


VARIES = [([b"a, B", b"a"], (b"a", b"b")), ([b"a, *"], (b"*",)), ([b"a b"], (b"*",)), ([b","], ()), ([], ())]


@pytest.mark.parametrize(("lines", "names"), VARIES)
def test_field_names(lines, names):
    """The names in Vary; what is no name stands for anything."""
    assert field_names(lines) == names


ORIGINS = [
    (b"/a?b", b"/a?b"), (b"/a#b", b"/a"), (b"//h/a", b"/a"), (b"//o/a", None), (b"http://h/a", b"/a"), (b"HTTP://H/", b"/"),
    (b"https://h/a", None), (b"http://h", None), (b"a", None), (b"mailto:a", None), (b"", None),
]  # fmt: skip


@pytest.mark.parametrize(("location", "target"), ORIGINS)
def test_same_origin(location, target):
    """A URL in an answer may name a page of the same origin."""
    assert shared_origin((False, b"h"), location) == target


def test_what_is_sent(cached):
    """A stored answer comes with its fields and its age; every answer says what became of the request."""
    world = cached()
    world.origin_says("max-age=60", etag='"1"', x_a=["1", "2"])
    first = world.get()
    assert first["Cache-Status"] == "mixweb; fwd=uri-miss; ttl=60; stored"
    assert first["Age"] is None
    world.clock.advance(7)
    second = world.get()
    assert (second.status, second.reason, second.text) == (200, "OK", "1")
    assert (second["Age"], second["Cache-Status"]) == ("7", "mixweb; hit; ttl=53")
    assert (second["Date"], second["ETag"], second["X-A"]) == (date(BEGIN), '"1"', "1, 2")
    assert second["Content-Length"] == "1"


STATUSES = [
    ("method", {"method": "OPTIONS"}, "mixweb; fwd=method"),
    ("bypass", {"headers": {"If-Match": "x"}}, "mixweb; fwd=bypass"),
    ("bypass", {"headers": {"Upgrade": "websocket"}}, "mixweb; fwd=bypass"),
    ("bypass", {"body": b"x"}, "mixweb; fwd=bypass"),
    ("uri-miss", {"headers": {"Range": "bytes=0-1"}}, "mixweb; fwd=uri-miss"),
    ("not stored", {}, "mixweb; fwd=uri-miss; detail=no-lifetime"),
]


@pytest.mark.parametrize(("why", "asked", "status"), STATUSES)
def test_cache_status(why, asked, status, cached):
    """Why a request was passed on is said (RFC 9211)."""
    world = cached()
    given = {"method": "GET", "target": "/", **asked}
    assert world.request(**given)["Cache-Status"] == status


WHY_NOT = [
    ("private", {}, "private"), ("no-store", {}, "no-store"), ("max-age=60", {"Set-Cookie": "a=b"}, "set-cookie"),
    ("max-age=60", {"Vary": "*"}, "vary"), ("max-age=60", {"Content-Length": "9"}, "too-long"),
]  # fmt: skip


@pytest.mark.parametrize(("control", "fields", "detail"), WHY_NOT)
def test_why_not(control, fields, detail, cached):
    """And why the answer was not stored."""
    world = cached(max_entry_bytes=5)
    world.origin.answer = (200, {"Cache-Control": control, **fields})
    world.origin.body = b"123456789"
    assert world.get()["Cache-Status"] == f"mixweb; fwd=uri-miss; detail={detail}"


def test_other_caches(cached):
    """What caches behind this one say is kept, before what this one says."""
    world = cached(name="front")
    world.origin_says("max-age=60", cache_status="back; hit")
    assert world.get()["Cache-Status"] == "back; hit, front; fwd=uri-miss; ttl=60; stored"
    assert world.get()["Cache-Status"] == "back; hit, front; hit; ttl=60"


def test_validation(cached):
    """An answer that still holds is sent with the fields of the answer that says so."""
    world = cached()
    world.origin_says("max-age=60", etag='"1"', x_a="old", content_type="text/a")
    world.get()
    world.clock.advance(100)
    world.origin_says("max-age=30", status=304, etag='"1"', x_a="new", content_type="text/b")
    answer = world.get()
    assert (answer.status, answer.text) == (200, "1")
    assert (answer["X-A"], answer["Content-Type"], answer["Cache-Control"]) == ("new", "text/a", "max-age=30")
    assert answer["Cache-Status"] == "mixweb; fwd=stale; fwd-status=304; ttl=30"
    assert world.get()["Cache-Status"] == "mixweb; hit; ttl=30"


def test_validation_of_another_state(cached):
    """An answer that confirms something else is not believed for long."""
    world = cached()
    world.origin_says("max-age=60", etag='"1"')
    world.get()
    world.clock.advance(60)
    world.origin_says("max-age=60", status=304, etag='"2"')
    assert world.get().text == "1"
    world.origin_says("max-age=60", etag='"2"')
    assert world.get().text == "3"


ASKED = [
    ({"If-None-Match": '"1"'}, 304, ""),
    ({"If-None-Match": 'W/"1", "2"'}, 304, ""),
    ({"If-None-Match": "*"}, 304, ""),
    ({"If-None-Match": '"2"'}, 200, "0123456789"),
    ({"If-Modified-Since": date(BEGIN)}, 304, ""),
    ({"If-Modified-Since": date(BEGIN - 9999)}, 200, "0123456789"),
    ({"If-None-Match": '"2"', "If-Modified-Since": date(BEGIN)}, 200, "0123456789"),
    ({"Range": "bytes=2-4"}, 206, "234"),
    ({"Range": "bytes=-2"}, 206, "89"),
    ({"Range": "bytes=20-"}, 416, None),
    ({"Range": "bytes=0-1,3-4"}, 200, "0123456789"),
    ({"Range": "lines=1"}, 200, "0123456789"),
    ({"Range": "bytes=2-4", "If-Range": '"1"'}, 206, "234"),
    ({"Range": "bytes=2-4", "If-Range": '"2"'}, 200, "0123456789"),
    ({"Range": "bytes=2-4", "If-None-Match": '"1"'}, 304, ""),
]


@pytest.mark.parametrize("stale", [False, True], ids=["fresh", "validated"])
@pytest.mark.parametrize(("fields", "status", "text"), ASKED)
def test_conditions_and_ranges(fields, status, text, stale, cached):
    """Conditions and ranges are answered from what is stored, whether it is fresh or has just been validated."""
    world = cached()
    world.origin.body = b"0123456789"
    world.origin_says("max-age=60", etag='"1"', last_modified=date(BEGIN - 3600))
    world.get()
    if stale:
        world.clock.advance(60)
        world.origin_says("max-age=60", status=304)
    answer = world.get("/", fields)
    assert (answer.status, len(world.origin.seen)) == (status, 2 if stale else 1)
    if text is not None:
        assert answer.text == text
    assert status != 304 or (answer["ETag"], answer["Content-Length"]) == ('"1"', None)
    assert status != 206 or answer["Content-Range"].startswith("bytes ")
    assert status != 416 or answer["Content-Range"] == "bytes */10"


@pytest.mark.parametrize("stale", [False, True], ids=["fresh", "validated"])
def test_head(stale, cached):
    """HEAD is answered from what is stored, with its length."""
    world = cached()
    world.origin_says("max-age=60", etag='"1"')
    world.get()
    if stale:
        world.clock.advance(60)
        world.origin_says("max-age=60", status=304)
    answer = world.request("HEAD", "/")
    assert (answer.status, answer.body, answer["Content-Length"]) == (200, b"", "1")


def test_ranges_of_what_is_not_stored(cached):
    """A range of a page that is not stored is for the server, with its condition."""
    world = cached()
    world.origin_says("max-age=60")
    world.get("/", {"Range": "bytes=0-1", "If-Range": '"1"'})
    assert world.origin.seen[0]["range"] == [b"bytes=0-1"]
    assert world.origin.seen[0]["if-range"] == [b'"1"']


def test_conditions_about_what_is_not_stored(cached):
    """So is a condition; the answer to it is not stored."""
    world = cached()
    world.origin_says("max-age=60", status=304)
    assert world.get("/", {"If-None-Match": '"1"'}).status == 304
    world.origin_says("max-age=60")
    assert world.get().text == "2"


def test_bodies_in_pieces(cached):
    """A body that comes in pieces passes with its length, and is stored when it is complete."""
    world = cached()
    world.origin.piecewise, world.origin.body = True, b"piece by piece"
    world.origin_says("max-age=60", content_length="14")
    first = world.get()
    assert (first.text, first["Content-Length"], first["Transfer-Encoding"]) == ("piece by piece", "14", None)
    second = world.get()
    assert (second.text, len(world.origin.seen)) == ("piece by piece", 1)


@pytest.mark.parametrize("declared", [{}, {"content_length": "9"}])
def test_long_bodies(declared, cached):
    """A body that is too long passes and is not stored, whether that is known before or not."""
    world = cached(max_entry_bytes=5)
    world.origin.piecewise, world.origin.body = True, b"123456789"
    world.origin_says("max-age=60", **declared)
    assert [world.get().text for _ in range(2)] == ["123456789"] * 2
    assert len(world.origin.seen) == 2


def test_bodies_that_are_cut_off(cached, failures):
    """A body that does not come to its end is not stored."""
    world = cached()

    def cut(request, answer, number):
        request.setHeader(b"Cache-Control", b"max-age=60")
        request.setHeader(b"Content-Length", b"10")
        request.write(b"12345")
        request.abort() if number == 1 else request.finish()

    say, world.origin.say = world.origin.say, cut
    for _ in range(2):
        exchange = world.open("GET", "/")
        assert exchange.transport.aborted
        exchange.disconnect()
        world.clock.advance(0)
    world.origin.say = say
    world.origin_says("max-age=60")
    assert world.get().text == "3"


def test_clients_that_leave(cached):
    """When the client leaves before the answer is complete, it is not stored."""
    world = cached()
    world.origin_says("max-age=60")
    world.origin.slow = True
    world.open("GET", "/").disconnect()
    world.origin.let_go()
    world.origin.slow = False
    assert world.get().text == "2"


def test_failures(cached, failures):
    """A page that fails is 500, and nothing is stored of it."""
    world = cached(default_ttl=60)
    say, world.origin.say = world.origin.say, lambda *_: 1 / 0
    assert world.get().status == 500
    world.origin.say = say
    assert world.get().text == "2"
    assert len(failures) == 1


def test_one_fetch_for_many(cached):
    """Requests for a page that is being got wait for it."""
    world = cached()
    world.origin_says("max-age=60")
    world.origin.slow = True
    exchanges = [world.open("GET", "/") for _ in range(10)]
    assert len(world.origin.seen) == 1
    world.origin.let_go()
    world.clock.advance(0)
    assert [exchange.answer.text for exchange in exchanges] == ["1"] * 10
    assert exchanges[9].answer["Cache-Status"] == "mixweb; fwd=uri-miss; collapsed; ttl=60"


def test_one_validation_for_many(cached):
    """Also those that want it validated."""
    world = cached()
    world.origin_says("max-age=60", etag='"1"')
    world.get()
    world.origin_says("max-age=60", status=304)
    world.origin.slow = True
    exchanges = [world.open("GET", "/", {"Cache-Control": "no-cache"}) for _ in range(10)]
    assert len(world.origin.seen) == 2
    world.clock.advance(1)
    world.origin.let_go()
    world.clock.advance(0)
    assert [exchange.answer.text for exchange in exchanges] == ["1"] * 10
    assert len(world.origin.seen) == 2


def test_nobody_waits_for_what_is_not_stored(cached):
    """When the answer is not stored, all that wait ask for themselves, at once, and so do others for a while."""
    world = cached()
    world.origin_says("private")
    world.origin.slow = True
    exchanges = [world.open("GET", "/") for _ in range(5)]
    world.origin.let_go()
    world.clock.advance(0)
    assert len(world.origin.seen) == 5
    exchanges.append(world.open("GET", "/"))
    assert len(world.origin.seen) == 6
    world.origin.let_go()
    assert [exchange.answer.text for exchange in exchanges] == ["1", "2", "3", "4", "5", "6"]
    world.clock.advance(11)
    for _ in range(3):
        world.open("GET", "/")
    assert len(world.origin.seen) == 7


def test_nobody_waits_for_long(cached):
    """A request waits for another one for a while, and then asks for itself."""
    world = cached(wait=5)
    world.origin_says("max-age=60")
    world.origin.slow = True
    first, second = world.open("GET", "/"), world.open("GET", "/")
    world.clock.advance(4)
    assert len(world.origin.seen) == 1
    world.clock.advance(1)
    assert len(world.origin.seen) == 2
    world.origin.let_go()
    assert [first.answer.text, second.answer.text] == ["1", "2"]


def test_nobody_waits_at_all(cached):
    """Nobody waits where that is not wanted."""
    world = cached(wait=0)
    world.origin.slow = True
    for _ in range(3):
        world.open("GET", "/")
    assert len(world.origin.seen) == 3


def test_the_first_one_leaves(cached):
    """When the client leaves whose request the others wait for, the next one asks."""
    world = cached()
    world.origin_says("max-age=60")
    world.origin.slow = True
    first, second, third = (world.open("GET", "/") for _ in range(3))
    first.disconnect()
    world.clock.advance(0)
    assert len(world.origin.seen) == 2
    world.origin.let_go()
    world.clock.advance(0)
    assert [second.answer.text, third.answer.text] == ["2", "2"]


def test_one_that_waits_leaves(cached, failures):
    """A client that leaves while it waits is forgotten."""
    world = cached()
    world.origin_says("max-age=60")
    world.origin.slow = True
    first, second = world.open("GET", "/"), world.open("GET", "/")
    second.disconnect()
    world.origin.let_go()
    world.clock.advance(10)
    assert first.answer.text == "1"
    assert failures == []


def test_stale_while_revalidate(cached):
    """A stale answer is sent at once, and asked about in the background, once."""
    world = cached()
    world.origin_says("max-age=60, stale-while-revalidate=30", etag='"1"')
    world.get()
    world.clock.advance(70)
    world.origin_says("max-age=60, stale-while-revalidate=30", etag='"2"')
    world.origin.slow = True
    assert [world.get().text for _ in range(3)] == ["1"] * 3
    assert [seen.get("if-none-match") for seen in world.origin.seen] == [None, [b'"1"']]
    assert world.get()["Cache-Status"] == "mixweb; hit; ttl=-10"
    world.origin.let_go()
    answer = world.get()
    assert (answer.text, answer["ETag"], answer["Cache-Status"]) == ("2", '"2"', "mixweb; hit; ttl=60")
    assert len(world.origin.seen) == 2


def test_stale_while_revalidate_is_in_nobodys_name(cached):
    """What is asked for in the background is not seen by the access log, and has no conditions of the client's."""
    world = cached(stale_while_revalidate=30)
    seen = []
    world.agent.site.observers.append(seen.append)
    world.origin_says("max-age=60", etag='"1"')
    world.get()
    world.clock.advance(70)
    world.get("/", {"Range": "bytes=0-0", "If-None-Match": '"9"', "X-A": "1"})
    assert len(world.origin.seen) == 2
    assert world.origin.seen[1]["if-none-match"] == [b'"1"']
    assert world.origin.seen[1]["x-a"] == [b"1"]
    assert "range" not in world.origin.seen[1]
    assert len(seen) == 2


def test_background_failures(cached, failures):
    """When the page fails in the background, the stale answer stays as long as it may."""
    world = cached(stale_while_revalidate=30)
    world.origin_says("max-age=60", etag='"1"')
    world.get()
    world.clock.advance(70)
    say, world.origin.say = world.origin.say, lambda *_: 1 / 0
    assert [world.get().text for _ in range(2)] == ["1", "1"]
    assert len(failures) == 2
    world.origin.say = say
    assert world.get().text == "1"
    assert world.get().text == "4"


STALE_IF_ERROR = [
    ({}, "max-age=60, stale-if-error=30", 70, 503, 200),
    ({}, "max-age=60, stale-if-error=30", 91, 503, 503),
    ({}, "max-age=60", 70, 503, 503),
    ({"stale_if_error": 30}, "max-age=60", 70, 502, 200),
    ({"stale_if_error": 30}, "max-age=60", 70, 404, 404),
    ({"stale_if_error": 30}, "max-age=60, must-revalidate", 70, 500, 500),
    ({"stale_if_error": 30}, "s-maxage=60", 70, 500, 500),
    ({}, "s-maxage=60, stale-if-error=30", 70, 500, 200),
]


@pytest.mark.parametrize(("settings", "control", "seconds", "status", "sent"), STALE_IF_ERROR)
def test_stale_if_error(settings, control, seconds, status, sent, cached):
    """A stale answer may take the place of an error (RFC 5861, 4)."""
    world = cached(**settings)
    world.origin_says(control, etag='"1"')
    world.get()
    world.clock.advance(seconds)
    world.origin_says(None, status=status)
    answer = world.get()
    assert answer.status == sent
    if sent == 200:
        assert answer.text == "1"
        assert f"fwd=stale; fwd-status={status}" in answer["Cache-Status"]


def test_stale_if_error_as_requests_have_it(cached):
    """A request may take a stale answer in the place of an error."""
    world = cached()
    world.origin_says("max-age=60", etag='"1"')
    world.get()
    world.clock.advance(70)
    world.origin_says(None, status=500)
    assert world.get("/", {"Cache-Control": "stale-if-error=30"}).text == "1"
    assert world.get().status == 500


def test_only_if_cached(cached):
    """A request may want nothing but what is stored: 504 without."""
    world = cached()
    world.origin_says("max-age=60")
    assert world.get("/", {"Cache-Control": "only-if-cached"}).status == 504
    assert world.origin.seen == []
    world.get()
    assert world.get("/", {"Cache-Control": "only-if-cached"}).text == "1"


def test_requests_that_are_not_obeyed(cached):
    """Requests need not be obeyed; that they want nothing stored always is."""
    world = cached(obey_requests=False)
    world.origin_says("max-age=60")
    world.get("/", {"Cache-Control": "no-store"})
    assert world.get("/", {"Cache-Control": "only-if-cached"}).text == "2"
    for control in ("no-cache", "max-age=0", "min-fresh=999"):
        assert world.get("/", {"Cache-Control": control, "Pragma": "no-cache"}).text == "2"


def test_default_lifetime(cached):
    """Answers that say nothing may be given a lifetime, if their status is one that is lasting."""
    world = cached(default_ttl=60)
    world.origin.answer = (200, {})
    world.get("/a")
    assert world.get("/a").text == "1"
    world.origin.answer = (500, {})
    world.get("/b")
    assert world.get("/b").text == "3"
    world.origin.answer = (200, {"Cache-Control": "max-age=0"})
    world.get("/c")
    assert world.get("/c").text == "5"


def test_stripped_cookies(cached):
    """Answers that set cookies may be stored without them: only the first client gets its cookie."""
    world = cached(strip_cookies=True)
    world.origin_says("max-age=60", set_cookie="a=b")
    assert [world.get()["Set-Cookie"] for _ in range(2)] == ["a=b", None]
    assert len(world.origin.seen) == 1


class Outside(Wrapper):
    """Stands in front of a cache, and does what other features do there."""

    def __init__(self, inner, act):
        super().__init__(inner)
        self.act = act

    def handle(self, request):
        self.act(request)
        self.forward(request)


def test_what_is_in_front_is_not_stored(cached):
    """Fields and cookies that others add are not part of the answer that is stored, and are added each time."""
    counts = iter(range(10))

    def act(request):
        request.setHeader(b"X-Count", b"%d" % next(counts))
        request.addCookie(b"seen", b"%d" % next(counts))
        request.before_headers(lambda request: request.setHeader(b"X-Late", b"%d" % next(counts)))

    world = cached(wrap=lambda inner: Outside(inner, act))
    world.origin_says("max-age=60")
    first, second = world.get(), world.get()
    assert len(world.origin.seen) == 1
    assert [(a["X-Count"], a["Set-Cookie"], a["X-Late"]) for a in (first, second)] == [
        ("0", "seen=1", "2"),
        ("3", "seen=4", "5"),
    ]


@pytest.mark.parametrize("stale", [False, True])
def test_what_is_in_front_of_validated_answers(stale, cached):
    """Also where the answer is a stored one."""
    world = cached(wrap=lambda inner: Outside(inner, lambda request: request.addCookie(b"a", b"b")))
    world.origin_says("max-age=60", etag='"1"', x_a="1")
    world.get()
    if stale:
        world.clock.advance(60)
        world.origin_says("max-age=60", status=304, x_b="2")
    answer = world.get()
    assert (answer["Set-Cookie"], answer["X-A"], answer.text) == ("a=b", "1", "1")


class Somebody:
    """A user, or a session."""

    name, new, host, proxies = "ann", False, "203.0.113.9", ()


@pytest.mark.parametrize("interface", [IUser, ISession])
def test_users(interface, cached):
    """What was answered to a user is not stored for others, unless it says that it is for all; nor in the background."""
    somebody = [True]
    world = cached(
        wrap=lambda inner: Outside(
            inner, lambda request: request.setComponent(interface, Somebody) if somebody[0] else None
        )
    )
    world.origin_says("max-age=60, stale-while-revalidate=60")
    assert world.get()["Cache-Status"] == "mixweb; fwd=uri-miss; detail=authorization"
    somebody[0] = False
    assert world.get().text == "2"
    somebody[0] = True
    world.clock.advance(70)
    assert [world.get().text for _ in range(3)] == ["2"] * 3
    assert len(world.origin.seen) == 2
    world.origin_says("public, max-age=60")
    world.get("/public")
    assert world.get("/public")["Cache-Status"] == "mixweb; hit; ttl=60"


def test_new_sessions_are_nobodys(cached):
    """A session that has just begun says nothing about the client."""
    new = type("New", (), {"new": True})
    world = cached(wrap=lambda inner: Outside(inner, lambda request: request.setComponent(ISession, new)))
    world.origin_says("max-age=60")
    assert [world.get().text for _ in range(2)] == ["1", "1"]


def test_client_addresses_in_the_background(cached):
    """What is asked for in the background is asked for from the same address."""
    seen = []
    world = cached(
        stale_while_revalidate=60,
        wrap=lambda inner: Outside(inner, lambda request: request.setComponent(IClientAddress, Somebody)),
    )
    handle = world.origin.handle
    world.cache.forward = lambda request: (seen.append(IClientAddress(request, None)), handle(request))
    world.origin_says("max-age=60")
    world.get()
    world.clock.advance(70)
    world.get()
    assert seen == [Somebody, Somebody]


def test_encoded_answers(cached):
    """One copy is kept, and encoded for each client that takes it so."""
    world = cached(wrap=lambda inner: build_encode(Encode(), inner, make_context()))
    world.origin.body = b"text " * 1000
    world.origin_says("max-age=60", content_type="text/plain", etag='"1"')
    first, second, third = world.get(), world.get("/", {"Accept-Encoding": "gzip"}), world.get()
    assert len(world.origin.seen) == 1
    assert [answer["Content-Encoding"] for answer in (first, second, third)] == [None, "gzip", None]
    assert first.body == third.body == world.origin.body
    assert world.get("/", {"Accept-Encoding": "gzip", "If-None-Match": 'W/"1"'}).status == 304


def test_tunnels(cached):
    """A WebSocket on a stream of HTTP/2 changes no page."""
    world = cached()
    world.origin_says("max-age=60")
    world.get("/chat")
    passed = []
    world.cache.forward = passed.append
    request = type("Request", (), {"method": b"CONNECT"})()
    world.cache.handle(request)
    assert passed == [request]
    assert world.get("/chat").text == "1"


def test_invalidation_of_what_is_on_its_way(cached):
    """An answer that was on its way when its page was changed is not stored."""
    world = cached()
    world.origin_says("max-age=60")
    world.origin.slow = True
    exchange = world.open("GET", "/")
    world.origin.slow = False
    assert world.request("POST", "/").status == 200
    world.origin.let_go()
    assert exchange.answer.text == "1"
    assert world.get().text == "3"


def test_memory_is_bounded(cached):
    """Only so many bytes are kept: the pages that were not used for the longest time go first."""
    world = cached(max_bytes=12_000, max_entry_bytes=5000)
    world.origin.body = b"a" * 2000
    world.origin_says("max-age=60")
    for number in range(20):
        world.get(f"/{number}")
        world.get("/0")
        assert world.cache.memory.size <= 12_000
    assert len(world.cache.memory) == 3
    before = len(world.origin.seen)
    world.get("/0"), world.get("/19")
    assert len(world.origin.seen) == before
    world.get("/1")
    assert len(world.origin.seen) == before + 1


def test_variants_are_bounded(cached):
    """Nobody can fill the memory with variants of one page."""
    world = cached()
    world.origin_says("max-age=60", vary="X-A")
    for number in range(100):
        world.get("/", {"X-A": str(number)})
    assert len(world.cache.memory) == 32
    assert world.get("/", {"X-A": "99"})["Cache-Status"] == "mixweb; hit; ttl=60"
    assert "fwd=vary-miss" in world.get("/", {"X-A": "0"})["Cache-Status"]


def test_kept_answers(cached):
    """Answers in a store survive: another process finds them, fresh as they are, by what they vary by."""
    first = cached(keep=True)
    for service in first.services:
        service.startService()
    first.origin_says("max-age=60", etag='"1"', x_a=["1", "2"])
    first.get("/plain")
    first.origin_says("max-age=60", vary="X-A")
    for value in ("1", "2"):
        first.get("/varies", {"X-A": value})
    first.origin_says("max-age=60", vary="X-A")
    second = cached(keep=True, origin=first.origin, clock=first.clock)
    second.clock.advance(30)
    answer = second.get("/plain")
    assert (answer.text, answer["X-A"], answer["Cache-Status"]) == ("1", "1, 2", "mixweb; hit; ttl=30")
    assert [second.get("/varies", {"X-A": value}).text for value in ("2", "1", "2")] == ["3", "2", "3"]
    assert len(first.origin.seen) == 3
    assert second.get("/varies").text == "4"


def test_forgotten_everywhere(cached):
    """What one process forgets the others forget too."""
    first = cached(keep=True)
    second = cached(keep=True, clock=first.clock)
    for world in (first, second):
        for service in world.services:
            service.startService()
    second.origin = first.origin
    second.cache.forward = first.cache.forward
    first.origin_says("max-age=60", vary="X-A")
    for world in (first, second):
        world.get("/x", {"X-A": "1"})
    assert len(first.origin.seen) == 1
    first.request("POST", "/x")
    for world in (first, second):
        world.clock.advance(0)
    assert second.get("/x", {"X-A": "1"}).text == "3"


class Down:
    """A store that is down."""

    def __getattr__(self, name):
        def call(*_, **__):
            failed = Deferred()
            failed.errback(StoreUnavailable("down"))
            return failed

        return call


def test_without_the_store(cached):
    """When the store is down the cache works without it."""
    world = cached(keep=True)
    world.cache.shared.store = Down()
    world.origin_says("max-age=60")
    assert [world.get().text for _ in range(2)] == ["1", "1"]
    world.request("POST", "/")
    assert world.get().text == "3"


def test_damaged_answers_in_the_store(cached):
    """What is no answer in the store is not used."""
    world = cached(keep=True)
    store = world.cache.shared.store
    world.origin_says("max-age=60")
    world.get("/x")
    (place,) = store.scan(b"httpcache:", 10).result
    for data in (b"Enonsense", b"E\0\0\0\x02{}", b"", b"X", b"V" + b"x" * 12 + b"x-a"):
        store.put(place, data)
        world.cache.memory.drop(next(iter(world.cache.memory), None))
        before = len(world.origin.seen)
        world.get("/x")
        assert len(world.origin.seen) == before + 1
