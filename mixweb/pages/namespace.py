"""
What names stand for in templates.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from twisted.logger import Logger

from mixweb.engine.requestlog import client_of
from mixweb.interfaces import IFormToken, IUser
from mixweb.pages.call import Call
from mixweb.pages.markup import Html, escape

_LOOPBACK = ("127.", "::1", "::ffff:127.", "local")

_log = Logger()


def names_for(call: Call) -> dict[str, Any]:
    """The names of every template: those that a page adds some to."""
    app = call.app
    return {
        "request": call.request,
        "url": app.url,
        "url_root": app.url("/"),
        "is_localhost": client_of(call.request).startswith(_LOOPBACK),
        "static_url": app.static_url,
        "reverse_url": app.reverse_url,
        "xsrf_form_html": partial(form_html, call),
        "current_user": IUser(call.request, None),
        "locale": app.locales.default,
        "_": app.locales.default.translate,
    }


def form_html(call: Call) -> Html:
    """
    The hidden field that shows a form to be one of ours; nothing, and a warning once, where nobody asks for it.
    """
    token = IFormToken(call.request, None)
    if token is not None:
        return Html(f'<input type="hidden" name="{escape(token.field)}" value="{escape(token.value)}" />')
    if not call.app.warned_of_forms:
        call.app.warned_of_forms = True
        _log.warn("xsrf_form_html() gives nothing: the csrf feature is not mounted (--csrf)")
    return Html()
