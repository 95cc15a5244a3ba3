"""
Endpoints that answer as they are asked to.
"""

from __future__ import annotations

from html import escape
from typing import Any

from twisted.web.error import UnsupportedMethod
from twisted.web.resource import Resource

from mixweb.engine.errors import Declined, HTTPError
from mixweb.engine.request import Request
from mixweb.feature import Context, Mount
from mixweb.features.lab import _answers, _auth, _broken, _cookies, _data, _formats, _inspect
from mixweb.features.lab._call import Call, Endpoint, Lab, Routes, quoted_path

__all__ = ["FEATURE", "Lab", "LabResource", "build"]

_GROUPS = {
    "Requests": _inspect.ENDPOINTS,
    "Statuses, headers, redirects": _answers.ENDPOINTS,
    "Cookies": _cookies.ENDPOINTS,
    "Logins": _auth.ENDPOINTS,
    "Sizes and speeds": _data.ENDPOINTS,
    "Documents and codings": _formats.ENDPOINTS,
    "Faults": _broken.ENDPOINTS,
}
_ROUTES = Routes([endpoint for endpoints in _GROUPS.values() for endpoint in endpoints])

_INDEX = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Lab</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 1rem/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 56rem; padding: 0 1.5rem }}
td {{ padding: .1rem 1rem .1rem 0; vertical-align: top }}
</style>
</head>
<body>
<h1>Lab</h1>
{groups}
</body>
</html>
"""


def index_page(base: str) -> bytes:
    """A page with all endpoints; those without arguments are links."""
    parts = []
    for title, endpoints in _GROUPS.items():
        rows = "\n".join(f"<tr><td>{_link(base, endpoint)}<td>{escape(endpoint.help)}" for endpoint in endpoints)
        parts.append(f"<h2>{title}</h2>\n<table>\n{rows}\n</table>")
    return _INDEX.format(groups="\n".join(parts)).encode()


def _link(base: str, endpoint: Endpoint) -> str:
    path = f"<code>{escape(base + endpoint.path)}</code>"
    if "{" in endpoint.path or b"GET" not in endpoint.methods:
        return path
    return f'<a href="{escape(base + endpoint.path)}">{path}</a>'


class LabResource(Resource):
    """
    Answers at the endpoints; declines every other path.

    :param reactor: for what waits.
    """

    isLeaf = True

    def __init__(self, settings: Lab, reactor: Any) -> None:
        super().__init__()
        self.settings = settings
        self.reactor = reactor

    def render(self, request: Request) -> Any:
        base = quoted_path(request.prepath)
        if request.postpath in ([], [b""]):
            return self._index(request, base)
        try:
            found = _ROUTES.find([segment.decode() for segment in request.postpath])
        except UnicodeDecodeError:
            raise HTTPError(400, "The path is not UTF-8.") from None
        if found is None:
            raise Declined
        endpoint, arguments = found
        _check_method(request, endpoint.methods)
        return endpoint.answer(Call(request, self.settings, self.reactor, base), *arguments)

    def _index(self, request: Request, base: str) -> bytes:
        _check_method(request, (b"GET",))
        request.setHeader(b"Content-Type", b"text/html; charset=utf-8")
        return index_page(base)


def _check_method(request: Request, methods: tuple[bytes, ...]) -> None:
    if request.method not in methods and not (request.method == b"HEAD" and b"GET" in methods):
        raise UnsupportedMethod(methods)


def build(settings: Lab, context: Context) -> LabResource:
    context.warn(f"lab: any link to {settings.at} may redirect elsewhere, set cookies and headers, or take its time")
    return LabResource(settings, context.reactor)


FEATURE = Mount("lab", Lab, build, declines=True)
