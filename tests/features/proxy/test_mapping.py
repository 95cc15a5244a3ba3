"""
Addresses of an upstream server in its answers, and where they are here.
"""

import pytest

from mixweb.features.proxy._answer import Mapping, origin_of
from tests.upstreams import Server

UPSTREAM = [(b"http", b"up:9000"), (b"", b"up:9000"), (b"http", b"here.example"), (b"", b"here.example")]


def mapping(base, at):
    return Mapping(frozenset(origin_of(*pair) for pair in UPSTREAM), base, at, frozenset([b"up"]))


URLS = [
    (b"", b"", b"/x", b"/x"),
    (b"", b"/api", b"/x", b"/api/x"),
    (b"", b"/api", b"/", b"/api/"),
    (b"", b"/api", b"?q", b"?q"),
    (b"", b"/api", b"x/y", b"x/y"),
    (b"", b"/api", b"../y", b"../y"),
    (b"/base", b"/api", b"/base/x?q#f", b"/api/x?q#f"),
    (b"/base", b"/api", b"/base", b"/api"),
    (b"/base", b"/api", b"/base?q", b"/api?q"),
    (b"/base", b"/api", b"/basement", b"/basement"),
    (b"/base", b"/api", b"/other", b"/other"),
    (b"/base", b"", b"/base", b"/"),
    (b"/base", b"", b"/base?q", b"/?q"),
    (b"/base", b"", b"/base/x", b"/x"),
    (b"/base", b"", b"/base//evil.example", b"/.//evil.example"),
    (b"/base", b"", b"/base/\\evil.example", b"/./\\evil.example"),
    (b"", b"/api", b"http://up:9000/x", b"/api/x"),
    (b"", b"/api", b"HTTP://UP:9000/x", b"/api/x"),
    (b"", b"/api", b"http://up:9000", b"/api/"),
    (b"", b"/api", b"http://up:9000?q", b"/api/?q"),
    (b"", b"/api", b"//up:9000/x", b"/api/x"),
    (b"", b"/api", b"http://here.example/x", b"/api/x"),
    (b"", b"/api", b"http://here.example:80/x", b"/api/x"),
    (b"", b"/api", b"https://here.example/x", b"https://here.example/x"),
    (b"", b"/api", b"https://up:9000/x", b"https://up:9000/x"),
    (b"", b"/api", b"http://up/x", b"http://up/x"),
    (b"", b"/api", b"http://up:9000@evil.example/x", b"http://up:9000@evil.example/x"),
    (b"", b"/api", b"http://elsewhere.example/x", b"http://elsewhere.example/x"),
    (b"", b"/api", b"//elsewhere.example/x", b"//elsewhere.example/x"),
    (b"", b"/api", b"mailto:a@b", b"mailto:a@b"),
    (b"", b"", b"http://up:9000//evil.example", b"/.//evil.example"),
]  # fmt: skip


@pytest.mark.parametrize(("base", "at", "url", "here"), URLS)
def test_urls(base, at, url, here):
    """A URL below the upstream's own is one below the mount's path; any other stays, and none becomes another host's."""
    assert mapping(base, at).field(b"location", url) == here


COOKIES = [
    (b"", b"", b"a=b; Path=/; HttpOnly", b"a=b; Path=/; HttpOnly"),
    (b"", b"/api", b"a=b; Path=/", b"a=b; Path=/api"),
    (b"", b"/api", b"a=b; path=/x; Secure", b"a=b; path=/api/x; Secure"),
    (b"", b"/api", b"a=b", b"a=b"),
    (b"/base", b"/api", b"a=b; Path=/base/x", b"a=b; Path=/api/x"),
    (b"/base", b"/api", b"a=b; Path=/base/", b"a=b; Path=/api"),
    (b"/base", b"/api", b"a=b; Path=/", b"a=b; Path=/api"),
    (b"/base", b"/api", b"a=b; Path=/other", b"a=b; Path=/other"),
    (b"/base/sub", b"/api", b"a=b; Path=/base", b"a=b; Path=/api"),
    (b"/base", b"", b"a=b; Path=/base", b"a=b; Path=/"),
    (b"", b"", b"a=b; Domain=up", b"a=b"),
    (b"", b"", b"a=b; domain=.UP; Path=/", b"a=b; Path=/"),
    (b"", b"", b"a=b; Domain=example", b"a=b; Domain=example"),
    (b"", b"/api", b"a=Path=/x; Path=/", b"a=Path=/x; Path=/api"),
]  # fmt: skip


@pytest.mark.parametrize(("base", "at", "cookie", "here"), COOKIES)
def test_cookies(base, at, cookie, here):
    """A cookie of the upstream is one of this host, below the mount's path."""
    assert mapping(base, at).field(b"set-cookie", cookie) == here


REFRESHES = [
    (b"5; url=/x", b"5; url=/api/x"),
    (b'0;URL="/x"', b'0;URL="/api/x"'),
    (b"5", b"5"),
    (b"5; url=http://e.example/", b"5; url=http://e.example/"),
]


@pytest.mark.parametrize(("value", "here"), REFRESHES)
def test_refresh(value, here):
    """``Refresh`` names a URL too."""
    assert mapping(b"", b"/api").field(b"refresh", value) == here


THROUGH = [
    ({}, "Location", "/x", "/api/x"),
    ({}, "Location", "http://localhost/x", "/api/x"),
    ({}, "Content-Location", "/x", "/api/x"),
    ({}, "Set-Cookie", "a=b; Path=/; Domain=localhost", "a=b; Path=/api"),
    ({"strip": False}, "Location", "/api/x", "/api/x"),
    ({"host": "client"}, "Location", "http://own.example/x", "/api/x"),
    ({"host": "name.example"}, "Set-Cookie", "a=b; Domain=name.example", "a=b"),
]


@pytest.mark.parametrize(("settings", "name", "value", "here"), THROUGH)
def test_through_the_proxy(settings, name, value, here, behind):
    """Answers are mapped on their way back."""
    answer = f"HTTP/1.1 302 Found\r\n{name}: {value}\r\nContent-Length: 0\r\n\r\n".encode()
    found = behind(Server(answer), at="/api", **settings).get("/api/", {"Host": "own.example"})
    assert found[name] == here


def test_mapping_by_request(behind):
    """The same head is mapped for each request by its own host."""
    proxied = behind(Server(b"HTTP/1.1 302 F\r\nLocation: http://a.example/\r\nContent-Length: 0\r\n\r\n"), at="/api")
    hosts = ["a.example", "b.example", "a.example"]
    assert [proxied.get("/api", {"Host": host})["Location"] for host in hosts] == [
        "/api/",
        "http://a.example/",
        "/api/",
    ]


def test_secure_clients(behind):
    """To a client of HTTPS, an upstream that speaks HTTP and names this host means the same page."""
    proxied = behind(
        Server(b"HTTP/1.1 302 F\r\nLocation: http://own.example/x\r\nContent-Length: 0\r\n\r\n"), secure=True
    )
    assert proxied.get("/", {"Host": "own.example"})["Location"] == "/x"
