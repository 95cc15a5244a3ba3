"""
The limits of a server: said in one way everywhere, checked, and told to its site.
"""

import sys

import pytest
from twisted.internet.task import Clock
from twisted.web.resource import Resource

from mixweb.commandline import Parser
from mixweb.config import load
from mixweb.engine.crowd import connections_by_files
from mixweb.engine.http1 import DEFAULT_LIMITS
from mixweb.engine.site import Site
from mixweb.engine.timeouts import DEFAULT_TIMEOUTS
from mixweb.plan import Plan, Server
from mixweb.serving import handed_on, set_limits
from mixweb.worker import loaded_from

#: Each with the least it may be, and what tells it of a site.
LIMITS = {
    "max_line_bytes": (64, lambda site: site.limits.request_line),
    "max_header_bytes": (256, lambda site: site.limits.field_section),
    "max_headers": (1, lambda site: site.limits.fields),
    "max_body_bytes": (0, lambda site: site.max_body_bytes),
    "max_pipelined_bytes": (0, lambda site: site.max_pipelined_bytes),
    "max_connections": (0, lambda site: site.channels.most),
    "max_connections_per_address": (0, lambda site: site.channels.most_of_origin),
    "max_http2_streams": (1, lambda site: site.max_http2_streams),
    "header_timeout": (1, lambda site: site.timeouts.head),
    "min_body_rate": (0, lambda site: site.timeouts.body_rate),
    "idle_timeout": (1, lambda site: site.timeOut),
    "send_timeout": (1, lambda site: site.timeouts.send),
}


@pytest.fixture
def site():
    return Site(Resource(), reactor=Clock())


@pytest.mark.parametrize("name", LIMITS)
def test_limits(name, site, tmp_path):
    """Each limit is an option, a key of TOML, a variable and an argument; the site keeps to it."""
    least, told = LIMITS[name]
    value = least + 7
    toml = tmp_path / "site.toml"
    toml.write_text(f"{name} = {value}\n")
    ways = [
        load(None, Parser().parse([f"--{name.replace('_', '-')}", str(value)]).draft, {}),
        load(toml, None, {}),
        load(None, None, {f"MIXWEB_{name.upper()}": str(value)}),
    ]
    for server in [*(loaded.plan.server for loaded in ways), Server(**{name: value})]:
        assert server == Server(**{name: value})
    set_limits(site, server)
    assert told(site) == value


@pytest.mark.parametrize("name", LIMITS)
def test_too_little(name):
    """A limit below which nothing would be answered is refused by its name."""
    least, _ = LIMITS[name]
    assert getattr(Server(**{name: least}), name) == least
    with pytest.raises(ValueError, match=f"{name} must " + (f"be at least {least}" if least else "not be negative")):
        Server(**{name: least - 1})


def test_defaults(site):
    """What is limited when nothing is said."""
    set_limits(site, Server())
    assert site.limits == DEFAULT_LIMITS
    assert site.timeouts == DEFAULT_TIMEOUTS
    assert (site.timeOut, site.channels.most, site.channels.most_of_origin) == (60, connections_by_files(), 0)
    assert 0 < site.channels.most <= sys.maxsize


def test_slow_bodies(site):
    """The rate of a body is measured often enough to cut it off within the time for the headers."""
    for timeout, window in ((30, 14), (10, 4), (4, 1), (1, 1)):
        set_limits(site, Server(header_timeout=timeout))
        assert site.timeouts.body == window


@pytest.mark.parametrize(("connections", "workers", "share"), [(0, 4, 0), (1000, 4, 250), (10, 4, 3), (3, 4, 1)])
def test_workers_share_the_connections(connections, workers, share):
    """Each worker takes its part of the connections, at least one."""
    server = Server(max_connections=connections, max_connections_per_address=5, workers=workers)
    found = loaded_from(handed_on(Plan(server))).plan.server
    assert (found.max_connections, found.max_connections_per_address) == (share, 5)
