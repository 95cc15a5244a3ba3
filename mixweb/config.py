"""
Tables become a plan: merged and checked, every problem reported at once with where it stands.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mixweb._plan_checks import PlanCheck
from mixweb.draft import ConfigError, Draft, Given, HostTables, Origin, Table, convert_given
from mixweb.feature import SERVER_STAGES, Mount, Settings, Wrap
from mixweb.plan import Host, Plan, Server
from mixweb.reading import Reader, read_environment, read_vhosts
from mixweb.registry import Registry, registry


def merge(file: Draft, line: Draft, found: Registry) -> Draft:
    """
    Lay the command line over a file: an instance of the same feature at the same place takes the fields that are given,
    any other is added.
    """
    merged = Draft(
        {**file.server, **line.server}, file.default, file.defaults, dict(file.hosts), [*file.problems, *line.problems]
    )
    pairs = [(merged.default, line.default), (merged.defaults, line.defaults)]
    for name, host in line.hosts.items():
        if name in merged.hosts:
            pairs.append((merged.hosts[name], host))
        else:
            merged.hosts[name] = host
    for under, over in pairs:
        left = list(under.tables)
        for table in over.tables:
            feature = found.features[table.feature]
            same = [
                below for below in left if below.feature == table.feature and below.at(feature) == table.at(feature)
            ]
            if same:
                same[0].values |= table.values
                same[0].off = table.off
                left.remove(same[0])
            else:
                under.tables.append(table)
        under.aliases += over.aliases
    return merged


def construct(kind: type, values: Mapping[str, Any]) -> tuple[Any, list[tuple[str, str]]]:
    """
    An instance of a settings class; ``None`` with the reasons why there is none, each with the field that it begins with.

    A refused field is left out and the rest tried again, so that each is told of. What is then missed is no reason.
    """
    left = dict(values)
    refusals: list[tuple[str, str]] = []
    while True:
        try:
            made = kind(**left)
        except (ValueError, TypeError, OSError) as refusal:
            reason = str(refusal)
        else:
            return (None if refusals else made), refusals
        words = re.findall(r"\w+", reason)
        if not {key for key, _ in refusals}.isdisjoint(words):
            return None, refusals
        key = words[0] if words else ""
        refusals.append((key, reason))
        if key not in left:
            return None, refusals
        del left[key]


class Checker:
    """Makes a plan of a draft."""

    def __init__(self, draft: Draft, found: Registry) -> None:
        self.draft = draft
        self.registry = found
        self.origins: dict[int, Table] = {}
        self.names: dict[tuple[int, str], Origin] = {}

    def plan(self) -> Plan:
        """
        The plan.

        :raises ConfigError: with everything that is wrong.
        """
        draft = self.draft
        server = self.settings(Server, draft.server, Origin("server"), "")
        default = self.host(draft.default, ())
        shared = self.host(draft.defaults, ())
        hosts = [self.host(host, (host.name,)) for host in draft.hosts.values()]
        plan = Plan(server or Server(), default, shared.settings, hosts)
        draft.problems += PlanCheck(self.registry, self.origin, self.name_origin).problems(plan)
        if draft.problems:
            raise ConfigError(draft.problems)
        default = Host(*default.settings, without=default.without | shared.without)
        gone = self.of_hosts(shared.without)
        hosts = [Host(*host.names, *host.settings, without=host.without | gone) for host in hosts]
        return replace(plan, default=default, hosts=hosts)

    def origin(self, settings: Settings) -> Origin:
        """Where the table of settings stands."""
        return self.origins[id(settings)].origin

    def name_origin(self, host: Host, name: str) -> Origin:
        """Where a host's name stands."""
        return self.names[id(host), name]

    def of_hosts(self, names: Iterable[str]) -> set[str]:
        """Those features that stand in a host, not before it is chosen."""
        found = {name: self.registry.features[name] for name in names}
        return {
            name
            for name, feature in found.items()
            if not (isinstance(feature, Wrap) and feature.stage in SERVER_STAGES)
        }

    def host(self, host: HostTables, names: tuple[str, ...]) -> Host:
        """The settings of one host."""
        settings: list[Settings] = []
        without: set[str] = set()
        for table in host.tables:
            feature = self.registry.features[table.feature]
            if table.off:
                without.add(table.feature)
                continue
            item = self.settings(feature.settings, table.values, table.origin, f"{table.feature}")
            if item is not None:
                self.origins[id(item)] = table
                settings.append(item)
        without -= {self.registry.of(item).name for item in settings}
        aliases = {name: given.origin for given in host.aliases for name in self.aliases(given)}
        made = Host(*names, *aliases, *settings, without=without)
        origins = aliases | dict.fromkeys(names, host.origin)
        self.names |= {(id(made), name): origin for name, origin in origins.items()}
        return made

    def aliases(self, given: Given) -> list[str]:
        """Names of a host."""
        if isinstance(given.data, list) and all(isinstance(name, str) for name in given.data):
            return given.data
        self.draft.problem(given.origin, "aliases: expected a list of text")
        return []

    def settings(self, kind: type, values: dict[str, Given], origin: Origin, name: str) -> Any:
        """An instance of a settings class; ``None``, with problems noted, when something is wrong."""
        made: dict[str, Any] = {}
        wrong = False
        for key, given in values.items():
            try:
                made[key] = convert_given(given, kind, key)
            except ValueError as reason:
                wrong = True
                self.draft.problem(given.origin, f"{name}.{key}: {reason}".lstrip("."))
        result, refusals = construct(kind, made)
        for key, refusal in refusals:
            if not (wrong and key not in made):
                where = values[key].origin if key in values else origin
                self.draft.problem(where, f"{name}: {refusal}".removeprefix(": "))
        return None if wrong else result


@dataclass
class Loaded:
    """
    A configuration that was read and checked.

    :ivar origin: tells where settings came from.
    """

    plan: Plan
    draft: Draft
    tables: dict[int, Table]

    def origin(self, settings: Settings) -> Origin | None:
        """Where the table of these settings stands."""
        table = self.tables.get(id(settings))
        return None if table is None else table.origin


def given(plan: Plan) -> Loaded:
    """
    A plan that was made in Python.

    :raises ConfigError: with everything that is wrong.
    """
    found = registry()
    check = PlanCheck(found, lambda item: Origin(found.of(item).name), lambda host, name: Origin(name))
    problems = list(check.problems(plan))
    if problems:
        raise ConfigError(problems)
    return Loaded(plan, Draft(), {})


def _serves(item: Settings) -> bool:
    """Whether settings are those of a mount that is there for its own sake, not to show what the others do."""
    feature = registry().of(item)
    return isinstance(feature, Mount) and not feature.watches


def serving_here(loaded: Loaded) -> Loaded:
    """
    What a command line comes to that asks for nothing: the current directory. Where a file or a folder of hosts says what
    is served, or anything was taken away, it stays as it is.
    """
    plan = loaded.plan
    asked = any(_serves(item) for host in (plan.default, *plan.hosts) for item in host.settings)
    if (
        asked
        or plan.hosts
        or "vhosts" in loaded.draft.server
        or any(table.off for table in loaded.draft.default.tables)
    ):
        return loaded
    files = registry().features["files"].settings()
    default = Host(*plan.default.settings, files, without=plan.default.without)
    return replace(loaded, plan=replace(plan, default=default))


def load(
    file: Path | None = None,
    line: Draft | None = None,
    environment: Mapping[str, str] | None = None,
    found: Registry | None = None,
) -> Loaded:
    """
    Read and check everything: field default < environment < file < command line.

    :raises ConfigError: with everything that is wrong.
    """
    found = found or registry()
    draft = Draft()
    read_environment(draft, os.environ if environment is None else environment)
    if file is not None:
        Reader(draft, file, found).read_server()
    line = line or Draft()
    folder = line.server.get("vhosts") or draft.server.get("vhosts")
    if folder is not None:
        read_vhosts(draft, folder, found)
    draft = merge(draft, line, found)
    checker = Checker(draft, found)
    return Loaded(checker.plan(), draft, checker.origins)
