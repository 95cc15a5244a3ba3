"""
Files that are run instead of sent.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial

from twisted.python.reflect import namedAny
from twisted.web.resource import IResource, getChildForRequest
from twisted.web.server import NOT_DONE_YET
from twisted.web.static import Registry

from mixweb.engine.errors import HTTPError
from mixweb.engine.request import Request
from mixweb.features.files._names import extension, plain_extension
from mixweb.features.files._walk import Opened
from mixweb.kit.cgi import ProgramResource, find_interpreters
from mixweb.kit.mounted import is_resource

#: Makes the resource that answers for a file, from its path and the registry of the mount.
Processor = Callable[[str, Registry], IResource]

#: What runs the files that are scripts everywhere.
SCRIPTS = {
    "rpy": "mixweb.kit.scripts.run_script",
    "epy": "mixweb.kit.scripts.PythonScript",
    "asis": "mixweb.features.files.AsIs",
    "cgi": "mixweb.features.files.cgi_script",
}


def cgi_script(path: str, registry: Registry) -> IResource:
    """A program that is started for each request (``.cgi``)."""
    return ProgramResource(path)


class Processors:
    """
    Which files are run, and by what.

    :param names: extension to the dotted name of a processor.
    :param interpreters: extension to a program that is given the file.
    :param registry: what the scripts share.
    :raises ValueError: when there is nothing of that name, or it cannot be called.
    """

    def __init__(self, names: Mapping[str, str], registry: Registry, interpreters: Mapping[str, str] = {}) -> None:
        self.registry = registry
        self._found = {plain_extension(ending): _load(ending, name) for ending, name in names.items()}
        for ending, program in find_interpreters(interpreters).items():
            self._found[plain_extension(ending)] = partial(_interpreted, program)

    def find(self, opened: Opened) -> Processor | None:
        """What runs a file: as it was called, or as it is really called."""
        if not self._found:
            return None
        names = [os.path.basename(opened.path), *opened.names[-1:]]
        if os.path.islink(opened.path):
            names.append(os.path.basename(os.path.realpath(opened.path)))
        found = (self._found.get(extension(name)) for name in names)
        return next((processor for processor in found if processor), None)

    def handles(self, opened: Opened) -> bool:
        """Whether a file is run."""
        return self.find(opened) is not None

    def run(self, request: Request, processor: Processor, opened: Opened) -> int:
        """Let the resource of a file answer; what is behind the file in the path is its own."""
        opened.close()
        found = processor(os.fsdecode(opened.path), self.registry)
        if not is_resource(found):
            raise HTTPError(500, "What runs this file makes no resource of it.")
        consumed = len(request.postpath) - len(opened.rest)
        request.prepath += request.postpath[:consumed]
        request.postpath = list(opened.rest)
        request.render(getChildForRequest(found, request))
        return NOT_DONE_YET


def _interpreted(program: str, path: str, registry: Registry) -> IResource:
    return ProgramResource(path, program)


def _load(ending: str, name: str) -> Processor:
    try:
        processor = namedAny(name)
    except Exception as reason:
        raise ValueError(f"processors: '{name}' for '{ending}' cannot be loaded: {reason}") from None
    if not callable(processor):
        raise ValueError(f"processors: '{name}' for '{ending}' cannot be called")
    return processor  # type: ignore[no-any-return]
