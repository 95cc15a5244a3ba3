"""
Settings become a resource tree; the only place where things are wrapped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from twisted.application.service import IService, MultiService
from twisted.web.resource import IResource
from zope.interface import implementer

from mixweb.engine.body import IBodyReceiver
from mixweb.engine.errors import Declined
from mixweb.engine.request import Request
from mixweb.feature import SERVER_STAGES, About, Context, Mount, MountSettings, Settings, Wrap, WrapperSettings
from mixweb.paths import PathMatcher, PathTable, RawPrefixes, split_path
from mixweb.plan import Host, Plan, Server
from mixweb.registry import Registry, registry
from mixweb.route import HostStation, MountStation, Probe, Station, TableStation, WrapperStation
from mixweb.vhost import VirtualHosts
from mixweb.wrapper import Leaf, Wrapper, pass_to


@implementer(IBodyReceiver)
class Mounts(Leaf):
    """
    Hands each request to the mounts that own its path, the longest first, until one does not decline.

    :param entries: pairs of a mount's path and its resource.
    """

    def __init__(self, entries: Iterable[tuple[str, IResource]]) -> None:
        self.table = PathTable((at, pass_to(resource)) for at, resource in entries)

    def handle(self, request: Request) -> None:
        self.ask(request, self.table.find(request.canonical_path.segments))

    def ask(self, request: Request, owners: Sequence[tuple[int, Callable[[Request], None]]]) -> None:
        """Have the first of some mounts answer that does not decline."""
        segments = request.canonical_path.segments
        several = len(owners) > 1
        for index, (length, answer) in enumerate(owners, 1):
            request.prepath = [*segments[:length]]
            request.postpath = [*segments[length:]]
            if several:
                request.on_decline = partial(self.ask, owners=owners[index:])
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


class Watched(Wrapper):
    """Shows each request to those who watch, before anything else sees it."""

    def __init__(self, watchers: Iterable[Callable[[Request], None]], inner: IResource) -> None:
        super().__init__(inner)
        self.watchers = tuple(dict.fromkeys(watchers))

    def handle(self, request: Request) -> None:
        for watch in self.watchers:
            watch(request)
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
    :ivar watchers: called with each request before anything else sees it.
    :ivar warnings: what the owner of the server should know.
    :ivar tunnels: whether a stream of HTTP/2 may become something else.
    :ivar connects: whether there is a resource that takes CONNECT.
    """

    root: IResource
    services: MultiService = field(default_factory=MultiService)
    observers: list[Callable[[Request], None]] = field(default_factory=list)
    watchers: list[Callable[[Request], None]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    tunnels: bool = False
    connects: bool = False


class BuildError(ValueError):
    """
    Features could not be built from their settings.

    :ivar refused: their settings, each with the reason.
    """

    def __init__(self, refused: Sequence[tuple[Settings, str]]) -> None:
        super().__init__("\n".join(reason for _, reason in refused))
        self.refused = refused


def layers(
    own: Sequence[Settings], defaults: Sequence[Settings], without: Iterable[str], found: Registry
) -> list[Layer]:
    """
    The wrappers of a stack, outermost first: by stage, and in one stage its own, those for every host, what is on by
    default or comes with one of them.

    :param without: names of features that are taken away.
    """
    named = {found.of(item).name for item in own} | set(without)
    chosen = [item for item in defaults if found.of(item).name not in named]
    named |= {found.of(item).name for item in defaults}
    brought = {
        name for item in (*own, *chosen) if isinstance(wrap := found.of(item), Wrap) for name in wrap.brings(item)
    }
    standard = [
        feature.settings()
        for feature in found.features.values()
        if isinstance(feature, Wrap) and (feature.default or feature.name in brought) and feature.name not in named
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
    :param about: the server that the tree is for.
    :param origin: tells where settings were said.
    """

    def __init__(
        self,
        reactor: Any,
        interactive: bool = False,
        found: Registry | None = None,
        about: About | None = None,
        origin: Callable[[Settings], object] = lambda settings: None,
    ) -> None:
        self.reactor = reactor
        self.interactive = interactive
        self.about = about or About()
        self.origin = origin
        self.watched = False
        self.registry = found or registry()
        self.store = Server.store
        self.offers: list[Any] = []
        self.mounts: list[tuple[str, str]] = []
        self.wrappers: frozenset[str] | None = None
        self.refused: list[tuple[Settings, str]] = []

    def assemble(self, plan: Plan) -> Tree:
        """
        Build everything.

        :raises BuildError: when features refuse their settings.
        """
        self.tree = Tree(root=VirtualHosts())
        self.store = plan.server.store
        self.compat = plan.server.compat
        self.watched = any(map(self._watches, (plan.default, *plan.hosts)))
        server_defaults, host_defaults = self._split(plan.defaults)
        server_own, own = self._split(plan.default.settings)
        hosts = VirtualHosts(self._probed(HostStation(), self._host(own, host_defaults, plan.default.without)))
        for host in plan.hosts:
            station = HostStation(host.names)
            resource = self._probed(station, self._host(host.settings, host_defaults, host.without))
            for name in host.names:
                hosts.addHost(name, resource)
        stack = layers(server_own, server_defaults, plan.default.without, self.registry)
        self.tree.root = self._wrap(hosts, [layer for layer in stack if layer.feature.stage in SERVER_STAGES])
        self.check()
        if self.tree.watchers:
            self.tree.root = Watched(self.tree.watchers, self.tree.root)
        return self.tree

    def _watches(self, host: Host) -> bool:
        """Whether something on a host shows what requests meet on their way."""
        for item in host.settings:
            feature = self.registry.of(item)
            if isinstance(feature, Mount) and feature.watches and getattr(item, "watches", True):
                return True
        return False

    def _probed(self, station: Station, resource: IResource) -> IResource:
        """The resource; with a probe before it where requests are watched."""
        return Probe(station, resource) if self.watched else resource

    def _split(self, settings: Sequence[Settings]) -> tuple[list[Settings], list[Settings]]:
        def is_server(item: Settings) -> bool:
            feature = self.registry.of(item)
            return isinstance(feature, Wrap) and feature.stage in SERVER_STAGES

        return [item for item in settings if is_server(item)], [item for item in settings if not is_server(item)]

    def _host(self, own: Sequence[Settings], defaults: Sequence[Settings], without: Iterable[str]) -> IResource:
        raw: list[Sequence[bytes | None]] = []
        mounts = [item for item in own if isinstance(item, MountSettings)]
        self.offers = []
        self.mounts = [(self.registry.of(item).name, item.at) for item in mounts]
        stack = [
            layer for layer in layers(own, defaults, without, self.registry) if layer.feature.stage not in SERVER_STAGES
        ]
        self.wrappers = frozenset(layer.feature.name for layer in stack)
        entries = [(item.at, self._mount(item, raw)) for item in mounts]
        resource = self._wrap(self._probed(TableStation(), Mounts(entries)), stack)
        return RawPaths(RawPrefixes(raw), resource) if raw else resource

    def _mount(self, settings: MountSettings, raw: list[Sequence[bytes | None]]) -> IResource:
        feature = self.registry.of(settings)
        assert isinstance(feature, Mount)
        at = split_path(settings.at)
        if getattr(settings, "raw", feature.raw):
            raw.append(at)
        context = self._context(lambda prefix: raw.append((*at, *prefix)))
        wanted: Any = settings
        if getattr(settings, "compat", None) == "":
            wanted = replace(wanted, compat=self.compat)
        station = MountStation(feature, settings, str(self.origin(settings) or ""))
        return self._probed(station, self._build(settings, lambda: feature.build(wanted, context)))

    def _wrap(self, resource: IResource, stack: list[Layer]) -> IResource:
        context = self._context(lambda prefix: None)
        for layer in reversed(stack):
            inner, settings, build = resource, layer.settings, layer.feature.build
            built = self._build(settings, lambda: build(settings, inner, context))  # noqa: B023 - called at once
            matcher = PathMatcher(settings.paths, settings.except_paths)
            everything = matcher.everything or layer.feature.own_paths
            resource = built if everything else PathGuard(matcher, built, inner)
            station = WrapperStation(layer.feature, settings, str(self.origin(settings) or ""))
            resource = self._probed(station, resource)
        return resource

    def _build(self, settings: Settings, build: Callable[[], IResource]) -> IResource:
        try:
            return build()
        except (ValueError, OSError, ImportError) as reason:
            self.refused.append((settings, str(reason) or type(reason).__name__))
            return Leaf()

    def check(self) -> None:
        """
        Whether everything could be built.

        :raises BuildError: when it could not.
        """
        if self.refused:
            raise BuildError(self.refused)

    def _context(self, announce_raw: Callable[[Sequence[bytes | None]], None]) -> Context:
        tree = self.tree
        return Context(
            reactor=self.reactor,
            add_service=lambda service: IService(service).setServiceParent(tree.services),
            observe=tree.observers.append,
            announce_raw=announce_raw,
            warn=tree.warnings.append,
            interactive=self.interactive,
            server_store=self.store,
            watch=tree.watchers.append,
            expect_tunnels=partial(setattr, tree, "tunnels", True),
            expect_connect=partial(setattr, tree, "connects", True),
            offers=self.offers,
            mounts=self.mounts,
            wrappers=self.wrappers,
            about=self.about,
        )


def stack(resource: IResource, settings: Iterable[WrapperSettings], reactor: Any) -> IResource:
    """Put wrappers around any resource, each at its stage whatever their order."""
    assembler = Assembler(reactor)
    assembler.tree = Tree(root=resource)
    features = assembler.registry.features
    standard = [name for name, feature in features.items() if isinstance(feature, Wrap) and feature.default]
    chosen = layers(tuple(settings), (), standard, assembler.registry)
    wrapped = assembler._wrap(resource, chosen)
    assembler.check()
    return wrapped
