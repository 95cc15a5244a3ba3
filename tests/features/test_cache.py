"""
Pages under names that can be given once.
"""

import base64
import json
import re

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from mixweb.assemble import Assembler
from mixweb.features._cache_pages import Limits, PageError, Pages
from mixweb.features.cache import Cache, CacheResource, build
from mixweb.kit.posted import Page
from mixweb.plan import Host, Plan
from mixweb.stores import Conflict, Entry, StoreFull, StoreUnavailable
from mixweb.stores.memory import MemoryStore
from mixweb.testing import SiteAgent, make_context

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/json"}


class Browser(SiteAgent):
    """A client of a cache that is mounted at ``/cache``, alone."""

    def __init__(self, clock=None, **settings):
        clock = clock or Clock()
        plan = Plan(default=Host(Cache(**settings), without=["accesslog", "secureheaders"]))
        self.tree = Assembler(clock).assemble(plan)
        super().__init__(self.tree.root, clock=clock)

    def save(self, name, data=b"x", kind="text/plain"):
        """The status that saving a page has."""
        return self.request("POST", f"/cache/{name}", FORM, b"data=%b&type=%b" % (data, kind.encode())).status

    def status(self, method, path):
        return self.request(method, path).status

    def load(self, name):
        """The body of a page, or a status."""
        answer = self.get(f"/cache/{name}")
        return answer.body if answer.status == 200 else answer.status


@pytest.fixture
def browser():
    """A client of a cache with its default settings."""
    return Browser()


#: The name, what is done before, the request, the status and the status with mixnmatchttp's codes.
GET, POST, DELETE, HEAD = "GET", "POST", "DELETE", "HEAD"
TABLE = [
    ("never saved", [], GET, "/cache/a", 404, 500),
    ("saved", ["a"], GET, "/cache/a", 200, 200),
    ("saved, slash", ["a"], GET, "/cache/a/", 200, 200),
    ("saved, encoded", ["a"], GET, "//cache/%61", 200, 200),
    ("cleared", ["a", "-a"], GET, "/cache/a", 410, 500),
    ("all cleared", ["a", "-"], GET, "/cache/a", 410, 500),
    ("save", [], POST, "/cache/a", 204, 204),
    ("save again", ["a"], POST, "/cache/a", 409, 500),
    ("save cleared", ["a", "-a"], POST, "/cache/a", 409, 500),
    ("save all cleared", ["a", "-"], POST, "/cache/a", 409, 500),
    ("save other", ["a"], POST, "/cache/b", 204, 204),
    ("save nameless", [], POST, "/cache", 400, 404),
    ("get nameless", [], GET, "/cache/", 400, 404),
    ("save with slash", [], POST, "/cache/a%2Fb", 404, 404),
    ("get with slash", [], GET, "/cache/a%2fb", 404, 404),
    ("clear with slash", [], GET, "/cache/clear/a%2fb", 404, 404),
    ("too many parts", [], GET, "/cache/a/b", 404, 404),
    ("too many parts, save", [], POST, "/cache/a/b", 404, 404),
    ("clear", ["a"], GET, "/cache/clear/a", 204, 204),
    ("clear unknown", [], GET, "/cache/clear/a", 204, 204),
    ("clear twice", ["a", "-a"], GET, "/cache/clear/a", 204, 204),
    ("clear all", ["a"], GET, "/cache/clear", 204, 204),
    ("clear all of none", [], GET, "/cache/clear/", 204, 204),
    ("clear too much", [], GET, "/cache/clear/a/b", 404, 404),
    ("clear by POST", ["a"], POST, "/cache/clear/a", 204, 405),
    ("clear all by POST", ["a"], POST, "/cache/clear", 204, 405),
    ("delete", ["a"], DELETE, "/cache/a", 204, 501),
    ("delete unknown", [], DELETE, "/cache/a", 204, 501),
    ("delete all", ["a"], DELETE, "/cache", 204, 501),
    ("new", [], GET, "/cache/new", 200, 200),
    ("new, too much", [], GET, "/cache/new/x", 404, 404),
    ("save as new", [], POST, "/cache/new", 405, 405),
    ("delete new", [], DELETE, "/cache/new", 405, 501),
    ("put", [], "PUT", "/cache/a", 405, 501),
    ("patch", [], "PATCH", "/cache/clear", 405, 501),
    ("options", [], "OPTIONS", "/cache/a", 204, 204),
    ("head", ["a"], HEAD, "/cache/a", 200, 200),
    ("head of none", [], HEAD, "/cache/a", 404, 500),
    ("head of clear", ["a"], HEAD, "/cache/clear", 204, 204),
]


@pytest.mark.parametrize("compat", ["", "mixnmatchttp"])
@pytest.mark.parametrize(
    ("before", "method", "path", "status", "other"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_statuses(before, method, path, status, other, compat):
    """Every route, with every state of the page, has the status of HTTP, or the one of mixnmatchttp."""
    browser = Browser(compat=compat)
    for step in before:
        if step.startswith("-"):
            assert browser.status("GET", f"/cache/clear/{step[1:]}") == 204
        else:
            assert browser.save(step) == 204
    answer = browser.request(method, path, FORM, b"data=x")
    assert answer.status == (other if compat else status)
    assert answer["Cache-Control"] == "no-store"
    if answer.status == 405:
        assert "OPTIONS" in answer["Allow"]


@pytest.mark.parametrize(
    ("target", "allow"),
    [
        ("/cache", "DELETE, GET, HEAD, OPTIONS, POST"),
        ("/cache/a", "DELETE, GET, HEAD, OPTIONS, POST"),
        ("/cache/new", "GET, HEAD, OPTIONS"),
        ("/cache/clear", "GET, HEAD, OPTIONS, POST"),
        ("/cache/clear/a", "GET, HEAD, OPTIONS, POST"),
    ],
)
def test_allow(browser, target, allow):
    """OPTIONS, and a method that is wrong, tell what is allowed."""
    assert browser.request("OPTIONS", target)["Allow"] == allow
    answer = browser.request("PUT", target)
    assert (answer.status, answer["Allow"]) == (405, allow)


@pytest.mark.parametrize(
    ("compat", "status", "detail"), [("", 400, "The path lacks the name of a page."), ("mixnmatchttp", 404, "Missing")]
)
def test_missing_name(compat, status, detail):
    """What a path lacks is named."""
    answer = Browser(compat=compat).get("/cache")
    assert answer.status == status
    assert detail in answer.text


@pytest.mark.parametrize(
    ("headers", "body", "data", "kind"),
    [
        (FORM, b"data=%00%ff+a&type=text/html", b"\x00\xff a", "text/html"),
        (FORM, b"data=&type=text/css", b"", "text/css"),
        (
            JSON,
            json.dumps({"data": base64.b64encode(bytes(range(256))).decode()}).encode(),
            bytes(range(256)),
            "text/plain",
        ),
        (JSON, b'{"data": "eA==", "type": "no/thing"}', b"x", "text/plain"),
    ],
)
def test_pages(browser, headers, body, data, kind):
    """A page comes back byte for byte with its type, as often as it is asked for."""
    answer = browser.request("POST", "/cache/a", headers, body)
    assert (answer.status, answer.body, answer["Content-Type"]) == (204, b"", None)
    for _ in range(2):
        answer = browser.get("/cache/a")
        assert (answer.status, answer.body, answer["Content-Type"]) == (200, data, kind)
        assert (answer["Content-Security-Policy"], answer["X-Content-Type-Options"]) == ("sandbox", "nosniff")
    answer = browser.request("HEAD", "/cache/a")
    assert (answer["Content-Length"], answer["Content-Type"], answer.body) == (str(len(data)), kind, b"")


@pytest.mark.parametrize("name", ["a", "%00", "%ff%fe", "%C3%A9", "a%20b", "%22%5C", "clear%20", "NEW", "x" * 200])
def test_names(browser, name):
    """A name is any bytes but a slash; names are different when a byte is."""
    assert browser.save(name, b"one") == 204
    assert browser.save(f"{name[:-1]}~", b"two") in (204, 400)
    assert browser.load(name) == b"one"
    assert browser.status("DELETE", f"/cache/{name}") == 204
    assert browser.load(name) == 410


def test_long_names(browser):
    """A name has a limited length."""
    answer = browser.request("POST", "/cache/" + "x" * 201, FORM, b"data=x")
    assert (answer.status, "at most 200 bytes" in answer.text) == (400, True)
    assert browser.load("x" * 201) == 404


@pytest.mark.parametrize("compat", ["", "mixnmatchttp"])
def test_new_names(compat):
    """Each new name is another UUID, and can be used at once."""
    browser = Browser(compat=compat)
    names = [browser.get("/cache/new") for _ in range(3)]
    assert len({name.text for name in names}) == 3
    for name in names:
        assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", name.text)
        assert name["Content-Type"] == "text/plain"
        assert browser.save(name.text) == 204


@pytest.mark.parametrize(("compat", "full", "long"), [("", 507, 413), ("mixnmatchttp", 500, 500)])
def test_sizes(compat, full, long):
    """All pages together have a limited size; clearing makes room, names stay taken."""
    browser = Browser(compat=compat, max_bytes=100, max_page_bytes=60)
    assert browser.save("a", b"x" * 60) == 204
    assert browser.save("b", b"x" * 61) == long
    assert browser.save("b", b"x" * 10_000) == long
    assert browser.save("b", b"x" * 41) == full
    assert "Cannot save any more pages" in browser.request("POST", "/cache/b", FORM, b"data=" + b"x" * 41).text
    assert browser.save("b", b"x" * 40) == 204
    assert browser.save("c", b"") == 204
    assert browser.save("d", b"x") == full
    assert browser.status("GET", "/cache/clear/a") == 204
    assert browser.save("d", b"x" * 60) == 204
    assert browser.save("a", b"x") == (500 if compat else 409)
    assert browser.status("GET", "/cache/clear") == 204
    assert browser.save("e", b"x" * 60) == 204
    assert browser.save("f", b"x" * 40) == 204


def test_default_size(browser):
    """By default there is room for two mebibytes, in one page or many."""
    size = 2 * 1024 * 1024
    assert browser.save("a", b"x" * (size + 1)) == 413
    assert browser.save("a", b"x" * size) == 204
    assert browser.save("b", b"x") == 507
    assert len(browser.load("a")) == size


@pytest.mark.parametrize(("compat", "full"), [("", 507), ("mixnmatchttp", 500)])
def test_number_of_names(compat, full):
    """Only so many names can be given, cleared or not."""
    browser = Browser(compat=compat, max_names=3)
    assert [browser.save(name) for name in "abcd"] == [204, 204, 204, full]
    browser.get("/cache/clear")
    assert browser.save("d") == full
    assert browser.save("a") == (500 if compat else 409)


@pytest.mark.parametrize(
    ("headers", "body"),
    [(FORM, b""), (FORM, b"type=a"), (JSON, b"{"), (JSON, b'{"data": "@"}'), ({"Content-Type": "a/b"}, b"data=x")],
)
def test_nothing_is_kept_of_errors(browser, headers, body):
    """A save that fails takes no name, and the connection goes on."""
    exchange = browser.connect()
    exchange.request("POST", "/cache/a", headers, body)
    exchange.request("GET", "/cache/a")
    exchange.request("POST", "/cache/a", FORM, b"data=" + b"x" * 7_000_000)
    exchange.request("GET", "/cache/a")
    exchange.request("POST", "/cache/a", FORM, b"data=x")
    exchange.request("GET", "/cache/a")
    answers = exchange.answers()
    assert [answer.status for answer in answers] == [400, 404, 413, 404, 204, 200]


def test_time_to_live():
    """A page and its name are forgotten after their time, cleared or not, and make room."""
    browser = Browser(ttl=60, max_bytes=10, max_names=2)
    assert browser.save("a", b"x" * 10) == 204
    browser.clock.advance(30)
    assert browser.save("b", b"") == 204
    browser.get("/cache/clear/b")
    assert (browser.load("a"), browser.load("b"), browser.save("c", b"")) == (b"x" * 10, 410, 507)
    browser.clock.advance(29)
    assert browser.load("a") == b"x" * 10
    browser.clock.advance(1)
    assert (browser.load("a"), browser.load("b"), browser.save("a", b"y" * 10)) == (404, 410, 204)
    browser.clock.advance(30)
    assert (browser.load("a"), browser.load("b"), browser.save("b", b"")) == (b"y" * 10, 404, 204)


def test_always():
    """Without a time to live pages stay."""
    browser = Browser()
    browser.save("a", b"x")
    browser.clock.advance(10**8)
    assert browser.load("a") == b"x"


def test_head_clears_nothing(browser):
    """HEAD is safe also where GET is not."""
    browser.save("a", b"x")
    assert browser.request("HEAD", "/cache/clear").status == 204
    assert browser.request("HEAD", "/cache/clear/a").status == 204
    assert browser.load("a") == b"x"


def test_scripts():
    """Scripts of a page run where they are let, and whoever starts the server is told so."""
    browser = Browser(unsafe=True)
    browser.save("a", b"<script>", "text/html")
    assert browser.get("/cache/a")["Content-Security-Policy"] is None
    assert browser.tree.warnings == [
        "cache: unsafe = true, anybody's scripts can run as scripts of this site at /cache"
    ]
    assert Browser().tree.warnings == []


def test_reload():
    """A configuration that is loaded again finds the pages of the one before, until neither runs."""
    clock = Clock()
    first = Browser(clock)
    first.tree.services.startService()
    first.save("a", b"x")
    second = Browser(clock, max_bytes=5)
    second.tree.services.startService()
    first.tree.services.stopService()
    assert second.load("a") == b"x"
    assert second.save("b", b"x" * 5) == 507
    second.tree.services.stopService()
    third = Browser(clock)
    third.tree.services.startService()
    assert third.load("a") == 404


def test_paths_and_stores():
    """Caches at different paths, or in different stores, have pages of their own."""
    clock = Clock()
    settings = [Cache(), Cache(at="/other/cache"), Cache(at="/third", store="memory:third")]
    tree = Assembler(clock).assemble(Plan(default=Host(*settings)))
    browser = SiteAgent(tree.root, clock=clock)
    for path in ("/cache", "/other/cache", "/third"):
        assert browser.get(f"{path}/a").status == 404
        assert browser.request("POST", f"{path}/a", FORM, b"data=" + path.encode()).status == 204
    for path in ("/cache", "/other/cache", "/third"):
        assert browser.get(f"{path}/a").text == path
    browser.get("/cache/clear")
    assert browser.get("/other/cache/a").status == 200


class Down(MemoryStore):
    """A store that is down for some calls."""

    def __init__(self, reactor, reason=StoreUnavailable, down=()):
        super().__init__(reactor)
        self.reason = reason
        self.down = list(down)

    def _execute(self, name, call, *arguments):
        return fail(self.reason("down")) if name in self.down else call(*arguments)

    def get(self, key):
        return self._execute("get", super().get, key)

    def put(self, *arguments, **more):
        name = "put" if arguments[0].endswith(b":register") else "put page"
        return fail(self.reason("down")) if name in self.down else super().put(*arguments, **more)

    def touch(self, key, ttl):
        return self._execute("touch", super().touch, key, ttl)

    def delete(self, key):
        return self._execute("delete", super().delete, key)


def browser_of(store, **settings):
    """A client of a cache on a store, at the root."""
    clock = store._reactor
    return SiteAgent(CacheResource(Cache(**settings), store, clock), clock=clock)


@pytest.mark.parametrize("compat", ["", "mixnmatchttp"])
@pytest.mark.parametrize(
    ("down", "statuses"),
    [
        (["get"], [503, 503, 503, 200]),
        (["put"], [404, 503, 204, 200]),
        (["put page"], [404, 503, 204, 200]),
        (["touch"], [404, 503, 204, 200]),
        (["get", "put", "touch", "delete"], [503, 503, 503, 200]),
    ],
)
def test_store_is_down(down, statuses, compat, failures):
    """When the store cannot be reached the answer is 503 and says when to ask again."""
    browser = browser_of(Down(Clock(), down=down), compat=compat)
    answers = [
        browser.get("/a"),
        browser.request("POST", "/a", FORM, b"data=x"),
        browser.get("/clear"),
        browser.get("/new"),
    ]
    if compat:
        statuses = [500 if status == 404 else status for status in statuses]
    assert [answer.status for answer in answers] == statuses
    assert [answer["Retry-After"] for answer in answers] == ["5" if status == 503 else None for status in statuses]
    assert failures == []


@pytest.mark.parametrize("down", ["put", "put page"])
@pytest.mark.parametrize(("compat", "status"), [("", 507), ("mixnmatchttp", 500)])
def test_store_is_full(down, compat, status):
    """When the store itself has no room a save is refused, and takes no name."""
    store = Down(Clock(), StoreFull, [down])
    browser = browser_of(store, compat=compat)
    assert browser.request("POST", "/a", FORM, b"data=x").status == status
    store.down.clear()
    assert browser.request("POST", "/a", FORM, b"data=x").status == 204
    store._reactor.advance(61)
    assert browser.get("/a").text == "x"
    assert len(store._values.items) == 2


def test_not_started(tmp_path):
    """Before a server's services run, and after, its file is not used."""
    resource = build(Cache(store=f"sqlite:{tmp_path}/pages.db"), make_context(Clock()))
    assert SiteAgent(resource).get("/a").status == 503
    assert list(tmp_path.iterdir()) == []


def test_clients_that_leave():
    """A save goes on to its end when its client leaves."""
    clock = Clock()
    waiting = Deferred()

    class Slow(MemoryStore):
        def put(self, key, *arguments, **more):
            later = waiting if key.endswith(b":register") else succeed(None)
            return later.addCallback(lambda _: super(Slow, self).put(key, *arguments, **more))

    browser = browser_of(Slow(clock))
    exchange = browser.open("POST", "/a", FORM, b"data=x")
    assert exchange.answers() == []
    exchange.disconnect()
    waiting.callback(None)
    clock.advance(1000)
    assert browser.get("/a").text == "x"


class Raced(MemoryStore):
    """A store whose register other processes change all the time."""

    races = 0

    def put(self, key, value, ttl=None, if_version=None):
        if if_version is not None and self.races:
            self.races -= 1
            return fail(Conflict(99))
        return super().put(key, value, ttl, if_version)


@pytest.mark.parametrize(("races", "status"), [(1, 204), (99, 204), (100, 503)])
def test_races(races, status):
    """A change that others were faster than is made again on the newest state, but not for ever."""
    store = Raced(Clock())
    store.races = races
    assert browser_of(store).request("POST", "/a", FORM, b"data=x").status == status


def pages_of(store, **limits):
    """Pages as one process has them."""
    given = {"max_bytes": 100, "max_page_bytes": 100, "max_names": 10, "ttl": None} | limits
    return Pages(store, b"p", Limits(**given))


def outcome(coroutine):
    """What a coroutine has come to: its result, or the status of its error."""
    found = []
    Deferred.fromCoroutine(coroutine).addCallbacks(found.append, lambda reason: found.append(reason.value.status))
    assert found, "it still waits"
    return found[0]


def test_two_processes():
    """What one process has saved or cleared the others know at once."""
    store = MemoryStore(Clock())
    first, second = pages_of(store), pages_of(store)
    page = Page(b"x" * 60, "text/html")
    assert outcome(first.save(b"a", page)) is None
    assert outcome(second.load(b"a")) == page
    assert outcome(second.save(b"a", page)) == 409
    assert outcome(second.save(b"b", page)) == 507
    assert outcome(second.clear(b"a")) is None
    assert outcome(first.load(b"a")) == 410
    assert outcome(first.save(b"a", page)) == 409
    assert outcome(first.save(b"b", page)) is None
    assert outcome(second.clear_all()) is None
    assert outcome(first.load(b"b")) == 410


def test_saved_meanwhile():
    """Of two processes that save one name at the same time, one does, and nothing is left of the other's page."""
    clock = Clock()

    class Meanwhile(MemoryStore):
        then = None

        def put(self, key, value, ttl=None, if_version=None):
            then, self.then = self.then, None
            if then is not None:
                then()
            return super().put(key, value, ttl, if_version)

    store = Meanwhile(clock)
    first, second = pages_of(store), pages_of(store)
    other = []
    store.then = lambda: other.append(outcome(second.save(b"a", Page(b"2", "text/plain"))))
    assert outcome(first.save(b"a", Page(b"1", "text/plain"))) == 409
    assert other == [None]
    assert outcome(first.load(b"a")).data == b"2"
    clock.advance(61)
    assert outcome(first.load(b"a")).data == b"2"
    assert sorted(store._values.items) == sorted(
        [b"p:register", b"p:page:" + json.loads(store._get(b"p:register").value)["names"]["a"][0].encode()]
    )


def test_cleared_meanwhile():
    """A page that was saved while all were cleared is either there or cleared, and its size counts accordingly."""
    clock = Clock()

    class Meanwhile(MemoryStore):
        then = None

        def delete(self, key):
            then, self.then = self.then, None
            if then is not None:
                then()
            return super().delete(key)

    store = Meanwhile(clock)
    first, second = pages_of(store), pages_of(store)
    outcome(first.save(b"a", Page(b"1" * 60, "text/plain")))
    store.then = lambda: outcome(second.save(b"b", Page(b"2" * 40, "text/plain")))
    assert outcome(first.clear_all()) is None
    assert outcome(first.load(b"a")) == 410
    assert outcome(first.load(b"b")).data == b"2" * 40
    assert outcome(first.save(b"c", Page(b"3" * 61, "text/plain"))) == 507
    assert outcome(first.save(b"c", Page(b"3" * 60, "text/plain"))) is None


def test_page_that_is_lost():
    """A page whose content is not in the store any more counts as cleared."""
    store = MemoryStore(Clock())
    pages = pages_of(store)
    outcome(pages.save(b"a", Page(b"x", "text/plain")))
    (key,) = [key for key in store._values.items if key.startswith(b"p:page:")]
    store._delete(key)
    with pytest.raises(PageError, match="has been cleared"):
        next(pages.load(b"a").__await__())


def test_register_of_another_process():
    """The register is JSON with a number that says how it is laid out."""
    store = MemoryStore(Clock())
    outcome(pages_of(store).save(b"\xff", Page(b"x", "text/css")))
    entry = store._get(b"p:register")
    assert isinstance(entry, Entry)
    document = json.loads(entry.value)
    assert document["schema"] == 1
    assert document["names"]["\xff"][1:] == ["text/css", 1, None]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"store": "redis"}, "store must be .*, not 'redis'"),
        ({"max_bytes": 0}, "max_bytes must be at least 1"),
        ({"max_names": 0}, "max_names must be at least 1"),
        ({"max_name_bytes": 0}, "max_name_bytes must be at least 1"),
        ({"max_page_bytes": -1}, "max_page_bytes must not be negative"),
        ({"ttl": -1}, "ttl must not be negative"),
        ({"compat": "x"}, "compat must be 'mixnmatchttp' or empty, not 'x'"),
    ],
)
def test_refused(settings, said):
    """Wrong settings are told when they are made."""
    with pytest.raises(ValueError, match=said):
        Cache(**settings)


def test_no_folder(tmp_path):
    """A file in a folder that does not exist is an error at start."""
    with pytest.raises(ValueError, match="there is no folder"):
        build(Cache(store=f"sqlite:{tmp_path}/none/pages.db"), make_context(Clock()))
