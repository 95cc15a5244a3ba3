"""
Reloading and stopping: nothing is lost.
"""

import http.client
import os
import signal
import threading
import time

import pytest

from tests.wire.conftest import BIN


class Load(threading.Thread):
    """A client that asks again and again on a connection that stays, and on new ones."""

    def __init__(self, port, keep):
        super().__init__(daemon=True)
        self.port = port
        self.keep = keep
        self.answered = 0
        self.failed = []
        self.ended = False
        self.start()

    def run(self):
        connection = None
        while not self.ended:
            try:
                if connection is not None and not self.keep:
                    connection.close()
                    connection = None
                if connection is None:
                    connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
                connection.request("GET", "/a.txt")
                answer = connection.getresponse()
                body = answer.read()
                assert (answer.status, body) == (200, b"hello"), (answer.status, body)
                self.answered += 1
                if answer.getheader("Connection") == "close":
                    connection.close()
                    connection = None
            except (OSError, AssertionError, http.client.HTTPException) as reason:
                self.failed.append(repr(reason))
                connection.close()
                connection = None
        if connection is not None:
            connection.close()

    def stop(self):
        self.ended = True
        self.join(20)


@pytest.fixture
def site(tmp_path):
    """A folder with a configuration that serves it."""
    (tmp_path / "a.txt").write_text("hello")
    (tmp_path / "site.toml").write_text('port = "0"\n[files]\npath = "."\n[accesslog]\npath = "access.log"\n')
    return tmp_path


def test_reload_under_load(twistd, site):
    """SIGHUP again and again under load: no request fails, on connections that stay and on new ones."""
    server = twistd("--config", site / "site.toml")
    clients = [Load(server.port, keep) for keep in (True, True, False)]
    for _ in range(15):
        time.sleep(0.2)
        server.send(signal.SIGHUP)
    for client in clients:
        client.stop()
    assert [client.failed for client in clients] == [[], [], []]
    assert all(client.answered > 50 for client in clients)
    assert server.output.count("reloaded") >= 10
    assert server.stop() == -signal.SIGTERM
    logged = (site / "access.log").read_text().splitlines()
    assert len(logged) == sum(client.answered for client in clients)


def test_reload_takes_what_is_new(twistd, site, curl):
    """A reload takes the new tables; a wrong one is said with its line and changes nothing."""
    server = twistd("--config", site / "site.toml")
    assert curl(f"{server.url}/hi")[0] == "HTTP/1.1 404 Not Found"
    with (site / "site.toml").open("a") as file:
        file.write('[respond]\nat = "/hi"\nbody = "hi"\n')
    server.send(signal.SIGHUP)
    server.wait_for("reloaded")
    assert curl(f"{server.url}/hi")[2] == "hi"
    (site / "site.toml").write_text("[fils]\n")
    server.send(signal.SIGHUP)
    server.wait_for(r"site\.toml:1: unknown key 'fils'; did you mean 'files'\?")
    assert curl(f"{server.url}/hi")[2] == "hi"


def test_reload_command(start, site, mixweb, curl):
    """mixweb reload sends the signal, once the file is found good."""
    server = start(BIN / "twistd", "-n", "--pidfile=server.pid", "web-mix", "--config", site / "site.toml")
    server.wait_for("http://")
    assert mixweb("reload", "--pidfile", "server.pid", "site.toml")[0] == 0
    server.wait_for("reloaded")
    (site / "site.toml").write_text("prot = 1\n")
    assert mixweb("reload", "--pidfile", "server.pid", "site.toml")[0] == 4
    status, _, err = mixweb("reload", "--pidfile", "none.pid")
    assert (status, err) == (1, "mixweb reload: No such file or directory: none.pid\n")


SLOW = """
from twisted.internet import reactor, task
from twisted.web.resource import Resource

class Slow(Resource):
    isLeaf = True

    async def render_GET(self, request):
        await task.deferLater(reactor, float(request.args[b"s"][0]))
        return b"slow"

resource = Slow()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_drain(twistd, site, number):
    """A signal lets the running answer end, says Connection: close, takes no new connection, and then ends."""
    (site / "slow.rpy").write_text(SLOW)
    server = twistd("--config", site / "site.toml")
    with server.client() as slow, server.client() as idle:
        idle.request("GET", "/a.txt")
        idle.getresponse().read()
        slow.request("GET", "/slow.rpy?s=1.5")
        time.sleep(0.5)
        server.send(number)
        server.wait_for("stopping, 1 requests in flight")
        with server.client() as late, pytest.raises(ConnectionError):
            late.request("GET", "/")
        answer = slow.getresponse()
        assert (answer.status, answer.read(), answer.getheader("Connection")) == (200, b"slow", "close")
    assert server.stop(0) == -number


def test_second_signal_ends_now(twistd, site):
    """A second SIGINT does not wait for anybody."""
    (site / "slow.rpy").write_text(SLOW)
    server = twistd("--config", site / "site.toml")
    with server.client() as slow:
        slow.request("GET", "/slow.rpy?s=15")
        time.sleep(0.5)
        server.send(signal.SIGINT)
        server.wait_for("stopping, 1")
        began = time.monotonic()
        server.stop(signal.SIGINT)
        assert time.monotonic() - began < 5
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            slow.getresponse()


def test_drain_has_an_end(twistd, site):
    """Who does not end within the drain time is cut off."""
    (site / "slow.rpy").write_text(SLOW)
    server = twistd("--config", site / "site.toml", "--drain", "1")
    with server.client() as slow:
        slow.request("GET", "/slow.rpy?s=15")
        time.sleep(0.5)
        assert server.stop() == -signal.SIGTERM
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            slow.getresponse()


def test_log_rotation(twistd, site, curl):
    """After a log file was moved away, SIGHUP begins a new one."""
    server = twistd("--config", site / "site.toml")
    curl(f"{server.url}/a.txt")
    server.send(signal.SIGHUP)
    server.wait_for("reloaded")
    os.rename(site / "access.log", site / "access.log.1")
    server.send(signal.SIGHUP)
    time.sleep(0.5)
    curl(f"{server.url}/a.txt?after")
    server.stop()
    old, new = (site / "access.log.1").read_text(), (site / "access.log").read_text()
    assert (old + new).count("GET /a.txt HTTP") == 1
    assert "GET /a.txt?after" in new


def test_daemon(run, site, curl):
    """twistd without -n goes to the background, writes its pid and ends on SIGTERM."""
    (site / "site.toml").write_text('listen = ["unix:site.sock"]\n[files]\npath = "."\n')
    status, out, err = run(BIN / "twistd", "web-mix", "--config", "site.toml")
    assert status == 0, out + err
    pid = int((site / "twistd.pid").read_text())
    assert curl("--unix-socket", site / "site.sock", "http://localhost/a.txt")[2] == "hello"
    os.kill(pid, signal.SIGTERM)
    for _ in range(100):
        if not (site / "twistd.pid").exists():
            break
        time.sleep(0.1)
    assert not (site / "twistd.pid").exists()
