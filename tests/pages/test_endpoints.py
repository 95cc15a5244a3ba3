"""
Trees of endpoints.
"""

import json

import pytest
from twisted.internet.task import Clock
from twisted.web.resource import Resource

from mixweb.assemble import Assembler
from mixweb.features.pages import PagesMount
from mixweb.features.respond import Respond
from mixweb.pages import Pages, RouteError
from mixweb.plan import Host, Plan
from mixweb.testing import SiteAgent


class Show:
    """Says which of its methods was called, and with what."""

    def __getattr__(self, name):
        if not name.startswith("do_"):
            raise AttributeError(name)
        return lambda ep: {"called": name, "root": ep.root, "sub": ep.sub, "args": ep.args, "n": ep.argslen}


class Reference:
    """The handlers of mixnmatchttp's page: what each would be called with."""

    def do_default(self, ep):
        return f"do_default({ep.sub!r}, {ep.args!r})"

    def do_refreshme(self, ep):
        return f"do_refreshme({ep.sub!r}, {ep.args!r})"

    def do_debug(self, ep):
        return f"do_debug({ep.sub!r}, {ep.args!r})"


TREE = {
    "default": {},
    "refreshme": {"$args": "?"},
    "debug": {"$allowed_methods": {"GET", "POST"}, "$args": 1, "sub": {"$args": "*", "$raw_args": True}},
}


def site_of(tree, handler=None, path="/", **options):
    """A site with a tree of endpoints."""
    site = Pages()
    site.endpoints(path, tree, handler or Show(), **options)
    return site


def mounted(site, at="/", **settings):
    """The site as a mount, a page of files' behind it."""
    files = Respond("files", at="/")
    plan = Plan(default=Host(PagesMount(site, at=at, **settings), files, without=["accesslog", "secureheaders"]))
    return SiteAgent(Assembler(Clock()).assemble(plan).root)


def in_a_tree(site, at="/"):
    """The site as a child of a resource of Twisted's."""
    if at == "/":
        return SiteAgent(site)
    root = Resource()
    root.putChild(at.strip("/").encode(), site)
    return SiteAgent(root)


#: Request, what is called or answered, and that with mixnmatchttp's codes.
FILE = "files"
TABLE = [
    ("GET /debug/sub/..//foo/../bar/./baz", "do_debug('sub', '..//foo/../bar/./baz')", None),
    ("GET /debug/foo/../bar", "do_debug('', 'bar')", None),
    ("GET /debug/../bar", FILE, None),
    ("GET /debug/../default", "do_default('', '')", None),
    ("POST /default", 405, None),
    ("GET /debug/foo/bar", 404, None),
    ("GET /debug", 400, 404),
    ("GET /debug/", 400, 404),
    ("GET /refreshme", "do_refreshme('', '')", None),
    ("GET /refreshme/5", "do_refreshme('', '5')", None),
    ("GET /refreshme/5/6", 404, None),
    ("GET //default", "do_default('', '')", None),
    ("GET /./default", "do_default('', '')", None),
    ("GET /x/../default", "do_default('', '')", None),
    ("GET /default/", "do_default('', '')", None),
    ("GET /debug//sub/..//x", "do_debug('sub', '..//x')", None),
    ("GET /debug/sub/%2e%2e/x", "do_debug('sub', '../x')", None),
    ("GET /debug/sub", "do_debug('sub', '')", None),
    ("GET /debug/sub?a=b/../c", "do_debug('sub', '')", None),
    ("GET /debug/sub/a?b", "do_debug('sub', 'a')", None),
    ("GET /%2e%2e/etc", FILE, None),
    ("GET /default/../nothing", FILE, None),
    ("GET /login///foo.baz/../..//default", "do_default('', '')", None),
    ("GET /", FILE, None),
    ("GET /DEFAULT", FILE, None),
    ("GET /debug/a+b", "do_debug('', 'a+b')", None),
    ("GET /debug/a%2Fb", "do_debug('', 'a/b')", None),
    ("POST /debug/x", "do_debug('', 'x')", None),
    ("OPTIONS /debug", 204, None),
    ("PUT /debug/x", 405, None),
    ("GET /debug/%FF", 400, None),
]


@pytest.mark.parametrize("at", ["/", "/there"])
@pytest.mark.parametrize("compat", ["", "mixnmatchttp"])
@pytest.mark.parametrize(("request_line", "result", "other"), TABLE)
def test_canonical_paths(request_line, result, other, compat, at):
    """A path is canonical up to a raw endpoint, the longest endpoint is called, and what is none is asked of the files."""
    method, target = request_line.split(" ")
    answer = mounted(site_of(TREE, Reference()), at, compat=compat).request(method, at.rstrip("/") + target)
    expected = other if compat and other else result
    found = answer.text if answer.status == 200 else answer.status
    if expected == FILE and at != "/" and target in ("/debug/../bar", "/%2e%2e/etc", "/default/../nothing"):
        assert found in (FILE, 404)
    else:
        assert found == expected


@pytest.mark.parametrize(("request_line", "result", "other"), TABLE)
def test_in_any_tree(request_line, result, other):
    """Without a mount that tells the server of raw endpoints, paths are the same."""
    method, target = request_line.split(" ")
    answer = in_a_tree(site_of(TREE, Reference())).request(method, target)
    assert (answer.text if answer.status == 200 else answer.status) == (404 if result == FILE else result)


def test_raw_arguments_both_ways():
    """Raw arguments are there decoded, and as they were sent."""

    class Both:
        def do_default(self, ep):
            return {"args": ep.args, "raw": ep.raw_args.decode(), "parts": list(ep.arguments), "q": ep.params}

    agent = mounted(site_of({"x": {"$raw_args": True, "$args": "+"}}, Both()))
    found = json.loads(agent.get("/x/%2e%2e//a%2Fb?q=1%26").body)
    assert found == {"args": "..//a/b", "raw": "%2e%2e//a%2Fb", "parts": ["..", "a", "b"], "q": {"q": "1&"}}
    assert agent.get("/x///").status == 400


def test_raw_below_a_variable():
    """A raw endpoint may stand below a variable segment."""
    agent = mounted(
        site_of({"x": {"$disabled": True, "*": {"$disabled": True, "raw": {"$raw_args": True, "$args": "*"}}}})
    )
    assert agent.get("/x/y/raw/..//z").text.endswith('"sub":"y/raw","args":"..//z","n":2}')
    assert agent.get("/x/y/other/../z").text == FILE


DEEP = {
    "a": {
        "$args": "?",
        "b": {"$allowed_methods": ["POST"], "c": {"d": {"$args": 2}}},
        "*": {"$name": "who", "$allowed_methods": ["GET", "PUT"], "special": {"*": {"$args": "*"}}},
    },
    "off": {"$disabled": True, "on": {}},
}


@pytest.mark.parametrize(
    ("request_line", "result"),
    [
        ("GET /a", ("do_GET_a", "a", "", "")),
        ("HEAD /a", None),
        ("GET /a/x", ("do_GET_a", "a", "x", "")),
        ("PUT /a/x", ("do_PUT_a", "a", "x", "")),
        ("PUT /a", 405),
        ("POST /a/b", ("do_POST_a_b", "a", "b", "")),
        ("GET /a/b", 405),
        ("GET /a/b/c", ("do_GET_a_b_c", "a", "b/c", "")),
        ("GET /a/b/c/d/1/2", ("do_GET_a_b_c_d", "a", "b/c/d", "1/2")),
        ("GET /a/b/c/d/1", 400),
        ("GET /a/b/c/d/1/2/3", 404),
        ("GET /a/b/c/x", 404),
        ("GET /a/x/special", ("do_GET_a_special", "a", "x/special", "")),
        ("GET /a/x/special/y/z", ("do_GET_a_special", "a", "x/special/y", "z")),
        ("GET /a/*", ("do_GET_a", "a", "*", "")),
        ("GET /off", FILE),
        ("GET /off/x", FILE),
        ("GET /off/on", ("do_GET_off_on", "off", "on", "")),
        ("OPTIONS /a/b/c/d", 204),
    ],
)
def test_deep_trees(request_line, result):
    """Trees nest without limit; names come before variable segments, and the longest endpoint is called."""
    method, target = request_line.split(" ")
    answer = mounted(site_of(DEEP)).request(method, target)
    if isinstance(result, tuple):
        called, root, sub, args = result
        assert answer.text.startswith(f'{{"called":"{called}","root":"{root}","sub":"{sub}","args":"{args}"')
    elif result is not None:
        assert (answer.text if answer.status == 200 else answer.status) == result


class Specific:
    """Handlers from the most specific to the least."""

    def do_GET_foo_bar_baz(self, ep):
        return "GET_foo_bar_baz"

    def do_foo_bar_baz(self, ep):
        return "foo_bar_baz"

    def do_GET_foo_bar(self, ep):
        return "GET_foo_bar"

    def do_foo(self, ep):
        return "foo"

    def do_HEAD_foo(self, ep):
        return "x" * 5

    def do_default(self, ep):
        return "default"


@pytest.mark.parametrize(
    ("request_line", "result"),
    [
        ("GET /foo/bar/baz", "GET_foo_bar_baz"),
        ("POST /foo/bar/baz", "foo_bar_baz"),
        ("GET /foo/bar", "GET_foo_bar"),
        ("POST /foo/bar", "foo"),
        ("GET /foo", "foo"),
        ("GET /else", "default"),
        ("GET /two-words", "default"),
    ],
)
def test_handlers(request_line, result):
    """The most specific handler is called: of the method before that of any, of the whole path before a part of it."""
    method, target = request_line.split(" ")
    both = {"$allowed_methods": ["GET", "POST"]}
    tree = {"foo": {**both, "bar": {**both, "baz": both}}, "else": {}, "two-words": {}}
    agent = mounted(site_of(tree, Specific()))
    assert agent.request(method, target).text == result
    assert agent.request("HEAD", "/foo")["Content-Length"] == "5"


def test_root():
    """The root may be an endpoint, too, and take everything below it."""
    agent = mounted(site_of({"$disabled": False, "$args": "*", "x": {}}))
    assert agent.get("/").text.startswith('{"called":"do_default","root":"","sub":"","args":""')
    assert agent.get("/a/b").text.startswith('{"called":"do_default","root":"","sub":"","args":"a/b"')


def test_arguments_by_signature():
    """A handler gets the endpoint, and further arguments by name: variable segments, query, form, JSON."""

    class Typed:
        async def do_a(self, ep, who: str, n: int = 1, **more):
            return f"{ep.root} {who} {n} {more}"

    agent = mounted(
        site_of({"a": {"$disabled": True, "*": {"$name": "who", "$allowed_methods": ["GET", "POST"]}}}, Typed())
    )
    assert agent.get("/a/alice?n=3&x=y").text == "a alice 3 {'x': 'y'}"
    assert agent.request("POST", "/a/bob", {"Content-Type": "application/json"}, b'{"n": 5}').text == "a bob 5 {}"
    assert agent.get("/a/alice?n=x").status == 400


def test_required():
    """Required parameters are asked for by name, in query, form or JSON; all that are missing are named."""
    tree = {"a": {"$required": ["x", "y"], "$allowed_methods": ["GET", "POST"]}}
    agent = mounted(site_of(tree))
    assert agent.get("/a?x=1&y=").status == 200
    assert (agent.get("/a").status, agent.get("/a").text.split("\n")[1]) == (400, "x: missing; y: missing.")
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert agent.request("POST", "/a?x=1", form, b"y=2").status == 200
    assert agent.request("POST", "/a", {"Content-Type": "application/json"}, b'{"x": 1}').status == 400
    assert agent.request("POST", "/a", {"Content-Type": "application/json"}, b"{").status == 400


def test_methods_are_sorted():
    """Who asks in another way is told what is allowed, sorted."""
    answer = mounted(site_of(TREE)).request("DELETE", "/debug/x")
    assert (answer.status, answer["Allow"]) == (405, "GET, HEAD, OPTIONS, POST")
    assert mounted(site_of(TREE)).request("BREW", "/debug/x").status == 501


def test_case():
    """Names may match whatever their case, and values be made lower case."""
    tree = {"Foo": {"*": {"$name": "who", "BAR": {}}}}
    agent = mounted(site_of(tree, ignore_case=True))
    assert agent.get("/fOO/Alice/bar").text.startswith('{"called":"do_GET_Foo_BAR","root":"fOO"')

    class Who:
        def do_default(self, ep, who=""):
            return who

    assert mounted(site_of(tree, Who(), ignore_case=True)).get("/foo/Alice").text == "Alice"
    assert mounted(site_of(tree, Who(), ignore_case_of_variables=True)).get("/Foo/Alice").text == "alice"
    assert mounted(site_of(tree, Who())).get("/foo/Alice").text == FILE


class Hooks(Show):
    """With the hooks of mixnmatchttp's page."""

    def denied(self, path):
        if path == "/forbidden" or path.startswith("/forbidden/"):
            return (403, None, "Access denied")
        return (451, "Gone.") if path == "/law" else None

    def no_cache(self, path):
        return not path.endswith(".js")

    def send_custom_headers(self, request):
        request.setHeader("X-Foo", "Foobar")


@pytest.mark.parametrize(
    ("path", "status", "cached"),
    [
        ("/default", 200, False),
        ("/forbidden", 403, False),
        ("/x/..//forbidden/secret", 403, False),
        ("/forbiddenx", 200, False),
        ("/law", 451, False),
        ("/some.js", 200, True),
        ("/some.txt", 200, False),
    ],
)
def test_hooks(path, status, cached):
    """Hooks deny paths, forbid caching and add headers: for endpoints, and for what is mounted behind."""
    answer = mounted(site_of(TREE, Hooks())).get(path)
    assert answer.status == status
    if status == 200:
        assert answer["X-Foo"] == "Foobar"
        assert answer["Cache-Control"] == (None if cached else "no-cache, no-store, must-revalidate")
        assert (answer["Pragma"], answer["Expires"]) == ((None, None) if cached else ("no-cache", "0"))
    else:
        assert ("Access denied" in answer.text) == (status == 403)


def test_composition():
    """Trees are put together by mounting: the first one that has an endpoint answers."""
    site = Pages()
    site.endpoints("/", {"a": {}, "b": {}}, type("One", (), {"do_default": lambda self, ep: "one"})())
    site.endpoints("/", {"b": {}, "c": {}}, type("Two", (), {"do_default": lambda self, ep: "two"})())
    site.endpoints("/deep/er", {"c": {}}, type("Three", (), {"do_default": lambda self, ep: "three"})())
    site.route("/route")(lambda: "route")
    agent = mounted(site)
    paths = ["/a", "/b", "/c", "/deep/er/c", "/route", "/deep/er/d"]
    assert [agent.get(path).text for path in paths] == ["one", "one", "two", "three", "route", FILE]


def test_conflicts_with_routes():
    """A route at the path of an endpoint is an error that names both places."""
    site = Pages()
    site.route("/a")(lambda: "route")
    site.route("/b", methods=["POST"])(lambda: "another method")
    site.route("/<c>")(lambda c: "a variable")
    site.endpoints("/", {"a": {}, "b": {}, "c": {}}, Show())
    said = rf"{__file__}:\d+: GET /a is an endpoint here, and .*lambda> at {__file__}:\d+"
    with pytest.raises(RouteError, match=said) as caught:
        site.ready()
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({"a": {"$arg": 1}}, r"/a has \$arg, which is no attribute; there are \$args"),
        ({"a": {"$args": "x"}}, r"/a: \$args must be a number"),
        ({"a": {"$args": -1}}, r"\$args must be"),
        ({"a": {"$args": True}}, r"\$args must be"),
        ({"a": {"$raw_args": 1}}, r"\$raw_args must be True or False"),
        ({"a": {"$raw_args": True, "b": {}}}, r"/a has \$raw_args: it cannot have endpoints below"),
        ({"a": {"$allowed_methods": ["get"]}}, "'get' is no method"),
        ({"a": {"$required": "x"}}, r"\$required must be a list"),
        ({"a": []}, "'a' below / must be a dict"),
        ({"a/b": {}}, "'a/b' below / is no name"),
        ({"..": {}}, "no name of an endpoint"),
        ({"a_b": {}, "a": {"b": {}}}, "/a_b and /a/b would both be handled by do_a_b"),
    ],
)
def test_malformed(tree, said):
    """What is wrong with a tree is said when it is declared, with its place."""
    with pytest.raises(RouteError, match=said) as caught:
        site_of(tree)
    assert str(caught.value).startswith(f"{__file__}:")


def test_more_that_is_wrong():
    """An endpoint without a handler, an unknown annotation, a case that cannot be ignored: all are said at once."""

    class Little:
        def do_GET_a(self, ep):
            pass

    with pytest.raises(RouteError, match=r"nothing handles POST /a: Little has no do_POST_a"):
        site_of({"a": {"$allowed_methods": ["GET", "POST"]}}, Little())

    class Wrong:
        def do_a(self, ep, x: complex):
            pass

    with pytest.raises(RouteError, match="complex cannot be made"):
        site_of({"a": {}}, Wrong())
    with pytest.raises(RouteError, match="ignore_case must be false"):
        site_of({"a": {"$raw_args": True}}, ignore_case=True)
    with pytest.raises(RouteError, match="there twice"):
        site_of({"a": {}, "A": {}}, ignore_case=True)
    with pytest.raises(RouteError, match="compat must be"):
        site_of({"a": {}}, compat="x")


def test_they_are_listed():
    """An application tells its endpoints with their arguments."""
    rows = [
        (methods, path) for methods, path, *_ in site_of({**TREE, "two": {"$args": 2}, "some": {"$args": "+"}}).routes
    ]
    assert rows == [
        ("GET", "/default"),
        ("GET", "/refreshme[/ARG]"),
        ("GET, POST", "/debug/ARG"),
        ("GET", "/debug/sub/..."),
        ("GET", "/two/ARG/ARG"),
        ("GET", "/some/ARG..."),
    ]


def test_each_site_has_its_own():
    """Two sites may declare the same tree; what one is told is not the other's."""
    one, two = site_of(TREE, Reference(), path="/x"), site_of(TREE, Reference(), path="/y")
    assert mounted(one).get("/x/default").status == mounted(two).get("/y/default").status == 200
    assert mounted(one).get("/y/default").text == FILE
