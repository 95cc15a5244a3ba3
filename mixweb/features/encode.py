"""
Content codings: answers leave compressed for clients that take them so.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import translate
from functools import lru_cache
from typing import Literal

from twisted.web.resource import IResource

from mixweb.engine.request import Request
from mixweb.feature import Context, Stage, Wrap, WrapperSettings, option
from mixweb.features._encode_bodies import Encoding, Variants
from mixweb.interfaces import ISession, IUser
from mixweb.kit.codings import CODINGS, EFFORTS, choose, coder
from mixweb.wrapper import Wrapper

#: What texts are made of.
TYPES = (
    "text/*", "application/json", "application/javascript", "application/xml", "application/wasm",
    "application/manifest+json", "application/*+json", "application/*+xml", "image/svg+xml", "image/x-icon", "image/bmp",
    "font/ttf", "font/otf",
)  # fmt: skip

#: The length of an answer whose encoded form may be kept, in bytes.
_KEPT_BYTES = 256 * 1024


@dataclass(frozen=True)
class Encode(WrapperSettings):
    """Settings of the ``encode`` feature."""

    codings: Sequence[str] = option(CODINGS, help="Codings in order of preference.", metavar="CODING")
    effort: Literal["fast", "normal", "best"] = option("normal", help="How hard to try: fast, normal or best.")
    min_bytes: int = option(512, help="Shorter answers stay as they are, in bytes.", metavar="BYTES")
    max_bytes: int = option(
        4 * 1024 * 1024, help="Longer answers that are made in one piece stay as they are, in bytes.", metavar="BYTES"
    )
    types: Sequence[str] = option(TYPES, help="Media types that are encoded; globs.", metavar="TYPE")
    keep_bytes: int = option(
        16 * 1024 * 1024, help="Memory for encoded forms of files and other lasting answers, in bytes.", metavar="BYTES"
    )
    secrets: bool = option(False, help="Encode over TLS what was made for one user too. Unsafe: see BREACH.")

    def __post_init__(self) -> None:
        if not self.codings:
            raise ValueError("codings must name at least one coding")
        for coding in self.codings:
            if coding not in CODINGS:
                raise ValueError(f"codings: expected {', '.join(CODINGS)}, got {coding!r}")
        if self.effort not in EFFORTS:
            raise ValueError(f"effort: expected {', '.join(EFFORTS)}, got {self.effort!r}")
        for name in ("min_bytes", "max_bytes", "keep_bytes"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative")


class EncodeWrapper(Wrapper):
    """Encodes what stands inside, once it is known what is sent."""

    def __init__(self, settings: Encode, inner: IResource) -> None:
        super().__init__(inner)
        self.settings = settings
        self.coders = {name.encode(): coder(name, settings.effort) for name in settings.codings}
        self.codings = tuple(self.coders)
        self.variants = Variants(settings.keep_bytes)
        matches = re.compile("|".join(translate(pattern.lower()) for pattern in settings.types)).match
        self.is_text = lru_cache(maxsize=256)(
            lambda kind: matches(kind.partition(b";")[0].strip().lower().decode("latin-1")) is not None
        )

    def handle(self, request: Request) -> None:
        request.before_headers(self.negotiate)
        self.forward(request)

    def negotiate(self, request: Request) -> None:
        """Choose the coding of an answer, and say so."""
        headers = request.responseHeaders
        if request.code == 304:
            self._not_modified(request)
            return
        length = headers.getRawHeaders(b"Content-Length")
        size = int(length[0]) if length else None
        if not self._is_suitable(request, size) or self._is_secret(request):
            return
        _vary(request)
        coding = choose(tuple(request.requestHeaders.getRawHeaders(b"Accept-Encoding") or ()), self.codings)
        if coding is None:
            return
        headers.removeHeader(b"Content-Length")
        headers.removeHeader(b"Accept-Ranges")
        lasting = _weaken(request)
        if request.method != b"HEAD":
            headers.put(b"Content-Encoding", coding)
            keeps = lasting and size is not None and size <= _KEPT_BYTES
            request.filter_body(Encoding(coding, self.coders[coding], size, self.variants if keeps else None))

    def _is_suitable(self, request: Request, size: int | None) -> bool:
        headers = request.responseHeaders
        if request.code < 200 or request.code in (204, 205, 206) or headers.has(b"Content-Encoding"):
            return False
        if size is not None and not self.settings.min_bytes <= size:
            return False
        kind = headers.getRawHeaders(b"Content-Type")
        if not kind or not self.is_text(kind[0]):
            return False
        if size is not None and size > self.settings.max_bytes and not headers.has(b"Accept-Ranges"):
            return False
        control = headers.getRawHeaders(b"Cache-Control")
        return control is None or b"no-transform" not in b",".join(control).lower()

    def _is_secret(self, request: Request) -> bool:
        """
        Whether the length of the encoded answer could give a secret away to somebody who can have something of his
        own repeated in it (BREACH). A stored file, which offers ranges, repeats nothing.
        """
        if self.settings.secrets or not request.isSecure() or request.responseHeaders.has(b"Accept-Ranges"):
            return False
        if request.responseHeaders.has(b"Set-Cookie") or request.requestHeaders.hasHeader(b"Authorization"):
            return True
        session = ISession(request, None)
        return IUser(request, None) is not None or (session is not None and not session.new)

    def _not_modified(self, request: Request) -> None:
        """Name the encoded form, if that is what the client has (RFC 9111, 4.3.4)."""
        known = b",".join(request.requestHeaders.getRawHeaders(b"If-None-Match") or ())
        tag = request.responseHeaders.getRawHeaders(b"ETag")
        if tag and b"W/" + tag[0] in known:
            _vary(request)
            _weaken(request)


def _vary(request: Request) -> None:
    headers = request.responseHeaders
    values = headers.getRawHeaders(b"Vary") or []
    if not any(name.strip().lower() in (b"*", b"accept-encoding") for value in values for name in value.split(b",")):
        headers.addRawHeader(b"Vary", b"Accept-Encoding")


def _weaken(request: Request) -> bool:
    """Make the entity tag weak, as the bytes are others now (RFC 9110, 8.8.3.3); whether the answer has a validator."""
    headers = request.responseHeaders
    tag = headers.getRawHeaders(b"ETag")
    if tag and not tag[0].startswith(b"W/"):
        headers.put(b"ETag", b"W/" + tag[0])
    return bool(tag) or headers.has(b"Last-Modified")


def build(settings: Encode, inner: IResource, context: Context) -> IResource:
    if settings.secrets:
        context.warn("encode: answers made for one user are compressed over TLS too; their secrets may leak (BREACH)")
    return EncodeWrapper(settings, inner)


FEATURE = Wrap("encode", Stage.ENCODE, Encode, build)
