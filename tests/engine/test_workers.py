"""
Workers: their sockets, what they say and are told, and when they are replaced.
"""

import errno
import json
import os
import socket
from types import SimpleNamespace

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError, ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.internet.threads import deferToThread
from twisted.logger import LogLevel, eventAsText, globalLogPublisher
from twisted.python.failure import Failure
from twisted.python.log import msg

from mixweb.engine._closing import accept_waiting, keep_off, let_in
from mixweb.engine._shared_sockets import AdoptedListeners, HeldListeners, adopt, packed, refusal, unpacked
from mixweb.engine._worker_link import MAX_WAITING, Link, LogSender, pack, publish
from mixweb.engine._worker_process import MAX_LINE
from mixweb.engine.listeners import EVERYWHERE, Listen, Opened, https, parse
from mixweb.engine.tls import CertificateService
from mixweb.engine.transports import Server
from mixweb.engine.workers import GRACE, PATIENCE, YOUNG, Order, Workers, delay
from tests.engine.loopback import Peer, Peers

# Descriptions

DESCRIPTIONS = [
    "8080",
    "tcp:80:backlog=5",
    "tcp6:80",
    "tls:certificates",
    "unix:/run/web.sock:mode=600:lockfile=0",
    "systemd:INET:name=web",
    "systemd:domain=INET:index=0:tls=certificates",
    "haproxy:tcp:8080",
]


@pytest.mark.parametrize("description", DESCRIPTIONS)
def test_places_are_handed_on(description):
    """A place to listen that is handed on as JSON is the same at the other end, and workers can share it."""
    listen = parse(description)
    assert unpacked(json.loads(json.dumps(packed(listen)))) == listen
    assert refusal(listen) is None


def test_https_is_handed_on():
    """So is one with a certificate and a key."""
    listen = https(8443, "cert.pem", "key.pem")
    assert unpacked(json.loads(json.dumps(packed(listen)))) == listen


def test_what_cannot_be_shared():
    """An endpoint that only its own process can open is refused with what to write instead."""
    said = "cannot listen on 'haproxy:ssl:8443' with workers: they share no ssl: endpoint; use tcp: or tls:"
    assert refusal(parse("haproxy:ssl:8443")) == said


def test_without_shared_ports(monkeypatch):
    """A system that cannot share TCP ports is said to be one."""
    monkeypatch.delattr(socket, "SO_REUSEPORT")
    assert refusal(parse("tcp:80")) == "cannot listen on 'tcp:80' with workers: this system has no SO_REUSEPORT"
    assert refusal(parse("unix:/run/web.sock")) is None


# Sockets


@pytest_twisted.async_yield_fixture
async def held():
    """Sockets for two workers."""
    made = HeldListeners(reactor, CertificateService(reactor), 2)
    yield made
    await made.stop()


def name_of(opened, number):
    """The address of a worker's socket."""
    with socket.socket(fileno=os.dup(opened.port.descriptor(number))) as found:
        return found.getsockname()


LOOPBACK = Listen("", interface="127.0.0.1")


@pytest_twisted.ensureDeferred
async def test_a_socket_for_each(held):
    """Each worker has a socket of its own, all on one port that was free."""
    await held.listen_on([LOOPBACK])
    opened = held.opened[0]
    assert opened.port.descriptor(0) != opened.port.descriptor(1)
    assert name_of(opened, 0) == name_of(opened, 1)
    assert opened.urls == [f"http://127.0.0.1:{opened.port.getHost().port}/"]


@pytest.mark.parametrize("interface", [EVERYWHERE, "::1", "", "localhost"])
@pytest_twisted.ensureDeferred
async def test_interfaces(held, interface):
    """Every interface that a port can be on can be shared."""
    await held.listen_on([Listen("", interface=interface)])
    port = held.opened[0].port.getHost().port
    for number in range(2):
        assert name_of(held.opened[0], number)[1] == port
    assert held.opened[0].urls[0].endswith(f":{port}/")


@pytest.mark.parametrize("shared", [False, True])
@pytest_twisted.ensureDeferred
async def test_taken_ports(held, shared):
    """A port that another server listens on is not shared with it, even if that one would; nothing stays open."""
    await held.listen_on([LOOPBACK])
    before = held.opened
    opened = len(os.listdir("/proc/self/fd"))
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(shared))
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        wanted = Listen("", port=taken.getsockname()[1], interface="127.0.0.1")
        with pytest.raises(CannotListenError) as caught:
            await held.listen_on([LOOPBACK, wanted])
    assert caught.value.socketError.errno == errno.EADDRINUSE
    assert held.opened == before
    assert len(os.listdir("/proc/self/fd")) == opened


@pytest_twisted.ensureDeferred
async def test_unknown_interface(held):
    """A name that is no interface's is an error as for any port."""
    with pytest.raises(CannotListenError):
        await held.listen_on([Listen("", interface="nowhere..")])


@pytest_twisted.ensureDeferred
async def test_what_stays(held):
    """Sockets stay open as long as they are asked for."""
    await held.listen_on([LOOPBACK])
    descriptor = held.opened[0].port.descriptor(0)
    other = Listen("", interface="127.0.0.1", backlog=3)
    await held.listen_on([other, LOOPBACK])
    assert held.opened[1].port.descriptor(0) == descriptor
    await held.listen_on([other])
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


class Talk:
    """Peers that answer everything with a name."""

    def __init__(self, name):
        self.factory = Peers(lambda: Peer(lambda peer, data: peer.transport.write(name)))

    async def close(self):
        for peer in self.factory.peers:
            peer.transport.abortConnection()
            await peer.lost


def told(family, address, count=1):
    """What the other sides of some connections answer, all open at once."""
    clients = []
    for _ in range(count):
        clients.append(socket.socket(family))
        clients[-1].settimeout(20)
        clients[-1].connect(address)
        clients[-1].sendall(b"who?")
    answers = [client.recv(100) for client in clients]
    for client in clients:
        client.close()
    return answers


@pytest_twisted.ensureDeferred
async def test_adopted_sockets(held):
    """Two workers accept from their sockets what the kernel gives each; the one that stops accepts what waits."""
    await held.listen_on([LOOPBACK])
    opened = held.opened[0]
    talks = [Talk(b"one"), Talk(b"two")]
    ports = [
        adopt(LOOPBACK, os.dup(opened.port.descriptor(number)), talk.factory, reactor, Server)
        for number, talk in enumerate(talks)
    ]
    address = ("127.0.0.1", opened.port.getHost().port)
    answers = await deferToThread(told, socket.AF_INET, address, 64)
    assert set(answers) == {b"one", b"two"}
    assert min(map(answers.count, (b"one", b"two"))) > 8
    await held.stop()
    ports[0].stopReading()
    ports[1].stopReading()
    waiting = [socket.create_connection(address) for _ in range(16)]
    for port in ports:
        await port.stopListening()
    for client in waiting:
        client.sendall(b"who?")
    assert {await deferToThread(client.recv, 100) for client in waiting} <= {b"one", b"two"}
    for client in waiting:
        client.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)
    for talk in talks:
        await talk.close()


@pytest_twisted.ensureDeferred
async def test_left_queue():
    """What waits when a worker leaves its port is for the one that accepts from the socket next."""
    held = HeldListeners(reactor, CertificateService(reactor), 1)
    await held.listen_on([LOOPBACK])
    port = held.opened[0].port
    nobody, talk = Talk(b"nobody"), Talk(b"next")
    for one in (nobody, talk):
        listeners = AdoptedListeners(reactor, one.factory, CertificateService(reactor))
        listeners.give([LOOPBACK], [os.dup(port.descriptor(0))])
        await listeners.listen_on([LOOPBACK])
        if one is nobody:
            listeners.opened[0].port.stopReading()
            waiting = [socket.create_connection(("127.0.0.1", port.getHost().port)) for _ in range(8)]
            listeners.leave()
            await listeners.stop()
    for client in waiting:
        client.sendall(b"who?")
        assert await deferToThread(client.recv, 100) == b"next"
        client.close()
    assert nobody.factory.peers == []
    await held.stop()
    await listeners.stop()
    await talk.close()


@pytest_twisted.ensureDeferred
async def test_adopted_again(held):
    """A socket whose last port was closed, as in a reload that was taken back, can be accepted from again."""
    await held.listen_on([LOOPBACK])
    opened = held.opened[0].port
    talk = Talk(b"again")
    for _ in range(2):
        ports = [
            adopt(LOOPBACK, os.dup(opened.descriptor(number)), talk.factory, reactor, Server) for number in range(2)
        ]
        address = ("127.0.0.1", opened.getHost().port)
        assert await deferToThread(told, socket.AF_INET, address, 4) == [b"again"] * 4
        for port in ports:
            await port.stopListening()
    await talk.close()


@pytest_twisted.ensureDeferred
async def test_unix_sockets(held, tmp_path):
    """A unix socket is shared; it keeps its permissions and its name when a worker closes its own end."""
    path = str(tmp_path / "socket")
    listen = parse(f"unix:{path}:mode=600")
    await held.listen_on([listen])
    opened = held.opened[0]
    assert opened.urls == [f"unix:{path}"]
    talk = Talk(b"one")
    for _ in range(2):
        port = adopt(listen, os.dup(opened.port.descriptor(0)), talk.factory, reactor, Server)
        assert port.getHost().name == path.encode()
        assert await deferToThread(told, socket.AF_UNIX, path, 3) == [b"one"] * 3
        await port.stopListening()
        assert os.stat(path).st_mode & 0o777 == 0o600
    await held.stop()
    assert not os.path.exists(path)
    await talk.close()


@pytest_twisted.ensureDeferred
async def test_given_sockets(held):
    """A worker keeps the ports that stay, and closes what it is given and does not need."""
    other = Listen("", interface="127.0.0.1", backlog=3)
    await held.listen_on([LOOPBACK, other])
    listeners = AdoptedListeners(reactor, Factory(), CertificateService(reactor))
    opened = len(os.listdir("/proc/self/fd"))

    async def take(*wanted):
        given = {opened.listen: os.dup(opened.port.descriptor(0)) for opened in held.opened}
        listeners.give(given, given.values())
        await listeners.listen_on(wanted)

    await take(LOOPBACK)
    port = listeners.opened[0].port
    await take(other, LOOPBACK)
    assert listeners.opened[1].port is port
    assert [one.port.getHost() for one in listeners.opened] == [
        held.opened[1].port.getHost(),
        held.opened[0].port.getHost(),
    ]
    await listeners.stop()
    for _ in range(3):
        listeners.give([LOOPBACK], [os.dup(0)])
    listeners.give((), ())
    assert len(os.listdir("/proc/self/fd")) <= opened


def test_keep_off():
    """A port that keeps clients off gets no more of them, has those that came before, and can take them again."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        before = socket.create_connection(listening.getsockname())
        keep_off(listening)
        with pytest.raises(TimeoutError):
            socket.create_connection(listening.getsockname(), timeout=0.2)
        listening.accept()[0].close()
        before.close()
        let_in(listening)
        socket.create_connection(listening.getsockname(), timeout=20).close()


def test_accept_waiting():
    """All that waits is accepted, and no more is tried than that."""
    port = SimpleNamespace(sessionno=3, disconnecting=True, waiting=5, reads=0)

    def read():
        port.reads += 1
        taken = 1 if port.waiting else 0
        port.waiting -= taken
        port.sessionno += taken

    port.doRead = read
    accept_waiting(port)
    assert (port.waiting, port.reads) == (0, 6)


# What they say


@pytest_twisted.ensureDeferred
async def test_link():
    """Messages arrive in order, each with its descriptors; the end is told to who did not close."""
    seen, inheritable, ended, all_seen = [], [], Deferred(), Deferred()

    def received(message, descriptors):
        seen.append((message, [os.fstat(descriptor).st_ino for descriptor in descriptors]))
        inheritable.extend(filter(os.get_inheritable, descriptors))
        for descriptor in descriptors:
            os.close(descriptor)
        if len(seen) == 3:
            all_seen.callback(None)

    ours, theirs = socket.socketpair()
    one = Link.over(ours, reactor, received, lambda: None)
    two = Link.over(theirs, reactor, received, lambda: ended.callback(None))
    with open(__file__) as here, open(os.devnull) as nothing:
        inodes = [os.fstat(file.fileno()).st_ino for file in (here, nothing)]
        one.send({"large": "x" * 3_000_000})
        one.send({"n": 1}, [here.fileno(), nothing.fileno(), here.fileno()])
        one.send({"n": "ü\n"})
        await all_seen
    assert inheritable == []
    assert seen == [({"large": "x" * 3_000_000}, []), ({"n": 1}, [*inodes, inodes[0]]), ({"n": "ü\n"}, [])]
    await one.close()
    await ended
    await two.close()


@pytest.fixture
def events():
    """All that is logged while the test runs."""
    seen = []
    globalLogPublisher.addObserver(seen.append)
    yield seen
    globalLogPublisher.removeObserver(seen.append)


def text_of(event):
    """A line of a log file, without the time."""
    return eventAsText(event, includeTimestamp=False)


def test_log_events(events):
    """What is logged is logged again, with its text, time, level, and whose it is; a failure with its traceback."""
    msg("from before")
    try:
        raise KeyError("oops")
    except KeyError:
        failure = Failure()
    made = {"log_time": 5.0, "log_namespace": "a.b", "log_level": LogLevel.warn}
    globalLogPublisher({**made, "log_format": "{n} things", "n": 3})
    globalLogPublisher({**made, "log_format": "a line", "log_system": "mixweb.access"})
    globalLogPublisher({**made, "log_format": "failed", "log_failure": failure})
    sent = [json.loads(json.dumps(pack(event))) for event in events]
    events.clear()
    for one in sent:
        publish(one, "worker 1", 7.0)
    publish({"text": "by hand", "level": "info"}, "worker 1", 7.0)
    texts = [text_of(event) for event in events]
    assert texts[:3] == ["[worker 1] from before", "[worker 1, a.b#warn] 3 things", "[mixweb.access] a line"]
    assert texts[3].startswith("[worker 1, a.b#warn] failed\nTraceback")
    assert "KeyError: 'oops'" in texts[3]
    assert texts[4] == "[worker 1] by hand"
    assert [event["log_time"] for event in events[1:]] == [5.0, 5.0, 5.0, 7.0]
    assert {event["log_level"] for event in events[1:4]} == {LogLevel.warn}


def test_log_that_is_not_taken():
    """What is logged while too much waits is lost, and how much it was is told with the next line."""
    link = Link(lambda message, descriptors: None, lambda: None)
    transport = StringTransport()
    transport.bufferSize = 0
    link.makeConnection(transport)
    sender = LogSender(link)
    assert transport.bufferSize == MAX_WAITING
    event = {"log_format": "a line", "log_level": LogLevel.info, "log_time": 1.0}
    sender(event)
    transport.producer.pauseProducing()
    for _ in range(5):
        sender(event)
    transport.producer.resumeProducing()
    sender(event)
    sender({"log_level": LogLevel.info})
    texts = [json.loads(line)["log"]["text"] for line in transport.value().splitlines()]
    assert texts == ["a line", "5 lines of the log were lost: they came too fast", "a line"]


# Processes


class FakeProcess:
    """A process that a machine has started."""

    def __init__(self, protocol, pid):
        self.protocol = protocol
        self.pid = pid
        self.signals = []
        self.sent = []

    def signalProcess(self, name):
        if self.signals:
            raise ProcessExitedAlready
        self.signals.append(name)

    def says(self, **message):
        """It sends a message."""
        self.link.lineReceived(json.dumps({**message, "descriptors": 0}).encode())

    def answers(self, answer=""):
        """It answers what it was asked."""
        self.says(answer=answer)

    @property
    def asked(self):
        """What it was asked, in short."""
        lines = self.link.transport.value().splitlines()
        return [message.get("stop") or message["work"]["text"] for message in map(json.loads, lines)]

    def ends(self, signal=None, status=0, silent=True):
        """It is gone, and so is the connection to it, unless something else keeps it."""
        reason = ProcessTerminated(status, signal) if signal or status else ProcessDone(0)
        self.protocol.processExited(Failure(reason))
        if silent:
            self.protocol.processEnded(Failure(reason))
            self.link.connectionLost(Failure(reason))


class Machine(Clock):
    """A reactor whose processes are fakes."""

    def __init__(self):
        super().__init__()
        self.started = []
        self.refusal = None

    def spawnProcess(self, protocol, executable, args, env, childFDs):
        if self.refusal:
            raise self.refusal
        assert (executable, args, env) == ("program", ["program", "argument"], {"NAME": "value"})
        assert {0, 1, 2, 3} == set(childFDs)
        self.started.append(FakeProcess(protocol, 100 + len(self.started)))
        protocol.makeConnection(self.started[-1])

    def adoptStreamConnection(self, descriptor, family, factory):
        link = factory.buildProtocol(None)
        transport = StringTransport()
        transport.descriptors = []
        transport.sendFileDescriptor = transport.descriptors.append
        link.makeConnection(transport)
        self.started[-1].link = link


class Socket:
    """What workers accept from."""

    def descriptor(self, number):
        return 1000 + number


def order(text):
    """An order to serve something."""
    return Order({"text": text}, [Opened(LOOPBACK, Socket())])


@pytest.fixture
def machine():
    return Machine()


def make(machine, count=2, screen=None):
    """Workers on a machine."""
    return Workers(count, ["program", "argument"], {"NAME": "value"}, machine, screen)


@pytest.fixture
def workers(machine):
    """Two workers that serve."""
    made = make(machine)
    started = Deferred.fromCoroutine(made.start(order("first")))
    for process in machine.started:
        process.answers()
    assert started.called
    return made


def outcome(deferred):
    """The result of a Deferred that has fired; the text of a failure."""
    found = []
    deferred.addCallbacks(found.append, lambda failure: found.append(str(failure.value)))
    return found[0] if found else "waiting"


def test_start(machine):
    """Each worker is told what to serve and given its sockets; all serve when each has said so, or has ended."""
    started = Deferred.fromCoroutine(make(machine).start(order("first")))
    one, two = machine.started
    assert [process.asked for process in machine.started] == [["first"], ["first"]]
    assert [process.link.transport.descriptors for process in machine.started] == [[1000], [1001]]
    assert json.loads(one.link.transport.value())["listens"] == [packed(LOOPBACK)]
    one.answers()
    assert outcome(started) == "waiting"
    two.ends(status=1)
    assert started.called


@pytest.mark.parametrize(
    ("ends", "seconds"), [(0, 0), (1, 0), (2, 1), (3, 2), (4, 4), (5, 8), (6, 16), (7, 16), (99, 16)]
)
def test_delays(ends, seconds):
    """The first one that ends young is replaced at once, the others later and later."""
    assert delay(ends) == seconds


def test_replacement(machine, workers, events):
    """A worker that ends is replaced by one that serves the same, in its place."""
    machine.advance(YOUNG)
    machine.started[1].ends(signal=9)
    assert [text_of(event) for event in events] == [
        "[mixweb.engine.workers.Workers#error] worker 2 (process 101) has ended: signal 9"
    ]
    machine.advance(0)
    assert len(machine.started) == 3
    assert machine.started[2].asked == ["first"]
    assert machine.started[2].link.transport.descriptors == [1001]
    assert [process.pid for process in workers.processes] == [100, 102]


def test_again_and_again(machine, workers, events):
    """One that ends young again and again is tried later and later, which is said once; an old one starts over."""
    waits = []
    for _ in range(8):
        machine.started[-1].ends(status=1)
        count, began = len(machine.started), machine.seconds()
        while len(machine.started) == count:
            machine.advance(0 if machine.calls[0].getTime() <= machine.seconds() else 0.5)
        waits.append(machine.seconds() - began)
    assert waits == [0, 1, 2, 4, 8, 16, 16, 16]
    assert sum(event["log_level"] == LogLevel.critical for event in events) == 1
    said = next(text_of(event) for event in events if event["log_level"] == LogLevel.critical)
    assert said.endswith("worker 2 has ended 5 times, each time within 10 s: it is tried again every 16 s")
    machine.advance(YOUNG)
    count = len(machine.started)
    machine.started[-1].ends(status=1)
    machine.advance(0)
    assert len(machine.started) == count + 1


def test_system_that_starts_nothing(machine, workers, events):
    """When no process can be started it is tried again."""
    machine.refusal = OSError(errno.EAGAIN, "no more processes")
    machine.started[0].ends(signal=9)
    machine.advance(0)
    assert "worker 1 cannot be started: [Errno 11] no more processes" in text_of(events[-1])
    machine.refusal = None
    machine.advance(1)
    assert len(machine.started) == 3


def test_one_that_cannot_serve(machine, events):
    """A worker that finds something wrong says it; it counts as started when it has ended."""
    started = Deferred.fromCoroutine(make(machine, 1).start(order("first")))
    machine.started[0].answers("there is no file")
    assert text_of(events[0]).endswith("worker 1 cannot serve: there is no file")
    assert started.called


def test_change(machine, workers):
    """They change one after the other."""
    one, two = machine.started
    changed = Deferred.fromCoroutine(workers.change(order("second")))
    assert (one.asked[1:], two.asked[1:]) == (["second"], [])
    one.answers()
    assert (one.asked[1:], two.asked[1:]) == (["second"], ["second"])
    two.answers()
    assert outcome(changed) is None
    one.ends(signal=9)
    machine.advance(0)
    assert machine.started[-1].asked == ["second"]


def test_refused_change(machine, workers):
    """When one of them refuses, all go back to what they did."""
    one, two = machine.started
    changed = Deferred.fromCoroutine(workers.change(order("second")))
    one.answers()
    two.answers("not me")
    one.answers()
    two.answers()
    assert outcome(changed) == "worker 2: not me"
    assert (one.asked, two.asked) == (["first", "second", "first"], ["first", "second", "first"])
    one.ends(signal=9)
    machine.advance(0)
    assert machine.started[-1].asked == ["first"]


def test_change_without_an_answer(machine, workers):
    """A worker that does not answer keeps nobody for ever; what it says later is taken for what it was."""
    one, two = machine.started
    changed = Deferred.fromCoroutine(workers.change(order("second")))
    machine.advance(PATIENCE)
    one.answers()
    one.answers()
    two.answers()
    assert outcome(changed) == "worker 1: it has not answered for 60 s"
    again = Deferred.fromCoroutine(workers.change(order("third")))
    one.answers()
    two.answers()
    assert outcome(again) is None


def test_change_while_one_is_gone(machine, workers):
    """A worker that ends meanwhile, or is not there yet, serves what is new when it comes."""
    one, two = machine.started
    two.ends(signal=9)
    changed = Deferred.fromCoroutine(workers.change(order("second")))
    one.ends(signal=9)
    assert outcome(changed) is None
    machine.advance(0)
    assert [process.asked for process in machine.started[2:]] == [["second"], ["second"]]


def test_one_that_leaves(machine, workers, events):
    """A worker that says that it leaves is replaced while it gives its last answers."""
    one = machine.started[0]
    one.says(leaving=True)
    assert len(machine.started) == 3
    assert len(workers.processes) == 3
    assert text_of(events[0]).endswith("worker 1 (process 100) was asked to end; another one takes its place")
    one.ends()
    machine.advance(YOUNG)
    assert len(machine.started) == 3
    assert len(workers.processes) == 2
    assert len(events) == 1


def test_stop(machine, workers):
    """They are asked to stop; when all have said how many answers are running the sum is told; the end is when all ended."""
    sums = []
    stopped = Deferred.fromCoroutine(workers.stop(30, sums.append))
    one, two = machine.started
    assert (one.asked[1:], two.asked[1:]) == (["soon"], ["soon"])
    one.answers(3)
    assert sums == []
    two.answers(4)
    assert sums == [7]
    two.says(leaving=True)
    one.ends()
    assert outcome(stopped) == "waiting"
    two.ends(signal=15)
    assert stopped.called
    assert machine.calls == []
    assert len(machine.started) == 2


def test_stop_while_one_waits(machine, workers):
    """A place whose next process was to come later stays empty."""
    sums = []
    machine.started[0].ends(signal=9)
    stopped = Deferred.fromCoroutine(workers.stop(30, sums.append))
    machine.started[1].ends()
    assert stopped.called
    assert sums == [0]
    assert machine.calls == []


def test_stop_that_takes_too_long(machine, workers):
    """Who is still there some seconds after the time to drain is killed."""
    stopped = Deferred.fromCoroutine(workers.stop(30, lambda running: None))
    machine.started[0].ends()
    machine.advance(30)
    assert machine.started[1].signals == []
    machine.advance(GRACE)
    assert machine.started[1].signals == ["KILL"]
    machine.started[1].ends(signal=9)
    assert stopped.called


def test_stop_now(machine, workers):
    """On a second request they do not wait for their answers."""
    Deferred.fromCoroutine(workers.stop(30, lambda running: None))
    workers.stop_now()
    assert machine.started[0].asked == ["first", "soon", "now"]


def test_one_that_leaves_something_behind(machine, workers):
    """A worker whose own children keep its pipes open is replaced nevertheless."""
    machine.started[0].ends(signal=9, silent=False)
    machine.advance(0.5)
    assert len(machine.started) == 2
    machine.advance(0.5)
    machine.advance(0)
    assert len(machine.started) == 3
    machine.started[0].link.connectionLost(Failure(ProcessDone(0)))


def test_output(machine, events):
    """What they write is shown on the screen in whole lines, and errors are logged; without a screen both are."""
    shown = []
    for screen in (shown.append, None):
        workers = make(machine, 1, screen)
        Deferred.fromCoroutine(workers.start(order("first")))
        process = machine.started[-1].protocol
        process.childDataReceived(1, b"one\ntwo\nthr")
        process.childDataReceived(1, b"ee\n")
        process.childDataReceived(2, b"wrong \xff\n")
        process.childDataReceived(1, b"x" * (MAX_LINE + 1))
    assert shown == [b"one\ntwo\n", b"three\n", b"x" * (MAX_LINE + 1) + b"\n"]
    lines = [text_of(event) for event in events]
    assert lines[:5] == [f"[worker 1] {text}" for text in ("wrong \ufffd", "one", "two", "three", "wrong \ufffd")]
    assert len(lines[5]) == len("[worker 1] ") + MAX_LINE + 1
