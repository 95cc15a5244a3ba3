"""
The fields of answers as HTTP/2 sends them.
"""

from __future__ import annotations

from twisted.web.http_headers import Headers

from mixweb.engine._headers import ResponseFields
from mixweb.engine.hpack import encode_field, encode_integer, encode_name, encode_string

#: Fields of a connection of HTTP/1; HTTP/2 has none of them (RFC 9113, 8.2.2).
HOP_BY_HOP = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"))

#: Fields that nobody on the way may put into a table (RFC 7541, 7.1.3).
_SECRET = frozenset(
    b"authentication-info authorization cookie proxy-authenticate proxy-authentication-info proxy-authorization"
    b" set-cookie www-authenticate".split()
)

#: Fields whose values are public and few: they are remembered as they are sent.
_KEPT = frozenset(
    b"accept-ranges access-control-allow-credentials access-control-allow-headers access-control-allow-methods"
    b" access-control-max-age alt-svc cache-control content-encoding content-language content-length content-type"
    b" cross-origin-embedder-policy cross-origin-opener-policy cross-origin-resource-policy date permissions-policy"
    b" referrer-policy server strict-transport-security vary x-content-type-options x-frame-options".split()
)

#: Fields whose values are public and many: they are remembered, and sent without their Huffman code, which takes long to make.
_KEPT_PLAIN = frozenset((b"last-modified",))

#: Values of a name that are remembered, and the octets that such a value may have.
_KEPT_VALUES = 32
_KEPT_VALUE_BYTES = 128

#: Names that are remembered.
_KEPT_NAMES = 256


class _Values(dict[bytes, bytes]):
    """
    The fields of one name by their values, those that are kept; the others are encoded anew.

    :param name: as the application spells it.
    """

    def __init__(self, name: bytes) -> None:
        lower = name.lower()
        self._sent = lower not in HOP_BY_HOP
        self._packed = lower in _KEPT
        self._kept = self._packed or lower in _KEPT_PLAIN
        self._prefix = encode_name(lower, lower in _SECRET)

    def __missing__(self, value: bytes) -> bytes:
        if not self._sent:
            return b""
        tidy = value.translate(None, b"\0\r\n").strip(b" \t")
        kept = self._kept and len(value) <= _KEPT_VALUE_BYTES
        if kept and self._packed:
            field = self._prefix + encode_string(tidy)
        else:
            field = self._prefix + encode_integer(len(tidy), 0x7F) + tidy
        if kept:
            if len(self) == _KEPT_VALUES:
                self.clear()
            self[value] = field
        return field


class _Names(dict[bytes, _Values]):
    """The names that were sent lately."""

    def __missing__(self, name: bytes) -> _Values:
        if len(self) == _KEPT_NAMES:
            self.clear()
        self[name] = values = _Values(name)
        return values


class _Statuses(dict[int, bytes]):
    """The status codes that were sent."""

    def __missing__(self, status: int) -> bytes:
        self[status] = field = encode_field(b":status", b"%03d" % status)
        return field


_names = _Names()
_statuses = _Statuses()


def response_block(status: int, headers: Headers) -> bytes:
    """
    The block of an answer. It needs no dynamic table, so it is right on every connection at any time.

    Fields of the connection are left out (RFC 9113, 8.2.2). What is remembered is shared by all connections: public
    values of few names. Fields with secrets go into no table on the way either.
    """
    pieces = [_statuses[status]]
    for name, values in headers._rawHeaders.items():
        for value in values:
            pieces.append(_names[name][value])
    if type(headers) is ResponseFields and headers.defaults is not None:
        defaults = headers.defaults
        if not defaults.block:
            defaults.block = b"".join([_names[name][value] for name, value in defaults.items()])
        pieces.append(defaults.block)
    return b"".join(pieces)
