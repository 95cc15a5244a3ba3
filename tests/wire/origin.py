"""
What stands behind a proxy: plain resources of Twisted's, for ``twistd web --class tests.wire.origin.Root``.
"""

import hashlib

from twisted.internet import reactor
from twisted.internet.interfaces import IPullProducer
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from twisted.web.util import Redirect
from twisted.web.websocket import WebSocketResource
from zope.interface import implementer

PIECE = bytes(range(256)) * 256


class Echo(Resource):
    """Shows what was asked for."""

    isLeaf = True

    def render(self, request):
        request.setHeader(b"Content-Type", b"text/plain")
        lines = [request.method + b" " + request.uri]
        lines += [
            b"%b: %b" % (name, value) for name, values in request.requestHeaders.getAllRawHeaders() for value in values
        ]
        return b"\n".join(lines) + b"\n"


class Digest(Resource):
    """Answers with the SHA-256 of a body, and its length."""

    isLeaf = True

    def render_POST(self, request):
        digest, length = hashlib.sha256(), 0
        while piece := request.content.read(65536):
            digest.update(piece)
            length += len(piece)
        return b"%d %b" % (length, digest.hexdigest().encode())


@implementer(IPullProducer)
class Pieces:
    """Gives a long body piece by piece."""

    def __init__(self, request, left):
        self.request = request
        self.left = left
        request.registerProducer(self, False)

    def resumeProducing(self):
        piece = PIECE[: self.left]
        self.left -= len(piece)
        self.request.write(piece)
        if not self.left:
            self.request.unregisterProducer()
            self.request.finish()

    def stopProducing(self):
        """The client has left."""


class Long(Resource):
    """A body of ``?bytes=N``, with its length or, with ``&chunked=1``, without."""

    isLeaf = True

    def render_GET(self, request):
        length = int(request.args[b"bytes"][0])
        if b"chunked" not in request.args:
            request.setHeader(b"Content-Length", b"%d" % length)
        Pieces(request, length)
        return NOT_DONE_YET


class Events(Resource):
    """Server-sent events: the next one when ``/next`` is asked for."""

    isLeaf = True

    def __init__(self):
        super().__init__()
        self.listeners = []
        self.count = 0

    def render_GET(self, request):
        if request.postpath == [b"next"]:
            self.count += 1
            for listener in self.listeners:
                listener.write(b"data: %d\n\n" % self.count)
            return b"%d" % len(self.listeners)
        request.setHeader(b"Content-Type", b"text/event-stream")
        request.write(b": begin\n\n")
        self.listeners.append(request)
        request.notifyFinish().addErrback(lambda _: self.listeners.remove(request))
        return NOT_DONE_YET


class Talk:
    """Says back what it hears."""

    @classmethod
    def buildProtocol(cls, request):
        return cls()

    def negotiationStarted(self, transport):
        self.transport = transport

    def negotiationFinished(self):
        """Ready."""

    def textMessageReceived(self, message):
        self.transport.sendTextMessage(message)

    def bytesMessageReceived(self, message):
        self.transport.sendBytesMessage(message)

    def pongReceived(self, payload):
        """Nothing."""

    def connectionLost(self, reason):
        """Nothing."""


class Said(Resource):
    """
    Answers with the fields of the query (``?Cache-Control=max-age=60&status=404``), and how often it was asked for the path.

    It answers 304 to a condition that has its entity tag.
    """

    isLeaf = True

    def __init__(self):
        super().__init__()
        self.counts = {}

    def render(self, request):
        name = request.path
        self.counts[name] = self.counts.get(name, 0) + 1
        for field, values in request.args.items():
            if field == b"status":
                request.setResponseCode(int(values[0]))
            else:
                request.setHeader(field, values[0])
        if request.args.get(b"ETag") and request.getHeader(b"If-None-Match") in request.args[b"ETag"]:
            request.setResponseCode(304)
            return b""
        return b"%d" % self.counts[name]


class Slow(Resource):
    """Answers after a second."""

    isLeaf = True

    def render_GET(self, request):
        call = reactor.callLater(1, lambda: (request.write(b"slow"), request.finish()))
        request.notifyFinish().addErrback(lambda _: call.cancel())
        return NOT_DONE_YET


def Root():
    """The root of the tree."""
    root = Resource()
    for name, child in {
        "echo": Echo(),
        "digest": Digest(),
        "long": Long(),
        "events": Events(),
        "said": Said(),
        "slow": Slow(),
        "talk": WebSocketResource(Talk),
        "away": Redirect(b"/echo/here"),
    }.items():
        root.putChild(name.encode(), child)
    return root
