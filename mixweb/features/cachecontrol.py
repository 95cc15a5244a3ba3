"""
What caches may do with the answers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from time import time

from twisted.web.http import datetimeToString
from twisted.web.resource import IResource

from mixweb.engine.request import Request
from mixweb.feature import Context, Stage, Wrap, WrapperSettings, option
from mixweb.paths import CanonicalPath, PathMatcher
from mixweb.wrapper import Wrapper

_PROLONGS = re.compile(
    r"\b(?:public|immutable|(?:s-maxage|max-age|stale-while-revalidate|stale-if-error)=)", re.IGNORECASE
)
_VALUE = re.compile(r"[!-~][ -~]*\Z")


@dataclass(frozen=True)
class CacheControl(WrapperSettings):
    """Cache-Control by path."""

    value: str = option("", principal=True, help="Value of Cache-Control where no rule matches; empty for none.")
    rules: Mapping[str, str] = option(
        {}, help="Path or glob and its value, empty for none; the first that matches.", metavar="PATH=VALUE"
    )
    no_store: Sequence[str] = option((), help="Paths and globs of what no cache may keep.", metavar="PATH")
    expires: int = option(
        0,
        help="Seconds until Expires where no rule matches, and max-age if there is no value; 0 for none.",
        metavar="SECONDS",
    )
    force: bool = option(False, help="Replace what the resource set itself.")

    def __post_init__(self) -> None:
        for name, value in (("value", self.value), *((f"rules: {path}", value) for path, value in self.rules.items())):
            if value and not _VALUE.match(value):
                raise ValueError(f"{name}: {value!r} is not a value of Cache-Control")
        if self.expires < 0:
            raise ValueError("expires must not be negative")


@dataclass(frozen=True)
class Policy:
    """
    What is said about one answer.

    :ivar expires: seconds until ``Expires``; 0 for none.
    """

    value: str
    expires: int = 0

    @property
    def prolongs(self) -> bool:
        """Whether caches may keep the answer for longer than they would by themselves."""
        return bool(self.expires or _PROLONGS.search(self.value))


class Policies:
    """Which policy a path has."""

    def __init__(self, settings: CacheControl) -> None:
        self.no_store = PathMatcher(settings.no_store) if settings.no_store else None
        self.rules = [(PathMatcher([path]), Policy(value)) for path, value in settings.rules.items()]
        value = settings.value or (f"max-age={settings.expires}" if settings.expires else "")
        self.default = Policy(value, settings.expires)

    def is_forbidden(self, path: CanonicalPath) -> bool:
        """Whether no cache may keep it."""
        return self.no_store is not None and self.no_store.match(path)

    def find(self, path: CanonicalPath) -> Policy:
        """The policy of the first rule that matches, or the default."""
        return next((policy for matcher, policy in self.rules if matcher.match(path)), self.default)


class CacheControlWrapper(Wrapper):
    """
    Tells caches what they may keep, where the resource inside does not say so itself.

    :param now: tells the time, in seconds since 1970.
    """

    def __init__(self, settings: CacheControl, inner: IResource, now: Callable[[], float] = time) -> None:
        super().__init__(inner)
        self.policies = Policies(settings)
        self.force = settings.force
        self.now = now

    def handle(self, request: Request) -> None:
        if self.policies.is_forbidden(request.canonical_path):
            request.before_headers(self.forbid)
        elif (policy := self.policies.find(request.canonical_path)).value:
            request.before_headers(partial(self.allow, policy))
        self.forward(request)

    def forbid(self, request: Request) -> None:
        """Let no cache keep the answer, whatever it is."""
        if self._may_speak(request):
            request.responseHeaders.put(b"Cache-Control", b"no-cache, no-store, must-revalidate")
            request.responseHeaders.put(b"Pragma", b"no-cache")
            request.responseHeaders.put(b"Expires", b"0")

    def allow(self, policy: Policy, request: Request) -> None:
        """State the policy; one that prolongs, on successful answers without cookies only."""
        if not self._may_speak(request) or (policy.prolongs and not self._is_lasting(request)):
            return
        headers = request.responseHeaders
        if self.force:
            headers.removeHeader(b"Expires")
            headers.removeHeader(b"Pragma")
        headers.put(b"Cache-Control", policy.value.encode())
        if policy.expires:
            headers.put(b"Expires", datetimeToString(self.now() + policy.expires))

    def _may_speak(self, request: Request) -> bool:
        has = request.responseHeaders.has
        return self.force or not (has(b"Cache-Control") or has(b"Expires") or has(b"Pragma"))

    def _is_lasting(self, request: Request) -> bool:
        if not (200 <= request.code < 300 or request.code == 304) or request.method not in (b"GET", b"HEAD"):
            return False
        return self.force or not request.responseHeaders.has(b"Set-Cookie")


def build(settings: CacheControl, inner: IResource, context: Context) -> IResource:
    return CacheControlWrapper(settings, inner, context.reactor.seconds)


#: Inside the response cache, which keeps to what is said here.
FEATURE = Wrap("cachecontrol", Stage.TRANSFORM, CacheControl, build)
