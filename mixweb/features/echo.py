"""
Answers with the page that it is sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from twisted.web.error import UnsupportedMethod
from twisted.web.resource import Resource

from mixweb.engine.request import Request
from mixweb.feature import Context, Mount, MountSettings, option
from mixweb.kit.compat import HELP, Compat, check_compat, check_method, extra_arguments
from mixweb.kit.posted import PageReader, answer_with

MAX_BYTES = 2 * 1024 * 1024


@dataclass(frozen=True)
class Echo(MountSettings):
    """Answer with the page that is posted."""

    at: str = option("/echo", help="Path it is mounted at.", metavar="PATH", kw_only=True)
    max_bytes: int = option(MAX_BYTES, help="Longest page, in bytes.", metavar="BYTES")
    unsafe: bool = option(False, help="Let browsers run the scripts of a page as scripts of this site. Unsafe.")
    compat: Compat = option("", help=HELP, metavar="NAME")

    def __post_init__(self) -> None:
        if self.max_bytes < 1:
            raise ValueError("max_bytes must be at least 1")
        check_compat(self.compat)


class EchoResource(Resource):
    """
    Answers POST with what it brings.

    :param reactor: reads long bodies in its threads.
    """

    isLeaf = True

    def __init__(self, settings: Echo, reactor: Any) -> None:
        super().__init__()
        self.compat = settings.compat
        self.unsafe = settings.unsafe
        self.reader = PageReader(reactor, settings.max_bytes, loose=bool(settings.compat))

    def render(self, request: Request) -> Any:
        if any(request.postpath):
            raise extra_arguments(list(filter(None, request.postpath)))
        check_method(self.compat, request.method)
        if request.method != b"POST":
            raise UnsupportedMethod([b"POST"])
        return self.answer(request)

    async def answer(self, request: Request) -> bytes:
        """
        The page that a request brings.

        :raises HTTPError: when it brings none.
        """
        return answer_with(request, await self.reader.read(request), self.unsafe)


def build(settings: Echo, context: Context) -> EchoResource:
    if settings.unsafe:
        context.warn(f"echo: unsafe = true, anybody's scripts can run as scripts of this site at {settings.at}")
    return EchoResource(settings, context.reactor)


FEATURE = Mount("echo", Echo, build)
