"""
Rewriting: the path that is served is another than the one asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from twisted.web.resource import IResource
from twisted.web.server import Request as TwistedRequest

from mixweb.engine.request import Request
from mixweb.feature import Asked, Context, Stage, Verdict, Wrap, WrapperSettings, option
from mixweb.kit.rewriting import Step, rewritten, rule_step
from mixweb.kit.rules import path_text, quote_path
from mixweb.wrapper import Wrapper


@dataclass(frozen=True)
class Rewrite(WrapperSettings):
    """Serve another path than the one asked for; applied in the order strip, tilde, alias, rules, add."""

    rules: Mapping[str, str] = option(
        {},
        principal=True,
        help="Path, glob or regular expression (^...) and the path it becomes.",
        metavar="PATTERN=PATH",
    )
    alias: Mapping[str, str] = option(
        {}, help="Path under which another one can be reached too, with all below.", metavar="PATH=PATH"
    )
    tilde: str = option("", help="Folder that /~NAME means a subfolder of: /users.", metavar="PATH")
    strip: str = option("", help="Path to take off the beginning.", metavar="PATH")
    add: str = option("", help="Path to put before the beginning.", metavar="PATH")

    def __post_init__(self) -> None:
        for pattern, replacement in self.rules.items():
            rule_step(pattern, replacement)


def _prefix(path: str) -> str:
    return "/" + path.strip("/") if path.strip("/") else ""


def _below(path: str, prefix: str) -> str | None:
    """What follows a prefix of whole segments, with its slash."""
    if not path.startswith(prefix):
        return None
    rest = path[len(prefix) :]
    return rest if not rest or rest.startswith("/") else None


def alias_step(aliases: Mapping[str, str]) -> Step:
    """The longest alias that a path is below gives way to its path."""
    table = sorted(((_prefix(name), _prefix(path)) for name, path in aliases.items()), key=lambda pair: -len(pair[0]))

    def step(path: str) -> tuple[str, str]:
        for prefix, replacement in table:
            rest = _below(path, prefix)
            if rest is not None:
                return replacement + rest or "/", ""
        return path, ""

    return step


def tilde_step(folder: str) -> Step:
    """``/~name/rest`` becomes ``folder/name/rest``."""
    prefix = _prefix(folder)

    def step(path: str) -> tuple[str, str]:
        named = path.startswith("/~") and path[2:].partition("/")[0] not in ("", ".", "..")
        return (f"{prefix}/{path[2:]}" if named else path), ""

    return step


def strip_step(prefix: str) -> Step:
    """Take a prefix off."""
    return alias_step({prefix: ""})


def add_step(prefix: str) -> Step:
    """Put a prefix before."""
    return lambda path: (_prefix(prefix) + path, "")


def named_steps(settings: Rewrite) -> list[tuple[str, Step]]:
    """What the settings do, in their order, each with the words of the setting."""
    return [
        *([(f"strip {settings.strip}", strip_step(settings.strip))] if settings.strip else ()),
        *([(f"tilde {settings.tilde}", tilde_step(settings.tilde))] if settings.tilde else ()),
        *([("alias", alias_step(settings.alias))] if settings.alias else ()),
        *((f"rule {pattern} = {path}", rule_step(pattern, path)) for pattern, path in settings.rules.items()),
        *([(f"add {settings.add}", add_step(settings.add))] if settings.add else ()),
    ]


def steps(settings: Rewrite) -> list[Step]:
    """What the settings do, in their order."""
    return [step for _, step in named_steps(settings)]


def target_of(segments: Sequence[bytes], added: str, target: bytes) -> bytes:
    """
    The target for a path that was rewritten.

    :param added: queries that the steps have added.
    :param target: the target before, whose query is kept.
    """
    query = b"&".join(filter(None, [added.encode("ascii"), target.partition(b"?")[2]]))
    return quote_path(path_text(segments)).encode("ascii") + (b"?" + query if query else b"")


def apply(chain: Sequence[Step], request: TwistedRequest) -> None:
    """
    Rewrite what is left of a request's path; works with Twisted's own requests too.

    A request that stands at a raw mount stays as it is.
    """
    if isinstance(request, Request) and request.canonical_path.raw is not None:
        return
    found = rewritten(request.postpath or [], chain)
    if found is None:
        return
    segments, added = found
    above = list(request.prepath or [])
    before: bytes = request.target if isinstance(request, Request) else request.uri
    target = target_of([*above, *segments], added, before)
    if isinstance(request, Request):
        request.set_target(target)
        if request.canonical_path.raw is not None:
            return
    request.path = target.partition(b"?")[0]
    request.prepath, request.postpath = above, list(segments)


#: A rule for :class:`twisted.web.rewrite.RewriterResource`: ``/~name/rest`` is served as ``/users/name/rest``.
tilde_to_users: Callable[[TwistedRequest], None] = partial(apply, [tilde_step("/users")])


def alias(path: str, source: str) -> Callable[[TwistedRequest], None]:
    """
    A rule for :class:`twisted.web.rewrite.RewriterResource`.

    :param path: where another path can be reached too.
    :param source: the path that is served there.
    """
    return partial(apply, [alias_step({path: source})])


class RewriteWrapper(Wrapper):
    """Rewrites the path for all that stands behind it."""

    def __init__(self, settings: Rewrite, inner: IResource) -> None:
        super().__init__(inner)
        self.steps = steps(settings)

    def handle(self, request: Request) -> None:
        apply(self.steps, request)
        self.forward(request)


def build(settings: Rewrite, inner: IResource, context: Context) -> IResource:
    return RewriteWrapper(settings, inner)


def explain(settings: Rewrite, asked: Asked) -> Verdict | None:
    """Which steps rewrite a path, and to what."""
    if asked.path.raw is not None:
        return None
    named = named_steps(settings)
    found = rewritten(asked.path.segments, [step for _, step in named])
    if found is None:
        return None
    applied, segments = [], asked.path.segments
    for name, step in named:
        changed = rewritten(segments, [step])
        if changed is not None:
            applied.append(name)
            segments = changed[0]
    return Verdict(", ".join(applied), target_of(*found, asked.target))


FEATURE = Wrap("rewrite", Stage.REWRITE, Rewrite, build, explain=explain)
