"""
The HTTP/1.1 parser: what it reads, what it refuses, and that it never keeps more than its limits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import pytest

from mixweb.engine.http1 import Event, Head, Limits, Parser, Refusal

GET = b"GET / HTTP/1.1\r\nHost: a\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
TO_CHUNK = b"Transfer-Encoding: chunked\r\n\r\n"
CHUNKED = POST + TO_CHUNK
NEXT = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"

CUTS = pytest.mark.parametrize("size", [1, 7, 1 << 30], ids=["by 1", "by 7", "whole"])


def cut(data: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def events(data: bytes, size: int = 1 << 30, parser: Parser | None = None) -> list[Event]:
    """What a parser makes of ``data`` that arrives in pieces, the pieces of a body put together."""
    return events_of(cut(data, size), parser or Parser())


def events_of(pieces: Iterable[bytes], parser: Parser) -> list[Event]:
    found: list[Event] = []
    for piece in pieces:
        parser.receive(piece)
        while (event := parser.next_event()) is not None:
            if isinstance(event, bytes) and found and isinstance(found[-1], bytes):
                found[-1] += event
            else:
                found.append(event)
    return found


def refusal(data: bytes, size: int = 1 << 30, parser: Parser | None = None) -> Refusal:
    return refusal_of(cut(data, size), parser or Parser())


def refusal_of(pieces: Iterable[bytes], parser: Parser) -> Refusal:
    with pytest.raises(Refusal) as caught:
        events_of(pieces, parser)
    return caught.value


def head_of(data: bytes, size: int = 1 << 30) -> Head:
    (head,) = events(data, size)
    assert isinstance(head, Head)
    return head


class Told(NamedTuple):
    """What a request line tells."""

    method: bytes
    uri: bytes
    authority: bytes | None = None
    version: bytes = b"HTTP/1.1"


LONG = b"/" + b"a" * 8000

REQUEST_LINES = [
    (b"GET / HTTP/1.1", Told(b"GET", b"/")),
    (b"GET /a/b?c=d&e HTTP/1.1", Told(b"GET", b"/a/b?c=d&e")),
    (b"get / HTTP/1.1", Told(b"get", b"/")),
    (b"M-SEARCH!#$%&'*+.^_`|~ / HTTP/1.1", Told(b"M-SEARCH!#$%&'*+.^_`|~", b"/")),
    (b"GET //a/./../%2F%00?? HTTP/1.1", Told(b"GET", b"//a/./../%2F%00??")),
    (b"GET /;a=1,b:@$!'()*+~_-.[]{}|^` HTTP/1.1", Told(b"GET", b"/;a=1,b:@$!'()*+~_-.[]{}|^`")),
    (b"GET " + LONG + b" HTTP/1.1", Told(b"GET", LONG)),
    (b"GET / HTTP/1.0", Told(b"GET", b"/", None, b"HTTP/1.0")),
    (b"GET / HTTP/1.2", Told(b"GET", b"/")),
    (b"GET / HTTP/1.9", Told(b"GET", b"/")),
    (b"GET http://b/c?d HTTP/1.1", Told(b"GET", b"/c?d", b"b")),
    (b"GET HTTP://b:80/ HTTP/1.1", Told(b"GET", b"/", b"b:80")),
    (b"GET https://b HTTP/1.1", Told(b"GET", b"/", b"b")),
    (b"GET http://b?c HTTP/1.1", Told(b"GET", b"/?c", b"b")),
    (b"GET http://[::1]:8080/ HTTP/1.1", Told(b"GET", b"/", b"[::1]:8080")),
    (b"GET http://b/ HTTP/1.0", Told(b"GET", b"/", b"b", b"HTTP/1.0")),
    (b"OPTIONS * HTTP/1.1", Told(b"OPTIONS", b"*")),
    (b"OPTIONS http://b HTTP/1.1", Told(b"OPTIONS", b"*", b"b")),
    (b"OPTIONS http://b/ HTTP/1.1", Told(b"OPTIONS", b"/", b"b")),
    (b"CONNECT b:443 HTTP/1.1", Told(b"CONNECT", b"b:443", b"b:443")),
    (b"CONNECT [::1]:443 HTTP/1.1", Told(b"CONNECT", b"[::1]:443", b"[::1]:443")),
    (b"\r\nGET / HTTP/1.1", Told(b"GET", b"/")),
    (b"\r\n\r\nGET / HTTP/1.1", Told(b"GET", b"/")),
]


@CUTS
@pytest.mark.parametrize(("line", "told"), REQUEST_LINES, ids=[repr(line[:30]) for line, _ in REQUEST_LINES])
def test_request_lines(line: bytes, told: Told, size: int) -> None:
    """A request line in each form gives the method, the target in origin form, the host it names and the version."""
    found = head_of(line + b"\r\nHost: a\r\n\r\n", size).line
    assert Told(found.method, found.uri, found.authority, found.version) == told


def test_target_as_received() -> None:
    """The target is also kept as it was received."""
    assert head_of(b"GET http://b/c HTTP/1.1\r\nHost: a\r\n\r\n").line.target == b"http://b/c"


FIELDS = [
    (b"X-A: b\r\n", [(b"X-A", b"b")]),
    (b"x-a:b\r\n", [(b"x-a", b"b")]),
    (b"X-A:\r\n", [(b"X-A", b"")]),
    (b"X-A: \t \r\n", [(b"X-A", b"")]),
    (b"X-A:\t b \t c \t\r\n", [(b"X-A", b"b \t c")]),
    (b"X-A: \x80\xff\xe9\r\n", [(b"X-A", b"\x80\xff\xe9")]),
    (b"X-A: b:c\r\n", [(b"X-A", b"b:c")]),
    (b"!#$%&'*+-.^_`|~0aZ: x\r\n", [(b"!#$%&'*+-.^_`|~0aZ", b"x")]),
    (b"B: 1\r\na: 2\r\nB: 3\r\n", [(b"B", b"1"), (b"a", b"2"), (b"B", b"3")]),
    (b"Transfer_Encoding: chunked\r\n", [(b"Transfer_Encoding", b"chunked")]),
]


@CUTS
@pytest.mark.parametrize(("lines", "pairs"), FIELDS, ids=[repr(lines[:20]) for lines, _ in FIELDS])
def test_fields(lines: bytes, pairs: list[tuple[bytes, bytes]], size: int) -> None:
    """Fields keep their order and case, their values lose the white space around them."""
    fields = head_of(GET + lines + b"\r\n", size).fields
    assert list(fields.pairs) == [(b"Host", b"a"), *pairs]
    assert fields.raw == b"Host: a\r\n" + lines + b"\r\n"
    assert fields.length == 0


def test_values_by_name() -> None:
    """The values of a field are found by its name in lower case, in the order received."""
    values = head_of(GET + b"B: 1\r\na: 2\r\nb: 3\r\n\r\n").fields.values
    assert values == {b"host": (b"a",), b"b": (b"1", b"3"), b"a": (b"2",)}


def test_no_fields() -> None:
    """HTTP/1.0 may have no fields at all."""
    head = head_of(b"GET / HTTP/1.0\r\n\r\n")
    assert (head.fields.pairs, head.fields.host, head.persistent) == ((), None, False)


HOSTS = [
    b"example.com",
    b"example.com.",
    b"a:80",
    b"localhost:",
    b"192.0.2.1:8080",
    b"[::1]",
    b"[::1]:80",
    b"[2001:db8::192.0.2.1]",
    b"xn--bcher-kva.example",
    b"a_b~!$&'()*+,;=c%41",
]


@pytest.mark.parametrize("host", HOSTS)
def test_hosts(host: bytes) -> None:
    """A valid Host is told as it stands."""
    assert head_of(b"GET / HTTP/1.1\r\nhOsT: \t" + host + b" \r\n\r\n").fields.host == host


PERSISTENCE = [
    (b"HTTP/1.1", b"", True),
    (b"HTTP/1.1", b"Connection: keep-alive\r\n", True),
    (b"HTTP/1.1", b"Connection: close\r\n", False),
    (b"HTTP/1.1", b"Connection: foo, CLOSE\r\n", False),
    (b"HTTP/1.1", b"Connection: foo\r\nconnection:\tClose ,x\r\n", False),
    (b"HTTP/1.1", b"Connection: closed\r\n", True),
    (b"HTTP/1.1", b"Connection: Upgrade\r\n", True),
    (b"HTTP/1.2", b"", True),
    (b"HTTP/1.0", b"", False),
    (b"HTTP/1.0", b"Connection: keep-alive\r\n", False),
]


@pytest.mark.parametrize(("version", "fields", "persistent"), PERSISTENCE)
def test_persistence(version: bytes, fields: bytes, persistent: bool) -> None:
    """A connection persists with HTTP/1.1 unless one of the connection options is close (RFC 9112, 9.3)."""
    assert head_of(b"GET / " + version + b"\r\nHost: a\r\n" + fields + b"\r\n").persistent is persistent


EXPECTATIONS = [
    (b"", b""),
    (b"Expect: 100-continue\r\n", b"100-continue"),
    (b"expect: 100-CONTINUE\r\n", b"100-continue"),
]


@pytest.mark.parametrize(("field", "expect"), EXPECTATIONS)
def test_expectations(field: bytes, expect: bytes) -> None:
    """The one known expectation is told in lower case."""
    assert head_of(GET + field + b"\r\n").fields.expect == expect


def test_http10_expects_nothing() -> None:
    """An expectation in HTTP/1.0 is ignored (RFC 9110, 10.1.1)."""
    assert head_of(b"GET / HTTP/1.0\r\nExpect: 200-ok\r\n\r\n").line.version == b"HTTP/1.0"


BODIES = [
    (b"Content-Length: 5\r\n\r\nhello", b"hello"),
    (b"Content-Length:\t5 \r\n\r\nhello", b"hello"),
    (b"Content-Length: 005\r\n\r\nhello", b"hello"),
    (b"Content-Length: 30\r\n\r\nGET / HTTP/1.1\r\nHost: b\r\n\r\n---", b"GET / HTTP/1.1\r\nHost: b\r\n\r\n---"),
    (TO_CHUNK + b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
    (b"Transfer-Encoding:\t cHuNkEd \t\r\n\r\n5\r\nhello\r\n0\r\n\r\n", b"hello"),
    (TO_CHUNK + b"0\r\n\r\n", b""),
    (TO_CHUNK + b"A\r\n0123456789\r\n000b\r\nabcdefghijk\r\n00000\r\n\r\n", b"0123456789abcdefghijk"),
    (TO_CHUNK + b"5;a=b;c\r\nhello\r\n0;x=y\r\n\r\n", b"hello"),
    (TO_CHUNK + b'5;a="x;y\\"z\\\\\t\xff"\r\nhello\r\n0\r\n\r\n', b"hello"),
    (TO_CHUNK + b"5 ; a = b ;c\r\nhello\r\n0\r\n\r\n", b"hello"),
    (TO_CHUNK + b"7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n", b"\r\n0\r\n\r\n"),
    (TO_CHUNK + b"2\r\nhi\r\n0\r\nX-T: 1\r\nX-U: 2\r\n\r\n", b"hi"),
    (TO_CHUNK + b"2\r\nhi\r\n0\r\nContent-Length: 50\r\nTransfer-Encoding: x\r\nHost: b\r\n\r\n", b"hi"),
    (TO_CHUNK + b"1\r\nx\r\n" * 300 + b"0\r\n\r\n", b"x" * 300),
]


@CUTS
@pytest.mark.parametrize(("rest", "body"), BODIES, ids=[repr(rest[:60]) for rest, _ in BODIES])
def test_bodies(rest: bytes, body: bytes, size: int) -> None:
    """A body is read to its end and not further, whatever it looks like and wherever it is cut."""
    found = events(POST + rest + NEXT, size)
    head, *pieces, following = found
    assert isinstance(head, Head)
    assert isinstance(following, Head)
    assert following.line.uri == b"/next"
    assert pieces == ([body] if body else []) + [Parser.END]


def test_body_is_passed_on_as_it_arrives() -> None:
    """Each piece of a body is an event of its own; the chunks of one piece come together."""
    parser = Parser()
    parser.receive(CHUNKED)
    parser.next_event()
    seen = []
    for piece in (b"2\r\nhe", b"\r\n3\r\nllo\r\n1\r\n!", b"\r\n0\r\n", b"\r\n"):
        parser.receive(piece)
        seen.append(parser.next_event())
    assert seen == [b"he", b"llo!", None, Parser.END]


def test_pipelined_requests() -> None:
    """Requests that arrive together are told one by one."""
    found = events(NEXT + POST + b"Content-Length: 2\r\n\r\nhi" + NEXT * 2)
    assert [event.line.uri if isinstance(event, Head) else event for event in found] == [
        b"/next",
        b"/",
        b"hi",
        Parser.END,
        b"/next",
        b"/next",
    ]


class Wrong(NamedTuple):
    """A request that is refused."""

    name: str
    data: bytes
    status: int = 400


def in_line(name: str, line: bytes, status: int = 400) -> Wrong:
    return Wrong(name, line + b"\r\nHost: a\r\n\r\n", status)


def in_fields(name: str, lines: bytes, status: int = 400) -> Wrong:
    return Wrong(name, GET + lines + b"\r\n\r\n", status)


def in_host(name: str, host: bytes) -> Wrong:
    return Wrong(f"host {name}", b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")


def in_length(name: str, length: bytes, status: int = 400) -> Wrong:
    return Wrong(f"length {name}", POST + b"Content-Length: " + length + b"\r\n\r\nhello", status)


def in_coding(name: str, coding: bytes, status: int = 400) -> Wrong:
    return Wrong(f"coding {name}", POST + b"Transfer-Encoding: " + coding + b"\r\n\r\n5\r\nhello\r\n0\r\n\r\n", status)


def in_chunks(name: str, chunks: bytes, status: int = 400) -> Wrong:
    return Wrong(f"chunks {name}", CHUNKED + chunks, status)


TAIL = b"\r\nhello\r\n0\r\n\r\n"

REFUSED = [
    in_line("no version", b"GET /"),
    in_line("two spaces", b"GET  / HTTP/1.1"),
    in_line("tabs", b"GET\t/\tHTTP/1.1"),
    in_line("vertical tabs", b"GET\x0b/\x0bHTTP/1.1"),
    in_line("no-break spaces", b"GET\xa0/\xa0HTTP/1.1"),
    in_line("trailing space", b"GET / HTTP/1.1 "),
    in_line("leading space", b" GET / HTTP/1.1"),
    in_line("space in the target", b"GET /?a b HTTP/1.1"),
    in_line("CR in the target", b"GET /\rx HTTP/1.1"),
    in_line("CR before the version", b"GET /\r HTTP/1.1"),
    in_line("version in lower case", b"GET / http/1.1"),
    *[
        in_line(f"version {version.decode()}", b"GET / " + version)
        for version in (
            *(b"HTTP/1.10", b"HTTP/01.1", b"HTTP/1.1x", b"HTTP/11", b"HTTP/1,1", b"HTTP/1.", b"HTTP/-1.1", b"HTTP 1.1"),
            *(b"HTTPS/1.1", b"FTP/1.1", b"HTTP/", b"/1.1", b"HTTP/1.1.1"),
        )
    ],
    in_line("version 2.0", b"GET / HTTP/2.0", 505),
    in_line("version 9.9", b"GET / HTTP/9.9", 505),
    in_line("version 0.9", b"GET / HTTP/0.9", 505),
    Wrong("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    *[
        in_line(f"method {method!r}", method + b" / HTTP/1.1")
        for method in (b"G(ET", b"G\x00ET", b"G\x80ET", b"GE:T", b"G@T", b'"GET"', b"G\xc3\x89T", b"")
    ],
    *[
        in_line(f"octet {octet!r} in the target", b"GET /?x" + octet + b"y HTTP/1.1")
        for octet in (b"\x00", b"\x01", b"\x7f", b"\xff", b"\\", b"<", b">", b'"', b"#", b"\xc3\xa9", b"\x85")
    ],
    in_line("fragment", b"GET /#f HTTP/1.1"),
    in_line("asterisk for GET", b"GET * HTTP/1.1"),
    in_line("authority for GET", b"GET example.com:80 HTTP/1.1"),
    in_line("target without slash", b"GET index.html HTTP/1.1"),
    in_line("path for CONNECT", b"CONNECT / HTTP/1.1"),
    in_line("URI for CONNECT", b"CONNECT http://b:80/ HTTP/1.1"),
    in_line("no port for CONNECT", b"CONNECT b HTTP/1.1"),
    in_line("empty port for CONNECT", b"CONNECT b: HTTP/1.1"),
    in_line("userinfo", b"GET http://u:p@b/ HTTP/1.1"),
    in_line("userinfo for CONNECT", b"CONNECT u@b:80 HTTP/1.1"),
    in_line("empty host", b"GET http:///a HTTP/1.1"),
    in_line("host malformed", b"GET http://b%zz/a HTTP/1.1"),
    in_line("port too high", b"GET http://b:65536/ HTTP/1.1"),
    in_line("another scheme", b"GET ftp://b/a HTTP/1.1"),
    in_line("scheme without authority", b"GET http:/a HTTP/1.1"),
    in_line("fragment in a URI", b"GET http://b/a#f HTTP/1.1"),
    Wrong("bare LF", b"GET / HTTP/1.1\nHost: a\n\n"),
    Wrong("bare LF after the line", b"GET / HTTP/1.1\nHost: a\r\n\r\n"),
    Wrong("bare CR as line end", b"GET / HTTP/1.1\rHost: a\r\r"),
    Wrong("bare LF before the line", b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    Wrong("TLS", b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03"),
    Wrong("noise", bytes((i * 7919 + 13) & 255 for i in range(800))),
    Wrong("fields without a request", b"Host: a\r\n\r\n"),
    in_line("line alone", b"GET"),
    Wrong("no Host", b"GET / HTTP/1.1\r\n\r\n"),
    Wrong("no Host but a host in the target", b"GET http://a/ HTTP/1.1\r\nX: y\r\n\r\n"),
    in_fields("two different Hosts", b"Host: b"),
    in_fields("two equal Hosts", b"host: a"),
    Wrong("two Hosts in HTTP/1.0", b"GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n"),
    *[
        in_host(name, host)
        for name, host in (
            *(
                ("empty", b""),
                ("space", b"a b"),
                ("slash", b"a/b"),
                ("at", b"u@a"),
                ("list", b"a, b"),
                ("NUL", b"a\x00b"),
            ),
            *(
                ("named port", b"a:xyz"),
                ("less-than", b"a<b"),
                ("quote", b'a"b'),
                ("backslash", b"a\\b"),
                ("query", b"a?b"),
            ),
            *(
                ("hash", b"a#b"),
                ("two colons", b"a:1:2"),
                ("unclosed", b"[::1"),
                ("octet", b"a\xffb"),
                ("tab", b"a\tb"),
            ),
            *(
                ("escape", b"a%zz"),
                ("address", b"[::g]"),
                ("zone", b"[fe80::1%25e]"),
                ("port", b"a:65536"),
                ("only port", b":80"),
            ),
        )
    ],
    in_fields("space before the colon", b"X-A : b"),
    in_fields("tab before the colon", b"X-A\t: b"),
    Wrong("space before the first field", b"GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
    in_fields("folding", b"X-A: b\r\n c"),
    in_fields("folding by tab", b"X-A: b\r\n\tc"),
    in_fields("folding to nothing", b"X-A: b\r\n "),
    in_fields("folded Transfer-Encoding", b"Content-Length: 15\r\nTransfer-Encoding:\r\n chunked"),
    in_fields("empty name", b": b"),
    *[
        in_fields(f"name {name!r}", name + b": b")
        for name in (
            *(
                b"X(A",
                b"X A",
                b"X\x00A",
                b"X\x7fA",
                b"X\xffA",
                b"X/A",
                b"X@A",
                b'X"A',
                b"X[A",
                b"X\x0bA",
                b"\xef\xbb\xbfX",
            ),
            *(b"X{A", b"X=A", b"X,A", b"\x00Transfer-Encoding", b" X", b"X\xc3\xa9"),
        )
    ],
    in_fields("no colon", b"FooBar"),
    in_fields("no colon, then fields", b"FooBar\r\nX: y"),
    *[
        in_fields(f"value with {octet!r}", b"X-A: a" + octet + b"b")
        for octet in (b"\x00", b"\r", b"\n", b"\x01", b"\x7f", b"\x0b")
    ],
    in_fields("Transfer-Encoding behind a bare LF", b"Content-Length: 15\r\nX-A: b\nTransfer-Encoding: chunked"),
    in_fields("Transfer-Encoding behind a bare CR", b"Content-Length: 15\r\nX-A: b\rTransfer-Encoding: chunked"),
    in_fields("expectation", b"Expect: 200-ok", 417),
    in_fields("expectations", b"Expect: 100-continue, x", 417),
    in_length("negative", b"-1"),
    in_length("negative zero", b"-0"),
    in_length("plus", b"+5"),
    in_length("hexadecimal", b"0x5"),
    in_length("space", b"5 5"),
    in_length("empty", b""),
    in_length("underscore", b"0_5"),
    in_length("decimal", b"5.0"),
    in_length("semicolon", b"5;"),
    in_length("letter", b"5a"),
    in_length("exponent", b"5e0"),
    in_length("vertical tab", b"\x0b5"),
    in_length("no-break space", b"\xa05"),
    in_length("Arabic digit", b"\xd9\xa5"),
    in_length("superscript", b"\xb2"),
    in_length("quotes", b'"5"'),
    in_length("comma", b"5,"),
    in_length("leading comma", b",5"),
    in_length("NUL", b"5\x00"),
    in_length("list", b"5, 6"),
    in_length("equal list", b"5, 5"),
    in_length("twice", b"5\r\nContent-Length: 6"),
    in_length("twice the same", b"5\r\ncontent-length: 5"),
    in_length("2 ** 63", b"9223372036854775808", 413),
    in_length("2 ** 64 + 5", b"18446744073709551621", 413),
    in_length("5000 digits", b"9" * 5000, 413),
    in_length("and coding", b"15\r\nTransfer-Encoding: chunked"),
    in_coding("and length", b"chunked\r\nContent-Length: 3"),
    in_coding("not last", b"chunked, gzip"),
    in_coding("identity", b"identity"),
    in_coding("identity and length", b"identity\r\nContent-Length: 15"),
    in_coding("then identity", b"chunked, identity"),
    in_coding("misspelt", b"xchunked"),
    in_coding("unknown", b"foo"),
    in_coding("quotes", b'"chunked"'),
    in_coding("apostrophes", b"'chunked'"),
    in_coding("parameter", b"chunked;q=1"),
    in_coding("twice", b"chunked, chunked"),
    in_coding("twice in lines", b"chunked\r\nTransfer-Encoding: chunked"),
    in_coding("identity in a line", b"chunked\r\nTransfer-Encoding: identity"),
    in_coding("empty", b""),
    in_coding("empty member", b"chunked,"),
    in_coding("leading comma", b",chunked"),
    in_coding("vertical tab", b"\x0bchunked"),
    in_coding("vertical tab after", b"chunked\x0b"),
    in_coding("NUL", b"chunked\x00"),
    in_coding("no-break space", b"chunked\xa0"),
    in_coding("brackets", b"[chunked]"),
    in_coding("space", b"chunked gzip"),
    in_coding("semicolon", b"chunked;"),
    in_coding("Kelvin", b"chun\xe2\x84\xaaed"),
    in_coding("control", b"\x01chunked"),
    in_coding("gzip before", b"gzip, chunked", 501),
    in_coding("parameters before", b"foo;a=b, chunked", 501),
    in_coding("malformed before", b"g(zip, chunked"),
    in_coding("space before the colon", b"gzip\r\nTransfer-Encoding : chunked"),
    Wrong("coding in HTTP/1.0", b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    *[
        in_chunks(f"size {size!r}", size + TAIL)
        for size in (
            *(
                b"0x5",
                b"-5",
                b"+5",
                b" 5",
                b"5x",
                b"",
                b"g",
                b"0_5",
                b"5\x0b",
                b"5\x00",
                b"\xd9\xa5",
                b"5.0",
                b"5,",
                b"5 ",
                b"5\t",
            ),
            *(
                b"5;",
                b"5; ",
                b"5;=a",
                b"5;a=",
                b"5;a b",
                b'5;a="b',
                b"5;a\x00b",
                b"5;a\nb",
                b"5;a\rb",
                b'5;a="\\\x00"',
                b"5;a=\x7f",
            ),
        )
    ],
    in_chunks("size of 17 digits", b"10000000000000005" + TAIL),
    in_chunks("size of 401 digits", b"F" * 400 + b"5" + TAIL),
    in_chunks("size of many zeros", b"0" * 65536 + b"5" + TAIL),
    in_chunks("size 2 ** 63", b"8000000000000000" + TAIL, 413),
    in_chunks("no line end after the data", b"5\r\nhelloXX0\r\n\r\n"),
    in_chunks("data too long", b"3\r\nhello\r\n0\r\n\r\n"),
    in_chunks("size ended by LF", b"5\nhello\r\n0\r\n\r\n"),
    in_chunks("size ended by LF, no more", b"5\n"),
    in_chunks("data ended by LF", b"5\r\nhello\n0\r\n\r\n"),
    in_chunks("all ended by LF", b"5\nhello\n0\n\n"),
    in_chunks("size ended by CR", b"5\rhello\r\n0\r\n\r\n"),
    in_chunks("data ended by CR", b"5\r\nhello\rX0\r\n\r\n"),
    in_chunks("last line ended by LF", b"5\r\nhello\r\n0\r\n\n"),
    in_chunks("last size ended by LF", b"5\r\nhello\r\n0\n\r\n"),
    in_chunks("trailer name", b"0\r\nX Y: 1\r\n\r\n"),
    in_chunks("space before the colon of a trailer", b"0\r\nX : 1\r\n\r\n"),
    in_chunks("folded trailer", b"0\r\nX: 1\r\n 2\r\n\r\n"),
    in_chunks("NUL in a trailer", b"0\r\nX: \x00\r\n\r\n"),
    in_chunks("LF in a trailer", b"0\r\nX: 1\nY: 2\r\n\r\n"),
    in_chunks("request as a trailer", b"0\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
]


@CUTS
@pytest.mark.parametrize("wrong", REFUSED, ids=[wrong.name for wrong in REFUSED])
def test_refused(wrong: Wrong, size: int) -> None:
    """What is no request is refused with the right status and a sentence, wherever it is cut."""
    found = refusal(wrong.data + NEXT, size)
    assert found.status == wrong.status
    assert found.detail.endswith(".")


@CUTS
@pytest.mark.parametrize("wrong", REFUSED, ids=[wrong.name for wrong in REFUSED])
def test_refused_after_a_good_request(wrong: Wrong, size: int) -> None:
    """A request that came before on the same connection lets nothing pass that is refused otherwise."""
    parser = Parser()
    events(GET + b"\r\n", parser=parser)
    events(POST + b"\r\n", parser=parser)
    assert refusal(wrong.data + NEXT, size, parser).status == wrong.status


BEYOND_MENDING = [
    b"\x16",
    b"GET / HTTP/1.1\n",
    b"GET / HTTP/1.1\rH",
    b"GET / HTTP/3\r\n",
    b"GET /\r\n",
    b"GET / HTTP/2.0\r\n",
    b"GET /<\r\n",
    GET + b"X: \x00",
    GET + b"X: a\n",
    CHUNKED + b"g",
    CHUNKED + b"1" * 17,
    CHUNKED + b"5\n",
    CHUNKED + b"2\r\nhiX",
    CHUNKED + b"2\r\nhi\rX",
    CHUNKED + b"0\r\n\n",
]


@pytest.mark.parametrize("data", BEYOND_MENDING)
def test_refused_at_once(data: bytes) -> None:
    """Nothing is waited for once no further bytes could make it a request."""
    parser = Parser()
    events(data[:-1], parser=parser)
    assert refusal(data[-1:], parser=parser).status in (400, 505)


SMALL = Limits(request_line=40, field=50, field_section=100, fields=3, chunk_line=20, chunk_extensions=30)
SHORT = b"Host: a\r\n"


def padded(before: bytes, after: bytes, size: int) -> bytes:
    return before + b"a" * (size - len(before) - len(after)) + after


LIMITS = [
    (
        "request line",
        padded(b"GET /", b" HTTP/1.1", 40),
        padded(b"GET /", b" HTTP/1.1", 41),
        b"\r\n" + SHORT + b"\r\n",
        414,
    ),
    ("unfinished request line", padded(b"GET /", b"", 40), padded(b"GET /", b"", 42), b"", 414),
    ("field", GET + padded(b"X: ", b"", 50), GET + padded(b"X: ", b"", 51), b"\r\n\r\n", 431),
    (
        "field section",
        GET + padded(b"X: ", b"\r\n", 46) + padded(b"Y: ", b"", 43),
        GET + padded(b"X: ", b"\r\n", 46) + padded(b"Y: ", b"", 44),
        b"\r\n\r\n",
        431,
    ),
    ("unfinished field section", GET + padded(b"X: ", b"", 91), GET + padded(b"X: ", b"", 95), b"", 431),
    ("number of fields", GET + b"X: y\r\nX: y", GET + b"X: y\r\nX: y\r\nX: y", b"\r\n\r\n", 431),
    ("chunk line", CHUNKED + padded(b"1;", b"", 20), CHUNKED + padded(b"1;", b"", 21), b"\r\n", 413),
    ("unfinished chunk line", CHUNKED + padded(b"1;", b"", 20), CHUNKED + padded(b"1;", b"", 22), b"", 413),
    (
        "chunk extensions",
        CHUNKED + padded(b"1;", b"\r\nx\r\n", 25) + padded(b"1;", b"", 12),
        CHUNKED + padded(b"1;", b"\r\nx\r\n", 25) + padded(b"1;", b"", 13),
        b"\r\n",
        413,
    ),
    ("trailer", CHUNKED + padded(b"0\r\nX: ", b"", 53), CHUNKED + padded(b"0\r\nX: ", b"", 54), b"\r\n\r\n", 431),
    ("trailers", CHUNKED + b"0" + b"\r\nX: y" * 3, CHUNKED + b"0" + b"\r\nX: y" * 4, b"\r\n\r\n", 431),
    ("unfinished trailers", CHUNKED + padded(b"0\r\nX: ", b"", 100), CHUNKED + padded(b"0\r\nX: ", b"", 107), b"", 431),
]


@CUTS
@pytest.mark.parametrize(("most", "more", "end", "status"), [row[1:] for row in LIMITS], ids=[row[0] for row in LIMITS])
def test_limits(most: bytes, more: bytes, end: bytes, status: int, size: int) -> None:
    """What is as long as its limit is read, and one byte more is refused."""
    events(most + end, size, Parser(SMALL))
    assert refusal(more + end, size, Parser(SMALL)).status == status


DEFAULTS = [
    (b"GET /" + b"a" * 16384 + b" HTTP/1.1\r\n", 414),
    (b"A" * 32768 + b" / HTTP/1.1\r\n", 414),
    (b"A" * (2 << 20), 414),
    (GET + b"X-A: " + b"a" * 65536 + b"\r\n\r\n", 431),
    (GET + b"".join(b"X-%d: y\r\n" % number for number in range(500)) + b"\r\n", 431),
    (GET + b"".join(b"X-%d: y\r\n" % number for number in range(10000)), 431),
    (CHUNKED + b"5;" + b"a" * (1 << 20), 413),
    (CHUNKED + b"1;aaaaaaaa\r\nx\r\n" * 2000, 413),
    (CHUNKED + b"0\r\nX: " + b"a" * (1 << 20), 431),
    (CHUNKED + b"0\r\n" + b"X: y\r\n" * 20000, 431),
]


@pytest.mark.parametrize(("data", "status"), DEFAULTS, ids=[repr(data[:40]) for data, _ in DEFAULTS])
def test_default_limits(data: bytes, status: int) -> None:
    """The default limits are 16 KiB for the request line, 64 KiB and 500 lines for fields, and less for chunk lines."""
    parser = Parser()
    kept = []

    def pieces() -> Iterator[bytes]:
        for piece in cut(data, 1000):
            kept.append(parser.buffered)
            yield piece

    assert refusal_of(pieces(), parser).status == status
    assert max(kept) <= 64 * 1024 + 1000


def test_line_of_a_refused_request() -> None:
    """When a request is refused, as much of its line is told as was read."""
    lines = []
    for data in (
        b"GET /<",
        b"GET / HTTP/2.0",
        b"POST /a HTTP/1.1\r\nX",
        b"POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: x",
    ):
        parser = Parser()
        refusal(data + b"\r\n\r\n", parser=parser)
        lines.append(parser.line and (parser.line.method, parser.line.target))
    assert lines == [None, (b"GET", b"/"), (b"POST", b"/a"), (b"POST", b"/b")]


def test_progress() -> None:
    """A parser tells whether it is in a head or a body, and how much it keeps."""
    parser = Parser()
    seen = []
    for piece in (
        b"",
        b"\r",
        b"\n",
        b"POST / HTTP/1.1\r\n",
        b"Host: a\r\nContent-Length: 2\r\n\r\n",
        b"h",
        b"i",
        b"GE",
    ):
        parser.receive(piece)
        while parser.next_event() is not None:
            pass
        seen.append((parser.in_head, parser.in_body, parser.buffered))
    assert seen == [
        (False, False, 0),
        (False, False, 1),
        (False, False, 0),
        (True, False, 0),
        (False, True, 0),
        (False, True, 0),
        (False, False, 0),
        (True, False, 2),
    ]


def test_repeated_head_is_read_once() -> None:
    """The same head once more is the same object; another line with the same fields shares the fields."""
    first, second, third, other = events((GET + b"\r\n") * 3 + NEXT)
    assert isinstance(second, Head)
    assert isinstance(other, Head)
    assert second is not first
    assert third is second
    assert other is not second
    assert other.fields is second.fields


def test_request_line_among_fields() -> None:
    """A remembered head is not taken for the fields of the next one."""
    parser = Parser()
    events(NEXT * 3, parser=parser)
    events(b"GET /next HTTP/1.1\r\n", parser=parser)
    assert refusal(NEXT, parser=parser).status == 400


def test_extensions_of_each_body() -> None:
    """The limit of chunk extensions is for one body."""
    chunked = POST + TO_CHUNK + b"1;aaaaaaaaaaaaaaaa\r\nx\r\n0\r\n\r\n"
    limits = Limits(chunk_extensions=20)
    assert events(chunked * 3, parser=Parser(limits)).count(Parser.END) == 3
    assert refusal(chunked[:-5] + b"1;aaaaaaaa\r\n", parser=Parser(limits)).status == 413


def test_forgotten_head_is_read_again() -> None:
    """A parser that forgot what it remembered reads the same requests, also in the middle of a head."""
    parser = Parser()
    first = events(GET + b"\r\n", parser=parser)
    parser.receive(b"GET / HTTP/1.1\r\n")
    assert parser.next_event() is None
    parser.forget()
    second = events(b"Host: a\r\n\r\n", parser=parser)
    assert isinstance(first[0], Head)
    assert isinstance(second[0], Head)
    assert second[0] is not first[0]
    assert second[0].line == first[0].line
    assert second[0].fields.raw == first[0].fields.raw
    assert refusal(b"Host: a\r\n\r\n", parser=parser).status == 400


def test_rest() -> None:
    """What follows the last request can be taken out."""
    parser = Parser()
    parser.receive(GET + b"\r\n" + b"\x81\x00rest")
    parser.next_event()
    assert (parser.take_rest(), parser.take_rest(), parser.buffered) == (b"\x81\x00rest", b"", 0)
