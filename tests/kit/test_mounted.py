"""
Trees of any resources as mounts.
"""

import pytest
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.web.resource import Resource
from twisted.web.server import Site as StockSite
from twisted.web.static import Data

from mixweb.assemble import Mounts
from mixweb.kit.mounted import MountedResource, is_resource, redirect_to_directory
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


def ask_stock(root, target):
    """The answer of a stock site."""
    protocol = StockSite(MountedResource(lambda: root), reactor=Clock()).buildProtocol(None)
    transport = StringTransport()
    protocol.makeConnection(transport)
    protocol.dataReceived(b"GET %b HTTP/1.0\r\n\r\n" % target)
    return transport.value()


class NoIndex(Resource):
    def render_GET(self, request):
        return redirect_to_directory(request)


class Bytes(Resource):
    def render_GET(self, request):
        return b"root"


@pytest.mark.parametrize(
    ("root", "target", "part"),
    [
        (Bytes(), b"/", b"\r\n\r\nroot"),
        (Bytes(), b"/none", b" 404 "),
        (NoIndex(), b"/", b" 404 "),
    ],
)
def test_stock_site(root, target, part):
    """Under a stock site, which asks nobody else, what the tree has not is 404."""
    assert part in ask_stock(root, target)


@pytest.mark.parametrize(
    ("target", "location"),
    [
        ("/folder", "./folder/"),
        ("/folder?a=b%20c", "./folder/?a=b%20c"),
        ("/%2F%2Fevil", "./%2F%2Fevil/"),
        ("/a:b", "./a:b/"),
    ],
)
def test_redirect_to_directory(target, location):
    """A path without its slash is redirected to itself with one, relatively: no name leads to another host."""

    class Any(Resource):
        def getChild(self, name, request):
            return NoIndex()

    found = SiteAgent(MountedResource(Any)).get(target)
    assert (found.status, found["Location"]) == (301, location)


@pytest.mark.parametrize(
    ("thing", "whether"),
    [(Hello(), True), (Hello, False), (StockSite(Hello()), True), ("text", False), (None, False)],
)
def test_what_is_a_resource(thing, whether):
    """Resources are, and sites, which can stand in their place; classes are not."""
    assert is_resource(thing) is whether
