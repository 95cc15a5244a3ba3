"""
Headers set, added and removed, on every answer and on requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from twisted.web.resource import IResource

from mixweb.engine.request import Request
from mixweb.feature import Context, Stage, Wrap, WrapperSettings, option
from mixweb.kit.headerlines import FRAMING, check_name, grouped, header_lines, names_matcher, remove_matching
from mixweb.wrapper import Wrapper

_LINE = "'NAME: VALUE'"


@dataclass(frozen=True)
class Headers(WrapperSettings):
    """Set, add and remove headers of answers, errors too, and of requests."""

    set: Sequence[str] = option(
        (), principal=True, help="Header of every answer, in the place of what the resource set.", metavar=_LINE
    )
    add: Sequence[str] = option((), help="Header added to what the resource set.", metavar=_LINE)
    remove: Sequence[str] = option((), help="Name or glob of headers to take away from answers.", metavar="NAME")
    request_set: Sequence[str] = option((), help="Header of the request that resources see.", metavar=_LINE)
    request_remove: Sequence[str] = option(
        (), help="Name or glob of request headers that resources do not see.", metavar="NAME"
    )

    def __post_init__(self) -> None:
        for setting in ("set", "add", "request_set"):
            header_lines(setting, getattr(self, setting))
        for setting in ("remove", "request_remove"):
            for name in getattr(self, setting):
                check_name(setting, name)
        for line in self.request_set:
            check_name("request_set", line.partition(":")[0].strip(), (b"host",))
        for name in self.request_remove:
            check_name("request_remove", name, (b"host",))


class HeadersWrapper(Wrapper):
    """Removes, sets and adds headers, in this order."""

    def __init__(self, settings: Headers, inner: IResource) -> None:
        super().__init__(inner)
        self.set = grouped(header_lines("set", settings.set))
        self.add = header_lines("add", settings.add)
        self.remove = names_matcher(settings.remove, FRAMING)
        self.request_set = grouped(header_lines("request_set", settings.request_set))
        self.request_remove = names_matcher(settings.request_remove, FRAMING | {b"host"})
        self.changes_answers = bool(self.set or self.add or self.remove)

    def handle(self, request: Request) -> None:
        remove_matching(request.requestHeaders, self.request_remove)
        for name, values in self.request_set:
            request.requestHeaders.setRawHeaders(name, values)
        if self.changes_answers:
            request.before_headers(self.change)
        self.forward(request)

    def change(self, request: Request) -> None:
        """Change the headers of the answer."""
        headers = request.responseHeaders
        remove_matching(headers, self.remove)
        for name, values in self.set:
            headers.setRawHeaders(name, values)
        for name, value in self.add:
            headers.addRawHeader(name, value)


def build(settings: Headers, inner: IResource, context: Context) -> IResource:
    return HeadersWrapper(settings, inner)


FEATURE = Wrap("headers", Stage.HEADERS, Headers, build)
