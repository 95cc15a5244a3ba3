"""
The proxy in front of real servers: stock ``twistd web``, nginx, and one that speaks TLS or on a UNIX socket.

``MIXWEB_SOAK=1`` sends a gigabyte each way, and joins a thousand WebSockets.
"""

import hashlib
import os
import re
import resource
import select
import signal
import socket
import ssl
import threading
from base64 import b64encode
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

from tests.wire.conftest import BIN
from tests.wire.origin import PIECE

SOAK = bool(os.environ.get("MIXWEB_SOAK"))
BYTES = 1 << 30 if SOAK else 96 << 20
SOCKETS = 1000 if SOAK else 200

#: How much more memory a long body may take, in bytes.
FLAT = 8 << 20

NGINX = """\
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
events {{ worker_connections 256; }}
http {{
  access_log off; gzip on; gzip_vary on; gzip_proxied any; gzip_types text/plain; default_type text/plain;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder}; uwsgi_temp_path {folder};
  scgi_temp_path {folder}; client_max_body_size 1k; etag on;
  server {{
    listen unix:{folder}/nginx.sock; {listen}
    root {folder}/www;
    location /closing/ {{ keepalive_timeout 0; alias {folder}/www/; }}
    location /moved/ {{ return 301 /there/; }}
    location /teapot {{ return 418 "short and stout"; }}
    location /body {{ proxy_pass http://unix:{folder}/nginx.sock:/teapot; }}
  }}
}}
"""


@pytest.fixture
def nginx(start, program, tmp_path):
    """Starts an nginx: the path of its socket."""
    path = program("nginx")

    def begin(listen=""):
        (tmp_path / "www" / "sub").mkdir(parents=True)
        (tmp_path / "www" / "index.html").write_text("index")
        (tmp_path / "www" / "text.txt").write_text("0123456789" * 1000)
        (tmp_path / "nginx.conf").write_text(NGINX.format(folder=tmp_path, listen=listen))
        start(path, "-p", tmp_path, "-c", "nginx.conf")
        wait_for(tmp_path / "nginx.sock")
        return tmp_path / "nginx.sock"

    return begin


def wait_for(path):
    """Return when a UNIX socket answers."""
    for _ in range(500):
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(str(path))
            except OSError:
                threading.Event().wait(0.02)
            else:
                return
    raise AssertionError(f"{path} does not answer")


def memory(server):
    """The resident memory of a server, in bytes."""
    text = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) * 1024


@contextmanager
def flat(server):
    """What is done here takes no memory to speak of."""
    before, most, done = memory(server), [0], threading.Event()

    def watch():
        while not done.wait(0.05):
            most[0] = max(most[0], memory(server))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield
    finally:
        done.set()
        watching.join()
    assert most[0] - before < FLAT


def test_stock_twisted(origin, twistd, curl):
    """Requests reach a stock twistd web and its answers come back, its redirects below the mount's path."""
    server = twistd("--proxy", origin, "--at", "/app", "--port", "0")
    line, _, body = curl(f"{server.url}/app/echo/a%20b?q=1", "-H", "X-A: 1")
    assert line == "HTTP/1.1 200 OK"
    assert body.startswith("GET /echo/a%20b?q=1\n")
    assert "X-A: 1\n" in body
    assert "X-Forwarded-For: 127.0.0.1\n" in body
    assert "Location: /app/echo/here" in curl(f"{server.url}/app/away")[1]
    assert curl(f"{server.url}/app/digest", "-d", "hello")[2].startswith("5 2cf24dba")
    assert "404" in curl(f"{server.url}/app/none")[0]


def test_http2(origin, twistd, curl, tmp_path):
    """Requests of HTTP/2 are passed on as requests of HTTP/1.1, with their bodies."""
    authority = trustme.CA()
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(tmp_path / "site.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = twistd("--proxy", origin, "--https", str(port), "--certificate", tmp_path / "site.pem")
    server.wait_for("https://")
    flags = ["--http2", "--cacert", tmp_path / "ca.pem"]
    line, _, body = curl(f"https://localhost:{port}/echo/x", *flags, "-H", "X-A: 1")
    assert line.startswith("HTTP/2 200")
    assert "GET /echo/x\n" in body
    assert "X-Forwarded-Proto: https\n" in body
    (tmp_path / "body").write_bytes(PIECE * 4)
    found = curl(f"https://localhost:{port}/digest", *flags, "--data-binary", f"@{tmp_path}/body")[2]
    assert found == f"{len(PIECE) * 4} {hashlib.sha256(PIECE * 4).hexdigest()}"


QUESTIONS = [
    ([], "/text.txt"),
    (["-I"], "/text.txt"),
    (["-r", "5-9"], "/text.txt"),
    (["-r", "5-6,8-9"], "/text.txt"),
    (["-r", "99999-"], "/text.txt"),
    (["-H", "Accept-Encoding: gzip", "--output", "/dev/null", "-D", "-"], "/text.txt"),
    (["-H", "If-None-Match: *"], "/text.txt"),
    (["-H", "If-Modified-Since: Fri, 01 Jan 1999 00:00:00 GMT"], "/text.txt"),
    ([], "/closing/text.txt"),
    ([], "/none"),
    ([], "/teapot"),
    (["-d", "x"], "/teapot"),
    (["-d", "x" * 2000], "/body"),
    (["-X", "DELETE"], "/text.txt"),
    ([], "/a%2Fb%00"),
    ([], "/sub"),
]


@pytest.mark.parametrize("cache", [[], ["--httpcache", "--httpcache-default-ttl", "60"]], ids=["", "cached"])
def test_nginx(cache, nginx, twistd, run, program):
    """nginx answers through the proxy what it answers itself, to every question, also when that is stored."""
    path = nginx()
    server = twistd("--proxy", f"unix:{path}", *cache, "--port", "0")
    dropped = (
        "accept-ranges|age|cache-status|date|connection|keep-alive|transfer-encoding|x-\\S+|referrer-policy|location"
    )
    # A cache says these anew in 304, where nginx leaves one of them out.
    dropped += "|server|vary" if cache else ""
    fields = re.compile(rf"(?mi)^(?:{dropped}): .*\n")

    def ask(flags, *where):
        status, out, err = run(program("curl"), "-s", "-i", "--max-time", "20", *flags, *where)
        assert status == 0, err
        boundary = re.search(r"boundary=(\S+)", out)
        out = out.replace("\r\n", "\n").replace(boundary[1] if boundary else "\0", "BOUNDARY")
        return sorted(fields.sub("", out).splitlines()), "Content-Length" in out

    def answers(flags, target):
        direct, known = ask(flags, "--unix-socket", str(path), f"http://localhost{target}")
        through, _ = ask(flags, server.url + target)
        # A chunked answer that has come as a whole has a length.
        return direct, [line for line in through if known or not line.startswith("Content-Length")]

    for flags, target in QUESTIONS:
        if cache and {"5-6,8-9", "99999-"} & {*flags}:
            # A cache may answer with all of it, and has a page of its own for a range that is not there.
            continue
        direct, through = answers(flags, target)
        assert through == direct, target


def test_tls_servers(nginx, twistd, curl, tmp_path):
    """A server of HTTPS must have a certificate for its name from a known authority, unless that is said to be no matter."""
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    issued.private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    nginx(
        f"listen 127.0.0.1:{port} ssl; ssl_certificate {tmp_path}/server.pem; ssl_certificate_key {tmp_path}/server.pem;"
    )
    url, ca = f"https://localhost:{port}", ["--proxy-ca", tmp_path / "ca.pem"]
    expected = {
        (url, *ca): "200",
        (url,): "502",
        (f"https://127.0.0.1:{port}", *ca): "502",
        (f"https://127.0.0.1:{port}", *ca, "--proxy-tls-name", "localhost"): "200",
        (url, "--proxy-insecure"): "200",
    }
    for (to, *options), status in expected.items():
        server = twistd("--proxy", to, *options, "--port", "0")
        line, _, body = curl(f"{server.url}/text.txt")
        assert line.split()[1] == status, (to, options)
        assert status == "200" or "certificate is not accepted" in body
        assert ("insecure" in server.output) is ("--proxy-insecure" in options)


def test_downloads(origin, twistd):
    """A long answer goes through at flat memory, also to a client that takes its time."""
    server = twistd("--proxy", origin, "--port", "0", "--without", "accesslog")
    with server.client() as client:
        client.request("GET", "/long?bytes=1000")
        assert client.getresponse().read() == PIECE[:1000]
        for query in (f"bytes={BYTES}", f"bytes={BYTES // 4}&chunked=1"):
            with flat(server):
                client.request("GET", f"/long?{query}")
                answer, count, digest = client.getresponse(), 0, hashlib.sha256()
                while piece := answer.read(1 << 20):
                    if count < 20 << 20:
                        threading.Event().wait(0.01)
                    count += len(piece)
                    digest.update(piece)
            assert count == int(re.search(r"bytes=(\d+)", query)[1])
            assert digest.digest() == expected(count)


def expected(count):
    """The digest of so many bytes of the origin's."""
    digest = hashlib.sha256()
    for _ in range(count // len(PIECE)):
        digest.update(PIECE)
    return digest.digest()


def pieces(count):
    """So many bytes of the origin's."""
    for _ in range(count // len(PIECE)):
        yield PIECE


@pytest.mark.parametrize("length", [True, False], ids=["length", "chunked"])
def test_uploads(length, origin, twistd):
    """A long body goes through at flat memory."""
    server = twistd("--proxy", origin, "--port", "0", "--without", "accesslog", "--max-body-bytes", str(2 << 30))
    with server.client() as client:
        client.timeout = 300
        client.request("POST", "/digest", b"a" * 100_000)
        client.getresponse().read()
        fields = {"Content-Length": str(BYTES)} if length else {}
        with flat(server):
            client.request("POST", "/digest", pieces(BYTES), fields, encode_chunked=not length)
            found = client.getresponse().read().decode()
    assert found == f"{BYTES} {expected(BYTES).hex()}"


def test_events(origin, twistd):
    """Server-sent events arrive one by one, each as soon as it is said."""
    server = twistd("--proxy", origin, "--at", "/feed", "--port", "0")
    with server.connect() as listener:
        listener.sendall(b"GET /feed/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        read_until(listener, b": begin\n\n")
        for number in range(1, 4):
            with server.client() as client:
                client.request("GET", "/feed/events/next")
                assert client.getresponse().read() == b"1"
            assert b"data: %d\n\n" % number in read_until(listener, b"data: %d\n\n" % number)
    with server.client() as client:
        for _ in range(100):
            client.request("GET", "/feed/events/next")
            if client.getresponse().read() == b"0":
                return
    raise AssertionError("the origin was not told that the listener had left")


def read_until(connection, end):
    """What is received, up to an end."""
    data = b""
    while end not in data:
        piece = connection.recv(65536)
        assert piece, data
        data += piece
    return data


def frame(text, mask=b"\x01\x02\x03\x04"):
    """A text frame as clients send it (RFC 6455, 5.2); the text is short."""
    masked = bytes(octet ^ mask[place % 4] for place, octet in enumerate(text))
    return bytes([0x81, 0x80 | len(text)]) + mask + masked


def shake_hands(server, path):
    """A WebSocket."""
    client = server.connect()
    key = b64encode(os.urandom(16))
    client.sendall(
        b"GET %b HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n\r\n" % (path, key)
    )
    head = read_until(client, b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 "), head
    assert b"sec-websocket-accept" in head.lower()
    return client


def test_many_websockets(origin, twistd):
    """Many WebSockets are relayed at once, each with its own messages; when they leave nothing is left of them."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit[0] < 4 * SOCKETS:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(4 * SOCKETS, limit[1]), limit[1]))
    server = twistd("--proxy", origin, "--port", "0")
    clients = [shake_hands(server, b"/talk") for _ in range(SOCKETS)]
    for turn in range(3):
        for number, client in enumerate(clients):
            client.sendall(frame(b"%d of %d" % (number, turn)))
        for number, client in enumerate(clients):
            said = b"%d of %d" % (number, turn)
            assert read_until(client, said) == bytes([0x81, len(said)]) + said
    assert len(os.listdir(f"/proc/{server.process.pid}/fd")) > 2 * SOCKETS
    for client in clients:
        client.close()
    for _ in range(200):
        if len(os.listdir(f"/proc/{server.process.pid}/fd")) < 100:
            return
        threading.Event().wait(0.05)
    raise AssertionError("connections were left open")


def test_websockets_over_tls(origin, twistd, tmp_path):
    """A WebSocket of a TLS client is relayed to a server without."""
    authority = trustme.CA()
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(tmp_path / "site.pem")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = twistd("--proxy", origin, "--https", str(port), "--certificate", tmp_path / "site.pem")
    server.wait_for("https://")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    connect = server.connect
    server.connect = lambda: context.wrap_socket(connect(), server_hostname="localhost")
    client = shake_hands(server, b"/talk")
    client.sendall(frame(b"hello"))
    assert read_until(client, b"hello") == b"\x81\x05hello"
    client.close()


def test_a_server_that_is_started_again(origin, start, twistd, curl, tmp_path):
    """When the server behind is started again, no request fails that comes when it is there."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        BIN / "twistd",
        "-n",
        "--pidfile=",
        "web",
        "--listen",
        f"tcp:{port}:interface=127.0.0.1",
        "--path",
        tmp_path,
    ]
    (tmp_path / "a.txt").write_text("a")
    server = twistd("--proxy", f"http://127.0.0.1:{port}", "--port", "0")
    assert "502" in curl(f"{server.url}/a.txt")[0]
    for _ in range(2):
        behind = start(*command)
        behind.wait_for("Site starting")
        for _ in range(3):
            assert curl(f"{server.url}/a.txt")[2] == "a"
        behind.stop()


def test_reload(origin, twistd, tmp_path):
    """A reload does not cut off what is under way, and the new configuration answers at once."""
    (tmp_path / "site.toml").write_text(f'listen = ["tcp:0"]\n[proxy]\nto = ["{origin}"]\n')
    server = twistd("--config", tmp_path / "site.toml")
    with server.connect() as listener, server.client() as client:
        listener.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        read_until(listener, b": begin\n\n")
        (tmp_path / "site.toml").write_text(f'listen = ["tcp:0"]\n[proxy]\nto = ["{origin}"]\nat = "/new"\n')
        server.send(signal.SIGHUP)
        server.wait_for("reloaded")
        client.request("GET", "/new/events/next")
        assert client.getresponse().read() == b"1"
        read_until(listener, b"data: 1\n\n")


def test_nothing_is_read_that_nobody_takes(origin, twistd):
    """When a client does not read, neither does the proxy: the origin is held up."""
    server = twistd("--proxy", origin, "--port", "0", "--without", "accesslog")
    with server.client() as warm:
        warm.request("GET", "/long?bytes=1000000")
        warm.getresponse().read()
    with flat(server), server.connect() as client:
        client.sendall(b"GET /long?bytes=%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % BYTES)
        threading.Event().wait(2)
        assert select.select([client], [], [], 5)[0]
