"""
Resource scripts: Python files that make the resource of a path.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from twisted.web.pages import notFound
from twisted.web.resource import IResource, Resource
from twisted.web.static import Registry

from mixweb.engine.request import Request
from mixweb.feature import Context, FilePath, Mount, MountSettings, existing_path, option
from mixweb.kit.mounted import MountedResource, decline, redirect_to_directory
from mixweb.kit.scripts import make_registry, run_script

_ENDING = b".rpy"


@dataclass(frozen=True)
class Script(MountSettings):
    """Settings of the ``script`` feature."""

    path: FilePath = option("", principal=True, help="A .rpy file, or a directory of them.", metavar="PATH")

    def __post_init__(self) -> None:
        if not os.fspath(self.path):
            raise ValueError("path must name a .rpy file or a directory of them")


class ScriptDirectory(Resource):
    """
    The scripts of a directory: ``/name`` is ``name.rpy``, ``/`` is ``index.rpy``, and directories below are the same.

    Names that begin with a dot, files that are no ``.rpy`` and links to a place elsewhere do not exist for it.

    :param path: absolute.
    :param root: below which links may lead; ``path`` unless given.
    """

    def __init__(self, path: bytes, registry: Registry, root: bytes = b"") -> None:
        super().__init__()
        self.path = path
        self.registry = registry
        self.root = root or path

    def getChild(self, name: bytes, request: Request) -> IResource:
        if name.startswith(b".") or b"/" in name or b"\0" in name:
            return notFound()
        script = os.path.join(self.path, (name.removesuffix(_ENDING) or b"index") + _ENDING)
        if os.path.isfile(script) and self._is_inside(script):
            return run_script(os.fsdecode(script), self.registry)
        directory = os.path.join(self.path, name)
        if name and os.path.isdir(directory) and self._is_inside(directory):
            return ScriptDirectory(directory, self.registry, self.root)
        return notFound()

    def _is_inside(self, path: bytes) -> bool:
        root = os.path.realpath(self.root)
        return os.path.commonpath([os.path.realpath(path), root]) == root

    def render(self, request: Request) -> bytes:
        if os.path.isfile(os.path.join(self.path, b"index" + _ENDING)):
            return redirect_to_directory(request)
        return decline(request)


def build(settings: Script, context: Context) -> IResource:
    path = os.path.abspath(existing_path(settings.path))
    registry = make_registry(context)
    if os.path.isdir(path):
        directory = ScriptDirectory(os.fsencode(path), registry)
        return MountedResource(lambda: directory)
    return MountedResource(lambda: run_script(path, registry))


FEATURE = Mount("script", Script, build, declines=True)
