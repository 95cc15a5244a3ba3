"""
WSGI applications (PEP 3333), in threads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twisted.web.resource import IResource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from mixweb.engine.body import IBodyReceiver
from mixweb.engine.request import Request
from mixweb.feature import Context, Mount, MountSettings, option
from mixweb.features._wsgi_call import Application, Call
from mixweb.features._wsgi_input import StreamedInput
from mixweb.features._wsgi_threads import ApplicationThreads
from mixweb.kit.imports import import_name

#: A longer body is read by the application while it arrives; a shorter one does not hold up a thread, in bytes.
STREAMED_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Wsgi(MountSettings):
    """Settings of the ``wsgi`` feature."""

    application: str | Callable[..., Any] = option(
        "", principal=True, help="Dotted name of the application, or MODULE:NAME.", metavar="NAME"
    )
    threads: int = option(20, help="How many requests the application answers at once, at most.", metavar="NUMBER")

    def __post_init__(self) -> None:
        if self.application == "":
            raise ValueError("application must be the name of a WSGI application: module:application")
        if self.threads < 1:
            raise ValueError("threads must be at least 1")


@implementer(IResource, IBodyReceiver)
class WSGIResource:
    """An application at a path and everything below it."""

    isLeaf = True

    def __init__(self, application: Application, threads: ApplicationThreads) -> None:
        self.application = application
        self.threads = threads

    def render(self, request: Request) -> int:
        length = request.getHeader(b"Content-Length")
        if request.body_complete or length is None or int(length) <= STREAMED_BYTES:
            # Not all applications know how to read a body whose length they are not told.
            request.when_body(self._call)
        else:
            body = StreamedInput(request, self.threads.hand_over)
            self._call(request, body)
            body.begin()
        return NOT_DONE_YET

    def _call(self, request: Request, body: StreamedInput | None = None) -> None:
        threads = self.threads
        threads.start(Call(self.application, request, threads.hand_over, threads.maximum > 1, body).run)

    def getChildWithDefault(self, name: bytes, request: Request) -> IResource:
        raise TypeError("an application is a leaf: it has no children")

    def putChild(self, path: bytes, child: IResource) -> None:
        raise TypeError("an application is a leaf: it has no children")


def find_application(application: str | Application) -> Application:
    """
    An application, by its name.

    :raises ValueError: when there is nothing of that name that can be called.
    """
    if not isinstance(application, str):
        return application
    found = import_name(application)
    if not callable(found):
        raise ValueError(f"'{application}' is no application but a {type(found).__name__}: name one, like module:app")
    return found  # type: ignore[no-any-return]


def build(settings: Wsgi, context: Context) -> IResource:
    threads = ApplicationThreads(settings.threads, context.reactor)
    context.add_service(threads)
    return WSGIResource(find_application(settings.application), threads)


FEATURE = Mount("wsgi", Wsgi, build)
