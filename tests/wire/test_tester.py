"""
Echo, cache and redirects of a running server.
"""

import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.features.test_cache import TABLE as CACHE
from tests.features.test_echo import FORM, PAGES, WRONG
from tests.features.test_goto import SAME
from tests.features.test_goto import TABLE as GOTO

COMPAT = ["", "mixnmatchttp"]
FEATURES = ("echo", "cache", "goto")


@pytest.fixture
def client(twistd, request):
    """A connection to a server with the three features, which has to last for the whole test."""
    compat = request.getfixturevalue("compat")
    options = [option for name in FEATURES for option in (f"--{name}", f"--{name}-compat={compat}")]
    server = twistd("--port", "0", *options)
    with server.client() as connection:
        connection.connect()
        socket = connection.sock
        yield connection
        assert connection.sock is socket, "the connection was closed"


def ask(connection, method, target, headers=(), body=None):
    """The answer to a request, and its body."""
    connection.request(method, target, body, dict(headers))
    answer = connection.getresponse()
    return answer, answer.read()


@pytest.mark.parametrize("compat", COMPAT)
def test_echo(client, compat):
    """Every page comes back, and what is none is refused, on one connection."""
    for headers, body, data, kind in PAGES:
        answer, received = ask(client, "POST", "/echo?data=not-this", headers, body)
        assert (answer.status, received, answer.headers["Content-Type"]) == (200, data, kind)
        assert answer.headers["Content-Security-Policy"] == "sandbox"
    for headers, body, detail, loose in WRONG:
        answer, received = ask(client, "POST", "/echo", headers, body)
        assert answer.status == (loose if compat else 400), body[:50]
        assert answer.status == 200 or detail in received.decode().replace('\\"', '"')
    answer, _ = ask(client, "GET", "/echo")
    assert (answer.status, answer.headers["Allow"]) == (405, "OPTIONS, POST")


@pytest.mark.parametrize("compat", ["", "mixnmatchttp"])
def test_long_pages(client, compat):
    """Long pages are read in a thread and come back whole; one that is too long is refused."""
    data = bytes(range(256)) * 3000
    form = b"data=" + b"".join(b"%%%02x" % byte for byte in data)
    assert ask(client, "POST", "/echo", FORM, form)[1] == data
    assert ask(client, "POST", "/echo", FORM, b"data=" + b"x" * 2_097_153)[0].status == 413
    assert ask(client, "POST", "/echo", FORM, b"data=" + b"%" * 100_000)[1] == b"%" * 100_000
    assert ask(client, "POST", "/echo", FORM, b"x" * 100_000)[0].status == 400


@pytest.mark.parametrize("compat", COMPAT)
def test_cache(client, compat):
    """Every route has its status, with every state of the page."""
    for number, (title, before, method, path, status, other) in enumerate(CACHE):
        path = re.sub(r"(?<=/)(a|b|%61)(?=/|\Z)", rf"\g<1>{number}", path)
        for step in before:
            if step.startswith("-"):
                name = f"{step[1:]}{number}" if step[1:] else ""
                assert ask(client, "GET", f"/cache/clear/{name}")[0].status == 204
            else:
                assert ask(client, "POST", f"/cache/{step}{number}", FORM, b"data=x")[0].status == 204
        body = b"data=x" if method == "POST" else None
        answer, _ = ask(client, method, path, FORM, body)
        assert answer.status == (other if compat else status), title


@pytest.mark.parametrize("compat", COMPAT)
def test_goto(client, compat):
    """Every address leads where it should."""
    for target, headers, location, other in GOTO:
        expected = other if compat and other is not SAME else location
        answer, body = ask(client, "GET", target, headers)
        found = answer.headers["Location"]
        if isinstance(expected, str):
            assert (answer.status, found.encode("latin-1").decode()) == (307, expected), target
            assert body == b""
        else:
            assert (answer.status, found) == (expected or 200, None), target
        assert answer.headers["X-A"] is None


@pytest.mark.parametrize("compat", COMPAT)
def test_all_together(client, compat):
    """A page that posts to a relative address by way of the redirect saves what another page reads."""
    name = ask(client, "GET", "/cache/new")[1].decode()
    page = f"http://127.0.0.1:{client.port}/evil.html"
    answer, _ = ask(client, "POST", f"/goto//cache/{name}", {**FORM, "Referer": page}, b"data=secret")
    location = answer.headers["Location"]
    assert (answer.status, location) == (307, f"http://127.0.0.1:{client.port}/cache/{name}")
    assert ask(client, "POST", location.partition(str(client.port))[2], FORM, b"data=secret")[0].status == 204
    assert ask(client, "GET", f"/cache/{name}")[1] == b"secret"


def test_what_is_said_at_start(twistd):
    """An open redirect, and scripts of strangers, are named when the server starts."""
    server = twistd("--port", "0", "--goto", "--echo-unsafe", "--cache-unsafe")
    for line in (r"goto: /goto redirects to any address", r"echo: unsafe = true", r"cache: unsafe = true"):
        server.wait_for(line)


class Farm:
    """Two servers with one file of pages, and several clients of each."""

    CLIENTS = 3
    MAX_BYTES = 20_000

    def __init__(self, twistd, stack):
        self.twistd = twistd
        self.stack = stack
        self.servers = [self.start(), self.start()]
        self.threads = stack.enter_context(ThreadPoolExecutor(2 * self.CLIENTS))

    def start(self):
        options = ("--cache", "--cache-store", "sqlite:pages.db", "--cache-max-bytes", str(self.MAX_BYTES))
        server = self.twistd("--port", "0", *options)
        assert server.url
        return server

    def all(self, work):
        """What a function comes to that each client calls with its number and connection, all at the same time."""

        def run(number):
            with self.servers[number % 2].client() as connection:
                return work(number, connection)

        return list(self.threads.map(run, range(2 * self.CLIENTS)))

    def clear(self):
        with self.servers[0].client() as connection:
            assert ask(connection, "GET", "/cache/clear")[0].status == 204

    def load(self, server, name):
        with server.client() as connection:
            answer, body = ask(connection, "GET", f"/cache/{name}")
            return answer.status, body


@pytest.fixture
def farm(twistd):
    """Two servers with one file."""
    with ExitStack() as stack:
        yield Farm(twistd, stack)


def test_two_processes(farm):
    """Of all who save a name at once one does, whatever is cleared meanwhile; what was saved is there or was cleared."""
    names = [f"n{number}" for number in range(60)]

    def save(number, connection):
        statuses = []
        for name in names:
            body = b"data=%b-%d" % (name.encode(), number)
            statuses.append(ask(connection, "POST", f"/cache/{name}", FORM, body)[0].status)
            if number < 2 and name in ("n20", "n40"):
                assert ask(connection, "GET", f"/cache/clear/n{10 + number}")[0].status == 204
                assert ask(connection, "GET", "/cache/clear")[0].status == 204
        return statuses

    found = farm.all(save)
    kept = 0
    for index, name in enumerate(names):
        statuses = [row[index] for row in found]
        assert Counter(statuses) == {204: 1, 409: 2 * farm.CLIENTS - 1}, name
        answers = {farm.load(server, name) for server in farm.servers}
        assert len(answers) == 1
        status, body = answers.pop()
        assert status in (200, 410)
        if status == 200:
            assert body == b"%b-%d" % (name.encode(), statuses.index(204))
            kept += 1
    assert kept < 60
    with farm.servers[0].client() as connection:
        assert ask(connection, "POST", "/cache/after", FORM, b"data=after")[0].status == 204
    farm.servers[0].stop()
    again = farm.start()
    assert sum(farm.load(again, name)[0] == 200 for name in names) == kept
    assert farm.load(again, "after") == (200, b"after")


def test_two_processes_share_limits(farm):
    """All processes together keep no more than the limit, and what was cleared makes room to the last byte."""

    def save(number, connection):
        return [
            ask(connection, "POST", f"/cache/{number}-{page}", FORM, b"data=" + b"x" * 999)[0].status
            for page in range(10)
        ]

    statuses = Counter(status for row in farm.all(save) for status in row)
    assert statuses == {204: farm.MAX_BYTES // 999, 507: 60 - farm.MAX_BYTES // 999}
    farm.clear()
    with farm.servers[1].client() as connection:
        whole = b"data=" + b"x" * farm.MAX_BYTES
        assert ask(connection, "POST", "/cache/whole", FORM, whole)[0].status == 204
        assert ask(connection, "POST", "/cache/more", FORM, b"data=x")[0].status == 507
