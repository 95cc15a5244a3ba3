"""
For development: the server starts anew when one of its modules has changed, and takes a changed configuration.

Templates are read again by those who render them.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Callable, Iterable
from typing import Any

from twisted.application.internet import TimerService
from twisted.logger import Logger

from mixweb.config import Loaded

#: How often files are looked at, in seconds.
INTERVAL = 1.0

#: Where modules are that nobody edits.
_FIXED = tuple(
    os.path.join(path, "")
    for name in ("stdlib", "platstdlib", "purelib", "platlib")
    if (path := sysconfig.get_path(name))
)


def module_files() -> set[str]:
    """The files of the modules in use, without those of Python and of what was installed."""
    found = {getattr(module, "__file__", None) or "" for module in list(sys.modules.values())}
    return {path for path in found if path.endswith(".py") and not path.startswith(_FIXED)}


def config_files(loaded: Loaded) -> set[str]:
    """The files that a configuration was read from."""
    places = [given.origin.place for given in loaded.draft.server.values()]
    places += [table.origin.place for table in loaded.tables.values()]
    return {os.path.abspath(place) for place in places if place.endswith(".toml")}


class Stamps:
    """When files were changed."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}

    def changed(self, paths: Iterable[str]) -> list[str]:
        """Which of these files are not what they were the last time; one that is looked at for the first time is."""
        found = []
        for path in sorted(paths):
            try:
                stamp = os.stat(path).st_mtime_ns
            except OSError:
                continue
            if self._known.setdefault(path, stamp) != stamp:
                self._known[path] = stamp
                found.append(path)
        return found


def start_anew() -> None:
    """Put the same program, started in the same way, in the place of this one."""
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - it is this very program


class Autoreload(TimerService):
    """
    Looks after modules and configuration.

    :param configuration: tells the files of the configuration in force.
    :param reload: takes the configuration again.
    :param stop: ends the server; another one takes its place when the reactor has stopped.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        configuration: Callable[[], set[str]],
        reload: Callable[[], object],
        stop: Callable[[], object],
    ) -> None:
        super().__init__(INTERVAL, self.look)
        self.clock = reactor
        self._reactor = reactor
        self._configuration = configuration
        self._reload = reload
        self._stop = stop
        self._stamps, self._config_stamps = Stamps(), Stamps()

    def look(self) -> None:
        """Act on what has changed since the last look."""
        changed = self._stamps.changed(module_files())
        broken = [path for path in changed if not self._compiles(path)]
        if changed and not broken:
            self._log.info("{path} has changed: starting anew", path=changed[0])
            self._reactor.addSystemEventTrigger("after", "shutdown", start_anew)
            self._stop()
        elif self._config_stamps.changed(self._configuration()):
            self._reload()

    def _compiles(self, path: str) -> bool:
        """Whether a module can be started with; the log says why not."""
        try:
            with open(path, "rb") as file:
                compile(file.read(), path, "exec", dont_inherit=True)
        except (OSError, SyntaxError, ValueError) as reason:
            self._log.warn("not started anew: {path}: {reason}", path=path, reason=reason)
            return False
        return True
