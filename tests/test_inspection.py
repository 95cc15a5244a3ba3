"""
Where a server puts its inspector, and where it is opened.
"""

import pytest

from mixweb import Files, Goto, Host, Inspect, Respond
from mixweb.config import given
from mixweb.engine.listeners import parse_all
from mixweb.inspection import addresses, inspected, inspectors, is_local
from mixweb.plan import Plan, Server


@pytest.mark.parametrize(
    ("description", "public", "local"),
    [
        ("8080", False, True),
        ("8080", True, False),
        ("tcp:8080", False, False),
        ("tcp:8080:interface=127.0.0.1", False, True),
        ("tcp:8080:interface=127.0.0.9", False, True),
        ("tcp6:8080:interface=\\:\\:1", False, True),
        ("tcp:8080:interface=localhost", False, True),
        ("tcp:8080:interface=192.0.2.1", False, False),
        ("unix:/run/x", False, True),
        ("systemd:INET:name=web", False, False),
    ],
)
def test_is_local(description, public, local):
    """Only what only this machine can reach is local; what is not known is not."""
    assert is_local(parse_all(description, public)) is local


@pytest.mark.parametrize(
    ("host", "server", "there"),
    [
        (Host(Files(".")), {}, True),
        (Host(Files("."), without=["inspect"]), {}, False),
        (Host(Files(".")), {"quiet": True}, False),
        (Host(Files("."), Respond("x", at="/~mix")), {}, False),
        (Host(Goto(at="/")), {}, False),
        (Host(Files("."), Inspect(at="/own")), {}, True),
    ],
)
def test_unasked(host, server, there):
    """Where a person watches there is one unasked, unless it is taken away or something else has its place."""
    plan = inspected(given(Plan(Server(**server), host)), True, "made").plan
    found = [(owner is plan.default, item.token) for owner, item in inspectors(plan)]
    assert found == ([(True, "made")] if there else [])
    asked = inspected(given(Plan(Server(**server), host)), False, "made").plan
    assert len(list(inspectors(asked))) == any(isinstance(item, Inspect) for item in host.settings)


def test_tokens():
    """Each inspector gets the token that has none of its own; where its settings were said stays known."""
    loaded = given(Plan(default=Host(Inspect()), hosts=[Host("b", Inspect(token="own")), Host("c", Inspect())]))
    item = loaded.plan.default.settings[0]
    loaded.tables[id(item)] = table = object()
    made = inspected(loaded, True, "made")
    assert [item.token for _, item in inspectors(made.plan)] == ["made", "own", "made"]
    assert made.tables[id(made.plan.default.settings[0])] is table
    assert loaded.plan.default.settings[0].token == ""


def test_addresses():
    """The address has the token that was made, not the one that the owner chose, and the name of its host."""
    plan = Plan(
        default=Host(Inspect(token="made")),
        hosts=[
            Host("shop.example", Inspect(token="own", at="/look at")),
            Host("*.x.example", Inspect(token="made")),
            Host("health.example", Inspect(health_only=True)),
        ],
    )
    assert addresses(plan, ["http://127.0.0.1:8080/", "http://192.0.2.1:8080/"], "made") == [
        "http://127.0.0.1:8080/~mix/?token=made",
        "http://shop.example:8080/look%20at/",
        "http://any.x.example:8080/~mix/?token=made",
    ]
    assert addresses(plan, [], "made") == []
