"""
Applications as mounts.
"""

import re
import sys

import pytest
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher

from mixweb.assemble import Assembler, BuildError
from mixweb.features.csrf import Csrf
from mixweb.features.headers import Headers
from mixweb.features.pages import PagesMount, app_of
from mixweb.features.respond import Respond
from mixweb.features.session import Session as SessionFeature
from mixweb.pages import Page, Pages, Request, Session, User, make_app
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


def full(site, *wrappers):
    """A server with an application behind wrappers that keep something."""
    clock = Clock()
    plan = Plan(default=Host(PagesMount(site), *wrappers, without=["accesslog", "secureheaders"]))
    tree = Assembler(clock).assemble(plan)
    tree.services.startService()
    return SiteAgent(tree.root, clock=clock)


def cookies_of(answer):
    """The cookies that an answer sets, as a client sends them."""
    lines = answer.headers.getRawHeaders("Set-Cookie") or []
    return {"Cookie": "; ".join(line.partition(";")[0] for line in lines)}


def test_sessions():
    """A handler counts in the session of the feature, a page too; the log is tagged with it."""
    site = Pages()

    @site.route("/")
    def count(session: Session, request: Request) -> dict[str, int]:
        request.log.info("counted")
        session["n"] = session.get("n", 0) + 1
        return dict(session)

    @site.route("/page")
    class Count(Page):
        async def get(self) -> dict[str, int]:
            self.session["n"] += 10
            return dict(self.session)

    seen = []
    browser = full(site, SessionFeature())
    cookies = cookies_of(browser.get("/"))
    globalLogPublisher.addObserver(seen.append)
    try:
        assert [browser.get(path, cookies).text for path in ("/", "/page", "/")] == ['{"n":2}', '{"n":12}', '{"n":13}']
    finally:
        globalLogPublisher.removeObserver(seen.append)
    tags = {event["log_system"] for event in seen if event.get("log_format") == "counted"}
    assert len(tags) == 1
    assert re.fullmatch(r"127\.0\.0\.1-\w{6}", tags.pop())


@pytest.mark.parametrize("encoding", ["urlencoded", "multipart"])
def test_forms(encoding):
    """A form with the token is taken, also one with files; without, it is refused before the page is asked."""
    site = Pages()

    @site.route("/")
    class Asked(Page):
        def get(self) -> str:
            return self.xsrf_form_html()

        def post(self, title: str) -> str:
            return f"{title} {len(self.files.get('file', []))}"

    browser = full(site, Csrf())
    page = browser.get("/")
    field, token = re.search(r'name="([^"]+)" value="([^"]+)"', page.text).groups()
    for value, status in [(token, 200), ("wrong", 403)]:
        if encoding == "urlencoded":
            kind, body = "application/x-www-form-urlencoded", f"title=x&{field}={value}".encode()
        else:
            parts = {f'name="{field}"': value, 'name="title"': "x", 'name="file"; filename="a"': "y" * 1000}
            body = "".join(
                f"--b\r\nContent-Disposition: form-data; {name}\r\n\r\n{text}\r\n" for name, text in parts.items()
            )
            kind, body = "multipart/form-data; boundary=b", f"{body}--b--\r\n".encode()
        answer = browser.request("POST", "/", {**cookies_of(page), "Content-Type": kind}, body)
        assert answer.status == status
        assert status == 403 or answer.text == f"x {int(encoding == 'multipart')}"
