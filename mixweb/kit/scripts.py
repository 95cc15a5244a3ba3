"""
Python files that make resources (``.rpy``) or write pages (``.epy``): every feature that meets one has it run here.

A file is compiled again only when it has changed, and run for each request.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from time import time_ns
from types import CodeType
from typing import Any

from twisted.application.service import IServiceCollection, MultiService
from twisted.logger import Logger
from twisted.python.reflect import qual
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET
from twisted.web.static import Registry
from zope.interface import Interface

from mixweb.engine.errors import HTTPError
from mixweb.engine.files import FileCache
from mixweb.engine.request import Request
from mixweb.feature import Context
from mixweb.kit.mounted import is_resource

_log = Logger()

#: What compiled scripts may take, in bytes; code is estimated at four times its source.
_CODE_BYTES = 8 * 1024 * 1024
_CODE_WEIGHT = 4

_code: FileCache[CodeType] = FileCache(_CODE_BYTES)


class ScriptRegistry(Registry):
    """What the scripts of one mount keep between requests, by interface or by class."""

    def getComponent(self, interface: Any, default: Any = None) -> Any:
        if qual(interface) in self._adapterCache or hasattr(interface, "__adapt__"):
            return super().getComponent(interface, default)
        return default


def make_registry(context: Context) -> ScriptRegistry:
    """A registry; its ``IServiceCollection`` takes services that run as long as the mount."""
    services = MultiService()
    context.add_service(services)
    registry = ScriptRegistry()
    registry.setComponent(IServiceCollection, services)
    return registry


def run_script(path: str, registry: Registry) -> IResource:
    """
    Run a ``.rpy`` file.

    It is given ``__file__``, ``registry``, ``cache()`` and ``recache()``, and binds ``resource``. When it calls
    ``cache()`` and has made its resource before, it ends there and that one is used again, until the file changes;
    ``recache()`` has it run on, and the resource that it makes is kept.

    :param path: absolute.
    :raises HTTPError: 404 when the file is gone, 500 when the script makes no resource.
    :raises Exception: what the script raises, or ``SyntaxError``.
    """
    script = _Script(path, _load(path), registry)
    try:
        found = script.run()
    except _KnownError as known:
        return known.resource
    if not is_resource(found):
        _log.error("{path} binds no resource, but {found!r}", path=path, found=found)
        name = os.path.basename(path)
        raise HTTPError(500, f"{name} must bind the name 'resource' to a resource: resource = MyResource().")
    if script.keep:
        script.remember(found)
    return found


class PythonScript(Resource):
    """
    A page that a ``.epy`` file writes: it is run for each request with ``request``, ``__file__`` and ``registry``.

    :param path: absolute.
    """

    isLeaf = True

    def __init__(self, path: str, registry: Registry) -> None:
        super().__init__()
        self.path = path
        self.registry = registry

    def render(self, request: Request) -> int:
        names = {"__file__": self.path, "registry": self.registry, "request": request}
        exec(_load(self.path), names)  # noqa: S102 - this is what a script is for
        if not (request.finished or request._disconnected):
            request.finish()
        return NOT_DONE_YET


class _KnownError(Exception):
    """Ends a script whose resource is known."""

    def __init__(self, resource: IResource) -> None:
        super().__init__()
        self.resource = resource


class _IKept(Interface):
    """The code that made each resource that a registry keeps, by the path of its script."""


class _Script:
    """One run of a script."""

    def __init__(self, path: str, code: CodeType, registry: Registry) -> None:
        self.path = path
        self.code = code
        self.registry = registry
        self.keep = False

    def run(self) -> Any:
        """What the script has bound to ``resource``."""
        given: dict[str, str | Registry | Callable[[], None] | None] = {
            "__file__": self.path,
            "registry": self.registry,
            "resource": None,
            "cache": self.cache,
            "recache": self.recache,
        }
        exec(self.code, given)  # noqa: S102 - this is what a script is for
        return given["resource"]

    def cache(self) -> None:
        """The script's ``cache()``."""
        kept = self.registry.getComponent(_IKept)
        if kept and kept.get(self.path) == self.code:
            raise _KnownError(self.registry.getCachedPath(self.path))
        self.keep = True

    def recache(self) -> None:
        """The script's ``recache()``."""
        self.keep = True

    def remember(self, resource: IResource) -> None:
        """Use a resource the next time."""
        kept = self.registry.getComponent(_IKept)
        if kept is None:
            kept = {}
            self.registry.setComponent(_IKept, kept)
        kept[self.path] = self.code
        self.registry.cachePath(self.path, resource)


def _load(path: str) -> CodeType:
    code = _code.get(path)
    if code is None:
        now = time_ns()
        try:
            with open(path, "rb") as file:
                status = os.fstat(file.fileno())
                source = file.read()
        except FileNotFoundError:
            raise HTTPError(404, "Nothing is here.") from None
        code = compile(source, path, "exec", dont_inherit=True)
        _code.put(path, os.fsencode(path), status, code, _CODE_WEIGHT * len(source), now)
    return code
