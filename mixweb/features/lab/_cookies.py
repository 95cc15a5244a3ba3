"""
Cookies shown, set and deleted.
"""

from __future__ import annotations

import re

from mixweb.engine.errors import HTTPError
from mixweb.engine.fields import TOKEN
from mixweb.features.lab._call import Call, Endpoint, header_text, whole

_VALUE = re.compile(r"[!-:<-~](?:[ -:<-~]*[!-:<-~])?\Z|\Z")
_SAME_SITE = {"lax": "Lax", "strict": "Strict", "none": "None"}


def cookie(name: str, value: str, *attributes: str) -> bytes:
    """
    The value of ``Set-Cookie`` (RFC 6265, 4.1).

    :raises HTTPError: 400 when the name or value cannot be sent.
    """
    if not TOKEN.match(name.encode()) or not _VALUE.match(value):
        raise HTTPError(400, f"{name!r} with the value {value!r} cannot be a cookie.")
    return "; ".join([f"{name}={value}", "Path=/", *attributes]).encode("ascii")


def _send(call: Call, *cookies: bytes) -> bytes:
    for value in cookies:
        call.request.responseHeaders.addRawHeader(b"Set-Cookie", value)
    return call.redirect(f"{call.base}/cookies")


def _secure(call: Call) -> list[str]:
    return ["Secure"] if call.request.isSecure() else []


def show(call: Call) -> bytes:
    received = call.request.received_cookies.items()
    return call.json({"cookies": {header_text(name): header_text(value) for name, value in received}})


def set_query(call: Call) -> bytes:
    pairs = [(name, values[0]) for name, values in call.query.items()]
    return _send(call, *[cookie(name, value, *_secure(call)) for name, value in pairs])


def set_path(call: Call, name: str, value: str) -> bytes:
    return _send(call, cookie(name, value, *_secure(call)))


def set_detail(call: Call, name: str, value: str) -> bytes:
    attributes = _secure(call)
    if call.value("secure", "0") != "0" and not attributes:
        attributes.append("Secure")
    if call.value("httponly", "0") != "0":
        attributes.append("HttpOnly")
    same_site = call.value("samesite").lower()
    if same_site:
        if same_site not in _SAME_SITE:
            raise HTTPError(400, "samesite must be lax, strict or none.")
        attributes.append(f"SameSite={_SAME_SITE[same_site]}")
    if call.value("max_age"):
        attributes.append(f"Max-Age={whole(call.value('max_age'), 0, 2**31)}")
    return _send(call, cookie(name, value, *attributes))


def delete(call: Call) -> bytes:
    gone = ["Expires=Thu, 01 Jan 1970 00:00:00 GMT", "Max-Age=0"]
    return _send(call, *[cookie(name, "", *gone) for name in call.query])


ENDPOINTS = [
    Endpoint("/cookies", show, "the cookies of the request"),
    Endpoint("/cookies/set", set_query, "sets the cookies of the query"),
    Endpoint("/cookies/set/{name}/{value}", set_path, "sets one cookie"),
    Endpoint("/cookies/set-detail/{name}/{value}", set_detail, "the same with ?secure, httponly, samesite and max_age"),
    Endpoint("/cookies/delete", delete, "deletes the cookies that the query names"),
]
