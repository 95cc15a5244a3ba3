"""
Opening files below a root and nowhere else.

Each segment is looked up in the directory opened before it, and no step follows a symbolic link: a link is resolved,
its target checked, and the walk begun again at the root with the segments of the target. So nothing that is renamed
or linked meanwhile leads out of the root.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from stat import S_ISDIR, S_ISLNK, S_ISREG
from time import time_ns

#: Directories are only passed through: reading them may not be allowed where searching them is.
_DIRECTORY = os.O_DIRECTORY | getattr(os, "O_PATH", os.O_RDONLY)
#: Without blocking: another kind of file may have taken the place of the one that was looked at.
_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY

_MAX_LINKS = 40

_MISSING = frozenset(
    {
        errno.ENOENT,
        errno.ENOTDIR,
        errno.ENAMETOOLONG,
        errno.ELOOP,
        errno.ENXIO,
        errno.EINVAL,
        errno.EILSEQ,
        errno.ENODEV,
    }
)


@dataclass(slots=True)
class Opened:
    """
    An open file or directory; who has it closes it.

    :ivar descriptor: of the file; of a directory, only good to look things up in.
    :ivar path: where it is, without symbolic links below the root unless they are followed.
    :ivar names: the segments it was found under: with the extension that was added, with links as they are called.
    :ivar rest: the segments behind a file, which are not in the file system.
    :ivar moment: when it was opened, in nanoseconds since the epoch.
    """

    descriptor: int
    status: os.stat_result
    path: bytes
    names: tuple[bytes, ...] = ()
    rest: tuple[bytes, ...] = ()
    moment: int = field(default_factory=time_ns)

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory."""
        return S_ISDIR(self.status.st_mode)

    def release(self, wanted: bool) -> int:
        """Hand the descriptor over to somebody else, if it is wanted; -1 if not."""
        if not wanted:
            return -1
        descriptor, self.descriptor = self.descriptor, -1
        return descriptor

    def close(self) -> None:
        """Close the descriptor, once."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def is_missing(error: OSError) -> bool:
    """Whether an error says that there is no such file, whatever the name was."""
    return error.errno in _MISSING


class Tree:
    """
    A directory and all below it, or one file.

    :param root: its path; may itself be a symbolic link.
    :param symlinks: ``inside`` has links obeyed that lead to a place below the root, ``follow`` all, ``refuse`` none.
    :param extensions: tried, dot included, on a name that does not exist; ``*`` is any.
    """

    def __init__(self, root: bytes, symlinks: str = "inside", extensions: Sequence[bytes] = ()) -> None:
        self.root = root
        self.symlinks = symlinks
        self.extensions = extensions
        self._nofollow = 0 if symlinks == "follow" else os.O_NOFOLLOW

    def open(self, segments: Sequence[bytes]) -> Opened:
        """
        Open what is at these segments, or the file that is met on the way.

        :param segments: names without ``/`` and NUL, none of them ``.``, ``..`` or empty.
        :raises OSError: when nothing is there (:func:`is_missing`), or it may not be opened.
        """
        target: Sequence[bytes] = ()
        names: list[bytes] = []
        for _ in range(_MAX_LINKS):
            found = self._descend(target, segments[len(names) :], names)
            if isinstance(found, Opened):
                return found
            target = found
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))

    def _descend(self, target: Sequence[bytes], rest: Sequence[bytes], names: list[bytes]) -> Opened | list[bytes]:
        """
        What is opened, or the segments of the target of the link that was met.

        :param target: of the link met before: no part of what was asked for.
        :param rest: what is asked for below that.
        :param names: what is found is added to it.
        """
        try:
            here = os.open(self.root, _DIRECTORY)
        except NotADirectoryError:
            return _opened_file(os.open(self.root, _FILE), self.root, (), tuple(rest))
        path = self.root
        try:
            for index, segment in enumerate((*target, *rest), 1 - len(target)):
                name, status = self._look(here, segment)
                path = os.path.join(path, name)
                if index > 0:
                    names.append(name)
                if S_ISLNK(status.st_mode):
                    if self.symlinks != "follow":
                        return self._target(path)
                    status = os.stat(name, dir_fd=here)
                if S_ISREG(status.st_mode):
                    descriptor = os.open(name, _FILE | self._nofollow, dir_fd=here)
                    return _opened_file(descriptor, path, tuple(names), tuple(rest[max(index, 0) :]))
                if not S_ISDIR(status.st_mode):
                    raise FileNotFoundError(errno.ENOENT, "neither a file nor a directory")
                below = os.open(name, _DIRECTORY | self._nofollow, dir_fd=here)
                os.close(here)
                here = below
            opened = Opened(here, os.fstat(here), path, tuple(names))
            here = -1
            return opened
        finally:
            if here >= 0:
                os.close(here)

    def _look(self, here: int, name: bytes) -> tuple[bytes, os.stat_result]:
        """A name in an open directory, or that name with one of the extensions, and what it is."""
        try:
            return name, os.lstat(name, dir_fd=here)
        except FileNotFoundError:
            for candidate in self._extended(here, name):
                try:
                    status = os.lstat(candidate, dir_fd=here)
                except OSError:
                    continue
                if not S_ISDIR(status.st_mode):
                    return candidate, status
            raise

    def _extended(self, here: int, name: bytes) -> list[bytes]:
        candidates = []
        for extension in self.extensions:
            if extension == b"*":
                candidates += self._siblings(here, name + b".")
            else:
                candidates.append(name + extension)
        return candidates

    @staticmethod
    def _siblings(here: int, beginning: bytes) -> list[bytes]:
        readable = os.open(b".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=here)
        try:
            return sorted(name for name in map(os.fsencode, os.listdir(readable)) if name.startswith(beginning))
        finally:
            os.close(readable)

    def _target(self, link: bytes) -> list[bytes]:
        """
        The segments, from the root, of what a link stands for.

        :raises FileNotFoundError: when links are refused or this one leads out of the root.
        """
        segments = self.inside(link) if self.symlinks == "inside" else None
        if segments is None:
            raise FileNotFoundError(errno.ENOENT, "the link is not to be followed")
        return segments

    def inside(self, path: bytes) -> list[bytes] | None:
        """The segments of the real place of a path, from the root; ``None`` when it is elsewhere."""
        root = os.path.realpath(self.root)
        real = os.path.realpath(path)
        if real == root:
            return []
        prefix = root if root.endswith(b"/") else root + b"/"
        return real.removeprefix(prefix).split(b"/") if real.startswith(prefix) else None


def _opened_file(descriptor: int, path: bytes, names: tuple[bytes, ...], rest: tuple[bytes, ...]) -> Opened:
    status = os.fstat(descriptor)
    if not S_ISREG(status.st_mode):
        os.close(descriptor)
        raise FileNotFoundError(errno.ENOENT, "not a regular file")
    return Opened(descriptor, status, path, names, rest)
