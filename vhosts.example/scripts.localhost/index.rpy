"""
A script is run for each request; what it binds to ``resource`` answers.
"""

from twisted.web.resource import Resource


class Hello(Resource):
    """Greets whoever asks: /?name=You"""

    def getChild(self, name, request):
        return self

    async def render_GET(self, request):
        name = request.args.get(b"name", [b"world"])[0]
        request.setHeader(b"Content-Type", b"text/plain; charset=utf-8")
        return b"Hello, " + name + b"!\n"


resource = Hello()
