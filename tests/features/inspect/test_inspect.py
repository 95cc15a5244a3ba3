"""
The inspector: what is told of requests, and to whom.
"""

import json
from urllib.parse import quote

import pytest
from twisted.internet.task import Clock

from mixweb import Cors, Goto, Headers, Host, Inspect, Redirect, Respond, Rewrite
from mixweb.assemble import Assembler, BuildError
from mixweb.feature import About
from mixweb.plan import Plan
from mixweb.testing import SiteAgent, make_context
from tests.features.inspect.conftest import BEARER, NOW, TOKEN


def sample(tmp_path, **changes):
    """An inspector with a known token."""
    return Inspect(token="t", **changes)


JSON = {"Content-Type": "application/json"}


def cookie_of(answer):
    """The cookie that an answer sets, as a client sends it back."""
    return answer["Set-Cookie"].partition(";")[0]


# Who may look


@pytest.mark.parametrize(
    ("headers", "query", "status"),
    [
        ({}, "", 403),
        ({}, f"?token={TOKEN}", 200),
        ({}, "?token=wrong", 403),
        ({}, "?token=", 403),
        (BEARER, "", 200),
        ({"Authorization": f"bearer {TOKEN} "}, "", 200),
        ({"Authorization": f"Basic {TOKEN}"}, "", 403),
        ({"Cookie": f"mixweb-inspect={TOKEN}"}, "", 403),
        ({**BEARER, "Host": "localhost:8080"}, "", 200),
        ({**BEARER, "Host": "shop.localhost"}, "", 200),
        ({**BEARER, "Host": "127.0.0.1"}, "", 200),
        ({**BEARER, "Host": "192.0.2.7:8080"}, "", 200),
        ({**BEARER, "Host": "[::1]:8080"}, "", 200),
        ({**BEARER, "Host": "rebound.example"}, "", 403),
        ({**BEARER, "Host": "127.0.0.1.example"}, "", 403),
        ({**BEARER, "Host": "localhost.example"}, "", 403),
        ({**BEARER, "Host": "mine.example"}, "", 200),
        ({**BEARER, "Host": "a.test"}, "", 200),
        ({**BEARER, "Host": "A.TEST."}, "", 200),
    ],
)
@pytest.mark.parametrize("path", ["", "api/requests", "api/status", "inspect.js", "api/events"])
def test_who_may_look(path, headers, query, status, inspected):
    """The token opens everything, nothing else opens anything, and only to names that nobody else can take."""
    server = inspected(inspect=Inspect(token=TOKEN, hosts=["mine.example", "*.test"]))
    exchange = server.agent.open("GET", f"/~mix/{path}{query}", headers)
    assert exchange.received.split(b" ")[1] == str(status).encode()
    if status == 403 and "example" in headers.get("Host", ""):
        assert b"--inspect-hosts" in exchange.received


def test_cookie(inspected):
    """The token is given once: a cookie takes its place that no script and no other site can use."""
    server = inspected()
    answer = server.agent.get(f"/~mix/?token={TOKEN}")
    attributes = answer["Set-Cookie"].split("; ")[1:]
    assert attributes == ["Path=/~mix", "HttpOnly", "SameSite=Strict"]
    assert TOKEN not in answer["Set-Cookie"]
    assert TOKEN not in answer.text
    cookie = {"Cookie": f"a=b; {cookie_of(answer)}; c=d"}
    assert server.agent.get("/~mix/", cookie).status == 200
    assert server.agent.get("/~mix/api/requests", cookie).status == 200
    assert server.agent.get("/~mix/api/requests", {"Cookie": cookie_of(answer)[:-1]}).status == 403
    other = inspected(inspect=Inspect(token="another"))
    assert other.agent.get("/~mix/", cookie).status == 403
    secure = SiteAgent(server.site, secure=True, clock=server.clock)
    assert "; Secure" in secure.get(f"/~mix/?token={TOKEN}")["Set-Cookie"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "http://localhost"}, 200),
        ({"Origin": "http://localhost:9000"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://evil.example", **BEARER}, 200),
    ],
)
def test_other_pages(headers, status, inspected):
    """A cookie speaks for the inspector's own page only: not for pages of another port or site."""
    server = inspected()
    cookie = cookie_of(server.agent.get(f"/~mix/?token={TOKEN}"))
    assert server.agent.get("/~mix/api/requests", {"Cookie": cookie, **headers}).status == status


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
@pytest.mark.parametrize(("method", "path"), [("POST", "send"), ("DELETE", "requests"), ("PATCH", "requests/1")])
def test_forms(method, path, kind, inspected):
    """What changes something is asked for with JSON, which a page of another site cannot send unasked."""
    server = inspected()
    server.agent.get("/hi")
    headers = {**BEARER, **({"Content-Type": kind} if kind else {})}
    assert server.agent.request(method, f"/~mix/api/{path}", headers, b"{}").status == 415
    assert len(server.listed()) == 1


def test_policy(inspected):
    """The page runs its own script alone, makes no markup of text, goes into no frame and loads nothing from elsewhere."""
    server = inspected()
    answer = server.agent.get("/~mix/", BEARER)
    policy = dict(part.split(" ", 1) for part in answer["Content-Security-Policy"].split("; "))
    nonce = policy["script-src"].removeprefix("'nonce-").removesuffix("'")
    assert len(nonce) >= 20
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == f"'nonce-{nonce}'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert answer.text.count(f'nonce="{nonce}"') == 2
    assert "http://" not in answer.text
    assert "https://" not in answer.text
    assert server.agent.get("/~mix/", BEARER)["Content-Security-Policy"] != answer["Content-Security-Policy"]
    assert (answer["Cache-Control"], answer["Referrer-Policy"]) == ("no-store", "no-referrer")
    for asset in ("inspect.js", "inspect.css"):
        text = server.agent.get(f"/~mix/{asset}", BEARER).text
        assert "http://" not in text.replace('"http://', "").replace("http://example.com", "").replace(
            "http://from", ""
        )
        assert not any(
            word in text for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(")
        )


def test_health(inspected):
    """Anybody may ask how the server is, by any name; when it is about to stop it says so."""
    for server in (inspected(), inspected(inspect=Inspect(health_only=True))):
        answer = server.agent.get("/~mix/health", {"Host": "balancer.example"})
        assert (answer.status, json.loads(answer.body)) == (200, {"status": "ok"})
        server.site.draining = True
        answer = server.agent.get("/~mix/health")
        assert (answer.status, json.loads(answer.body)) == (503, {"status": "stopping"})


def test_health_only(inspected):
    """With health_only there is nothing else, and nothing is watched."""
    server = inspected(inspect=Inspect(health_only=True, token=TOKEN))
    for path in ("", "api/requests", "inspect.js"):
        assert server.agent.get(f"/~mix/{path}", BEARER).status == 404
    assert server.tree.watchers == []
    assert server.about.kept == {}


def test_no_token():
    """Without a token of one's own a new one is made, and told to the owner alone."""
    context = make_context(warn=(warnings := []).append, about=About())
    Assembler(context.reactor).assemble(Plan())
    from mixweb.features.inspect import FEATURE

    FEATURE.build(Inspect(), context)
    FEATURE.build(Inspect(at="/look here"), context)
    tokens = {warning.partition("token=")[2] for warning in warnings}
    assert len(tokens) == 2
    assert all(len(token) >= 22 for token in tokens)
    assert "/look%20here/?token=" in warnings[1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_requests": 0}, "max_requests must be at least 1"),
        ({"max_bytes": 0}, "max_bytes must be at least 1"),
        ({"max_body_bytes": -1}, "max_body_bytes must not be negative"),
        ({"token": "schlüssel"}, "token must be printable ASCII"),
    ],
)
def test_settings(changes, message):
    """Settings that make no sense are refused by name."""
    with pytest.raises(ValueError, match=message):
        Inspect(**changes)


# What is told


def test_request_as_received(inspected):
    """Header lines are told in the order and case received, with their duplicates; the target as it came and as it counts."""
    server = inspected(Respond("hi"))
    server.agent.connect().send(
        b"GET /a/../%62//c?x=1&x=%41+b HTTP/1.1\r\nhOsT: localhost\r\nX-B: 1\r\nx-a: 2\r\nX-b: \xff3\r\nX-Empty:\r\n\r\n"
    )
    found = server.last()
    request = found["request"]
    assert request["line"] == "GET /a/../%62//c?x=1&x=%41+b HTTP/1.1"
    assert request["lines"] == [
        ["hOsT", "localhost"], ["X-B", "1"], ["x-a", "2"], ["X-b", "\\xff3"], ["X-Empty", ""],
    ]  # fmt: skip
    assert request["canonical"] == "/b/c"
    assert request["query"] == [["x", "1"], ["x", "A b"]]
    assert (found["status"], found["state"], found["module"], found["client"]) == (200, "done", "respond", "127.0.0.1")
    assert found["time"] == pytest.approx(NOW, abs=5)


def test_absolute_target(inspected):
    """A target that names its host is told as it came."""
    server = inspected(Respond("hi"))
    server.agent.connect().send(b"GET http://b.example/x HTTP/1.1\r\nHost: a.example\r\n\r\n")
    found = server.last()
    assert found["request"]["line"] == "GET http://b.example/x HTTP/1.1"
    assert found["host"] == "b.example"
    assert found["request"]["lines"] == [["Host", "a.example"]]


def test_raw_target(inspected):
    """What a raw mount gets is told undecoded."""
    server = inspected(Goto())
    server.agent.get("/goto///foo.baz/../..//cache?x")
    request = server.last()["request"]
    assert (request["canonical"], request["raw"]) == ("/goto", "//foo.baz/../..//cache?x")


MULTIPART = (
    b'--b\r\nContent-Disposition: form-data; name="title"\r\n\r\nA <b>chair</b>\r\n'
    b'--b\r\nContent-Disposition: form-data; name="photo"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n\x89P\0\r\n'
)


@pytest.mark.parametrize("end", [b"--b--\r\n", b'--b\r\nContent-Disposition: form-data; name="cut"\r\n\r\nunfin'])
def test_multipart(end, inspected):
    """The parts of a multipart body are told, also where its end is missing."""
    server = inspected(Respond("hi"))
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    server.agent.request("POST", "/", headers, MULTIPART + end)
    parts = server.last()["request"]["parts"]
    assert parts[:2] == [
        {"name": "title", "filename": None, "type": None, "size": 14, "text": "A <b>chair</b>"},
        {"name": "photo", "filename": "a.png", "type": "image/png", "size": 3, "text": None},
    ]
    assert [(part["text"], part["truncated"]) for part in parts[2:]] == ([("unfin", True)] if b"cut" in end else [])


def test_form_and_cookies(inspected):
    """Forms and cookies are told decoded."""
    server = inspected(Respond("hi"), lab=True)
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Cookie": 'a="%41b"; c=d=e; f'}
    server.agent.request("POST", "/", headers, b"x=%C3%A9&y=1+2&x=%ff")
    request = server.last()["request"]
    assert request["form"] == [["x", "é"], ["y", "1 2"], ["x", "\\xff"]]
    assert request["cookies"] == [["a", "Ab"], ["c", "d=e"], ["f", ""]]
    assert request["body"]["text"] == "x=%C3%A9&y=1+2&x=%ff"


def jwt(**claims):
    """A token that nobody has signed."""
    from base64 import urlsafe_b64encode

    parts = [urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in ({"alg": "HS256"}, claims)]
    return ".".join([*parts, "c2ln"])


def test_tokens(inspected):
    """JSON Web Tokens are told decoded, wherever they stand; what only looks like one is not."""
    server = inspected(Respond("hi"))
    server.agent.get(
        f"/?t={jwt(sub='query')}",
        {"Authorization": f"Bearer {jwt(sub='alice')}", "Cookie": f"t={jwt(sub='bob')}", "X-T": "eyJhb.eyJhb.c"},
    )
    tokens = server.last()["request"]["tokens"]
    assert {token["where"]: token["claims"]["sub"] for token in tokens} == {
        "Authorization": "alice", "Cookie": "bob", "the target": "query",
    }  # fmt: skip
    assert tokens[0]["header"] == {"alg": "HS256"}


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
def test_encoded_answers(coding, inspected):
    """The body of an encoded answer is told decoded, with both its sizes; a bomb is decoded as far as its beginning."""
    from mixweb import Encode

    server = inspected(Encode(), Respond("hello " * 100_000, type="text/plain"))
    server.agent.open("GET", "/", {"Accept-Encoding": coding}).answers()
    body = server.last()["response"]["body"]
    assert body["coding"] == coding
    assert body["text"].startswith("hello hello")
    assert body["size"] < 20_000
    assert body["size"] < body["decoded"] <= 256 * 1024


def test_response(inspected):
    """The answer is told as it was sent, with the part that set each line last, and its time."""
    server = inspected(
        Respond("hi", headers=["X-One: respond", "X-Two: respond"]), Headers(set=["X-Two: headers"]), Cors(["*"])
    )
    answer = server.agent.get("/")
    found = server.last()
    lines = {name: (value, by) for name, value, by in found["response"]["lines"]}
    assert lines["X-One"] == ("respond", "respond")
    assert lines["X-Two"] == ("headers", "headers")
    assert lines["Access-Control-Allow-Origin"] == ("*", "cors")
    assert lines["X-Content-Type-Options"] == ("nosniff", "secureheaders")
    assert lines["Server"] == ("mixweb", "server")
    sent = [[name.decode(), value.decode()] for name, values in answer.headers.getAllRawHeaders() for value in values]
    assert sorted(line[:2] for line in found["response"]["lines"]) == sorted(sent)
    assert found["response"]["line"] == "HTTP/1.1 200 OK"
    assert found["response"]["body"]["text"] == "hi"
    timing = found["timing"]
    assert 0 < timing["routed"] <= timing["first"] <= timing["total"] == found["ms"]


def test_route(inspected):
    """The route says which host and why, what each part did and in which order, and where that was said."""
    hosts = [Host("*.shop.example", Respond("shop"))]
    server = inspected(
        Respond("hi", at="/new"), Rewrite({"/old/*": "/new/{1}?from=old"}), Redirect({"/sale": "/offers"}),
        Headers(set=["X-A: 1"], paths=["/admin/"]), hosts=hosts,
    )  # fmt: skip
    server.agent.get("/old/x?y=1")
    route = server.last()["route"]
    assert [(row["verdict"], row["name"]) for row in route] == [
        ("host", "default"), ("skips", "headers"), ("passes", "secureheaders"), ("passes", "redirect"),
        ("rewrites", "rewrite"), ("answers", "respond"),
    ]  # fmt: skip
    assert route[0]["why"] == "no other host is called localhost"
    assert route[1]["why"] == 'paths = ["/admin/"] has no such path'
    assert (route[4]["why"], route[4]["target"]) == ("rule /old/* = /new/{1}?from=old", "/new/x?from=old&y=1")
    assert all(row["ms"] >= 0 for row in route)
    server.agent.get("/sale")
    assert server.last()["route"][-1]["why"] == "308 to /offers"
    assert server.last()["module"] == "redirect"
    server.agent.get("/", {"Host": "a.shop.example"})
    assert server.last()["route"][0]["why"] == "*.shop.example matches a.shop.example"
    assert server.last()["vhost"] == "*.shop.example"


def test_declined(inspected):
    """A mount that declines is told so, and what no mount has is nobody's answer."""
    server = inspected()
    server.agent.get("/nowhere")
    found = server.last()
    assert [(row["verdict"], row["name"]) for row in found["route"]][-2:] == [
        ("declines", "files"),
        ("none", "no mount"),
    ]
    assert (found["status"], found["module"]) == (404, "")


@pytest.mark.parametrize(
    ("sent", "status", "unread"),
    [
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nBad Name : x\r\n\r\n",
            400,
            "GET / HTTP/1.1\r\nHost: a\r\nBad Name : x\r\n\r\n",
        ),
        (b"G\x01T / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "G\x01T / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\n", 413, None),
    ],
)
def test_refused(sent, status, unread, inspected):
    """Requests that are refused before any part sees them are told, too: with the bytes that are none."""
    server = inspected(Respond("hi"))
    server.agent.connect().send(sent)
    found = server.last()
    assert found["status"] == status
    assert found["request"]["unread"] == unread
    assert found["sent"] > 0


def test_left(inspected):
    """A client that leaves before its answer is told so, and what is in flight is told before it has ended."""
    from mixweb import Lab

    server = inspected(Lab(at="/"))
    exchange = server.agent.open("GET", "/delay/5")
    assert [(row["state"], row["status"], row["ms"]) for row in server.listed()] == [("open", None, None)]
    exchange.disconnect()
    assert [(row["state"], row["ms"] is None) for row in server.listed()] == [("left", False)]


def test_own_requests(inspected):
    """The inspector's own requests are not told, and take no place."""
    server = inspected(max_requests=2)
    for _ in range(2):
        server.agent.get("/hi")
    for _ in range(5):
        server.listed()
    assert [row["id"] for row in server.listed()] == [1, 2]
    assert server.ask("status")["total"] == 2


def test_body_while_it_arrives(inspected):
    """A body that arrives in pieces is kept as it was sent."""
    server = inspected(Respond("hi"))
    exchange = server.agent.connect()
    exchange.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    for piece in (b"3\r\nabc\r\n", b"2\r\nde\r\n", b"0\r\n\r\n"):
        exchange.send(piece)
    assert server.last()["request"]["body"]["text"] == "abcde"


# Secrets


SECRET_BODIES = [
    ("application/x-www-form-urlencoded", b"user=a&Password=s3cret&x=1"),
    ("application/json", b'{"user": "a", "password": "s3cret", "deep": {"api_key": "s3cret\\"s3cret", "n": 1}}'),
    ("application/problem+json", b'{"access_token":"s3cret'),
    (
        "multipart/form-data; boundary=b",
        b'--b\r\nContent-Disposition: form-data; name="token"\r\n\r\ns3cret\r\n--b--\r\n',
    ),
]


@pytest.mark.parametrize(("kind", "body"), SECRET_BODIES)
def test_secrets(kind, body, inspected):
    """Nothing that is told has cookies, credentials or what is named like a secret; in the lab all of it is there."""
    headers = {
        "Content-Type": kind, "Authorization": "Basic s3cret", "Cookie": "sid=s3cret; b=s3cret", "X-Api-Key": "s3cret",
        "Proxy-Authorization": "s3cret", "Referer": "http://u:s3cret@h/?token=s3cret",
    }  # fmt: skip
    for lab in (False, True):
        server = inspected(Respond("hi"), lab=lab)
        server.agent.request("POST", "/?signature=s3cret", headers, body)
        number = server.listed()[0]["id"]
        paths = [
            "requests",
            f"requests/{number}",
            f"requests/{number}/body",
            f"requests/{number}/replay",
            "har",
            "status",
        ]
        paths += [f"requests/{number}/export?as={kind}" for kind in ("curl", "httpie", "python", "har", "raw")]
        told = {path: server.api("GET", path).text for path in paths}
        assert ("s3cret" in "".join(told.values())) is lab
        assert server.last()["masked"] is not lab
    assert "Authorization: Basic s3cret" in told[f"requests/{number}/export?as=raw"]


def test_what_is_left_of_secrets(inspected):
    """What is not secret about secrets stays: schemes, the names of cookies, their attributes."""
    server = inspected(Respond("hi", headers=["Set-Cookie: sid=x; Path=/; HttpOnly", "Location: /?code=x&a=1"]))
    server.agent.get("/?token=x&page=2", {"Authorization": "Bearer x", "Cookie": "a=1; b=2"})
    found = server.last()
    assert found["target"] == "/?token=***&page=2"
    lines = dict(found["request"]["lines"])
    assert (lines["Authorization"], lines["Cookie"]) == ("Bearer ***", "a=***; b=***")
    sent = {name: value for name, value, _ in found["response"]["lines"]}
    assert (sent["Set-Cookie"], sent["Location"]) == ("sid=***; Path=/; HttpOnly", "/?code=***&a=1")


def test_mask_setting(inspected):
    """What is named like a secret is a setting."""
    server = inspected(Respond("hi"), mask=["pin"])
    server.agent.get("/?token=x&PIN=1")
    assert server.listed()[0]["target"] == "/?token=x&PIN=***"


def test_filter_finds_no_secrets(inspected):
    """What is hidden cannot be found by searching for it."""
    server = inspected(Respond("hi"))
    server.agent.request("POST", "/?token=s3cret", {"Cookie": "a=s3cret", **JSON}, b'{"password": "s3cret"}')
    for text in ("s3cret", "header:cookie=s3cret", "body:s3cret"):
        assert server.listed(filter=quote(text)) == []


# How much is kept


def test_many(inspected):
    """Of many requests the last ones are kept, with what fits."""
    server = inspected(Respond("x" * 1000), max_requests=10)
    for number in range(50):
        server.agent.get(f"/{number}")
    assert [row["target"] for row in server.listed()] == [f"/{number}" for number in range(40, 50)]
    assert server.api("GET", "requests/1").status == 404
    assert server.ask("status")["total"] == 50


def test_long_bodies(inspected):
    """Of a long body the beginning is kept, and told how long it was."""
    server = inspected(Respond("y" * 5000), max_body_bytes=100)
    server.agent.request("POST", "/", {"Content-Type": "text/plain"}, b"x" * 3000)
    found = server.last()
    assert (found["request"]["body"]["size"], found["request"]["body"]["text"]) == (3000, "x" * 100)
    assert (found["response"]["body"]["size"], found["response"]["body"]["text"]) == (5000, "y" * 100)
    assert found["sent"] == 5000


def test_all_together(inspected):
    """All together never takes more than it may, whatever is pinned and however much arrives at once."""
    server = inspected(Respond("y" * 20_000), max_bytes=200_000, max_requests=100)
    for number in range(40):
        server.agent.request("POST", f"/{number}", {"Content-Type": "text/plain"}, b"x" * 20_000)
        if number < 3:
            server.ask(f"requests/{server.listed()[-1]['id']}", "PATCH", {"pinned": True})
        assert server.recorder.size <= 200_000 + 5000
    kept = [row["target"] for row in server.listed()]
    assert (kept[:3], kept[-1]) == (["/0", "/1", "/2"], "/39")
    assert server.recorder.size == sum(record.size for record in server.recorder)


def test_pins(inspected):
    """What is pinned stays however many come, until it is unpinned; half of the places can be pinned."""
    server = inspected(max_requests=4)
    for _ in range(3):
        server.agent.get("/hi")
    for number in (1, 2):
        assert server.ask(f"requests/{number}", "PATCH", {"pinned": True, "note": "<b>mine</b>"})["pinned"]
    assert server.api("PATCH", "requests/3", {"pinned": True}).status == 409
    for _ in range(10):
        server.agent.get("/hi")
    kept = [row["id"] for row in server.listed()]
    assert kept[:2] == [1, 2]
    assert len(kept) == 4
    assert server.listed(filter="is:pinned")[0]["note"] == "<b>mine</b>"
    server.ask("requests/1", "PATCH", {"pinned": False})
    for _ in range(3):
        server.agent.get("/hi")
    assert 1 not in [row["id"] for row in server.listed()]


def test_delete(inspected):
    """Requests are forgotten one by one, or all that a filter wants and that are not pinned."""
    server = inspected()
    for path in ("/hi", "/a", "/b", "/hi"):
        server.agent.get(path)
    server.ask("requests/1", "PATCH", {"pinned": True})
    server.ask("requests/2", "DELETE")
    assert server.ask("requests?filter=path:/hi", "DELETE") == {"deleted": 1}
    assert [row["id"] for row in server.listed()] == [1, 3]
    server.ask("requests/1", "DELETE")
    server.ask("requests", "DELETE")
    assert server.listed() == []
    assert server.recorder.size == 0


def test_since(inspected):
    """Since a version only what has changed after it is told: new requests, notes, and what is gone."""
    server = inspected(max_requests=3)
    server.agent.get("/hi")
    first = server.ask("requests?since=0")
    assert (first["reset"], len(first["requests"]), first["gone"]) == (True, 1, [])
    assert server.ask(f"requests?since={first['version']}")["requests"] == []
    server.agent.get("/a")
    server.ask("requests/1", "PATCH", {"note": "x"})
    second = server.ask(f"requests?since={first['version']}")
    assert (second["reset"], [row["id"] for row in second["requests"]]) == (False, [1, 2])
    for _ in range(2):
        server.agent.get("/hi")
    third = server.ask(f"requests?since={second['version']}")
    assert ([row["id"] for row in third["requests"]], third["gone"]) == ([3, 4], [1])
    assert server.ask("requests?since=99999")["reset"]
    assert server.api("GET", "requests?since=x").status == 400


def test_gone_from_a_filter(inspected):
    """What is no longer as a filter wants it is gone for those who use the filter."""
    from mixweb import Lab

    server = inspected(Lab(at="/"))
    exchange = server.agent.open("GET", "/delay/2")
    version = server.ask("requests?filter=is:open")["version"]
    server.clock.advance(2)
    assert exchange.answer.status == 200
    assert server.ask(f"requests?filter=is:open&since={version}")["gone"] == [1]


# Live


def events_of(exchange):
    """The documents that an event stream has told so far."""
    body = exchange.received.partition(b"\r\n\r\n")[2]
    lines = b"".join(body.split(b"\r\n")).split(b"\n")
    return [json.loads(line.removeprefix(b"data: ")) for line in lines if line.startswith(b"data: ")]


def test_events(inspected):
    """Who looks on is told of a request within a fifth of a second, once, with what the filter wants."""
    server = inspected()
    server.agent.get("/hi")
    stream = server.agent.open("GET", "/~mix/api/events?filter=status:200", BEARER)
    assert b"Content-Type: text/event-stream" in stream.received
    assert [row["target"] for row in events_of(stream)[0]["requests"]] == ["/hi"]
    server.agent.get("/nowhere")
    server.agent.get("/hi?2")
    assert len(events_of(stream)) == 1
    server.clock.advance(0.2)
    assert [row["target"] for row in events_of(stream)[1]["requests"]] == ["/hi?2"]
    server.clock.pump([0.2] * 5)
    assert len(events_of(stream)) == 2
    server.clock.pump([0.2] * 80)
    assert stream.received.endswith(b": \n\n\r\n")


def test_events_go_on(inspected):
    """A browser that comes back is told what it has missed."""
    server = inspected()
    for _ in range(3):
        server.agent.get("/hi")
    version = server.ask("requests")["version"]
    server.agent.get("/hi")
    stream = server.agent.open("GET", "/~mix/api/events?since=0", {**BEARER, "Last-Event-ID": str(version)})
    assert [row["id"] for row in events_of(stream)[0]["requests"]] == [4]


def test_slow_listeners(inspected):
    """Who does not take what is sent is sent nothing more, and then everything at once."""
    server = inspected()
    stream = server.agent.open("GET", "/~mix/api/events", BEARER)
    feed = server.about.kept["inspect"].feed
    begun = len(events_of(stream))
    feed.streams[0].pauseProducing()
    for _ in range(3):
        server.agent.get("/hi")
        server.clock.advance(0.2)
    assert len(events_of(stream)) == begun
    feed.streams[0].resumeProducing()
    server.clock.advance(0.2)
    assert [len(event["requests"]) for event in events_of(stream)[begun:]] == [3]


def test_end_of_events(inspected):
    """Streams end with their client, and when the server is about to stop; there are only so many."""
    server = inspected()
    streams = [server.agent.open("GET", "/~mix/api/events", BEARER) for _ in range(16)]
    feed = server.about.kept["inspect"].feed
    assert server.agent.get("/~mix/api/events", BEARER).status == 503
    streams[0].disconnect()
    assert len(feed.streams) == 15
    server.site.draining = True
    server.clock.advance(0.2)
    assert feed.streams == []
    assert streams[1].received.endswith(b"0\r\n\r\n")
    assert server.clock.getDelayedCalls() == []


def test_reload(inspected):
    """What was kept, and who looks on, stay when a configuration takes the place of another."""
    before = inspected()
    before.agent.get("/hi")
    after = inspected(Respond("new"), about=before.about, clock=before.clock, max_requests=2)
    before.services.stopService()
    after.agent.get("/")
    assert [(row["id"], row["target"]) for row in after.listed()] == [(1, "/hi"), (2, "/")]
    after.agent.get("/")
    assert len(after.listed()) == 2


def test_two_inspectors(inspected):
    """Two inspectors of one server show the same, and each request once."""
    server = inspected(Respond("hi"), hosts=[Host("b.localhost", Respond("b"), Inspect(token="other"))])
    server.agent.get("/")
    server.agent.get("/", {"Host": "b.localhost"})
    rows = json.loads(
        server.agent.get("/~mix/api/requests", {"Host": "b.localhost", "Authorization": "Bearer other"}).body
    )["requests"]
    assert [row["host"] for row in rows] == [row["host"] for row in server.listed()] == ["localhost", "b.localhost"]


# Bad input


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "requests/0", b"", 404),
        ("GET", "requests/x", b"", 404),
        ("GET", "requests/99999999999999999999999", b"", 404),
        ("GET", "requests/1/nothing", b"", 404),
        ("GET", "nothing", b"", 404),
        ("GET", "requests/1/export?as=exe", b"", 400),
        ("GET", "requests?filter=status:abc", b"", 400),
        ("GET", "requests?process=99999999", b"", 404),
        ("PUT", "requests/1", b"{}", 405),
        ("POST", "send", b"{", 400),
        ("POST", "send", b"[]", 400),
        ("POST", "send", b"[" * 100_000, 400),
        ("POST", "send", b'{"head": 5}', 400),
        ("POST", "send", b'{"head": "GET / HTTP/1.1\\nHost: a", "body_base64": "@@"}', 400),
        ("POST", "send", b'{"head": ""}', 400),
        ("PATCH", "requests/1", b'{"note": 5}', 400),
        ("PATCH", "requests/1", b'{"pinned": "yes"}', 400),
        ("PATCH", "lab/pages/0/x", b"{}", 404),
        ("DELETE", "lab/pages/x/y", b"{}", 404),
    ],
)
def test_bad_input(method, path, body, status, inspected, failures):
    """What makes no sense is refused with a sentence; nothing fails."""
    server = inspected()
    server.agent.get("/hi")
    headers = {**BEARER, "Accept": "application/json", **({} if method == "GET" else JSON)}
    answer = server.agent.request(method, f"/~mix/api/{path}", headers, body)
    assert answer.status == status
    assert status == 405 or json.loads(answer.body)["detail"].endswith(".")
    assert failures == []


def test_hostile_content(inspected):
    """What a client has sent never leaves as markup: as JSON, as bytes to save, or in a frame that can do nothing."""
    server = inspected(Respond("<script>alert(1)</script>", type="text/html"))
    evil = "<img src=x onerror=alert(1)>"
    server.agent.request("POST", f"/{quote(evil)}", {"X-Evil": evil, "Content-Type": "text/html"}, evil.encode())
    for path in ("requests", "requests/1", "status", "har"):
        assert server.api("GET", path)["Content-Type"] == "application/json"
        assert server.api("GET", path)["X-Content-Type-Options"] == "nosniff"
    assert server.api("GET", "requests/1/export?as=raw")["Content-Type"] == "text/plain; charset=utf-8"
    for which in ("body", "answer"):
        saved = server.api("GET", f"requests/1/{which}")
        assert (saved["Content-Type"], saved["Content-Disposition"]) == (
            "application/octet-stream", 'attachment; filename="body"',
        )  # fmt: skip
        framed = server.api("GET", f"requests/1/{which}?frame=1")
        assert framed["Content-Type"].startswith("text/html")
        policy = framed["Content-Security-Policy"]
        assert policy.startswith("sandbox; default-src 'none';")
        assert "script" not in policy
        assert framed["X-Frame-Options"] == "SAMEORIGIN"


@pytest.mark.parametrize("kind", ["text/javascript", "application/json", "", "text/html-but-not", "model/x"])
def test_framed_types(kind, inspected):
    """In a frame only what a browser shows by itself keeps its type; anything else is text."""
    server = inspected(Respond("x", type=kind or "text/plain"))
    server.agent.get("/")
    framed = server.api("GET", "requests/1/answer?frame=1")
    assert framed["Content-Type"].startswith("text/html" if kind.startswith("text/html") else "text/plain")


def test_build_errors_stay(inspected):
    """A feature that is there twice is refused with an inspector as without."""
    with pytest.raises(BuildError, match="cors is there twice"):
        inspected(Respond("hi"), Cors(["*"]), Cors(["https://a.example"]))


def test_unwatched_costs_nothing():
    """Without an inspector there are no probes, and nobody watches."""
    from mixweb.assemble import Watched
    from mixweb.route import Probe

    clock = Clock()
    tree = Assembler(clock).assemble(Plan(default=Host(Respond("hi"), without=["accesslog"])))
    resource, seen = tree.root, []
    while resource is not None:
        seen.append(type(resource))
        resource = getattr(resource, "inner", None) or getattr(resource, "default", None)
    assert len(seen) >= 3
    assert not {Probe, Watched} & set(seen)
    watching = []
    agent = SiteAgent(tree.root, clock=clock)
    agent.site.observers.append(lambda request: watching.append(request.witness))
    agent.get("/")
    assert watching == [None]


def test_behind_form_tokens(inspected):
    """Where form tokens are asked for the page has one, and its requests are taken."""
    from html import unescape
    from re import search

    from mixweb import Csrf

    server = inspected(Respond("hi", at="/hi"), Csrf())
    server.agent.get("/hi")
    answer = server.agent.get(f"/~mix/?token={TOKEN}")
    token = unescape(search(r'name="form-token" content="([^"]+)"', answer.text)[1])
    cookies = "; ".join(value.decode().partition(";")[0] for value in answer.headers.getRawHeaders(b"Set-Cookie"))
    for given, status in (({"X-CSRF-Token": token}, 200), ({}, 403)):
        headers = {"Cookie": cookies, "Sec-Fetch-Site": "same-origin", **JSON, **given}
        assert server.agent.request("PATCH", "/~mix/api/requests/1", headers, b'{"note": "x"}').status == status
