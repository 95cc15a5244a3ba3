"""
The pages that both servers serve.
"""

from twisted.web.resource import Resource


class Hello(Resource):
    """Thirteen bytes."""

    isLeaf = True

    def render_GET(self, request):
        request.setHeader(b"Content-Type", b"text/plain")
        return b"Hello, world!"


class Upload(Resource):
    """Says how much was posted."""

    isLeaf = True

    def render_POST(self, request):
        request.setHeader(b"Content-Type", b"text/plain")
        return b"%d" % len(request.content.read())


class Root(Resource):
    """Has nothing but these pages."""

    def __init__(self):
        super().__init__()
        self.putChild(b"hello", Hello())
        self.putChild(b"upload", Upload())
