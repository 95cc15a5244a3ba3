"""
WSGI applications (PEP 3333), in threads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from threading import Thread
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool
from twisted.web.resource import IResource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from mixweb.engine.errors import HTTPError
from mixweb.engine.request import Request
from mixweb.feature import Context, Mount, MountSettings, option
from mixweb.features._wsgi_call import Application, Call
from mixweb.features._wsgi_environ import make_environ
from mixweb.kit.imports import import_name

#: How long calls that are under way are waited for when the application stops, in seconds.
STOP_SECONDS = 10


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


class ApplicationThreads(Service):
    """
    The threads that applications are called in; daemons, so that none can keep the process from ending.

    :param maximum: how many there are at most; further calls wait, and so do all until the service has started.
    """

    stopped = False
    _log = Logger()

    def __init__(self, maximum: int, reactor: Any) -> None:
        self.reactor = reactor
        self.maximum = maximum
        self.pool = self._make_pool()

    def _make_pool(self) -> ThreadPool:
        pool = ThreadPool(0, self.maximum, "wsgi")
        pool.threadFactory = partial(Thread, daemon=True)  # type: ignore[assignment]
        return pool

    def startService(self) -> None:
        super().startService()
        if self.stopped:
            self.stopped = False
            self.pool = self._make_pool()
        self.pool.start()

    def stopService(self) -> Deferred[None]:
        super().stopService()
        self.stopped = True
        stopped: Deferred[None] = Deferred()

        def stop() -> None:
            self.pool.stop()
            self.reactor.callFromThread(stopped.callback, None)

        Thread(target=stop, daemon=True).start()
        stopped.addTimeout(STOP_SECONDS, self.reactor)
        return stopped.addErrback(lambda _: self._log.warn("calls of a WSGI application did not end in time"))

    def start(self, call: Call) -> None:
        """
        Run a call as soon as a thread is free.

        :raises HTTPError: 503 when the threads are stopped.
        """
        if self.stopped:
            raise HTTPError(503, "The application is stopped.")
        self.pool.callInThread(call.run)


@implementer(IResource)
class WSGIResource:
    """An application at a path and everything below it."""

    isLeaf = True

    def __init__(self, application: Application, threads: ApplicationThreads) -> None:
        self.application = application
        self.threads = threads

    def render(self, request: Request) -> int:
        environ = make_environ(request, self.threads.maximum > 1)
        self.threads.start(Call(self.application, request, environ, self.threads.reactor))
        return NOT_DONE_YET

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
