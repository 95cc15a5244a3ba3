"""
A request as a shared server is told of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.address import UNIXAddress
from twisted.spread.pb import ViewPoint

if TYPE_CHECKING:
    from mixweb.engine.request import Request


def state_of(request: Request, perspective: Any, with_body: bool) -> dict[str, Any]:
    """
    What a shared server is told of a request, as :mod:`twisted.web.distrib` reads it.

    :param perspective: of the connection to that server; it may answer through the state's ``remote``.
    :param with_body: whether the body is told, and the arguments that it may have.
    """
    request.content.seek(0)
    return {
        "method": request.method,
        "uri": request.target,
        "path": request.path,
        "clientproto": request.clientproto,
        "prepath": list(request.prepath),
        "postpath": list(request.postpath),
        "args": request.args if with_body else {},
        "received_cookies": request.received_cookies,
        "requestHeaders": [(name, list(values)) for name, values in request.requestHeaders.getAllRawHeaders()],
        "cookies": [],
        "notifications": [],
        "_adapterCache": {},
        "_forceSSL": request.isSecure(),
        "client": _address(request.getClientAddress()),
        "host": _address(request.getHost()),
        "content_data": request.content.read() if with_body else b"",
        "remote": ViewPoint(perspective, request),
    }


def _address(address: Any) -> tuple[str, Any] | tuple[str, str, int]:
    """An address as :mod:`twisted.web.distrib` reads it, which knows IPv6 by the form of the host alone."""
    if isinstance(address, UNIXAddress):
        return "UNIX", address.name
    return "INET", getattr(address, "host", ""), getattr(address, "port", 0)
