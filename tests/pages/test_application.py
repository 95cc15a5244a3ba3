"""
Applications: in trees of Twisted's, under a stock site, several of them.
"""

import gc

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from twisted.web.resource import Resource
from twisted.web.server import Site

from mixweb.pages import Events, Feed, Page, Pages, Request, Upload, get_app, make_app
from mixweb.pages.apps import _made
from mixweb.testing import SiteAgent


def stock(resource, traceback=False):
    """A connection to a stock site with a resource below ``/shop``."""
    root = Resource()
    root.putChild(b"shop", resource)
    site = Site(root, reactor=Clock())
    site.displayTracebacks = traceback
    transport = StringTransport()
    transport.abortConnection = transport.loseConnection
    protocol = site.buildProtocol(None)
    protocol.makeConnection(transport)
    return protocol, transport


def ask(resource, data, **options):
    """What a stock site answers: status, headers, body."""
    protocol, transport = stock(resource, **options)
    protocol.dataReceived(data)
    head, _, body = transport.value().partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    headers = Headers()
    for line in lines[1:]:
        headers.addRawHeader(*line.split(b": ", 1))
    return int(lines[0].split(b" ")[1]), headers, body


def shop():
    """A site with one page of each kind."""
    site = Pages()

    @site.route("/hi", name="hi")
    def hi(name: str, request: Request) -> str:
        return f"{name} {request.prepath} {site.reverse_url('hi')}"

    @site.route("/numbers")
    async def numbers():
        yield "one"
        yield "two"

    @site.route("/take", methods=["POST"])
    def take(file: Upload, title: str) -> str:
        return f"{title} {file.size}"

    @site.route("/page")
    class Some(Page):
        def get(self):
            self.set_cookie("a", "b")
            self.write("page")

    @site.route("/wrong")
    def wrong() -> str:
        raise KeyError("secret")

    site.route("/to/<raw:rest>")(lambda rest: rest)
    site.route("/never")(lambda: Deferred(site.settings["cancelled"].append))
    site.settings["cancelled"] = []
    return site


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/shop/hi?name=x", 200, b"x [b'shop'] /shop/hi"),
        ("/shop/hi", 400, b"400 Bad Request\nname: missing.\n"),
        ("/shop/none", 404, b"404 Not Found\nNothing is here.\n"),
        ("/shop", 404, b"404 Not Found\nNothing is here.\n"),
        ("/shop/numbers", 200, b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"),
        ("/shop/to/..//x", 200, b"..//x"),
        ("/shop/../hi?name=x", 404, b"404 Not Found\nNothing is here.\n"),
        ("/shop/page/", 308, b"308 Permanent Redirect\nThis is at /shop/page\n"),
    ],
)
def test_stock(path, status, body):
    """Under a stock site an application answers as under mixweb's."""
    found = ask(shop(), f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    assert (found[0], found[2]) == (status, body)


def test_stock_headers():
    """Cookies and entity tags leave through a stock site, too; HEAD has no body."""
    status, headers, body = ask(shop(), b"HEAD /shop/page HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (status, body) == (200, b"")
    assert headers.getRawHeaders(b"Set-Cookie") == [b"a=b; Path=/; SameSite=Lax; HttpOnly"]
    tag = headers.getRawHeaders(b"ETag")[0]
    assert ask(shop(), b"GET /shop/page HTTP/1.1\r\nHost: a\r\nIf-None-Match: %b\r\n\r\n" % tag)[0] == 304


def test_stock_uploads():
    """The body that a stock site has read is given to the application."""
    body = b"--b\r\nContent-Disposition: form-data; name=title\r\n\r\nt\r\n--b\r\nContent-Disposition: form-data; name=file; "
    body += b"filename=a\r\n\r\n" + b"x" * 200_000 + b"\r\n--b--\r\n"
    head = b"POST /shop/take HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: "
    assert ask(shop(), head + b"%d\r\n\r\n" % len(body) + body)[2] == b"t 200000"


def test_stock_errors(failures):
    """An exception is a 500 with the traceback where the stock site displays them."""
    for displayed in (False, True):
        status, _, body = ask(shop(), b"GET /shop/wrong HTTP/1.1\r\nHost: a\r\n\r\n", traceback=displayed)
        assert (status, b"secret" in body) == (500, displayed)
    assert [failure.type for failure in failures] == [KeyError] * 2


def test_stock_client_leaves(failures):
    """When the client of a stock site leaves, what a handler waits for is cancelled."""
    site = shop()
    protocol, _ = stock(site)
    protocol.dataReceived(b"GET /shop/never HTTP/1.1\r\nHost: a\r\n\r\n")
    protocol.connectionLost(Failure(ConnectionDone()))
    assert len(site.settings["cancelled"]) == 1
    assert failures == []


def test_get_app(monkeypatch):
    """The application at hand is that of the request, also in what it waits for; else the only one that was made."""
    gc.collect()
    monkeypatch.setattr("mixweb.pages.apps._made", type(_made)())
    with pytest.raises(RuntimeError, match="no applications have been made"):
        get_app()
    waiting = Deferred()

    async def name():
        first = get_app().settings["name"]
        await waiting
        return f"{first} {get_app().settings['name']}"

    apps = [make_app([], {"name": name}) for name in ("one", "two")]
    exchanges = []
    for app in apps:
        app.route("/")(name)
        exchanges.append(SiteAgent(app).open())
    with pytest.raises(RuntimeError, match="2 applications have been made, and no request is at hand"):
        get_app()
    waiting.callback(None)
    assert [exchange.answer.text for exchange in exchanges] == ["one one", "two two"]
    app = apps.pop()
    del exchanges, apps
    monkeypatch.setattr("mixweb.pages.apps._made", type(_made)([app]))
    assert get_app() is app


def test_settings_of_others(tmp_path):
    """An application takes what Tornado and Jacinle call its parts; the rest is for its handlers."""
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "x.html").write_text("{{ handler.settings['more'] }}")
    app = make_app(
        [], {"template_path": str(tmp_path / "t"), "cookie_secret": "0123456789abcdef", "login_url": "/in", "more": 1}
    )

    @app.route("/")
    class X(Page):
        def get(self):
            assert self.get_login_url() == "/in"
            assert self.get_signed_cookie("a", self.create_signed_value("a", "b")) == b"b"
            self.render("x.html")

    assert SiteAgent(app).get("/").text == "1"
    noted = make_app([], {"session_engine": "in-memory", "gzip": True, "xsrf_cookies": False, "debug": True})
    assert noted.wishes == {"session": "session_engine", "encode": "gzip"}


def test_events_end_with_the_client():
    """A stream under a stock site ends with its client."""
    feed, site = Feed(), Pages()
    site.route("/events")(lambda: Events(feed))
    protocol, transport = stock(site)
    protocol.dataReceived(b"GET /shop/events HTTP/1.1\r\nHost: a\r\n\r\n")
    feed.send("x")
    assert b"data: x" in transport.value()
    protocol.connectionLost(Failure(ConnectionDone()))
    assert len(feed) == 0
