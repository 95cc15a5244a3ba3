"""
Which file a path stands for: try order, extensions that are left out, index files, names that are never served.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mixweb.features.files._walk import Opened, Tree, is_missing

#: The one hidden name that everybody is meant to see (RFC 8615).
_WELL_KNOWN = b".well-known"


@dataclass(frozen=True, slots=True)
class Redirect:
    """A directory was asked for without its final slash."""


class Names:
    """
    Which names are served.

    :param hidden: whether names that begin with a dot are.
    :param sidecars: whether ``_headers`` and ``*.headers`` describe other files instead of being served.
    """

    def __init__(self, hidden: bool = False, sidecars: bool = False) -> None:
        self.hidden = hidden
        self.sidecars = sidecars

    def served(self, name: bytes) -> bool:
        """Whether a segment may be the name of a file or directory that is served."""
        if name in (b"", b".", b"..") or b"/" in name or b"\0" in name:
            return False
        if name.startswith(b".") and not self.hidden and name != _WELL_KNOWN:
            return False
        return not (self.sidecars and (name == b"_headers" or name.endswith(b".headers")))


class Lookup:
    """
    Finds files.

    :param processed: whether the file of this name is run instead of sent, so that segments may follow it.
    :param index: names that stand for a directory, best first.
    :param try_files: paths to look at, best first, in which ``{path}`` is the path asked for.
    """

    def __init__(
        self,
        tree: Tree,
        names: Names,
        processed: Callable[[Opened], bool],
        index: Sequence[str] = (),
        try_files: Sequence[str] = (),
    ) -> None:
        self.tree = tree
        self.names = names
        self.processed = processed
        self.index = [name.encode() for name in index]
        self.try_files = [pattern.encode() for pattern in try_files]

    def find(self, segments: Sequence[bytes]) -> Opened | Redirect | None:
        """
        What stands for a path: a file, a directory without index, a redirect, or nothing.

        :param segments: decoded; the last one is empty where the path ends in a slash.
        :raises OSError: when a file may not be opened.
        """
        names = segments[:-1] if segments and not segments[-1] else segments
        if not all(map(self.names.served, names)):
            return None
        slash = len(names) < len(segments)
        if not self.try_files or not segments:
            return self._candidate(names, slash)
        return self._tried(b"/".join(segments), slash)

    def _tried(self, path: bytes, slash: bool) -> Opened | Redirect | None:
        """
        Go through the try order.

        A directory asked for without its slash is redirected where ``{path}/`` stands in the order, or in the end when
        nothing was found and ``{path}`` stands in it.
        """
        last = None
        for pattern in self.try_files:
            directory = not slash and pattern.endswith(b"{path}/")
            candidate = pattern.replace(b"{path}", path).removeprefix(b"/")
            found = self.candidate(candidate.rstrip(b"/") if directory else candidate)
            if isinstance(found, Redirect) and not directory:
                last = found if pattern.endswith(b"{path}") else last
            elif found is not None:
                return found
        return last

    def candidate(self, path: bytes) -> Opened | Redirect | None:
        """
        What stands for a path below the root that a setting names.

        :param path: not percent-encoded; a directory where it ends in a slash.
        """
        names = [name for name in path.split(b"/") if name]
        if not all(map(self.names.served, names)):
            return None
        return self._candidate(names, slash=path.endswith(b"/") or not names)

    def sibling(self, names: Sequence[bytes]) -> Opened | None:
        """The file at exactly these names; ``None`` when there is none that may be read."""
        try:
            opened = self.tree.open(names)
        except OSError:
            return None
        if not opened.is_directory and not opened.rest:
            return opened
        opened.close()
        return None

    def _candidate(self, names: Sequence[bytes], slash: bool) -> Opened | Redirect | None:
        opened = self._open(names)
        if opened is None:
            return None
        if opened.is_directory:
            if slash:
                return self._indexed(opened)
            opened.close()
            return Redirect()
        if slash and opened.names:
            opened.rest = (*opened.rest, b"")
        if opened.rest and not self.processed(opened):
            opened.close()
            return None
        return opened

    def _indexed(self, directory: Opened) -> Opened:
        """The index file of a directory; the directory itself when it has none."""
        for name in self.index:
            try:
                opened = self._open((*directory.names, name))
            except OSError:
                directory.close()
                raise
            if opened is not None and not opened.is_directory:
                directory.close()
                return opened
            if opened is not None:
                opened.close()
        return directory

    def _open(self, names: Sequence[bytes]) -> Opened | None:
        try:
            return self.tree.open(names)
        except OSError as error:
            if is_missing(error):
                return None
            raise
