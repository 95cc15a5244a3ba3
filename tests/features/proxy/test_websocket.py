"""
WebSockets through the proxy.
"""

import pytest

from tests.upstreams import HELLO, Server

ASK = {
    "Upgrade": "websocket",
    "Connection": "keep-alive, Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Protocol": "chat",
    "Origin": "http://localhost",
}
ACCEPT = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
)


@pytest.fixture
def joined(behind):
    """A WebSocket through a proxy: (proxy, the client's exchange, the server's connection)."""
    proxied = behind(Server())
    exchange = proxied.open("GET", "/chat", ASK)
    proxied.server.last.send(ACCEPT)
    return proxied, exchange, proxied.server.last


def test_the_handshake(joined):
    """The request is passed on with its upgrade, and so is the answer."""
    _, exchange, server = joined
    lines = server.received.decode().split("\r\n")
    for line in ("Upgrade: websocket", "Connection: Upgrade", *(f"{name}: {ASK[name]}" for name in list(ASK)[2:])):
        assert lines.count(line) == 1
    assert exchange.answer.status == 101
    assert exchange.answer["Upgrade"] == "websocket"
    assert exchange.answer["Connection"] == "Upgrade"
    assert exchange.answer["Sec-WebSocket-Accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert exchange.answer["Sec-WebSocket-Protocol"] == "chat"


def test_bytes_both_ways(joined):
    """What comes on one side leaves on the other, as it is."""
    _, exchange, server = joined
    exchange.send(b"\x81\x85abcdefghi")
    assert server.received.endswith(b"\r\n\r\n\x81\x85abcdefghi")
    server.send(b"\x81\x05hello")
    assert exchange.received.endswith(b"\r\n\r\n\x81\x05hello")


def test_what_comes_with_the_answer(behind):
    """The first frame may come in one piece with the answer."""
    proxied = behind(Server())
    exchange = proxied.open("GET", "/chat", ASK)
    proxied.server.last.send(ACCEPT + b"\x81\x05hello")
    assert exchange.received.endswith(b"\r\n\r\n\x81\x05hello")


def test_the_client_leaves(joined):
    """When the client leaves, the server's connection is closed."""
    proxied, exchange, _ = joined
    exchange.disconnect()
    assert proxied.server.open == []
    assert proxied.is_sound()


def test_the_server_leaves(joined):
    """When the server closes, what it has said is sent, and the client's connection is closed."""
    proxied, exchange, server = joined
    server.send(b"\x88\x00")
    server.close()
    assert exchange.received.endswith(b"\x88\x00")
    assert exchange.transport.disconnecting
    assert proxied.is_sound()


def test_backpressure(joined):
    """Each side is read no faster than the other one takes it."""
    _, exchange, server = joined
    assert exchange.transport.producer is server.wire
    assert server.wire.producer is exchange.transport
    exchange.transport.producer.pauseProducing()
    assert not server.reading
    exchange.transport.producer.resumeProducing()
    assert server.reading
    server.fill()
    assert exchange.transport.producerState == "paused"
    server.drain()
    assert exchange.transport.producerState == "producing"


def test_servers_that_refuse(behind):
    """A server that answers in another way is passed back as always, and its connection is kept."""
    proxied = behind(Server(HELLO))
    assert proxied.get("/chat", ASK).text == "hello"
    assert len(proxied.server.open) == 1


def test_idle_tunnels_are_kept(joined):
    """A WebSocket may be silent for as long as it likes."""
    proxied, exchange, server = joined
    proxied.wait(1000)
    server.send(b"\x89\x00")
    assert exchange.received.endswith(b"\x89\x00")


def test_the_server_stops(joined):
    """A WebSocket does not hold up a server that stops."""
    proxied, exchange, _ = joined
    exchange.protocol.drain()
    assert exchange.transport.disconnecting
    assert proxied.server.open == []


NOT_ASKED = [
    ({**ASK, "Upgrade": "h2c"}, {}),
    ({**ASK, "Connection": "keep-alive"}, {}),
    ({name: value for name, value in ASK.items() if name != "Upgrade"}, {}),
    (ASK, {"websocket": False}),
]


@pytest.mark.parametrize(("fields", "settings"), NOT_ASKED)
def test_no_other_upgrades(fields, settings, behind):
    """No other upgrade is passed on, so a server cannot be had to take what follows for something else."""
    proxied = behind(Server(HELLO), **settings)
    assert proxied.get("/chat", fields).text == "hello"
    assert b"Upgrade:" not in proxied.server.received
    assert b"Connection:" not in proxied.server.received


def test_only_get(behind):
    """A WebSocket begins with GET."""
    proxied = behind(Server(HELLO))
    proxied.request("POST", "/chat", ASK)
    assert b"Upgrade:" not in proxied.server.received


@pytest.mark.parametrize("upgrade", [b"", b"Upgrade: h2c\r\n"])
def test_other_protocols(upgrade, behind):
    """A server that switches to something else is 502."""
    proxied = behind(Server())
    exchange = proxied.open("GET", "/chat", ASK)
    proxied.server.last.send(b"HTTP/1.1 101 S\r\n" + upgrade + b"Connection: Upgrade\r\n\r\n")
    assert exchange.answer.status == 502
    assert proxied.server.open == []
