"""
Pages as classes, with Tornado's names: ``get``, ``post``, ``prepare``, ``get_argument``, ``write``, ``render`` ...
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from inspect import isawaitable
from typing import Any, ClassVar, Concatenate, ParamSpec, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from mixweb.engine.errors import HTTPError
from mixweb.pages._page_parts import PageParts
from mixweb.pages.answers import answer
from mixweb.pages.arguments import Binder
from mixweb.pages.dependencies import login_with_next
from mixweb.pages.redirects import Redirect

P = ParamSpec("P")
R = TypeVar("R")
AnyPage = TypeVar("AnyPage", bound="Page")

_log = Logger()


class Page(PageParts):
    """
    A page. A subclass has a method for each of HTTP's that it answers: ``get``, ``post``, ``put``, ``patch``, ``delete``,
    ``head``, ``options``. Their parameters have their values as those of a routed function; each may be ``async``; what
    one returns is sent, unless it has written.

    One object answers one request.
    """

    SUPPORTED_METHODS: ClassVar[tuple[str, ...]] = ("GET", "HEAD", "POST", "DELETE", "PATCH", "PUT", "OPTIONS")

    # Life

    def initialize(self) -> None:
        """Override to begin, before :meth:`prepare`."""

    def prepare(self) -> Awaitable[None] | None:
        """Override to do something before every method; it may be ``async``, and finish."""
        return None

    def on_finish(self) -> None:
        """Override to clean up when the answer is complete."""

    def on_connection_close(self) -> None:
        """Override to clean up when the client has left before that."""

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        """
        Override to take the body while it arrives, after :meth:`prepare` and before the method; it may be ``async``: the
        client is slowed down meanwhile.
        """
        return None

    def start(self, binder: Binder) -> None:
        """Answer the request with the method that a binder is for."""
        ended = self.request.notifyFinish()
        ended.addCallbacks(lambda _: self.on_finish(), lambda _: self.on_connection_close())
        ended.addErrback(lambda reason: _log.failure("after {line}", reason, line=self.request.line))
        self.request.spawn(self._run(binder))

    async def _run(self, binder: Binder) -> None:
        try:
            self.initialize()
            await _settled(self.prepare())
            if type(self).data_received is not Page.data_received and not self._finished:
                await self._take_body()
            if not (self._finished or self.request.is_over):
                await self._call_method(binder)
        except CancelledError:
            raise
        except Exception as reason:
            self._fail(reason)

    async def _call_method(self, binder: Binder) -> None:
        if type(self).decode_argument is not Page.decode_argument:
            self._decode_path()
        positional, named = binder.bind_all(self.call)
        method = self.request.method.decode("ascii").lower()
        found = getattr(self, method, None) or self.get  # type: ignore[attr-defined]  # HEAD is GET's
        value = await _settled(found(*positional, **named))
        if self._finished or self.request.is_over:
            return
        if value is None or isinstance(value, (str, bytes, dict)) or self._flow is not None:
            self.finish(value)
        else:
            self._finished = True
            answer(self.call, value)

    def _decode_path(self) -> None:
        names = self.call.route.pattern.names if self.call.route is not None else ()
        self.call.values = tuple(
            self.decode_argument(value.encode("utf-8", "surrogateescape"), name or None)
            if isinstance(value, str)
            else value
            for name, value in zip(names, self.call.values, strict=True)
        )

    async def _take_body(self) -> None:
        complete: Deferred[None] = Deferred()
        self.request.receive_body(lambda data: self._take_chunk(data, complete), lambda: complete.callback(None))
        await complete

    def _take_chunk(self, data: bytes, complete: Deferred[None]) -> None:
        waiting = self.data_received(data)
        if isawaitable(waiting):
            self.request.pause_body()
            taken = Deferred.fromCoroutine(_settled(waiting))
            taken.addCallbacks(lambda _: self.request.resume_body(), complete.errback)

    # Errors

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        """
        Answer with an error in the place of what was written; drop the connection when some of it has left.

        :param kwargs: for :meth:`write_error`.
        """
        if self._flow is not None:
            self.request.abort()
            return
        self.clear()
        self.set_status(status_code)
        try:
            self.write_error(status_code, **kwargs)
        except Exception:
            _log.failure("write_error of {page}", page=type(self).__qualname__)
            self.request.error(500, "The server failed to answer.")
            self._finished = True
        if not self._finished:
            self.finish()

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """
        Write an error page; override for one of your own.

        :param kwargs: ``exc_info`` after an exception; ``reason`` may say more than the status.
        """
        self._finished = True
        kind, reason, trace = kwargs.get("exc_info") or (None, None, None)
        if isinstance(reason, HTTPError):
            self.request.error(status_code, reason.detail, reason.headers)
        else:
            shown = Failure(reason, kind, trace).getTraceback() if kind and self.request.site.displayTracebacks else ""
            detail = kwargs.get("reason") or ("The server failed to answer." if status_code == 500 else "")
            self.request.error(status_code, detail, traceback=shown)

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Log what a method has raised: an ``HTTPError`` in one line, anything else with its traceback."""
        if isinstance(value, HTTPError):
            self.log.warn("{status} {line}: {detail}", status=value.status, detail=value.detail, line=self.request.line)
        else:
            self.log.failure("{line}", Failure(value, typ, tb), line=self.request.line)

    def _fail(self, reason: Exception) -> None:
        if isinstance(reason, Redirect) and self._flow is None and not self._finished:
            self._finished = True
            self.request.error(reason.status, reason.detail, reason.headers)
            return
        info = (type(reason), reason, reason.__traceback__)
        self.log_exception(*info)
        if not (self._finished or self.request.is_over):
            self.send_error(reason.status if isinstance(reason, HTTPError) else 500, exc_info=info)


async def _settled(value: Any) -> Any:
    return await value if isawaitable(value) else value


def authenticated(method: Callable[Concatenate[AnyPage, P], R]) -> Callable[Concatenate[AnyPage, P], R | None]:
    """
    Have a method of a page for those only who are logged in: others are sent to the login page, or told 403 when what they
    send would be lost.
    """

    @wraps(method)
    def guarded(page: AnyPage, /, *args: P.args, **kwargs: P.kwargs) -> R | None:
        if page.current_user:
            return method(page, *args, **kwargs)
        if page.request.method not in (b"GET", b"HEAD"):
            raise HTTPError(403, "Log in first.")
        page.redirect(login_with_next(page.get_login_url(), page.call))
        return None

    return guarded
