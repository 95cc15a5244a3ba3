"""
The forward proxy: which servers can be reached, by whom, and what they are told.
"""

import re
import socket
from ipaddress import ip_address, ip_network

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.web.resource import Resource

from mixweb.assemble import Assembler
from mixweb.engine.authority import parse_authority
from mixweb.engine.clients import ConnectFailed, Place
from mixweb.engine.site import Site
from mixweb.features.auth import Auth
from mixweb.features.forward_proxy import FEATURE, ForwardProxy, _connect
from mixweb.features.forward_proxy._rules import Rules, embedded, is_public, named
from mixweb.features.headers import Headers
from mixweb.features.httpcache import HttpCache
from mixweb.features.respond import Respond
from mixweb.features.secureheaders import SecureHeaders
from mixweb.plan import Host, Plan
from mixweb.testing import SiteAgent, make_context
from tests.upstreams import HELLO, Server


def sample(tmp_path, **changes):
    """A forward proxy."""
    return ForwardProxy(**changes)


PUBLIC = "93.184.216.34"


class Internet:
    """
    The servers that there are, in memory.

    :ivar addresses: of names; a name that is not there does not exist.
    :ivar server: what answers at every address.
    :ivar connected: the addresses that were connected to.
    """

    def __init__(self):
        self.addresses = {"a.example": [PUBLIC], "b.example": [PUBLIC]}
        self.server = Server(HELLO)
        self.connected = []
        self.secure = []
        self.silent = False

    def resolve(self, reactor, host, port):
        if self.silent:
            return Deferred()
        try:
            found = [str(ip_address(host))]
        except ValueError:
            found = self.addresses.get(host)
        if found is None:
            return fail(ConnectFailed("there is no such host"))
        return succeed([Place(socket.AF_INET6 if ":" in item else socket.AF_INET, (item, port)) for item in found])

    def connect(self, reactor, places, protocol, timeout, tls=None):
        self.connected += [place.address for place in places]
        self.secure.append(tls)
        return self.server(protocol)


class Through:
    """A forward proxy in memory, and the Internet behind it."""

    def __init__(self, monkeypatch, *others, peer="127.0.0.1", **settings):
        self.internet = Internet()
        monkeypatch.setattr(_connect.Connector.__init__, "__defaults__", (self.internet.resolve,))
        monkeypatch.setattr(_connect, "connect", self.internet.connect)
        self.clock = Clock()
        plan = Plan(default=Host(ForwardProxy(**settings), *others, without=["accesslog"]))
        self.tree = Assembler(self.clock).assemble(plan)
        self.tree.services.startService()
        site = Site(self.tree.root, reactor=self.clock)
        site.takes_connect = self.tree.connects
        self.agent = SiteAgent(site, clock=self.clock, peer=peer)

    @property
    def server(self):
        """The only server."""
        return self.internet.server

    def get(self, target, headers=(), method="GET", body=b""):
        """The answer to a request, which may take a moment."""
        return self.open(target, headers, method, body).answer

    def open(self, target, headers=(), method="GET", body=b""):
        """A request with a Host as proxies get it."""
        authority = re.sub(r"^https?://|/.*", "", target)
        exchange = self.agent.open(method, target, {"Host": authority, **dict(headers)}, body)
        self.clock.advance(0)
        return exchange

    def connect(self, authority="a.example:443", headers=()):
        """A CONNECT."""
        exchange = self.agent.connect()
        lines = "".join(f"{name}: {value}\r\n" for name, value in dict(headers).items())
        exchange.send(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{lines}\r\n".encode())
        exchange.heads.append(b"CONNECT")
        self.clock.advance(0)
        return exchange


@pytest.fixture
def through(monkeypatch):
    """Makes forward proxies: ``through(other settings ..., **settings)``."""
    return lambda *others, **settings: Through(monkeypatch, *others, **settings)


REFUSED = [
    ({"hosts": ["a b"]}, "hosts: 'a b' is no"),
    ({"hosts": ["10.0.0.1/8"]}, "hosts: '10.0.0.1/8'"),
    ({"private": ["http://a"]}, "private: 'http://a' is no"),
    ({"ports": [0]}, "ports: 0 is no port"),
    ({"connect_ports": [70000]}, "connect_ports: 70000 is no port"),
    ({"timeout": 0}, "timeout must be at least 1"),
    ({"max_tunnels": -1}, "max_tunnels must be at least 0"),
]


@pytest.mark.parametrize(("settings", "message"), REFUSED)
def test_settings(settings, message):
    """Settings that make no sense are refused."""
    with pytest.raises(ValueError, match=re.escape(message)):
        ForwardProxy(**settings)


@pytest.mark.parametrize(("settings", "said"), [
    ({}, "known users, and all of this machine, can reach other servers"),
    ({"anyone": True, "hosts": ["a.example"]}, "anybody can reach these hosts"),
])  # fmt: skip
def test_warnings(settings, said):
    """At start it is said who can reach what."""
    warnings = []
    FEATURE.build(ForwardProxy(**settings), Resource(), make_context(warn=warnings.append))
    assert said in warnings[0]


NOT_PUBLIC = [
    "127.0.0.1", "127.255.0.1", "0.0.0.0", "0.1.2.3", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1",
    "169.254.169.254", "192.0.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1",
    "255.255.255.255", "::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:7f00:1", "fe80::1", "fc00::1", "fd12::1",
    "ff02::1", "ff0e::1", "2001:db8::1", "64:ff9b::7f00:1", "64:ff9b::a00:1", "2002:7f00:1::", "2002:a00:1::1",
    "2001:0:4136:e378:8000:63bf:80ff:fffe",
]  # fmt: skip


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_addresses_that_are_not_public(address):
    """Addresses of this machine, of its networks and of groups are not public, however they are written."""
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    "address", [PUBLIC, "1.1.1.1", "172.32.0.1", "::ffff:1.1.1.1", "2606:4700::1111", "64:ff9b::101:101"]
)
def test_public_addresses(address):
    """All others are."""
    assert is_public(ip_address(address))


def test_embedded():
    """IPv4 addresses are found inside of IPv6 ones."""
    inside = ["::ffff:1.2.3.4", "64:ff9b::1.2.3.4", "2002:102:304::", "1.2.3.4"]
    assert {str(embedded(ip_address(text))) for text in inside} == {"1.2.3.4"}
    assert str(embedded(ip_address("2606:4700::1"))) == "2606:4700::1"


def test_named():
    """A list may have addresses, networks, words and names in it."""
    found = named("x", ["10.0.0.0/8", "::1", "loopback", "*.example", "Host."])
    assert {ip_network("10.0.0.0/8"), ip_network("::1/128"), ip_network("127.0.0.0/8")} <= set(found.networks)
    names = ("a.example", "a.b.example", "example", "host", "xhost")
    assert [name for name in names if found.has_name(name)] == ["a.example", "a.b.example", "host"]


HOSTS = [
    ([], [], "a.example", 80, False, True),
    ([], [], "a.example", 8080, False, False),
    ([], [], "a.example", 80, True, False),
    ([], [], "a.example", 443, True, True),
    (["a.example"], [], "a.example", 80, False, True),
    (["a.example"], [], "b.example", 80, False, False),
    (["a.example"], [], "xa.example", 80, False, False),
    (["a.example"], [], "a.example.evil", 80, False, False),
    (["*.example"], [], "a.example", 80, False, True),
    (["93.184.216.0/24"], [], PUBLIC, 80, False, True),
    (["93.184.216.0/24"], [], "1.1.1.1", 80, False, False),
    (["93.184.216.0/24"], [], "a.example", 80, False, False),
    (["a.example"], ["db.example"], "db.example", 80, False, True),
    (["a.example"], [], "[::1]", 80, False, False),
]  # fmt: skip


@pytest.mark.parametrize(("hosts", "private", "host", "port", "tunnel", "allowed"), HOSTS)
def test_allowed_hosts(hosts, private, host, port, tunnel, allowed):
    """Hosts and ports have to be on the list, where there is one."""
    rules = Rules(hosts, private, [80, 443], [443])
    assert (rules.refusal(parse_authority(host.encode()), port, tunnel) == "") is allowed


ADDRESSES = [
    ([], "a.example", PUBLIC, True), ([], "a.example", "127.0.0.1", False), (["loopback"], "a.example", "127.0.0.1", True),
    (["loopback"], "a.example", "::ffff:127.0.0.1", True), (["loopback"], "a.example", "10.0.0.1", False),
    (["private"], "a.example", "10.0.0.1", True), (["10.0.0.1"], "a.example", "10.0.0.1", True),
    (["10.0.0.1"], "a.example", "10.0.0.2", False), (["a.example"], "a.example", "10.0.0.2", True),
    (["a.example"], "b.example", "10.0.0.2", False), (["link-local"], "a.example", "fe80::1%eth0", True),
    ([], "a.example", "fe80::1%eth0", False),
]  # fmt: skip


@pytest.mark.parametrize(("private", "host", "address", "allowed"), ADDRESSES)
def test_allowed_addresses(private, host, address, allowed):
    """Addresses that are not public have to be named, themselves or by their host."""
    assert Rules([], private, [80], []).may_connect(parse_authority(host.encode()), address) is allowed


def test_requests(through):
    """A request with the URL of another server as its target is passed on to it, and its answer back."""
    world = through()
    answer = world.get(
        "http://a.example/x//y?z", {"X-A": "1", "Proxy-Connection": "keep-alive", "Connection": "x-b", "X-B": "1"}
    )
    assert (answer.status, answer.text) == (200, "hello")
    assert world.internet.connected == [(PUBLIC, 80)]
    lines = world.server.received.decode().split("\r\n")
    assert lines[:3] == ["GET /x//y?z HTTP/1.1", "Host: a.example", "X-A: 1"]
    assert lines[3].startswith("Via: 1.1 mixweb-")
    assert lines[4:] == ["", ""]


def test_connections_are_kept(through):
    """Another request to the same server is sent on the same connection, one to another is not."""
    world = through()
    for target in ("http://a.example/1", "http://a.example/2", "http://b.example/3"):
        assert world.get(target).text == "hello"
    assert len(world.server.accepted) == 2
    assert world.server.accepted[0].received.count(b"GET /") == 2


def test_https(through):
    """A target may be one of HTTPS."""
    world = through()
    assert world.get("https://a.example/").text == "hello"
    assert world.internet.connected == [(PUBLIC, 443)]
    assert world.internet.secure[0].name == "a.example"


def test_bodies(through):
    """A body is passed on."""
    world = through()
    exchange = world.open("http://a.example/", {}, "POST", b"a=b")
    assert world.server.received.endswith(b"Content-Length: 3\r\n\r\na=b")
    world.server.last.send(HELLO)
    assert exchange.answer.text == "hello"


@pytest.mark.parametrize("target", ["/", "http://127.0.0.1:8080/", "http://localhost:8080/"])
def test_own_pages(target, through):
    """Requests for this server itself are answered by it, also when they name it in the target."""
    world = through(Respond("own"))
    assert world.agent.get(target).text == "own"
    assert world.internet.connected == []


FORBIDDEN = [
    ("http://127.0.0.1/", {}), ("http://127.0.0.1:8081/", {"ports": [8081]}), ("http://[::1]/", {}), ("http://10.0.0.1/", {}),
    ("http://169.254.169.254/latest/meta-data", {}), ("http://0.0.0.0/", {}), ("http://inside.example/", {}),
    ("http://a.example:22/", {}), ("http://other.example/", {"hosts": ["a.example"]}), ("http://[::ffff:10.0.0.1]/", {}),
]  # fmt: skip


@pytest.mark.parametrize(("target", "settings"), FORBIDDEN)
def test_forbidden(target, settings, through):
    """What may not be reached is 403, and nothing is connected to."""
    world = through(**settings)
    world.internet.addresses["inside.example"] = ["10.0.0.1", "::1"]
    assert world.get(target).status == 403
    assert world.internet.connected == []


def test_the_checked_address_is_connected_to(through):
    """Of several addresses only those that may be reached are tried; the name is not looked up again."""
    world = through()
    world.internet.addresses["mixed.example"] = ["127.0.0.1", PUBLIC, "10.0.0.1"]
    assert world.get("http://mixed.example/").text == "hello"
    assert world.internet.connected == [(PUBLIC, 80)]


def test_rebinding(through):
    """A name that leads somewhere else the next time is looked at again for each new connection."""
    world = through()
    assert world.get("http://a.example/").status == 200
    world.server.last.close()
    world.internet.addresses["a.example"] = ["127.0.0.1"]
    assert world.get("http://a.example/").status == 403


def test_named_private_addresses(through):
    """What is named may be reached."""
    world = through(private=["loopback"], ports=[9000])
    assert world.get("http://127.0.0.1:9000/").text == "hello"


UNREACHABLE = [
    (lambda world: None, "http://none.example/", 502, "no such host"),
    (lambda world: world.server.refuse(), "http://a.example/", 502, "connection refused"),
    (lambda world: world.server.refuse("too slow", timed_out=True), "http://a.example/", 504, "too slow"),
]


@pytest.mark.parametrize(("break_it", "target", "status", "said"), UNREACHABLE)
def test_unreachable(break_it, target, status, said, through):
    """What cannot be reached is 502 or 504, and says why."""
    world = through()
    break_it(world)
    answer = world.get(target)
    assert answer.status == status
    assert said in answer.text


def test_names_that_are_not_resolved(through):
    """A name that is not resolved in time is 504."""
    world = through(connect_timeout=3)
    world.internet.silent = True
    exchange = world.open("http://a.example/")
    world.clock.advance(3)
    assert exchange.answer.status == 504


def test_loops(through):
    """A request that comes round is 508."""
    world = through()
    world.get("http://a.example/")
    via = re.search(rb"Via: (.*)\r\n", world.server.received)[1].decode()
    assert world.get("http://a.example/", {"Via": f"1.1 x, {via}"}).status == 508


@pytest.mark.parametrize(("method", "fields", "status"), [
    ("TRACE", {}, 405), ("OPTIONS", {"Max-Forwards": "0"}, 204), ("OPTIONS", {"Max-Forwards": "1"}, 200), ("BREW", {}, 200),
])  # fmt: skip
def test_methods(method, fields, status, through):
    """All methods are passed on but TRACE, and OPTIONS no further than it may."""
    assert through().get("http://a.example/", fields, method).status == status


@pytest.mark.parametrize(("peer", "settings", "status"), [
    ("127.0.0.1", {}, 200), ("::1", {}, 200), ("203.0.113.9", {}, 407), ("203.0.113.9", {"anyone": True}, 200),
])  # fmt: skip
def test_strangers(peer, settings, status, through):
    """Clients of other machines have to be known, unless anybody may."""
    world = through(peer=peer, **settings)
    answer = world.get("http://a.example/")
    assert answer.status == status
    assert (answer["Proxy-Authenticate"] is not None) is (status == 407)
    assert world.connect().received.startswith(b"HTTP/1.1 %d " % status)


@pytest.fixture
def users(tmp_path):
    """Somebody who is known."""
    (tmp_path / "users").write_text("alice:secret\n")
    return Auth(str(tmp_path / "users"), schemes=["basic"], attempts=0)


ALICE, MALLORY = "Basic YWxpY2U6c2VjcmV0", "Basic YWxpY2U6d3Jvbmc="


def settled(exchange, world):
    """The answer to what takes a password's time."""
    for _ in range(2000):
        world.clock.advance(0.01)
        if exchange.answers():
            return exchange.answer
    raise AssertionError("no answer")


def test_users(users, through):
    """Users say who they are to the proxy; what they say to the server is passed on, and nothing else."""
    world = through(users, peer="203.0.113.9")
    exchange = world.open("http://a.example/", {"Authorization": "Bearer theirs"})
    answer = settled(exchange, world)
    assert (answer.status, answer["WWW-Authenticate"]) == (407, None)
    assert answer["Proxy-Authenticate"].startswith("Basic ")
    given = {"Proxy-Authorization": ALICE, "Authorization": "Bearer theirs"}
    assert settled(world.open("http://a.example/", given), world).text == "hello"
    assert b"Authorization: Bearer theirs\r\n" in world.server.received
    assert b"YWxpY2U6" not in world.server.received
    assert b"Proxy-" not in world.server.received


def test_wrong_passwords(users, through):
    """A wrong password is 407, for tunnels too."""
    world = through(users, peer="203.0.113.9")
    for exchange in (
        world.open("http://a.example/", {"Proxy-Authorization": MALLORY}),
        world.connect(headers={"Proxy-Authorization": MALLORY}),
        world.connect(headers={"Authorization": ALICE}),
    ):
        assert settled(exchange, world).status == 407
    assert world.internet.connected == []


def test_a_challenge_of_the_server(users, through):
    """When the server asks who one is, that is passed back as it is."""
    world = through(users)
    world.server.answer = b"HTTP/1.1 401 U\r\nWWW-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"
    answer = settled(world.open("http://a.example/", {"Proxy-Authorization": ALICE}), world)
    assert (answer.status, answer["WWW-Authenticate"], answer["Proxy-Authenticate"]) == (401, "Basic", None)


def test_own_pages_are_guarded_as_always(users, through):
    """The pages of this server ask for themselves."""
    world = through(users, Respond("own"))
    answer = settled(world.agent.open("GET", "/"), world)
    assert (answer.status, answer["WWW-Authenticate"] is not None) == (401, True)


def test_answers_of_others_are_left_alone(through):
    """What this server says of its own pages, it does not say of those of others."""
    world = through(SecureHeaders(), Headers(["X-Own: 1"]), HttpCache())
    world.server.answer = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 5\r\n\r\nhello"
    for _ in range(2):
        answer = world.get("http://a.example/")
        assert {name for name, _ in answer.headers.getAllRawHeaders()} == {b"Cache-Control", b"Content-Length", b"Date"}
    assert world.server.received.count(b"GET /") == 2
    assert world.get("http://127.0.0.1/")["X-Own"] == "1"


def test_tunnels(through):
    """CONNECT opens a tunnel: bytes go both ways as they are, to the end of either side."""
    world = through()
    exchange = world.connect()
    assert exchange.received == b"HTTP/1.1 200 OK\r\n\r\n"
    assert world.internet.connected == [(PUBLIC, 443)]
    exchange.send(b"\x16\x03client")
    assert world.server.last.received == b"\x16\x03client"
    world.server.last.send(b"\x16\x03server")
    assert exchange.received.endswith(b"\r\n\r\n\x16\x03server")
    world.server.last.close()
    assert exchange.transport.disconnecting


def test_tunnels_and_clients_that_leave(through):
    """When the client leaves, the tunnel is closed, also while it is opened."""
    world = through()
    exchange = world.connect()
    exchange.disconnect()
    assert world.server.open == []
    world.server.refusal = "never"
    world.connect().disconnect()
    assert len(world.server.cancelled) == 1


def test_what_comes_early(through):
    """What a client sends before it is answered is not lost."""
    world = through()
    exchange = world.agent.connect()
    exchange.send(b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example\r\n\r\nearly")
    world.clock.advance(0)
    assert world.server.last.received == b"early"


NO_TUNNELS = [
    ("a.example:80", 403), ("127.0.0.1:443", 403), ("[::1]:443", 403), ("none.example:443", 502), ("a.example:25", 403),
    ("127.0.0.1:8080", 405), ("localhost:8080", 405),
]  # fmt: skip


@pytest.mark.parametrize(("authority", "status"), NO_TUNNELS)
def test_no_tunnels(authority, status, through):
    """No tunnel leads where it may not, or to this server itself."""
    world = through()
    assert world.connect(authority).answers()[0].status == status
    assert world.internet.connected == []


def test_no_body(through):
    """CONNECT has no body."""
    world = through()
    assert world.connect(headers={"Content-Length": "50"}).answers()[0].status == 400


def test_connect_without_the_feature():
    """Without this feature CONNECT is 501, as it always was."""
    exchange = SiteAgent(Resource()).connect()
    exchange.send(b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n")
    exchange.heads.append(b"GET")
    assert exchange.answer.status == 501


def test_silent_tunnels(through):
    """A tunnel through which nothing comes is closed after a while."""
    world = through(tunnel_timeout=100)
    busy, silent = world.connect(), world.connect()
    for _ in range(30):
        world.clock.advance(10)
        busy.send(b"x")
    assert silent.transport.disconnecting
    assert not busy.transport.disconnecting
    assert len(world.server.open) == 1


def test_the_server_stops(through):
    """A server that stops gives tunnels the time that it gives answers."""
    world = through()
    exchange = world.connect()
    exchange.protocol.drain()
    exchange.send(b"x")
    assert world.server.last.received == b"x"


def test_many_tunnels(through):
    """There are so many tunnels at most; when one ends there is room for another."""
    world = through(max_tunnels=2)
    first, _ = world.connect(), world.connect()
    assert world.connect().answers()[0].status == 503
    first.disconnect()
    assert world.connect().received == b"HTTP/1.1 200 OK\r\n\r\n"


def test_many_servers(through):
    """Connections are kept to so many servers at most."""
    world = through()
    for number in range(_connect.MAX_POOLS + 10):
        world.internet.addresses[f"{number}.example"] = [PUBLIC]
        assert world.get(f"http://{number}.example/").text == "hello"
    assert len(world.server.open) == _connect.MAX_POOLS
    world.clock.advance(1)
    world.tree.services.stopService()
    assert world.server.open == []
    assert world.clock.getDelayedCalls() == []
