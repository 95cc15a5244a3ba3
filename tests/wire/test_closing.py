"""
Stopping: who has connected is answered.
"""

import re
import signal
import socket
import threading
import time

import pytest

BLOCK = """
import time
from twisted.web.resource import Resource

class Block(Resource):
    isLeaf = True

    def render_GET(self, request):
        time.sleep(1.5)
        return b"slept"

resource = Block()
"""


def ask(address, path="/a.txt"):
    """A connection on which a request was sent."""
    connection = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
    connection.settimeout(20)
    connection.connect(address)
    connection.sendall(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path.encode())
    return connection


def read(connection):
    """All that comes, up to the end."""
    found = b""
    with connection:
        while piece := connection.recv(65536):
            found += piece
    return found


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_who_waits_is_answered(twistd, tmp_path, kind):
    """Connections that wait to be accepted when the server is told to stop are all answered."""
    (tmp_path / "a.txt").write_text("hello")
    (tmp_path / "block.rpy").write_text(BLOCK)
    path = str(tmp_path / "web.sock")
    server = twistd("--listen", "tcp:0:interface=127.0.0.1" if kind == "tcp" else f"unix:{path}", "--path", tmp_path)
    if kind == "unix":
        server.wait_for("unix:")
    address = path if kind == "unix" else ("127.0.0.1", server.port)
    blocking = ask(address, "/block.rpy")
    time.sleep(0.5)
    waiting = [ask(address) for _ in range(200)]
    server.send(signal.SIGTERM)
    answers = []
    readers = [threading.Thread(target=lambda one=one: answers.append(read(one))) for one in (blocking, *waiting)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(20)
    assert server.stop(0) == -signal.SIGTERM
    assert len(answers) == 201
    assert [answer for answer in answers if not answer.startswith(b"HTTP/1.1 200 OK\r\n")] == []
    assert all(answer.endswith((b"hello", b"slept")) for answer in answers)


def begin_download(server):
    """A connection that has taken the beginning of a large answer, and how much that was."""
    connection = server.connect()
    connection.sendall(b"GET /big.bin HTTP/1.1\r\nHost: a\r\n\r\n")
    received = connection.recv(100_000)
    return connection, len(received.partition(b"\r\n\r\n")[2])


@pytest.mark.parametrize("end", ["client", "drain", "signal"])
def test_interrupted_download_is_logged(twistd, tmp_path, end):
    """A download that is cut off, by its client, at the end of the drain time or by a second signal, is logged as such."""
    size = 500_000_000
    with (tmp_path / "big.bin").open("wb") as big:
        big.truncate(size)
    log = tmp_path / "access.log"
    server = twistd("--port", "0", "--path", tmp_path, "--accesslog", log, "--drain", "1" if end == "drain" else "20")
    connection, taken = begin_download(server)
    with connection:
        if end == "client":
            connection.close()
            for _ in range(200):
                if log.exists() and log.read_text():
                    break
                time.sleep(0.05)
        else:
            server.send(signal.SIGTERM)
            server.wait_for("stopping, 1 requests in flight")
            if end == "signal":
                server.send(signal.SIGTERM)
            assert server.process.wait(15) == -signal.SIGTERM
    found = re.search(r'"GET /big.bin HTTP/1.1" 499 (\d+)', log.read_text())
    assert found, log.read_text()
    assert taken <= int(found[1]) < size
