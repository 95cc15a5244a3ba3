"""
Files, folders and variables read into a draft.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_type_hints

from mixweb._toml_lines import Key, key_lines
from mixweb.convert import is_list
from mixweb.draft import Draft, Given, HostTables, Origin, Problem, Table, convert_given, suggest
from mixweb.feature import settings_fields
from mixweb.plan import Server
from mixweb.registry import Registry


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
        for host in (self.draft.default, self.draft.defaults):
            host.tables.sort(key=_line)

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
        before = len(host.tables)
        self.tables(host, value, key, ("aliases",))
        host.tables[before:] = sorted(host.tables[before:], key=_line)

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


def _line(table: Table) -> int:
    """The order of a document is the order of its tables, also where those of one name stand apart."""
    return table.origin.line or 0


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
