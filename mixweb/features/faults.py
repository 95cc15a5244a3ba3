"""
Answers that come late, or never, or broken, for tests of clients.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import SystemRandom
from typing import Literal
from urllib.parse import unquote_to_bytes

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.web.resource import IResource

from mixweb.engine.request import Request
from mixweb.feature import Context, Stage, Wrap, WrapperSettings, option
from mixweb.kit.breakage import FAULTS, Fault, break_answer
from mixweb.kit.headerlines import header_lines
from mixweb.wrapper import HTTPError, Wrapper

_PREFIX = b"mix."
_NO_STORE = (b"Cache-Control", b"no-store")
_NUMBER = re.compile(r"\d{1,9}(?:\.\d{1,9})?\Z", re.ASCII)
_random = SystemRandom().random


@dataclass(frozen=True)
class Faults(WrapperSettings):
    """Let answers come late, broken or not at all, to test clients."""

    fault: Literal["", "reset", "truncate", "length"] = option(
        "",
        principal=True,
        help="What breaks: reset (no answer), truncate (half of the body), length (too much declared).",
        metavar="NAME",
    )
    status: int = option(0, help="Status code of an error in the place of the answer; 0 for none.")
    delay: float = option(0.0, help="Seconds that answers come late.", metavar="SECONDS")
    jitter: float = option(0.0, help="Seconds at most that they come even later, at random.", metavar="SECONDS")
    rate: float = option(1.0, help="Share of the requests that this happens to, from 0 to 1.")
    override: bool = option(
        False,
        help="Let requests ask for it: ?mix.status=503&mix.delay=2&mix.header=NAME:VALUE&mix.fault=reset. Unsafe.",
    )
    max_delay: float = option(60.0, help="Seconds that a request can ask for at most.", metavar="SECONDS")

    def __post_init__(self) -> None:
        if self.fault and self.fault not in FAULTS:
            raise ValueError(f"fault must be one of {', '.join(FAULTS)}, not {self.fault!r}")
        if self.status and not 400 <= self.status <= 599:
            raise ValueError(f"status must be from 400 to 599, not {self.status}")
        for name in ("delay", "jitter", "max_delay"):
            if not 0 <= getattr(self, name) <= 86400:
                raise ValueError(f"{name} must be from 0 to 86400 seconds")
        if not 0 <= self.rate <= 1:
            raise ValueError("rate must be from 0 to 1")


@dataclass(frozen=True, slots=True)
class Trouble:
    """
    What happens to one answer.

    :ivar status: in the place of the answer; 0 for none.
    :ivar delay: seconds.
    :ivar jitter: seconds at most, at random, on top.
    :ivar headers: put in the place of the answer's own.
    :ivar fault: how it breaks; empty for not at all.
    """

    status: int = 0
    delay: float = 0.0
    jitter: float = 0.0
    headers: Sequence[tuple[bytes, bytes]] = ()
    fault: Fault | Literal[""] = ""


def split_query(query: bytes) -> tuple[list[tuple[str, str]], bytes]:
    """
    The ``mix.`` parameters of a query, decoded and without their prefix, and what is left of it, byte for byte.

    :raises UnicodeDecodeError: when one of them is not UTF-8.
    """
    ours, rest = [], []
    for piece in query.split(b"&"):
        name, _, value = piece.replace(b"+", b" ").partition(b"=")
        decoded = unquote_to_bytes(name)
        if decoded.startswith(_PREFIX):
            ours.append((decoded[len(_PREFIX) :].decode(), unquote_to_bytes(value).decode()))
        else:
            rest.append(piece)
    return ours, b"&".join(rest)


def asked_trouble(parameters: Sequence[tuple[str, str]], max_delay: float) -> Trouble:
    """
    What a request asks for.

    :param parameters: names without prefix, and values.
    :raises ValueError: naming what cannot be done.
    """
    last = dict(parameters)
    unknown = last.keys() - {"status", "delay", "jitter", "header", "fault"}
    if unknown:
        raise ValueError(f"there is no mix.{min(unknown)}; there are status, delay, jitter, header and fault")
    fault = next((name for name in FAULTS if name == last.get("fault")), None)
    if "fault" in last and fault is None:
        raise ValueError(f"mix.fault must be one of {', '.join(FAULTS)}")
    status = last.get("status", "0")
    if status != "0" and not re.fullmatch("[2-5][0-9][0-9]", status):
        raise ValueError("mix.status must be from 200 to 599")
    lines = header_lines("mix.header", [value for name, value in parameters if name == "header"])
    if not any(name.lower() == b"cache-control" for name, _ in lines):
        lines.append(_NO_STORE)
    delay, jitter = (_seconds(name, last, max_delay) for name in ("delay", "jitter"))
    return Trouble(int(status), delay, jitter, lines, fault or "")


def _seconds(name: str, parameters: dict[str, str], most: float) -> float:
    text = parameters.get(name, "0")
    if not _NUMBER.match(text):
        raise ValueError(f"mix.{name} must be a number of seconds")
    return min(float(text), most)


class FaultsWrapper(Wrapper):
    """
    Delays answers, breaks them, or answers with errors in their place.

    :param chance: a number from 0 to 1, another one at each call.
    """

    def __init__(
        self,
        settings: Faults,
        inner: IResource,
        reactor: IReactorTime,
        chance: Callable[[], float] = _random,
    ) -> None:
        super().__init__(inner)
        self.settings = settings
        self.reactor = reactor
        self.chance = chance
        headers = [_NO_STORE] if settings.status else []
        self.usual = Trouble(settings.status, settings.delay, settings.jitter, headers, settings.fault)
        self.is_idle = not (settings.status or settings.delay or settings.jitter or settings.fault)

    def handle(self, request: Request) -> None:
        trouble = self._asked(request) if self.settings.override else None
        if trouble is None and not self.is_idle and self.chance() < self.settings.rate:
            trouble = self.usual
        if trouble is None:
            self.forward(request)
            return
        wait = trouble.delay + trouble.jitter * self.chance()
        if wait:
            self.spawn(request, self._make_later(request, trouble, wait))
        else:
            self.make(request, trouble)

    def _asked(self, request: Request) -> Trouble | None:
        path, question, query = request.target.partition(b"?")
        if _PREFIX not in unquote_to_bytes(query):
            return None
        try:
            parameters, rest = split_query(query)
            trouble = asked_trouble(parameters, self.settings.max_delay)
        except ValueError as reason:
            raise HTTPError(400, f"faults: {reason}.") from None
        if not parameters:
            return None
        above, below = request.prepath, request.postpath
        request.set_target(path + question + rest if rest else path)
        request.prepath, request.postpath = above, below
        return trouble

    async def _make_later(self, request: Request, trouble: Trouble, wait: float) -> None:
        await deferLater(self.reactor, wait)
        self.make(request, trouble)

    def make(self, request: Request, trouble: Trouble) -> None:
        """Have the trouble happen."""
        if trouble.headers:
            request.before_headers(lambda request: replace_headers(request, trouble.headers))
        if trouble.fault:
            break_answer(request, trouble.fault, self.reactor)
        if trouble.status >= 400:
            request.error(trouble.status, "This answer fails on purpose.")
        elif trouble.status:
            request.setResponseCode(trouble.status)
            request.complete(b"")
        else:
            self.forward(request)


def replace_headers(request: Request, lines: Sequence[tuple[bytes, bytes]]) -> None:
    """Put headers in the place of those of the same names; one that comes several times is sent as often."""
    for name in {name.lower() for name, _ in lines}:
        request.responseHeaders.removeHeader(name)
    for name, value in lines:
        request.responseHeaders.addRawHeader(name, value)


def build(settings: Faults, inner: IResource, context: Context) -> IResource:
    if settings.override:
        context.warn("faults: any link may choose status and headers of an answer, or hold it back (override)")
    if settings.fault or settings.status or settings.delay or settings.jitter:
        context.warn("faults: answers come late or broken on purpose")
    return FaultsWrapper(settings, inner, context.reactor)


FEATURE = Wrap("faults", Stage.TRANSFORM, Faults, build)
