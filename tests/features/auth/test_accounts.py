"""
Users who change their password, and users who are made.
"""

import json

import pytest

from mixweb.features.auth import Auth
from mixweb.features.auth._policy import Creators, PasswordPolicy
from mixweb.features.auth._wrapper import Identity
from tests.features.auth.conftest import ALICE, BOB, basic

NEW = "Down-rabbit3"


@pytest.mark.parametrize(
    ("password", "problem"),
    [
        ("Down-rabbit3", ""),
        ("downrabbitholes", "kinds of"),
        ("DownRabbitHoles", "3 of these"),
        ("Down-r3", "at least 10"),
        ("Alice-in-w0nderland", "name"),
        ("x1-" + "ü" * 20, ""),
        ("Aa1" + "x" * 1030, "at most"),
        ("", "at least"),
    ],
)
def test_password_policy(password, problem):
    """A new password is long enough, of several kinds of characters, and not the name."""
    found = PasswordPolicy(10, 3).problem(password, "alice")
    assert bool(found) == bool(problem)
    assert (problem in found) or "kinds" in problem


ADMIN = Identity("root", frozenset(["admin"]), "basic")
STAFF = Identity("bob", frozenset(["staff"]), "basic")


@pytest.mark.parametrize(
    ("setting", "maker", "roles", "may"),
    [
        ({}, None, [], False),
        ({}, ADMIN, [], False),
        ({"user": "anyone"}, None, [], True),
        ({"user": "anyone"}, None, ["user"], True),
        ({"user": "anyone"}, None, ["admin"], False),
        ({"user": "anyone"}, ADMIN, ["admin"], False),
        ({"user": "#admin"}, None, [], False),
        ({"user": "#admin"}, STAFF, [], False),
        ({"user": "#admin"}, ADMIN, [], True),
        ({"user": "anyone", "editor": "#staff, root"}, STAFF, ["editor"], True),
        ({"user": "anyone", "editor": "#staff, root"}, ADMIN, ["editor"], True),
        ({"user": "anyone", "editor": "#staff"}, None, ["editor"], False),
        ({"user": "anyone", "editor": "#staff"}, STAFF, ["editor", "admin"], False),
        ({"user": "*"}, None, [], False),
        ({"user": "*"}, STAFF, [], True),
    ],
)
def test_who_may_make_whom(setting, maker, roles, may):
    """Every role of a new user has to be one that the maker may give; without a rule nobody may."""
    assert Creators(setting).may(maker, frozenset(roles)) == may


def test_changing_a_password(guarded, settings):
    """A password is changed by who knows it; all other sessions of the user end, this one goes on under another id."""
    site = guarded(settings())
    here, there, other = site.client(), site.client(), site.client()
    for client in (here, there):
        client.submit("/login", username="alice", password=ALICE)
    other.submit("/login", username="bob", password=BOB)
    before = dict(here.cookies)
    assert 'value="alice"' in here.browse("/changepwd").text
    answer = here.submit("/changepwd", username="alice", password=ALICE, new_password=NEW)
    assert (answer.status, answer["Location"]) == (303, "/login")
    assert here.cookies != before
    assert here.who() == ["alice", ["admin", "staff"], "session"]
    assert there.get("/").status == 401
    assert other.who() == ["bob", [], "session"]
    assert site.client().get("/", basic("alice", ALICE)).status == 401
    assert site.client().get("/", basic("alice", NEW)).status == 200


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"username": "alice", "password": "wrong", "new_password": NEW}, 401),
        ({"username": "mallory", "password": "wrong", "new_password": NEW}, 401),
        ({"username": "alice", "password": ALICE, "new_password": "weak"}, 400),
        ({"username": "alice", "password": ALICE, "new_password": ALICE}, 400),
        ({"username": "alice", "password": ALICE}, 400),
        ({"password": ALICE, "new_password": NEW}, 400),
        ({"username": "alice", "password": ALICE, "new_password": NEW}, 200),
    ],
)
def test_what_is_sent_to_change_a_password(fields, status, guarded, settings, users):
    """A wrong password, a weak one, the old one again, or none: nothing changes."""
    client = guarded(settings()).client()
    before = users.read_text()
    answer = client.post("/changepwd", **fields)
    assert answer.status == status
    assert (users.read_text() == before) == (status != 200)
    assert bool(client.cookies) == (status == 200)


def test_who_is_logged_in_need_not_say_the_name(guarded, settings):
    """For who is logged in the name is known, the password is asked for all the same."""
    client = guarded(settings()).client()
    client.submit("/login", username="alice", password=ALICE)
    assert client.post("/changepwd", password="wrong", new_password=NEW).status == 401
    assert json.loads(client.post("/changepwd", password=ALICE, new_password=NEW).text)["user"] == "alice"


def test_users_that_cannot_be_changed(guarded):
    """Where users cannot be changed there is no /changepwd."""
    client = guarded(Auth("memory:alice:secret", rules=["/ anyone"])).client()
    assert client.who("/changepwd") is None
    assert client.post("/login", username="alice", password="secret").status == 200
    assert client.who() == ["alice", [], "session"]


def test_nobody_registers_unasked(guarded, settings):
    """There is no /register unless it is said who may make users."""
    assert guarded(settings(rules=["/ anyone"])).client().who("/register") is None


def test_registering(guarded, settings, users):
    """Where anyone may, a stranger becomes a user and is logged in; the name is then taken."""
    site = guarded(settings(register={"user": "anyone"}))
    assert "auth: anybody may make themselves a user (register)" in site.warnings
    client = site.client()
    assert '<a href="/register?goto=/x">' in client.browse("/login?goto=/x").text
    answer = client.submit("/register", username="carol", password=NEW, goto="/x")
    assert (answer.status, answer["Location"]) == (303, "/x")
    assert client.who() == ["carol", [], "session"]
    assert users.read_text().splitlines()[-1].startswith("carol:$argon2id$")
    other = site.client()
    answer = other.submit("/register", username="carol", password=NEW)
    assert answer.status == 400
    assert "This name is taken." in answer.text
    assert other.cookies == {}


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"username": "carol", "password": NEW}, 200),
        ({"username": "carol", "password": "weak"}, 400),
        ({"username": "carol"}, 400),
        ({"username": "", "password": NEW}, 400),
        ({"username": "a:b", "password": NEW}, 400),
        ({"username": "#admin", "password": NEW}, 400),
        ({"username": "a\nroot:x:admin", "password": NEW}, 400),
        ({"username": "anyone", "password": NEW}, 400),
        ({"username": "x" * 200, "password": NEW}, 400),
        ({"username": "alice", "password": NEW}, 400),
        ({"username": "carol", "password": NEW, "roles": ["admin"]}, 403),
        ({"username": "carol", "password": NEW, "roles": "admin"}, 403),
        ({"username": "carol", "password": NEW, "roles": ["a b"]}, 400),
        ({"username": "carol", "password": NEW, "roles": [1]}, 400),
        ({"username": "carol", "password": NEW, "roles": {"admin": 1}}, 400),
        ({"username": "carol", "password": NEW, "roles": [f"r{number}" for number in range(5_000)]}, 400),
        ({"username": "carol", "password": NEW, "roles": [f"r{number}" for number in range(10_000)]}, 413),
        ({"username": "carol", "password": NEW, "roles": ""}, 200),
    ],
)
def test_what_is_sent_to_register(fields, status, guarded, settings, users):
    """A name, a password and roles that may be: else nothing is made."""
    client = guarded(settings(register={"user": "anyone"})).client()
    before = users.read_text()
    assert client.post("/register", **fields).status == status
    assert (users.read_text() == before) == (status != 200)


def test_making_others(guarded, settings):
    """Who may make users stays who it is; the others may not."""
    site = guarded(settings(register={"user": "#admin", "editor": "#admin"}))
    client = site.client()
    assert client.post("/register", username="carol", password=NEW).status == 403
    assert client.post("/register", basic("bob", BOB), username="carol", password=NEW).status == 403
    answer = client.post("/register", basic("alice", ALICE), username="carol", password=NEW, roles=["editor"])
    assert (answer.status, json.loads(answer.text)) == (200, {"user": "carol", "roles": ["editor"]})
    assert client.cookies == {}
    client.submit("/login", username="alice", password=ALICE)
    assert client.post("/register", username="dave", password=NEW).status == 200
    assert client.who() == ["alice", ["admin", "staff"], "session"]
    assert site.client().who("/", basic("carol", NEW)) == ["carol", ["editor"], "basic"]


def test_strangers_do_not_fill_the_file(guarded, settings, users):
    """From one address strangers make a few users in an hour."""
    client = guarded(settings(register={"user": "anyone"})).client()
    made = [client.other().post("/register", username=f"user{number}", password=NEW) for number in range(12)]
    assert [answer.status for answer in made] == [200] * 10 + [429] * 2
    assert int(made[-1]["Retry-After"]) > 100
    assert len(users.read_text().splitlines()) == 12


def test_users_in_a_store(guarded, settings):
    """Users are kept in the store where that is asked for, apart from those of another name."""
    site = guarded(Auth("store:", register={"user": "anyone"}), store="memory:users")
    client = site.client()
    assert client.post("/register", username="carol", password=NEW).status == 200
    assert client.who() == ["carol", [], "session"]
    assert client.post("/changepwd", password=NEW, new_password="Through-glass8").status == 200
    assert site.client().who("/", basic("carol", "Through-glass8")) == ["carol", [], "basic"]
    assert site.client().get("/", basic("carol", NEW)).status == 401
    other = guarded(Auth("store:other"), store="memory:users", clock=site.clock)
    assert other.client().get("/", basic("carol", "Through-glass8")).status == 401
    same = guarded(Auth("store:"), store="memory:users", clock=site.clock)
    assert same.client().get("/", basic("carol", "Through-glass8")).status == 200


@pytest.mark.parametrize("line", ["carol:!", "carol:{FOO}x", "carol", "carol:a:b:c:d", "carol:"])
def test_who_was_locked_out_by_hand_is_not_made_anew(line, guarded, settings, users):
    """A name in a line that is broken is taken."""
    users.write_text(line + "\n")
    client = guarded(settings(register={"user": "anyone"}, passwords="sha256")).client()
    answer = client.post("/register", username="carol", password=NEW)
    assert (answer.status, "taken" in answer.text) == (400, True)
    assert users.read_text() == line + "\n"


def test_a_file_that_cannot_be_written(guarded, settings, monkeypatch, events, failures):
    """When the file cannot be written the answer is 503, and the log says why."""
    client = guarded(settings(register={"user": "anyone"})).client()
    monkeypatch.setattr("os.replace", lambda *names: (_ for _ in ()).throw(PermissionError(13, "not yours")))
    for answer in (
        client.post("/register", username="carol", password=NEW),
        client.post("/changepwd", username="alice", password=ALICE, new_password=NEW),
    ):
        assert (answer.status, answer["Retry-After"]) == (503, "5")
    assert sum("not yours" in event for event in events) == 2
    assert failures == []


def test_weaker_passwords_by_setting(guarded, settings):
    """How long and of how many kinds a password is, the settings say."""
    client = guarded(settings(register={"user": "anyone"}, password_length=4, password_kinds=1)).client()
    assert client.post("/register", username="carol", password="abc").status == 400
    assert client.post("/register", username="carol", password="abcd").status == 200
