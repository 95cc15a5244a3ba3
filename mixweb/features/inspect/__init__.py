"""
Shows every request live, with what became of it and why.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from secrets import token_urlsafe
from typing import Any

from twisted.web.resource import IResource, Resource

from mixweb.engine.errors import HTTPError
from mixweb.engine.request import Request
from mixweb.feature import Context, Mount, MountSettings, option
from mixweb.features.inspect._api import Api
from mixweb.features.inspect._decode import query_value
from mixweb.features.inspect._gate import Gate, is_own_page
from mixweb.features.inspect._inspector import Inspector, InspectorService
from mixweb.features.inspect._page import ASSETS, answer_asset, answer_page
from mixweb.features.inspect._record import Limits
from mixweb.features.inspect._workers import Workers
from mixweb.kit.mounted import redirect_to_directory
from mixweb.kit.rules import path_text, quote_path
from mixweb.kit.secrets import SECRETS, Secrets
from mixweb.paths import split_path

__all__ = ["FEATURE", "Inspect", "InspectResource", "build"]

_KEPT = "inspect"


@dataclass(frozen=True)
class Inspect(MountSettings):
    """Show every request live in the browser, with what became of it and why; to be opened with a token."""

    at: str = option("/~mix", help="Path it is mounted at.", metavar="PATH", kw_only=True)
    token: str = option("", help="What opens it; a new one at each start when empty.", secret=True)
    hosts: Sequence[str] = option(
        (), help="Host name, or glob, it answers to besides localhost and addresses.", metavar="NAME"
    )
    max_requests: int = option(500, help="Requests that are kept.", metavar="COUNT")
    max_body_bytes: int = option(64 * 1024, help="What is kept of each body, in bytes.", metavar="BYTES")
    max_bytes: int = option(32 * 1024 * 1024, help="What is kept of everything together, in bytes.", metavar="BYTES")
    mask: Sequence[str] = option(
        SECRETS, help="Parameters, fields and JSON members, as globs, whose values are not shown.", metavar="NAME"
    )
    lab: bool = option(False, help="Show cookies, credentials and all that mask would hide. For a lab only.")
    health_only: bool = option(False, help="Answer /health and nothing else, and keep nothing.")

    def __post_init__(self) -> None:
        for name in ("max_requests", "max_bytes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        if self.max_body_bytes < 0:
            raise ValueError("max_body_bytes must not be negative")
        if self.token and (not self.token.isascii() or not self.token.isprintable()):
            raise ValueError("token must be printable ASCII")

    @property
    def watches(self) -> bool:
        """Whether it looks on."""
        return not self.health_only

    @property
    def limits(self) -> Limits:
        """How much is kept."""
        return Limits(self.max_requests, self.max_body_bytes, self.max_bytes)

    @property
    def secrets(self) -> Secrets:
        """What is not shown."""
        return Secrets(() if self.lab else self.mask)


class HealthResource(Resource):
    """Answers at ``health``: 200 while requests are taken, 503 when the server is about to stop."""

    isLeaf = True

    def render(self, request: Request) -> Any:
        request.background = True
        if request.postpath != [b"health"]:
            raise HTTPError(404, "Nothing is here.")
        return self.render_health(request)

    def render_health(self, request: Request) -> bytes:
        """Say how the server is."""
        draining = request.site.draining
        request.setResponseCode(503 if draining else 200)
        request.setHeader(b"Content-Type", b"application/json")
        request.setHeader(b"Cache-Control", b"no-store")
        return b'{"status": "%b"}\n' % (b"stopping" if draining else b"ok")


class InspectResource(HealthResource):
    """The inspector: its page, and what programs are told."""

    def __init__(self, gate: Gate, inspector: Inspector, api: Api) -> None:
        super().__init__()
        self.gate = gate
        self.inspector = inspector
        self.api = api

    def render(self, request: Request) -> Any:
        request.background = True
        self.inspector.recorder.disown(request)
        segments = tuple(request.postpath)
        if segments == (b"health",):
            return self.render_health(request)
        if not segments:
            return redirect_to_directory(request)
        self._check(request)
        request.setHeader(b"Cache-Control", b"no-store")
        request.setHeader(b"Referrer-Policy", b"no-referrer")
        request.setHeader(b"X-Content-Type-Options", b"nosniff")
        if segments == (b"",):
            return answer_page(request)
        if len(segments) == 1 and segments[0] in ASSETS:
            return answer_asset(request, segments[0])
        if segments[0] == b"api":
            return self.api.answer(request, segments[1:])
        raise HTTPError(404, "Nothing is here.")

    def _check(self, request: Request) -> None:
        """
        Let in who may look.

        :raises HTTPError: 403 for everybody else.
        """
        authority = request.authority
        if not self.gate.is_host(authority):
            name = "" if authority is None else authority.host.decode("ascii", "replace")
            raise HTTPError(
                403,
                f"The inspector does not answer to the host name {name}: add it to its hosts (--inspect-hosts {name}).",
            )
        if self.gate.is_token(_token(request)):
            request.cookies.append(self.gate.cookie(request.isSecure()))
            return
        if not self.gate.is_cookie(request.received_cookies):
            raise HTTPError(
                403, "Open the inspector with the link that the server printed when it started: its token is in it."
            )
        header = request.getHeader
        if not is_own_page(header(b"Sec-Fetch-Site"), header(b"Origin"), header(b"Host") or b""):
            raise HTTPError(403, "The inspector answers to its own page only.")


def _token(request: Request) -> bytes:
    """The token that a request shows: in its query, or as a bearer's."""
    scheme, _, given = (request.getHeader(b"Authorization") or b"").partition(b" ")
    if scheme.lower() == b"bearer":
        return given.strip()
    return query_value(request.target, "token").encode()


def build(settings: Inspect, context: Context) -> IResource:
    if settings.health_only:
        return HealthResource()
    path = quote_path(path_text(split_path(settings.at))).rstrip("/")
    token = settings.token or token_urlsafe(18)
    gate = Gate(token, settings.hosts, path)
    kept = context.about.kept
    if _KEPT not in kept:
        workers = Workers(context.reactor, gate.key) if context.about.worker else None
        kept[_KEPT] = Inspector(context.reactor, settings.limits, workers)
    inspector: Inspector = kept[_KEPT]
    inspector.recorder.limits = settings.limits
    api = Api(settings.secrets, inspector, context)
    inspector.answer = api.answer
    context.watch(inspector.recorder.watch)
    context.observe(inspector.recorder.observe)
    context.add_service(InspectorService(inspector))
    if not settings.token:
        context.warn(f"inspect: open it at {path}/?token={token}")
    if settings.lab:
        context.warn("inspect: lab = true, it shows cookies, credentials and tokens")
    return InspectResource(gate, inspector, api)


FEATURE = Mount("inspect", Inspect, build, watches=True)
