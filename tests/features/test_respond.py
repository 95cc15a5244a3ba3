"""
A fixed answer.
"""

import json
import re

import pytest
from twisted.internet.task import Clock
from zope.interface import implementer

from mixweb.features.respond import Respond, RespondResource, build
from mixweb.interfaces import IClientAddress
from mixweb.testing import SiteAgent, make_context
from mixweb.wrapper import Wrapper


def agent(*body, **settings):
    return SiteAgent(RespondResource(Respond(*body, **settings)), peer="192.0.2.7")


@pytest.mark.parametrize(
    ("settings", "status", "kind", "body"),
    [
        ({}, 200, "text/plain; charset=utf-8", ""),
        ({"body": "hello\n"}, 200, "text/plain; charset=utf-8", "hello\n"),
        ({"body": "é"}, 200, "text/plain; charset=utf-8", "é"),
        ({"body": "x", "status": 503}, 503, "text/plain; charset=utf-8", "x"),
        ({"body": "x", "status": 299}, 299, "text/plain; charset=utf-8", "x"),
        ({"body": "<p>", "type": "text/html"}, 200, "text/html; charset=utf-8", "<p>"),
        ({"body": "{}", "type": "application/json"}, 200, "application/json", "{}"),
        ({"body": "x", "headers": ["Content-Type: a/b"]}, 200, "a/b", "x"),
        ({"status": 204}, 204, None, ""),
        ({"status": 204, "body": "x"}, 204, None, ""),
        ({"status": 304}, 304, None, ""),
    ],
)
def test_answer(settings, status, kind, body):
    """The body, status and type are what the settings say, at the path and all below it."""
    for target in ("/", "/any/../thing?x"):
        found = agent(**settings).get(target)
        assert (found.status, found["Content-Type"], found.text) == (status, kind, body)
        assert found["Cache-Control"] is None


def test_reason():
    """A status that has a name is sent with it."""
    assert agent(status=418).get("/").reason == "I'm a teapot"


REQUEST = {"X-One": "1", "X-Umlaut": "é", "Host": "Example.com:8080"}


@pytest.mark.parametrize(
    ("body", "rendered"),
    [
        ("{method} {path}", "GET /a b/é"),
        ("{query}", "q=1%202&q=2&e=%C3%A9&bad=%FF&empty="),
        ("{host}", "example.com"),
        ("{client}", "192.0.2.7"),
        ("{header.X-One}{header.x-one}|{header.X-None}|{header.X-Umlaut}", "11||é"),
        ("{header.Accept}", "a, b"),
        ("{arg.q}|{arg.e}|{arg.none}|{arg.empty}|{arg.bad}", "1 2|é|||\ufffd"),
        ("{{path}} { {}", "{path} { {}"),
        ('{"path": "{path}", "in": {"x": {}}}', '{"path": "/a b/é", "in": {"x": {}}}'),
    ],
)
def test_placeholders(body, rendered):
    """Values of the request stand where their names were; what is missing is empty, what is not UTF-8 is replaced."""
    lines = [*REQUEST.items(), ("Accept", "a"), ("Accept", "b")]
    found = agent(body).get("/x/../a%20b/%C3%A9?q=1%202&q=2&e=%C3%A9&bad=%FF&empty=", lines)
    assert found.text == rendered
    assert found["Cache-Control"] == ("no-store" if "{{" not in body else None)


def test_form_arguments():
    """Arguments of a posted form are known too."""
    found = agent("{arg.a}{arg.b}").request(
        "POST", "/?a=1", {"Content-Type": "application/x-www-form-urlencoded"}, b"b=2"
    )
    assert found.text == "12"


def test_uuid_and_time():
    """Each answer has a UUID of its own, and the time of the server."""
    clock = Clock()
    clock.advance(784111777.5)
    browser = SiteAgent(build(Respond("{uuid} {time}"), make_context(clock)))
    first, second = (browser.get("/").text.split() for _ in range(2))
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", first[0])
    assert first[0] != second[0]
    assert first[1] == "1994-11-06T08:49:37Z"


def test_client_behind_a_proxy():
    """The client is who trusted proxies say it is."""

    @implementer(IClientAddress)
    class Address:
        host = "2001:db8::1"
        proxies = ()

    class Forwarded(Wrapper):
        def handle(self, request):
            request.setComponent(IClientAddress, Address())
            self.forward(request)

    assert SiteAgent(Forwarded(RespondResource(Respond("{client}")))).get("/").text == "2001:db8::1"


NASTY = "\"'<script>&\\`${x}"
NASTY_QUERY = "?v=%22%27%3Cscript%3E%26%5C%60%24%7Bx%7D"


@pytest.mark.parametrize(
    ("kind", "rendered"),
    [
        ("text/plain", NASTY),
        ("text/html", "&quot;&#x27;&lt;script&gt;&amp;\\`${x}"),
        ("image/svg+xml", "&quot;&#x27;&lt;script&gt;&amp;\\`${x}"),
        ("application/json", '\\"\\u0027\\u003cscript\\u003e\\u0026\\\\\\u0060\\u0024{x}'),
        ("text/javascript", '\\"\\u0027\\u003cscript\\u003e\\u0026\\\\\\u0060\\u0024{x}'),
    ],
)
def test_escapes(kind, rendered):
    """Values are escaped as the type of the answer needs it; the text around them is not."""
    body = '<a b="{arg.v}">'
    assert agent(body, type=kind).get(f"/{NASTY_QUERY}").text == f'<a b="{rendered}">'


def test_json():
    """A value in a JSON string is read back as it was."""
    found = agent('{"v": "{arg.v}"}', type="application/json").get(f"/{NASTY_QUERY}")
    assert json.loads(found.body) == {"v": NASTY}


def test_headers():
    """Headers may repeat, may have values of the request, and cannot be split by them."""
    headers = ["X-A: 1", "x-a: {method}", "Location: /to{path}", "X-B: {arg.b}", "Server: mine"]
    found = agent(status=302, headers=headers).get("/a?b=1%0D%0AX-Evil:%202%00%7F")
    assert found["X-A"] == "1, GET"
    assert found["Location"] == "/to/a"
    assert found["X-B"] == "1X-Evil: 2"
    assert found["X-Evil"] is None
    assert found["Server"] == "mine"
    assert found["Cache-Control"] == "no-store"
    assert agent("{uuid}", headers=["Cache-Control: max-age=5"]).get("/")["Cache-Control"] == "max-age=5"


@pytest.mark.parametrize(
    ("methods", "method", "status", "allow"),
    [
        (None, "GET", 200, None),
        (None, "HEAD", 200, None),
        (None, "DELETE", 200, None),
        (None, "PATCH", 200, None),
        (None, "OPTIONS", 204, "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"),
        (None, "TRACE", 405, "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"),
        (None, "BREW", 501, None),
        (["GET"], "HEAD", 200, None),
        (["GET"], "POST", 405, "GET, HEAD, OPTIONS"),
        (["POST"], "GET", 405, "OPTIONS, POST"),
        (["OPTIONS"], "OPTIONS", 200, None),
        (["BREW"], "BREW", 200, None),
    ],
)
def test_methods(methods, method, status, allow):
    """The methods that are answered are those of the setting; others are told so."""
    settings = {} if methods is None else {"methods": methods}
    found = agent("body", **settings).request(method, "/")
    assert (found.status, found["Allow"]) == (status, allow)
    if status == 200:
        assert found.body == (b"" if method == "HEAD" else b"body")


def test_close():
    """The connection is closed after the answer, and says so."""
    exchange = agent("bye", close=True).open()
    assert exchange.answer["Connection"] == "close"
    assert exchange.answer.body == b"bye"
    assert exchange.transport.disconnecting
    exchange = agent("stay").open()
    assert exchange.answer["Connection"] is None
    assert not exchange.transport.disconnecting


def test_abort():
    """The connection is dropped without an answer, and the request is observed once when it is lost."""
    browser = agent("never", abort=True)
    observed = []
    browser.site.observers.append(observed.append)
    exchange = browser.open()
    assert exchange.received == b""
    assert exchange.transport.aborted
    exchange.disconnect()
    assert len(observed) == 1


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"body": "{pth}"}, "body: there is no placeholder {pth}; did you mean {path}?"),
        ({"body": "{env.SECRET}"}, "body: there is no placeholder {env.SECRET}"),
        ({"body": "{header.a[b]}"}, "body: there is no header 'a[b]'"),
        ({"headers": ["X: {nothing}"]}, "headers: there is no placeholder {nothing}"),
        ({"headers": ["X"]}, "headers: 'X' is not a header line"),
        ({"headers": ["Content-Length: 3"]}, "headers: Content-Length cannot be changed"),
        ({"headers": ["Connection: close"]}, "headers: Connection cannot be changed"),
        ({"status": 100}, "status must be from 200 to 599, not 100"),
        ({"status": 600}, "status must be from 200 to 599"),
        ({"methods": ["get"]}, "methods: 'get' is not a method"),
        ({"methods": ["A B"]}, "methods: 'A B' is not a method"),
        ({"type": "text"}, "type: 'text' is not a media type"),
        ({"type": "text/html; charset=latin-1"}, "type: the body is sent as UTF-8, not as latin-1"),
        ({"type": "text/html\r\nX: y"}, "type: 'text/html\\r\\nX: y' is not a media type"),
    ],
)
def test_refused(settings, said):
    """What cannot be sent is an error when the settings are made."""
    with pytest.raises(ValueError, match=r"^(body|headers|status|methods|type)") as caught:
        Respond(**settings)
    assert str(caught.value).startswith(said)
