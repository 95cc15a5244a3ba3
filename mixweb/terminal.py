"""
What a person at the terminal sees.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Sequence
from typing import TextIO

from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent
from zope.interface import implementer

from mixweb.kit.colours import paint


def complain(message: str) -> None:
    """Say what is wrong on the real standard error: under twistd the other one is the log."""
    stream = sys.__stderr__ or sys.stderr
    stream.write(message.rstrip("\n") + "\n")
    stream.flush()


def since_start() -> float | None:
    """Seconds since this process began, where the system tells."""
    try:
        with open("/proc/self/stat", "rb") as file:
            ticks = int(file.read().rpartition(b")")[2].split()[19])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, ValueError):
        return None


def start_lines(
    version: str,
    what: str,
    urls: Sequence[str],
    public: bool,
    config: str,
    warnings: Iterable[str],
    stream: TextIO | None,
    inspectors: Iterable[str] = (),
) -> str:
    """What is printed when the server is ready."""
    seconds = since_start()
    ready = "" if seconds is None else paint(f"ready in {seconds:.1f} s", "dim", stream)
    lines = [f"{paint(f'mixweb {version}', 'bold', stream)}  serving {what}    {ready}".rstrip(), ""]
    rows = [("Local" if "127.0.0.1" in url or "localhost" in url else "Address", url) for url in urls]
    if not public and all(label == "Local" for label, _ in rows):
        rows.append(("Network", "off: add --public to expose"))
    rows += [("Inspect", url) for url in inspectors]
    if config:
        rows.append(("Config", f"{config}   (mixweb check, mixweb show)"))
    lines += [f"  {label:<9} {text}" for label, text in rows]
    lines += [f"  {paint('Warning', 'yellow', stream)}   {text}" for text in warnings]
    lines += ["", "  Ctrl-C to stop.  Requests appear below."]
    return "\n".join(lines) + "\n"


@implementer(ILogObserver)
class TerminalObserver:
    """Shows warnings and failures on the terminal, and leaves out what only a log file wants."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def __call__(self, event: LogEvent) -> None:
        if event.get("log_level", LogLevel.info) < LogLevel.warn:
            return
        self.stream.write(formatEvent(event) + "\n")
        failure = event.get("log_failure")
        if failure is not None:
            self.stream.write(failure.getTraceback())
        self.stream.flush()
