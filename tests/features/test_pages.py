"""
Applications as mounts.
"""

import sys

import pytest
from twisted.internet.task import Clock

from mixweb.assemble import Assembler, BuildError
from mixweb.features.headers import Headers
from mixweb.features.pages import PagesMount, app_of
from mixweb.features.respond import Respond
from mixweb.pages import Pages, Session, User, make_app
from mixweb.plan import Host, Plan
from mixweb.testing import SiteAgent

SHOP = """
from mixweb.pages import Pages, route

site = Pages()
other = site

@site.route("/hi", name="hi")
def hi(name: str = "you") -> str:
    return f"Hi {name}, {site.reverse_url('hi')}"

def make():
    return site

def fail():
    raise KeyError("x")

number = 5
"""

DECLARED = """
from mixweb.pages import route

@route("/declared")
def declared() -> str:
    return "declared"
"""


def sample(folder, **changes):
    """Settings to try the feature with."""
    site = Pages()
    site.route("/")(lambda: "pages")
    site.route("/to/<raw:rest>")(lambda rest: b"")
    site.route("/take", methods=["POST"])(lambda text="": text)
    return PagesMount(site, **changes)


@pytest.fixture
def modules(tmp_path):
    """A folder of modules that are forgotten in the end."""
    (tmp_path / "pages_shop.py").write_text(SHOP)
    (tmp_path / "pages_declared.py").write_text(DECLARED)
    (tmp_path / "pages_two.py").write_text("from mixweb.pages import Pages\na = Pages()\nb = Pages()\n")
    (tmp_path / "pages_wrong.py").write_text("import nonesuch\n")
    before = list(sys.path)
    yield tmp_path
    sys.path[:] = before
    for name in [name for name in sys.modules if name.startswith("pages_")]:
        del sys.modules[name]


def agent(*settings, warnings=None):
    """A server with these mounts and wrappers."""
    tree = Assembler(Clock()).assemble(Plan(default=Host(*settings, without=["accesslog", "secureheaders"])))
    if warnings is not None:
        warnings += tree.warnings
    return SiteAgent(tree.root)


@pytest.mark.parametrize("name", ["pages_shop:site", "pages_shop:make", "pages_shop", "pages_shop.site"])
def test_by_name(name, modules):
    """An application is found by its name, that of what makes it, or that of its module; its module in a folder."""
    browser = agent(PagesMount(name, folder=modules, at="/shop"), Respond("behind"))
    assert browser.get("/shop/hi?name=me").text == "Hi me, /shop/hi"
    assert browser.get("/shop/none").text == browser.get("/").text == "behind"


def test_of_declarations(modules):
    """A module that has no application but declares routes is one."""
    assert agent(PagesMount("pages_declared", folder=modules)).get("/declared").text == "declared"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("pages_shop:nonesuch", "module 'pages_shop' has no 'nonesuch'"),
        ("pages_shop:number", "'pages_shop:number' is no mixweb.pages.Pages but int"),
        ("pages_shop:fail", "could not be called without arguments: KeyError: 'x'"),
        ("pages_two", "'pages_two' has several applications: pages_two:a, pages_two:b"),
        ("pages_wrong", "importing 'pages_wrong' failed: ModuleNotFoundError"),
        ("pages none", "no Python name"),
    ],
)
def test_not_found(name, said, modules):
    """What is no application is said at start."""
    with pytest.raises(BuildError, match=said):
        agent(PagesMount(name, folder=modules))


def test_settings():
    """Settings that make no sense are refused."""
    for values, said in [({"app": ""}, "app must be"), ({"app": "x", "compat": "y"}, "compat must be")]:
        with pytest.raises(ValueError, match=said):
            PagesMount(**values)
    with pytest.raises(BuildError, match="'nofolder' does not exist"):
        agent(PagesMount("x:y", folder="nofolder"))


def test_wrong_handlers_are_said_at_start():
    """Conflicts and annotations are errors at start, each with its place, all at once."""
    site = Pages()

    @site.route("/a")
    def first(value: complex) -> str:
        return ""

    site.route("/a")(lambda: "")
    with pytest.raises(
        BuildError, match=rf"(?s){__file__}:\d+: .*complex.*{__file__}:\d+: GET /a is .* and .*first at"
    ):
        agent(PagesMount(site))


def test_needs():
    """What handlers ask for by type has to be in front; else it is said at start what to add, and for whom."""
    site = Pages()

    @site.route("/a")
    def a(session: Session, user: User | None = None) -> str:
        return ""

    with pytest.raises(
        BuildError, match=rf"{__file__}:\d+: asks for what the session feature gives: add --session"
    ) as caught:
        agent(PagesMount(site))
    assert "auth" not in str(caught.value)


def test_wishes():
    """Settings that only a feature can fulfil are told of, unless it is there."""
    warnings = []
    app = make_app([], {"session_engine": "in-memory", "xsrf_cookies": True, "gzip": False})
    agent(PagesMount(app), Headers(), warnings=warnings)
    assert warnings == [
        f"pages: the setting {setting!r} of {app} does nothing by itself: add --{feature}"
        for feature, setting in [("session", "session_engine"), ("csrf", "xsrf_cookies")]
    ]


def test_raw_targets():
    """Raw variables hold for the server, too: wrappers see the path that the application sees."""
    browser = agent(sample(None, at="/x"), Respond("behind"))
    assert browser.get("/x/to/..//y").status == 200
    assert browser.get("/x/to/..//y").text == ""
    assert browser.get("/y/to/../../x/").text == "pages"


def test_several():
    """Several applications live on one server."""
    sites = [Pages() for _ in range(2)]
    for number, site in enumerate(sites):
        site.route("/", name="home")(lambda number=str(number), site=site: f"{number} {site.reverse_url('home')}")
    browser = agent(PagesMount(sites[0], at="/a"), PagesMount(sites[1], at="/b"))
    assert [browser.get(path).text for path in ("/a/", "/b/")] == ["0 /a/", "1 /b/"]
    assert browser.get("/a")["Location"] == "/a/"
    assert app_of("x", sites[0]) is sites[0]
