"""
WSGI applications: what they are told, what they may answer, and what becomes of those that are wrong.
"""

import sys
from threading import Event
from wsgiref.validate import validator

import pytest
import pytest_twisted
from twisted.application.service import MultiService
from twisted.internet import reactor
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import blockingCallFromThread
from twisted.logger import globalLogPublisher
from zope.interface import implementer

from mixweb.assemble import Mounts
from mixweb.engine.site import Site
from mixweb.features.wsgi import FEATURE, Wsgi
from mixweb.interfaces import IClientAddress, IUser
from mixweb.testing import SiteAgent, make_context
from mixweb.wrapper import Wrapper


def sample(folder, **changes):
    """Settings to try the feature with."""
    return Wsgi("wsgiref.simple_server:demo_app", **changes)


class Server:
    """A site with one application, its threads and the requests that it has answered."""

    def __init__(self, application, at="/", wrapper=lambda inner: inner, **options):
        self.services = MultiService()
        context = make_context(reactor, add_service=lambda service: service.setServiceParent(self.services))
        resource = FEATURE.build(Wsgi(application, at=at, **options), context)
        self.site = Site(wrapper(Mounts([(at, resource)])))
        self.services.startService()
        self.agents = {}

    async def ask(self, method="GET", target="/", headers=(), body=b"", **agent):
        """The answer, once it is complete."""
        exchange, ended = self.open(method, target, headers, body, **agent)
        await ended
        return exchange.answer

    def open(self, method="GET", target="/", headers=(), body=b"", **agent):
        """A request that has been sent, and what fires when it has ended."""
        ended = Deferred().addTimeout(5, reactor)
        self.site.observers[:] = [ended.callback]
        return SiteAgent(self.site, **agent).open(method, target, headers, body), ended


@pytest_twisted.async_yield_fixture
async def serve():
    """Makes servers, and stops their threads."""
    servers = []

    def make(application, **options):
        servers.append(Server(application, **options))
        return servers[-1]

    yield make
    for server in servers:
        await server.services.stopService()


@pytest.fixture
def entries():
    """The texts that were logged for applications."""
    seen = []

    def observe(event):
        if event.get("log_namespace", "").startswith("mixweb.features") and "log_failure" not in event:
            seen.append(event["log_format"].format(**event))

    globalLogPublisher.addObserver(observe)
    yield seen
    globalLogPublisher.removeObserver(observe)


def show(environ, start_response):
    """Answers with what it is told."""
    body = repr({key: value for key, value in environ.items() if isinstance(value, (str, bool))}).encode()
    body += environ["wsgi.input"].read(-1)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def told(answer):
    return eval(answer.text[: answer.text.index("}") + 1])


@pytest_twisted.ensureDeferred
async def test_validator(serve, failures):
    """A well-behaved application behind the validator of the standard library finds nothing wrong."""
    server = serve(validator(show), at="/app")
    for method, target, headers, body in [
        ("GET", "/app", {}, b""),
        ("GET", "/app/", {}, b""),
        ("GET", "/app/a%20b/c?q=1", {"Cookie": "a=1", "X-A": "b"}, b""),
        ("HEAD", "/app/x", {}, b""),
        ("POST", "/app/form", {"Content-Type": "application/x-www-form-urlencoded"}, b"a=b"),
        ("PUT", "/app/", {"Transfer-Encoding": "chunked"}, b"3\r\nabc\r\n0\r\n\r\n"),
    ]:
        answer = await server.ask(method, target, headers, body)
        assert answer.status == 200, answer.text
    assert failures == []


@pytest.mark.parametrize(
    ("at", "target", "script_name", "path_info", "query"),
    [
        ("/", "/", "", "/", ""),
        ("/", "/a/b", "", "/a/b", ""),
        ("/app", "/app", "/app", "", ""),
        ("/app", "/app/", "/app", "/", ""),
        ("/app", "/app/a/?x=%20&y", "/app", "/a/", "x=%20&y"),
        ("/a/b", "/a/b/c", "/a/b", "/c", ""),
        ("/app", "/app/%C3%A4", "/app", "/Ã¤", ""),
        ("/app", "/x/../app/./y", "/app", "/y", ""),
    ],
)
@pytest_twisted.ensureDeferred
async def test_paths(serve, at, target, script_name, path_info, query):
    """At any mount SCRIPT_NAME is the path of the mount and PATH_INFO what is below it."""
    environ = told(await serve(show, at=at).ask(target=target))
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"], environ["QUERY_STRING"]) == (script_name, path_info, query)


@pytest_twisted.ensureDeferred
async def test_fields(serve):
    """Fields become HTTP_ variables; not the two that have their own, nor any that could pass for another."""
    headers = [
        ("Host", "shop.example:8080"),
        ("Content-Type", "text/plain"),
        ("X-Two", "1"),
        ("X-Two", "2"),
        ("Cookie", "a=1"),
        ("Cookie", "b=2"),
        ("X_Forwarded_For", "spoofed"),
        ("Proxy", "spoofed"),
    ]
    environ = told(await serve(show).ask("POST", "/", headers, b"body"))
    assert {key: value for key, value in environ.items() if key.startswith(("HTTP_", "CONTENT_", "SERVER_"))} == {
        "HTTP_HOST": "shop.example:8080",
        "HTTP_X_TWO": "1,2",
        "HTTP_COOKIE": "a=1; b=2",
        "CONTENT_TYPE": "text/plain",
        "CONTENT_LENGTH": "4",
        "SERVER_NAME": "shop.example",
        "SERVER_PORT": "8080",
        "SERVER_PROTOCOL": "HTTP/1.1",
    }


@pytest_twisted.ensureDeferred
async def test_chunked_body(serve):
    """The length of a body that came in chunks is known to the application."""
    answer = await serve(show).ask("POST", "/", {"Transfer-Encoding": "chunked"}, b"3\r\nabc\r\n0\r\n\r\n")
    assert told(answer)["CONTENT_LENGTH"] == "3"
    assert answer.text.endswith("}abc")


@implementer(IUser)
class User:
    name = "zoë"
    roles = frozenset()
    scheme = "basic"


@implementer(IClientAddress)
class Address:
    host = "192.0.2.1"
    proxies = ()


class Facts(Wrapper):
    """Says who asks."""

    def handle(self, request):
        request.setComponent(IUser, User())
        request.setComponent(IClientAddress, Address())
        self.forward(request)


@pytest_twisted.ensureDeferred
async def test_facts(serve):
    """An application learns who was authenticated, where the request came from, and whether it was encrypted."""
    plain = told(await serve(show).ask(peer="192.0.2.7"))
    assert ("REMOTE_USER" in plain, plain["REMOTE_ADDR"], plain["wsgi.url_scheme"]) == (False, "192.0.2.7", "http")
    known = told(await serve(show, wrapper=Facts).ask(secure=True))
    assert known["REMOTE_USER"].encode("latin-1").decode() == "zoë"
    assert (known["REMOTE_ADDR"], known["wsgi.url_scheme"]) == ("192.0.2.1", "https")


@pytest_twisted.ensureDeferred
async def test_unix_socket(serve):
    """A request over a UNIX socket is told no address, and the usual port."""
    ended = Deferred().addTimeout(5, reactor)
    server = serve(show)
    server.site.observers[:] = [ended.callback]
    exchange = SiteAgent(server.site).connect()
    exchange.transport.hostAddr = exchange.transport.peerAddr = UNIXAddress(b"/run/web.sock")
    exchange.request("GET", "/", {"Host": "a.example"})
    await ended
    environ = told(exchange.answer)
    assert (environ["REMOTE_ADDR"], environ["SERVER_NAME"], environ["SERVER_PORT"]) == ("", "a.example", "80")


def answers(*pieces, status="200 OK", headers=()):
    def application(environ, start_response):
        start_response(status, list(headers))
        return iter(pieces)

    return application


def writes(environ, start_response):
    write = start_response("200 OK", [])
    write(b"one ")
    return [b"two"]


def changes_its_mind(environ, start_response):
    start_response("200 OK", [])
    try:
        raise KeyError
    except KeyError:
        start_response("409 Conflict", [("X-A", "b")], sys.exc_info())
    return [b"late"]


@pytest.mark.parametrize(
    ("application", "status", "body", "fields"),
    [
        (answers(b"one ", b"", b"two"), 200, b"one two", {}),
        (answers(), 200, b"", {}),
        (answers(b"x", status="418 Short and Stout", headers=[("X-A", "b")]), 418, b"x", {"X-A": "b"}),
        (answers(b"x", headers=[("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]), 200, b"x", {"Set-Cookie": "a=1, b=2"}),
        (answers(b"x", headers=[("Transfer-Encoding", "gzip"), ("Connection", "x")]), 200, b"x", {"Connection": None}),
        (answers(b"xyz", headers=[("Content-Length", "2")]), 200, b"xy", {"Content-Length": "2"}),
        (answers(status="204 No Content"), 204, b"", {"Content-Length": None}),
        (answers(b"x"), 200, b"x", {"Content-Type": None}),
        (writes, 200, b"one two", {}),
        (changes_its_mind, 409, b"late", {"X-A": "b", "Content-Length": "4"}),
    ],
)
@pytest_twisted.ensureDeferred
async def test_answers(serve, application, status, body, fields):
    """What an application gives is what is sent, without what belongs to the server."""
    answer = await serve(application).ask()
    assert (answer.status, answer.body) == (status, body)
    assert {name: answer[name] for name in fields} == fields


@pytest.mark.parametrize(
    ("application", "length"),
    [
        (answers(headers=[("Content-Length", "7")]), "7"),
        (answers(b"ignored", headers=[("Content-Length", "7")]), "7"),
        (lambda environ, start_response: start_response("200 OK", []) and [b"four"], "4"),
        (answers(), None),
    ],
)
@pytest_twisted.ensureDeferred
async def test_head(serve, application, length):
    """HEAD has no body and the length that the application says or gives, or none."""
    answer = await serve(application).ask("HEAD")
    assert (answer.status, answer.body, answer["Content-Length"]) == (200, b"", length)


def raises(environ, start_response):
    raise KeyError("secret")


def never_starts(environ, start_response):
    return []


def body_before_start(environ, start_response):
    yield b"x"


def starts_twice(environ, start_response):
    start_response("200 OK", [])
    start_response("200 OK", [])


def exits(environ, start_response):
    sys.exit("bye")


@pytest.mark.parametrize(
    ("application", "error"),
    [
        (raises, KeyError),
        (exits, SystemExit),
        (never_starts, RuntimeError),
        (body_before_start, RuntimeError),
        (starts_twice, RuntimeError),
        (answers("text"), TypeError),
        (answers(status="fine"), ValueError),
        (answers(status="100 Continue"), ValueError),
        (answers(status="200 OK\r\nX: y"), ValueError),
        (answers(headers=[("A", b"b")]), ValueError),
        (answers(headers=[("A",)]), ValueError),
        (answers(headers=[("Content-Length", "-1")]), ValueError),
        (answers(headers=[("Content-Length", "5")]), ValueError),
        (lambda environ, start_response: start_response("200 OK", [("a b", "c")]) and [b"x"], None),
    ],
)
@pytest_twisted.ensureDeferred
async def test_wrong_applications(serve, failures, application, error):
    """An application that raises or breaks the rules is a 500 that does not show why, and an entry in the log that does."""
    answer = await serve(application).ask()
    assert (answer.status, answer.text) == (500, "500 Internal Server Error\nThe server failed to answer.\n")
    assert len(failures) == 1
    assert error is None or failures[0].type is error


def without_log(environ, start_response):
    environ.pop("wsgi.errors")
    start_response("200 OK", [])
    return [b"fine"]


@pytest_twisted.ensureDeferred
async def test_environment_is_the_applications(serve):
    """What an application takes out of its environment costs no thread."""
    site = serve(without_log, threads=1)
    for _ in range(3):
        assert (await site.ask()).text == "fine"


def breaks_midway(environ, start_response):
    start_response("200 OK", [("Content-Length", "100")])
    yield b"half"
    raise KeyError


@pytest.mark.parametrize("application", [breaks_midway, answers(b"half", headers=[("Content-Length", "100")])])
@pytest_twisted.ensureDeferred
async def test_broken_midway(serve, failures, application):
    """An answer that ends too early has its connection dropped, so that the client does not take it for complete."""
    exchange, _ = serve(application).open()
    dropped = Deferred().addTimeout(5, reactor)
    exchange.transport.abortConnection = lambda: dropped.callback(None)
    await dropped
    assert exchange.received.endswith(b"half")
    assert len(failures) == 1
    exchange.disconnect()


class Pieces:
    """An iterable that tells when it is asked and when it is closed."""

    def __init__(self, count=1000):
        self.given = 0
        self.count = count
        self.started = Deferred().addTimeout(5, reactor)
        self.closed = Deferred().addTimeout(5, reactor)

    def __call__(self, environ, start_response):
        start_response("200 OK", [])
        reactor.callFromThread(self.started.callback, None)
        return self

    def __iter__(self):
        return self

    def __next__(self):
        if self.given == self.count:
            raise StopIteration
        self.given += 1
        return b"piece"

    def close(self):
        reactor.callFromThread(self.closed.callback, None)


@pytest_twisted.ensureDeferred
async def test_client_leaves(serve, failures):
    """When the client leaves, the application is asked for no more, and closed."""
    pieces = Pieces(10**9)
    exchange, ended = serve(pieces).open()
    await pieces.started
    exchange.disconnect()
    await pieces.closed
    await ended
    assert failures == []


@pytest_twisted.ensureDeferred
async def test_slow_client(serve):
    """The application waits as long as the client does not take what was sent."""
    given = []
    sent = Event()
    paused = Deferred().addTimeout(5, reactor)

    def application(environ, start_response):
        sent.wait(5)
        start_response("200 OK", [])
        for number in range(50):
            given.append(number)
            if number == 3:
                blockingCallFromThread(reactor, exchange.protocol.pauseProducing)
                reactor.callFromThread(reactor.callLater, 0.05, paused.callback, None)
            yield b"piece"

    exchange, ended = serve(application).open()
    sent.set()
    await paused
    assert given == [0, 1, 2, 3]
    exchange.protocol.resumeProducing()
    await ended
    assert (len(given), exchange.answer.body) == (50, b"piece" * 50)


def complains(environ, start_response):
    environ["wsgi.errors"].write("first {line}\nsec")
    environ["wsgi.errors"].writelines(["ond", "\n", "third"])
    start_response("200 OK", [])
    return []


@pytest_twisted.ensureDeferred
async def test_errors(serve, entries):
    """What an application writes to wsgi.errors is logged line by line."""
    await serve(complains).ask()
    assert entries == ["first {line}", "second", "third"]


@pytest_twisted.ensureDeferred
async def test_threads(serve):
    """At most as many calls as there are threads run at once; the others wait their turn."""
    running, release = [], Event()

    def application(environ, start_response):
        running.append(environ["PATH_INFO"])
        release.wait(10)
        start_response("200 OK", [])
        return [b"x"]

    server = serve(application, threads=2)
    ended = [server.open(target=f"/{number}") for number in range(3)]
    done = Deferred().addTimeout(5, reactor)
    server.site.observers[:] = [lambda request: done.callback(None) if len(running) == 3 and not done.called else None]
    while len(running) < 2:
        await deferred_later()
    assert sorted(running) == ["/0", "/1"]
    release.set()
    await done
    while not all(exchange.received for exchange, _ in ended):
        await deferred_later()
    assert [exchange.answer.body for exchange, _ in ended] == [b"x"] * 3


def deferred_later():
    """Lets the reactor do what is due."""
    fired = Deferred()
    reactor.callLater(0.001, fired.callback, None)
    return fired


@pytest_twisted.ensureDeferred
async def test_stopped(serve):
    """An application whose threads have stopped answers 503."""
    server = serve(show)
    await server.services.stopService()
    answer = await server.ask()
    assert answer.status == 503
    server.services.startService()
    assert (await server.ask()).status == 200


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"application": ""}, "application must be the name of a WSGI application: module:application"),
        ({"application": "a:b", "threads": 0}, "threads must be at least 1"),
        ({"application": "wsgiref.simple_server.demo_ap"}, "'wsgiref.simple_server.demo_ap': module"),
        ({"application": "wsgiref.simple_server"}, "'wsgiref.simple_server' is no application but a module"),
    ],
)
def test_settings(options, message):
    """Wrong settings are told before anything is served."""
    with pytest.raises(ValueError, match=r"\A") as caught:
        FEATURE.build(Wsgi(**options), make_context())
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("name", ["wsgiref.simple_server:demo_app", "wsgiref.simple_server.demo_app"])
@pytest_twisted.ensureDeferred
async def test_names(serve, name):
    """An application is named with a colon or with dots."""
    assert (await serve(name).ask()).text.startswith("Hello world!")


@pytest_twisted.ensureDeferred
async def test_long_upload(serve):
    """A long body is read while it arrives, as fast as the application takes it, and the application may leave the rest."""
    read = []
    go_on = Event()

    def application(environ, start_response):
        body = environ["wsgi.input"]
        read.append((environ["CONTENT_LENGTH"], body.read(4)))
        go_on.wait(5)
        lines = sum(1 for _ in iter(body.readline, b"")) if environ["PATH_INFO"] == "/all" else 0
        start_response("200 OK", [])
        return [str(lines).encode()]

    body = b"12345678901234\n" * 200_000  # 46 pieces
    for path, lines in (("/all", b"200000"), ("/some", b"0")):
        exchange, ended = serve(application).open("POST", path, {"Content-Length": str(len(body))}, body[:1000])
        while not read:
            await deferLater(reactor, 0.01)
        assert read.pop() == (str(len(body)), b"1234")
        rest = [body[start : start + 65536] for start in range(1000, len(body), 65536)]
        while exchange.transport.producerState == "producing":
            exchange.send(rest.pop(0))
            assert len(rest) > 30
        go_on.set()
        while path == "/all" and rest:
            await deferLater(reactor, 0.001)
            if exchange.transport.producerState == "producing":
                exchange.send(rest.pop(0))
        await ended
        assert exchange.answer.body == lines
        go_on.clear()


@pytest_twisted.ensureDeferred
async def test_upload_breaks(serve):
    """A client that leaves in the middle of a long body is an error to the application that reads it."""
    seen, begun = Deferred().addTimeout(5, reactor), Deferred().addTimeout(5, reactor)

    def application(environ, start_response):
        reactor.callFromThread(begun.callback, None)
        try:
            environ["wsgi.input"].read()
        except OSError as error:
            reactor.callFromThread(seen.callback, str(error))
            raise
        return []

    exchange, ended = serve(application).open("POST", "/", {"Content-Length": "2000000"}, b"x" * 1000)
    await begun
    exchange.disconnect()
    await ended
    assert "left" in await seen
