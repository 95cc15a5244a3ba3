"""
Pages, their cookies: plain ones, and signed ones that clients cannot change.
"""

from __future__ import annotations

import re
import time
from calendar import timegm
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.cookies import CookieError, Morsel
from typing import Any

from mixweb.pages._page_answer import PageAnswer

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_PLAIN = re.compile(r"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*\Z")
_QUOTED = re.compile(r"\\(?:([0-3][0-7][0-7])|(.))", re.DOTALL)


def quote_value(value: str) -> str:
    """
    A cookie's value as it is sent: in quotes where a character may not stand by itself (RFC 6265, 4.1.1).

    :raises ValueError: when it has control characters.
    """
    if _PLAIN.match(value):
        return value
    if re.search(r"[\x00-\x1f\x7f]", value):
        raise ValueError("a cookie cannot have control characters")
    octets = value.encode()
    return '"' + "".join(chr(o) if chr(o) not in '",;\\' and 32 <= o < 127 else f"\\{o:03o}" for o in octets) + '"'


def unquote_value(value: str) -> str:
    """What :func:`quote_value` was given."""
    if len(value) < 2 or not value.startswith('"') or not value.endswith('"'):
        return value
    found = _QUOTED.sub(lambda match: chr(int(match[1], 8)) if match[1] else match[2], value[1:-1])
    return found.encode("latin-1", "replace").decode("utf-8", "replace")


def http_time(moment: Any) -> str:
    """A time as ``Expires`` has it: a ``datetime``, seconds since the epoch, or a tuple of ``time.gmtime``."""
    if isinstance(moment, (tuple, time.struct_time)):
        moment = datetime.fromtimestamp(timegm(tuple(moment)), UTC)
    elif not isinstance(moment, datetime):
        moment = datetime.fromtimestamp(moment, UTC)
    zoned = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return format_datetime(zoned.astimezone(UTC), usegmt=True)


class PageCookies(PageAnswer):
    """What of a page reads and sets cookies."""

    @property
    def cookies(self) -> dict[str, Morsel[str]]:
        """The cookies that the client has sent."""
        found: dict[str, Morsel[str]] = {}
        for name, value in self.request.received_cookies.items():
            text, morsel = value.decode("latin-1"), Morsel[str]()
            try:
                morsel.set(name.decode("latin-1"), unquote_value(text), text)
            except CookieError:
                continue
            found[morsel.key] = morsel
        return found

    def get_cookie(self, name: str, default: str | None = None) -> str | None:
        """The value of a cookie that the client has sent."""
        value = self.request.received_cookies.get(name.encode())
        return default if value is None else unquote_value(value.decode("latin-1"))

    def set_cookie(
        self,
        name: str,
        value: str | bytes,
        domain: str | None = None,
        expires: Any = None,
        path: str = "/",
        expires_days: float | None = None,
        *,
        max_age: int | None = None,
        httponly: bool = True,
        secure: bool | None = None,
        samesite: str = "lax",
    ) -> None:
        """
        Set a cookie; it is sent also with an error.

        :param expires: a ``datetime``, or seconds since the epoch.
        :param expires_days: from today, where ``expires`` is not given.
        :param max_age: in seconds.
        :param httponly: whether scripts cannot read it.
        :param secure: whether it is sent over TLS only; when None, if this request was.
        :param samesite: ``lax``, ``strict``, or ``none``.
        """
        if not _NAME.match(name):
            raise ValueError(f"{name!r} is no name of a cookie")
        if expires is None and expires_days is not None:
            expires = datetime.now(UTC) + timedelta(days=expires_days)
        text = value.decode() if isinstance(value, bytes) else value
        attributes = {
            "Domain": domain,
            "Path": path,
            "Expires": None if expires is None else http_time(expires),
            "Max-Age": max_age,
            "SameSite": samesite.capitalize(),
        }
        flags = {"Secure": self.request.isSecure() if secure is None else secure, "HttpOnly": httponly}
        pieces = [f"{name}={quote_value(text)}"]
        pieces += [f"{key}={_attribute(item)}" for key, item in attributes.items() if item not in (None, "")]
        pieces += [key for key, item in flags.items() if item]
        self.request.cookies.append("; ".join(pieces).encode("ascii"))

    def clear_cookie(self, name: str, **attributes: Any) -> None:
        """Delete a cookie; domain, path and flags have to be those that it was set with."""
        self.set_cookie(name, "", expires=0, **attributes)

    def clear_all_cookies(self, **attributes: Any) -> None:
        """Delete the cookies that the client has sent."""
        for name in self.cookies:
            self.clear_cookie(name, **attributes)

    # Signed ones

    def create_signed_value(self, name: str, value: str | bytes) -> bytes:
        """
        A value with its signature and the time.

        :raises ValueError: when the application has no ``cookie_secret``.
        """
        return self.call.app.signer.sign(name, value.encode() if isinstance(value, str) else value)

    def set_signed_cookie(
        self, name: str, value: str | bytes, expires_days: float | None = 30, **attributes: Any
    ) -> None:
        """Set a cookie that the client cannot change; it can read it."""
        self.set_cookie(name, self.create_signed_value(name, value), expires_days=expires_days, **attributes)

    def get_signed_cookie(self, name: str, value: str | bytes | None = None, max_age_days: float = 31) -> bytes | None:
        """
        The value of a signed cookie; None when there is none, its signature is wrong, or it is too old.

        :param value: in the place of the cookie's.
        """
        signed = self._signed(name, value)
        return None if signed is None else self.call.app.signer.unsign(name, signed, max_age_days)

    def get_signed_cookie_key_version(self, name: str, value: str | bytes | None = None) -> int | None:
        """Which key has signed it: the oldest is 1."""
        signed = self._signed(name, value)
        return None if signed is None else self.call.app.signer.key_version(name, signed)

    set_secure_cookie = set_signed_cookie
    get_secure_cookie = get_signed_cookie
    get_secure_cookie_key_version = get_signed_cookie_key_version

    def _signed(self, name: str, value: str | bytes | None) -> bytes | None:
        given = self.get_cookie(name) if value is None else value
        return given.encode() if isinstance(given, str) else given


def _attribute(value: Any) -> str:
    text = str(value)
    if re.search(r"[\x00-\x1f\x7f;]", text):
        raise ValueError(f"{text!r} cannot be an attribute of a cookie")
    return text
