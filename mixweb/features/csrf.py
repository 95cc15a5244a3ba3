"""
What changes something is taken from pages of this site only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hmac import compare_digest
from time import time
from typing import Any, Literal

from twisted.web.resource import IResource
from zope.interface import implementer

from mixweb.engine._forms import MAX_FORM_BYTES, form_arguments
from mixweb.engine.fields import TOKEN
from mixweb.engine.request import Request
from mixweb.feature import Context, Stage, Wrap, WrapperSettings, option
from mixweb.features._csrf_tokens import mask, new_secret, unmask
from mixweb.interfaces import IFormToken, ISession
from mixweb.kit.cookies import Cookie, make_private
from mixweb.kit.origins import is_foreign
from mixweb.wrapper import HTTPError, Wrapper

#: Methods that change nothing (RFC 9110, 9.2.1). A CONNECT cannot be made by a page, but by its WebSockets.
SAFE = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"CONNECT"))

#: Where a session keeps the secret; it stays behind when the id of the session changes.
_KEY = "~csrf"

_FORMS = (b"application/x-www-form-urlencoded", b"multipart/form-data")


@dataclass(frozen=True)
class Csrf(WrapperSettings):
    """Refuse what pages of other sites have browsers send: forms need a token."""

    keep: Literal["cookie", "session"] = option("cookie", help="Where the secret is kept: cookie or session.")
    cookie: str = option("_xsrf", help="Name of the cookie; over TLS __Host- stands in front.", metavar="NAME")
    http_only: bool = option(False, help="Keep scripts from reading the cookie.")
    field: str = option("_xsrf", help="Field of forms that has the token.", metavar="NAME")
    headers: Sequence[str] = option(
        ("X-CSRF-Token", "X-XSRFToken", "X-CSRFToken"), help="Header that may have the token instead.", metavar="NAME"
    )
    trusted_origins: Sequence[str] = option(
        (), help="Other origins whose pages may send forms, as https://a.example.", metavar="ORIGIN"
    )
    tokens: bool = option(True, help="Want a token; without, what browsers say of the page's origin decides.")
    always: bool = option(False, help="Set the cookie with every page, for scripts that send it back.")

    def __post_init__(self) -> None:
        _ = self.token
        if not self.field:
            raise ValueError("field must not be empty")
        for name in self.headers:
            if not TOKEN.match(name.encode()):
                raise ValueError(f"headers: {name!r} is not the name of a header")
        for origin in self.trusted_origins:
            scheme, separator, rest = origin.partition("://")
            if scheme not in ("http", "https") or not separator or not rest or "/" in rest or "*" in rest:
                raise ValueError(f"trusted_origins: {origin!r} is not an origin; expected https://a.example")
        if self.always and (self.keep == "session" or self.http_only or not self.tokens):
            raise ValueError("always is for tokens in a cookie that scripts can read")

    @property
    def token(self) -> Cookie:
        """The cookie."""
        return Cookie(self.cookie, http_only=self.http_only)


@implementer(IFormToken)
class FormToken:
    """
    The token of one request.

    :param give: the secret of the client, made when there is none.
    """

    def __init__(self, field: str, give: Callable[[], bytes]) -> None:
        self.field = field
        self._give = give
        self._secret: bytes | None = None

    @property
    def value(self) -> str:
        """A token, another one each time."""
        if self._secret is None:
            self._secret = self._give()
        return mask(self._secret, time()).decode("ascii")


class CsrfWrapper(Wrapper):
    """Lets requests pass that change nothing, and of the others those that show where they come from."""

    def __init__(self, settings: Csrf, inner: IResource) -> None:
        super().__init__(inner)
        self.settings = settings
        self.cookie = settings.token
        self.trusted = frozenset(origin.lower().encode() for origin in settings.trusted_origins)
        self.headers = [name.encode() for name in settings.headers]
        self.field = settings.field.encode()

    def handle(self, request: Request) -> None:
        token = FormToken(self.settings.field, lambda: self._give_secret(request))
        request.setComponent(IFormToken, token)
        if request.method in SAFE:
            if self.settings.always and request.method == b"GET" and self._known_secret(request) is None:
                _ = token.value
            self.forward(request)
            return
        self._check_origin(request)
        given = self._header_token(request)
        if not self.settings.tokens or _is_bearer(request):
            self.forward(request)
        elif given is None and self._is_form(request):
            request.when_body(self._check_form)
        else:
            self._check(request, given)

    def _check_origin(self, request: Request) -> None:
        header = request.getHeader
        site, origin, referer = header(b"Sec-Fetch-Site"), header(b"Origin"), header(b"Referer")
        if is_foreign(site, origin, referer, request.authority, request.isSecure(), self.trusted):
            raise HTTPError(403, "Pages of other sites may not do this.")

    def _header_token(self, request: Request) -> bytes | None:
        return next((value for name in self.headers if (value := request.getHeader(name)) is not None), None)

    def _is_form(self, request: Request) -> bool:
        return (request.getHeader(b"Content-Type") or b"").partition(b";")[0].strip().lower() in _FORMS

    def _check_form(self, request: Request) -> None:
        """Look for the token in the body alone: what stands in an address is told to others."""
        if request.body_size > MAX_FORM_BYTES:
            header = self.settings.headers[0] if self.settings.headers else "none"
            raise HTTPError(403, f"A form of this size has its token in a header: {header}.")
        declared = request.getHeader(b"Content-Type") or b""
        self._check(request, form_arguments(declared, request.content).get(self.field, [None])[-1])

    def _check(self, request: Request, given: bytes | None) -> None:
        if given is None:
            raise HTTPError(403, f"A token is missing: send it in the field {self.settings.field} or in a header.")
        known, shown = self._known_secret(request), unmask(given)
        if known is None or shown is None or not compare_digest(known, shown):
            raise HTTPError(403, "The token is not the right one: load the page again and send the form once more.")
        self.forward(request)

    # The secret

    def _known_secret(self, request: Request) -> bytes | None:
        """What the client was given before."""
        if self.settings.keep == "session":
            kept = _session(request).get(_KEY)
            return bytes.fromhex(kept) if isinstance(kept, str) else None
        return unmask(request.received_cookies.get(self.cookie.name_of(request.isSecure()), b""))

    def _give_secret(self, request: Request) -> bytes:
        """The same, or a new one that the client is given now."""
        known = self._known_secret(request)
        if known is None and request.startedWriting:
            raise RuntimeError("a form token was asked for after the head of the answer had left")
        make_private(request.responseHeaders)
        if known is not None:
            return known
        made = new_secret()
        if self.settings.keep == "session":
            _session(request)[_KEY] = made.hex()
        else:
            request.cookies.append(self.cookie.set(mask(made, time()), request.isSecure()))
        return made


def _session(request: Request) -> Any:
    found = ISession(request, None)
    if found is None:
        raise RuntimeError(
            "csrf keeps its secret in the session, but the session feature is not mounted: add --session"
        )
    return found


def _is_bearer(request: Request) -> bool:
    """Whether a program shows a token of its own, which no browser adds by itself."""
    return (request.getHeader(b"Authorization") or b"")[:7].lower() == b"bearer "


def build(settings: Csrf, inner: IResource, context: Context) -> CsrfWrapper:
    if settings.keep == "session" and context.wrappers is not None and "session" not in context.wrappers:
        raise ValueError("keep = session needs the session feature: add --session")
    return CsrfWrapper(settings, inner)


FEATURE = Wrap("csrf", Stage.CSRF, Csrf, build)
