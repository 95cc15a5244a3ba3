"""
Applications: routes and what their handlers share, as one resource.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.web.error import UnsupportedMethod
from twisted.web.resource import IResource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from mixweb.engine.body import IBodyReceiver
from mixweb.engine.errors import Declined
from mixweb.engine.request import Request
from mixweb.kit.compat import Compat
from mixweb.kit.rules import path_text, quote_path
from mixweb.pages._shared import SharedParts
from mixweb.pages._stock import adopt
from mixweb.pages.call import Call, run
from mixweb.pages.declared import Declaration, Handler, declared_in
from mixweb.pages.endpoints import EndpointTree
from mixweb.pages.handlers import make_action
from mixweb.pages.page import Page
from mixweb.pages.publish import published
from mixweb.pages.redirects import Redirect
from mixweb.pages.routes import Place, Route, RouteError, caller
from mixweb.pages.table import HostTables
from mixweb.pages.uploads import Limits
from mixweb.paths import PathTable, RawPrefixes, canonical
from mixweb.wrapper import pass_to

_GET = frozenset([b"GET"])


@implementer(IBodyReceiver)
class Pages(SharedParts):
    """
    An application.

    :param templates: the folder of its templates, relative to the file that makes it.
    :param static: the folder of its static files, likewise; they are at ``/static/``.
    :param settings: anything that handlers want to know.
    :param cookie_secret: the key of signed cookies, at least 16 random bytes; of several keys the first one signs.
    :param login_url: where those are sent who have to log in.
    :param locales: the languages there are, the default one first.
    :param translations: the folder of catalogues of messages, as gettext has them.
    :param limits: what the bodies of requests may bring.
    :ivar needs: the features that handlers ask for, each with the place of one that does.
    :ivar compat: whose status codes endpoints answer with, that do not say it themselves.
    :ivar wishes: settings that only a feature can fulfil, by its name.
    """

    def __init__(
        self,
        *,
        templates: str = "",
        static: str = "",
        settings: Mapping[str, Any] | None = None,
        cookie_secret: str | Sequence[str] = "",
        login_url: str = "",
        locales: Sequence[str] = (),
        translations: str = "",
        limits: Limits | None = None,
    ) -> None:
        folder = os.path.dirname(os.path.abspath(caller().file))
        super().__init__(
            folder,
            templates=templates,
            static=static,
            settings=settings,
            cookie_secret=cookie_secret,
            login_url=login_url,
            locales=locales,
            translations=translations,
        )
        self.limits = limits or Limits()
        self.needs: dict[str, Place] = {}
        self.compat: Compat = ""
        self.wishes: dict[str, str] = {}
        self._declared: list[tuple[Declaration, frozenset[bytes]]] = []
        self._mounts: list[tuple[str, IResource, Place]] = []
        self._tables: HostTables | None = None
        self._names: dict[str, Route] = {}
        if self.static is not None:
            self.mount("/static", self.static)

    # What it is made of

    def route(
        self,
        pattern: str | re.Pattern[str],
        *,
        aliases: Sequence[str] = (),
        methods: Sequence[str] = (),
        name: str = "",
        host: str = "",
    ) -> Callable[[Handler], Handler]:
        """
        Let a function, a method or a class of pages answer at a path.

        :param pattern: a path (``/people/<int:person>``), or a compiled regular expression over the whole path.
        :param aliases: further paths to it.
        :param methods: that it answers; those of the class, or GET, unless given.
        :param name: for :meth:`reverse_url`.
        :param host: the only host that it exists for; ``*.example.com`` for all below.
        """
        place = caller()

        def declare(handler: Handler) -> Handler:
            self._declare(Declaration(pattern, handler, place, aliases, methods, name, host))
            return handler

        return declare

    def include(self, *found: object) -> None:
        """Take in what modules, or the methods of objects, have declared with ``@route``."""
        for item in found:
            for declared in declared_in(item):
                self._declare(declared)

    def publish(self, path: str, found: object) -> None:
        """Let the exposed methods of an object, and those of objects that are its attributes, answer below a path."""
        for declared, methods in published(path, found, caller()):
            self._declare(declared, methods)

    def endpoints(self, path: str, tree: Mapping[str, Any], handler: object, **options: Any) -> EndpointTree:
        """
        Let a tree of endpoints answer below a path; what it has not is asked of what is mounted behind.

        :param options: of :class:`~mixweb.pages.endpoints.EndpointTree`.
        """
        made = EndpointTree(self, path, tree, handler, caller(), **options)
        self._mounts.append((path, made, made.place))
        self._tables = None
        return made

    def mount(self, path: str, resource: IResource) -> None:
        """Let a resource answer at a path and below, where no route does."""
        self._mounts.append((path, resource, caller()))
        self._tables = None

    def _declare(self, declared: Declaration, methods: frozenset[bytes] = frozenset()) -> None:
        self._declared.append((declared, methods))
        self._tables = None

    # Made ready

    def ready(self) -> HostTables:
        """
        Make everything that requests need: done once, at the first request unless before.

        :raises RouteError: with all that is wrong.
        """
        if self._tables is None:
            self._tables = self._made()
        return self._tables

    def _made(self) -> HostTables:
        tables = HostTables()
        names: dict[str, Route] = {}
        problems: list[str] = []
        for declared, methods in self._declared:
            problems += self._take(declared, methods, tables, names)
        for tree in self._trees():
            problems += tree.conflicts(tables)
        try:
            self.check_parts()
        except ValueError as reason:
            problems.append(str(reason))
        if problems:
            raise RouteError(*problems)
        self._names = names
        self._resources = PathTable((path, pass_to(resource)) for path, resource, _ in self._mounts)
        self._raw_prefixes = [*tables.raw_prefixes, *(prefix for tree in self._trees() for prefix in tree.raw_prefixes)]
        return tables

    def _trees(self) -> list[EndpointTree]:
        return [resource for _, resource, _ in self._mounts if isinstance(resource, EndpointTree)]

    def _take(
        self, declared: Declaration, methods: frozenset[bytes], tables: HostTables, names: dict[str, Route]
    ) -> list[str]:
        """Add the routes of a declaration; returns what is wrong with them."""
        problems: list[str] = []
        try:
            routes = declared.routes(methods or methods_of(declared.target))
            for route in routes:
                tables.add(route)
                self._note_name(names, route)
        except RouteError as reason:
            return list(reason.problems)
        for route in routes:
            try:
                route.action = make_action(route, self)
            except RouteError as reason:
                problems += reason.problems
        return list(dict.fromkeys(problems))

    def _note_name(self, names: dict[str, Route], route: Route) -> None:
        other = names.setdefault(route.name, route) if route.name else route
        if other.pattern.text != route.pattern.text:
            raise RouteError(f"{route.place}: the name {route.name!r} is taken at {other.place}")

    @property
    def raw_prefixes(self) -> list[tuple[bytes | None, ...]]:
        """Where targets are to stay undecoded, below the application's path; ``None`` is any segment."""
        self.ready()
        return self._raw_prefixes

    @property
    def routes(self) -> list[tuple[str, str, str, Place]]:
        """Methods, path, handler and place of everything there is."""
        found = [route.row() for route in self.ready().routes]
        for path, resource, place in self._mounts:
            if isinstance(resource, EndpointTree):
                found += resource.rows()
            else:
                found.append(("any", f"{path.rstrip('/')}/...", type(resource).__name__, place))
        return found

    # Requests

    def render(self, request: Any) -> int:
        if not isinstance(request, Request):
            return adopt(request, self.handle)
        self.handle(request)
        return NOT_DONE_YET

    def handle(self, request: Request) -> None:
        tables = self._tables or self.ready()
        raw = request.canonical_path.raw
        if raw is None and self._raw_prefixes:
            raw = self._find_raw(request)
        found = tables.find(request, raw)
        if found is None:
            self._handle_elsewhere(request, tables)
            return
        actions, values = found
        route = actions.get(request.method)
        if route is None and request.method == b"HEAD":
            route = actions.get(b"GET")
        if route is None:
            raise UnsupportedMethod(list(actions))
        run(Call(self, request, request.prepath, values, route), route.action)

    def _find_raw(self, request: Request) -> bytes | None:
        """What follows a raw prefix, where nobody has told the server of it."""
        base = request.prepath
        found = canonical(request.target, RawPrefixes([(*base, *prefix) for prefix in self._raw_prefixes]))
        if found.raw is not None:
            request.canonical_path = found
            request.postpath = list(found.segments[len(base) :])
        return found.raw

    def _handle_elsewhere(self, request: Request, tables: HostTables) -> None:
        base, segments, outer = request.prepath, tuple(request.postpath), request.on_decline
        owners = self._resources.find(segments)

        def ask(request: Request) -> None:
            for length, answer in owners:
                request.prepath = [*base, *segments[:length]]
                request.postpath = [*segments[length:]]
                if not request.body_complete:
                    request.on_decline = ask
                try:
                    answer(request)
                except Declined:
                    continue
                return
            request.prepath, request.postpath, request.on_decline = base, list(segments), outer
            self._redirect_slash(request, tables)

        ask(request)

    def _redirect_slash(self, request: Request, tables: HostTables) -> None:
        """Send a client to the same path with a slash at its end, or without, where that one exists."""
        segments = request.postpath
        request.postpath = segments[:-1] if segments[-1:] == [b""] else [*segments, b""]
        found = tables.find(request, None)
        other, request.postpath = request.postpath, segments
        if found is None or not (other or request.prepath):
            raise Declined
        query = request.target.partition(b"?")[1:]
        path = quote_path(path_text([*request.prepath, *other]))
        raise Redirect(path + b"".join(query).decode("latin-1"), 308)

    def reverse_url(self, name: str, *args: Any, **values: Any) -> str:
        """
        The URL of a named route.

        :param args: the values of its variables, in order, or by name.
        :raises KeyError: when there is no such route.
        :raises ValueError: when the values are not those it takes.
        """
        self.ready()
        if name not in self._names:
            raise KeyError(f"no route is named {name!r}; there are {', '.join(sorted(self._names)) or 'none'}")
        return self.base + self._names[name].pattern.path(args, values)


def methods_of(target: Any) -> frozenset[bytes]:
    """The methods that a handler has: those that a class of pages defines, or GET."""
    if isinstance(target, type) and issubclass(target, Page):
        return frozenset(name.encode() for name in target.SUPPORTED_METHODS if hasattr(target, name.lower()))
    return _GET
