"""
The request: what resources may return, what wrappers may change, and what clients are told.
"""

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import LogLevel, formatEvent, globalLogPublisher
from twisted.web.error import UnsupportedMethod
from twisted.web.pages import notFound
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from mixweb.engine.errors import HTTPError
from mixweb.engine.site import Site
from mixweb.testing import SiteAgent
from mixweb.wrapper import Wrapper


class Call(Resource):
    """Answers with what a function returns."""

    isLeaf = True

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def render_GET(self, request):
        return self.answer(request)


def written(request):
    request.write(b"one ")
    request.write(b"two")
    request.finish()
    return NOT_DONE_YET


async def coroutine(request):
    return await succeed("waited")


async def pieces(request):
    yield b"one "
    yield "two"


async def writes(request):
    await succeed(None)
    request.write(b"written")


async def nothing(request):
    await succeed(None)


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        (lambda request: b"bytes", 200, b"bytes"),
        (lambda request: "téxt", 200, "téxt".encode()),
        (lambda request: succeed(b"later"), 200, b"later"),
        (coroutine, 200, b"waited"),
        (pieces, 200, b"one two"),
        (written, 200, b"one two"),
        (writes, 200, b"written"),
        (nothing, 204, b""),
        (lambda request: request.finish() or NOT_DONE_YET, 200, b""),
        (lambda request: request.error(418, "no coffee"), 418, b"418 I'm a teapot\nno coffee\n"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_answers(answer, status, body, method):
    """Any resource may return bytes, text, a Deferred, a coroutine, an async generator, or write by itself; HEAD has no body."""
    found = SiteAgent(Call(answer)).request(method, "/")
    assert (found.status, found.body) == (status, body if method == "GET" else b"")
    if method == "HEAD":
        assert found["Transfer-Encoding"] is None


@pytest.mark.parametrize("wrong", [None, 5, {"a": 1}, object()])
def test_wrong_answer(wrong, failures):
    """Anything else is a 500 that does not show its reason, and one log entry that does."""
    found = SiteAgent(Call(lambda request: wrong)).get("/")
    assert found.status == 500
    assert "expected bytes" not in found.text
    assert len(failures) == 1


def boom(request):
    raise KeyError("secret")


async def boom_later(request):
    await succeed(None)
    raise KeyError("secret")


@pytest.mark.parametrize("answer", [boom, boom_later])
@pytest.mark.parametrize("shown", [True, False])
def test_exceptions(answer, shown, failures):
    """An exception is a 500; its traceback goes to the client only where the site displays tracebacks."""
    site = Site(Call(answer))
    site.displayTracebacks = shown
    found = SiteAgent(site).get("/")
    assert found.status == 500
    assert ("KeyError" in found.text) is shown
    assert [failure.type for failure in failures] == [KeyError]


def test_http_error():
    """A raised HTTPError is its status, detail and headers."""

    def busy(request):
        raise HTTPError(503, "Come back.", [(b"Retry-After", b"5")])

    found = SiteAgent(Call(busy)).get("/")
    assert (found.status, found["Retry-After"], found.text) == (503, "5", "503 Service Unavailable\nCome back.\n")


@pytest.mark.parametrize(
    ("accept", "kind", "part"),
    [
        (None, "text/plain; charset=utf-8", "404 Not Found\nno <b>luck</b>\n"),
        ("*/*", "text/plain; charset=utf-8", "404 Not Found"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html; charset=utf-8", "<p>no &lt;b&gt;luck&lt;/b&gt;</p>"),
        ("application/json", "application/json", '"detail": "no <b>luck</b>"'),
        ("application/json;q=0.5, text/*;q=0.9", "text/html; charset=utf-8", "<h1>"),
        ("image/png", "text/html; charset=utf-8", "<h1>"),
    ],
)
def test_error_pages(accept, kind, part):
    """Error pages are HTML, JSON or text as the client accepts, whoever made them; what they say is escaped."""
    found = SiteAgent(notFound("No", "no <b>luck</b>")).get("/", {"Accept": accept} if accept else {})
    assert (found.status, found["Content-Type"]) == (404, kind)
    assert part in found.text or part == "404 Not Found"


def test_unsafe_error_pages_are_ours():
    """Twisted's old error pages lose their markup."""
    found = SiteAgent(Resource()).get("/x", {"Accept": "text/html"})
    assert found.status == 404
    assert "<pre>" not in found.text


@pytest.mark.parametrize(
    ("method", "status", "allow"),
    [
        ("POST", 405, "GET, HEAD, OPTIONS"),
        ("PUT", 405, "GET, HEAD, OPTIONS"),
        ("DELETE", 405, "GET, HEAD, OPTIONS"),
        ("PATCH", 405, "GET, HEAD, OPTIONS"),
        ("TRACE", 405, "GET, HEAD, OPTIONS"),
        ("PROPFIND", 405, "GET, HEAD, OPTIONS"),
        ("OPTIONS", 204, "GET, HEAD, OPTIONS"),
        ("HEAD", 200, None),
        ("BREW", 501, None),
        ("get", 501, None),
    ],
)
def test_methods(method, status, allow):
    """A known method that a resource has not is 405 with Allow, OPTIONS is 204 with Allow, an unknown token is 501."""
    found = SiteAgent(Call(lambda request: b"x")).request(method, "/")
    assert (found.status, found["Allow"]) == (status, allow)


@pytest.mark.parametrize(
    "host", ["", "a b", "a/b", "<script>", "a:b", "a:99999", "[::1", "[zz]", "a,b c", "user@host", "a" * 600]
)
def test_malformed_host(host):
    """A malformed host is 400."""
    assert SiteAgent(Call(lambda request: b"x")).get("/", {"Host": host}).status == 400


def test_missing_and_duplicate_host():
    """A missing or second host is 400."""
    exchange = SiteAgent(Call(lambda request: b"x")).connect()
    exchange.heads.append(b"GET")
    exchange.send(b"GET / HTTP/1.1\r\n\r\n")
    assert exchange.answer.status == 400
    assert SiteAgent(Call(lambda request: b"x")).get("/", [("Host", "a"), ("Host", "a")]).status == 400


class Tagging(Wrapper):
    """Notes its turn in a header."""

    def __init__(self, inner, name):
        super().__init__(inner)
        self.name = name

    def handle(self, request):
        request.before_headers(self.tag)
        self.forward(request)

    def tag(self, request):
        request.responseHeaders.addRawHeader(b"X-Order", self.name)


def test_hooks_run_innermost_first():
    """Hooks run once, the innermost first, also for errors."""
    wrapped = Tagging(Tagging(Call(lambda request: request.error(404)), b"inner"), b"outer")
    assert SiteAgent(wrapped).get("/")["X-Order"] == "inner, outer"


def test_hooks_see_the_whole_head():
    """Cookies, ETag, Last-Modified and the default type are in the headers before hooks run."""
    seen = []

    def answer(request):
        request.addCookie(b"a", b"b")
        request.setETag(b'"e"')
        request.setLastModified(0)
        request.before_headers(lambda r: seen.extend(name for name, _ in r.responseHeaders.getAllRawHeaders()))
        return b"x"

    SiteAgent(Call(answer)).get("/")
    assert {b"Set-Cookie", b"ETag", b"Last-Modified", b"Content-Type", b"Content-Length"} <= set(seen)


class Surround:
    """Puts a letter around the body."""

    def __init__(self, letter):
        self.letter = letter
        self.begun = False

    def feed(self, data):
        if self.begun:
            return data
        self.begun = True
        return self.letter + data

    def flush(self):
        return self.letter


@pytest.mark.parametrize("answer", [lambda request: b"body", written, pieces])
@pytest.mark.parametrize("when", ["handle", "hook"])
def test_filters(answer, when):
    """A body goes through the filters, the innermost first, whether it comes whole or in pieces; its framing fits."""

    class Filtering(Wrapper):
        def __init__(self, inner, letter):
            super().__init__(inner)
            self.letter = letter

        def handle(self, request):
            if when == "hook":
                request.before_headers(lambda r: r.filter_body(Surround(self.letter)))
            else:
                request.filter_body(Surround(self.letter))
            self.forward(request)

    found = SiteAgent(Filtering(Filtering(Call(answer), b"i"), b"o")).get("/")
    assert found.body[:2] == b"oi"
    assert found.body[-2:] == b"io"
    assert SiteAgent(Filtering(Call(answer), b"i")).request("HEAD", "/").body == b""


def test_no_body_for_304():
    """A 304 and a 204 carry no body, no length and go through no filter."""

    def answer(request):
        request.setResponseCode(304)
        request.filter_body(Surround(b"x"))
        return b"ignored"

    found = SiteAgent(Call(answer)).get("/")
    assert (found.body, found["Content-Length"], found["Content-Type"]) == (b"", None, None)


def test_client_leaves():
    """When the client leaves, what waits is cancelled, and the request is logged once."""
    cancelled = []
    waiting = Deferred(cancelled.append)
    agent = SiteAgent(Call(lambda request: waiting))
    logged = []
    agent.site.observers.append(logged.append)
    exchange = agent.open()
    exchange.disconnect()
    assert cancelled == [waiting]
    assert [request.code for request in logged] == [200]
    assert len(logged) == 1


def test_body_limit():
    """A body over the limit is 413, at once when its length is announced, while it arrives when not; nothing else follows."""
    rendered = []

    class Take(Resource):
        isLeaf = True

        def render_POST(self, request):
            rendered.append(request.content.read())
            return b"taken"

    site = Site(Take(), max_body_bytes=10)
    assert SiteAgent(site).request("POST", "/", body=b"0123456789").body == b"taken"
    assert SiteAgent(site).request("POST", "/", {"Content-Length": "11"}).status == 413
    exchange = SiteAgent(site).connect()
    exchange.request("POST", "/", {"Transfer-Encoding": "chunked"})
    exchange.send(b"8\r\n01234567\r\n")
    assert exchange.answers() == []
    exchange.send(b"8\r\n01234567\r\n0\r\n\r\n")
    assert exchange.answer.status == 413
    assert exchange.answer["Connection"] == "close"
    assert rendered == [b"0123456789"]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/x-www-form-urlencoded", b"b=2&b=3"),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="b"\r\n\r\n2\r\n--x\r\n'
            b'Content-Disposition: form-data; name="b"\r\n\r\n3\r\n--x--\r\n',
        ),
    ],
)
def test_arguments(kind, body):
    """Arguments are those of the query and of a posted form."""

    class Show(Resource):
        isLeaf = True

        def render_POST(self, request):
            return repr(sorted(request.args.items()))

    found = SiteAgent(Show()).request("POST", "/?a=1", {"Content-Type": kind}, body)
    assert found.text == "[(b'a', [b'1']), (b'b', [b'2', b'3'])]"


def test_cookies_and_sessions():
    """Cookies are read by name; Twisted's session cookie is out of reach of scripts and other sites."""
    site = Site(Call(lambda request: request.getCookie(b"a") or request.getSession().uid))
    agent = SiteAgent(site)
    assert agent.get("/", {"Cookie": "a=1; =x; b"}).body == b"1"
    found = agent.get("/")
    assert found["Set-Cookie"].endswith("; HttpOnly; SameSite=Lax")
    for session in list(site.sessions.values()):
        session.expire()


def test_head_keeps_a_length():
    """A resource that knows the length of what it does not send says so to a HEAD."""

    class Known(Resource):
        isLeaf = True

        def render_HEAD(self, request):
            request.setHeader(b"Content-Length", b"1234")
            return b""

    assert SiteAgent(Known()).request("HEAD", "/")["Content-Length"] == "1234"


def test_addresses_after_the_end():
    """The client's address is still known when the answer is out, and when the client has left."""
    seen = []

    def answer(request):
        request.notifyFinish().addBoth(lambda _: seen.append((request.getClientAddress().host, request.getHost().port)))
        return b"" if request.args else Deferred()

    agent = SiteAgent(Call(answer), peer="192.0.2.1")
    agent.get("/?now=1")
    agent.open().disconnect()
    assert seen == [("192.0.2.1", 8080)] * 2


@pytest.mark.parametrize(
    ("declared", "pieces", "received", "aborted"),
    [
        (b"5", [b"abc", b"de"], b"abcde", False),
        (b"5", [b"abc", b"def", b"g"], b"abcde", False),
        (b"5", [b"abc"], b"abc", True),
        (b"five", [b"abc"], b"3\r\nabc\r\n0\r\n\r\n", False),
    ],
)
def test_declared_length(declared, pieces, received, aborted):
    """An answer is held to the length it declares: what is longer is cut off, what is shorter drops the connection."""

    def answer(request):
        request.setHeader(b"Content-Length", declared)
        for piece in pieces:
            request.write(piece)
        request.finish()
        return NOT_DONE_YET

    exchange = SiteAgent(Call(answer)).open()
    assert exchange.received.partition(b"\r\n\r\n")[2] == received
    assert exchange.transport.aborted is aborted


def test_head_of_unknown_length():
    """A HEAD that is finished with nothing written names no length that nobody knows."""
    found = SiteAgent(Call(lambda request: request.finish() or NOT_DONE_YET)).request("HEAD", "/")
    assert (found.status, found["Content-Length"], found["Transfer-Encoding"]) == (200, None, None)


async def breaks_late(request):
    request.write(b"begun")
    await succeed(None)
    raise KeyError("late")


def test_late_failures(failures):
    """A failure after the head has left drops the connection: the answer does not look complete."""
    exchange = SiteAgent(Call(breaks_late)).open()
    assert exchange.transport.aborted
    assert not exchange.received.endswith(b"0\r\n\r\n")
    assert [failure.type for failure in failures] == [KeyError]


def writes_and_returns(request):
    request.write(b"one")
    return b"two"


def test_write_then_return():
    """What is returned after something was written is the rest of the body."""
    assert SiteAgent(Call(writes_and_returns)).get("/").body == b"onetwo"


@pytest.mark.parametrize(("error", "status"), [(HTTPError(409, "taken"), 409), (KeyError("x"), 500)])
@pytest.mark.parametrize("where", ["hook", "filter"])
def test_hooks_that_fail(error, status, where, failures):
    """A hook or filter that fails before anything has left is an error answer, not a dropped connection."""

    def fail(*_):
        raise error

    class Broken:
        feed = fail
        flush = fail

    def answer(request):
        if where == "hook":
            request.before_headers(fail)
        else:
            request.filter_body(Broken())
        return b"body"

    found = SiteAgent(Call(answer)).get("/")
    assert found.status == status
    assert len(failures) == (status == 500)


async def endless(request):
    while True:
        yield b"x" * 1000


def test_head_of_a_generator():
    """A generator is not run on for an answer without a body."""
    assert SiteAgent(Call(endless)).request("HEAD", "/").status == 200


def test_generators_take_turns():
    """A generator that never waits gives way to other work now and then."""
    agent = SiteAgent(Call(endless))
    exchange = agent.open()
    assert 50_000 < len(exchange.transport.value()) < 100_000
    assert len(agent.clock.getDelayedCalls()) == 1
    exchange.disconnect()
    assert agent.clock.getDelayedCalls() == []


async def finishes_and_fails(request):
    request.complete(b"done")
    await succeed(None)
    raise KeyError("after")


async def finishes_and_returns(request):
    request.complete(b"done")
    return b"more"


@pytest.fixture
def errors():
    """What was logged as an error while the test ran."""
    seen = []

    def observe(event):
        if event["log_level"] >= LogLevel.error:
            seen.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    yield seen
    globalLogPublisher.removeObserver(observe)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (finishes_and_fails, "after the answer to GET /page"),
        (lambda request: request.complete(b"done") or fail(KeyError("after")), "after the answer to GET /page"),
        (finishes_and_returns, "GET /page: what was returned after the answer is not sent"),
    ],
)
def test_errors_after_the_answer(answer, said, errors):
    """What goes wrong after the answer is complete is logged; the answer stays what it is."""
    found = SiteAgent(Call(answer)).get("/page")
    assert (found.status, found.body) == (200, b"done")
    assert [text.splitlines()[0] for text in errors] == [said]


@pytest.mark.parametrize(("error", "logged"), [(KeyError("x"), 1), (HTTPError(502), 0), (None, 0)])
def test_errors_after_the_client(error, logged, failures):
    """What goes wrong when the client has left is logged, unless it is but an answer that nobody gets."""

    async def answer(request):
        try:
            await Deferred()
        finally:
            if error is not None:
                raise error

    SiteAgent(Call(answer)).open().disconnect()
    assert len(failures) == logged


class Late(Resource):
    """Refuses methods when it has waited."""

    isLeaf = True

    def __init__(self, kind):
        super().__init__()
        self.kind = kind

    def render(self, request):
        return getattr(self, self.kind)(request)

    async def coroutine(self, request):
        await succeed(None)
        if request.method != b"GET":
            raise UnsupportedMethod([b"GET"])
        return b"got"

    async def generator(self, request):
        if request.method != b"GET":
            raise UnsupportedMethod([b"GET"])
        yield b"got"

    def deferred(self, request):
        return succeed(b"got") if request.method == b"GET" else fail(UnsupportedMethod([b"GET"]))


@pytest.mark.parametrize(
    ("method", "status", "allow"),
    [
        ("GET", 200, None),
        ("HEAD", 200, None),
        ("POST", 405, "GET, HEAD, OPTIONS"),
        ("OPTIONS", 204, "GET, HEAD, OPTIONS"),
        ("BREW", 501, None),
    ],
)
@pytest.mark.parametrize("kind", ["coroutine", "generator", "deferred"])
def test_methods_refused_late(method, status, allow, kind, failures):
    """A method is refused in the same way when that turns out late."""
    if (method, kind) == ("HEAD", "generator"):
        status, allow = 405, "GET, HEAD, OPTIONS"
    found = SiteAgent(Late(kind)).request(method, "/")
    assert (found.status, found["Allow"], failures) == (status, allow, [])


def test_methods_refused_by_a_wrapper(failures):
    """A wrapper may refuse a method, too, at once or late."""

    class Strict(Wrapper):
        def __init__(self, late):
            super().__init__(Call(lambda request: b"x"))
            self.late = late

        def handle(self, request):
            if self.late:
                self.spawn(request, self.refuse())
            else:
                raise UnsupportedMethod([b"PUT"])

        async def refuse(self):
            raise UnsupportedMethod([b"PUT"])

    for late in (False, True):
        found = SiteAgent(Strict(late)).get("/")
        assert (found.status, found["Allow"]) == (405, "OPTIONS, PUT")
    assert failures == []


def test_method_refused_after_the_beginning(failures):
    """It is too late to refuse a method when the answer has begun: the connection is dropped, and that is logged."""

    async def answer(request):
        request.write(b"begun")
        raise UnsupportedMethod([b"PUT"])

    assert SiteAgent(Call(answer)).open().transport.aborted


@pytest.mark.parametrize("coding", [b"chunked", b"gzip, chunked", b"identity"])
@pytest.mark.parametrize("answer", [lambda request: b"body", written, pieces])
def test_transfer_encoding_of_a_resource(coding, answer):
    """The framing of an answer is the server's, whatever the resource says: never two of them (RFC 9112, 6)."""

    def says(request):
        request.setHeader(b"Transfer-Encoding", coding)
        return answer(request)

    for method in ("GET", "HEAD"):
        found = SiteAgent(Call(says)).request(method, "/")
        assert found.body == (SiteAgent(Call(answer)).get("/").body if method == "GET" else b"")
        assert (found["Transfer-Encoding"] == "chunked") is (found["Content-Length"] is None and method == "GET")


def reset(request):
    request.setResponseCode(205)
    return b"body"


def reset_in_pieces(request):
    request.setResponseCode(205)
    return written(request)


@pytest.mark.parametrize("answer", [reset, reset_in_pieces])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("filtered", [True, False])
def test_no_body_for_205(answer, method, filtered):
    """A 205 has no body, and says so (RFC 9110, 15.3.6)."""

    def says(request):
        if filtered:
            request.filter_body(Surround(b"x"))
        return answer(request)

    exchange = SiteAgent(Call(says)).open(method)
    head, _, body = exchange.received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 205 ")
    assert (head.count(b"Content-Length: 0"), body) == (1, b"")
    assert b"Transfer-Encoding" not in head
    assert not exchange.transport.disconnecting


@pytest.mark.parametrize(
    ("message", "sent"),
    [
        (b"Fine", b"Fine"),
        (b"OK\r\nX-Evil: 1", b"OK X-Evil: 1"),
        (b"OK\r\n\r\n<script>", b"OK <script>"),
        (b"a\nb\0c\x7f", b"a b c "),
        (b"", b""),
        ("prête".encode(), "prête".encode()),
    ],
)
@pytest.mark.parametrize("answer", [lambda request: b"x", written])
def test_reason_phrase(message, sent, answer):
    """A reason phrase stays on its line (RFC 9112, 4)."""

    def says(request):
        request.setResponseCode(200, message)
        return answer(request)

    received = SiteAgent(Call(says)).open().received
    assert received.split(b"\r\n")[0] == b"HTTP/1.1 200 " + sent
    assert b"X-Evil" not in received.partition(b"\r\n")[2]


@pytest.mark.parametrize(
    ("said", "asked", "sent", "closed"),
    [
        ("close", None, "close", True),
        ("keep-alive, Close", None, "keep-alive, Close", True),
        ("keep-alive", None, "keep-alive", False),
        ("keep-alive", "close", "close", True),
        (None, "close", "close", True),
    ],
)
@pytest.mark.parametrize("answer", [lambda request: b"x", written])
def test_connection_of_a_resource(said, asked, sent, closed, answer):
    """A resource may close the connection; it cannot keep it open (RFC 9112, 9.6)."""

    def says(request):
        if said:
            request.setHeader(b"Connection", said.encode())
        return answer(request)

    exchange = SiteAgent(Call(says)).open("GET", "/", {"Connection": asked} if asked else {})
    assert exchange.answer["Connection"] == sent
    assert exchange.transport.disconnecting is closed
