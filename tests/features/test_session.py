"""
What a server remembers of a client from one request to the next.
"""

import json
import re
import time
from functools import partial

import pytest
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.python.components import globalRegistry
from twisted.web import server
from twisted.web.resource import Resource
from zope.interface import Attribute, Interface, implementedBy, implementer
from zope.interface.verify import verifyObject

from mixweb.engine.site import Site
from mixweb.features._session_data import LiveSession, changes, decode, encode
from mixweb.features.session import Session, SessionWrapper, build
from mixweb.interfaces import ISession, ISessionTag
from mixweb.stores import Conflict, StoreFull, StoreUnavailable
from mixweb.stores.memory import MemoryStore
from mixweb.testing import SiteAgent, make_context

COOKIE = re.compile(r"(__Host-)?SESSION=([A-Za-z0-9_-]{32}); ")


class SlowStore:
    """
    A store whose calls wait, or fail.

    :ivar calls: the names of the calls, in order.
    """

    def __init__(self, store):
        self.store = store
        self.calls = []
        self.waiting = []
        self.failure = {}
        self.holds = set()

    def __getattr__(self, name):
        call = getattr(self.store, name)
        return partial(self._call, name, call) if name in ("get", "put", "touch", "delete") else call

    def _call(self, name, call, *arguments):
        self.calls.append(name)
        if name in self.failure:
            return fail(self.failure[name])
        if name not in self.holds:
            return call(*arguments)
        waiting = Deferred()
        self.waiting.append(waiting)
        return waiting.addCallback(lambda _: call(*arguments))

    def go_on(self):
        """Let the calls that wait be made."""
        waiting, self.waiting = self.waiting, []
        for deferred in waiting:
            deferred.callback(None)


class Page(Resource):
    """Answers with what a function returns that is given session and request."""

    isLeaf = True

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def render(self, request):
        return self.answer(ISession(request), request)


class Nobody:
    """What keeps no sessions."""

    def make_id(self, request):
        return "id", b"key"

    def depend(self, session, request):
        """Nothing."""


class Browser(SiteAgent):
    """A client that keeps its cookies, of a server with sessions."""

    def __init__(self, answer, *, store=None, clock=None, secure=False, **settings):
        self.store = SlowStore(store or MemoryStore(clock or Clock()))
        clock = self.store.store._reactor
        context = make_context(clock)
        wrapper = build(Session(**settings), answer if isinstance(answer, Resource) else Page(answer), context)
        wrapper.sessions._store = self.store
        super().__init__(wrapper, clock=clock, secure=secure)
        self.cookie = ""
        self.logged = []
        self.site.observers.append(lambda request: self.logged.append((request.code, ISessionTag(request, None))))

    def open(self, method="GET", target="/", headers=(), body=b""):
        fields = {"Cookie": self.cookie, **dict(headers)}
        return super().open(method, target, {name: value for name, value in fields.items() if value}, body)

    def get(self, target="/", headers=()):
        answer = super().get(target, headers)
        self.keep(answer)
        return answer

    def keep(self, answer):
        """Take the cookies of an answer."""
        for line in answer.headers.getRawHeaders("Set-Cookie", []):
            name, _, value = line.partition(";")[0].partition("=")
            self.cookie = f"{name}={value}" if value else ""


def count(session, request):
    """A page that counts visits."""
    session["n"] = session.get("n", 0) + 1
    return str(session["n"]).encode()


def test_interface():
    """A session is what the interface says."""
    session = LiveSession(Nobody(), None)
    assert verifyObject(ISession, session)
    assert verifyObject(ISessionTag, session)


def test_counting():
    """What a page puts into the session of a client is there at its next request, and not in that of another client."""
    browser = Browser(count)
    other = Browser(count, store=browser.store.store)
    assert [browser.get().text for _ in range(3)] == ["1", "2", "3"]
    assert other.get().text == "1"
    assert browser.get().text == "4"


@pytest.mark.parametrize(
    ("secure", "settings", "cookie"),
    [
        (False, {}, "SESSION=ID; Path=/; Max-Age=86400; HttpOnly; SameSite=Lax"),
        (True, {}, "__Host-SESSION=ID; Path=/; Max-Age=86400; Secure; HttpOnly; SameSite=Lax"),
        (True, {"lifetime": 0}, "__Host-SESSION=ID; Path=/; Secure; HttpOnly; SameSite=Lax"),
        (True, {"path": "/a"}, "SESSION=ID; Path=/a; Max-Age=86400; Secure; HttpOnly; SameSite=Lax"),
        (True, {"domain": "a.example"}, "SESSION=ID; Path=/; Domain=a.example; Max-Age=86400; Secure; HttpOnly; SameSite=Lax"),
        (True, {"cookie": "sid", "same_site": "strict"},
         "__Host-sid=ID; Path=/; Max-Age=86400; Secure; HttpOnly; SameSite=Strict"),
        (True, {"same_site": "none", "partitioned": True},
         "__Host-SESSION=ID; Path=/; Max-Age=86400; Secure; HttpOnly; SameSite=None; Partitioned"),
        (False, {"same_site": "none", "partitioned": True}, "SESSION=ID; Path=/; Max-Age=86400; HttpOnly; SameSite=Lax"),
    ],
)  # fmt: skip
def test_cookie(secure, settings, cookie):
    """The cookie is out of reach of scripts, other sites and clear text, and lives as long as the session may."""
    browser = Browser(count, secure=secure, **settings)
    answer = browser.get()
    found = re.sub(r"=[A-Za-z0-9_-]{32};", "=ID;", answer["Set-Cookie"])
    assert found == cookie
    assert browser.get()["Set-Cookie"] is None
    assert browser.get().text == "3"


def test_ids():
    """Ids are long, random, and nowhere in the store."""
    ids = set()
    browser = Browser(count)
    for _ in range(100):
        browser.cookie = ""
        ids.add(COOKIE.match(browser.get()["Set-Cookie"])[2])
    assert len(ids) == 100
    kept = b"".join(browser.store.store._values.items)
    assert not any(id.encode() in kept for id in ids)
    assert all(re.fullmatch(rb"session:[0-9a-f]{64}", key) for key in browser.store.store._values.items)


@pytest.mark.parametrize(
    "id", ["x" * 32, "x" * 31, "x" * 33, "../../etc/passwd", "", "%00", '"' + "x" * 30 + '"', "ü" * 32]
)
def test_unknown_ids(id):
    """An id that is not ours is not taken over: whoever brings it gets another one, or none."""
    browser = Browser(count)
    browser.cookie = f"SESSION={id}"
    answer = browser.get()
    assert answer.text == "1"
    assert COOKIE.match(answer["Set-Cookie"])[2] != id
    browser = Browser(lambda session, request: repr(sorted(session)).encode())
    browser.cookie = f"SESSION={id}"
    answer = browser.get()
    assert (answer.text, answer["Set-Cookie"]) == ("[]", None)
    assert ("get" in browser.store.calls) == (id == "x" * 32)


def test_nothing_to_keep():
    """Who is given nothing to keep gets no cookie, and nothing is stored or asked for."""
    browser = Browser(lambda session, request: b"new" if session.new else b"known")
    answer = browser.get()
    assert (answer.text, answer["Set-Cookie"], answer["Vary"], answer["Cache-Control"]) == ("new", None, None, None)
    assert browser.store.calls == []


@pytest.mark.parametrize(
    ("act", "calls"),
    [
        (lambda session: None, ["get"]),
        (lambda session: session.get("n"), ["get"]),
        (lambda session: session.update(n=1), ["get"]),
        (lambda session: session.update(n=2), ["get", "put"]),
        (lambda session: session["list"].append(1), ["get", "put"]),
        (lambda session: session.pop("n"), ["get", "put"]),
        (lambda session: session.clear(), ["get", "put"]),
        (lambda session: session.end(), ["get", "delete"]),
        (lambda session: session.rotate(), ["get", "get", "put", "delete"]),
    ],
)
def test_what_is_written(act, calls):
    """Only what changed is written, also where the change is deep inside, and nothing for what is put back."""

    def page(session, request):
        if request.path == b"/begin":
            session.update({"n": 1, "list": []})
        else:
            act(session)
        return b""

    browser = Browser(page)
    browser.get("/begin")
    browser.store.calls.clear()
    browser.get("/")
    assert browser.store.calls == calls


def test_rotation():
    """A session goes on under a new id with what it holds; the id before is worth nothing, and keys bound to it stay behind."""

    def page(session, request):
        if request.path == b"/login":
            session["user"] = "ann"
            session.rotate()
        elif request.path == b"/begin":
            session.update({"cart": [1], "~csrf": "secret"})
        return json.dumps(dict(session)).encode()

    browser = Browser(page)
    browser.get("/begin")
    before = browser.cookie
    answer = browser.get("/login")
    assert json.loads(answer.body) == {"cart": [1], "user": "ann"}
    assert COOKIE.match(answer["Set-Cookie"])
    assert browser.cookie != before
    assert json.loads(browser.get("/").body) == {"cart": [1], "user": "ann"}
    browser.cookie = before
    assert json.loads(browser.get("/").body) == {}
    assert len(browser.store.store._values.items) == 1


def test_end():
    """A session that has ended is forgotten here, and at the client with the attributes that it was set with."""

    def page(session, request):
        if request.path == b"/logout":
            session.end()
            return repr(sorted(session)).encode()
        if request.path == b"/again":
            session.end()
        return count(session, request)

    browser = Browser(page, secure=True)
    browser.get("/")
    before = browser.cookie
    answer = browser.get("/logout")
    assert answer.text == "[]"
    assert answer["Set-Cookie"] == (
        "__Host-SESSION=; Path=/; Secure; HttpOnly; SameSite=Lax; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0"
    )
    assert browser.store.store._values.items == {}
    browser.cookie = before
    assert browser.get("/").text == "1"
    before = browser.cookie
    assert browser.get("/again").text == "1"
    assert browser.cookie != before
    assert browser.get("/").text == "2"
    assert len(browser.store.store._values.items) == 1


def test_end_of_none():
    """To end what is not there still clears the cookie of the client."""
    browser = Browser(lambda session, request: session.end() or b"")
    browser.cookie = "SESSION=" + "x" * 32
    browser.get()
    assert browser.cookie == ""


def test_rotate_and_end():
    """What is done several times in one request comes to the last of it."""

    def page(session, request):
        for letter in request.path[1:].decode():
            {"r": session.rotate, "e": session.end, "n": lambda: count(session, request)}[letter]()
        return b""

    for path, entries in (("/nr", 1), ("/nrr", 1), ("/nre", 0), ("/nen", 1), ("/er", 0), ("/r", 0), ("/nrern", 1)):
        browser = Browser(page)
        for _ in range(3):
            browser.get(path)
            assert len(browser.store.store._values.items) == entries, path


@pytest.mark.parametrize(
    ("settings", "pauses", "alive"),
    [
        ({"timeout": 100}, [94, 94, 94], True),
        ({"timeout": 100}, [94, 101], False),
        ({"timeout": 100, "lifetime": 200}, [90, 90, 19], True),
        ({"timeout": 100, "lifetime": 200}, [90, 90, 21], False),
        ({"timeout": 0, "lifetime": 200}, [199], True),
        ({"timeout": 0, "lifetime": 200}, [100, 101], False),
        ({"timeout": 100, "lifetime": 0}, [94] * 50, True),
        ({"timeout": 100, "lifetime": 0}, [101], False),
    ],
)
def test_times(settings, pauses, alive):
    """A session ends when it was not used for the timeout, and in any case after its lifetime."""
    browser = Browser(count, **settings)
    browser.get()
    for pause in pauses:
        browser.clock.advance(pause)
        browser.site.resource.inner.answer = lambda session, request: b"" if session.new else b"known"
        text = browser.get().text
    assert (text == "known") == alive


def test_touching():
    """A session that is read again and again is touched now and then, not each time."""
    browser = Browser(count, timeout=1000)
    browser.get()
    browser.site.resource.inner.answer = lambda session, request: b""
    browser.store.calls.clear()
    for _ in range(1000):
        browser.clock.advance(1)
        browser.get()
    assert browser.store.calls.count("touch") == 20
    assert browser.store.calls.count("put") == 0


def test_lifetime_of_a_new_id():
    """A new id has the whole lifetime before it."""
    browser = Browser(lambda session, request: session.rotate() or count(session, request), timeout=0, lifetime=100)
    browser.get()
    for _ in range(5):
        browser.clock.advance(90)
        answer = browser.get()
        assert "Max-Age=100" in answer["Set-Cookie"]
    assert answer.text == "6"


def test_hosts():
    """The id of one host is worth nothing at another one, at another scheme, or for another cookie, in the same store."""
    store = MemoryStore(Clock())
    browser = Browser(count, store=store)
    browser.get("/", {"Host": "a.example:8080"})
    assert browser.get("/", {"Host": "a.example:8081"}).text == "2"
    assert browser.get("/", {"Host": "A.EXAMPLE"}).text == "3"
    kept = browser.cookie
    assert browser.get("/", {"Host": "b.example"}).text == "1"
    secure = Browser(count, store=store, secure=True)
    secure.cookie = "__Host-" + kept
    assert secure.get("/", {"Host": "a.example"}).text == "1"
    plain, other = (Browser(count, store=store, secure=secure, path="/a") for secure in (False, True))
    plain.get("/", {"Host": "a.example"})
    other.cookie = plain.cookie
    assert other.get("/", {"Host": "a.example"}).text == "1"
    named = Browser(count, store=store, cookie="OTHER")
    named.cookie = kept.replace("SESSION", "OTHER")
    assert named.get("/", {"Host": "a.example"}).text == "1"


def test_domain():
    """With a domain its hosts share sessions."""
    browser = Browser(count, domain="example.com")
    browser.get("/", {"Host": "a.example.com"})
    assert browser.get("/", {"Host": "b.example.com"}).text == "2"


# Caches


@pytest.mark.parametrize(
    ("known", "act", "vary", "control"),
    [
        (False, lambda session: None, None, None),
        (False, lambda session: session.get("n"), "Cookie", None),
        (False, lambda session: session.update(n=1), "Cookie", "private"),
        (True, lambda session: None, None, None),
        (True, lambda session: session.new, None, None),
        (True, lambda session: session.get("n"), "Cookie", "private"),
        (True, lambda session: session.rotate(), "Cookie", "private"),
    ],
)
def test_caches(known, act, vary, control):
    """An answer that depends on what a session holds is for its client alone; already who stands behind can see so."""
    seen = []

    def page(session, request):
        if request.path == b"/begin":
            session["n"] = 0
        else:
            act(session)
            seen.append(request.responseHeaders.getRawHeaders("Cache-Control"))
            seen.append(session.used)
        return b""

    browser = Browser(page)
    if known:
        browser.get("/begin")
    answer = browser.get("/")
    assert (answer["Vary"], answer["Cache-Control"]) == (vary, control)
    assert seen == [control and [control], control is not None]


def test_what_a_page_says_to_caches():
    """What a page says itself stays."""

    def page(session, request):
        count(session, request)
        request.setHeader(b"Cache-Control", b"no-store")
        request.setHeader(b"Vary", b"Accept, COOKIE")
        return b""

    answer = Browser(page).get()
    assert (answer["Vary"], answer["Cache-Control"]) == ("Accept, COOKIE", "no-store")


# Several at once


@pytest.mark.parametrize(
    ("before", "after", "third", "result"),
    [
        ({}, {"a": 1}, {}, {"a": 1}),
        ({}, {"a": 1}, {"b": 2}, {"a": 1, "b": 2}),
        ({}, {"a": 1}, {"a": 2}, {"a": 1}),
        ({"a": 1}, {}, {"a": 1, "b": 2}, {"b": 2}),
        ({"a": 1}, {}, {"a": 2}, {}),
        ({"a": 1}, {"a": 1}, {"a": 2}, {"a": 2}),
        ({"a": 1}, {"a": 1, "b": 1}, {}, {"b": 1}),
        ({"a": [1]}, {"a": [1, 2]}, {"a": [1, 3]}, {"a": [1, 2]}),
        ({"a": 1}, {"a": True}, {"a": 1}, {"a": True}),
        ({"a": 1}, {"a": 1.0}, {"a": 1}, {"a": 1.0}),
        ({"a": {"x": 1, "y": 2}}, {"a": {"x": 1, "y": 2}}, {"a": {"y": 2, "x": 1}}, {"a": {"y": 2, "x": 1}}),
    ],
)
def test_changes(before, after, third, result):
    """Of two who change the same session each keeps what it did, key by key; the second one wins where both did."""
    found = changes(before, after)(third)
    assert json.dumps(found, sort_keys=True) == json.dumps(result, sort_keys=True)


@pytest.mark.parametrize("value", [(1795258129.125, '{"a":1}'), (float("inf"), "{}"), (0.0, '{"\\u00e4":"\\n"}')])
def test_encoding(value):
    """A stored session is read as it was written; one of another version is not read."""
    assert decode(encode(*value)) == value
    assert decode(b"2" + encode(*value)[1:]) is None


def test_conflicts():
    """Requests of one client that run at the same time do not take each other's changes back."""
    waiting = {}

    async def page(session, request):
        name = request.path[1:].decode()
        if name == "begin":
            session["log"] = "x"
        elif name:
            session.get("log")
            waiting[name] = Deferred()
            await waiting[name]
            session[name] = True
        return json.dumps(dict(session)).encode()

    browser = Browser(page)
    browser.get("/begin")
    exchanges = [browser.open("GET", f"/{name}") for name in ("a", "b", "c")]
    for name in ("b", "c", "a"):
        waiting[name].callback(None)
    assert [len(json.loads(exchange.answer.body)) for exchange in exchanges] == [2, 2, 2]
    assert json.loads(browser.get("/").body) == {"log": "x", "a": True, "b": True, "c": True}


def test_conflicts_without_end(failures):
    """A session that others change all the time is given up in the end, with 503."""
    browser = Browser(count)
    browser.get()
    browser.store.failure["put"] = Conflict(9)
    answer = browser.get()
    assert (answer.status, answer["Retry-After"]) == (503, "5")
    assert browser.store.calls.count("put") == 1 + 50
    assert failures == []


@pytest.mark.parametrize("act", ["end", "rotate"])
def test_over_meanwhile(act):
    """What another request has ended, or moved to a new id, is not brought back by one that began before."""
    waiting = Deferred()

    async def page(session, request):
        if request.path == b"/slow":
            session.get("n")
            await waiting
            session["slow"] = True
        elif request.path == b"/act":
            getattr(session, act)()
        else:
            session["n"] = 1
        return b""

    browser = Browser(page)
    browser.get("/")
    before = browser.cookie
    slow = browser.open("GET", "/slow")
    browser.get("/act")
    waiting.callback(None)
    assert slow.answer.status == 200
    assert slow.answer["Set-Cookie"] is None
    browser.cookie = before
    browser.site.resource.inner.answer = lambda session, request: repr(sorted(session)).encode()
    assert browser.get("/").text == "[]"
    assert len(browser.store.store._values.items) == (act == "rotate")


@pytest.mark.parametrize(
    ("meanwhile", "result"),
    [("change", {"n": 2, "user": "ann"}), ("end", {"user": "ann"}), ("none", {"n": 1, "user": "ann"})],
)
def test_rotation_meanwhile(meanwhile, result):
    """A login takes along what other requests have changed meanwhile; of a session that they have ended it takes nothing."""
    waiting = Deferred()

    async def page(session, request):
        if request.path == b"/login":
            session["user"] = "ann"
            await waiting
            session.rotate()
        elif request.path == b"/change":
            session["n"] = 2
        elif request.path == b"/end":
            session.end()
        elif request.path == b"/begin":
            session["n"] = 1
        return json.dumps(dict(session)).encode()

    browser = Browser(page)
    browser.get("/begin")
    before = browser.cookie
    login = browser.open("GET", "/login")
    browser.get(f"/{meanwhile}")
    browser.cookie = before
    waiting.callback(None)
    browser.keep(login.answer)
    assert json.loads(browser.get("/").body) == result


# When the store is slow, full or down


def test_slow_store():
    """A request waits until its session is loaded, and its answer until it is saved, and is logged then."""
    browser = Browser(count)
    browser.get()
    browser.store.holds = {"get", "put"}
    browser.logged.clear()
    exchange = browser.open()
    assert exchange.received == b""
    browser.store.go_on()
    assert (exchange.received, browser.logged) == (b"", [])
    browser.store.go_on()
    assert (exchange.answer.status, exchange.answer.text) == (200, "2")
    assert [code for code, _ in browser.logged] == [200]


def test_pipelined_requests():
    """Behind an answer that is held back the next request of the connection waits; both are answered in order."""
    browser = Browser(count)
    browser.get()
    browser.store.holds = {"put"}
    exchange = browser.connect()
    for _ in range(2):
        exchange.request("GET", "/", {"Cookie": browser.cookie})
    assert exchange.answers() == []
    browser.store.go_on()
    assert [answer.text for answer in exchange.answers()] == ["2"]
    browser.store.go_on()
    assert [answer.text for answer in exchange.answers()] == ["2", "3"]


@pytest.mark.parametrize(
    ("call", "failure"),
    [("get", StoreUnavailable("down")), ("put", StoreUnavailable("down")), ("put", StoreFull("full"))],
)
@pytest.mark.parametrize("late", [False, True])
def test_store_down(call, failure, late, failures):
    """When the store fails the answer is 503 with Retry-After, never that of an empty session, and no cookie leaves."""
    calls = []

    def page(session, request):
        calls.append(dict(session))
        request.setHeader(b"X-Kept", b"yes")
        request.setHeader(b"ETag", b'"1"')
        return count(session, request)

    browser = Browser(page)
    browser.get()
    browser.logged.clear()
    browser.store.failure[call] = failure
    if late:
        browser.store.failure = {}
        browser.store.holds = {call}
    exchange = browser.open()
    if late:
        browser.store.waiting.pop().errback(failure)
    answer = exchange.answer
    assert (answer.status, answer["Retry-After"], answer["Set-Cookie"], answer["ETag"]) == (503, "5", None, None)
    assert answer.text == "503 Service Unavailable\nThe sessions cannot be reached just now.\n"
    assert calls == [{}] + [{"n": 1}] * (call == "put")
    assert answer["X-Kept"] == ("yes" if call == "put" else None)
    assert [code for code, _ in browser.logged] == [503]
    assert failures == []
    browser.store.failure, browser.store.holds = {}, set()
    assert browser.get().text == "2"


def test_store_down_and_no_session():
    """Without a session a request is answered whatever the store does."""
    browser = Browser(lambda session, request: b"hello")
    browser.store.failure["get"] = StoreUnavailable("down")
    assert browser.get().text == "hello"
    browser.cookie = "SESSION=" + "x" * 32
    assert browser.get().status == 503


def test_touch_that_fails(failures):
    """That a session could not be touched is no trouble."""
    browser = Browser(count)
    browser.get()
    browser.clock.advance(1000)
    browser.store.failure["touch"] = StoreUnavailable("down")
    assert browser.get().text == "2"
    assert failures == []


def test_head_requests_that_fail():
    """The 503 of a HEAD has no body."""
    browser = Browser(count)
    browser.store.failure["put"] = StoreUnavailable("down")
    answer = browser.request("HEAD", "/")
    assert (answer.status, answer.body) == (503, b"")


class Streamed(Resource):
    """Writes five pieces as long as it is let."""

    isLeaf = True

    def __init__(self):
        super().__init__()
        self.events = []
        self.left = 5

    def render_GET(self, request):
        self.request = request
        self.paused = False
        count(ISession(request), request)
        request.notifyFinish().addBoth(lambda reason: self.events.append("end"))
        if request.path != b"/written":
            request.registerProducer(self, True)
        self.resumeProducing()
        return 1

    def resumeProducing(self):
        self.paused = False
        while self.left and not self.paused:
            self.left -= 1
            self.request.write(b"piece ")
        if not self.left:
            if self.request.producer is not None:
                self.request.unregisterProducer()
            self.request.finish()

    def pauseProducing(self):
        self.paused = True

    def stopProducing(self):
        self.events.append("stop")


@pytest.mark.parametrize(("path", "left"), [("/written", 0), ("/push", 4)])
def test_streams_wait(path, left):
    """Who streams an answer is slowed down until the session is saved, and then sends all of it."""
    page = Streamed()
    browser = Browser(page)
    browser.store.holds = {"put"}
    exchange = browser.open("GET", path)
    assert (exchange.received, page.left) == (b"", left)
    browser.store.go_on()
    assert exchange.answer.text == "piece piece piece piece piece "
    assert page.events == ["end"]


@pytest.mark.parametrize(("path", "events"), [("/written", ["end"]), ("/push", ["stop", "end"])])
@pytest.mark.parametrize("late", [False, True])
def test_streams_that_are_refused(path, events, late, failures):
    """When the session cannot be saved, a stream ends as if its client had left, and the client gets 503 and may go on."""
    page = Streamed()
    browser = Browser(page)
    if late:
        browser.store.holds = {"put"}
    else:
        browser.store.failure["put"] = StoreUnavailable("down")
    exchange = browser.open("GET", path)
    if late:
        browser.store.waiting.pop().errback(StoreUnavailable("down"))
    browser.clock.advance(0)
    assert exchange.answer.status == 503
    assert page.events == events
    assert [code for code, _ in browser.logged] == [503]
    assert failures == []
    browser.store.failure, browser.store.holds, page.left = {}, set(), 1
    exchange.request("HEAD", "/written")
    assert [answer.status for answer in exchange.answers()] == [503, 200]


@pytest.mark.parametrize("call", ["get", "put"])
@pytest.mark.parametrize("works", [True, False])
def test_clients_that_leave(call, works, failures):
    """A client that leaves while its session is loaded or saved ends its request, which is logged once; a change is kept."""
    browser = Browser(count)
    browser.get()
    browser.logged.clear()
    browser.store.holds = {call}
    exchange = browser.open()
    exchange.disconnect()
    for waiting in browser.store.waiting:
        if works:
            waiting.callback(None)
        elif not waiting.called:
            waiting.errback(StoreUnavailable("down"))
    assert len(browser.logged) == 1
    assert failures == []
    browser.store.holds = set()
    assert browser.get().text == ("3" if call == "put" and works else "2")


# What a session may hold


@pytest.mark.parametrize("value", [object(), b"bytes", float("nan"), float("inf"), {1, 2}, [object()]])
def test_what_json_cannot_hold(value):
    """What JSON cannot hold is refused where it is put in, with the key."""
    session = LiveSession(Nobody(), None)
    with pytest.raises(TypeError, match=r"a session holds what JSON can, session\['k'\] not: "):
        session["k"] = value
    assert dict(session) == {}
    with pytest.raises(TypeError, match="the keys of a session are text, not 1"):
        session[1] = "x"


def test_too_large():
    """A session that holds too much is not saved: the answer is a 500 that says so, and what was stored stays."""

    def page(session, request):
        session["x"] = "x" * int(request.path[1:])
        return b""

    browser = Browser(page, max_bytes=100)
    assert browser.get("/50").status == 200
    answer = browser.get("/93")
    assert (answer.status, answer.text) == (500, "500 Internal Server Error\nThe session holds too much.\n")
    assert browser.get("/92").status == 200


@pytest.mark.parametrize(
    ("act", "status"),
    [
        (lambda session, request: session.clear() or request.error(503, "later"), 503),
        (lambda session, request: 1 / 0, 500),
        (lambda session, request: session.rotate() or 1 / 0, 500),
    ],
)
def test_failures_save_nothing(act, status):
    """An answer that says that the server failed changes no session."""

    def page(session, request):
        if request.path == b"/fail":
            session["n"] = 99
            return act(session, request)
        return count(session, request)

    browser = Browser(page)
    browser.get("/")
    answer = browser.get("/fail")
    assert (answer.status, answer["Set-Cookie"]) == (status, None)
    assert browser.get("/").text == "2"


def test_logout_that_fails():
    """A session that was ended is over, whatever happens then."""
    browser = Browser(
        lambda session, request: session.end() or 1 / 0 if request.path == b"/out" else count(session, request)
    )
    browser.get("/")
    before = browser.cookie
    assert browser.get("/out").status == 500
    assert browser.cookie == ""
    browser.cookie = before
    assert browser.get("/").text == "1"


def test_after_the_head(failures):
    """What changes while the body is sent is saved in the end; a session cannot begin, move or end any more."""

    async def page(session, request):
        request.write(b"head ")
        if request.path == b"/begin":
            session["n"] = 9
            for act in (session.begin, session.end):
                with pytest.raises(RuntimeError, match="the head of the answer has left"):
                    act()
        else:
            count(session, request)
            with pytest.raises(RuntimeError, match="the head of the answer has left"):
                session.rotate()
        request.write(b"rest")

    browser = Browser(count)
    browser.get()
    browser.site.resource.inner.answer = page
    answer = browser.get("/")
    assert (answer.text, answer["Set-Cookie"]) == ("head rest", None)
    browser.site.resource.inner.answer = count
    assert browser.get("/").text == "3"
    browser.site.resource.inner.answer = page
    browser.cookie = ""
    assert browser.get("/begin")["Set-Cookie"] is None
    assert len(browser.store.store._values.items) == 1
    assert failures == []


# The log


def test_tags():
    """The log can tell sessions apart by six characters that are no part of the id."""
    browser = Browser(count)
    for _ in range(2):
        browser.get()
    browser.get("/", {"Cookie": "SESSION=" + "x" * 32})
    first, again, other = (tag.tag for _, tag in browser.logged)
    assert first == again != other
    assert re.fullmatch("[0-9a-f]{6}", first)
    assert first not in browser.cookie
    browser.site.resource.inner.answer = lambda session, request: b""
    browser.get("/", {"Cookie": "a=b"})
    assert browser.logged[-1] == (200, None)


# Twisted's sessions


class ICart(Interface):
    """What is bought."""

    things = Attribute("a list")


@implementer(ICart)
class Cart:
    """A list."""

    def __init__(self, session):
        self.things = []


@pytest.fixture
def carts():
    """Sessions of Twisted's have carts."""
    globalRegistry.register([implementedBy(server.Session)], ICart, "", Cart)
    yield
    globalRegistry.unregister([implementedBy(server.Session)], ICart, "")


@pytest.mark.usefixtures("carts")
def test_twisted_sessions():
    """Pages that use Twisted's sessions go on with ours: adapters live in the process, the cookie and the id are ours."""

    def page(session, request):
        cart = request.getSession(ICart)
        cart.things.append(len(cart.things))
        assert request.getSession() is request.getSession()
        return repr(cart.things).encode()

    browser = Browser(page)
    answer = browser.get()
    assert COOKIE.match(answer["Set-Cookie"])
    assert [browser.get().text for _ in range(2)] == ["[0, 1]", "[0, 1, 2]"]
    (uid,) = browser.site.sessions
    assert browser.cookie.partition("=")[2].encode() not in uid
    browser.cookie = ""
    assert browser.get().text == "[0]"
    assert len(browser.site.sessions) == 2


def twisted_page(expired):
    """A page that logs in and out with Twisted's session."""

    def page(session, request):
        found = request.getSession()
        if not hasattr(found, "visits"):
            found.visits = 0
            found.notifyOnExpire(lambda: expired.append(found.visits))
        found.visits += 1
        {b"/login": session.rotate, b"/logout": found.expire, b"/end": session.end}.get(request.path, found.touch)()
        return str(found.visits).encode()

    return page


def test_twisted_sessions_end():
    """To expire Twisted's session ends ours, and to end ours expires it; a new id changes nothing about it."""
    expired = []
    browser = Browser(twisted_page(expired))
    assert [browser.get(path).text for path in ("/", "/login", "/", "/logout")] == ["1", "2", "3", "4"]
    assert (expired, browser.cookie, browser.site.sessions) == ([4], "", {})
    assert browser.store.store._values.items == {}
    assert [browser.get(path).text for path in ("/", "/end", "/")] == ["1", "2", "1"]
    assert expired == [4, 2]


def test_twisted_sessions_expire():
    """Twisted's session expires when it is not used for the timeout, as ours does."""
    expired = []
    browser = Browser(twisted_page(expired), timeout=100)
    browser.get()
    browser.clock.advance(90)
    browser.get()
    browser.clock.advance(90)
    assert expired == []
    browser.clock.advance(11)
    assert expired == [2]
    assert browser.site.sessions == {}
    assert browser.clock.getDelayedCalls() == []


def test_twisted_sessions_outside_of_requests():
    """Twisted's session can be expired when no request is about it; ours has ended too."""
    browser = Browser(twisted_page([]))
    browser.get()
    (session,) = browser.site.sessions.values()
    session.expire()
    session.let_go()
    assert browser.store.store._values.items == {}
    assert browser.get().text == "1"


def test_twisted_sessions_are_bounded(monkeypatch):
    """Of too many sessions of Twisted's the one that was not used for longest is let go; ours stays."""
    monkeypatch.setattr("mixweb.features._session_twisted.MAX_SESSIONS", 3)
    expired = []
    browser = Browser(twisted_page(expired))
    browser.get()
    first = browser.cookie
    for _ in range(2):
        browser.cookie = ""
        browser.get()
    browser.cookie = first
    browser.get()
    browser.cookie = ""
    browser.get()
    assert len(browser.site.sessions) == 3
    assert len(browser.store.store._values.items) == 4
    browser.cookie = first
    assert browser.get().text == "3"


def test_twisted_sessions_without_the_feature():
    """Without the feature Twisted's own sessions have hardened cookies."""
    page = Page(None)
    page.render = lambda request: request.getSession().uid
    for secure, cookie in ((False, "TWISTED_SESSION"), (True, "TWISTED_SECURE_SESSION")):
        site = Site(page, reactor=Clock())
        answer = SiteAgent(site, secure=secure).get("/")
        flags = "; Path=/; Secure" if secure else "; Path=/"
        assert answer["Set-Cookie"] == f"{cookie}={answer.text}{flags}; HttpOnly; SameSite=Lax"
        for session in list(site.sessions.values()):
            session.expire()


# Settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"timeout": -1}, "timeout must not be negative"),
        ({"lifetime": -1}, "lifetime must not be negative"),
        ({"timeout": 0, "lifetime": 0}, "timeout and lifetime are both 0"),
        ({"cookie": "a b"}, "cookie must be a name without prefix, not 'a b'"),
        ({"cookie": "__Host-a"}, "cookie must be a name without prefix, not '__Host-a'"),
        ({"path": "a"}, "path must begin with a slash, not 'a'"),
        ({"domain": "a;b"}, "domain cannot stand in a cookie: 'a;b'"),
        ({"max_bytes": 1}, "max_bytes must be at least 2"),
        ({"store": "nowhere"}, "store must be memory:, "),
    ],
)
def test_refused(settings, message):
    """Settings that make no sense are refused, naming the setting."""
    with pytest.raises(ValueError, match=message):
        Session(**settings)


def test_build():
    """The feature uses the server's store, or its own."""
    context = make_context(Clock())
    first, second, third = (build(Session(store=url), Resource(), context) for url in ("", "memory:", "memory:other"))
    assert isinstance(first, SessionWrapper)
    assert first.sessions._store is second.sessions._store is not third.sessions._store


def test_peek():
    """A look into a session finds what it holds, and the answer depends on it where there is something."""
    seen = []

    def page(session, request):
        if request.path == b"/begin":
            session["user"] = {"name": "ann"}
        seen.append((session.peek("user"), session.peek("other"), session.used))
        return b""

    browser = Browser(page)
    browser.get("/")
    browser.get("/begin")
    answer = browser.get("/")
    ann = {"name": "ann"}
    assert seen == [(None, None, False), (ann, None, True), (ann, None, True)]
    assert (answer["Vary"], answer["Cache-Control"]) == ("Cookie", "private")
    assert browser.store.calls == ["put", "get"]


@pytest.mark.parametrize(
    ("cookie", "status", "known"),
    [
        ("a=b; ID; c=d", 200, True),
        ('a="b;c\\"d"; ID', 200, True),
        ("=__Host-x=1; ID", 200, True),
        ("ID; SESSION=" + "x" * 32, 200, False),
        ("=ID", 200, False),
        (" SESSION = ID", 200, False),
        ("SESSION2=x; xID", 200, False),
        ('"\\' * 7000 + "; ID", 200, True),
        ("a=b; " * 2900 + "ID", 200, True),
        ("a" * 100_000, 431, False),
    ],
    ids=lambda value: str(value)[:12],
)
def test_odd_cookies(cookie, status, known):
    """Whatever stands around it, the cookie is found in no time, or not at all."""
    browser = Browser(lambda session, request: session.setdefault("n", 1) and str(session.new).encode())
    browser.get()
    fields = {"Cookie": cookie.replace("ID", browser.cookie)}
    began = time.process_time()
    answer = browser.open("GET", "/", fields).answer
    assert time.process_time() - began < 0.05
    assert (answer.status, answer.text == "False") == (status, known)
