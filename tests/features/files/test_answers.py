"""
Preconditions, ranges and large files through the front door.
"""

import os
import re

import pytest

from mixweb.features.files._send import CHUNK_BYTES, TURN_BYTES
from tests.features.files.conftest import BIG

SMALL = bytes(range(200))
MODIFIED = "Sun, 09 Sep 2001 01:46:40 GMT"
LATER = "Sun, 09 Sep 2001 01:46:41 GMT"
EARLIER = "Sun, 09 Sep 2001 01:46:39 GMT"


@pytest.fixture(params=[SMALL, BIG], ids=["small", "big"])
def content(request, add):
    """A file that is kept in memory, and one that is not."""
    add("a.txt", request.param)
    return request.param


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"If-None-Match": "{tag}"}, 304),
        ({"If-None-Match": '"x", W/{tag}'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"x"'}, 200),
        ({"If-None-Match": '"x"', "If-Modified-Since": MODIFIED}, 200),
        ({"If-Modified-Since": MODIFIED}, 304),
        ({"If-Modified-Since": LATER}, 304),
        ({"If-Modified-Since": EARLIER}, 200),
        ({"If-Modified-Since": "junk"}, 200),
        ({"If-Match": "{tag}"}, 200),
        ({"If-Match": '"x"'}, 412),
        ({"If-Match": "{tag}", "If-None-Match": "{tag}"}, 304),
        ({"If-Unmodified-Since": MODIFIED}, 200),
        ({"If-Unmodified-Since": EARLIER}, 412),
        ({"If-None-Match": "{tag}", "Range": "bytes=0-1"}, 304),
        ({"If-Match": '"x"', "Range": "bytes=0-1"}, 412),
        ({"If-Match": "{tag}", "Range": "bytes=0-1"}, 206),
        ({"Range": "bytes=0-1", "If-Range": "{tag}"}, 206),
        ({"Range": "bytes=0-1", "If-Range": MODIFIED}, 206),
        ({"Range": "bytes=0-1", "If-Range": "W/{tag}"}, 200),
        ({"Range": "bytes=0-1", "If-Range": '"x"'}, 200),
        ({"Range": "bytes=0-1", "If-Range": LATER}, 200),
        ({"Range": "bytes=0-1", "If-Range": "junk"}, 200),
        ({"Range": "bytes=999999-", "If-Range": '"x"'}, 200),
        ({"Range": "bytes=999999-"}, 416),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_preconditions(serve, content, method, fields, status, descriptors):
    """Each precondition has its effect on small and large files; a HEAD has no ranges."""
    agent = serve()
    tag = agent.get("/a.txt")["ETag"]
    before = descriptors()
    answer = agent.request(method, "/a.txt", {name: value.replace("{tag}", tag) for name, value in fields.items()})
    expected = 200 if method == "HEAD" and status in (206, 416) else status
    assert answer.status == expected
    assert descriptors() == before
    if expected == 200:
        assert answer.body == (content if method == "GET" else b"")
        assert answer["Content-Length"] == str(len(content))
    elif expected == 304:
        assert (answer.body, answer["ETag"], answer["Last-Modified"]) == (b"", tag, MODIFIED)
        assert answer["Content-Type"] is None
        assert answer["Content-Length"] == (None if method == "GET" else str(len(content)))


def test_after_304(serve, content):
    """The next request on the connection is served."""
    exchange = serve().open("GET", "/a.txt", {"If-None-Match": "*"})
    exchange.request("GET", "/a.txt")
    assert [(answer.status, len(answer.body)) for answer in exchange.answers()] == [(304, 0), (200, len(content))]


@pytest.mark.parametrize(
    ("value", "start", "end"),
    [
        ("bytes=0-9", 0, 10), ("bytes=20-", 20, None), ("bytes=-10", -10, None), ("bytes=10-999999999", 10, None),
        ("bytes=0-", 0, None), ("bytes=-999999999", 0, None), ("bytes=5-5,999999999-", 5, 6),
    ],
)  # fmt: skip
def test_one_range(serve, content, value, start, end):
    """The bytes asked for, where they are, and how many there are in all."""
    answer = serve().get("/a.txt", {"Range": value})
    expected = content[start:end]
    offset = start % len(content)
    assert (answer.status, answer.body) == (206, expected)
    assert answer["Content-Length"] == str(len(expected))
    assert answer["Content-Range"] == f"bytes {offset}-{offset + len(expected) - 1}/{len(content)}"


def test_no_such_range(serve, content):
    """Past the end is 416 with the length, and nothing that describes the file."""
    answer = serve().get("/a.txt", {"Range": f"bytes={len(content)}-"})
    assert (answer.status, answer["Content-Range"]) == (416, f"bytes */{len(content)}")
    assert (answer["ETag"], answer["Accept-Ranges"]) == (None, None)


def parts(answer):
    """The parts of a multipart answer: type, place and content."""
    boundary = re.fullmatch(r"multipart/byteranges; boundary=(\w+)", answer["Content-Type"])[1].encode()
    before, *found, after = answer.body.split(b"--" + boundary)
    assert (before, after) == (b"\r\n", b"--\r\n")
    for part in found:
        head, _, body = part.partition(b"\r\n\r\n")
        fields = dict(line.split(b": ") for line in head.strip().split(b"\r\n"))
        yield fields[b"Content-Type"], fields[b"Content-Range"], body.removesuffix(b"\r\n")


def test_several_ranges(serve, content):
    """Several ranges come as parts, each with its type and place."""
    answer = serve().get("/a.txt", {"Range": "bytes=100-150, 0-1,-5, 999999999-"})
    size = len(content)
    assert answer.status == 206
    assert answer["Content-Range"] is None
    assert list(parts(answer)) == [
        (b"text/plain; charset=utf-8", b"bytes 100-150/%d" % size, content[100:151]),
        (b"text/plain; charset=utf-8", b"bytes 0-1/%d" % size, content[:2]),
        (b"text/plain; charset=utf-8", b"bytes %d-%d/%d" % (size - 5, size - 1, size), content[-5:]),
    ]


@pytest.mark.parametrize(
    "value",
    [
        "bytes=" + ",".join(["0-"] * 1000),
        "bytes=" + ",".join(["0-"] * 3),
        "bytes=" + ",".join(f"{number * 2}-{number * 2}" for number in range(5000)),
        "bytes=" + ",".join(f"{number % 60}-{number % 60}" for number in range(500)),
        "bytes=" + "0-0," * 10_000 + "1-1",
        "bytes=" + "," * 10_000,
        "bytes=" + "9" * 10_000,
        "bytes=+1-5", "bytes=0-1_0", "bytes=--5", "bytes=9-3", "lines=0-1", "bytes=abc",
    ],
)  # fmt: skip
def test_greedy_ranges(serve, content, value):
    """Many, overlapping or malformed ranges never make more than the file itself."""
    answer = serve().get("/a.txt", {"Range": value})
    assert (answer.status, answer.body) == (200, content)


def test_ranges_in_two_lines(serve, content):
    """A Range in several lines is one list."""
    answer = serve().get("/a.txt", [("Range", "bytes=0-0"), ("Range", "2-2")])
    assert [body for _, _, body in parts(answer)] == [content[:1], content[2:3]]


@pytest.fixture
def huge(add):
    """A file of several turns."""
    content = os.urandom(TURN_BYTES * 3 + 1234)
    add("huge", content)
    return content


@pytest.mark.parametrize("ranges", [None, "bytes=7-", "bytes=0-600000,700000-1500000"])
def test_turns(serve, huge, ranges, descriptors):
    """A large answer is written in turns between which others get theirs, and its file closed in the end."""
    agent = serve()
    before = descriptors()
    exchange = agent.open("GET", "/huge", {"Range": ranges} if ranges else {})
    other = agent.get("/")
    assert other.status == 200
    assert len(exchange.received) < TURN_BYTES + CHUNK_BYTES + 1000
    assert descriptors() == before + 1
    agent.clock.advance(0)
    answer = exchange.answer
    if ranges and "," in ranges:
        assert [body for _, _, body in parts(answer)] == [huge[:600_001], huge[700_000:1_500_001]]
    else:
        assert answer.body == huge[7 if ranges else 0 :]
    assert descriptors() == before
    assert agent.clock.getDelayedCalls() == []


def test_backpressure(serve, huge):
    """Nothing is read while the client takes nothing."""
    agent = serve()
    exchange = agent.open("GET", "/huge")
    exchange.protocol.pauseProducing()
    sent = len(exchange.received)
    agent.clock.pump([1] * 5)
    assert len(exchange.received) == sent
    exchange.protocol.resumeProducing()
    agent.clock.advance(0)
    assert exchange.answer.body == huge


@pytest.mark.parametrize("paused", [True, False])
def test_client_leaves(serve, huge, descriptors, failures, paused):
    """When the client leaves, the file is closed and nothing is left to do."""
    agent = serve()
    before = descriptors()
    exchange = agent.open("GET", "/huge")
    if paused:
        exchange.protocol.pauseProducing()
    exchange.disconnect()
    agent.clock.advance(0)
    assert descriptors() == before
    assert failures == []


@pytest.mark.parametrize("size", [TURN_BYTES // 2, TURN_BYTES + 100, TURN_BYTES + CHUNK_BYTES * 2])
def test_file_shrinks(serve, huge, root, descriptors, failures, size):
    """A file that gets shorter while it is sent has the connection dropped: nothing is made up."""
    agent = serve()
    before = descriptors()
    exchange = agent.open("GET", "/huge")
    os.truncate(root / "huge", size)
    agent.clock.advance(0)
    assert exchange.transport.aborted
    exchange.disconnect()
    body = exchange.received.partition(b"\r\n\r\n")[2]
    assert huge.startswith(body)
    assert len(body) < len(huge)
    assert descriptors() == before
    assert failures == []


def test_file_grows(serve, huge, root):
    """A file that grows while it is sent is sent as long as it was."""
    agent = serve()
    exchange = agent.open("GET", "/huge")
    with (root / "huge").open("ab") as file:
        file.write(b"more")
    agent.clock.advance(0)
    assert exchange.answer.body == huge


def test_small_file_changes_size(serve, add, monkeypatch):
    """A small file that changed between being opened and being read is sent as it was read."""
    path = add("a", b"before")
    pread = os.pread

    def late(descriptor, count, offset):
        path.write_bytes(b"and after")
        return pread(descriptor, count, offset)

    monkeypatch.setattr("mixweb.features.files._represent.os.pread", late)
    answer = serve().get("/a")
    assert (answer.body, answer["Content-Length"]) == (b"and after", "9")


@pytest.mark.parametrize("content", [b"original", BIG])
@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        ("gzip, br, zstd", "br"),
        ("gzip, zstd", "zstd"),
        ("gzip", "gzip"),
        ("gzip;q=0", None),
        ("br;q=0, *", "zstd"),
        (None, None),
    ],
)
def test_precompressed(serve, add, settled, content, accept, coding):
    """The compressed file beside a file is sent to those who take it, with a tag of its own; caches are told."""
    add("a.js", content)
    for ending in ("br", "zst", "gz"):
        add(f"a.js.{ending}", f"in {ending}")
    agent = serve()
    plain = agent.get("/a.js")["ETag"]
    for _ in range(2):
        answer = agent.get("/a.js", {"Accept-Encoding": accept} if accept else {})
        ending = {"br": "br", "zstd": "zst", "gzip": "gz"}.get(coding)
        assert answer.body == (f"in {ending}".encode() if ending else content)
        assert (answer["Content-Encoding"], answer["Vary"]) == (coding, "Accept-Encoding")
        assert answer["Content-Type"] == "text/javascript; charset=utf-8"
        assert (answer["ETag"] == plain) == (coding is None)
    if coding:
        fields = {"Accept-Encoding": accept, "If-None-Match": answer["ETag"]}
        unchanged = agent.get("/a.js", fields)
        assert (unchanged.status, unchanged["Vary"]) == (304, "Accept-Encoding")
        assert agent.get("/a.js", {"Accept-Encoding": accept, "Range": "bytes=0-1"}).body == b"in"


def test_old_compressed_files(serve, add, root, settled):
    """A compressed file that is older than the file, a directory, or outside is not sent."""
    add("a.js", "new", 2_000_000_000.0)
    add("a.js.gz", "old", 1_999_999_999.0)
    add("b.js")
    (root / "b.js.gz").mkdir()
    add("c.js")
    (root.parent / "secret.gz").write_text("secret")
    (root / "c.js.gz").symlink_to("../secret.gz")
    agent = serve()
    for path in ("/a.js", "/b.js", "/c.js"):
        answer = agent.get(path, {"Accept-Encoding": "gzip"})
        assert (answer.status, answer["Content-Encoding"]) == (200, None)


def test_compressed_files_come_and_go(serve, add, settled):
    """A compressed file is seen within a second of being made, and missed at once; a new original puts it out of use."""
    add("a.js", "original")
    agent = serve()
    fields = {"Accept-Encoding": "gzip"}
    assert agent.get("/a.js", fields).text == "original"
    compressed = add("a.js.gz", "compressed")
    agent.clock.advance(1.1)
    assert [agent.get("/a.js", fields).text for _ in range(2)] == ["compressed"] * 2
    add("a.js", "changed", 1_500_000_000.0)
    assert agent.get("/a.js", fields).text == "changed"
    add("a.js.gz", "again", 1_500_000_000.0)
    agent.clock.advance(1.1)
    assert agent.get("/a.js", fields).text == "again"
    compressed.unlink()
    assert agent.get("/a.js", fields).text == "changed"


def test_not_precompressed(serve, add):
    """It can be switched off; then the files beside are files of their own."""
    add("a.js", "original")
    add("a.js.gz", "compressed")
    agent = serve(precompressed=False)
    answer = agent.get("/a.js", {"Accept-Encoding": "gzip"})
    assert (answer.text, answer["Vary"]) == ("original", None)
    assert agent.get("/a.js.gz").text == "compressed"


def test_large_compressed_file(serve, add, descriptors):
    """Compressed files may be large too."""
    add("a.js", b"original")
    add("a.js.br", BIG)
    agent = serve()
    before = descriptors()
    answer = agent.get("/a.js", {"Accept-Encoding": "br"})
    assert (answer.body, answer["Content-Encoding"]) == (BIG, "br")
    assert descriptors() == before
