"""
Statuses, headers, redirects and cookies.
"""

import json
import re

import pytest


@pytest.mark.parametrize(
    ("codes", "status"),
    [
        ("200", 200),
        ("204", 204),
        ("304", 304),
        ("404", 404),
        ("500", 500),
        ("599", 599),
        ("799", 799),
        ("999", 999),
        ("100", 400),
        ("199", 400),
        ("1000", 400),
        ("99", 400),
        ("x", 400),
        ("", 400),
        ("200,", 400),
        ("200:0", 400),
        ("200:-1,404:1", 400),
        ("200:x", 400),
        ("200:nan", 400),
        ("200:0,404:2", 404),
        ("200:0.0,%20503", 503),
        ("%D9%A2%D9%A0%D9%A0", 400),
    ],
)
def test_status(codes, status, lab):
    """The status is the one that was asked for; what is none is 400."""
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"):
        answer = lab.ask(f"/lab/status/{codes}", method=method)
        assert answer.status == status
        assert status == 400 or answer.body == b""


@pytest.mark.parametrize(
    ("codes", "low", "high"),
    [("200,500", 0.4, 0.6), ("200:3,500:1", 0.65, 0.85), ("200:1,500:9", 0.05, 0.15)],
)
def test_weights(codes, low, high, lab):
    """Of several statuses each comes as often as its weight says."""
    exchange = lab.connect()
    for _ in range(2000):
        exchange.request("GET", f"/lab/status/{codes}")
    share = len(re.findall(rb"^HTTP/1.1 200", exchange.received, re.MULTILINE)) / 2000
    assert low < share < high


@pytest.mark.parametrize(
    ("code", "name", "value"),
    [
        (301, "Location", "/lab/redirect/1"),
        (302, "Location", "/lab/redirect/1"),
        (303, "Location", "/lab/redirect/1"),
        (307, "Location", "/lab/redirect/1"),
        (308, "Location", "/lab/redirect/1"),
        (401, "WWW-Authenticate", 'Basic realm="lab"'),
        (405, "Allow", "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"),
        (406, "Content-Type", "application/json"),
        (407, "Proxy-Authenticate", 'Basic realm="lab"'),
        (418, "Content-Type", "text/plain; charset=utf-8"),
    ],
)
def test_what_goes_with_a_status(code, name, value, lab):
    """Some statuses come with what they need."""
    answer = lab.ask(f"/lab/status/{code}")
    assert (answer.status, answer[name]) == (code, value)
    assert (b"teapot" in answer.body) is (code == 418)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {}),
        ("X-A=1&X-B=2", {"X-A": "1", "X-B": "2"}),
        ("X-A=1&X-A=2", {"X-A": "1, 2"}),
        ("Content-Type=text/plain;%20charset%3DUTF-8&Server=httpbin", {"Server": "httpbin"}),
        ("ETag=%22a%22&Cache-Control=no-cache", {"ETag": '"a"', "Cache-Control": "no-cache"}),
        ("X-A=%C3%A9", {"X-A": "é"}),
        ("Set-Cookie=a%3D1", {"Set-Cookie": "a=1"}),
    ],
)
def test_response_headers(query, expected, lab):
    """The headers are those of the query, and the document tells them."""
    for method in ("GET", "POST"):
        answer = lab.ask(f"/lab/response-headers?{query}", method=method)
        assert answer.status == 200
        assert {name: answer[name] for name in expected} == expected
        document = json.loads(answer.body)
        assert document["Content-Type"] == answer["Content-Type"]
        assert set(expected) <= set(document)


@pytest.mark.parametrize(
    "query",
    ["X-A=1%0d%0aX-Evil:1", "X%0d%0aX-Evil:1=x", "a b=1".replace(" ", "%20"), "=1", "Content-Length=1", "connection=close",
     "Transfer-Encoding=chunked", "X-A=%00"],
)  # fmt: skip
def test_response_headers_refused(query, lab):
    """No header splits the answer, or takes what frames it."""
    answer = lab.ask(f"/lab/response-headers?{query}")
    assert answer.status == 400
    assert answer["X-Evil"] is None


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/redirect/1", "/lab/get"),
        ("/redirect/3", "/lab/relative-redirect/2"),
        ("/redirect/3?absolute=true", "http://localhost/lab/absolute-redirect/2"),
        ("/relative-redirect/2", "/lab/relative-redirect/1"),
        ("/relative-redirect/1", "/lab/get"),
        ("/absolute-redirect/2", "http://localhost/lab/absolute-redirect/1"),
        ("/absolute-redirect/1", "http://localhost/lab/get"),
        ("/redirect/1000000", "/lab/relative-redirect/99"),
        ("/redirect/0", None),
        ("/redirect/-1", None),
        ("/redirect/x", None),
        ("/redirect/1e1", None),
    ],
)
def test_redirects(path, location, lab):
    """So many redirects lead to /get."""
    answer = lab.ask(f"/lab{path}")
    assert (answer.status, answer["Location"]) == ((302, location) if location else (400, None))


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("https://a.example/b?c%3Dd", "https://a.example/b?c=d"),
        ("HTTP://a.example", "HTTP://a.example"),
        ("//a.example", "//a.example"),
        ("/b", "/b"),
        ("b/c:d", "b/c:d"),
        ("?a:b", "?a:b"),
        ("%23a:b", "#a:b"),
        ("%C3%A9", "%C3%A9"),
        ("%22%3E%3Cscript%3E", "%22%3E%3Cscript%3E"),
        ("/a%0d%0aX-Evil:1", "/a%0D%0AX-Evil:1"),
        ("http://a%0d%0aX-Evil:1", "http://a%0D%0AX-Evil:1"),
        ("%5C%5Ca.example", "%5C%5Ca.example"),
        ("javascript:alert(1)", None),
        ("%20javascript:alert(1)", None),
        ("%01javascript:alert(1)", None),
        ("java%09script:alert(1)", None),
        ("data:text/html,x", None),
        ("ftp://a.example", None),
        ("mailto:a@a.example", None),
        ("", None),
    ],
)
def test_redirect_to(url, location, lab):
    """It leads to http and https and to paths; nothing is markup, nothing splits the answer."""
    answer = lab.ask(f"/lab/redirect-to?url={url}")
    assert (answer.status, answer["Location"]) == ((302, location) if location else (400, None))
    assert answer["X-Evil"] is None
    assert b"<script" not in answer.body
    assert answer["Content-Type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    ("code", "status"),
    [("301", 301), ("307", 307), ("308", 308), ("300", 300), ("304", 400), ("200", 400), ("400", 400), ("x", 400)],
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_redirect_to_with_status(method, code, status, lab):
    """The status of the redirect is the one that was asked for."""
    assert lab.ask(f"/lab/redirect-to?url=/x&status_code={code}", method=method).status == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"If-None-Match": '"a"'}, 304),
        ({"If-None-Match": 'W/"a"'}, 304),
        ({"If-None-Match": '"x", "a"'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"x"'}, 200),
        ({"If-None-Match": "a"}, 200),
        ({"If-Match": '"a"'}, 200),
        ({"If-Match": '"x","a"'}, 200),
        ({"If-Match": "*"}, 200),
        ({"If-Match": '"x"'}, 412),
        ({"If-Match": 'W/"a"'}, 412),
        ({"If-Match": '"a"', "If-None-Match": '"a"'}, 304),
        ({"If-Match": '"x"', "If-None-Match": '"a"'}, 412),
    ],
)
def test_etag(headers, status, lab):
    """Preconditions are held against the tag."""
    answer = lab.ask("/lab/etag/a", headers)
    assert answer.status == status
    assert answer["ETag"] == (None if status == 412 else '"a"')


@pytest.mark.parametrize(("tag", "status"), [("%C3%A9", 200), ("a%22b", 400), ("a%20b", 400), ("%0d%0a", 400)])
def test_etag_text(tag, status, lab):
    """A tag is one that can be sent."""
    assert lab.ask(f"/lab/etag/{tag}").status == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [({}, 200), ({"If-None-Match": '"x"'}, 304), ({"If-Modified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"}, 304)],
)
def test_cache(headers, status, lab):
    """Conditional requests are answered with 304."""
    answer = lab.ask("/lab/cache", headers)
    assert answer.status == status
    if status == 200:
        assert answer["Last-Modified"] == "Thu, 01 Jan 1970 00:00:00 GMT"
        assert re.fullmatch('"[0-9a-f]{32}"', answer["ETag"])


@pytest.mark.parametrize(("seconds", "value"), [("60", "public, max-age=60"), ("0", "public, max-age=0"), ("x", None)])
def test_cache_for(seconds, value, lab):
    """Caches may keep the answer for so many seconds."""
    assert lab.ask(f"/lab/cache/{seconds}")["Cache-Control"] == value


@pytest.mark.parametrize(
    ("secure", "path", "cookies"),
    [
        (False, "/set?a=1&b=", ["a=1; Path=/", "b=; Path=/"]),
        (True, "/set?a=1", ["a=1; Path=/; Secure"]),
        (False, "/set/a/1", ["a=1; Path=/"]),
        (False, "/set/a/b%20c%2Cd%22", ['a=b c,d"; Path=/']),
        (False, "/set-detail/a/1", ["a=1; Path=/"]),
        (False, "/set-detail/a/1?secure=1&httponly=1", ["a=1; Path=/; Secure; HttpOnly"]),
        (False, "/set-detail/a/1?secure&httponly", ["a=1; Path=/; Secure; HttpOnly"]),
        (False, "/set-detail/a/1?secure=0&httponly=0", ["a=1; Path=/"]),
        (True, "/set-detail/a/1?secure=1", ["a=1; Path=/; Secure"]),
        (False, "/set-detail/a/1?samesite=lax&max_age=5", ["a=1; Path=/; SameSite=Lax; Max-Age=5"]),
        (False, "/delete?a&b=x", ["a=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0",
                                  "b=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0"]),
        (False, "/set", None),
    ],
)  # fmt: skip
def test_cookies(secure, path, cookies, make_lab):
    """Cookies are set and deleted, and the client is sent to see them."""
    answer = make_lab(secure).ask(f"/lab/cookies{path}")
    assert (answer.status, answer["Location"]) == (302, "/lab/cookies")
    assert answer.headers.getRawHeaders("Set-Cookie") == cookies


@pytest.mark.parametrize(
    "path",
    ["/set?a%20b=1", "/set?a=1%0d%0aX-Evil:1", "/set?a=%3B", "/set/a/%C3%A9", "/set?=1", "/delete?a%3B", "/set/a/%20",
     "/set-detail/a/1?samesite=x", "/set-detail/a/1?max_age=x"],
)  # fmt: skip
def test_cookies_refused(path, lab):
    """What cannot be a cookie is 400."""
    answer = lab.ask(f"/lab/cookies{path}")
    assert (answer.status, answer["Set-Cookie"], answer["X-Evil"]) == (400, None, None)


def test_cookies_shown(lab):
    """The cookies of the request are shown."""
    assert json.loads(lab.ask("/lab/cookies", {"Cookie": "a=1; b=c d"}).body) == {"cookies": {"a": "1", "b": "c d"}}
    assert json.loads(lab.ask("/lab/cookies").body) == {"cookies": {}}
