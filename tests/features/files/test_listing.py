"""
Directories: what is listed, how, and in which form.
"""

import json
import os
import re
from html.parser import HTMLParser

import pytest
from twisted.internet.task import Clock
from twisted.web.resource import Resource

from mixweb.features.files import Files, FilesResource
from mixweb.features.files._directory import INLINE_STEPS
from mixweb.features.files._listing import Entry, View, as_text
from mixweb.features.files._page import human_size
from mixweb.testing import SiteAgent

NAMES = {"b.txt": 30, "A.txt": 20, "file10": 5, "file9": 50, "é & <i>.txt": 1}


class Threads(Clock):
    """A reactor whose threads work when they are told to."""

    def __init__(self):
        super().__init__()
        self.waiting = []

    def getThreadPool(self):
        return self

    def callInThreadWithCallback(self, done, work):
        self.waiting.append((done, work))

    def callFromThread(self, call, *args):
        call(*args)

    def work(self):
        while self.waiting:
            done, work = self.waiting.pop(0)
            done(True, work())


class Page(HTMLParser):
    """What is on a page."""

    def __init__(self, text):
        super().__init__()
        self.links, self.text, self.styles, self.scripts, self.forms = [], [], [], [], []
        self.inside = []
        self.feed(text)
        self.names = [text for text in self.text if text.strip()]

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        assert not {name for name in attributes if name.startswith("on") or name in ("src", "style")}
        assert tag not in ("img", "link", "iframe", "object", "base")
        if tag == "a":
            self.links.append(attributes["href"])
        if tag == "input":
            self.forms.append((attributes["name"], attributes.get("value")))
        self.inside.append(tag)

    def handle_endtag(self, tag):
        while self.inside and self.inside.pop() != tag:
            pass

    def handle_data(self, data):
        kinds = {"style": self.styles, "script": self.scripts}
        kinds.get(self.inside[-1] if self.inside else "", self.text).append(data)


@pytest.fixture
def filled(add, root):
    """A folder with a folder, files and what is not listed."""
    for index, (name, size) in enumerate(NAMES.items()):
        add(f"sub/{name}", b"x" * size, 1_000_000_000 + 86400 * index)
    add("sub/Zoo/x", mtime=1)
    os.utime(root / "sub/Zoo", (1, 1))
    add("sub/.hidden")
    os.mkfifo(root / "sub/fifo")
    (root / "sub/out").symlink_to("../../secret.txt")
    (root / "sub/dangling").symlink_to("nowhere")
    (root / "sub/in").symlink_to("A.txt")
    return root / "sub"


def names_of(answer):
    """The names of a listing in its order."""
    return [entry["name"] for entry in json.loads(answer.body)["entries"]]


BY_NAME = ["Zoo", "A.txt", "b.txt", "file9", "file10", "in", "é & <i>.txt"]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", BY_NAME),
        ("&sort=name&order=asc", BY_NAME),
        ("&order=desc", ["Zoo", "é & <i>.txt", "in", "file10", "file9", "b.txt", "A.txt"]),
        ("&sort=size", ["Zoo", "é & <i>.txt", "file10", "A.txt", "in", "b.txt", "file9"]),
        ("&sort=size&order=desc", ["Zoo", "file9", "b.txt", "A.txt", "in", "file10", "é & <i>.txt"]),
        ("&sort=date", ["Zoo", "b.txt", "A.txt", "in", "file10", "file9", "é & <i>.txt"]),
        ("&sort=date&order=desc", ["Zoo", "é & <i>.txt", "file9", "file10", "A.txt", "in", "b.txt"]),
        ("&sort=nonsense&order=nonsense", BY_NAME),
        ("&filter=FILE", ["file9", "file10"]),
        ("&filter=%20%C3%89%20", ["é & <i>.txt"]),
        ("&filter=none", []),
        ("&filter=%ff", []),
    ],
)
def test_order(serve, filled, query, names):
    """Directories first, in the order asked for; numbers and case count as people read them."""
    assert names_of(serve().get(f"/sub/?format=json{query}")) == names


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"hidden": True}, {".hidden", "in"}),
        ({"symlinks": "refuse"}, set()),
        ({"symlinks": "follow"}, {"in", "out"}),
        ({"symlinks": "inside"}, {"in"}),
    ],
)
def test_what_is_listed(serve, filled, settings, names):
    """What would be 404 is not listed."""
    agent = serve(**settings)
    found = names_of(agent.get("/sub/?format=json"))
    assert set(found) - set(BY_NAME) | set(found) & {"in"} == names
    assert {agent.get(f"/sub/{name}").status for name in names} <= {200}


def test_json(serve, filled):
    """JSON has what there is to know of each entry; sizes and times are exact."""
    answer = serve().get("/sub/?format=json&filter=a")
    assert answer["Content-Type"] == "application/json"
    document = json.loads(answer.body)
    assert (document["path"], document["truncated"]) == ("/sub/", False)
    assert document["entries"] == [
        {"name": "A.txt", "type": "file", "size": 20, "modified": "2001-09-10T01:46:40Z", "url": "./A.txt"}
    ]
    folder = json.loads(serve().get("/sub/?format=json&filter=zoo").body)["entries"][0]
    assert (folder["type"], folder["size"], folder["url"]) == ("directory", None, "./Zoo/")


@pytest.mark.parametrize(
    ("accept", "query", "kind"),
    [
        ("text/html,application/xhtml+xml,*/*;q=0.8", "", "text/html; charset=utf-8"),
        ("*/*", "", "text/html; charset=utf-8"),
        (None, "", "text/html; charset=utf-8"),
        ("application/json", "", "application/json"),
        ("application/json;q=0.5, text/html;q=0.4", "", "application/json"),
        ("text/plain", "", "text/plain; charset=utf-8"),
        ("text/html", "?format=json", "application/json"),
        ("text/html", "?format=text", "text/plain; charset=utf-8"),
        ("application/json", "?format=html", "text/html; charset=utf-8"),
        ("application/json", "?format=nonsense", "application/json"),
    ],
)
def test_form(serve, filled, accept, query, kind):
    """The form is what the client accepts, or what the query says."""
    answer = serve().get(f"/sub/{query}", {"Accept": accept} if accept else {})
    assert (answer["Content-Type"], answer["Vary"], answer["X-Content-Type-Options"]) == (kind, "Accept", "nosniff")
    head = serve().request("HEAD", f"/sub/{query}", {"Accept": accept} if accept else {})
    assert (head["Content-Type"], head["Content-Length"], head.body) == (kind, answer["Content-Length"], b"")


def test_text(serve, filled):
    """Plain text is a name on each line."""
    assert serve().get("/sub/?format=text&filter=o").text == "Zoo/\n"
    assert as_text(FakeListing([b"a\nb\\", b"\xff"])).decode() == "a\\nb\\\\\n\N{REPLACEMENT CHARACTER}\n"


class FakeListing:
    """A listing of files of these names."""

    truncated = False

    def __init__(self, names):
        self.names = names

    def arranged(self):
        return [Entry(name, False, 1, 1) for name in self.names]


def test_page(serve, filled):
    """The page needs no script and asks for nothing else; names are escaped, links lead to what is named."""
    agent = serve()
    answer = agent.get("/sub/")
    page = Page(answer.text)
    assert [name for name in page.names if name.rstrip("/") in BY_NAME] == ["Zoo/", *BY_NAME[1:]]
    policy = answer["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert (len(page.styles), len(page.scripts)) == (1, 1)
    assert "<i>" not in answer.text
    assert 'title="50 bytes"' in answer.text
    assert (
        '<time datetime="2001-09-10T01:46:40Z" title="2001-09-10 01:46:40 UTC">2001-09-10 01:46</time>' in answer.text
    )
    for link in page.links:
        target = "/sub/" + link.removeprefix("./") if not link.startswith("../") else "/"
        assert agent.get(target).status == 200, link


def test_hashes(serve, filled):
    """The policy allows exactly the style and the script that are on the page."""
    from base64 import b64encode
    from hashlib import sha256

    answer = serve().get("/sub/")
    page = Page(answer.text)
    allowed = re.findall(r"'sha256-([^']+)'", answer["Content-Security-Policy"])
    assert allowed == [b64encode(sha256(text.encode()).digest()).decode() for text in (page.styles[0], page.scripts[0])]


def test_view_stays(serve, filled):
    """Links for sorting keep the filter, the form keeps the order."""
    page = Page(serve().get("/sub/?filter=%22%3Ci%3E&sort=size&order=desc").text)
    sorts = [link for link in page.links if link.startswith("?")]
    assert sorts == [
        "?filter=%22%3Ci%3E", "?sort=size&filter=%22%3Ci%3E", "?sort=date&filter=%22%3Ci%3E",
        "?sort=size&order=desc&filter=%22%3Ci%3E&format=json", "?sort=size&order=desc&filter=%22%3Ci%3E&format=text",
    ]  # fmt: skip
    assert page.forms == [("filter", '"<i>'), ("sort", "size"), ("order", "desc")]
    assert "No name matches the filter." in page.text


def test_empty(serve, root):
    """An empty directory says so."""
    assert "This directory is empty." in Page(serve().get("/").text).text


@pytest.mark.parametrize(
    ("target", "crumbs", "parent"),
    [
        ("/", [], False),
        ("/a%20b/", ["../"], True),
        ("/a%20b/%3Cc%3E/", ["../../", "../"], True),
    ],
)
@pytest.mark.parametrize("mount", ["", "/at/doc"])
def test_breadcrumb(root, target, crumbs, parent, mount):
    """Each step above leads there, up to the root of the files and no further."""
    (root / "a b/<c>").mkdir(parents=True)
    tree = FilesResource(Files(root))
    if mount:
        outer, inner = Resource(), Resource()
        outer.putChild(b"at", inner)
        inner.putChild(b"doc", tree)
        tree = outer
    page = Page(SiteAgent(tree).get(mount + target).text)
    found = [link for link in page.links if set(link) <= {".", "/"}]
    assert found == crumbs + ["../"] * parent
    heading = page.text[: page.text.index("Name ↑")]
    assert ("at" in heading, "doc" in heading, "Files" in heading) == (bool(mount), bool(mount), not mount)


@pytest.mark.parametrize(
    "name",
    [
        b"a b",
        b"a%20b",
        b"a?b",
        b"a#b",
        b"a:b",
        b"a;b&c",
        b"\xff\xfe",
        b'"',
        b"'",
        b"<script>",
        b"a\nb",
        b"~",
        b"\\x",
        b"\xc3\xa9",
    ],
)
def test_names(serve, root, name):
    """A link leads to its file whatever the name is made of."""
    with open(os.path.join(os.fsencode(root), name), "wb") as file:
        file.write(b"found")
    agent = serve()
    link = Page(agent.get("/").text).links[-3]
    assert agent.get("/" + link.removeprefix("./")).body == b"found"
    entry = json.loads(agent.get("/?format=json").body)["entries"][0]
    assert "./" + entry["url"].removeprefix("./") == link


def test_large(root, serve, descriptors, monkeypatch):
    """A large directory is read in a thread; the filter looks at all of it; more than the limit is said to be cut."""
    monkeypatch.setattr("mixweb.features.files._listing.MAX_ENTRIES", INLINE_STEPS * 2)
    for number in range(INLINE_STEPS * 3):
        (root / f"file{number}").touch()
    threads = Threads()
    agent = serve(reactor=threads)
    before = descriptors()
    exchange = agent.open("GET", "/?format=json")
    assert (exchange.answers(), len(threads.waiting)) == ([], 1)
    threads.work()
    document = json.loads(exchange.answer.body)
    assert (len(document["entries"]), document["truncated"]) == (INLINE_STEPS * 2, True)
    assert document["entries"][0]["name"] <= document["entries"][1]["name"]
    page = agent.open("GET", "/")
    text = agent.open("GET", "/?format=text")
    filtered = agent.open("GET", f"/?format=json&filter=file{INLINE_STEPS * 3 - 1}")
    threads.work()
    assert "entries are shown. The filter looks at all of them." in page.answer.text
    assert "entries are listed" in text.answer.text
    assert names_of(filtered.answer) == [f"file{INLINE_STEPS * 3 - 1}"]
    assert descriptors() == before


def test_large_and_gone(root, serve, descriptors, failures):
    """When the client leaves while a large directory is read, nothing fails and nothing stays open."""
    for number in range(INLINE_STEPS + 1):
        (root / f"file{number}").touch()
    threads = Threads()
    before = descriptors()
    exchange = serve(reactor=threads).open("GET", "/")
    exchange.disconnect()
    threads.work()
    assert descriptors() == before
    assert failures == []


def test_not_readable(serve, root, monkeypatch, descriptors):
    """A directory that may be passed through but not read is 403."""
    (root / "sub").mkdir()
    agent = serve()
    before = descriptors()
    real = os.open

    def refuse(path, flags, *args, **options):
        if path == b".":
            raise PermissionError(13, "denied")
        return real(path, flags, *args, **options)

    monkeypatch.setattr("mixweb.features.files._resource.os.open", refuse)
    assert agent.get("/sub/").status == 403
    assert descriptors() == before


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"), (999, "999 B"), (1000, "0.977 KiB"), (1024, "1 KiB"), (1234, "1.21 KiB"), (12345, "12.1 KiB"),
        (123456, "121 KiB"), (1023 * 1024, "0.999 MiB"), (3 * 1024**3, "3 GiB"), (1024**4 * 5, "5 TiB"), (1024**5, "1 PiB"),
    ],
)  # fmt: skip
def test_human_size(size, text):
    """Three digits and a unit."""
    assert human_size(size) == text


def test_odd_times():
    """A time that no calendar has is shown as the beginning of time."""
    assert Entry(b"x", False, 0, 1e20).time == "1970-01-01T00:00:00Z"


def test_view():
    """What a query asks for is read leniently and bounded."""
    assert View.of({b"filter": [b"x" * 1000], b"sort": [b"size", b"date"]}) == View("date", False, "x" * 255)
