"""
Handlers: functions and classes, ready to answer requests.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from zope.interface import implementer

from mixweb.engine.body import IBodyReceiver
from mixweb.engine.request import Request
from mixweb.pages.answers import answer
from mixweb.pages.arguments import Binder
from mixweb.pages.call import Action, Call, resume, run
from mixweb.pages.declared import MakeWrapper
from mixweb.pages.page import Page
from mixweb.pages.patterns import PathPattern
from mixweb.pages.reading import read_content
from mixweb.pages.routes import Route, RouteError
from mixweb.wrapper import Leaf, pass_to

if TYPE_CHECKING:
    from mixweb.pages.application import Pages

#: Whose bodies mean nothing (RFC 9110, 9.3.1).
_NO_BODY = (b"GET", b"HEAD")

#: Where a request carries its call through the wrappers of a page.
_CALL = "mixweb.pages.call"


def make_action(route: Route, app: Pages) -> Action:
    """
    What answers the requests of a route.

    :raises RouteError: when its handler asks for what it cannot have.
    """
    target = route.target
    try:
        if isinstance(target, type):
            action = _page_action(target, route, app)
        else:
            action = _function_action(target, bind(target, route, app))
    except TypeError as reason:
        raise RouteError(f"{route.place}: {route.title}: {reason}") from None
    for wrap in reversed(route.wrappers):
        action = behind(wrap, action)
    return action


def bind(function: Callable[..., Any], route: Route, app: Pages, bound: int = 0) -> Binder:
    """
    The binder of a handler.

    :raises TypeError: naming a parameter that can have no value.
    """
    pattern = route.pattern
    kinds = pattern.variables if isinstance(pattern, PathPattern) else {}
    binder = Binder(function, pattern.names, kinds, bound)
    for feature in binder.features:
        app.needs.setdefault(feature, route.place)
    return binder


def _function_action(function: Callable[..., Any], binder: Binder) -> Action:
    def run(call: Call) -> None:
        answer(call, function(*binder.bind(call)))

    def run_named(call: Call) -> None:
        positional, named = binder.bind_all(call)
        answer(call, function(*positional, **named))

    return with_content(run if binder.simple else run_named, binder.reads_body)


def with_content(action: Action, reads_body: bool) -> Action:
    """An action when the body is there: read for its arguments, or kept as it came."""

    def wait(call: Call) -> None:
        request = call.request
        if reads_body and request.method not in _NO_BODY:
            read_content(call, action)
        elif request.body_complete:
            action(call)
        else:
            request.when_body(lambda _: resume(call, action))

    return wait


def _page_action(kind: type, route: Route, app: Pages) -> Action:
    if not issubclass(kind, Page):
        raise TypeError(
            f"a class that is routed to derives from mixweb.pages.Page; publish an object of {kind.__name__}"
        )
    binders = {
        method: bind(getattr(kind, method.decode().lower()), route, app, bound=1)
        for method in route.methods
        if hasattr(kind, method.decode().lower())
    }
    if b"GET" in binders:
        binders.setdefault(b"HEAD", binders[b"GET"])

    def start(call: Call) -> None:
        kind(call).start(binders[call.request.method])

    streams = kind.data_received is not Page.data_received
    return start if streams else with_content(start, reads_body=True)


@implementer(IBodyReceiver)
class _Behind(Leaf):
    """A page behind its wrappers."""

    def __init__(self, action: Action) -> None:
        self.action = action

    def handle(self, request: Request) -> None:
        run(request.__dict__.pop(_CALL), self.action)


def behind(wrap: MakeWrapper, action: Action) -> Action:
    """An action behind a wrapper."""
    pass_on = pass_to(wrap(_Behind(action)))

    def pass_call(call: Call) -> None:
        call.request.__dict__[_CALL] = call
        pass_on(call.request)

    return pass_call
