"""
Shared servers: requests handed on to the site of another process, and their answers.
"""

import gc
from io import BytesIO

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.address import IPv6Address, UNIXAddress
from twisted.internet.defer import succeed
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import deferLater
from twisted.protocols.basic import FileSender
from twisted.python.failure import Failure
from twisted.spread import pb
from twisted.test import iosim
from twisted.web import distrib
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from twisted.web.server import Site as StockSite
from zope.interface import implementer

from mixweb.assemble import Mounts
from mixweb.engine.errors import HTTPError
from mixweb.engine.site import Site
from mixweb.interfaces import IClientAddress
from mixweb.shared import RemoteSite, personal_factory
from mixweb.shared._published import cookie_arguments
from mixweb.testing import SiteAgent
from mixweb.wrapper import Wrapper


class Network:
    """UNIX sockets in memory: servers by their path, and the connections to them."""

    def __init__(self, **servers):
        self.servers = servers
        self.pumps = []

    def connectUNIX(self, path, factory, timeout, checkPID=0):
        if path not in self.servers:
            factory.clientConnectionFailed(None, Failure(ConnectError()))
            return
        server = self.servers[path].buildProtocol(UNIXAddress(path.encode()))
        client = factory.buildProtocol(UNIXAddress(path.encode()))
        self.pumps.append(
            iosim.connect(server, iosim.FakeTransport(server, True), client, iosim.FakeTransport(client, False))
        )

    def flush(self):
        """Deliver everything."""
        while [pump for pump in self.pumps if pump.flush()]:
            pass

    def cut(self):
        """All servers go away."""
        for pump in self.pumps:
            pump.serverIO.abortConnection()
            pump.flush()
        self.pumps = []


class Call(Resource):
    """Answers with what a function returns."""

    isLeaf = True

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def render(self, request):
        return self.answer(request)


class Agent:
    """Asks a site that hands all below /user.twistd/ on to another one."""

    def __init__(self, answer, published=personal_factory, wrapper=lambda inner: inner, **options):
        resource = answer if isinstance(answer, Resource) else Call(answer)
        self.site = Site(resource)
        self.network = Network(socket=published(self.site))
        self.remote = RemoteSite(UNIXClientEndpoint(self.network, "socket"), "socket")
        self.agent = SiteAgent(wrapper(Mounts([("/user.twistd", self.remote)])), **options)

    def open(self, method="GET", target="/user.twistd/", headers=(), body=b""):
        exchange = self.agent.open(method, target, headers, body)
        self.network.flush()
        return exchange

    def ask(self, *arguments, **options):
        return self.open(*arguments, **options).answer


def stock(site):
    """Twisted's own side that publishes."""
    return pb.PBServerFactory(distrib.ResourcePublisher(StockSite(site.resource)))


def seen(request):
    """Says what arrived."""
    return repr(
        [
            request.method,
            request.uri,
            request.prepath,
            request.postpath,
            request.args,
            request.getHeader(b"x-a"),
            request.getCookie(b"c"),
            request.content.read(),
        ]
    ).encode()


@pytest.mark.parametrize(
    ("published", "target", "uri", "prepath"),
    [
        (personal_factory, "/user.twistd/a/b%2Fc?x=1", b"/a/b%2Fc?x=1", []),
        (personal_factory, "/user.twistd", b"/", []),
        (personal_factory, "/user.twistd/", b"/", []),
        (personal_factory, "/user.twistd/%C3%A4%20/?", b"/%C3%A4%20/?", []),
        (stock, "/user.twistd/a/b%2Fc?x=1", b"/user.twistd/a/b%2Fc?x=1", [b"user.twistd"]),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_request(published, target, uri, prepath, method):
    """A request arrives as it was sent, with the path below the site; Twisted's own side gets the whole path."""
    body = b"y=2" if method == "POST" else b""
    headers = {"X-A": "b", "Cookie": "c=d", "Content-Type": "application/x-www-form-urlencoded"}
    answer = Agent(seen, published).ask(method, target, headers, body)
    assert answer.status == 200
    found = eval(answer.text)
    assert found[:3] == [method.encode(), uri, prepath]
    args = ({b"x": [b"1"]} if b"x=1" in uri else {}) | ({b"y": [b"2"]} if body else {})
    assert found[4:] == [args, b"b", b"d", body]


def written(request):
    request.setHeader(b"Content-Type", b"text/plain")
    request.write(b"one ")
    request.write(b"two")
    request.finish()
    return NOT_DONE_YET


def described(request):
    request.setResponseCode(418, b"Short")
    request.setHeader(b"X-A", b"b")
    request.setETag(b'"tag"')
    request.setLastModified(1000000000)
    request.addCookie(b"a", b"1", path=b"/", httpOnly=True, sameSite=b"lax")
    request.addCookie(b"b", b"2", max_age=b"5", secure=True)
    return b"tea"


@pytest.mark.parametrize("published", [personal_factory, stock])
@pytest.mark.parametrize(
    ("answer", "status", "body", "fields"),
    [
        (lambda request: b"bytes", 200, b"bytes", {"Content-Length": "5", "Content-Type": "text/html"}),
        (written, 200, b"one two", {"Content-Type": "text/plain"}),
        (lambda request: b"", 200, b"", {}),
        (lambda request: b"x" * 2_000_000, 200, b"x" * 2_000_000, {"Content-Length": "2000000"}),
        (
            described,
            418,
            b"tea",
            {
                "X-A": "b",
                "ETag": '"tag"',
                "Last-Modified": "Sun, 09 Sep 2001 01:46:40 GMT",
                "Set-Cookie": "a=1; Path=/; HttpOnly; SameSite=lax, b=2; Max-Age=5; Secure",
            },
        ),
    ],
)
def test_answers(published, answer, status, body, fields):
    """Answers come as the published site gave them, whichever side is Twisted's."""
    found = Agent(answer, published).ask()
    assert (found.status, found.body) == (status, body)
    if published is stock:
        fields = {name: value for name, value in fields.items() if name != "Content-Length"}
    assert {name: found[name] for name in fields} == fields
    assert len(found.headers.getRawHeaders("Date")) == 1


async def later(request):
    await succeed(None)
    return "later"


async def pieces(request):
    yield b"one "
    yield "two"


class Marked(Wrapper):
    """Has both hooks at work."""

    def handle(self, request):
        request.before_headers(lambda request: request.setHeader(b"X-Hook", b"ran"))
        request.filter_body(self)
        self.forward(request)

    def feed(self, data):
        return data.upper()

    def flush(self):
        return b"!"


@pytest.mark.parametrize(
    ("answer", "body"),
    [(lambda request: "tëxt", "tëxt".encode()), (later, b"later"), (pieces, b"one two"), (lambda request: b"", b"")],
)
@pytest.mark.parametrize("wrapped", [True, False])
def test_a_whole_server_can_be_published(answer, body, wrapped):
    """What resources and wrappers can do behind a listening port, they can do in a published site."""
    resource = Marked(Call(answer)) if wrapped else Call(answer)
    agent = Agent(seen)
    agent.site.resource = resource
    found = agent.ask()
    assert (found.status, found.body) == (200, body.upper() + b"!" if wrapped else body)
    assert found["X-Hook"] == ("ran" if wrapped else None)


def test_head():
    """The answer to HEAD has the length and no body."""

    class Page(Resource):
        isLeaf = True

        def render_GET(self, request):
            return b"page"

    found = Agent(Page()).ask("HEAD")
    assert (found.status, found.body, found["Content-Length"]) == (200, b"", "4")


def fail(request):
    raise KeyError("secret")


def refuse(request):
    raise HTTPError(409, "No.")


def break_midway(request):
    request.setHeader(b"Content-Length", b"100")
    request.write(b"half")
    raise KeyError("secret")


@pytest.mark.parametrize(
    ("answer", "published", "status", "text"),
    [
        (fail, personal_factory, 500, "500 Internal Server Error\nThe server failed to answer.\n"),
        (refuse, personal_factory, 409, "409 Conflict\nNo.\n"),
        (fail, stock, 502, "502 Bad Gateway\nThe server of this site failed.\n"),
    ],
)
def test_errors(answer, published, status, text, failures):
    """An error of the published site is an error page, and never shows what was wrong."""
    found = Agent(answer, published).ask(headers={"Accept": "text/plain"})
    assert (found.status, found.text) == (status, text)


@pytest.mark.parametrize("published", [personal_factory, stock])
def test_broken_midway(published, failures):
    """An answer that breaks off has its connection dropped."""
    assert Agent(break_midway, published).open().transport.aborted


def too_short(request):
    request.setHeader(b"Content-Length", b"100")
    request.write(b"half")
    request.finish()
    return NOT_DONE_YET


def too_long(request):
    request.setHeader(b"Content-Length", b"4")
    request.write(b"half")
    request.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    request.finish()
    return NOT_DONE_YET


def smuggle(request):
    request.setHeader("Transfer-Encoding", "identity")
    request.setHeader(b"Connection", b"upgrade")
    request.setResponseCode(200, b"OK\r\nContent-Length: 0\r\n\r\n")
    return b"body"


def test_lengths():
    """No published site can have what it sends taken for the answer of another."""
    assert Agent(too_short, stock).open().transport.aborted
    long = Agent(too_long, stock).open()
    assert long.received.endswith(b"\r\n\r\nhalf")
    found = Agent(smuggle, stock).ask()
    assert (found.status, found.reason, found.body) == (200, "OK", b"body")
    assert (found["Transfer-Encoding"], found["Connection"]) == ("chunked", None)


def test_not_published():
    """Where no site is published the answer is 502; as soon as there is one it is asked."""
    agent = Agent(seen)
    servers, agent.network.servers = agent.network.servers, {}
    assert agent.ask().status == 502
    agent.network.servers = servers
    assert agent.ask().status == 200


@pytest.mark.parametrize("published", [personal_factory, stock])
def test_server_goes_away(published):
    """When the published site goes away, requests under way are 502 or dropped; the next one makes a new connection."""
    answers = [
        lambda request: NOT_DONE_YET,
        lambda request: request.write(b"half") or NOT_DONE_YET,
        lambda request: b"new",
    ]
    agent = Agent(lambda request: answers.pop(0)(request), published)
    waiting, begun = agent.open(), agent.open()
    agent.network.cut()
    assert waiting.answer.status == 502
    assert begun.transport.aborted
    assert agent.ask().body == b"new"


def test_connections_are_shared():
    """One connection carries all requests."""
    agent = Agent(seen)
    for _ in range(3):
        agent.ask()
    assert len(agent.network.pumps) == 1
    agent.remote.disconnect()
    agent.network.flush()
    assert agent.remote.idle


def test_client_leaves_before_the_connection():
    """A client that leaves while the connection is made leaves nothing behind."""
    agent = Agent(seen)
    held = []
    agent.network.connectUNIX = lambda path, factory, timeout, checkPID: held.append(factory)
    exchange = agent.agent.open("GET", "/user.twistd/")
    exchange.disconnect()
    held[0].clientConnectionFailed(None, Failure(ConnectError()))
    assert agent.remote.idle
    assert not agent.remote.replies


def test_client_leaves():
    """The published site learns that the client has left."""
    ended = []

    def wait(request):
        request.notifyFinish().addBoth(ended.append)
        return NOT_DONE_YET

    agent = Agent(wait)
    logged = []
    agent.site.observers.append(logged.append)
    exchange = agent.open()
    assert not ended
    exchange.disconnect()
    agent.network.flush()
    assert [type(reason) for reason in ended] == [Failure]
    assert len(logged) == 1


def test_end_is_told():
    """The published site's own log is told of each request, once."""
    agent = Agent(seen)
    logged = []
    agent.site.observers.append(logged.append)
    agent.ask()
    assert [(request.code, request.sentLength > 0) for request in logged] == [(200, True)]


def test_references_are_given_back():
    """Nothing of a request that has ended is kept on the connection, whether it was answered or the client had left."""
    agent = Agent(lambda request: NOT_DONE_YET if b"wait" in request.uri else b"x")
    agent.ask()
    gc.disable()
    try:
        for _ in range(5):
            agent.ask()
            waiting = agent.open(target="/user.twistd/wait")
            waiting.disconnect()
            agent.network.flush()
        broker = agent.remote._publisher.broker
        assert (len(broker.localObjects), len(broker.waitingForAnswers)) == (0, 0)
    finally:
        gc.enable()


@implementer(IPushProducer)
class Endless:
    """Writes as long as it is not paused."""

    def __init__(self, request):
        self.request = request
        self.paused = False
        self.written = 0
        self.stopped = False
        request.registerProducer(self, True)

    def produce(self):
        while not self.paused and self.written < 100_000_000:
            self.written += 10_000
            self.request.write(b"x" * 10_000)

    def pauseProducing(self):
        self.paused = True

    def resumeProducing(self):
        self.paused = False

    def stopProducing(self):
        self.stopped = True


def test_slow_client():
    """A producer of the published site waits for a client that does not take its answer, and goes on when it does."""
    producers = []

    def endless(request):
        producers.append(Endless(request))
        return NOT_DONE_YET

    agent = Agent(endless)
    exchange = agent.open()
    producer = producers[0]
    producer.request.write(b"x")
    agent.network.flush()
    exchange.protocol.pauseProducing()
    producer.produce()
    assert producer.written <= 300_000
    agent.network.flush()
    assert producer.paused
    exchange.protocol.resumeProducing()
    agent.network.flush()
    assert not producer.paused
    before = producer.written
    producer.produce()
    assert producer.written > before


@pytest.mark.parametrize("published", [personal_factory, stock])
@pytest_twisted.ensureDeferred
async def test_pull_producer(published):
    """A producer that is asked for each piece gives the whole file."""
    content = bytes(range(256)) * 3000

    def send(request):
        FileSender().beginFileTransfer(BytesIO(content), request).addCallback(lambda _: request.finish())
        return NOT_DONE_YET

    agent = Agent(send, published)
    exchange = agent.agent.open("GET", "/user.twistd/")
    for _ in range(1000):
        agent.network.flush()
        if not agent.remote.replies:
            break
        await deferLater(reactor, 0)
    assert exchange.answer.body == content


def test_reading_pauses():
    """When too much waits for slow clients, nothing more is read from the published site."""
    calls = []

    def write(request):
        request.write(b"begin")
        calls.append(request)
        return NOT_DONE_YET

    agent = Agent(write)
    exchange = agent.open()
    exchange.protocol.pauseProducing()
    transport = agent.remote._publisher.broker.transport
    states = []
    transport.pauseProducing = lambda: states.append("paused")
    transport.resumeProducing = lambda: states.append("resumed")
    for _ in range(20):
        calls[0].write(b"x" * 1_000_000)
    agent.network.flush()
    assert states == ["paused"]
    exchange.protocol.resumeProducing()
    assert states == ["paused", "resumed"]
    assert agent.remote.waiting_bytes == 0


def test_long_body():
    """A body that is too long for one message comes in parts; Twisted's own side takes none, and that is 413."""
    body = bytes(range(256)) * 10_000
    received = []

    def take(request):
        received.append(request.content.read())
        return b"taken"

    assert Agent(take).ask("PUT", body=body).body == b"taken"
    assert received == [body]
    found = Agent(take, stock).ask("PUT", body=body)
    assert (found.status, found.text) == (
        413,
        "413 Request Entity Too Large\nThe server of this site takes at most 655360 bytes.\n",
    )
    agent = Agent(take)
    agent.site.max_body_bytes = 1_000_000
    assert agent.ask("PUT", body=body).status == 413
    assert len(received) == 1


def test_long_body_client_leaves():
    """A client that leaves while its body is passed in parts leaves nothing behind."""
    agent = Agent(seen)
    agent.ask()
    exchange = agent.agent.open("PUT", "/user.twistd/", body=b"x" * 2_000_000)
    exchange.disconnect()
    agent.network.flush()
    assert not agent.remote.replies


def place(request):
    session = request.getSession()
    request.setHeader(b"X-Url", request.prePathURL())
    request.setHeader(b"X-Session", b"yes" if session else b"no")
    request.redirect(b"/elsewhere?a=b")
    return b""


def test_place():
    """URLs that the published site makes for itself lead to where the shared server has it."""
    found = Agent(place).ask(target="/user.twistd/a")
    assert found["X-Url"] == "http://localhost:8080/user.twistd"
    assert found["Location"] == "/user.twistd/elsewhere?a=b"
    assert found["Set-Cookie"].startswith("TWISTED_SESSION_user.twistd=")


@implementer(IClientAddress)
class Address:
    host = "2001:db8::1"
    proxies = ()


class Trusted(Wrapper):
    def handle(self, request):
        request.setComponent(IClientAddress, Address())
        self.forward(request)


@pytest.mark.parametrize(
    ("options", "address", "client"),
    [
        ({"peer": "192.0.2.1"}, None, "192.0.2.1"),
        ({}, IPv6Address("TCP", "::1", 1), "::1"),
        ({}, UNIXAddress(b"/run/x"), b"/run/x"),
        ({"wrapper": Trusted}, None, "2001:db8::1"),
    ],
)
def test_addresses(options, address, client):
    """The published site knows the client's address, of whatever family, and whether it came over TLS."""
    found = []

    def note(request):
        found.append((getattr(request.client, "host", None) or request.client.name, request.isSecure()))
        return b""

    agent = Agent(note, secure=True, **options)
    exchange = agent.agent.connect()
    if address is not None:
        exchange.transport.peerAddr = address
    exchange.request("GET", "/user.twistd/")
    agent.network.flush()
    assert found == [(client, True)]


def test_malformed_form():
    """A malformed form is refused before it is handed on."""
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    assert Agent(seen).ask("POST", headers=headers, body=b"nonsense").status == 400


def test_stock_subscription(monkeypatch):
    """Twisted's own shared server can hand requests of this site on, to either kind of published site."""
    for published in (personal_factory, stock):
        agent = Agent(lambda request: b"answer of " + request.uri, published)
        network = agent.network
        monkeypatch.setattr(distrib, "reactor", network)
        asked = SiteAgent(distrib.ResourceSubscription("unix", "socket"))
        exchange = asked.open("GET", "/x")
        network.flush()
        assert exchange.answer.body == b"answer of /x"


@pytest.mark.parametrize(
    ("line", "arguments"),
    [
        (b"a=1", (b"a", b"1", {})),
        (b"a=1; Path=/; Expires=Sun, 09 Sep 2001", (b"a", b"1", {"path": b"/", "expires": b"Sun, 09 Sep 2001"})),
        (b"a=b=c; secure; HttpOnly; Max-Age=5", (b"a", b"b=c", {"secure": True, "httpOnly": True, "max_age": b"5"})),
        (b"a=; samesite=Strict; Domain=x.example", (b"a", b"", {"sameSite": b"Strict", "domain": b"x.example"})),
    ],
)
def test_cookies(line, arguments):
    """A Set-Cookie line is passed as what addCookie takes."""
    assert cookie_arguments(line) == arguments
