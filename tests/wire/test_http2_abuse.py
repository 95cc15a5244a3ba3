"""
Clients of HTTP/2 that ask for much and take little: the server keeps its memory and its temper.
"""

import re
import socket
from contextlib import closing
from pathlib import Path

import pytest
import trustme

from tests.wire.http2 import (
    DATA,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    LARGEST_WINDOW,
    PING,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Client,
    frame,
    number,
    request,
)

MIB = 1024

#: What a server may need more in any of these tests, in KiB.
ALLOWED = 4 * MIB


class Served:
    """A server and what it needs."""

    def __init__(self, running, port):
        self.running = running
        self.port = port
        self.warm_up()
        self.before = self.memory()

    def memory(self):
        """Resident memory in KiB."""
        text = Path(f"/proc/{self.running.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", text)[1])

    @property
    def growth(self):
        """KiB by which it has grown."""
        return self.memory() - self.before

    def warm_up(self):
        """Ask for pages until everything is made that is made once."""
        for _ in range(3):
            with closing(Client(self.port)) as client:
                for stream in range(1, 401, 2):
                    client.send(request(stream, b"/1k.txt"))
                    assert client.receive_until(lambda found: found[1] & END_STREAM and found[0] == DATA)
        assert self.answers()

    def answers(self):
        """Whether a new client gets its page."""
        with closing(Client(self.port)) as client:
            client.send(request(1, b"/1k.txt"))
            found = client.receive_until(lambda found: found[0] == DATA and found[1] & END_STREAM)
            return any(kind == DATA and len(payload) == 1024 for kind, _, _, payload in found)


@pytest.fixture
def served(twistd, tmp_path):
    """A server of a page of 1 KiB."""
    made = trustme.CA()
    made.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "1k.txt").write_text("x" * 1024)
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    running = twistd(
        *("--https", str(port), "--certificate", "server.pem", "--http2", "own", "--files", "site"),
        *("--without", "accesslog"),
    )
    running.wait_for("https://")
    return Served(running, port)


def test_unread(served):
    """60,000 requests whose answers are not read cost little memory, and all are answered when the client reads."""
    settings = {INITIAL_WINDOW_SIZE: LARGEST_WINDOW}
    with closing(Client(served.port, settings, buffer=16 * 1024)) as client:
        sent = b"".join(request(stream, b"/1k.txt") for stream in range(1, 120_001, 2))
        taken = 0
        while taken < len(sent) and client.send(sent[taken : taken + 2200], seconds=1):
            taken += 2200
        assert served.growth < ALLOWED
        assert served.answers()


def test_unread_then_read(served):
    """A client that reads late gets all its answers."""
    with closing(Client(served.port, {INITIAL_WINDOW_SIZE: LARGEST_WINDOW}, buffer=16 * 1024)) as client:
        last = 20_001
        assert client.send(*(request(stream, b"/1k.txt") for stream in range(1, last + 1, 2)))
        found = client.receive_until(lambda found: found[2] == last and found[1] & END_STREAM and found[0] == DATA)
        ended = [stream for kind, flags, stream, _ in found if kind == DATA and flags & END_STREAM]
        assert len(ended) == len(set(ended)) == (last + 1) // 2
        assert not [found for found in found if found[0] in (RST_STREAM, GOAWAY)]


def test_stalled_streams(served):
    """1,000 streams whose windows are closed cost little memory."""
    clients = [Client(served.port, {INITIAL_WINDOW_SIZE: 0}) for _ in range(10)]
    for client in clients:
        client.send(*(request(stream, b"/1k.txt") for stream in range(1, 200, 2)))
        heads = set()
        while len(heads) < 100:
            more = client.receive(5)
            assert more
            heads |= {stream for kind, _, stream, _ in more if kind in (HEADERS, RST_STREAM)}
    assert served.growth < ALLOWED
    assert served.answers()
    for client in clients:
        client.close()


def test_unread_pings(served):
    """Answers to pings that nobody reads do not pile up."""
    with closing(Client(served.port, buffer=16 * 1024)) as client:
        pings = frame(PING, 0, 0, bytes(8)) * 1000
        for _ in range(200):
            if not client.send(pings, seconds=1):
                break
        assert served.growth < ALLOWED
        assert served.answers()


FLOODS = {
    "rapid reset": lambda stream: request(stream, b"/1k.txt") + frame(RST_STREAM, 0, stream, number(8)),
    "made you reset": lambda stream: request(stream, b"/", b"\x83", False) + frame(WINDOW_UPDATE, 0, stream, number(0)),
    "ping": lambda stream: frame(PING, 0, 0, bytes(8)),
    "settings": lambda stream: frame(SETTINGS),
    "empty data": lambda stream: request(1, b"/", b"\x83", False) * (stream == 1) + frame(DATA, 0, 1),
    "unknown": lambda stream: frame(0xEE, 0, stream),
}


@pytest.mark.parametrize("name", FLOODS)
def test_floods(served, name):
    """A flood of cheap frames ends the connection with ENHANCE_YOUR_CALM, and costs little memory."""
    with closing(Client(served.port)) as client:
        found = []
        for first in range(1, 80_001, 200):
            if not client.send(*map(FLOODS[name], range(first, first + 200, 2)), seconds=5):
                break
            found += client.receive(0.0005)
        found += client.receive_until(lambda found: found[0] == GOAWAY, 5)
        codes = [int.from_bytes(payload[4:8], "big") for kind, _, _, payload in found if kind == GOAWAY]
        assert codes == [ENHANCE_YOUR_CALM] or (client.ended and not codes)
        assert served.growth < ALLOWED
        assert served.answers()
