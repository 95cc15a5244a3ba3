"""
The head of a request: the grammar of its lines, and the fields that decide how the message is read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, NamedTuple

from mixweb.engine.authority import parse_authority
from mixweb.engine.fields import options

#: The longest body that can be announced: more does not fit what other software counts with.
MAX_LENGTH = 2**63 - 1

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_VALUE = rb"[\t\x20-\x7e\x80-\xff]*+"

#: Octets that a target may have: those of RFC 3986, and the few more that browsers leave as they are.
ORIGIN = rb"/[!$-;=?-\[\]^_`a-z{|}~]*+"

#: RFC 9112, 3; the third group is a target in another form than the origin form.
LINE = re.compile(rb"(%b) (?:(%b)|([\x21-\x7e]++)) HTTP/([0-9])\.([0-9])\r\n" % (TOKEN, ORIGIN))

#: RFC 9112, 3.2.2
_ABSOLUTE = re.compile(rb"(?i:https?)://([^/?#@]++)(%b)?(\?[!$-;=?-\[\]^_`a-z{|}~]*+)?" % ORIGIN)

#: A field section without the line that ends it (RFC 9112, 5).
SECTION = re.compile(rb"(?:%b:%b\r\n)*+" % (TOKEN, _VALUE))
_PAIR = re.compile(rb"(%b):[ \t]*+(%b)\r\n" % (TOKEN, _VALUE))

#: The fields that decide how a message is read, each after the end of the line before it.
_FRAMING = re.compile(
    rb"\r\n(host|content-length|transfer-encoding|connection|expect):[ \t]*+(%b)" % _VALUE, re.IGNORECASE
)

#: What no line may have: controls, LF without CR before it, CR without LF behind it.
BROKEN = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|(?<!\r)\n|\r(?=[^\n])")

_CODING = re.compile(rb"%b(?:[ \t]*+;[\t\x20-\x7e]*+)?+" % TOKEN)


class Refusal(Exception):
    """
    A request that is not read on.

    :ivar status: the status code to answer with.
    :ivar detail: one sentence about what was wrong.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(status, detail)
        self.status = status
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Limits:
    """
    How much is read before a request is refused.

    :ivar request_line: bytes of the request line without its end; a longer one is 414.
    :ivar field: bytes of one field line; a longer one is 431.
    :ivar field_section: bytes of all fields of a head, or of a trailer section; more is 431.
    :ivar fields: number of fields of a head, or of a trailer section; more is 431.
    :ivar chunk_line: bytes of the line before a chunk; a longer one is 413.
    :ivar chunk_extensions: bytes of all chunk extensions of one body; more is 413.
    """

    request_line: int = 16 * 1024
    field: int = 64 * 1024
    field_section: int = 64 * 1024
    fields: int = 500
    chunk_line: int = 1024
    chunk_extensions: int = 16 * 1024


DEFAULT_LIMITS = Limits()


class Fields:
    """
    The field section of a head, parsed. It never changes and may be shared.

    :ivar raw: the section as received, with the empty line that ends it.
    :ivar host: the value of ``Host``, valid; ``None`` without one.
    :ivar length: bytes of the body; ``None`` when it is chunked.
    :ivar close: whether ``Connection`` names ``close``.
    :ivar expect: the value of ``Expect`` in lower case; empty without one.
    :ivar notes: what somebody made of it, for when the same section comes again.
    """

    __slots__ = ("_pairs", "_values", "close", "expect", "host", "length", "notes", "raw")

    def __init__(self, raw: bytes) -> None:
        """
        :param raw: a section that has the right syntax.
        :raises Refusal: when the fields that decide how the message is read are wrong.
        """
        self.raw = raw
        self.host: bytes | None = None
        self.length: int | None = 0
        self.close = False
        self.expect = b""
        self.notes: Any = None
        self._pairs: tuple[tuple[bytes, bytes], ...] | None = None
        self._values: dict[bytes, tuple[bytes, ...]] | None = None
        found: dict[bytes, list[bytes]] = {}
        for name, value in _FRAMING.findall(b"\r\n" + raw):
            found.setdefault(name.lower(), []).append(value.rstrip(b" \t"))
        if found:
            self._set_framing(found)

    def _set_framing(self, found: dict[bytes, list[bytes]]) -> None:
        if b"host" in found:
            self.host = _read_host(found[b"host"])
        if b"transfer-encoding" in found:
            if b"content-length" in found:
                raise Refusal(400, "Content-Length and Transfer-Encoding exclude each other.")
            _check_codings(b",".join(found[b"transfer-encoding"]).lower())
            self.length = None
        elif b"content-length" in found:
            self.length = read_length(found[b"content-length"])
        if b"connection" in found:
            self.close = b"close" in options(found[b"connection"])
        if b"expect" in found:
            self.expect = b",".join(found[b"expect"]).lower()

    @property
    def pairs(self) -> tuple[tuple[bytes, bytes], ...]:
        """Names and values, in the order and case received."""
        if self._pairs is None:
            self._pairs = tuple((name, value.rstrip(b" \t")) for name, value in _PAIR.findall(self.raw))
        return self._pairs

    @property
    def values(self) -> dict[bytes, tuple[bytes, ...]]:
        """The values of each field by its name in lower case; not to be changed."""
        if self._values is None:
            values: dict[bytes, tuple[bytes, ...]] = {}
            for name, value in self.pairs:
                key = name.lower()
                values[key] = (*values[key], value) if key in values else (value,)
            self._values = values
        return self._values


class Line(NamedTuple):
    """
    A request line.

    :ivar target: as received.
    :ivar uri: the target in origin form, or ``*``; for CONNECT the authority.
    :ivar authority: the host that the target names itself, which counts in the place of ``Host`` (RFC 9112, 3.2.2).
    :ivar version: ``HTTP/1.0``, or ``HTTP/1.1`` for that and all later minor versions.
    """

    method: bytes
    target: bytes
    uri: bytes
    authority: bytes | None
    version: bytes


class Head(NamedTuple):
    """
    The head of a request.

    :ivar persistent: whether another request may follow it.
    """

    line: Line
    fields: Fields
    persistent: bool


def judge(line: Line, fields: Fields) -> Head:
    """
    The head that a request line and a field section make.

    :raises Refusal: when they do not go together.
    """
    if line.version == b"HTTP/1.0":
        if fields.length is None:
            raise Refusal(400, "HTTP/1.0 has no Transfer-Encoding.")
        return Head(line, fields, False)
    if fields.host is None:
        raise Refusal(400, "The Host field is missing.")
    if fields.expect not in (b"", b"100-continue"):
        raise Refusal(417, "This server can only meet the expectation 100-continue.")
    return Head(line, fields, not fields.close)


def read_other_target(method: bytes, target: bytes) -> tuple[bytes, bytes | None]:
    """
    The origin form, and the host that the target names, of a target that is not in origin form (RFC 9112, 3.2).

    :raises Refusal: when the target is malformed, or in a form that is not for this method.
    """
    if method == b"CONNECT":
        if _is_host(target) and target.rpartition(b":")[2].isdigit():
            return target, target
        raise Refusal(400, "CONNECT takes a host and port as its target.")
    if target == b"*":
        if method == b"OPTIONS":
            return target, None
        raise Refusal(400, "The target * is for OPTIONS only.")
    found = _ABSOLUTE.fullmatch(target)
    if found is None or not _is_host(found[1]):
        raise Refusal(400, "The request target is malformed.")
    if not found[2] and not found[3] and method == b"OPTIONS":
        return b"*", found[1]
    return (found[2] or b"/") + (found[3] or b""), found[1]


def _is_host(value: bytes) -> bool:
    try:
        parse_authority(value)
    except ValueError:
        return False
    return True


def _read_host(values: list[bytes]) -> bytes:
    if len(values) > 1:
        raise Refusal(400, "The Host field is there more than once.")
    if not _is_host(values[0]):
        raise Refusal(400, "The Host field is malformed.")
    return values[0]


def read_length(values: list[bytes]) -> int:
    """
    What the lines of ``Content-Length`` announce (RFC 9112, 6.2).

    :raises Refusal: when it is malformed, or larger than :data:`MAX_LENGTH`.
    """
    if len(values) > 1:
        raise Refusal(400, "Content-Length is there more than once.")
    if re.fullmatch(rb"[0-9]+", values[0]) is None:
        raise Refusal(400, "Content-Length is not a number.")
    if len(values[0]) > 19 or int(values[0]) > MAX_LENGTH:
        raise Refusal(413, "The body is too large.")
    return int(values[0])


def _check_codings(value: bytes) -> None:
    """
    Let only ``chunked`` pass (RFC 9112, 6.1 and 6.3).

    :param value: of ``Transfer-Encoding``, in lower case.
    """
    codings = [coding.strip(b" \t") for coding in value.split(b",")]
    if codings == [b"chunked"]:
        return
    if codings[-1] == b"chunked" and codings.count(b"chunked") == 1 and all(map(_CODING.fullmatch, codings)):
        raise Refusal(501, "The only transfer coding known here is chunked.")
    raise Refusal(400, "Transfer-Encoding is malformed.")


def why_malformed(rest: bytes) -> str:
    """What is wrong with the first line of a field section that is not a field."""
    line = rest.partition(b"\r\n")[0]
    name, colon, value = line.partition(b":")
    if line[:1] in (b" ", b"\t"):
        return "A field line begins with a space."
    if not colon:
        return "A field line has no colon."
    if re.fullmatch(TOKEN, name) is None:
        return "A field name is malformed."
    broken = BROKEN.search(value)
    return name_broken(broken[0]) if broken else "A field value is malformed."


def name_broken(octet: bytes) -> str:
    if octet in b"\r\n":
        return "Lines end in CR and LF, which never stand alone."
    return "There is a control character where none may be."
