"""
What a server remembers of a client from one request to the next.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import IResource

from mixweb.engine.request import Request
from mixweb.feature import Context, Stage, Wrap, WrapperSettings, option
from mixweb.features._session_data import LiveSession
from mixweb.features._session_store import Sessions, TooLarge
from mixweb.features._session_twisted import twisted_session
from mixweb.interfaces import ISession, ISessionTag
from mixweb.kit.cookies import Cookie, SameSite, make_private, vary_on_cookie
from mixweb.kit.holding import hold_answer
from mixweb.stores import Entry, StoreError, StoreURL, check_url
from mixweb.wrapper import HTTPError, Wrapper

#: Seconds after which a client may ask again when the store is down.
RETRY_SECONDS = 5

#: An id of ours: 24 bytes of randomness.
_ID = re.compile(rb"[A-Za-z0-9_-]{32}\Z")


@dataclass(frozen=True)
class Session(WrapperSettings):
    """Remember clients: what pages keep in their sessions is there at the next request."""

    store: StoreURL = option("", help="Where sessions are kept; empty for the server's store.", metavar="URL")
    timeout: int = option(3600, help="Seconds that a session lives unused; 0 for all its lifetime.", metavar="SECONDS")
    lifetime: int = option(
        86400, help="Seconds that a session lives in any case; 0 for as long as it is used.", metavar="SECONDS"
    )
    cookie: str = option("SESSION", help="Name of the cookie; over TLS __Host- stands in front.", metavar="NAME")
    path: str = option("/", help="Path the cookie is sent to.", metavar="PATH")
    domain: str = option("", help="Domain whose hosts share sessions; empty for each host by itself.", metavar="NAME")
    same_site: SameSite = option("lax", help="With requests of other sites it is sent: lax, strict or none.")
    partitioned: bool = option(False, help="Keep the cookies of frames in other sites apart.")
    max_bytes: int = option(65536, help="What a session may hold, in bytes of JSON.", metavar="BYTES")

    def __post_init__(self) -> None:
        if self.store:
            check_url(self.store)
        for name in ("timeout", "lifetime"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative")
        if not (self.timeout or self.lifetime):
            raise ValueError("timeout and lifetime are both 0: sessions would never end")
        if self.max_bytes < 2:
            raise ValueError("max_bytes must be at least 2")
        _ = self.token

    @property
    def token(self) -> Cookie:
        """The cookie."""
        return Cookie(self.cookie, self.path, self.domain, self.lifetime, self.same_site, partitioned=self.partitioned)


class SessionWrapper(Wrapper):
    """Loads the session that a client brings before it passes the request on, and saves what changed before the answer leaves."""

    _log = Logger()

    def __init__(self, settings: Session, inner: IResource, sessions: Sessions) -> None:
        super().__init__(inner)
        self.sessions = sessions
        self.cookie = settings.token
        self.domain = settings.domain.lower().lstrip(".").encode()
        self.timeout = settings.timeout or settings.lifetime
        self._names = {secure: self.cookie.name_of(secure) for secure in (False, True)}

    def handle(self, request: Request) -> None:
        session = LiveSession(self, request)
        request.setComponent(ISession, session)
        request.find_session = self._twisted_session
        request.before_headers(session.leave)
        secure = request.isSecure()
        id = request.received_cookies.get(self._names[secure])
        if id is None or not _ID.match(id):
            self.forward(request)
            return
        key = self.sessions.key_of(id, self._scope(request, secure))
        loading: Deferred[Any] = self.sessions.find(key)
        found: Any = getattr(loading, "result", loading)
        if not isinstance(found, (Failure, Deferred)):
            self._go_on(session, request, key, found)
        else:
            self.spawn(request, self._wait(session, request, key, loading))

    async def _wait(self, session: LiveSession, request: Request, key: bytes, loading: Deferred[Entry | None]) -> None:
        try:
            entry = await loading
        except StoreError:
            raise _unavailable() from None
        self._go_on(session, request, key, entry)

    def _go_on(self, session: LiveSession, request: Request, key: bytes, entry: Entry | None) -> None:
        if entry is not None and self.sessions.load(session, key, entry):
            request.setComponent(ISessionTag, session)
        self.forward(request)

    def _scope(self, request: Request, secure: bool) -> bytes:
        """Where an id is good: as browsers keep cookies, so that nobody carries one to another host."""
        return b"%b\0%d\0%b" % (self._names[secure], secure, self.domain or request.getRequestHostname())

    def make_id(self, request: Request) -> tuple[str, bytes]:
        """A new id, and what it is stored under."""
        return self.sessions.make(self._scope(request, request.isSecure()))

    def _twisted_session(self, request: Request) -> Any:
        session: Any = ISession(request)
        return twisted_session(request, session, self.timeout, self.sessions.forget)

    def depend(self, session: LiveSession, request: Request) -> None:
        """Tell caches, also those that stand behind, whom the answer is for."""
        if not session.left:
            (make_private if session.used else vary_on_cookie)(request.responseHeaders)

    # The way back

    def leave(self, session: LiveSession, request: Request) -> None:
        """Tell the client its new id, and hold the answer back until everything is saved; a failure changes nothing."""
        if request.code >= 500:
            session.discard()
        is_changed = session.is_changed
        if is_changed and session.key is None:
            session.begin()
        session.left = True
        if session.id is not None or session.over:
            self._tell_client(session, request)
        if session.used:
            make_private(request.responseHeaders)
        if is_changed or session.ended or session.id is not None:
            self._save(session, request)

    def _tell_client(self, session: LiveSession, request: Request) -> None:
        secure = request.isSecure()
        line = self.cookie.delete(secure) if session.id is None else self.cookie.set(session.id.encode("ascii"), secure)
        request.responseHeaders.addRawHeader(b"Set-Cookie", line)

    def _save(self, session: LiveSession, request: Request) -> None:
        if session.key is not None:
            request.setComponent(ISessionTag, session)
        saving = Deferred.fromCoroutine(self.sessions.save(session))
        if saving.called and saving.result is None:
            return
        if request.code == 101 or request.method == b"CONNECT":
            saving.addErrback(self._warn, request)
        else:
            hold_answer(request, saving.addErrback(self._explain, request))

    def changed_late(self, session: LiveSession, request: Request) -> None:
        """Save what is changed while the body is sent."""
        if session.key is None:
            self._log.warn("{line}: the session began after the head of the answer had left", line=request.line)
        else:
            Deferred.fromCoroutine(self.sessions.save(session)).addErrback(self._warn, request)

    def _warn(self, reason: Failure, request: Request) -> None:
        self._log.warn("{line}: {reason}", line=request.line, reason=reason.getErrorMessage())

    def _explain(self, reason: Failure, request: Request) -> Failure:
        if reason.check(TooLarge):
            self._log.error("{line}: {reason}", line=request.line, reason=reason.getErrorMessage())
            return Failure(HTTPError(500, "The session holds too much."))
        return Failure(_unavailable()) if reason.check(StoreError) else reason


def _unavailable() -> HTTPError:
    retry = (b"Retry-After", b"%d" % RETRY_SECONDS)
    return HTTPError(503, "The sessions cannot be reached just now.", [retry])


def build(settings: Session, inner: IResource, context: Context) -> SessionWrapper:
    store = context.store(settings.store)
    return SessionWrapper(settings, inner, Sessions(store, settings.timeout, settings.lifetime, settings.max_bytes))


FEATURE = Wrap("session", Stage.SESSION, Session, build)
