"""
A request that is passed on: its answer is stored on its way, or tells that the stored one still holds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from mixweb.engine.request import Request
from mixweb.features.httpcache import _entries, _rules
from mixweb.features.httpcache._directives import Directives, parse
from mixweb.features.httpcache._entries import Entry, Key, Pairs
from mixweb.features.httpcache._serve import CONDITIONS, part_of, put, wants_of
from mixweb.features.httpcache._status import Note
from mixweb.interfaces import ISession, IUser

if TYPE_CHECKING:
    from mixweb.features.httpcache._wrapper import HttpCacheWrapper


class Instead:
    """A filter that sends another body."""

    def __init__(self, body: bytes) -> None:
        self.body = body

    def feed(self, data: bytes) -> bytes:
        return b""

    def flush(self) -> bytes:
        return self.body


def in_a_name(request: Request) -> bool:
    """Whether a request is made in somebody's name, so that its answer may be for nobody else."""
    if request.requestHeaders.hasHeader(b"Authorization") or IUser(request, None) is not None:
        return True
    session = ISession(request, None)
    return session is not None and not session.new


class Fetch:
    """
    One request on its way, and a filter for its answer.

    :param entry: the stored answer that is asked about, if there is one.
    :param asked: the directives of the request.
    :param authorized: whether it is made in somebody's name.
    :ivar waiting: called when it is known whether the answer is stored.
    """

    #: What is fed leaves as it is.
    keeps_length = True

    def __init__(
        self,
        cache: HttpCacheWrapper,
        request: Request,
        key: Key,
        entry: Entry | None,
        asked: Directives,
        note: Note,
        authorized: bool,
    ) -> None:
        self.cache = cache
        self.request = request
        self.key = key
        self.entry = entry
        self.asked = asked
        self.note = note
        self.authorized = authorized
        self.waiting: list[Callable[[], None]] = []
        self.wants = wants_of(request)
        self._done = False
        self._pieces: list[bytes] = []
        self._length = 0
        self._declared: int | None = None
        self._begun = cache.now()
        self._kept: Entry | None = None
        self._spoiled = False

    def spoil(self) -> None:
        """The page has been changed meanwhile: an answer that was on its way may be about the state before."""
        self._spoiled = True

    def start(self, forward: Callable[[Request], None]) -> None:
        """Pass the request on, with a question about the entry in the place of the client's own."""
        request = self.request
        if self.entry is not None:
            self._ask_about(self.entry)
        self._outer = {name: [*values] for name, values in request.responseHeaders.getAllRawHeaders()}
        self._outer_cookies = {*request.cookies, *self._outer.get(b"Set-Cookie", ())}
        request.before_headers(self.answered)
        request.notifyFinish().addBoth(lambda _: self.done())
        forward(request)

    def _ask_about(self, entry: Entry) -> None:
        headers = self.request.requestHeaders
        for name in CONDITIONS:
            headers.removeHeader(name)
        names = entry.by_name
        for name, field in ((b"If-None-Match", b"etag"), (b"If-Modified-Since", b"last-modified")):
            if field in names:
                headers.setRawHeaders(name, [names[field][0]])

    def done(self) -> None:
        """It is known whether the answer is stored."""
        if not self._done:
            self._done = True
            self.cache.ended(self)

    # The answer

    def answered(self, request: Request) -> None:
        """Look at the head of the answer."""
        entry, fields = self.entry, self._fields(request)
        now = self.cache.now()
        if entry is not None and request.code == 304:
            self._take_again(entry, fields, now)
        elif entry is not None and self._saves(entry, request.code, now):
            self._answer_with(entry, now)
        else:
            self._take(request, fields, now)

    def _fields(self, request: Request) -> Pairs:
        """The fields that stand behind this cache: not those that were there before it."""
        found = []
        for name, values in request.responseHeaders.getAllRawHeaders():
            if name == b"Set-Cookie":
                values = [value for value in values if value not in self._outer_cookies]
            elif name not in (b"Date", b"Server") and self._outer.get(name) == list(values):
                continue
            if values:
                found.append((name, tuple(values)))
        return found

    def _take_again(self, entry: Entry, fields: Pairs, now: float) -> None:
        if _rules.same_validator(entry.by_name, _entries.lower(fields)):
            age = _rules.initial_age(_entries.lower(fields), self._begun, now)
            entry = _entries.freshened(entry, fields, age, now, self.cache.policy)
            if not self._spoiled:
                self.cache.keep(self.key, entry)
        else:
            self.cache.drop(self.key)
        self._answer_with(entry, now)

    def _saves(self, entry: Entry, status: int, now: float) -> bool:
        return status in _rules.ERRORS and _rules.use_on_error(entry.stored, self.asked, now, self.cache.policy)

    def _answer_with(self, entry: Entry, now: float) -> None:
        """Have the client get the stored answer."""
        request = self.request
        is_get = request.method == b"GET"
        part = part_of(entry, self.wants, is_get, now)
        ttl = entry.stored.lifetime - entry.stored.age(now)
        status = self.note.passed(request.code, ttl=ttl)
        cookies = request.responseHeaders.getRawHeaders(b"Set-Cookie")
        request.responseHeaders._rawHeaders = {name: [*values] for name, values in self._outer.items()}
        if cookies:
            request.responseHeaders.setRawHeaders(b"Set-Cookie", cookies)
        put(request, entry, part, entry.stored.age(now), status)
        if request.is_bodiless:
            if part.status != 304:
                request.setHeader(b"Content-Length", b"%d" % len(part.body))
        else:
            request.filter_body(Instead(part.body))
        self.done()

    def _take(self, request: Request, fields: Pairs, now: float) -> None:
        """Store the answer, if it may be, while it passes."""
        names = _entries.lower(fields)
        directives = parse(names.get(b"cache-control", ()))
        fresh_for = _rules.lifetime(request.code, directives, names, now, self.cache.policy)
        why = _rules.why_not_stored(
            request.method,
            self.asked,
            self.authorized,
            request.code,
            directives,
            names,
            self.cache.policy,
            fresh_for,
        ) or self._why_too_long(names)
        age = _rules.initial_age(names, self._begun, now)
        self._say(self.note.passed(0, not why, why, None if why else fresh_for - age))
        if why:
            self._leave(request.code, why)
            return
        kept = [(name, values) for name, values in fields if name.lower() not in _rules.NOT_STORED - {b"cache-status"}]
        asked = request.requestHeaders.getRawHeaders
        self._kept = _entries.make(request.code, request.code_message, kept, b"", asked, age, now, self.cache.policy)
        if request.is_bodiless:
            self.flush()
        else:
            request.filter_body(self)

    def _say(self, status: bytes) -> None:
        self.request.responseHeaders.addRawHeader(b"Cache-Status", status)

    def _why_too_long(self, names: _rules.Fields) -> str:
        length: Sequence[bytes] = names.get(b"content-length", ())
        self._declared = int(length[0]) if length and length[0].isdigit() else None
        return "too-long" if self._declared is not None and self._declared > self.cache.max_entry_bytes else ""

    def _leave(self, status: int, why: str) -> None:
        """The answer is not stored, and the next ones will not be either, it seems."""
        if self.entry is not None and status not in _rules.ERRORS and why not in _rules.OF_THE_REQUEST:
            self.cache.drop(self.key)
        self.cache.leave(self.key)
        self.done()

    def feed(self, data: bytes) -> bytes:
        if self._kept is not None and data:
            self._pieces.append(data)
            self._length += len(data)
            if self._length > self.cache.max_entry_bytes:
                self._kept, self._pieces = None, []
                self.cache.leave(self.key)
                self.done()
        return data

    def flush(self) -> bytes:
        kept, self._kept = self._kept, None
        if kept is not None and not self._spoiled and self._declared in (None, self._length):
            self.cache.keep(self.key, replace(kept, body=b"".join(self._pieces)))
        self._pieces = []
        self.done()
        return b""
