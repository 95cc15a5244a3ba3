"""
The reactor: what differs from Twisted's epoll reactor.
"""

import os
import socket
import subprocess
import sys

import pytest
from twisted.internet.abstract import FileDescriptor
from twisted.internet.error import ConnectionDone, ConnectionFdescWentAway, ConnectionLost
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure

from mixweb.engine.reactor import MixwebReactor
from mixweb.engine.transports import Port

ROUNDS = 200


@pytest.fixture
def loop():
    """A reactor that is stepped by hand."""
    reactor = MixwebReactor()
    yield reactor
    reactor.removeAll()
    reactor._poller.close()
    for descriptor in (reactor.waker.i, reactor.waker.o):
        os.close(descriptor)


@pytest.fixture
def logged():
    """The exceptions that are logged while the test runs, each with the prefix it was logged with."""
    failures = []

    def observe(event):
        failure = event.get("log_failure") or event.get("failure")
        if failure is not None:
            failures.append((failure.type, event.get("system") or event.get("log_system")))

    globalLogPublisher.addObserver(observe)
    yield failures
    globalLogPublisher.removeObserver(observe)


def step_until(reactor, done):
    """Let the reactor poll until something is true."""
    for _ in range(ROUNDS):
        if done():
            return
        reactor.runUntilCurrent()
        reactor.doIteration(0.05)
    raise AssertionError("nothing happened")


class Script(Protocol):
    """Calls a function with itself and what it received."""

    lost = None

    def dataReceived(self, data):
        self.factory.script(self, data)

    def connectionLost(self, reason):
        self.lost = reason.type


class Scripts(Factory):
    noisy = False
    protocol = Script

    def __init__(self, script):
        self.script = script
        self.made = []

    def buildProtocol(self, address):
        protocol = super().buildProtocol(address)
        self.made.append(protocol)
        return protocol


class Served:
    """A port on a stepped reactor, with connected non-blocking clients."""

    def __init__(self, reactor, script, clients):
        self.factory = Scripts(script)
        self.port = Port(0, self.factory, 50, "127.0.0.1", reactor)
        self.port.startListening()
        address = ("127.0.0.1", self.port.getHost().port)
        self.clients = [socket.create_connection(address) for _ in range(clients)]
        for client in self.clients:
            client.setblocking(False)
        step_until(reactor, lambda: len(self.factory.made) == clients)

    def close(self):
        for client in self.clients:
            client.close()
        self.port.connectionLost(_gone)
        for made in self.factory.made:
            if made.lost is None:
                made.transport.connectionLost(_gone)


_gone = Failure(ConnectionLost())


def received(client):
    try:
        return client.recv(1000)
    except BlockingIOError:
        return None


def test_answers_are_sent(loop):
    """What is written while a connection is read is sent in the same round."""
    served = Served(loop, lambda protocol, data: protocol.transport.write(data.upper()), 3)
    for number, client in enumerate(served.clients):
        client.send(b"hello %d" % number)
    loop.doIteration(1)
    assert [received(client) for client in served.clients] == [b"HELLO 0", b"HELLO 1", b"HELLO 2"]
    served.close()


@pytest.mark.parametrize("clients", [1, 2, 15, 16, 17, 40])
def test_answers_leave_together(loop, clients):
    """The answers of one round leave after all its requests have been read, but never more than 16 wait."""
    order = []

    def script(protocol, data):
        order.append("read")
        protocol.transport.write(b"x")
        protocol.transport._flush = lambda flush=protocol.transport._flush: order.append("sent") or flush()

    served = Served(loop, script, clients)
    for client in served.clients:
        client.send(b"?")
    loop.doIteration(1)
    expected = []
    for start in range(0, clients, MixwebReactor.ROUND):
        count = min(MixwebReactor.ROUND, clients - start)
        expected += ["read"] * count + ["sent"] * count
    assert order == expected
    served.close()


def test_an_exception_costs_one_connection(loop, logged):
    """An exception in dataReceived is logged with the prefix of its connection, and drops that one only."""

    def script(protocol, data):
        if data == b"!":
            raise ZeroDivisionError
        protocol.transport.write(data)

    served = Served(loop, script, 3)
    for client, data in zip(served.clients, [b"a", b"!", b"b"], strict=True):
        client.send(data)
    step_until(loop, lambda: any(made.lost for made in served.factory.made))
    assert [received(client) for client in served.clients] == [b"a", b"", b"b"]
    assert [made.lost for made in served.factory.made] == [None, ZeroDivisionError, None]
    assert logged == [(ZeroDivisionError, "Script,2,127.0.0.1")]
    served.close()


def test_an_exception_at_the_end_of_the_round_costs_one_connection(loop, logged):
    """An exception while an answer is sent is logged and drops that connection only."""

    def script(protocol, data):
        protocol.transport.write(data)
        if data == b"!":
            protocol.transport._flush = lambda: 1 / 0

    served = Served(loop, script, 3)
    for client, data in zip(served.clients, [b"a", b"!", b"b"], strict=True):
        client.send(data)
    loop.doIteration(1)
    assert [received(client) for client in served.clients] == [b"a", b"", b"b"]
    assert [made.lost for made in served.factory.made] == [None, ZeroDivisionError, None]
    assert [kind for kind, _ in logged] == [ZeroDivisionError]
    served.close()


def test_the_end_of_a_stream(loop):
    """A client that closes, or resets with data queued for it, is told to the protocol."""
    served = Served(loop, lambda protocol, data: None, 2)
    first, second = served.clients
    first.close()
    step_until(loop, lambda: served.factory.made[0].lost)
    assert served.factory.made[0].lost is ConnectionDone
    transport = served.factory.made[1].transport
    transport.stopReading()
    transport.write(b"x" * 50_000_000)
    second.close()
    step_until(loop, lambda: served.factory.made[1].lost)
    assert served.factory.made[1].lost is ConnectionLost
    served.close()


def test_queued_data_goes_on(loop):
    """What the kernel does not take at once is sent when it can be."""
    data = bytes(range(256)) * 80_000
    served = Served(loop, lambda protocol, _: protocol.transport.write(data), 1)
    served.clients[0].send(b"?")
    got = bytearray()

    def all_there():
        while piece := received(served.clients[0]):
            got.extend(piece)
        return len(got) == len(data)

    for _ in range(100_000):
        if all_there():
            break
        loop.doIteration(0.05)
    assert got == data
    served.close()


def test_what_was_read_between_polls_is_finished(loop):
    """A transport that was read outside of a poll is finished before the next one waits."""
    served = Served(loop, lambda protocol, data: protocol.transport.write(data), 1)
    served.clients[0].send(b"?")
    served.factory.made[0].transport.doRead()
    assert received(served.clients[0]) is None
    loop.doIteration(0)
    assert received(served.clients[0]) == b"?"
    served.close()


def test_a_descriptor_that_has_gone(loop):
    """A selectable whose fileno is -1 is told that its descriptor is gone."""
    ours, theirs = socket.socketpair()
    lost = []

    class Victim(FileDescriptor):
        number = ours.fileno()

        def fileno(self):
            return self.number

        def connectionLost(self, reason):
            lost.append(reason.type)

    victim = Victim(loop)
    loop.addReader(victim)
    victim.number = -1
    theirs.send(b"x")
    loop.doIteration(1)
    assert lost == [ConnectionFdescWentAway]
    ours.close()
    theirs.close()


def test_a_selectable_that_goes_in_the_same_round(loop):
    """A connection that another one closes in the same round is not read any more."""
    reads = []

    def script(protocol, data):
        reads.append(data)
        for other in served.factory.made:
            if other is not protocol:
                other.transport.connectionLost(_gone)

    served = Served(loop, script, 2)
    for client in served.clients:
        client.send(b"?")
    loop.doIteration(1)
    loop.doIteration(0)
    assert reads == [b"?"]
    served.close()


def test_install():
    """install() makes it the reactor of the process, and it runs and stops."""
    program = """
from mixweb.engine.reactor import install
install()
from twisted.internet import reactor
reactor.callWhenRunning(reactor.callFromThread, reactor.stop)
reactor.run()
print(type(reactor).__name__)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert (done.stdout, done.stderr) == ("MixwebReactor\n", "")
