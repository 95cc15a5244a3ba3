"""
The access log: what its lines say, what they never say, and where they go.
"""

import io
import json
import os
import re
import sys
import time
from fcntl import LOCK_EX, flock
from types import SimpleNamespace

import pytest
from twisted.application.service import MultiService
from twisted.internet.address import UNIXAddress
from twisted.internet.task import Clock
from twisted.logger import LogLevel, formatEvent, globalLogPublisher
from twisted.web.http import _escape as twisted_escape
from twisted.web.http import combinedLogFormatter, datetimeToLogString
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from mixweb.engine.site import Site
from mixweb.features import accesslog
from mixweb.features._accesslog_file import MAX_CHARACTERS, BySize, Daily, LogFile
from mixweb.features._accesslog_lines import duration_text, escape, severity, size_text
from mixweb.features.accesslog import AccessLog
from mixweb.interfaces import ISessionTag, IUser
from mixweb.kit.secrets import masking
from mixweb.testing import SiteAgent, make_context

NOON = 1467460800 + 0.5  # 2016-07-02 12:00:00.5 UTC
DAY = 86400


@pytest.fixture(autouse=True)
def utc(monkeypatch):
    """Local time is UTC."""
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def events():
    """What Twisted's log was told while the test ran."""
    seen = []
    globalLogPublisher.addObserver(seen.append)
    yield seen
    globalLogPublisher.removeObserver(seen.append)


class Page(Resource):
    """Answers with five bytes, late, never, slowly or wrongly, as its path says."""

    isLeaf = True

    def render_GET(self, request):
        match request.postpath:
            case [b"never"]:
                return NOT_DONE_YET
            case [b"part"]:
                request.write(b"part")
                return NOT_DONE_YET
            case [b"slow"]:
                request.received -= 1.5
            case [b"wrong"]:
                raise KeyError
            case [b"known"]:
                request.setComponent(IUser, SimpleNamespace(name="zoë"))
                request.setComponent(ISessionTag, SimpleNamespace(tag="VJ8zq5"))
                request.setHeader(b"X-Request-ID", b"r-1")
        return b"hello"

    render_POST = render_GET


class Logged:
    """A site with an access log, and what it made."""

    def __init__(self, settings, *, now=NOON, interactive=False, **options):
        self.clock = Clock()
        self.clock.advance(now)
        self.services = MultiService()
        self.lines = []
        page = Page()
        site = Site(page, reactor=self.clock, max_body_bytes=100)
        context = make_context(
            self.clock,
            observe=site.observers.append,
            add_service=lambda service: service.setServiceParent(self.services),
            interactive=interactive,
        )
        assert accesslog.FEATURE.build(settings, page, context) is page
        self.agent = SiteAgent(site, clock=self.clock, **options)
        self.site = site
        self.services.startService()

    @property
    def writer(self):
        return next(iter(self.services))


def lines_of(tmp_path, *targets, headers=(), method="GET", interactive=False, **settings):
    """The lines that requests leave in a file."""
    path = tmp_path / "access.log"
    logged = Logged(AccessLog(path, **settings), interactive=interactive)
    for target in targets:
        logged.agent.open(method, target, headers)
    logged.services.stopService()
    return path.read_text(encoding="ascii").splitlines()


REQUESTS = [
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /a%20b/?c=d&e HTTP/1.1\r\nHost: localhost\r\nReferer: http://localhost/\r\nUser-Agent: curl/8.14\r\n\r\n",
    b"HEAD / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: one\r\nUser-Agent: two\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"GET /wrong HTTP/1.1\r\nHost: localhost\r\nUser-Agent:\r\nReferer:\r\n\r\n",
    b'GET /"quote"\\ HTTP/1.1\r\nHost: localhost\r\nUser-Agent: it\'s "it" \\ \t \x80\xff\r\nReferer: \xc3\xbc\r\n\r\n',
    b"BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 101\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: " + b"long" * 500 + b"\r\n\r\n",
]


@pytest.mark.parametrize("peer", ["127.0.0.1", "2001:db8::1"])
@pytest.mark.parametrize("sent", REQUESTS)
def test_combined(sent, peer, tmp_path):
    """Combined lines are those of Twisted's own formatter, byte for byte."""
    logged = Logged(AccessLog(tmp_path / "log"), peer=peer)
    stamp = datetimeToLogString(NOON)
    logged.site.observers.append(lambda request: logged.lines.append(combinedLogFormatter(stamp, request)))
    for _ in range(2):
        logged.agent.connect().send(sent)
    logged.services.stopService()
    assert (tmp_path / "log").read_text().splitlines() == logged.lines
    assert len(logged.lines) == 2


def test_escape():
    """Every byte is written as Twisted writes it: as in a bytes literal with double quotes."""
    for value in (bytes(range(256)), *(bytes([code]) for code in range(256)), b"'\"\\'", b"\\'"):
        assert escape(value) == twisted_escape(value)
    assert escape("(no method yet)") == "(no method yet)"


def test_client_over_a_unix_socket(tmp_path):
    """A client without an address is a dash."""
    logged = Logged(AccessLog(tmp_path / "log"))
    exchange = logged.agent.connect()
    exchange.transport.peerAddr = UNIXAddress(None)
    exchange.request("GET", "/")
    logged.services.stopService()
    assert (tmp_path / "log").read_text().startswith('"-" - - [02/Jul/2016:12:00:00 +0000] "GET / HTTP/1.1" 200 5 ')


@pytest.mark.parametrize(("target", "length"), [("/never", "-"), ("/part", "4")])
def test_client_that_leaves(target, length, tmp_path):
    """An answer that was not complete when its connection ended is logged once, as 499."""
    logged = Logged(AccessLog(tmp_path / "log"))
    logged.agent.open("GET", target).disconnect()
    logged.services.stopService()
    assert re.findall(r'" (\d+) (\S+) "-"', (tmp_path / "log").read_text()) == [("499", length)]


def test_json(tmp_path):
    """A JSON line has all fields; what is not known is null."""
    headers = [
        ("Host", "localhost:8080"),
        ("User-Agent", 'a "b" ü'),
        ("Referer", "http://x/?token=1"),
        ("X-Request-ID", "q"),
    ]
    known, other = [
        json.loads(line) for line in lines_of(tmp_path, "/known", "/x?key=1&a=%22", headers=headers, format="json")
    ]
    assert known.pop("duration_ms") >= 0
    assert known == {
        "time": "2016-07-02T12:00:00.500Z",
        "client": "127.0.0.1",
        "host": "localhost:8080",
        "method": "GET",
        "target": "/known",
        "version": "HTTP/1.1",
        "status": 200,
        "bytes": 5,
        "referer": "http://x/?token=***",
        "user_agent": 'a "b" ü',
        "user": "zoë",
        "session": "VJ8zq5",
        "request_id": "r-1",
    }
    assert (other["target"], other["user"], other["session"]) == ("/x?key=***&a=%22", None, None)
    assert other["request_id"] == "q"
    assert list(other) == [
        "time", "client", "host", "method", "target", "version", "status", "bytes", "duration_ms", "referer",
        "user_agent", "user", "session", "request_id",
    ]  # fmt: skip


def test_json_without_headers(tmp_path):
    """What the client does not send is null."""
    logged = Logged(AccessLog(tmp_path / "log", format="json"))
    exchange = logged.agent.connect()
    exchange.transport.peerAddr = UNIXAddress(None)
    exchange.send(b"GET / HTTP/1.0\r\n\r\n")
    logged.services.stopService()
    found = json.loads((tmp_path / "log").read_text())
    assert {name for name, value in found.items() if value is None} == {
        "client", "host", "referer", "user_agent", "user", "session", "request_id",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("target", "secure", "lines"),
    [
        (
            "/known?a=b",
            False,
            [
                r"2016-07-02 12:00:00,\d{3} INFO \[127.0.0.1-VJ8zq5\] GET http://localhost/known\?a=b",
                r"2016-07-02 12:00:00,500 INFO \[127.0.0.1-VJ8zq5\] Response: 200 \(\d+ms\)",
            ],
        ),
        (
            "/slow",
            True,
            [
                r"2016-07-02 11:59:(58,9\d\d|59,000) INFO \[127.0.0.1-\.\.\.\] GET https://localhost/slow",
                r"2016-07-02 12:00:00,500 WARNING \[127.0.0.1-\.\.\.\] Response: 200 \(15\d\dms !!!\)",
            ],
        ),
        (
            "/wrong",
            False,
            [
                r"2016-07-02 12:00:00,\d{3} INFO \[127.0.0.1-\.\.\.\] GET http://localhost/wrong",
                r"2016-07-02 12:00:00,500 ERROR \[127.0.0.1-\.\.\.\] Response: 500 \(\d+ms\)",
            ],
        ),
    ],
)
def test_canister(target, secure, lines, tmp_path):
    """Canister's two lines name the client, its session and the whole URL; a slow answer is a warning."""
    logged = Logged(AccessLog(tmp_path / "log", format="canister"), secure=secure)
    logged.agent.get(target)
    logged.services.stopService()
    found = (tmp_path / "log").read_text().splitlines()
    assert len(found) == 2
    for pattern, line in zip(lines, found, strict=True):
        assert re.fullmatch(pattern, line), line


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("target", "variables", "start"),
    [
        ("/a", {}, "12:00:00  \x1b[32m200\x1b[0m  GET   /a                            5 B  "),
        ("/wrong", {}, "12:00:00  \x1b[31m500\x1b[0m  GET   /wrong                       "),
        ("/a", {"NO_COLOR": "1"}, "12:00:00  200  GET   /a                            5 B  "),
        ("/a", {"NO_COLOR": "1", "FORCE_COLOR": "1"}, "12:00:00  200  GET   /a  "),
    ],
)
def test_terminal(target, variables, start, monkeypatch):
    """A person sees columns, with colours on a terminal that wants them, soon after the answer."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "__stdout__", Screen())
    logged = Logged(AccessLog(), interactive=True)
    logged.agent.get(target)
    logged.clock.advance(0.1)
    shown = sys.__stdout__.getvalue()
    assert shown.startswith(start)
    assert re.search(r"  +\d+ ms  127\.0\.0\.1\n\Z", shown)
    logged.services.stopService()


def test_terminal_that_is_none(monkeypatch):
    """A stream that is not a terminal is coloured with FORCE_COLOR only; one that is closed fails nothing."""
    monkeypatch.setattr(sys, "__stdout__", io.StringIO())
    logged = Logged(AccessLog(), interactive=True)
    logged.agent.get("/")
    logged.writer.flush()
    assert "\x1b" not in sys.__stdout__.getvalue()
    monkeypatch.setenv("FORCE_COLOR", "1")
    coloured = Logged(AccessLog(), interactive=True)
    coloured.agent.get("/")
    coloured.writer.flush()
    assert "\x1b[32m200\x1b[0m" in sys.__stdout__.getvalue()
    sys.__stdout__.close()
    assert coloured.agent.get("/").status == 200
    coloured.services.stopService()
    logged.services.stopService()


def test_interactive_with_a_file(tmp_path):
    """A file gets combined lines though a person watches; terminal lines in a file have no colours."""
    assert lines_of(tmp_path, "/", interactive=True)[0].startswith('"127.0.0.1" - - [02/Jul/2016')
    assert lines_of(tmp_path, "/", format="terminal")[1].startswith("12:00:00  200  GET   /   ")


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (145, "145 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (1234, "1.2 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (5_500_000, "5.5 MB"),
        (2_000_000_000, "2.0 GB"),
        (5_000_000_000_000, "5000.0 GB"),
    ],
)
def test_size_text(count, text):
    """Sizes are in powers of 1000."""
    assert size_text(count) == text


@pytest.mark.parametrize(("seconds", "text"), [(0.0004, "0 ms"), (0.003, "3 ms"), (0.9994, "999 ms"), (1.25, "1.2 s")])
def test_duration_text(seconds, text):
    """Durations are in milliseconds up to a second."""
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        (b"/", b"/"),
        (b"/password=1", b"/password=1"),
        (b"/?a=b&password=hunter2&c=d", b"/?a=b&password=***&c=d"),
        (b"/?PASSWORD=x&access_token=y&apiKey=z&code=1", b"/?PASSWORD=***&access_token=***&apiKey=***&code=***"),
        (b"/?client_secret=a=b&keyword=c&encode=1&token", b"/?client_secret=***&keyword=c&encode=***&token"),
        (b"/?p%61ssword=x&my+token=y&t%6fken=", b"/?p%61ssword=***&my+token=***&t%6fken=***"),
        (b"/?a=b;token=x;y&c=d", b"/?a=b;token=***&c=d"),
        (b"/?password=a;b", b"/?password=***"),
        (b"/?password=a?b", b"/?password=***"),
        (b"/goto/http://x/?next=/y?token=z", b"/goto/http://x/?next=/y?token=***"),
        (b"/goto/http://user:pass@x/", b"/goto/http://user:***@x/"),
        (b"/@user:pass@x", b"/@user:pass@x"),
        (b"/?", b"/?"),
        (b"/?=x&&;=", b"/?=x&&;="),
    ],
)
def test_masks(target, shown):
    """Values of parameters with secret names are not shown, however the name is written."""
    assert masking(accesslog.SECRETS)(target) == shown


@pytest.mark.parametrize(
    ("mask", "shown"), [([], "/?token=1&PIN=2"), (["pin"], "/?token=1&PIN=***"), (["*"], "/?token=***&PIN=***")]
)
def test_mask_setting(mask, shown, tmp_path):
    """Which parameters are secret is a setting."""
    assert json.loads(lines_of(tmp_path, "/?token=1&PIN=2", format="json", mask=mask)[0])["target"] == shown


@pytest.mark.parametrize("line_format", ["combined", "json", "canister", "terminal"])
def test_secrets(line_format, tmp_path, events):
    """No format shows credentials, cookies or masked values."""
    headers = [
        ("Authorization", "Basic c2VjcmV0"), ("Cookie", "sid=secret1"), ("Proxy-Authorization", "secret2"),
        ("Referer", "http://localhost/?password=secret3"),
    ]  # fmt: skip
    lines = lines_of(tmp_path, "/?secret=secret4", "/known", headers=headers, format=line_format)
    assert lines
    assert not [line for line in lines if "secret1" in line or "c2VjcmV0" in line or re.search("secret[234]", line)]
    assert not [event for event in events if "secret" in formatEvent(event)]


@pytest.mark.parametrize("line_format", ["combined", "json", "canister", "terminal"])
def test_injection(line_format, tmp_path):
    """Whatever a client sends, a request is one line (canister: two) of printable ASCII."""
    logged = Logged(AccessLog(tmp_path / "log", format=line_format))
    for values in (b'\t"\\\x9b\xff\xe2\x80\xa8', b"\x1b[2J", b"\x07\x7f\x00"):
        target = b"/" + values.replace(b"\t", b"")
        fields = b"".join(b"%b: x%b\r\n" % (name, values) for name in (b"User-Agent", b"Referer", b"X-Request-ID"))
        logged.agent.connect().send(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % target)
        logged.agent.connect().send(b"GET / HTTP/1.1\r\nHost: a\r\n%b\r\n" % fields)
    logged.services.stopService()
    written = (tmp_path / "log").read_bytes()
    assert written.count(b"200") >= 1
    assert re.fullmatch(rb"([ -~]+\n)+", written)


def test_server_log(events):
    """Without a path each request is one event of Twisted's log, whatever braces its line has."""
    logged = Logged(AccessLog())
    logged.agent.get("/{uri}")
    logged.agent.open("GET", "/never").disconnect()
    seen = [event for event in events if event.get("log_system") == "mixweb.access"]
    assert [formatEvent(event) for event in seen] == [
        '"127.0.0.1" - - [02/Jul/2016:12:00:00 +0000] "GET /{uri} HTTP/1.1" 200 5 "-" "-"',
        '"127.0.0.1" - - [02/Jul/2016:12:00:00 +0000] "GET /never HTTP/1.1" 499 - "-" "-"',
    ]
    assert {event["log_level"] for event in seen} == {LogLevel.info}


def test_server_log_of_two_lines(events):
    """Each of canister's lines is an event of its own."""
    Logged(AccessLog(format="canister")).agent.get("/")
    seen = [formatEvent(event) for event in events if event.get("log_system") == "mixweb.access"]
    assert [re.sub(r".*\] ", "", line).split()[0] for line in seen] == ["GET", "Response:"]


@pytest.mark.parametrize(
    ("status", "seconds", "expected"),
    [
        (200, 0.1, "info"),
        (404, 1, "info"),
        (200, 1.1, "warning"),
        (499, 0.1, "warning"),
        (500, 0, "error"),
        (503, 9, "error"),
    ],
)
def test_severity(status, seconds, expected):
    """What failed is an error, what was slow or not complete a warning."""
    assert severity(status, seconds) == expected


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        ({}, ["/a", "/slow", "/wrong", "/admin/x"]),
        ({"level": "warning"}, ["/slow", "/wrong"]),
        ({"level": "error"}, ["/wrong"]),
        ({"paths": ["/admin/"]}, ["/admin/x"]),
        ({"except_paths": ["/admin/", "/s*"]}, ["/a", "/wrong"]),
        ({"except_paths": ["/a"], "level": "error"}, ["/wrong"]),
    ],
)
def test_which_requests(settings, shown, tmp_path):
    """A level and paths say which requests are logged."""
    lines = lines_of(tmp_path, "/a", "/slow", "/wrong", "/admin/x", format="json", **settings)
    assert [json.loads(line)["target"] for line in lines] == shown


def test_refused_before_a_path_is_known(tmp_path):
    """A request that is refused before it has a path is logged though only some paths are."""
    logged = Logged(AccessLog(tmp_path / "log", paths=["/admin/"]))
    assert logged.agent.get("/", {"Host": "a b"}).status == 400
    logged.services.stopService()
    assert '" 400 ' in (tmp_path / "log").read_text()


def test_disabled():
    """Disabled, nothing is observed."""
    assert Logged(AccessLog(level="disabled")).site.observers == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"format": "xml"}, "format is 'xml'; expected one of auto, combined, json, canister, terminal"),
        ({"level": "loud"}, "level is 'loud'; expected one of info, warning, error, disabled"),
        ({"rotate": "weekly"}, "rotate is 'weekly'; expected one of daily, size, none"),
        ({"log_days": 0}, "log_days must be at least 1"),
        ({"max_bytes": 0}, "max_bytes must be at least 1"),
        ({"keep": -1}, "keep must be at least 1"),
    ],
)
def test_settings(settings, message):
    """A wrong setting is named, with what was expected."""
    with pytest.raises(ValueError, match=re.escape(message)):
        AccessLog(**settings)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("none/access.log", "/none/access.log' cannot be written: there is no folder '"),
        ("full", "/full/log' cannot be written: "),
    ],
)
def test_paths_that_cannot_be(path, message, tmp_path):
    """A path that cannot be written is an error at start that names it."""
    (tmp_path / "full" / "log").mkdir(parents=True)
    with pytest.raises(ValueError, match=re.escape(message)):
        Logged(AccessLog(tmp_path / path))


def test_folder(tmp_path):
    """In a folder the file is called log."""
    logged = Logged(AccessLog(tmp_path))
    logged.agent.get("/")
    logged.services.stopService()
    assert "GET" in (tmp_path / "log").read_text()


def count(path):
    """How many lines a file has; -1 without the file."""
    return len(path.read_text().splitlines()) if path.exists() else -1


def test_batches(tmp_path):
    """Lines are written together a quarter of a second after the first, at once when many, and when the log stops."""
    path = tmp_path / "log"
    logged = Logged(AccessLog(path))
    assert count(path) == 0
    logged.agent.get("/")
    logged.clock.advance(0.2)
    logged.agent.get("/")
    assert count(path) == 0
    logged.clock.advance(0.1)
    assert count(path) == 2
    logged.writer.write("x" * (MAX_CHARACTERS - 1))
    assert count(path) == 2
    logged.writer.write("y")
    assert count(path) == 4
    logged.agent.get("/")
    waiting = len(logged.clock.getDelayedCalls())
    logged.services.stopService()
    assert count(path) == 5
    assert len(logged.clock.getDelayedCalls()) == waiting - 1


def test_requests_after_the_end(tmp_path):
    """A request that ends after the log has stopped is written at once; no file stays open."""
    logged = Logged(AccessLog(tmp_path / "log"))
    logged.services.stopService()
    before = os.listdir("/proc/self/fd")
    logged.agent.get("/")
    assert count(tmp_path / "log") == 1
    assert os.listdir("/proc/self/fd") == before


def test_two_trees(tmp_path):
    """While one tree takes over from another both append to the file."""
    old, new = Logged(AccessLog(tmp_path / "log")), Logged(AccessLog(tmp_path / "log"))
    for logged in (old, new, old):
        logged.agent.get("/")
        logged.clock.advance(1)
    old.services.stopService()
    new.services.stopService()
    assert count(tmp_path / "log") == 3


def test_moved_away(tmp_path):
    """After another program has moved the file away, the next lines begin a new one."""
    path = tmp_path / "log"
    logged = Logged(AccessLog(path, rotate="none"))
    for name in ("first", "second"):
        logged.agent.get("/")
        logged.clock.advance(1)
        path.rename(tmp_path / name)
    logged.agent.get("/")
    logged.clock.advance(1)
    assert [count(tmp_path / name) for name in ("first", "second", "log")] == [1, 1, 1]
    assert path.stat().st_mode & 0o777 == 0o640 & ~os.umask(os.umask(0))
    logged.services.stopService()


def test_reopen(tmp_path):
    """The file can be opened anew at any time."""
    logged = Logged(AccessLog(tmp_path / "log"))
    logged.agent.get("/")
    (tmp_path / "log").rename(tmp_path / "aside")
    logged.writer.reopen()
    assert count(tmp_path / "log") == 1
    assert count(tmp_path / "aside") == 0
    logged.services.stopService()


def touch(path, when, lines=1):
    """Make a file last written at some time."""
    path.write_text("x\n" * lines)
    os.utime(path, (when, when))


def test_daily(tmp_path):
    """The first line of a day begins a new file; files of the last days and other names are kept."""
    for days in (1, 2, 30, 31, 400):
        touch(tmp_path / time.strftime("log.%Y-%m-%d", time.gmtime(NOON - days * DAY)), NOON)
    for name in ("log.2016-1-1", "log.old", "other.2010-01-01", "log.2010-01-01.gz"):
        touch(tmp_path / name, 0)
    before = {item.name for item in tmp_path.iterdir()}
    logged = Logged(AccessLog(tmp_path / "log"))
    logged.agent.get("/")
    logged.clock.advance(60)
    os.utime(tmp_path / "log", (NOON + 60, NOON + 60))
    logged.agent.get("/")
    logged.clock.advance(60)
    assert {item.name for item in tmp_path.iterdir()} == before | {"log"}
    os.utime(tmp_path / "log", (NOON + 120, NOON + 120))
    logged.clock.advance(DAY / 2)
    logged.agent.get("/")
    logged.clock.advance(60)
    gone = {"log.2016-06-02", "log.2016-06-01", "log.2015-05-29"}
    assert {item.name for item in tmp_path.iterdir()} == (before - gone) | {"log", "log.2016-07-02"}
    assert [count(tmp_path / name) for name in ("log", "log.2016-07-02")] == [1, 2]
    logged.services.stopService()


def test_daily_after_a_restart(tmp_path):
    """A file of another day is put aside when lines come; one that exists is never written over."""
    touch(tmp_path / "log", NOON - DAY, 3)
    logged = Logged(AccessLog(tmp_path / "log"))
    logged.agent.get("/")
    logged.services.stopService()
    assert [count(tmp_path / name) for name in ("log", "log.2016-07-01")] == [1, 3]
    touch(tmp_path / "log", NOON - DAY, 2)
    logged.services.startService()
    logged.agent.get("/")
    logged.services.stopService()
    assert [count(tmp_path / name) for name in ("log", "log.2016-07-01")] == [3, 3]


def test_several_processes(tmp_path):
    """Of several that write to one file one rotates it, and none loses lines."""
    path = tmp_path / "log"
    touch(path, NOON - DAY)
    files = [LogFile(str(path), Daily(30), lambda: NOON) for _ in range(3)]
    for file in files:
        file.open()
    for file in files:
        file.write(b"a\n")
        os.utime(path, (NOON, NOON))
    for file in files:
        file.write(b"b\n")
        file.close()
    assert [count(tmp_path / name) for name in ("log", "log.2016-07-01")] == [6, 1]


class Competing(BySize):
    """Another process rotates between the decision and the act."""

    def due(self, found, coming, now):
        due = super().due(found, coming, now)
        if due:
            self.other()
        return due


def test_processes_that_compete(tmp_path):
    """A file that another process has just rotated is not rotated again."""
    path = tmp_path / "log"
    rotation = Competing(5, 3)
    rotation.other = lambda: (path.rename(tmp_path / "log.1"), path.write_text(""))
    file = LogFile(str(path), rotation, lambda: NOON)
    file.write(b"first\n")
    file.write(b"second\n")
    file.close()
    assert {item.name for item in tmp_path.iterdir()} == {"log", "log.1"}
    assert path.read_text() == "second\n"


def test_process_that_has_not_begun_the_next(tmp_path, events):
    """When another process has put the file aside, and no next one is there yet, lines are written nevertheless."""
    path = tmp_path / "log"
    rotation = Competing(5, 3)
    rotation.other = lambda: path.rename(tmp_path / "log.1")
    file = LogFile(str(path), rotation, lambda: NOON)
    file.write(b"first\n")
    file.write(b"second\n")
    file.write(b"third\n")
    file.close()
    assert [(tmp_path / name).read_text() for name in ("log.1", "log")] == ["first\nsecond\n", "third\n"]
    assert warnings_in(events) == []


def test_process_that_is_rotating(tmp_path, events):
    """While another process holds the file to rotate it, lines go on being written and nobody waits."""
    path = tmp_path / "log"
    file = LogFile(str(path), BySize(5, 3), lambda: NOON)
    file.write(b"first\n")
    with path.open() as other:
        flock(other, LOCK_EX)
        file.write(b"second\n")
    assert path.read_text() == "first\nsecond\n"
    file.write(b"third\n")
    file.close()
    assert path.read_text() == "third\n"
    assert warnings_in(events) == []


def test_by_size(tmp_path):
    """A file that would grow too long is put aside; so many are kept."""
    logged = Logged(AccessLog(tmp_path / "log", rotate="size", max_bytes=250, keep=2))
    for number in range(8):
        logged.agent.get(f"/{number}")
        logged.clock.advance(1)
    logged.services.stopService()
    found = {item.name: re.findall("GET /(.)", item.read_text()) for item in tmp_path.iterdir()}
    assert found == {"log": ["6", "7"], "log.1": ["3", "4", "5"], "log.2": ["0", "1", "2"]}


def test_lines_longer_than_a_file(tmp_path):
    """Lines that are longer than a file may be are written to a file of their own."""
    file = LogFile(str(tmp_path / "log"), BySize(5, 1), lambda: NOON)
    for line in (b"a" * 9, b"b" * 9):
        file.write(line)
    file.close()
    assert (tmp_path / "log").read_bytes() == b"b" * 9


def test_links_are_not_rotated(tmp_path):
    """A link, as /dev/stdout is one, is never renamed."""
    touch(tmp_path / "target", NOON - DAY)
    (tmp_path / "log").symlink_to(tmp_path / "target")
    logged = Logged(AccessLog(tmp_path / "log"))
    logged.agent.get("/")
    logged.services.stopService()
    assert {item.name for item in tmp_path.iterdir()} == {"log", "target"}
    assert count(tmp_path / "target") == 2


def warnings_in(events):
    """What the log was warned of."""
    return [formatEvent(event) for event in events if event.get("log_level") == LogLevel.warn]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is full")
def test_full_disk(events):
    """When the disk is full requests are answered as ever, with one warning."""
    logged = Logged(AccessLog("/dev/full"))
    for _ in range(3):
        assert logged.agent.get("/").status == 200
        logged.clock.advance(1)
    logged.services.stopService()
    assert warnings_in(events) == [
        "the access log '/dev/full' cannot be written; lines are lost until it can: No space left on device"
    ]


def test_warned_again_after_success(tmp_path, events):
    """A second warning comes only after the file could be written in between."""
    path = tmp_path / "folder" / "log"
    path.parent.mkdir()
    logged = Logged(AccessLog(path))
    for there in (False, False, True, False, False):
        if there:
            path.parent.mkdir()
        elif path.exists():
            path.unlink()
            path.parent.rmdir()
        logged.agent.get("/")
        logged.clock.advance(1)
    logged.services.stopService()
    assert len(warnings_in(events)) == 2


def test_rotation_that_fails(tmp_path, events):
    """When the file cannot be rotated its lines are kept, with one warning."""
    (tmp_path / "log.1" / "x").mkdir(parents=True)
    logged = Logged(AccessLog(tmp_path / "log", rotate="size", max_bytes=100, keep=1))
    for _ in range(3):
        logged.agent.get("/")
        logged.clock.advance(1)
    logged.services.stopService()
    assert count(tmp_path / "log") == 3
    assert warnings_in(events) == [f"the access log '{tmp_path}/log' cannot be rotated: Is a directory"]


def full_log(tmp_path, sent, **settings):
    """What requests, sent as bytes, leave in a file in the full format."""
    path = tmp_path / "full.log"
    logged = Logged(AccessLog(path, format="full", **settings))
    for data in sent:
        logged.agent.connect().send(data)
    logged.services.stopService()
    return path.read_text()


def test_full(tmp_path):
    """The full format has each request as it came, head and body, between two marks."""
    sent = b"POST /a/../b?c HTTP/1.1\r\nhOsT: a\r\nX-B: 1\r\nx-a: 2\r\nContent-Length: 12\r\n\r\nf\xc3\xbcr\r\n\x1b[2Jx\x00"
    found = re.sub(r"\d+ ms", "0 ms", full_log(tmp_path, [sent]))
    began, *lines = found.splitlines()
    assert re.fullmatch(r"----- Request Start -----> 2016-07-02 12:00:0\d,\d{3} 127\.0\.0\.1", began)
    assert lines == [
        "POST /a/../b?c HTTP/1.1", "hOsT: a", "X-B: 1", "x-a: 2", "Content-Length: 12", "",
        "für", "\\x1b[2Jx\\x00", "<----- Request End ----- 200 5 B 0 ms",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("sent", "settings", "expected"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", {}, ["GET / HTTP/1.1", "Host: a"]),
        (b"nonsense\r\n\r\n", {}, ["(no request could be read)"]),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabcdef",
            {"body_bytes": 4},
            ["POST / HTTP/1.1", "Host: a", "Content-Length: 6", "", "abcd", "(2 more bytes)"],
        ),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 36\r\n\r\n<----- Request End\n----- Request Star",
            {},
            ["POST / HTTP/1.1", "Host: a", "Content-Length: 36", "", "\\<----- Request End", "\\----- Request Sta"],
        ),
        (
            b"GET /?token=x HTTP/1.1\r\nHost: a\r\nCookie: a=x\r\nAuthorization: Basic x\r\n\r\n",
            {},
            ["GET /?token=*** HTTP/1.1", "Host: a", "Cookie: a=***", "Authorization: Basic ***"],
        ),
        (
            b"GET /?token=x HTTP/1.1\r\nHost: a\r\nCookie: a=x\r\n\r\n",
            {"mask": [""]},
            ["GET /?token=x HTTP/1.1", "Host: a", "Cookie: a=x"],
        ),
    ],
)
def test_full_bounds(sent, settings, expected, tmp_path):
    """Long bodies are cut off, marks in them are no marks, secrets are hidden unless nothing is to be."""
    assert full_log(tmp_path, [sent], **settings).splitlines()[1:-1] == expected


def test_full_warns():
    """That bodies are written down is said at the start."""
    warnings = []
    accesslog.FEATURE.build(AccessLog(format="full"), Page(), make_context(Clock(), warn=warnings.append))
    assert warnings == ["accesslog: the full format writes down what clients send, with their bodies"]


def test_terminal_without_background(monkeypatch):
    """What the server asks of itself is not shown to a person who watches, but is in every file."""
    monkeypatch.setattr(sys, "__stdout__", io.StringIO())
    logged = Logged(AccessLog(), interactive=True)
    monkeypatch.setattr(Page, "render_GET", lambda self, request: setattr(request, "background", True) or b"x")
    logged.agent.get("/own")
    logged.services.stopService()
    assert sys.__stdout__.getvalue() == ""
