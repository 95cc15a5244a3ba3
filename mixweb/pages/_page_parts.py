"""
Pages, what they get from their application and from features: users, templates, URLs, locale.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from mixweb.engine.requestlog import RequestLog
from mixweb.interfaces import IFormToken, IUser
from mixweb.pages._page_arguments import PageArguments
from mixweb.pages.call import Call
from mixweb.pages.dependencies import Session, session_of
from mixweb.pages.locales import Locale
from mixweb.pages.markup import Html
from mixweb.pages.namespace import form_html, names_for
from mixweb.pages.templates import Templates

if TYPE_CHECKING:
    from mixweb.pages.application import Pages

_UNSET = object()


class PageParts(PageArguments):
    """What of a page is shared with others."""

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
