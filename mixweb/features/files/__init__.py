"""
Files and directories.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from twisted.web.resource import IResource

from mixweb.feature import Context, FilePath, Mount, MountSettings, existing_path, option
from mixweb.features.files._asis import AsIs
from mixweb.features.files._names import check_media_type
from mixweb.features.files._processors import cgi_script
from mixweb.features.files._resource import FilesResource
from mixweb.kit.scripts import make_registry

__all__ = ["FEATURE", "AsIs", "Files", "FilesResource", "build", "cgi_script"]

_FIELD_VALUE = re.compile(r"[\x20-\x7e]*\Z")
_DOTTED_NAME = re.compile(r"\w+(?:\.\w+)+\Z")
_EXTENSION = re.compile(r"\.?[^./\0]+\Z")


@dataclass(frozen=True)
class Files(MountSettings):
    """Settings of the ``files`` feature."""

    path: FilePath = option(".", principal=True, help="Directory or file to serve.", metavar="PATH")
    index: Sequence[str] = option(
        ("index", "index.html", "index.htm", "index.rpy"), help="Names that stand for a directory, best first."
    )
    listing: bool = option(True, help="List directories that have no index file.")
    ignore_ext: Sequence[str] = option((), help="Extensions that may be left out of a path; '*' is any.", metavar="EXT")
    try_files: Sequence[str] = option(
        (), help="Paths to look at, best first; {path} is the path asked for.", metavar="PATH"
    )
    fallback: str = option(
        "", help="File for page visits that match no file (single-page applications).", metavar="FILE"
    )
    not_found: str = option("", help="File sent with 404 where nothing is found.", metavar="FILE")
    hidden: bool = option(False, help="Serve names that begin with a dot; .well-known is always served.")
    symlinks: Literal["inside", "follow", "refuse"] = option(
        "inside", help="Symbolic links: follow those that stay inside, all (follow), or none (refuse)."
    )
    default_type: str = option("application/octet-stream", help="Media type of files whose name tells none.")
    types: Mapping[str, str] = option({}, help="Media types by extension.", metavar="EXT=TYPE")
    charset: str = option("utf-8", help="Charset of text files; empty for none.")
    encodings: Mapping[str, str] = option(
        {"gz": "gzip"}, help="Content codings, by extension, of compressed text files.", metavar="EXT=CODING"
    )
    precompressed: bool = option(True, help="Send FILE.br, FILE.zst or FILE.gz to clients that take them.")
    etag: bool = option(True, help="Send entity tags.")
    cache_control: Mapping[str, str] = option(
        {}, help="Cache-Control of the files that a glob covers; the first one counts.", metavar="GLOB=VALUE"
    )
    download: Sequence[str] = option((), help="Globs or extensions of files to be saved, not shown.", metavar="GLOB")
    sidecars: bool = option(False, help="Obey FILE.headers, __dir__.headers and _headers.")
    scripts: bool = option(True, help="Run .rpy, .epy, .asis and .cgi files instead of sending them.")
    processors: Mapping[str, str] = option(
        {}, help="What else runs files, by extension: a class or function by its dotted name.", metavar="EXT=CLASS"
    )

    interpreters: Mapping[str, str] = option(
        {}, help="Programs that run files by CGI, by extension (php=php-cgi).", metavar="EXT=PROGRAM"
    )

    def __post_init__(self) -> None:
        try:
            existing_path(self.path)
        except ValueError as reason:
            raise ValueError(f"path {reason}") from None
        for name in self.index:
            if not name or "/" in name or name in (".", ".."):
                raise ValueError(f"index: {name!r} is not the name of a file")
        for name in ("ignore_ext", "types", "encodings", "processors", "interpreters"):
            for extension in getattr(self, name):
                if not _EXTENSION.match(extension):
                    raise ValueError(f"{name}: {extension!r} is not an extension")
        for name in ("fallback", "not_found"):
            _check_below(name, getattr(self, name))
        for pattern in self.try_files:
            _check_below("try_files", pattern)
        self._check_values()

    def _check_values(self) -> None:
        if self.symlinks not in ("inside", "follow", "refuse"):
            raise ValueError(f"symlinks: expected 'inside', 'follow' or 'refuse', got {self.symlinks!r}")
        for name, values in (("default_type", [self.default_type]), ("types", self.types.values())):
            for value in values:
                try:
                    check_media_type(value)
                except ValueError as reason:
                    raise ValueError(f"{name}: {reason}") from None
        for name, values in (("charset", [self.charset]), ("encodings", self.encodings.values())):
            for value in values:
                if not re.match(r"[\w!#$%&'*+.^`|~-]*\Z", value, re.ASCII):
                    raise ValueError(f"{name}: {value!r} is not a token")
        for value in self.cache_control.values():
            if not _FIELD_VALUE.match(value):
                raise ValueError(f"cache_control: {value!r} cannot be sent")
        for value in self.processors.values():
            if not _DOTTED_NAME.match(value):
                raise ValueError(f"processors: {value!r} is not a dotted name like 'package.module.Class'")


def _check_below(field: str, path: str) -> None:
    if "\0" in path or ".." in path.split("/"):
        raise ValueError(f"{field}: {os.fspath(path)!r} is not a path below the root")


def build(settings: Files, context: Context) -> IResource:
    """The resource of a mount."""
    return FilesResource(settings, reactor=context.reactor, registry=make_registry(context))


FEATURE = Mount("files", Files, build, declines=True)
