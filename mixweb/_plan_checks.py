"""
What makes no sense about a plan as a whole, though each of its settings does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from mixweb.draft import Origin, Problem
from mixweb.feature import SERVER_STAGES, Mount, MountSettings, Settings, Wrap, WrapperSettings
from mixweb.paths import is_glob, split_path
from mixweb.plan import Host, Plan
from mixweb.registry import Registry
from mixweb.vhost import host_key


@dataclass
class PlanCheck:
    """
    Finds what is wrong with a plan.

    :ivar origin: where settings were given.
    :ivar name_origin: where a host's name was given.
    """

    registry: Registry
    origin: Callable[[Settings], Origin]
    name_origin: Callable[[Host, str], Origin]

    def problems(self, plan: Plan) -> Iterator[Problem]:
        """Everything that is wrong."""
        yield from self._defaults(plan)
        for host in (plan.default, *plan.hosts):
            yield from self._mounts(host)
            yield from self._below_raw(host)
        for host in plan.hosts:
            yield from self._stages(host)
        yield from self._names(plan)

    def _name(self, settings: Settings) -> str:
        return self.registry.of(settings).name

    def _defaults(self, plan: Plan) -> Iterator[Problem]:
        """What holds for every host stands in front of resources."""
        for item in plan.defaults:
            if isinstance(item, MountSettings):
                message = f"{self._name(item)}: [defaults] holds wrappers; mount it in each host"
                yield Problem(self.origin(item), message)

    def _mounts(self, host: Host) -> Iterator[Problem]:
        """Two mounts may stand at one path only if the first one declines what it has not."""
        seen: dict[tuple[bytes, ...], Settings] = {}
        for item in host.settings:
            feature = self.registry.of(item)
            if not isinstance(feature, Mount) or not isinstance(item, MountSettings):
                continue
            at = split_path(item.at)
            before = seen.get(at)
            if before is not None:
                yield Problem(
                    self.origin(item),
                    f"{feature.name} and {self._name(before)} ({self.origin(before)}) both claim /{item.at.strip('/')}"
                    f' on host {_called(host)}; mount one of them elsewhere (at = "/PATH")',
                )
            elif not feature.declines:
                seen[at] = item

    def _below_raw(self, host: Host) -> Iterator[Problem]:
        """A path ends, for rules and mounts, where a raw mount begins."""
        raw = [item for item in host.settings if isinstance(item, MountSettings) and self._is_raw(item)]
        for item in host.settings:
            if isinstance(item, MountSettings):
                paths = [item.at]
            elif isinstance(item, WrapperSettings):
                paths = [path for path in (*item.paths, *item.except_paths) if not is_glob(path)]
            else:
                continue
            for path in paths:
                for mount in raw:
                    at = split_path(mount.at)
                    if split_path(path)[: len(at)] == at and len(split_path(path)) > len(at):
                        message = f"{self._name(item)}: {path} is never met, as all below {mount.at} is left to"
                        yield Problem(self.origin(item), f"{message} {self._name(mount)} undecoded")

    def _is_raw(self, settings: MountSettings) -> bool:
        feature = self.registry.of(settings)
        return bool(getattr(settings, "raw", isinstance(feature, Mount) and feature.raw))

    def _stages(self, host: Host) -> Iterator[Problem]:
        """What belongs to the server may not stand in a host."""
        found = [(self.registry.of(item), self.origin(item)) for item in host.settings]
        found += [
            (self.registry.features[name], self.name_origin(host, host.names[0])) for name in sorted(host.without)
        ]
        for feature, origin in found:
            if isinstance(feature, Wrap) and feature.stage in SERVER_STAGES:
                yield Problem(origin, f"{feature.name}: belongs to the server, not to a host; move it to the top level")

    def _names(self, plan: Plan) -> Iterator[Problem]:
        """No name may be claimed twice."""
        claimed: dict[Any, Origin] = {}
        for host in plan.hosts:
            for name in host.names:
                origin = self.name_origin(host, name)
                try:
                    key = host_key(name)
                except ValueError as reason:
                    yield Problem(origin, str(reason))
                    continue
                if key in claimed:
                    yield Problem(origin, f"host {name!r} is claimed at {claimed[key]} already")
                claimed.setdefault(key, origin)


def _called(host: Host) -> str:
    return host.names[0] if host.names else "default"
