"""
What is in force and why: the configuration with its sources, and what one request would pass.
"""

from __future__ import annotations

from typing import Any

from mixweb.assemble import Layer, layers
from mixweb.config import Loaded
from mixweb.dump import changed, masked, to_toml, toml_value
from mixweb.engine.authority import parse_authority
from mixweb.feature import SERVER_STAGES, Mount, MountSettings, Settings, Stage
from mixweb.paths import PathMatcher, PathTable, RawPrefixes, canonical, split_path
from mixweb.plan import Host, Server
from mixweb.registry import registry
from mixweb.vhost import VirtualHosts


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
        names = [layer.feature.name for layer in _layers(loaded, host)]
        mounts = [
            f"{registry().of(item).name} at {item.at}" for item in host.settings if isinstance(item, MountSettings)
        ]
        lines.append(
            f"#   {', '.join(host.names) or 'default'}: {' > '.join(names)} > {', '.join(mounts) or 'nothing'}"
        )
    return "\n".join(lines) + "\n"


def _layers(loaded: Loaded, host: Host) -> list[Layer]:
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
    return server + own


def explain_request(loaded: Loaded, name: str, target: str) -> str:
    """
    What a request would pass, in order.

    :param name: the value of Host.
    :param target: path and query, percent-encoded.
    :raises ValueError: when the host is malformed.
    """
    plan = loaded.plan
    hosts: Any = VirtualHosts()
    hosts.default = plan.default
    for host in plan.hosts:
        for alias in host.names:
            hosts.addHost(alias, host)
    authority = parse_authority(name.encode())
    chosen = hosts.choose(authority.host, authority.port)
    assert isinstance(chosen, Host)
    raw = [
        split_path(item.at)
        for item in chosen.settings
        if isinstance(item, MountSettings)
        and isinstance(feature := registry().of(item), Mount)
        and getattr(item, "raw", feature.raw)
    ]
    path = canonical(target.encode(), RawPrefixes(raw))
    lines = [f"host     {', '.join(chosen.names) or 'default'}", f"path     {path.text.decode(errors='replace')}"]
    for layer in _layers(loaded, chosen):
        settings = layer.settings
        applies = PathMatcher(settings.paths, settings.except_paths).match(path)
        stage = Stage(layer.feature.stage).name.lower()
        lines.append(f"{'passes  ' if applies else 'skips   '} {layer.feature.name} ({stage}){_said(loaded, settings)}")
    mounts = PathTable((item.at, item) for item in chosen.settings if isinstance(item, MountSettings))
    for index, (_, item) in enumerate(mounts.find(path.segments)):
        word = "asks    " if index == 0 else "then    "
        lines.append(f"{word} {registry().of(item).name} at {item.at}{_said(loaded, item)}")
    return "\n".join(lines) + "\n"


def _said(loaded: Loaded, settings: Settings) -> str:
    values = masked(settings, changed(settings))
    shown = ", ".join(f"{name} = {toml_value(value)}" for name, value in values.items())
    origin = loaded.origin(settings)
    return (f"  {shown}" if shown else "") + (f"  [{origin}]" if origin else "  [by default]")
