"""
What a request would meet, without one.
"""

from pathlib import Path

import pytest

from mixweb.config import load
from mixweb.explain import explain_request

SITE = """\
[files]
path = "."
[inspect]
token = "s3cret"
[goto]
[[respond]]
at = "/new"
body = "x"
[rewrite]
strip = "/app"
rules = { "/old/*" = "/new/{1}?from=old", "/away/*" = "/goto/{1}" }
[redirect]
rules = { "/sale" = "/offers/" }
slash = "remove"
[cors]
origins = ["*"]
paths = ["/api/"]
except_paths = ["/api/private/"]
[headers]
set = ["X-A: 1"]
paths = ["*.html", "/new"]
[auth]
users = "users"
rules = ["DELETE / #admin"]
paths = ["/admin/"]
[host."*.shop.example"]
aliases = ["shop.example:81"]
respond.body = "shop"
"""


@pytest.fixture
def explained(tmp_path, monkeypatch):
    """Explains a request to the site above, line by line."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "users").write_text("alice:$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$AAAA:#admin\n")
    (tmp_path / "site.toml").write_text(SITE)
    loaded = load(Path("site.toml"), environment={})
    return lambda host, path, method="GET": explain_request(loaded, host, path, method).splitlines()


@pytest.mark.parametrize(
    ("host", "path", "method", "expected"),
    [
        (
            "localhost", "/app/old/x?y=1", "GET",
            [
                "host     default: no other host is called localhost",
                "skips    headers (headers): paths = [\"*.html\", \"/new\"] has no such path",
                "rewrites rewrite (rewrite) to /new/x?from=old&y=1: strip /app, rule /old/* = /new/{1}?from=old",
                "skips    cors (cors): paths = [\"/api/\"] has no such path",
                "path     /new/x",
                "asks     respond at /new: /new owns the path",
            ],
        ),
        ("localhost", "/sale", "GET", ["answers  redirect (redirect): 308 to /offers/"]),
        ("localhost", "/a/", "GET", ["answers  redirect (redirect): 308 to /a"]),
        ("localhost", "/a/", "POST", ["passes   redirect (redirect)  ", "asks     files at /: / owns the path"]),
        ("localhost", "/x/../api/y", "GET", ["passes   cors (cors): paths has /api/", "path     /api/y"]),
        ("localhost", "/api/private/y", "GET", ["skips    cors (cors): except_paths has /api/private/"]),
        ("localhost", "/api/y", "OPTIONS", ["passes   cors (cors): a preflight"]),
        ("localhost", "/a/b.html", "GET", ["passes   headers (headers): paths has *.html"]),
        (
            "localhost", "/goto///a/../b?c", "GET",
            ["path     /goto, and raw behind it //a/../b?c", "asks     goto at /goto: /goto owns the path"],
        ),
        ("localhost", "/away/http:x", "GET", ["path     /goto, and raw behind it http:x"]),
        ("localhost", "/nowhere", "GET", ["asks     files at /", "none     no mount: none is left: 404"]),
        ("a.b.shop.example", "/", "GET", ["host     *.shop.example, shop.example:81: *.shop.example matches"]),
        ("shop.example:81", "/", "GET", ["host     *.shop.example, shop.example:81: shop.example:81 matches"]),
        ("shop.example", "/", "GET", ["host     default: no other host is called shop.example"]),
    ],
)  # fmt: skip
def test_explained(host, path, method, expected, explained):
    """Each part says what it makes of the request, in order, and why; the walk ends where one answers."""
    lines = explained(host, path, method)
    position = 0
    for beginning in expected:
        found = [index for index, line in enumerate(lines) if line.startswith(beginning)]
        assert found, (beginning, lines)
        assert found[0] >= position, lines
        position = found[0]
    if any(line.startswith("answers") for line in expected):
        assert lines[-1].startswith("answers")


def test_sources(explained):
    """Each part tells its settings and where they were said; secrets are not among them."""
    lines = explained("localhost", "/~mix")
    assert lines[0] == "passes   accesslog (observe)  [by default]"
    rules = 'rules = { "/sale" = "/offers/" }, slash = "remove"  [site.toml:12]'
    assert any(line.endswith(rules) for line in lines), lines
    assert lines[-1] == 'asks     inspect at /~mix: /~mix owns the path  token = "(hidden)"  [site.toml:3]'
    assert "s3cret" not in "".join(lines)


def test_rules_of_users(explained):
    """The rule that decides who may is named."""
    (line,) = [line for line in explained("localhost", "/admin/x", "DELETE") if " auth " in line]
    assert "DELETE / #admin" in line


def test_the_same_words(explained, tmp_path):
    """What is explained and what a server then does are the same, in the same words."""
    from twisted.internet.task import Clock

    from mixweb import Host, Redirect, Respond, Rewrite
    from mixweb.config import given
    from mixweb.plan import Plan
    from tests.features.inspect.conftest import Inspected

    settings = (Respond("hi", at="/new"), Rewrite({"/old/*": "/new/{1}"}), Redirect({"/sale": "/offers"}))
    server = Inspected(*settings, clock=Clock())
    plan = Plan(default=Host(*settings, without=["accesslog"]))
    for target in ("/old/x", "/sale", "/new", "/none"):
        server.agent.get(target)
        told = [f"{row['verdict']:<8} {row['name']}" for row in server.last()["route"] if row["verdict"] != "host"]
        lines = explain_request(given(plan), "localhost", target).splitlines()
        named = [line for line in lines if line.split()[0] not in ("host", "path")]
        assert [line.partition(" (")[0].partition(" at ")[0].partition(":")[0] for line in named] == [
            line.replace("answers  respond", "asks     respond") for line in told
        ]  # fmt: skip
