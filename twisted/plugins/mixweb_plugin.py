"""
What twistd finds: the ``web-mix`` service and the ``mixweb`` reactor.
"""

from twisted.application.reactors import Reactor
from twisted.application.service import ServiceMaker

#: ``twistd web-mix``; the ``mixweb`` command runs the same one.
web_mix = ServiceMaker(
    "mixweb", "mixweb.tap", "A web server mixed from parts: files, hosts, rewriting, TLS and more.", "web-mix"
)

reactor = Reactor("mixweb", "mixweb.engine.reactor", "epoll, with a leaner loop for many small requests.")
