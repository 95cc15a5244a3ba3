"""
Connections that are too many.
"""

import resource
import sys
from types import SimpleNamespace

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.task import Clock
from twisted.protocols.haproxy._wrapper import HAProxyWrappingFactory
from twisted.web.resource import Resource

from mixweb.engine.crowd import connections_by_files, origin
from mixweb.engine.site import Site
from mixweb.testing import Exchange, MemoryTransport
from tests.engine.wires import Http2Client


class Page(Resource):
    isLeaf = True

    def render(self, request):
        return b"page"


@pytest.fixture
def site():
    """A site that takes three connections."""
    made = Site(Page(), reactor=Clock())
    made.channels.most = 3
    return made


def look(site, seconds):
    """Let time pass, with a look at all connections every second."""
    for _ in range(seconds):
        site.reactor.advance(1)
        for channel in list(site.channels):
            channel.check_timeouts(site.reactor.seconds())


def status(exchange):
    exchange.request("GET", "/")
    return exchange.answers()[-1].status


def test_one_too_many(site):
    """The request of a connection too many is answered with 503, and the connection closed; the others go on."""
    logged = []
    site.observers.append(lambda request: logged.append((request.uri, request.code)))
    first, *_ = taken = [Exchange(site) for _ in range(3)]
    late = Exchange(site)
    late.request("POST", "/late", {"Content-Length": "1000000", "Expect": "100-continue"})
    answer = late.answer
    assert (answer.status, answer["Connection"], answer["Retry-After"]) == (503, "close", "5")
    assert answer.interim == ()
    assert late.transport.disconnecting
    assert logged == [(b"/late", 503)]
    assert [status(exchange) for exchange in taken] == [200] * 3
    first.disconnect()
    assert status(Exchange(site)) == 200


def test_place_that_becomes_free(site):
    """The connections too many take no place from others."""
    taken = [Exchange(site) for _ in range(3)]
    refused = [Exchange(site) for _ in range(10)]
    assert len(site.channels) == 13
    taken[0].disconnect()
    assert status(Exchange(site)) == 200
    for exchange in refused:
        exchange.disconnect()
    assert status(Exchange(site)) == 503


@pytest.mark.parametrize("sent", [b"", b"GET / HT"])
def test_little_time(site, sent):
    """A connection too many has a few seconds to send its request."""
    for _ in range(3):
        Exchange(site)
    late = Exchange(site)
    late.heads.append(b"GET")
    late.send(sent)
    look(site, 3)
    assert not late.transport.disconnecting
    look(site, 4)
    assert late.transport.disconnecting
    assert [answer.status for answer in late.answers()] == ([408] if sent else [])


def test_far_too_many(site, monkeypatch):
    """Of very many connections too many the oldest are dropped: files for other things are left."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1056, 1056))
    for _ in range(3):
        Exchange(site)
    refused = [Exchange(site) for _ in range(64)]
    assert not any(exchange.transport.aborted for exchange in refused)
    last = Exchange(site)
    assert [exchange.transport.aborted for exchange in refused] == [True] + [False] * 63
    assert status(last) == 503


def test_by_address(site):
    """So many connections come from one address; who comes from another one is let in."""
    site.channels.most, site.channels.most_of_origin = sys.maxsize, 2
    own = [Exchange(site, "192.0.2.1") for _ in range(3)]
    assert [status(exchange) for exchange in own] == [200, 200, 503]
    assert status(Exchange(site, "192.0.2.2")) == 200
    own[2].disconnect()
    own[0].disconnect()
    assert [status(Exchange(site, "192.0.2.1")) for _ in range(2)] == [200, 503]


def test_limit_that_is_set_later(site):
    """The connections that are open when a limit is set count, and no more are counted when it is taken away."""
    site.channels.most = sys.maxsize
    open_ones = [Exchange(site) for _ in range(2)]
    site.channels.most_of_origin = 2
    assert status(Exchange(site)) == 503
    open_ones[0].disconnect()
    assert status(Exchange(site)) == 200
    site.channels.most_of_origin = 0
    assert [status(Exchange(site)) for _ in range(5)] == [200] * 5


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        (IPv4Address("TCP", "192.0.2.1", 1), IPv4Address("TCP", "192.0.2.1", 2), True),
        (IPv4Address("TCP", "192.0.2.1", 1), IPv4Address("TCP", "192.0.2.2", 1), False),
        (IPv6Address("TCP", "2001:db8::1", 1), IPv6Address("TCP", "2001:db8:0:0:ffff::2", 1), True),
        (IPv6Address("TCP", "2001:db8::1", 1), IPv6Address("TCP", "2001:db8:0:1::1", 1), False),
        (IPv6Address("TCP", "fe80::1%eth0", 1), IPv6Address("TCP", "fe80::2%eth0", 1), True),
    ],
)
def test_origins(first, second, same):
    """Addresses are counted one by one, those of IPv6 by their network of 64 bits."""
    one, other = (origin(SimpleNamespace(transport=SimpleNamespace(getPeer=lambda a=a: a))) for a in (first, second))
    assert (one == other) is same
    assert one is not None


def test_no_origin(site):
    """What comes over a unix socket, or behind a PROXY header, is counted by no address."""
    site.channels.most_of_origin = 1
    assert origin(SimpleNamespace(transport=SimpleNamespace(getPeer=lambda: UNIXAddress(None)))) is None
    factory = HAProxyWrappingFactory(site)
    address = IPv4Address("TCP", "127.0.0.1", 1)
    for _ in range(3):
        transport = MemoryTransport(False, address, address)
        wrapper = factory.buildProtocol(address)
        wrapper.makeConnection(transport)
        wrapper.dataReceived(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert transport.value().startswith(b"HTTP/1.1 200 OK\r\n")
        wrapper.connectionLost(None)


def test_http2(site):
    """Over HTTP/2 the requests of a connection too many are answered with 503, and it ends soon."""
    site.channels.most = 1
    first, late = Http2Client(site), Http2Client(site)
    for client in (first, late):
        client.begin(1)
        client.begin(3)
    assert first.statuses == {1: 200, 3: 200}
    assert late.statuses == {1: 503, 3: 503}
    look(site, 10)
    assert late.transport.disconnecting
    assert not first.transport.disconnecting


def test_http2_streams(site):
    """A client of HTTP/2 is told how many requests it may send at a time."""
    site.max_http2_streams = 7
    assert Http2Client(site).streams == 7


def test_by_files(monkeypatch):
    """Without a number there are as many connections as leave a quarter of the files that may be open."""
    for soft, most in ((1056, 768), (64, 24), (resource.RLIM_INFINITY, sys.maxsize * 3 // 4), (1, 1)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, soft=soft: (soft, soft))
        assert connections_by_files() == most
