"""
Shared servers: one port, and behind it the sites of several processes, each with the rights of its own user.

A process publishes its site with :func:`personal_factory`, usually on a UNIX socket; the server that has the port hands
requests on with :class:`RemoteSite`. They speak Perspective Broker as :mod:`twisted.web.distrib` does: either may be
Twisted's.
"""

from twisted.internet.interfaces import IProtocolFactory
from twisted.spread import pb

from mixweb.engine.site import Site
from mixweb.shared._remote import RemoteSite as RemoteSite


def personal_factory(site: Site) -> IProtocolFactory:
    """
    What to listen with so that a site answers the requests of a shared server.

    Requests come with the path below the place that the shared server gives the site.
    """
    import twisted.web.distrib  # noqa: F401 - tells Perspective Broker what requests are; imports the reactor

    from mixweb.shared._published import Publisher

    factory: IProtocolFactory = pb.PBServerFactory(Publisher(site))
    return factory
