"""
What the field sections of HTTP/2 mean: requests as RFC 9113, 8.1 to 8.3 has them, and the fields of answers. No I/O.

Clients repeat themselves, so a connection remembers what it has read, by two keys. A block of octets means the same as
long as the dynamic table has not changed; a tuple of decoded fields always does, and then only the pseudo-fields in front
of it, which name the path, are read anew. Nothing of it is shared with other connections, as there are cookies in it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple, TypeVar

from mixweb.engine._h2_response import HOP_BY_HOP, response_block
from mixweb.engine._head import DEFAULT_LIMITS, ORIGIN, TOKEN, Fields, Limits, Refusal, read_length
from mixweb.engine.authority import parse_authority
from mixweb.engine.hpack import Decoder, Field, SectionTooLarge

__all__ = ["DecodedFields", "MalformedRequest", "RequestHead", "RequestReader", "RequestRefusal", "response_block"]

K = TypeVar("K")
V = TypeVar("V")

#: Blocks that a connection remembers, and the octets that such a block may have.
MEMO_BLOCKS = 64
MEMO_BLOCK_BYTES = 1024

#: Sections that a connection remembers, and the bytes that such a section may come to.
MEMO_SECTIONS = 32
MEMO_SECTION_BYTES = 4096

_METHOD = re.compile(TOKEN)
_TARGET = re.compile(ORIGIN)
_SCHEME = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*+")

#: Names and values, a NUL behind each: names in lower case, no space at the ends of a value (RFC 9113, 8.2.1).
_SECTION = re.compile(rb"(?:[!#$%&'*+\-.^_`|~0-9a-z]++\0(?![\t ])[\t\x20-\x7e\x80-\xff]*+(?<![\t ])\0)*+")

#: The fields of a request that say how it is read.
_DECIDING = HOP_BY_HOP | {b"content-length", b"cookie", b"expect", b"host", b"te"}
_REPLACED = frozenset((b"cookie", b"host"))

_ORDINARY = frozenset((b":method", b":scheme", b":path", b":authority"))
_REQUIRED = frozenset((b":method", b":scheme", b":path"))
_TUNNEL = frozenset((b":method", b":authority"))
_EXTENDED = _ORDINARY | {b":protocol"}


class MalformedRequest(Exception):
    """A request that is an error of its stream (RFC 9113, 8.1.1), or trailers that are one."""


class RequestRefusal(Refusal):
    """
    A request that is answered with an error.

    :ivar method: of the request; ``-`` when it was not read.
    :ivar target: likewise.
    """

    def __init__(self, status: int, detail: str, method: bytes = b"-", target: bytes = b"-") -> None:
        super().__init__(status, detail)
        self.method = method
        self.target = target


class DecodedFields(Fields):
    """
    The fields of a request but for the pseudo-fields, valid, with ``host`` in front and the cookies in one line.

    :ivar raw: empty, as there are no lines.
    :ivar length: bytes of the body; ``None`` when nothing is announced.
    """

    __slots__ = ()

    def __init__(self, pairs: tuple[Field, ...], host: bytes, length: int | None, expect: bytes) -> None:
        super().__init__(b"")
        self.host = host
        self.length = length
        self.expect = expect
        self._pairs = pairs


class RequestHead(NamedTuple):
    """
    The head of a request. It never changes and may be shared by requests of one connection.

    :ivar target: the path and query, or ``*``.
    :ivar authority: of ``:authority``, or of ``Host`` where that is missing.
    :ivar protocol: what an extended CONNECT asks for (RFC 8441); ``None`` for every other request.
    :ivar length: bytes of the body; ``None`` when nothing is announced.
    """

    method: bytes
    target: bytes
    scheme: bytes
    authority: bytes
    protocol: bytes | None
    fields: DecodedFields
    length: int | None


class RequestReader:
    """
    Reads the blocks that a client sends on one connection. Every one must be given to it, in the order received.

    :param extended_connect: whether the client was told that it may send ``:protocol`` (RFC 8441, 3).
    """

    __slots__ = ("_decoder", "_extended_connect", "_heads", "_limits", "_sections")

    def __init__(self, limits: Limits = DEFAULT_LIMITS, extended_connect: bool = False) -> None:
        self._limits = limits
        self._extended_connect = extended_connect
        self._decoder = Decoder(max_section_bytes=limits.field_section)
        self._heads: dict[bytes, RequestHead] = {}
        self._sections: dict[tuple[object, ...], DecodedFields] = {}

    def read(self, block: bytes) -> RequestHead:
        """
        The head of a request.

        :raises HpackError: when the block cannot be decoded, which ends the connection.
        :raises MalformedRequest: when it is no request.
        :raises RequestRefusal: when it is one that is not answered otherwise.
        """
        head = self._heads.get(block)
        return self._read_new(block) if head is None else head

    def read_trailers(self, block: bytes) -> None:
        """
        Look at the trailers of a request.

        :raises HpackError: as for :meth:`read`.
        :raises MalformedRequest: when they are malformed, too large, or have fields that may only stand in a head.
        """
        try:
            fields = self._decode(block)
        except SectionTooLarge:
            raise MalformedRequest("The trailers are too large.") from None
        _check_fields(fields)
        if not HOP_BY_HOP.isdisjoint([name for name, _ in fields]):
            raise MalformedRequest("The trailers have a field of the connection.")

    def skip(self, block: bytes) -> None:
        """
        Take what a block changes in the table, and nothing else.

        :raises HpackError: as for :meth:`read`.
        """
        with suppress(SectionTooLarge):
            self._decode(block)

    def forget(self) -> None:
        """Give back what an idle connection can do without."""
        self._heads = {}
        self._sections = {}
        self._decoder.forget()

    def _decode(self, block: bytes) -> list[Field]:
        changes = self._decoder.changes
        try:
            return self._decoder.decode(block)
        finally:
            if self._decoder.changes != changes:
                self._heads = {}

    def _read_new(self, block: bytes) -> RequestHead:
        decoder, limits = self._decoder, self._limits
        changes = decoder.changes
        try:
            decoded = self._decode(block)
        except SectionTooLarge as excess:
            raise _refuse_large(excess.fields) from None
        pseudo, regular = _split(decoded)
        method, target, scheme, protocol = _read_line(pseudo, self._extended_connect)
        if len(method) + len(target) > limits.request_line:
            raise RequestRefusal(414, "The request target is too long.", method)
        if len(regular) > limits.fields:
            raise RequestRefusal(431, f"The header section has more than {limits.fields} fields.", method, target)
        repeats = decoder.section_bytes <= MEMO_SECTION_BYTES
        key = pseudo.get(b":authority"), regular
        fields = self._sections.get(key)
        if fields is None:
            try:
                fields = _read_fields(*key)
            except Refusal as refusal:
                raise RequestRefusal(refusal.status, refusal.detail, method, target) from None
            if repeats:
                _remember(self._sections, MEMO_SECTIONS, key, fields)
        head = RequestHead(method, target, scheme, fields.host or b"", protocol, fields, fields.length)
        if repeats and decoder.changes == changes and len(block) < MEMO_BLOCK_BYTES:
            _remember(self._heads, MEMO_BLOCKS, block, head)
        return head


def _remember(memo: dict[K, V], most: int, key: K, value: V) -> None:
    if len(memo) == most:
        memo.clear()
    memo[key] = value


def _split(decoded: list[Field]) -> tuple[dict[bytes, bytes], tuple[Field, ...]]:
    """The pseudo-fields, and the fields behind them; a pseudo-field there is no valid name of a field."""
    pseudo = dict(decoded[:4])
    if pseudo.keys() == _ORDINARY and pseudo[b":method"] != b"CONNECT":
        return pseudo, tuple(decoded[4:])
    count = next((at for at, (name, _) in enumerate(decoded) if name[:1] != b":"), len(decoded))
    pseudo = dict(decoded[:count])
    if len(pseudo) < count:
        raise MalformedRequest("A pseudo-field is there more than once.")
    return pseudo, tuple(decoded[count:])


def _read_line(pseudo: dict[bytes, bytes], extended_connect: bool) -> tuple[bytes, bytes, bytes, bytes | None]:
    """Method, target, scheme and protocol (RFC 9113, 8.3.1)."""
    method = pseudo.get(b":method", b"")
    if pseudo.keys() != _ORDINARY or method == b"CONNECT":
        _check_names(method, pseudo, extended_connect)
    scheme, target = pseudo[b":scheme"], pseudo[b":path"]
    if not (_METHOD.fullmatch(method) and _SCHEME.fullmatch(scheme)):
        raise MalformedRequest("The method or the scheme is malformed.")
    if not (_TARGET.fullmatch(target) or (target == b"*" and method == b"OPTIONS")):
        raise MalformedRequest("The request target is malformed.")
    return method, target, scheme, pseudo.get(b":protocol")


def _check_names(method: bytes, pseudo: dict[bytes, bytes], extended_connect: bool) -> None:
    """Let only those pseudo-fields pass that go together (RFC 9113, 8.3.1 and 8.5; RFC 8441, 4)."""
    names = pseudo.keys()
    if method == b"CONNECT" and names == _TUNNEL:
        raise RequestRefusal(501, "This server opens no tunnels.", method, _read_host(pseudo[b":authority"], []))
    if method == b"CONNECT" or b":protocol" in names:
        known = method == b"CONNECT" and names == _EXTENDED and extended_connect
    else:
        known = _REQUIRED <= names <= _ORDINARY
    if not known:
        raise MalformedRequest("A pseudo-field is missing, not known, or not for this method.")


def _read_fields(authority: bytes | None, regular: tuple[Field, ...]) -> DecodedFields:
    """
    The fields behind the pseudo-fields.

    :raises Refusal: when they ask for what there is not.
    """
    _check_fields(regular)
    found: dict[bytes, list[bytes]] = {}
    for name, value in regular:
        if name in _DECIDING:
            found.setdefault(name, []).append(value)
    if not HOP_BY_HOP.isdisjoint(found):
        raise MalformedRequest("A request has a field of the connection.")
    if found.get(b"te", [b"trailers"]) != [b"trailers"]:
        raise MalformedRequest("TE asks for more than trailers.")
    host = _read_host(authority, found.get(b"host", []))
    pairs = [(b"host", host), *(field for field in regular if field[0] not in _REPLACED)]
    if b"cookie" in found:
        pairs.append((b"cookie", b"; ".join(found[b"cookie"])))
    expect = b",".join(found.get(b"expect", [])).lower()
    if expect not in (b"", b"100-continue"):
        raise Refusal(417, "This server can only meet the expectation 100-continue.")
    return DecodedFields(tuple(pairs), host, _read_length(found), expect)


def _check_fields(fields: Sequence[Field]) -> None:
    text = b"\0".join([octets for field in fields for octets in field] + [b""])
    # A NUL in a name or value could pass for the end of one.
    if _SECTION.fullmatch(text) is None or text.count(b"\0") != 2 * len(fields):
        raise MalformedRequest("The name or value of a field is malformed.")


def _read_host(authority: bytes | None, hosts: list[bytes]) -> bytes:
    """Who is asked: of ``:authority`` and ``Host`` one must be there, and they must agree (RFC 9113, 8.3.1)."""
    named = [*hosts] if authority is None else [authority, *hosts]
    try:
        if len(hosts) < 2 and len({parse_authority(name) for name in named}) == 1:
            return named[0]
    except ValueError:
        pass
    raise MalformedRequest("The authority is missing, malformed, or not what Host names.")


def _read_length(found: dict[bytes, list[bytes]]) -> int | None:
    try:
        return read_length(found[b"content-length"]) if b"content-length" in found else None
    except Refusal as refusal:
        if refusal.status == 400:
            raise MalformedRequest(refusal.detail) from None
        raise


def _refuse_large(fields: list[Field]) -> RequestRefusal:
    detail = "The header section is too large."
    try:
        method, target, *_ = _read_line(_split(fields)[0], False)
    except (MalformedRequest, RequestRefusal):
        return RequestRefusal(431, detail)
    return RequestRefusal(431, detail, method, target)
