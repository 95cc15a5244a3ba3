"""
Trusted proxies: what they say is taken for a fact, what anyone else says is not.
"""

import re

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.logger import LogLevel, formatEvent, globalLogPublisher
from twisted.web.resource import Resource

from mixweb.features import forwarded
from mixweb.features._forwarded import Hop, Node, Trust, follow, forwarded_hops, parse_for, parse_node, x_forwarded_hops
from mixweb.features.forwarded import Forwarded
from mixweb.interfaces import IClientAddress
from mixweb.paths import RawPrefixes
from mixweb.testing import SiteAgent, make_context


class Seen(Resource):
    """Keeps the request and what was known while it was answered."""

    isLeaf = True

    def render_GET(self, request):
        self.request = request
        self.told = IClientAddress(request, None)
        self.facts = (request.getClientAddress().host, request.isSecure(), request.requestHeaders.getRawHeaders("Host"))
        self.url = request.prePathURL()
        return b""


def ask(headers=(), target="/", peer="127.0.0.1", secure=False, host="inner:8080", **settings):
    """What a resource sees of a request that comes through the wrapper."""
    page = Seen()
    wrapper = forwarded.FEATURE.build(Forwarded(**settings), page, make_context())
    agent = SiteAgent(wrapper, peer=peer, secure=secure)
    assert agent.get(target, [("Host", host), *headers]).status == 200
    return page


def said(name):
    """The name of a field of the kind that most proxies send."""
    return f"X-Forwarded-{name}"


PLAIN = ("127.0.0.1", False, ["inner:8080"])


@pytest.mark.parametrize(
    ("headers", "facts"),
    [
        ([], PLAIN),
        ([("For", "192.0.2.1")], ("192.0.2.1", False, ["inner:8080"])),
        ([("For", "192.0.2.1"), ("Proto", "https"), ("Host", "a.example")], ("192.0.2.1", True, ["a.example"])),
        ([("Proto", "HTTPS")], ("127.0.0.1", True, ["inner:8080"])),
        ([("Proto", "wss")], ("127.0.0.1", True, ["inner:8080"])),
        ([("Proto", "http")], PLAIN),
        ([("Host", "A.example:8443")], ("127.0.0.1", False, ["a.example:8443"])),
        ([("Host", "a.example:80")], ("127.0.0.1", False, ["a.example"])),
        ([("Host", "a.example:443"), ("Proto", "https")], ("127.0.0.1", True, ["a.example"])),
        ([("Host", "[2001:DB8::1]:99")], ("127.0.0.1", False, ["[2001:db8::1]:99"])),
        ([("For", "6.6.6.6, 192.0.2.1")], ("192.0.2.1", False, ["inner:8080"])),
        ([("For", "6.6.6.6"), ("For", "192.0.2.1")], ("192.0.2.1", False, ["inner:8080"])),
        ([("For", "6.6.6.6, 192.0.2.1, 127.0.0.9")], ("192.0.2.1", False, ["inner:8080"])),
        ([("For", "127.0.0.8, 127.0.0.9")], ("127.0.0.8", False, ["inner:8080"])),
        ([("For", "192.0.2.1:4711")], ("192.0.2.1", False, ["inner:8080"])),
        ([("For", "2001:db8::1")], ("2001:db8::1", False, ["inner:8080"])),
        ([("For", "[2001:DB8:0::1]:4711")], ("2001:db8::1", False, ["inner:8080"])),
        ([("For", "::ffff:192.0.2.1")], ("192.0.2.1", False, ["inner:8080"])),
        ([("For", ",, 192.0.2.1 ,")], ("192.0.2.1", False, ["inner:8080"])),
        # lists that proxies appended to: what the outermost trusted one said counts
        (
            [
                ("For", "6.6.6.6, 192.0.2.1, 127.0.0.9"),
                ("Proto", "gopher, https, http"),
                ("Host", "evil, a.example, b"),
            ],
            ("192.0.2.1", True, ["a.example"]),
        ),
        ([("For", "6.6.6.6, 192.0.2.1"), ("Proto", "https, http")], ("192.0.2.1", False, ["inner:8080"])),
        ([("For", "192.0.2.1, 127.0.0.9"), ("Proto", "https")], ("192.0.2.1", True, ["inner:8080"])),
        ([("Proto", "https, http")], PLAIN),
        # what cannot be read is ignored
        ([("For", "unknown")], PLAIN),
        ([("For", "_hidden, _gone")], PLAIN),
        ([("For", "192.0.2.256")], PLAIN),
        ([("For", "<script>"), ("Proto", "https")], ("127.0.0.1", True, ["inner:8080"])),
        ([("For", "junk, 127.0.0.9")], ("127.0.0.9", False, ["inner:8080"])),
        ([("For", "192.0.2.1:99999")], PLAIN),
        ([("For", "fe80::1%eth0")], PLAIN),
        ([("Proto", "gopher"), ("Host", "a.example")], ("127.0.0.1", False, ["a.example"])),
        ([("Host", "a b"), ("Proto", "https")], ("127.0.0.1", True, ["inner:8080"])),
        ([("Host", "a.example/../x")], PLAIN),
        ([("Host", "[::1]:999999")], PLAIN),
        ([("Host", "")], PLAIN),
    ],
)
def test_x_forwarded(headers, facts):
    """X-Forwarded-For, -Proto and -Host of a trusted proxy make client address, scheme and host."""
    assert ask([(said(name), value) for name, value in headers]).facts == facts


@pytest.mark.parametrize(
    ("lines", "facts"),
    [
        (["for=192.0.2.1"], ("192.0.2.1", False, ["inner:8080"])),
        (["For=192.0.2.1;PROTO=https;Host=a.example"], ("192.0.2.1", True, ["a.example"])),
        (['for="192.0.2.1:4711"; proto=https ;by=_x'], ("192.0.2.1", True, ["inner:8080"])),
        (['for="[2001:db8::1]:4711"'], ("2001:db8::1", False, ["inner:8080"])),
        (['for="[2001:db8::1]:_port"'], ("2001:db8::1", False, ["inner:8080"])),
        (['for=192.0.2.1;host="a.example:8443"'], ("192.0.2.1", False, ["a.example:8443"])),
        ([r'for="192.0\.2.1";proto="http\s"'], ("192.0.2.1", True, ["inner:8080"])),
        (['for=192.0.2.1;note="a, b;for=6.6.6.6"'], ("192.0.2.1", False, ["inner:8080"])),
        (["for=6.6.6.6, for=192.0.2.1;proto=https, for=127.0.0.9;proto=http"], ("192.0.2.1", True, ["inner:8080"])),
        (["for=6.6.6.6", "for=192.0.2.1"], ("192.0.2.1", False, ["inner:8080"])),
        (["proto=https;host=a.example"], ("127.0.0.1", True, ["a.example"])),
        (["for=unknown;proto=https"], ("127.0.0.1", True, ["inner:8080"])),
        (["for=_hidden"], PLAIN),
        (["for=192.0.2.1, "], ("192.0.2.1", False, ["inner:8080"])),
        # what a client wrote does not swallow what the proxy appended
        (['for="6.6.6.6', "for=192.0.2.1;proto=https"], ("192.0.2.1", True, ["inner:8080"])),
        (['for="6.6.6.6, for="[2001:db8::1]";proto=https'], ("2001:db8::1", True, ["inner:8080"])),
        (['for=6.6.6.6;x="\\, for=192.0.2.1;host="a.example"'], ("192.0.2.1", False, ["a.example"])),
        # malformed
        (["for=192.0.2.1:4711"], PLAIN),
        (["for=2001:db8::1"], PLAIN),
        (['for="2001:db8::1"'], PLAIN),
        (["for=192.0.2.1;for=192.0.2.2"], PLAIN),
        (["for = 192.0.2.1"], PLAIN),
        (["for=192.0.2.1 proto=https"], PLAIN),
        (["192.0.2.1"], PLAIN),
        (['for="192.0.2.1'], PLAIN),
        (['for=192.0.2.1;proto=gopher;host="a/b"'], ("192.0.2.1", False, ["inner:8080"])),
        ([",;,="], PLAIN),
        (["a=b," * 3000 + '"'], PLAIN),
    ],
)
def test_forwarded(lines, facts):
    """The elements of Forwarded (RFC 7239) of a trusted proxy make client address, scheme and host."""
    assert ask([("Forwarded", line) for line in lines], header="forwarded").facts == facts


@pytest.mark.parametrize(
    ("header", "field"), [("x-forwarded", ("Forwarded", "for=6.6.6.6")), ("forwarded", (said("For"), "6.6.6.6"))]
)
def test_one_kind(header, field):
    """Only the kind of field that the proxies are known to set is looked at."""
    assert ask([field], header=header).facts == PLAIN


ALL = [(said("For"), "192.0.2.1"), (said("Proto"), "https"), (said("Host"), "a.example")]


@pytest.mark.parametrize(
    ("peer", "trusted", "believed"),
    [
        ("127.0.0.1", None, True),
        ("127.9.9.9", None, True),
        ("::1", None, True),
        ("::ffff:127.0.0.1", None, True),
        ("10.0.0.1", None, False),
        ("192.0.2.9", None, False),
        ("127.0.0.1", [], False),
        ("10.0.0.1", ["private"], True),
        ("172.31.0.1", ["private"], True),
        ("172.32.0.1", ["private"], False),
        ("192.168.7.7", ["private"], True),
        ("fd00::7", ["private"], True),
        ("127.0.0.1", ["private"], False),
        ("192.0.2.9", ["192.0.2.0/24"], True),
        ("192.0.3.9", ["192.0.2.0/24"], False),
        ("192.0.2.9", ["192.0.2.9"], True),
        ("2001:db8::9", ["loopback", "2001:db8::/32"], True),
        ("fe80::1%eth0", ["fe80::/10"], True),
        ("nonsense", ["0.0.0.0/0", "::/0"], False),
    ],
)
def test_who_is_trusted(peer, trusted, believed):
    """Only a peer that is trusted is believed."""
    settings = {} if trusted is None else {"trusted": trusted}
    found = ask(ALL, peer=peer, **settings).facts
    assert found == (("192.0.2.1", True, ["a.example"]) if believed else (peer, False, ["inner:8080"]))


@pytest.mark.parametrize(("trusted", "believed"), [(None, True), (["unix"], True), (["loopback"], False)])
def test_unix_sockets(trusted, believed):
    """A proxy that comes over a UNIX socket is trusted by its own name."""
    page = Seen()
    settings = Forwarded() if trusted is None else Forwarded(trusted)
    exchange = SiteAgent(forwarded.build(settings, page, make_context())).connect()
    exchange.transport.peerAddr = UNIXAddress("/run/x")
    page.render_GET = lambda request: setattr(page, "told", IClientAddress(request, None)) or b""
    exchange.request("GET", "/", ALL)
    assert exchange.answer.status == 200
    assert (page.told is not None) is believed
    if believed:
        assert (page.told.host, page.told.proxies) == ("192.0.2.1", ("unix",))


def test_fields_stay():
    """The fields themselves are left as they came, believed or not."""
    for peer in ("127.0.0.1", "192.0.2.9"):
        headers = ask(ALL, peer=peer).request.requestHeaders
        assert [headers.getRawHeaders(name) for name, _ in ALL] == [[value] for _, value in ALL]


@pytest.mark.parametrize(
    ("client", "address"),
    [("192.0.2.1:4711", IPv4Address("TCP", "192.0.2.1", 4711)), ("2001:db8::1", IPv6Address("TCP", "2001:db8::1", 0))],
)
def test_client_address(client, address):
    """The client is an address of Twisted's, with its port when the proxy tells it."""
    assert ask([(said("For"), client)]).request.getClientAddress() == address


def test_component():
    """The request tells who asked and through which proxies, the nearest last; nothing when there were none."""
    told = ask([(said("For"), "6.6.6.6, 192.0.2.1, 127.0.0.8, 127.0.0.9")]).told
    assert (told.host, told.proxies) == ("192.0.2.1", ("127.0.0.8", "127.0.0.9", "127.0.0.1"))
    assert ask().told is None
    assert ask([(said("Proto"), "https")]).told is None


@pytest.mark.parametrize(
    ("hops", "client"), [(0, "198.51.100.1"), (1, "198.51.100.3"), (2, "198.51.100.2"), (9, "198.51.100.1")]
)
def test_hops(hops, client):
    """No more proxies are believed than there are, though every address is trusted."""
    chain = [(said("For"), "198.51.100.1, 198.51.100.2, 198.51.100.3")]
    assert ask(chain, trusted=["0.0.0.0/0"], hops=hops).facts[0] == client


@pytest.mark.parametrize(
    ("headers", "secure", "url"),
    [
        ([("Host", "a.example"), ("Proto", "https")], False, b"https://a.example/"),
        ([("Host", "a.example:8443"), ("Proto", "https")], False, b"https://a.example:8443/"),
        ([("Host", "a.example")], False, b"http://a.example/"),
        ([("Proto", "https")], False, b"https://inner:8080/"),
        ([("Host", "a.example"), ("Proto", "http")], True, b"http://a.example/"),
        ([("Host", "a.example")], True, b"https://a.example/"),
    ],
)
def test_urls(headers, secure, url):
    """The URLs that a resource makes of its own are those that the client knows."""
    page = ask([(said(name), value) for name, value in headers], secure=secure)
    assert page.url == url
    assert page.facts[1] is url.startswith(b"https")


def test_port_of_the_scheme():
    """A host without port has the one of its scheme, not the one of the listener."""
    assert ask([(said("Proto"), "https")], host="a.example").url == b"https://a.example/"


@pytest.mark.parametrize(
    ("target", "host", "secure", "uri", "segments"),
    [
        ("/vhost.rpy/http/example.com:80/a/b?c=d", "example.com", False, b"/a/b?c=d", (b"a", b"b")),
        ("/vhost.rpy/https/example.com:443/", "example.com", True, b"/", (b"",)),
        ("/vhost.rpy/https/example.com:8443/a", "example.com:8443", True, b"/a", (b"a",)),
        ("/vhost.rpy/http/example.com", "example.com", False, b"/", (b"",)),
        ("/vhost.rpy/http/example.com/../../x", "example.com", False, b"/../../x", (b"x",)),
        ("/vhost.rpy/https/[::1]:443/x", "[::1]", True, b"/x", (b"x",)),
        ("/vhost.rpy/ftp/example.com/x", "inner:8080", False, None, (b"vhost.rpy", b"ftp", b"example.com", b"x")),
        ("/vhost.rpy/http/ex%00ample:1000000/x", "inner:8080", False, None, None),
        ("/vhost.rpy/http", "inner:8080", False, None, (b"vhost.rpy", b"http")),
        ("/vhost.rpyx/http/example.com/x", "inner:8080", False, None, None),
        ("/other", "inner:8080", False, None, (b"other",)),
    ],
)
def test_vhost_prefix(target, host, secure, uri, segments):
    """Below the prefix a trusted proxy names scheme, host and target."""
    page = ask(target=target, vhost_prefix="/vhost.rpy")
    request = page.request
    assert page.facts == ("127.0.0.1", secure, [host])
    assert request.uri == request.target == (target.encode() if uri is None else uri)
    assert request.raw_path == request.path == request.uri.partition(b"?")[0]
    assert segments is None or request.canonical_path.segments == segments


@pytest.mark.parametrize(
    ("target", "uri"),
    [("/vhost.rpy/http/a.example?b=c", b"/?b=c"), ("/vhost.rpy/http/a.example/?b=c", b"/?b=c")],
)
def test_vhost_prefix_without_path(target, uri):
    """A query may follow the host at once."""
    page = ask(target=target, vhost_prefix="/vhost.rpy")
    assert page.request.uri == uri
    assert page.request.args == {b"b": [b"c"]}
    assert page.facts[2] == ["a.example"]


@pytest.mark.parametrize(("peer", "settings"), [("192.0.2.9", {"vhost_prefix": "/vhost.rpy"}), ("127.0.0.1", {})])
def test_vhost_prefix_is_not_for_everyone(peer, settings):
    """Neither a peer that is not trusted nor, without the setting, anyone chooses the host by a path."""
    page = ask(target="/vhost.rpy/https/a.example:443/x", peer=peer, **settings)
    assert page.facts == (peer, False, ["inner:8080"])
    assert page.request.canonical_path.segments[0] == b"vhost.rpy"


def test_vhost_prefix_and_fields():
    """The client's address comes from the fields; scheme and host of the path count."""
    page = ask(ALL, target="/vhost.rpy/http/b.example:80/x", vhost_prefix="/vhost.rpy")
    assert page.facts == ("192.0.2.1", False, ["b.example"])


def test_notes():
    """What a trusted proxy says and cannot be used is noted, once of each kind."""
    events = []
    globalLogPublisher.addObserver(events.append)
    try:
        settings = Forwarded(vhost_prefix="/vhost.rpy")
        agent = SiteAgent(forwarded.build(settings, Seen(), make_context()))
        for _ in range(2):
            for name in ("For", "Proto", "Host"):
                agent.get("/", [(said(name), "?é")])
            agent.get("/vhost.rpy/x", ALL)
    finally:
        globalLogPublisher.removeObserver(events.append)
    notes = [formatEvent(event) for event in events if event.get("log_level") == LogLevel.warn]
    assert notes == [
        "the trusted proxy 127.0.0.1 tells a client that is ignored: b'?\\xc3\\xa9'",
        "the trusted proxy 127.0.0.1 tells a scheme that is ignored: b'?\\xc3\\xa9'",
        "the trusted proxy 127.0.0.1 tells a host that is ignored: b'?\\xc3\\xa9'",
        "the trusted proxy 127.0.0.1 tells a path that is ignored: b'/vhost.rpy/x'",
    ]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"trusted": ["10.0.0.1/8"]}, "trusted has '10.0.0.1/8': 10.0.0.1/8 has host bits set; expected an address"),
        ({"trusted": ["localhost"]}, "trusted has 'localhost': "),
        ({"header": "auto"}, "header is 'auto'; expected one of x-forwarded, forwarded"),
        ({"hops": -1}, "hops must not be negative"),
        ({"vhost_prefix": "vhost.rpy"}, "vhost_prefix is 'vhost.rpy'; expected a path such as '/vhost.rpy'"),
        ({"vhost_prefix": "/vhost.rpy/"}, "vhost_prefix is '/vhost.rpy/'"),
        ({"vhost_prefix": "/a?b"}, "vhost_prefix is '/a?b'"),
        ({"vhost_prefix": "/a//b"}, "vhost_prefix is '/a//b'"),
    ],
)
def test_settings(settings, message):
    """A wrong setting is named, with what was expected."""
    with pytest.raises(ValueError, match=re.escape(message)):
        Forwarded(**settings)


def node(text, port=0):
    """A node of an address as text."""
    found = parse_node(text.encode() if "." in text else b"[" + text.encode() + b"]")
    return Node(found.address, port)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"192.0.2.1", ("192.0.2.1", 0)),
        (b"192.0.2.1:80", ("192.0.2.1", 80)),
        (b"192.0.2.1:_a", ("192.0.2.1", 0)),
        (b"[::1]", ("::1", 0)),
        (b"[::ffff:192.0.2.1]:80", ("192.0.2.1", 80)),
        (b"::1", None),
        (b"192.0.2.1:", None),
        (b"192.0.2.1:65536", None),
        (b"192.0.2.01", None),
        (b"192.0.2.1 ", None),
        (b"192.0.2.1\n", None),
        (b"[::1", None),
        (b"unknown", None),
        (b"_x", None),
        (b"", None),
    ],
)
def test_nodes(value, expected):
    """A node is an address and port (RFC 7239, 6); what hides the address is none."""
    found = parse_node(value)
    assert (None if found is None else (str(found.address), found.port)) == expected
    assert parse_for(value) == (node("::1") if value == b"::1" else found)


def test_hops_are_read_from_the_end():
    """Both kinds of field tell the same story, the nearest proxy first."""
    first, second = Hop(node("192.0.2.2"), b"http", b"b"), Hop(node("192.0.2.1", 5), b"https", b"a")
    lines = [b'for="192.0.2.1:5";proto=https;host=a', b"for=192.0.2.2;proto=http;host=b"]
    assert list(forwarded_hops(lines)) == [first, second]
    assert list(x_forwarded_hops([b"192.0.2.1:5, 192.0.2.2"], [b"https,http"], [b"a", b"b"])) == [first, second]
    assert list(forwarded_hops([])) == list(x_forwarded_hops([], [], [])) == []


def test_follow_nothing():
    """Without a hop nothing was said."""
    assert follow("127.0.0.1", [], Trust(["loopback"]).__contains__) is None


def test_raw_prefixes_are_kept():
    """A target below the prefix is canonicalised as any other."""
    page = Seen()
    wrapper = forwarded.build(Forwarded(vhost_prefix="/v"), page, make_context())

    class Raw(Resource):
        isLeaf = True

        def render(self, request):
            request.raw_prefixes = RawPrefixes([(b"goto",)])
            return wrapper.render(request)

    assert SiteAgent(Raw()).get("/v/http/a.example/goto//x/../y").status == 200
    assert page.request.canonical_path.raw == b"/x/../y"
