"""
mixweb: a modular web server on Twisted Web.

What the authors of ``.rpy`` and ``.tac`` files import; besides the names below, the settings class of each feature
(``Files``, ``Respond``, ``Redirect`` ...). Each is imported when it is first asked for: a reactor can be chosen before.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mixweb._version import __version__

if TYPE_CHECKING:
    from mixweb.engine.body import IBodyReceiver as IBodyReceiver
    from mixweb.engine.request import Request as Request
    from mixweb.engine.site import Site as Site
    from mixweb.feature import Context as Context
    from mixweb.feature import Mount as Mount
    from mixweb.feature import MountSettings as MountSettings
    from mixweb.feature import Stage as Stage
    from mixweb.feature import Wrap as Wrap
    from mixweb.feature import WrapperSettings as WrapperSettings
    from mixweb.feature import option as option
    from mixweb.plan import Host as Host
    from mixweb.quickstart import run as run
    from mixweb.tap import application as application
    from mixweb.tap import service as service
    from mixweb.tap import stack as stack
    from mixweb.vhost import VirtualHosts as VirtualHosts
    from mixweb.wrapper import Declined as Declined
    from mixweb.wrapper import HTTPError as HTTPError
    from mixweb.wrapper import Wrapper as Wrapper

_NAMES = {
    "mixweb.engine.body": ("IBodyReceiver",),
    "mixweb.engine.request": ("Request",),
    "mixweb.engine.site": ("Site",),
    "mixweb.feature": ("Context", "Mount", "MountSettings", "Stage", "Wrap", "WrapperSettings", "option"),
    "mixweb.plan": ("Host",),
    "mixweb.quickstart": ("run",),
    "mixweb.tap": ("application", "service", "stack"),
    "mixweb.vhost": ("VirtualHosts",),
    "mixweb.wrapper": ("Declined", "HTTPError", "Wrapper"),
}

__all__ = ["__version__", *(name for names in _NAMES.values() for name in names)]


def __getattr__(name: str) -> Any:
    for module, names in _NAMES.items():
        if name in names:
            return getattr(import_module(module), name)
    if not name.startswith("_"):
        for feature in import_module("mixweb.registry").registry().features.values():
            if feature.settings.__name__ == name:
                return feature.settings
    raise AttributeError(f"module 'mixweb' has no attribute {name!r}")
