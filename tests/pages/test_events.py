"""
Server-sent events, and feeds of them.
"""

import pytest
from twisted.internet.defer import Deferred, succeed

from mixweb.pages import Event, Events, Feed, Pages
from mixweb.pages.events import HEARTBEAT
from mixweb.testing import SiteAgent


@pytest.mark.parametrize(
    ("event", "sent"),
    [
        (Event("hi"), "data: hi\n\n"),
        (Event("é\nb\r\nc\rd"), "data: é\ndata: b\ndata: c\ndata: d\n\n"),
        (Event(""), "data: \n\n"),
        (Event({"a": [1, None]}), 'data: {"a": [1, null]}\n\n'),
        (Event("x", name="n", id="7", retry=500), "event: n\nid: 7\nretry: 500\ndata: x\n\n"),
        (Event("x", name="a\ndata: evil", id="1\r\n2\0"), "event: a data: evil\nid: 1 2\ndata: x\n\n"),
        (Event(None), "data: null\n\n"),
    ],
)
def test_encoding(event, sent):
    """A message is written in lines that its content cannot leave."""
    assert event.encode().decode() == sent


def stream_of(source):
    """A client of a stream of events."""
    site = Pages()
    site.route("/")(lambda: Events(source))
    agent = SiteAgent(site)
    return agent, agent.open()


def body(exchange):
    """The pieces that have come so far."""
    data = exchange.received.partition(b"\r\n\r\n")[2]
    return [piece.partition(b"\r\n")[2].decode() for piece in data.split(b"\r\n\r\n") if piece][:]


def test_stream():
    """Events come as they are made, with the header that a browser and proxies want; the end of the source is the end."""

    async def source():
        yield "one"
        yield {"two": 2}
        await succeed(None)
        yield Event("three", id="3")

    _, exchange = stream_of(source())
    answer = exchange.answer
    assert (answer["Content-Type"], answer["Cache-Control"]) == ("text/event-stream", "no-store")
    assert answer.text == ':\n\ndata: one\n\ndata: {"two": 2}\n\nid: 3\ndata: three\n\n'


def test_heartbeat():
    """While there is nothing to say a comment is sent now and then."""
    waiting = Deferred()

    async def source():
        yield await waiting

    agent, exchange = stream_of(source())
    for count in (1, 2, 3):
        assert exchange.received.count(b":\n\n") == count
        agent.clock.advance(HEARTBEAT)
    agent.clock.advance(HEARTBEAT / 2)
    waiting.callback("at last")
    assert exchange.answer.text == ":\n\n" * 4 + "data: at last\n\n"
    assert agent.clock.getDelayedCalls() == []


def test_failure(failures):
    """When the source fails the connection is dropped, and the log says why."""

    async def source():
        yield "one"
        raise KeyError("x")

    _, exchange = stream_of(source())
    assert exchange.transport.aborted
    assert [failure.type for failure in failures] == [KeyError]


def test_client_that_leaves():
    """When the client leaves, the source is closed and nothing is left behind."""
    closed = []

    async def source():
        try:
            yield "one"
            await Deferred()
        finally:
            closed.append(True)

    agent, exchange = stream_of(source())
    exchange.disconnect()
    assert closed == [True]
    assert agent.clock.getDelayedCalls() == []


def test_feed():
    """A feed sends the same to all who listen at the time."""
    feed = Feed()
    agent, one = stream_of(feed)
    feed.send("a")
    two = agent.open()
    assert len(feed) == 2
    feed.send({"b": 1})
    assert b"data: a" in one.received
    assert b"data: a" not in two.received
    assert all(b'data: {"b": 1}\n\n' in exchange.received for exchange in (one, two))
    one.disconnect()
    assert len(feed) == 1
    feed.send("c")
    assert b"data: c" in two.received
    two.disconnect()


def test_slow_listener():
    """Who does not read is dropped when a hundred messages wait."""
    feed = Feed()
    _, exchange = stream_of(feed)
    exchange.transport.producer.pauseProducing()
    for number in range(200):
        feed.send(str(number))
    assert len(feed) == 1
    exchange.transport.producer.resumeProducing()
    exchange.site.reactor.advance(0)
    assert len(feed) == 0
    answer = exchange.answer
    assert answer.text.count("data:") <= 102
