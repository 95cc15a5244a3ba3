"""
One line for each request.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO

from twisted.logger import Logger
from twisted.web.resource import IResource

from mixweb.engine.request import Request
from mixweb.feature import Context, FilePath, Stage, Wrap, WrapperSettings, option
from mixweb.features._accesslog_file import BySize, Daily, LineWriter, LogFile, Never, Rotation, Stream
from mixweb.features._accesslog_full import Full
from mixweb.features._accesslog_lines import Canister, Combined, Format, Json, Terminal, severity_of
from mixweb.kit.colours import uses_colour
from mixweb.kit.secrets import SECRETS, Secrets, masking
from mixweb.paths import PathMatcher

FORMATS = ("auto", "combined", "json", "canister", "terminal", "full")
ROTATIONS = ("daily", "size", "none")

#: Severities, the least first, and what logs nothing.
LEVELS = ("info", "warning", "error", "disabled")

_log = Logger(namespace="mixweb.access")

#: Lines for a person are shown after this many seconds.
_TERMINAL_DELAY = 0.05


@dataclass(frozen=True)
class AccessLog(WrapperSettings):
    """Settings of the ``accesslog`` feature."""

    path: FilePath = option(
        "",
        principal=True,
        help="File for the lines, or a folder for the file log; without, the server's log.",
        metavar="FILE",
    )
    format: str = option(
        "auto", help="combined, json, canister, terminal or full; auto: terminal for a person, else combined."
    )
    level: str = option("info", help="Least severity: info, warning (slow or incomplete), error (5xx) or disabled.")
    rotate: str = option("daily", help="When a new file is begun: daily, size or none.")
    log_days: int = option(30, help="Days that daily files are kept.", metavar="DAYS")
    max_bytes: int = option(100_000_000, help="Bytes of a file before the next, with rotate = size.", metavar="BYTES")
    keep: int = option(10, help="Files kept besides the current one, with rotate = size.", metavar="COUNT")
    mask: Sequence[str] = option(
        SECRETS, help="Query parameters, as globs, whose values are not shown.", metavar="NAME"
    )
    body_bytes: int = option(
        65536, help="What the full format shows of the body of a request, in bytes.", metavar="BYTES"
    )

    def __post_init__(self) -> None:
        for name, choices in (("format", FORMATS), ("level", LEVELS), ("rotate", ROTATIONS)):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} is {getattr(self, name)!r}; expected one of {', '.join(choices)}")
        for name in ("log_days", "max_bytes", "keep"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        if self.body_bytes < 0:
            raise ValueError("body_bytes must not be negative")


def log_lines(lines: str) -> None:
    """Hand one line, or several with a line feed between them, to Twisted's log, each as one event."""
    for line in lines.split("\n"):
        _log.info("{line}", line=line, log_system="mixweb.access")


def rotation_of(settings: AccessLog) -> Rotation:
    """The rotation that the settings ask for."""
    if settings.rotate == "daily":
        return Daily(settings.log_days)
    return BySize(settings.max_bytes, settings.keep) if settings.rotate == "size" else Never()


def log_path(path: FilePath) -> str:
    """
    The absolute path of the log file: the one given, or ``log`` in it when it is a folder.

    :raises ValueError: when it cannot be written.
    """
    found = os.path.abspath(path)
    if os.path.isdir(found):
        found = os.path.join(found, "log")
    folder = os.path.dirname(found)
    if not os.path.isdir(folder):
        raise ValueError(f"the access log '{found}' cannot be written: there is no folder '{folder}'")
    if os.path.isdir(found) or not os.access(found if os.path.exists(found) else folder, os.W_OK):
        raise ValueError(f"the access log '{found}' cannot be written: permission denied")
    return found


def observer(settings: AccessLog, line_of: Format, write: Callable[[str], None]) -> Callable[[Request], None]:
    """What is called with each request that has ended."""
    least = LEVELS.index(settings.level)
    matcher = PathMatcher(settings.paths, settings.except_paths)

    def observe_all(request: Request) -> None:
        write(line_of(request))

    def observe_some(request: Request) -> None:
        path = getattr(request, "canonical_path", None)
        if path is not None and not matcher.match(path):
            return
        if LEVELS.index(severity_of(request)) >= least:
            write(line_of(request))

    return observe_all if least == 0 and matcher.everything else observe_some


def foreground(observe: Callable[[Request], None]) -> Callable[[Request], None]:
    """The same without the requests that somebody who watches does not want to see."""

    def observe_foreground(request: Request) -> None:
        if not request.background:
            observe(request)

    return observe_foreground


def format_of(settings: AccessLog, seconds: Callable[[], float], screen: IO[str] | None) -> Format:
    """
    What makes the lines.

    :param seconds: the wall clock.
    :param screen: the terminal that a person watches, when the lines go there.
    """
    mask = masking(settings.mask)
    if settings.format == "json":
        return Json(seconds, mask)
    if settings.format == "canister":
        return Canister(seconds, mask)
    if settings.format == "full":
        return Full(seconds, Secrets(settings.mask), settings.body_bytes)
    if settings.format == "terminal" or (settings.format == "auto" and screen is not None):
        return Terminal(seconds, mask, uses_colour(screen))
    return Combined(seconds, mask)


def writer_of(settings: AccessLog, context: Context, screen: IO[str] | None) -> Callable[[str], None]:
    """What takes the lines."""
    if settings.path:
        file = LogFile(log_path(settings.path), rotation_of(settings), context.reactor.seconds)
        writer = LineWriter(context.reactor, file)
    elif screen is not None:
        writer = LineWriter(context.reactor, Stream(screen), _TERMINAL_DELAY)
    else:
        return log_lines
    context.add_service(writer)
    return writer.write


def build(settings: AccessLog, inner: IResource, context: Context) -> IResource:
    if settings.level != "disabled":
        screen = sys.__stdout__ if context.interactive and not settings.path else None
        line_of = format_of(settings, context.reactor.seconds, screen)
        observe = observer(settings, line_of, writer_of(settings, context, screen))
        context.observe(observe if screen is None else foreground(observe))
        if settings.format == "full":
            context.warn("accesslog: the full format writes down what clients send, with their bodies")
    return inner


FEATURE = Wrap("accesslog", Stage.OBSERVE, AccessLog, build, default=True)
