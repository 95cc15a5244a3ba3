"""
Answers that come late, broken, or not at all.
"""

import h11
import pytest
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from twisted.web.static import NoRangeStaticProducer

from mixweb.assemble import Assembler
from mixweb.engine.site import Site
from mixweb.feature import Stage, Wrap
from mixweb.features.faults import Faults, FaultsWrapper, build, split_query
from mixweb.kit.breakage import break_answer
from mixweb.plan import Host, Plan
from mixweb.registry import Registry
from mixweb.testing import SiteAgent, make_context
from mixweb.wrapper import HTTPError
from tests.samples import SAMPLES, Goto


def sample(tmp_path, **changes):
    return Faults(override=True, **changes)


class Pages(Resource):
    """Says what it was asked for, in several ways."""

    isLeaf = True

    def __init__(self):
        super().__init__()
        self.asked = []
        self.stopped = []

    def render_GET(self, request):
        self.asked.append(request.target)
        name = request.postpath[0] if request.postpath else b""
        return getattr(self, name.decode() or "whole")(request)

    render_POST = render_GET

    def whole(self, request):
        request.setHeader(b"Cache-Control", b"max-age=60")
        return b"0123456789"

    def empty(self, request):
        return b""

    def none(self, request):
        raise HTTPError(404)

    def arguments(self, request):
        return repr(sorted(request.args.items())).encode()

    async def pieces(self, request):
        for _ in range(3):
            yield b"0123456789"

    def endless(self, request):
        """A producer that never ends."""
        request.registerProducer(Endless(self, request), True)
        request.write(b"0123456789")
        return NOT_DONE_YET

    def pulled(self, request):
        """A pull producer that never ends."""
        producer = Pulled(request, self)
        producer.start()
        producer.resumeProducing()
        return NOT_DONE_YET


class Endless:
    def __init__(self, pages, request):
        self.pages = pages
        request.notifyFinish().addErrback(lambda _: pages.stopped.append("gone"))

    def pauseProducing(self):
        pass

    def resumeProducing(self):
        pass

    def stopProducing(self):
        self.pages.stopped.append("stopped")


class Pulled(NoRangeStaticProducer):
    def __init__(self, request, pages):
        super().__init__(request, None)
        self.pages = pages

    def start(self):
        self.request.registerProducer(self, False)

    def resumeProducing(self):
        self.request.write(b"0123456789")

    def stopProducing(self):
        self.pages.stopped.append("stopped")


def agent(settings, pages=None, chance=lambda: 0.5):
    clock = Clock()
    wrapper = FaultsWrapper(settings, pages or Pages(), clock, chance)
    return SiteAgent(Site(wrapper, reactor=clock), clock=clock)


def lenient(exchange):
    """The status and body of an answer that is not whole, and whether its end came."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
    client.send(h11.EndOfMessage())
    client.receive_data(exchange.received)
    if exchange.transport.disconnecting:
        client.receive_data(b"")
    status, body = None, b""
    while True:
        try:
            event = client.next_event()
        except h11.RemoteProtocolError:
            return status, body, False
        if isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            return status, body, True
        else:
            return status, body, None


@pytest.mark.parametrize(
    ("query", "status", "body"),
    [
        ("", 200, "0123456789"),
        ("?mix.status=503", 503, None),
        ("?mix.status=404", 404, None),
        ("?mix.status=204", 204, ""),
        ("?mix.status=302", 302, ""),
        ("?mix.status=0", 200, "0123456789"),
        ("?mix.status=503&mix.status=500", 500, None),
        ("?mix%2Estatus=503", 503, None),
        ("?%6dix.status=503", 503, None),
        ("?a=mix.status", 200, "0123456789"),
    ],
)
def test_status(query, status, body):
    """A request may ask for a status; the resource is not asked then."""
    pages = Pages()
    answer = agent(Faults(override=True), pages).get("/" + query)
    assert answer.status == status
    assert body is None or answer.text == body
    assert bool(pages.asked) is (status == 200)
    if "mix" in query and "a=" not in query:
        assert answer["Cache-Control"] == "no-store"


def test_error_page():
    """An error that was asked for is one like any other."""
    answer = agent(Faults(override=True)).get("/?mix.status=503", {"Accept": "application/json"})
    assert answer.body == (
        b'{"status": 503, "error": "Service Unavailable", "detail": "This answer fails on purpose."}\n'
    )


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("mix.header=X-A:1", {"X-A": "1", "Cache-Control": "no-store"}),
        ("mix.header=X-A:%201&mix.header=X-A:2", {"X-A": "1, 2"}),
        ("mix.header=cache-control:public", {"Cache-Control": "public"}),
        ("mix.header=Content-Type:text/css", {"Content-Type": "text/css"}),
        ("mix.header=X-A:a+b%26c", {"X-A": "a b&c"}),
        ("mix.header=X-A:", {"X-A": ""}),
        ("mix.header=Retry-After:3&mix.status=503", {"Retry-After": "3"}),
    ],
)
def test_headers(query, expected):
    """A request may ask for headers, in the place of the resource's."""
    answer = agent(Faults(override=True)).get("/?" + query)
    assert {name: answer[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("mix.status=100", "mix.status must be"),
        ("mix.status=600", "mix.status must be"),
        ("mix.status=x", "mix.status must be"),
        ("mix.status=", "mix.status must be"),
        ("mix.delay=-1", "mix.delay must be"),
        ("mix.delay=nan", "mix.delay must be"),
        ("mix.delay=1e9", "mix.delay must be"),
        ("mix.jitter=x", "mix.jitter must be"),
        ("mix.fault=explode", "mix.fault must be one of reset, truncate, length"),
        ("mix.fault=", "mix.fault must be one of"),
        ("mix.stauts=503", "there is no mix.stauts"),
        ("mix.=503", "there is no mix."),
        ("mix.header=X-A", "is not a header line"),
        ("mix.header=X-A:1%0d%0aX-Evil:1", "has control characters"),
        ("mix.header=X%0d%0aX-Evil:1", "is not a header line"),
        ("mix.header=Content-Length:1", "cannot be changed"),
        ("mix.header=Transfer-Encoding:x", "cannot be changed"),
        ("mix.header=Connection:close", "cannot be changed"),
        ("mix.header=%FF:x", "faults:"),
    ],
)
def test_refused(query, said, failures):
    """What cannot be done is 400 and says so; nothing splits an answer."""
    pages = Pages()
    answer = agent(Faults(override=True), pages).get("/?" + query)
    assert answer.status == 400
    assert said in answer.text
    assert answer["X-Evil"] is None
    assert pages.asked == []
    assert failures == []


@pytest.mark.parametrize(
    ("target", "seen"),
    [
        ("/arguments?a=1", "/arguments?a=1"),
        ("/arguments?mix.delay=0", "/arguments"),
        ("/arguments?a=1&mix.delay=0", "/arguments?a=1"),
        ("/arguments?a=%31+&mix.delay=0&&b&mix.header=X:1", "/arguments?a=%31+&&b"),
        ("/arguments?mixture=1&mix.delay=0", "/arguments?mixture=1"),
        ("//arguments/?mix.delay=0", "//arguments/"),
    ],
)
def test_the_resource_does_not_see_it(target, seen):
    """The resource sees its own part of the query, byte for byte."""
    pages = Pages()
    answer = agent(Faults(override=True), pages).get(target)
    assert pages.asked == [seen.encode()]
    assert b"mix." not in answer.body


def test_override_is_off():
    """Without the setting the query asks for nothing."""
    pages = Pages()
    client = agent(Faults(), pages)
    assert client.get("/?mix.status=503&mix.fault=reset&mix.delay=5").body == b"0123456789"
    assert pages.asked == [b"/?mix.status=503&mix.fault=reset&mix.delay=5"]


@pytest.mark.parametrize(
    ("settings", "query", "seconds"),
    [
        ({"override": True}, "?mix.delay=2", 2),
        ({"override": True}, "?mix.delay=2.5", 2.5),
        ({"override": True}, "?mix.delay=1&mix.jitter=4", 3),
        ({"override": True, "max_delay": 3}, "?mix.delay=100", 3),
        ({"delay": 2.0}, "", 2),
        ({"delay": 1.0, "jitter": 2.0}, "", 2),
        ({"delay": 2.0, "override": True}, "?mix.delay=1", 1),
    ],
)
def test_delay(settings, query, seconds):
    """Answers come late; the resource is asked late too."""
    pages = Pages()
    client = agent(Faults(**settings), pages)
    exchange = client.open("GET", "/" + query)
    client.clock.advance(seconds - 0.01)
    assert exchange.received == b""
    assert pages.asked == []
    client.clock.advance(0.02)
    assert exchange.answer.body == b"0123456789"


def test_delay_of_nothing():
    """A request may ask to be spared what the settings do to all."""
    client = agent(Faults(delay=2.0, status=503, override=True))
    assert client.get("/?mix.delay=0").body == b"0123456789"


def test_clients_that_leave(failures):
    """When a client leaves while it waits, its request goes no further."""
    pages = Pages()
    client = agent(Faults(delay=2.0), pages)
    exchange = client.open("GET", "/")
    exchange.disconnect()
    client.clock.advance(3)
    assert pages.asked == []
    assert client.clock.getDelayedCalls() == []
    assert failures == []


@pytest.mark.parametrize(("chance", "status"), [(0.0, 503), (0.29, 503), (0.3, 200), (0.99, 200)])
def test_rate(chance, status):
    """The share of the settings is hit."""
    assert agent(Faults(status=503, rate=0.3), chance=lambda: chance).get("/").status == status


def test_rate_of_nothing():
    """With a rate of 0 nothing is hit, with one of 1 everything."""
    assert agent(Faults(status=503, rate=0), chance=lambda: 0.0).get("/").status == 200
    assert agent(Faults(status=503), chance=lambda: 0.999).get("/").status == 503


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ({"fault": "reset"}, "/whole"),
        ({"fault": "reset"}, "/empty"),
        ({"fault": "reset"}, "/pieces"),
        ({"fault": "reset"}, "/endless"),
        ({"fault": "reset"}, "/none"),
        ({"override": True}, "/whole?mix.fault=reset"),
        ({"override": True}, "/pieces?mix.fault=reset"),
        ({"override": True}, "/whole?mix.status=503&mix.fault=reset"),
    ],
)
def test_reset(settings, path, failures):
    """The connection is reset in the place of an answer; the resource has been asked, if it is to answer."""
    pages = Pages()
    client = agent(Faults(**settings), pages)
    seen = []
    client.site.observers.append(seen.append)
    exchange = client.open("GET", path)
    assert exchange.received == b""
    assert exchange.transport.aborted
    assert len(pages.asked) == ("status" not in path)
    exchange.disconnect()
    assert len(seen) == 1
    assert failures == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/whole", b"01234"),
        ("/pieces", b"0123"),
        ("/endless", b"0123"),
        ("/pulled", b"0123"),
    ],
)
def test_truncate(path, body, failures):
    """Half of the answer comes, then the connection is closed."""
    pages = Pages()
    client = agent(Faults(fault="truncate"), pages)
    seen = []
    client.site.observers.append(seen.append)
    exchange = client.open("GET", path)
    client.clock.advance(0)
    assert exchange.transport.disconnecting
    assert not exchange.transport.aborted
    status, got, complete = lenient(exchange)
    assert (status, got, complete) == (200, body, False)
    exchange.disconnect()
    assert len(seen) == 1
    if path in ("/endless", "/pulled"):
        assert pages.stopped[0] == "stopped"
    assert failures == []


@pytest.mark.parametrize(
    ("fault", "method", "path", "status"),
    [("truncate", "GET", "/empty", 200), ("truncate", "HEAD", "/whole", 200), ("length", "HEAD", "/whole", 200)],
)
def test_nothing_to_break(fault, method, path, status):
    """An answer without a body stays whole."""
    exchange = agent(Faults(fault=fault)).open(method, path)
    assert exchange.answer.status == status
    assert exchange.answer.body == b""


def test_length():
    """More is declared than is sent, then the connection is closed."""
    exchange = agent(Faults(fault="length")).open("GET", "/whole")
    assert b"Content-Length: 11\r\n" in exchange.received
    assert exchange.received.endswith(b"\r\n\r\n0123456789")
    assert exchange.transport.disconnecting
    assert lenient(exchange) == (200, b"0123456789", False)


def test_length_of_pieces():
    """An answer that declares no length is truncated in the place of that."""
    client = agent(Faults(fault="length"))
    exchange = client.open("GET", "/pieces")
    client.clock.advance(0)
    assert lenient(exchange) == (200, b"0123", False)


def test_nothing_follows():
    """After a broken answer no other comes on its connection."""
    client = agent(Faults(override=True))
    exchange = client.connect()
    for target in ("/?mix.fault=length", "/whole"):
        exchange.request("GET", target)
    client.clock.advance(0)
    assert exchange.received.count(b"HTTP/1.1 200 OK") == 1


def test_whole_answers_keep_the_connection():
    """What is not broken keeps its connection."""
    exchange = agent(Faults(override=True)).connect()
    for target in ("/?mix.delay=0", "/?mix.status=500", "/whole"):
        exchange.request("GET", target)
    assert [answer.status for answer in exchange.answers()] == [200, 500, 200]


class Stream:
    """An HTTP/2 stream, as far as a request sees it."""

    def __init__(self):
        self.calls = []

    def __getattr__(self, name):
        return lambda *arguments: self.calls.append(name)


class StreamRequest:
    """A request on it."""

    clientproto = b"HTTP/2"
    _disconnected = False
    producer = None

    def __init__(self):
        self.channel = Stream()
        self.lost = []

    def connectionLost(self, reason: Failure):
        self.lost.append(reason)


@pytest.mark.parametrize(
    ("fault", "length", "ends", "calls"),
    [
        ("reset", b"10", True, ["abortConnection"]),
        ("reset", None, False, ["abortConnection"]),
        ("truncate", b"10", True, ["writeHeaders", "write", "abortConnection"]),
        ("truncate", None, False, ["writeHeaders", "write", "abortConnection"]),
        ("length", b"10", True, ["writeHeaders", "write", "requestDone"]),
    ],
)
def test_streams(fault, length, ends, calls):
    """Over HTTP/2 the stream is reset, and the connection stays; a request that goes on is told."""
    request, clock = StreamRequest(), Clock()
    stream = request.channel
    break_answer(request, fault, clock)
    headers = Headers({b"Content-Length": [length]} if length else {})
    request.channel.writeHeaders(b"HTTP/2", b"200", b"OK", headers)
    request.channel.write(b"0123456789")
    if ends:
        request.channel.requestDone(request)
    clock.advance(0)
    assert stream.calls == calls
    assert len(request.lost) == (not ends)
    if fault == "length":
        assert headers.getRawHeaders("Content-Length") == ["11"]


@pytest.mark.parametrize(
    ("query", "ours", "rest"),
    [
        (b"", [], b""),
        (b"a=1&b=2", [], b"a=1&b=2"),
        (b"mix.a=1", [("a", "1")], b""),
        (b"x&mix.a=1=2&y=%26", [("a", "1=2")], b"x&y=%26"),
        (b"mix.a", [("a", "")], b""),
    ],
)
def test_split_query(query, ours, rest):
    """The parameters of a query are told apart."""
    assert split_query(query) == (ours, rest)


def test_raw_mounts():
    """A raw mount does not see it either."""
    faults = Wrap("faults", Stage.TRANSFORM, Faults, build)
    found = Registry([*SAMPLES.features.values(), faults])
    plan = Plan(default=Host(Goto(), Faults(override=True)))
    clock = Clock()
    client = SiteAgent(Site(Assembler(clock, found=found).assemble(plan).root, reactor=clock))
    assert client.get("/goto//a/../b?x=1&mix.delay=0").text == "goto [b'goto'] [] b'/a/../b?x=1'"


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"fault": "explode"}, "fault must be one of reset, truncate, length, not 'explode'"),
        ({"status": 200}, "status must be from 400 to 599"),
        ({"status": 600}, "status must be from 400 to 599"),
        ({"delay": -1.0}, "delay must be from 0"),
        ({"jitter": float("nan")}, "jitter must be from 0"),
        ({"max_delay": float("inf")}, "max_delay must be from 0"),
        ({"rate": 1.1}, "rate must be from 0 to 1"),
    ],
)
def test_settings(settings, complaint):
    """Settings that make no sense are refused."""
    with pytest.raises(ValueError, match=complaint):
        Faults(**settings)


@pytest.mark.parametrize(
    ("settings", "count"),
    [({}, 0), ({"delay": 1.0}, 1), ({"override": True}, 1), ({"override": True, "status": 500}, 2)],
)
def test_warnings(settings, count):
    """What is unsafe or broken on purpose is said at start."""
    said = []
    build(Faults(**settings), Pages(), make_context(warn=said.append))
    assert len(said) == count
