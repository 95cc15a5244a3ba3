"""
Bodies of any size, at any speed.
"""

import json

import pytest

from mixweb.features.lab._data import MAX_PIECES, alphabet, span

LETTERS = b"abcdefghijklmnopqrstuvwxyz" * 10


@pytest.mark.parametrize(
    ("path", "status", "size"),
    [
        ("/bytes/0", 200, 0),
        ("/bytes/1", 200, 1),
        ("/bytes/1024", 200, 1024),
        ("/bytes/200000", 200, 200_000),
        ("/bytes/1000001", 200, 1_000_000),
        ("/bytes/999999999999", 200, 1_000_000),
        ("/bytes/-1", 400, None),
        ("/bytes/x", 400, None),
        ("/bytes/1e3", 400, None),
        ("/bytes/5?seed=x", 400, None),
        ("/stream-bytes/0", 200, 0),
        ("/stream-bytes/100", 200, 100),
        ("/stream-bytes/1000?chunk_size=7", 200, 1000),
        ("/stream-bytes/100000?chunk_size=1", 200, 100_000),
        ("/stream-bytes/99999999", 200, 1_000_000),
        ("/stream-bytes/5?chunk_size=0", 400, None),
        ("/range/0", 400, None),
        ("/range/260", 200, 260),
        ("/range/99999999", 200, 1_000_000),
    ],
)
def test_sizes(path, status, size, make_lab):
    """So many bytes come, never more than the settings allow."""
    answer = make_lab(max_bytes=1_000_000).ask(f"/lab{path}")
    assert answer.status == status
    if size is not None:
        assert len(answer.body) == size
        assert answer["Content-Type"] == "application/octet-stream"
        assert answer["Content-Length"] == (None if "stream" in path else str(size))


@pytest.mark.parametrize("path", ["/bytes/100000", "/stream-bytes/100000"])
def test_seed(path, lab):
    """The same seed gives the same bytes, another one others."""
    bodies = [lab.ask(f"/lab{path}?seed={seed}").body for seed in (1, 1, 2)]
    assert bodies[0] == bodies[1] != bodies[2]
    assert lab.ask(f"/lab{path}").body != lab.ask(f"/lab{path}").body


def chunks(exchange):
    """The sizes of the chunks of an answer."""
    rest, sizes = exchange.received.partition(b"\r\n\r\n")[2], []
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        sizes.append(int(size, 16))
        rest = rest[sizes[-1] + 2 :]
    return sizes


@pytest.mark.parametrize(
    ("query", "sizes"), [("10?chunk_size=4", [4, 4, 2, 0]), ("10", [10, 0]), ("10241", [10240, 1, 0])]
)
def test_chunks(query, sizes, lab):
    """The chunks have the size that was asked for."""
    assert chunks(lab.open("GET", f"/lab/stream-bytes/{query}")) == sizes


def test_small_chunks_of_a_large_body(lab):
    """A large body comes in no more chunks than the limit, and others get their turn meanwhile."""
    exchange = lab.open("GET", f"/lab/stream-bytes/{MAX_PIECES * 3}?chunk_size=1")
    assert 0 < len(exchange.received) < 1000
    while not exchange.answers():
        lab.clock.advance(0)
    assert chunks(exchange) == [3] * MAX_PIECES + [0]


@pytest.mark.parametrize(("number", "lines"), [("0", 0), ("3", 3), ("1000", 20), ("-1", None), ("x", None)])
def test_stream(number, lines, make_lab):
    """So many lines of JSON come, each with its number."""
    answer = make_lab(max_lines=20).ask(f"/lab/stream/{number}?a=1")
    if lines is None:
        assert answer.status == 400
        return
    assert answer["Transfer-Encoding"] == ("chunked" if lines else None)
    found = [json.loads(line) for line in answer.body.splitlines()]
    assert [line["id"] for line in found] == list(range(lines))
    assert all(line["args"] == {"a": "1"} and line["url"].endswith("?a=1") for line in found)


@pytest.mark.parametrize(
    ("path", "seconds"),
    [
        ("/delay/0", 0),
        ("/delay/2", 2),
        ("/delay/0.5", 0.5),
        ("/delay/1000", 10),
        ("/drip?duration=0", 0),
        ("/drip?duration=0&delay=3", 3),
        ("/drip?duration=3&delay=1000&numbytes=1", 13),
        ("/drip", 2),
        ("/drip?numbytes=10000&duration=5", 5),
        ("/range/1000?duration=4", 4),
        ("/range/1000?duration=4&chunk_size=1", 4),
    ],
)
def test_time(path, seconds, lab):
    """Answers take the time that was asked for, never more than the settings allow."""
    exchange = lab.open("GET", f"/lab{path}")
    waited = 0.0
    while not exchange.answers():
        lab.clock.advance(0.001)
        waited += 0.001
        assert waited < 20
    assert waited == pytest.approx(seconds, abs=0.01)


@pytest.mark.parametrize("path", ["/delay/x", "/delay/-1", "/delay/nan", "/delay/1e1", "/jitter/inf", "/drip?duration=x",
                                  "/drip?delay=-1", "/drip?numbytes=0", "/drip?numbytes=x", "/drip?code=99",
                                  "/drip?code=600", "/range/5?duration=x", "/range/5?chunk_size=x"])  # fmt: skip
def test_time_refused(path, lab):
    """What is no time and no size is 400, at once."""
    assert lab.open("GET", f"/lab{path}").answer.status == 400


def test_jitter(lab):
    """The wait is no longer than was asked for, and another one each time."""
    exchanges = [lab.open("GET", "/lab/jitter/4") for _ in range(20)]
    lab.clock.advance(2)
    assert 0 < sum(len(exchange.answers()) for exchange in exchanges) < 20
    lab.clock.advance(2)
    assert all(exchange.answers() for exchange in exchanges)


@pytest.mark.parametrize(
    ("query", "status", "size"),
    [("", 200, 10), ("?code=503&numbytes=3", 503, 3), ("?code=204", 204, 0), ("?numbytes=99999999", 200, 1_000_000)],
)
def test_drip(query, status, size, make_lab):
    """So many stars come, with the status that was asked for, a little at a time."""
    lab = make_lab(max_bytes=1_000_000)
    exchange = lab.open("GET", f"/lab/drip{query}")
    early = len(exchange.received)
    answer = lab.ask(f"/lab/drip{query}")
    assert (answer.status, answer.body) == (status, b"*" * size)
    if size:
        assert early < len(exchange.received)


def test_head(lab):
    """HEAD tells the length and takes no time."""
    for path in ("/drip?duration=9&numbytes=50", "/range/50?duration=9", "/bytes/50"):
        answer = lab.request("HEAD", f"/lab{path}")
        assert (answer.status, answer["Content-Length"], answer.body) == (200, "50", b"")


def test_clients_that_leave(lab, failures):
    """Nothing goes on for a client that has left."""
    for path in ("/delay/5", "/drip?delay=5", "/drip?duration=5", "/range/100?duration=5", "/jitter/5", "/slow-headers/5",
                 "/stream-bytes/100000?chunk_size=1"):  # fmt: skip
        exchange = lab.open("GET", f"/lab{path}")
        lab.clock.advance(0)
        exchange.disconnect()
    lab.clock.advance(0)
    assert lab.clock.getDelayedCalls() == []
    assert failures == []


@pytest.mark.parametrize(
    ("headers", "status", "content_range", "body"),
    [
        ({}, 200, None, LETTERS[:60]),
        ({"Range": "bytes=0-9"}, 206, "bytes 0-9/60", LETTERS[:10]),
        ({"Range": "bytes=30-35"}, 206, "bytes 30-35/60", b"efghij"),
        ({"Range": "bytes=50-"}, 206, "bytes 50-59/60", LETTERS[50:60]),
        ({"Range": "bytes=50-99"}, 206, "bytes 50-59/60", LETTERS[50:60]),
        ({"Range": "bytes=-5"}, 206, "bytes 55-59/60", LETTERS[55:60]),
        ({"Range": "bytes=-99"}, 206, "bytes 0-59/60", LETTERS[:60]),
        ({"Range": "bytes=60-"}, 416, "bytes */60", None),
        ({"Range": "bytes=-0"}, 416, "bytes */60", None),
        ({"Range": "bytes=9-0"}, 200, None, LETTERS[:60]),
        ({"Range": "bytes=0-1,3-4"}, 200, None, LETTERS[:60]),
        ({"Range": "lines=0-1"}, 200, None, LETTERS[:60]),
        ({"Range": "bytes=+1-5"}, 200, None, LETTERS[:60]),
        ({"Range": "bytes=0-9", "If-Range": '"range60"'}, 206, "bytes 0-9/60", LETTERS[:10]),
        ({"Range": "bytes=0-9", "If-Range": '"other"'}, 200, None, LETTERS[:60]),
    ],
)
def test_range(headers, status, content_range, body, lab):
    """One part may be asked for."""
    answer = lab.ask("/lab/range/60", headers)
    assert (answer.status, answer["Content-Range"]) == (status, content_range)
    if body is not None:
        assert answer.body == body
        assert (answer["ETag"], answer["Accept-Ranges"]) == ('"range60"', "bytes")


@pytest.mark.parametrize(("start", "stop"), [(0, 0), (0, 26), (25, 27), (26, 30), (51, 110)])
def test_alphabet(start, stop):
    """Any part of the alphabet that repeats."""
    assert alphabet(start, stop) == LETTERS[start:stop]


def test_span():
    """A part that does not exist is told from one that cannot be read."""
    assert span(b"bytes=1-2", 5) == (1, 3)
    assert span(b"bytes=2-1", 5) is None
    with pytest.raises(ValueError, match="satisfiable"):
        span(b"bytes=5-", 5)


@pytest.mark.parametrize(
    ("value", "status", "kind", "body"),
    [
        ("SGVsbG8", 200, "text/plain; charset=utf-8", b"Hello"),
        ("SGVsbG8=", 200, "text/plain; charset=utf-8", b"Hello"),
        ("PHNjcmlwdD4=", 200, "text/plain; charset=utf-8", b"<script>"),
        ("_-8=", 200, "application/octet-stream", b"\xff\xef"),
        ("%2B-8=", 200, "application/octet-stream", b"\xfb\xef"),
        ("%2F%2B8=", 200, "application/octet-stream", b"\xff\xef"),
        ("!", 400, None, None),
        ("A", 400, None, None),
        ("%C3%A9", 400, None, None),
    ],
)
def test_base64(value, status, kind, body, lab):
    """The value is decoded, in both alphabets, padded or not; it is never sent as markup."""
    answer = lab.ask(f"/lab/base64/{value}")
    assert answer.status == status
    if body is not None:
        assert (answer["Content-Type"], answer.body) == (kind, body)


def test_uuid(lab):
    """A UUID is another one each time."""
    found = {json.loads(lab.ask("/lab/uuid").body)["uuid"] for _ in range(3)}
    assert len(found) == 3
