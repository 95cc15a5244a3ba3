"""
The resource that serves files.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from twisted.web.error import UnsupportedMethod
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource
from twisted.web.server import NOT_DONE_YET
from twisted.web.static import Registry
from zope.interface import implementer

from mixweb.engine.errors import Declined, HTTPError
from mixweb.engine.fields import weights
from mixweb.engine.files import FileCache
from mixweb.engine.request import Request
from mixweb.features.files._answer import Representation, answer, content
from mixweb.features.files._directory import list_directory
from mixweb.features.files._lookup import Lookup, Names, Redirect
from mixweb.features.files._processors import SCRIPTS, Processors
from mixweb.features.files._represent import Representer
from mixweb.features.files._walk import Opened, Tree
from mixweb.kit.codings import choose
from mixweb.kit.scripts import ScriptRegistry

if TYPE_CHECKING:
    from mixweb.features.files import Files

#: How long a file is served from memory before it is looked up again, in seconds: a change of the file itself is seen
#: at once, a new index file, compressed sibling or sidecar within this time.
KEEP_SECONDS = 1.0

#: What describes content that is not that of the path asked for.
_WITHOUT_STATE = frozenset((b"Content-Type", b"Content-Encoding", b"X-Content-Type-Options"))


@dataclass(slots=True)
class Kept:
    """
    What a path stood for.

    :ivar representation: ``None`` where only the codings are known.
    :ivar codings: of the compressed siblings there are.
    :ivar until: by the reactor's clock, in seconds.
    """

    representation: Representation | None
    codings: tuple[bytes, ...]
    until: float


#: Small files of all mounts of the process.
_SHARED: FileCache[Kept] = FileCache()
_numbers = count()


@implementer(IResource)
class FilesResource:
    """
    Serves a directory and all below it, or one file.

    A path that does not exist is declined, so that the next mount is asked. Children that are put to it come first.

    :param settings: a :class:`mixweb.Files`.
    :param reactor: lists large directories in its threads; that of the site when ``None``.
    :param registry: what its scripts share; one of its own when ``None``.
    :param cache: where small files are kept; the one of the process when ``None``.
    """

    isLeaf = True

    def __init__(
        self,
        settings: Files,
        reactor: Any = None,
        registry: Registry | None = None,
        cache: FileCache[Kept] | None = None,
    ) -> None:
        self.settings = settings
        self.reactor = reactor
        self.children: dict[bytes, IResource] = {}
        scripts = SCRIPTS if settings.scripts else {}
        names = {**scripts, **settings.processors}
        self.processors = Processors(names, registry or ScriptRegistry(), settings.interpreters)
        extensions = [_dotted(extension) for extension in settings.ignore_ext]
        self.tree = Tree(os.fsencode(os.path.abspath(settings.path)), settings.symlinks, extensions)
        self.names = Names(settings.hidden, settings.sidecars)
        self.lookup = Lookup(self.tree, self.names, self.processors.handles, settings.index, settings.try_files)
        self._represent = Representer(settings, self.lookup)
        self._cache = _SHARED if cache is None else cache
        self._number = next(_numbers)

    def putChild(self, path: bytes, child: IResource) -> None:
        if not isinstance(path, bytes):
            raise TypeError(f"Path segment must be bytes, but {path!r} is {type(path)}")
        self.children[path] = child
        self.isLeaf = False

    def getChildWithDefault(self, name: bytes, request: IRequest) -> IResource:
        if name in self.children:
            return self.children[name]
        request.postpath.insert(0, request.prepath.pop())
        return _Leaf(self.render)

    def render(self, request: Request) -> bytes | int:
        if not isinstance(request, Request):
            raise TypeError("FilesResource needs mixweb.Site: a stock Site has no mounts to decline to")
        if request.method in (b"GET", b"HEAD"):
            kept = self._kept(request)
            if kept is not None:
                return answer(request, kept)
        return self._find(request)

    # From memory

    def _kept(self, request: Request) -> Representation | None:
        segments = tuple(request.postpath)
        kept = self._cache.get((self._number, segments))
        now = request.site.reactor.seconds()
        if kept is None or kept.until < now:
            return None
        if kept.codings:
            coding = choose(_accepted(request), kept.codings)
            if coding is not None:
                kept = self._cache.get((self._number, segments, coding))
        return None if kept is None or kept.until < now else kept.representation

    def _keep(
        self, request: Request, opened: Opened, made: Representation | None, codings: Any, *coding: bytes
    ) -> None:
        key = (self._number, tuple(request.postpath), *coding)
        kept = Kept(made, codings, request.site.reactor.seconds() + KEEP_SECONDS)
        size = len(made.body) if made is not None and made.body is not None else 0
        self._cache.put(key, opened.path, opened.status, kept, size, opened.moment)

    # From the file system

    def _find(self, request: Request) -> bytes | int:
        with _refusals():
            found = self.lookup.find(request.postpath)
        if isinstance(found, Redirect):
            _only_reads(request)
            return _redirect(request)
        if found is not None and found.is_directory:
            if self.settings.listing:
                return self._list(request, found)
            found.close()
            found = None
        return self._miss(request) if found is None else self._serve(request, found)

    def _list(self, request: Request, directory: Opened) -> int:
        try:
            _only_reads(request)
            with _refusals():
                readable = os.open(b".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=directory.descriptor)
            reactor = self.reactor or request.site.reactor
            return list_directory(request, readable, directory.path, self.tree, self.names, reactor)
        finally:
            directory.close()

    def _serve(self, request: Request, opened: Opened, keep: bool = True) -> bytes | int:
        processor = self.processors.find(opened)
        if processor is not None:
            return self.processors.run(request, processor, opened)
        try:
            _only_reads(request)
            return self._send(request, opened, keep)
        finally:
            opened.close()

    def _send(self, request: Request, opened: Opened, keep: bool) -> bytes | int:
        """
        Answer with a file.

        :param keep: whether the path stands for the file, and not only for this request.
        """
        codings = self._represent.codings(opened)
        coding = choose(_accepted(request), codings)
        encoded = self._represent.encoded(opened, coding) if coding is not None else None
        if encoded is None:
            made = self._represent.make(opened, codings=codings)
            if keep and made.body is not None:
                self._keep(request, opened, made, codings)
            return answer(request, made, opened.release(made.body is None))
        assert coding is not None
        if keep:
            self._keep(request, opened, None, codings)
        try:
            made = self._represent.make(encoded, opened, codings, coding)
            if keep and made.body is not None:
                self._keep(request, encoded, made, codings, coding)
            return answer(request, made, encoded.release(made.body is None))
        finally:
            encoded.close()

    def _miss(self, request: Request) -> bytes | int:
        """Nothing is there."""
        if request.method in (b"GET", b"HEAD"):
            if self.settings.fallback and _is_visit(request):
                found = self._named(self.settings.fallback)
                if found is not None:
                    request.responseHeaders.addRawHeader(b"Vary", b"Accept, Sec-Fetch-Mode")
                    return self._serve(request, found, keep=False)
            if self.settings.not_found:
                found = self._named(self.settings.not_found)
                if found is not None:
                    return self._not_found(request, found)
        raise Declined

    def _named(self, path: str) -> Opened | None:
        with _refusals():
            found = self.lookup.candidate(os.fsencode(path))
        if isinstance(found, Opened) and found.is_directory:
            found.close()
            return None
        return found if isinstance(found, Opened) else None

    def _not_found(self, request: Request, opened: Opened) -> bytes | int:
        request.setResponseCode(404)
        processor = self.processors.find(opened)
        if processor is not None:
            return self.processors.run(request, processor, opened)
        try:
            made = self._represent.make(opened)
            made.fields.only(_WITHOUT_STATE).set_on(request.responseHeaders)
            return content(request, made, opened.release(made.body is None))
        finally:
            opened.close()


@implementer(IResource)
class _Leaf:
    """Takes all that is left of the path."""

    isLeaf = True

    def __init__(self, render: Callable[[Request], bytes | int]) -> None:
        self.render = render

    def getChildWithDefault(self, name: bytes, request: IRequest) -> IResource:
        raise TypeError("a leaf has no children")

    def putChild(self, path: bytes, child: IResource) -> None:
        raise TypeError("a leaf has no children")


@contextmanager
def _refusals() -> Iterator[None]:
    """What the operating system refuses, as an answer."""
    try:
        yield
    except PermissionError as error:
        raise HTTPError(403, "The server may not read this.") from error
    except OSError as error:
        if error.errno not in (errno.EMFILE, errno.ENFILE):
            raise
        raise HTTPError(503, "Too many files are open.", [(b"Retry-After", b"1")]) from error


def _dotted(extension: str) -> bytes:
    return b"*" if extension == "*" else b"." + extension.removeprefix(".").encode()


def _only_reads(request: Request) -> None:
    """:raises UnsupportedMethod: for a method that files do not have."""
    if request.method not in (b"GET", b"HEAD"):
        raise UnsupportedMethod((b"GET", b"HEAD"))


def _accepted(request: Request) -> tuple[bytes, ...]:
    return tuple(request.requestHeaders.getRawHeaders(b"Accept-Encoding") or ())


def _is_visit(request: Request) -> bool:
    """Whether a person goes to the page: the client wants HTML, and it is no script or image of another page."""
    if request.getHeader(b"Sec-Fetch-Mode") not in (None, b"navigate"):
        return False
    accepted = weights(request.requestHeaders.getRawHeaders(b"Accept") or ())
    return any(accepted.get(kind, 0) > 0 for kind in (b"text/html", b"application/xhtml+xml"))


def _redirect(request: Request) -> int:
    """Send the client to the same path with a final slash; a path, so never to another host."""
    segments = [quote(segment, safe="!$&'()*+,;=:@~") for segment in (*request.prepath, *request.postpath) if segment]
    query = request.target.partition(b"?")[1:]
    request.setResponseCode(301)
    request.setHeader(b"Location", ("/" + "".join(segment + "/" for segment in segments)).encode() + b"".join(query))
    request.setHeader(b"Content-Length", b"0")
    request.finish()
    return NOT_DONE_YET
