"""
The inspector in a real browser, with real clients, over TLS and with workers.
"""

import http.client
import json
import os
import re
import ssl
import subprocess
import time
from urllib.parse import quote

import pytest
import trustme

from tests.wire.conftest import BIN, ROOT

SITE = """\
port = "0"
[[files]]
path = "site"
[inspect]
token = "tok"
max_requests = 300
[echo]
[cache]
[goto]
[lab]
[host."shop.localhost".files]
path = "site"
"""

#: The text of all rows of the list.
ROWS = "[...document.querySelectorAll('li.row')].map(row => row.innerText)"


@pytest.fixture
def site(tmp_path):
    """A folder with the tester's tools."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("<p>hello</p>")
    (tmp_path / "site.toml").write_text(SITE)
    return tmp_path


@pytest.fixture
def server(twistd, site):
    """A server with an inspector."""
    running = twistd("--config", "site.toml")
    running.wait_for("Inspect ")
    return running


class Page:
    """The inspector's page in a browser."""

    def __init__(self, window, url):
        self.window = window
        window.open(url)
        window.wait("document.getElementById('live').dataset.state === 'live'")

    def rows(self, count):
        """The texts of the rows, once there are so many."""
        self.window.wait(f"document.querySelectorAll('li.row').length === {count}")
        return self.window.run(f"return {ROWS}")

    def filter(self, text):
        """Write something into the filter."""
        self.window.run(
            "const box = document.getElementById('filter'); box.value = arguments[0]; box.dispatchEvent(new Event('input'))",
            text,
        )

    def open(self, text):
        """Open the first request whose row has a text."""
        self.window.run(
            f"[...document.querySelectorAll('li.row')].find(row => row.innerText.includes({text!r})).click()"
        )
        self.window.wait("document.querySelector('#detail:not([hidden]) .inside')")

    def press(self, label, within="#detail"):
        """Click a button."""
        self.window.wait(
            f"[...document.querySelectorAll('{within} button')].some(b => b.textContent.startsWith({label!r}))"
        )
        self.window.run(
            f"[...document.querySelectorAll('{within} button')].find(b => b.textContent.startsWith({label!r})).click()"
        )

    def text(self, pattern, within="#detail"):
        """What the page says, once it has a pattern in it."""
        expression = f"document.querySelector({within!r}).innerText"
        self.window.wait(f"{expression}.match({pattern!r})")
        return self.window.run(f"return {expression}")


@pytest.fixture
def page(server, browser):
    """The inspector of the server, open."""
    return Page(browser("--window-size=1300,800"), f"{server.url}/~mix/?token=tok")


def ask(server, method="GET", target="/", headers=(), body=None):
    """Send a request on a connection of its own."""
    with server.client() as client:
        client.request(method, target, body, dict(headers))
        return client.getresponse().read()


def test_live(server, page):
    """A request made elsewhere appears within a second, without a reload; the token is gone from the address."""
    assert page.rows(0) == []
    begun = time.monotonic()
    ask(server, "GET", "/?x=1")
    (row,) = page.rows(1)
    assert time.monotonic() - begun < 1 + 0.5
    assert re.search(r"200\s+GET\s+/\?x=1\s+files", row)
    ask(server, "POST", "/echo", {"Content-Type": "application/x-www-form-urlencoded"}, "data=x")
    assert "/echo" in page.rows(2)[0]
    assert page.window.run("return location.href") == f"{server.url}/~mix/"
    page.window.run("location.reload()")
    assert len(page.rows(2)) == 2
    assert page.window.console() == []


def test_filter(server, page):
    """The filter shows what it wants, also of what comes later, and says what makes no sense."""
    for target in ("/", "/nowhere", "/lab/status/503"):
        ask(server, "GET", target)
    page.rows(3)
    page.filter("status:4xx")
    (row,) = page.rows(1)
    assert "/nowhere" in row
    ask(server, "GET", "/also-nowhere")
    ask(server, "GET", "/")
    assert len(page.rows(2)) == 2
    page.filter("statsu:4xx")
    assert "did you mean status:?" in page.text("did you mean", "#problem")
    page.filter("host:nobody")
    assert page.rows(0) == []
    page.filter("")
    page.rows(5)


def test_detail(server, page):
    """A request is opened with the keyboard, and its panes tell what came, what it met and what was answered."""
    sent = "GET /lab/get?a=1 HTTP/1.1\r\nhOsT: shop.localhost\r\nX-B: 1\r\nx-a: 2\r\n\r\n"
    with server.connect() as connection:
        connection.sendall(sent.encode())
        connection.recv(65536)
    page.rows(1)
    page.window.run("document.body.dispatchEvent(new KeyboardEvent('keydown', {key: 'j', bubbles: true}))")
    text = page.text("As received")
    assert "hOsT: shop.localhost\nX-B: 1\nx-a: 2" in text.replace("\n\n", "\n")
    page.window.run("document.body.dispatchEvent(new KeyboardEvent('keydown', {key: '2', bubbles: true}))")
    text = page.text("What it met")
    assert "shop.localhost matches shop.localhost" in text
    assert "declines" in text
    page.press("Response")
    text = page.text("As sent")
    assert re.search(r"HTTP/1\.1 404 Not Found", text)
    assert re.search(r"X-Frame-Options: DENY\s+secureheaders", text)
    page.window.run("document.body.dispatchEvent(new KeyboardEvent('keydown', {key: 'Escape', bubbles: true}))")
    page.window.wait("document.getElementById('detail').hidden")
    assert page.window.console() == []


def test_replay(server, page):
    """A request is changed and sent again to this server, and what became of it is one click away."""
    ask(server, "POST", "/lab/anything", {"Content-Type": "text/plain", "Cookie": "sid=s3cret"}, "old")
    page.rows(1)
    page.open("/lab/anything")
    page.press("Replay")
    page.window.wait("document.querySelector('textarea').value.includes('sid=***')")
    page.window.run(
        "const [head, body] = document.querySelectorAll('textarea');"
        "head.value = head.value.replace('/lab/anything', '/lab/anything/new'); body.value = 'newer';"
        "for (const box of [head, body]) box.dispatchEvent(new Event('input'))"
    )
    page.press("Send to this server")
    page.press("Open request 2")
    told = page.text('"data": "newer"')
    assert "/lab/anything/new" in told
    assert "sid=s3cret" in told
    assert len(page.rows(2)) == 2
    assert page.window.console() == []


EXPORTED = [
    ("GET", "/lab/anything?a=1&b=%20%26", {"X-Quote": 'it\'s "$HOME" `id`', "X-Empty": ""}, None),
    ("POST", "/lab/anything", {"Content-Type": "application/json"}, '{"it\'s": "$HOME\\n"}'),
    ("PUT", "/lab/anything/../anything/x", {"Content-Type": "application/octet-stream"}, bytes(range(256))),
]


@pytest.mark.parametrize(("method", "target", "headers", "body"), EXPORTED)
def test_export(method, target, headers, body, server, page, program, tmp_path):
    """What the page exports as curl and as a program does the same again when it is run."""
    program("curl")
    ask(server, method, target, headers, body)
    page.rows(1)
    page.open("/lab/anything")
    page.press("Export")
    for number, (label, command) in enumerate([("curl", ["bash"]), ("Python", [BIN / "python"])], 2):
        page.press(label)
        script = page.window.wait("document.getElementById('exported').textContent.match(/^(curl|printf|from)/) && "
                                  "document.querySelector('[aria-pressed=true]') && document.getElementById('exported').textContent")  # fmt: skip  # noqa: E501
        if label == "Python":
            page.window.wait("document.getElementById('exported').textContent.startsWith('from http')")
            script = page.window.run("return document.getElementById('exported').textContent")
        (tmp_path / "script").write_text(script)
        done = subprocess.run([*command, tmp_path / "script"], capture_output=True, timeout=60, check=True)
        assert done.stdout
        page.rows(number)
    told = json.loads(ask(server, "GET", "/~mix/api/requests?token=tok"))["requests"]
    details = [json.loads(ask(server, "GET", f"/~mix/api/requests/{row['id']}?token=tok"))["request"] for row in told]
    first, *others = [
        (one["line"], sorted(line for line in one["lines"] if line[0] != "Connection"), one["body"]) for one in details
    ]
    assert others == [first, first]


def test_pause_pin_note(server, page):
    """While it is paused the list stays as it is; requests are pinned, noted and deleted."""
    ask(server, "GET", "/one")
    page.rows(1)
    page.press("Pause", "#tools")
    ask(server, "GET", "/two")
    page.window.wait("document.getElementById('live').textContent === 'paused, 1 new'")
    assert len(page.rows(1)) == 1
    page.press("Pause", "#tools")
    page.rows(2)
    page.open("/one")
    page.press("Pin")
    page.window.wait("document.querySelector('#detail [aria-pressed=true]')")
    page.press("Note")
    page.window.run(
        "const box = document.querySelector('#detail form input'); box.value = '<b>mine</b>'; box.form.requestSubmit()"
    )
    page.window.wait(f"{ROWS}.some(row => row.includes('<b>mine</b>') && row.includes('●'))")
    page.press("Clear", "#tools")
    (row,) = page.rows(1)
    assert "/one" in row
    page.press("Delete")
    page.rows(0)


EVIL = (
    "<img src=x onerror=window.hacked=1><svg/onload=window.hacked=1><script>window.hacked=1</script>'\"`--></textarea>"
)


def test_hostile_requests(server, page):
    """Markup that a client sends is shown as text in every place, and nothing in it runs."""
    header = EVIL.replace("\n", " ")
    kinds = [
        ("GET", f"/{quote(EVIL)}?{quote(EVIL)}={quote(EVIL)}", {"X-Evil": header, "Cookie": f"{header}={header}", "Referer": header}, None),  # noqa: E501
        ("POST", "/lab/anything", {"Content-Type": "text/html", "Host": "shop.localhost"}, EVIL),
        ("POST", "/lab/anything", {"Content-Type": "application/json"}, json.dumps({EVIL: EVIL})),
        ("POST", "/lab/anything", {"Content-Type": "application/x-www-form-urlencoded"}, f"{quote(EVIL)}={quote(EVIL)}"),
        ("POST", "/lab/anything", {"Content-Type": "multipart/form-data; boundary=b"},
         f'--b\r\nContent-Disposition: form-data; name="x"; filename="{EVIL[:30]}"\r\n\r\n{EVIL}\r\n--b--\r\n'),
        ("POST", "/echo", {"Content-Type": "application/x-www-form-urlencoded"}, f"type=text/html&data={quote(EVIL)}"),
        ("POST", "/cache/evil", {"Content-Type": "application/x-www-form-urlencoded"}, f"type=text/html&data={quote(EVIL)}"),
        ("GET", f"/goto/http://x/{quote(EVIL)}", {}, None),
    ]  # fmt: skip
    for method, target, headers, body in kinds:
        ask(server, method, target, headers, body)
    with server.connect() as connection:
        connection.sendall(f"GET /{EVIL} HTTP/1.1\r\n{EVIL}: x\r\n\r\n".encode())
        connection.recv(65536)
    with server.connect() as connection:
        connection.sendall(b"<IMG HTTP/1.1\r\n\r\n")
        connection.recv(65536)
    page.rows(10)
    for number in range(1, 11):
        record = json.loads(ask(server, "GET", f"/~mix/api/requests/{number}?token=tok"))
        page.window.run(f"select('{record['process']}:{number}')")
        page.window.wait(f"detail && detail.id === {number}")
        page.window.run(f"change({{note: {json.dumps(EVIL)}}})")
        for pane in ("Request", "Route", "Response", "Replay", "Export"):
            page.window.run(f"pane = '{pane}'; draft = null; showDetail()")
            for kind in ("Hex", "Shown", "Text"):
                page.window.run(
                    f"[...document.querySelectorAll('#detail button')].find(b => b.textContent === '{kind}')?.click()"
                )
    for view in ("cache", "goto", "echo", "status"):
        page.window.run(f"return setView('{view}')")
    page.window.run("setView('cache')")
    page.press("View", "#cache")
    page.window.wait("document.querySelector('#cache iframe')")
    time.sleep(0.5)
    assert page.window.run("return window.hacked") is None
    assert page.window.run("return document.querySelectorAll('img, svg, main script').length") == 0
    refused = [
        line for line in page.window.console() if "sandbox" not in line and "Blocked script execution" not in line
    ]
    assert not [line for line in refused if "hacked" in line and "violates" not in line]


def test_tools(server, page):
    """The tabs of the tools: a redirect is built and tried, a page is echoed, another one kept and cleared."""
    page.press("Goto", ".top")
    page.window.wait("document.getElementById('goto-url')")
    page.window.run(
        "const fields = document.querySelectorAll('#goto select'); fields[0].value = '//'; fields[1].selectedIndex = 3;"
        "fields.forEach(field => field.dispatchEvent(new Event('input')))"
    )
    url = page.window.run("return document.getElementById('goto-url').textContent")
    assert url.startswith(f"{server.url}/goto/%2F%2F%65%78%61")
    page.window.run(
        "document.querySelectorAll('#goto select')[1].selectedIndex = 0; document.querySelector('#goto select').dispatchEvent(new Event('input'))"  # noqa: E501
    )
    page.press("Ask for it", "#goto")
    assert "Location: //example.com/a/../b?x=1" in page.text("Location:", "#goto")
    page.press("Echo", ".top")
    page.press("Post it", "#echo")
    assert "<h1>Hello</h1>" in page.text("<h1>Hello</h1>\\s*$", "#echo")
    page.press("Cache", ".top")
    page.window.wait("document.querySelector('#cache textarea')")
    page.window.run(
        "const form = document.querySelector('#cache form.stack'); form.querySelector('input').value = 'mine';"
        "form.querySelector('textarea').value = '<p>kept</p>'; form.requestSubmit()"
    )
    assert "mine" in page.text("mine", "#cache")
    assert ask(server, "GET", "/cache/mine") == b"<p>kept</p>"
    page.press("Clear", "#cache td")
    assert "cleared" in page.text("cleared", "#cache")
    page.press("Status", ".top")
    assert "since the start" in page.text("since the start", "#status")
    assert "(hidden)" in page.text("Configuration in force", "#status")
    assert page.window.console() == []


def test_many(server, page):
    """Ten thousand requests leave the last ones in the list, memory under its cap, and the page responsive."""
    with server.client() as client:
        for _ in range(10_000):
            client.request("GET", "/?" + "x" * 200)
            client.getresponse().read()
    page.window.wait("document.querySelectorAll('li.row').length >= 300")
    begun = time.monotonic()
    page.open("/?xxx")
    assert time.monotonic() - begun < 2
    status = json.loads(ask(server, "GET", "/~mix/api/status?token=tok"))
    assert status["total"] == 10_000
    assert status["kept"]["requests"] == 300
    assert status["kept"]["bytes"] < 32 * 1024 * 1024
    assert page.window.run("return document.querySelectorAll('li.row').length") <= 500


def test_phone(server, page):
    """At the width of a phone nothing goes over the edge, and a request takes the place of the list."""
    metrics = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    page.window._call("POST", "/goog/cdp/execute", {"cmd": "Emulation.setDeviceMetricsOverride", "params": metrics})
    ask(server, "GET", "/lab/anything?" + "x" * 300, {"X-Long": "y" * 300})
    page.rows(1)
    page.open("/lab/anything")
    assert page.window.run("return document.documentElement.scrollWidth") <= 390
    assert page.window.run("return getComputedStyle(document.querySelector('.list')).display") == "none"


# Without a browser


def test_token_line(twistd, curl, site):
    """Without a token of one's own the address with a new one is in the log; it opens the page."""
    (site / "site.toml").write_text(SITE.replace('token = "tok"', ""))
    server = twistd("--config", "site.toml")
    url = server.wait_for(r"Inspect (http://\S+/~mix/\?token=\S{20,})")[1]
    line, fields, _ = curl(url)
    assert line == "HTTP/1.1 200 OK"
    assert "mixweb-inspect-" in fields
    assert curl(f"{server.url}/~mix/")[0] == "HTTP/1.1 403 Forbidden"
    assert curl(f"{server.url}/~mix/health")[2] == '{"status": "ok"}\n'


def test_terminal(start, run, site, curl, program):
    """On a terminal the inspector is there unasked, its line with the others, its requests not among those shown."""
    program("script")
    for options, there in (("--port 0", True), ("--port 0 --without inspect", False), ("--listen tcp:0", False)):
        command = f"{BIN / 'mixweb'} site {options}"
        server = start("script", "-qec", command, "/dev/null", folder=site)
        url = server.wait_for(r"(?:Local|Address)\s+(http://127\.0\.0\.1:\d+)/")[1]
        server.wait_for("Requests appear below")
        found = re.search(r"Inspect +(http://127\.0\.0\.1:\d+/~mix/\?token=\S+)", server.output)
        assert bool(found) is there, server.output
        if found:
            assert curl(found[1].rstrip())[0] == "HTTP/1.1 200 OK"
        curl(f"{url}/index.html")
        server.wait_for(r"200  GET +/index.html")
        assert "~mix/?" not in server.output.partition("Requests appear below")[2]
        assert (curl(f"{url}/~mix/health")[0] == "HTTP/1.1 200 OK") is there


def test_tls(twistd, site, program, run):
    """Over TLS the facts of the connection are told, with HTTP/1.1 and with HTTP/2."""
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(site / "site.pem")
    authority.cert_pem.write_to_path(site / "ca.pem")
    server = twistd("--config", "site.toml", "--listen", f"tcp:0:interface=127.0.0.1:tls={site / 'site.pem'}")
    port = server.wait_for(r"https://127\.0\.0\.1:(\d+)/")[1]
    for version in ("--http1.1", "--http2"):
        status, _, err = run(
            program("curl"), "-sS", version, "--cacert", site / "ca.pem", "-H", "X-B: 1", "-H", "x-a: 2", "-d", "body",
            f"https://localhost:{port}/lab/anything?x",
        )  # fmt: skip
        assert status == 0, err
    context = ssl.create_default_context(cafile=site / "ca.pem")
    client = http.client.HTTPSConnection("localhost", int(port), context=context, timeout=20)
    client.request("GET", "/~mix/api/requests?token=tok")
    rows = json.loads(client.getresponse().read())["requests"]
    assert [row["secure"] for row in rows] == [True, True]
    for row, alpn, version in zip(rows, ("http/1.1", "h2"), ("HTTP/1.1", "HTTP/2"), strict=True):
        client.request("GET", f"/~mix/api/requests/{row['id']}?token=tok")
        request = json.loads(client.getresponse().read())["request"]
        assert request["version"] == version
        assert request["tls"] == {
            "version": "TLSv1.3",
            "cipher": request["tls"]["cipher"],
            "sni": "localhost",
            "alpn": alpn,
        }
        assert request["body"]["text"] == "body"
        names = [name.lower() for name, _ in request["lines"]]
        assert names.index("x-b") < names.index("x-a")
    client.request("GET", "/~mix/api/status?token=tok")
    (found,) = json.loads(client.getresponse().read())["certificates"]
    assert found["path"] == str(site / "site.pem")
    assert found["ends"] > time.time()
    client.close()


def test_workers(twistd, site):
    """With workers each keeps what it answered, and any of them tells what another has."""
    (site / "site.toml").write_text('workers = 2\nport = "0"\n[files]\npath = "site"\n[inspect]\ntoken = "tok"\n')
    server = twistd("--config", "site.toml")
    server.wait_for("Inspect ", 60)
    for number in range(40):
        ask(server, "GET", f"/?{number}")

    def told(path):
        return json.loads(ask(server, "GET", f"/~mix/api/{path}{'&' if '?' in path else '?'}token=tok"))

    processes = told("processes")["processes"]
    assert len(processes) == 2
    targets = []
    for process in processes:
        for _ in range(3):
            found = told(f"requests?process={process}")
            assert found["process"] == process
        targets += [row["target"] for row in found["requests"]]
        for row in found["requests"][:2]:
            assert told(f"requests/{row['id']}?process={process}")["request"]["line"] == f"GET {row['target']} HTTP/1.1"
        assert told(f"status?process={process}")["process"] == process
    assert sorted(targets) == sorted(f"/?{number}" for number in range(40))
    assert server.stop() is not None
    assert not [name for name in os.listdir("/tmp") if name.startswith(f"mixweb-inspect-{server.process.pid}-")]


def test_end(twistd, site, server):
    """A page that looks on does not keep the server from ending."""
    with server.connect() as connection:
        connection.sendall(b"GET /~mix/api/events?token=tok HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"text/event-stream" in connection.recv(65536)
        begun = time.monotonic()
        server.stop()
        assert time.monotonic() - begun < 10


def test_serves_the_folder(start, site, curl):
    """--inspect alone does not take away what is served unasked."""
    server = start(BIN / "mixweb", "--inspect", "--port", "0", folder=site / "site")
    assert curl(f"{server.url}/index.html")[2] == "<p>hello</p>"


def test_full_log(twistd, site, curl):
    """The full request log is written to a file: each request as it came."""
    server = twistd(
        "--config", "site.toml", "--accesslog", "full.log", "--accesslog-format", "full", "--accesslog-mask", ""
    )
    curl(f"{server.url}/lab/anything", "-H", "Cookie: a=b", "-d", "hello=there")
    server.stop()
    text = (site / "full.log").read_text()
    assert re.search(r"----- Request Start -----> .*\nPOST /lab/anything HTTP/1\.1\nHost: .*(\n.+)*\nCookie: a=b", text)
    assert "\n\nhello=there\n<----- Request End ----- 200 " in text


def test_wheel_has_the_page():
    """The package has the page, and nothing of it comes from elsewhere."""
    folder = ROOT / "mixweb" / "features" / "inspect"
    for name in ("page.html", "inspect.css", "inspect.js"):
        text = (folder / name).read_text()
        assert not re.search(r"(src|href)=[\"']?(https?:)?//|@import|url\(", text)
