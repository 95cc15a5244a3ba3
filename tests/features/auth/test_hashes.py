"""
Passwords as they are stored.
"""

import hashlib
import time
from base64 import b64encode

import bcrypt
import pytest

from mixweb.features.auth import _hashes as hashes

ARGON2 = hashes.new_hash("Wonder-land1")
SSHA = "{SSHA}" + b64encode(hashlib.sha1(b"Wonder-land1" + b"salt").digest() + b"salt").decode()
HA1 = "{HA1}MD5:r:" + hashlib.md5(b"alice:r:Wonder-land1").hexdigest()
HA1_SHA = "{HA1}SHA-256:r:" + hashlib.sha256(b"alice:r:Wonder-land1").hexdigest()


def hexed(mark, name):
    return mark + hashlib.new(name, b"Wonder-land1").hexdigest()


STORED = [
    ARGON2,
    bcrypt.hashpw(b"Wonder-land1", bcrypt.gensalt(4)).decode(),
    bcrypt.hashpw(b"Wonder-land1", bcrypt.gensalt(4)).decode().replace("$2b$", "$2y$"),
    "{SHA}" + b64encode(hashlib.sha1(b"Wonder-land1").digest()).decode(),
    SSHA,
    "{CLEAR}Wonder-land1",
    hexed("{MD5}", "md5"),
    hexed("{SHA1}", "sha1"),
    hexed("{SHA256}", "sha256"),
    hexed("{SHA512}", "sha512"),
    hexed("{SHA256}", "sha256").upper(),
    HA1,
    HA1_SHA,
]


@pytest.mark.parametrize("stored", STORED, ids=lambda stored: stored[:10])
def test_kinds(stored):
    """Each kind of stored password is checked, and no other password is taken for it."""
    assert hashes.problem(stored) == ""
    assert hashes.check("alice", stored, "Wonder-land1")
    for wrong in ("", "wonder-land1", "Wonder-land1 ", "Wonder-land12", stored, "x" * 5000, "Wonder-land1\0", "ü"):
        assert not hashes.check("alice", stored, wrong)


def test_kinds_of_crypt():
    """With an extra library the hashes of crypt(3) are checked, those of Apache among them."""
    handlers = pytest.importorskip("passlib.hash")
    stored_by = {name: getattr(handlers, name) for name in ("apr_md5_crypt", "md5_crypt")}
    stored_by |= {
        name: getattr(handlers, name).using(rounds=1000) for name in ("sha1_crypt", "sha256_crypt", "sha512_crypt")
    }
    for handler in stored_by.values():
        stored = handler.hash("Wonder-land1")
        assert hashes.problem(stored) == ""
        assert hashes.check("alice", stored, "Wonder-land1")
        assert not hashes.check("alice", stored, "Wonder-land2")
    assert hashes.check("x", "$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/", "myPassword")


def test_without_the_library(monkeypatch):
    """Without the library the line says how to get it."""
    monkeypatch.setitem(__import__("sys").modules, "passlib", None)
    assert "pip install 'mixweb[crypt]'" in hashes.problem("$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/")


@pytest.mark.parametrize(
    ("stored", "problem"),
    [
        ("", "no hash"),
        ("plain", "no hash"),
        ("rl.3StKT.4T8M", "no hash"),
        ("{FOO}x", "not known"),
        ("$9$x$y", "not known"),
        ("$2y$05$short", "malformed"),
        ("$argon2id$x", "malformed"),
        ("{SHA}short", "no {SHA} digest"),
        ("{SHA256}00", "no {SHA256} digest"),
        ("{SHA256}" + "z" * 64, "no {SHA256} digest"),
        ("{MD5}" + "0" * 64, "no {MD5} digest"),
        ("{SSHA}" + b64encode(b"x" * 20).decode(), "no {SSHA} digest"),
        ("$2b$31$" + "a" * 53, "too much"),
        ("$argon2id$v=19$m=19456,t=100000,p=1$c2FsdHNhbHQ$aGFzaGhhc2g", "too much"),
        ("$argon2id$v=19$m=99999999,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2g", "too much"),
        ("$argon2id$v=19$m=9999999999999,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2g", "malformed"),
        ("$6$rounds=99999999$salt$hash", "too much"),
        ("$sha1$99999999$salt$hash", "too much"),
    ],
)
def test_problems(stored, problem):
    """What cannot be checked, or would stop the server if it were, is told."""
    assert problem in hashes.problem(stored)


def test_bcrypt_is_not_cut_short():
    """A password that is longer than bcrypt looks at is not taken for one with the same beginning."""
    stored = bcrypt.hashpw(b"x" * 72, bcrypt.gensalt(4)).decode()
    assert hashes.check("alice", stored, "x" * 72)
    assert not hashes.check("alice", stored, "x" * 73)


def test_new_hashes():
    """New passwords are hashed by argon2id, each with a salt of its own; only they are current."""
    assert ARGON2.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert hashes.new_hash("Wonder-land1") != ARGON2
    assert [stored[:9] for stored in STORED if hashes.is_current(stored)] == ["$argon2id"]
    assert not hashes.is_current(ARGON2.replace("t=2", "t=1"))


def test_digest_keys():
    """HTTP digest can be checked with an HA1, or a password that can be read, of the right realm and algorithm."""
    md5, sha = HA1.rpartition(":")[2], HA1_SHA.rpartition(":")[2]
    table = {
        (HA1, "MD5", "r"): md5,
        (HA1, "SHA-256", "r"): None,
        (HA1, "MD5", "other"): None,
        (HA1_SHA, "SHA-256", "r"): sha,
        ("{CLEAR}Wonder-land1", "MD5", "r"): md5,
        ("{CLEAR}Wonder-land1", "SHA-256", "r"): sha,
        (ARGON2, "MD5", "r"): None,
    }
    for (stored, algorithm, realm), key in table.items():
        assert hashes.digest_key(stored, algorithm, "alice", realm) == key


def test_a_check_takes_as_long_whatever_is_wrong():
    """A wrong password and a decoy cost the same CPU time."""

    def seconds(stored):
        begin = time.process_time()
        hashes.check("alice", stored, "wrong")
        return time.process_time() - begin

    pairs = [(seconds(ARGON2), seconds(hashes.decoy())) for _ in range(30)]
    first, second = (sorted(side)[: len(side) // 2] for side in zip(*pairs, strict=True))
    assert abs(sum(first) / sum(second) - 1) < 0.05
