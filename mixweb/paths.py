"""
One canonical path for each request: what a rule protects is what is served.

A target is split at ``/`` and each segment percent-decoded; ``.`` and empty segments are dropped, ``..`` removes the
segment before it (never above the root), a trailing slash stays. ``%2F`` stays inside its segment. Walking from the left,
as soon as the path so far is where a *raw* mount stands, canonicalisation stops and the rest is kept byte for byte.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import translate
from functools import lru_cache
from typing import Any, Generic, TypeVar
from urllib.parse import unquote_to_bytes

T = TypeVar("T")

#: A path that is canonical as it stands: no escape, no empty segment, no segment that begins with a dot.
_PLAIN = re.compile(rb"(?:/(?![/.])[^%/]*)+\Z")


@dataclass(frozen=True, slots=True)
class CanonicalPath:
    """
    A request's path as all rules and mounts see it.

    :ivar segments: the decoded segments; the last one is empty where the path ends in a slash.
    :ivar raw: what follows a raw mount's path and one slash, untouched and with the query; ``None`` elsewhere.
    """

    segments: tuple[bytes, ...]
    raw: bytes | None = None

    @property
    def text(self) -> bytes:
        """The decoded path; a slash inside a segment is written ``%2F``."""
        return b"/" + b"/".join([segment.replace(b"/", b"%2F") for segment in self.segments])


def split_path(path: str) -> tuple[bytes, ...]:
    """The segments of a path in a setting (text, not percent-encoded); slashes at its ends do not count."""
    return tuple(segment.encode() for segment in path.split("/") if segment)


class RawPrefixes:
    """
    Where canonicalisation stops.

    :param prefixes: segments of the raw mounts; ``None`` for a segment that may be anything.
    """

    def __init__(self, prefixes: Iterable[Sequence[bytes | None]] = ()) -> None:
        self.tree: dict[Any, Any] = {}
        found = [tuple(prefix) for prefix in prefixes]
        for prefix in found:
            node = self.tree
            for segment in prefix:
                node = node.setdefault(segment, {})
            node[True] = True
        self.depth = max((len(prefix) for prefix in found), default=-1)

    def __bool__(self) -> bool:
        return bool(self.tree)

    def match(self, segments: Sequence[bytes]) -> bool:
        """Whether a raw mount stands at exactly these segments."""
        if len(segments) > self.depth:
            return False
        nodes = [self.tree]
        for segment in segments:
            nodes = [node[key] for node in nodes for key in (segment, None) if key in node]
        return any(True in node for node in nodes)


NO_RAW = RawPrefixes()


def canonical(target: bytes, raw: RawPrefixes = NO_RAW) -> CanonicalPath:
    """
    The canonical path of a request target in origin form.

    :param target: path and query as received, undecoded.
    """
    if raw:
        return _walk(target, raw)
    return canonical_path(target.partition(b"?")[0])


@lru_cache(maxsize=1024)
def canonical_path(path: bytes) -> CanonicalPath:
    """The canonical path of a target without a query, where there are no raw mounts."""
    if len(path) < 1024 and _PLAIN.match(path):
        return CanonicalPath(tuple(path[1:].split(b"/")))
    return _walk(path, NO_RAW)


def _walk(target: bytes, raw: RawPrefixes) -> CanonicalPath:
    path, question, query = target.partition(b"?")
    stack: list[bytes] = []
    if raw.match(stack):
        return CanonicalPath((), target.removeprefix(b"/"))
    end = len(path)
    position = 1 if path.startswith(b"/") else 0
    directory = True
    while position <= end:
        slash = path.find(b"/", position)
        stop = end if slash < 0 else slash
        segment = unquote_to_bytes(path[position:stop])
        position = stop + 1
        directory = segment in (b"", b".", b"..")
        if segment == b"..":
            del stack[-1:]
        elif not directory:
            stack.append(segment)
            if raw.match(stack):
                return CanonicalPath(tuple(stack), path[position:] + question + query)
    return CanonicalPath((*stack, b"") if directory else tuple(stack))


class PathMatcher:
    """
    The ``paths`` and ``except_paths`` of a wrapper.

    A pattern with ``*``, ``?`` or ``[`` is a glob over the whole path (``*`` passes slashes); any other is a path and all
    below it.

    What a glob of ``paths`` matches is matched with all below it, as a script runs for what is below its own path too.

    :param paths: what is matched; nothing for everything.
    :param except_paths: what is not, though ``paths`` has it.
    """

    def __init__(self, paths: Sequence[str] = (), except_paths: Sequence[str] = ()) -> None:
        self.everything = not paths and not except_paths
        self._included = [_compile(pattern, below=True) for pattern in paths or ["/"]]
        self._excluded = [_compile(pattern, below=False) for pattern in except_paths]

    def match(self, path: CanonicalPath) -> bool:
        """Whether the wrapper applies to this path."""
        return any(_applies(pattern, path) for pattern in self._included) and not any(
            _applies(pattern, path) for pattern in self._excluded
        )


Pattern = tuple[bytes, ...] | re.Pattern[str]


def is_glob(pattern: str) -> bool:
    """Whether a pattern of :class:`PathMatcher` is a glob, not a path."""
    return re.search(r"[*?[]", pattern) is not None


def _compile(pattern: str, below: bool) -> Pattern:
    if not is_glob(pattern):
        return split_path(pattern)
    glob = pattern if pattern.startswith(("/", "*")) else "/" + pattern
    whole = translate(glob)[:-2]
    return re.compile(whole + (r"(?s:/.*)?\Z" if below else r"\Z"))


def _applies(pattern: Pattern, path: CanonicalPath) -> bool:
    if isinstance(pattern, tuple):
        return path.segments[: len(pattern)] == pattern
    return pattern.match(path.text.decode("utf-8", "surrogateescape")) is not None


class PathTable(Generic[T]):
    """
    Which mounts own a path: the longest first, those at the same path in the order given.

    :param entries: pairs of a mount's path as text and the mount.
    :ivar find: tells which own a path, each with the number of segments of its own path.
    """

    def __init__(self, entries: Iterable[tuple[str, T]]) -> None:
        table: dict[tuple[bytes, ...], list[T]] = {}
        for at, value in entries:
            table.setdefault(split_path(at), []).append(value)
        self._table = table
        self._lengths = sorted({len(at) for at in table}, reverse=True)
        self.find: Callable[[tuple[bytes, ...]], Sequence[tuple[int, T]]] = lru_cache(maxsize=512)(self._find)

    def _find(self, segments: tuple[bytes, ...]) -> Sequence[tuple[int, T]]:
        return tuple(
            (length, value)
            for length in self._lengths
            if length <= len(segments)
            for value in self._table.get(segments[:length], ())
        )
