"""
Any resource by its Python name.
"""

import sys

import pytest
from twisted.web.static import Data

from mixweb.assemble import Mounts
from mixweb.features.resource_class import FEATURE, ResourceClass
from mixweb.testing import SiteAgent, make_context

MODULE = """
from twisted.web.resource import Resource
from twisted.web.static import Data

class Page(Resource):
    isLeaf = True
    def render_GET(self, request):
        return f"{id(self)} {request.prepath} {request.postpath}"

class Named(Page):
    def __init__(self, name):
        super().__init__()

class Klein:
    def resource(self):
        return Page()

class Broken(Resource):
    def __init__(self):
        1 / 0

instance = Page()
app = Klein()
text = "text"

def make_text():
    return text
"""


def sample(folder, **changes):
    """Settings to try the feature with."""
    return ResourceClass("twisted.web.demo.Test", **changes)


@pytest.fixture(autouse=True)
def module(tmp_path, monkeypatch):
    """The module ``mypages`` in the current directory."""
    (tmp_path / "mypages.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    sys.modules.pop("mypages", None)


@pytest.mark.parametrize("name", ["mypages.Page", "mypages:Page", "mypages.instance", "mypages.app.resource"])
def test_found(name):
    """A class, an instance and a function that makes one are the same resource for each request."""
    mount = FEATURE.build(ResourceClass(name, at="/app"), make_context())
    asked = SiteAgent(Mounts([("/app", mount)]))
    number = asked.get("/app").text.partition(" ")[0]
    assert asked.get("/app/a").text == f"{number} [b'app'] [b'a']"


def test_object():
    """In Python the resource itself may be given."""
    mount = FEATURE.build(ResourceClass(Data(b"data", "text/plain")), make_context())
    assert SiteAgent(mount).get("/").text == "data"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "name must be the dotted name of a resource: package.module.object"),
        ("mypage.Page", "'mypage.Page': there is no module 'mypage' (nearest: 'mypages')"),
        ("mypages.Pag", "'mypages.Pag': module 'mypages' has no 'Pag' (nearest: 'Page')"),
        ("mypages.text", "'mypages.text' is no resource, but str"),
        ("mypages.make_text", "'mypages.make_text' made no resource, but str"),
        ("mypages.Named", "'mypages.Named' could not be called without arguments: TypeError: Named.__init__() missing"),
        (
            "mypages.Broken",
            "'mypages.Broken' could not be called without arguments: ZeroDivisionError: division by zero (",
        ),
    ],
)
def test_wrong(name, message):
    """An error says what is wrong with the name, or with what it stands for."""
    with pytest.raises(ValueError, match=r"\A") as caught:
        FEATURE.build(ResourceClass(name), make_context())
    assert str(caught.value).startswith(message)
