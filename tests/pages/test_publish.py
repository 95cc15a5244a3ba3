"""
Objects as trees of pages.
"""

import pytest

from mixweb.pages import Pages, Query, Request, RouteError, Upload, expose
from mixweb.testing import SiteAgent


class Admin:
    """A folder."""

    @expose
    def index(self) -> str:
        return "admin"

    @expose("start.html")
    def start(self) -> str:
        return "start"


class Strings:
    """Pages, a folder, and what is none."""

    hidden = "x"
    number = 5

    def __init__(self):
        self.admin = Admin()
        self.admin.parent = self

    @expose(["generer", "generar"])
    def generate(self, length: int = 8) -> str:
        return "x" * length

    @expose
    def index(self, name: str = "nobody") -> str:
        return f"index for {name}"

    @expose()
    async def two(self, a: str, b: str = "-", c: Query[str] = "-") -> str:
        return f"{a} {b} {c}"

    @expose
    def rest(self, a: str, *others: str) -> str:
        return f"{a} {others}"

    @expose
    def ask(self, request: Request, n: int = 0) -> str:
        return f"{request.method.decode()} {n}"

    @expose
    def take(self, file: Upload) -> str:
        return file.name

    @expose
    def default(self, *path: str) -> str:
        return f"default {path}"

    def secret(self) -> str:
        return "secret"

    @property
    def broken(self):
        raise AssertionError("a property is not looked at")

    @expose
    def _private(self) -> str:
        return "private"


@pytest.mark.parametrize(
    ("target", "result"),
    [
        ("/s/generate", "xxxxxxxx"),
        ("/s/generer?length=2", "xx"),
        ("/s/generar/3", "xxx"),
        ("/s/generate/x", 400),
        ("/s/", "index for nobody"),
        ("/s/?name=you", "index for you"),
        ("/s/two/1/2?c=3&b=4", "1 2 3"),
        ("/s/two/1?b=4", "1 4 -"),
        ("/s/two", 400),
        ("/s/rest/1/2/3", "1 ('2', '3')"),
        ("/s/rest/1", "1 ()"),
        ("/s/ask/5", "GET 5"),
        ("/s/admin/", "admin"),
        ("/s/admin/start", "start"),
        ("/s/admin/start.html", "start"),
        ("/s/admin/start_html", "start"),
        ("/s/else/where", "default ('else', 'where')"),
        ("/s/secret", "default ('secret',)"),
        ("/s/_private", "default ('_private',)"),
        ("/s/hidden", "default ('hidden',)"),
        ("/s/admin", "default ('admin',)"),
        ("/", 404),
    ],
)
def test_published(target, result):
    """Exposed methods are pages under all their names, attributes with some are folders, everything else is hidden."""
    site = Pages()
    site.publish("/s", Strings())
    answer = SiteAgent(site).get(target)
    assert (answer.text if answer.status == 200 else answer.status) == result


def test_at_the_root():
    """An object may be published at the root; its pages answer GET and POST."""
    site = Pages()
    site.publish("/", Admin())
    agent = SiteAgent(site)
    assert (agent.get("/").text, agent.get("/start").text) == ("admin", "start")
    assert agent.request("POST", "/start").text == "start"
    assert agent.request("DELETE", "/start")["Allow"] == "GET, HEAD, OPTIONS, POST"


def test_a_slash_is_added():
    """The path of a folder without its slash leads to the one with it."""
    site = Pages()
    site.publish("/s", Admin())
    assert SiteAgent(site).get("/s")["Location"] == "/s/"


def test_nothing_is_exposed():
    """Publishing what has no page is an error with the place."""
    with pytest.raises(RouteError, match=rf"{__file__}:\d+: object has nothing with @expose"):
        Pages().publish("/", object())


def test_wrong_annotations():
    """What is wrong with an exposed method is said with its place."""

    class Wrong:
        @expose
        def page(self, value: complex):
            pass

    site = Pages()
    site.publish("/", Wrong())
    with pytest.raises(RouteError, match=rf"{__file__}:\d+: .*Wrong.page: parameter 'value': complex"):
        site.ready()
