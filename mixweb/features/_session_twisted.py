"""
Sessions as Twisted has them, bound to ours: what pages keep in them lives in this process.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.web import server

from mixweb.engine.request import Request
from mixweb.features._session_data import LiveSession

#: Of more sessions than this, the one that was not used for longest is let go.
MAX_SESSIONS = 10_000


class TwistedSession(server.Session):
    """
    A session of Twisted's.

    It is over in this process when nobody has used it here for some time, or when ours is. To expire it ends ours.

    :ivar uid: what ours is stored under; not what the client is told.
    """

    _end: Callable[[], None]

    def __init__(self, request: Request, key: bytes, timeout: float) -> None:
        self.sessionTimeout = timeout  # type: ignore[assignment]
        super().__init__(request.site, key)
        self._seen: LiveSession | None = None
        self.site.sessions[key] = self
        self.startCheckingExpiration()

    def startCheckingExpiration(self) -> None:
        self._expireCall = self._reactor.callLater(self.sessionTimeout, self.let_go)

    def let_go(self) -> None:
        """Call who wanted to be told, and forget what is kept here."""
        if self.site.sessions.get(self.uid) is self:
            super().expire()

    def expire(self) -> None:
        """Log out."""
        self._end()
        self.let_go()

    def follow(self, session: LiveSession, forget: Callable[[bytes], None]) -> None:
        """
        Be the one of a request's session.

        :param forget: ends a session when the answer to that request has left.
        """

        def end() -> None:
            if session.left:
                forget(self.uid)
            else:
                session.end()

        def move(before: bytes, after: bytes | None) -> None:
            if after is None:
                self.let_go()
            else:
                self.uid = after
                self.site.sessions[after] = self.site.sessions.pop(before)

        self._end = end
        session.moved = move


def twisted_session(
    request: Request, session: LiveSession, timeout: float, forget: Callable[[bytes], None]
) -> TwistedSession:
    """
    Twisted's session of a request, made when there is none; then ours begins too.

    :param timeout: seconds after which it is let go unused.
    :param forget: ends a session by what it is stored under.
    """
    session.begin()
    assert session.key is not None
    sessions: dict[bytes, Any] = request.site.sessions
    found = sessions.pop(session.key, None)
    if found is None:
        found = TwistedSession(request, session.key, timeout)
        if len(sessions) > MAX_SESSIONS:
            oldest = next(iter(sessions.values()))
            oldest.let_go() if isinstance(oldest, TwistedSession) else oldest.expire()
    else:
        sessions[session.key] = found
        found.touch()
    found.follow(session, forget)
    return found  # type: ignore[no-any-return]
