"""
Resource scripts as mounts: one file, or a directory of them.
"""

import os

import pytest
from twisted.web.static import Data

from mixweb.assemble import Mounts
from mixweb.features.script import FEATURE, Script
from mixweb.testing import SiteAgent, make_context

PAGE = """
from twisted.web.resource import Resource

class Page(Resource):
    isLeaf = {leaf}
    def render_GET(self, request):
        return f"{name} {{request.prepath}} {{request.postpath}}"

resource = Page()
"""

BEHIND = Data(b"behind", "text/plain")
BEHIND.isLeaf = True


def sample(folder, **changes):
    """Settings to try the feature with."""
    (folder / "index.rpy").write_text(PAGE.format(name="index", leaf=False))
    return Script(folder, **changes)


@pytest.fixture
def root(tmp_path):
    """A directory of scripts, and a file beside it."""
    root = tmp_path / "root"
    (root / "sub" / "deep").mkdir(parents=True)
    (root / "empty").mkdir()
    for name in ("index", "page", "sub/index", "sub/deep/page", ".hidden", "käse", "dir.rpy.d"):
        (root / f"{name}.rpy").write_text(PAGE.format(name=name, leaf=name == "page"))
    for name in ("secret.py", "notes.txt", "page.rpy~", "page.rpy.bak"):
        (root / name).write_text("resource = None")
    (tmp_path / "outside.rpy").write_text(PAGE.format(name="outside", leaf=True))
    (root / "out.rpy").symlink_to("../outside.rpy")
    (root / "up").symlink_to("..")
    (root / "alias.rpy").symlink_to("sub/deep/page.rpy")
    (root / "folder.rpy").mkdir()
    return root


def agent(path, at="/"):
    mount = FEATURE.build(Script(path, at=at), make_context())
    return SiteAgent(Mounts([(at, mount), ("/", BEHIND)]))


@pytest.mark.parametrize(
    ("target", "body"),
    [
        ("/", "index [b''] []"),
        ("/index", "index [b'index'] []"),
        ("/page", "page [b'page'] []"),
        ("/page.rpy", "page [b'page.rpy'] []"),
        ("/page/a/b", "page [b'page'] [b'a', b'b']"),
        ("/alias", "sub/deep/page [b'alias'] []"),
        ("/sub/", "sub/index [b'sub', b''] []"),
        ("/sub/deep/page", "sub/deep/page [b'sub', b'deep', b'page'] []"),
        ("/k%C3%A4se", "käse [b'k\\xc3\\xa4se'] []"),
        ("/dir.rpy.d", "dir.rpy.d [b'dir.rpy.d'] []"),
        ("/none", "behind"),
        ("/.hidden", "behind"),
        ("/.hidden.rpy", "behind"),
        ("/.rpy", "behind"),
        ("/secret.py", "behind"),
        ("/secret", "behind"),
        ("/notes.txt", "behind"),
        ("/page.rpy~", "behind"),
        ("/page.rpy.bak", "behind"),
        ("/folder", "behind"),
        ("/out", "behind"),
        ("/up/outside", "behind"),
        ("/up/root/page", "behind"),
        ("/..%2Foutside", "behind"),
        ("/sub%2Fdeep%2Fpage", "behind"),
        ("/page%00", "behind"),
        ("/../outside", "behind"),
    ],
)
def test_directory(root, target, body):
    """A name is the script of that name and / is index.rpy; nothing else in the directory or outside of it is there."""
    found = agent(root).get(target)
    assert (found.status, found.text) == (200, body)


@pytest.mark.parametrize(
    ("at", "target", "status", "location"),
    [
        ("/", "/sub?x=1", 301, "./sub/?x=1"),
        ("/app", "/app", 301, "./app/"),
        ("/app", "/app/sub", 301, "./sub/"),
        ("/", "/empty", 200, None),
        ("/", "/empty/", 200, None),
    ],
)
def test_directory_without_slash(root, at, target, status, location):
    """A directory that has an index is redirected to the path with the slash; one without is not there."""
    found = agent(root, at).get(target)
    assert (found.status, found["Location"]) == (status, location)


@pytest.mark.parametrize(
    ("leaf", "at", "target", "body"),
    [
        (True, "/", "/", "one [] [b'']"),
        (True, "/", "/a/b", "one [] [b'a', b'b']"),
        (True, "/app", "/app", "one [b'app'] []"),
        (False, "/", "/", "one [b''] []"),
        (False, "/app", "/app/", "one [b'app', b''] []"),
        (False, "/", "/none", "behind"),
    ],
)
def test_one_script(tmp_path, leaf, at, target, body):
    """A single script answers for its path, and for what is below it if its resource does."""
    path = tmp_path / "one.rpy"
    path.write_text(PAGE.format(name="one", leaf=leaf))
    found = agent(path, at).get(target)
    assert (found.status, found.text) == (200, body)


def test_scripts_share_a_registry(tmp_path):
    """What one script of a mount keeps, the others find."""
    (tmp_path / "put.rpy").write_text(
        "from twisted.web.static import Data\nregistry.setComponent(Data, 'kept')\nresource = Data(b'', 'a/b')"
    )
    (tmp_path / "get.rpy").write_text(
        "from twisted.web.static import Data\nresource = Data(str(registry.getComponent(Data)).encode(), 'a/b')"
    )
    asked = agent(tmp_path)
    assert [asked.get(path).text for path in ("/get", "/put", "/get")] == ["None", "", "kept"]


def test_replaced_link(tmp_path):
    """A script behind a link is the one that the link leads to now."""
    for name in ("old", "new"):
        (tmp_path / f"{name}.rpy").write_text(PAGE.format(name=name, leaf=True))
    link = tmp_path / "current.rpy"
    link.symlink_to("old.rpy")
    asked = agent(link)
    assert asked.get("/").text.startswith("old")
    os.unlink(link)
    link.symlink_to("new.rpy")
    assert asked.get("/").text.startswith("new")


@pytest.mark.parametrize("path", ["", "nothing.rpy"])
def test_settings(path):
    """A script that is not named or does not exist is told before anything is served."""
    with pytest.raises(ValueError, match=r"path must name|does not exist"):
        FEATURE.build(Script(path), make_context())
