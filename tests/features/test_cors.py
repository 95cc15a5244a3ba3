"""
Pages of other origins.
"""

import pytest
from twisted.web.resource import Resource
from twisted.web.util import Redirect

from mixweb.assemble import Assembler
from mixweb.engine.site import Site
from mixweb.feature import Stage, Wrap
from mixweb.features.cors import FEATURE, Cors, CorsWrapper, build, origin_pattern
from mixweb.plan import Host, Plan
from mixweb.registry import Registry, registry
from mixweb.testing import SiteAgent, make_context
from mixweb.wrapper import HTTPError, Wrapper
from tests.samples import Tag, TagWrapper

A = "https://a.example"
B = "https://b.example"
ALLOWED = {
    "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, PATCH, DELETE",
    "Access-Control-Allow-Headers": "Accept, Accept-Language, Authorization, Content-Language, Content-Type",
    "Access-Control-Max-Age": "600",
}


def sample(tmp_path, **changes):
    return Cors([A], **changes)


class Call(Resource):
    """Answers with what a function returns."""

    isLeaf = True

    def __init__(self, answer=lambda request: b"secret"):
        super().__init__()
        self.answer = answer
        self.asked = 0

    def render_GET(self, request):
        self.asked += 1
        return self.answer(request)


def agent(*origins, answer=lambda request: b"secret", **settings):
    return SiteAgent(CorsWrapper(Cors(origins, **settings), Call(answer)))


def said(answer):
    """What an answer says to browsers of other origins."""
    return {name: ", ".join(values) for name, values in text_headers(answer) if name.startswith("Access-Control-")}


def text_headers(answer):
    return [(name.decode(), [value.decode() for value in values]) for name, values in answer.headers.getAllRawHeaders()]


def preflight(client, origin, method="POST", headers="content-type", target="/", **more):
    asked = {"Origin": origin, "Access-Control-Request-Method": method}
    if headers:
        asked["Access-Control-Request-Headers"] = headers
    return client.request("OPTIONS", target, asked | more)


@pytest.mark.parametrize(
    ("settings", "origin", "allowed"),
    [
        ([A], A, A),
        ([A], B, None),
        ([A], None, None),
        ([A], "null", None),
        ([A], "https://a.example.evil.example", None),
        ([A], "https://evil-a.example", None),
        ([A], "http://a.example", None),
        ([A], "https://a.example:8443", None),
        ([A], "https://A.example", None),
        ([A], "https://a.example/", None),
        ([A, B], B, B),
        ([f"{A}, {B}"], B, B),
        ([f"{A} {B}\n", "null"], "null", "null"),
        ([f"{A} {B}"], f"{A} {B}", None),
        (["HTTPS://A.Example:443"], A, A),
        (["http://a.example:80"], "http://a.example", "http://a.example"),
        (["https://a.example:80"], "https://a.example:80", "https://a.example:80"),
        (["https://aXexample"], A, None),
        (["https://*.a.example"], "https://x.a.example", "https://x.a.example"),
        (["https://*.a.example"], "https://x.y.a.example", "https://x.y.a.example"),
        (["https://*.a.example"], A, None),
        (["https://*.a.example"], "https://.a.example", None),
        (["https://*.a.example"], "https://evil.example/x.a.example", None),
        (["https://*.a.example"], "https://evil.example#x.a.example", None),
        (["https://*.a.example"], "https://xa.example", None),
        (["http://localhost:*"], "http://localhost:3000", "http://localhost:3000"),
        (["http://localhost:*"], "http://localhost", "http://localhost"),
        (["http://localhost:*"], "http://localhost:3000.evil.example", None),
        (["https://bücher.example"], "https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
        (["http://[::1]:8080"], "http://[::1]:8080", "http://[::1]:8080"),
        (["capacitor://localhost"], "capacitor://localhost", "capacitor://localhost"),
        (["null"], "null", "null"),
        (["null"], A, None),
        (["*"], A, "*"),
        (["*"], "null", "*"),
        (["*"], None, "*"),
        (["*", A], A, "*"),
    ],
)
def test_origins(settings, origin, allowed):
    """The origins of the settings may read answers, one of them is named, and caches are told that it counts."""
    answer = agent(*settings).get("/", {} if origin is None else {"Origin": origin})
    assert answer.body == b"secret"
    assert said(answer) == ({} if allowed is None else {"Access-Control-Allow-Origin": allowed})
    assert answer["Vary"] == (None if "*" in settings else "Origin")


def test_two_origins():
    """A request with two origins has none."""
    assert said(agent(A).get("/", [("Origin", A), ("Origin", A)])) == {}


@pytest.mark.parametrize(
    ("settings", "origin", "allowed", "credentials"),
    [
        ({}, A, A, None),
        ({"credentials": True}, A, A, "true"),
        ({"credentials": True}, B, None, None),
        ({"credentials": True}, None, None, None),
        ({"echo_any_origin": True}, B, B, None),
        ({"echo_any_origin": True, "credentials": True}, B, B, "true"),
        ({"echo_any_origin": True, "credentials": True}, "null", None, None),
        ({"echo_any_origin": True, "credentials": True}, "not an origin", None, None),
        ({"echo_any_origin": True, "credentials": True}, None, None, None),
    ],
)
def test_credentials(settings, origin, allowed, credentials):
    """Credentials go with an origin by its name only."""
    answer = agent(A, **settings).get("/", {} if origin is None else {"Origin": origin})
    assert answer["Access-Control-Allow-Origin"] == allowed
    assert answer["Access-Control-Allow-Credentials"] == credentials
    assert answer["Vary"] == "Origin"


def test_echo_with_star():
    """The star with echo_any_origin means every origin by its name."""
    answer = agent("*", echo_any_origin=True, credentials=True).get("/", {"Origin": B})
    assert said(answer) == {"Access-Control-Allow-Origin": B, "Access-Control-Allow-Credentials": "true"}


@pytest.mark.parametrize(
    ("settings", "asked", "expected"),
    [
        ({}, {}, {"Access-Control-Allow-Origin": A, **ALLOWED}),
        ({}, {"origin": B}, {}),
        ({}, {"origin": "null"}, {}),
        ({}, {"headers": "x-evil"}, {"Access-Control-Allow-Origin": A, **ALLOWED}),
        ({}, {"headers": None}, {"Access-Control-Allow-Origin": A, **ALLOWED}),
        ({"origins": ["*"]}, {"origin": B}, {"Access-Control-Allow-Origin": "*", **ALLOWED}),
        (
            {"credentials": True},
            {},
            {"Access-Control-Allow-Origin": A, "Access-Control-Allow-Credentials": "true", **ALLOWED},
        ),
        (
            {"methods": ["GET"], "headers": ["X-A", "X-B"], "max_age": 0, "expose": ["X-C"]},
            {},
            {
                "Access-Control-Allow-Origin": A,
                "Access-Control-Allow-Methods": "GET",
                "Access-Control-Allow-Headers": "X-A, X-B",
                "Access-Control-Max-Age": "0",
            },
        ),
        (
            {"methods": ["*"], "headers": ["*"]},
            {"method": "BREW", "headers": "x-a, bad name,,x-b"},
            {
                "Access-Control-Allow-Origin": A,
                "Access-Control-Allow-Methods": "BREW",
                "Access-Control-Allow-Headers": "x-a, x-b",
                "Access-Control-Max-Age": "600",
            },
        ),
        (
            {"methods": ["*"], "headers": ["*"]},
            {"method": "bad method", "headers": None},
            {"Access-Control-Allow-Origin": A, "Access-Control-Max-Age": "600"},
        ),
    ],
)
def test_preflights(settings, asked, expected):
    """A preflight is answered with what the origin may send."""
    client = agent(*settings.pop("origins", [A]), **settings)
    answer = preflight(client, **{"origin": A} | asked)
    assert (answer.status, answer.body) == (204, b"")
    assert said(answer) == expected


@pytest.mark.parametrize(
    ("settings", "asked", "vary"),
    [
        ({"origins": ["*"]}, B, None),
        ({}, A, "Origin"),
        ({}, B, "Origin"),
        ({"headers": ["*"], "origins": ["*"]}, B, "Access-Control-Request-Headers"),
        (
            {"headers": ["*"], "methods": ["*"]},
            A,
            "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
        ),
    ],
)
def test_preflights_vary(settings, asked, vary):
    """A preflight says what its answer depends on."""
    assert preflight(agent(*settings.pop("origins", [A]), **settings), asked)["Vary"] == vary


@pytest.mark.parametrize(
    ("setting", "origin", "asked", "allowed"),
    [
        (True, A, "true", "true"),
        (True, A, "false", None),
        (True, A, None, None),
        (True, B, "true", None),
        (False, A, "true", None),
    ],
)
def test_private_networks(setting, origin, asked, allowed):
    """A public site may reach this server in a private network if the settings say so, and it asks."""
    more = {} if asked is None else {"Access-Control-Request-Private-Network": asked}
    answer = preflight(agent(A, private_network=setting), origin, **more)
    assert answer["Access-Control-Allow-Private-Network"] == allowed


@pytest.mark.parametrize(
    "request_headers",
    [{}, {"Origin": A}, {"Access-Control-Request-Method": "GET"}, {"Access-Control-Request-Headers": "x"}],
)
def test_other_options(request_headers):
    """An OPTIONS that is no preflight is the resource's."""
    answer = agent(A).request("OPTIONS", "/", request_headers)
    assert answer["Allow"] == "GET, HEAD, OPTIONS"
    assert answer["Access-Control-Allow-Methods"] is None


class Closed(Wrapper):
    """Lets nobody in."""

    def handle(self, request):
        raise HTTPError(401, "Who are you?", [(b"WWW-Authenticate", b"Basic")])


def test_preflights_need_no_login():
    """A preflight is answered before anybody is asked who they are; the answer that asks can be read."""
    locked = Wrap("locked", Stage.AUTH, Tag, lambda settings, inner, context: Closed(inner))
    features = [feature for feature in registry().features.values() if feature.name != "locked"]
    plan = Plan(default=Host(Tag(), Cors([A]), without=["accesslog", "secureheaders"]))
    client = SiteAgent(Site(Assembler(None, found=Registry([*features, locked])).assemble(plan).root))
    assert preflight(client, A).status == 204
    answer = client.get("/", {"Origin": A})
    assert (answer.status, answer["Access-Control-Allow-Origin"]) == (401, A)


def test_preflights_stop_here():
    """Nothing behind is asked about a preflight."""
    inner = Call()
    client = SiteAgent(CorsWrapper(Cors([A]), TagWrapper("t", inner)))
    assert preflight(client, A, method="GET")["X-Tags"] is None
    assert inner.asked == 0


def fail(request):
    raise KeyError("x")


@pytest.mark.parametrize(
    ("answer", "method", "status"),
    [
        (lambda request: b"x", "POST", 405),
        (fail, "GET", 500),
        (lambda request: request.error(404), "GET", 404),
        (lambda request: Redirect(b"/x").render(request), "GET", 302),
    ],
)
def test_errors(answer, method, status, failures):
    """Errors and redirects can be read too."""
    found = agent(A, credentials=True, answer=answer).request(method, "/", {"Origin": A})
    assert found.status == status
    assert said(found) == {"Access-Control-Allow-Origin": A, "Access-Control-Allow-Credentials": "true"}
    assert "Origin" in found["Vary"]


def with_headers(**headers):
    def answer(request):
        for name, values in headers.items():
            request.responseHeaders.setRawHeaders(name.replace("_", "-"), values)
        return b"x"

    return answer


@pytest.mark.parametrize(
    ("vary", "expected"),
    [
        (["Accept"], "Accept, Origin"),
        (["Accept, origin"], "Accept, origin"),
        (["Accept", "ORIGIN"], "Accept, ORIGIN"),
        (["*"], "*"),
    ],
)
def test_vary(vary, expected):
    """What the resource says that its answer depends on stays."""
    assert agent(A, answer=with_headers(Vary=vary)).get("/")["Vary"] == expected


def test_resources_do_not_decide():
    """What the resource says to other origins is replaced."""
    answer = with_headers(
        Access_Control_Allow_Origin=["*"],
        Access_Control_Allow_Credentials=["true"],
        Access_Control_Expose_Headers=["X-Own"],
    )
    assert said(agent(A, answer=answer).get("/", {"Origin": B})) == {"Access-Control-Expose-Headers": "X-Own"}
    found = said(agent(A, answer=answer, expose=["X-A"]).get("/", {"Origin": A}))
    assert found == {"Access-Control-Allow-Origin": A, "Access-Control-Expose-Headers": "X-A"}


@pytest.mark.parametrize(
    ("settings", "exposed"),
    [
        ({}, None),
        ({"expose": ["X-A", "ETag"]}, "X-A, ETag"),
        ({"expose": ["*"]}, "*"),
        ({"expose": ["*"], "credentials": True}, "Content-Length, Content-Type, Date, Server, Vary, X-Own"),
    ],
)
def test_exposed(settings, exposed):
    """Pages may read the headers of the settings; with credentials, where browsers know no star, all are named."""
    answer = agent(A, answer=with_headers(X_Own=["1"]), **settings).get("/", {"Origin": A})
    names = answer["Access-Control-Expose-Headers"]
    if exposed and "X-Own" in exposed:
        names = ", ".join(name for name in names.split(", ") if not name.startswith("Access-Control-"))
    assert names == exposed
    assert agent(A, **settings).get("/", {"Origin": B})["Access-Control-Expose-Headers"] is None


@pytest.mark.parametrize(
    ("query", "origin", "allowed", "credentials", "vary"),
    [
        ("", A, A, "true", "Origin"),
        ("", B, None, None, "Origin"),
        ("?origin=https://c.example", B, "https://c.example", "true", None),
        ("?origin=%7BECHO%7D", B, B, "true", "Origin"),
        ("?origin={ECHO}", B, B, "true", "Origin"),
        ("?origin={ECHO}", "null", "null", "true", "Origin"),
        ("?origin={ECHO}", None, "*", "true", "Origin"),
        ("?origin=*&creds=0", B, "*", None, None),
        ("?origin=*&creds=1", B, "*", "true", None),
        ("?origin=", A, None, None, None),
        ("?origin=&creds=1", A, None, None, None),
        ("?creds=0", A, A, None, "Origin"),
        ("?creds=0", B, None, None, "Origin"),
        ("?origin=a,%20b", A, "a, b", "true", None),
        ("?origin=x&origin=y&other=1", A, "y", "true", None),
    ],
)
def test_override(query, origin, allowed, credentials, vary):
    """With override a request decides itself, and only for its own answer."""
    client = agent(A, credentials=True, override=True)
    headers = {} if origin is None else {"Origin": origin}
    answer = client.get("/" + query, headers)
    assert answer["Access-Control-Allow-Origin"] == allowed
    assert answer["Access-Control-Allow-Credentials"] == credentials
    assert answer["Vary"] == vary
    if origin is not None:
        checked = preflight(client, origin, target="/" + query)
        assert checked.status == 204
        assert checked["Access-Control-Allow-Origin"] == allowed
        assert (checked["Access-Control-Allow-Headers"] is None) is (allowed is None)
    assert client.get("/", {"Origin": B})["Access-Control-Allow-Origin"] is None


@pytest.mark.parametrize("query", ["?origin=a%0d%0aX-Evil:1", "?origin=%00", "?origin=%C3%A9", "?creds=2", "?creds="])
def test_override_refused(query):
    """What cannot be said is 400."""
    answer = agent(A, override=True).get("/" + query, {"Origin": A})
    assert answer.status == 400
    assert answer["X-Evil"] is None


def test_override_is_off():
    """Without the setting the query decides nothing."""
    assert said(agent(A).get("/?origin={ECHO}&creds=1", {"Origin": B})) == {}
    assert said(preflight(agent(A), B, target="/?origin={ECHO}&creds=1")) == {}


@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_paths(method):
    """Where the settings do not apply, nothing is said and preflights are the resource's."""
    plan = Plan(default=Host(Tag(), Cors([A], paths=["/api/"]), without=["accesslog", "secureheaders"]))
    features = [*registry().features.values(), Wrap("tag", Stage.AUTH, Tag, lambda s, inner, c: Call())]
    client = SiteAgent(Site(Assembler(None, found=Registry(features)).assemble(plan).root))
    headers = {"Origin": A, "Access-Control-Request-Method": "GET"}
    assert client.request(method, "/api/x", headers)["Access-Control-Allow-Origin"] == A
    assert client.request(method, "/apis", headers)["Access-Control-Allow-Origin"] is None


@pytest.mark.parametrize(
    ("origins", "settings", "complaint"),
    [
        ([], {}, "origins: name at least one"),
        (["*"], {"credentials": True}, r"credentials with origins '\*' is unsafe.*echo_any_origin"),
        ([A, "*"], {"credentials": True}, "unsafe"),
        (["a.example"], {}, "origins: 'a.example' is not an origin; did you mean https://a.example"),
        ([A + "/"], {}, "origins: .* it ends with the host and port, https://a.example"),
        ([A + "/api"], {}, "it ends with the host and port, https://a.example"),
        ([","], {}, "origins: name at least one"),
        ([f"{A} *"], {"credentials": True}, "unsafe"),
        (["https://a.*.example"], {}, "a wildcard stands for"),
        (["https://*"], {}, "a wildcard stands for"),
        (["https://user@a.example"], {}, "is not an origin"),
        (["https://a.example:port"], {}, "is not an origin"),
        (["https://-ü-.example"], {}, "is no host name"),
        ([A], {"methods": ["get"]}, "methods: 'get' is not a method"),
        ([A], {"methods": ["GET,POST"]}, "methods: 'GET,POST' is not a method"),
        ([A], {"headers": ["X A"]}, "headers: 'X A' is not a header"),
        ([A], {"expose": [""]}, "expose: '' is not a header"),
        ([A], {"max_age": -1}, "max_age must not be negative"),
    ],
)
def test_settings(origins, settings, complaint):
    """Settings that cannot work, or that are not safe, are refused."""
    with pytest.raises(ValueError, match=complaint):
        Cors(origins, **settings)


@pytest.mark.parametrize(
    ("settings", "warnings"),
    [
        ({}, []),
        ({"credentials": True, "private_network": True}, []),
        ({"echo_any_origin": True}, ["echo_any_origin"]),
        ({"echo_any_origin": True, "override": True}, ["echo_any_origin", "override"]),
    ],
)
def test_warnings(settings, warnings):
    """What is unsafe is said at start."""
    said_at_start = []
    build(Cors([A], **settings), Call(), make_context(warn=said_at_start.append))
    assert [text.rpartition("(")[2].rstrip(")") for text in said_at_start] == warnings


def test_twice():
    """Two of them for the same paths are one mistake: the first would decide alone."""
    inner = build(Cors([A]), Call(), make_context())
    with pytest.raises(ValueError, match="cors is there twice: name all origins in one"):
        build(Cors([B]), inner, make_context())


def test_stage():
    """The wrapper stands before any login."""
    assert FEATURE.stage < Stage.ADMISSION < Stage.AUTH


def test_pattern_is_quick():
    """A long origin is matched at once."""
    pattern = origin_pattern("https://*.a.example")
    assert not pattern.match(b"https://" + b"a." * 4000 + b"b")
    assert not pattern.match(b"https://" + b"a" * 8000 + b".example")
