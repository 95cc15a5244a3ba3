"""
What is answered when something cannot be done.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil

from twisted.logger import Logger

from mixweb.engine.errors import HTTPError
from mixweb.features.auth._issuer import IssuerUnavailable
from mixweb.features.auth._lockout import Locked
from mixweb.features.auth._pool import Busy
from mixweb.stores import StoreError

log = Logger(namespace="mixweb.auth")

#: Seconds after which a client may ask again: when something is down, and when too many are waiting.
_DOWN, _BUSY = 5, 1


def refusal(status: int, detail: str, seconds: float) -> HTTPError:
    """An error that says when to try again."""
    return HTTPError(status, detail, [(b"Retry-After", b"%d" % max(1, ceil(seconds)))])


@contextmanager
def refusing() -> Iterator[None]:
    """
    Answer for what cannot be done just now; nobody gets in because of it.

    :raises HTTPError: 429 or 503 with ``Retry-After``.
    """
    try:
        yield
    except Locked as reason:
        raise refusal(429, "There were too many failures. Try again later.", reason.seconds) from None
    except Busy:
        raise refusal(503, "Too many are logging in just now.", _BUSY) from None
    except StoreError:
        raise refusal(503, "Logins cannot be checked just now.", _DOWN) from None
    except OSError as reason:
        log.error("users cannot be changed: {reason}", reason=reason)
        raise refusal(503, "Users cannot be changed just now.", _DOWN) from None
    except IssuerUnavailable:
        raise refusal(503, "Tokens cannot be checked just now.", _DOWN) from None
