"""
Sites that other processes publish, at paths of this one.
"""

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from mixweb.features.distrib import Distrib, build
from mixweb.testing import make_context


class Nobody:
    """Where nothing ever answers."""

    def connect(self, factory):
        return Deferred()


def sample(folder, **changes):
    """Settings to try the feature with."""
    return Distrib(Nobody(), **changes)


@pytest.mark.parametrize(
    ("to", "problem"),
    [
        ("", "to must say where the site is published"),
        ("nothing", "to: 'nothing' is no endpoint of a client"),
        ("pigeon:coop", "to: 'pigeon:coop' is no endpoint of a client"),
    ],
)
def test_settings(to, problem):
    """What leads nowhere is refused."""
    with pytest.raises(ValueError, match=problem):
        build(Distrib(to), make_context(reactor))


@pytest.mark.parametrize(("to", "warnings"), [("unix:/tmp/x", 0), ("tcp:localhost:1", 1)])
def test_warning(to, warnings):
    """What other machines can read and reach is said at start."""
    said = []
    build(Distrib(to), make_context(reactor, warn=said.append))
    assert len(said) == warnings
