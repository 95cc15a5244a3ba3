"""
Pages as classes, with Tornado's names: ``get``, ``post``, ``prepare``, ``get_argument``, ``write``, ``render`` ...
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, ClassVar, Concatenate, ParamSpec, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from mixweb.engine.errors import HTTPError
from mixweb.engine.requestlog import RequestLog
from mixweb.interfaces import IFormToken, IUser
from mixweb.pages._page_arguments import PageArguments
from mixweb.pages.answers import answer
from mixweb.pages.arguments import Binder
from mixweb.pages.call import Call
from mixweb.pages.dependencies import Session, login_with_next, session_of
from mixweb.pages.locales import Locale
from mixweb.pages.markup import Html
from mixweb.pages.namespace import form_html, names_for
from mixweb.pages.redirects import Redirect
from mixweb.pages.templates import Templates

if TYPE_CHECKING:
    from mixweb.pages.application import Pages

_UNSET = object()

P = ParamSpec("P")
R = TypeVar("R")
AnyPage = TypeVar("AnyPage", bound="Page")

_log = Logger()


class Page(PageArguments):
    """
    A page. A subclass has a method for each of HTTP's that it answers: ``get``, ``post``, ``put``, ``patch``, ``delete``,
    ``head``, ``options``. Their parameters have their values as those of a routed function; each may be ``async``; what
    one returns is sent, unless it has written.

    One object answers one request.
    """

    SUPPORTED_METHODS: ClassVar[tuple[str, ...]] = ("GET", "HEAD", "POST", "DELETE", "PATCH", "PUT", "OPTIONS")

    #: Whether :meth:`static_url` makes absolute URLs.
    include_host = False

    def __init__(self, call: Call) -> None:
        super().__init__(call)
        self.application: Pages = call.app
        self.path_args: list[Any] = list(call.values)
        names = call.route.pattern.names if call.route is not None else ()
        self.path_kwargs = {name: value for name, value in zip(names, call.values, strict=False) if name}
        self._user: Any = _UNSET
        self._locale: Locale | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """What the application was told."""
        return self.application.settings

    @property
    def log(self) -> RequestLog:
        """A log whose lines are tagged with client and session."""
        return self.request.log

    @property
    def session(self) -> Session:
        """
        The session.

        :raises RuntimeError: when the session feature is not mounted.
        """
        return session_of(self.call)

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

    # Users

    @property
    def current_user(self) -> Any:
        """Who the request is from: what :meth:`get_current_user` says, asked once, or what was set."""
        if self._user is _UNSET:
            self._user = self.get_current_user()
        return self._user

    @current_user.setter
    def current_user(self, user: Any) -> None:
        self._user = user

    def get_current_user(self) -> Any:
        """The user that the auth feature has recognised; override for another one."""
        return IUser(self.request, None)

    def get_login_url(self) -> str:
        """Where :func:`authenticated` sends those who are not logged in; override to choose."""
        return self.application.required_login_url

    # Templates

    def render(self, template_name: str, **kwargs: Any) -> Deferred[None]:
        """Answer with a template, and finish."""
        return self.finish(self.render_string(template_name, **kwargs))

    def render_string(self, template_name: str, **kwargs: Any) -> bytes:
        """The text of a template, in UTF-8."""
        loader = self.create_template_loader(self.get_template_path() or "")
        return loader.render(template_name, {**self.get_template_namespace(), **kwargs}).encode()

    def get_template_namespace(self) -> dict[str, Any]:
        """What names stand for in templates; override to add some."""
        own = {"handler": self, "current_user": self.current_user, "locale": self.locale, "_": self.locale.translate}
        return {**names_for(self.call), **own}

    def get_template_path(self) -> str | None:
        """Override for templates of another folder."""
        return None

    def create_template_loader(self, template_path: str) -> Templates:
        """
        What loads templates.

        :param template_path: of their folder; empty for that of the application.
        """
        return self.application.templates_in(template_path)

    def xsrf_form_html(self) -> Html:
        """What a form needs in it, where the csrf feature stands in front."""
        return form_html(self.call)

    @property
    def xsrf_token(self) -> bytes:
        """The token by itself; empty where the csrf feature does not stand in front."""
        token = IFormToken(self.request, None)
        return b"" if token is None else str(token.value).encode()

    def static_url(self, path: str, include_host: bool | None = None, include_version: bool = True) -> str:
        """The URL of a static file, with a version that lets it be kept for ever."""
        found = self.application.static_url(path, include_version)
        return self.call.origin + found if (self.include_host if include_host is None else include_host) else found

    def reverse_url(self, name: str, *args: Any) -> str:
        """The URL of a named route."""
        return self.application.reverse_url(name, *args)

    # Locale

    @property
    def locale(self) -> Locale:
        """The user's language, or what the browser prefers."""
        if self._locale is None:
            self._locale = self.get_user_locale() or self.get_browser_locale()
        return self._locale

    def get_user_locale(self) -> Locale | None:
        """Override to choose by the user; None to go by the browser."""
        return None

    def get_browser_locale(self, default: str = "en_US") -> Locale:
        """What ``Accept-Language`` prefers of what there is."""
        locales = self.application.locales
        accept = self.request.requestHeaders.getRawHeaders(b"Accept-Language") or []
        return locales.best(accept) or locales.get(default) or locales.default

    def require_setting(self, name: str, feature: str = "this feature") -> None:
        """
        Make sure that the application was told something.

        :raises RuntimeError: naming what it was not told.
        """
        if not self.settings.get(name):
            raise RuntimeError(f"{feature} needs the setting {name!r} of the application")


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
