"""
What a route matches: a path with variables (``/people/<int:person>/age``) or a compiled regular expression.

The kinds of variables: ``<name>`` is the text of one segment, ``<int:name>``, ``<float:name>`` and ``<uuid:name>`` are one
segment that is such a value, ``<path:name>`` is the rest of the path decoded, ``<raw:name>`` the rest of the target as it was
sent, undecoded and with the query.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote
from uuid import UUID

from mixweb.kit.rules import SLASH, path_text

_VARIABLE = re.compile(r"<(?:(?P<kind>[^<>:]*):)?(?P<name>[^<>:]*)>\Z")
_LOOKS_LIKE_REGEX = re.compile(r"\(|\\|\[|\.\*|\^|\$\Z|\?P<")
_INT = re.compile(rb"-?[0-9]{1,40}\Z")
_FLOAT = re.compile(rb"-?[0-9]{1,40}(?:\.[0-9]{1,40})?\Z")
_UUID = re.compile(rb"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")

#: What may stand in a segment as it is (RFC 3986, 3.3).
_SAFE = "!$&'()*+,;=:@"


def _number(form: re.Pattern[bytes], make: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def decode(segment: bytes) -> Any:
        if not form.match(segment):
            raise ValueError(segment)
        return make(segment)

    return decode


def _text(segment: bytes) -> str:
    if not segment:
        raise ValueError("a variable is not empty")
    return segment.decode()


def rest_text(segments: Sequence[bytes]) -> str:
    """
    The rest of a path as text.

    :raises ValueError: when it is not UTF-8, or a segment has a slash or NUL in it, which no path has.
    """
    rest = b"/".join(segments)
    if rest.count(b"/") >= max(len(segments), 1) or b"\0" in rest:
        raise ValueError("a slash inside a segment")
    return rest.decode()


@dataclass(frozen=True)
class Kind:
    """
    A kind of variable.

    :ivar type: what its values are.
    :ivar decode: makes the value of a decoded segment; ``ValueError`` when the segment is none.
    :ivar rest: whether it takes all that is left.
    """

    name: str
    type: type
    decode: Callable[[bytes], Any]
    rest: bool = False


#: In the order in which a segment is tried.
KINDS = {
    kind.name: kind
    for kind in (
        Kind("int", int, _number(_INT, int)),
        Kind("float", float, _number(_FLOAT, float)),
        Kind("uuid", UUID, _number(_UUID, lambda segment: UUID(segment.decode("ascii")))),
        Kind("str", str, _text),
        Kind("path", str, bytes.decode, rest=True),
        Kind("raw", bytes, bytes, rest=True),
    )
}


@dataclass(frozen=True)
class Variable:
    """A variable of a path."""

    name: str
    kind: Kind


def _part(text: str, path: str) -> bytes | Variable:
    if "<" not in text and ">" not in text:
        return text.encode()
    found = _VARIABLE.match(text)
    if found is None:
        raise ValueError(f"{path!r}: {text!r} is neither text nor one variable like <name> or <int:name>")
    kind = KINDS.get(found["kind"] or "str")
    if kind is None:
        raise ValueError(f"{path!r}: there is no kind {found['kind']!r} of variables, only {', '.join(KINDS)}")
    if not found["name"].isidentifier():
        raise ValueError(f"{path!r}: {found['name']!r} is no name for a variable")
    return Variable(found["name"], kind)


class PathPattern:
    """
    A path with variables.

    :param text: begins with a slash; a slash at its end counts.
    :ivar parts: its segments: bytes, or a variable.
    :ivar names: of its variables, in order.
    :raises ValueError: when it is malformed.
    """

    def __init__(self, text: str) -> None:
        if not text.startswith("/"):
            raise ValueError(f"{text!r} must begin with a slash")
        if _LOOKS_LIKE_REGEX.search(text):
            raise ValueError(f"{text!r} looks like a regular expression: give re.compile({text!r})")
        self.text = text
        self.parts = tuple(_part(part, text) for part in text[1:].split("/"))
        if b"" in self.parts[:-1] or {b".", b".."} & set(self.parts):
            raise ValueError(f"{text!r} is not canonical: no request has an empty segment, . or .. in its path")
        variables = [part for part in self.parts if isinstance(part, Variable)]
        self.variables = {variable.name: variable.kind for variable in variables}
        self.names: tuple[str, ...] = tuple(variable.name for variable in variables)
        if len(self.variables) < len(self.names):
            raise ValueError(f"{text!r} has two variables of one name")
        if any(variable.kind.rest for variable in variables[:-1]) or (
            self.names and self.variables[self.names[-1]].rest and not isinstance(self.parts[-1], Variable)
        ):
            raise ValueError(f"{text!r}: nothing can follow a variable that takes the rest")

    def path(self, values: Sequence[Any], named: Mapping[str, Any]) -> str:
        """
        The path that these values stand in, percent-encoded.

        :raises ValueError: when one is missing, too many, or not of its kind.
        """
        given = dict(zip(self.names, values, strict=False)) | dict(named)
        if len(values) > len(self.names) or set(given) != set(self.names):
            raise ValueError(f"{self.text!r} takes {', '.join(self.names) or 'no values'}, not {sorted(given)}")
        return "/" + "/".join(
            _encode(part.kind, given[part.name]) if isinstance(part, Variable) else quote(part, safe=_SAFE)
            for part in self.parts
        )


def _encode(kind: Kind, value: Any) -> str:
    if isinstance(value, bytes):
        return quote(value, safe=_SAFE + "/?%")
    text = str(value)
    if kind.rest:
        return quote(text, safe=_SAFE + "/")
    kind.decode(text.encode())
    return quote(text, safe=_SAFE)


class RegexPattern:
    """
    A regular expression over the whole decoded path; its groups are the variables.

    A slash inside a segment is not one for the expression.

    :param regex: compiled, for text.
    :ivar names: of its groups, in order; empty for one without a name.
    """

    def __init__(self, regex: re.Pattern[str]) -> None:
        self.regex = regex
        self.text = regex.pattern
        numbers = {number: name for name, number in regex.groupindex.items()}
        self.names: tuple[str, ...] = tuple(numbers.get(number, "") for number in range(1, regex.groups + 1))
        self.variables: dict[str, Kind] = {}

    def match(self, segments: Sequence[bytes]) -> tuple[str | None, ...] | None:
        """The groups for a path, if it matches."""
        found = self.regex.fullmatch(path_text(segments))
        if found is None:
            return None
        return tuple(group if group is None else group.replace(SLASH, "/") for group in found.groups())

    def path(self, values: Sequence[Any], named: Mapping[str, Any]) -> str:
        """
        The path that these values stand in, percent-encoded.

        :raises ValueError: when they do not give one that the expression matches.
        """
        left = iter(values)
        given = [named[name] if name in named else next(left, "") for name in self.names]
        pieces = re.split(r"\((?:[^()\\]|\\.)*\)", self.text.removeprefix("^").removesuffix("$"))
        if len(pieces) != len(given) + 1 or next(left, None) is not None:
            raise ValueError(f"{self.text!r} takes {len(given)} values")
        texts = [re.sub(r"\\(\W)", r"\1", piece) for piece in pieces]
        path = texts[0] + "".join(f"{value}{text}" for value, text in zip(given, texts[1:], strict=True))
        if not self.regex.fullmatch(path):
            raise ValueError(f"no path that {self.text!r} matches can be made of {given}: give the route a plain path")
        return quote(path, safe=_SAFE + "/")


Pattern = PathPattern | RegexPattern


def make_pattern(pattern: str | re.Pattern[str]) -> Pattern:
    """
    The pattern that somebody wrote.

    :raises ValueError: when it is malformed.
    """
    return PathPattern(pattern) if isinstance(pattern, str) else RegexPattern(pattern)
