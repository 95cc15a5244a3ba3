"""
Entity tags (RFC 9110, 8.8.3).
"""

from __future__ import annotations

import re

_TAG = re.compile(rb'(W/)?("[^"]*")')


def tag_matches(tags: bytes, etag: bytes | None, *, strong: bool = False) -> bool:
    """
    Whether a list of entity tags, or ``*``, has the one of an answer (RFC 9110, 8.8.3.2).

    :param etag: as sent, quotes and weakness included; ``None`` when the answer has none.
    """
    if tags.strip(b" \t") == b"*":
        return True
    if etag is None:
        return False
    if strong:
        return not etag.startswith(b"W/") and any(not weak and tag == etag for weak, tag in _TAG.findall(tags))
    opaque = etag.removeprefix(b"W/")
    return any(tag == opaque for _, tag in _TAG.findall(tags))
