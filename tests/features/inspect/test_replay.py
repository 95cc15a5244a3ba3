"""
Requests sent again by the inspector, and the pages of the cache.
"""

import json

import pytest
from twisted.web.resource import Resource

from mixweb import Cache, Echo, Forwarded, Goto, Host, Lab, ResourceClass, Respond
from tests.features.inspect.conftest import BEARER

JSON = {"Content-Type": "application/json"}


class Sent(Resource):
    """Tells what it was sent."""

    isLeaf = True

    def render(self, request):
        lines = [f"{name.decode()}: {value.decode()}" for name, value in request.head.fields.pairs]
        told = [request.method.decode(), request.uri.decode(), *lines, request.content.read().decode("latin-1")]
        told.append(f"{request.getClientAddress().host} {request.isSecure()}")
        return "\n".join(told).encode()


def sent(server, document, path="send"):
    """What a server was sent, as it tells."""
    found = server.ask(path, "POST", document)
    return found["response"]["body"]["text"].split("\n")


def test_replay(inspected):
    """A request is sent again as it came: in the same order and case, with what is hidden, from who asks for it."""
    server = inspected(ResourceClass(Sent))
    server.agent.request(
        "POST", "/x?token=s3cret", {"hOST": "localhost", "X-B": "1", "Cookie": "sid=s3cret", "x-a": "2", **JSON},
        b'{"password": "s3cret"}',
    )  # fmt: skip
    editable = server.ask("requests/1/replay")
    assert "s3cret" not in json.dumps(editable)
    assert editable["complete"]
    assert not editable["binary"]
    told = sent(server, {"head": editable["head"], "body": editable["body"]}, "requests/1/replay")
    assert told == [
        "POST", "/x?token=s3cret", "hOST: localhost", "X-B: 1", "Cookie: sid=s3cret", "x-a: 2",
        "Content-Type: application/json", "Content-Length: 22", '{"password": "s3cret"}', "127.0.0.1 False",
    ]  # fmt: skip
    again = server.listed()[-1]
    assert (again["replay_of"], again["status"], again["id"]) == (1, 200, 2)
    assert server.listed(filter="is:replay") == [again]


def test_edited(inspected):
    """What was changed is sent as it was changed, with its length set right, or not where that is not wanted."""
    server = inspected(ResourceClass(Sent))
    server.agent.request("POST", "/x", {"Cookie": "sid=s3cret", "Content-Type": "text/plain"}, b"old")
    head = "PUT /y HTTP/1.1\nHost: localhost\nCookie: sid=***\nContent-Length: 3\nX-New: ü"
    told = sent(server, {"head": head, "body": "newer"}, "requests/1/replay")
    assert told[:2] == ["PUT", "/y"]
    assert {"Cookie: sid=s3cret", "Content-Length: 5", "X-New: ü", "newer"} <= set(told)
    found = server.ask("requests/1/replay", "POST", {"head": head, "body": "newer", "frame": False})
    assert found["request"]["body"]["text"] == "new"
    changed = head.replace("sid=***", "sid=other")
    assert "Cookie: sid=other" in sent(server, {"head": changed, "body": "x"}, "requests/1/replay")


def test_chunked(inspected):
    """What came in chunks is sent with its length."""
    server = inspected(ResourceClass(Sent))
    server.agent.connect().send(
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nX-A: 1\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    )
    head = server.ask("requests/1/replay")["head"]
    told = sent(server, {"head": head}, "requests/1/replay")
    assert told[2:] == ["Host: a", "Content-Length: 3", "X-A: 1", "abc", "127.0.0.1 False"]


def test_binary_bodies(inspected):
    """A binary body is sent again byte for byte; another one is given as Base64."""
    server = inspected(ResourceClass(Sent))
    server.agent.request("POST", "/", {"Content-Type": "application/octet-stream"}, b"\xff\x00\xfe")
    editable = server.ask("requests/1/replay")
    assert (editable["binary"], editable["body"]) == (True, "")
    found = server.ask("requests/1/replay", "POST", {"head": editable["head"]})
    number = found["id"]
    assert server.api("GET", f"requests/{number}/body").body == b"\xff\x00\xfe"
    found = server.ask("requests/1/replay", "POST", {"head": editable["head"], "body_base64": "AAE="})
    assert server.api("GET", f"requests/{found['id']}/body").body == b"\0\1"


def test_cut_off(inspected):
    """A body of which only the beginning was kept is not sent again as if it were whole."""
    server = inspected(ResourceClass(Sent), max_body_bytes=4)
    server.agent.request("POST", "/", {"Content-Type": "text/plain"}, b"too long")
    editable = server.ask("requests/1/replay")
    assert not editable["complete"]
    refused = server.api("POST", "requests/1/replay", {"head": editable["head"], "body": editable["body"]})
    assert refused.status == 409
    assert "4 of the 8 bytes" in refused.text
    found = server.ask("requests/1/replay", "POST", {"head": editable["head"], "body": "own"})
    assert found["request"]["body"]["text"] == "own"


@pytest.mark.parametrize(
    ("head", "status", "state"),
    [
        ("GET / HTTP/1.1\nHost: a\nBad Name: x", 400, "refused"),
        ("GET / HTTP/3.0\nHost: a", 505, "refused"),
        ("nonsense", 400, "refused"),
        ("GET /nowhere HTTP/1.1\nHost: a", 404, "done"),
        ("GET / HTTP/1.0", 200, "done"),
    ],
)
def test_what_the_server_makes_of_it(head, status, state, inspected):
    """Malformed requests can be tried, too: they are read as those of any client."""
    server = inspected(Respond("hi", at="/") if status != 404 else Respond("hi", at="/hi"))
    found = server.ask("send", "POST", {"head": head})
    assert (found["status"], found["state"]) == (status, state)


def test_not_whole(inspected):
    """What never comes to the end of its body is given up; what has no end to its head is no request."""
    server = inspected(ResourceClass(Sent))
    document = {"head": "POST / HTTP/1.1\nHost: a\nContent-Length: 50", "body": "short", "frame": False}
    exchange = server.agent.open("POST", "/~mix/api/send", {**BEARER, **JSON}, json.dumps(document).encode())
    server.clock.advance(10)
    found = json.loads(exchange.answer.body)
    assert (found["state"], found["request"]["body"]["text"]) == ("left", "short")
    for member in ("head", "body"):
        refused = server.api("POST", "send", {"head": "GET / HTTP/1.1\nHost: a", member: "\ud800"})
        assert (refused.status, f"{member} is text." in refused.text) == (400, True)
    assert server.ask("send", "POST", {"head": "GET"})["request"]["unread"] == "GET\r\n\r\n"
    assert server.api("POST", "send", {"head": "GET / HTTP/1.1\nHost: a", "frame": False}).status == 200


def test_slow_answers(inspected):
    """An answer that takes long is waited for, but not for ever; then the client has left."""
    server = inspected(Lab())
    exchange = server.agent.open(
        "POST", "/~mix/api/send", {**BEARER, **JSON},
        b'{"head": "GET /lab/delay/5 HTTP/1.1\\nHost: a"}',
    )  # fmt: skip
    server.clock.advance(4)
    assert exchange.answers() == []
    server.clock.advance(1)
    assert json.loads(exchange.answer.body)["state"] == "done"
    exchange = server.agent.open(
        "POST", "/~mix/api/send", {**BEARER, **JSON},
        b'{"head": "GET /lab/drip?duration=60 HTTP/1.1\\nHost: a"}',
    )  # fmt: skip
    server.clock.pump([1] * 10)
    assert json.loads(exchange.answer.body)["state"] == "left"
    assert server.recorder.in_flight == 0


def test_endless_answers(inspected):
    """An answer without an end is given up after so many bytes."""

    class Endless(Resource):
        isLeaf = True

        async def render(self, request):
            while True:
                yield b"x" * 1_000_000

    Endless.render_GET = Endless.render
    server = inspected(ResourceClass(Endless))
    exchange = server.agent.open("POST", "/~mix/api/send", {**BEARER, **JSON}, b'{"head": "GET / HTTP/1.1\\nHost: a"}')
    for _ in range(10):
        server.clock.advance(0)
    found = json.loads(exchange.answer.body)
    assert found["state"] == "left"
    assert 16_000_000 < found["sent"] < 80_000_000


def test_from_whom(inspected):
    """What is sent again comes from who asks for it: nobody borrows another's address."""
    server = inspected(ResourceClass(Sent), Forwarded(["127.0.0.1"]))
    server.agent.get("/", {"X-Forwarded-For": "192.0.2.9"})
    assert server.last()["client"] == "192.0.2.9"
    assert server.last()["request"]["peer"] == "127.0.0.1"
    told = sent(server, {"head": "GET / HTTP/1.1\nHost: a"})
    assert told[-1].startswith("127.0.0.1")


def test_this_server_only(inspected):
    """Whatever host is named, the request is sent to this server."""
    server = inspected(Respond("here"), hosts=[Host("b.example", Respond("b"))])
    for target, host, body in (
        ("/", "c.example", "here"),
        ("http://b.example/", "x", "b"),
        ("//evil.example/", "x", "here"),
    ):
        found = server.ask("send", "POST", {"head": f"GET {target} HTTP/1.1\nHost: {host}"})
        assert found["response"]["body"]["text"] == body


# The tools of testers


def test_tools(inspected):
    """The page knows which tools the host has, and where."""
    server = inspected(Cache(at="/pages"), Echo(), Goto(at="/go"), Lab())
    told = server.ask("lab")
    assert told["tools"] == [
        {"name": "cache", "at": "/pages"}, {"name": "echo", "at": "/echo"}, {"name": "goto", "at": "/go"},
        {"name": "lab", "at": "/lab"},
    ]  # fmt: skip
    assert len(told["new"]) == 36
    assert inspected(Respond("x")).ask("lab")["tools"] == []


def test_cache(inspected):
    """The pages of a cache are listed, shown in a frame, given another type, kept and cleared."""
    server = inspected(Cache(), Respond("<b>kept</b>", at="/hi", type="text/html"))
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert server.agent.request("POST", "/cache/one", form, b"data=<i>x</i>&type=text/html").status == 204
    server.agent.get("/hi")
    server.ask("lab/pages/0/two", "PUT", {"text": "zoë", "type": "text/plain"})
    number = server.listed(filter="path:/hi")[0]["id"]
    server.ask("lab/pages/0/three", "PUT", {"request": number, "body": "answer"})
    (cache,) = server.ask("lab")["caches"]
    assert cache["at"] == "/cache"
    assert [(page["name"], page["type"], page["size"], page["cleared"]) for page in cache["pages"]] == [
        ("one", "text/html", 8, False), ("two", "text/plain", 4, False), ("three", "text/html", 11, False),
    ]  # fmt: skip
    shown = server.api("GET", "lab/pages/0/one?frame=1")
    assert (shown.text, shown["Content-Type"]) == ("<i>x</i>", "text/html")
    assert shown["Content-Security-Policy"].startswith("sandbox;")
    assert server.ask("lab/pages/0/one", "PATCH", {"type": "image/png; x=y"}) == {"type": "image/png"}
    assert server.agent.get("/cache/one")["Content-Type"] == "image/png"
    assert server.api("PUT", "lab/pages/0/one", {"text": "x", "type": "text/plain"}).status == 409
    assert server.api("PUT", "lab/pages/0/clear", {"text": "x", "type": "text/plain"}).status == 400
    assert server.api("PATCH", "lab/pages/0/nothing", {"type": "text/plain"}).status == 404
    server.ask("lab/pages/0/one", "DELETE")
    assert server.agent.get("/cache/one").status == 410
    assert server.api("GET", "lab/pages/0/one").status == 410
    server.ask("lab/pages/0", "DELETE")
    assert all(page["cleared"] for page in server.ask("lab")["caches"][0]["pages"])
