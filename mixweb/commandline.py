"""
The command line, read left to right into the same tables as a file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from textwrap import wrap
from typing import Any, get_type_hints

from mixweb.convert import is_list, is_table
from mixweb.draft import Draft, Given, HostTables, Origin, Table, suggest
from mixweb.feature import SERVER_STAGES, Feature, Mount, Wrap, default_of, principal_field, settings_fields
from mixweb.plan import Server
from mixweb.registry import Registry, registry


class UsageProblem(Exception):
    """An option that cannot be taken; its text is one line."""


@dataclass
class CommandLine:
    """
    What a command line asks for.

    :ivar draft: the tables it gives.
    :ivar config: the file named by ``--config``.
    :ivar action: ``help``, ``version``, ``print-config`` or ``print-tac``; empty to serve.
    """

    draft: Draft = field(default_factory=Draft)
    config: Path | None = None
    action: str = ""


@dataclass(frozen=True)
class Option:
    """
    One option.

    :ivar take: called with the value, or ``None`` for a flag.
    :ivar metavar: what help shows for the value; empty for a flag.
    """

    name: str
    metavar: str
    help: str
    take: Callable[[str | None], None]
    short: str = ""


#: Options of ``twistd web`` under the names they have there: name, short form, what it is here, help.
_TWISTD_WEB = [
    ("path", "", "files", "Same as --files."),
    ("logfile", "l", "accesslog", "Same as --accesslog."),
    ("class", "", "class", ""),
    ("resource-script", "", "script", "Same as --script."),
    ("index", "i", "files-index", "Same as --files-index."),
    ("processor", "", "files-processors", "Same as --files-processors; EXT=CLASS."),
    ("mime-type", "m", "files-default-type", "Same as --files-default-type."),
    ("ignore-ext", "", "files-ignore-ext", "Same as --files-ignore-ext."),
    ("add-header", "", "headers-add", "Same as --headers-add."),
]
_SHORT = {"port": "p", "certificate": "c", "privkey": "k", "user": "u"}


class Parser:
    """
    Reads one command line.

    :param found: the features whose options there are.
    """

    def __init__(self, found: Registry | None = None) -> None:
        self.registry = found or registry()
        self.result = CommandLine()
        self.host = self.result.draft.default
        self.opened: Table | None = None
        self.implicit: set[int] = set()
        self.base = Path.cwd()
        self.groups = self._groups()
        self.options = {option.name: option for _, options in self.groups for option in options}
        self.shorts = {option.short: option for option in self.options.values() if option.short}

    def parse(self, argv: Sequence[str]) -> CommandLine:
        """
        Read the arguments.

        :raises UsageProblem: at the first that cannot be taken.
        """
        rest = list(argv)
        while rest:
            argument = rest.pop(0)
            name, equals, text = argument.partition("=")
            if argument[:1] == "-" and argument[1:2] in self.shorts and len(argument) > 2:
                name, equals, text = argument[:2], "=", argument[2:].removeprefix("=")
            option = self._find(name)
            if option.metavar and not equals:
                if not rest:
                    raise UsageProblem(f"{name} needs a value: {name} {option.metavar}")
                text = rest.pop(0)
            elif equals and not option.metavar:
                raise UsageProblem(f"{name} takes no value")
            option.take(text if option.metavar else None)
        return self.result

    def _find(self, name: str) -> Option:
        if name.startswith("--") and name[2:] in self.options:
            return self.options[name[2:]]
        if name.startswith("-") and name[1:] in self.shorts:
            return self.shorts[name[1:]]
        if not name.startswith("-"):
            raise UsageProblem(f"unexpected argument {name!r}; a folder is served by --files {name}")
        raise UsageProblem(f"unknown option {name}{suggest(name, [f'--{known}' for known in self.options])}")

    # What the options do

    def _server(self, name: str, text: str) -> None:
        given = self.result.draft.server.setdefault(name, Given([], Origin(_dashed(name)), self.base, textual=True))
        given.data.append(text)

    def _tables(self, feature: str) -> list[Table]:
        """Where its tables go: what belongs to the server stands with the default host."""
        found = self.registry.features[feature]
        own = isinstance(found, Wrap) and found.stage in SERVER_STAGES
        return (self.result.draft.default if own else self.host).tables

    def _open(self, feature: str) -> Table:
        tables = self._tables(feature)
        opened = next((table for table in tables if table.feature == feature and id(table) in self.implicit), None)
        if opened is None:
            opened = Table(feature, Origin(f"--{feature}"))
            tables.append(opened)
        self.implicit.discard(id(opened))
        self.opened = opened
        return opened

    def _open_flag(self, feature: str, _: None) -> None:
        self._open(feature)

    def _field(self, feature: str, name: str, option: str, text: str) -> None:
        tables = self._tables(feature)
        table = next((table for table in reversed(tables) if table.feature == feature), None)
        if table is None:
            table = Table(feature, Origin(f"--{option}"))
            tables.append(table)
            self.implicit.add(id(table))
        self.opened = table
        self._set(table, name, option, text)

    def _set(self, table: Table, name: str, option: str, text: str) -> None:
        given = table.values.setdefault(name, Given([], Origin(f"--{option}"), self.base, textual=True))
        given.data.append(text)

    def _common(self, name: str, text: str | None) -> None:
        option = name.replace("_", "-")
        kind = "mount" if name == "at" else "wrapper"
        if self.opened is None:
            raise UsageProblem(f"--{option} belongs to a {kind}: give it after one (--files DIR --{option} {text})")
        feature = self.registry.features[self.opened.feature]
        if isinstance(feature, Mount) != (name == "at"):
            raise UsageProblem(f"--{option} belongs to a {kind}, and {feature.name} is none")
        self._set(self.opened, name, option, text or "")

    def _host(self, name: str | None) -> None:
        draft = self.result.draft
        assert name is not None
        self.opened = None
        if name in ("default", "*"):
            self.host = draft.default if name == "default" else draft.defaults
        else:
            self.host = draft.hosts.setdefault(name, HostTables(name, Origin(f"--host {name}")))

    def _without(self, name: str | None) -> None:
        if name not in self.registry.features:
            raise UsageProblem(f"--without: there is no feature {name!r}{suggest(str(name), self.registry.features)}")
        self._tables(str(name)).append(Table(str(name), Origin(f"--without {name}"), off=True))

    def _config(self, text: str | None) -> None:
        self.result.config = Path(str(text)).expanduser()

    def _act(self, action: str) -> Callable[[str | None], None]:
        def take(_: str | None) -> None:
            self.result.action = action

        return take

    # Which options there are

    def _groups(self) -> list[tuple[str, list[Option]]]:
        groups = [("Server", self._server_options()), ("Composition", self._composition_options())]
        for feature in self.registry.features.values():
            groups.append((feature.name, self._feature_options(feature)))
        known = {option.name: option for _, options in groups for option in options}
        groups.append(("As in twistd web", self._twistd_web_options(known)))
        return groups

    def _server_options(self) -> list[Option]:
        hints = get_type_hints(Server)
        options: list[Option] = []
        for item in settings_fields(Server):
            options += self._value_options(
                item.name.replace("_", "-"),
                hints[item.name],
                item.metadata,
                default_of(item),
                partial(self._server, item.name),
            )
        return options

    def _composition_options(self) -> list[Option]:
        return [
            Option("config", "FILE", "Read a TOML file; what the command line says counts more.", self._config),
            Option(
                "host", "NAME", "What follows belongs to this host; 'default' goes back, '*' is every host.", self._host
            ),
            Option("at", "PATH", "Path of the mount opened last.", partial(self._common, "at")),
            Option(
                "paths",
                "PATH",
                "Where the wrapper opened last applies; repeatable.",
                partial(self._common, "paths"),
            ),
            Option(
                "except-paths",
                "PATH",
                "Where the wrapper opened last does not apply; repeatable.",
                partial(self._common, "except_paths"),
            ),
            Option("without", "NAME", "Take away a feature that is on by default.", self._without),
            Option(
                "print-config", "", "Write this command line out as a TOML file and stop.", self._act("print-config")
            ),
            Option("print-tac", "", "Write it out as a .tac file and stop.", self._act("print-tac")),
            Option("help", "", "Show all options.", self._act("help"), "h"),
            Option("version", "", "Show the version.", self._act("version")),
        ]

    def _feature_options(self, feature: Feature) -> list[Option]:
        principal = principal_field(feature.settings)
        hints = get_type_hints(feature.settings)
        options: list[Option] = []
        for item in settings_fields(feature.settings):
            if item.name == principal:
                options.append(self._principal_option(feature, item, hints[item.name]))
            elif item.name not in ("at", "paths", "except_paths"):
                name = f"{feature.name}-{item.name.replace('_', '-')}"
                options += self._value_options(
                    name,
                    hints[item.name],
                    item.metadata,
                    default_of(item),
                    partial(self._field, feature.name, item.name, name),
                )
        if principal is None:
            summary = (feature.settings.__doc__ or "").strip().split("\n")[0]
            flag = partial(self._open_flag, feature.name)
            options.insert(0, Option(feature.name, "", summary, flag, _SHORT.get(feature.name, "")))
        return options

    def _principal_option(self, feature: Feature, item: Any, annotation: Any) -> Option:
        def take(text: str | None) -> None:
            assert text is not None
            table = self._open(feature.name)
            table.values.pop(item.name, None)
            self._set(table, item.name, feature.name, text)

        metavar = item.metadata["metavar"] or _metavar(item.name, annotation)
        return Option(feature.name, metavar, item.metadata["help"], take, _SHORT.get(feature.name, ""))

    def _value_options(
        self, name: str, annotation: Any, metadata: Any, default: Any, take: Callable[[str], None]
    ) -> list[Option]:
        if annotation is bool:
            no = "Do not: " + metadata["help"][:1].lower() + metadata["help"][1:]
            yes = Option(name, "", metadata["help"], lambda _: take("true"))
            return [yes, Option(f"no-{name}", "", no, lambda _: take("false"))]
        metavar = metadata["metavar"] or _metavar(name.rpartition("-")[2], annotation)
        shown = metadata["help"]
        if default not in ("", (), None, 0) and not metadata["secret"] and not is_table(annotation):
            text = ", ".join(map(str, default)) if is_list(annotation) else str(default)
            shown += f" [{text}]"
        return [Option(name, metavar, shown, lambda text: take(str(text)), _SHORT.get(name, ""))]

    def _twistd_web_options(self, known: dict[str, Option]) -> list[Option]:
        options = [
            Option(name, known[target].metavar, text, known[target].take, short)
            for name, short, target, text in _TWISTD_WEB
            if target in known and (name != target)
        ]
        if "files-ignore-ext" in known:
            options.append(
                Option(
                    "allow-ignore-ext",
                    "",
                    "Same as --files-ignore-ext '*'.",
                    lambda _: known["files-ignore-ext"].take("*"),
                )
            )
        options.append(
            Option("notracebacks", "", "Nothing: tracebacks are not shown unless asked for.", lambda _: None, "n")
        )
        return options


def _dashed(name: str) -> str:
    return "--" + name.replace("_", "-")


def _metavar(name: str, annotation: Any) -> str:
    return "NAME=VALUE" if is_table(annotation) else name.replace("_", "-").upper()


def help_text(parser: Parser, command: str) -> str:
    """All options, by feature."""
    lines = [
        f"Usage: {command} [options]",
        "",
        "A web server mixed from parts. Without a mount it serves the current directory.",
        "Options are read left to right: what follows --files, --respond ... belongs to it.",
    ]
    for title, options in parser.groups:
        names = {option.name for option in options}
        lines += ["", f"{title}:"]
        for option in options:
            if option.name.removeprefix("no-") == option.name or option.name.removeprefix("no-") not in names:
                lines += _help_lines(option, f"[no-]{option.name}" if f"no-{option.name}" in names else option.name)
    return "\n".join(lines) + "\n"


def _help_lines(option: Option, name: str) -> Iterable[str]:
    short = f"-{option.short}, " if option.short else "    "
    left = f"  {short}--{name} {option.metavar}".rstrip()
    texts = wrap(option.help, 64) or [""]
    first = [f"{left:<38}{texts[0]}"] if len(left) < 37 else [left, " " * 38 + texts[0]]
    return [*first, *(" " * 38 + text for text in texts[1:])]
