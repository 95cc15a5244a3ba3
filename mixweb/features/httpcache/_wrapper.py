"""
The cache in front of a resource.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from twisted.python.failure import Failure
from twisted.web.resource import IResource

from mixweb.engine.request import Request
from mixweb.features.httpcache import _rules
from mixweb.features.httpcache._background import repeated
from mixweb.features.httpcache._directives import Directives, request_directives
from mixweb.features.httpcache._entries import Entry, Key, Memory
from mixweb.features.httpcache._fetch import Fetch, in_a_name
from mixweb.features.httpcache._rules import Policy, Use
from mixweb.features.httpcache._serve import part_of, put, wants_of
from mixweb.features.httpcache._shared import Shared
from mixweb.features.httpcache._status import Note
from mixweb.wrapper import Wrapper

#: For how many seconds requests for a page do not wait for each other when an answer was not stored.
LEAVE_SECONDS = 10

#: How many such pages are remembered.
_LEFT_PAGES = 10_000

#: How many pages are asked for again in the background at once.
_MEANWHILE = 100

#: What only the server can decide about (RFC 9111, 4.3.2; RFC 9110, 7.8).
_FOR_THE_SERVER = (b"If-Match", b"If-Unmodified-Since", b"Upgrade")


class HttpCacheWrapper(Wrapper):
    """
    Answers from what was stored, and stores what is answered.

    :param name: what ``Cache-Status`` calls it.
    :param max_bytes: of memory.
    :param max_entry_bytes: of a body.
    :param wait: seconds that a request waits for another one for the same page.
    :param shared: where answers are kept besides.
    """

    def __init__(
        self,
        inner: IResource,
        policy: Policy,
        reactor: Any,
        *,
        name: str = "mixweb",
        max_bytes: int = 64 << 20,
        max_entry_bytes: int = 4 << 20,
        wait: float = 5,
        shared: Shared | None = None,
    ) -> None:
        super().__init__(inner)
        self.policy = policy
        self.reactor = reactor
        self.now: Callable[[], float] = reactor.seconds
        self.name = name
        self.memory = Memory(max_bytes)
        self.max_entry_bytes = max_entry_bytes
        self.wait = wait
        self.shared = shared
        self._note = Note(name)
        self._fetches: dict[Key, Fetch] = {}
        self._left: OrderedDict[Key, float] = OrderedDict()
        if shared is not None:
            shared.watch(self._dropped_elsewhere)

    def handle(self, request: Request) -> None:
        if request.method == b"CONNECT":
            self.forward(request)
        elif request.method not in (b"GET", b"HEAD"):
            self._pass_other(request)
        elif not request.body_complete or request._received_bytes or self._is_for_the_server(request):
            self._pass(request, "bypass")
        else:
            self._look(request)

    def _is_for_the_server(self, request: Request) -> bool:
        # What names its host in its target may be for another server altogether.
        line = getattr(request.head, "line", None)
        foreign = line is not None and line.authority is not None
        return foreign or any(request.requestHeaders.hasHeader(name) for name in _FOR_THE_SERVER)

    def _pass(self, request: Request, why: str) -> None:
        status = Note(self.name, why).passed(0)
        request.before_headers(lambda request: request.responseHeaders.addRawHeader(b"Cache-Status", status))
        self.forward(request)

    def _pass_other(self, request: Request) -> None:
        if request.method not in _rules.SAFE:
            key = self.key(request)
            request.before_headers(lambda request: self._invalidate(request, key))
        self._pass(request, "method")

    def key(self, request: Request) -> Key:
        """What a page is found by."""
        return request.isSecure(), (request.getHeader(b"Host") or b"").lower(), request.target

    # From what is stored

    def _look(self, request: Request) -> None:
        headers, key = request.requestHeaders, self.key(request)
        asked = request_directives(headers.getRawHeaders(b"Cache-Control"), headers.getRawHeaders(b"Pragma"))
        entry = self.memory.find(key, headers.getRawHeaders)
        if entry is None and self.shared is not None:
            request.spawn(self._look_elsewhere(self.shared, request, key, asked))
        else:
            self._decide(request, key, asked, entry)

    async def _look_elsewhere(self, shared: Shared, request: Request, key: Key, asked: Directives) -> None:
        entry = await shared.find(key, request.requestHeaders.getRawHeaders)
        if entry is not None:
            self.memory.put(key, entry)
        if not request.is_over:
            self._decide(request, key, asked, entry)

    def _decide(self, request: Request, key: Key, asked: Directives, entry: Entry | None) -> None:
        found = None if entry is None else _rules.use(entry.stored, asked, self.now(), self.policy)
        if entry is not None and found is not Use.VALIDATE:
            if found is Use.MEANWHILE:
                self._validate_meanwhile(request, key, entry)
            self._serve(request, entry)
        elif b"only-if-cached" in asked and self.policy.obey_requests:
            request.error(504, "This is not in the cache, and nothing else was to be asked.")
        else:
            self._fetch(request, key, asked, entry)

    def _serve(self, request: Request, entry: Entry, collapsed: bool = False) -> None:
        now = self.now()
        age = entry.stored.age(now)
        part = part_of(entry, wants_of(request), request.method == b"GET", now)
        ttl = entry.stored.lifetime - age
        put(request, entry, part, age, self._note.collapsed(ttl) if collapsed else self._note.hit(ttl))
        if request.method == b"HEAD":
            request.setHeader(b"Content-Length", b"%d" % len(part.body))
            request.finish()
        else:
            request.complete(part.body)

    # From the server

    def _fetch(self, request: Request, key: Key, asked: Directives, entry: Entry | None) -> None:
        if entry is None and (request.method == b"HEAD" or request.requestHeaders.hasHeader(b"Range")):
            # It gets no whole answer, so none could be stored.
            self._pass(request, self._why(key, asked, entry))
            return
        under_way = self._fetches.get(key)
        if under_way is not None and self._waits(key):
            self._wait_for(under_way, request)
            return
        note = Note(self.name, self._why(key, asked, entry))
        fetch = Fetch(self, request, key, entry, asked, note, in_a_name(request))
        if request.method == b"GET":
            self._fetches.setdefault(key, fetch)
        fetch.start(self.forward)

    def _why(self, key: Key, asked: Directives, entry: Entry | None) -> str:
        """Why a request is passed on, as RFC 9211 has it."""
        if entry is None:
            return "vary-miss" if self.memory.variants(key) else "uri-miss"
        return "request" if entry.stored.age(self.now()) < entry.stored.lifetime else "stale"

    def _validate_meanwhile(self, request: Request, key: Key, entry: Entry) -> None:
        authorized = in_a_name(request)
        useless = authorized and not _rules.is_for_all(entry.stored.directives)
        if key not in self._fetches and len(self._fetches) < _MEANWHILE and not useless:
            fetch = Fetch(self, repeated(request), key, entry, {}, Note(self.name, "stale"), authorized)
            self._fetches[key] = fetch
            self.reactor.callLater(0, self._safely, fetch.request, lambda: fetch.start(self.forward))

    def _safely(self, request: Request, call: Callable[[], None]) -> None:
        try:
            if not request.is_over:
                call()
        except Exception:
            request.processingFailed(Failure())

    # Requests for the same page wait for the first one

    def _waits(self, key: Key) -> bool:
        left = self._left.get(key)
        return bool(self.wait) and (left is None or self.now() - left > LEAVE_SECONDS)

    def _wait_for(self, fetch: Fetch, request: Request) -> None:
        since = self.now()
        late = self.reactor.callLater(self.wait, self._safely, request, lambda: self._go_alone(request))

        def go_on() -> None:
            if late.active():
                late.cancel()
                self._safely(request, lambda: self._go_on(request, since))

        fetch.waiting.append(go_on)

    def _go_alone(self, request: Request) -> None:
        self.leave(self.key(request))
        self._look(request)

    def _go_on(self, request: Request, since: float) -> None:
        """Take the answer that the other request got, whatever this one asks for: it is no older than if it had asked."""
        entry = self.memory.find(self.key(request), request.requestHeaders.getRawHeaders)
        if entry is None or entry.stored.response_time < since:
            self._look(request)
        else:
            self._serve(request, entry, collapsed=True)

    def ended(self, fetch: Fetch) -> None:
        """A fetch has stored its answer, or will not."""
        if self._fetches.get(fetch.key) is fetch:
            del self._fetches[fetch.key]
        waiting, fetch.waiting = fetch.waiting, []
        for go_on in waiting:
            self.reactor.callLater(0, go_on)

    def leave(self, key: Key) -> None:
        """Have requests for a page not wait for each other for a while."""
        self._left[key] = self.now()
        self._left.move_to_end(key)
        if len(self._left) > _LEFT_PAGES:
            self._left.popitem(last=False)

    # What is kept

    def keep(self, key: Key, entry: Entry) -> None:
        """Store an answer."""
        self._left.pop(key, None)
        self.memory.put(key, entry)
        if self.shared is not None:
            self.shared.put(key, entry)

    def drop(self, key: Key) -> None:
        """Forget a page."""
        self.memory.drop(key)
        if self.shared is not None:
            self.shared.drop(key)

    def _dropped_elsewhere(self, matches: Callable[[Key], bool]) -> None:
        for key in [key for key in self.memory if matches(key)]:
            self.memory.drop(key)

    def _invalidate(self, request: Request, key: Key) -> None:
        """Forget what an unsafe method may have changed (RFC 9111, 4.4)."""
        if not 200 <= request.code < 400:
            return
        changed = {key}
        for name in (b"Location", b"Content-Location"):
            for value in request.responseHeaders.getRawHeaders(name) or ():
                target = _rules.shared_origin(key[:2], value)
                if target is not None:
                    changed.add((*key[:2], target))
        for page in changed:
            self.drop(page)
            if page in self._fetches:
                self._fetches[page].spoil()
