"""
TEMPORARY: stands for the session feature until it is there.
"""

from dataclasses import dataclass
from secrets import token_hex

from zope.interface import implementer

from mixweb.feature import Stage, Wrap, WrapperSettings
from mixweb.interfaces import ISession
from mixweb.wrapper import Wrapper


@dataclass(frozen=True)
class Session(WrapperSettings):
    """Sessions."""


@implementer(ISession)
class Fake(dict):
    ended = False

    def __init__(self, data, sid):
        self.data, self.sid = data, sid
        super().__init__(data.get(sid, {}))
        self.new = sid not in data

    def rotate(self):
        self.data.pop(self.sid, None)
        self.sid = token_hex(16)

    def end(self):
        self.data.pop(self.sid, None)
        self.clear()
        self.ended = True


class FakeWrapper(Wrapper):
    def __init__(self, inner):
        super().__init__(inner)
        self.data = {}

    def handle(self, request):
        sid = request.received_cookies.get(b"SESSION", b"").decode("latin-1")
        session = Fake(self.data, sid if sid in self.data else "")
        request.setComponent(ISession, session)

        def save(request):
            if session.ended:
                request.responseHeaders.addRawHeader(b"Set-Cookie", b"SESSION=; Path=/; Max-Age=0")
            elif session:
                session.sid = session.sid or token_hex(16)
                if session.sid not in self.data:
                    request.responseHeaders.addRawHeader(b"Set-Cookie", f"SESSION={session.sid}; Path=/".encode())
                self.data[session.sid] = dict(session)

        request.before_headers(save)
        self.forward(request)


STANDIN = Wrap("session", Stage.SESSION, Session, lambda settings, inner, context: FakeWrapper(inner))
