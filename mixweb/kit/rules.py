"""
Rules over paths: patterns with captures, and paths as text that can be taken apart and put together again.

The text of a path is its decoded segments joined by slashes. Bytes that are not UTF-8, and a slash inside a segment,
are lone surrogates in it, so that nothing is lost when it is quoted again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import quote

#: A slash inside a segment.
SLASH = "\udc2f"

_SEGMENT_SAFE = "/!$&'()*+,;=:@"
_URL_SAFE = "!$%&'()*+,/:;=?@[]"
_WRITTEN_SAFE = _URL_SAFE + "#{}"
_GLOB = re.compile(r"(?P<star>\*+)|(?P<any>\?)|\[(?P<no>!)?(?P<set>[^]]+)\]|(?P<text>.)", re.DOTALL)


def path_text(segments: Sequence[bytes]) -> str:
    """The text of a path."""
    return "/" + "/".join([segment.decode("utf-8", "surrogateescape").replace("/", SLASH) for segment in segments])


def quote_text(text: str, safe: str = "") -> str:
    """Text of a path percent-encoded; a slash inside a segment always is."""
    return "%2F".join([quote(part, safe=safe, errors="surrogateescape") for part in text.split(SLASH)])


def quote_path(text: str) -> str:
    """The text of a path as it stands in a URL (RFC 3986, 3.3)."""
    return quote_text(text, _SEGMENT_SAFE)


def clean_target(target: bytes) -> str:
    """A target or query as a client sent it, with what may not stand in a URL percent-encoded."""
    return quote(target, safe=_URL_SAFE)


def clean_url(url: str) -> str:
    """A URL as somebody wrote it in a setting, with blanks, backslashes and what is not ASCII percent-encoded."""
    return quote(url, safe=_WRITTEN_SAFE)


def is_pattern(text: str) -> bool:
    """Whether a rule is a regular expression (it begins with ``^``) or a glob, and not one plain path."""
    return re.search(r"\A\^|[*?[]", text) is not None


def compile_pattern(text: str) -> re.Pattern[str]:
    """
    A pattern over the whole text of a path.

    ``^...`` is a regular expression. In a glob each ``*`` is a capture and passes slashes, ``?`` is one character and
    ``[abc]`` one of several. Any other text is that path, with or without a slash at its end.

    :raises ValueError: when a regular expression is malformed.
    """
    if text.startswith("^"):
        try:
            return re.compile(text)
        except re.error as reason:
            raise ValueError(f"{text!r} is not a regular expression: {reason}") from None
    if not is_pattern(text):
        return re.compile(re.escape("/" + text.strip("/")).removesuffix("/") + r"/?\Z")
    return re.compile(_glob(text if text.startswith(("/", "*")) else "/" + text), re.DOTALL)


def _glob(text: str) -> str:
    """Each star but the last is atomic: the shortest match is as good as any, and no path takes long."""
    pieces = [""]
    for found in _GLOB.finditer(text):
        if found["star"]:
            pieces.append("")
        elif found["set"]:
            pieces[-1] += f"[{'^' if found['no'] else ''}{re.escape(found['set']).replace(chr(92) + '-', '-')}]"
        else:
            pieces[-1] += "." if found["any"] else re.escape(found["text"])
    first, *middle = pieces
    if not middle:
        return first + r"\Z"
    return first + "".join(f"(?>(.*?){piece})" for piece in middle[:-1]) + "(.*)" + middle[-1] + r"\Z"


def capture_names(pattern: re.Pattern[str]) -> list[str]:
    """What the captures of a pattern are called: their numbers from 1 and their names."""
    return [*map(str, range(1, pattern.groups + 1)), *pattern.groupindex]


def captures(found: re.Match[str]) -> dict[str, str]:
    """The captures of a match; one that took no part is empty."""
    numbered = {str(number): value or "" for number, value in enumerate(found.groups(), 1)}
    return numbered | {name: value or "" for name, value in found.groupdict().items()}
