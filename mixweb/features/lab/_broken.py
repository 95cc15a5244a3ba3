"""
Answers that break.
"""

from __future__ import annotations

from twisted.web.server import NOT_DONE_YET

from mixweb.features.lab._call import ANY, Call, Endpoint, whole
from mixweb.features.lab._data import alphabet
from mixweb.kit.breakage import break_answer, drip_head

#: These bodies are made in one piece.
_MAX_BYTES = 1024 * 1024


def reset(call: Call) -> bytes:
    break_answer(call.request, "reset", call.reactor)
    return b""


def truncate(call: Call, number: str) -> bytes:
    body = alphabet(0, whole(number, 1, min(call.settings.max_bytes, _MAX_BYTES)))
    break_answer(call.request, "truncate", call.reactor)
    call.kind(b"text/plain")
    return body


def wrong_length(call: Call, difference: str) -> bytes:
    break_answer(call.request, "length", call.reactor, whole(difference, -26, 10**9))
    call.kind(b"text/plain")
    return alphabet(0, 26)


async def slow_headers(call: Call, seconds: str) -> int:
    request, body = call.request, call.json({"seconds": call.seconds(seconds)})
    request.setHeader(b"Content-Length", b"%d" % len(body))
    await drip_head(request, call.reactor, call.seconds(seconds))
    request.write(body)
    request.finish()
    return NOT_DONE_YET


ENDPOINTS = [
    Endpoint("/reset", reset, "no answer: the connection is reset", ANY),
    Endpoint("/truncate/{number}", truncate, "declares so many bytes and sends half of them", ANY),
    Endpoint(
        "/wrong-length/{difference}", wrong_length, "26 bytes, of which so many more (less: -5) are declared", ANY
    ),
    Endpoint("/slow-headers/{seconds}", slow_headers, "the head of the answer line by line, in so many seconds"),
]
