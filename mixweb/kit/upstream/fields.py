"""
The fields of messages on their way through a proxy. What frames a message is never copied.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from secrets import token_hex

from twisted.web.http_headers import Headers

from mixweb.engine._head import SECTION, Fields
from mixweb.engine.errors import HTTPError
from mixweb.engine.request import Request
from mixweb.kit.headerlines import FRAMING

#: What is between a client and this server, or is said anew; ``Proxy`` becomes a variable of CGI programs.
NOT_ASKED = FRAMING | frozenset(b"host expect http2-settings proxy proxy-authenticate proxy-authorization via".split())

#: What is between another server and this one.
NOT_ANSWERED = (FRAMING - {b"content-length"}) | {b"proxy-authenticate", b"proxy-authentication-info"}

Pairs = Sequence[tuple[bytes, bytes]]


def named_tokens(values: Iterable[bytes]) -> set[bytes]:
    """The names in the lines of a ``Connection`` field, in lower case."""
    return {token.strip(b" \t").lower() for value in values for token in value.split(b",")}


def _named(pairs: Pairs) -> set[bytes]:
    return named_tokens(value for name, value in pairs if name.lower() == b"connection")


def asked(pairs: Pairs, dropped: Container[bytes] = NOT_ASKED) -> list[tuple[bytes, bytes]]:
    """
    The fields of a request that are passed on: not those that are about the connection, or are said anew.

    CGI and its kin know no difference between hyphens and underscores, so a name that is one of those but for its
    underscores is not passed either.

    :param dropped: names in lower case, those of :data:`NOT_ASKED` among them.
    """
    named = _named(pairs)
    return [
        (name, value)
        for name, value in pairs
        if (key := name.lower()) not in named and key not in dropped and key.replace(b"_", b"-") not in dropped
    ]


def answered(pairs: Pairs) -> list[tuple[bytes, bytes]]:
    """The fields of an answer that are passed back: not those that are about the connection."""
    named = _named(pairs) - {b"content-length"}
    return [(name, value) for name, value in pairs if (key := name.lower()) not in named and key not in NOT_ANSWERED]


def binds(values: Iterable[bytes] | None) -> bool:
    """
    Whether a client proves who it is for the whole connection, which must then be used for nobody else (RFC 4559, 6).

    :param values: the lines of ``Authorization``, if there are any.
    """
    return values is not None and any(value[:9].lower().startswith((b"ntlm", b"negotiate")) for value in values)


def block(pairs: Pairs) -> bytes:
    """
    Fields as they are sent.

    :raises HTTPError: 400 when one is malformed.
    """
    made = b"".join([b"%b: %b\r\n" % pair for pair in pairs])
    if SECTION.fullmatch(made) is None:
        raise HTTPError(400, "A field of the request is malformed.")
    return made


def as_received(request: Request) -> Fields | None:
    """The field section of a request as it was received, unless something has changed it since."""
    if request.head is None or getattr(request.requestHeaders, "_fields", None) is not request.head.fields:
        return None
    fields: Fields | None = request.head.fields
    return fields


def pairs_of(request: Request) -> Pairs:
    """The fields of a request, in the order and case received where that is known."""
    received = as_received(request)
    if received is not None:
        return received.pairs
    return _pairs(request.requestHeaders)


def _pairs(headers: Headers) -> Pairs:
    return [(name, value) for name, values in headers.getAllRawHeaders() for value in values]


class Via:
    """The name of this proxy in ``Via`` (RFC 9110, 7.6.3), by which it knows requests that come round."""

    def __init__(self) -> None:
        self.own = b"1.1 mixweb-" + token_hex(4).encode("ascii")

    def of(self, request: Request) -> tuple[bytes, bytes]:
        """
        The field for a request that is passed on.

        :raises HTTPError: 508 when it came through here before.
        """
        before = request.requestHeaders.getRawHeaders(b"Via") or ()
        if any(self.own in value for value in before):
            raise HTTPError(508, "The request came round to this server again.")
        return b"Via", b", ".join([*before, self.own])


def goes_further(request: Request) -> bool:
    """
    Whether an OPTIONS may be passed on; ``Max-Forwards`` is counted down (RFC 9110, 7.6.2).

    :raises HTTPError: 400 when that is no number.
    """
    if request.method != b"OPTIONS":
        return True
    left: bytes | None = request.getHeader(b"Max-Forwards")
    if left is None:
        return True
    if not left.isdigit() or len(left) > 9:
        raise HTTPError(400, "Max-Forwards is not a number.")
    request.requestHeaders.setRawHeaders(b"Max-Forwards", [b"%d" % max(0, int(left) - 1)])
    return int(left) > 0
