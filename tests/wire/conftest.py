"""
Servers as child processes, and clients on real sockets.
"""

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
ROOT = Path(__file__).parent.parent.parent


class Running:
    """A server in a process of its own, and what it says."""

    def __init__(self, command, folder, environment):
        self.lines = []
        self.process = subprocess.Popen(
            [str(part) for part in command],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self.said = threading.Condition()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            with self.said:
                self.lines.append(line.rstrip("\n"))
                self.said.notify_all()
        with self.said:
            self.lines.append("(end)")
            self.said.notify_all()

    def wait_for(self, pattern, seconds=20):
        """The match of a pattern in what the server says."""
        end = time.monotonic() + seconds
        with self.said:
            while True:
                for line in self.lines:
                    found = re.search(pattern, line)
                    if found:
                        return found
                assert "(end)" not in self.lines, self.output
                assert self.said.wait(end - time.monotonic()), self.output

    @property
    def output(self):
        """All that was said so far."""
        return "\n".join(self.lines)

    @property
    def url(self):
        """The first address it answers at, without the slash at the end."""
        return self.wait_for(r"(https?://\S+?)/(?:\s|$)")[1]

    @property
    def port(self):
        """The port of that address."""
        return int(self.url.rpartition(":")[2])

    def send(self, number):
        """Send a signal."""
        self.process.send_signal(number)

    def stop(self, number=signal.SIGTERM, seconds=20):
        """End it, and return its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"did not end: {self.output}") from None

    def client(self):
        """An HTTP client, to be closed."""
        return closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=20))

    def connect(self):
        """A connection to it."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection


def environment(**changes):
    """The environment of a child, without settings of this one."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MIXWEB_")}
    return {**kept, "NO_COLOR": "1", **changes}


@pytest.fixture
def start(tmp_path):
    """Starts programs that are ended with the test."""
    running = []

    def begin(*command, folder=tmp_path, **variables):
        running.append(Running(command, folder, environment(**variables)))
        return running[-1]

    yield begin
    for server in running:
        server.process.kill()
        server.process.wait(20)
        server.reader.join(20)
        server.process.stdout.close()


@pytest.fixture
def twistd(start):
    """Starts ``twistd -n web-mix`` with options."""

    def begin(*options, reactor=(), **more):
        return start(BIN / "twistd", *reactor, "-n", "--pidfile=", "web-mix", *options, **more)

    return begin


@pytest.fixture
def run(tmp_path):
    """Runs a program to its end: (exit status, standard output, standard error)."""

    def call(*command, folder=tmp_path, **variables):
        done = subprocess.run(
            [str(part) for part in command],
            cwd=folder,
            env=environment(**variables),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.returncode, done.stdout, done.stderr

    return call


@pytest.fixture
def mixweb(run):
    """Runs the ``mixweb`` command to its end."""
    return lambda *arguments, **more: run(BIN / "mixweb", *arguments, **more)


@pytest.fixture
def curl(run, program):
    """Runs curl: (status line, fields as text, body)."""
    path = program("curl")

    def call(*arguments, **more):
        status, out, err = run(path, "--silent", "--show-error", "--include", "--max-time", "30", *arguments, **more)
        assert status == 0, err
        head, _, body = out.replace("\r\n", "\n").partition("\n\n")
        line, _, fields = head.partition("\n")
        return line, fields, body

    return call


@pytest.fixture
def browser(start, program, tmp_path):
    """Opens windows of a real browser."""
    from tests.wire.browser import Browser

    chromium = program("chromium")
    address = ""
    while not address:
        # The free port that it finds for IPv6 may be taken for IPv4: then it gives up.
        driver = start(program("chromedriver"), "--port=0")
        found = driver.wait_for(r"started successfully on port (\d+)|port not available")
        address = found[1] and f"http://127.0.0.1:{found[1]}"
    windows = []

    def begin(*flags):
        windows.append(Browser(address, chromium, tmp_path / f"profile{len(windows)}", *flags))
        return windows[-1]

    yield begin
    for window in windows:
        window.close()


@pytest.fixture
def unused_port():
    """A port of loopback that nothing listens on."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def origin(start, tmp_path):
    """A stock ``twistd web``: its URL."""
    server = start(
        BIN / "twistd", "-n", "--pidfile=", "web", "--listen", "tcp:0:interface=127.0.0.1",
        "--class", "tests.wire.origin.Root", "--logfile", tmp_path / "origin.log", PYTHONPATH=str(ROOT),
    )  # fmt: skip
    return "http://127.0.0.1:" + server.wait_for(r"Site starting on (\d+)")[1]
