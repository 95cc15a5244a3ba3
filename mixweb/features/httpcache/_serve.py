"""
A stored answer as the answer to a request: all of it, a part, or that it is what the client has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mixweb.engine.errors import error_body, reason_phrase
from mixweb.engine.request import Request
from mixweb.features.httpcache._entries import Entry
from mixweb.features.httpcache._rules import NOT_MODIFIED
from mixweb.kit.conditional import Conditions, State, evaluate, parse_date, range_applies
from mixweb.kit.ranges import Span, select

#: What a client may ask of an answer besides the answer itself.
CONDITIONS = (b"If-None-Match", b"If-Modified-Since", b"If-Range", b"Range")


@dataclass(frozen=True)
class Wants:
    """
    What a client asks of a stored answer: the values of those fields, or ``None``.

    Other conditions than these are for the server alone (RFC 9111, 4.3.2).
    """

    if_none_match: bytes | None = None
    if_modified_since: bytes | None = None
    if_range: bytes | None = None
    range: bytes | None = None


NOTHING = Wants()


def wants_of(request: Request) -> Wants:
    """What a request asks for."""
    headers = request.requestHeaders
    found = [headers.getRawHeaders(name) for name in CONDITIONS]
    if not any(found):
        return NOTHING
    return Wants(*(None if values is None else b", ".join(values) for values in found))


@dataclass(frozen=True)
class Part:
    """
    What is sent of a stored answer.

    :ivar extra: fields besides those stored.
    """

    status: int
    fields: Sequence[tuple[bytes, Sequence[bytes]]]
    body: bytes
    extra: Mapping[bytes, bytes]


def part_of(entry: Entry, wants: Wants, is_get: bool, now: float) -> Part:
    """
    What is sent of a stored answer.

    :param is_get: whether the method is GET; else it is HEAD.
    """
    whole = Part(entry.status, entry.fields, entry.body, {})
    if wants is NOTHING or entry.status != 200:
        return whole
    names = entry.by_name
    modified = names.get(b"last-modified")
    state = State(names.get(b"etag", (None,))[0], parse_date(modified[0]) if modified else None)
    asked = Conditions(if_none_match=wants.if_none_match, if_modified_since=wants.if_modified_since)
    if evaluate(asked, state) == 304:
        return Part(304, [field for field in entry.fields if field[0].lower() in NOT_MODIFIED], b"", {})
    if not is_get or wants.range is None or not range_applies(wants.if_range, state, now):
        return whole
    spans = select(wants.range, len(entry.body))
    if spans is None or len(spans) > 1:
        return whole
    return _range(entry, spans)


def _range(entry: Entry, spans: Sequence[Span]) -> Part:
    size = len(entry.body)
    if not spans:
        kind, page = error_body(416, f"The page has {size} bytes.", None)
        return Part(416, [(b"Content-Type", (kind,))], page, {b"Content-Range": b"bytes */%d" % size})
    (span,) = spans
    body = entry.body[span.start : span.start + span.size]
    return Part(206, entry.fields, body, {b"Content-Range": span.content_range(size)})


def put(request: Request, entry: Entry, part: Part, age: float, status: bytes) -> None:
    """
    Make the head of an answer that of a part.

    :param age: of the entry, in seconds.
    :param status: the value of ``Cache-Status``.
    """
    request.code = part.status
    request.code_message = entry.reason if part.status == entry.status else reason_phrase(part.status)
    request.defaultContentType = None
    headers = request.responseHeaders
    for name, values in part.fields:
        headers._rawHeaders[name] = [*values]
    for name, value in part.extra.items():
        headers.put(name, value)
    headers.put(b"Age", b"%d" % age)
    before = entry.by_name.get(b"cache-status", ())
    headers._rawHeaders[b"Cache-Status"] = [*before, status]
