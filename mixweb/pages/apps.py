"""
Applications made of modules, and the one at hand.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from pkgutil import walk_packages
from types import ModuleType
from typing import Any
from weakref import WeakSet

from mixweb.kit.imports import import_name
from mixweb.pages.application import Pages
from mixweb.pages.call import current

#: What Tornado and Jacinle call what an application takes.
_PARTS = {
    "template_path": "templates",
    "static_path": "static",
    "cookie_secret": "cookie_secret",
    "login_url": "login_url",
}

#: Settings of theirs that a feature fulfils here.
_FEATURES = {
    "session_engine": "session",
    "gzip": "encode",
    "compress_response": "encode",
    "xsrf_cookies": "csrf",
    "xheaders": "forwarded",
}

_made: WeakSet[Pages] = WeakSet()


def make_app(
    modules: str | ModuleType | Iterable[str | ModuleType], settings: Mapping[str, Any] | None = None
) -> Pages:
    """
    An application of what the ``@route`` of modules have declared. There may be several in one process.

    :param modules: names, imported here, or modules; of a package, also its modules.
    :param settings: what handlers want to know; ``template_path``, ``static_path``, ``cookie_secret`` and ``login_url`` are
        taken by the application, relative paths from the first module's folder.
    :raises ValueError: when a module cannot be imported.
    """
    names = [modules] if isinstance(modules, (str, ModuleType)) else list(modules)
    found = [module for name in names for module in _modules(name)]
    given = dict(settings or {})
    folder = os.path.dirname(found[0].__file__ or "") if found else ""
    parts = {part: given[name] for name, part in _PARTS.items() if given.get(name)}
    for part in ("templates", "static"):
        if part in parts:
            parts[part] = os.path.abspath(os.path.join(folder, parts[part]))
    app = Pages(settings=given, **parts)
    app.wishes = {feature: name for name, feature in _FEATURES.items() if given.get(name) not in (None, False, "off")}
    app.include(*found)
    _made.add(app)
    return app


def _modules(name: str | ModuleType) -> Iterator[ModuleType]:
    module = import_name(name) if isinstance(name, str) else name
    if not isinstance(module, ModuleType):
        raise ValueError(f"{name!r} is no module but {type(module).__name__}")
    yield module
    for item in walk_packages(getattr(module, "__path__", None) or [], f"{module.__name__}."):
        yield import_module(item.name)


def get_app() -> Pages:
    """
    The application of the request at hand; outside of requests, the only one that :func:`make_app` has made.

    :raises RuntimeError: when there is none, or several.
    """
    call = current.get(None)
    if call is not None:
        return call.app
    if len(_made) != 1:
        raise RuntimeError(f"{len(_made) or 'no'} applications have been made, and no request is at hand")
    return next(iter(_made))
