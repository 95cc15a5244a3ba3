"""
Ranges: RFC 9110, 14.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixweb.kit.ranges import MAX_RANGES, Span, length, multipart, select

WHOLE = None


@pytest.mark.parametrize(
    ("value", "spans"),
    [
        (b"bytes=0-9", [Span(0, 10)]),
        (b"BYTES=0-9", [Span(0, 10)]),
        (b"bytes=20-", [Span(20, 80)]),
        (b"bytes=-10", [Span(90, 10)]),
        (b"bytes=-1000", [Span(0, 100)]),
        (b"bytes=20-1000", [Span(20, 80)]),
        (b"bytes=99-99", [Span(99, 1)]),
        (b"bytes=0-" + b"9" * 5000, [Span(0, 100)]),
        (b"bytes=" + b"0" * 5000 + b"5-6", [Span(5, 2)]),
        (b"bytes=0-0,2-2", [Span(0, 1), Span(2, 1)]),
        (b"bytes=2-2 , 0-0", [Span(2, 1), Span(0, 1)]),
        (b"bytes=,0-0,,", [Span(0, 1)]),
        (b"bytes=0-0,500-", [Span(0, 1)]),
        (b"bytes=0-49,-50", [Span(0, 50), Span(50, 50)]),
        (b"bytes=100-", []),
        (b"bytes=-0", []),
        (b"bytes=" + b"9" * 5000 + b"-", []),
        (b"bytes=100-,200-300", []),
        (b"bytes=-50,0-50", WHOLE),
        (b"bytes=0-,0-", WHOLE),
        (b"lines=0-1", WHOLE),
        (b"bytes 0-1", WHOLE),
        (b"bytes =0-1", WHOLE),
        (b"bytes=", WHOLE),
        (b"bytes=,", WHOLE),
        (b"bytes=-", WHOLE),
        (b"bytes=abc", WHOLE),
        (b"bytes=9-3", WHOLE),
        (b"bytes=0-1,9-3", WHOLE),
        (b"bytes=--5", WHOLE),
        (b"bytes=+1-5", WHOLE),
        (b"bytes=0-1_0", WHOLE),
        (b"bytes=0x1-5", WHOLE),
        (b"bytes=1.0-5", WHOLE),
        (b"bytes=0 - 5", WHOLE),
        ("bytes=١-٥".encode(), WHOLE),
        (b"bytes=0-1;2-3", WHOLE),
        (b"bytes=0-1\n", WHOLE),
        (b"", WHOLE),
    ],
)
def test_select(value, spans):
    """Ranges of a file of 100 bytes: those that it has, none, or all of it when the value is not to be obeyed."""
    assert select(value, 100) == spans


@pytest.mark.parametrize(("value", "spans"), [(b"bytes=0-", []), (b"bytes=-5", WHOLE), (b"bytes=-0", [])])
def test_empty(value, spans):
    """An empty file has no first byte; its last bytes are all of it."""
    assert select(value, 0) == spans


@pytest.mark.parametrize("count", [MAX_RANGES + 1, 10_000])
def test_too_many(count):
    """More ranges than are obeyed, and it is the whole file."""
    tiny = b",".join(b"%d-%d" % (2 * number, 2 * number) for number in range(count))
    assert select(b"bytes=" + tiny, 1_000_000) is WHOLE
    assert len(select(b"bytes=" + b",".join(tiny.split(b",")[:MAX_RANGES]), 1_000_000)) == MAX_RANGES


def test_multipart():
    """Parts have their type and place, in the order asked for, and their boundary around them."""
    pieces = multipart([Span(5, 2), Span(0, 1)], 1000, b"text/plain", b"B")
    assert pieces == [
        b"\r\n--B\r\nContent-Type: text/plain\r\nContent-Range: bytes 5-6/1000\r\n\r\n",
        Span(5, 2),
        b"\r\n--B\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-0/1000\r\n\r\n",
        Span(0, 1),
        b"\r\n--B--\r\n",
    ]
    assert length(pieces) == sum(len(piece) for piece in pieces if isinstance(piece, bytes)) + 3


def test_overhead():
    """Where the parts would be more than twice the file, the file is sent."""
    spans = [Span(2 * number, 1) for number in range(MAX_RANGES)]
    assert multipart(spans, 130, b"text/plain", b"B" * 32) is None
    assert multipart(spans, 10_000, b"text/plain", b"B" * 32) is not None


NUMBERS = st.one_of(st.just(""), st.integers(0, 300).map(str))


@settings(deadline=None)
@given(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=80), st.integers(0, 250))
def test_never_more_than_the_file(specs, size):
    """Whatever is asked for, spans lie in the file, do not overlap, and an answer is no more than twice the file."""
    value = "bytes=" + ",".join(f"{first}-{last}" for first, last in specs)
    spans = select(value.encode(), size)
    if not spans:
        return
    for span in spans:
        assert 0 <= span.start < span.start + span.size <= size
    covered = [byte for span in spans for byte in range(span.start, span.start + span.size)]
    assert len(covered) == len(set(covered))
    pieces = multipart(spans, size, b"text/plain; charset=utf-8", b"B" * 32)
    assert pieces is None or length(pieces) <= max(2 * size, 4096)
