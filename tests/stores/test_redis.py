"""
Stores in a Redis: what can go wrong with it, and how it comes back.
"""

import signal
import socket
import time

import pytest
import pytest_twisted
import trustme
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import Clock, deferLater

from mixweb.stores import Conflict, StoreFull, StoreUnavailable, check_url, open_store
from mixweb.stores._gcra import decide
from mixweb.stores.redis import RedisStore
from tests.conftest import needs
from tests.redis_server import RedisServer
from tests.stores.conftest import TOLERANCE, ServerLoop

#: How long calls of these tests may take, in seconds.
DEADLINE = 1.0


class Bench:
    """Servers and stores of their own, and a reactor to run them on."""

    def __init__(self, folder):
        self.folder = folder
        self.servers = []
        self.stores = []
        self.loop = ServerLoop(None)
        self.reactor = self.loop.reactor

    def server(self, *options):
        self.servers.append(RedisServer(needs("redis-server"), self.folder, *options))
        return self.servers[-1]

    def store(self, url, deadline=DEADLINE):
        store = RedisStore(check_url(url), self.reactor, deadline=deadline)
        store.open()
        self.stores.append(store)
        return store

    def wait(self, deferred):
        return super(ServerLoop, self.loop).wait(deferred)

    def pause(self, seconds):
        self.wait(deferLater(self.reactor, seconds))

    def end(self):
        for store in self.stores:
            self.wait(store.close())
        for server in self.servers:
            server.stop()
        assert [call for call in self.reactor.getDelayedCalls() if call.active()] == []

    def timed(self, deferred):
        """What a call comes to, and how long it took."""
        began = time.monotonic()
        outcome = self.wait(deferred.addErrback(lambda reason: reason.value))
        return outcome, time.monotonic() - began

    def seconds_until_answer(self, store):
        """How long it takes until calls are answered again."""
        began = time.monotonic()
        while True:
            outcome, _ = self.timed(store.put(b"again", b""))
            if isinstance(outcome, int):
                return time.monotonic() - began
            assert isinstance(outcome, StoreUnavailable)
            assert time.monotonic() - began < 10
            self.pause(0.01)


@pytest.fixture
def bench(tmp_path):
    """Servers and stores that end with the test."""
    bench = Bench(tmp_path)
    yield bench
    bench.end()


def test_first_call(bench):
    """The first call waits for the connection."""
    server = bench.server()
    store = bench.store(f"unix:{server.path}")
    assert bench.wait(store.get(b"k")) is None


def test_late_server(bench):
    """A store can be opened before there is a server, and used as soon as there is one; meanwhile calls fail in time."""
    path = bench.folder / "redis.sock"
    store = bench.store(f"unix:{path}")
    outcome, seconds = bench.timed(store.get(b"k"))
    assert isinstance(outcome, StoreUnavailable)
    assert seconds < DEADLINE + TOLERANCE
    outcome, seconds = bench.timed(store.get(b"k"))
    assert "No such file" in str(outcome)
    assert seconds < DEADLINE / 2
    assert bench.wait(store.status()).state == "down"
    bench.server()
    assert bench.seconds_until_answer(store) < 1


def test_server_that_hangs(bench):
    """A server that does not answer costs no call more than its deadline, and later calls nothing; then it is back at once."""
    server = bench.server()
    store = bench.store(f"unix:{server.path}")
    bench.wait(store.put(b"k", b"v"))
    server.send(signal.SIGSTOP)
    calls = [store.get(b"k") for _ in range(50)]
    outcome, seconds = bench.timed(DeferredList(calls, consumeErrors=True))
    assert {success for success, _ in outcome} == {False}
    assert seconds < DEADLINE + TOLERANCE
    outcome, seconds = bench.timed(store.get(b"k"))
    assert isinstance(outcome, StoreUnavailable)
    assert "does not answer" in str(outcome)
    assert seconds < DEADLINE / 2
    status = bench.wait(store.status())
    assert (status.state, status.latency < DEADLINE / 2) == ("down", True)
    bench.pause(DEADLINE * 3)
    server.send(signal.SIGCONT)
    assert bench.seconds_until_answer(store) < 1
    assert bench.wait(store.get(b"k")).value == b"v"


def test_server_that_is_killed(bench):
    """Calls fail in time while a server is gone, wait for one that is back soon, and what it kept is there again."""
    server = bench.server("--appendonly", "yes", "--appendfsync", "always")
    store = bench.store(f"unix:{server.path}")
    version = bench.wait(store.put(b"k", b"v"))
    server.kill()
    bench.pause(0.05)
    call = store.get(b"k")
    server.start()
    outcome, seconds = bench.timed(call)
    assert outcome.value == b"v"
    assert seconds < DEADLINE
    server.kill()
    bench.pause(DEADLINE + 0.1)
    outcome, seconds = bench.timed(store.get(b"k"))
    assert isinstance(outcome, StoreUnavailable)
    assert seconds < DEADLINE / 2
    server.start()
    assert bench.seconds_until_answer(store) < 1
    assert bench.wait(store.put(b"k", b"w", None, version)) > version


@pytest.mark.parametrize("trouble", ["kill", "stop"])
def test_trouble_under_load(bench, trouble):
    """While many callers go on, no call takes longer than its deadline, and all are answered again within a second."""
    server = bench.server()
    store = bench.store(f"unix:{server.path}")
    longest, failed, ended = [0.0], [0], []

    async def caller(number):
        key = b"%d" % number
        while not ended:
            began = time.monotonic()
            try:
                await store.put(key, b"v", 60)
                await store.get(key)
                await store.hit(key, 10, 60)
            except StoreUnavailable:
                failed[0] += 1
                await deferLater(bench.reactor, 0.01)
            longest[0] = max(longest[0], time.monotonic() - began)

    callers = DeferredList([Deferred.fromCoroutine(caller(number)) for number in range(40)], fireOnOneErrback=True)
    try:
        bench.pause(0.3)
        assert failed == [0]
        server.kill() if trouble == "kill" else server.send(signal.SIGSTOP)
        bench.pause(DEADLINE * 2.5)
        server.start() if trouble == "kill" else server.send(signal.SIGCONT)
        assert failed[0] > 0
        assert bench.seconds_until_answer(store) < 1
        failed[0] = 0
        bench.pause(0.3)
        assert failed == [0]
    finally:
        ended.append(True)
        server.send(signal.SIGCONT)
        bench.wait(callers)
    assert longest[0] < 3 * DEADLINE + TOLERANCE


def test_callers_that_give_up(bench):
    """A caller that no longer waits does not put the connection in doubt."""
    server = bench.server()
    store = bench.store(f"unix:{server.path}", deadline=2)
    bench.wait(store.put(b"k", b"v"))
    server.send(signal.SIGSTOP)
    calls = [store.get(b"k") for _ in range(20)]
    for call in calls:
        call.addErrback(lambda _: None)
        call.cancel()
    server.send(signal.SIGCONT)
    assert bench.wait(store.get(b"k")).value == b"v"


def test_forgotten_scripts(bench):
    """A server that forgot the scripts is told them again."""
    server = bench.server()
    store = bench.store(f"unix:{server.path}")
    for _ in range(3):
        assert [bench.wait(store.hit(b"k", 9, 60)).allowed for _ in range(8)][:1] == [True]
        server.command("SCRIPT", "FLUSH")
        server.command("FLUSHALL")


def test_subscriptions_come_back(bench):
    """Who subscribed is told again after the server was gone; what is published is bytes, whatever it looks like."""
    server = bench.server()
    store = bench.store(f"unix:{server.path}")
    seen, other = [], []
    bench.wait(store.subscribe(b"c", seen.append))
    end = bench.wait(store.subscribe(b"d", other.append))
    server.kill()
    server.start()
    assert bench.seconds_until_answer(store) < 1
    payloads = [b"42", b"text", b"\xff\r\n$-1", b""]
    began = time.monotonic()
    while seen[-4:] != payloads:
        assert time.monotonic() - began < 5
        for data in payloads:
            bench.wait(store.publish(b"c", data))
        bench.pause(0.02)
    end()
    bench.pause(0.1)
    assert server.command("PUBSUB", "CHANNELS") == [b"mixweb:0:c"]
    server.kill()
    outcome, seconds = bench.timed(store.subscribe(b"e", seen.append))
    assert isinstance(outcome, StoreUnavailable)
    assert seconds < DEADLINE + TOLERANCE


def test_databases_and_prefixes(bench):
    """Databases and prefixes keep what several sites have in one server apart."""
    server = bench.server()
    urls = [f"unix:{server.path}{options}" for options in ("", "?database=1", "?prefix=other:")]
    stores = [bench.store(url) for url in urls]
    seen = [[] for _ in stores]
    for store, heard in zip(stores, seen, strict=True):
        bench.wait(store.subscribe(b"c", heard.append))
    for number, store in enumerate(stores):
        bench.wait(store.put(b"k", b"%d" % number, None, 0))
        bench.wait(store.publish(b"c", b"%d" % number))
    bench.pause(0.1)
    assert [bench.wait(store.get(b"k")).value for store in stores] == [b"0", b"1", b"2"]
    assert [bench.wait(store.scan(b"", 9)) for store in stores] == [[b"k"]] * 3
    assert seen == [[b"0"], [b"1"], [b"2"]]


@pytest.mark.parametrize(
    ("options", "url", "detail"),
    [
        (["--requirepass", "geheim"], "unix:{path}", "NOAUTH"),
        (["--requirepass", "geheim"], "unix://:falsch@{path}", "WRONGPASS"),
        (["--databases", "2"], "unix:{path}?database=2", "DB index is out of range"),
        (["--cluster-enabled", "yes"], "unix:{path}", "it is in cluster mode, which is not supported"),
    ],
)
def test_refused(bench, options, url, detail):
    """A server that can be reached but not used as it is has the status refused, and calls say why."""
    server = bench.server(*options)
    store = bench.store(url.format(path=server.path))
    outcome, seconds = bench.timed(store.get(b"k"))
    assert isinstance(outcome, StoreUnavailable)
    assert seconds < DEADLINE + TOLERANCE
    status = bench.wait(store.status())
    assert status.state == "refused"
    assert detail in status.detail
    assert detail in str(bench.timed(store.get(b"k"))[0])
    assert "falsch" not in str(outcome)


def test_passwords(bench):
    """A password is given, also of a user who may not ask what kind of server it is."""
    user = ("--user", "web", "on", ">p@ss/word", "~*", "&*", "+@all", "-info")
    server = bench.server(*user, "--requirepass", "geheim")
    for who in (":geheim", "web:p%40ss%2Fword"):
        store = bench.store(f"unix://{who}@{server.path}?database=3")
        assert bench.wait(store.put(b"k", b"v")) > 0
        assert bench.wait(store.subscribe(b"k", print))


def test_full(bench):
    """A server without room says that the store is full; nothing is changed."""
    server = bench.server()
    store = bench.store(f"unix:{server.path}")
    version = bench.wait(store.put(b"k", b"v"))
    server.command("CONFIG", "SET", "maxmemory", "1")
    for call in (store.put(b"k", b"w"), store.hit(b"h", 1, 1)):
        with pytest.raises(StoreFull):
            bench.wait(call)
    server.command("CONFIG", "SET", "maxmemory", "0")
    assert bench.wait(store.get(b"k")) == (b"v", version)


def test_versions_outlive_the_data(bench):
    """What begins anew after the server lost everything has higher versions: what somebody remembers is not mistaken for it."""
    server = bench.server()
    store = bench.store(f"unix:{server.path}")
    before = bench.wait(store.put(b"k", b"v"))
    server.command("FLUSHALL")
    with pytest.raises(Conflict) as caught:
        bench.wait(store.put(b"k", b"w", None, before))
    assert caught.value.version == 0
    assert bench.wait(store.put(b"k", b"w", None, 0)) > before


@pytest.mark.parametrize(
    "limit", [(1, 10.0), (3, 60.0), (7, 0.5), (1000, 3600.0), (5, 86400.0)], ids=lambda limit: f"{limit[0]}/{limit[1]}"
)
def test_decisions(bench, limit):
    """A limit in a server decides as those elsewhere do."""
    server = bench.server()
    store = bench.store(f"unix:{server.path}")
    burst, period = limit
    kept = None
    for cost in (0, 1, burst, max(burst // 2, 1), 0, 1, 1):
        now = time.time()
        found = bench.wait(store.hit(b"k", burst, period, cost))
        expected, until = decide(kept, now, burst, period, cost)
        kept = until or kept
        assert found.allowed == expected.allowed
        assert found.remaining == pytest.approx(expected.remaining, abs=max(1, TOLERANCE * burst / period))
        assert found.retry_after == pytest.approx(expected.retry_after, abs=TOLERANCE)


def test_large_scan(bench):
    """A scan finds its keys among many, also where their names are patterns."""
    server = bench.server()
    store = bench.store(f"unix:{server.path}", deadline=5)
    bench.wait(DeferredList([store.put(b"%05d" % number, b"") for number in range(5000)]))
    bench.wait(DeferredList([store.put(b"[a-z]*?\\%d" % number, b"") for number in range(3)]))
    assert bench.wait(store.scan(b"0", 3, b"02999")) == [b"03000", b"03001", b"03002"]
    assert bench.wait(store.scan(b"[a-z]*?\\", 9)) == [b"[a-z]*?\\%d" % number for number in range(3)]


def free_port():
    """A port of loopback that nobody uses."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@pytest_twisted.async_yield_fixture
async def opened():
    """Opens stores on the reactor that runs."""
    from twisted.internet import reactor

    stores = []

    def begin(url):
        stores.append(RedisStore(check_url(url), reactor))
        stores[-1].open()
        return stores[-1]

    yield begin
    for store in stores:
        await store.close()


@pytest_twisted.ensureDeferred
async def test_port(bench, opened):
    """A host and a port lead to a server."""
    port = free_port()
    bench.server("--port", str(port))
    assert await opened(f"redis://127.0.0.1:{port}/1").put(b"k", b"v") > 0


@pytest.fixture
def secure(bench, tmp_path):
    """The port of a server that speaks TLS only and wants a certificate."""
    authority = trustme.CA()
    for name, certificate in (
        ("server", authority.issue_cert("localhost", "127.0.0.1")),
        ("client", authority.issue_cert("client.example")),
    ):
        certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / f"{name}.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    port = free_port()
    files = {"cert-file": "server.pem", "key-file": "server.pem", "ca-cert-file": "ca.pem"}
    options = [part for name, file in files.items() for part in (f"--tls-{name}", str(tmp_path / file))]
    bench.server("--tls-port", str(port), *options)
    return port


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
@pytest_twisted.ensureDeferred
async def test_secure(opened, secure, tmp_path, host):
    """A server is reached over TLS, with a certificate to show."""
    store = opened(f"rediss://{host}:{secure}?ca={tmp_path}/ca.pem&cert={tmp_path}/client.pem")
    assert await store.put(b"k", b"v") > 0


@pytest.mark.parametrize("options", ["", "?ca={folder}/ca.pem", "?ca={folder}/server.pem&cert={folder}/client.pem"])
@pytest_twisted.ensureDeferred
async def test_not_trusted(opened, secure, tmp_path, options):
    """A server whose certificate is not trusted is not used, and one that is shown none refuses."""
    store = opened(f"rediss://localhost:{secure}{options.format(folder=tmp_path)}")
    for message in (".", "certificate"):
        with pytest.raises(StoreUnavailable, match=message):
            await store.put(b"k", b"v")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("ca={folder}/none.pem", "none.pem' cannot be read"),
        ("ca={folder}/empty.pem", "there is no certificate in"),
        ("cert={folder}/empty.pem", "there is no certificate with its key in"),
    ],
)
def test_wrong_files(tmp_path, options, message):
    """Files that are no certificates are refused at once."""
    (tmp_path / "empty.pem").write_text("")
    with pytest.raises(ValueError, match=message):
        open_store(f"rediss://localhost?{options.format(folder=tmp_path)}", Clock())


def test_not_open(bench):
    """A store that nobody has opened answers nothing."""
    store = RedisStore(check_url("redis://localhost"), bench.reactor)
    for call in (store.get(b"k"), store.subscribe(b"c", print)):
        with pytest.raises(StoreUnavailable, match="redis://localhost:6379 is not open"):
            bench.wait(call)
