"""
Objects as trees of pages: exposed methods are pages, attributes with exposed methods are folders.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from inspect import Parameter
from types import ModuleType
from typing import Any, TypeVar, overload

from mixweb.pages._takes import wanted
from mixweb.pages.arguments import annotations_of
from mixweb.pages.declared import Declaration
from mixweb.pages.dependencies import provider
from mixweb.pages.routes import Place, RouteError
from mixweb.pages.uploads import Upload

Exposed = TypeVar("Exposed", bound=Callable[..., Any])

_MARK = "__mixweb_exposed__"
_METHODS = frozenset([b"GET", b"POST"])
_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


@overload
def expose(aliases: Exposed) -> Exposed: ...
@overload
def expose(aliases: str | Sequence[str] = ()) -> Callable[[Exposed], Exposed]: ...
def expose(aliases: Any = ()) -> Any:
    """
    Make a method a page of the object that is published: ``@expose``, or ``@expose(["generer", "generar"])`` with further
    names. ``index`` is the page of the object itself, ``default`` answers where there is no other.
    """
    if callable(aliases):
        return expose()(aliases)
    names = (aliases,) if isinstance(aliases, str) else tuple(aliases)

    def mark(function: Exposed) -> Exposed:
        setattr(function, _MARK, names)
        return function

    return mark


def published(path: str, found: object, place: Place) -> Iterator[tuple[Declaration, frozenset[bytes]]]:
    """
    The pages of an object and its attributes, each with its methods.

    :param path: that it is published at.
    :raises RouteError: when nothing of it is exposed.
    """
    pages = list(_pages(path.rstrip("/"), found, place, set()))
    if not pages:
        raise RouteError(f"{place}: {type(found).__name__} has nothing with @expose")
    for page in pages:
        yield page, _METHODS


def _pages(base: str, found: object, place: Place, seen: set[int]) -> Iterator[Declaration]:
    if id(found) in seen:
        return
    seen.add(id(found))
    for name in dir(found):
        if name.startswith("_"):
            continue
        member = inspect.getattr_static(found, name)
        if isinstance(member, property):
            continue
        value = getattr(found, name)
        aliases = getattr(value, _MARK, None)
        if aliases is not None:
            for page in dict.fromkeys(_names(name, aliases)):
                yield from _ways(base, page, value)
        elif not isinstance(value, (type, ModuleType)) and not inspect.isroutine(value):
            yield from _pages(f"{base}/{name}", value, place, seen)


def _names(name: str, aliases: Sequence[str]) -> Iterator[str]:
    """The names of a page: an alias that is no name of Python's is that name, too."""
    yield name
    for alias in aliases:
        yield alias
        yield re.sub(r"\W", "_", alias)


def _ways(base: str, name: str, method: Any) -> Iterator[Declaration]:
    """The paths to a page: what stands behind its name are its first parameters."""
    code = inspect.unwrap(method).__code__
    place = Place(code.co_filename, code.co_firstlineno)
    try:
        names, rest = _path_parameters(method)
    except TypeError as reason:
        raise RouteError(f"{place}: {method.__qualname__}: {reason}") from None
    if name == "index":
        yield Declaration(f"{base}/", method, place)
        return
    own = base if name == "default" else f"{base}/{name}"
    if own:
        yield Declaration(own, method, place)
    for count in range(1, len(names) + 1):
        yield Declaration(own + "".join(f"/<{name}>" for name in names[:count]), method, place)
    if rest:
        yield Declaration(own + "".join(f"/<{name}>" for name in names) + f"/<path:{rest}>", method, place)


def _path_parameters(method: Any) -> tuple[list[str], str]:
    """The parameters that a path may give values to, and the one that takes all others."""
    resolved = annotations_of(method)
    names: list[str] = []
    for parameter in inspect.signature(method).parameters.values():
        if parameter.kind is Parameter.VAR_POSITIONAL:
            return names, parameter.name
        want = wanted(parameter, resolved.get(parameter.name, Parameter.empty))
        if parameter.kind not in _POSITIONAL or want.source is not None or want.kind == list[Upload]:
            break
        if provider(want.kind) is None and want.kind is not Upload:
            names.append(parameter.name)
    return names, ""
