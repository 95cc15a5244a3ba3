"""
Rewriting.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.web import server
from twisted.web.resource import Resource, getChildForRequest
from twisted.web.rewrite import RewriterResource
from twisted.web.test.requesthelper import DummyChannel

from mixweb.assemble import Assembler
from mixweb.features.respond import Respond
from mixweb.features.rewrite import Rewrite, RewriteWrapper, alias, rewritten, steps, tilde_to_users
from mixweb.paths import RawPrefixes, canonical
from mixweb.plan import Host, Plan
from mixweb.testing import SiteAgent
from mixweb.wrapper import Wrapper


class Show(Resource):
    """Says what the rules and mounts behind it see."""

    isLeaf = True

    def render_GET(self, request):
        path = request.canonical_path
        assert (
            request.path + b"?" + request.target.partition(b"?")[2] == request.target or request.path == request.target
        )
        assert (*request.prepath, *request.postpath) == path.segments
        return b" ".join(
            [request.target, *sorted(b"%s=%s" % (name, values[0]) for name, values in request.args.items())]
        )


def seen(settings, target):
    return SiteAgent(RewriteWrapper(Rewrite(**settings), Show())).get(target).text


@pytest.mark.parametrize(
    ("settings", "target", "uri"),
    [
        ({}, "/a//b?c", "/a//b?c"),
        # The user's folder
        ({"tilde": "/users"}, "/~foo/bar.html", "/users/foo/bar.html"),
        ({"tilde": "users/"}, "/~foo", "/users/foo"),
        ({"tilde": "/users"}, "/~foo/", "/users/foo/"),
        ({"tilde": "/users"}, "/%7Efoo//x?a=1", "/users/foo/x?a=1 a=1"),
        ({"tilde": "/users"}, "/~", "/~"),
        ({"tilde": "/users"}, "/~/x", "/~/x"),
        ({"tilde": "/users"}, "/a/~foo", "/a/~foo"),
        ({"tilde": "/users"}, "/~..%2F..%2Fetc", "/users/..%2F..%2Fetc"),
        ({"tilde": "/users"}, "/~../x", "/~../x"),
        ({"tilde": "/users"}, "/~%2e%2e/x", "/~%2e%2e/x"),
        # Aliases
        ({"alias": {"/old": "/new"}}, "/old", "/new"),
        ({"alias": {"/old": "/new"}}, "/old/", "/new/"),
        ({"alias": {"/old": "/new"}}, "/old/a/b?x=1", "/new/a/b?x=1 x=1"),
        ({"alias": {"/old": "/new"}}, "/x/../%6Fld//a", "/new/a"),
        ({"alias": {"/old": "/new"}}, "/older", "/older"),
        ({"alias": {"/old": "/new"}}, "/old..%2Fsecret", "/old..%2Fsecret"),
        ({"alias": {"/static": "/files/"}}, "/static../secret", "/static../secret"),
        ({"alias": {"/static": "/files/"}}, "/static%2F../secret", "/static%2F../secret"),
        ({"alias": {"/static": "/files/"}}, "/static/../secret", "/static/../secret"),
        ({"alias": {"/a": "/x", "/a/b": "/y"}}, "/a/b/c", "/y/c"),
        ({"alias": {"/a": "/b", "/b": "/a"}}, "/a/c", "/b/c"),
        ({"alias": {"/a": "/"}}, "/a/c", "/c"),
        ({"alias": {"/a": "/"}}, "/a", "/"),
        ({"alias": {"/": "/a"}}, "/c", "/a/c"),
        ({"alias": {"/": "/a"}}, "/", "/a/"),
        ({"alias": {"/é": "/ä b"}}, "/%C3%A9/%FF", "/%C3%A4%20b/%FF"),
        # Prefixes
        ({"strip": "/v1"}, "/v1/a", "/a"),
        ({"strip": "/v1"}, "/v1", "/"),
        ({"strip": "/v1"}, "/v10/a", "/v10/a"),
        ({"strip": "/v1"}, "/v1//evil", "/evil"),
        ({"strip": "/v1"}, "/v1/%2Fevil", "/%2Fevil"),
        ({"add": "/site"}, "/a/?x", "/site/a/?x"),
        ({"add": "/site"}, "/../a", "/site/a"),
        ({"strip": "/v1", "add": "/v2"}, "/v1/a", "/v2/a"),
        # Rules
        ({"rules": {"/old": "/new"}}, "/old/", "/new"),
        ({"rules": {"/old": "/new"}}, "/old/x", "/old/x"),
        ({"rules": {"/a/*": "/b/{1}"}}, "/a/x/y", "/b/x/y"),
        ({"rules": {"^/(a)/(?P<rest>.*)": "/{rest}/{1}"}}, "/a/x/y", "/x/y/a"),
        ({"rules": {"/a": "/b", "/b": "/c"}}, "/a", "/c"),
        ({"rules": {"*": "/all{path}"}}, "/a%20b/", "/all/a%20b/"),
        ({"rules": {r"^/item/(\d+)$": "/item.php?id={1}"}}, "/item/5", "/item.php?id=5 id=5"),
        ({"rules": {"/item/*": "/i?id={1}"}}, "/item/5&admin=1?x=2", "/i?id=5%26admin%3D1&x=2 id=5&admin=1 x=2"),
        ({"rules": {"/x": "/x?y=1"}}, "/x", "/x?y=1 y=1"),
        ({"rules": {"/item/*": "/a b?é={1} #"}}, "/item/%C3%A9", "/a%20b?%C3%A9=%C3%A9%20%23 é=é #"),
        # A path cannot become a query, a header or a folder above.
        ({"rules": {"/a/*": "/b/{1}"}}, "/a/x%3Fadmin=1", "/b/x%3Fadmin=1"),
        ({"rules": {"/a/*": "/b/{1}"}}, "/a/x%0D%0AX-Evil:1%00", "/b/x%0D%0AX-Evil:1%00"),
        ({"rules": {"/a/*": "/b/{1}"}}, "/a/x%252e%252e%2525", "/b/x%252e%252e%2525"),
        ({"rules": {"/a/*": "/b/{1}"}}, "/a/..%2F..%2Fx", "/b/..%2F..%2Fx"),
        ({"rules": {"^/(.)/(.)/x": "/a/b/{1}{2}/{1}{2}/{1}{2}/x"}}, "/%2e/x", "/%2e/x"),
        ({"rules": {"^/a(.*)x(.*)$": "/s/{1}{2}/t"}}, "/a.x.", "/t"),
        ({"rules": {"^/a(.*)x(.*)$": "/{1}{2}/{1}{2}/{1}{2}/etc"}}, "/a.x.", "/etc"),
        # All together, in their order
        (
            {"strip": "/v", "tilde": "/u", "alias": {"/u/foo": "/f"}, "rules": {"/f/*": "/g/{1}"}, "add": "/s"},
            "/v/~foo/x",
            "/s/g/x",
        ),
    ],
)
def test_rewriting(settings, target, uri):
    """A path is rewritten by whole segments, is canonical afterwards and keeps its query; what no rule means stays."""
    assert seen(settings, target) == uri


ANY = {
    "strip": "/a",
    "tilde": "/users",
    "alias": {"/b": "/c/d"},
    "rules": {"/c/*": "/{1}", "^/(.*?)x(.*)$": "/r/{2}{1}", "^(.*)(..)$": "{path}{2}"},
    "add": "/root",
}


@given(st.text("/.~abcx%2eF?\\\0é", max_size=30))
def test_never_above(path):
    """Whatever the path, and however rules put pieces together, what comes out is canonical and below the prefix."""
    segments = canonical(b"/" + path.encode()).segments
    found = rewritten(segments, steps(Rewrite(**ANY)))
    assert found is not None
    assert found[0][0] == b"root"
    assert not {b"..", b"."} & set(found[0])
    assert b"" not in found[0][:-1]


def test_twice():
    """Rewriters compose: each sees what the one before it made."""
    inner = RewriteWrapper(Rewrite(alias={"/b": "/c"}), Show())
    assert SiteAgent(RewriteWrapper(Rewrite(alias={"/a": "/b"}), inner)).get("/a/x").text == "/c/x"


def test_rules_behind_meet_the_new_path():
    """What stands behind is matched against the path that is served: neither spelling nor alias leads past a rule."""
    plan = Plan(
        default=Host(
            Respond("public"),
            Respond("secret", at="/private"),
            Respond("refused", at="/forbidden"),
            Rewrite(alias={"/open": "/private"}, tilde="/private"),
            Rewrite({"*": "/forbidden"}, paths=["/private/"]),
        )
    )
    agent = SiteAgent(Assembler(Clock()).assemble(plan).root)
    assert agent.get("/x").text == "public"
    for path in ("/private/x", "/open", "//%6fpen/./x", "/~x", "/%7e/../open/x"):
        assert agent.get(path).text == "refused", path


class Raw(Wrapper):
    """Has a raw mount."""

    def handle(self, request):
        request.raw_prefixes = RawPrefixes([[b"goto"]])
        request.set_target(request.uri)
        self.forward(request)


class ShowRaw(Resource):
    isLeaf = True

    def render_GET(self, request):
        return f"{request.canonical_path.raw} {request.prepath} {request.postpath}"


@pytest.mark.parametrize(
    ("target", "body"),
    [
        ("/goto///foo.baz/../..//cache?x", "b'//foo.baz/../..//cache?x' [b'goto'] []"),
        ("/go/x%20y/z?x", "b'x%20y/z?x' [b'goto'] []"),
        ("/go", "b'' [b'goto'] []"),
        ("/other", "None [] [b'all', b'other']"),
    ],
)
def test_raw_mounts(target, body):
    """Raw mounts stay raw: what stands at one is not rewritten, what is rewritten to one is handed over undecoded."""
    settings = Rewrite({"^/(?!goto)": "/all{path}"}, alias={"/go": "/goto"})
    assert SiteAgent(Raw(RewriteWrapper(settings, ShowRaw()))).get(target).text == body


def test_below_a_mount():
    """In a tree of resources only what is left of the path is rewritten, and nothing leads out of it."""
    root, app = Resource(), Resource()
    app.putChild(b"new", Show())
    app.putChild(b"secret", Show())
    root.putChild(b"secret", Show())
    root.putChild(b"app", RewriteWrapper(Rewrite({"/up": "/../../secret"}, alias={"/old": "/new"}), app))
    agent = SiteAgent(root)
    assert agent.get("/app/old/x?a=1").text == "/app/new/x?a=1 a=1"
    assert agent.get("/app/new/x").text == "/app/new/x"
    assert agent.get("/app/up").text == "/app/secret"
    assert agent.get("/old").status == 404


def test_arguments_follow():
    """Arguments that were read before are read again from the new target."""

    class Early(Wrapper):
        def handle(self, request):
            assert request.args == {b"a": [b"1"]}
            self.forward(request)

    wrapped = Early(RewriteWrapper(Rewrite({"/x": "/y?b=2"}), Show()))
    assert SiteAgent(wrapped).get("/x?a=1").text == "/y?b=2&a=1 a=1 b=2"


def test_late_answers():
    """The resource behind may take its time."""

    class Late(Resource):
        isLeaf = True

        def render_GET(self, request):
            self.waiting = Deferred()
            return self.waiting

    late = Late()
    exchange = SiteAgent(RewriteWrapper(Rewrite(add="/x"), late)).open("GET", "/a")
    late.waiting.callback(b"late")
    assert exchange.answer.body == b"late"


def tree():
    """A tree with a folder of users and a page, behind Twisted's own rewriter."""
    root, users, foo = Resource(), Resource(), Resource()
    root.putChild(b"users", users)
    users.putChild(b"foo", foo)
    foo.putChild(b"bar.html", Leaf())
    return RewriterResource(root, tilde_to_users, alias("/home", "/users/foo"), alias("page", "users/foo/bar.html"))


class Leaf(Resource):
    isLeaf = True

    def render_GET(self, request):
        return b"%s %r %r" % (request.path, request.prepath, request.postpath)


TREE = [
    ("/~foo/bar.html", "/users/foo/bar.html", [b"users", b"foo", b"bar.html"]),
    ("/%7Efoo/bar.html", "/users/foo/bar.html", [b"users", b"foo", b"bar.html"]),
    ("/home/bar.html", "/users/foo/bar.html", [b"users", b"foo", b"bar.html"]),
    ("/page", "/users/foo/bar.html", [b"users", b"foo", b"bar.html"]),
    ("/users/foo/bar.html", "/users/foo/bar.html", [b"users", b"foo", b"bar.html"]),
]


@pytest.mark.parametrize(("target", "path", "prepath"), TREE)
def test_in_twisteds_rewriter(target, path, prepath):
    """Twisted's own rewriter takes the rules, behind our site and behind a stock one."""
    assert SiteAgent(tree()).get(target).text == f"{path} {prepath!r} []"
    request = server.Request(DummyChannel(), False)
    request.method, request.uri, request.path = b"GET", target.encode(), target.encode()
    request.prepath, request.postpath = [], list(canonical(target.encode()).segments)
    assert getChildForRequest(tree(), request).render(request).decode() == f"{path} {prepath!r} []"


@pytest.mark.parametrize("target", ["/~", "/~nobody/x", "/homes/bar.html", "/pages", "/"])
def test_twisteds_rewriter_finds_nothing(target):
    """What no rule means is not found."""
    assert SiteAgent(tree()).get(target).status == 404


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"/a": "b"}, "rules: /a: 'b' is not a path: begin it with / or {path}"),
        ({"/a": "http://b/"}, "rules: /a: 'http://b/' is not a path"),
        ({"/*": "/{2}"}, "rules: /*: there is no placeholder {2}"),
        ({"/*": "/x?y={z}"}, "rules: /*: there is no placeholder {z}"),
        ({"^/(": "/x"}, "rules: ^/(: '^/(' is not a regular expression"),
    ],
)
def test_refused(rules, said):
    """A malformed rule is an error that shows it."""
    with pytest.raises(ValueError, match=r"^rules: ") as caught:
        Rewrite(rules)
    assert str(caught.value).startswith(said)
