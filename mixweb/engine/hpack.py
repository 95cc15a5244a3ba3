"""
HPACK (RFC 7541): field sections as HTTP/2 packs them. No Twisted in it.

A block of octets is decoded against the dynamic table of its connection. What is sent is encoded without such a table:
from the static one and literals, so that what was encoded once is right on every connection at any time.
"""

from __future__ import annotations

from mixweb.engine._huffman import HpackError, decode_huffman, encode_huffman

__all__ = [
    "MAX_SECTION_BYTES",
    "MAX_TABLE_BYTES",
    "OVERHEAD",
    "STATIC_TABLE",
    "Decoder",
    "Field",
    "HpackError",
    "SectionTooLarge",
    "encode_field",
    "encode_integer",
    "encode_name",
    "encode_string",
]

Field = tuple[bytes, bytes]

#: The table that a client may fill unless it is told another size (RFC 9113, 6.5.2), in bytes.
MAX_TABLE_BYTES = 4096

#: What a section may come to, counted as RFC 9113, 6.5.2 counts, in bytes.
MAX_SECTION_BYTES = 64 * 1024

#: What is added to the length of a field for its keeping (RFC 7541, 4.1).
OVERHEAD = 32

#: Strings that a decoder remembers, and the octets that such a string may have in its Huffman code.
_MEMO_STRINGS = 64
_MEMO_STRING_BYTES = 256

_NAMES = (
    b"accept-charset accept-encoding accept-language accept-ranges accept access-control-allow-origin age allow"
    b" authorization cache-control content-disposition content-encoding content-language content-length content-location"
    b" content-range content-type cookie date etag expect expires from host if-match if-modified-since if-none-match"
    b" if-range if-unmodified-since last-modified link location max-forwards proxy-authenticate proxy-authorization range"
    b" referer refresh retry-after server set-cookie strict-transport-security transfer-encoding user-agent vary via"
    b" www-authenticate"
).split()

#: RFC 7541, Appendix A; the first index is 1.
STATIC_TABLE: list[Field] = [
    (b":authority", b""),
    *((b":method", method) for method in (b"GET", b"POST")),
    *((b":path", path) for path in (b"/", b"/index.html")),
    *((b":scheme", scheme) for scheme in (b"http", b"https")),
    *((b":status", status) for status in (b"200", b"204", b"206", b"304", b"400", b"404", b"500")),
    *((name, b"gzip, deflate" if name == b"accept-encoding" else b"") for name in _NAMES),
]
_FIRST_DYNAMIC = len(STATIC_TABLE) + 1
_INDEX_OF_FIELD = {field: index for index, field in enumerate(STATIC_TABLE, 1)}
_INDEX_OF_NAME = {name: _INDEX_OF_FIELD[name, value] for name, value in reversed(STATIC_TABLE)}


class SectionTooLarge(Exception):
    """
    A section that is larger than allowed. The decoder has read all of it and may be used on.

    :ivar fields: the first fields, as many as were allowed.
    """

    def __init__(self, fields: list[Field]) -> None:
        super().__init__("The header section is too large.")
        self.fields = fields


class Decoder:
    """
    Decodes the blocks of one connection, in the order in which they come.

    :param max_table_bytes: what the client may have its table grow to.
    :param max_section_bytes: of a decoded section, counted as RFC 9113, 6.5.2 counts.
    :ivar changes: goes up with every change of the dynamic table.
    :ivar section_bytes: of the section that was decoded last, counted alike.
    """

    __slots__ = (
        "_capacity",
        "_max_section_bytes",
        "_max_table_bytes",
        "_strings",
        "_table",
        "_table_bytes",
        "changes",
        "section_bytes",
    )

    def __init__(self, max_table_bytes: int = MAX_TABLE_BYTES, max_section_bytes: int = MAX_SECTION_BYTES) -> None:
        self.changes = self.section_bytes = 0
        self._max_table_bytes = self._capacity = max_table_bytes
        self._max_section_bytes = max_section_bytes
        self._table_bytes = 0
        # Behind the static table, the newest first; nobody asks for index 0.
        self._table: list[Field] = [(b"", b""), *STATIC_TABLE]
        self._strings: dict[bytes, bytes] = {}

    def decode(self, block: bytes) -> list[Field]:
        """
        The fields of a block, in their order.

        :raises HpackError: when it is malformed.
        :raises SectionTooLarge: when they are more than allowed.
        """
        table = self._table
        fields: list[Field] = []
        allowed = room = self._max_section_bytes
        at, end = 0, len(block)
        try:
            while at < end:
                octet = block[at]
                at += 1
                if octet > 0x80:
                    if octet == 0xFF:
                        index, at = _read_integer(block, at, 0x7F)
                        field = table[index]
                    else:
                        field = table[octet & 0x7F]
                elif octet == 0x80:
                    raise HpackError("There is no index 0.")
                elif octet >= 0x40:
                    field, at = self._read_literal(block, at, octet & 0x3F, 0x3F)
                    self._insert(field)
                elif octet < 0x20:
                    field, at = self._read_literal(block, at, octet & 0x0F, 0x0F)
                else:
                    if room != allowed:
                        raise HpackError("The size of the table changes behind a field.")
                    at = self._resize(block, at, octet & 0x1F)
                    continue
                room -= len(field[0]) + len(field[1]) + OVERHEAD
                if room >= 0:
                    fields.append(field)
        except IndexError:
            raise HpackError("A block ends early, or has an index that is not in the table.") from None
        self.section_bytes = allowed - room
        if room < 0:
            raise SectionTooLarge(fields)
        return fields

    def forget(self) -> None:
        """Give back what an idle connection can do without; the table stays."""
        self._strings = {}

    def _read_literal(self, block: bytes, at: int, index: int, most: int) -> tuple[Field, int]:
        if index == most:
            index, at = _read_integer(block, at, most)
        if index:
            name = self._table[index][0]
        else:
            name, at = self._read_string(block, at)
        value, at = self._read_string(block, at)
        return (name, value), at

    def _read_string(self, block: bytes, at: int) -> tuple[bytes, int]:
        first = block[at]
        at += 1
        length = first & 0x7F
        if length == 0x7F:
            length, at = _read_integer(block, at, 0x7F)
        end = at + length
        data = block[at:end]
        if len(data) < length:
            raise HpackError("A block ends in a string.")
        if first & 0x80:
            known = self._strings.get(data)
            data = self._decode_string(data) if known is None else known
        return data, end

    def _decode_string(self, data: bytes) -> bytes:
        decoded = decode_huffman(data)
        if len(data) <= _MEMO_STRING_BYTES:
            if len(self._strings) == _MEMO_STRINGS:
                self._strings = {}
            self._strings[data] = decoded
        return decoded

    def _insert(self, field: Field) -> None:
        self.changes += 1
        self._table.insert(_FIRST_DYNAMIC, field)
        self._table_bytes += len(field[0]) + len(field[1]) + OVERHEAD
        self._evict()

    def _resize(self, block: bytes, at: int, size: int) -> int:
        if size == 0x1F:
            size, at = _read_integer(block, at, 0x1F)
        if size > self._max_table_bytes:
            raise HpackError("The table is made larger than allowed.")
        self.changes += 1
        self._capacity = size
        self._evict()
        return at

    def _evict(self) -> None:
        # A field that is larger than the table empties it and is gone itself (RFC 7541, 4.4).
        while self._table_bytes > self._capacity:
            name, value = self._table.pop()
            self._table_bytes -= len(name) + len(value) + OVERHEAD


def _read_integer(block: bytes, at: int, value: int) -> tuple[int, int]:
    """The rest of an integer whose prefix is full (RFC 7541, 5.1); of more than 28 bits there is no need."""
    for shift in (0, 7, 14, 21):
        octet = block[at]
        at += 1
        value += (octet & 0x7F) << shift
        if octet < 0x80:
            return value, at
    raise HpackError("An integer is too large.")


def encode_integer(value: int, most: int, flags: int = 0) -> bytes:
    """
    An integer (RFC 7541, 5.1).

    :param most: the largest number that its prefix holds.
    :param flags: the bits before the prefix.
    """
    if value < most:
        return bytes([flags | value])
    encoded = [flags | most]
    value -= most
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def encode_string(value: bytes) -> bytes:
    """A string literal, in its Huffman code where that is shorter (RFC 7541, 5.2)."""
    short = encode_huffman(value)
    if len(short) < len(value):
        return encode_integer(len(short), 0x7F, 0x80) + short
    return encode_integer(len(value), 0x7F) + value


def encode_name(name: bytes, secret: bool = False) -> bytes:
    """
    What comes before the value of a field that goes into no table.

    :param name: in lower case.
    :param secret: whether nobody on the way may put it into a table either (RFC 7541, 7.1.3).
    """
    flags = 0x10 if secret else 0
    index = _INDEX_OF_NAME.get(name)
    return bytes([flags]) + encode_string(name) if index is None else encode_integer(index, 0x0F, flags)


def encode_field(name: bytes, value: bytes, secret: bool = False) -> bytes:
    """
    A field, from the static table or as a literal that goes into no table.

    :param name: in lower case.
    :param secret: as for :func:`encode_name`.
    """
    index = _INDEX_OF_FIELD.get((name, value))
    if index is None or secret:
        return encode_name(name, secret) + encode_string(value)
    return encode_integer(index, 0x7F, 0x80)
