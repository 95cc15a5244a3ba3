"""
For those who write pages: routes, arguments, endpoints, templates.

.. code-block:: python

    from mixweb.pages import Pages

    site = Pages()


    @site.route("/hi")
    def hi(name: str, times: int = 1) -> str:
        return f"Hi {name}! " * times
"""

from twisted.logger import Logger

from mixweb.engine.errors import Declined, HTTPError
from mixweb.engine.request import Request
from mixweb.pages.application import Pages
from mixweb.pages.apps import get_app, make_app
from mixweb.pages.declared import route, wrapped
from mixweb.pages.dependencies import Session, User
from mixweb.pages.endpoints import Endpoint
from mixweb.pages.events import Event, Events, Feed
from mixweb.pages.markup import Html, TypedText
from mixweb.pages.page import Page, authenticated
from mixweb.pages.publish import expose
from mixweb.pages.redirects import Redirect
from mixweb.pages.routes import RouteError
from mixweb.pages.sources import Body, Cookie, Form, Header, Json, Query
from mixweb.pages.texts import TextTemplates
from mixweb.pages.uploads import Limits, Upload

__all__ = [
    "Body",
    "Cookie",
    "Declined",
    "Endpoint",
    "Event",
    "Events",
    "Feed",
    "Form",
    "HTTPError",
    "Header",
    "Html",
    "Json",
    "Limits",
    "Logger",
    "Page",
    "Pages",
    "Query",
    "Redirect",
    "Request",
    "RouteError",
    "Session",
    "TextTemplates",
    "TypedText",
    "Upload",
    "User",
    "authenticated",
    "expose",
    "get_app",
    "make_app",
    "route",
    "wrapped",
]
