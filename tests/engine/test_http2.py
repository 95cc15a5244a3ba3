"""
HTTP/2: what Twisted's framing leaves to us.
"""

import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest
from h2.errors import ErrorCodes
from hyperframe.frame import PriorityFrame, RstStreamFrame
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.web.resource import Resource

from mixweb.engine.site import Site
from mixweb.testing import MemoryTransport

HEADERS = [(":method", "GET"), (":path", "/"), (":scheme", "https"), (":authority", "localhost")]


class Page(Resource):
    """Answers with what it was given."""

    isLeaf = True

    def __init__(self, body):
        super().__init__()
        self.body = body

    def render_GET(self, request):
        return self.body


class Client:
    """An HTTP/2 client of a site, in memory."""

    def __init__(self, body=b"hello", **settings):
        self.clock = Clock()
        self.site = Site(Page(body), reactor=self.clock)
        self.site.http2 = "twisted"
        self.transport = MemoryTransport(True, IPv4Address("TCP", "127.0.0.1", 443), IPv4Address("TCP", "127.0.0.1", 5))
        self.transport.negotiatedProtocol = b"h2"
        self.transport.dataBuffer, self.transport._tempDataLen = b"", 0
        self.protocol = self.site.buildProtocol(None)
        self.protocol.makeConnection(self.transport)
        self.connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.connection.local_settings.update(settings)
        self.connection.initiate_connection()
        if settings:
            self.connection.update_settings(settings)
        self.events = []
        self.exchange()

    def exchange(self, more=b""):
        """Send what there is to send, and read what came back."""
        self.protocol.dataReceived(self.connection.data_to_send() + more)
        for _ in range(50):
            self.clock.advance(0)
            received = self.transport.value()
            self.transport.clear()
            if not received:
                break
            self.events += self.connection.receive_data(received)
            answer = self.connection.data_to_send()
            if answer:
                self.protocol.dataReceived(answer)

    def ask(self, stream):
        """Send a request."""
        self.connection.send_headers(stream, HEADERS, end_stream=True)

    def found(self, kind):
        """The events of a kind so far."""
        return [event for event in self.events if isinstance(event, kind)]


def test_answers():
    """A request is answered on its stream with our headers and body."""
    client = Client()
    client.ask(1)
    client.exchange()
    headers = dict(client.found(h2.events.ResponseReceived)[0].headers)
    assert (headers[":status"], headers["server"], headers["content-length"]) == ("200", "mixweb", "5")
    assert client.found(h2.events.DataReceived)[0].data == b"hello"
    assert len(client.found(h2.events.StreamEnded)) == 1


def test_drain():
    """A drained connection refuses new streams with GOAWAY, ends the running ones and closes when they are sent."""
    waiting = Deferred()
    client = Client(waiting)
    client.ask(1)
    client.exchange()
    (channel,) = client.site.channels
    assert len(channel.requests) == 1
    channel.drain()
    client.exchange()
    assert [event.last_stream_id for event in client.found(h2.events.ConnectionTerminated)] == [1]
    channel.check_timeouts(0)
    assert not client.transport.disconnecting
    waiting.callback(b"late")
    client.clock.advance(0)
    client.clock.advance(0)
    client.clock.advance(0)
    assert b"late" in client.transport.value()
    channel.check_timeouts(1)
    channel.check_timeouts(2)
    assert client.transport.disconnecting


def test_closed_window():
    """Under a closed window nothing is sent and nothing goes round; an update or a setting lets the answer go on."""
    for opening in ("update", "setting"):
        client = Client(b"x" * 1000)
        client.connection.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 0})
        client.exchange()
        client.ask(1)
        client.exchange()
        assert client.found(h2.events.DataReceived) == []
        assert len(client.clock.getDelayedCalls()) < 3
        if opening == "update":
            client.connection.increment_flow_control_window(1000, 1)
        else:
            client.connection.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 1000})
        client.exchange()
        assert b"".join(event.data for event in client.found(h2.events.DataReceived)) == b"x" * 1000


def test_rapid_reset(failures):
    """A request that is taken back in the packet that brings it is not answered, and nothing fails."""
    client = Client()
    for stream in range(1, 200, 2):
        client.ask(stream)
    taken_back = b"".join(RstStreamFrame(stream, error_code=8).serialize() for stream in range(1, 200, 2))
    client.exchange(taken_back)
    assert client.protocol is not None
    assert failures == []
    assert not [channel for channel in client.site.channels if channel.requests]


def test_priorities(failures):
    """Priorities of ever new streams end the connection with ENHANCE_YOUR_CALM."""
    client = Client()
    flood = b"".join(PriorityFrame(stream, depends_on=0, stream_weight=5).serialize() for stream in range(1, 4001, 2))
    client.protocol.dataReceived(client.connection.data_to_send() + flood)
    client.events += client.connection.receive_data(client.transport.value())
    assert client.found(h2.events.ConnectionTerminated)[0].error_code == ErrorCodes.ENHANCE_YOUR_CALM
    assert client.transport.disconnecting
    assert failures == []


@pytest.mark.parametrize("paused_twice", [True, False])
def test_paused_twice(paused_twice):
    """A transport may say more than once that it is blocked: what waits goes on when it is not."""
    client = Client(b"x" * 40_000)
    (channel,) = client.site.channels
    channel.pauseProducing()
    client.ask(1)
    client.exchange()
    if paused_twice:
        channel.pauseProducing()
    channel.resumeProducing()
    client.exchange()
    assert sum(len(event.data) for event in client.found(h2.events.DataReceived)) == 40_000
