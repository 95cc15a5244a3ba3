"""
Counts its visitors: what is kept in the registry outlives the request.
"""

from twisted.web.resource import Resource


class Counter:
    """How many there were."""

    value = 0


counter = registry.getComponent(Counter)  # noqa: F821 - bound by the server
if counter is None:
    counter = Counter()
    registry.setComponent(Counter, counter)  # noqa: F821


class Visits(Resource):
    """Says the number."""

    isLeaf = True

    def render_GET(self, request):
        counter.value += 1
        return f"<p>You are visitor {counter.value}.</p>"


resource = Visits()
