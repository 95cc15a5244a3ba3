"""
Sessions and form tokens, as clients see them.
"""

import re
import signal
import threading
import time

import pytest
import trustme

from tests.conftest import needs
from tests.redis_server import RedisServer

#: A visitor counter, and a form that posts to it.
MODULE = '''
from twisted.web.resource import Resource

from mixweb.interfaces import IFormToken, ISession


class Counter(Resource):
    isLeaf = True

    def render_GET(self, request):
        session = ISession(request)
        if request.path == b"/login":
            session.rotate()
        elif request.path == b"/logout":
            session.end()
            return b"bye"
        elif request.path in (b"/hello", b"/favicon.ico"):
            return b"hello"
        session["n"] = session.get("n", 0) + 1
        return str(session["n"]).encode()


class Twisted(Resource):
    isLeaf = True

    def render_GET(self, request):
        session = request.getSession()
        session.n = getattr(session, "n", 0) + 1
        return str(session.n).encode()


class Form(Resource):
    isLeaf = True

    def render_GET(self, request):
        token = IFormToken(request)
        request.setHeader("Content-Type", "text/html; charset=utf-8")
        return f"""<!DOCTYPE html><title>Form</title><form method="post">
            <input name="{token.field}" value="{token.value}" type="hidden"><input name="x" value="1">
            <button>Send</button></form>""".encode()

    def render_POST(self, request):
        return b"changed"
'''

SITE = """\
port = PORT

[session]
OPTIONS

[[class]]
name = "pages.Counter"

[[class]]
name = "pages.Twisted"
at = "/twisted"

[[class]]
name = "pages.Form"
at = "/form"

[csrf]
paths = ["/form"]
"""


@pytest.fixture
def serve(twistd, tmp_path):
    """Starts servers of the pages above, with options for their sessions."""
    (tmp_path / "pages.py").write_text(MODULE)

    def begin(options="", port=0, *more):
        name = f"site{len(list(tmp_path.glob('site*.toml')))}.toml"
        (tmp_path / name).write_text(SITE.replace("PORT", str(port)).replace("OPTIONS", options))
        return twistd("--config", name, *more, PYTHONPATH=str(tmp_path))

    return begin


class Client:
    """A client with a cookie."""

    def __init__(self, server):
        self.server = server
        self.cookie = ""

    def get(self, path="/", server=None):
        """(status, body, fields), in a connection of its own."""
        with (server or self.server).client() as connection:
            connection.request("GET", path, headers={"Cookie": self.cookie} if self.cookie else {})
            answer = connection.getresponse()
            body = answer.read().decode()
        for line in answer.headers.get_all("Set-Cookie", []):
            self.cookie = line.partition(";")[0]
        return answer.status, body, answer.headers


def test_curl(serve, curl, tmp_path):
    """curl keeps the cookie, which no script sees, until the session ends."""
    server = serve()
    jar = tmp_path / "jar"
    line, fields, body = curl("--cookie-jar", jar, f"{server.url}/")
    assert (line, body) == ("HTTP/1.1 200 OK", "1")
    assert re.search(r"^Set-Cookie: SESSION=[\w-]{32}; Path=/; Max-Age=86400; HttpOnly; SameSite=Lax$", fields, re.M)
    line, fields, body = curl("--cookie", jar, f"{server.url}/")
    assert ("Set-Cookie" in fields, body) == (False, "2")
    before = jar.read_text()
    assert curl("--cookie", jar, "--cookie-jar", jar, f"{server.url}/login")[2] == "3"
    assert jar.read_text() != before
    assert curl("--cookie", jar, "--cookie-jar", jar, f"{server.url}/logout")[2] == "bye"
    assert "SESSION" not in jar.read_text()
    assert curl("--cookie", jar, f"{server.url}/")[2] == "1"


@pytest.mark.parametrize("http2", ["own", "twisted"])
def test_http2(serve, curl, tmp_path, unused_port, http2):
    """Over HTTP/2 an answer waits for its session too, and is an error in its place when that cannot be saved."""
    trustme.CA().issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(tmp_path / "tls.pem")
    options = ("--https", str(unused_port), "--certificate", "tls.pem", "--http2", http2)
    server = serve('store = "sqlite:sessions.db"\nmax_bytes = 7', 0, *options)
    jar, url = tmp_path / "jar", f"https://localhost:{unused_port}"
    server.wait_for(f"https://127.0.0.1:{unused_port}")
    for number in range(1, 10):
        line, _, body = curl("--insecure", "--http2", "--cookie", jar, "--cookie-jar", jar, f"{url}/")
        assert (line.strip(), body) == ("HTTP/2 200", str(number))
    line, _, body = curl("--insecure", "--http2", "--cookie", jar, f"{url}/", f"{url}/hello")
    assert line.strip() == "HTTP/2 500"
    assert "The session holds too much." in body
    assert body.endswith("hello")


def test_restart(serve):
    """Sessions in a file survive a restart, and a reload; those in memory a reload."""
    for options, again in (('store = "sqlite:sessions.db"', "3"), ("", "1")):
        server = serve(options)
        client = Client(server)
        client.get()
        server.send(signal.SIGHUP)
        server.wait_for("reloaded")
        assert client.get()[1] == "2"
        server.stop()
        client.server = serve(options)
        assert client.get()[1] == again


def test_workers(serve):
    """Workers share sessions in a file: each request goes to any of them."""
    server = serve('store = "sqlite:sessions.db"', 0, "--workers", "2")
    client = Client(server)
    assert [client.get()[1] for _ in range(20)] == [str(number + 1) for number in range(20)]


def test_check(mixweb, tmp_path):
    """A configuration whose sessions cannot work is refused, with the place; a server that is away is a warning."""
    site = tmp_path / "site.toml"
    site.write_text("workers = 2\n\n[session]\n")
    status, _, err = mixweb("check", "site.toml")
    assert (status, err) == (
        4,
        "site.toml:3: session: memory: is not shared by workers; give the server a store that is: "
        "sqlite:PATH, redis://HOST or unix:PATH\n",
    )
    site.write_text('store = "unix:redis.sock"\n\n[session]\n')
    status, out, err = mixweb("check", "site.toml")
    assert (status, out) == (0, "site.toml: good\n")
    assert re.fullmatch(r"warning: unix:\S*/redis\.sock cannot be used just now: .*No such file.*\n", err)
    server = RedisServer(needs("redis-server"), tmp_path, "--cluster-enabled", "yes")
    try:
        status, _, err = mixweb("check", "site.toml")
    finally:
        server.stop()
    assert status == 4
    assert re.fullmatch(
        r"site\.toml:3: session: unix:\S* cannot be used: it is in cluster mode, which is not supported\n", err
    )


@pytest.fixture
def redis(tmp_path):
    """A Redis that keeps what it was told."""
    server = RedisServer(needs("redis-server"), tmp_path, "--appendonly", "yes", "--appendfsync", "always")
    yield server
    server.stop()


def test_nodes(serve, redis):
    """A session that began on one server goes on on another one, also under its new id, and ends on both."""
    one, other = (serve('store = "unix:redis.sock"') for _ in range(2))
    client = Client(one)
    assert [client.get("/", server)[1] for server in (one, other, one, other)] == ["1", "2", "3", "4"]
    before = client.cookie
    assert client.get("/login", other)[1] == "5"
    assert client.cookie != before
    assert client.get("/", one)[1] == "6"
    assert client.get("/logout", one)[1] == "bye"
    assert client.get("/", other)[1] == "1"


@pytest.mark.parametrize("trouble", ["kill", "stop"])
def test_redis_trouble_under_load(serve, redis, trouble):
    """While Redis is gone or hangs, requests with sessions are 503 in time and others are answered; all is there again soon."""
    server = serve('store = "unix:redis.sock"')
    clients = [Client(server) for _ in range(4)]
    for client in clients:
        assert client.get()[1] == "1"
    ended, seen = threading.Event(), []

    def load(client):
        while not ended.is_set():
            began = time.monotonic()
            status, body, fields = client.get("/hello")
            seen.append((began, time.monotonic() - began, status, body, fields.get("Retry-After")))

    threads = [threading.Thread(target=load, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    try:
        time.sleep(0.3)
        gone = time.monotonic()
        redis.kill() if trouble == "kill" else redis.send(signal.SIGSTOP)
        time.sleep(3)
        assert Client(server).get("/hello")[:2] == (200, "hello")
        redis.start() if trouble == "kill" else redis.send(signal.SIGCONT)
        back = time.monotonic()
        time.sleep(1.5)
    finally:
        ended.set()
        for thread in threads:
            thread.join(20)
    assert max(taken for _, taken, *_ in seen) < 3.5
    during = [row for row in seen if gone + 2.5 < row[0] < back - 0.1]
    assert during
    assert {(status, retry) for _, _, status, _, retry in during} == {(503, "5")}
    assert max(taken for _, taken, *_ in during) < 1
    after = [row for row in seen if row[0] > back + 1]
    assert after
    assert {row[2:4] for row in after} == {(200, "hello")}
    assert [client.get()[1] for client in clients] == ["2"] * 4


def test_browser_cookies(serve, browser, tmp_path, unused_port):
    """The browser shows the flags of the cookies: out of reach of scripts and other sites, over TLS for this host alone."""
    trustme.CA().issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(tmp_path / "tls.pem")
    server = serve("", 0, "--https", str(unused_port), "--certificate", "tls.pem")
    window = browser()
    window.open(f"http://localhost:{server.port}/")
    window.open(f"http://localhost:{server.port}/")
    assert window.run("return document.body.innerText") == "2"
    cookie = window.cookies()["SESSION"]
    flags = {name: cookie[name] for name in ("domain", "path", "httpOnly", "sameSite", "secure")}
    assert flags == {"domain": "localhost", "path": "/", "httpOnly": True, "sameSite": "Lax", "secure": False}
    assert abs(cookie["expiry"] - time.time() - 86400) < 60
    assert window.run("return document.cookie") == ""
    window.open(f"https://localhost:{unused_port}/")
    assert window.run("return document.body.innerText") == "1"
    cookie = window.cookies()["__Host-SESSION"]
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["secure"]) == (True, "Lax", True)
    window.open(f"https://localhost:{unused_port}/twisted")
    window.open(f"https://localhost:{unused_port}/twisted")
    assert window.run("return document.body.innerText") == "2"
    window.open(f"https://localhost:{unused_port}/logout")
    assert "__Host-SESSION" not in window.cookies()


def test_browser_forms(serve, browser):
    """A form of the site is taken; the same form on a page of another site is refused, with a token and without."""
    server = serve()
    other = serve()
    window = browser()
    window.open(f"http://localhost:{server.port}/form")
    token = window.run("return document.forms[0]._xsrf.value")
    cookie = window.cookies()["_xsrf"]
    assert (cookie["sameSite"], cookie["httpOnly"]) == ("Lax", False)
    window.run("document.querySelector('button').click()")
    window.wait("document.body.innerText == 'changed'")
    for value in (token, ""):
        window.open(f"http://127.0.0.1:{other.port}/hello")
        window.run(
            "document.body.innerHTML = `<form method=post action='http://localhost:${arguments[0]}/form'>"
            "<input name=_xsrf value='${arguments[1]}'></form>`; document.forms[0].submit()",
            server.port,
            value,
        )
        said = window.wait("document.body.innerText.includes('403') && document.body.innerText")
        assert "Pages of other sites may not do this" in said
    window.open(f"http://localhost:{server.port}/form")
    script = """
        const header = arguments[0], sent = {method: 'POST', headers: {}};
        const value = document.cookie.match(/_xsrf=([^;]*)/)[1];
        if (header) sent.headers[header] = value;
        fetch('/form', sent).then(answer => { document.title = header + answer.status; });
    """
    window.run(script, "X-XSRFToken")
    assert window.wait("document.title.startsWith('X-') && document.title") == "X-XSRFToken200"
    window.run(script, "")
    assert window.wait("document.title == '403' && document.title") == "403"
