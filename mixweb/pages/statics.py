"""
The static files of an application, under names that change with what is in them.
"""

from __future__ import annotations

import mimetypes
import os
from collections.abc import AsyncGenerator
from hashlib import blake2b
from time import time_ns
from typing import NamedTuple
from urllib.parse import quote

from twisted.web.error import UnsupportedMethod
from zope.interface import implementer

from mixweb.engine.body import IBodyReceiver
from mixweb.engine.errors import Declined
from mixweb.engine.files import MAX_FILE_BYTES, FileCache
from mixweb.engine.request import Request
from mixweb.kit.etags import tag_matches
from mixweb.pages.given import Given
from mixweb.wrapper import Leaf

#: A year: who has the name has the content (RFC 8246).
_FOREVER = b"public, max-age=31536000, immutable"

_PIECE_BYTES = 64 * 1024


class _File(NamedTuple):
    """
    What is known of a file.

    :ivar version: stands for its content.
    :ivar content: of a small one.
    """

    version: str
    content: bytes | None


@implementer(IBodyReceiver)
class StaticFiles(Leaf):
    """
    The files of a folder, whole ones only. Names that begin with a dot, folders and links out of the folder do not exist.

    :param folder: absolute.
    :raises ValueError: when the folder is not there.
    """

    def __init__(self, folder: str) -> None:
        if not os.path.isdir(folder):
            raise ValueError(f"there is no folder of static files at '{folder}'")
        self.folder = os.path.realpath(folder)
        self._known: FileCache[_File] = FileCache()

    def url(self, path: str) -> str:
        """
        The path of a file below this resource, with its version; without one when there is no such file.

        :param path: relative to the folder.
        """
        full = self._find(path.lstrip("/").split("/"))
        return quote(path.lstrip("/")) + (f"?v={self._look(full).version}" if full else "")

    def _find(self, names: list[str]) -> str | None:
        if not names or any(not name or name.startswith(".") or "\0" in name or "/" in name for name in names):
            return None
        full = os.path.realpath(os.path.join(self.folder, *names))
        inside = full.startswith(self.folder + os.sep)
        return full if inside and os.path.isfile(full) else None

    def _look(self, full: str) -> _File:
        found = self._known.get(full)
        if found is None:
            now = time_ns()
            with open(full, "rb") as file:
                status = os.fstat(file.fileno())
                content = file.read() if status.st_size <= MAX_FILE_BYTES else None
            state = content if content is not None else f"{status.st_mtime_ns} {status.st_size}".encode()
            found = _File(blake2b(state, digest_size=8).hexdigest(), content)
            self._known.put(full, os.fsencode(full), status, found, len(content or b""), now)
        return found

    def handle(self, request: Request) -> None:
        try:
            full = self._find([segment.decode() for segment in request.postpath])
        except UnicodeDecodeError:
            full = None
        if full is None:
            raise Declined
        if request.method not in (b"GET", b"HEAD"):
            raise UnsupportedMethod([b"GET"])
        self._send(request, full, self._look(full))

    def _send(self, request: Request, full: str, known: _File) -> None:
        etag = f'"{known.version}"'.encode()
        request.setHeader(b"ETag", etag)
        if request.target.partition(b"?")[2] == b"v=" + known.version.encode():
            request.setHeader(b"Cache-Control", _FOREVER)
        tags = request.requestHeaders.getRawHeaders(b"If-None-Match")
        if tags and tag_matches(b",".join(tags), etag):
            request.setResponseCode(304)
            request.complete(b"")
            return
        request.setHeader(b"Content-Type", _type_of(full))
        if known.content is not None:
            request.complete(known.content)
        else:
            request.setHeader(b"Content-Length", b"%d" % os.path.getsize(full))
            request.render(Given(_pieces(full)))


def _type_of(full: str) -> bytes:
    kind = mimetypes.guess_type(full)[0] or "application/octet-stream"
    return (
        f"{kind}; charset=utf-8".encode() if kind.startswith("text/") or kind.endswith("javascript") else kind.encode()
    )


async def _pieces(full: str) -> AsyncGenerator[bytes, None]:
    with open(full, "rb") as file:
        while piece := file.read(_PIECE_BYTES):
            yield piece
