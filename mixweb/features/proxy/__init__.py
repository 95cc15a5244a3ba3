"""
A reverse proxy: requests are answered by other servers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mixweb.engine.authority import parse_authority
from mixweb.engine.fields import TOKEN
from mixweb.feature import Context, FilePath, Mount, MountSettings, existing_path, option
from mixweb.features.proxy._connect import Connecting
from mixweb.features.proxy._edits import AnswerEdits, RequestEdits
from mixweb.features.proxy._health import HealthService
from mixweb.features.proxy._resource import ProxyResource
from mixweb.features.proxy._target import Paths, targets
from mixweb.features.proxy._upstreams import Upstream, Upstreams
from mixweb.kit.rewriting import rule_step
from mixweb.kit.upstream.pool import PoolLimits, PoolService

_LINE = "'NAME: VALUE'"

#: Settings that are seconds or numbers, and the least they may be.
_LEAST = {
    "connect_timeout": 1,
    "timeout": 1,
    "idle_timeout": 1,
    "keep_alive": 0,
    "max_connections": 0,
    "queue": 0,
    "queue_timeout": 1,
    "max_failures": 0,
    "rest": 1,
    "health_interval": 1,
    "health_timeout": 1,
}


@dataclass(frozen=True)
class Proxy(MountSettings):
    """Have other servers answer: a reverse proxy."""

    to: Sequence[str | Callable[..., Any]] = option(
        (), principal=True, help="Servers to ask: http://HOST:PORT/PATH, https://... or unix:/SOCKET.", metavar="URL"
    )
    strip: bool = option(True, help="Take the mount's path off before the rest is appended to the URL's path.")
    raw: bool = option(False, help="Pass the path on byte for byte, with empty and dot segments as they are.")
    rewrite: Mapping[str, str] = option(
        {}, help="Path, glob or regular expression (^...) and the path it becomes.", metavar="PATTERN=PATH"
    )
    host: str = option("upstream", help="Host to ask for: upstream, client (as received), or a name.", metavar="NAME")
    forwarded: Literal["both", "x-forwarded", "forwarded", "off"] = option(
        "both", help="What says on whose behalf we ask: both, x-forwarded, forwarded or off."
    )
    websocket: bool = option(True, help="Pass WebSockets on.")
    request_set: Sequence[str] = option(
        (), help="Header of requests; {client}, {host}, {scheme} and {user} stand for what they say.", metavar=_LINE
    )
    request_remove: Sequence[str] = option((), help="Name or glob of request headers not passed on.", metavar="NAME")
    set: Sequence[str] = option((), help="Header of answers, in the place of what the server said.", metavar=_LINE)
    add: Sequence[str] = option((), help="Header added to answers.", metavar=_LINE)
    remove: Sequence[str] = option((), help="Name or glob of headers of answers not passed back.", metavar="NAME")
    balance: Literal["round-robin", "least-connections", "address", "cookie"] = option(
        "round-robin", help="Which of several servers: round-robin, least-connections, address or cookie."
    )
    weights: Sequence[int] = option((), help="Shares of the servers, in their order; 1 each by default.")
    cookie: str = option("upstream", help="Cookie that keeps a client at one server, with balance 'cookie'.")
    max_failures: int = option(3, help="Failures in a row after which a server is left alone; 0 for never.")
    rest: int = option(10, help="Seconds for which it is left alone.", metavar="SECONDS")
    health: str = option("", help="Path that servers are asked for to see if they are healthy.", metavar="PATH")
    health_interval: int = option(10, help="Seconds between two such requests.", metavar="SECONDS")
    health_timeout: int = option(5, help="Seconds that such an answer may take.", metavar="SECONDS")
    health_status: str = option("200-399", help="Status, or range of them, of a healthy server.")
    connect_timeout: int = option(10, help="Seconds for connecting to a server.", metavar="SECONDS")
    timeout: int = option(60, help="Seconds until an answer begins.", metavar="SECONDS")
    idle_timeout: int = option(60, help="Seconds for which an answer may then be silent.", metavar="SECONDS")
    keep_alive: int = option(30, help="Seconds for which an unused connection is kept.", metavar="SECONDS")
    max_connections: int = option(1000, help="Connections to each server; 0 for any number.")
    queue: int = option(1000, help="Requests for each server that wait for a connection; more are 503.")
    queue_timeout: int = option(10, help="Seconds that they wait.", metavar="SECONDS")
    ca: FilePath = option("", help="PEM file of the authorities to trust, in the place of the system's.")
    tls_name: str = option("", help="Name that certificates must have; the URL's by default.", metavar="NAME")
    insecure: bool = option(False, help="Accept any certificate of a server. Unsafe.")

    def __post_init__(self) -> None:
        found = targets(self.to)
        if not found:
            raise ValueError("to: name at least one server (http://127.0.0.1:9000)")
        if self.weights and (len(self.weights) != len(found) or min(self.weights) < 1):
            raise ValueError("weights: one for each server, at least 1")
        for name, least in _LEAST.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}")
        for pattern, replacement in self.rewrite.items():
            rule_step(pattern, replacement, "rewrite")
        if self.raw and self.rewrite:
            raise ValueError("rewrite cannot be combined with raw: one or the other decides the path")
        if not TOKEN.match(self.cookie.encode()):
            raise ValueError(f"cookie: {self.cookie!r} is no name of a cookie")
        if self.health and not self.health.startswith("/"):
            raise ValueError("health must be a path: /healthz")
        status_range(self.health_status)
        RequestEdits(self.request_set, self.request_remove)
        AnswerEdits(self.set, self.add, self.remove)
        if self.host not in ("upstream", "client"):
            check_host(self.host)


def check_host(host: str) -> None:
    """
    A setting ``host`` must be one.

    :raises ValueError: when it is not.
    """
    try:
        parse_authority(host.encode("ascii"))
    except ValueError:
        raise ValueError(f"host must be upstream, client or the name of a host, not {host!r}") from None


def status_range(text: str) -> tuple[int, int]:
    """
    The lowest and the highest status of ``200`` or ``200-399``.

    :raises ValueError: when it is neither.
    """
    low, _, high = text.partition("-")
    if not (low.isdigit() and (high or low).isdigit() and 100 <= int(low) <= int(high or low) <= 599):
        raise ValueError(f"health_status must be like 200 or 200-399, not {text!r}")
    return int(low), int(high or low)


def build(settings: Proxy, context: Context) -> ProxyResource:
    if settings.insecure:
        context.warn("proxy: the certificates of upstream servers are not verified (insecure)")
    if settings.websocket:
        context.expect_tunnels()
    group = Upstreams(_upstreams(settings, context), settings.balance, settings.max_failures, settings.rest)
    context.add_service(PoolService(context.reactor, [upstream.pool for upstream in group.all]))
    if settings.health:
        accepted = status_range(settings.health_status)
        context.add_service(
            HealthService(
                context.reactor, group, settings.health, settings.health_interval, settings.health_timeout, accepted
            )
        )
    return ProxyResource(
        group,
        Paths(settings.strip, [rule_step(*rule) for rule in settings.rewrite.items()]),
        RequestEdits(settings.request_set, settings.request_remove),
        AnswerEdits(settings.set, settings.add, settings.remove),
        host=settings.host,
        forwarded=settings.forwarded,
        cookie=settings.cookie if settings.balance == "cookie" else "",
        websocket=settings.websocket,
    )


def _upstreams(settings: Proxy, context: Context) -> list[Upstream]:
    limits = PoolLimits(
        settings.max_connections,
        settings.queue,
        settings.queue_timeout,
        settings.timeout,
        settings.idle_timeout,
        settings.keep_alive,
    )
    ca = str(existing_path(settings.ca)) if settings.ca else ""
    connecting = Connecting(context.reactor, settings.connect_timeout, ca, settings.tls_name, not settings.insecure)
    found = targets(settings.to)
    weights = settings.weights or [1] * len(found)
    return [
        connecting.upstream(item, number, weight, limits)
        for number, (item, weight) in enumerate(zip(found, weights, strict=True), 1)
    ]


FEATURE = Mount("proxy", Proxy, build)
