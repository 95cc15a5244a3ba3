"""
One request on its way to a handler.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeAlias

from twisted.python.failure import Failure

from mixweb.engine._lazy import Lazy
from mixweb.engine.request import Request
from mixweb.pages.bodies import NO_CONTENT, Content, Fields, parse_pairs

if TYPE_CHECKING:
    from mixweb.pages.application import Pages
    from mixweb.pages.routes import Route

#: The call under way.
current: ContextVar[Call] = ContextVar("mixweb_pages_call")

#: Answers a call.
Action: TypeAlias = "Callable[[Call], None]"


def _query_of(call: Call) -> Fields:
    return parse_pairs(call.request.target.partition(b"?")[2])


def _fields_of(call: Call) -> Fields:
    query, form = call.query, call.content.form
    if not form:
        return query
    return {name: [*query.get(name, ()), *form.get(name, ())] for name in {**query, **form}}


class Call:
    """
    A request, and what a handler may ask about it.

    :ivar app: the application that answers.
    :ivar base: the segments of the path that the application is mounted at.
    :ivar values: of the variables of the route, in order.
    :ivar route: that was found, if it was one.
    :ivar query: the arguments in the query.
    :ivar fields: the arguments in query and form, those of the form behind those of the query.
    :ivar content: what the body holds, once it was read.
    :ivar endpoint: which endpoint of a tree was called, if it was one.
    """

    content: Content = NO_CONTENT
    endpoint: Any = None

    def __init__(
        self,
        app: Pages,
        request: Request,
        base: Sequence[bytes],
        values: tuple[Any, ...] = (),
        route: Route | None = None,
    ) -> None:
        self.app = app
        self.request = request
        self.base = base
        self.values = values
        self.route = route

    query = Lazy[Fields](_query_of)
    fields = Lazy[Fields](_fields_of)

    @property
    def document(self) -> dict[str, Any]:
        """The JSON object in the body; empty when it holds none."""
        document = self.content.json
        return document if isinstance(document, dict) else {}

    @property
    def origin(self) -> str:
        """Scheme and host that were asked for: ``https://example.com:8443``."""
        request = self.request
        host = request.getHeader(b"Host") or request.getRequestHostname()
        return f"{'https' if request.isSecure() else 'http'}://{host.decode('latin-1')}"

    def leave_path(self) -> None:
        """Leave a resource the rest of the path: what ``<path:...>`` has taken, or nothing."""
        request, pattern = self.request, self.route and self.route.pattern
        takes_rest = pattern and pattern.names and getattr(pattern.variables.get(pattern.names[-1]), "rest", False)
        left = self.values[-1].count("/") + 1 if takes_rest and isinstance(self.values[-1], str) else 0
        consumed = len(request.postpath) - left
        request.prepath = [*request.prepath, *request.postpath[:consumed]]
        request.postpath = request.postpath[consumed:]


def run(call: Call, action: Action) -> None:
    """Run an action with its call as the current one."""
    token = current.set(call)
    try:
        action(call)
    finally:
        current.reset(token)


def resume(call: Call, action: Action) -> None:
    """Run an action later on; what it raises is answered."""
    if not call.request.is_over:
        try:
            run(call, action)
        except Exception:
            call.request.processingFailed(Failure())
