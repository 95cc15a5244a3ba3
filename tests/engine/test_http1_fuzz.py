"""
The HTTP/1.1 parser against made-up messages, and against two other parsers.

h11 and llhttp (as httptools) read every message, too. Where they differ from us the reason stands in one of the tables
below; any other difference fails. ``MIXWEB_FUZZ=100000`` makes that many messages, other ones in each run.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import h11
import httptools
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.resource import Resource

from mixweb.engine.channel import Channel
from mixweb.engine.http1 import Head, Limits, Parser, Refusal
from mixweb.engine.request import Request
from mixweb.engine.site import Site

ASKED = int(os.environ.get("MIXWEB_FUZZ", "0"))

fuzz = settings(
    max_examples=ASKED or 400,
    derandomize=not ASKED,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

METHODS = [b"GET", b"POST", b"HEAD", b"OPTIONS", b"CONNECT", b"get", b"M-X", b"PRI"]
TARGETS = [b"/", b"/a?b=c", b"//x/../%00", b"*", b"http://b/c", b"http://b:80?q", b"https://[::1]/", b"b:80", b"/{|}"]
VERSIONS = [*[b"HTTP/1.1"] * 8, b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"HTTP/1.10"]
FIELDS = [
    *(b"Content-Length: 5", b"Content-Length: 0", b"content-length:\t5 ", b"Content-Length: 005"),
    *(b"Transfer-Encoding: chunked", b"TRANSFER-ENCODING: Chunked", b"Transfer-Encoding: gzip, chunked"),
    *(b"Transfer-Encoding: identity", b"Transfer-Encoding: chunked, chunked", b"Transfer-Encoding : chunked"),
    *(b"Connection: close", b"Connection: Upgrade", b"Upgrade: x", b"Expect: 100-continue", b"Host: b"),
    *(b"X: y", b"X:", b"x: a, b ", b" folded", b"X: \x80\xff", b"Cookie: a=b; c=d"),
]
BODIES = [
    b"",
    b"hello",
    b"5\r\nhello\r\n0\r\n\r\n",
    b"5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n",
    b'3;a="b;\\""\r\nabc\r\n02\r\nde\r\n000\r\n\r\n',
    b"0\r\n\r\n",
    b"A\r\n0123456789\r\n0\r\nContent-Length: 5\r\n\r\n",
]
PIECES = [b"", b"\r\n", *(bytes([octet]) for octet in b'\r\n\t :;,\0\x0b\x7f\x80"\\/?#@%05aA-+_=1<{')]


@st.composite
def messages(draw: Callable[..., Any]) -> bytes:
    """A message much like a request, with a few changes."""
    first = b" ".join(draw(st.sampled_from(choices)) for choices in (METHODS, TARGETS, VERSIONS))
    host = [] if draw(st.integers(0, 9)) == 0 else [b"Host: a"]
    lines = [first, *host, *draw(st.lists(st.sampled_from(FIELDS), max_size=3)), b"", draw(st.sampled_from(BODIES))]
    message = b"\r\n".join(lines)
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(message)))
        message = message[:start] + draw(st.sampled_from(PIECES)) + message[start + draw(st.integers(0, 2)) :]
    return message


_HEAD = b"POST / HTTP/1.1\r\nHost: a\r\n"
_CHUNKED = _HEAD + b"Transfer-Encoding: chunked\r\n\r\n"

#: What parsers were found to read wrongly, this one and others; every test of whole messages begins with it.
CORPUS = [
    b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 2 + b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n\r\nGET / HTTP/1.0\r\n\r\n\r\n",
    b"GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET http://b/c HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n folded\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: \x01\x7f\r\n\r\n",
    b"GET / HTTP/1.1\nHost: a\n\n",
    _HEAD + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    _HEAD + b"Content-Length: +5\r\n\r\nhello",
    _HEAD + b"Content-Length: 18446744073709551621\r\n\r\nhello",
    _HEAD + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n",
    _HEAD + b"Transfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nhello",
    _HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    _HEAD + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    _HEAD + b"Transfer-Encoding\r\n : chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    _CHUNKED + b"0\r\nContent-Length: 5\r\n\r\nhello",
    _CHUNKED + b"0\r\nX : y\r\n\r\n",
    _CHUNKED + b"0\n\r\n",
    _CHUNKED + b"5\nhello\r\n0\r\n\r\n",
    _CHUNKED + b"5\r\nhelloGG0\r\n\r\n",
    _CHUNKED + b'5;a="\r\n"\r\nhello\r\n0\r\n\r\n',
    _CHUNKED + b"5;\x00\r\nhello\r\n0\r\n\r\n",
    _CHUNKED + b"0" * 16 + b"5\r\nhello\r\n0\r\n\r\n",
    _CHUNKED + b"f" * 400 + b"\r\nhello",
    _CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n",
]


def corpus(*arguments: object) -> Callable[[Any], Any]:
    """
    Has a test tried with all of the corpus.

    :param arguments: what the test takes besides the message.
    """

    def add(test: Any) -> Any:
        for message in CORPUS:
            test = example(message, *arguments)(test)
        return test

    return add


streams = st.lists(messages() | st.binary(max_size=40), min_size=1, max_size=4).map(b"".join)
repeating_streams = st.lists(messages(), min_size=1, max_size=3, unique=True).flatmap(
    lambda few: st.lists(st.sampled_from(few), min_size=1, max_size=6).map(b"".join)
)
cuts = st.lists(st.integers(1, 40), max_size=30)


def pieces_of(data: bytes, sizes: list[int]) -> list[bytes]:
    """``data`` cut into pieces of these sizes, and the rest."""
    found = []
    for size in sizes:
        found.append(data[:size])
        data = data[size:]
    return [piece for piece in (*found, data) if piece]


def outcome(parser: Parser, pieces: list[bytes], forgetful: bool = False) -> list[object]:
    """All that a parser says about some bytes, in a form that can be compared; the status of a refusal comes last."""
    told: list[object] = []
    try:
        for piece in pieces:
            parser.receive(piece)
            while (event := parser.next_event()) is not None:
                if isinstance(event, Head):
                    told.append(
                        (event.line, event.fields.pairs, event.fields.values, event.persistent, _framing(event))
                    )
                elif isinstance(event, bytes) and told and isinstance(told[-1], bytes):
                    told[-1] += event
                else:
                    told.append(event)
                if forgetful:
                    parser.forget()
    except Refusal as refusal:
        # How much of its body a request had before it was refused depends on the cuts.
        told[-1:] = [refusal.status] if told and isinstance(told[-1], bytes) else [*told[-1:], refusal.status]
    return told


def _framing(head: Head) -> tuple[object, ...]:
    fields = head.fields
    return fields.raw, fields.host, fields.length, fields.close, fields.expect


@fuzz
@given(streams, cuts)
@corpus([1, 1, 1, 1, 1])
def test_cuts_change_nothing(data: bytes, sizes: list[int]) -> None:
    """A parser says the same about the same bytes however they are cut, and never raises anything but a refusal."""
    whole = outcome(Parser(), [data])
    assert outcome(Parser(), pieces_of(data, sizes)) == whole
    assert outcome(Parser(), pieces_of(data, [1] * len(data))) == whole


@fuzz
@given(repeating_streams, cuts)
@corpus([18])
@corpus([20])
def test_remembering_changes_nothing(data: bytes, sizes: list[int]) -> None:
    """What is remembered from the requests before gives the same as reading each anew."""
    pieces = pieces_of(data, sizes)
    assert outcome(Parser(), pieces) == outcome(Parser(), pieces, forgetful=True)


@fuzz
@given(streams, cuts)
@corpus([7] * 800)
def test_nothing_is_kept_beyond_the_limits(data: bytes, sizes: list[int]) -> None:
    """No more than a head of the longest kind and one piece is ever kept."""
    limits = Limits(request_line=30, field=30, field_section=40, fields=3, chunk_line=12, chunk_extensions=20)
    parser = Parser(limits)
    for piece in pieces_of(data, sizes):
        assert parser.buffered <= 43
        if any(isinstance(told, int) for told in outcome(parser, [piece])):
            break


# Other parsers


class Message(NamedTuple):
    """A complete message, and what follows it."""

    method: bytes
    target: bytes
    fields: list[tuple[bytes, bytes]]
    body: bytes
    rest: bytes


class Refused(NamedTuple):
    """A message that is refused."""

    reason: str


Reading = Message | Refused | None


def ours(data: bytes) -> Reading:
    """What our parser makes of the first message; ``None`` when it waits for more."""
    parser = Parser()
    parser.receive(data)
    body = b""
    try:
        head = parser.next_event()
        if not isinstance(head, Head):
            return None
        while parser.in_body:
            piece = parser.next_event()
            if piece is None:
                return None
            body += piece if isinstance(piece, bytes) else b""
    except Refusal as refusal:
        return Refused(refusal.detail)
    fields = [(name.lower(), value) for name, value in head.fields.pairs]
    return Message(head.line.method, head.line.target, fields, body, parser.take_rest())


def of_h11(data: bytes) -> Reading:
    """What h11 makes of the first message."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    body = b""
    try:
        head = connection.next_event()
        if not isinstance(head, h11.Request):
            return None
        while not isinstance(event := connection.next_event(), h11.EndOfMessage):
            if not isinstance(event, h11.Data):
                return None
            body += bytes(event.data)
    except h11.RemoteProtocolError as error:
        return Refused(str(error))
    fields = [(bytes(name), bytes(value)) for name, value in head.headers]
    return Message(bytes(head.method), bytes(head.target), fields, body, bytes(connection.trailing_data[0]))


class Heard:
    """Hears what llhttp reads, up to the end of the first message."""

    def __init__(self) -> None:
        self.target = self.body = b""
        self.fields: list[tuple[bytes, bytes]] = []
        self.in_head = True
        self.complete = False

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.in_head:
            self.fields.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        self.in_head = False

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.complete = True


def of_llhttp(data: bytes) -> Reading:
    """What llhttp makes of the first message; it is fed byte by byte to see where that ends."""
    heard = Heard()
    parser = httptools.HttpRequestParser(heard)
    for end in range(1, len(data) + 1):
        try:
            parser.feed_data(data[end - 1 : end])
        except httptools.HttpParserUpgrade:
            heard.complete = True
        except httptools.HttpParserError as error:
            return Refused(str(error))
        if heard.complete:
            return Message(parser.get_method(), heard.target, heard.fields, heard.body, data[end:])
    return None


BARE = re.compile(rb"(?<!\r)\n|\r(?!\n)")

#: They do not count the zeros before a chunk size.
LONG_SIZE = re.compile(rb"\r\n0[0-9A-Fa-f]{16}")

#: Why we refuse what both of them may let pass.
STRICTER = {
    "CONNECT takes a host and port as its target.": "the form of the target is not looked at",
    "The Host field is malformed.": "the value of Host is not looked at",
    "The only transfer coding known here is chunked.": "llhttp leaves it to the application",
    "The request target is malformed.": "the form of the target is not looked at",
    "The target * is for OPTIONS only.": "the form of the target is not looked at",
    "This server can only meet the expectation 100-continue.": "Expect is left to the application",
    "This server speaks HTTP/1.1 here.": "the version is left to the application",
    "The Host field is missing.": "left to the application, by h11 in HTTP/1.2",
    "HTTP/1.0 has no Transfer-Encoding.": "RFC 9112, 6.1 leaves it to the server",
}

#: Why we refuse what h11 lets pass.
STRICTER_THAN_H11 = STRICTER | {
    "A chunk extension is malformed.": "chunk extensions are not looked at",
    "A field line begins with a space.": "obsolete folding is unfolded",
    "Content-Length and Transfer-Encoding exclude each other.": "Transfer-Encoding overrides",
    "Content-Length is there more than once.": "equal ones are taken for one",
    "Content-Length is not a number.": "a list of equal ones is taken for one",
    "The body is too large.": "numbers of 20 digits are taken",
    "There is a control character where none may be.": "only NUL is refused",
}

#: Why we refuse what llhttp lets pass.
STRICTER_THAN_LLHTTP = STRICTER | {
    "The Host field is there more than once.": "Host is not looked at",
    "Transfer-Encoding is malformed.": "a request whose last coding is not chunked may have an upgrade instead of a body",
    "The request line is malformed.": "HTTP/0.9 is read on, and a version of two digits; empty lines may end in LF",
}


#: Why llhttp refuses what we let pass.
LLHTTP_IS_STRICTER = {
    r"Invalid method|Expected space after method": "it knows a list of methods",
    r"Expected HTTP/2": "PRI is the method of the HTTP/2 preface to it",
    r"Invalid HTTP version": "it has no HTTP/1.2",
    r"Content-Length can't be present|Invalid character in Content-Length|Content-Length overflow|Unexpected .*Content": (
        "it takes trailer fields for fields of the head"
    ),
}


def explained_for_h11(data: bytes, mine: Reading, theirs: Reading) -> bool:
    if isinstance(mine, Refused):
        # It waits for the end of a head or a line that nothing could mend, and takes LF for the end of a line.
        return theirs is None or mine.reason in STRICTER_THAN_H11 or bool(BARE.search(data) or LONG_SIZE.search(data))
    # It refuses before the end of a head has come, and an empty line before a request.
    return isinstance(theirs, Refused) and (mine is None or data.startswith(b"\r\n"))


def explained_for_llhttp(data: bytes, mine: Reading, theirs: Reading) -> bool:
    method = data.lstrip(b"\r\n").partition(b" ")[0]
    if method in (b"CONNECT", b"PRI") or re.search(rb"(?i)\r\nupgrade:", data):
        # It waits for the rest of the HTTP/2 preface, and knows no body of a request for a tunnel or an upgrade.
        return True
    if isinstance(mine, Refused):
        return theirs is None or mine.reason in STRICTER_THAN_LLHTTP or LONG_SIZE.search(data) is not None
    return isinstance(theirs, Refused) and (
        mine is None or any(re.match(reason, theirs.reason) for reason in LLHTTP_IS_STRICTER)
    )


def with_lower_coding(reading: Reading) -> Reading:
    """h11 tells the transfer coding in lower case."""
    if not isinstance(reading, Message):
        return reading
    fields = [(name, value.lower() if name == b"transfer-encoding" else value) for name, value in reading.fields]
    return reading._replace(fields=fields)


@fuzz
@given(messages())
@corpus()
def test_h11_agrees(data: bytes) -> None:
    """h11 reads the same messages in the same way, but for the differences that are listed."""
    mine, theirs = with_lower_coding(ours(data)), of_h11(data)
    both_refuse = isinstance(mine, Refused) and isinstance(theirs, Refused)
    assert mine == theirs or both_refuse or explained_for_h11(data, mine, theirs), (mine, theirs)


@fuzz
@given(messages())
@corpus()
def test_llhttp_agrees(data: bytes) -> None:
    """llhttp reads the same messages in the same way, but for the differences that are listed."""
    mine, theirs = ours(data), of_llhttp(data)
    both_refuse = isinstance(mine, Refused) and isinstance(theirs, Refused)
    assert mine == theirs or both_refuse or explained_for_llhttp(data, mine, theirs), (mine, theirs)


# The whole connection


class Tell(Resource):
    """Says what it was asked."""

    isLeaf = True

    def render(self, request: Any) -> bytes:
        return b"%b %b %b" % (request.method, request.uri, request.content.read())


def answers(pieces: list[bytes]) -> tuple[list[bytes], bool]:
    """What a connection answers without dates, interim answers and error pages, and whether it is closed."""
    site = Site(Tell(), reactor=Clock())
    channel: Any = Channel()
    channel.site = channel.factory = site
    channel.requestFactory, channel.timeOut = Request, 60
    transport = StringTransport()
    channel.makeConnection(transport)
    for piece in pieces:
        channel.dataReceived(piece)
    channel.connectionLost(Failure(ConnectionDone()))
    sent = re.sub(rb"Date: [^\r]+\r\n|HTTP/1.1 100 Continue\r\n\r\n", b"", transport.value())
    each = re.split(rb"HTTP/1\.1 (?=[1-5][0-9]{2} )", sent)[1:]
    return [answer if answer.startswith(b"200") else answer[:3] for answer in each], transport.disconnecting


@fuzz
@given(streams, cuts)
@corpus([1, 2, 3, 5, 7, 11, 13, 17, 19])
def test_connection_answers_the_same(data: bytes, sizes: list[int]) -> None:
    """A connection answers the same requests in the same way however they are cut, and fails at nothing."""
    whole = answers([data])
    assert answers(pieces_of(data, sizes)) == whole
    statuses = {int(answer[:3]) for answer in whole[0]}
    assert statuses <= {200, 204, 400, 408, 413, 414, 417, 431, 501, 505}
