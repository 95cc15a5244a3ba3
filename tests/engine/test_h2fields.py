"""
Requests of HTTP/2 and the fields of their answers: validation, what is remembered, what is sent.

``MIXWEB_FUZZ=100000`` makes that many connections, other ones in each run.
"""

from __future__ import annotations

import os
from itertools import permutations

import hpack as other
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.web.http_headers import Headers

from mixweb.engine import _h2_response, h2fields
from mixweb.engine._head import Limits
from mixweb.engine._headers import DefaultFields, RequestFields, ResponseFields
from mixweb.engine.h2fields import MalformedRequest, RequestReader, RequestRefusal, response_block
from mixweb.engine.hpack import HpackError, encode_field, encode_integer, encode_string

ASKED = int(os.environ.get("MIXWEB_FUZZ", "0"))

fuzz = settings(
    max_examples=ASKED or 300,
    derandomize=not ASKED,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

GET = [":method GET", ":scheme https", ":authority a", ":path /"]
CONNECT = [":method CONNECT", ":protocol websocket", ":scheme https", ":path /chat?x", ":authority a"]


def fields(lines):
    """``name value`` as fields."""
    split = [line.encode("latin-1").partition(b" ") for line in lines]
    return [(name, value) for name, _, value in split]


def block(lines):
    """``name value`` as a block that leaves the dynamic table as it is."""
    return b"".join(encode_field(name, value) for name, value in fields(lines))


def without(name):
    """A GET without one of its pseudo-fields."""
    return [line for line in GET if not line.startswith(name + " ")]


@pytest.mark.parametrize(
    ("lines", "method", "target", "pairs"),
    [
        (GET, b"GET", b"/", ["host a"]),
        (GET[::-1], b"GET", b"/", ["host a"]),
        ([*GET, "host A."], b"GET", b"/", ["host a"]),
        ([*without(":authority"), "host b:80"], b"GET", b"/", ["host b:80"]),
        ([*without(":authority"), "x y", "host [::1]:80", "a b"], b"GET", b"/", ["host [::1]:80", "x y", "a b"]),
        ([*without(":path"), ":path //x/../%00?a=b|{c}&[d]"], b"GET", b"//x/../%00?a=b|{c}&[d]", ["host a"]),
        ([*GET[1:], ":method OPTIONS"], b"OPTIONS", b"/", ["host a"]),
        ([":method OPTIONS", ":scheme http", ":path *", ":authority a"], b"OPTIONS", b"*", ["host a"]),
        ([*GET[1:], ":method M-X!"], b"M-X!", b"/", ["host a"]),
        ([*without(":scheme"), ":scheme coap+tcp"], b"GET", b"/", ["host a"]),
        ([*GET, "te trailers"], b"GET", b"/", ["host a", "te trailers"]),
        ([*GET, "x", "x \x80\xff", "x a\tb"], b"GET", b"/", ["host a", "x", "x \x80\xff", "x a\tb"]),
        (
            [*GET, "cookie a=b", "x y", "cookie c=d", "cookie e=f"],
            *(b"GET", b"/", ["host a", "x y", "cookie a=b; c=d; e=f"]),
        ),
        ([*GET, "expect 100-Continue"], b"GET", b"/", ["host a", "expect 100-Continue"]),
    ],
)
def test_requests(lines, method, target, pairs):
    """The head of a request: its line, and its fields with the host in front and the cookies in one line."""
    head = RequestReader().read(block(lines))
    assert (head.method, head.target, head.protocol) == (method, target, None)
    assert list(head.fields.pairs) == fields(pairs)
    assert head.authority == head.fields.host == head.fields.pairs[0][1]
    assert head.length is head.fields.length is None
    assert head.fields.close is False


MALFORMED = {
    "nothing": [],
    "no method": without(":method"),
    "no scheme": without(":scheme"),
    "no path": without(":path"),
    "no authority": without(":authority"),
    "a pseudo-field twice": [*GET, ":path /"],
    "a pseudo-field twice, the same": [":path /", *GET],
    "three pseudo-fields, one twice": [*without(":authority"), ":path /", "host a"],
    "a pseudo-field of an answer": [*GET, ":status 200"],
    "an unknown pseudo-field": [*GET, ":x y"],
    "a protocol without CONNECT": [*GET, ":protocol websocket"],
    "a pseudo-field behind a field": [*GET[:3], "x y", ":path /"],
    "a pseudo-field behind all": [*GET, "x y", ":path /"],
    "an empty method": [":method ", *without(":method")],
    "a method that is no token": [":method G T", *without(":method")],
    "an empty path": [":path ", *without(":path")],
    "a path without slash": [":path x", *without(":path")],
    "a path with a space": [":path /a b", *without(":path")],
    "a path with a control": [":path /\n", *without(":path")],
    "a path with a fragment": [":path /#x", *without(":path")],
    "a path with octets over 127": [":path /\xff", *without(":path")],
    "an absolute path": [":path https://a/", *without(":path")],
    "a star": [":path *", *without(":path")],
    "an empty scheme": [":scheme ", *without(":scheme")],
    "a malformed scheme": [":scheme ht tp", *without(":scheme")],
    "an empty authority": [":authority ", *without(":authority")],
    "user information": [":authority x@a", *without(":authority")],
    "a malformed port": [":authority a:x", *without(":authority")],
    "a malformed address": [":authority [::g]", *without(":authority")],
    "another host": [*GET, "host b"],
    "another port": [*GET, "host a:80"],
    "a malformed host": [*GET, "host a/b"],
    "two hosts": [*GET, "host a", "host a"],
    "two hosts, no authority": [*without(":authority"), "host a", "host a"],
    "an empty host": [*without(":authority"), "host "],
    "a name in upper case": [*GET, "X y"],
    "an empty name": [*GET, " y"],
    "a name that is no token": [*GET, "x( y"],
    "a name with a colon": [*GET, "x: y"],
    "a name with octets over 127": [*GET, "\xff y"],
    "a name with NUL": [*GET, "x\0a\0b y"],
    "a value with NUL": [*GET, "x y\0"],
    "a value with NUL that looks like fields": [*GET, "x y\0a\0b"],
    "a value with CR": [*GET, "x y\rz"],
    "a value with LF": [*GET, "x y\nz"],
    "a value with a control": [*GET, "x y\x7f"],
    "a value behind a space": [*GET, "x  y"],
    "a value before a space": [*GET, "x y "],
    "a value behind a tab": [*GET, "x \ty"],
    "a value of a space": [*GET, "x  "],
    "connection": [*GET, "connection close"],
    "keep-alive": [*GET, "keep-alive 5"],
    "proxy-connection": [*GET, "proxy-connection keep-alive"],
    "transfer-encoding": [*GET, "transfer-encoding chunked"],
    "upgrade": [*GET, "upgrade websocket"],
    "te": [*GET, "te gzip"],
    "te, twice": [*GET, "te trailers", "te trailers"],
    "te, more": [*GET, "te trailers, gzip"],
    "content-length, no number": [*GET, "content-length x"],
    "content-length, a sign": [*GET, "content-length +5"],
    "content-length, twice": [*GET, "content-length 5", "content-length 5"],
    "content-length, a list": [*GET, "content-length 5, 5"],
    "CONNECT with all": [":method CONNECT", *without(":method")],
    "CONNECT without authority": [":method CONNECT"],
    "CONNECT, malformed": [":method CONNECT", ":authority a b"],
    "extended CONNECT": CONNECT,
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed(name):
    """What RFC 9113, 8.1 to 8.3 calls malformed is an error of the stream; the next request is read as ever."""
    reader = RequestReader()
    for _ in range(2):
        with pytest.raises(MalformedRequest):
            reader.read(block(MALFORMED[name]))
    assert reader.read(block(GET)).target == b"/"


@pytest.mark.parametrize(
    ("lines", "status", "method", "target"),
    [
        ([":method CONNECT", ":authority a:443"], 501, b"CONNECT", b"a:443"),
        ([*GET, "expect x"], 417, b"GET", b"/"),
        ([*GET, f"content-length {2**63}"], 413, b"GET", b"/"),
        ([*GET, *["x y"] * 21], 431, b"GET", b"/"),
        ([*GET, "x " + "y" * 1024], 431, b"GET", b"/"),
        (["x " + "y" * 1024, *GET], 431, b"-", b"-"),
        ([*without(":path"), "x " + "y" * 1024], 431, b"-", b"-"),
        ([":path /" + "y" * 1024, *without(":path")], 431, b"-", b"-"),
        ([":path /\n", *without(":path"), "x " + "y" * 1024], 431, b"-", b"-"),
        ([":path /" + "y" * 100, *without(":path")], 414, b"GET", b"-"),
    ],
)
def test_refusals(lines, status, method, target):
    """What is no error of the client's HTTP/2 is answered, with the method and target if they are well-formed."""
    reader = RequestReader(Limits(request_line=100, field_section=1024, fields=20))
    for _ in range(2):
        with pytest.raises(RequestRefusal) as caught:
            reader.read(block(lines))
        refusal = caught.value
        assert (refusal.status, refusal.method, refusal.target) == (status, method, target)
    assert reader.read(block(GET)).target == b"/"


@pytest.mark.parametrize(("value", "length"), [("0", 0), ("5", 5), ("005", 5), (f"{2**63 - 1}", 2**63 - 1)])
def test_length(value, length):
    """The length that a request announces."""
    head = RequestReader().read(block([*GET, f"content-length {value}"]))
    assert head.length == head.fields.length == length


def test_extended_connect():
    """An extended CONNECT names its protocol when it is allowed, and needs everything that other requests have."""
    reader = RequestReader(extended_connect=True)
    for lines in permutations(CONNECT):
        head = reader.read(block([*lines, "x y"]))
        assert (head.method, head.protocol, head.target, head.authority) == (b"CONNECT", b"websocket", b"/chat?x", b"a")
        assert list(head.fields.pairs) == fields(["host a", "x y"])
    for line in CONNECT:
        with pytest.raises(MalformedRequest):
            reader.read(block([other for other in CONNECT if other != line]))
    with pytest.raises(MalformedRequest):
        reader.read(block([*CONNECT[1:], ":method GET"]))


def test_request_fields():
    """Our request's headers are made of the fields as they are made of those of HTTP/1."""
    head = RequestReader().read(block([*GET, "cookie a=b", "x-y 1", "cookie c=d", "x-y 2"]))
    headers = RequestFields(head.fields)
    assert headers.getRawHeaders(b"Cookie") == [b"a=b; c=d"]
    assert headers.getRawHeaders("x-y") == ["1", "2"]
    assert headers.hasHeader(b"Host")
    headers.addRawHeader(b"X-Y", b"3")
    assert dict(headers.getAllRawHeaders())[b"X-Y"] == [b"1", b"2", b"3"]
    assert RequestFields(head.fields).getRawHeaders(b"x-y") == [b"1", b"2"]


@pytest.mark.parametrize(
    ("lines", "accepted"),
    [
        ([], True),
        (["grpc-status 0", "x y"], True),
        ([":path /"], False),
        (["X y"], False),
        (["x y\r\nz"], False),
        (["connection close"], False),
        (["x " + "y" * 1024], False),
    ],
)
def test_trailers(lines, accepted):
    """Trailers are looked at as the fields of a head are, and have no pseudo-fields."""
    reader = RequestReader(Limits(field_section=1024))
    if accepted:
        reader.read_trailers(block(lines))
    else:
        with pytest.raises(MalformedRequest):
            reader.read_trailers(block(lines))
    with pytest.raises(HpackError):
        reader.read_trailers(b"\xbe")


def test_skip():
    """A block that is not wanted changes the table all the same, be it too large; errors of HPACK stay errors."""
    reader = RequestReader(Limits(field_section=1024))
    reader.skip(b"\x40\x01x\x01y" + b"\xbe" * 100)
    assert reader.read(block(GET) + b"\xbe").fields.pairs[1] == (b"x", b"y")
    with pytest.raises(HpackError):
        reader.skip(b"\xbf")


def counting(monkeypatch):
    """Count the sections that are read anew."""
    read, calls = h2fields._read_fields, []
    monkeypatch.setattr(h2fields, "_read_fields", lambda *given: calls.append(given) or read(*given))
    return calls


def test_blocks_are_remembered():
    """The same block gives the same head, until the table changes: then it may mean something else."""
    reader = RequestReader()
    reader.skip(b"\x40\x01x\x01y")
    again = block(GET) + b"\xbe"
    head = reader.read(again)
    assert reader.read(again) is head
    reader.read_trailers(b"\x40\x01x\x01z")
    assert reader.read(again).fields.pairs[1] == (b"x", b"z")
    reader.skip(b"\x20")
    with pytest.raises(HpackError):
        reader.read(again)


def test_block_that_changes_the_table():
    """A block that changes the table is decoded each time."""
    reader = RequestReader()
    growing = block(GET) + b"\x40\x01x\x01y"
    for number in range(1, 4):
        reader.read(growing)
        assert reader.read(block(GET) + bytes([0x80 + 61 + number])).fields.pairs[1] == (b"x", b"y")


def test_sections_are_remembered(monkeypatch):
    """Fields that come again are not read again, whatever the path; another authority is something else."""
    calls = counting(monkeypatch)
    reader = RequestReader()
    heads = [reader.read(block([*GET[:3], f":path /{number}", "x y"])) for number in range(200)]
    assert [head.target for head in heads] == [b"/%d" % number for number in range(200)]
    assert len(calls) == 1
    assert reader.read(block([":method POST", *without(":method"), "x y"])).fields is heads[0].fields
    assert reader.read(block([":authority b", *without(":authority"), "x y"])).fields.host == b"b"
    assert len(calls) == 2
    reader.forget()
    reader.read(block([*GET, "x y"]))
    assert len(calls) == 3


def test_memos_are_bounded():
    """What is remembered is bounded in number and size."""
    reader = RequestReader()
    for number in range(500):
        reader.read(block([*GET, f"x {number}"]))
        assert 0 < len(reader._heads) <= h2fields.MEMO_BLOCKS
        assert 0 < len(reader._sections) <= h2fields.MEMO_SECTIONS
    reader.forget()
    reader.read(block([*GET, "x " + "y" * 5000]))
    assert (len(reader._heads), len(reader._sections)) == (0, 0)
    reader.read(block([*GET, "x " + "\xff" * 2000]))
    assert (len(reader._heads), len(reader._sections)) == (0, 1)


def test_refused_requests_are_not_remembered():
    """Nothing malformed or refused is remembered."""
    reader = RequestReader()
    for lines in (MALFORMED["a value with NUL"], [*GET, "expect x"]):
        with pytest.raises((MalformedRequest, RequestRefusal)):
            reader.read(block(lines))
    assert (reader._heads, reader._sections) == ({}, {})


LINES = [
    *(*GET, ":method POST", ":path /x", ":path /y?z", ":authority b", ":path x", "host a", "host b"),
    *("cookie a=b", "cookie c=d", "content-length 5", "content-length x", "te trailers", "expect 100-continue"),
    *("user-agent x", "accept */*", "x " + "y" * 200, "x " + "y" * 300, "X y", "upgrade x"),
]
heads = st.sampled_from([GET, GET, [*without(":authority"), ":authority b"], GET[::-1], GET[:3], CONNECT, []]).map(
    block
)
pieces = st.one_of(
    st.sampled_from(LINES).map(lambda line: block([line])),
    st.sampled_from(LINES).map(lambda line: growing(line)),
    *[st.integers(62, 67).map(lambda index: encode_integer(index, 127, 128))] * 3,
)
requests = st.builds(lambda head, more: head + b"".join(more), heads, st.lists(pieces, max_size=4))
others = st.sampled_from([b"\x20\x3f\xe1\x1f", b"\x3f\x40"]) | pieces
steps = st.sampled_from(["read", "read", "read", "skip", "trailers", "forget", "other"])


def growing(line):
    """A field that goes into the dynamic table."""
    ((name, value),) = fields([line])
    return b"\x40" + encode_string(name) + encode_string(value)


def outcome(reader, step, block):
    """What a reader makes of a block."""
    try:
        if step != "read":
            (reader.skip if step == "skip" else reader.read_trailers)(block)
            return None
        head = reader.read(block)
    except (MalformedRequest, RequestRefusal, HpackError) as error:
        return type(error), str(error)
    return head[:5], head.fields.pairs, head.fields.values, head.fields.expect, head.length


class Fresh(RequestReader):
    """A reader that remembers nothing."""

    __slots__ = ()

    def read(self, block):
        self.forget()
        return super().read(block)


@fuzz
@given(
    st.lists(requests, min_size=3, max_size=3),
    st.lists(st.tuples(steps, st.integers(0, 2), others), min_size=2, max_size=20),
)
def test_memos_against_fresh_reading(blocks, taken):
    """What is remembered is what is read anew, for any requests in any order, whatever happens to the table."""
    limits = Limits(field_section=800, fields=6)
    reader, fresh = RequestReader(limits, True), Fresh(limits, True)
    for step, number, other_block in [*[("skip", 0, growing(line)) for line in LINES[-12:]], *taken]:
        if step == "forget":
            reader.forget()
            continue
        sent = other_block if step in ("skip", "other") else blocks[number]
        found = outcome(reader, step, sent)
        assert found == outcome(fresh, step, sent)
        if found is not None and found[0] is HpackError:
            break


# Answers


def answered(status=200, *lines, **options):
    """The fields of an answer, as another decoder reads them."""
    headers = Headers()
    for line in lines:
        name, _, value = line.partition(" ")
        headers.addRawHeader(name.encode(), value.encode("latin-1"))
    return other.Decoder().decode(response_block(status, headers), raw=True)


@pytest.mark.parametrize(
    ("status", "lines", "expected"),
    [
        (200, [], []),
        (404, ["Content-Type text/html"], ["content-type text/html"]),
        (299, ["Server x", 'ETag "y"'], ["server x", 'etag "y"']),
        (200, ["Set-Cookie a=b", "Set-Cookie c=d"], ["set-cookie a=b", "set-cookie c=d"]),
        (200, ["X-Long " + "x" * 50_000], ["x-long " + "x" * 50_000]),
        (200, ["Vary", "X"], ["vary", "x"]),
        (200, ["X  y\t", "X a\0b"], ["x y", "x ab"]),
        (
            200,
            ["Connection close", "Keep-Alive 5", "Proxy-Connection x", "Transfer-Encoding chunked", "Upgrade h2c"],
            [],
        ),
        (100, [], []),
    ],
)
def test_answers(status, lines, expected):
    """Answers are sent with names in lower case, the status first, without fields of the connection."""
    for _ in range(2):
        assert answered(status, *lines) == [(b":status", b"%d" % status), *fields(expected)]


def test_blocks_of_answers_need_no_table():
    """A block means the same on every connection at any time, and changes no table."""
    decoder = other.Decoder()
    headers = ResponseFields(b"Mon, 21 Oct 2013 20:13:21 GMT")
    blocks = [response_block(200, headers) for _ in range(2)]
    decoder.header_table_size = 0
    assert decoder.decode(b"\x20" + blocks[0]) == decoder.decode(blocks[1])
    assert len(decoder.header_table.dynamic_entries) == 0


@pytest.mark.parametrize("own", [None, b"DENY"])
def test_default_fields(own):
    """Fields that an answer has by default are sent once, behind its own; its own value counts."""
    defaults = DefaultFields({b"X-Frame-Options": b"SAMEORIGIN", b"Referrer-Policy": b"no-referrer"})
    for _ in range(2):
        headers = ResponseFields(b"Mon, 21 Oct 2013 20:13:21 GMT")
        if own:
            headers.setRawHeaders(b"X-Frame-Options", [own])
        headers.fill(defaults)
        found = other.Decoder().decode(response_block(200, headers), raw=True)
        assert sorted(found[3:]) == [(b"referrer-policy", b"no-referrer"), (b"x-frame-options", own or b"SAMEORIGIN")]


SECRETS = [
    *("Set-Cookie", "Authorization", "WWW-Authenticate", "Proxy-Authenticate", "Authentication-Info"),
    *("Proxy-Authorization", "Proxy-Authentication-Info", "Cookie"),
]


@pytest.mark.parametrize("name", SECRETS)
def test_secrets(name):
    """Fields with secrets are literals that are never indexed, and are not remembered."""
    headers = Headers({name.encode(): [b"secret"]})
    block = response_block(204, headers)
    assert block[1] & 0xF0 == 0x10
    assert b"secret" in block
    assert b"secret" not in str({**_h2_response._names}).encode()


def remembered():
    """All names and values that are remembered for all connections."""
    return {name: set(values) for name, values in _h2_response._names.items()}


def test_what_is_remembered():
    """Only values of names that are public are remembered, no long ones, and no more than a few."""
    _h2_response._names.clear()
    for number in range(1000):
        lines = [f"Content-Length {number}", f"ETag {number}", f"X-User {number}", f"Location /{number}"]
        answered(200, *lines, "Content-Type text/html", "Server x" + "y" * 200)
    kept = remembered()
    assert kept[b"Content-Type"] == {b"text/html"}
    assert 0 < len(kept.pop(b"Content-Length")) <= _h2_response._KEPT_VALUES
    assert [kept[name] for name in (b"ETag", b"X-User", b"Location", b"Server")] == [set()] * 4
    for number in range(1000):
        answered(200, f"X-{number} y")
        assert len(_h2_response._names) <= _h2_response._KEPT_NAMES


def test_sizes_do_not_push_out_others(monkeypatch):
    """However many lengths are sent, other fields are not encoded again."""
    answered(200, "Content-Type text/html", "Date x")
    monkeypatch.setattr(_h2_response, "encode_string", lambda value: encode_integer(len(value), 127) + value)
    before = remembered()
    for number in range(1000):
        answered(200, f"Content-Length {number}", "Content-Type text/html", "Date x")
    after = remembered()
    assert all(before[name] == after[name] for name in (b"Content-Type", b"Date"))
