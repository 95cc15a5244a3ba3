"""
HPACK: the examples of RFC 7541, limits, errors, and the decoder against another one.

``MIXWEB_FUZZ=100000`` makes that many streams of blocks, other ones in each run.
"""

from __future__ import annotations

import os
from itertools import count

import hpack as other
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mixweb.engine import _huffman, hpack
from mixweb.engine._huffman import HuffmanDecoder, encode_huffman
from mixweb.engine.hpack import (
    STATIC_TABLE,
    Decoder,
    HpackError,
    SectionTooLarge,
    encode_field,
    encode_integer,
    encode_name,
    encode_string,
)

ASKED = int(os.environ.get("MIXWEB_FUZZ", "0"))

fuzz = settings(
    max_examples=ASKED or 300,
    derandomize=not ASKED,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def field(line: str) -> tuple[bytes, bytes]:
    """``:path /`` as a field."""
    name, _, value = line.encode().partition(b" ")
    return name, value


def table(decoder: Decoder) -> list[tuple[bytes, bytes]]:
    """What a decoder has in its dynamic table."""
    found = []
    for index in count(62):
        try:
            found += decoder.decode(encode_integer(index, 127, 128))
        except HpackError:
            return found
    raise AssertionError


REQUESTS = [
    ([":method GET", ":scheme http", ":path /", ":authority www.example.com"], [":authority www.example.com"]),
    (
        [":method GET", ":scheme http", ":path /", ":authority www.example.com", "cache-control no-cache"],
        ["cache-control no-cache", ":authority www.example.com"],
    ),
    (
        [
            *(":method GET", ":scheme https", ":path /index.html", ":authority www.example.com"),
            "custom-key custom-value",
        ],
        ["custom-key custom-value", "cache-control no-cache", ":authority www.example.com"],
    ),
]
ANSWERS = [
    (
        [
            *(":status 302", "cache-control private", "date Mon, 21 Oct 2013 20:13:21 GMT"),
            "location https://www.example.com",
        ],
        [
            *("location https://www.example.com", "date Mon, 21 Oct 2013 20:13:21 GMT", "cache-control private"),
            ":status 302",
        ],
    ),
    (
        [
            *(":status 307", "cache-control private", "date Mon, 21 Oct 2013 20:13:21 GMT"),
            "location https://www.example.com",
        ],
        [
            *(":status 307", "location https://www.example.com", "date Mon, 21 Oct 2013 20:13:21 GMT"),
            "cache-control private",
        ],
    ),
    (
        [
            *(":status 200", "cache-control private", "date Mon, 21 Oct 2013 20:13:22 GMT"),
            *("location https://www.example.com", "content-encoding gzip"),
            "set-cookie foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
        ],
        [
            "set-cookie foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
            *("content-encoding gzip", "date Mon, 21 Oct 2013 20:13:22 GMT"),
        ],
    ),
]

#: RFC 7541, C.2 to C.6: size of the table, blocks, and what they mean with the table that they leave.
EXAMPLES = {
    "C.2.1": (
        *(4096, ["400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572"]),
        [(["custom-key custom-header"], ["custom-key custom-header"])],
    ),
    "C.2.2": (4096, ["040c 2f73 616d 706c 652f 7061 7468"], [([":path /sample/path"], [])]),
    "C.2.3": (4096, ["1008 7061 7373 776f 7264 0673 6563 7265 74"], [(["password secret"], [])]),
    "C.2.4": (4096, ["82"], [([":method GET"], [])]),
    "C.3": (
        4096,
        [
            "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
            "8286 84be 5808 6e6f 2d63 6163 6865",
            "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
        ],
        REQUESTS,
    ),
    "C.4": (
        4096,
        [
            "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
            "8286 84be 5886 a8eb 1064 9cbf",
            "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
        ],
        REQUESTS,
    ),
    "C.5": (
        256,
        [
            "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32"
            "3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
            "4803 3330 37c1 c0bf",
            "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970"
            "7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61"
            "6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31",
        ],
        ANSWERS,
    ),
    "C.6": (
        256,
        [
            "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad"
            "1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
            "4883 640e ffc1 c0bf",
            "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2"
            "e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
        ],
        ANSWERS,
    ),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples(name):
    """The examples of RFC 7541 give the fields and the tables that it says."""
    size, blocks, expected = EXAMPLES[name]
    decoder = Decoder(size)
    for block, (fields, left) in zip(blocks, expected, strict=True):
        assert decoder.decode(bytes.fromhex(block)) == [field(line) for line in fields]
        assert table(decoder) == [field(line) for line in left]


@pytest.mark.parametrize(
    ("value", "most", "flags", "encoded"),
    [
        (10, 31, 0, "0a"),
        (1337, 31, 0, "1f9a0a"),
        (42, 255, 0, "2a"),
        (30, 31, 0x20, "3e"),
        (31, 31, 0x20, "3f00"),
        (158, 31, 0, "1f7f"),
        (159, 31, 0, "1f8001"),
        (127 + 2**28 - 1, 127, 0x80, "ffffffff7f"),
    ],
)
def test_integers(value, most, flags, encoded):
    """Integers are encoded as RFC 7541, 5.1 and C.1 have it."""
    assert encode_integer(value, most, flags).hex() == encoded


@pytest.mark.parametrize(
    ("name", "value", "secret", "encoded"),
    [
        (b":method", b"GET", False, "82"),
        (b":status", b"404", False, "8d"),
        (b":status", b"307", False, "0803333037"),
        (b":path", b"/sample/path", False, "0489" + encode_string(b"/sample/path")[1:].hex()),
        (b"cache-control", b"no-cache", False, "0f0986a8eb10649cbf"),
        (b"custom-key", b"custom-value", False, "008825a849e95ba97d7f8925a849e95bb8e8b4bf"),
        (b"custom-key", b"custom-value", True, "108825a849e95ba97d7f8925a849e95bb8e8b4bf"),
        (b"authorization", b"", True, "1f0800"),
        (b"accept-encoding", b"gzip, deflate", True, "1f01" + encode_string(b"gzip, deflate").hex()),
        (b"x", b"\xff\x00", False, "0001" + "78" + "02ff00"),
    ],
)
def test_encoding(name, value, secret, encoded):
    """Fields come from the static table or as literals; secrets always as such that are never indexed."""
    assert encode_field(name, value, secret).hex() == encoded
    assert Decoder().decode(encode_field(name, value, secret)) == [(name, value)]
    assert encode_field(name, value, True).startswith(encode_name(name, True))


def test_static_table():
    """The static table and the Huffman code are those that others have."""
    assert list(other.table.HeaderTable.STATIC_TABLE) == STATIC_TABLE
    assert [int(digit, 32) for digit in _huffman._CODE_LENGTHS] == other.huffman_constants.REQUEST_CODES_LENGTH
    assert [
        code - (1 << code.bit_length() - 1) for _, code in sorted((s, c) for c, s in _huffman._SYMBOLS.items())
    ] == (other.huffman_constants.REQUEST_CODES)


MALFORMED = {
    "index 0": "80",
    "index 0 with strings": "80 0161 0162",
    "index 0 behind a field": "82 80 0161 0162",
    "index behind the static table": "be",
    "index far behind": "ffffffff7f",
    "integer ends early": "ff",
    "integer goes on": "ffffff",
    "integer of 29 bits": "ffffffffff00",
    "integer with zeros": "ff8080808000",
    "length of 29 bits": "007fffffffff00",
    "no name": "00",
    "no value": "0001 61",
    "name ends early": "0002 61",
    "value ends early": "0001 61 02 62",
    "name of an index that is not there": "7f00",
    "name of an index that is not there, not indexed": "0fff01 00",
    "padding of 8 bits": "0001 61 82 1fff",
    "padding of zeros": "0001 61 81 18",
    "padding only, 8 bits": "0001 61 81 ff",
    "end of string": "0001 61 84 ffffffff",
    "end of string in the middle": "0001 61 85 1fffffffff",
    "size update behind a field": "82 20",
    "size update over the limit": "3fe21f",
    "size update ends early": "3f",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed(name):
    """A malformed block is an error, whatever the matter."""
    with pytest.raises(HpackError):
        Decoder().decode(bytes.fromhex(MALFORMED[name]))


@pytest.mark.parametrize(
    ("block", "value"),
    [("0001 61 81 1f", b"a"), ("0001 61 00", b""), ("0001 61 80", b""), ("0001 61 03 00 80 ff", b"\0\x80\xff")],
)
def test_well_formed(block, value):
    """What looks odd and is not."""
    assert Decoder().decode(bytes.fromhex(block)) == [(b"a", value)]


def test_sizes():
    """A change of the size evicts, and the table may grow again up to what was allowed; what is too large empties it."""
    decoder = Decoder()
    decoder.decode(b"\x40\x01a\x01b\x40\x01c\x01d")
    assert decoder.decode(b"\x3f\x04\xbe") == [(b"c", b"d")]
    assert table(decoder) == [(b"c", b"d")]
    decoder.decode(b"\x20\x3f\xe1\x1f\x40\x01e\x01f")
    assert table(decoder) == [(b"e", b"f")]
    assert decoder.decode(b"\x40\x01g" + encode_integer(4096, 127) + bytes(4096)) == [(b"g", bytes(4096))]
    assert table(decoder) == []


def test_changes():
    """Every insertion and every size update counts as a change, nothing else does."""
    decoder = Decoder()
    for block, changes in [("82", 0), ("0001610162", 0), ("1001610162", 0), ("4001610162", 1), ("be", 1), ("20", 2)]:
        decoder.decode(bytes.fromhex(block))
        assert decoder.changes == changes


@pytest.mark.parametrize("limit", [100, 1000])
def test_too_large(limit):
    """Of a section that is too large the first fields are told, and the table is right after it."""
    decoder = Decoder(max_section_bytes=limit)
    fields = [(b"a", b"b")] * (limit // 34)
    with pytest.raises(SectionTooLarge) as caught:
        decoder.decode(b"\x40\x01a\x01b" + b"\xbe" * (limit // 34) + b"\x40\x01c\x01d")
    assert caught.value.fields == fields
    assert table(decoder) == [(b"c", b"d"), (b"a", b"b")]
    assert decoder.decode(b"\xbf" * (limit // 34)) == fields
    assert decoder.section_bytes == limit // 34 * 34


def test_bomb():
    """A small block that means a large section keeps no more than is allowed."""
    decoder = Decoder()
    decoder.decode(b"\x40\x01a" + encode_integer(4000, 127) + bytes(4000))
    with pytest.raises(SectionTooLarge) as caught:
        decoder.decode(b"\xbe" * 60_000)
    assert len(caught.value.fields) == 64 * 1024 // 4033


def test_strings_are_remembered_within_limits():
    """Strings are remembered, a bounded number of short ones, until they are forgotten."""
    decoder = Decoder()
    for number in range(1000):
        value = b"/path/of/%d" % number
        assert decoder.decode(encode_field(b"a", value) * 2) == [(b"a", value)] * 2
        assert 0 < len(decoder._strings) <= hpack._MEMO_STRINGS
    decoder.forget()
    decoder.decode(encode_field(b"\xff", b"a" * 1000))
    assert decoder._strings == {}


def test_automaton_is_bounded(monkeypatch):
    """The automaton keeps a bounded number of steps and is right when it begins anew."""
    monkeypatch.setattr(_huffman, "MAX_STEPS", 50)
    automaton = HuffmanDecoder()
    for octet in range(256):
        string = bytes([octet, 255 - octet, 97, octet])
        assert automaton.decode(encode_huffman(string)) == string
        assert automaton.steps <= 50


@fuzz
@given(st.binary(max_size=40))
def test_strings(string):
    """What is encoded is decoded again, here and elsewhere."""
    block = encode_field(b"x", string)
    assert Decoder().decode(block) == other.Decoder().decode(block, raw=True) == [(b"x", string)]


indices = st.integers(0, 75) | st.integers(0, 2**30)
strings = st.sampled_from([b"", b"a", b"host", b"GET", b"x" * 30, b"\0\xff", b"y" * 1000]) | st.binary(max_size=12)
literal_strings = st.builds(
    lambda string, plain: encode_integer(len(string), 127) + string if plain else encode_string(string),
    *(strings, st.booleans()),
)
literals = st.builds(
    lambda kind, index, name, value: encode_integer(index, kind[0], kind[1]) + (b"" if index else name) + value,
    *(st.sampled_from([(63, 64), (63, 64), (15, 0), (15, 16), (127, 128)]), st.just(0) | st.integers(0, 70)),
    *(literal_strings, literal_strings),
)
representations = st.one_of(
    st.builds(lambda index: encode_integer(index, 127, 128), st.integers(1, 75) | st.integers(0, 2)),
    literals,
    literals,
    literals,
)
sizes = st.builds(lambda size: encode_integer(size, 31, 32), st.integers(0, 200) | st.integers(0, 4200))


@st.composite
def blocks(draw):
    """A block much like a real one, with a few changes."""
    pieces = draw(st.lists(sizes, max_size=2)) if draw(st.integers(0, 5)) == 0 else []
    block = b"".join(pieces + draw(st.lists(representations, max_size=8)))
    for _ in range(draw(st.integers(0, 2)) if draw(st.integers(0, 4)) == 0 else 0):
        start = draw(st.integers(0, len(block)))
        block = block[:start] + draw(st.binary(max_size=2)) + block[start + draw(st.integers(0, 2)) :]
    return block


odd_blocks = st.lists(
    st.sampled_from(b"\x00\x01\x02\x0f\x10\x1f\x20\x3f\x40\x41\x7f\x80\x81\x82\xbe\xbf\xff"), max_size=12
).map(bytes)


def decode_elsewhere(decoder: other.Decoder, block: bytes) -> list[tuple[bytes, bytes]] | type[Exception]:
    """The fields, or the kind of error, of another decoder."""
    try:
        return [(name, value) for name, value in decoder.decode(block, raw=True)]
    except other.OversizedHeaderListError:
        return SectionTooLarge
    except other.HPACKError:
        return HpackError


def decode_here(decoder: Decoder, block: bytes) -> list[tuple[bytes, bytes]] | type[Exception]:
    """The fields, or the kind of error, of our decoder."""
    try:
        return decoder.decode(block)
    except (SectionTooLarge, HpackError) as error:
        return type(error)


@fuzz
@example([b"\x20" * 3 + b"\x82"])
@example([b"\x41\x01a", b"\xbe" * 20])
@given(st.lists(blocks() | odd_blocks, min_size=1, max_size=8))
def test_against_another_decoder(stream):
    """Another decoder reads the same fields and stumbles over the same blocks."""
    ours = Decoder(max_section_bytes=4000)
    theirs = other.Decoder(max_header_list_size=4000)
    for block in stream:
        found, expected = decode_here(ours, block), decode_elsewhere(theirs, block)
        if expected is SectionTooLarge:
            # They stop there; we read on, and may find that the rest is malformed.
            assert found in (SectionTooLarge, HpackError)
        else:
            assert found == expected
        if isinstance(found, type):
            break
