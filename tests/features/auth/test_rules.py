"""
Rules: who may do what.
"""

from types import SimpleNamespace

import pytest

from mixweb.features.auth._rules import Policy, parse_rule, parse_who
from mixweb.paths import RawPrefixes, canonical

ALICE = SimpleNamespace(name="alice", roles=frozenset(["admin", "staff"]))
BOB = SimpleNamespace(name="bob", roles=frozenset(["staff"]))
CAROL = SimpleNamespace(name="carol", roles=frozenset())


@pytest.mark.parametrize(
    ("words", "admitted"),
    [
        ("*", "alice bob carol"),
        ("alice", "alice"),
        ("alice carol", "alice carol"),
        ("#admin", "alice"),
        ("#staff", "alice bob"),
        ("#staff !bob", "alice"),
        ("* !bob", "alice carol"),
        ("* !#staff", "carol"),
        ("* !#admin", "bob carol"),
        ("#staff !#admin", "bob"),
        ("bob !#staff", "bob"),  # what is said of the name counts more than what is said of roles
        ("!alice #staff", "bob"),
        ("!bob", ""),  # who is not refused is not admitted by that
        ("#nobody", ""),
        ("anyone", "alice bob carol"),
    ],
)
def test_who(words, admitted):
    """A name counts more than a role, a role more than the star, a no more than a yes."""
    who = parse_who(words.split())
    assert [user.name for user in (ALICE, BOB, CAROL) if who.admits(user)] == admitted.split()
    assert who.anyone == (words == "anyone")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("/admin", "say who"),
        ("", "expected"),
        ("admin alice", "expected"),
        ("get /admin alice", "expected"),
        ("/admin anyone alice", "stands alone"),
        ("/admin alice !alice", "both"),
        ("/admin #a !#a", "both"),
        ("/admin #", "neither"),
        ("/admin !*", "neither"),
        ("/admin #*", "neither"),
        ("/admin !!alice", "neither"),
        ("^/( alice", "regular expression"),
    ],
)
def test_malformed_rules(text, problem):
    """A rule that means nothing is refused, with the rule and the reason."""
    with pytest.raises(ValueError, match=problem) as refusal:
        parse_rule(text)
    assert repr(text) in str(refusal.value)


RULES = [
    "/admin/open/ anyone",
    "GET /admin/log #staff",
    "/admin/ alice",
    "POST,PUT /notes/ #staff",
    "*.bak #nobody",
    r"^/u[0-9]+(/|$) carol",
    "/notes/ *",
]


@pytest.mark.parametrize(
    ("method", "path", "admitted"),
    [
        ("GET", "/admin", "alice"),
        ("GET", "/admin/", "alice"),
        ("GET", "/admin/x/y", "alice"),
        ("GET", "/administrator", None),
        ("GET", "/admin/open/x", "anyone"),
        ("GET", "/admin/log", "alice bob"),
        ("HEAD", "/admin/log", "alice bob"),
        ("POST", "/admin/log", "alice"),
        ("PUT", "/notes/1", "alice bob"),
        ("GET", "/notes/1", "alice bob carol"),
        ("BREW", "/notes/1", "alice bob carol"),
        ("GET", "/x/y.bak", ""),
        ("GET", "/x/y.bak/more", ""),
        ("GET", "/u12", "carol"),
        ("GET", "/u12/x", "carol"),
        ("GET", "/ux", None),
        ("GET", "/", None),
        ("GET", "//admin", "alice"),
        ("GET", "/%61dmin", "alice"),
        ("GET", "/x/../admin/", "alice"),
        ("GET", "/admin/open/../x", "alice"),
    ],
)
def test_first_match_decides(method, path, admitted):
    """The first rule whose method and path match decides; where none does, nobody is asked."""
    who = Policy(RULES).decide(method.encode(), canonical(path.encode()))
    if admitted in (None, "anyone"):
        assert who is None if admitted is None else who.anyone
    else:
        assert [user.name for user in (ALICE, BOB, CAROL) if who.admits(user)] == admitted.split()
        assert not who.anyone


@pytest.mark.parametrize(
    ("given", "path", "asked"),
    [
        ({}, "/", True),
        ({}, "/x", True),
        ({"paths": ["/admin/"]}, "/admin", True),
        ({"paths": ["/admin/"]}, "/", False),
        ({"paths": ["/admin/"], "except_paths": ["/admin/css/"]}, "/admin/css/x", False),
        ({"except_paths": ["/open/"]}, "/open/x", False),
        ({"except_paths": ["/open/"]}, "/x", True),
        ({"rules": ["/a/ #admin"]}, "/b", False),
        ({"rules": ["/a/ #admin"], "paths": ["/a/", "/b/"]}, "/b", True),
        ({"rules": ["/a/ #admin"], "paths": ["/b/"]}, "/a", False),
        ({"secrets": ["/secret"]}, "/secret", True),
        ({"secrets": ["/secret"]}, "/secret/a", True),
        ({"secrets": ["/secret"]}, "/secretx", False),
        ({"secrets": ["/secret"]}, "/a/secret", False),
        ({"secrets": ["secret"]}, "/a/secret/b", True),
        ({"secrets": ["secret"]}, "/a/topsecret", False),
        ({"secrets": ["secret", "/top"]}, "/a/top", False),
        ({"secrets": ["secret", "/top"]}, "/secretx", False),
        ({"secrets": ["a/b/"]}, "/x/a/b", True),
        ({"secrets": ["a/b/"]}, "/a/x/b", False),
        ({"secrets": ["/secret"], "rules": ["/secret/open anyone"]}, "/secret/open", False),
    ],
)
def test_what_is_guarded(given, path, asked):
    """Paths, secrets and rules say what is guarded; without rules every known user may, and nobody else."""
    who = Policy(**given).decide(b"GET", canonical(path.encode()))
    assert (who is not None and not who.anyone) == asked
    if asked:
        assert who.admits(CAROL)


@pytest.mark.parametrize(
    ("given", "path", "admitted"),
    [
        ({"paths": ["/raw/"]}, "/raw/x", "alice bob carol"),
        ({"paths": ["/raw/admin/"]}, "/raw/x", "alice bob carol"),
        ({"paths": ["/other/"]}, "/raw/x", None),
        ({"paths": ["*.bak"]}, "/raw/x", "alice bob carol"),
        ({"except_paths": ["/raw/"]}, "/raw/x", None),
        ({"rules": ["/raw/admin/ #admin"]}, "/raw/x", "alice"),
        ({"rules": ["/raw/admin/ #admin", "/ *"]}, "/raw/x", "alice"),
        ({"rules": ["/raw/open/ anyone", "/raw/ #admin"]}, "/raw/open/", "alice"),
        ({"rules": ["/raw/open/ anyone", "/ anyone"]}, "/raw/open/", "anyone"),
        ({"rules": ["/raw/a #staff", "/raw/b #admin", "/ *"]}, "/raw/b", "alice"),
        ({"rules": ["/other/ #admin", "/ *"]}, "/raw/x", "alice bob carol"),
        ({"rules": [r"^/raw/x alice"]}, "/raw/x", "alice"),
        ({"rules": ["POST /raw/x alice"]}, "/raw/x", None),
        ({"secrets": ["secret"]}, "/raw/a", "alice bob carol"),
        ({"secrets": ["/raw/secret"]}, "/raw/a", "alice bob carol"),
        ({"secrets": ["/secret"]}, "/raw/a", None),
    ],
)
def test_below_a_raw_mount(given, path, admitted):
    """What is below a raw mount is not known here: every rule that may be meant has to admit."""
    found = canonical(path.encode(), RawPrefixes([[b"raw"]]))
    assert found.raw is not None
    who = Policy(**given).decide(b"GET", found)
    if admitted in (None, "anyone"):
        assert who is None if admitted is None else who.anyone
    else:
        assert [user.name for user in (ALICE, BOB, CAROL) if who.admits(user)] == admitted.split()


@pytest.mark.parametrize(
    ("method", "path", "why"),
    [
        (b"GET", "/admin/x", "the rule '/admin/ alice'"),
        (b"GET", "/other", "nobody is asked"),
    ],
)
def test_reasons(method, path, why):
    """What a rule makes of a request can be said in words."""
    assert Policy(RULES).reason(method, canonical(path.encode())) == why
    assert Policy().reason(method, canonical(path.encode())) == "known users"
