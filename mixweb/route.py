"""
What a request meets on its way, and why: said in the same words of one that came and of one that is only thought of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, ClassVar, Protocol, TypeAlias

from twisted.web.resource import IResource

from mixweb.engine.errors import Declined
from mixweb.engine.request import Request
from mixweb.feature import Asked, Mount, MountSettings, Stage, Verdict, Wrap, WrapperSettings
from mixweb.kit.shown import said, toml_value
from mixweb.paths import PathMatcher, split_path
from mixweb.vhost import host_key
from mixweb.wrapper import Wrapper

#: The lines of a head: each name with its values.
Fields: TypeAlias = dict[bytes, tuple[bytes, ...]]


@dataclass(frozen=True)
class Row:
    """
    What one part makes of a request.

    :ivar verdict: ``host``, ``passes``, ``skips``, ``rewrites``, ``answers``, ``asks`` or ``then``.
    :ivar name: of the feature, or the host.
    :ivar place: the stage of a wrapper, the path of a mount.
    :ivar why: what decides it; empty where nothing is to be said.
    :ivar settings: what was set, without secrets.
    :ivar origin: where that was said; empty where it is not known.
    :ivar target: the target from there on; ``None`` where it stays.
    """

    verdict: str
    name: str
    place: str = ""
    why: str = ""
    settings: str = ""
    origin: str = ""
    target: bytes | None = None


class Station(Protocol):
    """
    A part that requests come to.

    :ivar name: its name.
    :ivar answers: whether it may answer by itself.
    """

    @property
    def name(self) -> str: ...

    @property
    def answers(self) -> bool: ...

    def row(self, asked: Asked) -> Row:
        """What it makes of a request."""


@dataclass(frozen=True)
class HostStation:
    """
    A virtual host.

    :param names: all its names; none for the host that answers to every other name.
    """

    names: Sequence[str] = ()
    origin: str = ""
    answers: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """The name by which it is known."""
        return self.names[0] if self.names else "default"

    def row(self, asked: Asked) -> Row:
        return Row("host", ", ".join(self.names) or "default", why=self._why(asked), origin=self.origin)

    def _why(self, asked: Asked) -> str:
        if asked.authority is None:
            return "the request names no host"
        host, port = asked.authority.host, asked.authority.port or (443 if asked.secure else 80)
        keys = {host_key(name): name for name in self.names}
        suffix = host
        while suffix:
            name = host if suffix == host else b"*." + suffix
            found = keys.get((name, port)) or keys.get((name, None))
            if found is not None:
                return f"{found} matches {host.decode('ascii')}"
            suffix = suffix.partition(b".")[2]
        return f"no other host is called {host.decode('ascii')}"


@dataclass(frozen=True)
class WrapperStation:
    """A wrapper, with the paths it applies to."""

    feature: Wrap
    settings: WrapperSettings
    origin: str = ""
    answers: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """The name of the feature."""
        return self.feature.name

    def row(self, asked: Asked) -> Row:
        applies, why = self._applies(asked)
        verdict = self.feature.explain(self.settings, asked) if applies else None
        word = _word(verdict) if applies else "skips"
        if verdict is not None:
            why = "; ".join(filter(None, [verdict.why, why]))
        place = Stage(self.feature.stage).name.lower()
        target = None if verdict is None else verdict.target
        return Row(word, self.name, place, why, said(self.settings), self.origin, target)

    def _applies(self, asked: Asked) -> tuple[bool, str]:
        if self.feature.own_paths:
            return True, ""
        left_out = _first(self.settings.except_paths, asked)
        if left_out is not None:
            return False, f"except_paths has {left_out}"
        if not self.settings.paths:
            return True, ""
        found = _first(self.settings.paths, asked)
        if found is None:
            return False, f"paths = {toml_value(list(self.settings.paths))} has no such path"
        return True, f"paths has {found}"


def _word(verdict: Verdict | None) -> str:
    if verdict is None:
        return "passes"
    return "answers" if verdict.status else "passes" if verdict.target is None else "rewrites"


def _first(patterns: Iterable[str], asked: Asked) -> str | None:
    return next((pattern for pattern in patterns if PathMatcher([pattern]).match(asked.path)), None)


@dataclass(frozen=True)
class MountStation:
    """A mount."""

    feature: Mount
    settings: MountSettings
    origin: str = ""
    answers: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """The name of the feature."""
        return self.feature.name

    def row(self, asked: Asked) -> Row:
        at = "/" + b"/".join(split_path(self.settings.at)).decode()
        return Row("asks", self.name, f"at {self.settings.at}", f"{at} owns the path", said(self.settings), self.origin)


@dataclass(frozen=True)
class TableStation:
    """The table of the mounts of a host, which answers for what none of them has."""

    name: str = "mounts"
    answers: ClassVar[bool] = False

    def row(self, asked: Asked) -> Row:
        return Row("none", "no mount", why="none is left: 404")


class Step:
    """
    One part that a request came to.

    :ivar target: the target, as it stood then.
    :ivar path: the canonical path, as it stood then.
    :ivar entered: when, in seconds of ``time.monotonic()``.
    :ivar passed: when the head of the answer came back through it; ``None`` before that.
    :ivar before: the head of the answer when the request came.
    :ivar after: the head of the answer when that came back.
    :ivar declined: whether it left the request to the next part.
    """

    __slots__ = ("_trace", "after", "before", "declined", "entered", "passed", "path", "station", "target")

    def __init__(self, station: Station, trace: Trace, request: Request) -> None:
        self._trace = trace
        self.station = station
        self.target = request.target
        self.path = request.canonical_path
        self.before = trace.fields_now(request)
        self.after: Fields | None = None
        self.passed: float | None = None
        self.declined = False
        self.entered = monotonic()

    def declining(self, go_on: Callable[[Request], None]) -> Callable[[Request], None]:
        """What is called with the request when the part declines it that has waited for its body."""

        def decline(request: Request) -> None:
            self.declined = True
            go_on(request)

        return decline

    def answered(self, request: Request) -> None:
        """The head of the answer has come back."""
        self.passed = monotonic()
        self.after = self._trace.fields_now(request)


class Trace:
    """The way of a request, told by each :class:`Probe` that it comes to."""

    __slots__ = ("_count", "_fields", "_seen", "steps")

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self._fields: Fields = {}
        self._seen: dict[bytes, Any] = {}
        self._count = 0

    def fields_now(self, request: Request) -> Fields:
        """The head of the answer as it is now; the same object as long as it is the same."""
        now = dict(request.responseHeaders.getAllRawHeaders())
        count = sum(map(len, now.values()))
        # The lists are those of the headers: a line that was added to one of them shows in the count alone.
        if count != self._count or now != self._seen:
            self._count, self._seen = count, now
            self._fields = {name: tuple(values) for name, values in now.items()}
        return self._fields


class Probe(Wrapper):
    """Notes who comes by, in front of a part; the request is as it would be without."""

    def __init__(self, station: Station, inner: IResource) -> None:
        super().__init__(inner)
        self.station = station

    def handle(self, request: Request) -> None:
        trace = request.witness
        if not isinstance(trace, Trace):
            self.forward(request)
            return
        step = Step(self.station, trace, request)
        trace.steps.append(step)
        request.before_headers(step.answered)
        if request.on_decline is not None:
            request.on_decline = step.declining(request.on_decline)
        try:
            self.forward(request)
        except Declined:
            step.declined = True
            raise


def bare(resource: IResource) -> IResource:
    """The resource itself, where a :class:`Probe` stands in front of it."""
    return resource.inner if isinstance(resource, Probe) else resource
