"""
The parser of answers: what it reads, what it refuses, and where an answer ends.
"""

from __future__ import annotations

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixweb.engine.http1 import Limits, Refusal
from mixweb.engine.responses import ResponseHead, ResponseParser

CUTS = pytest.mark.parametrize("size", [1, 7, 1 << 30], ids=["by 1", "by 7", "whole"])
END = ResponseParser.END


def read(data: bytes, size: int = 1 << 30, method: bytes = b"GET", closed: bool = False, **limits: int) -> list[object]:
    """The events of an answer that arrives in pieces; the pieces of its body are put together."""
    parser = ResponseParser(Limits(**limits))
    parser.expect(method)
    found: list[object] = []
    for start in range(0, len(data), size):
        parser.receive(data[start : start + size])
        while (event := parser.next_event()) is not None:
            if isinstance(event, bytes) and found and isinstance(found[-1], bytes):
                found[-1] += event
            else:
                found.append(event)
            if isinstance(event, ResponseHead) and event.status == 101:
                return [*found, parser.take_rest() + data[start + size :]]
    if closed and (end := parser.end()) is not None:
        found.append(end)
    return found


def told(events: list[object]) -> list[object]:
    """The same with heads as their status."""
    return [event.status if isinstance(event, ResponseHead) else event for event in events]


OK = b"HTTP/1.1 200 OK\r\n"

ANSWERS = [
    (OK + b"Content-Length: 2\r\n\r\nhi", [200, b"hi", END]),
    (OK + b"Content-Length: 0\r\n\r\n", [200, END]),
    (OK + b"content-length:2\r\n\r\nhi", [200, b"hi", END]),
    (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", [200, b"hi", END]),
    (OK + b"Transfer-Encoding: Chunked\r\n\r\n1;a=b\r\nh\r\n1\r\ni\r\n0\r\nX-Sum: 1\r\n\r\n", [200, b"hi", END]),
    (OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", [200, END]),
    (OK + b"\r\nall that comes", [200, b"all that comes", END]),
    (OK + b"\r\n", [200, END]),
    (b"HTTP/1.0 200 OK\r\n\r\nhi", [200, b"hi", END]),
    (b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", [200, END]),
    (b"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", [200, END]),
    (b"HTTP/1.1 204 No Content\r\n\r\n", [204, END]),
    (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", [304, END]),
    (b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 0\r\n\r\n", [100, 200, END]),
    (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 2 + OK + b"Content-Length: 0\r\n\r\n", [103, 103, 200, END]),
    (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nrest", [101, b"rest"]),
    (OK + b"Host: not a host, of no interest\r\nExpect: x\r\nContent-Length: 0\r\n\r\n", [200, END]),
    (b"HTTP/1.1 599 \xe9\r\nContent-Length: 0\r\n\r\n", [599, END]),
]


@CUTS
@pytest.mark.parametrize(("data", "events"), ANSWERS, ids=[repr(data[:40]) for data, _ in ANSWERS])
def test_answers(data: bytes, events: list[object], size: int) -> None:
    """An answer ends where its fields, its status or the connection say, however it is cut."""
    assert told(read(data, size, closed=True)) == events


WHOLE = [
    (OK + b"Content-Length: 2\r\n\r\nhi", b"hi", []),
    (OK + b"Content-Length: 2\r\n\r\nhi!", b"hi", []),
    (OK + b"Content-Length: 3\r\n\r\nhi", None, [b"hi"]),
    (OK + b"Content-Length: 0\r\n\r\n", b"", []),
    (OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nh\r\n1\r\ni\r\n0\r\n\r\n", b"hi", []),
    (OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"", []),
    (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n", None, [b"hi"]),
    (OK + b"Transfer-Encoding: chunked\r\n\r\n", None, []),
    (OK + b"\r\nhi", None, [b"hi"]),
    (b"HTTP/1.1 204 No Content\r\n\r\n", b"", []),
]


@pytest.mark.parametrize(("data", "body", "after"), WHOLE)
def test_bodies_at_once(data: bytes, body: bytes | None, after: list[object]) -> None:
    """A body that has come as a whole is taken at once; one that has not comes in pieces, with nothing left out."""
    parser = ResponseParser()
    parser.expect(b"GET")
    parser.receive(data)
    parser.next_event()
    assert parser.take_whole() == body
    if body is None:
        assert list(iter(parser.next_event, None)) == after
    else:
        assert parser.idle is not data.endswith(b"!")


@CUTS
@pytest.mark.parametrize("framing", [b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b""])
def test_answers_to_head(framing: bytes, size: int) -> None:
    """The answer to HEAD has no body, whatever its fields say."""
    assert told(read(OK + framing + b"\r\n", size, b"HEAD")) == [200, END]


REFUSED = [
    (b"<html>hello", "status line"),
    (b"HTTP/0.9 200 OK\r\n\r\n", "status line"),
    (b"HTTP/2.0 200 OK\r\n\r\n", "status line"),
    (b"HTTP/1.1 999 Odd\r\n\r\n", "malformed"),
    (b"HTTP/1.1 099 Odd\r\n\r\n", "malformed"),
    (b"HTTP/1.1 20 OK\r\n\r\n", "malformed"),
    (b"HTTP/1.1 2000 OK\r\n\r\n", "malformed"),
    (b"HTTP/1.1  200 OK\r\n\r\n", "malformed"),
    (b"HTTP/1.1 200 O\x00K\r\n\r\n", "malformed"),
    (b"\r\nHTTP/1.1 200 OK\r\n\r\n", "status line"),
    (b" HTTP/1.1 200 OK\r\n\r\n", "status line"),
    (b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", "CR and LF"),
    (OK + b"X: a\nY: b\r\n\r\n", "CR and LF"),
    (OK + b"X: a\rY: b\r\n\r\n", "CR and LF"),
    (OK + b"X: a\x00\r\n\r\n", "control"),
    (OK + b"X : a\r\n\r\n", "name"),
    (OK + b"X: a\r\n b\r\n\r\n", "space"),
    (OK + b"no colon\r\n\r\n", "colon"),
    (OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi", "more than once"),
    (OK + b"Content-Length: 2, 2\r\n\r\nhi", "not a number"),
    (OK + b"Content-Length: -1\r\n\r\n", "not a number"),
    (OK + b"Content-Length: +2\r\n\r\n", "not a number"),
    (OK + b"Content-Length: 0x2\r\n\r\n", "not a number"),
    (OK + b"Content-Length: 99999999999999999999\r\n\r\n", "too large"),
    (OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", "exclude"),
    (OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n", "chunked"),
    (OK + b"Transfer-Encoding: chunked, chunked\r\n\r\n", "malformed"),
    (OK + b"Transfer-Encoding: identity\r\n\r\n", "malformed"),
    (b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.0"),
    (OK + b"Transfer-Encoding: chunked\r\n\r\nz\r\n", "chunk size"),
    (OK + b"Transfer-Encoding: chunked\r\n\r\n2\nhi", "chunk size"),
    (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi!!", "longer than its size"),
    (OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX : a\r\n\r\n", "name"),
    (OK + b"X: " + b"a" * 70000, "longer than"),
    (OK + b"X: a\r\n" * 501 + b"\r\n", "more than 500"),
    (b"HTTP/1.1 200 " + b"a" * 20000, "too long"),
]


@CUTS
@pytest.mark.parametrize(("data", "detail"), REFUSED, ids=[repr(data[:50]) for data, _ in REFUSED])
def test_refused(data: bytes, detail: str, size: int) -> None:
    """What is no answer of HTTP/1.1, or says two things about where it ends, is refused, however it is cut."""
    with pytest.raises(Refusal) as caught:
        read(data, size, closed=True)
    assert size == 1 or detail in caught.value.detail


CUT_OFF = [
    b"HTTP/1.1 20",
    OK + b"Content-Length: 5\r\n",
    OK + b"Content-Length: 5\r\n\r\nhi",
    OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhi",
    OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
]


@CUTS
@pytest.mark.parametrize("data", CUT_OFF)
def test_cut_off(data: bytes, size: int) -> None:
    """A connection that ends too soon does not end an answer."""
    assert END not in read(data, size, closed=True)


PERSISTENT = [
    (b"HTTP/1.1 200 OK\r\n", True),
    (b"HTTP/1.1 200 OK\r\nConnection: close\r\n", False),
    (b"HTTP/1.1 200 OK\r\nConnection: x, Close\r\n", False),
    (b"HTTP/1.0 200 OK\r\n", False),
    (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n", False),
]


@pytest.mark.parametrize(("head", "persistent"), PERSISTENT)
def test_persistent(head: bytes, persistent: bool) -> None:
    """Only a server of HTTP/1.1 that does not say otherwise is sent another request."""
    found = read(head + b"Content-Length: 0\r\n\r\n")[0]
    assert isinstance(found, ResponseHead)
    assert found.persistent is persistent


def test_same_head_again() -> None:
    """A head that comes again is the same object, with what was noted on it; after it was forgotten, it is not."""
    parser = ResponseParser()
    heads = []
    for forget in (False, False, True):
        if forget:
            parser.forget()
        parser.expect(b"GET")
        parser.receive(OK + b"Content-Length: 1\r\n\r\nx")
        heads.append(parser.next_event())
        assert [parser.next_event(), parser.next_event()] == [b"x", END]
        heads[0].notes = "noted"
    assert heads[1] is heads[0]
    assert heads[2] is not heads[0]


def test_what_follows() -> None:
    """What comes behind an answer is seen: the connection is of no use then."""
    parser = ResponseParser()
    parser.expect(b"GET")
    parser.receive(OK + b"Content-Length: 1\r\n\r\nxHTTP/1.1 200 OK")
    assert told([parser.next_event() for _ in range(3)]) == [200, b"x", END]
    assert not parser.idle


PIECES = st.sampled_from(
    [
        *(b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 404\r\n", b"HTTP/1.1 100 C\r\n\r\n"),
        *(b"HTTP/1.1 204 N\r\n", b"Content-Length: 3\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n"),
        *(b"Connection: close\r\n", b"X: y\r\n", b"X:  \r\n", b" z\r\n", b"T: u\r\n", b"\r\n", b"\n", b"\x00"),
        *(b"3\r\nabc\r\n", b"3;x=1\r\nabc\r\n", b"0\r\n\r\n", b"abc"),
    ]
)


@settings(max_examples=400, deadline=None)
@given(st.lists(PIECES, min_size=2, max_size=9), st.sampled_from([b"GET", b"HEAD"]), st.integers(1, 40))
def test_against_h11(pieces: list[bytes], method: bytes, size: int) -> None:
    """An answer that is read has the status and the body that h11 finds in it."""
    data = b"".join(pieces)
    try:
        events = read(data, size, method, closed=True)
    except Refusal:
        return
    if END not in events:
        return
    heads = [event for event in events if isinstance(event, ResponseHead) and event.status >= 200]
    body = b"".join(event for event in events[: events.index(END)] if isinstance(event, bytes))
    assert by_h11(data, method) == (heads[0].status, body)


def by_h11(data: bytes, method: bytes) -> tuple[int, bytes]:
    """The status and body of the first answer, as h11 reads it."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    connection.receive_data(b"")
    status, body = 0, b""
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            return status, body
        elif event in (h11.NEED_DATA, h11.PAUSED) or isinstance(event, h11.ConnectionClosed):
            raise AssertionError(f"h11 finds no whole answer in {data!r}")
