"""
Connections to other servers, on loopback: real sockets in a thread on the other side.
"""

import socket
import ssl
import threading
from contextlib import closing, suppress

import pytest
import pytest_twisted
import trustme
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock, deferLater
from twisted.internet.threads import deferToThread

from mixweb.engine._attempts import STAGGER
from mixweb.engine.clients import TLS, ConnectFailed, Place, client_context, connect, resolve, unix_place
from tests.engine.loopback import AUTHORITY, CERTIFICATE, read_all

TIMEOUT = 10


class Talker(Protocol):
    """Says something, and keeps what it hears."""

    def __init__(self, says=b""):
        self.says = says
        self.heard = b""
        self.lost = Deferred()

    def connectionMade(self):
        if self.says:
            self.transport.write(self.says)

    def dataReceived(self, data):
        self.heard += data

    def connectionLost(self, reason):
        self.lost.callback(reason.type)


class Listener:
    """Accepts one connection after the other in a thread, and gives each to ``serve``."""

    def __init__(self, serve, address=("127.0.0.1", 0), family=socket.AF_INET, context=None):
        self.socket = socket.create_server(address, family=family) if family != socket.AF_UNIX else _unix(address)
        self.address = self.socket.getsockname()
        self.context = context
        self.thread = threading.Thread(target=self._run, args=(serve,), daemon=True)
        self.thread.start()

    def _run(self, serve):
        while True:
            try:
                connection, _ = self.socket.accept()
                connection.settimeout(TIMEOUT)
                with closing(self._wrapped(connection)) as connection:
                    serve(connection)
            except ssl.SSLError:
                continue
            except OSError:
                return

    def _wrapped(self, connection):
        return connection if self.context is None else self.context.wrap_socket(connection, server_side=True)

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join(TIMEOUT)


def _unix(path):
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    listening.listen()
    return listening


@pytest.fixture
def listen():
    """Starts listeners that are ended with the test."""
    started = []

    def begin(*arguments, **more):
        started.append(Listener(*arguments, **more))
        return started[-1]

    yield begin
    for listener in started:
        listener.close()


def echo(connection):
    connection.sendall(connection.recv(100).upper())


def server_context():
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    CERTIFICATE.configure_cert(context)
    return context


def trusting(authority=AUTHORITY):
    context = client_context()
    authority.configure_trust(context)
    return context


def tcp(listener):
    return Place(socket.AF_INET, listener.address)


async def talk(places, says=b"hello", **more):
    """What is heard when something is said."""
    protocol = Talker(says)
    assert await connect(reactor, places, protocol, TIMEOUT, **more) is protocol
    await protocol.lost
    return protocol.heard


def nobody():
    """The address of a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return Place(socket.AF_INET, listening.getsockname())


@pytest_twisted.ensureDeferred
async def test_tcp(listen):
    """A protocol is connected to a TCP server."""
    assert await talk([tcp(listen(echo))]) == b"HELLO"


@pytest_twisted.ensureDeferred
async def test_ip6(listen):
    """And to one with an IPv6 address."""
    listener = listen(echo, ("::1", 0), socket.AF_INET6)
    assert await talk([Place(socket.AF_INET6, listener.address[:2])]) == b"HELLO"


@pytest_twisted.ensureDeferred
async def test_unix(listen, tmp_path):
    """And to one on a UNIX socket."""
    path = str(tmp_path / "s")
    listen(echo, path, socket.AF_UNIX)
    assert await talk([unix_place(path)]) == b"HELLO"


@pytest_twisted.ensureDeferred
async def test_abstract_names(listen):
    """A UNIX socket's name need not be in any folder."""
    name = f"mixweb-test-{id(listen)}"
    listen(echo, "\0" + name, socket.AF_UNIX)
    assert await talk([unix_place("@" + name)]) == b"HELLO"


@pytest_twisted.ensureDeferred
async def test_tls(listen):
    """And to one that speaks TLS, whose certificate is verified; it is asked for by name."""
    names = []
    context = server_context()
    context.sni_callback = lambda sock, name, _: names.append(name)
    listener = listen(echo, context=context)
    assert await talk([tcp(listener)], tls=TLS(trusting(), "localhost")) == b"HELLO"
    assert names == ["localhost"]


BAD_CERTIFICATES = [
    (trusting, "other.example", "ostname mismatch"),
    (client_context, "localhost", "unable to get local issuer"),
    (lambda: trusting(trustme.CA()), "localhost", "not accepted"),
]


@pytest.mark.parametrize(("context", "name", "why"), BAD_CERTIFICATES)
@pytest_twisted.ensureDeferred
async def test_bad_certificates(context, name, why, listen):
    """A certificate for another name, or of an unknown authority, is a reason not to connect."""
    protocol = Talker(b"secret")
    with pytest.raises(ConnectFailed, match=why):
        await connect(reactor, [tcp(listen(echo, context=server_context()))], protocol, TIMEOUT, TLS(context(), name))
    assert protocol.transport is None


@pytest_twisted.ensureDeferred
async def test_unverified_certificates(listen):
    """Any certificate will do when none is verified."""
    listener = listen(echo, context=server_context())
    assert await talk([tcp(listener)], tls=TLS(client_context(verify=False), "other.example")) == b"HELLO"


@pytest_twisted.ensureDeferred
async def test_authorities_of_a_file(listen, tmp_path):
    """Authorities may be named in a file."""
    AUTHORITY.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = client_context(str(tmp_path / "ca.pem"))
    assert await talk([tcp(listen(echo, context=server_context()))], tls=TLS(context, "localhost")) == b"HELLO"


NO_TLS = [lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"), lambda connection: None]


@pytest.mark.parametrize("serve", NO_TLS)
@pytest_twisted.ensureDeferred
async def test_no_tls(serve, listen):
    """A server that does not speak TLS cannot be connected to in it."""
    with pytest.raises(ConnectFailed, match="TLS handshake"):
        await connect(reactor, [tcp(listen(serve))], Talker(), TIMEOUT, TLS(trusting(), "localhost"))


@pytest_twisted.ensureDeferred
async def test_handshakes_that_take_too_long(listen):
    """A handshake that is not finished in time is given up."""
    ended = threading.Event()
    listener = listen(lambda connection: ended.wait(TIMEOUT))
    with pytest.raises(ConnectFailed, match="not finished"):
        await connect(reactor, [tcp(listener)], Talker(), 0.2, TLS(trusting(), "localhost"))
    ended.set()


@pytest_twisted.ensureDeferred
async def test_cancelled_handshakes(listen):
    """A handshake can be given up, and the server is told."""
    seen = []
    listener = listen(lambda connection: seen.append(_end(connection)))
    connecting = connect(reactor, [tcp(listener)], Talker(), TIMEOUT, TLS(trusting(), "localhost"))
    await deferLater(reactor, 0.1)
    connecting.addErrback(lambda _: None)
    connecting.cancel()
    await deferLater(reactor, 0)
    await deferToThread(_wait_for, seen)
    assert seen == ["ended"]


def _end(connection):
    with suppress(ConnectionResetError):
        read_all(connection)
    return "ended"


def _wait_for(seen):
    for _ in range(1000):
        if seen:
            return
        threading.Event().wait(0.01)


@pytest_twisted.ensureDeferred
async def test_refused():
    """A port that nobody listens on refuses."""
    with pytest.raises(ConnectFailed, match="connection refused") as caught:
        await connect(reactor, [nobody()], Talker(), TIMEOUT)
    assert not caught.value.timed_out


@pytest_twisted.ensureDeferred
async def test_no_socket(tmp_path):
    """So does a UNIX socket that is not there."""
    with pytest.raises(ConnectFailed, match="no such file"):
        await connect(reactor, [unix_place(str(tmp_path / "none"))], Talker(), TIMEOUT)


@pytest_twisted.ensureDeferred
async def test_no_addresses():
    """A server without an address cannot be connected to."""
    with pytest.raises(ConnectFailed, match="no address"):
        await connect(reactor, [], Talker(), TIMEOUT)


@pytest_twisted.ensureDeferred
async def test_several_addresses(listen):
    """When one address refuses, the next one is tried."""
    assert await talk([nobody(), nobody(), tcp(listen(echo))]) == b"HELLO"


@pytest_twisted.ensureDeferred
async def test_all_refuse():
    """When all refuse, the last reason is told."""
    with pytest.raises(ConnectFailed, match="refused"):
        await connect(reactor, [nobody(), nobody()], Talker(), TIMEOUT)


class Reactor(Clock):
    """A clock whose sockets are never ready."""

    def __init__(self):
        super().__init__()
        self.writers = []

    def addWriter(self, writer):
        self.writers.append(writer)

    def removeWriter(self, writer):
        self.writers.remove(writer)


@pytest.fixture
def deaf():
    """The address of a server whose queue of connections is full, so that connecting takes for ever."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listening:
        filling = []
        for _ in range(8):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(listening.getsockname())
            filling.append(client)
        yield Place(socket.AF_INET, listening.getsockname())
        for client in filling:
            client.close()


def test_timeout(deaf):
    """A server that does not answer is given up in time, and nothing is left behind."""
    clock, failures = Reactor(), []
    connect(clock, [deaf], Talker(), 3).addErrback(failures.append)
    clock.advance(2.9)
    assert failures == []
    clock.advance(0.2)
    assert failures[0].value.timed_out
    assert (clock.writers, clock.getDelayedCalls()) == ([], [])


def test_stagger(deaf):
    """When one address takes long, the next one is tried beside it."""
    clock = Reactor()
    connecting = connect(clock, [deaf, deaf, deaf], Talker(), 3)
    counts = []
    for _ in range(4):
        counts.append(len(clock.writers))
        clock.advance(STAGGER)
    assert counts == [1, 2, 3, 3]
    connecting.addErrback(lambda _: None)
    connecting.cancel()
    assert (clock.writers, clock.getDelayedCalls()) == ([], [])


def test_resolved_addresses():
    """An address needs no resolver."""
    found = []
    for host in ("192.0.2.1", "2001:db8::1"):
        resolve(None, host, 80).addCallback(found.append)
    assert found == [
        [Place(socket.AF_INET, ("192.0.2.1", 80))],
        [Place(socket.AF_INET6, ("2001:db8::1", 80))],
    ]


@pytest_twisted.ensureDeferred
async def test_names():
    """A name has its addresses."""
    assert Place(socket.AF_INET, ("127.0.0.1", 80)) in await resolve(reactor, "localhost", 80)


@pytest_twisted.ensureDeferred
async def test_unknown_names():
    """An unknown name is a reason not to connect."""
    with pytest.raises(ConnectFailed, match="no such host"):
        await resolve(reactor, "none.invalid", 80)


@pytest_twisted.ensureDeferred
async def test_answers_to_half_a_body(listen):
    """What a server says before it closes is heard, also when it closes with a body unread."""

    def serve(connection):
        connection.recv(10)
        connection.sendall(b"too much")

    class Uploader(Talker):
        def connectionMade(self):
            self.transport.registerProducer(self, True)
            self.resumeProducing()

        def resumeProducing(self):
            for _ in range(100):
                self.transport.write(b"a" * 65536)

        def pauseProducing(self):
            pass

        def stopProducing(self):
            pass

    protocol = Uploader()
    await connect(reactor, [tcp(listen(serve))], protocol, TIMEOUT)
    await protocol.lost
    assert protocol.heard == b"too much"
