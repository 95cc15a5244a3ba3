"""
The inspector's pure parts: filters, exports, what is decoded, what is counted.
"""

import http.client
import json
import shlex
import subprocess
import tracemalloc
from urllib.parse import quote

import pytest
from twisted.logger import Logger

from mixweb import Host, Lab, Respond
from mixweb.features.inspect._decode import body_text, cookies, decoded, is_text, pairs, parts
from mixweb.features.inspect._record import Body
from mixweb.features.inspect._stats import ErrorLog, percentile

# Filters

REQUESTS = [
    ("GET", "/hi?x=1", {"Cookie": "a=1", "User-Agent": "Firefox/1"}, b""),
    ("POST", "/api/orders", {"Content-Type": "application/json", "Host": "shop.example"}, b'{"needle": 1}'),
    ("GET", "/nowhere", {"Referer": "http://r.example/", "X-Needle": "Two Words"}, b""),
    ("DELETE", "/api/x%20y", {"Authorization": "Basic x"}, b""),
]


@pytest.fixture(scope="module")
def filtered():
    """Finds the paths of the requests above that a filter wants."""
    from tests.features.inspect.conftest import Inspected

    server = Inspected(
        Respond("hi", at="/hi"),
        Respond("a" * 5000, at="/api"),
        Lab(),
        hosts=[Host("shop.example", Respond("", status=201))],
    )
    for method, target, headers, body in REQUESTS:
        server.agent.request(method, target, headers, body)
    waiting = server.agent.open("GET", "/lab/delay/9")

    def find(text):
        answer = server.api("GET", f"requests?filter={quote(text)}")
        if answer.status != 200:
            return answer.text.split("\n")[1]
        return [row["id"] for row in json.loads(answer.body)["requests"]]

    yield find
    waiting.disconnect()
    server.services.stopService()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", [1, 2, 3, 4, 5]),
        ("   ", [1, 2, 3, 4, 5]),
        ("method:GET", [1, 3, 5]),
        ("-method:get", [2, 4]),
        ("method:GET has:cookie", [1]),
        ("host:shop", [2]),
        ("host:*.example", [2]),
        ("host:shop.*", [2]),
        ("path:/api", [2, 4]),
        ("path:orders", [2]),
        ("path:*o*", [2, 3]),
        ("status:404", [3]),
        ("status:4xx", [3]),
        ("status:2xx", [1, 2, 4]),
        ("status:>=400", [3]),
        ("status:<300", [1, 2, 4]),
        ("-status:2xx", [3, 5]),
        ("has:query", [1]),
        ("has:body", [2]),
        ("has:auth", [4]),
        ("has:referer", [3]),
        ("has:tls", []),
        ("is:open", [5]),
        ("-is:open", [1, 2, 3, 4]),
        ("is:done", [1, 2, 3, 4]),
        ("module:lab", [5]),
        ("module:respond", [1, 2, 4]),
        ("vhost:shop", [2]),
        ("client:127.", [1, 2, 3, 4, 5]),
        ("sent:>1000", [4]),
        ("size:0", [2, 5]),
        ("received:>=13", [2]),
        ("id:3", [3]),
        ("ms:>=0", [1, 2, 3, 4]),
        ("type:json", []),
        ("type:text/plain", [1, 2, 3, 4]),
        ("header:x-needle", [3]),
        ("header:X-Needle=words", [3]),
        ("header:content-length=5000", [4]),
        ("body:needle", [2]),
        ("needle", [3]),
        ("firefox", [1]),
        ('"Two Words"', [3]),
        ('header:x-needle="two words"', []),
        ("http://r.example", [3]),
        ("nothing-of-this", []),
        ("status:x", "status:x is no status; say status:404, status:4xx or status:>=500."),
        ("ms:fast", "ms:fast is no number; say ms:>100."),
        ("has:fun", "has:fun is not known"),
        ("statsu:404", "there is no statsu: here; did you mean status:?."),
    ],
)
def test_filters(text, found, filtered):
    """A filter wants what all its words hold of, and says which word makes no sense."""
    result = filtered(text)
    assert result.startswith(found) if isinstance(found, str) else result == found


# Exports

EXPORTED = [
    ("GET", "/lab/anything?a=1&b=%20+[]{}", {"X-One": 'it\'s "quoted" $HOME `id` \\', "x-Two": ""}, b""),
    ("POST", "/lab/anything", {"Content-Type": "text/plain"}, b'it\'s\n"two" lines $HOME `id`'),
    ("POST", "/lab/anything", {"Content-Type": "application/octet-stream"}, bytes(range(256))),
    ("POST", "/lab/anything", {"Content-Type": "text/plain; charset=utf-8"}, "zoë @file".encode()),
    ("PUT", "/lab/anything/../x", {"Content-Type": "text/plain"}, b"@/etc/passwd"),
    ("PATCH", "/lab/anything", {}, b"x"),
    ("HEAD", "/lab/anything", {"User-Agent": "own"}, b""),
    ("DELETE", "//lab/./anything", {"Accept": "text/html"}, b""),
]


@pytest.fixture
def exported(inspected):
    """What a request is exported as, by kind."""

    def export(method, target, headers, body, kind):
        server = inspected(Lab(), lab=True)
        server.agent.open(method, target, {"Host": "localhost:1", **headers}, body)
        return server.api("GET", f"requests/1/export?as={kind}").text

    return export


@pytest.mark.parametrize(("method", "target", "headers", "body"), EXPORTED)
def test_exported_commands(method, target, headers, body, exported):
    """A shell takes commands as they are meant, whatever stands in the request: nothing in it is run."""
    for kind in ("curl", "httpie"):
        text = exported(method, target, headers, body, kind)
        line = f"set -- {text}" if "| " not in text else f"set -- {text.rpartition('| ')[2]}"
        done = subprocess.run(
            ["bash", "-c", f'{line}\nprintf "%s\\0" "$@"'], capture_output=True, check=True, env={"HOME": "/never"}
        )
        words = done.stdout.decode().split("\0")[:-1]
        assert words[0] == ("curl" if kind == "curl" else "http")
        assert words[-1] == f"http://localhost:1{target}" or kind == "httpie"
        for name, value in headers.items():
            separator = (": " if kind == "curl" else ":") if value else ""
            assert f"{name}{separator}{value or ';'}" in words
        if "| " in text:
            pipe = text.rpartition(" | ")[0]
            assert subprocess.run(["bash", "-c", pipe], capture_output=True, check=True).stdout == body
        elif body:
            assert words[words.index("--data-raw") + 1].encode() == body
        if kind == "curl":
            assert shlex.split(text, posix=True)


@pytest.mark.parametrize(("method", "target", "headers", "body"), EXPORTED)
def test_exported_program(method, target, headers, body, exported, monkeypatch):
    """The program sends the request: the same line, the same headers in their order, the same body."""
    sent = []

    class Connection(http.client.HTTPConnection):
        def connect(self):
            pass

        def send(self, data):
            sent.append(data)

        def getresponse(self):
            raise SystemExit

    monkeypatch.setattr(http.client, "HTTPConnection", Connection)
    with pytest.raises(SystemExit):
        exec(exported(method, target, headers, body, "python"))
    head, _, rest = b"".join(sent).partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    assert lines[0] == f"{method} {target} HTTP/1.1"
    length = [f"Content-Length: {len(body)}"] if body else []
    assert lines[1:] == ["Host: localhost:1", *(f"{name}: {value}" for name, value in headers.items()), *length]
    assert rest == body


@pytest.mark.parametrize(("method", "target", "headers", "body"), EXPORTED)
def test_exported_har(method, target, headers, body, exported):
    """HAR has everything that its version 1.2 wants, and what was sent and answered."""
    log = json.loads(exported(method, target, headers, body, "har"))["log"]
    assert (log["version"], log["creator"]["name"]) == ("1.2", "mixweb")
    (entry,) = log["entries"]
    assert set(entry) >= {"startedDateTime", "time", "request", "response", "cache", "timings"}
    request, response = entry["request"], entry["response"]
    assert (request["method"], request["url"]) == (method, f"http://localhost:1{target}")
    named = {header["name"]: header["value"] for header in request["headers"]}
    assert named.items() >= headers.items()
    assert request["bodySize"] == len(body)
    assert bool(body) is ("postData" in request)
    for part in (request, response):
        assert set(part) >= {"httpVersion", "cookies", "headers", "headersSize", "bodySize"}
    assert set(response) >= {"status", "statusText", "content", "redirectURL"}
    timings = entry["timings"]
    assert sum(timings.values()) == pytest.approx(entry["time"])
    if target.startswith("/lab/anything?"):
        assert request["queryString"] == [{"name": "a", "value": "1"}, {"name": "b", "value": "  []{}"}]


def test_all_as_har(inspected):
    """All that a filter wants is exported together, without what is not answered yet."""
    server = inspected(Lab())
    server.agent.get("/lab/get")
    server.agent.get("/lab/status/404")
    waiting = server.agent.open("GET", "/lab/delay/9")
    answer = server.api("GET", "har?filter=status:%3E0")
    assert "attachment" in answer["Content-Disposition"]
    assert [entry["response"]["status"] for entry in json.loads(answer.body)["log"]["entries"]] == [200, 404]
    waiting.disconnect()


def test_raw_export(inspected):
    """The raw export is what was sent, line by line."""
    server = inspected(Respond("hi"))
    sent = "POST /x?y HTTP/1.1\r\nhOST: a\r\nX-B: 1\r\nx-a: 2\r\nContent-Length: 5\r\n\r\nhello"
    server.agent.connect().send(sent.encode())
    assert server.api("GET", "requests/1/export?as=raw").text == sent


def test_names_that_lead_here(inspected):
    """curl is told where a name leads that may not be known elsewhere."""
    server = inspected(Respond("hi"), hosts=[Host("shop.example", Respond("x"))])
    server.agent.get("/", {"Host": "shop.example"})
    assert "--connect-to ::127.0.0.1:8080" in server.api("GET", "requests/1/export").text


# What is in bytes


@pytest.mark.parametrize(
    ("data", "declared", "text"),
    [
        (b"", b"", ""),
        ("zoë".encode(), b"", "zoë"),
        ("zoë".encode()[:-1], b"", "zo"),
        (b"a\xffb", b"", None),
        (b"a\xe9b", b"text/plain; charset=latin-1", "aéb"),
        (b"a\xe9b", b'text/plain; charset="no-such"', None),
        (b"\0\1", b"text/plain", None),
        ("é".encode("utf-16"), b"text/plain; charset=utf-16", "é"),
    ],
)
def test_body_text(data, declared, text):
    """A body is text when it is UTF-8, cut off or not, or what its type says."""
    assert body_text(data, declared) == text


@pytest.mark.parametrize(
    ("data", "expected"), [(b"abc", True), (b"\xc3", True), (b"\xe2\x82", True), (b"\xc3x", False), (b"\xff", False)]
)
def test_is_text(data, expected):
    """A character that is cut off at the end does not make text binary."""
    assert is_text(data) is expected


@pytest.mark.parametrize("coding", [b"gzip", b"deflate", b"br", b"zstd"])
def test_broken_codings(coding):
    """A body that is not what its coding says is not decoded; nothing fails."""
    assert decoded(b"this is no such thing at all", coding, 100) is None
    assert decoded(b"", coding, 100) in (None, b"")


def test_unknown_coding():
    """A coding that is not known is left alone."""
    assert decoded(b"x", b"secret-sauce", 100) is None


def test_bounds():
    """However many parameters, cookies and parts there are, only so many are told of."""
    assert len(pairs(b"&".join([b"a=1"] * 5000))) == 200
    assert len(cookies([b"; ".join([b"a=1"] * 5000)])) == 200
    part = b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n'
    assert len(parts(b"multipart/form-data; boundary=b", part * 500 + b"--b--\r\n")) <= 200


@pytest.mark.parametrize(
    ("numbers", "share", "expected"),
    [
        ([], 0.5, None),
        ([1], 0.99, 1),
        ([1, 2], 0.5, 1),
        ([1, 2, 3], 0.5, 2),
        (range(1, 101), 0.95, 95),
        (range(1, 101), 0.99, 99),
    ],
)
def test_percentile(numbers, share, expected):
    """A percentile is one of the numbers: so large a share of them does not exceed it."""
    assert percentile(list(numbers), share) == expected


def test_errors():
    """The last errors that are logged are remembered with their tracebacks, warnings are not."""
    seen = ErrorLog()
    seen.listen()
    log = Logger("somewhere")
    try:
        log.warn("careful")
        log.error("it broke: {what}", what="thin ice")
        try:
            raise KeyError("inside")
        except KeyError:
            log.failure("it failed")
        for _ in range(100):
            log.error("again")
    finally:
        seen.leave()
    log.error("later")
    texts = [error["text"] for error in seen.errors]
    assert len(texts) == 50
    assert set(texts) == {"again"}
    seen.errors.clear()


def test_errors_in_the_status(inspected, failures):
    """The status tells of errors with their tracebacks, of the slowest requests, and of the configuration."""
    from twisted.web.resource import Resource

    from mixweb import ResourceClass

    class Broken(Resource):
        isLeaf = True

        def render_GET(self, request):
            raise KeyError("inside")

    server = inspected(Respond("hi", at="/hi"), ResourceClass(Broken, at="/broken"))
    server.about.configuration = "[respond]\n"
    server.agent.get("/broken")
    server.agent.get("/hi")
    status = server.ask("status")
    assert "KeyError: 'inside'" in status["errors"][0]["traceback"]
    assert (status["total"], status["in_flight"]) == (2, 0)
    assert status["statuses"] == {"500": 1, "200": 1}
    assert status["modules"] == {"class": 1, "respond": 1}
    assert status["hosts"] == {"default": 2}
    assert [row["target"] for row in status["slow"]] == ["/broken", "/hi"]
    assert status["p50"] <= status["p95"] <= status["p99"]
    assert status["configuration"] == "[respond]\n"
    assert sum(status["recent"]) == 2
    assert len(failures) == 1


def test_stores_and_certificates_in_the_status(inspected):
    """The status tells how the stores are, and when the certificates end."""
    from mixweb import Cache
    from mixweb.feature import About

    about = About(certificates=lambda: [("site.pem", ["a.example"], 1.0)])
    server = inspected(Cache(), about=about)
    server.agent.request("POST", "/cache/x", {"Content-Type": "application/x-www-form-urlencoded"}, b"data=1")
    status = server.ask("status")
    assert [(store["url"], store["state"]) for store in status["stores"]] == [("memory:", "up")]
    assert status["certificates"] == [{"path": "site.pem", "names": ["a.example"], "ends": 1.0}]


def test_per_second(inspected):
    """Requests are counted by the second, of the last minute."""
    server = inspected()
    for _ in range(3):
        server.agent.get("/hi")
    server.clock.advance(10)
    server.agent.get("/hi")
    recent = server.ask("status")["recent"]
    assert (recent[-1], recent[-11], sum(recent)) == (1, 3, 4)
    server.clock.advance(61)
    assert sum(server.ask("status")["recent"]) == 0


# What is kept


def test_short_pieces():
    """A body takes no more memory than it has bytes, in however many pieces it comes."""
    body = Body()
    tracemalloc.start()
    try:
        for number in range(20_000):
            body.add(b"%02d" % (number % 100), 100_000)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (body.kept, body.data[:6]) == (40_000, b"000102")
    assert kept < 60_000
