"""
Endpoints: which there are, and the request shown back.
"""

import json

import pytest
from zope.interface import implementer

from mixweb.features.lab import _ROUTES, FEATURE, Lab, LabResource, build
from mixweb.features.respond import Respond
from mixweb.interfaces import IClientAddress
from mixweb.testing import SiteAgent, make_context
from mixweb.wrapper import Wrapper
from tests.features.lab.conftest import LabAgent

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def parts(*given, boundary="b"):
    """A multipart body of (disposition, more header lines, content)."""
    found = b""
    for disposition, more, content in given:
        lines = [f"Content-Disposition: form-data; {disposition}", *more]
        found += f"--{boundary}\r\n".encode() + "\r\n".join(lines).encode() + b"\r\n\r\n" + content + b"\r\n"
    return found + f"--{boundary}--\r\n".encode()


@pytest.mark.parametrize("endpoint", _ROUTES.endpoints, ids=lambda endpoint: endpoint.path)
def test_every_endpoint(endpoint, lab, failures):
    """Every endpoint answers its methods and no other, and never fails."""
    values = {"{codes}": "200", "{value}": "aGk=", "{qop}": "auth", "{algorithm}": "MD5", "{path...}": "a/b"}
    path = "/".join("1" if part.startswith("{") and part not in values else values.get(part, part)
                    for part in endpoint.path.split("/"))  # fmt: skip
    if path.startswith("/redirect-to"):
        path += "?url=/x"
    methods = {method.decode() for method in endpoint.methods}
    allow = ", ".join(sorted(methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set())))
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"):
        exchange = lab.open(method, f"/lab{path}")
        lab.clock.pump([0.5] * 30)
        if endpoint.path.startswith("/reset") and method in methods:
            assert exchange.transport.aborted
            continue
        if endpoint.path.startswith(("/truncate", "/wrong-length")) and method in methods:
            assert exchange.transport.disconnecting
            continue
        answer = exchange.answer
        assert answer.status < 500
        assert (answer.status == 405) is (method not in methods | {"OPTIONS"})
        if method not in methods:
            assert answer["Allow"] == allow
    assert failures == []


@pytest.mark.parametrize(
    ("method", "path", "keys"),
    [
        ("GET", "/get", "args headers origin url"),
        ("POST", "/post", "args data files form headers json origin url"),
        ("PUT", "/put", "args data files form headers json origin url"),
        ("PATCH", "/patch", "args data files form headers json origin url"),
        ("DELETE", "/delete", "args data files form headers json origin url"),
        ("GET", "/anything", "args data files form headers json method origin url"),
        ("POST", "/anything/a/b", "args data files form headers json method origin url"),
        ("GET", "/headers", "headers"),
        ("GET", "/ip", "origin"),
        ("GET", "/user-agent", "user-agent"),
        ("GET", "/delay/0", "args data files form headers json origin url"),
        ("GET", "/uuid", "uuid"),
        ("GET", "/cookies", "cookies"),
        ("GET", "/gzip", None),
    ],
)
def test_keys(method, path, keys, lab):
    """The documents have the keys of httpbin."""
    answer = lab.ask(f"/lab{path}", method=method)
    assert answer.status == 200
    assert answer["Content-Type"] == "application/json"
    if keys:
        assert sorted(json.loads(answer.body)) == keys.split()
        assert answer.body.startswith(b"{\n  ")
        assert answer.body.endswith(b"\n}\n")


def test_what_is_shown(lab):
    """Arguments, headers, address, method and URL are those of the request."""
    headers = [("X-A", "1"), ("x-a", "2"), ("X-B", "é"), ("Host", "a.example:81")]
    found = json.loads(lab.ask("//lab/./anything/%2F?a=1&b=%C3%A9&a=2&c", headers, method="PUT").body)
    assert found == {
        "args": {"a": ["1", "2"], "b": "é", "c": ""},
        "data": "",
        "files": {},
        "form": {},
        "headers": {"Host": "a.example:81", "X-A": "1,2", "X-B": "é"},
        "json": None,
        "method": "PUT",
        "origin": "192.0.2.7",
        "url": "http://a.example:81//lab/./anything/%2F?a=1&b=%C3%A9&a=2&c",
    }


def test_secure(make_lab):
    """The URL says so when the request came over TLS."""
    assert json.loads(make_lab(secure=True).ask("/lab/get").body)["url"] == "https://localhost/lab/get"


def test_latin1(lab):
    """A header that is not UTF-8 is taken for ISO 8859-1."""
    exchange = lab.connect()
    exchange.heads.append(b"GET")
    exchange.send(b"GET /lab/headers HTTP/1.1\r\nHost: a\r\nX-A: \xe9\r\n\r\n")
    assert json.loads(exchange.answer.body)["headers"]["X-A"] == "é"


def test_behind_proxies():
    """The address is that of the client, when trusted proxies stand between."""

    @implementer(IClientAddress)
    class Address:
        host = "2001:db8::1"
        proxies = ()

    class Forwarded(Wrapper):
        def handle(self, request):
            request.setComponent(IClientAddress, Address())
            self.forward(request)

    client = SiteAgent(Forwarded(LabResource(Lab(), None)))
    assert json.loads(client.get("/ip").body) == {"origin": "2001:db8::1"}


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        (None, b"", {}),
        (None, b"text", {"data": "text"}),
        (None, b'{"a": [1, null]}', {"data": '{"a": [1, null]}', "json": {"a": [1, None]}}),
        ("application/json", b'{"a": 1}', {"data": '{"a": 1}', "json": {"a": 1}}),
        ("application/json", b'{"a": NaN}', {"data": '{"a": NaN}'}),
        ("application/json", b'{"a": 1e999}', {"data": '{"a": 1e999}'}),
        ("application/json", b'"\\ud800"', {"data": '"\\ud800"', "json": "\ud800"}),
        ("application/json", b"1" * 5000, {"data": "1" * 5000}),
        ("application/json", b"[" * 100_000, {"data": "[" * 100_000}),
        (None, b"\xff\x00", {"data": "data:application/octet-stream;base64,/wA="}),
        ("application/x-www-form-urlencoded", b"a=1&b=%26+x&a=2&c", {"form": {"a": ["1", "2"], "b": "& x", "c": ""}}),
        ("Application/X-WWW-Form-Urlencoded; charset=utf-8", "ü=%C3%BC".encode(), {"form": {"ü": "ü"}}),
        ("application/x-www-form-urlencoded", b"a=%FF", {"form": {"a": "\ufffd"}}),
        (
            "multipart/form-data; boundary=b",
            parts(('name="a"', [], b"1"), ('name="a"', [], b"\xff"), ('name="f"; filename="x.txt"', [], b"<b>")),
            {"form": {"a": ["1", "\ufffd"]}, "files": {"f": "<b>"}},
        ),
        (
            'multipart/form-data; boundary="a b"',
            parts(('name="f"; filename="x.png"', ["Content-Type: image/png"], b"\x89PNG"), boundary="a b"),
            {"files": {"f": "data:image/png;base64,iVBORw=="}},
        ),
        (
            "multipart/form-data; boundary=b",
            parts(('name="f"; filename=""', [], b""), ('name="f"; filename="2"', [], b"x" * 100_000)),
            {"files": {"f": ["", "x" * 100_000]}},
        ),
    ],
)  # fmt: skip
def test_bodies(kind, body, expected, lab):
    """A body is shown as what it is: text, data, a form, files, JSON."""
    headers = {} if kind is None else {"Content-Type": kind}
    answer = lab.ask("/lab/post", headers, "POST", body)
    found = json.loads(answer.body)
    shown = {name: found[name] for name in ("data", "files", "form", "json")}
    assert shown == {"data": "", "files": {}, "form": {}, "json": None} | expected


@pytest.mark.parametrize("depth", [10, 500, 900, 990, 3000, 20_000])
def test_deep_json(depth, lab, failures):
    """However deep a document is, it is answered."""
    body = b"[" * depth + b"]" * depth
    answer = lab.ask("/lab/post", (), "POST", body)
    assert answer.status == 200
    assert f'"data": "{body.decode()}"'.encode() in answer.body
    assert failures == []


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_forms_of_every_method(method, lab):
    """A form is one whatever the method."""
    found = json.loads(lab.ask("/lab/anything?a=1", FORM, method, b"a=2").body)
    assert (found["args"], found["form"]) == ({"a": "1"}, {"a": "2"})


@pytest.mark.parametrize(
    ("target", "headers", "body", "status"),
    [
        ("/lab/post", {}, b"x" * 1000, 200),
        ("/lab/post", {}, b"x" * 1001, 413),
        ("/lab/post", {"Transfer-Encoding": "chunked"}, b"3e9\r\n" + b"x" * 1001 + b"\r\n0\r\n\r\n", 413),
        ("/lab/post", FORM, b"&".join([b"a=1"] * 101), 200),
        ("/lab/post?" + "&".join("a" * 1001), {}, b"", 400),
        ("/lab/post", {"Content-Type": "multipart/form-data; boundary=b"}, b"--b\r\n", 400),
        ("/lab/post", {"Content-Type": "multipart/form-data; boundary=b"}, b"nothing", 400),
        ("/lab/post", {"Content-Type": "multipart/form-data"}, b"nothing", 400),
    ],
)
def test_bodies_refused(target, headers, body, status, make_lab, failures):
    """What is too long, has too many fields or is malformed is refused."""
    answer = make_lab(max_body_bytes=1000).ask(target, headers, "POST", body)
    assert answer.status == status
    assert failures == []


@pytest.mark.parametrize(("count", "status"), [(1000, 200), (1001, 400)])
def test_many_fields(count, status, lab):
    """A form has at most so many fields."""
    assert lab.ask("/lab/post", FORM, "POST", b"&".join([b"a=1"] * count)).status == status
    many = parts(*[('name="a"', [], b"1")] * count)
    assert lab.ask("/lab/post", {"Content-Type": "multipart/form-data; boundary=b"}, "POST", many).status == status


@pytest.mark.parametrize(
    "path", ["/anything?a=<script>&b=%26lt;", "/response-headers?Content-Type=text/html&a=<script>"]
)
def test_no_markup(path, lab):
    """What is shown back is never markup, whatever type it is sent as."""
    answer = lab.ask(f"/lab{path}".replace("<", "%3C").replace(">", "%3E"), {"X-A": "<script>"})
    assert b"<" not in answer.body
    assert b"&" not in answer.body
    assert "<script>" in json.dumps(json.loads(answer.body))


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/lab", 200),
        ("/lab/", 200),
        ("/lab/get", 200),
        ("/lab/get/", 404),
        ("/lab/get/x", 404),
        ("/lab/GET", 404),
        ("/lab/none", 404),
        ("/lab/cookies/none", 404),
        ("/lab/anything%2Fx", 404),
        ("/lab/%FF", 400),
        ("/labs/get", 404),
        ("/get", 404),
    ],
)
def test_paths(path, status, lab):
    """What is no endpoint is declined."""
    assert lab.ask(path).status == status


def test_index(lab):
    """The lab's own path lists the endpoints."""
    page = lab.ask("/lab/").text
    assert all(f"<code>/lab{endpoint.path}</code>" in page for endpoint in _ROUTES.endpoints)
    assert '<a href="/lab/get">' in page
    assert '<a href="/lab/post">' not in page
    assert lab.request("POST", "/lab/").status == 405


@pytest.mark.parametrize(
    ("path", "body"), [("/get", None), ("/other", "behind"), ("/a/b", "behind"), ("/status/204", "")]
)
def test_at_the_root(path, body):
    """At the root it leaves what it has not to what else is there."""
    client = LabAgent(Lab(at="/"), Respond("behind"))
    answer = client.ask(path)
    if body is None:
        assert json.loads(answer.body)["url"] == "http://localhost/get"
    else:
        assert answer.text == body
    assert client.ask("/redirect/1")["Location"] == "/get"


def test_odd_mount():
    """Addresses below an odd path are written as URLs."""
    client = LabAgent(Lab(at="/a b/<c>"))
    assert client.ask("/a%20b/%3Cc%3E/redirect/1")["Location"] == "/a%20b/%3Cc%3E/get"
    assert "<c>" not in client.ask("/a%20b/%3Cc%3E/").text


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"max_bytes": 0}, "max_bytes must be at least 1"),
        ({"max_redirects": 0}, "max_redirects must be at least 1"),
        ({"max_lines": -1}, "max_lines must be at least 1"),
        ({"max_body_bytes": 0}, "max_body_bytes must be at least 1"),
        ({"max_seconds": -1.0}, "max_seconds must be from 0"),
        ({"max_seconds": float("nan")}, "max_seconds must be from 0"),
    ],
)
def test_settings(settings, complaint):
    """Settings that make no sense are refused."""
    with pytest.raises(ValueError, match=complaint):
        Lab(**settings)


def test_warning():
    """What a mounted lab lets anybody do is said at start."""
    said = []
    build(Lab(at="/x"), make_context(warn=said.append))
    assert len(said) == 1
    assert "/x" in said[0]
    assert FEATURE.declines
