"""
Values of files, options and variables become values of settings; nothing is coerced, nothing is guessed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from mixweb.feature import FilePath, Place
from mixweb.stores import StoreURL, located

_WORDS: dict[Any, str] = {str: "text", StoreURL: "text", int: "an integer", float: "a number", bool: "true or false"}
_TRUE = {"true", "yes", "on", "1"}
_FALSE = {"false", "no", "off", "0"}
_VARIABLE = re.compile(r"\$(?:\$|\{([A-Za-z_][A-Za-z0-9_]*)\})")


def is_list(annotation: Any) -> bool:
    """Whether a field takes several values."""
    return get_origin(annotation) is Sequence


def is_table(annotation: Any) -> bool:
    """Whether a field takes names with values."""
    return get_origin(annotation) is Mapping


def expected(annotation: Any) -> str:
    """What a field takes, in words."""
    if annotation in (FilePath, Place):
        return "a path as text"
    if is_list(annotation):
        return f"a list of {expected(get_args(annotation)[0]).removeprefix('a ').removeprefix('an ')}"
    if is_table(annotation):
        return "a table"
    if get_origin(annotation) is Literal:
        return "one of " + ", ".join(repr(choice) for choice in get_args(annotation))
    if get_origin(annotation) in (Union, UnionType):
        return " or ".join(
            expected(choice) for choice in get_args(annotation) if choice in _WORDS or get_origin(choice)
        )
    return _WORDS.get(annotation, str(annotation))


def _found(value: Any) -> str:
    kinds = {str: "text", int: "an integer", float: "a number", bool: "true or false", list: "a list", dict: "a table"}
    return kinds.get(type(value), type(value).__name__)


def convert(value: Any, annotation: Any, base: Path) -> Any:
    """
    A value of a TOML document as a field's type has it.

    :param base: what a relative path counts from.
    :raises ValueError: "expected ..., got ...".
    """
    if annotation == FilePath:
        if isinstance(value, str):
            return _path(expand(value), base)
    elif is_list(annotation):
        if isinstance(value, list):
            return tuple(convert(item, get_args(annotation)[0], base) for item in value)
    elif is_table(annotation):
        if isinstance(value, dict):
            return {key: convert(item, get_args(annotation)[1], base) for key, item in value.items()}
    elif get_origin(annotation) is Literal:
        if value in get_args(annotation):
            return value
        raise ValueError(f"expected {expected(annotation)}, got {value!r}")
    elif get_origin(annotation) in (Union, UnionType):
        for choice in get_args(annotation):
            try:
                return convert(value, choice, base)
            except ValueError:
                continue
    elif annotation in _TEXTS and isinstance(value, str):
        return _TEXTS[annotation](expand(value), base)
    elif annotation is float and type(value) in (int, float):
        return float(value)
    elif type(value) is annotation:
        return value
    raise ValueError(f"expected {expected(annotation)}, got {_found(value)}")


def convert_text(text: str, annotation: Any, base: Path) -> Any:
    """
    A value of the command line or the environment as a field's type has it; of a list or table, one element.

    :raises ValueError: "expected ..., got ...".
    """
    if is_list(annotation):
        return (convert_text(text, get_args(annotation)[0], base),)
    if is_table(annotation):
        found = re.match(r"([^=:]+)(?:=|:\s*)(.*)", text, re.DOTALL)
        if found is None:
            raise ValueError(f"expected NAME=VALUE, got {text!r}")
        return {found[1].strip(): convert_text(found[2], get_args(annotation)[1], base)}
    if annotation is bool:
        if text.lower() in _TRUE | _FALSE:
            return text.lower() in _TRUE
        raise ValueError(f"expected true or false, got {text!r}")
    if annotation in (int, float):
        try:
            return annotation(text)
        except ValueError:
            raise ValueError(f"expected {expected(annotation)}, got {text!r}") from None
    if annotation == FilePath:
        return _path(text, base)
    if get_origin(annotation) in (Union, UnionType):
        for choice in get_args(annotation):
            try:
                return convert_text(text, choice, base)
            except (ValueError, TypeError):
                continue
    if get_origin(annotation) is Literal:
        return convert(text, annotation, base)
    if annotation in _TEXTS:
        return _TEXTS[annotation](text, base)
    raise ValueError(f"expected {expected(annotation)}, got {text!r}")


def _path(text: str, base: Path) -> str:
    try:
        return str(base / Path(text).expanduser()) if text else ""
    except RuntimeError:
        raise ValueError(f"{text!r} names a user that does not exist") from None


def _placed(text: str, base: Path) -> str:
    scheme, _, rest = text.partition(":")
    if not re.match(r"[A-Za-z][A-Za-z0-9_+-]+:", text):
        return _path(text, base)
    return f"file:{_path(rest, base)}" if scheme == "file" and rest else text


#: What becomes of text, by the type of its field.
_TEXTS: dict[Any, Callable[[str, Path], str]] = {
    str: lambda text, base: text,
    StoreURL: located,
    Place: _placed,
}


def expand(text: str) -> str:
    """
    Put environment variables in the place of ``${NAME}``; ``$$`` is a dollar sign.

    :raises ValueError: when a variable is not set.
    """

    def value(found: re.Match[str]) -> str:
        if found[1] is None:
            return "$"
        if found[1] not in os.environ:
            raise ValueError(f"the environment variable {found[1]} is not set")
        return os.environ[found[1]]

    return _VARIABLE.sub(value, text)


def secret(value: Any, base: Path) -> Any:
    """
    The text of a secret that may stand in a file (``{ file = "secret.txt" }``); any other value as it is.

    :raises ValueError: when the file cannot be read.
    """
    if not isinstance(value, dict) or set(value) != {"file"} or not isinstance(value["file"], str):
        return value
    try:
        return (base / expand(value["file"])).read_text().rstrip("\r\n").replace("$", "$$")
    except OSError as reason:
        raise ValueError(f"cannot read the secret in '{value['file']}': {reason.strerror}") from None
