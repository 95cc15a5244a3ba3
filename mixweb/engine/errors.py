"""
What is said when a request fails: one page for people, one object for programs, one line for terminals.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from html import escape
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from twisted.web import pages, resource
from twisted.web.http import RESPONSES
from twisted.web.http_headers import Headers
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource
from zope.interface import implementer

from mixweb.engine.body import IBodyReceiver
from mixweb.engine.fields import preferred_type

if TYPE_CHECKING:
    from mixweb.engine.request import Request

_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{status} {reason}</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 1rem/1.5 system-ui, sans-serif; margin: 15vh auto 0; max-width: 34rem; padding: 0 1.5rem }}
h1 {{ font-size: 1.4rem; margin: 0 }}
h1 span {{ opacity: .55; font-weight: 400 }}
p {{ margin: .6rem 0; overflow-wrap: anywhere }}
pre {{ overflow-x: auto; padding: .8rem; border: 1px solid color-mix(in srgb, currentColor 25%, transparent) }}
</style>
</head>
<body>
<h1><span>{status}</span> {reason}</h1>
{detail}
</body>
</html>
"""

#: Twisted's own error pages.
TWISTED_PAGES = (pages._ErrorPage, resource._UnsafeErrorPageBase)

_OFFERS = (b"text/html", b"application/json", b"text/plain")


class HTTPError(Exception):
    """
    Raised by a resource to answer with an error.

    :ivar status: the status code, 400 to 599.
    :ivar detail: one sentence for the client.
    :ivar headers: pairs of name and value to send along.
    """

    def __init__(self, status: int, detail: str = "", headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        super().__init__(status, detail)
        self.status = status
        self.detail = detail
        self.headers = tuple(headers)


class Declined(Exception):
    """Raised by a mount, before it answers: the path is not mine, ask the next one."""


#: Twisted's, and those of codes that are newer.
_PHRASES = {status.value: status.phrase.encode() for status in HTTPStatus} | RESPONSES


def reason_phrase(status: int) -> bytes:
    """The reason phrase of a status code."""
    return _PHRASES.get(status, b"Unknown Status")


def accepted_types(headers: Headers) -> Sequence[bytes] | None:
    """The ``Accept`` lines of a request; who sends JSON and does not say what is accepted is taken to accept that."""
    lines = headers.getRawHeaders(b"Accept")
    if lines and lines != [b"*/*"]:
        return lines
    kind = (headers.getRawHeaders(b"Content-Type") or [b""])[0].partition(b";")[0].strip().lower()
    return [b"application/json"] if kind.endswith((b"/json", b"+json")) else lines


def error_body(status: int, detail: str, accept: Sequence[bytes] | None, traceback: str = "") -> tuple[bytes, bytes]:
    """
    The content type and body of an error answer, as the client's ``Accept`` lines ask; plain text without any.

    :param traceback: shown below the detail when not empty.
    """
    chosen = preferred_type(accept, _OFFERS) if accept and accept != [b"*/*"] else b"text/plain"
    reason = reason_phrase(status).decode("ascii")
    if chosen == b"application/json":
        document = {"status": status, "error": reason, "detail": detail}
        if traceback:
            document["traceback"] = traceback
        return chosen, json.dumps(document).encode() + b"\n"
    if chosen == b"text/plain":
        lines = [f"{status} {reason}", detail, traceback]
        return b"text/plain; charset=utf-8", "\n".join(line for line in lines if line).encode() + b"\n"
    shown = "".join(f"<{tag}>{escape(text)}</{tag}>" for tag, text in (("p", detail), ("pre", traceback)) if text)
    return b"text/html; charset=utf-8", _PAGE.format(status=status, reason=escape(reason), detail=shown).encode()


@implementer(IResource, IBodyReceiver)
class ErrorResource:
    """
    Answers every request, and all below it, with one error.

    :param status: the status code.
    :param detail: one sentence for the client.
    """

    isLeaf = True

    def __init__(self, status: int, detail: str = "") -> None:
        self.status = status
        self.detail = detail

    def getChildWithDefault(self, name: bytes, request: IRequest) -> IResource:
        return self

    def putChild(self, path: bytes, child: IResource) -> None:
        raise ValueError("an error has no children")

    def render(self, request: Request) -> int:
        return request.error(self.status, self.detail)


def error_of(found: Any) -> tuple[int, str]:
    """
    The status and detail of one of :data:`TWISTED_PAGES`, so that it is answered as ours; 0 for anything else.
    """
    if not isinstance(found, TWISTED_PAGES):
        return 0, ""
    if isinstance(found, pages._ErrorPage):
        return found._code, found._detail
    return found.code, "" if "<" in found.detail else found.detail
