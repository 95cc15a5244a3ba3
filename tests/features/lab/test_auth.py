"""
Logins.
"""

import json
from base64 import b64encode
from hashlib import md5, sha256, sha512

import pytest

from mixweb.features.lab._auth import digest_parameters

HASHES = {"MD5": md5, "SHA-256": sha256, "SHA-512": sha512}


def basic(text, scheme="Basic"):
    return {"Authorization": f"{scheme} {b64encode(text if isinstance(text, bytes) else text.encode()).decode()}"}


@pytest.mark.parametrize(
    ("path", "headers", "user"),
    [
        ("u/p", basic("u:p"), "u"),
        ("u/p", basic("u:p", "bAsIc"), "u"),
        ("u/p:q", basic("u:p:q"), "u"),
        ("%C3%BC/%2F", basic("ü:/"), "ü"),
        ("%C3%BC/p", basic(b"\xfc:p"), "ü"),
        ("u/p", basic("u:x"), None),
        ("u/p", basic("x:p"), None),
        ("u/p", basic("u"), None),
        ("u/p", {}, None),
        ("u/p", {"Authorization": "Basic"}, None),
        ("u/p", {"Authorization": "Basic ä"}, None),
        ("u/p", {"Authorization": "Basic dTpwx"}, None),
        ("u/p", {"Authorization": "Bearer dTpw"}, None),
    ],
)
def test_basic(path, headers, user, lab, failures):
    """The name and password of the path let in; the hidden one does not say that there is anything."""
    shown, hidden = (lab.ask(f"/lab/{name}/{path}", headers) for name in ("basic-auth", "hidden-basic-auth"))
    if user is None:
        assert (shown.status, shown["WWW-Authenticate"]) == (401, 'Basic realm="lab", charset="UTF-8"')
        assert (hidden.status, hidden["WWW-Authenticate"]) == (404, None)
    else:
        assert shown.status == hidden.status == 200
        assert json.loads(shown.body) == json.loads(hidden.body) == {"authenticated": True, "user": user}
    assert failures == []


@pytest.mark.parametrize(
    ("value", "token"),
    [("Bearer abc", "abc"), ("bearer  a.b.c ", "a.b.c"), ("Bearer", None), ("Basic abc", None), ("", None)],
)
def test_bearer(value, token, lab):
    """Any token lets in, and is shown."""
    answer = lab.ask("/lab/bearer", {"Authorization": value})
    if token is None:
        assert (answer.status, answer["WWW-Authenticate"]) == (401, "Bearer")
    else:
        assert json.loads(answer.body) == {"authenticated": True, "token": token}


def credentials(challenge, target, user, password, algorithm="MD5", qop="auth", nc="00000001", **changes):
    """What a client answers to a challenge, computed by hand (RFC 7616, 3.4)."""

    def hashed(text):
        return HASHES[algorithm](text.encode()).hexdigest()

    first = hashed(f"{user}:{challenge['realm']}:{password}")
    second = hashed(f"GET:{target}" + (f":{hashed('')}" if qop == "auth-int" else ""))
    if qop:
        response = hashed(f"{first}:{challenge['nonce']}:{nc}:c:{qop}:{second}")
    else:
        response = hashed(f"{first}:{challenge['nonce']}:{second}")
    given = {"username": user, "realm": challenge["realm"], "nonce": challenge["nonce"], "uri": target,
             "response": response, **({"qop": qop, "nc": nc, "cnonce": "c"} if qop else {}), **changes}  # fmt: skip
    unquoted = ("qop", "nc")
    return "Digest " + ", ".join(f"{n}={v}" if n in unquoted else f'{n}="{v}"' for n, v in given.items())


@pytest.mark.parametrize(
    ("path", "changes", "status"),
    [
        ("auth/u/p", {}, 200),
        ("auth/u/p?x=1&y", {}, 200),
        ("auth/u/p/MD5", {}, 200),
        ("auth/u/p/SHA-256", {"algorithm": "SHA-256"}, 200),
        ("auth/u/p/SHA-512/never", {"algorithm": "SHA-512"}, 200),
        ("auth/u/p/none", {}, 200),
        ("auth-int/u/p", {"qop": "auth-int"}, 200),
        ("none/u/p", {"qop": ""}, 200),
        ("auth/u/p/MD5/3", {"nc": "00000003"}, 200),
        ("auth/u/p/MD5/x", {}, 400),
        ("auth/u/p", {"password": "x"}, 401),
        ("auth/u/p", {"user": "x"}, 401),
        ("auth/u/p", {"qop": "auth-int"}, 401),
        ("auth/u/p", {"qop": ""}, 401),
        ("none/u/p", {"qop": "auth"}, 401),
        ("auth/u/p", {"uri": "/lab/other"}, 401),
        ("auth/u/p", {"response": ""}, 401),
        ("auth/u/p", {"nonce": "x"}, 401),
        ("auth/u/p", {"cnonce": "x"}, 401),
        ("auth/u/p/SHA-256", {}, 401),
    ],
)
def test_digest(path, changes, status, lab, failures):
    """Whoever knows the password of the path is let in."""
    target = f"/lab/digest-auth/{path}"
    first = lab.ask(target)
    if status != 400:
        assert first.status == 401
        assert "stale" not in first["WWW-Authenticate"]
    challenge = digest_parameters((first["WWW-Authenticate"] or 'Digest realm="lab", nonce="1"').partition(" ")[2])
    given = {"user": "u", "password": "p"} | changes
    answer = lab.ask(target, {"Authorization": credentials(challenge, target, **given)})
    assert answer.status == status
    if status == 200:
        assert json.loads(answer.body) == {"authenticated": True, "user": "u"}
    assert failures == []


@pytest.mark.parametrize(
    ("path", "algorithm", "qop"),
    [
        ("auth/u/p", "MD5", "auth"),
        ("auth-int/u/p/SHA-256", "SHA-256", "auth-int"),
        ("x/u/p/SHA-512", "SHA-512", None),
        ("auth/u/p/SHA3", "MD5", "auth"),
    ],
)
def test_digest_challenges(path, algorithm, qop, lab):
    """A challenge names algorithm and protection, and a nonce that is another one each time."""
    challenges = [
        digest_parameters(lab.ask(f"/lab/digest-auth/{path}")["WWW-Authenticate"].partition(" ")[2]) for _ in range(2)
    ]
    assert [challenge["algorithm"] for challenge in challenges] == [algorithm] * 2
    assert [challenge.get("qop") for challenge in challenges] == [qop] * 2
    assert challenges[0]["nonce"] != challenges[1]["nonce"]


@pytest.mark.parametrize(("nc", "status"), [("00000001", 200), ("00000002", 200), ("00000003", 401), ("0000000a", 401)])
def test_stale(nc, status, lab):
    """A nonce that was used too often is stale, and the client is told that its password was right."""
    target = "/lab/digest-auth/auth/u/p/MD5/2"
    challenge = {"realm": "lab", "nonce": "n"}
    answer = lab.ask(target, {"Authorization": credentials(challenge, target, "u", "p", nc=nc)})
    assert answer.status == status
    assert ("stale=true" in (answer["WWW-Authenticate"] or "")) is (status == 401)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ('a="1", B=2', {"a": "1", "b": "2"}),
        (r'a="x\"y\\z"', {"a": r'x"y\z'}),
        ('a="1,b=2"', {"a": "1,b=2"}),
        ('a = "1" ,b=2', {"a": "1", "b": "2"}),
        ('a="' + "\\" * 5001, {}),
    ],
)
def test_parameters(text, expected):
    """The parameters are read, quoted or not."""
    assert digest_parameters(text) == expected
