"""
Sending clients elsewhere.
"""

from __future__ import annotations

from mixweb.engine.errors import HTTPError
from mixweb.kit.rules import clean_url


class Redirect(HTTPError):
    """
    Raised, or returned, by a handler to send the client elsewhere.

    :param url: absolute, or relative to that of the request.
    :param status: 301, 302, 303 (go there with GET), 307 or 308 (go there with the same method).
    """

    def __init__(self, url: str, status: int = 303) -> None:
        if status not in (301, 302, 303, 307, 308):
            raise ValueError(f"status must be 301, 302, 303, 307 or 308, not {status}")
        location = clean_url(url)
        super().__init__(status, f"This is at {location}", [(b"Location", location.encode("ascii"))])
        self.url = location
