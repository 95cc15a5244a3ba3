"""
What a program behind a gateway is told of a request: the meta-variables of CGI (RFC 3875, 4.1), which WSGI shares.
"""

from __future__ import annotations

from functools import lru_cache

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


@lru_cache(maxsize=512)
def _variable(name: bytes) -> str:
    """The variable that a field is handed on as; empty when it is not."""
    if b"_" in name or name.lower() in _OTHER_FIELDS:
        return ""
    return "HTTP_" + text(name).upper().replace("-", "_")


def meta_variables(request: Request) -> dict[str, str]:
    """
    All that does not depend on the program: method, query, addresses, fields, the user.

    Fields with an underscore are left out, as they would be taken for those with a hyphen.
    """
    here, peer = request.getHost(), request.getClientAddress()
    authority = request.authority
    fields = request.requestHeaders
    found = {
        "REQUEST_METHOD": text(request.method),
        "QUERY_STRING": text(request.target.partition(b"?")[2]),
        "SERVER_PROTOCOL": text(request.clientproto),
        "SERVER_NAME": text(authority.host) if authority else str(getattr(here, "host", "localhost")),
        "SERVER_PORT": str(here.port if hasattr(here, "port") else 443 if request.isSecure() else 80),
    }
    for name, values in fields.getAllRawHeaders():
        variable = _variable(name)
        if variable:
            joint = b"; " if variable == "HTTP_COOKIE" else b","
            found[variable] = text(values[0] if len(values) == 1 else joint.join(values))
    kind = fields.getRawHeaders(b"Content-Type")
    if kind is not None:
        found["CONTENT_TYPE"] = text(kind[-1])
    trusted, user = IClientAddress(request, None), IUser(request, None)
    if trusted is None:
        found["REMOTE_ADDR"], found["REMOTE_PORT"] = str(getattr(peer, "host", "")), str(getattr(peer, "port", ""))
    else:
        found["REMOTE_ADDR"], found["REMOTE_PORT"] = str(trusted.host), ""
    if user is not None:
        found["REMOTE_USER"] = text(user.name.encode())
        found["AUTH_TYPE"] = user.scheme
    return found
