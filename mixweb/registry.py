"""
Finds the features: the modules of ``mixweb.features`` and the entry points of group ``mixweb.features``.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pkgutil import iter_modules

import mixweb.features
from mixweb.feature import Feature, Settings


class Registry:
    """
    The features by name and by settings class.

    :raises ValueError: when two have the same name.
    """

    def __init__(self, features: list[Feature]) -> None:
        self.features: dict[str, Feature] = {}
        for feature in sorted(features, key=lambda feature: feature.name):
            if feature.name in self.features:
                raise ValueError(f"two features are called {feature.name!r}")
            self.features[feature.name] = feature
        self._by_settings = {feature.settings: feature for feature in features}

    def of(self, settings: Settings) -> Feature:
        """
        The feature that settings belong to.

        :raises ValueError: when there is none.
        """
        try:
            return self._by_settings[type(settings)]  # type: ignore[index]
        except KeyError:
            raise ValueError(f"no feature has settings {type(settings).__name__}") from None


@cache
def registry() -> Registry:
    """All features, found once."""
    modules = [
        import_module(f"mixweb.features.{module.name}")
        for module in iter_modules(mixweb.features.__path__)
        if not module.name.startswith("_")
    ]
    return Registry(
        [module.FEATURE for module in modules] + [point.load() for point in entry_points(group="mixweb.features")]
    )
