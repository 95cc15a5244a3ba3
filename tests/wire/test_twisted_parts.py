"""
Twisted's own resources that need sockets or child processes, under a mixweb site.
"""

import os
import stat

import pytest
import pytest_twisted
import treq
from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.web import static, twcgi
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.resource import Resource

from mixweb.engine.site import Site

CGI = """#!/bin/sh
echo "Content-Type: text/plain"
echo "X-A: b"
echo
echo "$REQUEST_METHOD $QUERY_STRING $SCRIPT_NAME"
cat
"""


class Servers:
    """Sites on ports of this machine, and a client for them."""

    def __init__(self):
        self.ports = []
        self.pool = HTTPConnectionPool(reactor)
        self.agent = Agent(reactor, pool=self.pool)

    async def listen(self, resource):
        """The port that a resource is served on."""
        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(Site(resource))
        self.ports.append(port)
        return port.getHost().port

    async def ask(self, port, path, method="GET", **options):
        """Status, one header and body."""
        response = await treq.request(method, f"http://127.0.0.1:{port}{path}", agent=self.agent, **options)
        return response.code, response.headers.getRawHeaders("X-A", [None])[0], await response.content()


@pytest_twisted.async_yield_fixture
async def servers():
    """Servers that stop with the test."""
    made = Servers()
    yield made
    await made.pool.closeCachedConnections()
    for port in made.ports:
        await port.stopListening()


class Upstream(Resource):
    """Says what it was asked."""

    isLeaf = True

    def render(self, request):
        request.setHeader(b"X-A", b"b")
        return request.method + b" " + request.uri + b" " + request.content.read()


@pytest.mark.filterwarnings("ignore:twisted.web.http.HTTPClient")
@pytest_twisted.ensureDeferred
async def test_reverse_proxy(servers):
    """Twisted's reverse proxy passes requests and answers."""
    from twisted.web.proxy import ReverseProxyResource

    upstream = await servers.listen(Upstream())
    port = await servers.listen(ReverseProxyResource("127.0.0.1", upstream, b"/base"))
    assert await servers.ask(port, "/a%20b?c=d") == (200, "b", b"GET /base/a%20b?c=d ")
    assert await servers.ask(port, "/form", "POST", data=b"body") == (200, "b", b"POST /base/form body")


def make_script(folder, name, text):
    path = folder / name
    path.write_text(text)
    os.chmod(path, stat.S_IRWXU)
    return path


@pytest_twisted.ensureDeferred
async def test_cgi(servers, tmp_path):
    """Programs of a CGI directory answer."""
    make_script(tmp_path, "hello.cgi", CGI)
    root = Resource()
    root.putChild(b"cgi-bin", twcgi.CGIDirectory(str(tmp_path)))
    port = await servers.listen(root)
    assert await servers.ask(port, "/cgi-bin/hello.cgi?a=b") == (200, "b", b"GET a=b /cgi-bin/hello.cgi\n")
    assert await servers.ask(port, "/cgi-bin/hello.cgi", "POST", data=b"in") == (
        200,
        "b",
        b"POST  /cgi-bin/hello.cgi\nin",
    )
    assert (await servers.ask(port, "/cgi-bin/none.cgi"))[0] == 404


class ShellScript(twcgi.FilteredScript):
    """Files that a shell runs."""

    filter = "/bin/sh"


@pytest_twisted.ensureDeferred
async def test_filtered_script(servers, tmp_path):
    """Files of a folder are run by an interpreter, by their extension and as an index."""
    (tmp_path / "index.sh").write_text(CGI)
    root = static.File(str(tmp_path))
    root.processors = {".sh": ShellScript}
    root.indexNames = ["index.sh"]
    port = await servers.listen(root)
    assert await servers.ask(port, "/index.sh?a=b") == (200, "b", b"GET a=b /index.sh\n")
    assert await servers.ask(port, "/") == (200, "b", b"GET  /\n")
