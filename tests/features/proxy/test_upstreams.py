"""
Several upstream servers: which of them is asked, and which is left alone.
"""

from collections import Counter

import pytest

from mixweb.features.proxy._target import Target
from mixweb.features.proxy._upstreams import Upstream, by_hash, least_connections, round_robin
from tests.upstreams import HELLO, Server


class Busy:
    """Stands for a pool."""

    tick = 0

    def __init__(self, busy=0):
        self.busy = busy


def upstreams(*weights, busy=()):
    """Servers with weights, and with so much to do."""
    busy = busy or [0] * len(weights)
    target = Target("http", "", 0, "", b"localhost", b"", False)
    return [
        Upstream(target, Busy(load), f"upstream {number}", weight)
        for number, (weight, load) in enumerate(zip(weights, busy, strict=True))
    ]


TURNS = [((1, 1, 1), "012012"), ((2, 1, 1), "01200120"), ((5, 1), "000100000100"), ((1,), "000")]


@pytest.mark.parametrize(("weights", "turns"), TURNS)
def test_round_robin(weights, turns):
    """Each server has its turn, those with more weight more often and evenly."""
    choices = upstreams(*weights)
    assert "".join(round_robin(choices, b"").name[-1] for _ in turns) == turns


LOADS = [((1, 1), (3, 2), "1"), ((3, 1), (3, 2), "0"), ((1, 1, 1), (0, 0, 0), "0"), ((1, 1, 1), (2, 1, 1), "1")]


@pytest.mark.parametrize(("weights", "busy", "chosen"), LOADS)
def test_least_connections(weights, busy, chosen):
    """The one with the least to do for its weight is asked."""
    assert least_connections(upstreams(*weights, busy=busy), b"").name[-1] == chosen


def test_hash():
    """A key means the same server every time; when one goes, only its keys go elsewhere, to all the others."""
    choices = upstreams(1, 1, 1, 1)
    keys = [b"%d" % number for number in range(4000)]
    before = {key: by_hash(choices, key).name for key in keys}
    assert all(900 < count < 1100 for count in Counter(before.values()).values())
    after = {key: by_hash(choices[1:], key).name for key in keys}
    moved = [key for key in keys if before[key] != after[key]]
    assert {before[key] for key in moved} == {choices[0].name}
    assert len({after[key] for key in moved}) == 3


def test_hash_by_weight():
    """A server with three times the weight has three times the keys."""
    choices = upstreams(3, 1)
    found = Counter(by_hash(choices, b"%d" % number).name for number in range(4000))
    assert 2.7 < found["upstream 0"] / found["upstream 1"] < 3.4


def named(count):
    """Servers that say who they are."""
    return [Server(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % number) for number in range(count)]


def asked(proxied, count=1, fields=()):
    """Who has answered so many requests."""
    return "".join(proxied.get("/", fields).text for _ in range(count))


def test_turns(behind):
    """Several servers are asked in turn."""
    assert asked(behind(*named(3)), 6) == "012012"


def test_weights(behind):
    """By their weights."""
    assert Counter(asked(behind(*named(2), weights=[3, 1]), 40)) == {"0": 30, "1": 10}


def test_least(behind):
    """The one with the fewest requests under way is asked."""
    servers = [Server(), *named(2)[1:]]
    proxied = behind(*servers, balance="least-connections")
    proxied.open("GET", "/")
    assert asked(proxied, 3) == "111"


def test_addresses(behind):
    """One address is always sent to the same server."""
    proxied = behind(*named(5), balance="address")
    found = {}
    for number in range(30):
        proxied.agent.peer = f"10.0.0.{number}"
        found[number] = asked(proxied, 3)
    assert all(text == text[0] * 3 for text in found.values())
    assert len(set(found.values())) > 2


def test_cookies(behind):
    """A client is given a cookie, and with it is always sent to the same server."""
    proxied = behind(*named(5), balance="cookie", cookie="node", at="/app")
    found = set()
    for _ in range(30):
        first = proxied.get("/app/")
        value, *attributes = first["Set-Cookie"].split("; ")
        assert attributes == ["Path=/app", "HttpOnly", "SameSite=lax"]
        again = proxied.get("/app/", {"Cookie": value})
        assert (again["Set-Cookie"], again.text) == (None, first.text)
        found.add(first.text)
    assert len(found) > 2


def test_secure_cookies(behind):
    """Over TLS the cookie is for TLS only."""
    assert "Secure" in behind(*named(2), balance="cookie", secure=True).get("/")["Set-Cookie"]


def test_no_cookie_for_one_server(behind):
    """Where there is one server, nothing has to be remembered."""
    assert behind(balance="cookie").get("/")["Set-Cookie"] is None


def test_another_is_asked(behind):
    """When one cannot be reached, the next one is asked, whatever the method."""
    proxied = behind(*named(3))
    proxied.servers[0].refuse()
    assert set(asked(proxied, 3)) == {"1", "2"}
    assert [proxied.request("POST", "/").status for _ in range(3)] == [200] * 3


def test_none_can_be_reached(behind):
    """When none can be reached, the client is told."""
    proxied = behind(*named(2))
    for server in proxied.servers:
        server.refuse()
    assert proxied.get("/").status == 502


def test_rest(behind):
    """One that has failed several times is left alone for a while."""
    proxied = behind(*named(2), max_failures=2, rest=5)
    bad, _ = proxied.servers
    bad.refuse()
    assert asked(proxied, 4) == "1111"
    bad.refusal = None
    assert asked(proxied, 4) == "1111"
    proxied.wait(5)
    assert "0" in asked(proxied, 4)


def test_rest_is_for_those_with_others(behind):
    """Where all are resting they are asked all the same."""
    proxied = behind(*named(2), max_failures=1, rest=50)
    for server in proxied.servers:
        server.refuse()
    proxied.get("/")
    for server in proxied.servers:
        server.refusal = None
    assert proxied.get("/").status == 200


def test_bad_answers_are_failures(behind):
    """A server that gives no answers is left alone, too; one that says 500 has answered."""
    bad, good = Server(b"garbage\r\n\r\n"), Server(b"HTTP/1.1 500 X\r\nContent-Length: 1\r\n\r\n1")
    proxied = behind(bad, good, max_failures=1, rest=50)
    assert [proxied.get("/").status for _ in range(4)] == [502, 500, 500, 500]


OUTCOMES = [
    (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", {}, True),
    (b"HTTP/1.1 302 F\r\nContent-Length: 0\r\n\r\n", {}, True),
    (b"HTTP/1.1 302 F\r\nContent-Length: 0\r\n\r\n", {"health_status": "200"}, False),
    (b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n", {}, False),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n", {}, True),
    (b"HTTP/1.1 103 E\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", {}, True),
    (b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\n\r\n", {}, False),
    (b"garbage", {}, False),
]


@pytest.mark.parametrize(("answer", "settings", "found"), OUTCOMES)
def test_health(answer, settings, found, behind):
    """A server is healthy when its health page has one of the statuses; else it is not asked: 503 when there is no other."""
    proxied = behind(Server(answer), health="/up", **settings)
    assert b"GET /up HTTP/1.1\r\nHost: localhost\r\n" in proxied.server.received
    before = len(proxied.server.accepted)
    status = proxied.open("GET", "/").answers()
    assert (before == len(proxied.server.accepted)) is not found
    assert found or status[0].status == 503


def test_health_again(behind):
    """A server that is healthy again is asked again."""
    bad, good = named(2)
    bad.answer = b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n"
    proxied = behind(bad, good, health="/up", health_interval=10)
    assert asked(proxied, 3) == "111"
    bad.answer = named(1)[0].answer
    proxied.wait(10)
    assert sorted(asked(proxied, 4)) == ["0", "0", "1", "1"]


def test_health_pages_that_do_not_come(behind):
    """A health page that does not come in time is one of a server that is not healthy; it is asked for again."""
    slow, good = Server(), named(2)[1]
    proxied = behind(slow, good, health="/up", health_interval=10, health_timeout=3)
    proxied.wait(5)
    assert asked(proxied, 3) == "111"
    assert slow.open == []
    proxied.wait(10)
    assert len(slow.accepted) == 2


def test_unreachable_health_pages(behind):
    """A server that cannot be reached is not healthy."""
    proxied = behind(Server(HELLO), health="/up", health_interval=10)
    proxied.server.refuse()
    for connection in proxied.server.open:
        connection.close()
    proxied.wait(10)
    assert proxied.get("/").status == 503


def test_health_ends_with_the_server(behind):
    """Health checks end with the server."""
    proxied = behind(Server(HELLO), health="/up", health_interval=10)
    proxied.services.stopService()
    proxied.wait(30)
    assert len(proxied.server.accepted) == 1
    assert proxied.server.open == []
    assert proxied.clock.getDelayedCalls() == []
