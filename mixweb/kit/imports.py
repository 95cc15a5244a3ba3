"""
Python objects by their dotted names.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from difflib import get_close_matches
from importlib import import_module, invalidate_caches
from importlib.util import find_spec
from pkgutil import iter_modules
from traceback import extract_tb
from types import ModuleType
from typing import Any

_NAME = re.compile(r"(?!\d)\w+(?:\.(?!\d)\w+)*(?::(?!\d)\w+(?:\.(?!\d)\w+)*)?\Z")


def import_name(name: str) -> Any:
    """
    The object with a dotted name.

    Modules are looked for where Python looks, and then in the current directory.

    :param name: ``package.module.object``, or ``package.module:object``.
    :raises ValueError: says what could not be imported, and the nearest name that could.
    """
    if not _NAME.match(name):
        raise ValueError(f"'{name}' is no Python name: expected module.object or module:object")
    module, rest = _find_module(name)
    found: Any = module
    for attribute in rest:
        if not hasattr(found, attribute):
            owner = f"module '{found.__name__}'" if isinstance(found, ModuleType) else f"'{type(found).__name__}'"
            raise ValueError(f"'{name}': {owner} has no '{attribute}'{_nearest(attribute, dir(found))}")
        found = getattr(found, attribute)
    return found


def _find_module(name: str) -> tuple[ModuleType, list[str]]:
    """The innermost module of a name, and the attributes that are to be looked up in it."""
    path, colon, rest = name.partition(":")
    first, *parts = path.split(".")
    if not _exists(first):
        _use_current_directory()
    module = _import(name, first)
    while parts and hasattr(module, "__path__") and (colon or _exists(f"{module.__name__}.{parts[0]}")):
        module = _import(name, f"{module.__name__}.{parts.pop(0)}")
    if colon and parts:
        raise ValueError(f"'{name}': module '{module.__name__}' is no package")
    return module, [*parts, *(rest.split(".") if colon else ())]


def _exists(module: str) -> bool:
    return module in sys.modules or find_spec(module) is not None


def _use_current_directory() -> None:
    here = os.getcwd()
    if not {here, ""} & set(sys.path):
        sys.path.append(here)
    invalidate_caches()


def _import(name: str, module: str) -> ModuleType:
    if not _exists(module):
        package = module.rpartition(".")[0]
        known = iter_modules(sys.modules[package].__path__) if package else iter_modules()
        near = _nearest(module.rpartition(".")[2], (item.name for item in known))
        raise ValueError(f"'{name}': there is no module '{module}'{near}")
    try:
        return import_module(module)
    except Exception as error:
        raise ValueError(f"'{name}': importing '{module}' failed: {describe(error)}") from error


def describe(error: Exception) -> str:
    """One line about an exception: its type, its text, and where it was raised."""
    if isinstance(error, SyntaxError):
        return f"SyntaxError: {error}"
    text = f"{type(error).__name__}: {error}".rstrip(": ")
    frames = extract_tb(error.__traceback__)
    return f"{text} ({frames[-1].filename}, line {frames[-1].lineno})" if frames else text


def _nearest(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, list(known), 1)
    return f" (nearest: '{near[0]}')" if near else ""
