"""
The door for twistd: options and services.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.application.service import Application, IService
from twisted.logger import ILogObserver
from twisted.python.components import Componentized
from twisted.python.usage import Options as UsageOptions
from twisted.web.resource import IResource

from mixweb import __version__, assemble
from mixweb.commandline import CommandLine, Parser, UsageProblem, help_text
from mixweb.config import Loaded, given, load, serving_here
from mixweb.draft import ConfigError
from mixweb.dump import to_tac, to_toml
from mixweb.feature import FilePath, MountSettings, Settings, WrapperSettings
from mixweb.kit.colours import is_terminal
from mixweb.kit.shown import changed
from mixweb.plan import Host, Plan, Server
from mixweb.registry import registry
from mixweb.server import WebService
from mixweb.terminal import TerminalObserver, complain, start_lines

USAGE, CANNOT_LISTEN, CONFIG_INVALID = 2, 3, 4


class Options(UsageOptions):
    """
    The options of ``twistd web-mix``, made from the settings of the features.

    :ivar line: what the command line asks for, once it was parsed.
    :ivar command: what help calls the program.
    """

    command = "twistd [twistd options] web-mix"
    line = CommandLine()

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """
        Read the command line; answer ``--help``, ``--version``, ``--print-config`` and ``--print-tac`` by themselves.

        :raises SystemExit: 2, with one line said, when it cannot be taken; 4 when the configuration is wrong.
        """
        parser = Parser()
        try:
            self.line = parser.parse(sys.argv[1:] if options is None else options)
        except UsageProblem as reason:
            complain(f"{self.command}: {reason}\nTry --help for all options.")
            raise SystemExit(USAGE) from None
        if self.line.action:
            self._act(self.line.action, parser)
            raise SystemExit(0)

    def _act(self, action: str, parser: Parser) -> None:
        stream = sys.__stdout__ or sys.stdout
        if action == "help":
            stream.write(help_text(parser, self.command))
        elif action == "version":
            stream.write(f"mixweb {__version__.public()}\n")
        else:
            plan = or_exit(self.load).plan
            stream.write(to_toml(plan) if action == "print-config" else to_tac(plan))
        stream.flush()

    def load(self) -> Loaded:
        """
        Read and check everything that was given.

        :raises ConfigError: with all that is wrong.
        """
        loaded = load(self.line.config, self.line.draft.copy())
        return loaded if self.line.config else serving_here(loaded)


def or_exit(load: Any) -> Any:
    """What ``load`` returns; when the configuration is wrong, every problem is said and the process ends (4, or 2)."""
    try:
        return load()
    except ConfigError as reason:
        complain(str(reason))
        only_options = all(problem.origin.place.startswith("--") for problem in reason.problems)
        raise SystemExit(USAGE if only_options else CONFIG_INVALID) from None


class TwistdService(WebService):
    """The service of ``twistd web-mix``: says on the terminal what is served, and why it cannot."""

    def __init__(self, options: Options, reactor: Any) -> None:
        parent = getattr(options, "parent", None) or {}
        self.foreground = bool(parent.get("nodaemon"))
        own_log = any(parent.get(name) for name in ("logfile", "syslog", "logger"))
        quiet = options.line.draft.server.get("quiet")
        self.options = options
        watched = self.foreground and not own_log and quiet is None and is_terminal(sys.__stdout__)
        super().__init__(options.load, reactor, watched)

    def setServiceParent(self, parent: Any) -> None:
        """Keep the terminal for what a person wants to see."""
        if self.interactive and isinstance(parent, Componentized):
            assert sys.__stdout__ is not None
            parent.setComponent(ILogObserver, TerminalObserver(sys.__stdout__))
        super().setServiceParent(parent)

    def announce(self) -> None:
        """Say it on the terminal where a person watches, in the log elsewhere."""
        stream = sys.__stdout__
        if not self.interactive or stream is None:
            super().announce()
            return
        config = str(self.options.line.config or "")
        said = start_lines(
            __version__.public(),
            served(self.plan),
            self.urls,
            self.plan.server.public,
            config,
            self.tree.warnings,
            stream,
            self.inspectors,
        )
        stream.write(said)
        stream.flush()

    def cannot_listen(self, message: str) -> None:
        """Say it in one line and end, where that is safe: a daemon's parent waits for the exception."""
        if self.foreground:
            complain(message)
            raise SystemExit(CANNOT_LISTEN)


def served(plan: Plan) -> str:
    """What a plan serves, in a few words."""
    mounts = [item for item in plan.default.settings if isinstance(item, MountSettings)]
    names = [registry().of(item).name for item in mounts]
    folders = [changed(item).get("path", "") for item in mounts if registry().of(item).name == "files"]
    words = [f"./{folder}" if folder and not Path(folder).is_absolute() else folder or "." for folder in folders[:1]]
    words.append(f"({', '.join(dict.fromkeys(names)) or 'nothing'})")
    if plan.hosts:
        words.append(f"and {len(plan.hosts)} hosts")
    if plan.server.workers:
        words.append(f"by {plan.server.workers} workers")
    return " ".join(words)


def makeService(options: Options) -> IService:
    """
    The service of ``twistd web-mix``.

    :raises SystemExit: 4 when the configuration is wrong.
    """
    from twisted.internet import reactor

    service: IService = or_exit(lambda: TwistdService(options, reactor))
    return service


def service(
    config: FilePath = "",
    *,
    default: Host | None = None,
    hosts: Sequence[Host] = (),
    defaults: Sequence[Settings] = (),
    reactor: Any = None,
    **server: Any,
) -> WebService:
    """
    A web server for a larger application.

    :param config: a TOML file; nothing else may be given then.
    :param default: what answers to every name that no other host has.
    :param hosts: the virtual hosts.
    :param defaults: wrappers of every host.
    :param server: settings of the server (``listen``, ``https`` ...).
    :raises ConfigError: with all that is wrong.
    """
    if reactor is None:
        from twisted.internet import reactor
    if config:
        if default or hosts or defaults or server:
            raise TypeError("give a file, or what is in it, not both")
        return WebService(lambda: load(Path(config)), reactor)
    plan = Plan(Server(**server), default or Host(), tuple(defaults), tuple(hosts))
    return WebService(lambda: given(plan), reactor)


def application(config: FilePath = "", **parts: Any) -> Componentized:
    """An application for ``twistd -y``: the same arguments as :func:`service`."""
    made: Componentized = Application("mixweb")
    service(config, **parts).setServiceParent(made)
    return made


def stack(resource: IResource, *settings: WrapperSettings, reactor: Any = None) -> IResource:
    """
    Put wrappers around any resource, each at its stage whatever the order of the arguments.

    :param reactor: what they run on; the global reactor when ``None``.
    """
    if reactor is None:
        from twisted.internet import reactor
    return assemble.stack(resource, settings, reactor)
