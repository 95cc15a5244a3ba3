"""
Requests of HTTP/2 through the proxy: what they bring becomes one request of HTTP/1.1, or none.
"""

import h2.config
import h2.connection
import h2.events
import pytest
from twisted.internet.address import IPv4Address

from mixweb.testing import MemoryTransport
from tests.upstreams import HELLO, Server

GET = {":method": "GET", ":path": "/x?y", ":scheme": "https", ":authority": "h.example"}


class Client:
    """An HTTP/2 client of a proxy in memory that sends whatever it is told to."""

    def __init__(self, proxied):
        self.clock = proxied.clock
        self.transport = MemoryTransport(True, IPv4Address("TCP", "127.0.0.1", 443), IPv4Address("TCP", "127.0.0.1", 5))
        self.transport.negotiatedProtocol = b"h2"
        self.transport.dataBuffer, self.transport._tempDataLen = b"", 0
        self.protocol = proxied.agent.site.buildProtocol(None)
        self.protocol.makeConnection(self.transport)
        settings = h2.config.H2Configuration(
            header_encoding="latin-1", validate_outbound_headers=False, normalize_outbound_headers=False
        )
        self.connection = h2.connection.H2Connection(settings)
        self.connection.initiate_connection()
        self.events = []
        self.exchange()

    def exchange(self):
        """Send what there is to send, and read what came back."""
        self.protocol.dataReceived(self.connection.data_to_send())
        for _ in range(20):
            self.clock.advance(0)
            received = self.transport.value()
            self.transport.clear()
            if not received:
                break
            self.events += self.connection.receive_data(received)
            self.protocol.dataReceived(self.connection.data_to_send())

    def ask(self, fields, body=b""):
        """Send a request."""
        self.connection.send_headers(1, list(fields.items()), end_stream=not body)
        if body:
            self.connection.send_data(1, body, end_stream=True)
        self.exchange()

    @property
    def status(self):
        """The status of the answer, if there is one."""
        found = [event for event in self.events if isinstance(event, h2.events.ResponseReceived)]
        return int(dict(found[0].headers)[":status"]) if found else None

    @property
    def body(self):
        """What has come of the body."""
        return b"".join(event.data for event in self.events if isinstance(event, h2.events.DataReceived))


def test_requests(behind):
    """A request is passed on with its path, host, fields and body."""
    proxied = behind(Server(HELLO), secure=True)
    client = Client(proxied)
    client.ask({**GET, "x-a": "1", "cookie": "a=b"})
    assert (client.status, client.body) == (200, b"hello")
    lines = proxied.server.received.decode().lower().split("\r\n")
    for line in (
        "get /x?y http/1.1",
        "x-a: 1",
        "cookie: a=b",
        "x-forwarded-host: h.example",
        "x-forwarded-proto: https",
    ):
        assert lines.count(line) == 1


@pytest.mark.parametrize("fields", [{}, {"content-length": "5"}])
def test_bodies(fields, behind):
    """A body arrives with a framing of our own, with and without a length."""
    proxied = behind(Server())
    client = Client(proxied)
    client.ask({**GET, ":method": "POST", **fields}, b"a=b&c")
    head, _, body = proxied.server.received.partition(b"\r\n\r\n")
    framings = [
        line for line in head.lower().split(b"\r\n") if line.startswith((b"content-length", b"transfer-encoding"))
    ]
    assert (framings, body) in [
        ([b"content-length: 5"], b"a=b&c"),
        ([b"transfer-encoding: chunked"], b"5\r\na=b&c\r\n0\r\n\r\n"),
    ]
    proxied.server.last.send(HELLO)
    client.exchange()
    assert (client.status, client.body) == (200, b"hello")


BAD = [
    {"x-a": "1\r\nX-Evil: 1"},
    {"x-a": "1\nX-Evil: 1"},
    {"x-a": "1\r"},
    {"x-a": "1\0"},
    {"x-a\r\nx-evil": "1"},
    {"x-a: 1\r\nx-evil": "1"},
    {"x a": "1"},
    {"x-a:": "1"},
    {"X-A": "1"},
    {"": "1"},
    {"transfer-encoding": "chunked"},
    {"connection": "close"},
    {"upgrade": "websocket"},
    {"content-length": "5, 6"},
    {"content-length": "x"},
    {":path": "/x HTTP/1.1\r\nX-Evil: 1\r\n\r\nGET /evil"},
    {":path": "/x\r\nX-Evil: 1"},
    {":path": "/x y"},
    {":path": "x"},
    {":path": ""},
    {":path": "/x#y"},
    {":path": "http://evil.example/"},
    {":method": "GET /evil HTTP/1.1\r\nX-Evil: 1\r\n\r\nGET"},
    {":method": "GE T"},
    {":authority": "h.example\r\nX-Evil: 1"},
    {":authority": "a/b@c d"},
    {"host": "evil.example"},
]  # fmt: skip


@pytest.mark.parametrize("fields", BAD, ids=repr)
def test_smuggling(fields, behind, failures):
    """What cannot be said in HTTP/1.1, or says two things about where a request ends, is not passed on."""
    proxied = behind(Server(HELLO))
    Client(proxied).ask({**GET, **fields})
    assert proxied.server.received == b""
    assert proxied.is_sound()
    assert failures == []


def test_a_length_without_a_body(behind):
    """A length that is announced and not kept is not passed on."""
    proxied = behind(Server(HELLO))
    Client(proxied).ask({**GET, "content-length": "7"})
    assert b"content-length" not in proxied.server.received.lower()


ASK = {
    ":method": "CONNECT", ":protocol": "websocket", ":path": "/chat", ":scheme": "https", ":authority": "h.example",
    "sec-websocket-version": "13", "sec-websocket-protocol": "chat", "origin": "https://h.example",
}  # fmt: skip
ACCEPT = (
    b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n"
    b"Sec-WebSocket-Protocol: chat\r\n\r\n"
)


def test_websockets(behind):
    """A WebSocket on a stream (RFC 8441) is one of HTTP/1.1 to the server."""
    proxied = behind(Server())
    proxied.agent.site.extended_connect = True
    client = Client(proxied)
    client.connection.send_headers(1, list(ASK.items()))
    client.exchange()
    lines = proxied.server.received.decode().split("\r\n")
    assert lines[0] == "GET /chat HTTP/1.1"
    for line in (
        "Upgrade: websocket",
        "Connection: Upgrade",
        "sec-websocket-version: 13",
        "sec-websocket-protocol: chat",
    ):
        assert lines.count(line) == 1
    assert [len(line) for line in lines if line.startswith("Sec-WebSocket-Key: ")] == [43]
    proxied.server.last.send(ACCEPT + b"\x81\x05hello")
    client.exchange()
    (head,) = [dict(event.headers) for event in client.events if isinstance(event, h2.events.ResponseReceived)]
    assert (head[":status"], head["sec-websocket-protocol"], client.body) == ("200", "chat", b"\x81\x05hello")
    assert {"sec-websocket-accept", "upgrade", "connection"}.isdisjoint(head)
    client.connection.send_data(1, b"\x81\x85abcdefghi")
    client.exchange()
    assert proxied.server.received.endswith(b"\r\n\r\n\x81\x85abcdefghi")
    client.connection.send_data(1, b"", end_stream=True)
    client.exchange()
    assert proxied.server.open == []
    assert proxied.is_sound()


def test_refused_websockets(behind):
    """A server that refuses one is passed back."""
    proxied = behind(Server(b"HTTP/1.1 403 F\r\nContent-Length: 2\r\n\r\nno"))
    proxied.agent.site.extended_connect = True
    client = Client(proxied)
    client.connection.send_headers(1, list(ASK.items()))
    client.exchange()
    assert (client.status, client.body) == (403, b"no")


def test_switches_unasked(behind):
    """An answer with another protocol to a request for a page is 502."""
    proxied = behind(Server(b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"))
    client = Client(proxied)
    client.ask(GET)
    assert client.status == 502
    assert b"Upgrade" not in proxied.server.received


def test_broken_answers(behind):
    """An answer that ends too soon ends its stream, and no other one."""
    proxied = behind(Server())
    client = Client(proxied)
    client.ask(GET)
    proxied.server.last.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
    proxied.server.last.close()
    client.exchange()
    assert [type(event) for event in client.events if isinstance(event, h2.events.StreamReset)] == [
        h2.events.StreamReset
    ]
