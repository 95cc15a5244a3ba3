"""
What is changed in the fields of requests and answers, and who a request is from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from twisted.web.http_headers import Headers

from mixweb.engine.request import Request
from mixweb.interfaces import IClientAddress, IUser
from mixweb.kit.headerlines import grouped, header_lines, names_matcher
from mixweb.kit.placeholders import Template, escape_field


class RequestEdits:
    """
    What is changed in the fields of requests.

    :param set: ``Name: value`` lines; a value may have ``{client}``, ``{host}``, ``{scheme}`` and ``{user}`` in it.
    :param remove: names and globs.
    """

    def __init__(self, set: Sequence[str], remove: Sequence[str]) -> None:
        self.remove = names_matcher(remove, frozenset([b"host"]))
        self.set = [
            (name, Template(value.decode("latin-1"), _PLACEHOLDERS)) for name, value in header_lines("request_set", set)
        ]
        self._names = {name.lower() for name, _ in self.set}
        self.constant = all(template.constant is not None for _, template in self.set)

    def __call__(self, request: Request, fields: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        matcher, names = self.remove, self._names
        kept = [
            (name, value)
            for name, value in fields
            if (key := name.lower()) not in names and not (matcher is not None and matcher.match(key))
        ]
        for name, template in self.set:
            value = template.render(request, escape_field)
            if value:
                kept.append((name, value.encode("latin-1", "replace")))
        return kept


_PLACEHOLDERS: Mapping[str, Callable[[Request], str]] = {
    "client": lambda request: client_of(request)[0],
    "host": lambda request: (request.getHeader(b"Host") or b"").decode("latin-1"),
    "scheme": lambda request: "https" if request.isSecure() else "http",
    "user": lambda request: getattr(IUser(request, None), "name", ""),
}


class AnswerEdits:
    """
    What is changed in the fields of answers.

    :param set: ``Name: value`` lines that take the place of what the upstream says.
    :param add: lines that are added to it.
    :param remove: names and globs.
    """

    def __init__(self, set: Sequence[str], add: Sequence[str], remove: Sequence[str]) -> None:
        self.remove = names_matcher(remove, frozenset([b"content-length"]))
        self.set = grouped(header_lines("set", set))
        self.add = header_lines("add", add)

    def __call__(self, fields: list[tuple[bytes, bytes]]) -> Headers:
        headers = Headers()
        for name, value in fields:
            if self.remove is None or not self.remove.match(name.lower()):
                headers.addRawHeader(name, value)
        for name, values in self.set:
            headers.setRawHeaders(name, values)
        for name, value in self.add:
            headers.addRawHeader(name, value)
        return headers


def client_of(request: Request) -> tuple[str, tuple[str, ...]]:
    """Who sent a request, and the trusted proxies it came through."""
    told = IClientAddress(request, None)
    if told is not None:
        return told.host, told.proxies
    return getattr(request.getClientAddress(), "host", ""), ()
