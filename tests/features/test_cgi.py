"""
Programs that are started for one request each: what they are told, what they may answer, what becomes of those that fail.
"""

import os
import signal

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from mixweb.assemble import Mounts
from mixweb.engine.site import Site
from mixweb.features.cgi import FEATURE, Cgi, find_script
from mixweb.features.files import FEATURE as FILES
from mixweb.features.files import Files
from mixweb.interfaces import IUser
from mixweb.testing import SiteAgent, make_context
from mixweb.wrapper import Wrapper

HELLO = "#!/bin/sh\necho Content-Type: text/plain\necho\necho hello"
SHOW = "#!/bin/sh\necho Content-Type: text/plain\necho\nenv | sort\necho body=\ncat"


@pytest.fixture
def folder(tmp_path):
    """A folder for programs."""
    made = tmp_path / "cgi-bin"
    made.mkdir()
    return made


def sample(tmp_path, **changes):
    """Settings to try the feature with."""
    made = tmp_path / "cgi-bin"
    made.mkdir(exist_ok=True)
    return Cgi(made, **changes)


@pytest.fixture
def add(folder):
    """Writes programs."""

    def write(name, text, mode=0o755):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    return write


class Known(Wrapper):
    """Everybody is Ann."""

    name, roles, scheme = "ann", frozenset(), "Basic"

    def handle(self, request):
        request.setComponent(IUser, self)
        self.forward(request)


class Programs:
    """A site with a folder of programs."""

    def __init__(self, folder, **settings):
        self.resource = FEATURE.build(Cgi(folder, **settings), make_context(reactor))
        self.site = Site(Known(Mounts([("/cgi-bin", self.resource)])), reactor=reactor)

    def open(self, method="GET", target="/cgi-bin/a", headers=(), body=b""):
        """A request that has been sent, and what fires when it has ended."""
        ended = Deferred().addTimeout(20, reactor)
        self.site.observers[:] = [lambda request: request.uri == target.encode() and ended.callback(None)]
        return SiteAgent(self.site).open(method, target, headers, body), ended

    async def ask(self, *request, **parts):
        """The answer, once it is complete."""
        exchange, ended = self.open(*request, **parts)
        await ended
        return exchange.answer


@pytest.fixture
def programs(folder):
    """Makes sites."""
    return lambda **settings: Programs(folder, **settings)


@pytest_twisted.ensureDeferred
async def test_what_a_program_is_told(programs, add, monkeypatch):
    """A program is told of its request by the variables of CGI, and nothing that the server knows for itself."""
    monkeypatch.setenv("SERVER_SECRET", "s3cret")
    path = add("sub/a.sh", SHOW)
    headers = [("X-A", "1"), ("X_B", "2"), ("Proxy", "http://evil"), ("Content-Type", "text/x"), ("Cookie", "c=d")]
    answer = await programs().ask("POST", "//cgi-bin/sub/a.sh/more/b%20c%2Fd/?x=1&y", headers, b"the body")
    variables, _, body = answer.text.partition("body=\n")
    found = dict(line.split("=", 1) for line in variables.splitlines())
    wanted = {
        "GATEWAY_INTERFACE": "CGI/1.1",
        "REQUEST_METHOD": "POST",
        "REQUEST_URI": "//cgi-bin/sub/a.sh/more/b%20c%2Fd/?x=1&y",
        "SCRIPT_NAME": "/cgi-bin/sub/a.sh",
        "SCRIPT_FILENAME": str(path),
        "PATH_INFO": "/more/b c/d/",
        "PATH_TRANSLATED": f"{path.parent}/more/b c/d/",
        "QUERY_STRING": "x=1&y",
        "CONTENT_TYPE": "text/x",
        "CONTENT_LENGTH": "8",
        "HTTP_X_A": "1",
        "HTTP_COOKIE": "c=d",
        "REMOTE_USER": "ann",
        "AUTH_TYPE": "Basic",
        "PATH": os.environ["PATH"],
    }
    assert {name: found.get(name) for name in wanted} == wanted
    assert body == "the body"
    assert not {"SERVER_SECRET", "HTTP_PROXY", "HTTP_X_B", "HTTPS", "HTTP_CONTENT_TYPE"} & set(found)


@pytest_twisted.ensureDeferred
async def test_bytes(programs, add):
    """A path reaches a program as the bytes that it is."""
    add("a", SHOW)
    answer = await programs().ask("GET", "/cgi-bin/a/%C3%A9/%FF")
    assert b"\nPATH_INFO=/\xc3\xa9/\xff\n" in answer.body


@pytest.mark.parametrize(
    ("text", "status", "fields", "body"),
    [
        (HELLO, 200, {"Content-Type": "text/plain"}, "hello\n"),
        ("#!/bin/sh\nprintf 'Status: 404 Gone Away\\r\\nX-A: b\\r\\n\\r\\nx'", 404, {"X-A": "b"}, "x"),
        ("#!/bin/sh\nprintf 'Location: /else\\n\\n'", 302, {"Location": "/else"}, ""),
        ("#!/bin/sh\nprintf 'Status: 307\\nLocation: http://a/\\n\\n'", 307, {"Location": "http://a/"}, ""),
        ("#!/bin/sh\nprintf 'HTTP/1.1 202 Yes\\r\\nX-N: 1\\r\\n\\r\\nnph'", 202, {"X-N": "1"}, "nph"),
        ("#!/bin/sh\nprintf 'Content-Length: 2\\n\\nabcdef'", 200, {"Content-Length": "2"}, "ab"),
        ("#!/bin/sh\nprintf 'X-A: 1\\n'; sleep 0.1; printf '\\nlate'", 200, {"X-A": "1"}, "late"),
        ("#!/bin/sh\nprintf '\\n'; exit 3", 200, {}, ""),
        ("#!/bin/sh\necho complaint >&2; printf '\\nfine'", 200, {}, "fine"),
        ("#!/bin/sh\nexit 1", 502, {}, None),
        ("#!/bin/sh\necho no head", 502, {}, None),
        ("#!/bin/sh\nprintf 'Status: 99\\n\\n'", 502, {}, None),
        ("#!/bin/sh\nprintf 'X A: 1\\n\\n'", 502, {}, None),
        ("#!/bin/sh\nprintf 'Content-Length: x\\n\\n'", 502, {}, None),
        ("#!/nowhere/sh\n", 502, {}, None),
    ],
)
@pytest_twisted.ensureDeferred
async def test_answers(text, status, fields, body, programs, add):
    """What a program says is what is sent, in the framing of the connection; what is no answer is a 502."""
    add("a", text)
    answer = await programs().ask()
    assert (answer.status, {name: answer[name] for name in fields}) == (status, fields)
    assert body is None or answer.text == body


@pytest_twisted.ensureDeferred
async def test_interpreters(programs, add):
    """Files are handed to the program of their extension; others must be executable."""
    add("a.pl", 'print "\\n$ENV{PATH_INFO}"; print <STDIN>;', 0o644)
    add("b", HELLO, 0o644)
    site = programs(interpreters={".pl": "perl"})
    assert (await site.ask("POST", "/cgi-bin/a.pl/x", body=b"body")).text == "/xbody"
    assert (await site.ask("GET", "/cgi-bin/b")).status == 403


@pytest_twisted.ensureDeferred
async def test_large_bodies(programs, add):
    """Bodies pass both ways, also when the program does not read its own."""
    add("echo", "#!/bin/sh\nprintf '\\n'; cat")
    add("deaf", "#!/bin/sh\nprintf '\\nno'")
    body = os.urandom(3_000_000)
    assert (await programs().ask("POST", "/cgi-bin/echo", body=body)).body == body
    assert (await programs().ask("POST", "/cgi-bin/deaf", body=body)).text == "no"
    chunked = [("Transfer-Encoding", "chunked")]
    assert (await programs().ask("POST", "/cgi-bin/echo", chunked, b"4\r\nbody\r\n0\r\n\r\n")).text == "body"


@pytest_twisted.ensureDeferred
async def test_limits(programs, add):
    """A program that takes too long or says too much is ended; one too many is not begun."""
    add("slow", "#!/bin/sh\nexec sleep 60")
    add("loud", "#!/bin/sh\nprintf '\\n'; exec yes")
    site = programs(timeout=0.3, programs=1, max_output_bytes=100_000)
    exchange, ended = site.open("GET", "/cgi-bin/slow")
    refused = SiteAgent(site.site).open("GET", "/cgi-bin/slow?again").answer
    assert (refused.status, refused["Retry-After"]) == (503, "1")
    await ended
    assert exchange.answer.status == 504
    await until(lambda: not site.resource.limits.running)
    exchange, ended = site.open("GET", "/cgi-bin/loud")
    await until(lambda: exchange.transport.aborted)
    exchange.disconnect()
    await until(lambda: not site.resource.limits.running)


async def until(condition):
    """Wait until something holds."""
    for _ in range(1000):
        if condition():
            return
        await deferLater(reactor, 0.01)
    raise AssertionError("it never holds")


@pytest_twisted.ensureDeferred
async def test_client_leaves(programs, add, folder, monkeypatch):
    """A program is ended when its client leaves, even one that wants to go on."""
    add("a", f"#!/bin/sh\ntrap '' TERM\nprintf '\\n'; echo $$ > {folder}/pid; while :; do echo x; sleep 0.01; done")
    monkeypatch.setattr("mixweb.kit.cgi.KILL_SECONDS", 0.2)
    site = programs()
    exchange, _ = site.open()
    await until(lambda: exchange.received)
    exchange.disconnect()
    await until(lambda: not site.resource.limits.running)
    with pytest.raises(ProcessLookupError):
        os.kill(int((folder / "pid").read_text()), signal.SIG_DFL)


@pytest_twisted.ensureDeferred
async def test_heirs(programs, add, folder, monkeypatch):
    """What a program leaves behind, with its output open, takes no place once the client has left."""
    add("a", f"#!/bin/sh\nprintf '\\n'; echo x; sleep 30 & echo $! > {folder}/pid")
    monkeypatch.setattr("mixweb.kit.cgi.KILL_SECONDS", 0.2)
    site = programs()
    exchange, _ = site.open()
    await until(lambda: (folder / "pid").exists() and (folder / "pid").read_text())
    exchange.disconnect()
    try:
        await until(lambda: not site.resource.limits.running)
    finally:
        os.kill(int((folder / "pid").read_text()), signal.SIGKILL)


def test_find_script(tmp_path):
    """A path leads to a file of the folder, what is behind it is the program's; nothing leads out or to hidden names."""
    (tmp_path / "in" / "sub").mkdir(parents=True)
    for name in ("in/a", "in/sub/b", "in/.hidden", "out"):
        (tmp_path / name).write_text("")
    (tmp_path / "in" / "link").symlink_to(tmp_path / "out")
    (tmp_path / "in" / "inside").symlink_to(tmp_path / "in" / "a")
    root = str(tmp_path / "in")
    found = {
        (b"a",): ("a", 1),
        (b"a", b"b", b""): ("a", 1),
        (b"sub", b"b", b"x"): ("sub/b", 2),
        (b"inside",): ("inside", 1),
    }
    nothing = [(), (b"",), (b"sub",), (b"sub", b""), (b"no",), (b".hidden",), (b"link",), (b"..", b"out"), (b"sub/b",)]
    for segments, (name, count) in found.items():
        assert find_script(root, segments) == (f"{root}/{name}", count)
    for segments in [*nothing, (b"a\0b",)]:
        assert find_script(root, segments) is None


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"path": "nowhere"}, "path 'nowhere' does not exist"),
        ({"timeout": 0}, "timeout must be positive"),
        ({"programs": -1}, "programs must be positive"),
        ({"interpreters": {"x": "no-such-program"}}, "interpreters: there is no program 'no-such-program' for 'x'"),
    ],
)
def test_settings(settings, problem, folder):
    """Settings that make no sense are refused."""
    with pytest.raises(ValueError, match=problem):
        Cgi(**{"path": folder, **settings})


@pytest_twisted.ensureDeferred
async def test_among_files(add, folder):
    """Files of a site are run by extension too."""
    add("a.cgi", SHOW)
    add("b.php5", 'print "\\n$ENV{PATH_INFO}"', 0o644)
    resource = FILES.build(Files(folder, interpreters={"php5": "perl"}), make_context(reactor))
    site = Site(resource, reactor=reactor)
    for target, text in (("/a.cgi/x", "PATH_INFO=/x\n"), ("/b.php5/y", "/y")):
        ended = Deferred().addTimeout(20, reactor)
        site.observers[:] = [ended.callback]
        exchange = SiteAgent(site).open("GET", target)
        await ended
        assert text in exchange.answer.text
