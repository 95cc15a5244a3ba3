"""
Where a login leads back to.
"""

from __future__ import annotations

import re
from urllib.parse import quote

#: What browsers drop or take for a slash on their way through a URL, so that a path becomes a host.
_MISREAD = re.compile(r"[\x00-\x20\x7f\\]")
_PATH = re.compile(r"/(?!/)")
_ABSOLUTE = re.compile(r"https?://", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SAFE = "%/?#[]@!$&'()*+,;=:~"

MAX_LENGTH = 2048


def local_path(text: str, origin: str) -> str:
    """
    The path and query that a ``goto`` means on this site; empty when it means another one, or nothing.

    :param origin: of this site: ``https://example.org``.
    """
    if len(text) > MAX_LENGTH or _MISREAD.search(text):
        return ""
    if text.lower().startswith(origin.lower()):
        text = text[len(origin) :] or "/"
    return quote(text, safe=_SAFE) if _PATH.match(text) else ""


def any_url(text: str) -> str:
    """The URL that a ``goto`` means, of any site; empty when it means none of the web."""
    if len(text) > MAX_LENGTH or _CONTROL.search(text):
        return ""
    return quote(text, safe=_SAFE) if text.startswith("/") or _ABSOLUTE.match(text) else ""
