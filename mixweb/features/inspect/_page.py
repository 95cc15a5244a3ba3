"""
The page, its style and its script: files of this package.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from secrets import token_urlsafe
from typing import Any

from twisted.web.error import UnsupportedMethod

from mixweb.engine.request import Request
from mixweb.interfaces import IFormToken

_FOLDER = Path(__file__).parent

_PAGE = (_FOLDER / "page.html").read_text(encoding="utf-8")

#: What the page is made of besides itself, each with its type.
ASSETS: dict[bytes, tuple[bytes, bytes]] = {
    name.encode(): (kind, (_FOLDER / name).read_bytes())
    for name, kind in (
        ("inspect.css", b"text/css; charset=utf-8"),
        ("inspect.js", b"text/javascript; charset=utf-8"),
    )
}

#: The page runs its own script alone, and that one makes no markup of text.
_POLICY = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; img-src data:; "
    "frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)

#: What somebody sent is shown where it can run nothing, load nothing and go nowhere.
FRAME_POLICY = (
    b"sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; frame-ancestors 'self'"
)


def answer_page(request: Request) -> bytes:
    """The page itself."""
    check_read(request)
    nonce = token_urlsafe(16)
    token: Any = IFormToken(request, None)
    request.setHeader(b"Content-Type", b"text/html; charset=utf-8")
    request.setHeader(b"Content-Security-Policy", _POLICY.format(nonce=nonce).encode())
    request.setHeader(b"X-Frame-Options", b"DENY")
    request.setHeader(b"Cross-Origin-Opener-Policy", b"same-origin")
    return (
        _PAGE.replace("{nonce}", nonce).replace("{form_token}", "" if token is None else escape(token.value)).encode()
    )


def answer_asset(request: Request, name: bytes) -> bytes:
    """Something the page is made of."""
    check_read(request)
    kind, data = ASSETS[name]
    request.setHeader(b"Content-Type", kind)
    return data


def check_read(request: Request) -> None:
    """
    Take GET and HEAD.

    :raises UnsupportedMethod: for every other method.
    """
    if request.method not in (b"GET", b"HEAD"):
        raise UnsupportedMethod([b"GET"])
