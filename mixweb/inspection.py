"""
The inspector of a server: put where a person watches, opened with a token, and found by its address.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from ipaddress import ip_address

from mixweb._plan_checks import PlanCheck
from mixweb.config import Loaded
from mixweb.draft import Origin
from mixweb.engine.listeners import Listen
from mixweb.features.inspect import Inspect
from mixweb.kit.rules import path_text, quote_path
from mixweb.paths import split_path
from mixweb.plan import Host, Plan
from mixweb.registry import registry


def is_local(found: Sequence[Listen]) -> bool:
    """Whether only this machine can connect."""
    return all(item.kind == "unix" or (item.kind == "tcp" and _is_loopback(item.interface)) for item in found)


def _is_loopback(interface: str) -> bool:
    try:
        return ip_address(interface).is_loopback
    except ValueError:
        return interface == "localhost"


def inspectors(plan: Plan) -> Iterator[tuple[Host, Inspect]]:
    """The inspectors of a plan that show requests, each with its host."""
    for host in (plan.default, *plan.hosts):
        for item in host.settings:
            if isinstance(item, Inspect) and item.watches:
                yield host, item


def inspected(loaded: Loaded, unasked: bool, token: str) -> Loaded:
    """
    The configuration with the token in each inspector that has none of its own.

    :param unasked: whether there is to be one though the configuration does not say so; where something else has its
        place, or the feature is taken away, there is none.
    """
    plan = loaded.plan
    if unasked and not plan.server.quiet and "inspect" not in plan.default.without and not any(inspectors(plan)):
        plan = _with_inspector(plan)
    tables = dict(loaded.tables)

    def opened(host: Host) -> Host:
        settings = []
        for item in host.settings:
            made = replace(item, token=token) if isinstance(item, Inspect) and not item.token else item
            if id(item) in tables:
                tables[id(made)] = tables[id(item)]
            settings.append(made)
        return Host(*host.names, *settings, without=host.without)

    if any(not item.token for _, item in inspectors(plan)):
        plan = replace(plan, default=opened(plan.default), hosts=list(map(opened, plan.hosts)))
    return replace(loaded, plan=plan, tables=tables)


def _with_inspector(plan: Plan) -> Plan:
    default = Host(*plan.default.settings, Inspect(), without=plan.default.without)
    added = replace(plan, default=default)
    check = PlanCheck(registry(), lambda item: Origin(""), lambda host, name: Origin(name))
    return plan if any(check.problems(added)) else added


def addresses(plan: Plan, urls: Sequence[str], token: str) -> list[str]:
    """
    Where the inspectors are opened.

    :param urls: of the server.
    :param token: that is told; another one was chosen by the owner, who knows it.
    """
    found = []
    for host, item in inspectors(plan):
        path = quote_path(path_text(split_path(item.at))).rstrip("/") + "/"
        query = f"?token={token}" if item.token == token else ""
        found += [f"{_named(url, host).rstrip('/')}{path}{query}" for url in urls[:1]]
    return found


def _named(url: str, host: Host) -> str:
    """The URL of a server with the name of a host in it."""
    if not host.names:
        return url
    scheme, _, rest = url.partition("://")
    port = rest.rstrip("/").rpartition(":")[2]
    name = host.names[0].replace("*.", "any.", 1)
    return f"{scheme}://{name}:{port}/" if port.isdigit() and ":" not in name else f"{scheme}://{name}/"
