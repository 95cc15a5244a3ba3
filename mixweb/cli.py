"""
The ``mixweb`` command.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any

from mixweb.terminal import complain

USAGE, CONFIG_INVALID = 2, 4


def main() -> None:
    """Run the command that the arguments name; without one, serve."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] not in COMMANDS:
        raise SystemExit(serve(arguments, named=False))
    try:
        status = COMMANDS[arguments[0]](arguments[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    raise SystemExit(status)


def serve(arguments: Sequence[str], named: bool = True) -> int:
    """Serve a folder, a file of tables, or what the options say, until interrupted."""
    if arguments and arguments[0] == "--help" and not named:
        (sys.__stdout__ or sys.stdout).write(overview())
    if arguments and not arguments[0].startswith("-"):
        place = Path(arguments[0]).expanduser()
        if not place.exists():
            return _not_there(arguments[0], named)
        option = "--config" if place.suffix == ".toml" and place.is_file() else "--files"
        arguments = [option, str(place), *arguments[1:]]
    run_twistd(arguments)
    return 0


def _not_there(word: str, named: bool) -> int:
    near = [] if named else get_close_matches(word, COMMANDS, 1)
    hint = f"; did you mean 'mixweb {near[0]}'?" if near else ""
    complain(f"mixweb: there is no command, folder or file {word!r}{hint}")
    return USAGE


def run_twistd(
    arguments: Sequence[str], make_options: Callable[[], Any] | None = None, own_reactor: bool = True
) -> None:
    """
    Be ``twistd`` in the foreground, with this one plugin.

    :param make_options: makes what reads the options.
    :param own_reactor: whether to run on our reactor, where there is one.
    """
    from twisted.application.app import run
    from twisted.application.service import ServiceMaker
    from twisted.scripts.twistd import ServerOptions, runApp  # type: ignore[attr-defined]

    maker = ServiceMaker("mixweb", "mixweb.tap", "", "web-mix")

    class MixwebOptions(ServerOptions):
        """twistd's options with this one plugin: none is searched for."""

        @property
        def subCommands(self) -> list[tuple[str, None, Callable[[], Any], str]]:
            self.loadedPlugins = {maker.tapname: maker}
            return [(maker.tapname, None, self._options, maker.description)]

        def _options(self) -> Any:
            options = maker.options() if make_options is None else make_options()
            options.command = "mixweb"
            return options

    sys.argv[1:] = ["--nodaemon", "--pidfile=", *(_reactor() if own_reactor else ()), "web-mix", *arguments]
    run(runApp, MixwebOptions)


def _reactor() -> list[str]:
    return ["--reactor=mixweb"] if sys.platform == "linux" else []


def check(arguments: Sequence[str]) -> int:
    """Load and build everything, listen nowhere; 0 when it is good, 4 when it is not."""
    parser = _parser("check", check)
    parser.add_argument("file", nargs="?", type=Path, help="TOML file; ./site.toml when there is one")
    parser.add_argument("--vhosts", help="folder of virtual hosts")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args(arguments)
    from mixweb.draft import ConfigError

    file = _config_file(given.file)
    try:
        warnings = _built(file, given.vhosts)
        problems = []
    except ConfigError as reason:
        warnings, problems = [], reason.problems
    if given.json:
        found = [{"file": p.origin.place, "line": p.origin.line, "message": p.message} for p in problems]
        print(json.dumps({"ok": not problems, "problems": found, "warnings": warnings}))
    else:
        for line in [*map(str, problems), *(f"warning: {warning}" for warning in warnings)]:
            complain(line)
        if not problems:
            print(f"{file or given.vhosts or 'the default configuration'}: good")
    return CONFIG_INVALID if problems else 0


def _built(file: Path | None, vhosts: str | None) -> list[str]:
    from twisted.internet import reactor

    from mixweb.draft import ConfigError
    from mixweb.server import WebService, ask_stores

    service = WebService(lambda: _loaded(file, vhosts), reactor)
    problems, warnings = _result_of(ask_stores(_loaded(file, vhosts), reactor), reactor)
    if problems:
        raise ConfigError(problems)
    return [*service.tree.warnings, *warnings]


def _result_of(work: Coroutine[Any, Any, Any], reactor: Any) -> Any:
    """What a coroutine comes to; the reactor runs as long as it waits."""
    from twisted.internet.defer import Deferred
    from twisted.python.failure import Failure

    results: list[Any] = []
    running = Deferred.fromCoroutine(work).addBoth(results.append)
    if not results:
        running.addCallback(lambda _: reactor.stop())
        reactor.run()
    if isinstance(results[0], Failure):
        results[0].raiseException()
    return results[0]


def _loaded(file: Path | None, vhosts: str | None) -> Any:
    from mixweb.commandline import Parser
    from mixweb.config import load, serving_here

    loaded = load(file, Parser().parse(["--vhosts", vhosts] if vhosts else []).draft)
    return loaded if file else serving_here(loaded)


def _config_file(file: Path | None) -> Path | None:
    standard = Path("site.toml")
    return file or (standard if standard.is_file() else None)


def show(arguments: Sequence[str]) -> int:
    """Print the configuration in force with where each value was said, or what one request would pass."""
    parser = _parser("show", show)
    parser.add_argument("file", nargs="?", type=Path, help="TOML file; ./site.toml when there is one")
    parser.add_argument("--vhosts", help="folder of virtual hosts")
    parser.add_argument("--host", help="the host of a request")
    parser.add_argument("--path", help="the path of a request")
    parser.add_argument("--method", help="the method of a request; GET by default")
    given = parser.parse_args(arguments)
    from mixweb.draft import ConfigError
    from mixweb.explain import explain, explain_request

    try:
        loaded = _loaded(_config_file(given.file), given.vhosts)
        if given.host is None and given.path is None and given.method is None:
            print(explain(loaded), end="")
            return 0
        path = "/" + (given.path or "").removeprefix("/")
        print(explain_request(loaded, given.host or "localhost", path, given.method or "GET"), end="")
    except ConfigError as reason:
        complain(str(reason))
        return CONFIG_INVALID
    except ValueError as reason:
        complain(f"mixweb show: --host {given.host}: {reason}")
        return USAGE
    return 0


def routes(arguments: Sequence[str]) -> int:
    """Print what there is at which path: the routes of applications with their handlers, and other mounts."""
    parser = _parser("routes", routes)
    parser.add_argument("what", nargs="?", default="", help="TOML file, or an application (MODULE:NAME); ./site.toml")
    parser.add_argument("--vhosts", help="folder of virtual hosts")
    given = parser.parse_args(arguments)
    from mixweb.routelist import routes_of, routes_of_app

    try:
        if given.what and not given.what.endswith(".toml"):
            print(routes_of_app(given.what), end="")
        else:
            print(routes_of(_loaded(_config_file(Path(given.what) if given.what else None), given.vhosts)), end="")
    except ValueError as reason:
        complain(str(reason))
        return CONFIG_INVALID
    return 0


def import_ini(arguments: Sequence[str]) -> int:
    """Print what an INI file of canister or CherryPy says as TOML; what cannot be said is told."""
    parser = _parser("import", import_ini)
    parser.add_argument("file", type=Path, help="INI file")
    given = parser.parse_args(arguments)
    from mixweb.importing import import_ini as read

    try:
        found = read(given.file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as reason:
        complain(f"mixweb import: {given.file}: {getattr(reason, 'strerror', None) or reason}")
        return USAGE
    for line, note in found.notes:
        complain(f"{given.file}:{line}: {note}")
    print(f"# From {given.file.name}.\n\n{found.text()}", end="")
    return 0


def init(arguments: Sequence[str]) -> int:
    """Write a configuration to begin with; nothing is overwritten."""
    from mixweb.init import KINDS, files_of

    parser = _parser("init", init)
    parser.add_argument("kind", nargs="?", default="static", choices=sorted(KINDS))
    parser.add_argument("--directory", type=Path, default=Path(), help="where to write; here by default")
    given = parser.parse_args(arguments)
    files = {given.directory / name: text for name, text in files_of(given.kind, given.directory.absolute()).items()}
    present = [str(path) for path in files if path.exists()]
    if present:
        complain(f"mixweb init: {', '.join(present)} would be overwritten; nothing was written")
        return USAGE
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(path)
    return 0


def reload(arguments: Sequence[str]) -> int:
    """Have a running server take its configuration again, once it is found good."""
    parser = _parser("reload", reload)
    parser.add_argument("file", nargs="?", type=Path, help="TOML file to check before")
    parser.add_argument("--pidfile", type=Path, default=Path("twistd.pid"), help="where twistd keeps its process id")
    parser.add_argument("--pid", type=int, help="the process id itself")
    given = parser.parse_args(arguments)
    if given.file and (status := check([str(given.file)])):
        return status
    try:
        pid = int(given.pidfile.read_text()) if given.pid is None else given.pid
        if pid <= 0:
            raise ValueError(f"{pid} is no process id")
        os.kill(pid, signal.SIGHUP)
    except (OSError, ValueError) as reason:
        complain(f"mixweb reload: {getattr(reason, 'strerror', None) or reason}: {given.pid or given.pidfile}")
        return 1
    return 0


def passwd(arguments: Sequence[str]) -> int:
    """Set a user's password, make a user or take one away, in a file of users or a store."""
    parser = _parser("passwd", passwd)
    parser.add_argument("place", metavar="FILE", help="file of users, or URL of a store (sqlite:PATH, redis://HOST)")
    parser.add_argument("user", metavar="USER")
    parser.add_argument("--roles", help="the user's roles, with commas; by default they stay")
    parser.add_argument("--delete", action="store_true", help="take the user away")
    parser.add_argument("--stdin", action="store_true", help="take the password from the first line of standard input")
    parser.add_argument("--realm", default="", help="realm of a line for HTTP digest")
    parser.add_argument("--force", action="store_true", help="take a weak password too")
    given = parser.parse_args(arguments)
    from mixweb.features.auth.commands import Refused
    from mixweb.features.auth.commands import passwd as change

    try:
        roles, source = given.roles, given.stdin
        print(change(given.place, given.user, roles, given.delete, source, given.realm, given.force))
    except Refused as reason:
        complain(f"mixweb passwd: {reason}")
        return 1
    return 0


def unlock(arguments: Sequence[str]) -> int:
    """Let a user try again who failed to log in too often."""
    parser = _parser("unlock", unlock)
    parser.add_argument("user", metavar="USER")
    parser.add_argument("--config", type=Path, help="TOML file of the server; ./site.toml when there is one")
    parser.add_argument("--vhosts", help="folder of virtual hosts")
    parser.add_argument("--users", help="file of users of a server without a TOML file")
    given = parser.parse_args(arguments)
    from mixweb.draft import ConfigError
    from mixweb.features.auth import Auth
    from mixweb.features.auth.commands import Refused, unlock_user

    try:
        if given.users:
            places = [(Auth(given.users), "memory:")]
        else:
            plan = _loaded(_config_file(given.config), given.vhosts).plan
            found = [item for host in (plan.default, *plan.hosts) for item in host.settings] + [*plan.defaults]
            places = [(item, item.store or plan.server.store) for item in found if isinstance(item, Auth)]
        print("\n".join(unlock_user(given.user, places)))
    except (ConfigError, Refused) as reason:
        complain(f"mixweb unlock: {reason}")
        return 1
    return 0


def work(reactor_module: str) -> None:
    """
    Be a worker; what the interpreters that ``--workers`` starts run.

    :param reactor_module: whose ``install`` chooses the reactor.
    """
    # What a terminal sends goes to all its processes: the one that started this one decides.
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    sys.argv[:] = ["mixweb"]
    import_module(reactor_module).install()
    from twisted.internet import reactor

    from mixweb.worker import run

    run(reactor)


def _parser(name: str, command: Callable[..., int]) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(f"mixweb {name}", description=command.__doc__, allow_abbrev=False)


COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "serve": serve,
    "check": check,
    "show": show,
    "routes": routes,
    "init": init,
    "import": import_ini,
    "reload": reload,
    "passwd": passwd,
    "unlock": unlock,
}


def overview() -> str:
    """The commands, a line each."""
    lines = [f"  mixweb {name:<8} {(command.__doc__ or '').strip()}" for name, command in COMMANDS.items()]
    return "\n".join(["Commands:", *lines, "", ""])
