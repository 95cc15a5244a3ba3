"""
How a file is described: type, coding, validators and what settings and sidecars add.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from twisted.web.http import datetimeToString

from mixweb.engine.files import MAX_FILE_BYTES, FieldBlock
from mixweb.features.files._answer import Representation, entity_tag
from mixweb.features.files._lookup import Lookup
from mixweb.features.files._names import Types, ValueByName, attachment, name_rules
from mixweb.features.files._sidecars import Sidecars
from mixweb.features.files._walk import Opened
from mixweb.kit.conditional import State

if TYPE_CHECKING:
    from mixweb.features.files import Files

#: Content coding to the extension of its files, best first.
EXTENSIONS = {b"br": b".br", b"zstd": b".zst", b"gzip": b".gz"}

#: What an answer without content tells of the file (RFC 9110, 15.4.5).
_UNCHANGED = frozenset((b"ETag", b"Last-Modified", b"Cache-Control", b"Expires", b"Vary", b"Content-Location"))


class Representer:
    """Describes files as settings have it."""

    def __init__(self, settings: Files, lookup: Lookup) -> None:
        self._lookup = lookup
        self._types = Types(settings.default_type, settings.types, settings.charset, settings.encodings, settings.index)
        self._precompressed = settings.precompressed
        self._etag = settings.etag
        self._cache_control = ValueByName(settings.cache_control)
        self._is_download = name_rules(settings.download)
        self._sidecars = Sidecars(lookup.sibling) if settings.sidecars else None

    def codings(self, opened: Opened) -> tuple[bytes, ...]:
        """The codings of the compressed siblings of a file that are not older than it."""
        if not self._precompressed or not opened.names or self._type(opened)[1] is not None:
            return ()
        return tuple(coding for coding, ending in EXTENSIONS.items() if _is_current(opened, opened.path + ending))

    def encoded(self, opened: Opened, coding: bytes) -> Opened | None:
        """The compressed sibling of a file, opened."""
        return self._lookup.sibling((*opened.names[:-1], opened.names[-1] + EXTENSIONS[coding]))

    def make(
        self,
        opened: Opened,
        original: Opened | None = None,
        codings: tuple[bytes, ...] = (),
        coding: bytes | None = None,
    ) -> Representation:
        """
        The representation of an open file; with its content when it is small.

        :param original: the file that it is a compressed sibling of.
        :param codings: there are siblings of these codings.
        :param coding: of the sibling.
        """
        described = original or opened
        status = opened.status
        body = os.pread(opened.descriptor, MAX_FILE_BYTES + 1, 0) if status.st_size <= MAX_FILE_BYTES else None
        if body is not None and len(body) != status.st_size:
            body = body[:MAX_FILE_BYTES]
        tag = entity_tag(status, body, opened.moment) if self._etag else None
        modified = int(status.st_mtime)
        state = State(tag, modified if modified * 1_000_000_000 <= opened.moment else None)
        kind, own_coding = self._type(described)
        fields = self._fields(described, state, kind, coding or own_coding, bool(codings))
        size = status.st_size if body is None else len(body)
        return Representation(size, state, fields.fields[b"Content-Type"][0], fields, fields.only(_UNCHANGED), body)

    def _type(self, opened: Opened) -> tuple[bytes | None, bytes | None]:
        """As the file was called, or else as it is really called."""
        name = os.path.basename(opened.path)
        asked = opened.names[-1] if opened.names else name
        found = self._types.find(asked)
        return found if found[0] is not None else self._types.find(name)

    def _fields(
        self, opened: Opened, state: State, kind: bytes | None, coding: bytes | None, varies: bool
    ) -> FieldBlock:
        name = opened.names[-1] if opened.names else os.path.basename(opened.path)
        path = b"/".join(opened.names) or name
        fields = {b"Content-Type": [kind or self._types.default], b"Accept-Ranges": [b"bytes"]}
        if state.etag is not None:
            fields[b"ETag"] = [state.etag]
        if state.modified is not None:
            fields[b"Last-Modified"] = [datetimeToString(state.modified)]
        if kind is None:
            fields[b"X-Content-Type-Options"] = [b"nosniff"]
        if coding is not None:
            fields[b"Content-Encoding"] = [coding]
        if varies:
            fields[b"Vary"] = [b"Accept-Encoding"]
        cache_control = self._cache_control.find(path)
        if cache_control is not None:
            fields[b"Cache-Control"] = [cache_control]
        if self._is_download(path):
            fields[b"Content-Disposition"] = [attachment(name)]
        if self._sidecars is not None and opened.names:
            for field, values in self._sidecars.fields(opened.names).items():
                fields[field] = [*fields.get(field, []), *values] if field == b"Vary" else values
        return FieldBlock(fields.items())


def _is_current(opened: Opened, sibling: bytes) -> bool:
    try:
        return os.stat(sibling).st_mtime_ns >= opened.status.st_mtime_ns
    except OSError:
        return False
