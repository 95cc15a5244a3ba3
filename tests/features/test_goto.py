"""
Redirecting to any address.
"""

import pytest
from twisted.internet.task import Clock
from twisted.web.resource import Resource

from mixweb.assemble import Assembler
from mixweb.features.goto import Base, Goto, GotoResource, address_of, base_of, decoded_address_of, forwarded
from mixweb.features.respond import Respond
from mixweb.plan import Host, Plan
from mixweb.testing import SiteAgent

REFERER = {"Referer": "http://r.com/dir/page"}
ORIGIN = {"Origin": "https://o.com"}
FOR = {"X-Forwarded-For": "1.2.3.4"}
HOST = {"X-Forwarded-Host": "h.com"}


def agent(*others, warnings=None, **settings):
    """A server with a page at ``/`` and the redirects at ``/goto``."""
    tree = Assembler(Clock()).assemble(
        Plan(default=Host(Goto(**settings), *others, without=["accesslog", "secureheaders"]))
    )
    if warnings is not None:
        warnings += tree.warnings
    return SiteAgent(tree.root)


#: Target, headers, Location, and the Location with mixnmatchttp's rules; None is 200 with nothing, a number is a status.
SAME = object()
TABLE = [
    ("/goto///foo.baz/../..//cache", {}, "//foo.baz/../..//cache", SAME),
    ("/goto/http://e.com/a/../b", {}, "http://e.com/a/../b", SAME),
    ("/goto/https://e.com", {}, "https://e.com", SAME),
    ("/goto/http://e.com/a?x=1", {}, "http://e.com/a?x=1", "http://e.com/a"),
    ("/goto/http://e.com/?x=a/b?c", {}, "http://e.com/?x=a/b?c", "http://e.com//b?c"),
    ("/goto?/http://e.com/a?x=1", {}, "http://e.com/a?x=1", SAME),
    ("/goto?z=1/http://e.com/a?x=1", {}, "http://e.com/a?x=1", SAME),
    ("/goto?z=1", {}, None, SAME),
    ("/goto?z=1//foo", REFERER, "http://r.com/foo", SAME),
    ("/goto/foo", REFERER, "http://r.com/dir/page/foo", SAME),
    ("/goto//foo", REFERER, "http://r.com/foo", SAME),
    ("/goto/foo?x=1", REFERER, "http://r.com/dir/page/foo?x=1", "http://r.com/dir/page/foo"),
    ("/goto//cache/x", {"Referer": "http://localhost/evil.html?a=b#c"}, "http://localhost/cache/x", SAME),
    ("/goto/foo", {"Referer": "http://r.com/dir/?a=b"}, "http://r.com/dir/foo", SAME),
    ("/goto/foo", {"Referer": "http://r.com"}, "http://r.com/foo", SAME),
    ("/goto/foo", {"Referer": "//r.com:8080/x"}, "//r.com:8080/x/foo", SAME),
    ("/goto", REFERER, "http://r.com/dir/page/", SAME),
    ("/goto/foo", ORIGIN, "https://o.com/foo", SAME),
    ("/goto/foo", {**ORIGIN, **REFERER}, "http://r.com/dir/page/foo", SAME),
    ("/goto/foo", {**ORIGIN, **HOST}, "https://o.com/foo", SAME),
    ("/goto/foo", {"Origin": "null", **HOST}, "//h.com/foo", SAME),
    ("/goto/foo", HOST, "//h.com/foo", SAME),
    ("/goto/foo", {**HOST, "X-Forwarded-Proto": "https"}, "https://h.com/foo", SAME),
    ("/goto/foo", {**HOST, "X-Forwarded-Proto": "HTTP, https"}, "http://h.com/foo", SAME),
    ("/goto/foo", {**HOST, "X-Forwarded-Proto": "javascript"}, "//h.com/foo", SAME),
    ("/goto/foo", {"X-Forwarded-Host": "h.com:81, other.com"}, "//h.com:81/foo", SAME),
    ("/goto/foo", {**HOST, **FOR}, "//h.com/foo", SAME),
    ("/goto/foo", {"X-Forwarded-Host": "h.com/x", **FOR}, "//1.2.3.4/foo", SAME),
    ("/goto/foo", FOR, "//1.2.3.4/foo", SAME),
    ("/goto/foo", {"X-Forwarded-For": "1.2.3.4, 5.6.7.8", "X-Forwarded-Proto": "https"}, "https://1.2.3.4/foo", SAME),
    ("/goto/foo", {"X-Forwarded-For": "2001:db8::1"}, "//[2001:db8::1]/foo", SAME),
    ("/goto/foo", {"X-Forwarded-For": "unknown"}, None, SAME),
    ("/goto/foo", {**FOR, "Forwarded": "host=f.com"}, "//1.2.3.4/foo", SAME),
    ("/goto/foo", {"Forwarded": "for=1.2.3.4;proto=https;by=x"}, "https://1.2.3.4/foo", SAME),
    ("/goto/foo", {"Forwarded": "host=f.com;for=1.2.3.4"}, "//f.com/foo", SAME),
    ("/goto/foo", {"Forwarded": "for=1.2.3.4, for=5.6.7.8;host=f.com;proto=https"}, "//1.2.3.4/foo", SAME),
    ("/goto/foo", {"Forwarded": 'for="[2001:db8::1]:4711"'}, "//[2001:db8::1]:4711/foo", SAME),
    ("/goto/foo", {"Forwarded": "for=_hidden"}, None, SAME),
    ("/goto/foo", {"Referer": "notaurl"}, None, SAME),
    ("/goto/foo", {"Referer": "notaurl", **HOST}, "//h.com/foo", SAME),
    ("/goto/foo", {"Referer": "javascript://r.com/%0aalert(1)"}, None, SAME),
    ("/goto/foo", {"Referer": "http://user:secret@r.com/"}, None, SAME),
    ("/goto/foo", {}, None, SAME),
    ("/goto", {}, None, SAME),
    ("/goto/", {}, None, SAME),
    ("/goto/ftp://e.com", {}, None, SAME),
    ("/goto/javascript:alert", {}, None, SAME),
    ("/goto/javascript:alert", REFERER, "http://r.com/dir/page/javascript:alert", SAME),
    ("/goto/HTTP://e.com", {}, "HTTP://e.com", None),
    ("/goto/Https://e.com/", {}, "Https://e.com/", None),
    ("/goto/%2f%2fe.com/x", {}, None, "//e.com/x"),
    ("/goto/http://e.com/a%20b+c", {}, "http://e.com/a%20b+c", "http://e.com/a b c"),
    ("/goto/http://e.com/%C3%A9%25", {}, "http://e.com/%C3%A9%25", "http://e.com/é%"),
    ("/goto/http://e.com/%0d%0aX-A:b", {}, 400, SAME),
    ("/goto/http://e.com/%0DX", {}, 400, SAME),
    ("/goto/http://e.com/%0A", {}, 400, SAME),
    ("/goto/http://e.com/a%00b", {}, 400, SAME),
    ("/goto/foo%0d%0aX-A:b", {}, 400, SAME),
    ("/goto/http://e.com/?q=%0d%0aX-A:b", {}, 400, "http://e.com/"),
    ("/%67oto/http://e.com/", {}, "http://e.com/", SAME),
    ("/x/..//goto/http://e.com/..", {}, "http://e.com/..", SAME),
    ("/goto", {"Forwarded": "for=[1.2.3.4"}, None, SAME),
]


@pytest.mark.parametrize("compat", ["", "mixnmatchttp"])
@pytest.mark.parametrize(("target", "headers", "location", "other"), TABLE)
def test_addresses(target, headers, location, other, compat):
    """Where a target leads, with and without what headers say."""
    if compat and other is not SAME:
        location = other
    answer = agent(compat=compat).get(target, headers)
    assert answer["X-A"] is None
    if location is None:
        assert (answer.status, answer["Location"], answer.body) == (200, None, b"")
        assert answer["Cache-Control"] == "no-store"
    elif isinstance(location, int):
        assert (answer.status, answer["Location"]) == (location, None)
    else:
        assert (answer.status, answer["Location"], answer.body) == (307, location, b"")


@pytest.mark.parametrize(
    ("raw", "address", "decoded"),
    [
        (b"?z=1/http://e.com/a?x=1#f", b"http://e.com/a?x=1", b"http://e.com/a?x=1"),
        (b"http://e.com/a#f?x=1", b"http://e.com/a", b"http://e.com/a"),
        (b"#f", b"", b""),
        (b"?a#b/c", b"c", b""),
    ],
)
def test_fragments(raw, address, decoded):
    """A fragment, which no client should send, is not part of the address."""
    assert address_of(raw) == address
    assert decoded_address_of(raw) == decoded


@pytest.mark.parametrize("headers", [REFERER, ORIGIN, HOST, FOR])
def test_not_kept(headers):
    """What depends on who asks is not kept by caches; what does not may be."""
    assert agent(code=301).get("/goto/foo", headers)["Cache-Control"] == "no-store"
    assert agent(code=301).get("/goto/http://e.com/", headers)["Cache-Control"] is None


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])
def test_methods(method, code):
    """All methods are redirected, with the code of the setting."""
    answer = agent(code=code).request(method, "/goto/http://e.com/", body=b"" if method in ("GET", "HEAD") else b"x")
    assert (answer.status, answer["Location"]) == (code, "http://e.com/")


@pytest.mark.parametrize(
    ("method", "compat", "status", "allow"),
    [
        ("OPTIONS", "", 204, "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"),
        ("PROPFIND", "", 405, "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"),
        ("BREW", "", 501, None),
        ("POST", "mixnmatchttp", 307, None),
        ("HEAD", "mixnmatchttp", 307, None),
        ("PUT", "mixnmatchttp", 501, None),
        ("PATCH", "mixnmatchttp", 501, None),
        ("DELETE", "mixnmatchttp", 501, None),
    ],
)
def test_other_methods(method, compat, status, allow):
    """Other methods are told what is allowed; mixnmatchttp knows only some."""
    answer = agent(compat=compat).request(method, "/goto/http://e.com/")
    assert (answer.status, answer["Allow"]) == (status, allow)


def test_beside_others():
    """The redirects have their own path and nothing else."""
    browser = agent(Respond("page"), at="/a/b")
    assert browser.get("/a/b/http://e.com/")["Location"] == "http://e.com/"
    assert browser.get("/a/bc").text == "page"
    assert browser.get("/a/b/../c").status == 200
    assert browser.get("/a/b/../c")["Location"] is None


def test_in_any_tree():
    """The resource needs no mount: as a child in any tree it gets what is left of the path once that was resolved."""
    root = Resource()
    root.putChild(b"away", GotoResource(Goto()))
    browser = SiteAgent(root)
    assert browser.get("/away///foo.baz/%2e%2f//x?y")["Location"] == "//foo.baz/%2e%2f//x?y"
    assert browser.get("/away///foo.baz/../..//x?y").status == 404
    assert browser.get("/x/../away?a=b/http://e.com/?c")["Location"] == "http://e.com/?c"
    assert browser.get("/away").status == 200


def test_warning():
    """Whoever starts the server is told what it does."""
    warnings = []
    agent(warnings=warnings, at="/x")
    assert warnings == ["goto: /x redirects to any address, also for strangers (an open redirect)"]


@pytest.mark.parametrize(
    ("value", "parameters"),
    [
        (b"", {}),
        (b"for=a", {b"for": b"a"}),
        (b"For = a", {}),
        (b'a=1;b="x;y, z";C="q\\"r"', {b"a": b"1", b"b": b"x;y, z", b"c": b'q"r'}),
        (b"a=1 ; b=2 , c=3", {b"a": b"1", b"b": b"2"}),
        (b'a="1', {}),
        (b"a=1;", {}),
        (b"a=1 b=2", {}),
    ],
)
def test_forwarded(value, parameters):
    """The first element of Forwarded, unless it is malformed."""
    assert forwarded(value) == parameters


def test_base():
    """A base keeps its path for addresses that do not begin with a slash."""
    assert base_of(lambda name: b"https://R.com:1/a/b?c" if name == b"Referer" else b"") == Base(
        b"https://R.com:1", b"/a/b"
    )


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"code": 300}, "code must be 301, 302, 303, 307 or 308, not 300"),
        ({"compat": "x"}, "compat must be 'mixnmatchttp' or empty, not 'x'"),
    ],
)
def test_refused(settings, said):
    """Wrong settings are told when they are made."""
    with pytest.raises(ValueError, match=said):
        Goto(**settings)
