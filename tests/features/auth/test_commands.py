"""
What mixweb passwd and mixweb unlock do.
"""

import io
import os
import sys

import pytest

from mixweb import cli
from mixweb.features.auth import commands
from mixweb.features.auth._files import CLEAR, parse
from mixweb.features.auth._hashes import check, ha1
from tests.features.auth.conftest import ALICE


@pytest.fixture
def command(monkeypatch, tmp_path, capfd):
    """Runs a command in a folder of its own: its status, and what it says."""
    monkeypatch.chdir(tmp_path)

    def run(name, *arguments, typed=""):
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        status = cli.COMMANDS[name](arguments)
        sys.stdout.flush()
        out, err = capfd.readouterr()
        return status, out, err

    return run


def users(path):
    return parse(path.read_bytes(), CLEAR).users


def test_setting_passwords(command, tmp_path):
    """A user is added, gets another password and keeps its roles, gets other roles, and is taken away; others stay."""
    path = tmp_path / "users"
    table = [
        (["alice", "--roles", "admin,staff"], ALICE, "alice: added: users\n", {"admin", "staff"}),
        (["bob"], "Looking-glass2", "bob: added: users\n", set()),
        (["alice"], "Down-rabbit3", "alice: password set: users\n", {"admin", "staff"}),
        (["alice", "--roles", ""], "Down-rabbit3", "alice: password set: users\n", set()),
    ]
    for arguments, password, said, roles in table:
        assert command("passwd", "users", *arguments, "--stdin", typed=password + "\n") == (0, said, "")
        user = users(path)[arguments[0]]
        assert user.password.startswith("$argon2id$")
        assert check(user.name, user.password, password)
        assert user.roles == roles
    assert path.stat().st_mode & 0o777 == 0o600
    assert command("passwd", "users", "alice", "--delete") == (0, "alice: taken away: users\n", "")
    assert command("passwd", "users", "alice", "--delete") == (0, "alice: was not there: users\n", "")
    assert set(users(path)) == {"bob"}


@pytest.mark.parametrize(
    ("arguments", "typed", "said"),
    [
        (["users", "alice", "--stdin"], "weak\n", "at least 10 characters"),
        (["users", "alice", "--stdin"], "", "at least 10 characters"),
        (["users", "alice"], ALICE, "standard input is no terminal; give --stdin"),
        (["users", "a:b", "--stdin"], ALICE, "a name has"),
        (["users", "alice", "--stdin", "--roles", "a b"], ALICE, "not a role"),
        (["nowhere/users", "alice", "--stdin"], ALICE, "cannot write 'nowhere/users': No such file or directory"),
        (["users.htdigest", "alice", "--stdin"], ALICE, "--realm NAME"),
        (["memory:", "alice", "--stdin"], ALICE, "memory of a server"),
        (["sqlite:nowhere/users.db", "alice", "--stdin"], ALICE, "there is no folder"),
    ],
)
def test_what_is_refused(arguments, typed, said, command, tmp_path, monkeypatch):
    """What cannot be done says why, in a line; nothing is written."""
    monkeypatch.setattr(commands, "run", refused)
    status, out, err = command("passwd", *arguments, typed=typed)
    assert (status, out) == (1, "")
    assert said in err
    assert len(err.splitlines()) == 1
    assert os.listdir(tmp_path) == []


def refused(work):
    """Stands for a reactor that runs: the store says at once that it cannot be opened."""
    from twisted.internet.task import Clock

    from tests.features.auth.test_lockout import result

    try:
        return result(work(Clock()))
    except ValueError as reason:
        raise commands.Refused(str(reason)) from None


def test_weak_passwords_by_force(command):
    """With --force a weak password is taken."""
    assert command("passwd", "users", "alice", "--stdin", "--force", typed="weak\n")[0] == 0


def test_passwords_for_digest(command, tmp_path):
    """In an htdigest file a password is an HA1, and stays of the kind and realm it was."""
    path = tmp_path / "users.htdigest"
    assert command("passwd", "users.htdigest", "alice", "--stdin", "--realm", "r", typed=ALICE)[0] == 0
    assert path.read_text() == f"alice:r:{ha1('MD5', 'alice', 'r', ALICE)}\n"
    path.write_text(f"alice:r:{'0' * 64}\n")
    assert command("passwd", "users.htdigest", "alice", "--stdin", typed=ALICE)[0] == 0
    assert path.read_text() == f"alice:r:{ha1('SHA-256', 'alice', 'r', ALICE)}\n"


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("[auth]\nusers = 'users'\n", "alice may try again in a second"),
        ("[auth]\nusers = 'memory:a:b'\n", "a restart forgets them"),
        ("[files]\npath = '.'\n", "there is no [auth]"),
        ("[auth]\nusers = 'users'\nrules = ['x']\n", "site.toml:3: auth: rules"),
    ],
)
def test_unlocking(config, said, command, tmp_path):
    """Whom to unlock is left beside the file of users, when failures are in the memory of the server."""
    (tmp_path / "users").write_text("alice:x\n")
    (tmp_path / "site.toml").write_text(config)
    status, out, err = command("unlock", "alice")
    assert said in out + err
    assert (status == 0) == ("second" in said)
    assert (tmp_path / "users.unlock").exists() == (status == 0)


def test_unlocking_without_a_file_of_tables(command, tmp_path):
    """Of a server that has no TOML file, the file of users is named."""
    (tmp_path / "users").write_text("alice:x\n")
    assert command("unlock", "alice", "--users", "users")[0] == 0
    assert (tmp_path / "users.unlock").read_text() == "alice\n"
