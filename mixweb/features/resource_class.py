"""
Any resource by its Python name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from twisted.web.resource import IResource

from mixweb.feature import Context, Mount, MountSettings, option
from mixweb.kit.imports import describe, import_name
from mixweb.kit.mounted import MountedResource, is_resource


@dataclass(frozen=True)
class ResourceClass(MountSettings):
    """Settings of the ``class`` feature."""

    name: str | IResource = option(
        "",
        principal=True,
        help="Dotted name of a resource, of its class, or of a function that makes it.",
        metavar="NAME",
    )

    def __post_init__(self) -> None:
        if self.name == "":
            raise ValueError("name must be the dotted name of a resource: package.module.object")


def make_resource(name: str, found: Any) -> IResource:
    """
    The resource that a named object is, or makes when called without arguments.

    :raises ValueError: when it is none and makes none.
    """
    if is_resource(found):
        return found
    if not callable(found):
        raise ValueError(f"'{name}' is no resource, but {type(found).__name__}")
    try:
        made = found()
    except Exception as error:
        raise ValueError(f"'{name}' could not be called without arguments: {describe(error)}") from error
    if not is_resource(made):
        raise ValueError(f"'{name}' made no resource, but {type(made).__name__}")
    return made


def build(settings: ResourceClass, context: Context) -> IResource:
    name = settings.name
    root = make_resource(name, import_name(name)) if isinstance(name, str) else make_resource(type(name).__name__, name)
    return MountedResource(lambda: root)


FEATURE = Mount("class", ResourceClass, build, declines=True)
