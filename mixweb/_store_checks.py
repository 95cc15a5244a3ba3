"""
Which stores a plan needs, and whether they will do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from mixweb.assemble import layers
from mixweb.feature import MountSettings, Settings
from mixweb.plan import Plan
from mixweb.registry import registry
from mixweb.stores import check_url, hidden, open_store

NOT_SHARED = "memory: is not shared by workers; give the server a store that is: sqlite:PATH, redis://HOST or unix:PATH"


def stateful(plan: Plan) -> Iterator[tuple[Settings, str]]:
    """The settings of the features that keep state, each with the URL of its store."""
    seen: set[int] = set()
    for host in (plan.default, *plan.hosts):
        mounts = [item for item in host.settings if isinstance(item, MountSettings)]
        wrappers = [layer.settings for layer in layers(host.settings, plan.defaults, host.without, registry())]
        for item in (*mounts, *wrappers):
            if hasattr(item, "store") and id(item) not in seen:
                seen.add(id(item))
                yield item, item.store or plan.server.store


def unshared(plan: Plan) -> Iterator[tuple[Settings, str]]:
    """The settings of features whose state workers would not share, each with what is wrong."""
    for settings, url in stateful(plan):
        if check_url(url).scheme == "memory":
            yield settings, f"{registry().of(settings).name}: {NOT_SHARED}"


async def ask_servers(plan: Plan, reactor: Any) -> tuple[Sequence[tuple[Settings, str]], Sequence[str]]:
    """
    Ask the servers that stores are in whether they will do.

    :returns: the settings whose store never will, with what is wrong, and warnings about those that do not just now.
    """
    problems: list[tuple[Settings, str]] = []
    warnings: dict[str, str] = {}
    for settings, url in stateful(plan):
        if check_url(url).scheme in ("memory", "sqlite"):
            continue
        store = open_store(url, reactor)
        store.open()
        status = await store.status()
        await store.close()
        if status.state == "refused":
            feature = registry().of(settings).name
            problems.append((settings, f"{feature}: {hidden(url)} cannot be used: {status.detail}"))
        elif status.state == "down":
            warnings[url] = f"{hidden(url)} cannot be used just now: {status.detail}"
    return problems, list(warnings.values())
