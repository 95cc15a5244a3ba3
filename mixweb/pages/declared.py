"""
Routes that modules and classes declare, before any application has them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeVar

from mixweb.pages.patterns import make_pattern
from mixweb.pages.routes import Place, Route, RouteError, caller, check_methods

Handler = TypeVar("Handler", bound=Callable[..., Any])

#: What makes the wrapper in front of a page: of a resource, a resource.
MakeWrapper = Callable[[Any], Any]

_MARK = "__mixweb_routes__"
_WRAPPERS = "__mixweb_wrappers__"


@dataclass(frozen=True)
class Declaration:
    """
    What ``@route`` was told.

    :ivar methods: empty for what the handler has: GET of a function, all that a class answers.
    """

    pattern: str | re.Pattern[str]
    target: Any
    place: Place
    aliases: Sequence[str] = ()
    methods: Sequence[str] = ()
    name: str = ""
    host: str = ""

    def routes(self, known: frozenset[bytes]) -> list[Route]:
        """
        The routes of it and its aliases.

        :param known: the methods where none were named.
        :raises RouteError: when one is malformed.
        """
        aliases = [self.aliases] if isinstance(self.aliases, str) else self.aliases
        wrappers = getattr(self.target, _WRAPPERS, ())
        try:
            methods = check_methods(self.methods) or known
            return [
                Route(make_pattern(pattern), self.target, methods, self.place, name, self.host, wrappers)
                for pattern, name in [(self.pattern, self.name), *((alias, "") for alias in aliases)]
            ]
        except ValueError as reason:
            raise RouteError(f"{self.place}: {reason}") from None


def route(
    pattern: str | re.Pattern[str],
    *,
    aliases: Sequence[str] = (),
    methods: Sequence[str] = (),
    name: str = "",
    host: str = "",
) -> Callable[[Handler], Handler]:
    """
    Declare a route to a function, method or class for the application that takes in its module or object
    (:func:`~mixweb.pages.application.make_app`, :meth:`~mixweb.pages.application.Pages.include`).

    :param pattern: a path, or a compiled regular expression.
    :param aliases: further paths to it.
    :param methods: that it answers; those of the class, or GET, unless given.
    :param name: for :meth:`~mixweb.pages.application.Pages.reverse_url`.
    :param host: the only host that it exists for; ``*.example.com`` for all below.
    """
    place = caller()

    def declare(handler: Handler) -> Handler:
        declared = Declaration(pattern, handler, place, aliases, methods, name, host)
        _marks(handler).append(declared)
        if handler.__qualname__.isidentifier():
            vars(sys.modules[handler.__module__]).setdefault(_MARK, []).append(declared)
        return handler

    return declare


def _marks(handler: Any) -> list[Declaration]:
    if _MARK not in vars(handler):
        setattr(handler, _MARK, [])
    found: list[Declaration] = vars(handler)[_MARK]
    return found


def wrapped(*wrappers: MakeWrapper) -> Callable[[Handler], Handler]:
    """
    Put wrappers in front of one page, outermost first; it stands below ``@route``, or above.

    :param wrappers: each makes one around a resource: a class of wrappers, or a function.
    """

    def declare(handler: Handler) -> Handler:
        setattr(handler, _WRAPPERS, (*wrappers, *getattr(handler, _WRAPPERS, ())))
        return handler

    return declare


def declared_in(found: object) -> Iterable[Declaration]:
    """What a module has declared, or the methods of an object."""
    if isinstance(found, ModuleType):
        return list(vars(found).get(_MARK, ()))
    return [
        Declaration(item.pattern, getattr(found, name), *_rest(item))
        for kind in reversed(type(found).__mro__)
        for name, member in vars(kind).items()
        if getattr(type(found), name, None) is member
        for item in getattr(member, _MARK, ())
    ]


def _rest(item: Declaration) -> tuple[Any, ...]:
    return item.place, item.aliases, item.methods, item.name, item.host
