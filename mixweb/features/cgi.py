"""
A folder of programs that are started for one request each.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from twisted.web.resource import IResource

from mixweb.engine.request import Request
from mixweb.feature import Context, FilePath, Mount, MountSettings, existing_path, option
from mixweb.kit.cgi import Limits, ProgramResource, find_interpreters
from mixweb.wrapper import Declined, Leaf


@dataclass(frozen=True)
class Cgi(MountSettings):
    """Settings of the ``cgi`` feature."""

    at: str = option("/cgi-bin", help="Path it is mounted at.", metavar="PATH", kw_only=True)
    path: FilePath = option("cgi-bin", principal=True, help="Folder of the programs.", metavar="DIR")
    interpreters: Mapping[str, str] = option(
        {}, help="Programs that run files, by extension (php=php-cgi).", metavar="EXT=PROGRAM"
    )
    timeout: float = option(300.0, help="Seconds that a program may run for.", metavar="SECONDS")
    max_output_bytes: int = option(1024 * 1024 * 1024, help="Longest answer of a program, in bytes.", metavar="BYTES")
    programs: int = option(50, help="How many programs run at once, at most.", metavar="NUMBER")

    def __post_init__(self) -> None:
        try:
            found = existing_path(self.path)
        except ValueError as reason:
            raise ValueError(f"path {reason}") from None
        if not found.is_dir():
            raise ValueError(f"path '{self.path}' is not a folder")
        for name in ("timeout", "max_output_bytes", "programs"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive")
        find_interpreters(self.interpreters)


def find_script(root: str, segments: Sequence[bytes]) -> tuple[str, int] | None:
    """
    The file that segments lead to, and how many of them; the rest is for the program.

    Names that begin with a dot or hold a slash lead nowhere, nor do links out of the folder.

    :param root: the real path of the folder.
    """
    here = root
    for count, segment in enumerate(segments, 1):
        if segment[:1] in (b"", b".") or b"/" in segment or b"\0" in segment:
            return None
        here = os.path.join(here, os.fsdecode(segment))
        if os.path.isfile(here):
            real = os.path.realpath(here)
            return (here, count) if real.startswith(os.path.join(root, "")) else None
        if not os.path.isdir(here):
            return None
    return None


class CgiResource(Leaf):
    """Runs the program that a path leads to; declines where there is none."""

    def __init__(self, settings: Cgi) -> None:
        self.root = os.path.realpath(settings.path)
        self.interpreters = find_interpreters(settings.interpreters)
        self.limits = Limits(settings.timeout, settings.max_output_bytes, settings.programs)

    def handle(self, request: Request) -> None:
        found = find_script(self.root, request.postpath)
        if found is None:
            raise Declined
        script, count = found
        request.prepath += request.postpath[:count]
        del request.postpath[:count]
        interpreter = self.interpreters.get(os.path.splitext(script)[1][1:].lower(), "")
        ProgramResource(script, interpreter, self.limits).handle(request)


def build(settings: Cgi, context: Context) -> IResource:
    return CgiResource(settings)


FEATURE = Mount("cgi", Cgi, build, declines=True)
