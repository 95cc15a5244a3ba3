"""
Answers with the status, the headers and the redirects that were asked for.
"""

from __future__ import annotations

import re
from random import SystemRandom
from uuid import uuid4

from twisted.web.http import datetimeToString

from mixweb.engine.errors import HTTPError
from mixweb.features.lab._call import ANY, Call, Endpoint, json_text, whole
from mixweb.features.lab._inspect import bodiless, site
from mixweb.kit.headerlines import header_lines
from mixweb.kit.rules import clean_url

_CODE = re.compile(r"([2-9][0-9][0-9])(?::(\d{1,9}(?:\.\d{1,9})?))?\Z", re.ASCII)
_TAG = re.compile(rb'(W/)?"([^"]*)"')
_TAG_TEXT = re.compile(rb"[!#-~\x80-\xff]*\Z")
_LEADS_ELSEWHERE = re.compile(r"(?i:https?):|[^:/?#]*(?:[/?#]|\Z)")

_TEAPOT = b"""\
I am a teapot: short and stout.

      ;,'
  _o_    ;:;'
 (  |`---;'
  `-|___|
"""

_TYPES = ["image/webp", "image/svg+xml", "image/jpeg", "image/png", "image/*"]

#: What goes with a status code.
_FIELDS = {
    401: (b"WWW-Authenticate", b'Basic realm="lab"'),
    405: (b"Allow", b"DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"),
    407: (b"Proxy-Authenticate", b'Basic realm="lab"'),
    416: (b"Content-Range", b"bytes */0"),
    426: (b"Upgrade", b"websocket"),
}


def choices(codes: str) -> dict[int, float]:
    """
    The codes of ``200:3,500`` and their weights.

    :raises HTTPError: 400 when they are malformed.
    """
    found = {}
    for item in codes.split(","):
        match = _CODE.match(item.strip())
        if match is None:
            raise HTTPError(400, f"{item.strip()!r} is not a status code from 200 to 999, with or without a weight.")
        found[int(match[1])] = float(match[2] or 1)
    if not any(found.values()):
        raise HTTPError(400, "One of the codes must have a weight.")
    return found


def status(call: Call, codes: str) -> bytes:
    weights = choices(codes)
    code = SystemRandom().choices(list(weights), list(weights.values()))[0]
    call.request.setResponseCode(code)
    if code in _FIELDS:
        call.request.setHeader(*_FIELDS[code])
    if code in (301, 302, 303, 305, 307, 308):
        return call.redirect(f"{call.base}/redirect/1", code)
    if code == 406:
        return call.json({"accept": _TYPES, "message": "Nothing of what was asked for can be sent."})
    if code == 418:
        call.kind(b"text/plain; charset=utf-8")
        return _TEAPOT
    return b""


def response_headers(call: Call) -> bytes:
    lines = [f"{name}: {value}" for name, values in call.query.items() for value in values]
    try:
        fields = header_lines("query", lines)
    except ValueError as reason:
        raise HTTPError(400, f"{reason}.") from None
    call.kind(b"application/json")
    for name in {name.lower() for name, _ in fields}:
        call.request.responseHeaders.removeHeader(name)
    for name, value in fields:
        call.request.responseHeaders.addRawHeader(name, value)
    answer = {name: values[0] if len(values) == 1 else values for name, values in call.query.items()}
    kind = call.request.responseHeaders.getRawHeaders(b"Content-Type", [b""])[0].decode("utf-8", "replace")
    return json_text({"Content-Type": kind} | answer)


def redirect(call: Call, number: str) -> bytes:
    if call.value("absolute").lower() == "true":
        return absolute_redirect(call, number)
    return relative_redirect(call, number)


def relative_redirect(call: Call, number: str) -> bytes:
    return call.redirect(_next(call, number, "relative-redirect"))


def absolute_redirect(call: Call, number: str) -> bytes:
    return call.redirect(clean_url(site(call)) + _next(call, number, "absolute-redirect"))


def _next(call: Call, number: str, name: str) -> str:
    left = whole(number, 1, call.settings.max_redirects) - 1
    return f"{call.base}/{name}/{left}" if left else f"{call.base}/get"


def redirect_to(call: Call) -> bytes:
    url = call.value("url").strip()
    if not url or not _LEADS_ELSEWHERE.match(url):
        raise HTTPError(400, "url must be an http or https URL, or a path.")
    code = call.value("status_code", "302")
    if code not in ("300", "301", "302", "303", "307", "308"):
        raise HTTPError(400, "status_code must be one of a redirect: 300, 301, 302, 303, 307 or 308.")
    return call.redirect(clean_url(url), int(code))


def etag(call: Call, tag: str) -> bytes:
    own = tag.encode()
    if not _TAG_TEXT.match(own):
        raise HTTPError(400, "An entity tag has no blanks, quotes or control characters.")
    call.request.setHeader(b"ETag", b'"%b"' % own)
    if_match, if_none_match = call.header(b"If-Match"), call.header(b"If-None-Match")
    if if_match and not _has_tag(if_match, own, strong=True):
        raise HTTPError(412, "The entity tag is another one.")
    if if_none_match and _has_tag(if_none_match, own, strong=False):
        call.request.setResponseCode(304)
        return b""
    return bodiless(call)


def _has_tag(tags: bytes, own: bytes, strong: bool) -> bool:
    """Whether a list of entity tags, or ``*``, has this one (RFC 9110, 8.8.3.2)."""
    found = _TAG.findall(tags)
    return tags.strip() == b"*" or any(tag == own and not (weak and strong) for weak, tag in found)


def cache(call: Call) -> bytes:
    if call.header(b"If-Modified-Since") or call.header(b"If-None-Match"):
        call.request.setResponseCode(304)
        return b""
    call.request.setHeader(b"Last-Modified", datetimeToString(call.reactor.seconds()))
    call.request.setHeader(b"ETag", b'"%b"' % uuid4().hex.encode())
    return bodiless(call)


def cache_for(call: Call, seconds: str) -> bytes:
    call.request.setHeader(b"Cache-Control", b"public, max-age=%d" % whole(seconds, 0, 2**31))
    return bodiless(call)


ENDPOINTS = [
    Endpoint("/status/{codes}", status, "a status code, or one of several: 200:3,500:1", ANY),
    Endpoint("/response-headers", response_headers, "the headers of the query", (b"GET", b"POST")),
    Endpoint("/redirect/{number}", redirect, "so many redirects, then /get"),
    Endpoint("/relative-redirect/{number}", relative_redirect, "the same, to paths"),
    Endpoint("/absolute-redirect/{number}", absolute_redirect, "the same, to whole URLs"),
    Endpoint("/redirect-to", redirect_to, "a redirect to ?url=, with ?status_code=", ANY),
    Endpoint("/etag/{tag}", etag, "an entity tag that If-Match and If-None-Match are held against"),
    Endpoint("/cache", cache, "304 to every conditional request"),
    Endpoint("/cache/{seconds}", cache_for, "Cache-Control with so many seconds"),
]
