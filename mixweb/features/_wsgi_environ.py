"""
What a WSGI application is told of a request (PEP 3333).
"""

from __future__ import annotations

from io import BufferedReader, TextIOBase
from typing import Any

from twisted.logger import Logger

from mixweb.engine.request import Request
from mixweb.kit.gateway import meta_variables, path, text


def make_environ(
    request: Request, errors: ErrorLog, multithread: bool, body: BufferedReader[Any] | None = None
) -> dict[str, Any]:
    """
    The environment that an application is told of a request.

    :param errors: becomes ``wsgi.errors``.
    :param body: what the body is read from while it arrives; ``None`` when it is complete.
    """
    return {
        "SCRIPT_NAME": path(request.prepath),
        "PATH_INFO": path(request.postpath),
        **meta_variables(request),
        **(_complete_body(request) if body is None else _arriving_body(request, body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "https" if request.isSecure() else "http",
        "wsgi.errors": errors,
        "wsgi.multithread": multithread,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }


def _complete_body(request: Request) -> dict[str, Any]:
    content = request.content
    length = content.seek(0, 2)
    content.seek(0)
    found: dict[str, Any] = {"wsgi.input": content, "wsgi.input_terminated": True}
    if length or request.requestHeaders.hasHeader(b"Content-Length"):
        found["CONTENT_LENGTH"] = str(length)
    return found


def _arriving_body(request: Request, body: BufferedReader[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"wsgi.input": body, "wsgi.input_terminated": True}
    length = request.getHeader(b"Content-Length")
    if length is not None:
        found["CONTENT_LENGTH"] = text(length)
    return found


class ErrorLog(TextIOBase):
    """``wsgi.errors``: its lines go to the log."""

    _log = Logger(namespace="mixweb.features.wsgi")

    def __init__(self) -> None:
        self._line = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            self._log.error("{line}", line=line)
        return len(text)

    def flush(self) -> None:
        if self._line:
            self.write("\n")
