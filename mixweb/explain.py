"""
What is in force and why: the configuration with its sources, and what one request would pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from mixweb.assemble import Layer, layers
from mixweb.config import Loaded
from mixweb.dump import to_toml
from mixweb.engine.authority import Authority, parse_authority
from mixweb.feature import SERVER_STAGES, Asked, Mount, MountSettings, Settings
from mixweb.paths import NO_RAW, PathTable, RawPrefixes, canonical, split_path
from mixweb.plan import Host, Plan, Server
from mixweb.registry import registry
from mixweb.route import HostStation, MountStation, Row, TableStation, WrapperStation
from mixweb.vhost import VirtualHosts

_WRAPPER_WORDS = ("passes", "skips", "rewrites", "answers")


def explain(loaded: Loaded) -> str:
    """The configuration in force, each value with where it was said; secrets are masked."""
    text = to_toml(loaded.plan, lambda settings, name: _note(loaded, settings, name), hide=True)
    return f"{text}\n{stacks(loaded)}"


def _note(loaded: Loaded, settings: Settings, name: str) -> str:
    if isinstance(settings, Server):
        given = loaded.draft.server.get(name)
        return f"  # {given.origin}" if given else ""
    table = loaded.tables.get(id(settings))
    if table is None:
        return ""
    if not name:
        return f"  # {table.origin}"
    given = table.values.get(name)
    return f"  # {given.origin}" if given else ""


def stacks(loaded: Loaded) -> str:
    """What stands in front of each host's mounts, outermost first, as comments."""
    plan = loaded.plan
    lines = ["# Each request passes, outermost first:"]
    for host in (plan.default, *plan.hosts):
        names = [layer.feature.name for stack in _layers(loaded, host) for layer in stack]
        mounts = [
            f"{registry().of(item).name} at {item.at}" for item in host.settings if isinstance(item, MountSettings)
        ]
        lines.append(
            f"#   {', '.join(host.names) or 'default'}: {' > '.join(names)} > {', '.join(mounts) or 'nothing'}"
        )
    return "\n".join(lines) + "\n"


def _layers(loaded: Loaded, host: Host) -> tuple[list[Layer], list[Layer]]:
    """The wrappers before the hosts, and those of one host."""
    plan = loaded.plan
    server = [
        layer
        for layer in layers(plan.default.settings, plan.defaults, plan.default.without, registry())
        if layer.feature.stage in SERVER_STAGES
    ]
    own = [
        layer
        for layer in layers(host.settings, plan.defaults, host.without, registry())
        if layer.feature.stage not in SERVER_STAGES
    ]
    return server, own


def explain_request(loaded: Loaded, name: str, target: str, method: str = "GET") -> str:
    """
    What a request would meet, in order, and what decides it.

    :param name: the value of Host.
    :param target: path and query, percent-encoded.
    :raises ValueError: when the host is malformed.
    """
    plan = loaded.plan
    authority = parse_authority(name.encode())
    host = _host(plan, authority)
    asked = Asked(method.encode(), target.encode(), canonical(target.encode(), _raw(host)), authority)
    server, own = _layers(loaded, host)
    lines = _passes(loaded, server, asked)[0]
    lines.append(_line(HostStation(host.names).row(asked)))
    passed, left = _passes(loaded, own, asked, _raw(host))
    lines += passed
    if left is not None:
        lines += _mounts(loaded, host, left)
    return "\n".join(lines) + "\n"


def _host(plan: Plan, authority: Authority) -> Host:
    hosts: Any = VirtualHosts()
    hosts.default = plan.default
    for host in plan.hosts:
        for alias in host.names:
            hosts.addHost(alias, host)
    chosen = hosts.choose(authority.host, authority.port or 80)
    assert isinstance(chosen, Host)
    return chosen


def _raw(host: Host) -> RawPrefixes:
    """Where the targets of a host stay undecoded, as far as its settings tell."""
    return RawPrefixes(
        split_path(item.at)
        for item in host.settings
        if isinstance(item, MountSettings)
        and isinstance(feature := registry().of(item), Mount)
        and getattr(item, "raw", feature.raw)
    )


def _passes(
    loaded: Loaded, stack: Sequence[Layer], asked: Asked, raw: RawPrefixes = NO_RAW
) -> tuple[list[str], Asked | None]:
    """The lines of some wrappers, and the request as it leaves them; ``None`` when one of them answers."""
    lines = []
    for layer in stack:
        row = WrapperStation(layer.feature, layer.settings, _origin(loaded, layer.settings)).row(asked)
        lines.append(_line(row))
        if row.verdict == "answers":
            return lines, None
        if row.target is not None:
            asked = replace(asked, target=row.target, path=canonical(row.target, raw))
    return lines, asked


def _mounts(loaded: Loaded, host: Host, asked: Asked) -> list[str]:
    """The lines of the mounts that are asked, until one of them declines nothing."""
    table = PathTable((item.at, item) for item in host.settings if isinstance(item, MountSettings))
    raw = "" if asked.path.raw is None else f", and raw behind it {asked.path.raw.decode(errors='replace')}"
    lines = [f"path     {asked.path.text.decode(errors='replace')}{raw}"]
    for _, item in table.find(asked.path.segments):
        feature = registry().of(item)
        assert isinstance(feature, Mount)
        row = MountStation(feature, item, _origin(loaded, item)).row(asked)
        lines.append(_line(row if len(lines) == 1 else replace(row, verdict="then", why=f"if it declines: {row.why}")))
        if not feature.declines:
            return lines
    return [*lines, _line(TableStation().row(asked))]


def _line(row: Row) -> str:
    """One line: what is done, by whom, why, with which settings, and where those were said."""
    place = f" ({row.place})" if row.verdict in _WRAPPER_WORDS else f" {row.place}" if row.place else ""
    target = f" to {row.target.decode(errors='replace')}" if row.target is not None else ""
    parts = [f"{row.verdict:<8} {row.name}{place}{target}", f": {row.why}" if row.why else ""]
    parts += [f"  {row.settings}" if row.settings else "", f"  [{row.origin}]" if row.origin else ""]
    return "".join(parts)


def _origin(loaded: Loaded, settings: Settings) -> str:
    return str(loaded.origin(settings) or "by default")
