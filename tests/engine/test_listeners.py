"""
Descriptions of where to listen, and the ports that come of them.
"""

import os
import re
import socket
import ssl
import stat
from pathlib import Path

import pytest
import pytest_twisted
import trustme
from twisted.internet import reactor, unix
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.threads import deferToThread
from twisted.plugins.twisted_core import systemdEndpointParser
from twisted.python.systemd import ListenFDs

from mixweb.engine import _addresses, listeners
from mixweb.engine.listeners import (
    BACKLOG,
    EVERYWHERE,
    Listen,
    Listeners,
    free_port,
    https,
    listen,
    parse,
    parse_all,
    urls,
)
from mixweb.engine.tls import CertificateService, Source
from mixweb.engine.transports import Port, Server, TLSServer, UNIXServer, file_sender

AUTHORITY = trustme.CA()


# Descriptions


def tcp(port, interface="", **options):
    return Listen("", port=port, interface=interface, **options)


def endpoint(text, **options):
    return Listen("", "endpoint", endpoint=text, **options)


DESCRIPTIONS = [
    ("8080", tcp(8080, "127.0.0.1")),
    (" 8080 ", tcp(8080, "127.0.0.1")),
    ("0", tcp(0, "127.0.0.1")),
    ("tcp:8080", tcp(8080)),
    ("TCP:8080", tcp(8080)),
    ("tcp:port=8080", tcp(8080)),
    ("tcp:8080:interface=127.0.0.1:backlog=7", tcp(8080, "127.0.0.1", backlog=7)),
    ("tcp:8080:127.0.0.1", tcp(8080, "127.0.0.1")),
    (r"tcp:8080:interface=\:\:1", tcp(8080, "::1")),
    ("tcp:443:tls=/etc/certs", tcp(443, tls=Source("/etc/certs"))),
    ("tcp6:8080", tcp(8080, "::")),
    (r"tcp6:8080:interface=\:\:1", tcp(8080, "::1")),
    ("tls:/etc/certs", tcp(443, EVERYWHERE, tls=Source("/etc/certs"))),
    ("tls:/etc/certs:port=8443:interface=127.0.0.1", tcp(8443, "127.0.0.1", tls=Source("/etc/certs"))),
    (r"tls:C\:/certs:8443", tcp(8443, EVERYWHERE, tls=Source("C:/certs"))),
    ("unix:/run/web.sock", Listen("", "unix", path="/run/web.sock")),
    (
        "unix:/run/web.sock:mode=660:lockfile=0:backlog=9",
        Listen("", "unix", path="/run/web.sock", mode=0o660, lockfile=False, backlog=9),
    ),
    ("systemd:domain=INET:index=0", endpoint("systemd:domain=INET:index=0")),
    ("systemd:UNIX:name=web", endpoint("systemd:domain=UNIX:name=web")),
    ("systemd:INET:name=web:tls=/etc/certs", endpoint("systemd:domain=INET:name=web", tls=Source("/etc/certs"))),
    ("haproxy:tcp:8080", tcp(8080, proxied=True)),
    ("haproxy:unix:/run/web.sock", Listen("", "unix", path="/run/web.sock", proxied=True)),
    ("ssl:443", endpoint("ssl:443:backlog=1024", twisted_tls=True)),
    (
        "ssl:443:privateKey=a=b.pem:interface=127.0.0.1",
        endpoint("ssl:443:backlog=1024:privateKey=a=b.pem:interface=127.0.0.1", twisted_tls=True),
    ),
    ("stdio:", endpoint("stdio:")),
]


@pytest.mark.parametrize(("text", "expected"), DESCRIPTIONS, ids=[text for text, _ in DESCRIPTIONS])
def test_descriptions(text, expected):
    """A number, and what Twisted's endpoints and ours may look like."""
    found = parse(text)
    assert found.description == text.strip()
    assert listeners._address(found) == listeners._address(expected)
    assert found.tls == expected.tls


def test_public():
    """In public a number is a port on all addresses; a description means what it says."""
    assert parse("8080", public=True).interface == EVERYWHERE
    assert parse("tcp:8080:interface=127.0.0.1", public=True).interface == "127.0.0.1"


@pytest.mark.parametrize(("public", "interface"), [(False, "127.0.0.1"), (True, EVERYWHERE)])
def test_https(public, interface):
    """--https is TLS on loopback, or in public everywhere."""
    found = https(8443, "cert.pem", "key.pem", public)
    assert (found.port, found.interface, found.tls) == (8443, interface, Source("cert.pem", "key.pem"))
    assert found.scheme == "https"


NONSENSE = [
    ("", "expected a port number or an endpoint description"),
    ("abc", "expected a port number or an endpoint description"),
    ("tcp", "expected a port number or an endpoint description"),
    ("٣", "port must be a number from 0 to 65535, not '٣'"),
    ("-1", "expected a port number or an endpoint description"),
    ("65536", "port must be a number from 0 to 65535, not '65536'"),
    ("9" * 5000, "port must be a number from 0 to 65535, not '9"),
    ("tcp:", "port must be a number from 0 to 65535, not ''"),
    ("tcp:abc", "port must be a number from 0 to 65535, not 'abc'"),
    ("tcp:٣", "port must be a number from 0 to 65535, not '٣'"),
    ("tcp:-1", "port must be a number from 0 to 65535, not '-1'"),
    ("tcp:80:interface=127.0.0.1:interface=::1", "an argument is given twice"),
    ("tcp:80:port=81", "port is given twice"),
    ("tcp:80:backlog=many", "backlog must be a number from 1 to 65535, not 'many'"),
    ("tcp:80:intreface=127.0.0.1", "tcp has no argument 'intreface'; did you mean 'interface'?"),
    ("tcp:80:colour=red", "tcp has no argument 'colour'; there are port, interface, backlog, tls"),
    ("tcp:80:a:1:b:c", "tcp takes no more than port, interface, backlog, tls; 'c' is left over"),
    ("tcp:interface=127.0.0.1", "the port is missing"),
    ("tcp:80\\", "a backslash must be followed by the character it stands for"),
    ("tcpp:80", "write tcp:80:interface=tcpp"),
    ("tcpp:80:backlog=1", "unknown type 'tcpp'; did you mean 'tcp'?"),
    ("gopher:hole", "unknown type 'gopher'; there are haproxy, "),
    ("127.0.0.1:8080", "write tcp:8080:interface=127.0.0.1"),
    (":8080", "write tcp:8080"),
    ("[::1]:8080", r"write tcp:8080:interface=\:\:1"),
    ("http://localhost:8080", "write tcp:8080:interface=http"),
    ("unix:", "the path is missing: write unix:/run/web.sock"),
    ("unix:/a:mode=rw", "mode must be octal permissions like 660, not 'rw'"),
    ("unix:/a:lockfile=no", "lockfile must be 0 or 1, not 'no'"),
    ("unix:/a:tls=/certs", "unix has no argument 'tls'; there are"),
    ("tls:", "the folder of certificates is missing: write tls:FOLDER:port=443"),
    ("tls:port=443", "the folder of certificates is missing"),
    ("tls:/certs:port=x", "port must be a number"),
    ("ssl:", "port must be a number"),
    ("ssl:443:privatekey=a", "ssl has no argument 'privatekey'; did you mean 'privateKey'?"),
    ("ssl:privateKey=a.pem", "the port is missing"),
    ("systemd:index=0", "domain must be INET, INET6 or UNIX, not None"),
    ("systemd:IPX:index=0", "domain must be INET, INET6 or UNIX, not 'IPX'"),
    ("systemd:INET", "systemd takes either name (FileDescriptorName= of the socket unit) or index"),
    ("systemd:INET:index=0:name=web", "systemd takes either name"),
    ("systemd:INET:index=x", "index must be a number from 0 to 1023, not 'x'"),
    ("systemd:UNIX:name=web:tls=/certs", "there is no TLS on unix sockets"),
    ("haproxy:", "expected a port number or an endpoint description"),
    ("haproxy:8080", "expected a port number or an endpoint description"),
    ("haproxy:haproxy:tcp:80", "haproxy is given twice"),
    ("haproxy:tls:/certs", "a PROXY header comes before TLS"),
]


@pytest.mark.parametrize(("text", "sentence"), NONSENSE, ids=[text[:40] for text, _ in NONSENSE])
def test_nonsense(text, sentence):
    """What cannot be understood is refused in a sentence that names it."""
    with pytest.raises(ValueError, match="^" + re.escape(f"cannot listen on {text!r}: {sentence}")):
        parse(text)


def test_a_file_of_descriptions(tmp_path):
    """A file has one description in a line, with comments; a number means what it means on the command line."""
    path = tmp_path / "listen"
    path.write_text("# where to listen\n8080\n\ntcp:8081  # for the proxy\n  unix:/run/web.sock\n")
    assert parse_all(f"@{path}") == [parse("8080"), parse("tcp:8081"), parse("unix:/run/web.sock")]
    assert parse_all(f"@{path}", public=True)[0].interface == EVERYWHERE
    assert parse_all("tcp:80") == [parse("tcp:80")]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            "8080\ntcp:abc\n\nunix:\n",
            ["{path}:2: cannot listen on 'tcp:abc': port", "{path}:4: cannot listen on 'unix:'"],
        ),
        ("@other\n", ["{path}:1: cannot listen on '@other'"]),
        ("# nothing\n", ["{path}: there is nothing to listen on"]),
        (None, ["'{path}' cannot be read: No such file"]),
        (b"\xff\n", ["'{path}' cannot be read: it is not text"]),
    ],
)
def test_a_file_with_mistakes(tmp_path, content, expected):
    """All mistakes in a file are told at once, each with its line."""
    path = tmp_path / "listen"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=r"cannot|nothing") as caught:
        parse_all(f"@{path}")
    lines = str(caught.value).splitlines()
    assert len(lines) == len(expected)
    for line, start in zip(lines, expected, strict=True):
        assert line.startswith(start.format(path=path))


# URLs


class Somewhere:
    """A port with an address."""

    def __init__(self, address):
        self.address = address

    def getHost(self):
        return self.address


PLAIN, SECURE = Listen("plain"), Listen("secure", tls=Source("x"))

URLS = [
    (PLAIN, IPv4Address("TCP", "127.0.0.1", 8080), ["http://127.0.0.1:8080/"]),
    (PLAIN, IPv4Address("TCP", "127.0.0.1", 80), ["http://127.0.0.1/"]),
    (SECURE, IPv4Address("TCP", "127.0.0.1", 443), ["https://127.0.0.1/"]),
    (SECURE, IPv4Address("TCP", "127.0.0.1", 80), ["https://127.0.0.1:80/"]),
    (Listen("ssl", twisted_tls=True), IPv4Address("TCP", "10.1.1.1", 8443), ["https://10.1.1.1:8443/"]),
    (PLAIN, IPv6Address("TCP", "::1", 8080), ["http://[::1]:8080/"]),
    (PLAIN, IPv4Address("TCP", "0.0.0.0", 8080), ["http://127.0.0.1:8080/", "http://192.0.2.7:8080/"]),
    (PLAIN, IPv6Address("TCP", "::", 80), ["http://127.0.0.1/", "http://192.0.2.7/", "http://[2001:db8::7]/"]),
    (PLAIN, UNIXAddress("/run/web.sock"), ["unix:/run/web.sock"]),
    (PLAIN, UNIXAddress("\0web"), ["unix:@web"]),
    (Listen("onion:80"), object(), ["onion:80"]),
]


@pytest.mark.parametrize(("where", "address", "expected"), URLS)
def test_urls(monkeypatch, where, address, expected):
    """A port is shown as the URLs that reach it, the one for this machine first."""
    own = {"0.0.0.0": ["192.0.2.7"], "::": ["192.0.2.7", "2001:db8::7"]}
    monkeypatch.setattr(_addresses, "_own_addresses", own.__getitem__)
    assert urls(where, Somewhere(address)) == expected


@pytest.mark.parametrize("wildcard", ["0.0.0.0", "::"])
def test_own_addresses(wildcard):
    """The addresses of this machine are addresses, and none of them is a wildcard."""
    for address in _addresses._own_addresses(wildcard):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        assert any(socket.inet_pton(family, address))


# Ports


class Answer(Protocol):
    """Sends the address of the client, as it sees it, for every message."""

    def dataReceived(self, data):
        self.factory.transports.append(self.transport)
        self.transport.write(str(self.transport.getPeer()).encode())
        self.transport.loseConnection()


class Answers(Factory):
    noisy = False
    protocol = Answer

    def __init__(self):
        self.transports = []


@pytest.fixture
def folder(tmp_path):
    """A folder with a certificate."""
    made = tmp_path / "certs"
    made.mkdir()
    AUTHORITY.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(made / "localhost.pem"))
    return made


class Opener:
    """Opens ports, and closes them when the test ends."""

    def __init__(self):
        self.factory = Answers()
        self.certificates = CertificateService(reactor)
        self.ports = []

    async def __call__(self, description, **options):
        where = parse(description) if isinstance(description, str) else description
        port = await listen(where, self.factory, reactor, self.certificates, **options)
        self.ports.append(port)
        return port


@pytest_twisted.async_yield_fixture
async def opener():
    made = Opener()
    yield made
    for port in made.ports:
        await port.stopListening()


async def ask(address, message=b"?", secure=False):
    """Send a message, and read up to the end."""

    def run():
        family = (
            socket.AF_UNIX if isinstance(address, str) else socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        )
        with socket.socket(family) as plain:
            plain.settimeout(10)
            plain.connect(address)
            with client_context().wrap_socket(plain, server_hostname="localhost") if secure else plain as client:
                client.sendall(message)
                answer = b""
                while piece := client.recv(1000):
                    answer += piece
                return answer.decode()

    return await deferToThread(run)


def client_context():
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    return context


def local(port):
    return ("127.0.0.1", port.getHost().port)


@pytest.mark.parametrize("description", ["0", "tcp:0", "tcp:0:interface=127.0.0.1", "tcp6:0"])
@pytest_twisted.ensureDeferred
async def test_tcp(opener, description):
    """A TCP port has our port and transport, TCP_NODELAY, and a real number where 0 was given."""
    if "6" in description and not socket.has_dualstack_ipv6():
        pytest.skip("there is no IPv6 here")
    port = await opener(description)
    assert isinstance(port, Port)
    assert port.transport is Server
    assert port.backlog == BACKLOG
    assert port.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert (await ask(local(port))).startswith("IPv4Address(type='TCP', host='127.0.0.1'")


@pytest_twisted.ensureDeferred
async def test_everywhere(opener):
    """A public port takes IPv4 and IPv6 clients, each told as what it is."""
    port = await opener(parse("0", public=True))
    number = port.getHost().port
    assert (await ask(("127.0.0.1", number))).startswith("IPv4Address(type='TCP', host='127.0.0.1'")
    if socket.has_dualstack_ipv6():
        assert (await ask(("::1", number))).startswith("IPv6Address(type='TCP', host='::1'")


@pytest_twisted.ensureDeferred
async def test_everywhere_without_ipv6(opener, monkeypatch):
    """Where there is no IPv6, a public port is one of IPv4."""
    refuse_ipv6(monkeypatch, OSError(97, "Address family not supported by protocol"))
    port = await opener(parse("0", public=True))
    assert port.getHost().host == "0.0.0.0"


@pytest_twisted.ensureDeferred
async def test_everywhere_but_taken(opener, monkeypatch):
    """A public port that is taken is not silently one of IPv4."""
    refuse_ipv6(monkeypatch, OSError(98, "Address already in use"))
    with pytest.raises(CannotListenError):
        await opener(parse("0", public=True))


def refuse_ipv6(monkeypatch, error):
    start = Port.startListening

    def start_listening(self):
        if self.interface == "::":
            raise CannotListenError(self.interface, self.port, error)
        start(self)

    monkeypatch.setattr(Port, "startListening", start_listening)


@pytest_twisted.ensureDeferred
async def test_a_port_that_is_taken(opener):
    """The error of a port that is taken says which."""
    port = await opener("0")
    number = port.getHost().port
    with pytest.raises(CannotListenError) as caught:
        await opener(str(number))
    assert (caught.value.interface, caught.value.port) == ("127.0.0.1", number)
    assert caught.value.socketError.errno == 98


@pytest.mark.parametrize("form", ["tls:{0}:port=0:interface=127.0.0.1", "tcp:0:tls={0}", "https"])
@pytest_twisted.ensureDeferred
async def test_tls(opener, folder, form):
    """TLS is spoken with the certificates of a folder or a file."""
    where = https(0, str(folder / "localhost.pem")) if form == "https" else parse(form.format(folder))
    port = await opener(where)
    assert port.transport.func is TLSServer
    assert (await ask(local(port), secure=True)).startswith("IPv4Address(type='TCP', host='127.0.0.1'")
    assert urls(where, port)[0] == f"https://127.0.0.1:{port.getHost().port}/"
    assert [store.source for store in opener.certificates.stores] == [where.tls]


@pytest_twisted.ensureDeferred
async def test_tls_without_certificates(opener, tmp_path):
    """A folder without certificates, or no place to get them from, opens no port."""
    with pytest.raises(ValueError, match="there is no certificate with its private key in the folder"):
        await opener(f"tls:{tmp_path}:port=0")
    opener.certificates = None
    with pytest.raises(ValueError, match="certificates are needed"):
        await opener(f"tls:{tmp_path}:port=0")


@pytest.mark.filterwarnings("ignore::DeprecationWarning:OpenSSL")
@pytest.mark.filterwarnings("ignore::DeprecationWarning:twisted")
@pytest_twisted.ensureDeferred
async def test_ssl_stays_twisteds(opener, folder):
    """What Twisted encrypts keeps Twisted's transport, so that nothing can pass by the encryption."""
    pem = folder / "localhost.pem"
    port = await opener(f"ssl:0:interface=127.0.0.1:privateKey={pem}")
    assert (await ask(local(port), secure=True)).startswith("IPv4Address(type='TCP', host='127.0.0.1'")
    assert [file_sender(transport) for transport in opener.factory.transports] == [None]
    assert port.transport is not Server


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [("privateKey=/missing.pem", ".*No such file"), ("sslmethod=NONE_SUCH", ".*NONE_SUCH")],
)
@pytest_twisted.ensureDeferred
async def test_ssl_with_mistakes(opener, arguments, sentence):
    """A mistake that Twisted's endpoint finds is a sentence too."""
    with pytest.raises(ValueError, match=f"^cannot listen on 'ssl:0:{arguments}': {sentence}"):
        await opener(f"ssl:0:{arguments}")


@pytest_twisted.ensureDeferred
async def test_proxied(opener):
    """Behind haproxy the client is who the PROXY header says."""
    port = await opener("haproxy:tcp:0:interface=127.0.0.1")
    message = b"PROXY TCP4 198.51.100.7 192.0.2.1 1234 80\r\n?"
    assert (await ask(local(port), message)).startswith("IPv4Address(type='TCP', host='198.51.100.7'")
    (wrapper,) = opener.factory.transports
    assert file_sender(wrapper) is wrapper.transport


@pytest_twisted.ensureDeferred
async def test_unix(opener, tmp_path):
    """A unix socket has our transport and the permissions asked for."""
    path = str(tmp_path / "socket")
    port = await opener(f"unix:{path}:mode=600")
    assert isinstance(port, unix.Port)
    assert port.transport is UNIXServer
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert await ask(path) == "UNIXAddress(None)"
    assert urls(parse(f"unix:{path}"), port) == [f"unix:{path}"]


def stale_socket(path):
    with socket.socket(socket.AF_UNIX) as abandoned:
        abandoned.bind(path)


@pytest.mark.parametrize("lockfile", [0, 1])
@pytest_twisted.ensureDeferred
async def test_a_stale_unix_socket(opener, tmp_path, lockfile):
    """A unix socket that nobody listens on any more is replaced."""
    path = str(tmp_path / "socket")
    stale_socket(path)
    await opener(f"unix:{path}:lockfile={lockfile}")
    assert await ask(path) == "UNIXAddress(None)"


@pytest_twisted.ensureDeferred
async def test_a_unix_socket_in_use(opener, tmp_path):
    """A unix socket that somebody listens on is left alone."""
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(path)
        other.listen()
        with pytest.raises(CannotListenError) as caught:
            await opener(f"unix:{path}:lockfile=0")
        assert caught.value.port == path
        assert Path(path).is_socket()


@pytest_twisted.ensureDeferred
async def test_a_file_where_the_unix_socket_should_be(opener, tmp_path):
    """A file that is no socket is left alone."""
    path = tmp_path / "socket"
    path.write_text("precious")
    with pytest.raises(CannotListenError):
        await opener(f"unix:{path}:lockfile=0")
    assert path.read_text() == "precious"


@pytest.fixture
def activated(monkeypatch):
    """A listening socket that systemd has passed under the name web."""
    with socket.create_server(("127.0.0.1", 0)) as passed:
        descriptor = os.dup(passed.fileno())
        monkeypatch.setattr(systemdEndpointParser, "_sddaemon", ListenFDs([descriptor], ["web"]))
        yield passed.getsockname()


@pytest.mark.parametrize("description", ["systemd:domain=INET:index=0", "systemd:INET:name=web"])
@pytest_twisted.ensureDeferred
async def test_systemd(opener, activated, description):
    """An activated socket gets our transport."""
    port = await opener(description)
    assert port.transport is Server
    assert (await ask(activated)).startswith("IPv4Address(type='TCP', host='127.0.0.1'")


@pytest_twisted.ensureDeferred
async def test_systemd_with_tls(opener, activated, folder):
    """An activated socket speaks TLS when it is asked to."""
    where = f"systemd:INET:name=web:tls={folder}"
    port = await opener(where)
    assert (await ask(activated, secure=True)).startswith("IPv4Address(type='TCP', host='127.0.0.1'")
    assert urls(parse(where), port) == [f"https://127.0.0.1:{activated[1]}/"]


@pytest.mark.parametrize("description", ["systemd:domain=INET:index=0", "systemd:INET:name=web"])
@pytest_twisted.ensureDeferred
async def test_systemd_has_passed_nothing(opener, description):
    """When systemd has passed nothing, a sentence says so."""
    with pytest.raises(ValueError, match=f"^cannot listen on '{description}': systemd has not passed this socket"):
        await opener(description)


@pytest_twisted.ensureDeferred
async def test_the_handshake_timeout_is_passed_on(opener, folder):
    """The timeout of handshakes can be set."""
    port = await opener(f"tcp:0:tls={folder}", handshake_timeout=0.05)

    def silent():
        with socket.create_connection(local(port), timeout=10) as client:
            return client.recv(1)

    with pytest.raises(ConnectionResetError):
        await deferToThread(silent)


# A free port


def test_free_port():
    """The first port from the given one on that nobody listens on is found."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        found = free_port(number)
        assert number < found < number + 100
        assert free_port(found) == found
        assert free_port(number, EVERYWHERE) > number


def test_no_free_port():
    """When none of the ports tried is free, or there is none to try, the error names the first."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        with pytest.raises(CannotListenError) as caught:
            free_port(number, tries=1)
    assert (caught.value.interface, caught.value.port, caught.value.socketError.errno) == ("127.0.0.1", number, 98)
    with pytest.raises(CannotListenError):
        free_port(65536)


# All of them


@pytest_twisted.async_yield_fixture
async def server():
    made = Listeners(reactor, Answers(), CertificateService(reactor))
    yield made
    await made.stop()
    assert made.opened == []


@pytest_twisted.ensureDeferred
async def test_ports_change(server, tmp_path):
    """New ports are opened, those that are wanted no more are closed, and the others stay as they are."""
    path = str(tmp_path / "socket")
    await server.listen_on([parse("0"), parse(f"unix:{path}")])
    first, _ = server.opened
    assert [opened.urls for opened in server.opened] == [
        [f"http://127.0.0.1:{first.port.getHost().port}/"],
        [f"unix:{path}"],
    ]
    await server.listen_on([parse("tcp:0"), parse("0")])
    assert len(server.opened) == 2
    assert server.opened[1].port is first.port
    assert await ask(local(first.port))
    assert not os.path.exists(path)
    address = local(first.port)
    await server.stop()
    with pytest.raises(ConnectionRefusedError):
        await ask(address)


@pytest_twisted.ensureDeferred
async def test_all_or_nothing(server, folder):
    """When one of the new ports cannot be opened, everything stays as it was."""
    await server.listen_on([parse("0")])
    (before,) = server.opened
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        with pytest.raises(CannotListenError):
            await server.listen_on([parse("tcp:0:tls=" + str(folder)), parse(str(number))])
    with pytest.raises(ValueError, match="there is no file"):
        await server.listen_on([https(0, "/missing.pem")])
    assert server.opened == [before]
    assert (await ask(local(before.port))).startswith("IPv4Address")


@pytest_twisted.ensureDeferred
async def test_certificates_change(server, folder, tmp_path):
    """An open port takes other certificates, or stops to speak TLS, without being closed."""
    await server.listen_on([https(0, str(folder))])
    (before,) = server.opened
    copy = tmp_path / "copy.pem"
    copy.write_bytes((folder / "localhost.pem").read_bytes())
    await server.listen_on([https(0, str(copy))])
    assert server.opened[0].port is before.port
    assert (await ask(local(before.port), secure=True)).startswith("IPv4Address")
    assert [store.source for store in server._certificates.stores] == [Source(str(copy))]
    await server.listen_on([parse("0")])
    assert server.opened[0].port is before.port
    assert (await ask(local(before.port))).startswith("IPv4Address")
    assert server._certificates.stores == ()
