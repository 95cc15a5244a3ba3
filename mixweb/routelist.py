"""
What there is at which path: the routes of applications, and other mounts.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from mixweb.config import Loaded
from mixweb.feature import MountSettings
from mixweb.features.pages import PagesMount, app_of, find_app
from mixweb.kit.imports import import_name
from mixweb.pages import Pages
from mixweb.plan import Host
from mixweb.registry import registry

#: Methods, path, what answers, where that stands.
Row = tuple[str, str, str, str]


def app_rows(app: Pages, at: str = "/") -> Iterator[Row]:
    """
    The routes of an application.

    :param at: where it is mounted.
    :raises ValueError: when something is wrong with them.
    """
    for methods, path, handler, place in app.routes:
        host, slash, rest = path.partition("/")
        file = os.path.relpath(place.file) if Path(place.file).is_relative_to(Path.cwd()) else place.file
        yield methods, f"{host}{at.rstrip('/')}{slash}{rest}", handler, f"{file}:{place.line}"


def host_rows(loaded: Loaded, host: Host) -> Iterator[Row]:
    """
    The mounts of a host, the routes of applications one by one.

    :raises ValueError: when something is wrong with them.
    """
    for item in host.settings:
        if isinstance(item, PagesMount):
            yield from app_rows(find_app(item), item.at)
        elif isinstance(item, MountSettings):
            yield "any", f"{item.at.rstrip('/')}/...", registry().of(item).name, str(loaded.origin(item) or "")


def table(rows: Iterable[Row]) -> str:
    """Rows as text, in columns."""
    found = list(rows)
    widths = [max((len(row[column]) for row in found), default=0) for column in range(3)]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]) for row in found
    ]
    return "".join(f"{line.rstrip()}\n" for line in lines)


def routes_of(loaded: Loaded) -> str:
    """
    All hosts of a configuration, with what there is.

    :raises ValueError: when something is wrong with an application.
    """
    hosts = [loaded.plan.default, *loaded.plan.hosts]
    texts = [(", ".join(host.names) or "default", table(host_rows(loaded, host))) for host in hosts]
    return "\n".join(f"{name}\n{text}" for name, text in texts if text)


def routes_of_app(name: str) -> str:
    """
    The routes of an application by its Python name.

    :raises ValueError: when there is none, or something is wrong with it.
    """
    return table(app_rows(app_of(name, import_name(name))))
