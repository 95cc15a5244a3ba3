"""
Applications, what their handlers share: settings, URLs, static files, templates, locales, the key of cookies.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from mixweb.kit.rules import path_text, quote_path
from mixweb.pages.call import current
from mixweb.pages.locales import Locales
from mixweb.pages.namespace import names_for
from mixweb.pages.signing import CookieSigner
from mixweb.pages.statics import StaticFiles
from mixweb.pages.templates import TemplateElement, Templates
from mixweb.wrapper import Leaf


class SharedParts(Leaf):
    """
    What of an application its handlers share.

    :param folder: that other folders count from.
    :ivar settings: anything that handlers want to know.
    :ivar static: the static files, if there are some.
    :ivar warned_of_forms: whether it was said that nobody looks after forms.
    """

    def __init__(
        self,
        folder: str,
        *,
        templates: str,
        static: str,
        settings: Mapping[str, Any] | None,
        cookie_secret: str | Sequence[str],
        login_url: str,
        locales: Sequence[str],
        translations: str,
    ) -> None:
        self._folder = folder
        self._base = ""
        self._keys = [cookie_secret] if isinstance(cookie_secret, str) else list(cookie_secret)
        self._templates = self._path(templates)
        self._loaded: dict[str, Templates] = {}
        self.static = StaticFiles(self._path(static)) if static else None
        self.settings: dict[str, Any] = dict(settings or {})
        self.login_url = login_url
        self.locales = Locales(locales, self._path(translations))
        self.warned_of_forms = False

    def _path(self, folder: str) -> str:
        return os.path.join(self._folder, folder) if folder else ""

    def check_parts(self) -> None:
        """
        Make what can go wrong before the first request.

        :raises ValueError: when it does.
        """
        if self._templates:
            self.templates_in("")
        if any(self._keys):
            assert self.signer

    @property
    def base(self) -> str:
        """The path it is mounted at, percent-encoded, without a slash at its end; as the request at hand has it."""
        call = current.get(None)
        return self._base if call is None or call.app is not self else quote_path(path_text(call.base)).rstrip("/")

    def mounted_at(self, path: str) -> None:
        """Note a path for the URLs that are made outside of requests."""
        self._base = quote_path(path).rstrip("/")

    def url(self, path: str = "/") -> str:
        """The URL of a path of the application."""
        return f"{self.base}/{path.lstrip('/')}"

    def static_url(self, path: str, include_version: bool = True) -> str:
        """
        The URL of a static file, with a version that lets it be kept for ever.

        :raises ValueError: when the application has no static files.
        """
        if self.static is None:
            raise ValueError("the application has no static files: give it static=FOLDER")
        found = self.static.url(path)
        return self.url(f"static/{found if include_version else found.partition('?')[0]}")

    def templates_in(self, folder: str) -> Templates:
        """
        The templates of a folder.

        :param folder: relative to the application's file; empty for its own.
        :raises ValueError: when there is none.
        """
        path = self._path(folder) or self._templates
        if not path:
            raise ValueError("the application has no templates: give it templates=FOLDER")
        if path not in self._loaded:
            self._loaded[path] = Templates(path)
        return self._loaded[path]

    def template(self, name: str, /, **values: Any) -> str:
        """The text of a template, for the request at hand."""
        return self.templates_in("").render(name, {**names_for(current.get()), **values})

    def element(self, name: str, /, **values: Any) -> TemplateElement:
        """A template of ``twisted.web.template``, for the request at hand: to be returned."""
        return self.templates_in("").element(name, {**names_for(current.get()), **values})

    @cached_property
    def signer(self) -> CookieSigner:
        """
        Signs cookies.

        :raises ValueError: when there is no key.
        """
        if not any(self._keys):
            raise ValueError("signed cookies need a key: give the application cookie_secret=...")
        return CookieSigner(self._keys)

    @property
    def required_login_url(self) -> str:
        """
        Where those are sent who have to log in.

        :raises RuntimeError: when nobody has said.
        """
        if not self.login_url:
            raise RuntimeError("the application has no login_url")
        return self.login_url
