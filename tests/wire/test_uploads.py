"""
Bodies of requests on real sockets: taken while they arrive, held back, and refused before they are sent.
"""

import hashlib
import re
import socket
import threading
import time

import pytest

from tests.wire.conftest import BIN

SITE = """
import hashlib
from twisted.application import internet, service
from twisted.internet import reactor
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer
from mixweb import IBodyReceiver, Site, Wrapper

@implementer(IBodyReceiver)
class Digest(Resource):
    "The digest of a body, which is taken slowly when it is asked for."

    isLeaf = True

    def render(self, request):
        found = hashlib.sha256()
        slow = b"slow" in request.args

        def take(data):
            found.update(data)
            if slow:
                request.pause_body()
                reactor.callLater(0.001, request.resume_body)

        request.receive_body(take, lambda: request.complete(found.hexdigest().encode()))
        return NOT_DONE_YET

@implementer(IBodyReceiver)
class Echo(Resource):
    "Sends a body back while it arrives."

    isLeaf = True

    def render(self, request):
        request.registerProducer(Back(request), True)
        def end():
            request.unregisterProducer()
            request.finish()
        request.receive_body(request.write, end)
        return NOT_DONE_YET

class Back:
    def __init__(self, request):
        self.pauseProducing, self.resumeProducing = request.pause_body, request.resume_body
    def stopProducing(self):
        pass

class Gate(Wrapper):
    def handle(self, request):
        if request.getHeader(b"Ticket"):
            self.forward(request)
        else:
            request.error(401, "No ticket.")

class Choose(Wrapper):
    def __init__(self):
        super().__init__(Digest())
        self.pages = {b"digest": Digest(), b"echo": Echo(), b"gate": Gate(Digest())}
    def handle(self, request):
        request.render(self.pages[request.postpath[0]])

application = service.Application("uploads")
site = Site(Choose(), max_body_bytes=10**10)
internet.TCPServer(0, site, interface="127.0.0.1").setServiceParent(application)
"""

BIG = 100_000_000


@pytest.fixture
def server(start, tmp_path):
    """A site with pages that take bodies while they arrive."""
    (tmp_path / "site.tac").write_text(SITE)
    running = start(BIN / "twistd", "--pidfile=", "-ny", "site.tac")
    running.number = int(running.wait_for(r"Site starting on (\d+)")[1])
    running.address = f"http://127.0.0.1:{running.number}"
    return running


@pytest.fixture
def big(tmp_path):
    """A large file and its digest."""
    piece = bytes(range(256)) * 4000
    digest = hashlib.sha256()
    with (tmp_path / "big.bin").open("wb") as file:
        for _ in range(BIG // len(piece)):
            file.write(piece)
            digest.update(piece)
    return tmp_path / "big.bin", digest.hexdigest()


def peak_memory(server):
    """The most memory that the server has used so far, in bytes."""
    with open(f"/proc/{server.process.pid}/status") as file:
        return int(re.search(r"VmHWM:\s+(\d+) kB", file.read())[1]) * 1024


@pytest.mark.parametrize("how", ["length", "chunked"])
@pytest.mark.parametrize("pace", ["", "?slow=1"])
def test_large_upload(server, curl, big, how, pace):
    """A large body is taken while it arrives, as fast as it is wanted, in little memory."""
    path, digest = big
    before = peak_memory(server)
    headers = ("-H", "Transfer-Encoding: chunked") if how == "chunked" else ()
    line, _, body = curl("-X", "POST", "-H", "Expect:", *headers, "-T", path, f"{server.address}/digest{pace}")
    assert (line, body) == ("HTTP/1.1 200 OK", digest)
    assert peak_memory(server) - before < 20_000_000


def test_both_ways(server):
    """A body that is sent back while it arrives waits for a client that takes nothing; both ends get all of it."""
    size = 50_000_000
    before = peak_memory(server)
    with socket.create_connection(("127.0.0.1", server.number), timeout=20) as connection:
        connection.sendall(b"POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % size)
        sent = [0]

        def send():
            piece = bytes(100_000)
            while sent[0] < size:
                connection.sendall(piece)
                sent[0] += len(piece)

        sender = threading.Thread(target=send)
        sender.start()
        stuck = -1
        while sent[0] != stuck:
            stuck = sent[0]
            time.sleep(0.5)
        assert stuck < size
        received = 0
        while piece := connection.recv(1 << 20):
            received += len(piece)
        sender.join(20)
    assert received > size
    assert peak_memory(server) - before < 20_000_000


@pytest.mark.parametrize("expect", ["Expect: 100-continue", "Expect:"])
def test_refused_before_it_is_sent(server, curl, big, expect):
    """A large body that nobody wants is refused; a client that waits for 100 Continue sends nothing of it."""
    path, _ = big
    line, fields, body = curl("-H", expect, "-T", path, "-w", "\nsent %{size_upload}", f"{server.address}/gate")
    assert line == "HTTP/1.1 401 Unauthorized"
    assert "Connection: close" in fields
    sent = int(body.rpartition("sent ")[2])
    assert sent == 0 if expect.endswith("continue") else sent < BIG


def test_continue(server, curl, big):
    """A client that waits for 100 Continue gets it where the body is wanted, behind a wrapper that lets it pass."""
    path, digest = big
    url = f"{server.address}/gate"
    line, _, body = curl("-X", "POST", "-H", "Ticket: 1", "-H", "Expect: 100-continue", "-T", path, url)
    assert line == "HTTP/1.1 100 Continue"
    assert body.endswith(digest)
