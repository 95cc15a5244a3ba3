"""
Headers that tell browsers to be careful.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from twisted.web.resource import IResource

from mixweb.engine.fields import DefaultFields
from mixweb.engine.request import Request
from mixweb.feature import Context, Stage, Wrap, WrapperSettings, option
from mixweb.wrapper import Wrapper

_REFERRER = (
    "no-referrer",
    "no-referrer-when-downgrade",
    "origin",
    "origin-when-cross-origin",
    "same-origin",
    "strict-origin",
    "strict-origin-when-cross-origin",
    "unsafe-url",
)
_CHOICES = {
    "frame": ("DENY", "SAMEORIGIN"),
    "coop": ("unsafe-none", "same-origin-allow-popups", "same-origin", "noopener-allow-popups"),
    "coep": ("unsafe-none", "require-corp", "credentialless"),
    "corp": ("same-site", "same-origin", "cross-origin"),
}
_TEXTS = ("csp", "csp_report_only", "permissions", "referrer")
_FRAME_ANCESTORS = re.compile(rb"(?:\A|[;,])[ \t]*frame-ancestors\b", re.IGNORECASE)

#: What browsers ask of a site before they put it into their own lists, in seconds.
_PRELOAD_SECONDS = 31536000


@dataclass(frozen=True)
class SecureHeaders(WrapperSettings):
    """Headers that tell browsers to be careful; on unless taken away."""

    frame: str = option("DENY", principal=True, help="X-Frame-Options: DENY or SAMEORIGIN; empty for none.")
    frame_ancestors: Sequence[str] = option(
        (),
        help="Origins that may frame the pages: CSP's frame-ancestors in the place of X-Frame-Options.",
        metavar="ORIGIN",
    )
    nosniff: bool = option(True, help="Send X-Content-Type-Options: nosniff.")
    referrer: str = option("strict-origin-when-cross-origin", help="Value of Referrer-Policy; empty for none.")
    permissions: str = option("", help="Value of Permissions-Policy; empty for none.")
    csp: str = option("", help="Value of Content-Security-Policy; empty for none.")
    csp_report_only: str = option("", help="Value of Content-Security-Policy-Report-Only; empty for none.")
    coop: str = option("", help="Value of Cross-Origin-Opener-Policy; empty for none.")
    coep: str = option("", help="Value of Cross-Origin-Embedder-Policy; empty for none.")
    corp: str = option("", help="Value of Cross-Origin-Resource-Policy; empty for none.")
    isolation: bool = option(False, help="Isolate pages from other origins: same-origin, require-corp, same-origin.")
    hsts: int = option(
        0, help="Seconds of Strict-Transport-Security, sent over TLS only; 0 for none.", metavar="SECONDS"
    )
    hsts_subdomains: bool = option(False, help="Let it hold for all subdomains.")
    hsts_preload: bool = option(False, help="Let browsers put the site into the lists they ship with.")

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value and value not in choices:
                raise ValueError(f"{name} must be {', '.join(choices[:-1])} or {choices[-1]}, not {value!r}")
        for name in _TEXTS:
            if not _tidy(getattr(self, name)).isascii() or not _tidy(getattr(self, name)).isprintable():
                raise ValueError(f"{name} has characters that may not stand in a header")
        for policy in self.referrer.split(","):
            if policy.strip() not in _REFERRER and self.referrer:
                raise ValueError(f"referrer: there is no policy {policy.strip()!r}")
        self._check_frame_ancestors()
        self._check_hsts()

    def _check_frame_ancestors(self) -> None:
        for origin in self.frame_ancestors:
            if not re.fullmatch(r"[!-+\--:<-~]+", origin):
                raise ValueError(f"frame_ancestors: {origin!r} is not an origin")
        if self.frame_ancestors and _FRAME_ANCESTORS.search(_tidy(self.csp).encode()):
            raise ValueError("frame_ancestors and the frame-ancestors of csp exclude each other")

    def _check_hsts(self) -> None:
        if self.hsts < 0:
            raise ValueError("hsts must not be negative")
        if self.hsts_preload and not (self.hsts_subdomains and self.hsts >= _PRELOAD_SECONDS):
            raise ValueError(f"hsts_preload needs hsts_subdomains and hsts of at least {_PRELOAD_SECONDS}")


def _tidy(text: str) -> str:
    return " ".join(text.split())


def fields(settings: SecureHeaders) -> dict[str, str]:
    """The header fields that settings ask for, whatever the connection."""
    ancestors = "frame-ancestors " + " ".join(settings.frame_ancestors) if settings.frame_ancestors else ""
    isolation = ("same-origin", "require-corp", "same-origin") if settings.isolation else ("", "", "")
    found = {
        "X-Content-Type-Options": "nosniff" if settings.nosniff else "",
        "X-Frame-Options": "" if ancestors else settings.frame,
        "Referrer-Policy": settings.referrer,
        "Permissions-Policy": settings.permissions,
        "Content-Security-Policy": "; ".join(filter(None, [settings.csp.rstrip("; \n"), ancestors])),
        "Content-Security-Policy-Report-Only": settings.csp_report_only,
        "Cross-Origin-Opener-Policy": settings.coop or isolation[0],
        "Cross-Origin-Embedder-Policy": settings.coep or isolation[1],
        "Cross-Origin-Resource-Policy": settings.corp or isolation[2],
    }
    return {name: tidied for name, value in found.items() if (tidied := _tidy(value))}


def hsts_value(settings: SecureHeaders) -> str:
    """The value of ``Strict-Transport-Security`` (RFC 6797, 6.1); empty for none."""
    if not settings.hsts:
        return ""
    subdomains = "; includeSubDomains" if settings.hsts_subdomains else ""
    return f"max-age={settings.hsts}{subdomains}{'; preload' if settings.hsts_preload else ''}"


class SecureHeadersWrapper(Wrapper):
    """Adds the headers that the resource inside did not set itself, to errors too."""

    def __init__(self, settings: SecureHeaders, inner: IResource) -> None:
        super().__init__(inner)
        self.plain = DefaultFields({name.encode(): value.encode() for name, value in fields(settings).items()})
        self.secure = self.plain
        if settings.hsts:
            self.secure = DefaultFields({**self.plain, b"Strict-Transport-Security": hsts_value(settings).encode()})
        self.ancestors = (
            ("frame-ancestors " + " ".join(settings.frame_ancestors)).encode() if settings.frame_ancestors else b""
        )

    def handle(self, request: Request) -> None:
        request.before_headers(self.add_defaults)
        self.forward(request)

    def add_defaults(self, request: Request) -> None:
        """Add what is missing."""
        if self.ancestors:
            self._restrict_frames(request)
        defaults = self.secure if self.secure is not self.plain and request.isSecure() else self.plain
        request.responseHeaders.fill(defaults)

    def _restrict_frames(self, request: Request) -> None:
        """A policy of the resource stays; several policies all hold (CSP 3, 8.1)."""
        policies = request.responseHeaders.getRawHeaders(b"Content-Security-Policy")
        if policies and not any(_FRAME_ANCESTORS.search(policy) for policy in policies):
            request.responseHeaders.addRawHeader(b"Content-Security-Policy", self.ancestors)


def build(settings: SecureHeaders, inner: IResource, context: Context) -> IResource:
    return SecureHeadersWrapper(settings, inner)


FEATURE = Wrap("secureheaders", Stage.HEADERS, SecureHeaders, build, default=True)
