"""
Files through the front door: what is served, as what, and what is not.
"""

import os
import re
import socket
import time

import pytest
from twisted.web.resource import Resource
from twisted.web.server import Site as StockSite
from twisted.web.test.requesthelper import DummyRequest

from mixweb.features.files import FEATURE, Files, FilesResource
from mixweb.features.files._names import Types
from mixweb.testing import SiteAgent, make_context
from tests.features.files.conftest import BIG, MTIME

OCTETS = "application/octet-stream"


def sample(folder, **changes):
    """Settings for the checks that all features share."""
    return Files(folder, **changes)


def test_a_file(serve, add):
    """A file is sent with its type, length, time of change and a strong entity tag."""
    add("a.txt", "hello")
    answer = serve().get("/a.txt")
    assert (answer.status, answer.body) == (200, b"hello")
    assert answer["Content-Type"] == "text/plain; charset=utf-8"
    assert answer["Content-Length"] == "5"
    assert answer["Last-Modified"] == "Sun, 09 Sep 2001 01:46:40 GMT"
    assert answer["Accept-Ranges"] == "bytes"
    assert re.fullmatch(r'"[0-9a-f]{24}"', answer["ETag"])


@pytest.mark.parametrize(
    ("name", "kind", "nosniff"),
    [
        ("page.html", "text/html; charset=utf-8", None),
        ("README", OCTETS, "nosniff"),
        ("evil", OCTETS, "nosniff"),
        ("a.nobody-knows", OCTETS, "nosniff"),
        ("a.bin", OCTETS, None),
        ("a.md", "text/markdown; charset=utf-8", None),
        ("a.xyz", "chemical/x-xyz", None),
        ("é ü.txt", "text/plain; charset=utf-8", None),
    ],
)
def test_types(serve, add, name, kind, nosniff):
    """A file of unknown type is never taken for a page."""
    add(name, "<script>")
    answer = serve(types={"xyz": "chemical/x-xyz"}).get("/" + name.replace(" ", "%20"))
    assert (answer["Content-Type"], answer["X-Content-Type-Options"]) == (kind, nosniff)


def test_default_type(serve, add):
    """The type of files whose name tells none is a setting."""
    add("README")
    assert serve(default_type="text/plain").get("/README")["Content-Type"] == "text/plain; charset=utf-8"
    assert serve(default_type="text/plain", charset="").get("/README")["Content-Type"] == "text/plain"


def test_compressed_text(serve, add):
    """Text that was compressed is shown as text; an archive stays an archive."""
    add("notes.txt.gz")
    add("files.tar.gz")
    answer = serve().get("/notes.txt.gz")
    assert (answer["Content-Type"], answer["Content-Encoding"]) == ("text/plain; charset=utf-8", "gzip")
    answer = serve().get("/files.tar.gz")
    assert (answer["Content-Type"], answer["Content-Encoding"]) == ("application/gzip", None)
    assert serve(encodings={}).get("/notes.txt.gz")["Content-Type"] == "application/gzip"


@pytest.mark.parametrize("content", [b"content", b"", BIG])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_methods(serve, add, method, content):
    """HEAD has the head of GET and no body, for files of any size."""
    add("a", content)
    answer = serve().request(method, "/a", {"Range": "bytes=0-0"} if method == "HEAD" else {})
    assert answer.status == 200
    assert answer["Content-Length"] == str(len(content))
    assert answer.body == (content if method == "GET" else b"")


@pytest.mark.parametrize(
    ("method", "status", "allow"),
    [
        ("OPTIONS", 204, "GET, HEAD, OPTIONS"),
        ("POST", 405, "GET, HEAD, OPTIONS"),
        ("DELETE", 405, "GET, HEAD, OPTIONS"),
        ("PROPFIND", 405, "GET, HEAD, OPTIONS"),
        ("BREW", 501, None),
    ],
)
@pytest.mark.parametrize("path", ["/a.txt", "/", "/sub", "/sub/"])
def test_other_methods(serve, add, path, method, status, allow, descriptors):
    """Files and directories are only read; what is not there is 404 whatever the method."""
    add("a.txt")
    add("sub/a.txt")
    agent = serve()
    before = descriptors()
    answer = agent.request(method, path)
    assert (answer.status, answer["Allow"]) == (status, allow)
    assert agent.request(method, "/none").status == 404
    assert descriptors() == before


@pytest.mark.parametrize(
    "path",
    [
        "/none", "/none/", "/a.txt/", "/a.txt/x", "/sub/none", "/.hidden", "/.git/config", "/sub/.hidden", "/%2ehidden",
        "/a.txt%00", "/%00", "/sub%2fa.txt", "/..%2fsecret.txt", "/%2e%2e%2fsecret.txt", "/sub/..%2f..%2fsecret.txt",
        "/../secret.txt", "/%2e%2e/secret.txt", "//../secret.txt", "/....//secret.txt", "/..%5csecret.txt", "/%ff",
        "/%c0%ae%c0%ae/secret.txt", "/link.txt", "/linkdir/secret.txt", "/dangling", "/loop", "/fifo", "/socket",
        "/fifo/x", "/" + "a" * 300, "/" + "a" * 15_000, "/a" * 7_000, "/sub/" + "../" * 1000 + "secret.txt",
    ],
)  # fmt: skip
def test_not_found(serve, add, root, path, failures, descriptors):
    """What is not there, is not meant to be seen or lies outside is 404, and nothing is left open."""
    add("a.txt")
    add("sub/a.txt")
    add(".hidden")
    add(".git/config")
    add("sub/.hidden")
    (root / "link.txt").symlink_to("../secret.txt")
    (root / "linkdir").symlink_to("..")
    (root / "dangling").symlink_to("nowhere")
    (root / "loop").symlink_to("loop")
    os.mkfifo(root / "fifo")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(os.path.relpath(root / "socket"))
    agent = serve()
    before = descriptors()
    answer = agent.get(path)
    assert (answer.status, b"secret" in answer.body) == (404, False)
    assert failures == []
    assert descriptors() == before


def test_a_name_of_any_length(serve):
    """A segment of 100,000 characters, and as many segments, are not found."""
    lookup = serve().site.resource.lookup
    assert lookup.find([b"a" * 100_000]) is None
    assert lookup.find([b"a"] * 100_000) is None


def test_hidden(serve, add):
    """Names with a dot are served where that is asked for, those for everybody always."""
    add(".hidden", "x")
    add(".well-known/security.txt", "x")
    add(".well-known/.secret", "x")
    for hidden, statuses in ((False, [404, 200, 404]), (True, [200, 200, 200])):
        agent = serve(hidden=hidden)
        paths = ["/.hidden", "/.well-known/security.txt", "/.well-known/.secret"]
        assert [agent.get(path).status for path in paths] == statuses
        assert agent.get("/..").status == 200


@pytest.mark.parametrize(
    ("path", "inside", "follow", "refuse"),
    [
        ("/in.txt", 200, 200, 404),
        ("/dir/a.txt", 200, 200, 404),
        ("/dir/chain.txt", 200, 200, 404),
        ("/absolute.txt", 200, 200, 404),
        ("/self/sub/a.txt", 200, 200, 404),
        ("/out.txt", 404, 200, 404),
        ("/up/secret.txt", 404, 200, 404),
        ("/up/root/sub/a.txt", 404, 200, 404),
        ("/twin.txt", 404, 200, 404),
        ("/sub/a.txt", 200, 200, 200),
        ("/hard.txt", 200, 200, 200),
    ],
)
def test_symlinks(serve, add, root, path, inside, follow, refuse):
    """Links are followed as far as the setting says: by default to places below the root."""
    add("sub/a.txt")
    (root / "in.txt").symlink_to("sub/a.txt")
    (root / "dir").symlink_to("sub")
    (root / "sub/chain.txt").symlink_to("../in.txt")
    (root / "absolute.txt").symlink_to(root / "sub/a.txt")
    (root / "self").symlink_to(".")
    (root / "out.txt").symlink_to("../secret.txt")
    (root / "up").symlink_to("..")
    (root.parent / "root-twin").mkdir()
    (root.parent / "root-twin/a.txt").write_text("secret")
    (root / "twin.txt").symlink_to("../root-twin/a.txt")
    (root / "hard.txt").hardlink_to(root / "sub/a.txt")
    statuses = {policy: serve(symlinks=policy).get(path).status for policy in ("inside", "follow", "refuse")}
    assert statuses == {"inside": inside, "follow": follow, "refuse": refuse}


def test_the_root_is_a_link(serve, add, root):
    """The root itself may be a link, whatever the setting; when it is changed, the new place is served at once."""
    add("a.txt", "old")
    other = root.parent / "other"
    other.mkdir()
    (other / "a.txt").write_text("new")
    link = root.parent / "current"
    link.symlink_to("root")
    agent = serve(link, symlinks="refuse")
    assert agent.get("/a.txt").text == "old"
    link.unlink()
    link.symlink_to("other")
    assert agent.get("/a.txt").text == "new"


@pytest.mark.parametrize(
    ("error", "status"),
    [(PermissionError(13, "denied"), 403), (OSError(24, "too many"), 503), (OSError(5, "broken"), 500)],
)
def test_not_readable(serve, add, monkeypatch, failures, error, status):
    """A file that the server may not read is 403; too many open files are 503, and a broken disk is a failure."""
    add("a.txt")
    agent = serve()

    def refuse(path, flags, *args, **options):
        raise error

    monkeypatch.setattr("mixweb.features.files._walk.os.open", refuse)
    answer = agent.get("/a.txt")
    monkeypatch.undo()
    assert answer.status == status
    assert (answer["Retry-After"] is not None) == (status == 503)
    assert len(failures) == (status == 500)


@pytest.mark.parametrize(
    ("target", "location"),
    [
        ("/sub", "/sub/"),
        ("/sub?a=b&c=/../", "/sub/?a=b&c=/../"),
        ("//sub", "/sub/"),
        ("/x/../sub", "/sub/"),
        ("//evil.example/../sub", "/sub/"),
        ("/sub/%5cevil.example", "/sub/%5Cevil.example/"),
        ("/%5c%5cevil.example", "/%5C%5Cevil.example/"),
        ("/a%20b%3f%23%25", "/a%20b%3F%23%25/"),
        ("/javascript:x", "/javascript:x/"),
        ("/%c3%a9", "/%C3%A9/"),
        ("/%ff", "/%FF/"),
        ("/%0d%0aX-Y:z", "/%0D%0AX-Y:z/"),
    ],
)
def test_slash(serve, root, target, location):
    """A directory without its slash is redirected to the path with it, and never to another host."""
    for name in (
        b"sub/\\evil.example", b"\\\\evil.example", b"a b?#%", b"javascript:x", b"\xff", "é".encode(), b"\r\nX-Y:z",
    ):  # fmt: skip
        os.makedirs(os.path.join(os.fsencode(root), name))
    answer = serve().get(target)
    assert (answer.status, answer["Location"], answer["X-Y"]) == (301, location, None)


def test_index(serve, add):
    """The first name of the index that there is stands for its directory."""
    add("a/index.html", "html")
    add("b/index.htm", "htm")
    add("b/index", "<p>bare")
    agent = serve()
    assert [agent.get(path).text for path in ("/a/", "/b/")] == ["html", "<p>bare"]
    assert agent.get("/b/")["Content-Type"] == "text/html; charset=utf-8"
    assert serve(index=["index.htm"]).get("/b/").text == "htm"
    assert "Name" in serve(index=[]).get("/a/").text


def test_no_listing(serve, add):
    """Where directories are not listed, one without an index is 404."""
    add("sub/a.txt")
    agent = serve(listing=False)
    assert [agent.get(path).status for path in ("/", "/sub", "/sub/", "/sub/a.txt")] == [404, 301, 404, 200]


@pytest.mark.parametrize(
    ("ignored", "path", "text"),
    [
        ([], "/foo", None),
        (["html"], "/foo", "html"),
        ([".html"], "/foo", "html"),
        (["txt", "html"], "/foo", "txt"),
        (["*"], "/foo", "html"),
        (["html"], "/bare", "bare"),
        (["html"], "/dir", "301"),
        (["html"], "/foo/", None),
        (["html"], "/none", None),
        (["html"], "/sub/foo", "deep"),
        (["*"], "/fo", None),
        (["html"], "/" + "a" * 255, None),
    ],
)
def test_ignored_extensions(serve, add, ignored, path, text):
    """An extension may be left out of a path, in the order of the setting; a name that is there comes first."""
    for name, content in (
        ("foo.html", "html"), ("foo.txt", "txt"), ("bare", "bare"), ("bare.html", "no"), ("dir/x", ""), ("dir.html", "no"),
        ("sub/foo.html", "deep"),
    ):  # fmt: skip
        add(name, content)
    answer = serve(ignore_ext=ignored).get(path)
    assert (answer.text if answer.status == 200 else {404: None}.get(answer.status, str(answer.status))) == text


TRY = ["{path}", "{path}.html", "{path}/index.html"]


@pytest.mark.parametrize(
    ("order", "target", "found"),
    [
        (TRY, "/about", "about"),
        (TRY, "/a.txt", "a"),
        (TRY, "/", "root"),
        (TRY, "/docs", "docs"),
        (TRY, "/docs/", "docs"),
        (TRY, "/docs/x", "x"),
        (TRY, "/none", 404),
        (TRY, "/about/", 404),
        (TRY, "/a.txt/", 404),
        (TRY, "/.hidden", 404),
        (["{path}", "{path}/"], "/docs", 301),
        (["{path}/", "{path}"], "/a.txt", "a"),
        (["{path}", "{path}/"], "/docs/", "docs"),
        (["{path}"], "/docs", 301),
        (["{path}", "{path}.html"], "/both", "both file"),
        (["{path}", "/index.html"], "/any/where", "root"),
        (["cache/{path}.html", "{path}"], "/a.txt", "cached"),
        (["{path}.txt"], "/a", "a"),
        ([".{path}"], "/hidden", 404),
    ],
)
def test_try_files(serve, add, order, target, found):
    """Candidates are looked at in order; a directory asked for without its slash is redirected, not shown."""
    for name, content in (
        ("about.html", "about"), ("a.txt", "a"), ("index.html", "root"), ("docs/index.html", "docs"), ("docs/x.html", "x"),
        ("both/a", ""), ("both.html", "both file"), ("cache/a.txt.html", "cached"), (".hidden", "no"),
    ):  # fmt: skip
        add(name, content)
    answer = serve(try_files=order).get(target)
    assert (answer.text if answer.status == 200 else answer.status) == found


def test_try_files_below_a_mount(root, add):
    """The root of a mount is redirected to its slash, as everywhere."""
    add("index.html", "root")
    tree = Resource()
    tree.putChild(b"doc", FilesResource(Files(root, try_files=["{path}", "{path}/index.html"])))
    agent = SiteAgent(tree)
    assert agent.get("/doc")["Location"] == "/doc/"
    assert agent.get("/doc/").text == "root"


VISIT = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.mark.parametrize(
    ("method", "target", "headers", "status"),
    [
        ("GET", "/some/page", VISIT, 200),
        ("GET", "/some/page/", VISIT, 200),
        ("HEAD", "/some/page", VISIT, 200),
        ("GET", "/some/page", {**VISIT, "Sec-Fetch-Mode": "navigate"}, 200),
        ("GET", "/some/page", {**VISIT, "Sec-Fetch-Mode": "cors"}, 404),
        ("GET", "/some/page", {"Accept": "*/*"}, 404),
        ("GET", "/some/page", {"Accept": "application/json"}, 404),
        ("GET", "/some/page", {"Accept": "text/html;q=0"}, 404),
        ("GET", "/some/page", {}, 404),
        ("POST", "/some/page", VISIT, 404),
        ("GET", "/a.txt", VISIT, 200),
    ],
)
def test_fallback(serve, add, method, target, headers, status):
    """Visits of pages that are no file get the page of the application; scripts and images get a 404."""
    add("index.html", "app")
    add("a.txt", "app")
    answer = serve(fallback="index.html").request(method, target, headers)
    assert answer.status == status
    if method == "GET" and status == 200:
        assert answer.text == "app"
        assert answer["ETag"]
    assert ("Sec-Fetch-Mode" in (answer["Vary"] or "")) == (target != "/a.txt" and status == 200)


def test_not_found_page(serve, add):
    """The page for what is not there is sent with 404, whole, and without what would let it be taken from a cache."""
    add("404.html", "nothing here")
    agent = serve(not_found="404.html")
    answer = agent.get("/none", {"Range": "bytes=0-1", "If-None-Match": "*"})
    assert (answer.status, answer.text) == (404, "nothing here")
    assert (answer["Content-Type"], answer["ETag"], answer["Last-Modified"]) == ("text/html; charset=utf-8", None, None)
    assert agent.request("HEAD", "/none")["Content-Length"] == "12"
    assert agent.request("POST", "/none").text != "nothing here"
    assert serve(not_found="missing.html", fallback="missing.html").get("/none", VISIT).status == 404


def test_a_large_not_found_page(serve, add):
    """It may be of any size."""
    add("404.html", BIG)
    answer = serve(not_found="404.html").get("/none")
    assert (answer.status, answer.body) == (404, BIG)


def test_cache_control_and_download(serve, add):
    """Settings by name: what caches may do, and what is saved under its name."""
    for name in ("index.html", "assets/a.js", "files/é.zip"):
        add(name)
    agent = serve(cache_control={"assets/*": "max-age=31536000, immutable", "*.html": "no-cache"}, download=["zip"])
    answers = [agent.get(path) for path in ("/", "/assets/a.js", "/files/%c3%a9.zip")]
    assert [answer["Cache-Control"] for answer in answers] == ["no-cache", "max-age=31536000, immutable", None]
    disposition = "attachment; filename=\"_.zip\"; filename*=UTF-8''%C3%A9.zip"
    assert [answer["Content-Disposition"] for answer in answers] == [None, None, disposition]


def test_one_file(serve, root, add):
    """The root may be one file, which is all there is."""
    path = add("a.txt", "hello")
    agent = serve(path)
    assert agent.get("/").text == "hello"
    assert [agent.get(target).status for target in ("/a.txt", "/x", "/../a.txt", "//")] == [404, 404, 404, 200]
    tree = Resource()
    tree.putChild(b"it", FilesResource(Files(path)))
    assert SiteAgent(tree).get("/it").text == "hello"


def test_children(root, add):
    """Children that are put to it come first, and files stay what they are."""
    add("a.txt", "hello")
    add("sub/a.txt", "below")
    add("doc/x.txt", "hidden")
    files = FilesResource(Files(root))
    files.putChild(b"doc", FilesResource(Files(root / "sub")))
    agent = SiteAgent(files)
    assert [agent.get(path).text for path in ("/a.txt", "/sub/a.txt", "/doc/a.txt")] == ["hello", "below", "below"]
    assert agent.get("/sub")["Location"] == "/sub/"
    assert agent.get("/doc")["Location"] == "/doc/"
    assert [agent.get(path).status for path in ("/doc/x.txt", "/")] == [404, 200]
    with pytest.raises(TypeError, match="must be bytes"):
        files.putChild("doc", Resource())


def test_a_stock_site(root):
    """Under another site than ours it says what it needs."""
    with pytest.raises(TypeError, match=r"mixweb\.Site"):
        FilesResource(Files(root)).render(DummyRequest([b""]))
    assert StockSite(FilesResource(Files(root)))


def test_nearness(tmp_path):
    """A path that does not exist is an error that names the nearest one."""
    (tmp_path / "www").mkdir()
    with pytest.raises(ValueError, match=r"path '.*/wwww' does not exist \(nearest: '.*/www'\)"):
        Files(tmp_path / "wwww")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"index": ["a/b"]}, "index: 'a/b' is not the name of a file"),
        ({"index": [".."]}, "index: '..' is not the name of a file"),
        ({"ignore_ext": ["a/b"]}, "ignore_ext: 'a/b' is not an extension"),
        ({"types": {"": "text/plain"}}, "types: '' is not an extension"),
        ({"types": {"md": "markdown"}}, "types: 'markdown' is not a media type"),
        ({"default_type": "x"}, "default_type: 'x' is not a media type"),
        ({"charset": "a b"}, "charset: 'a b' is not a token"),
        ({"encodings": {"gz": "g z"}}, "encodings: 'g z' is not a token"),
        ({"symlinks": "maybe"}, "symlinks: expected 'inside', 'follow' or 'refuse', got 'maybe'"),
        ({"cache_control": {"*": "a\r\nb"}}, r"cache_control: .* cannot be sent"),
        ({"fallback": "../x"}, "fallback: '../x' is not a path below the root"),
        ({"not_found": "a\0"}, "not_found: .* is not a path below the root"),
        ({"try_files": ["../{path}"]}, "try_files: '../{path}' is not a path below the root"),
        ({"processors": {"x": "nothing"}}, "processors: 'nothing' is not a dotted name"),
    ],
)
def test_wrong_settings(root, settings, message):
    """What is wrong with a setting is said with its name."""
    with pytest.raises(ValueError, match=message):
        Files(root, **settings)


@pytest.mark.parametrize("name", ["mixweb.no.such", "mixweb.kit.scripts.no_such", "mixweb.__doc__"])
def test_wrong_processors(root, name):
    """A processor that cannot be found is an error when the resource is made."""
    with pytest.raises(ValueError, match=r"processors: '.*' for 'x' cannot be"):
        FEATURE.build(Files(root, processors={"x": name}), make_context())


def test_kept(serve, add, settled, descriptors):
    """A small file is answered from memory; a change of it is seen at once, a new one beside it after a second."""
    path = add("sub/index.htm", "old")
    agent = serve()
    cache = agent.site.resource._cache
    answers = [agent.get("/sub/") for _ in range(3)]
    assert {answer.text for answer in answers} == {"old"}
    assert len({str(sorted(answer.headers.getAllRawHeaders())) for answer in answers}) == 1
    assert len(cache) == 1
    path.write_text("new")
    assert agent.get("/sub/").text == "new"
    add("sub/index.html", "better")
    assert agent.get("/sub/").text == "new"
    agent.clock.advance(1.1)
    assert agent.get("/sub/").text == "better"
    assert len(cache) == 1


def test_what_is_not_kept(serve, add, settled):
    """Large files, misses, directories and redirects take no memory."""
    add("big", BIG)
    add("sub/a.txt")
    agent = serve()
    for path in ("/big", "/none", "/sub", "/sub/", "/fifo"):
        agent.get(path)
    assert len(agent.site.resource._cache) == 0


def test_kept_paths_are_canonical(serve, add, settled):
    """A path that is spelled another way is not answered for its look-alike, though that is in memory."""
    add("sub/a.txt")
    agent = serve()
    assert agent.get("/sub/a.txt").status == 200
    assert [agent.get(path).status for path in ("/sub%2fa.txt", "/sub/a.txt/", "/sub/a.txt%00")] == [404, 404, 404]


def test_strength(serve, add):
    """The tag of small files is of their content; that of a large one is weak just after it was written."""
    add("a", b"same")
    add("b", b"same", MTIME + 1)
    add("big", BIG)
    agent = serve()
    assert agent.get("/a")["ETag"] == agent.get("/b")["ETag"]
    assert not agent.get("/big")["ETag"].startswith("W/")
    add("big", BIG, time.time())
    weak = agent.get("/big")["ETag"]
    assert weak.startswith("W/")
    assert agent.get("/big", {"If-None-Match": weak}).status == 304
    assert agent.get("/big", {"Range": "bytes=0-1", "If-Range": weak}).status == 200
    assert serve(etag=False).get("/a")["ETag"] is None


def test_time_of_the_future(serve, add):
    """A time of change that has not come yet is not told (RFC 9110, 8.8.2.1)."""
    add("a", b"x", time.time() + 1000)
    assert serve().get("/a")["Last-Modified"] is None


def test_types_do_not_depend_on_the_machine():
    """Only the built-in tables count."""
    assert Types("a/b").find(b"x.rs") == (None, None)


def test_fallback_is_not_kept(serve, add, settled):
    """What a visit was given for a path that does not exist is not what a script asking for it is given next."""
    add("index.html", "app")
    agent = serve(fallback="index.html")
    for _ in range(3):
        assert agent.get("/none", VISIT).body == b"app"
        assert agent.get("/none").status == 404
    assert "Sec-Fetch-Mode" in agent.get("/none", VISIT)["Vary"]
