"""
Files that forms bring: they go to disk while they arrive.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO

from multipart import MultipartSegment, ParserError, ParserLimitReached, PushMultipartParser
from twisted.internet.defer import Deferred, execute
from twisted.internet.interfaces import IReactorThreads
from twisted.internet.threads import deferToThreadPool

from mixweb.engine.errors import HTTPError

#: A smaller file stays in memory.
_MEMORY_BYTES = 64 * 1024

_FOLDERS = re.compile(r".*[/\\]", re.DOTALL)
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")


@dataclass
class Upload:
    """
    A file that a form brought; it is gone when the request ends, unless it is saved.

    :ivar name: what the client calls it, without folders and control characters; nothing to build a path of.
    :ivar type: its media type as the client says.
    :ivar size: in bytes.
    :ivar file: its content, to be read from the start.
    """

    name: str
    type: str
    size: int
    file: BinaryIO
    reactor: Any = None

    def read(self) -> bytes:
        """All of it; for files that are known to be small."""
        self.file.seek(0)
        return self.file.read()

    def save(self, path: str | PathLike[str]) -> Deferred[None]:
        """
        Copy it to a new file.

        :returns: fires when it is done; fails with ``FileExistsError`` where there is one of that name.
        """
        if not IReactorThreads.providedBy(self.reactor):
            return execute(self._copy, path)
        return deferToThreadPool(self.reactor, self.reactor.getThreadPool(), self._copy, path)

    def _copy(self, path: str | PathLike[str]) -> None:
        self.file.seek(0)
        with open(path, "xb") as target:
            shutil.copyfileobj(self.file, target)


@dataclass(frozen=True)
class Limits:
    """
    What a body may bring; beyond it the answer is 413.

    :ivar form_bytes: the longest form without its files, and the longest JSON document.
    :ivar fields: how many fields a form has at most, its files among them.
    :ivar upload_bytes: the longest file.
    :ivar uploads: how many files.
    """

    form_bytes: int = 1024 * 1024
    fields: int = 1000
    upload_bytes: int = 100 * 1024 * 1024
    uploads: int = 100


class MultipartReader:
    """
    Takes a ``multipart/form-data`` body piece by piece: its fields into memory, its files to disk.

    :param boundary: from the content type.
    :param reactor: whose threads save files.
    :ivar fields: the values of each field.
    :ivar uploads: the files of each field.
    """

    def __init__(self, boundary: str, limits: Limits, reactor: Any) -> None:
        self.fields: dict[str, list[str]] = {}
        self.uploads: dict[str, list[Upload]] = {}
        self._limits = limits
        self._reactor = reactor
        self._parser = PushMultipartParser(
            boundary, max_segment_size=max(limits.upload_bytes, limits.form_bytes), max_segment_count=limits.fields
        )
        self._left = limits.form_bytes
        self._files: list[Any] = []
        self._write: Callable[[bytes], None] = lambda data: None
        self._end: Callable[[], None] = lambda: None

    def feed(self, data: bytes) -> None:
        """
        Take a piece.

        :raises HTTPError: 400 when the body is malformed, 413 when it is too much.
        """
        try:
            for event in self._parser.parse(data) if data else ():
                self._take(event)
        except ParserLimitReached:
            raise HTTPError(413, f"A form has at most {self._limits.fields} fields, with short headers.") from None
        except ParserError as reason:
            raise HTTPError(400, f"The multipart body is malformed: {reason}.") from None

    def end(self) -> None:
        """
        The body is complete.

        :raises HTTPError: 400 when it is not.
        """
        try:
            self._parser.close()
        except ParserError:
            raise HTTPError(400, "The multipart body ends too early.") from None

    def close(self) -> None:
        """Forget the files."""
        for file in self._files:
            file.close()

    def _take(self, event: MultipartSegment | bytes | bytearray | None) -> None:
        if event is None:
            self._end()
        elif isinstance(event, MultipartSegment):
            self._begin(event)
        else:
            self._write(bytes(event))

    def _begin(self, segment: MultipartSegment) -> None:
        if not segment.name:
            raise HTTPError(400, "The multipart body is malformed: a part has no name.")
        name = segment.name
        if segment.filename is None:
            pieces: list[bytes] = []
            self._write = lambda data: pieces.append(self._counted(data))
            self._end = lambda: self.fields.setdefault(name, []).append(_text(pieces))
        else:
            self._begin_file(name, segment)

    def _begin_file(self, name: str, segment: MultipartSegment) -> None:
        if len(self._files) == self._limits.uploads:
            raise HTTPError(413, f"A form has at most {self._limits.uploads} files.")
        file: Any = SpooledTemporaryFile(_MEMORY_BYTES)  # noqa: SIM115 - closed with the request
        self._files.append(file)
        shown = _CONTROLS.sub("", _FOLDERS.sub("", segment.filename or ""))
        upload = Upload(shown, segment.content_type or "application/octet-stream", 0, file, self._reactor)

        def write(data: bytes) -> None:
            upload.size += len(data)
            if upload.size > self._limits.upload_bytes:
                raise HTTPError(413, f"A file has at most {self._limits.upload_bytes} bytes.")
            file.write(data)

        def end() -> None:
            file.seek(0)
            if upload.name or upload.size:  # a form sends an empty part where no file was chosen
                self.uploads.setdefault(name, []).append(upload)

        self._write, self._end = write, end

    def _counted(self, data: bytes) -> bytes:
        self._left -= len(data)
        if self._left < 0:
            raise HTTPError(413, f"A form has at most {self._limits.form_bytes} bytes without its files.")
        return data


def _text(pieces: list[bytes]) -> str:
    return b"".join(pieces).decode("utf-8", "surrogateescape")
