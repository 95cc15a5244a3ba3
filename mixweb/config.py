"""
Tables become settings: read, merged and checked, every problem reported at once with where it stands.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_type_hints

from mixweb._toml_lines import Key, key_lines
from mixweb.convert import convert, convert_text, is_list, is_table, secret
from mixweb.feature import SERVER_STAGES, Feature, Mount, Settings, Wrap, settings_fields
from mixweb.plan import Host, Plan, Server
from mixweb.registry import Registry, registry
from mixweb.vhost import host_key


@dataclass(frozen=True)
class Origin:
    """
    Where something was said.

    :ivar place: a file's name, an option or a variable.
    :ivar line: in the file, from 1.
    """

    place: str
    line: int | None = None

    def __str__(self) -> str:
        return self.place if self.line is None else f"{self.place}:{self.line}"


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, and where."""

    origin: Origin
    message: str

    def __str__(self) -> str:
        return f"{self.origin}: {self.message}"


class ConfigError(ValueError):
    """
    Everything that is wrong with a configuration, a line each.

    :ivar problems: in the order of files and lines.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = sorted(
            dict.fromkeys(problems), key=lambda problem: (problem.origin.place, problem.origin.line or 0)
        )
        super().__init__("\n".join(str(problem) for problem in self.problems))


@dataclass(frozen=True)
class Given:
    """
    A value as it was given.

    :ivar data: of a TOML document, or the texts of the command line or environment.
    :ivar base: what a relative path counts from.
    """

    data: Any
    origin: Origin
    base: Path
    textual: bool = False


@dataclass
class Table:
    """What was given for one instance of a feature."""

    feature: str
    origin: Origin
    values: dict[str, Given] = field(default_factory=dict)
    off: bool = False

    def at(self, found: Feature) -> object:
        """What tells it from another instance of the same feature in the same host."""
        if isinstance(found, Wrap):
            return None
        given = self.values.get("at")
        text = found.settings.at if given is None else given.data
        return str(text[-1] if isinstance(text, list) and text else text).strip("/")


@dataclass
class HostTables:
    """What was given for one host."""

    name: str
    origin: Origin
    tables: list[Table] = field(default_factory=list)
    aliases: list[Given] = field(default_factory=list)


@dataclass
class Draft:
    """All that was given, before it is checked."""

    server: dict[str, Given] = field(default_factory=dict)
    default: HostTables = field(default_factory=lambda: HostTables("default", Origin("")))
    defaults: HostTables = field(default_factory=lambda: HostTables("*", Origin("")))
    hosts: dict[str, HostTables] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def copy(self) -> Draft:
        """A draft that may be changed without changing this one."""
        return deepcopy(self)

    def problem(self, origin: Origin, message: str) -> None:
        """Note something that is wrong."""
        self.problems.append(Problem(origin, message))


def suggest(name: str, known: Iterable[str]) -> str:
    """ "; did you mean ...?" when a known name is near."""
    near = get_close_matches(name, list(known), 1, 0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


class Reader:
    """Reads one TOML document into a draft."""

    def __init__(self, draft: Draft, path: Path, found: Registry, shown: str | None = None) -> None:
        self.draft = draft
        self.path = path
        self.base = path.absolute().parent
        self.registry = found
        self.shown = shown or str(path)
        self.lines: dict[Key, int] = {}

    def document(self) -> dict[str, Any]:
        """
        The document; an empty one, with a problem noted, when it cannot be read.
        """
        try:
            text = self.path.read_text(encoding="utf-8")
            document = tomllib.loads(text)
        except tomllib.TOMLDecodeError as reason:
            self.draft.problems.append(syntax_problem(self.shown, text, str(reason)))
            return {}
        except (OSError, UnicodeDecodeError) as reason:
            self.draft.problem(Origin(self.shown), getattr(reason, "strerror", None) or "is not UTF-8")
            return {}
        self.lines = key_lines(text)
        return document

    def origin(self, *key: str | int) -> Origin:
        """Where a key stands, or the nearest table around it."""
        while key and key not in self.lines:
            key = key[:-1]
        return Origin(self.shown, self.lines.get(key, 1))

    def given(self, data: Any, *key: str | int) -> Given:
        """A value with where it stands."""
        return Given(data, self.origin(*key), self.base)

    def read_server(self) -> None:
        """Read a whole configuration."""
        known = {item.name for item in settings_fields(Server)}
        for key, value in self.document().items():
            if key in known:
                self.draft.server[key] = self.given(value, key)
            elif key == "defaults":
                self.tables(self.draft.defaults, value, (key,), ())
            elif key == "host":
                self.hosts(value)
            else:
                self.feature(self.draft.default, key, value, (key,), known | {"defaults", "host"})

    def hosts(self, value: Any) -> None:
        """Read ``[host."NAME"]`` tables."""
        if not isinstance(value, dict):
            self.draft.problem(self.origin("host"), 'expected [host."NAME"] tables')
            return
        for name, tables in value.items():
            host = self.draft.hosts.setdefault(name, HostTables(name, self.origin("host", name)))
            self.host(host, tables, ("host", name))

    def read_host(self, host: HostTables) -> None:
        """Read a file that holds one host."""
        self.host(host, self.document(), ())

    def host(self, host: HostTables, value: Any, key: Key) -> None:
        """Read the tables of one host and its aliases."""
        if isinstance(value, dict) and "aliases" in value:
            host.aliases.append(self.given(value["aliases"], *key, "aliases"))
            value = {name: table for name, table in value.items() if name != "aliases"}
        self.tables(host, value, key, ("aliases",))

    def tables(self, host: HostTables, value: Any, key: Key, others: Iterable[str]) -> None:
        """Read the tables of features."""
        if not isinstance(value, dict):
            self.draft.problem(self.origin(*key), f"expected a table [{'.'.join(map(str, key))}]")
            return
        for name, table in value.items():
            self.feature(host, name, table, (*key, name), others)

    def feature(self, host: HostTables, name: str, value: Any, key: Key, others: Iterable[str]) -> None:
        """Read one table of a feature, or several."""
        if name not in self.registry.features:
            known = {*self.registry.features, *others}
            self.draft.problem(self.origin(*key), f"unknown key {name!r}{suggest(name, known)}")
        elif isinstance(value, list) and all(isinstance(item, dict) for item in value):
            for index, item in enumerate(value):
                self.instance(host, name, item, (*key, index))
        elif isinstance(value, dict):
            self.instance(host, name, value, key)
        else:
            self.draft.problem(self.origin(*key), f"{name}: expected a table [{name}], got {value!r}")

    def instance(self, host: HostTables, name: str, value: dict[str, Any], key: Key) -> None:
        """Read one instance."""
        table = Table(name, self.origin(*key))
        known = [item.name for item in settings_fields(self.registry.features[name].settings)]
        for option_name, data in value.items():
            if option_name == "off" and isinstance(data, bool):
                table.off = data
            elif option_name in known:
                table.values[option_name] = self.given(data, *key, option_name)
            else:
                where = self.origin(*key, option_name)
                self.draft.problem(
                    where, f"unknown key {option_name!r} in {name}{suggest(option_name, [*known, 'off'])}"
                )
        host.tables.append(table)


def syntax_problem(shown: str, text: str, message: str) -> Problem:
    """A problem of TOML's syntax, with the source line and a caret."""
    found = re.search(r" \(at line (\d+), column (\d+)\)", message)
    if found is None:
        return Problem(Origin(shown, text.count("\n") + 1), message.removesuffix(" (at end of document)").lower())
    line, column = int(found[1]), int(found[2])
    source = text.split("\n")[line - 1].rstrip("\r")
    said = message[: found.start()]
    return Problem(Origin(shown, line), f"{column}: {said[:1].lower()}{said[1:]}\n  {source}\n  {' ' * (column - 1)}^")


def read_vhosts(draft: Draft, folder: Given, found: Registry) -> None:
    """
    Read a folder of virtual hosts: ``NAME/`` is served as host NAME, ``NAME.toml`` governs where it is present, the name
    ``default`` answers to every other name.
    """
    try:
        directory = Path(convert_given(folder, Server, "vhosts"))
        entries = sorted(directory.iterdir())
    except (OSError, ValueError) as reason:
        draft.problem(
            folder.origin, f"vhosts: cannot read '{folder.data}': {getattr(reason, 'strerror', None) or reason}"
        )
        return
    names = {entry.stem if entry.suffix == ".toml" else entry.name for entry in entries if is_host_entry(entry)}
    for name in sorted(names):
        file = directory / f"{name}.toml"
        origin = Origin(str(file if file.exists() else directory / name))
        host = draft.default if name == "default" else draft.hosts.setdefault(name, HostTables(name, origin))
        if file.exists():
            Reader(draft, file, found).read_host(host)
        else:
            host.tables.append(Table("files", origin, {"path": Given(str(directory / name), origin, directory)}))


def is_host_entry(entry: Path) -> bool:
    """Whether an entry of a folder of virtual hosts is one."""
    return not entry.name.startswith((".", "_")) and (entry.is_dir() or entry.suffix == ".toml")


def read_environment(draft: Draft, environment: Mapping[str, str]) -> None:
    """Take server settings from ``MIXWEB_*`` variables; a list is separated by spaces."""
    hints = get_type_hints(Server)
    known = {f"MIXWEB_{item.name.upper()}": item.name for item in settings_fields(Server)}
    for variable, text in environment.items():
        if not variable.startswith("MIXWEB_") or variable in ("MIXWEB_REQUIRE_ALL", "MIXWEB_CONFIG"):
            continue
        if variable not in known:
            draft.problem(Origin(variable), f"unknown variable{suggest(variable, known)}")
        elif text:
            name = known[variable]
            texts = text.split() if is_list(hints[name]) else [text]
            draft.server[name] = Given(texts, Origin(variable), Path.cwd(), textual=True)


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


def convert_given(given: Given, settings: type, name: str) -> Any:
    """
    The value of one field.

    :raises ValueError: without the field's name.
    """
    annotation = get_type_hints(settings)[name]
    if not given.textual:
        is_secret = next(item.metadata["secret"] for item in settings_fields(settings) if item.name == name)
        return convert(secret(given.data, given.base) if is_secret else given.data, annotation, given.base)
    values = [convert_text(text, annotation, given.base) for text in given.data]
    if is_list(annotation):
        return tuple(item for value in values for item in value)
    if is_table(annotation):
        return {key: item for value in values for key, item in value.items()}
    return values[-1]


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
            [Host(*host.names, *host.settings, without=host.without | shared.without) for host in hosts],
        )

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
        except (ValueError, TypeError) as reason:
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
