"""
What changes something is taken from pages of this site only.
"""

import re

import pytest
from twisted.internet.task import Clock
from twisted.web.resource import Resource
from zope.interface.verify import verifyObject

from mixweb.features._csrf_tokens import SECRET_BYTES, mask, new_secret, unmask
from mixweb.features.csrf import Csrf, build
from mixweb.features.session import Session
from mixweb.features.session import build as build_session
from mixweb.interfaces import IFormToken, ISession
from mixweb.testing import SiteAgent, make_context

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
METHODS = ("POST", "PUT", "PATCH", "DELETE", "PROPPATCH")


class Page(Resource):
    """Gives its token to who reads it, and says who has changed it."""

    isLeaf = True

    def __init__(self):
        super().__init__()
        self.changes = []

    def render(self, request):
        token = IFormToken(request)
        if request.method not in (b"GET", b"HEAD", b"OPTIONS"):
            self.changes.append(request.content.read())
            return b"changed"
        if request.path == b"/late":
            request.write(b"head ")
        if request.path == b"/login":
            ISession(request).rotate()
            return b""
        return token.value.encode() if request.path != b"/plain" else b"plain"


class Browser(SiteAgent):
    """A client of a page with forms, that keeps its cookies."""

    def __init__(self, *, secure=False, sessions=False, **settings):
        clock = Clock()
        context = make_context(clock)
        self.page = Page()
        tree = build(Csrf(**settings), self.page, context)
        super().__init__(build_session(Session(), tree, context) if sessions else tree, clock=clock, secure=secure)
        self.cookies = {}

    def send(self, method="POST", target="/", headers=(), body=b""):
        """Send a request with the cookies, and keep those that come."""
        fields = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items()), **dict(headers)}
        answer = self.request(method, target, {name: value for name, value in fields.items() if value}, body)
        for line in answer.headers.getRawHeaders("Set-Cookie", []):
            name, _, value = line.partition(";")[0].partition("=")
            self.cookies[name] = value
        return answer

    def token(self, target="/"):
        """The token that a page has."""
        return self.send("GET", target).text

    def post(self, token, headers=(), field="_xsrf"):
        """The status of sending a form with a token."""
        return self.send("POST", "/", {**FORM, **dict(headers)}, f"a=b&{field}={token}&c=d".encode()).status


@pytest.fixture
def browser():
    """A client."""
    return Browser()


def sample(tmp_path, **changes):
    """What the tests of every wrapper send is no form: browsers' own word is enough for them."""
    return Csrf(tokens=False, **changes)


def test_interface(browser):
    """A token is what the interface says."""
    seen = []

    def render(request):
        seen.append(verifyObject(IFormToken, IFormToken(request)))
        return IFormToken(request).field

    browser.page.render = render
    assert (browser.send("GET").text, seen) == ("_xsrf", [True])


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("keep", ["cookie", "session"])
def test_forms(keep, secure):
    """A form of the site is taken with its token, and the body is there for the page; without one it is refused."""
    browser = Browser(keep=keep, sessions=keep == "session", secure=secure)
    token = browser.token()
    assert browser.post(token) == 200
    assert browser.page.changes == [f"a=b&_xsrf={token}&c=d".encode()]
    assert browser.post("") == 403
    answer = browser.send("POST", "/", FORM, b"a=b")
    assert (answer.status, answer.text) == (
        403,
        "403 Forbidden\nA token is missing: send it in the field _xsrf or in a header.\n",
    )
    browser.cookies.clear()
    assert browser.post(token) == 403
    assert len(browser.page.changes) == 1


def test_tokens_differ(browser):
    """Each token looks different, all of them are good as long as the cookie is, and one of another client is not."""
    tokens = [browser.token() for _ in range(20)]
    assert len({part for token in tokens for part in token.split("|")[1:3]}) == 40
    assert {browser.post(token) for token in tokens} == {200}
    assert browser.post(Browser().token()) == 403


@pytest.mark.parametrize(
    ("secure", "settings", "cookie"),
    [
        (False, {}, "_xsrf=V; Path=/; SameSite=Lax"),
        (True, {}, "__Host-_xsrf=V; Path=/; Secure; SameSite=Lax"),
        (
            True,
            {"cookie": "XSRF-TOKEN", "http_only": True},
            "__Host-XSRF-TOKEN=V; Path=/; Secure; HttpOnly; SameSite=Lax",
        ),
    ],
)
def test_cookie(secure, settings, cookie):
    """The cookie is set once, when a token is first asked for, and may be sent back as it is by a script."""
    browser = Browser(secure=secure, **settings)
    assert browser.send("GET", "/plain")["Set-Cookie"] is None
    answer = browser.send("GET")
    assert re.sub("=2[^;]*;", "=V;", answer["Set-Cookie"]) == cookie
    assert (answer["Vary"], answer["Cache-Control"]) == ("Cookie", "private")
    assert browser.send("GET")["Set-Cookie"] is None
    (value,) = browser.cookies.values()
    assert browser.send("POST", "/", {"X-CSRF-Token": value}).status == 200


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("header", ["X-CSRF-Token", "x-csrf-token", "X-XSRFToken", "X-CSRFToken"])
def test_headers(browser, header, method):
    """Scripts send the token in a header, with any body."""
    token = browser.token()
    assert browser.send(method, "/", {header: token, "Content-Type": "application/json"}, b"{}").status == 200
    assert browser.send(method, "/", {header: token}).status == 200
    assert browser.send(method, "/", {header: token[:-1] + "x"}).status == 403
    assert browser.send(method, "/", {"Content-Type": "application/json"}, b'{"_xsrf": "x"}').status == 403
    assert browser.send(method, "/", {**FORM, header: "wrong"}, f"_xsrf={token}".encode()).status == 403
    assert len(browser.page.changes) == 2


@pytest.mark.parametrize("method", METHODS)
def test_form_methods(browser, method):
    """A form is one whatever the method is."""
    token = browser.token()
    assert browser.send(method, "/", FORM, f"_xsrf={token}".encode()).status == 200
    assert browser.send(method, "/", FORM, b"_xsrf=").status == 403


def test_uploads(browser):
    """A form with files has its token among its fields."""
    token = browser.token()
    fields = {"_xsrf": token, "file": "x" * 1000}
    body = "".join(
        f'--B\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields.items()
    )
    kind = {"Content-Type": "multipart/form-data; boundary=B"}
    assert browser.send("POST", "/", kind, f"{body}--B--\r\n".encode()).status == 200
    assert browser.send("POST", "/", kind, f"{body}--B--\r\n".replace("_xsrf", "other").encode()).status == 403
    assert browser.send("POST", "/", kind, b"--B broken").status in (400, 403)
    long = f"_xsrf={token}&x={'x' * 1024 * 1024}".encode()
    answer = browser.send("POST", "/", FORM, long)
    assert (answer.status, "has its token in a header: X-CSRF-Token" in answer.text) == (403, True)
    assert browser.send("POST", "/", {**FORM, "X-CSRF-Token": token}, long).status == 200


def test_query(browser):
    """A token in the address is none: addresses are told to others."""
    token = browser.token()
    assert browser.send("POST", f"/?_xsrf={token}", FORM, b"a=b").status == 403


def test_body_that_comes_late(browser):
    """The decision waits for the body of a form, not for any other one."""
    token = browser.token()
    (cookie,) = browser.cookies.items()
    head = f"POST / HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie[0]}={cookie[1]}\r\nContent-Length: 500\r\n"
    exchange = browser.connect()
    exchange.heads.append(b"POST")
    exchange.send(f"{head}Content-Type: application/json\r\n\r\n".encode())
    assert exchange.answer.status == 403
    exchange = browser.connect()
    exchange.heads.append(b"POST")
    exchange.send(f"{head}Content-Type: {FORM['Content-Type']}\r\n\r\n_xsrf={token}&x=".encode())
    assert exchange.answers() == []
    exchange.send(b"x" * (500 - len(f"_xsrf={token}&x=")))
    assert exchange.answer.status == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_safe_methods(browser, method):
    """What changes nothing passes, wherever it comes from."""
    foreign = {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}
    assert browser.send(method, "/plain", foreign).status == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "http://localhost"}, 200),
        ({"Referer": "http://localhost/form"}, 200),
        ({"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "http://sub.localhost", "Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Referer": "http://evil.example/form"}, 403),
        ({"Origin": "https://friend.example", "Sec-Fetch-Site": "cross-site"}, 200),
        ({"Origin": "https://friend.example"}, 200),
    ],
)
@pytest.mark.parametrize("tokens", [True, False])
def test_origins(tokens, headers, status):
    """A page of another site is refused, even with a token, unless its origin is trusted; no token is no trust."""
    browser = Browser(trusted_origins=["https://friend.example"], tokens=tokens)
    assert browser.post(browser.token(), headers) == status
    assert browser.send("POST", "/", {**FORM, **headers}, b"a=b").status == (403 if tokens else status)


def test_bearers(browser):
    """Who shows a token of its own, which no browser adds by itself, needs no other."""
    assert browser.send("POST", "/", {"Authorization": "Bearer x"}).status == 200
    assert browser.send("POST", "/", {"Authorization": "Basic eDp5"}).status == 403
    foreign = {"Authorization": "Bearer x", "Origin": "http://evil.example"}
    assert browser.send("POST", "/", foreign).status == 403


def test_always():
    """With always the cookie comes with the first page, for scripts of pages that have no form."""
    browser = Browser(always=True)
    answer = browser.send("GET", "/plain")
    assert answer["Set-Cookie"].startswith("_xsrf=2|")
    answer = browser.send("GET", "/plain")
    assert (answer["Set-Cookie"], answer["Cache-Control"]) == (None, None)
    assert browser.send("POST", "/", {"X-XSRFToken": browser.cookies["_xsrf"]}).status == 200


def test_names():
    """Field and headers have the names that are set."""
    browser = Browser(field="token", headers=["X-XSRF-TOKEN"])
    token = browser.token()
    assert browser.post(token, field="token") == 200
    assert browser.post(token) == 403
    assert browser.send("POST", "/", {"X-XSRF-TOKEN": token}).status == 200
    assert browser.send("POST", "/", {"X-CSRF-Token": token}).status == 403


def test_sessions():
    """A token in the session is good for that session until its id changes, and sets no cookie of its own."""
    browser = Browser(keep="session", sessions=True)
    token = browser.token()
    assert set(browser.cookies) == {"SESSION"}
    assert browser.post(token) == 200
    other = Browser(keep="session", sessions=True)
    assert browser.post(other.token()) == 403
    browser.token("/login")
    assert browser.post(token) == 403
    assert browser.post(browser.token()) == 200


def test_late_tokens(browser, failures):
    """A first token that is asked for when the head has left is an error of the page; a known one is given."""
    exchange = browser.open("GET", "/late")
    assert exchange.answers() == []
    assert "after the head of the answer had left" in failures[0].getErrorMessage()
    browser.token()
    assert browser.token("/late").startswith("head 2|")


@pytest.mark.parametrize(
    "token",
    ["", "2", "2|", "2|00|00|1", "2|" + "0" * 8 + "|" + "0" * 32, "2|" + "0" * 9 + "|" + "0" * 32 + "|1", "x" * 100_000,
     "2|" + "g" * 32 + "|" + "0" * 32 + "|1", "2|" + "0" * 32 + "|" + "0" * 30 + "|1", "1|" + "0" * 32 + "|" + "0" * 32 + "|1",
     "2|" + "0" * 32 + "|" + "0" * 32 + "|1\n", "0" * 32, "2|" + "A" * 32 + "|" + "0" * 32 + "|1"],
)  # fmt: skip
def test_broken_tokens(browser, token):
    """What is no token means nothing, in the form as in the cookie."""
    assert unmask(token.encode()) is None
    good = browser.token()
    if len(token) < 1000:
        assert browser.post(token) == 403
        browser.cookies["_xsrf"] = token.strip()
        assert browser.post(good) == 403
        assert browser.post(token) == 403


def test_masks():
    """A token means its secret, also with the short mask that Tornado's have."""
    secret = new_secret()
    assert len(secret) == SECRET_BYTES
    assert unmask(mask(secret, 1795258129.5)) == secret
    short = bytes.fromhex("01020304")
    mixed = bytes(byte ^ short[index % 4] for index, byte in enumerate(secret))
    assert unmask(f"2|01020304|{mixed.hex()}|1795258129".encode()) == secret


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cookie": "a b"}, "cookie must be a name"),
        ({"field": ""}, "field must not be empty"),
        ({"headers": ["a b"]}, "headers: 'a b' is not the name of a header"),
        ({"trusted_origins": ["a.example"]}, "trusted_origins: 'a.example' is not an origin"),
        ({"trusted_origins": ["https://a.example/"]}, "is not an origin; expected https://a.example"),
        ({"trusted_origins": ["https://*.example"]}, "is not an origin"),
        ({"always": True, "keep": "session"}, "always is for tokens in a cookie that scripts can read"),
        ({"always": True, "http_only": True}, "always is for tokens"),
    ],
)
def test_refused(settings, message):
    """Settings that make no sense are refused, naming the setting."""
    with pytest.raises(ValueError, match=message):
        Csrf(**settings)


def test_sessions_are_missing():
    """A secret in the session needs sessions: that is said when the server is built, or by the request."""
    context = make_context(Clock(), wrappers=frozenset({"csrf"}))
    with pytest.raises(ValueError, match="keep = session needs the session feature: add --session"):
        build(Csrf(keep="session"), Resource(), context)
