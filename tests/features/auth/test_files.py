"""
Files of users.
"""

import hashlib
import os
import threading

import pytest

from mixweb.features.auth._files import (
    CLEAR,
    User,
    check_name,
    edit,
    line_of,
    parse,
    parse_roles,
    unmarked_of,
    with_line,
)

SHA = "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="
BCRYPT = "$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC"
MD5 = "5f4dcc3b5aa765d61d8327deb882cf99"
SHA256 = "0" * 64


@pytest.mark.parametrize(
    ("line", "user"),
    [
        ("alice:secret", User("alice", "{CLEAR}secret")),
        ("alice:secret:admin,staff", User("alice", "{CLEAR}secret", frozenset(["admin", "staff"]))),
        ("alice:secret:", User("alice", "{CLEAR}secret")),
        (f"alice:{SHA}", User("alice", SHA)),
        (f"alice:{BCRYPT}:admin", User("alice", BCRYPT, frozenset(["admin"]))),
        (f"alice:The realm:{MD5}", User("alice", f"{{HA1}}MD5:The realm:{MD5}")),
        (f"alice:The realm:{MD5.upper()}", User("alice", f"{{HA1}}MD5:The realm:{MD5}")),
        (f"alice:The realm:{SHA256}:admin", User("alice", f"{{HA1}}SHA-256:The realm:{SHA256}", frozenset(["admin"]))),
        ("  alice:secret  ", User("alice", "{CLEAR}secret")),
        ("Älice:se cret", User("Älice", "{CLEAR}se cret")),
        ("A\u0308lice:secret", User("Älice", "{CLEAR}secret")),
        ("jane doe@example.org:secret", User("jane doe@example.org", "{CLEAR}secret")),
    ],
)
def test_lines(line, user):
    """A line is a user, with a password as it is stored and roles; what it is written from is a line again."""
    found = parse(line.encode(), CLEAR)
    assert found.problems == []
    assert list(found.users.values()) == [user]
    assert parse(line_of(user).encode(), CLEAR).users == {user.name: user}


BROKEN = """\
# comment
alice:secret

bob
:secret
carol:
#dave:secret
*:secret
anyone:secret
erin:{SHA}short
frank:a:b:c
grace:$1
heidi:$99$x$y
alice:again
ivan:secret:admin,#staff
judy:secret
kate:a "realm":5f4dcc3b5aa765d61d8327deb882cf99
"""


def test_broken_lines():
    """Each broken line is told of with its number and what is wrong; the rest counts."""
    found = parse(BROKEN.encode() + b"mallory\xff:x\nniaj:secret:admin", CLEAR)
    assert set(found.users) == {"alice", "grace", "judy", "niaj"}
    assert [line for line, _ in found.problems] == [4, 5, 6, 8, 9, 10, 11, 13, 14, 15, 17, 18]
    assert all(problem for _, problem in found.problems)
    assert found.clear == 4


def test_many_roles_and_lines():
    """Ten thousand roles, and ten thousand users, are read as they are."""
    roles = ",".join(f"role{number}" for number in range(10_000))
    lines = [f"user{number}:{SHA}" for number in range(10_000)]
    found = parse("\n".join([f"alice:secret:{roles}", *lines]).encode(), CLEAR)
    assert found.problems == []
    assert len(found.users["alice"].roles) == 10_000
    assert len(found.users) == 10_001


@pytest.mark.parametrize(
    ("path", "setting", "unmarked"),
    [
        ("/x/users", "", "{CLEAR}"),
        ("/x/users.htpasswd", "", ""),
        ("/x/.htpasswd", "", ""),
        ("/x/.htpasswd", "clear", "{CLEAR}"),
        ("/x/users", "sha256", "{SHA256}"),
        ("/htpasswd/users", "", "{CLEAR}"),
    ],
)
def test_passwords_without_a_mark(path, setting, unmarked):
    """What a password without a mark is, the setting says; in an htpasswd file it is none that can be checked."""
    assert unmarked_of(path, setting) == unmarked
    digest = hashlib.sha256(b"secret").hexdigest()
    found = parse(f"alice:{digest}".encode(), unmarked)
    assert bool(found.problems) == (unmarked == "")


def test_realms():
    """Of an htdigest file one realm counts, where one is chosen."""
    data = f"alice:one:{MD5}\nalice:two:{SHA256}\nbob:two:{MD5}\n".encode()
    assert parse(data, CLEAR, "two").users.keys() == {"alice", "bob"}
    assert parse(data, CLEAR, "two").problems == []
    assert parse(data, CLEAR, "one").realms == {"one"}
    assert [line for line, _ in parse(data, CLEAR).problems] == [2]


@pytest.mark.parametrize(
    "name", ["", "a:b", "a,b", "#a", "!a", "*a", " a", "a ", "a\nb", "a\x7fb", "anyone", "x" * 129]
)
def test_names(name):
    """Nobody can be called what a rule or a line would take for something else."""
    with pytest.raises(ValueError, match="name"):
        check_name(name)


@pytest.mark.parametrize("text", ["a b", "#a", "!a", "*", "a:b", "x" * 65])
def test_roles(text):
    """Nor a role."""
    with pytest.raises(ValueError, match="not a role"):
        parse_roles(text)


def test_stamps():
    """A stamp changes with the password, and only with it."""
    user = User("alice", "{CLEAR}secret")
    assert user.stamp == User("alice", "{CLEAR}secret", frozenset(["admin"])).stamp
    assert user.stamp != User("alice", "{CLEAR}other").stamp


@pytest.mark.parametrize(
    ("before", "line", "after"),
    [
        ("", "bob:new", "bob:new\n"),
        ("alice:x\n", "bob:new", "alice:x\nbob:new\n"),
        ("alice:x", "bob:new", "alice:x\nbob:new\n"),
        ("# bob:\nbob:old:r\nalice:x\n", "bob:new", "# bob:\nbob:new\nalice:x\n"),
        ("bob:old\nbob:older\n", "bob:new", "bob:new\n"),
        ("broken\n\nbob:old\n", "bob:new", "broken\n\nbob:new\n"),
        ("alice:x\nbob:old\n", None, "alice:x\n"),
        ("alice:x\n", None, "alice:x\n"),
    ],
)
def test_one_line_changes(before, line, after):
    """The line of a user is replaced where it stands, or added; all others stay as they are, comments and broken ones too."""
    assert with_line(before.encode(), "bob", line) == after.encode()


def test_editing_keeps_the_mode(tmp_path):
    """A file that is changed keeps its mode, also behind a link; nothing else is left in the folder."""
    path, link = tmp_path / "users", tmp_path / "link"
    path.write_text("alice:x\n")
    path.chmod(0o640)
    link.symlink_to(path)
    assert edit(str(link), lambda data: data + b"bob:y\n") == b"alice:x\nbob:y\n"
    assert path.read_text() == "alice:x\nbob:y\n"
    assert path.stat().st_mode & 0o7777 == 0o640
    assert sorted(os.listdir(tmp_path)) == ["link", "users"]
    assert link.is_symlink()


def test_making_a_file(tmp_path):
    """A file is made for its owner only; not when there is nothing to write."""
    path = str(tmp_path / "users")
    with pytest.raises(FileNotFoundError):
        edit(path, lambda data: b"alice:x\n")
    with pytest.raises(ZeroDivisionError):
        edit(path, lambda data: 1 / 0, create=True)
    assert os.listdir(tmp_path) == []
    edit(path, lambda data: b"alice:x\n", create=True)
    assert os.stat(path).st_mode & 0o7777 == 0o600


def test_failed_edits_change_nothing(tmp_path):
    """When the change fails, the file is as it was."""
    path = tmp_path / "users"
    path.write_text("alice:x\n")
    with pytest.raises(ZeroDivisionError):
        edit(str(path), lambda data: 1 / 0)
    assert path.read_text() == "alice:x\n"
    assert os.listdir(tmp_path) == ["users"]


def test_edits_at_the_same_time(tmp_path):
    """Edits of several processes come one after the other: none is lost."""
    path = tmp_path / "users"
    path.write_text("")
    threads = [
        threading.Thread(target=edit, args=(str(path), lambda data, line=b"u%d:x\n" % number: data + line))
        for number in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(path.read_text().splitlines())) == 20
