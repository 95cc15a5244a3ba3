"""
A cache in front of a page that says what it is told to.
"""

import pytest
from twisted.internet.task import Clock

from mixweb.engine.site import Site
from mixweb.features.httpcache import FEATURE, HttpCache
from mixweb.testing import SiteAgent, make_context
from mixweb.wrapper import Leaf

#: When the tests begin: Sunday, 06 Nov 1994 08:49:37 GMT.
BEGIN = 784111777


class Origin(Leaf):
    """
    A page.

    :ivar answer: status and fields of what it says; its body says how often it was asked.
    :ivar seen: the fields of the requests so far, by name in lower case.
    :ivar waiting: requests that are not answered yet, while ``slow`` is set.
    """

    def __init__(self, clock):
        self.clock = clock
        self.answer = (200, {})
        self.body = None
        self.seen = []
        self.slow = False
        self.waiting = []
        self.piecewise = False

    def handle(self, request):
        self.seen.append({name.lower().decode(): values for name, values in request.requestHeaders.getAllRawHeaders()})
        if self.slow:
            self.waiting.append((request, self.answer, len(self.seen)))
        else:
            self.say(request, self.answer, len(self.seen))

    def let_go(self):
        """Answer what waits."""
        waiting, self.waiting = self.waiting, []
        for request, answer, number in waiting:
            if not request.is_over:
                self.say(request, answer, number)

    def say(self, request, answer, number):
        status, fields = answer
        request.setResponseCode(status)
        for name, value in {"Date": date(self.clock.seconds()), **fields}.items():
            request.responseHeaders.setRawHeaders(name, value if isinstance(value, list) else [value])
        body = b"%d" % number if self.body is None else self.body
        if status == 304 or request.method == b"HEAD":
            request.finish()
        elif self.piecewise:
            for place in range(len(body)):
                request.write(body[place : place + 1])
            request.finish()
        else:
            request.complete(body)


class Cached:
    """
    A cache with a page behind it.

    :ivar origin: the page.
    :ivar cache: the wrapper itself.
    """

    def __init__(self, secure=False, wrap=lambda inner: inner, origin=None, clock=None, **settings):
        self.clock = clock or Clock()
        if clock is None:
            self.clock.advance(BEGIN)
        self.origin = origin or Origin(self.clock)
        self.services = []
        context = make_context(self.clock, add_service=self.services.append, server_store="memory:httpcache")
        self.cache = FEATURE.build(HttpCache(**settings), self.origin, context)
        self.agent = SiteAgent(Site(wrap(self.cache), reactor=self.clock), clock=self.clock, secure=secure)
        self.open, self.request = self.agent.open, self.agent.request

    def get(self, target="/", headers=(), **more):
        """The answer to a GET, when all that waits a moment has happened."""
        exchange = self.agent.open("GET", target, headers, **more)
        self.clock.advance(0)
        return exchange.answer

    def origin_says(self, control=None, status=200, **fields):
        """What the page says from here on: its ``Cache-Control``, and fields with underscores for hyphens."""
        told = {name.replace("_", "-").title(): value for name, value in fields.items()}
        self.origin.answer = (status, told if control is None else {"Cache-Control": control, **told})


def date(seconds):
    """A moment as HTTP has it."""
    from email.utils import formatdate

    return formatdate(seconds, usegmt=True)


@pytest.fixture
def cached():
    """Makes caches: ``cached(**settings)``."""
    return Cached
