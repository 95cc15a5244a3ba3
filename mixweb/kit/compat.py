"""
The status codes of another server in the place of those that HTTP asks for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias
from urllib.parse import quote

from mixweb.engine.errors import HTTPError

#: Whose codes: ``mixnmatchttp`` has those of its version 0.1, the empty name those of HTTP.
Compat: TypeAlias = Literal["", "mixnmatchttp"]

#: What a setting of this type is for, as its help says it.
HELP = "Answer with the status codes of this server: mixnmatchttp, or empty for those of HTTP."

_METHODS = (b"GET", b"HEAD", b"POST", b"OPTIONS")


def check_compat(compat: str) -> None:
    """
    A setting ``compat`` must name a server that is known.

    :raises ValueError: when it does not.
    """
    if compat not in ("", "mixnmatchttp"):
        raise ValueError(f"compat must be 'mixnmatchttp' or empty, not {compat!r}")


def check_method(compat: str, method: bytes) -> None:
    """
    mixnmatchttp has four methods.

    :raises HTTPError: 501 for any other one, if that is the server.
    """
    if compat and method not in _METHODS:
        raise HTTPError(501, "Unsupported method.")


def missing_argument(compat: str, name: str) -> HTTPError:
    """
    The answer where a path lacks its last part.

    :param name: what it would be.
    """
    return HTTPError(404, "Missing required argument.") if compat else HTTPError(400, f"The path lacks {name}.")


def extra_arguments(segments: Sequence[bytes]) -> HTTPError:
    """
    The answer where a path has more parts than it may have.

    :param segments: those that are too many, decoded.
    """
    return HTTPError(404, f"Extra arguments: {'/'.join([quote(segment, safe='') for segment in segments])}.")
