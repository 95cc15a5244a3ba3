"""
Redirects.
"""

import pytest
from twisted.internet.defer import Deferred
from twisted.web.resource import Resource

from mixweb.assemble import Assembler
from mixweb.engine.authority import Authority
from mixweb.features.redirect import Asked, Redirect, Redirects, RedirectWrapper
from mixweb.features.respond import Respond
from mixweb.kit.rules import path_text
from mixweb.paths import RawPrefixes, canonical
from mixweb.plan import Host, Plan
from mixweb.testing import SiteAgent
from mixweb.wrapper import Wrapper


class Call(Resource):
    """Answers every method with what a function returns."""

    isLeaf = True

    def __init__(self, answer=lambda request: b"inside"):
        super().__init__()
        self.answer = answer

    def render_GET(self, request):
        return self.answer(request)

    def render_POST(self, request):
        return self.answer(request)


def agent(settings, secure=False, **rest):
    return SiteAgent(RedirectWrapper(Redirect(**settings), Call(**rest)), secure=secure)


RULES = {
    "/old": "/new",
    "/": "/start",
    "/blog/*": "https://blog.example/{1}",
    "/moved/*/x/*": "/{2}/{1}",
    "*.php": "{path}/info?page={1}",
    r"^/user/(?P<id>[0-9]+)$": "/profile/{id}?tab=all",
    "/search/*": "/find?q={1}#top",
    "/q": "/r?{query}&x=1",
    "/spa/*": "/app#/{1}",
    "/cdn/*": "//cdn.example/{1}",
    "/up": "https://{host}/up",
    "/all*": "https://other.example{path}",
    "/same": "/same",
    "/same/": "/same",
    "/é": "/ä b",
    "/out*": "/{1}",
    "/back*": "/{1}",
    "/same-here*": "http://localhost/same-here{1}",
}


@pytest.mark.parametrize(
    ("target", "location"),
    [
        ("/", "/start"),
        ("/old", "/new"),
        ("/old/", "/new"),
        ("//%6Fld?a=1&b=%2F", "/new?a=1&b=%2F"),
        ("/old/x", None),
        ("/older", None),
        ("/blog/2020/a%20b?x=1", "https://blog.example/2020/a%20b?x=1"),
        ("/blog/../old", "/new"),
        ("/moved/a/x/b/c", "/b/c/a"),
        ("/moved/x%2Fx/x/b", "/b/x%2Fx"),
        ("/a/b.php?x=1", "/a/b.php/info?page=%2Fa%2Fb&x=1"),
        ("/a%26b%3Dc.php", "/a&b=c.php/info?page=%2Fa%26b%3Dc"),
        ("/user/12?x=1", "/profile/12?tab=all&x=1"),
        ("/user/ab", None),
        ("/search/a&b%23c", "/find?q=a%26b%23c#top"),
        ("/search/a?z=1", "/find?q=a&z=1#top"),
        ("/q?a=1", "/r?a=1&x=1"),
        ("/spa/a/b?x=1", "/app?x=1#/a%2Fb"),
        ("/cdn/a.js", "//cdn.example/a.js"),
        ("/up?x", "https://localhost/up?x"),
        ("/all/of/it", "https://other.example/all/of/it"),
        ("/same", None),
        ("/same?x=1", None),
        ("/same/", "/same"),
        ("/%C3%A9", "/%C3%A4%20b"),
        ("/same-here/x", None),
        # Nothing that a client can send leads to another host or into another header.
        ("/out/evil.example", "/evil.example"),
        ("/out//evil.example", "/evil.example"),
        ("/out/%2Fevil.example", "/%2Fevil.example"),
        ("/out/%2F%2Fevil.example", "/%2F%2Fevil.example"),
        ("/out/%5Cevil.example", "/%5Cevil.example"),
        ("/out%5C%5Cevil.example", "/%5C%5Cevil.example"),
        ("/out.evil.example", "/.evil.example"),
        ("/out/%09/evil.example", "/%09/evil.example"),
        ("/all%2Fevil.example", "https://other.example/all%2Fevil.example"),
        ("/all@evil.example", "https://other.example/all@evil.example"),
        ("/back%0D%0AX-Evil:1", "/%0D%0AX-Evil:1"),
        ("/back%00x", "/%00x"),
        ("/back/%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E", "/%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E"),
        ("/back/javascript:alert(1)", "/javascript:alert(1)"),
    ],
)
def test_rules(target, location):
    """A rule leads to its target, with the values percent-encoded again and the query kept, and never elsewhere."""
    found = agent({"rules": RULES}).get(target)
    assert (found.status, found["Location"]) == ((308, location) if location else (200, None))
    assert found["X-Evil"] is None
    assert found.text == ("inside" if location is None else location + "\n")
    if location is not None:
        assert found["Content-Type"].startswith("text/plain")


@pytest.mark.parametrize(
    ("target", "location"),
    [
        (b'/old?"><script>\xff', "https://example.com/new?%22%3E%3Cscript%3E%FF"),
        (b"/x\r\nX-Evil: 1\0", "https://example.com/x%0D%0AX-Evil:%201%00"),
        (b".evil.example/", "https://example.com/.evil.example/"),
    ],
)
def test_strange_targets(target, location):
    """Whatever a channel lets through, Location is a URL of the host."""
    redirects = Redirects(Redirect({"/old": "/new"}, https=True))
    path = path_text(canonical(target).segments)
    assert redirects.location(Asked(False, Authority(b"example.com"), path, target, True)) == location


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE", "OPTIONS"])
def test_code(code, method):
    """The status code is the one that is set, for every method."""
    found = agent({"rules": {"/old": "/new"}, "code": code}).request(method, "/old")
    assert (found.status, found["Location"]) == (code, "/new")
    assert (found.body == b"") == (method == "HEAD")


@pytest.mark.parametrize(
    ("settings", "secure", "host", "target", "location"),
    [
        ({"https": True}, False, "example.com", "/a?b", "https://example.com/a?b"),
        ({"https": True}, False, "example.com:8080", "/", "https://example.com/"),
        ({"https": True}, False, "EXAMPLE.com.", "/", "https://example.com/"),
        ({"https": True}, False, "[::1]:8080", "/", "https://[::1]/"),
        ({"https": True, "https_port": 8443}, False, "[::1]:8080", "/", "https://[::1]:8443/"),
        ({"https": True, "https_port": 8443}, False, "example.com", "/", "https://example.com:8443/"),
        ({"https": True}, True, "example.com", "/a?b", None),
        ({"https": True}, False, "example.com", "//evil.example/x", "https://example.com//evil.example/x"),
        ({"https": True}, False, "example.com", "/a%2fb//./c%20", "https://example.com/a%2fb//./c%20"),
        ({"host": "example.com"}, False, "www.example.com", "/a?b", "http://example.com/a?b"),
        ({"host": "example.com"}, False, "www.example.com:8080", "/", "http://example.com:8080/"),
        ({"host": "example.com"}, True, "www.example.com", "/", "https://example.com/"),
        ({"host": "example.com"}, False, "example.com:8080", "/", None),
        ({"host": "Example.com"}, False, "EXAMPLE.COM.", "/", None),
        ({"host": "bücher.example"}, False, "x", "/", "http://xn--bcher-kva.example/"),
        ({"host": "example.com", "https": True}, False, "www.example.com:80", "/", "https://example.com/"),
        ({"host": "example.com", "https": True}, True, "www.example.com:8443", "/", "https://example.com:8443/"),
        ({"rules": {"/a": "/b"}, "https": True}, False, "example.com", "/a?x", "https://example.com/b?x"),
        ({"rules": {"/a": "/b"}, "https": True}, True, "example.com", "/a", "/b"),
        ({"rules": {"/a": "http://o.example/"}, "https": True}, False, "example.com", "/a", "http://o.example/"),
        ({"rules": {"/a": "//o.example/"}, "https": True}, False, "example.com", "/a", "//o.example/"),
        ({"rules": {"/*": "https://{host}:8443{path}"}}, False, "[::1]:80", "/a", "https://[::1]:8443/a"),
        ({"rules": {"/*": "https://{host}{path}"}}, True, "example.com", "/a", None),
        ({"slash": "add", "https": True}, False, "example.com", "/a?x", "https://example.com/a/?x"),
    ],
)
def test_origin(settings, secure, host, target, location):
    """To TLS and to the one host name in one step; a request that is right already stays."""
    found = agent(settings, secure).get(target, {"Host": host})
    assert (found.status, found["Location"]) == ((308, location) if location else (200, None))


def test_behind_a_proxy():
    """A request that a trusted proxy received over TLS is not redirected to TLS again."""

    class Forwarded(Wrapper):
        def handle(self, request):
            request.setHost(b"example.com", 443, ssl=True)
            self.forward(request)

    wrapped = Forwarded(RedirectWrapper(Redirect(https=True), Call()))
    assert SiteAgent(wrapped).get("/").body == b"inside"


def test_no_host():
    """A client of HTTP/1.0 that names no host is sent to the listener's address."""
    exchange = agent({"https": True}).connect()
    exchange.heads.append(b"GET")
    exchange.send(b"GET /a HTTP/1.0\r\n\r\n")
    assert exchange.answer["Location"] == "https://127.0.0.1/a"


@pytest.mark.parametrize(
    ("slash", "method", "target", "location"),
    [
        ("add", "GET", "/a", "/a/"),
        ("add", "HEAD", "/a/b?x=1", "/a/b/?x=1"),
        ("add", "GET", "/a/", None),
        ("add", "GET", "/", None),
        ("add", "GET", "/a/b.css", None),
        ("add", "GET", "/v1.0/b", "/v1.0/b/"),
        ("add", "POST", "/a", None),
        ("add", "GET", "//evil.example/%2e%2e/x", "/x/"),
        ("add", "GET", "//evil", "/evil/"),
        ("add", "GET", "/a%2Fb", "/a%2Fb/"),
        ("remove", "GET", "/a/", "/a"),
        ("remove", "GET", "/a/b.css/?x", "/a/b.css?x"),
        ("remove", "GET", "/a", None),
        ("remove", "GET", "/", None),
        ("remove", "GET", "//", None),
        ("remove", "GET", "//evil.example/%2F/", "/evil.example/%2F"),
        ("remove", "POST", "/a/", None),
        ("", "GET", "/a/", None),
    ],
)
def test_slash(slash, method, target, location):
    """One form of the trailing slash, for reading only; a name with a dot is a file and gets none."""
    found = agent({"slash": slash}).request(method, target)
    assert (found.status, found["Location"]) == ((308, location) if location else (200, None))


@pytest.mark.parametrize("target", ["/a", "/a/", "//a", "/old", "/a%20b", "/%C3%A9", "/a%2Fb/", "/%ff", "/a;b=c,d/"])
@pytest.mark.parametrize(
    "settings",
    [
        {"slash": "add", "rules": {"/old": "/older"}, "https": True, "host": "example.com"},
        {"slash": "remove", "rules": {"/old": "/older"}, "host": "example.com"},
        {"rules": {"*": "https://example.com{path}"}},
    ],
)
def test_settles(settings, target):
    """A client that follows a redirect is not redirected for ever."""
    host, secure = "www.example.com", False
    for _ in range(4):
        found = agent(settings, secure).get(target, {"Host": host})
        if found.status == 200:
            return
        location = found["Location"]
        if location.startswith("http"):
            scheme, _, rest = location.partition("://")
            host, slash, rest = rest.partition("/")
            secure, location = scheme == "https", slash + rest
        target = location
    pytest.fail(f"still redirected to {target}")


def test_raw_targets():
    """Behind a raw mount the target stays as it came, and rules do not look into it."""

    class Raw(Wrapper):
        def handle(self, request):
            request.raw_prefixes = RawPrefixes([[b"goto"]])
            request.set_target(request.uri)
            self.forward(request)

    def get(target, **settings):
        return SiteAgent(Raw(RedirectWrapper(Redirect(**settings), Call()))).get(target)

    target = "/goto///foo.baz/../..//cache?x"
    assert get(target, https=True)["Location"] == "https://localhost/goto///foo.baz/../..//cache?x"
    assert get(target, slash="add", rules={"/*": "/x"}).body == b"inside"
    assert get("/other", rules={"/*": "/x"})["Location"] == "/x"


def test_what_stays_is_rendered():
    """What is not redirected is rendered by the resource inside, also when it takes its time."""
    waiting = Deferred()
    exchange = agent({"https": True}, True, answer=lambda request: waiting).open()
    assert exchange.answers() == []
    waiting.callback(b"late")
    assert exchange.answer.body == b"late"


def test_assembled(tmp_path):
    """Redirects apply where their paths say, and stand before the mounts."""
    from twisted.internet.task import Clock

    plan = Plan(default=Host(Respond("page"), Redirect(https=True, except_paths=["/.well-known/"])))
    browser = SiteAgent(Assembler(Clock()).assemble(plan).root)
    assert browser.get("/x").status == 308
    assert browser.get("/.well-known/acme-challenge/x").body == b"page"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"rules": {"/a": "new"}}, "rules: /a: 'new' is no place to redirect to"),
        ({"rules": {"/a": ""}}, "rules: /a: '' is no place"),
        ({"rules": {"/a": "javascript:alert(1)"}}, "rules: /a: "),
        ({"rules": {"/*": "{1}"}}, "rules: /*: '{1}' is no place"),
        ({"rules": {"/*": "https://{1}/"}}, "rules: /*: 'https://{1}/' is no place"),
        ({"rules": {"/*": "https://new.example{1}"}}, "rules: /*: "),
        ({"rules": {"/*": "https://{host}{1}"}}, "rules: /*: "),
        ({"rules": {"/*": "//{1}"}}, "rules: /*: "),
        ({"rules": {"/*": "https://user@{host}/"}}, "rules: /*: "),
        ({"rules": {"/*": "https://{host}@evil.example/"}}, "rules: /*: "),
        ({"rules": {"/*": "/{2}"}}, "rules: /*: there is no placeholder {2}"),
        ({"rules": {"/*": "/{query}"}}, "rules: /*: there is no placeholder {query}"),
        ({"rules": {"^/(": "/x"}}, "rules: ^/(: '^/(' is not a regular expression"),
        ({"code": 200}, "code must be one of 301, "),
        ({"https_port": 0}, "https_port must be a port"),
        ({"host": "a b"}, "host: 'a b' is not a host name"),
        ({"host": "a.example:80"}, "host: 'a.example:80' is to have no port"),
        ({"slash": "both"}, "slash must be"),
    ],
)
def test_refused(settings, said):
    """A setting that would lead nowhere, or where the client wants, is an error that names it."""
    with pytest.raises(ValueError, match=r"^(rules|code|https_port|host|slash)") as caught:
        Redirect(**settings)
    assert str(caught.value).startswith(said)
