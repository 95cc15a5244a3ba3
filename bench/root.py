"""
The page that both servers serve.
"""

from twisted.web.resource import Resource


class Hello(Resource):
    """Thirteen bytes."""

    isLeaf = True

    def render_GET(self, request):
        request.setHeader(b"Content-Type", b"text/plain")
        return b"Hello, world!"


class Root(Resource):
    """Has nothing but that page."""

    def __init__(self):
        super().__init__()
        self.putChild(b"hello", Hello())
