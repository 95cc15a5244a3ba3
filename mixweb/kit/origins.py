"""
Whose pages requests come from.
"""

from __future__ import annotations

from collections.abc import Container

from mixweb.engine.authority import Authority, parse_authority

_PORTS = {b"http": 80, b"https": 443}

#: What browsers say of their own doing, and of pages of the same origin.
_OWN = (b"same-origin", b"none")


def is_same_origin(origin: bytes, host: Authority | None, secure: bool) -> bool:
    """
    Whether an origin is that of the host that is asked.

    :param origin: as ``Origin`` has it.
    :param host: that is asked for.
    :param secure: whether it is asked over TLS.
    """
    scheme, _, rest = origin.lower().partition(b"://")
    if host is None or scheme != (b"https" if secure else b"http"):
        return False
    try:
        named = parse_authority(rest)
    except ValueError:
        return False
    usual = _PORTS[scheme]
    return (named.host, named.port or usual) == (host.host, host.port or usual)


def is_foreign(
    site: bytes | None,
    origin: bytes | None,
    referer: bytes | None,
    host: Authority | None,
    secure: bool,
    trusted: Container[bytes] = (),
) -> bool:
    """
    Whether a page of another origin had a browser send a request. What is no browser says nothing, and is not foreign.

    What the browser makes of it (``Sec-Fetch-Site``) counts before the names: it knows the scheme also where a proxy
    ended the TLS.

    :param site: the value of ``Sec-Fetch-Site``.
    :param host: that is asked for.
    :param secure: whether it is asked over TLS.
    :param trusted: other origins, lower case, whose pages may.
    """
    if origin is None and referer is not None:
        origin = b"/".join(referer.split(b"/", 3)[:3])
    if origin is not None and origin.lower() in trusted:
        return False
    if site is not None:
        return site not in _OWN
    return origin is not None and not is_same_origin(origin, host, secure)
