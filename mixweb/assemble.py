"""
Settings become a resource tree; the only place where things are wrapped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from twisted.application.service import IService, MultiService
from twisted.web.resource import IResource

from mixweb.engine.errors import Declined
from mixweb.engine.request import Request
from mixweb.feature import SERVER_STAGES, Context, Mount, MountSettings, Settings, Wrap, WrapperSettings
from mixweb.paths import PathMatcher, PathTable, RawPrefixes, split_path
from mixweb.plan import Plan
from mixweb.registry import Registry, registry
from mixweb.vhost import VirtualHosts
from mixweb.wrapper import Leaf, Wrapper, pass_to


class Mounts(Leaf):
    """
    Hands each request to the mounts that own its path, the longest first, until one does not decline.

    :param entries: pairs of a mount's path and its resource.
    """

    def __init__(self, entries: Iterable[tuple[str, IResource]]) -> None:
        self.table = PathTable((at, pass_to(resource)) for at, resource in entries)

    def handle(self, request: Request) -> None:
        segments = request.canonical_path.segments
        for length, answer in self.table.find(segments):
            request.prepath = [*segments[:length]]
            request.postpath = [*segments[length:]]
            try:
                answer(request)
            except Declined:
                continue
            return
        request.error(404, "Nothing is here.")


class PathGuard(Wrapper):
    """Sends the requests that a wrapper applies to through it, and the others past it."""

    def __init__(self, matcher: PathMatcher, wrapper: IResource, inner: IResource) -> None:
        super().__init__(inner)
        self.matcher = matcher
        self.through = pass_to(wrapper)

    def handle(self, request: Request) -> None:
        if self.matcher.match(request.canonical_path):
            self.through(request)
        else:
            self.forward(request)


class RawPaths(Wrapper):
    """Keeps what is behind the raw mounts of a host undecoded."""

    def __init__(self, prefixes: RawPrefixes, inner: IResource) -> None:
        super().__init__(inner)
        self.prefixes = prefixes

    def handle(self, request: Request) -> None:
        request.raw_prefixes = self.prefixes
        request.set_target(request.target)
        self.forward(request)


@dataclass(frozen=True)
class Layer:
    """One wrapper of a stack, as it was decided."""

    feature: Wrap
    settings: WrapperSettings


@dataclass
class Tree:
    """
    A built server.

    :ivar root: what the site serves.
    :ivar services: timers, threads and children of the features; they run as long as the tree.
    :ivar observers: called with each request when it has ended.
    :ivar warnings: what the owner of the server should know.
    """

    root: IResource
    services: MultiService = field(default_factory=MultiService)
    observers: list[Callable[[Request], None]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class BuildError(ValueError):
    """
    A feature could not be built from its settings.

    :ivar settings: whose settings.
    """

    def __init__(self, settings: Settings, reason: Exception) -> None:
        super().__init__(str(reason) or type(reason).__name__)
        self.settings = settings


def layers(
    own: Sequence[Settings], defaults: Sequence[Settings], without: Iterable[str], found: Registry
) -> list[Layer]:
    """
    The wrappers of a stack, outermost first: by stage, and in one stage its own, those for every host, what is on by
    default.

    :param without: names of features that are taken away.
    """
    named = {found.of(item).name for item in own} | set(without)
    chosen = [item for item in defaults if found.of(item).name not in named]
    named |= {found.of(item).name for item in defaults}
    standard = [
        feature.settings()
        for feature in found.features.values()
        if isinstance(feature, Wrap) and feature.default and feature.name not in named
    ]
    stack = [
        Layer(feature, item)
        for item in (*own, *chosen, *standard)
        if isinstance(feature := found.of(item), Wrap) and isinstance(item, WrapperSettings)
    ]
    return sorted(stack, key=lambda layer: layer.feature.stage)


class Assembler:
    """
    Builds the tree of a plan.

    :param reactor: what the features run on.
    :param interactive: whether a person watches the terminal.
    """

    def __init__(self, reactor: Any, interactive: bool = False, found: Registry | None = None) -> None:
        self.reactor = reactor
        self.interactive = interactive
        self.registry = found or registry()

    def assemble(self, plan: Plan) -> Tree:
        """
        Build everything.

        :raises BuildError: when a feature refuses its settings.
        """
        self.tree = Tree(root=VirtualHosts())
        self.compat = plan.server.compat
        server_defaults, host_defaults = self._split(plan.defaults)
        server_own, own = self._split(plan.default.settings)
        hosts = VirtualHosts(self._host(own, host_defaults, plan.default.without))
        for host in plan.hosts:
            resource = self._host(host.settings, host_defaults, host.without)
            for name in host.names:
                hosts.addHost(name, resource)
        stack = layers(server_own, server_defaults, plan.default.without, self.registry)
        self.tree.root = self._wrap(hosts, [layer for layer in stack if layer.feature.stage in SERVER_STAGES])
        return self.tree

    def _split(self, settings: Sequence[Settings]) -> tuple[list[Settings], list[Settings]]:
        def is_server(item: Settings) -> bool:
            feature = self.registry.of(item)
            return isinstance(feature, Wrap) and feature.stage in SERVER_STAGES

        return [item for item in settings if is_server(item)], [item for item in settings if not is_server(item)]

    def _host(self, own: Sequence[Settings], defaults: Sequence[Settings], without: Iterable[str]) -> IResource:
        raw: list[Sequence[bytes | None]] = []
        entries = [(item.at, self._mount(item, raw)) for item in own if isinstance(item, MountSettings)]
        stack = [
            layer for layer in layers(own, defaults, without, self.registry) if layer.feature.stage not in SERVER_STAGES
        ]
        resource = self._wrap(Mounts(entries), stack)
        return RawPaths(RawPrefixes(raw), resource) if raw else resource

    def _mount(self, settings: MountSettings, raw: list[Sequence[bytes | None]]) -> IResource:
        feature = self.registry.of(settings)
        assert isinstance(feature, Mount)
        at = split_path(settings.at)
        if getattr(settings, "raw", feature.raw):
            raw.append(at)
        context = self._context(lambda prefix: raw.append((*at, *prefix)))
        wanted = replace(settings, compat=self.compat) if getattr(settings, "compat", None) == "" else settings
        return self._build(settings, lambda: feature.build(wanted, context))

    def _wrap(self, resource: IResource, stack: list[Layer]) -> IResource:
        context = self._context(lambda prefix: None)
        for layer in reversed(stack):
            inner, settings, build = resource, layer.settings, layer.feature.build
            built = self._build(settings, lambda: build(settings, inner, context))  # noqa: B023 - called at once
            matcher = PathMatcher(settings.paths, settings.except_paths)
            resource = built if matcher.everything else PathGuard(matcher, built, inner)
        return resource

    def _build(self, settings: Settings, build: Callable[[], IResource]) -> IResource:
        try:
            return build()
        except (ValueError, OSError, ImportError) as reason:
            raise BuildError(settings, reason) from reason

    def _context(self, announce_raw: Callable[[Sequence[bytes | None]], None]) -> Context:
        tree = self.tree
        return Context(
            reactor=self.reactor,
            add_service=lambda service: IService(service).setServiceParent(tree.services),
            observe=tree.observers.append,
            announce_raw=announce_raw,
            warn=tree.warnings.append,
            interactive=self.interactive,
        )


def stack(resource: IResource, settings: Iterable[WrapperSettings], reactor: Any) -> IResource:
    """Put wrappers around any resource, each at its stage whatever their order."""
    assembler = Assembler(reactor)
    assembler.tree = Tree(root=resource)
    chosen = layers(tuple(settings), (), assembler.registry.features, assembler.registry)
    return assembler._wrap(resource, chosen)
