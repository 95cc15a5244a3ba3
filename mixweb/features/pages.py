"""
Applications made with :mod:`mixweb.pages`.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from mixweb.feature import Context, FilePath, Mount, MountSettings, existing_path, option
from mixweb.kit.compat import HELP, Compat, check_compat
from mixweb.kit.imports import describe, import_name
from mixweb.pages import Pages, make_app


@dataclass(frozen=True)
class PagesMount(MountSettings):
    """Settings of the ``pages`` feature."""

    app: str | Pages = option(
        "", principal=True, help="Python name of the application: MODULE:NAME, or MODULE.", metavar="NAME"
    )
    folder: FilePath = option("", help="Folder that its module is looked for in first.", metavar="DIR")
    compat: Compat = option("", help=HELP, metavar="NAME")

    def __post_init__(self) -> None:
        if self.app == "":
            raise ValueError("app must be the Python name of an application: module:site")
        check_compat(self.compat)


def find_app(settings: PagesMount) -> Pages:
    """
    The application of the settings.

    :raises ValueError: when there is none of this name.
    """
    if not isinstance(settings.app, str):
        return settings.app
    if os.fspath(settings.folder):
        folder = os.path.abspath(existing_path(settings.folder))
        if folder not in sys.path:
            sys.path.insert(0, folder)
    return app_of(settings.app, import_name(settings.app))


def app_of(name: str, found: Any) -> Pages:
    """
    The application that a named object is, makes when called without arguments, or has in it when it is a module: one that
    is there, or else one of what its ``@route`` have declared.

    :raises ValueError: when there is none, or there are several.
    """
    if isinstance(found, ModuleType):
        apps = {id(value): key for key, value in vars(found).items() if isinstance(value, Pages)}
        if len(apps) > 1:
            raise ValueError(
                f"app: '{name}' has several applications: {', '.join(f'{name}:{key}' for key in apps.values())}"
            )
        found = vars(found)[apps.popitem()[1]] if apps else make_app(found)
    elif callable(found) and not isinstance(found, Pages):
        try:
            found = found()
        except Exception as error:
            raise ValueError(f"app: '{name}' could not be called without arguments: {describe(error)}") from error
    if not isinstance(found, Pages):
        raise ValueError(f"app: '{name}' is no mixweb.pages.Pages but {type(found).__name__}")
    return found


def check_needs(app: Pages, present: frozenset[str]) -> None:
    """
    Whether all that handlers ask for is there.

    :param present: the names of the wrappers in front.
    :raises ValueError: naming what is not, with where it is asked for.
    """
    missing = {feature: place for feature, place in app.needs.items() if feature not in present}
    if missing:
        raise ValueError(
            "\n".join(
                f"{place}: asks for what the {name} feature gives: add --{name}" for name, place in missing.items()
            )
        )


def build(settings: PagesMount, context: Context) -> Pages:
    app = find_app(settings)
    app.ready()
    if context.wrappers is not None:
        check_needs(app, context.wrappers)
    app.mounted_at(settings.at)
    app.compat = settings.compat
    for prefix in app.raw_prefixes:
        context.announce_raw(prefix)
    for feature, setting in app.wishes.items():
        if context.wrappers is not None and feature not in context.wrappers:
            context.warn(f"pages: the setting {setting!r} of {settings.app} does nothing by itself: add --{feature}")
    return app


FEATURE = Mount("pages", PagesMount, build, declines=True)
