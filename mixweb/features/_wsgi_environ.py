"""
What a WSGI application is told of a request (PEP 3333).
"""

from __future__ import annotations

from io import TextIOBase
from typing import Any

from twisted.logger import Logger

from mixweb.engine.request import Request
from mixweb.interfaces import IClientAddress, IUser

#: Not handed on as ``HTTP_...``: they have a name of their own, or would be taken for the setting of a library.
_OTHER_FIELDS = frozenset((b"content-type", b"content-length", b"proxy"))


def _text(data: bytes) -> str:
    return data.decode("latin-1")


def _path(segments: list[bytes]) -> str:
    return _text(b"".join(b"/" + segment for segment in segments))


def make_environ(request: Request, multithread: bool) -> dict[str, Any]:
    """The environment that an application is told of a request."""
    environ = {
        "REQUEST_METHOD": _text(request.method),
        "SCRIPT_NAME": _path(request.prepath),
        "PATH_INFO": _path(request.postpath),
        "QUERY_STRING": _text(request.target.partition(b"?")[2]),
        "SERVER_PROTOCOL": _text(request.clientproto),
        **_addresses(request),
        **_body(request),
        **_fields(request),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "https" if request.isSecure() else "http",
        "wsgi.errors": _ErrorLog(),
        "wsgi.multithread": multithread,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    user = IUser(request, None)
    if user is not None:
        environ["REMOTE_USER"] = _text(user.name.encode())
    return environ


def _addresses(request: Request) -> dict[str, str]:
    here, peer = request.getHost(), request.getClientAddress()
    trusted = IClientAddress(request, None)
    authority = request.authority
    default = 443 if request.isSecure() else 80
    return {
        "SERVER_NAME": _text(authority.host) if authority else str(getattr(here, "host", "localhost")),
        "SERVER_PORT": str(getattr(here, "port", default)),
        "REMOTE_ADDR": str(trusted.host if trusted else getattr(peer, "host", "")),
        "REMOTE_PORT": "" if trusted else str(getattr(peer, "port", "")),
    }


def _body(request: Request) -> dict[str, Any]:
    content = request.content
    length = content.seek(0, 2)
    content.seek(0)
    found: dict[str, Any] = {"wsgi.input": content, "wsgi.input_terminated": True}
    if length or request.requestHeaders.hasHeader(b"Content-Length"):
        found["CONTENT_LENGTH"] = str(length)
    kind = request.getHeader(b"Content-Type")
    if kind is not None:
        found["CONTENT_TYPE"] = _text(kind)
    return found


def _fields(request: Request) -> dict[str, str]:
    """Fields as ``HTTP_...``; not those with an underscore, which would be taken for one with a hyphen."""
    return {
        "HTTP_" + _text(name).upper().replace("-", "_"): _text(
            (b"; " if name.lower() == b"cookie" else b",").join(values)
        )
        for name, values in request.requestHeaders.getAllRawHeaders()
        if b"_" not in name and name.lower() not in _OTHER_FIELDS
    }


class _ErrorLog(TextIOBase):
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
