"""
Lists of what there is.
"""

import re
import sys

import pytest

from mixweb import cli

SHOP = """
from mixweb.pages import Page, Pages

site = Pages()


@site.route("/hi", host="a.example")
def hi(name: str) -> str:
    return name


@site.route("/<int:n>")
class Number(Page):
    def get(self, n: int) -> None:
        pass

    def post(self, n: int) -> None:
        pass
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with an application."""
    (tmp_path / "listed_shop.py").write_text(SHOP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("listed_shop", None)


def listed(capfd, *arguments, status=0):
    """What the command prints, columns parted by one blank."""
    assert cli.routes(arguments) == status
    said = capfd.readouterr()
    return [re.sub(" +", " ", line) for line in (said.err if status else said.out).splitlines()]


def test_of_a_configuration(folder, capfd):
    """Each host's mounts are listed, an application's routes one by one with methods, handler and place."""
    (folder / "site.toml").write_text(
        '[pages]\napp = "listed_shop:site"\nat = "/shop"\n[echo]\n[host."x.example".pages]\napp = "mixweb.pages.demo:site"\n'
    )
    lines = listed(capfd)
    assert lines == listed(capfd, "site.toml")
    assert lines[:6] == [
        "default",
        "GET a.example/shop/hi listed_shop.hi listed_shop.py:7",
        "GET, POST /shop/<int:n> listed_shop.Number listed_shop.py:12",
        "any /echo/... echo site.toml:4",
        "",
        "x.example",
    ]
    assert lines[6].startswith("GET /default mixweb.pages.demo.Demo.do_default ")
    assert lines[8].startswith("GET, POST /debug/ARG mixweb.pages.demo.Demo.do_debug ")


def test_of_an_application(folder, capfd):
    """The routes of an application are listed by its name."""
    for name in ("listed_shop:site", "listed_shop"):
        assert listed(capfd, name)[0] == "GET a.example/hi listed_shop.hi listed_shop.py:7"


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("listed_shop:none", "'listed_shop:none': module 'listed_shop' has no 'none'"),
        ("listed_wrong:site", "GET /a is b here, and a at"),
        ("none.toml", "none.toml: No such file or directory"),
    ],
)
def test_what_is_wrong(folder, capfd, what, said):
    """What is wrong is said in the place of a list."""
    (folder / "listed_wrong.py").write_text(
        "from mixweb.pages import Pages\nsite = Pages()\n@site.route('/a')\ndef a(): pass\n@site.route('/a')\ndef b(): pass\n"
    )
    assert said in listed(capfd, what, status=4)[0]
    sys.modules.pop("listed_wrong", None)
