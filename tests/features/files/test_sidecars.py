"""
Files that say with which fields others are sent.
"""

import pytest
from twisted.logger import globalLogPublisher

from mixweb.features.files._sidecars import parse_fields, parse_rules


@pytest.mark.parametrize(
    ("text", "fields", "problems"),
    [
        ("X-A: b", [(b"X-A", b"b")], 0),
        ("X-A: b\r\nX-A:  c \r\n\r\n# no\r\n", [(b"X-A", b"b"), (b"X-A", b"c")], 0),
        ("Content-Type: text/plain; charset=x", [(b"Content-Type", b"text/plain; charset=x")], 0),
        ("no colon\nX-A: b", [(b"X-A", b"b")], 1),
        ("X A: b\n: c\nX-A: b\x01", [], 3),
        ("Content-Length: 5\ntransfer-encoding: chunked\nConnection: close\nETag: x\nContent-Encoding: br", [], 5),
        ("", [], 0),
    ],
)
def test_parse_fields(text, fields, problems):
    """Lines are fields; those that cannot be sent, or are not for a file to say, are left out and told."""
    found, wrong = parse_fields(text)
    assert (found, len(wrong)) == (fields, problems)


RULES = """\
# comment
/*
  X-All: 1
/assets/*
\tCache-Control: max-age=60
  X-Bad
docs/:page/edit
  X-Edit: 1
/a.b
  X-Dot: 1
"""


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/", {b"X-All"}),
        ("/assets/x/y", {b"X-All", b"Cache-Control"}),
        ("/docs/one/edit", {b"X-All", b"X-Edit"}),
        ("/docs/one/two/edit", {b"X-All"}),
        ("/a.b", {b"X-All", b"X-Dot"}),
        ("/axb", {b"X-All"}),
    ],
)
def test_parse_rules(path, names):
    """A path of the rules may have wildcards for anything and for one segment."""
    rules, problems = parse_rules(RULES)
    assert {name for rule in rules if rule.pattern.match(path) for name, _ in rule.fields} == names
    assert len(problems) == 1


def test_rules_without_path():
    """A field before the first path is left out and told."""
    assert parse_rules("  X: 1\n/a\n  Y: 1")[1] == ["'X: 1' stands before the first path"]


@pytest.fixture
def folder(add):
    """A folder with all kinds of sidecars."""
    add("page.html", "page")
    add("sub/page.html", "below")
    add("sub/other.html", "below")
    add("_headers", "/sub/*\n  X-Who: rules\n  X-Rules: yes\n")
    add("sub/__dir__.headers", "X-Who: directory\nX-Dir: yes\n")
    add(
        "sub/page.html.headers", "X-Who: file\nSet-Cookie: a=1\nSet-Cookie: b=2\nContent-Type: text/x-mine\nVary: X-Y\n"
    )


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/page.html", {"X-Who": None, "X-Rules": None, "Content-Type": "text/html; charset=utf-8"}),
        ("/sub/other.html", {"X-Who": "directory", "X-Rules": "yes", "X-Dir": "yes", "Set-Cookie": None}),
        ("/sub/page.html", {"X-Who": "file", "X-Dir": "yes", "Set-Cookie": "a=1, b=2", "Content-Type": "text/x-mine"}),
    ],
)
def test_sidecars(serve, folder, settled, path, fields):
    """What is nearest to the file wins."""
    agent = serve(sidecars=True)
    for _ in range(2):
        answer = agent.get(path)
        assert answer.status == 200
        assert {name: answer[name] for name in fields} == fields


def test_vary_is_added_to(serve, folder, add):
    """Vary of a sidecar adds to what the file varies by anyway."""
    add("sub/page.html.gz")
    assert serve(sidecars=True).get("/sub/page.html")["Vary"] == "Accept-Encoding, X-Y"


def test_not_served(serve, folder):
    """Sidecars are not served and not listed; without the setting they are files as others."""
    paths = ["/_headers", "/sub/__dir__.headers", "/sub/page.html.headers"]
    for sidecars, status in ((True, 404), (False, 200)):
        agent = serve(sidecars=sidecars)
        assert [agent.get(path).status for path in paths] == [status] * 3
        assert ("__dir__.headers" in agent.get("/sub/").text) is not sidecars
    assert serve().get("/sub/page.html")["X-Who"] is None


def test_changes(serve, folder, add, settled):
    """A changed sidecar counts within a second."""
    agent = serve(sidecars=True)
    assert agent.get("/sub/page.html")["X-Who"] == "file"
    add("sub/page.html.headers", "X-Who: new")
    agent.clock.advance(1.1)
    assert agent.get("/sub/page.html")["X-Who"] == "new"


def test_problems_are_logged_once(serve, add, root):
    """What is wrong in a sidecar is said once; one that is too large or leads outside is not read."""
    add("a.txt")
    add("a.txt.headers", "nonsense\nX-A: 1")
    add("b.txt")
    add("b.txt.headers", "X-B: 1\n" * 20_000)
    add("c.txt")
    (root / "c.txt.headers").symlink_to("../secret.txt")
    warnings = []

    def observe(event):
        if event["log_level"].name == "warn":
            warnings.append(event)

    globalLogPublisher.addObserver(observe)
    agent = serve(sidecars=True)
    answers = [agent.get(f"/{name}.txt") for name in "aaabc"]
    globalLogPublisher.removeObserver(observe)
    assert [answer["X-A"] for answer in answers] == ["1", "1", "1", None, None]
    assert answers[3]["X-B"] is None
    assert len([event for event in warnings if event.get("problem")]) == 1
