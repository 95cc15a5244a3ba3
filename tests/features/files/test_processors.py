"""
Files that are run: scripts, pages, answers as they are, programs.
"""

import pytest
from twisted.web.resource import Resource

from tests.features.files.conftest import BIG

RPY = """\
from twisted.web.resource import Resource

class Page(Resource):
    def getChild(self, name, request):
        return self
    def render_GET(self, request):
        return repr((request.prepath, request.postpath)).encode()
    def render_POST(self, request):
        return request.content.read()

resource = Page()
"""
COUNTER = """\
from twisted.web.static import Data
cache()
registry.count = getattr(registry, "count", 0) + 1
resource = Data(b"%d" % registry.count, "text/plain")
"""


@pytest.mark.parametrize(
    ("target", "paths"),
    [
        ("/page.rpy", ([b"page.rpy"], [])),
        ("/page.rpy/", ([b"page.rpy", b""], [])),
        ("/page.rpy/a/b", ([b"page.rpy", b"a", b"b"], [])),
        ("/page.rpy/a%2Fb", ([b"page.rpy", b"a/b"], None)),
        ("/PAGE.RPY", None),
        ("/sub/page.rpy?x=1", ([b"sub", b"page.rpy"], [])),
        ("/link.txt", ([b"link.txt"], [])),
        ("/page", None),
    ],
)
def test_scripts(serve, add, root, target, paths):
    """A resource script answers for its path and all below it, by whatever name it is asked for."""
    add("page.rpy", RPY)
    add("sub/page.rpy", RPY)
    (root / "link.txt").symlink_to("page.rpy")
    for symlinks in ("inside", "follow"):
        answer = serve(symlinks=symlinks).get(target)
        if paths is None or paths[1] is None:
            assert answer.status == 404
        else:
            assert (answer.status, answer.text) == (200, repr(paths))


def test_methods_of_scripts(serve, add):
    """A script has the methods that its resource has."""
    add("page.rpy", RPY)
    agent = serve()
    assert agent.request("POST", "/page.rpy", body=b"posted").body == b"posted"
    assert agent.request("DELETE", "/page.rpy")["Allow"] == "GET, HEAD, OPTIONS, POST"


def test_index_and_left_out_extension(serve, add):
    """A script may be the index of a directory, and its extension may be left out."""
    add("index.rpy", RPY)
    add("app.rpy", RPY)
    agent = serve(ignore_ext=["rpy"])
    assert agent.get("/").text == repr(([b""], []))
    assert agent.get("/app/x").text == repr(([b"app", b"x"], []))


def test_registry(serve, add, root):
    """The scripts of a mount share a registry; one that calls cache() is run once."""
    add("count.rpy", COUNTER)
    agent = serve()
    assert [agent.get("/count.rpy").text for _ in range(3)] == ["1", "1", "1"]
    assert serve().get("/count.rpy").text == "1"


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("x = 1", "must bind the name 'resource'"),
        ("resource = 1", "must bind the name 'resource'"),
        ("1/0", "failed"),
        ("(", "failed"),
    ],
)
def test_bad_scripts(serve, add, source, text, failures):
    """A script that makes no resource says so; one that fails shows nothing of itself."""
    add("bad.rpy", source)
    answer = serve().get("/bad.rpy")
    assert (answer.status, text in answer.text) == (500, True)
    assert source not in answer.text
    assert len(failures) == (text == "failed")


def test_errors_of_scripts_are_theirs(serve, add, failures):
    """An error of the file system in a script is an error of the script."""
    add("bad.rpy", "open('/proc/1/mem', 'wb') if False else (_ for _ in ()).throw(PermissionError(13, 'x'))")
    assert serve().get("/bad.rpy").status == 500
    assert len(failures) == 1


@pytest.mark.parametrize("display", [False, True])
def test_pages(serve, add, display, failures):
    """A page writes its answer; tracebacks are shown where the site shows them, versions nowhere."""
    add("page.epy", "request.setHeader(b'X-A', b'b'); request.write(__file__.encode()); request.write(b' done')")
    add("bad.epy", "1/0")
    add("late.epy", "request.write(b'some'); 1/0")
    agent = serve()
    agent.site.displayTracebacks = display
    answer = agent.get("/page.epy")
    assert (answer.status, answer.text.endswith("page.epy done"), answer["X-A"]) == (200, True, "b")
    assert answer["X-Powered-By"] is None
    bad = agent.get("/bad.epy")
    assert (bad.status, "ZeroDivisionError" in bad.text) == (500, display)
    exchange = agent.open("GET", "/late.epy")
    assert exchange.transport.aborted
    assert len(failures) == 2


def test_as_is(serve, add, failures, descriptors):
    """A file that holds an answer is sent as one, in the framing of the connection, which stays open."""
    add("a.asis", b"HTTP/1.1 203 Mine\nContent-Type: text/x-mine\nContent-Length: 9999\nX-A: b\nX-A: c\n\n" + BIG)
    add("moved.asis", b"Status: 302 Found\nLocation: /x\n\n")
    add("empty.asis", b"HTTP/1.1 204 No Content\n\nignored")
    add("bad.asis", b"\x00")
    agent = serve()
    before = descriptors()
    exchange = agent.open("GET", "/a.asis")
    for path in ("/moved.asis", "/empty.asis", "/bad.asis"):
        exchange.request("GET", path)
    exchange.request("HEAD", "/a.asis")
    answers = exchange.answers()
    assert [(answer.status, answer.reason) for answer in answers] == [
        (203, "Mine"), (302, "Found"), (204, "No Content"), (500, "Internal Server Error"), (203, "Mine"),
    ]  # fmt: skip
    assert (answers[0].body, answers[0]["X-A"], answers[0]["Content-Type"]) == (BIG, "b, c", "text/x-mine")
    assert (answers[1]["Location"], answers[1]["Content-Type"]) == ("/x", None)
    assert answers[4]["Content-Length"] == str(len(BIG))
    assert "asis" not in answers[3].text
    assert len(failures) == 1
    assert descriptors() == before


@pytest.mark.parametrize("name", ["page.rpy", "page.epy", "page.asis", "page.cgi", "page.Rpy"])
def test_source_is_never_sent(serve, add, root, name):
    """The source of what is run is not sent by any way that leads to it."""
    add(name, "secret source (")
    add(f"{name}.gz", "x")
    (root / "plain.txt").symlink_to(name)
    settings = {
        "fallback": name,
        "not_found": name,
        "index": [name],
        "try_files": ["{path}", name],
        "ignore_ext": ["*"],
    }
    for key, value in settings.items():
        for path in (f"/{name}", "/", "/none", "/page", "/plain.txt", f"/{name}/"):
            if name == "page.cgi":
                continue
            answer = serve(**{key: value}).open("GET", path, {"Accept": "text/html", "Accept-Encoding": "gzip"})
            assert b"secret" not in answer.received


def test_no_scripts(serve, add):
    """Where scripts are not run they are files as others: a folder where strangers put files runs nothing."""
    add("page.rpy", RPY)
    add("a.up", "text")
    agent = serve(scripts=False, processors={"up": f"{__name__}.Upper"})
    answer = agent.get("/page.rpy")
    assert (answer.status, answer["Content-Type"]) == (200, "application/octet-stream")
    assert agent.get("/a.up").text == "TEXT"


class Upper(Resource):
    """A processor of somebody else."""

    isLeaf = True

    def __init__(self, path, registry):
        super().__init__()
        self.path = path

    def render_GET(self, request):
        with open(self.path) as file:
            return file.read().upper().encode()


def no_resource(path, registry):
    """A processor that makes nothing."""


def test_own_processors(serve, add):
    """Any class or function that makes a resource of a path and a registry may run files."""
    add("a.up", "text")
    add("a.no", "text")
    add("page.rpy", "text")
    agent = serve(processors={".UP": f"{__name__}.Upper", "no": f"{__name__}.no_resource", ".rpy": f"{__name__}.Upper"})
    assert agent.get("/a.up").text == "TEXT"
    assert agent.get("/page.rpy").text == "TEXT"
    assert agent.get("/a.no").status == 500
