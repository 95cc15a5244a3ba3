"""
The reverse proxy: which path of which server is asked, what it is told, and what comes back.
"""

import re

import pytest
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransport

from mixweb.assemble import Assembler, BuildError
from mixweb.features.forwarded import Forwarded
from mixweb.features.headers import Headers
from mixweb.features.proxy import FEATURE, Proxy, status_range
from mixweb.features.proxy._connect import Connecting
from mixweb.features.proxy._target import join, parse_target, targets
from mixweb.features.respond import Respond
from mixweb.plan import Host, Plan
from mixweb.testing import SiteAgent, make_context
from tests.upstreams import HELLO, Server


def sample(tmp_path, **changes):
    """A proxy in front of a server in memory."""
    return Proxy([Server(HELLO)], **changes)


URLS = [
    ("http://a", ("http://a", "a", 80, b"a", b"", False)),
    ("http://a/", ("http://a", "a", 80, b"a", b"", True)),
    ("http://a:80/", ("http://a", "a", 80, b"a", b"", True)),
    ("http://A:8080/x/y", ("http://a:8080", "a", 8080, b"a:8080", b"/x/y", False)),
    ("https://a/x/", ("https://a", "a", 443, b"a", b"/x", True)),
    ("https://a:8443", ("https://a:8443", "a", 8443, b"a:8443", b"", False)),
    ("http://[::1]:81/", ("http://[::1]:81", "::1", 81, b"[::1]:81", b"", True)),
    ("http://ü.example", ("http://xn--tda.example", "xn--tda.example", 80, b"xn--tda.example", b"", False)),
    ("http://a/ä b", ("http://a", "a", 80, b"a", b"/%C3%A4%20b", False)),
    ("http://a/%20", ("http://a", "a", 80, b"a", b"/%20", False)),
    ("unix:/run/app.sock", ("unix:/run/app.sock", "", 0, b"localhost", b"", False)),
    ("unix:///run/app.sock", ("unix:/run/app.sock", "", 0, b"localhost", b"", False)),
    ("unix:/run/app.sock:/base/", ("unix:/run/app.sock", "", 0, b"localhost", b"/base", True)),
    ("unix:@name", ("unix:@name", "", 0, b"localhost", b"", False)),
]  # fmt: skip


@pytest.mark.parametrize(("url", "found"), URLS)
def test_urls(url, found):
    """A URL says where a server is, what it is called and which path requests begin with."""
    target = parse_target(url)
    assert (target.name, target.host, target.port, target.authority, target.base, target.tail) == found


def test_several_urls():
    """Several URLs may stand in one text, with blanks between them."""
    found = targets(["http://a  http://b:81", "unix:/s", print])
    assert [getattr(item, "name", item) for item in found] == ["http://a", "http://b:81", "unix:/s", print]


REFUSED_SETTINGS = [
    ({"to": []}, "at least one server"),
    ({"to": ["localhost:9000"]}, "did you mean http://localhost:9000?"),
    ({"to": ["ws://a/x"]}, "did you mean http://a/x?"),
    ({"to": ["wss://a"]}, "did you mean https://a?"),
    ({"to": ["ftp://a"]}, "no URL of a server"),
    ({"to": ["/path"]}, "no URL of a server"),
    ({"to": [""]}, "no URL of a server"),
    ({"to": ["http://"]}, "no URL of a server"),
    ({"to": ["http://a:99999"]}, "no URL"),
    ({"to": ["http://a?b"]}, "more than a path"),
    ({"to": ["http://a<b"]}, "no host name"),
    ({"to": ["http://a http://b"], "weights": [1]}, "weights"),
    ({"to": ["http://user:secret@a"]}, "request_set"),
    ({"to": ["http://a/?q"]}, "more than a path"),
    ({"to": ["http://a/#f"]}, "more than a path"),
    ({"to": ["http://a/x/../y"]}, "dot segments"),
    ({"to": ["http://a//x"]}, "dot segments"),
    ({"weights": [1, 2]}, "weights"),
    ({"weights": [0]}, "weights"),
    ({"timeout": 0}, "timeout must be at least 1"),
    ({"queue": -1}, "queue must be at least 0"),
    ({"rewrite": {"^(": "/"}}, "rewrite: ^("),
    ({"rewrite": {"/a": "b"}}, "rewrite: /a"),
    ({"rewrite": {"/a": "/b"}, "raw": True}, "raw"),
    ({"cookie": "a b"}, "cookie"),
    ({"health": "healthz"}, "health"),
    ({"health_status": "up"}, "health_status"),
    ({"health_status": "400-200"}, "health_status"),
    ({"request_set": ["nonsense"]}, "request_set"),
    ({"request_set": ["Connection: close"]}, "belongs to the server"),
    ({"request_set": ["X: {clint}"]}, "did you mean {client}"),
    ({"set": ["Transfer-Encoding: x"]}, "belongs to the server"),
    ({"host": "a b"}, "host must be"),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "message"), REFUSED_SETTINGS)
def test_settings_are_checked(settings, message):
    """Settings that make no sense are refused, and the error says what to do."""
    with pytest.raises(ValueError, match=re.escape(message)):
        Proxy(**{"to": ["http://a"], **settings})


def test_a_missing_ca_file_is_an_error(tmp_path):
    """A file of authorities that is not there is found when the server is built."""
    plan = Plan(default=Host(Proxy(["https://a"], ca=str(tmp_path / "none.pem"))))
    with pytest.raises(BuildError, match=r"none\.pem' does not exist"):
        Assembler(Clock()).assemble(plan)


def test_unverified_certificates_warn():
    """To accept any certificate is said at start."""
    warnings = []
    FEATURE.build(Proxy(["https://a"], insecure=True), make_context(warn=warnings.append))
    assert ["insecure" in warning for warning in warnings] == [True]


@pytest.mark.parametrize(("text", "found"), [("200", (200, 200)), ("200-399", (200, 399))])
def test_status_ranges(text, found):
    """A status, or a range of them."""
    assert status_range(text) == found


PATHS = [
    ("http://b", "/api", {}, "/api", "/"),
    ("http://b", "/api", {}, "/api/", "/"),
    ("http://b", "/api", {}, "/api/x", "/x"),
    ("http://b", "/api", {}, "/api/x/?q=/../", "/x/?q=/../"),
    ("http://b", "/api", {}, "/api?q", "/?q"),
    ("http://b", "/", {}, "/", "/"),
    ("http://b", "/", {}, "/x", "/x"),
    ("http://b/base", "/api", {}, "/api", "/base"),
    ("http://b/base", "/api", {}, "/api?q", "/base?q"),
    ("http://b/base", "/api", {}, "/api/", "/base/"),
    ("http://b/base/", "/api", {}, "/api", "/base/"),
    ("http://b/base/", "/api", {}, "/api/x", "/base/x"),
    ("http://b", "/api", {}, "//api/./a/../x//y", "/x/y"),
    ("http://b/base", "/api", {}, "/api/../../x/../api/y", "/base/y"),
    ("http://b", "/api", {}, "/api/a%2Fb%20c%3F", "/a%2Fb%20c%3F"),
    ("http://b", "/api", {}, "/api/%7Ea%2e%2e", "/~a.."),
    ("http://b", "/api", {}, "/api/%0d%0aX:1", "/%0D%0AX:1"),
    ("http://b", "/api", {}, "/api/%00%ff", "/%00%FF"),
    ("http://b", "/api", {"strip": False}, "/api/x", "/api/x"),
    ("http://b/base", "/api", {"strip": False}, "/api/%20/x", "/base/api/%20/x"),
    ("http://b", "/api", {"raw": True}, "/api//a/../%41?q", "//a/../%41?q"),
    ("http://b", "/api", {"raw": True}, "/api", "/"),
    ("http://b/base", "/api", {"raw": True}, "/api", "/base"),
    ("http://b/base", "/api", {"raw": True}, "/api?q", "/base?q"),
    ("http://b/base", "/api", {"raw": True}, "/api/?q", "/base/?q"),
    ("http://b/base", "/api", {"raw": True}, "/api/..%2f", "/base/..%2f"),
    ("http://b", "/", {"raw": True}, "//x/../y", "//x/../y"),
    ("http://b", "/api", {"raw": True, "strip": False}, "/api/a/../b", "/api/a/../b"),
    ("http://b", "/api", {"rewrite": {"/v1/*": "/v2/{1}?old=1"}}, "/api/v1/a%2Fb?q", "/v2/a%2Fb?old=1&q"),
    ("http://b/base", "/api", {"rewrite": {"/v1/*": "/../{1}"}}, "/api/v1/x", "/base/x"),
    ("http://b", "/api", {"rewrite": {"/v1/*": "/v2/{1}"}}, "/api/v3", "/v3"),
]  # fmt: skip


@pytest.mark.parametrize(("url", "at", "settings", "target", "asked"), PATHS)
def test_paths(url, at, settings, target, asked, behind, monkeypatch):
    """The mount's path is taken off, rules make another path of it, and it is appended to that of the URL."""
    server = Server(HELLO)
    monkeypatch.setattr(Connecting, "to", lambda connecting, target: server)
    proxied = behind(url, at=at, **settings)
    proxied.get(target)
    assert server.received.split(b" ")[1].decode() == asked


@pytest.mark.parametrize("target", ["/apix", "/ap", "/%2Fapi", "/api%2Fx"])
def test_other_paths(target, behind):
    """What is not below the mount's path is not passed on."""
    proxied = behind(at="/api")
    assert proxied.get(target).status == 404
    assert proxied.server.accepted == []


def test_joined_paths():
    """A URL's path and the rest meet with one slash."""
    assert [join(b"", False, b""), join(b"/b", False, b""), join(b"/b", True, b"?q")] == [b"/", b"/b", b"/b/?q"]


PLAIN = {"Host": "h.example", "Accept": "*/*"}

FIELDS = [
    ({}, {}, ["Host: localhost", "Accept: */*"], []),
    ({"X-A": "1", "x-b": "2"}, {}, ["X-A: 1", "x-b: 2"], []),
    ({"Cookie": "a=b", "Authorization": "Basic eDp5"}, {}, ["Cookie: a=b", "Authorization: Basic eDp5"], []),
    ({"Connection": "x-a, close", "X-A": "1"}, {}, [], ["X-A", "Connection"]),
    ({"Keep-Alive": "5", "TE": "trailers", "Trailer": "X", "Upgrade": "h2c"}, {}, [], ["Keep-Alive", "TE", "Trailer", "Upgrade"]),
    ({"Proxy-Connection": "close", "Proxy-Authorization": "x"}, {}, [], ["Proxy-Connection", "Proxy-Authorization"]),
    ({"HTTP2-Settings": "x", "Proxy": "http://evil"}, {}, [], ["HTTP2-Settings", "Proxy"]),
    ({"X-Forwarded-For": "6.6.6.6"}, {}, ["X-Forwarded-For: 127.0.0.1"], []),
    ({"X_Forwarded_For": "6.6.6.6"}, {}, ["X-Forwarded-For: 127.0.0.1"], ["X_Forwarded_For"]),
    ({"X-Forwarded_Host": "evil"}, {}, ["X-Forwarded-Host: h.example"], ["X-Forwarded_Host"]),
    ({"Content_Length": "5", "Transfer_Encoding": "chunked"}, {}, [], ["Content_Length", "Transfer_Encoding"]),
    ({"X-Real-IP": "6.6.6.6", "Client-IP": "6.6.6.6"}, {}, [], ["X-Real-IP", "Client-IP"]),
    ({"Forwarded": "for=6.6.6.6"}, {}, ['Forwarded: for=127.0.0.1;host="h.example";proto=http'], []),
    ({}, {}, ["X-Forwarded-Proto: http", "X-Forwarded-Host: h.example"], ["X-Forwarded-Prefix"]),
    ({}, {"at": "/a b"}, ["X-Forwarded-Prefix: /a%20b"], []),
    ({}, {"at": "/a b", "strip": False}, [], ["X-Forwarded-Prefix"]),
    ({}, {"forwarded": "x-forwarded"}, ["X-Forwarded-For: 127.0.0.1"], ["Forwarded"]),
    ({}, {"forwarded": "forwarded"}, ['Forwarded: for=127.0.0.1;host="h.example";proto=http'], ["X-Forwarded-For"]),
    ({"X-Forwarded-For": "6.6.6.6"}, {"forwarded": "off"}, [], ["X-Forwarded-For", "Forwarded", "X-Forwarded-Proto"]),
    ({}, {"host": "client"}, ["Host: h.example"], []),
    ({}, {"host": "other.example:81"}, ["Host: other.example:81"], []),
    ({"X-A": "1"}, {"request_remove": ["x-*", "accept"]}, [], ["X-A", "Accept", "X-Forwarded-For"]),
    ({"X-A": "1"}, {"request_set": ["X-A: 2", "X-B: 3"]}, ["X-A: 2", "X-B: 3"], []),
    ({"X-A": "evil"}, {"request_set": ["X-A: {scheme}://{host} {client}"]}, ["X-A: http://h.example 127.0.0.1"], []),
    ({"X-User": "admin"}, {"request_set": ["X-User: {user}"]}, [], ["X-User"]),
]  # fmt: skip


@pytest.mark.parametrize(("sent", "settings", "there", "absent"), FIELDS)
def test_request_fields(sent, settings, there, absent, behind):
    """Fields are passed on in their order and case; those of the connection, and what only we may say, are not."""
    lines = behind(**settings).asked("GET", settings.get("at", "/").replace(" ", "%20"), {**PLAIN, **sent})
    for line in there:
        assert lines.count(line) == 1, lines
    names = [line.partition(":")[0].lower() for line in lines[1:]]
    assert not [name for name in absent if name.lower() in names]


def test_repeated_fields(behind):
    """A field that is there several times is passed on several times."""
    lines = behind().asked("GET", "/", [("X-A", "1"), ("X-A", "2")])
    assert [line for line in lines if line.startswith("X-A")] == ["X-A: 1", "X-A: 2"]


def test_the_same_head_again(behind):
    """What a connection sends again is passed on as it was, and what it sends anew is not."""
    proxied = behind()
    exchange = proxied.agent.connect()
    for value in ("1", "1", "1", "2"):
        exchange.request("GET", f"/{value}", {"X-A": value})
    heads = proxied.server.received.decode().split("\r\n\r\n")[:-1]
    assert [head.split("\r\n")[0] for head in heads] == [f"GET /{value} HTTP/1.1" for value in "1112"]
    assert [f"X-A: {value}" in head for head, value in zip(heads, "1112", strict=True)] == [True] * 4
    assert heads[0] == heads[1] == heads[2]
    assert len(proxied.server.accepted) == 1
    assert len(exchange.answers()) == 4


TRUSTED = {"X-Forwarded-For": "203.0.113.9, 10.0.0.7", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "shop.example"}


def test_trusted_proxies_are_passed_on(behind):
    """What trusted proxies say is said to the server too, and they are named."""
    proxied = behind(others=[Forwarded(["loopback", "private"])])
    lines = proxied.asked("GET", "/", TRUSTED)
    assert "X-Forwarded-For: 203.0.113.9, 10.0.0.7, 127.0.0.1" in lines
    assert "X-Forwarded-Proto: https" in lines
    assert "X-Forwarded-Host: shop.example" in lines
    assert 'Forwarded: for=203.0.113.9;host="shop.example";proto=https, for=10.0.0.7, for=127.0.0.1' in lines


def test_trust_is_not_remembered_for_others(behind):
    """What a trusted proxy says of one request is not said of the next one on its connection."""
    proxied = behind(others=[Forwarded(["loopback"])])
    exchange = proxied.agent.connect()
    for client in ("203.0.113.1", "203.0.113.2"):
        exchange.request("GET", "/", {"X-Forwarded-For": client})
        assert f"X-Forwarded-For: {client}, 127.0.0.1".encode() in proxied.server.received.rpartition(b"GET /")[2]


def test_addresses_of_ip6():
    """An IPv6 address stands in brackets and quotes where RFC 7239 has it so."""
    from mixweb.features.proxy._request import Origin, forwarded, x_forwarded

    origin = Origin("2001:db8::1", ("unix",), True, b'a"b', b"")
    assert forwarded(origin) == [(b"Forwarded", b'for="[2001:db8::1]";host="a\\"b";proto=https, for=unknown')]
    assert x_forwarded(origin)[0] == (b"X-Forwarded-For", b"2001:db8::1, unix")


def test_via_and_loops(behind):
    """Requests say which servers they came through; one that comes round is 508."""
    proxied = behind()
    via = next(line for line in proxied.asked("GET", "/", {"Via": "1.0 other"}) if line.startswith("Via"))
    assert via.startswith("Via: 1.0 other, 1.1 mixweb-")
    assert proxied.get("/", {"Via": via.removeprefix("Via: ")}).status == 508


MAX_FORWARDS = [("OPTIONS", "1", 200, "Max-Forwards: 0"), ("OPTIONS", "0", 204, None), ("OPTIONS", "x", 400, None),
                ("GET", "0", 200, "Max-Forwards: 0")]  # fmt: skip


@pytest.mark.parametrize(("method", "value", "status", "line"), MAX_FORWARDS)
def test_max_forwards(method, value, status, line, behind):
    """OPTIONS goes no further than it may (RFC 9110, 7.6.2)."""
    proxied = behind()
    assert proxied.request(method, "/", {"Max-Forwards": value}).status == status
    assert line is None or line.encode() in proxied.server.received
    assert (line is None) is (proxied.server.accepted == [])


def test_trace_is_not_passed_on(behind):
    """TRACE would show what is added on the way."""
    proxied = behind()
    assert proxied.request("TRACE", "/").status == 405
    assert proxied.server.accepted == []


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "BREW"])
def test_methods(method, behind):
    """Any method is passed on; one that may have a body says when it has none."""
    lines = behind().asked(method, "/x")
    assert lines[0] == f"{method} /x HTTP/1.1"
    assert ("Content-Length: 0" in lines) is (method in ("POST", "PUT", "PATCH"))


ANSWER = b"HTTP/1.1 207 Fine\r\nServer: s\r\nDate: d\r\nX-A: 1\r\nX-A: 2\r\n%bContent-Length: 2\r\n\r\nhi"

ANSWER_FIELDS = [
    (b"", {}, {"X-A": "1, 2", "Server": "s", "Date": "d"}, []),
    (b"Connection: x-b\r\nX-B: 1\r\nKeep-Alive: 5\r\nTE: x\r\nTrailer: y\r\n", {}, {}, ["X-B", "Keep-Alive", "TE", "Trailer"]),
    (b"Upgrade: h2c\r\nProxy-Connection: close\r\n", {}, {}, ["Upgrade", "Proxy-Connection"]),
    (b"Proxy-Authenticate: Basic\r\n", {}, {}, ["Proxy-Authenticate"]),
    (b"Connection: content-length\r\n", {}, {"Content-Length": "2"}, []),
    (b"Set-Cookie: a=b\r\nSet-Cookie: c=d\r\n", {}, {"Set-Cookie": "a=b, c=d"}, []),
    (b"", {"set": ["X-A: 3", "X-C: 4"]}, {"X-A": "3", "X-C": "4"}, []),
    (b"", {"add": ["X-A: 3"]}, {"X-A": "1, 2, 3"}, []),
    (b"X-B: 1\r\n", {"remove": ["x-*", "content-length"]}, {"Content-Length": "2"}, ["X-A", "X-B"]),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "settings", "there", "absent"), ANSWER_FIELDS)
def test_answer_fields(fields, settings, there, absent, behind):
    """Status, reason and fields of an answer are passed back, but for those about the connection."""
    answer = behind(Server(ANSWER % fields), **settings).get("/")
    assert (answer.status, answer.reason, answer.text) == (207, "Fine", "hi")
    assert {name: answer[name] for name in there} == there
    assert not [name for name in absent if answer[name] is not None]


def test_answers_do_not_share_fields(behind):
    """What is done to the fields of one answer is not done to the next one with the same head."""
    proxied = behind(Server(ANSWER % b"Vary: Accept\r\n"), others=[Headers(add=["Vary: Origin"])])
    exchange = proxied.agent.connect()
    for _ in range(3):
        exchange.request("GET", "/")
    assert [answer["Vary"] for answer in exchange.answers()] == ["Accept, Origin"] * 3


def test_other_mounts(behind):
    """Beside a proxy other mounts have their paths."""
    proxied = behind(at="/api", others=[Respond("own", at="/")])
    assert [proxied.get("/api/x").text, proxied.get("/x").text] == ["hello", "own"]


HEAD_ANSWERS = [
    (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "5"),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", None),
    (b"HTTP/1.1 200 OK\r\n\r\n", None),
]


@pytest.mark.parametrize(("answer", "length"), HEAD_ANSWERS)
def test_head(answer, length, behind):
    """HEAD is passed on as it is; the length in the answer is that of GET, where it is known."""
    proxied = behind(Server(answer))
    found = proxied.request("HEAD", "/")
    assert (found.status, found.body, found["Content-Length"]) == (200, b"", length)
    assert len(proxied.server.open) == 1


@pytest.mark.parametrize("status", [204, 304])
def test_answers_without_a_body(status, behind):
    """204 and 304 have no body, and their connection is kept."""
    proxied = behind(Server(b'HTTP/1.1 %d X\r\nETag: "x"\r\n\r\n' % status))
    for _ in range(2):
        answer = proxied.get("/")
        assert (answer.status, answer.body, answer["ETag"]) == (status, b"", '"x"')
    assert len(proxied.server.accepted) == 1


def test_function_or_endpoint(behind):
    """A server may be given as a function that connects a protocol, or as one of Twisted's endpoints."""
    from twisted.internet.interfaces import IStreamClientEndpoint
    from zope.interface import implementer

    @implementer(IStreamClientEndpoint)
    class Endpoint(Server):
        def connect(self, factory):
            return self(factory.buildProtocol(None)).addCallback(lambda protocol: protocol)

    assert behind(Endpoint(HELLO)).get("/").text == "hello"


def test_connector_names_the_socket(tmp_path):
    """A UNIX socket that nobody listens on is a reason to say so."""
    failures = []
    connecting = Connecting(Clock(), 5).to(parse_target(f"unix:{tmp_path}/none"))(None)
    connecting.addErrback(failures.append)
    assert "no such file" in str(failures[0].value)


@pytest.mark.filterwarnings("ignore:twisted.web.http.HTTPClient:DeprecationWarning")
def test_twisteds_own():
    """The reverse proxy of Twisted's can be used under our site, as under its own."""
    from twisted.web.proxy import ReverseProxyResource

    reactor = MemoryReactorClock()
    agent = SiteAgent(ReverseProxyResource("up.example", 81, b"/base", reactor=reactor))
    exchange = agent.open("GET", "/x")
    host, port, factory, *_ = reactor.tcpClients[0]
    assert (host, port) == ("up.example", 81)
    protocol = factory.buildProtocol(None)
    protocol.makeConnection(StringTransport())
    assert protocol.transport.value().startswith(b"GET /base/x HTTP/1.0\r\n")
    protocol.dataReceived(b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello")
    assert exchange.answer.text == "hello"
