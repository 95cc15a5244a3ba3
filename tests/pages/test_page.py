"""
Pages as classes.
"""

import json
import time
from datetime import UTC, datetime

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from zope.interface import implementer

from mixweb.engine.site import Site
from mixweb.interfaces import IFormToken, ISession, ISessionTag, IUser
from mixweb.pages import Event, Events, HTTPError, Page, Pages, Redirect, authenticated
from mixweb.pages.arguments import Binder
from mixweb.testing import SiteAgent
from mixweb.wrapper import Wrapper

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
HTML = "text/html; charset=utf-8"


def agent_of(page, path="/", wrapper=None, secure=False, **options):
    """A client of a site with one page."""
    site = Pages(**options)
    site.route(path, name="page")(page)
    return SiteAgent(wrapper(site) if wrapper else site, secure=secure)


def page_with(**methods):
    """A page with these methods."""
    return type("Made", (Page,), methods)


@pytest.fixture
def log():
    """What was logged: (level, system, text)."""
    seen = []

    def observe(event):
        if event.get("log_format"):
            seen.append((event["log_level"].name, event.get("log_system"), event["log_format"].format(**event)))

    globalLogPublisher.addObserver(observe)
    yield seen
    globalLogPublisher.removeObserver(observe)


# The methods


class Every(Page):
    """Says which method was called."""

    async def get(self):
        self.write(f"{self.request.method.decode()} as get")

    def post(self):
        self.write("post")

    def put(self):
        return {"put": True}

    async def patch(self):
        await succeed(None)
        return "patch"

    def delete(self):
        self.set_status(200)

    def options(self):
        self.write("options")


@pytest.mark.parametrize(
    ("method", "status", "text"),
    [
        ("GET", 200, "GET as get"),
        ("HEAD", 200, ""),
        ("POST", 200, "post"),
        ("PUT", 200, '{"put":true}'),
        ("PATCH", 200, "patch"),
        ("DELETE", 200, ""),
        ("OPTIONS", 200, "options"),
        ("TRACE", 405, None),
    ],
)
def test_methods(method, status, text):
    """A page answers the methods that its class has, waiting where they wait; HEAD is GET without the body."""
    answer = agent_of(Every).request(method, "/")
    assert answer.status == status
    assert text is None or answer.text == text


def test_other_methods():
    """A method that the class has not is told the others; a class may have methods of its own."""
    assert agent_of(page_with(get=lambda self: "x")).request("POST", "/")["Allow"] == "GET, HEAD, OPTIONS"
    own = page_with(SUPPORTED_METHODS=("PURGE",), purge=lambda self: "purged", get=lambda self: "x")
    assert agent_of(own).request("PURGE", "/").text == "purged"
    assert agent_of(own).get("/").status == 405


def test_arguments_by_signature():
    """The parameters of a method have their values as those of a function."""

    class Sum(Page):
        async def get(self, a: int, b: int = 1) -> str:
            return f"{a + b} {self.path_args} {self.path_kwargs}"

    agent = agent_of(Sum, "/<int:a>")
    assert agent.get("/3?b=4").text == "7 [3] {'a': 3}"
    assert agent.get("/3?b=x").text.endswith("b: expected an integer, got 'x'.\n")


# Arguments by name


def argument(call, target="/", body=b"", **options):
    """What a page gets of a request: (status, value or what was wrong)."""
    answer = agent_of(
        page_with(get=lambda self: {"got": call(self)}, post=lambda self: {"got": call(self)}), **options
    ).request("POST" if body else "GET", target, FORM if body else (), body)
    return (
        json.loads(answer.body)["got"] if answer.status == 200 else f"{answer.status} {answer.text.split(chr(10))[1]}"
    )


@pytest.mark.parametrize(
    ("call", "result"),
    [
        (lambda page: page.get_argument("a"), "form"),
        (lambda page: page.get_query_argument("a"), "second"),
        (lambda page: page.get_body_argument("a"), "form"),
        (lambda page: page.get_arguments("a"), ["first", "second", "form"]),
        (lambda page: page.get_query_arguments("a"), ["first", "second"]),
        (lambda page: page.get_body_arguments("a"), ["form"]),
        (lambda page: page.get_arguments("none"), []),
        (lambda page: page.get_argument("blank"), "x y"),
        (lambda page: page.get_argument("blank", strip=False), " x y "),
        (lambda page: page.get_arguments("blank", strip=False), [" x y "]),
        (lambda page: page.get_argument("none", "default"), "default"),
        (lambda page: page.get_argument("none", None), None),
        (lambda page: page.get_argument("none"), "400 none: missing."),
        (lambda page: page.get_body_argument("q"), "400 q: missing."),
        (lambda page: page.get_query_argument("f"), "400 f: missing."),
        (lambda page: page.get_argument("n", type=int), 12),
        (lambda page: page.get_argument("n", type=float), 12.0),
        (lambda page: page.get_argument("a", type=int), "400 a: expected an integer, got 'form'."),
        (lambda page: page.get_argument("none", 5, type=int), 5),
        (lambda page: page.get_argument("a", type=str), "form"),
        (lambda page: page.get_argument("tag", type=str), "400 tag: may have none of ` # ' \" < > in it."),
        (lambda page: page.get_argument("tag", type=str, danger_set=""), "<b>"),
        (lambda page: page.get_argument("tag", type=str, danger_set="!"), "<b>"),
        (lambda page: page.get_argument("tag", danger_set="<"), "400 tag: may have none of < in it."),
        (lambda page: page.get_argument("tag", forbid="b"), "400 tag: may have none of b in it."),
        (lambda page: page.get_argument("tag"), "<b>"),
        (lambda page: page.get_argument("bad"), "400 bad: expected text in UTF-8."),
        (lambda page: page.get_argument("a", "d", True, int), "400 a: expected an integer, got 'form'."),
    ],
)
def test_arguments(call, result):
    """Arguments by name: the last value, or all, of query and form, or one of them; stripped, converted and checked."""
    target = "/?a=first&a=second&blank=+x+y+&n=12&tag=%3Cb%3E&bad=%FF&q=1"
    assert argument(call, target, b"a=form&f=1") == result


def test_json():
    """The JSON document in the body; 400 without one."""
    agent = agent_of(page_with(post=lambda self: {"got": self.json}))
    answer = agent.request("POST", "/", {"Content-Type": "application/json"}, b"[1, 2]")
    assert json.loads(answer.body) == {"got": [1, 2]}
    assert agent.request("POST", "/").status == 400


def test_decode_argument():
    """A page may decode arguments and variables of the path in its own way."""

    class Latin(Page):
        def decode_argument(self, value, name=None):
            return f"{name}:{value.decode('latin-1')}"

        def get(self, part):
            return f"{part} {self.get_argument('a')}"

    assert agent_of(Latin, "/<part>").get("/x?a=%E9").text == "part:x a:é"


# The answer


@pytest.mark.parametrize(
    ("get", "status", "headers", "text"),
    [
        (lambda self: self.write("é"), 200, {"Content-Type": HTML}, "é"),
        (lambda self: self.write(b"x"), 200, {"Content-Type": HTML}, "x"),
        (lambda self: self.write({"a": "é"}), 200, {"Content-Type": "application/json"}, '{"a":"é"}'),
        (lambda self: self.finish("all"), 200, {"Content-Type": HTML, "Content-Length": "3"}, "all"),
        (lambda self: self.finish(), 204, {"Content-Type": None}, ""),
        (lambda self: None, 204, {"Content-Type": None}, ""),
        (lambda self: self.set_status(200), 200, {"Content-Type": None, "Content-Length": "0"}, ""),
        (lambda self: self.set_status(418, "Teapot") or self.write("x"), 418, {}, "x"),
        (lambda self: self.set_header("X-A", 5), 204, {"X-A": "5"}, ""),
        (lambda self: self.set_header("X-A", datetime(2026, 1, 2)), 204, {"X-A": "Fri, 02 Jan 2026 00:00:00 GMT"}, ""),
        (
            lambda self: self.set_header("Content-Type", "text/x") or self.write("x"),
            200,
            {"Content-Type": "text/x"},
            "x",
        ),
        (lambda self: self.add_header("X-A", "1") or self.add_header("X-A", "2"), 204, {"X-A": "1, 2"}, ""),
        (lambda self: self.set_header("X-A", "1") or self.clear_header("X-A"), 204, {"X-A": None}, ""),
        (lambda self: self.write("x") or self.set_header("X-A", "1") or self.clear(), 204, {"X-A": None}, ""),
        (lambda self: self.redirect("/é"), 302, {"Location": "/%C3%A9"}, ""),
        (lambda self: self.redirect("/x", permanent=True), 301, {"Location": "/x"}, ""),
        (lambda self: self.redirect("/x", status=307), 307, {"Location": "/x"}, ""),
        (lambda self: {"returned": self.get_status()}, 200, {"Content-Type": "application/json"}, '{"returned":200}'),
        (lambda self: self.write("a") or "b", 200, {"Content-Type": HTML}, "ab"),
        (lambda self: Redirect("/x"), 303, {"Location": "/x"}, None),
        (lambda self: Events(events()), 200, {"Content-Type": "text/event-stream"}, ":\n\ndata: 1\n\n"),
        (lambda self: numbers(), 200, {"Content-Type": HTML}, "123"),
    ],
)
def test_answers(get, status, headers, text):
    """What a page writes, sets and returns is its answer."""
    answer = agent_of(page_with(get=get)).get("/")
    assert (answer.status, {name: answer[name] for name in headers}) == (status, headers)
    assert text is None or answer.text == text


async def events():
    yield Event("1")


def numbers():
    yield from "123"


@pytest.mark.parametrize(
    ("get", "kind", "said"),
    [
        (lambda self: self.write([1]), TypeError, "put it into a dict"),
        (lambda self: self.write(5), TypeError, "takes text, bytes or a dict, not int"),
        (lambda self: self.finish("x") and self.write("y"), RuntimeError, "after finish"),
        (lambda self: self.finish("x") and self.finish(), RuntimeError, "called twice"),
        (lambda self: self.redirect("/", status=200), ValueError, "300 to 399"),
        (lambda self: self.set_header("X-A", "a\r\nX-B: c"), ValueError, "control characters"),
        (lambda self: self.set_cookie("a b", "c"), ValueError, "no name of a cookie"),
        (lambda self: self.set_cookie("a", "b\nc"), ValueError, "control characters"),
        (lambda self: self.set_cookie("a", "b", domain="x; Secure"), ValueError, "cannot be an attribute"),
        (lambda self: self.create_signed_value("a", "b"), ValueError, "cookie_secret"),
        (lambda self: self.get_login_url(), RuntimeError, "no login_url"),
        (lambda self: self.require_setting("key", "mailing"), RuntimeError, "mailing needs the setting 'key'"),
        (lambda self: self.session, RuntimeError, "add --session"),
        (lambda self: self.static_url("x"), ValueError, "static=FOLDER"),
        (lambda self: self.render("x.html"), ValueError, "templates=FOLDER"),
        (lambda self: self.flush() and self.redirect("/"), RuntimeError, "after flush"),
    ],
)
def test_misuse(get, kind, said, failures):
    """What a page does wrong is an error that says so, logged once."""
    agent_of(page_with(get=get)).open()
    assert [failure.type for failure in failures] == [kind]
    assert said in failures[0].getErrorMessage()


def test_default_headers():
    """Default headers are in every answer, also in errors; other headers are gone from those."""

    class Defaults(Page):
        def set_default_headers(self):
            self.set_header("X-Default", "1")

        def get(self, how: str = ""):
            self.set_header("X-Own", "1")
            self.write("written")
            if how == "http":
                raise HTTPError(404, "Not here.")
            if how == "send":
                self.send_error(403, reason="Go.")

    agent = agent_of(Defaults)
    assert (agent.get("/")["X-Default"], agent.get("/")["X-Own"]) == ("1", "1")
    for how, status, detail in [("http", 404, "Not here."), ("send", 403, "Go.")]:
        answer = agent.get(f"/?how={how}")
        assert (answer.status, answer["X-Default"], answer["X-Own"]) == (status, "1", None)
        assert detail in answer.text
        assert "written" not in answer.text


def test_headers_of_wrappers_stay():
    """What was set before the page began is not its to forget."""

    class Early(Wrapper):
        def handle(self, request):
            request.setHeader("X-Early", "1")
            self.forward(request)

    def get(self):
        self.clear()
        raise HTTPError(404)

    assert agent_of(page_with(get=get), wrapper=Early).get("/")["X-Early"] == "1"


def test_flush():
    """What is flushed is sent at once; whoever waits for it goes on when the client has taken it."""
    steps, gate = [], Deferred()

    class Slow(Page):
        async def get(self):
            for number in range(3):
                self.write(f"{number}")
                await self.flush()
                steps.append(number)
                await gate
            self.finish("end")

    exchange = agent_of(Slow).open()
    exchange.transport.producer.pauseProducing()
    gate.callback(None)
    assert steps == [0]
    assert exchange.transport.value().endswith(b"\r\n1\r\n")
    exchange.transport.producer.resumeProducing()
    assert steps == [0, 1, 2]
    assert exchange.answer.text == "012end"


# ETags


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("GET", {}, 200),
        ("GET", {"If-None-Match": "TAG"}, 304),
        ("GET", {"If-None-Match": '"x", W/TAG'}, 304),
        ("GET", {"If-None-Match": "*"}, 304),
        ("GET", {"If-None-Match": '"x"'}, 200),
        ("HEAD", {"If-None-Match": "TAG"}, 304),
        ("POST", {"If-None-Match": "TAG"}, 200),
    ],
)
def test_etags(method, headers, status):
    """An answer to GET has an entity tag; a client that knows it gets 304 without the body."""
    agent = agent_of(page_with(get=lambda self: "text", post=lambda self: "text"))
    tag = agent.get("/")["ETag"]
    assert tag.startswith('"')
    answer = agent.request(method, "/", {name: value.replace("TAG", tag) for name, value in headers.items()})
    assert answer.status == status
    assert answer["ETag"] == (None if method == "POST" else tag)
    if status == 304:
        assert (answer.body, answer["Content-Type"], answer["Content-Length"]) == (b"", None, None)


def test_own_etags():
    """A page may compute its tag, set one, or have none; a long or flushed answer has none by itself."""
    assert agent_of(page_with(get=lambda self: "x", compute_etag=lambda self: '"own"')).get("/")["ETag"] == '"own"'
    assert agent_of(page_with(get=lambda self: "x", compute_etag=lambda self: None)).get("/")["ETag"] is None
    assert agent_of(page_with(get=lambda self: self.set_header("ETag", '"set"') or "x")).get("/")["ETag"] == '"set"'
    assert agent_of(page_with(get=lambda self: "x" * 1_048_577)).get("/")["ETag"] is None
    assert agent_of(page_with(get=lambda self: self.flush() and None)).get("/")["ETag"] is None

    def early(self):
        self.set_header("ETag", '"early"')
        if self.check_etag_header():
            self.set_status(304)
        else:
            self.write("long work")

    assert agent_of(page_with(get=early)).get("/", {"If-None-Match": '"early"'}).status == 304


# Errors


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("displayed", [False, True])
def test_exceptions(asynchronous, displayed, failures):
    """An exception is a 500, with the traceback only where the site displays them, and one log entry with the request."""

    async def get_late(self):
        await succeed(None)
        raise KeyError("secret")

    def get(self):
        raise KeyError("secret")

    site = Site(agent_of(page_with(get=get_late if asynchronous else get)).site.resource, reactor=Clock())
    site.displayTracebacks = displayed
    answer = SiteAgent(site).get("/?x=1", {"Accept": "text/html"})
    assert (answer.status, "secret" in answer.text) == (500, displayed)
    assert [failure.type for failure in failures] == [KeyError]


def test_logged_errors(log):
    """An HTTPError is one line of the log with the request, and who it is from."""

    def get(self):
        raise HTTPError(409, "Taken.")

    assert agent_of(page_with(get=get)).get("/?a=1").status == 409
    assert log == [("warn", "127.0.0.1-...", "409 GET /?a=1: Taken.")]


def test_own_errors(failures):
    """A page may write its errors, and log exceptions, as it likes."""
    logged = []

    class Own(Page):
        def write_error(self, status_code, **kwargs):
            self.write(
                {"status": status_code, "because": str(kwargs["exc_info"][1] if "exc_info" in kwargs else kwargs)}
            )

        def log_exception(self, typ, value, tb):
            logged.append(typ)

        def get(self, how: str):
            if how == "raise":
                raise KeyError("x")
            self.send_error(418, reason="tea")

    agent = agent_of(Own)
    assert json.loads(agent.get("/?how=raise").body) == {"status": 500, "because": "'x'"}
    assert (agent.get("/?how=send").status, logged) == (418, [KeyError])
    assert failures == []


def test_errors_of_errors(failures):
    """When writing the error fails, too, there is the built-in page."""

    def write_error(self, status_code, **kwargs):
        raise ValueError("again")

    def get(self):
        raise KeyError("x")

    assert agent_of(page_with(get=get, write_error=write_error)).get("/").status == 500
    assert [failure.type for failure in failures] == [KeyError, ValueError]


def test_errors_after_flush(failures):
    """When some of the answer has left, the connection is dropped."""

    def get(self):
        self.write("x")
        self.flush()
        raise KeyError("x")

    exchange = agent_of(page_with(get=get)).open()
    assert exchange.transport.aborted
    assert [failure.type for failure in failures] == [KeyError]


# Life


class Lived(Page):
    """Notes what happens to it."""

    happened: list = []  # noqa: RUF012
    wait = None

    def initialize(self):
        self.happened.append("initialize")

    async def prepare(self):
        await succeed(None)
        self.happened.append("prepare")
        if self.get_argument("stop", ""):
            self.finish("stopped")

    async def get(self):
        self.happened.append("get")
        if self.get_argument("wait", ""):
            await Deferred()
        return "x"

    def on_body_finish(self):
        self.happened.append("on_body_finish")
        self.set_header("X-Last", "1")

    def on_finish(self):
        self.happened.append("on_finish")

    def on_connection_close(self):
        self.happened.append("on_connection_close")


@pytest.mark.parametrize(
    ("target", "happened"),
    [
        ("/", ["initialize", "prepare", "get", "on_body_finish", "on_finish"]),
        ("/?stop=1", ["initialize", "prepare", "on_body_finish", "on_finish"]),
        ("/?wait=1", ["initialize", "prepare", "get", "on_connection_close"]),
    ],
)
def test_life(target, happened, failures):
    """A page is made for one request, and told when it begins and ends."""
    Lived.happened.clear()
    exchange = agent_of(Lived).open("GET", target)
    if "wait" in target:
        exchange.disconnect()
    else:
        assert exchange.answer["X-Last"] == "1"
    assert Lived.happened == happened
    assert failures == []


def test_failure_at_the_end(failures):
    """What fails after the answer is logged, and hurts nobody."""

    def on_finish(self):
        raise KeyError("x")

    assert agent_of(page_with(get=lambda self: "x", on_finish=on_finish)).get("/").text == "x"
    assert [failure.type for failure in failures] == [KeyError]


def test_body_while_it_arrives():
    """A page that has ``data_received`` gets the body in pieces, after prepare; while it waits, no more comes."""
    waiting = []

    class Take(Page):
        def prepare(self):
            self.size = 0

        async def data_received(self, chunk):
            self.size += len(chunk)
            waiting.append(Deferred())
            await waiting[-1]

        def put(self):
            return str(self.size)

    exchange = agent_of(Take).connect()
    exchange.heads.append(b"PUT")
    exchange.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 30\r\n\r\n" + b"x" * 10)
    assert len(waiting) == 1
    exchange.send(b"x" * 20)
    assert len(waiting) == 1
    while waiting and not waiting[-1].called:
        waiting[-1].callback(None)
    assert exchange.answer.text == "30"
    assert len(waiting) == 2


def test_failure_while_the_body_arrives(failures):
    """When taking a piece fails, that is the answer."""

    async def data_received(self, chunk):
        raise HTTPError(422, "No.")

    answer = agent_of(page_with(data_received=data_received, put=lambda self: "x")).request("PUT", "/", body=b"x")
    assert answer.status == 422
    assert failures == []


# Cookies

SECRET = "0123456789abcdef-new"
OLD = "0123456789abcdef-old"


def cookies_of(get, secure=False, headers=(), **options):
    """The cookies that a page sets."""
    answer = agent_of(page_with(get=get), secure=secure, **options).get("/", headers)
    return answer.headers.getRawHeaders("Set-Cookie") or []


@pytest.mark.parametrize(
    ("set_cookie", "secure", "sent"),
    [
        (lambda self: self.set_cookie("a", "b"), False, "a=b; Path=/; SameSite=Lax; HttpOnly"),
        (lambda self: self.set_cookie("a", "b"), True, "a=b; Path=/; SameSite=Lax; Secure; HttpOnly"),
        (lambda self: self.set_cookie("a", "b", secure=True), False, "a=b; Path=/; SameSite=Lax; Secure; HttpOnly"),
        (lambda self: self.set_cookie("a", b"b", httponly=False, samesite="strict"), False, "a=b; Path=/; SameSite=Strict"),
        (
            lambda self: self.set_cookie("a", "b", domain="x.y", path="/p", max_age=5),
            False,
            "a=b; Domain=x.y; Path=/p; Max-Age=5; SameSite=Lax; HttpOnly",
        ),
        (
            lambda self: self.set_cookie("a", "b", expires=datetime(2030, 1, 2, tzinfo=UTC)),
            False,
            "a=b; Path=/; Expires=Wed, 02 Jan 2030 00:00:00 GMT; SameSite=Lax; HttpOnly",
        ),
        (
            lambda self: self.set_cookie("a", "b", expires=time.gmtime(0)),
            False,
            "a=b; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; SameSite=Lax; HttpOnly",
        ),
        (
            lambda self: self.clear_cookie("a", domain="x.y"),
            False,
            'a=; Domain=x.y; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; SameSite=Lax; HttpOnly',
        ),
        (
            lambda self: self.set_cookie("a", "b c;d,é\\\""),
            False,
            r'a="b c\073d\054\303\251\134\042"; Path=/; SameSite=Lax; HttpOnly',
        ),
    ],
)  # fmt: skip
def test_cookies(set_cookie, secure, sent):
    """A cookie is safe by default: out of reach of scripts, of other sites and, where there is TLS, of those who listen."""
    assert cookies_of(set_cookie, secure) == [sent]


def test_received_cookies():
    """A page reads the cookies of the client, quoted ones too, and can delete them all."""

    def get(self):
        assert self.cookies["a"].value == "1"
        self.clear_all_cookies()
        return {
            "a": self.get_cookie("a"),
            "b": self.get_cookie("b"),
            "c": self.get_cookie("c"),
            "d": self.get_cookie("d", "x"),
        }

    answer = agent_of(page_with(get=get)).get("/", {"Cookie": r'a=1; b="b c\073d\054\303\251\134\042"; c=; bad name=1'})
    assert json.loads(answer.body) == {"a": "1", "b": 'b c;d,é\\"', "c": "", "d": "x"}
    deleted = answer.headers.getRawHeaders("Set-Cookie")
    assert [cookie.partition("=")[0] for cookie in deleted] == ["a", "b", "c"]


def test_cookies_survive_errors():
    """A cookie that was set before an error is sent."""

    def get(self):
        self.set_cookie("a", "b")
        raise HTTPError(403)

    assert cookies_of(get)[0].startswith("a=b;")


def signed_by(secret, value="välue", name="a"):
    """A signed value."""
    signed = []
    cookies_of(lambda self: signed.append(self.create_signed_value(name, value)), cookie_secret=secret)
    return signed[0].decode()


def forged(signed):
    """A signed value with another character in its signature."""
    return f"{signed[:-5]}{'B' if signed[-5] == 'A' else 'A'}{signed[-4:]}"


@pytest.mark.parametrize(
    ("cookie", "value", "version"),
    [
        (signed_by(SECRET), "välue", 2),
        (signed_by(OLD), "välue", 1),
        (signed_by([SECRET, OLD]), "välue", 2),
        (signed_by("another key, long enough"), None, None),
        (signed_by(SECRET, name="b"), None, None),
        (forged(signed_by(SECRET)), None, None),
        (signed_by(SECRET)[1:], None, None),
        ("välue", None, None),
        ("", None, None),
        (None, None, None),
    ],
)
def test_signed_cookies(cookie, value, version):
    """A signed cookie counts only with the signature of one of the keys, for its own name."""

    def get(self):
        found = self.get_signed_cookie("a")
        assert found == self.get_secure_cookie("a")
        assert found == self.get_signed_cookie("a", cookie) or cookie is None
        assert self.get_signed_cookie_key_version("a") == self.get_secure_cookie_key_version("a")
        return {"value": found and found.decode(), "version": self.get_signed_cookie_key_version("a")}

    headers = {} if cookie is None else {"Cookie": f"a={cookie}"}
    answer = agent_of(page_with(get=get), cookie_secret=[SECRET, OLD]).get("/", headers)
    assert json.loads(answer.body) == {"value": value, "version": version}


def test_set_signed_cookies(monkeypatch):
    """A signed cookie lives for thirty days, unless told otherwise, and is not believed for longer than asked for."""

    def get(self):
        self.set_signed_cookie("a", "x")
        self.set_secure_cookie("b", b"y", expires_days=None, path="/p")

    first, second = cookies_of(get, cookie_secret=SECRET)
    assert "Expires=" in first
    assert "Expires=" not in second
    assert "Path=/p" in second
    signed = first.partition(";")[0].removeprefix("a=")

    def read(self):
        return {"now": bool(self.get_signed_cookie("a", signed)), "1": bool(self.get_signed_cookie("a", signed, 1))}

    for days, result in [
        (0.5, {"now": True, "1": True}),
        (2, {"now": True, "1": False}),
        (32, {"now": False, "1": False}),
    ]:
        later = time.time() + days * 86400
        with monkeypatch.context() as patch:
            patch.setattr("itsdangerous.timed.time.time", lambda later=later: later)
            assert json.loads(agent_of(page_with(get=read), cookie_secret=SECRET).get("/").body) == result


def test_weak_keys():
    """A key that can be guessed is refused when the application is made ready."""
    with pytest.raises(ValueError, match="at least 16 bytes"):
        Pages(cookie_secret="short").ready()


# Users, tokens, sessions


@implementer(IUser)
class Alice:
    name, roles, scheme = "alice", frozenset(), "basic"


@implementer(IFormToken)
class Token:
    field, value = "_xsrf", 'tok"en'


@implementer(ISession)
class SomeSession(dict):
    new = True


@implementer(ISessionTag)
class Tag:
    tag = "4f09ab"


class Everything(Wrapper):
    """What the features would have set."""

    def handle(self, request):
        for interface, found in [
            (IUser, Alice()),
            (IFormToken, Token()),
            (ISession, SomeSession(n=1)),
            (ISessionTag, Tag()),
        ]:
            request.setComponent(interface, found)
        self.forward(request)


def test_what_features_tell(log):
    """A page knows the user, the session and the form token that features have found; its log has the session's tag."""

    def get(self):
        self.log.info("hello {name}", name=self.current_user.name)
        return {"form": self.xsrf_form_html(), "token": self.xsrf_token.decode(), "n": self.session["n"]}

    answer = agent_of(page_with(get=get), wrapper=Everything).get("/")
    assert json.loads(answer.body) == {
        "form": '<input type="hidden" name="_xsrf" value="tok&quot;en" />',
        "token": 'tok"en',
        "n": 1,
    }
    assert log == [("info", "127.0.0.1-4f09ab", "hello alice")]


def test_without_features(log):
    """Without them there is no user and no token; that forms are not guarded is said once."""

    def get(self):
        return {
            "user": self.current_user,
            "form": self.xsrf_form_html() + self.xsrf_form_html(),
            "token": self.xsrf_token.decode(),
        }

    assert json.loads(agent_of(page_with(get=get)).get("/").body) == {"user": None, "form": "", "token": ""}
    assert [text for level, _, text in log if level == "warn"] == [
        "xsrf_form_html() gives nothing: the csrf feature is not mounted (--csrf)"
    ]


def test_current_user():
    """A page may find its user itself, asked for once, or set it."""
    asked = []

    class Own(Page):
        def get_current_user(self):
            asked.append(True)
            return "bob"

        def get(self):
            first = [self.current_user, self.current_user]
            self.current_user = "carol"
            return {"users": [*first, self.current_user]}

    assert json.loads(agent_of(Own).get("/").body) == {"users": ["bob", "bob", "carol"]}
    assert asked == [True]


class Guarded(Page):
    """For those who are logged in."""

    def get_current_user(self):
        return self.get_argument("user", None)

    @authenticated
    async def get(self, n: int = 0):
        return f"{self.current_user} {n}"

    @authenticated
    def post(self):
        return "posted"


def test_authenticated():
    """A guarded method is for those who are logged in; others are sent to log in, and back, or told 403."""
    agent = agent_of(Guarded, login_url="/login")
    assert agent.get("/?user=bob&n=3").text == "bob 3"
    answer = agent.get("/?n=3")
    assert (answer.status, answer["Location"]) == (302, "/login?next=%2F%3Fn%3D3")
    assert (agent.request("POST", "/?user=bob").text, agent.request("POST", "/").status) == ("posted", 403)
    assert Binder(Guarded.get, bound=1).simple


# URLs, locales, settings


def test_urls(tmp_path):
    """Static files have URLs with a version; the one that it has is kept for ever, others as long as they match."""
    (tmp_path / "a.css").write_text("body {}")

    def get(self, absolute: bool = False):
        versions = self.static_url("a.css"), self.static_url("a.css", include_version=False), self.static_url("none")
        return {"urls": [*versions, self.static_url("a.css", include_host=True)], "page": self.reverse_url("page")}

    agent = agent_of(page_with(get=get), static=str(tmp_path))
    found = json.loads(agent.get("/").body)
    versioned, plain, missing, absolute = found["urls"]
    assert (plain, missing, found["page"]) == ("/static/a.css", "/static/none", "/")
    assert versioned.startswith("/static/a.css?v=")
    assert absolute == f"http://localhost{versioned}"
    answer = agent.get(versioned)
    assert (answer.status, answer["Cache-Control"]) == (200, "public, max-age=31536000, immutable")
    assert agent.get("/static/a.css?v=other")["Cache-Control"] is None
    assert (
        agent_of(page_with(get=get, include_host=True), static=str(tmp_path)).get("/").text.count("http://localhost/")
        == 4
    )


def test_locales():
    """The locale is the user's, or what the browser prefers of what there is."""
    page = page_with(get=lambda self: self.locale.code)
    agent = agent_of(page, locales=["en", "de", "pt-BR"])
    liked = [
        ("de", "de"),
        ("fr, de;q=0.5", "de"),
        ("pt_BR", "pt-BR"),
        ("xx", "en"),
        ("de;q=0", "en"),
        ("de-AT", "de"),
    ]
    for accept, code in liked:
        assert agent.get("/", {"Accept-Language": accept}).text == code
    assert agent.get("/").text == "en"
    own = page_with(get=lambda self: self.locale.code, get_user_locale=lambda self: self.application.locales.get("de"))
    assert agent_of(own, locales=["en", "de"]).get("/").text == "de"
    assert (
        agent_of(page_with(get=lambda self: self.get_browser_locale("de_DE").code), locales=["en", "de"]).get("/").text
        == "de"
    )
    assert agent_of(page).get("/").text == "en"


def test_settings():
    """What the application was told is there for its pages."""
    page = page_with(get=lambda self: self.require_setting("a") or self.settings["a"])
    assert agent_of(page, settings={"a": "told"}).get("/").text == "told"
