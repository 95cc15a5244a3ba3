"""
Error pages of one's own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from mimetypes import guess_type
from operator import itemgetter
from typing import TypeAlias

from twisted.web.resource import IResource

from mixweb.engine.errors import reason_phrase
from mixweb.engine.fields import preferred_type
from mixweb.engine.request import Request
from mixweb.feature import Context, FilePath, Stage, Wrap, WrapperSettings, existing_path, option
from mixweb.kit.placeholders import Template, escape_for
from mixweb.wrapper import Wrapper

_STATUS = re.compile(r"[45](?:[0-9]{2}|xx)\Z")

#: Finds the content type and body of an error answer.
Pages: TypeAlias = Callable[[Request, int, str], tuple[bytes, bytes] | None]


@dataclass(frozen=True)
class Errors(WrapperSettings):
    """Error pages of one's own."""

    pages: Mapping[str, FilePath] = option(
        {}, principal=True, help="Status code, or 4xx or 5xx, and the file that is sent for it.", metavar="STATUS=FILE"
    )
    template: FilePath = option(
        "", help="File for every other error, with {status}, {reason} and {detail} in it.", metavar="FILE"
    )

    def __post_init__(self) -> None:
        for status in self.pages:
            if not _STATUS.match(status):
                raise ValueError(f"pages: {status!r} is not 400 to 599, 4xx or 5xx")


def read(path: FilePath) -> tuple[bytes, bytes]:
    """
    The content type and content of a file.

    :raises ValueError: when it cannot be read.
    """
    found = existing_path(path)
    try:
        content = found.read_bytes()
    except OSError as reason:
        raise ValueError(f"cannot read '{path}': {reason.strerror}") from None
    kind = guess_type(found.name)[0] or "text/plain"
    return (f"{kind}; charset=utf-8" if kind.startswith("text/") else kind).encode(), content


class Page:
    """A file that is sent as it is."""

    def __init__(self, path: FilePath) -> None:
        self.content_type, self.content = read(path)
        kind = self.content_type.partition(b";")[0]
        self.offers = (kind, *(other for other in (b"application/json", b"text/plain") if other != kind))

    def suits(self, request: Request) -> bool:
        """Whether the client does not like JSON or plain text better."""
        return preferred_type(request.requestHeaders.getRawHeaders(b"Accept"), self.offers) == self.offers[0]

    def body(self, status: int, detail: str) -> bytes:
        """What is sent."""
        return self.content


class TemplatePage(Page):
    """A file with the status, its reason and the detail in it, escaped."""

    def __init__(self, path: FilePath) -> None:
        super().__init__(path)
        try:
            text = self.content.decode()
            names = ("status", "reason", "detail")
            self.template: Template[Mapping[str, str]] = Template(text, {name: itemgetter(name) for name in names})
        except ValueError as reason:
            raise ValueError(f"template '{path}': {reason}") from None
        self.escape = escape_for(self.content_type.decode("ascii"))

    def body(self, status: int, detail: str) -> bytes:
        values = {"status": str(status), "reason": reason_phrase(status).decode("ascii"), "detail": detail}
        return self.template.render(values, self.escape).encode()


class ErrorsWrapper(Wrapper):
    """Has its pages sent for the errors of what stands inside, where the client does not like JSON or text better."""

    def __init__(self, settings: Errors, inner: IResource) -> None:
        super().__init__(inner)
        self.pages = {status: Page(path) for status, path in settings.pages.items()}
        self.template = TemplatePage(settings.template) if settings.template else None

    def handle(self, request: Request) -> None:
        outer = request.error_pages
        request.error_pages = self.page if outer is None else partial(self.page_or, outer)
        self.forward(request)

    def page(self, request: Request, status: int, detail: str) -> tuple[bytes, bytes] | None:
        """The content type and body for an error, or ``None`` for the built-in page."""
        found = self.pages.get(str(status)) or self.pages.get(f"{status // 100}xx") or self.template
        if found is None or not found.suits(request):
            return None
        return found.content_type, found.body(status, detail)

    def page_or(self, outer: Pages, request: Request, status: int, detail: str) -> tuple[bytes, bytes] | None:
        """The same, with a wrapper further out asked when this one has no page."""
        return self.page(request, status, detail) or outer(request, status, detail)


def build(settings: Errors, inner: IResource, context: Context) -> IResource:
    return ErrorsWrapper(settings, inner)


FEATURE = Wrap("errors", Stage.HEADERS, Errors, build)
