"""
Trees of any resources as mounts.
"""

import pytest
from twisted.web.resource import Resource
from twisted.web.server import Site as StockSite
from twisted.web.static import Data

from mixweb.assemble import Mounts
from mixweb.mounted import MountedResource, is_resource
from mixweb.testing import SiteAgent


class Hello(Resource):
    """Says where it is."""

    def render_GET(self, request):
        return f"{request.prepath} {request.postpath}"


class Leaf(Hello):
    isLeaf = True


class Slash(Hello):
    def getChild(self, name, request):
        return Leaf() if name == b"" else super().getChild(name, request)


def tree(root):
    root.putChild(b"child", Hello())
    return root


@pytest.mark.parametrize(
    ("at", "root", "target", "status", "body"),
    [
        ("/", Hello(), "/", 200, "[b''] []"),
        ("/", Leaf(), "/", 200, "[] [b'']"),
        ("/", Leaf(), "/a/b", 200, "[] [b'a', b'b']"),
        ("/", Slash(), "/", 200, "[b''] []"),
        ("/", tree(Hello()), "/child", 200, "[b'child'] []"),
        ("/app", Hello(), "/app", 200, "[b'app'] []"),
        ("/app", Hello(), "/app/", 200, "[b'app', b''] []"),
        ("/app", tree(Hello()), "/app/child", 200, "[b'app', b'child'] []"),
        ("/app", Leaf(), "/app/a", 200, "[b'app'] [b'a']"),
        ("/app", Hello(), "/app/none", 200, "behind"),
        ("/app", tree(Hello()), "/app/child/", 200, "behind"),
        ("/app", Resource(), "/app/", 405, None),
    ],
)
def test_paths(at, root, target, status, body):
    """A mount's own path is the root of its tree with and without a slash; what the tree has not is left to others."""
    behind = Data(b"behind", "text/plain")
    behind.isLeaf = True
    mounts = Mounts([(at, MountedResource(lambda: root)), ("/", behind)])
    found = SiteAgent(mounts).get(target)
    assert (found.status, found.text if body else None) == (status, body)


@pytest.mark.parametrize(
    ("thing", "whether"),
    [(Hello(), True), (Hello, False), (StockSite(Hello()), True), ("text", False), (None, False)],
)
def test_what_is_a_resource(thing, whether):
    """Resources are, and sites, which can stand in their place; classes are not."""
    assert is_resource(thing) is whether
