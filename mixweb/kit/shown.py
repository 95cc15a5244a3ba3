"""
Settings as people read them.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_type_hints

from mixweb.feature import FilePath, default_of, settings_fields
from mixweb.stores import StoreURL, hidden

_BARE = re.compile(r"[A-Za-z0-9_-]+\Z")
_MASK = "(hidden)"


def changed(settings: Any) -> dict[str, Any]:
    """The fields that differ from their defaults, paths relative to the current directory where they are below it."""
    hints = get_type_hints(type(settings), include_extras=True)
    found = {}
    for item in settings_fields(settings):
        value = getattr(settings, item.name)
        if value != default_of(item) and not (value == () == tuple(default_of(item) or ())):
            found[item.name] = _relative(value, hints[item.name])
    return found


def masked(settings: Any, values: dict[str, Any]) -> dict[str, Any]:
    """The same without what is secret."""
    hints = get_type_hints(type(settings), include_extras=True)
    secrets = {item.name for item in settings_fields(settings) if item.metadata["secret"]}
    return {
        name: _MASK if name in secrets else hidden(value) if hints[name] == StoreURL else value
        for name, value in values.items()
    }


def _relative(value: Any, annotation: Any) -> Any:
    if annotation == FilePath and value and Path(value).is_relative_to(Path.cwd()):
        return os.path.relpath(value)
    if annotation == StoreURL and value.startswith("sqlite:"):
        return f"sqlite:{_relative(value.removeprefix('sqlite:'), FilePath)}"
    return list(value) if isinstance(value, tuple) else value


def said(settings: Any) -> str:
    """The fields that differ from their defaults as one line, without what is secret."""
    return ", ".join(f"{name} = {toml_value(value)}" for name, value in masked(settings, changed(settings)).items())


def toml_value(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{toml_key(key)} = {toml_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    if isinstance(value, (int, float)):
        return repr(value)
    if not isinstance(value, (str, os.PathLike)):
        return json.dumps(f"({type(value).__name__})")  # an object that a program has given
    return json.dumps(os.fspath(value).replace("$", "$$"), ensure_ascii=False).replace("\x7f", "\\u007f")


def toml_key(key: str) -> str:
    """A key as TOML writes it."""
    return key if _BARE.match(key) else json.dumps(key, ensure_ascii=False)
