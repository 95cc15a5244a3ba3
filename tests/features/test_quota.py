"""
How many requests a user may send.
"""

import pytest
from twisted.internet.task import Clock

from mixweb.features.quota import Quota, build
from mixweb.interfaces import IUser
from mixweb.testing import SiteAgent, make_context
from mixweb.wrapper import Wrapper
from tests.features.test_rate import Page


class User:
    """Somebody."""

    def __init__(self, name, *roles):
        self.name, self.roles = name, frozenset(roles)


class Known(Wrapper):
    """Takes the word of a client for who it is."""

    def handle(self, request):
        words = (request.getHeader(b"X-User") or b"").decode().split()
        if words:
            request.setComponent(IUser, User(*words))
        self.forward(request)


@pytest.fixture
def ask():
    """Asks a page behind a quota, as somebody: how many of some requests were answered."""

    def made(**settings):
        clock = Clock()
        resource = Known(build(Quota(["3/minute"], **settings), Page(), make_context(clock)))
        agent = SiteAgent(resource, clock=clock)

        def asked(user="", peer="192.0.2.1", **fields):
            client = SiteAgent(agent.site, peer=peer, clock=clock)
            headers = {"X-User": user} | {name.replace("_", "-"): value for name, value in fields.items()}
            return [client.get("/", headers).status for _ in range(10)].count(200)

        return asked

    return made


def test_users(ask):
    """Each user is counted, from wherever; a stranger by its address."""
    asked = ask()
    assert asked("alice") == 3
    assert asked("alice", peer="192.0.2.2") == 0
    assert asked("bob") == 3
    assert asked() == 3
    assert asked() == 0
    assert asked(peer="192.0.2.2") == 3


def test_roles(ask):
    """A user of a role has the rate of the role, the first that is named."""
    asked = ask(roles={"#paying": "5/minute", "trial": "1/minute, 100/day"})
    assert asked("alice paying trial") == 5
    assert asked("bob trial") == 1
    assert asked("carol other") == 3


def test_keys(ask):
    """A request with a key and without a user is counted by the key."""
    asked = ask(key="X-API-Key")
    assert asked(X_API_Key="one") == 3
    assert asked(X_API_Key="one", peer="192.0.2.2") == 0
    assert asked(X_API_Key="two") == 3
    assert asked("alice", X_API_Key="one") == 3
    assert asked() == 3


def test_names_are_not_keys(ask):
    """A user, a key and an address of the same name are counted apart."""
    asked = ask(key="X-API-Key")
    assert asked("192.0.2.1") == asked(X_API_Key="192.0.2.1") == asked() == 3


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"rates": []}, "rates: name at least one"),
        ({"roles": {"a": "many"}}, "roles: a: 'many' is not a rate"),
        ({"key": "X Y"}, "key: 'X Y' is not"),
        ({"store": "nowhere:"}, "store must be"),
    ],
)
def test_settings_that_make_no_sense(settings, problem):
    """What makes no sense is refused, with the name of the setting."""
    with pytest.raises(ValueError, match=problem):
        Quota(**settings)
