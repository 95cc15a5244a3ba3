"""
Where the lines of the access log go: collected, written together, and rotated.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import date, timedelta
from typing import IO, Any, Protocol

from twisted.application.service import Service
from twisted.logger import Logger

#: Lines are written at the latest after this many seconds.
DELAY = 0.25

#: Lines are written at once when they have this many characters.
MAX_CHARACTERS = 65536

_DAY = re.compile(r"\d{4}-\d\d-\d\d\Z")


class Target(Protocol):
    """Takes what was collected."""

    def open(self) -> None:
        """Make ready."""

    def write(self, data: bytes) -> None:
        """Take whole lines; never raises ``OSError``."""

    def close(self) -> None:
        """Let go of files."""


class Rotation(Protocol):
    """When and how a log file makes room for the next one."""

    def due(self, found: os.stat_result, coming: int, now: float) -> bool:
        """Whether the file is to be put aside before ``coming`` more bytes are written."""

    def rotate(self, path: str, found: os.stat_result, now: float) -> None:
        """
        Give the file another name and remove those that are no longer kept.

        :raises OSError: when that is not possible.
        """


class Never:
    """Something else rotates the file, or nothing does."""

    def due(self, found: os.stat_result, coming: int, now: float) -> bool:
        return False

    def rotate(self, path: str, found: os.stat_result, now: float) -> None:
        """Nothing."""


class Daily:
    """
    A file for each day of local time, renamed to ``NAME.YYYY-MM-DD`` when the first line of a later day comes.

    :param days: files of days longer ago are removed.
    """

    def __init__(self, days: int) -> None:
        self.days = days

    def due(self, found: os.stat_result, coming: int, now: float) -> bool:
        return found.st_size > 0 and date.fromtimestamp(found.st_mtime) < date.fromtimestamp(now)

    def rotate(self, path: str, found: os.stat_result, now: float) -> None:
        aside = f"{path}.{date.fromtimestamp(found.st_mtime).isoformat()}"
        if not os.path.lexists(aside):
            os.rename(path, aside)
        oldest = (date.fromtimestamp(now) - timedelta(days=self.days)).isoformat()
        folder, name = os.path.split(path)
        for item in os.listdir(folder):
            base, _, day = item.rpartition(".")
            if base == name and _DAY.match(day) and day < oldest:
                os.unlink(os.path.join(folder, item))


class BySize:
    """
    A new file when the lines would not fit: ``NAME`` becomes ``NAME.1``, ``NAME.1`` becomes ``NAME.2``.

    :param max_bytes: of one file.
    :param keep: files kept besides the current one.
    """

    def __init__(self, max_bytes: int, keep: int) -> None:
        self.max_bytes = max_bytes
        self.keep = keep

    def due(self, found: os.stat_result, coming: int, now: float) -> bool:
        return found.st_size > 0 and found.st_size + coming > self.max_bytes

    def rotate(self, path: str, found: os.stat_result, now: float) -> None:
        for number in range(self.keep - 1, 0, -1):
            with suppress(FileNotFoundError):
                os.replace(f"{path}.{number}", f"{path}.{number + 1}")
        os.replace(path, f"{path}.1")


class LogFile:
    """
    A file that lines are appended to, by several processes if need be.

    A file that was moved away or removed is made again with the next lines. What cannot be written is lost, with one
    warning until it can be written again.

    :param path: absolute.
    :param seconds: the wall clock.
    """

    _log = Logger()

    def __init__(self, path: str, rotation: Rotation, seconds: Callable[[], float]) -> None:
        self.path = path
        self.rotation = rotation
        self._seconds = seconds
        self._descriptor = -1
        self._warned: set[str] = set()

    def open(self) -> None:
        with self._warning("written; lines are lost until it can"):
            self._open()

    def write(self, data: bytes) -> None:
        with self._warning("written; lines are lost until it can"):
            self._open()
            self._rotate_if_due(len(data))
            while data:
                data = data[os.write(self._descriptor, data) :]

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self) -> None:
        if not self._is_current():
            self.close()
            self._descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)

    def _is_current(self) -> bool:
        try:
            return self._descriptor >= 0 and os.path.samestat(os.stat(self.path), os.fstat(self._descriptor))
        except FileNotFoundError:
            return False

    def _rotate_if_due(self, coming: int) -> None:
        now = self._seconds()
        if not self.rotation.due(os.fstat(self._descriptor), coming, now) or not self._is_plain():
            return
        with self._warning("rotated"):
            self._rotate(now)
        self._open()

    def _is_plain(self) -> bool:
        """Whether the path is a file's own name: a link (``/dev/stdout``) or a device is not renamed."""
        try:
            return stat.S_ISREG(os.lstat(self.path).st_mode)
        except FileNotFoundError:
            return False  # another process has just renamed it

    def _rotate(self, now: float) -> None:
        from fcntl import LOCK_EX, LOCK_NB, flock

        try:
            flock(self._descriptor, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            return  # another process is at it
        try:
            if self._is_current():
                self.rotation.rotate(self.path, os.fstat(self._descriptor), now)
        finally:
            self.close()

    @contextmanager
    def _warning(self, purpose: str) -> Iterator[None]:
        """Warn once when what is inside fails, and again only after it has succeeded."""
        try:
            yield
        except OSError as error:
            self.close()
            if purpose not in self._warned:
                self._warned.add(purpose)
                message = "the access log {path!r} cannot be {purpose}: {error}"
                self._log.warn(message, path=self.path, purpose=purpose, error=error.strerror)
        else:
            self._warned.discard(purpose)


class Stream:
    """
    A terminal.

    :param stream: where to write.
    """

    def __init__(self, stream: IO[str]) -> None:
        self.stream = stream

    def open(self) -> None:
        """Nothing: it is open."""

    def write(self, data: bytes) -> None:
        with suppress(OSError, ValueError):
            self.stream.write(data.decode())
            self.stream.flush()

    def close(self) -> None:
        """Nothing: it belongs to the process."""


class LineWriter(Service):
    """
    Collects lines and has them written together: after a while, when they are many, and when it stops.

    While it does not run, each line is written at once.

    :param delay: the longest a line waits, in seconds.
    """

    def __init__(self, reactor: Any, target: Target, delay: float = DELAY) -> None:
        self.target = target
        self._reactor = reactor
        self._delay = delay
        self._lines: list[str] = []
        self._size = 0
        self._call: Any = None

    def write(self, line: str) -> None:
        """Take a line, without its line feed."""
        self._lines.append(line)
        self._size += len(line)
        if not self.running:
            self.flush()
            self.target.close()
        elif self._size >= MAX_CHARACTERS:
            self.flush()
        elif self._call is None:
            self._call = self._reactor.callLater(self._delay, self._waited)

    def flush(self) -> None:
        """Write what was collected."""
        lines, self._lines, self._size = self._lines, [], 0
        if lines:
            self.target.write("\n".join([*lines, ""]).encode())

    def reopen(self) -> None:
        """Write what was collected and open the file anew, as after another program has rotated it."""
        self.flush()
        self.target.close()
        self.target.open()

    def _waited(self) -> None:
        self._call = None
        self.flush()

    def startService(self) -> None:
        super().startService()
        self.target.open()

    def stopService(self) -> None:
        super().stopService()
        if self._call is not None:
            self._call.cancel()
            self._call = None
        self.flush()
        self.target.close()
