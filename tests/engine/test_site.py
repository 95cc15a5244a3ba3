"""
The site: what all connections share, from its first port to its last connection.
"""

from pathlib import Path

from twisted.internet.task import Clock
from twisted.web.resource import Resource
from twisted.web.server import Site as StockSite

from mixweb.engine.h2frames import PREFACE
from mixweb.engine.site import Site
from mixweb.testing import Exchange


class Page(Resource):
    isLeaf = True

    def render(self, request):
        return b"page"


def test_rests():
    """A site whose ports are closed has no timer left as soon as its last connection is lost."""
    site = Site(Page(), reactor=Clock())
    site.doStart()
    first, second = Exchange(site), Exchange(site)
    first.disconnect()
    site.doStop()
    assert site.reactor.getDelayedCalls() != []
    second.disconnect()
    assert site.reactor.getDelayedCalls() == []


def test_rests_at_once():
    """A site without connections has no timer left when its ports are closed; it goes on with the next port."""
    site = Site(Page(), reactor=Clock())
    site.doStart()
    Exchange(site).disconnect()
    site.doStop()
    assert site.reactor.getDelayedCalls() == []
    site.doStart()
    slow = Exchange(site)
    slow.send(b"GET / HTTP/1.1\r\n")
    for _ in range(31):
        site.reactor.advance(1)
    assert b" 408 " in slow.received


def test_looks_after_another_protocol():
    """A connection that becomes HTTP/2 when the ports are closed is looked after as any other."""
    site = Site(Page(), reactor=Clock(), timeout=60)
    site.doStart()
    client = Exchange(site, secure=True, protocol=b"h2")
    site.doStop()
    client.send(PREFACE + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
    assert site.reactor.getDelayedCalls() != []
    for _ in range(62):
        site.reactor.advance(1)
    assert client.transport.disconnecting


def test_log_path(tmp_path: Path):
    """``logPath`` and ``logFormatter`` mean what they mean to Twisted's site, also after a second start."""
    lines = []
    for kind in (StockSite, Site):
        path = tmp_path / kind.__module__
        site = kind(
            Page(),
            reactor=Clock(),
            logPath=str(path),
            logFormatter=lambda timestamp, request: f"{timestamp} {request.method.decode()} {request.code}",
        )
        for _ in range(2):
            site.doStart()
            exchange = Exchange(site)
            exchange.request("GET", "/")
            exchange.disconnect()
            site.doStop()
        lines.append(path.read_text())
    assert lines[0] == lines[1] == "[01/Jan/1970:00:00:00 +0000] GET 200\n" * 2
