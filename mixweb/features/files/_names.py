"""
What the name of a file says: its type, its coding, and which rules apply to it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import translate
from mimetypes import MimeTypes
from urllib.parse import quote

#: Types that the standard library does not know, or knows under an old name.
_TYPES = {
    "7z": "application/x-7z-compressed",
    "apk": "application/vnd.android.package-archive",
    "avif": "image/avif",
    "bz2": "application/x-bzip2",
    "cfg": "text/plain",
    "conf": "text/plain",
    "diff": "text/plain",
    "epub": "application/epub+zip",
    "flac": "audio/flac",
    "geojson": "application/geo+json",
    "gz": "application/gzip",
    "heic": "image/heic",
    "ico": "image/vnd.microsoft.icon",
    "ini": "text/plain",
    "iso": "application/x-iso9660-image",
    "java": "text/plain",
    "js": "text/javascript",
    "json": "application/json",
    "jsonld": "application/ld+json",
    "jxl": "image/jxl",
    "log": "text/plain",
    "m4a": "audio/mp4",
    "map": "application/json",
    "md": "text/markdown",
    "mjs": "text/javascript",
    "mkv": "video/matroska",
    "odp": "application/vnd.oasis.opendocument.presentation",
    "ods": "application/vnd.oasis.opendocument.spreadsheet",
    "odt": "application/vnd.oasis.opendocument.text",
    "ogg": "audio/ogg",
    "ogv": "video/ogg",
    "opus": "audio/ogg",
    "otf": "font/otf",
    "patch": "text/plain",
    "rst": "text/x-rst",
    "rtf": "application/rtf",
    "sqlite": "application/vnd.sqlite3",
    "toml": "application/toml",
    "ttf": "font/ttf",
    "vtt": "text/vtt",
    "wasm": "application/wasm",
    "webm": "video/webm",
    "webmanifest": "application/manifest+json",
    "webp": "image/webp",
    "woff": "font/woff",
    "woff2": "font/woff2",
    "xhtml": "application/xhtml+xml",
    "xml": "application/xml",
    "xz": "application/x-xz",
    "yaml": "application/yaml",
    "yml": "application/yaml",
    "zst": "application/zstd",
}

_MEDIA_TYPE = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+(?:;[\t\x20-\x7e]*)?\Z", re.ASCII)

#: Types of text that a browser shows, whatever they begin with.
_SHOWN = re.compile(rb"(?:text/|image/svg\+xml|application/(?:json|xml|yaml|toml)|[^;]*\+(?:json|xml)\b)")


def extension(name: bytes) -> str:
    """The extension of a file name, lower case and without its dot; empty for none."""
    stem, dot, ending = name.rpartition(b".")
    return ending.decode("utf-8", "replace").lower() if dot and stem else ""


def plain_extension(text: str) -> str:
    """An extension in a setting, lower case and without its dot."""
    return text.removeprefix(".").lower()


def check_media_type(text: str) -> None:
    """
    Make sure that text may be the value of ``Content-Type``.

    :raises ValueError: when it may not.
    """
    if not _MEDIA_TYPE.match(text):
        raise ValueError(f"'{text}' is not a media type; expected something like 'text/plain'")


class Types:
    """
    The content type of each file name. What the machine has in its own tables of types does not count.

    :param default: the type of names that tell none.
    :param types: extension to type, above the built-in ones.
    :param charset: added to types of text that name none; empty for none.
    :param encodings: extension to content coding, for files that were compressed and are text inside.
    :param html: names without an extension that are HTML.
    """

    def __init__(
        self,
        default: str,
        types: Mapping[str, str] | None = None,
        charset: str = "",
        encodings: Mapping[str, str] | None = None,
        html: Iterable[str] = (),
    ) -> None:
        known = {ending.removeprefix("."): kind for ending, kind in MimeTypes().types_map[True].items()}
        known |= _TYPES | {plain_extension(ending): kind for ending, kind in (types or {}).items()}
        self._types = {ending: self._complete(kind, charset) for ending, kind in known.items()}
        self._encodings = {plain_extension(ending): coding.encode() for ending, coding in (encodings or {}).items()}
        self._html = {name.encode() for name in html if not extension(name.encode())}
        self._default = self._complete(default, charset)

    @staticmethod
    def _complete(kind: str, charset: str) -> bytes:
        bare = charset and kind.startswith("text/") and "charset=" not in kind.lower()
        return f"{kind}; charset={charset}".encode() if bare else kind.encode()

    def find(self, name: bytes) -> tuple[bytes | None, bytes | None]:
        """The content type, ``None`` when the name tells none, and the content coding of a file, if it has one."""
        ending = extension(name)
        coding = self._encodings.get(ending)
        if coding is not None:
            inner = self._types.get(extension(name[: -len(ending) - 1]))
            if inner is not None and _SHOWN.match(inner):
                return inner, coding
        if ending == "svgz":
            return b"image/svg+xml", b"gzip"
        return self._types["html"] if name in self._html else self._types.get(ending), None

    @property
    def default(self) -> bytes:
        """The type of files whose name tells none."""
        return self._default


NameRule = Callable[[bytes], bool]


def name_rule(pattern: str) -> NameRule:
    """
    Whether a pattern covers a path below the root, given as ``dir/name.txt``.

    ``zip`` is an extension, ``.tar.gz`` the end of a name, ``*.min.js`` a glob over names, ``assets/*`` one over whole
    paths (``*`` passes slashes); ``robots.txt`` and ``docs/index.html`` are themselves.
    """
    text = pattern.removeprefix("/")
    if not re.search(r"[*?[./]", text):
        return lambda path: extension(_last(path)) == text.lower()
    if re.match(r"\.[^*?[/]+\Z", text):
        ending = text.lower().encode()
        return lambda path: path.lower().endswith(ending)
    compiled = re.compile(translate(text).encode())
    if "/" in pattern:
        return lambda path: compiled.match(path) is not None
    return lambda path: compiled.match(_last(path)) is not None


def _last(path: bytes) -> bytes:
    return path.rpartition(b"/")[2]


def name_rules(patterns: Iterable[str]) -> NameRule:
    """Whether one of the patterns covers a path."""
    rules = [name_rule(pattern) for pattern in patterns]
    return lambda path: any(rule(path) for rule in rules)


class ValueByName:
    """The first value whose pattern covers a path."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._rules: Sequence[tuple[NameRule, bytes]] = [
            (name_rule(key), value.encode()) for key, value in values.items()
        ]

    def find(self, path: bytes) -> bytes | None:
        """The value, or ``None``."""
        return next((value for rule, value in self._rules if rule(path)), None)


def attachment(name: bytes) -> bytes:
    """The ``Content-Disposition`` that has a file saved under its name (RFC 6266)."""
    text = name.decode("utf-8", "replace")
    plain = re.sub(r'[^\x20-\x7e]|["\\%]', "_", text)
    extended = f"; filename*=UTF-8''{quote(text, safe='!#$&+-.^_`|~')}" if plain != text else ""
    return f'attachment; filename="{plain}"{extended}'.encode()
