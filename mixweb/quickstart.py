"""
A server for one resource, from the program that makes it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from twisted.web.resource import IResource

from mixweb.cli import run_twistd
from mixweb.config import Loaded, given
from mixweb.feature import MountSettings, Settings
from mixweb.features.pages import PagesMount
from mixweb.features.resource_class import ResourceClass
from mixweb.pages import Pages
from mixweb.plan import Host, Plan, Server
from mixweb.tap import Options


def run(resource: IResource | Pages, *settings: Settings, **server: Any) -> None:
    """
    Serve a resource until interrupted: what ``mixweb`` does on the command line, from ``python program.py``.

    :param settings: further mounts, and wrappers in front.
    :param server: settings of the server (``port``, ``public`` ...).
    :raises SystemExit: when it cannot be served, or at the end.
    """
    mount: MountSettings = PagesMount(app=resource) if isinstance(resource, Pages) else ResourceClass(name=resource)
    plan = Plan(Server(**server), Host(mount, *settings))

    class GivenOptions(Options):
        """Takes the plan in the place of options."""

        def parseOptions(self, options: Sequence[str] | None = None) -> None:
            """There are none."""

        def load(self) -> Loaded:
            return given(plan)

    run_twistd([], GivenOptions, own_reactor="twisted.internet.reactor" not in sys.modules)
