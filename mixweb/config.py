"""
Tables become a plan: merged and checked, every problem reported at once with where it stands.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mixweb.draft import ConfigError, Draft, Given, HostTables, Origin, Table, convert_given
from mixweb.feature import SERVER_STAGES, Feature, Mount, MountSettings, Settings, Wrap
from mixweb.plan import Host, Plan, Server
from mixweb.reading import Reader, read_environment, read_vhosts
from mixweb.registry import Registry, registry
from mixweb.vhost import host_key


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


class Checker:
    """Makes a plan of a draft."""

    def __init__(self, draft: Draft, found: Registry) -> None:
        self.draft = draft
        self.registry = found
        self.origins: dict[int, Table] = {}

    def plan(self) -> Plan:
        """
        The plan.

        :raises ConfigError: with everything that is wrong.
        """
        draft = self.draft
        server = self.settings(Server, draft.server, Origin("server"), "")
        default = self.host(draft.default, ())
        self.only_wrappers(draft.defaults)
        shared = self.host(draft.defaults, ())
        hosts = [self.host(host, (host.name,)) for host in draft.hosts.values()]
        self.check_names()
        if draft.problems:
            raise ConfigError(draft.problems)
        assert isinstance(server, Server)
        default = Host(*default.settings, without=default.without | shared.without)
        return Plan(
            server,
            default,
            shared.settings,
            [Host(*host.names, *host.settings, without=host.without | self.of_hosts(shared.without)) for host in hosts],
        )

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
            self.check_stage(host, table, feature)
            if table.off:
                without.add(table.feature)
                continue
            made = self.settings(feature.settings, table.values, table.origin, f"{table.feature}")
            if made is not None:
                self.origins[id(made)] = table
                settings.append(made)
        self.check_mounts(host)
        aliases = [name for given in host.aliases for name in self.aliases(given)]
        without -= {self.registry.of(item).name for item in settings}
        return Host(*names, *aliases, *settings, without=without)

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
        try:
            result = kind(**made)
        except (ValueError, TypeError, OSError) as reason:
            word = str(reason).split(" ", 1)[0]
            where = values[word].origin if word in values else origin
            if not (wrong and word not in made):
                self.draft.problem(where, f"{name}: {reason}".removeprefix(": "))
            return None
        return None if wrong else result

    def only_wrappers(self, defaults: HostTables) -> None:
        """What holds for every host stands in front of resources."""
        for table in defaults.tables:
            if isinstance(self.registry.features[table.feature], Mount):
                self.draft.problem(table.origin, f"{table.feature}: [defaults] holds wrappers; mount it in each host")

    def check_stage(self, host: HostTables, table: Table, feature: Feature) -> None:
        """What belongs to the server may not stand in a host."""
        named = host is not self.draft.default and host is not self.draft.defaults
        if named and isinstance(feature, Wrap) and feature.stage in SERVER_STAGES:
            self.draft.problem(
                table.origin, f"{table.feature}: belongs to the server, not to a host; move it to the top level"
            )

    def check_mounts(self, host: HostTables) -> None:
        """Two mounts may stand at one path only if the first one declines what it has not."""
        seen: dict[object, Table] = {}
        for table in host.tables:
            feature = self.registry.features[table.feature]
            if table.off or not isinstance(feature, Mount):
                continue
            at = table.at(feature)
            before = seen.get(at)
            if before is not None:
                self.draft.problem(
                    table.origin,
                    f"{table.feature} and {before.feature} ({before.origin}) both claim /{at} on host {host.name};"
                    f' mount one of them elsewhere (at = "/PATH")',
                )
            elif not feature.declines:
                seen[at] = table

    def check_names(self) -> None:
        """No name may be claimed twice."""
        claimed: dict[Any, Origin] = {}
        for host in self.draft.hosts.values():
            names = [(host.name, host.origin)]
            names += [(name, given.origin) for given in host.aliases for name in self.aliases(given)]
            for name, origin in names:
                try:
                    key = host_key(name)
                except ValueError as reason:
                    self.draft.problem(origin, str(reason))
                    continue
                if key in claimed:
                    self.draft.problem(origin, f"host {name!r} is claimed at {claimed[key]} already")
                claimed.setdefault(key, origin)


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


def serving_here(loaded: Loaded) -> Loaded:
    """
    What a command line comes to that asks for nothing: the current directory. Where a file or a folder of hosts says what
    is served, or anything was taken away, it stays as it is.
    """
    plan = loaded.plan
    asked = any(isinstance(item, MountSettings) for host in (plan.default, *plan.hosts) for item in host.settings)
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
