"""
What a program behind a gateway is told of a request: the meta-variables of CGI (RFC 3875, 4.1), which WSGI shares.
"""

from __future__ import annotations

from mixweb.engine.request import Request
from mixweb.interfaces import IClientAddress, IUser

#: Not handed on as ``HTTP_...``: they have a name of their own, or would be taken for the setting of a library.
_OTHER_FIELDS = frozenset((b"content-type", b"content-length", b"proxy"))


def text(data: bytes) -> str:
    """Bytes as gateways hand them on: a character each."""
    return data.decode("latin-1")


def path(segments: list[bytes]) -> str:
    """Decoded segments as a path."""
    return text(b"".join(b"/" + segment for segment in segments))


def meta_variables(request: Request) -> dict[str, str]:
    """
    All that does not depend on the program: method, query, addresses, fields, the user.

    Fields with an underscore are left out, as they would be taken for those with a hyphen.
    """
    here, peer = request.getHost(), request.getClientAddress()
    trusted = IClientAddress(request, None)
    authority, user = request.authority, IUser(request, None)
    found = {
        "REQUEST_METHOD": text(request.method),
        "QUERY_STRING": text(request.target.partition(b"?")[2]),
        "SERVER_PROTOCOL": text(request.clientproto),
        "SERVER_NAME": text(authority.host) if authority else str(getattr(here, "host", "localhost")),
        "SERVER_PORT": str(getattr(here, "port", 443 if request.isSecure() else 80)),
        "REMOTE_ADDR": str(trusted.host if trusted else getattr(peer, "host", "")),
        "REMOTE_PORT": "" if trusted else str(getattr(peer, "port", "")),
        **{
            "HTTP_" + text(name).upper().replace("-", "_"): text(
                (b"; " if name.lower() == b"cookie" else b",").join(values)
            )
            for name, values in request.requestHeaders.getAllRawHeaders()
            if b"_" not in name and name.lower() not in _OTHER_FIELDS
        },
    }
    kind = request.getHeader(b"Content-Type")
    if kind is not None:
        found["CONTENT_TYPE"] = text(kind)
    if user is not None:
        found["REMOTE_USER"] = text(user.name.encode())
        found["AUTH_TYPE"] = user.scheme
    return found
