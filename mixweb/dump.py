"""
Plans written out again: as TOML, as a .tac, as what a person reads.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_type_hints

from mixweb.feature import FilePath, Settings, default_of, principal_field, settings_fields
from mixweb.plan import Host, Plan
from mixweb.registry import Registry, registry

_BARE = re.compile(r"[A-Za-z0-9_-]+\Z")
_MASK = "(hidden)"


def changed(settings: Any) -> dict[str, Any]:
    """The fields that differ from their defaults, paths relative to the current directory where they are below it."""
    hints = get_type_hints(type(settings))
    found = {}
    for item in settings_fields(settings):
        value = getattr(settings, item.name)
        if value != default_of(item) and not (value == () == tuple(default_of(item) or ())):
            found[item.name] = _relative(value, hints[item.name])
    return found


def masked(settings: Any, values: dict[str, Any]) -> dict[str, Any]:
    """The same without what is secret."""
    secrets = {item.name for item in settings_fields(settings) if item.metadata["secret"]}
    return {name: _MASK if name in secrets else value for name, value in values.items()}


def _relative(value: Any, annotation: Any) -> Any:
    if annotation == FilePath and value and Path(value).is_relative_to(Path.cwd()):
        return os.path.relpath(value)
    return list(value) if isinstance(value, tuple) else value


def toml_value(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{toml_key(key)} = {toml_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    if isinstance(value, (int, float)):
        return repr(value)
    return json.dumps(os.fspath(value).replace("$", "$$"), ensure_ascii=False).replace("\x7f", "\\u007f")


def toml_key(key: str) -> str:
    """A key as TOML writes it."""
    return key if _BARE.match(key) else json.dumps(key, ensure_ascii=False)


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
