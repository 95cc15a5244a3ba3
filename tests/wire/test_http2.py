"""
HTTP/2 with real clients: curl, a browser, and one that counts what is lost.
"""

import os
import signal
import socket
import ssl
import struct
import threading
import time
from pathlib import Path

import pytest
import trustme

from mixweb._testing_http2 import _frames
from mixweb.engine._h2_frame import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
)
from mixweb.engine.hpack import encode_field

LARGE = 200_000_000

#: Pages of a server that a browser is tried with.
PAGES = """
import os

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from mixweb.engine.body import IBodyReceiver


class Events(Resource):
    isLeaf = True

    def render_GET(self, request):
        request.setHeader(b"Content-Type", b"text/event-stream")
        return self.events()

    async def events(self):
        for number in range(5):
            yield f"data: {number}\\n\\n"
            await deferLater(reactor, 0.1)


@implementer(IBodyReceiver)
class Upload(Resource):
    isLeaf = True

    def render_POST(self, request):
        sizes = []
        request.receive_body(lambda data: sizes.append(len(data)), lambda: self.say(request, sum(sizes)))
        return NOT_DONE_YET

    def say(self, request, size):
        request.write(b"%d" % size)
        request.finish()


class Process(Resource):
    isLeaf = True

    def render_GET(self, request):
        return b"%d" % os.getpid()


class Root(Resource):
    def __init__(self):
        super().__init__()
        self.putChild(b"events", Events())
        self.putChild(b"upload", Upload())
        self.putChild(b"pid", Process())
"""

#: A picture of one point.
DOT = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)

IMAGES = """\
<!DOCTYPE html><title>Images</title>
<script>performance.setResourceTimingBufferSize(1000)</script>
<body>
<script>
  for (let n = 0; n < 300; n++) document.body.append(Object.assign(new Image(), {src: `/dot.png?${n}`}));
</script>
"""

TRANSFERS = """\
<!DOCTYPE html><title>Transfers</title>
<script>
  let got = 0, finished = false, others = [], uploaded = "", events = [], failed = [];
  const fail = error => failed.push(`${error}`);
  function download() {
    fetch("/large.bin").then(async answer => {
      const reader = answer.body.getReader();
      for (;;) {
        const {done, value} = await reader.read();
        if (done) break;
        got += value.length;
        if (got > 20e6 && !others.asked) {
          others.asked = true;
          for (let n = 0; n < 4; n++)
            fetch(`/dot.png?other${n}`).then(answer => answer.blob()).then(() => others.push(got)).catch(fail);
        }
      }
      finished = true;
    }).catch(fail);
  }
  function upload() {
    const body = new Blob(Array(200).fill(new Uint8Array(1e6)));
    fetch("/upload", {method: "POST", body}).then(answer => answer.text()).then(text => uploaded = text).catch(fail);
  }
  function listen() {
    const source = new EventSource("/events");
    source.onmessage = event => events.push(event.data);
    source.onerror = () => source.close();
  }
</script>
"""


def free_port():
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


@pytest.fixture
def site(tmp_path):
    """A folder with files, pages and a certificate."""
    files = tmp_path / "files"
    files.mkdir()
    (files / "dot.png").write_bytes(DOT)
    (files / "images.html").write_text(IMAGES)
    (files / "transfers.html").write_text(TRANSFERS)
    with (files / "large.bin").open("wb") as file:
        file.truncate(LARGE)
    (tmp_path / "pages_of_http2.py").write_text(PAGES)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    authority.issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(tmp_path / "cert.pem")
    return tmp_path


@pytest.fixture
def serve(twistd, site):
    """Starts a server of the site over TLS."""

    def begin(*options):
        server = twistd(
            "--https", free_port(), "--certificate", "cert.pem", "--class", "pages_of_http2.Root", "--files", "files",
            "--max-body-bytes", LARGE, *options, PYTHONPATH=str(site), reactor=("-r", "mixweb"),
        )  # fmt: skip
        server.wait_for("https://")
        return server

    return begin


def test_curl(serve, curl, site):
    """curl gets, asks for heads, uploads with and without being told to continue, and all over HTTP/2."""
    server = serve()
    (site / "up.bin").write_bytes(bytes(5_000_000))
    trusted = ("--http2", "--cacert", "ca.pem")
    for options, path, expected in [
        ([], "/dot.png", None),
        (["--head"], "/large.bin", ""),
        (["--data-binary", "@up.bin"], "/upload", "5000000"),
        (["--data-binary", "@up.bin", "-H", "Expect:"], "/upload", "5000000"),
        (["--data-binary", "@up.bin", "-H", "Transfer-Encoding: chunked"], "/upload", "5000000"),
        (["--data-binary", "@up.bin"], "/pid", None),
    ]:
        line, _, body = curl(*trusted, *options, "--output", "-" if expected is not None else "out", server.url + path)
        if expected is None:
            continue
        if line.split()[1] == "100":
            line, _, body = body.partition("\n")
            _, _, body = body.partition("\n\n")
        assert line.split()[:2] == ["HTTP/2", "200"], (options, line)
        assert body == expected
    assert (site / "out").read_bytes().startswith(b"HTTP/2 405")


def test_refused_upload(serve, curl, site):
    """curl that is still sending reads why its upload was refused."""
    server = serve("--max-body-bytes", "1000")
    (site / "up.bin").write_bytes(bytes(5_000_000))
    options = ("--http2", "--cacert", "ca.pem", "--data-binary", "@up.bin", "--header")
    for header in ("Expect:", "Transfer-Encoding: chunked"):
        line, _, body = curl(*options, header, f"{server.url}/upload")
        assert line.split()[:2] == ["HTTP/2", "413"]
        assert "1000 bytes" in body or "1000 are accepted" in body


def test_clear_text(twistd, curl, site):
    """curl that knows that HTTP/2 is spoken gets it without TLS, if the server was told so."""
    for options, version in ((["--h2c"], "HTTP/2"), ([], "HTTP/1.1")):
        server = twistd("--port", "0", "--files", "files", *options)
        line, _, _ = curl(
            "--http2-prior-knowledge" if options else "--http2", "--output", "-", f"{server.url}/images.html"
        )
        assert line.split()[:2] == [version, "200"]


def test_images(serve, browser):
    """A browser shows a page with three hundred images, all over one connection's streams."""
    server = serve()
    window = browser()
    window.open(f"{server.url}/images.html")
    window.wait("document.images.length == 300 && [...document.images].every(image => image.naturalWidth == 1)")
    images = "performance.getEntriesByType('resource').filter(entry => entry.name.includes('dot.png'))"
    protocols = f"{images}.map(entry => entry.nextHopProtocol)"
    assert window.wait(protocols) == ["h2"] * 300


def test_transfers(serve, browser):
    """A browser downloads 200 MB, gets four others meanwhile, uploads 200 MB, and hears events."""
    server = serve()
    window = browser()
    window.open(f"{server.url}/transfers.html")
    window.run("download()")
    window.wait("finished || failed.length", 60)
    assert window.run("return failed") == []
    assert window.run("return got") == LARGE
    others = window.run("return others")
    assert len(others) == 4
    assert max(others) < LARGE
    window.run("listen(); upload()")
    assert window.wait("uploaded || failed[0]", 60) == str(LARGE)
    assert window.wait("events.length >= 5 && events") == ["0", "1", "2", "3", "4"]


CHAT = """\
<!DOCTYPE html><title>Chat</title>
<script>
  let said = "";
  const socket = new WebSocket(`wss://${location.host}/ws`);
  socket.onopen = () => socket.send("hello");
  socket.onmessage = event => { said = event.data; socket.close(); };
</script>
"""


def test_websocket(serve, browser, site):
    """A browser opens a WebSocket on a stream of the connection that the page came over."""
    (site / "files" / "chat.html").write_text(CHAT)
    server = serve("--websocket", "echo")
    window = browser()
    window.open(f"{server.url}/chat.html")
    assert window.wait("said") == "hello"
    assert window.wait("socket.readyState == 3")
    server.wait_for(r'"CONNECT /ws HTTP/2" 200 ')


class Asker(threading.Thread):
    """
    Asks again and again, eight requests at a time, until told to stop, and connects anew when told to go.

    :ivar answered: how many requests were answered.
    :ivar refused: how many were to be asked again.
    :ivar lost: how many were neither.
    """

    BLOCK = b"".join(
        encode_field(name, value)
        for name, value in (
            (b":method", b"GET"),
            (b":scheme", b"https"),
            (b":path", b"/pid"),
            (b":authority", b"localhost"),
        )
    )

    def __init__(self, port, folder):
        super().__init__(daemon=True)
        self.port = port
        self.context = ssl.create_default_context(cafile=folder / "ca.pem")
        self.context.set_alpn_protocols(["h2"])
        self.stopping = self.closed = False
        self.answered = self.refused = self.lost = self.connections = 0
        self.start()

    def run(self):
        while not self.stopping:
            try:
                connection = self.connect()
            except OSError:
                self.closed = True
                return
            with connection:
                self.connections += 1
                self.converse(connection)

    def connect(self):
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as plain:
            return self.context.wrap_socket(plain, server_hostname="localhost")

    def converse(self, connection):
        connection.sendall(PREFACE + frame(SETTINGS, 0, 0, struct.pack(">HI", INITIAL_WINDOW_SIZE, 2**20)))
        connection.sendall(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 2**30)))
        waiting, next_id, last, rest = set(), 1, None, b""
        while waiting or not (self.stopping or last is not None):
            asked = b""
            while len(waiting) < 8 and last is None and not self.stopping:
                asked += frame(HEADERS, END_HEADERS | END_STREAM, next_id, self.BLOCK)
                waiting.add(next_id)
                next_id += 2
            try:
                connection.sendall(asked)
                data = connection.recv(65536)
            except OSError:
                data = b""
            if not data:
                break
            rest += data
            whole = self.whole(rest)
            for kind, flags, stream, payload in _frames(rest[:whole]):
                if kind == GOAWAY:
                    last = min(struct.unpack(">I", payload[:4])[0], last or 2**31)
                    if last < 2**31 - 1:
                        self.refused += len([asked for asked in waiting if asked > last])
                        waiting = {asked for asked in waiting if asked <= last}
                elif kind == PING and not flags & ACK:
                    connection.sendall(frame(PING, ACK, 0, payload))
                elif kind == RST_STREAM and stream in waiting:
                    waiting.discard(stream)
                    self.refused += 1
                elif kind in (HEADERS, DATA) and flags & END_STREAM and stream in waiting:
                    waiting.discard(stream)
                    self.answered += 1
            rest = rest[whole:]
        self.lost += len(waiting)

    @staticmethod
    def whole(data):
        """Where the last whole frame ends."""
        at = 0
        while len(data) - at >= 9 and at + 9 + int.from_bytes(data[at : at + 3], "big") <= len(data):
            at += 9 + int.from_bytes(data[at : at + 3], "big")
        return at


def children(pid):
    """The processes that a process has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_nothing_is_lost(serve, site):
    """Reloads, a worker that is replaced, and the end of the server lose no request of clients that keep asking."""
    server = serve("--workers", "2", "--without", "accesslog")
    askers = [Asker(server.port, site) for _ in range(4)]

    def wait_for(answers):
        end = time.monotonic() + 30
        goal = sum(asker.answered for asker in askers) + answers
        while sum(asker.answered for asker in askers) < goal:
            assert time.monotonic() < end
            time.sleep(0.01)

    wait_for(500)
    for _ in range(2):
        server.send(signal.SIGHUP)
        wait_for(2000)
    before = sum(asker.connections for asker in askers)
    for child in children(server.process.pid):
        os.kill(child, signal.SIGTERM)
        wait_for(2000)
    assert sum(asker.connections for asker in askers) > before
    wait_for(1000)
    assert not any(asker.closed for asker in askers)
    server.stop()
    for asker in askers:
        asker.join(20)
    assert all(asker.closed for asker in askers)
    assert sum(asker.lost for asker in askers) == 0
    assert sum(asker.answered for asker in askers) > 9000
