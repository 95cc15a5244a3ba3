"""
The routes of an application by host.
"""

from __future__ import annotations

from typing import Any

from mixweb.engine.request import Request
from mixweb.pages.routes import Found, Route, RouteError, RouteTable
from mixweb.vhost import VirtualHosts


class HostTables:
    """
    A table of routes for every host, and one for each host that routes name: it is asked first.

    :ivar routes: all of them, in the order in which they were added.
    """

    def __init__(self) -> None:
        self.common = RouteTable()
        self.routes: list[Route] = []
        self._hosts: Any = VirtualHosts()
        self._by_name: dict[str, RouteTable] = {}

    def add(self, route: Route) -> None:
        """
        Take a route.

        :raises RouteError: when there is one for the same.
        """
        self._table(route).add(route)
        self.routes.append(route)

    def _table(self, route: Route) -> RouteTable:
        if not route.host:
            return self.common
        if route.host not in self._by_name:
            self._by_name[route.host] = RouteTable()
            try:
                self._hosts.addHost(route.host, self._by_name[route.host])
            except ValueError as reason:
                raise RouteError(f"{route.place}: {reason}") from None
        return self._by_name[route.host]

    @property
    def raw_prefixes(self) -> list[tuple[bytes | None, ...]]:
        """Where targets are to stay undecoded."""
        return [prefix for table in (self.common, *self._by_name.values()) for prefix in table.raw_prefixes]

    def find(self, request: Request, raw: bytes | None) -> Found | None:
        """What there is for the host and path of a request."""
        if self._by_name:
            found = self._find_for_host(request, raw)
            if found is not None:
                return found
        elif raw is None:
            actions = self.common.exact.get(tuple(request.postpath))
            if actions is not None:
                return actions, ()
        return self.common.find(request.postpath, raw)

    def _find_for_host(self, request: Request, raw: bytes | None) -> Found | None:
        authority = request.authority
        if authority is None:
            return None
        table = self._hosts.choose(authority.host, authority.port or (443 if request.isSecure() else 80))
        return None if table is None else table.find(request.postpath, raw)
