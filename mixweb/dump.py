"""
Plans written out again: as TOML, as a .tac, as what a person reads.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from mixweb.feature import Settings, principal_field
from mixweb.kit.shown import changed, masked, toml_value
from mixweb.plan import Host, Plan
from mixweb.registry import Registry, registry

Note = Callable[[Settings, str], str]


def to_toml(
    plan: Plan, note: Note = lambda settings, name: "", hide: bool = False, found: Registry | None = None
) -> str:
    """
    The plan as a TOML file.

    :param note: what is written behind a field, or behind the table itself for an empty name.
    :param hide: whether secrets are masked.
    """
    writer = _TomlWriter(note, hide, found or registry())
    writer.fields(plan.server)
    writer.host(plan.default, "")
    writer.tables(plan.defaults, "defaults.")
    for host in plan.hosts:
        writer.named_host(host)
    return "\n".join(writer.lines).strip("\n") + "\n"


class _TomlWriter:
    def __init__(self, note: Note, hide: bool, found: Registry) -> None:
        self.lines: list[str] = []
        self.note = note
        self.hide = hide
        self.registry = found

    def fields(self, settings: Any) -> None:
        values = changed(settings)
        for name, value in (masked(settings, values) if self.hide else values).items():
            self.lines.append(f"{name} = {toml_value(value)}" + self.note(settings, name))

    def tables(self, settings: Sequence[Settings], prefix: str) -> None:
        names = [self.registry.of(item).name for item in settings]
        for name, item in zip(names, settings, strict=True):
            header = f"[[{prefix}{name}]]" if names.count(name) > 1 else f"[{prefix}{name}]"
            self.lines += ["", header + self.note(item, "")]
            self.fields(item)

    def host(self, host: Host, prefix: str) -> None:
        self.tables(host.settings, prefix)
        for name in sorted(host.without):
            self.lines += ["", f"[{prefix}{name}]", "off = true"]

    def named_host(self, host: Host) -> None:
        prefix = f"host.{json.dumps(host.names[0], ensure_ascii=False)}"
        if host.names[1:] or not (host.settings or host.without):
            self.lines += ["", f"[{prefix}]"]
        if host.names[1:]:
            self.lines.append(f"aliases = {toml_value(host.names[1:])}")
        self.host(host, prefix + ".")


def to_tac(plan: Plan) -> str:
    """The plan as a .tac file."""
    every = [*plan.default.settings, *plan.defaults, *(item for host in plan.hosts for item in host.settings)]
    names = sorted({"Host", *(type(item).__name__ for item in every)})
    arguments = [f"{name}={value!r}" for name, value in changed(plan.server).items()]
    arguments.append(f"default={_host(plan.default, ())}")
    if plan.defaults:
        arguments.append(f"defaults=[{', '.join(map(_call, plan.defaults))}]")
    if plan.hosts:
        arguments.append(
            "hosts=[\n" + "".join(f"        {_host(host, host.names)},\n" for host in plan.hosts) + "    ]"
        )
    body = "".join(f"    {argument},\n" for argument in arguments)
    return f"from mixweb import {', '.join(names)}\nfrom mixweb import application as make\n\napplication = make(\n{body})\n"


def _host(host: Host, names: Sequence[str]) -> str:
    parts = [*map(repr, names), *map(_call, host.settings)]
    if host.without:
        parts.append(f"without={sorted(host.without)!r}")
    return f"Host({', '.join(parts)})"


def _call(settings: Settings) -> str:
    values = changed(settings)
    principal = principal_field(type(settings))
    first = [repr(values.pop(principal))] if principal in values else []
    return f"{type(settings).__name__}({', '.join([*first, *(f'{name}={value!r}' for name, value in values.items())])})"
