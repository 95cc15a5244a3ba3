"""
A site that another process publishes: this server has the port, that one the rights and the pages.
"""

from __future__ import annotations

from dataclasses import dataclass

from twisted.application.service import Service
from twisted.internet.endpoints import clientFromString
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.web.resource import IResource

from mixweb.feature import Context, Mount, MountSettings, option
from mixweb.shared import RemoteSite


@dataclass(frozen=True)
class Distrib(MountSettings):
    """Settings of the ``distrib`` feature."""

    to: str | IStreamClientEndpoint = option(
        "", principal=True, help="Where the site is published: unix:/PATH, or tcp:HOST:PORT.", metavar="ENDPOINT"
    )

    def __post_init__(self) -> None:
        if not self.to:
            raise ValueError("to must say where the site is published: unix:/PATH, or tcp:HOST:PORT")


class Connection(Service):
    """Ends the connection to a published site with the server."""

    def __init__(self, site: RemoteSite) -> None:
        self.site = site

    def stopService(self) -> None:
        super().stopService()
        self.site.disconnect()


def _endpoint(to: str | IStreamClientEndpoint, context: Context) -> IStreamClientEndpoint:
    if not isinstance(to, str):
        return to
    try:
        endpoint: IStreamClientEndpoint = clientFromString(context.reactor, to)
    except Exception as reason:
        raise ValueError(f"to: {to!r} is no endpoint of a client: {reason}") from None
    if not to.startswith("unix:"):
        context.warn(f"distrib: what is published on {to} is not encrypted, and open to all who reach that port")
    return endpoint


def build(settings: Distrib, context: Context) -> IResource:
    site = RemoteSite(_endpoint(settings.to, context), str(settings.to))
    context.add_service(Connection(site))
    return site


FEATURE = Mount("distrib", Distrib, build)
