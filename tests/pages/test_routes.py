"""
Which route answers, and what is said when two would.
"""

import re

import pytest
from twisted.web.resource import Resource

from mixweb.engine.errors import Declined
from mixweb.pages import Page, Pages, Request, RouteError, make_app, route, wrapped
from mixweb.pages.patterns import make_pattern
from mixweb.pages.routes import Node, Place, Route, RouteTable
from mixweb.testing import SiteAgent
from mixweb.wrapper import Leaf, Wrapper

GET = frozenset([b"GET"])


def table(*patterns):
    """A table with routes that are called like their patterns."""
    made = RouteTable()
    for pattern in patterns:
        made.add(Route(make_pattern(pattern), pattern, GET, Place("x.py", 1)))
    return made


PATHS = [
    "/", "/a", "/a/", "/a/b", "/<name>", "/<int:number>", "/<float:number>", "/<uuid:id>", "/a/<name>/c", "/a/b/<int:number>",
    "/files/<path:rest>", "/to/<raw:address>", re.compile(r"/(x|y)/z"), re.compile(r"/.*\.txt"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "found", "values"),
    [
        ("", None, ()),
        ("/", "/", ()),
        ("/a", "/a", ()),
        ("/a/", "/a/", ()),
        ("/a/b", "/a/b", ()),
        ("/b", "/<name>", ("b",)),
        ("/12", "/<int:number>", (12,)),
        ("/1.5", "/<float:number>", (1.5,)),
        ("/12345678-1234-5678-1234-567812345678", "/<uuid:id>", ()),
        ("/a/x/c", "/a/<name>/c", ("x",)),
        ("/a/b/c", "/a/<name>/c", ("b",)),
        ("/a/b/3", "/a/b/<int:number>", (3,)),
        ("/a/b/x", None, ()),
        ("/files/", "/files/<path:rest>", ("",)),
        ("/files/a/b", "/files/<path:rest>", ("a/b",)),
        ("/files", "/<name>", ("files",)),
        ("/x/z", r"/(x|y)/z", ("x",)),
        ("/q/w.txt", r"/.*\.txt", ()),
        ("/q/w", None, ()),
        ("/b/", None, ()),
    ],
)
def test_table(path, found, values):
    """A name comes before a variable, a narrow kind before a wide one, an expression last; what leads nowhere is left."""
    got = table(*PATHS).find([part.encode() for part in path.split("/")[1:]])
    if found is None:
        assert got is None
        return
    target = got[0][b"GET"].target
    assert getattr(target, "pattern", target) == found
    assert got[1] == values or found == "/<uuid:id>"


def test_raw():
    """What follows a raw prefix is not looked at."""
    made = table(*PATHS, "/raw/<name>/<raw:rest>")
    assert made.raw_prefixes == [(b"to",), (b"raw", None)]
    assert made.find([b"to"], b"//e.com/../x")[1] == (b"//e.com/../x",)
    assert made.find([b"raw", b"n"], b"")[1] == ("n", b"")
    assert made.find([b"elsewhere"], b"x") is None


def test_steps(monkeypatch):
    """However many routes there are, a path costs a step for each of its segments."""
    made = table(*[f"/p{number}/<name>/end" for number in range(1000)])
    steps = []
    find = Node.find
    monkeypatch.setattr(Node, "find", lambda self, *rest: steps.append(rest[1]) or find(self, *rest))
    assert made.find([b"p7", b"x", b"end"])[1] == ("x",)
    assert steps == [0, 1, 2, 3]


def answers(site, *paths, method="GET", **headers):
    """What a site says at paths: the body of a 200, else the status."""
    agent = SiteAgent(site)
    found = [agent.request(method, path, headers) for path in paths]
    return [answer.text if answer.status == 200 else answer.status for answer in found]


def test_functions_methods_and_classes():
    """Functions, bound methods and classes of pages can be routed to, under several names."""
    site = Pages()

    @site.route("/hi", aliases=["/salut", "/hola"])
    def hi() -> str:
        return "hi"

    class Shop:
        def open(self) -> str:
            return "open"

    site.route("/open")(Shop().open)

    @site.route("/page")
    class Hello(Page):
        def get(self) -> str:
            return "got"

        def post(self) -> str:
            return "posted"

    assert answers(site, "/hi", "/salut", "/hola", "/open", "/page") == ["hi", "hi", "hi", "open", "got"]
    assert answers(site, "/page", "/hi", method="POST") == ["posted", 405]
    assert hi() == "hi"


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/get", 200, None),
        ("HEAD", "/get", 200, None),
        ("POST", "/get", 405, "GET, HEAD, OPTIONS"),
        ("OPTIONS", "/get", 204, "GET, HEAD, OPTIONS"),
        ("BREW", "/get", 501, None),
        ("PUT", "/put", 200, None),
        ("DELETE", "/put", 200, None),
        ("GET", "/put", 405, "DELETE, OPTIONS, PUT"),
        ("HEAD", "/put", 405, "DELETE, OPTIONS, PUT"),
        ("OPTIONS", "/own", 200, None),
        ("BREW", "/own", 200, None),
    ],
)
def test_methods(method, path, status, allow):
    """Other methods than those of a path are told which it has; OPTIONS can be answered by oneself."""
    site = Pages()
    site.route("/get")(lambda: "got")
    site.route("/put", methods=["PUT"])(lambda: "put")
    site.route("/put", methods=["DELETE"])(lambda: "gone")
    site.route("/own", methods=["OPTIONS", "BREW"])(lambda: "own")
    answer = SiteAgent(site).request(method, path)
    assert (answer.status, answer["Allow"]) == (status, allow)


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/a/?q=1&r=%20", "/a?q=1&r=%20"),
        ("/b", "/b/"),
        ("/n/3/", "/n/3"),
        ("/%C3%A9/", "/%C3%A9"),
        ("//evil.example/..//a/", "/a"),
    ],
)
def test_slashes(path, location):
    """A path with a slash too many or too few is redirected to the one that there is, for good and with its method."""
    site = Pages()
    for known in ("/a", "/b/", "/n/<int:n>", "/é"):
        site.route(known)(lambda **given: "x")
    answer = SiteAgent(site).get(path)
    assert (answer.status, answer["Location"]) == (308, location)


def test_variables_are_decoded():
    """A segment is decoded once, and a slash inside it stays there."""
    site = Pages()
    site.route("/one/<name>")(lambda name: name)
    site.route("/rest/<path:name>")(lambda name: name)
    assert answers(site, "/one/a%2Fb", "/one/a+b%2520", "/one/%FF", "/rest/a%20b/%C3%A9") == [
        "a/b",
        "a+b%20",
        404,
        "a b/é",
    ]
    assert answers(site, "/rest/..%2f..%2fetc", "/rest/a%00b") == [404, 404]


def test_raw_variables():
    """A raw variable has the rest of the target as it was sent, wherever the application stands."""
    site = Pages()
    site.route("/to/<raw:address>")(lambda address: address)
    root = Resource()
    root.putChild(b"x", site)
    for agent, base in ((SiteAgent(site), ""), (SiteAgent(root), "/x")):
        assert agent.get(f"{base}/to///e.com/../%2e//x?q=/../y").body == b"//e.com/../%2e//x?q=/../y"
        assert agent.get(f"{base}/y/..//to/").body == b""


def test_names():
    """A named route has a URL, with the path of the application before it."""
    site = Pages()
    site.route("/people/<int:person>/age", name="age")(lambda person: site.reverse_url("age", person + 1))
    assert site.reverse_url("age", 5) == site.reverse_url("age", person=5) == "/people/5/age"
    root = Resource()
    root.putChild(b"sh op", site)
    assert answers(root, "/sh%20op/people/5/age") == ["/sh%20op/people/6/age"]
    site.mounted_at("/shop")
    assert site.reverse_url("age", 5) == "/shop/people/5/age"
    with pytest.raises(KeyError, match="no route is named 'height'; there are age"):
        site.reverse_url("height")


def test_hosts():
    """A route may exist for one host, or all below one; the others of the application exist there too."""
    site = Pages()
    site.route("/")(lambda: "any")
    site.route("/common")(lambda: "common")
    site.route("/", host="shop.example")(lambda: "shop")
    site.route("/", host="*.shop.example")(lambda: "below")
    hosts = ["localhost", "shop.example", "SHOP.example:8080", "a.shop.example", "other.example"]
    assert [answers(site, "/", Host=host)[0] for host in hosts] == ["any", "shop", "shop", "below", "any"]
    assert answers(site, "/common", Host="shop.example") == ["common"]


def line_of(text):
    """The line of this file that has a text in it."""
    with open(__file__) as file:
        return next(number for number, line in enumerate(file, 1) if text in line and "line_of" not in line)


def test_conflicts():
    """Two handlers for one path and method are an error that names both places, and all such errors come at once."""
    site = Pages()
    site.route("/same/<a>")(lambda a: "one")  # first
    site.route("/same/<b>", methods=["GET", "PUT"])(lambda b: "two")  # second
    site.route("/same/<int:b>")(lambda b: "another kind is no conflict")
    site.route("/same/<b>", methods=["POST"])(lambda b: "nor is another method")
    site.route(re.compile("/x"))(lambda: "one")
    site.route(re.compile("/x"))(lambda: "two")
    site.route("/named", name="n")(lambda: "one")
    site.route("/other", name="n")(lambda: "two")
    site.route("no slash")(lambda: "three")
    site.route("/method", methods=["get"])(lambda: "four")
    site.route("/host", host="a b")(lambda: "five")
    with pytest.raises(RouteError) as caught:
        site.ready()
    problems = caught.value.problems
    assert len(problems) == 6
    assert problems[0].startswith(
        f"{__file__}:{line_of('# second')}: GET /same/<b> is test_conflicts.<locals>.<lambda> here"
    )
    assert problems[0].endswith(f"at {__file__}:{line_of('# first')}")
    said = [
        "GET /x",
        "the name 'n' is taken",
        "must begin with a slash",
        "'get' is no method",
        "'a b' is not a host name",
    ]
    assert all(text in problem for text, problem in zip(said, problems[1:], strict=True))


def test_methods_are_text():
    """One method may be given as text."""
    site = Pages()
    site.route("/put", methods="PUT")(lambda: "put")
    assert answers(site, "/put", method="PUT") == ["put"]


class Shop:
    """Declares pages with its methods."""

    def __init__(self, name):
        self.name = name

    @route("/open", aliases=["/offen"])
    def open(self) -> str:
        return f"{self.name} is open"

    @route("/<int:item>", methods=["GET", "DELETE"])
    def item(self, item: int, request: Request) -> str:
        return f"{request.method.decode()} {self.name} {item}"


class LateShop(Shop):
    """Takes a page away and changes another."""

    open = None

    @route("/<int:item>")
    def item(self, item: int) -> str:
        return f"late {item}"


def test_methods_of_objects():
    """An application takes in what the methods of an object have declared; a subclass may change them."""
    site = Pages()
    site.include(Shop("a"))
    assert answers(site, "/open", "/offen", "/3") == ["a is open", "a is open", "GET a 3"]
    assert answers(site, "/3", method="DELETE") == ["DELETE a 3"]
    late = Pages()
    late.include(LateShop("b"))
    assert answers(late, "/open", "/3") == [404, "late 3"]


def test_several_applications(tmp_path, monkeypatch):
    """Modules declare pages for whichever application takes them in; several live in one process."""
    monkeypatch.syspath_prepend(tmp_path)
    package = tmp_path / "some_pages"
    package.mkdir()
    (package / "__init__.py").write_text("from mixweb.pages import route\n@route('/a')\ndef a(): return 'a'\n")
    (package / "more.py").write_text(
        "from mixweb.pages import Page, get_app, route\n@route('/b')\nclass B(Page):\n"
        "    def get(self): return f'b of {get_app().settings[\"name\"]}'\n"
    )
    (tmp_path / "other_pages.py").write_text(
        "from mixweb.pages import route\n@route('/a')\ndef a(): return 'other a'\n"
    )
    one = make_app(["some_pages"], {"name": "one"})
    two = make_app("some_pages.more", {"name": "two"})
    three = make_app("other_pages")
    assert answers(one, "/a", "/b") == ["a", "b of one"]
    assert answers(two, "/a", "/b") == [404, "b of two"]
    assert answers(three, "/a", "/b") == ["other a", 404]
    with pytest.raises(RouteError, match="GET /a is a here, and a at"):
        make_app(["some_pages", "other_pages"]).ready()
    with pytest.raises(ValueError, match="there is no module 'no_pages'"):
        make_app("no_pages")
    with pytest.raises(ValueError, match="no module but function"):
        make_app("some_pages.a")


class Counter(Wrapper):
    """Numbers answers."""

    def __init__(self, inner):
        super().__init__(inner)
        self.count = 0

    def handle(self, request):
        self.count += 1
        request.setHeader(b"X-Count", str(self.count).encode())
        self.forward(request)


class Closed(Wrapper):
    """Lets nobody in."""

    def handle(self, request):
        request.error(403, "Closed.")


def test_wrapped():
    """A page may have wrappers of its own in front of it, whose first is outermost; they see each request once."""
    site = Pages()

    @wrapped(Counter)
    @site.route("/counted/<int:n>", aliases=["/also/<int:n>"])
    def counted(n: int) -> str:
        return str(n)

    @site.route("/closed")
    @wrapped(Counter, Closed)
    class Never(Page):
        def get(self) -> str:
            raise AssertionError

    agent = SiteAgent(site)
    assert [(answer.text, answer["X-Count"]) for answer in map(agent.get, ["/counted/7", "/counted/8"])] == [
        ("7", "1"),
        ("8", "2"),
    ]
    assert agent.get("/also/7")["X-Count"] == "1"
    assert (agent.get("/closed").status, agent.get("/closed")["X-Count"]) == (403, "2")


class Late(Wrapper):
    """Forwards when it is told to."""

    waiting: list = []  # noqa: RUF012

    def handle(self, request):
        self.waiting.append(lambda: self.forward(request))


def test_wrapped_and_late():
    """A wrapper may wait: each request finds its own page again."""
    site = Pages()

    @site.route("/<int:n>")
    @wrapped(Late)
    def page(n: int) -> str:
        return site.url(str(n))

    agent = SiteAgent(site)
    exchanges = [agent.open("GET", f"/{n}") for n in (1, 2)]
    for forward in reversed(Late.waiting):
        forward()
    assert [exchange.answer.text for exchange in exchanges] == ["/1", "/2"]


class Say(Leaf):
    """Says what was left of the path."""

    def handle(self, request):
        if request.postpath == [b"declined"]:
            raise Declined
        request.complete(b"said " + b"/".join(request.postpath))


def test_mounts():
    """Resources may stand below an application; a route comes before them, and what they decline is not there."""
    site = Pages()
    site.mount("/say", Say())
    site.mount("/say/more", Say())
    site.route("/say/route")(lambda: "route")
    assert answers(site, "/say/route", "/say/x/y", "/say/more/x", "/say/declined", "/x") == [
        "route",
        "said x/y",
        "said x",
        404,
        404,
    ]
    assert answers(site, "/say/more/declined") == ["said more/declined"]


class Late404(Resource):
    """Declines once it has the body."""

    isLeaf = True

    def render(self, request):
        request.content.seek(0)
        raise Declined


def test_mounts_that_decline_late():
    """A resource may decline a request with a body, which it has waited for: the next one is asked."""
    inner, outer = Pages(), Pages()
    inner.mount("/a/b", Late404())
    inner.mount("/a", Late404())
    outer.mount("/", inner)
    outer.mount("/", Say())
    exchange = SiteAgent(outer).connect()
    exchange.heads.append(b"POST")
    exchange.send(b"POST /a/b/c HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab")
    assert exchange.answers() == []
    exchange.send(b"cd")
    assert exchange.answer.text == "said a/b/c"


def test_routes_are_listed():
    """An application tells what it answers, and where that stands."""
    site = Pages()
    site.route("/a/<int:item>", aliases=["/b/<int:item>"])(Shop("a").item)
    site.mount("/c", Say())
    rows = [(methods, path, handler) for methods, path, handler, _ in site.routes]
    item = f"{__name__}.Shop.item"
    assert rows == [("GET", "/a/<int:item>", item), ("GET", "/b/<int:item>", item), ("any", "/c/...", "Say")]
    assert all(place.file == __file__ for *_, place in site.routes)
