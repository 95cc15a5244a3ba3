"""
Tokens that are made here, and those of others.
"""

import json
from base64 import b64encode, urlsafe_b64encode

import pytest
from joserfc.jwk import ECKey, OKPKey, RSAKey
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from mixweb.features.auth import Auth
from mixweb.features.auth._issuer import FRESH, PAUSE, STALE, IssuerKeys, IssuerUnavailable
from mixweb.features.auth._jwt import TokenError, sign
from mixweb.features.auth._keys import secret_key
from mixweb.features.auth._refresh import Holder, RefreshTokens, Reused
from mixweb.features.auth._tokens import Names, bearing_of
from mixweb.stores import open_store
from tests.features.auth.conftest import ALICE, bearer
from tests.features.auth.test_lockout import result

SECRET = "0123456789abcdef" * 4
RSA, OTHER = RSAKey.generate_key(2048), RSAKey.generate_key(2048)


@pytest.fixture
def tokens(settings):
    """Settings with tokens."""
    return lambda **changes: settings(**{"token_algorithm": "HS256", "secret": SECRET, **changes})


def login(client, **more):
    """The tokens that a login gives."""
    answer = client.post("/login", username="alice", password=ALICE, **more)
    assert answer.status == 200, answer.text
    return json.loads(answer.text)


def test_a_program_is_given_tokens(guarded, tokens):
    """A program that logs in gets an access token for a while and a refresh token, and no session."""
    client = guarded(tokens()).client()
    given = login(client)
    assert (given["token_type"], given["expires_in"], given["roles"]) == ("Bearer", 900, ["admin", "staff"])
    assert client.cookies == {}
    assert client.who("/", bearer(given["access_token"])) == ["alice", ["admin", "staff"], "bearer"]
    client.clock.advance(900 + 60)
    answer = client.get("/", bearer(given["access_token"]))
    assert answer.status == 401
    assert 'error="invalid_token", error_description="the token has expired"' in answer["WWW-Authenticate"]
    assert answer["WWW-Authenticate"].count("Bearer") == 1


def test_a_person_is_given_a_session(guarded, tokens):
    """A person who logs in by the form gets a session, and no token."""
    client = guarded(tokens()).client()
    assert "token" not in client.submit("/login", username="alice", password=ALICE).text
    assert client.who() == ["alice", ["admin", "staff"], "session"]


def test_tokens_are_not_sessions(guarded, tokens):
    """What is no token of ours is 401, and is logged; a token where nobody asks is not looked at."""
    client = guarded(tokens(rules=["/admin/ #admin"])).client()
    for token in ("x", "a.b.c", "x" * 11_000, login(client)["refresh_token"]):
        assert client.get("/admin/", bearer(token)).status == 401
    assert client.who("/", bearer("x")) is None


def test_tokens_of_changed_users(guarded, tokens, users):
    """A token ends with its user, and with the password; its roles are those of the moment."""
    site = guarded(tokens())
    client = site.client()
    given = login(client)
    users.write_text(f"alice:{ALICE}:editor\n")
    site.clock.advance(1)
    assert client.who("/", bearer(given["access_token"]))[1] == ["editor"]
    assert json.loads(client.post("/authtoken", refresh_token=given["refresh_token"]).text)["roles"] == ["editor"]
    users.write_text("alice:Another-password5:editor\n")
    site.clock.advance(1)
    assert client.get("/", bearer(given["access_token"])).status == 401
    users.write_text("")
    site.clock.advance(1)
    assert client.get("/", bearer(given["access_token"])).status == 401


def test_changing_the_password_ends_all_tokens(guarded, tokens):
    """A changed password ends access and refresh tokens, and gives new ones."""
    client = guarded(tokens()).client()
    old = login(client)
    answer = client.post("/changepwd", username="alice", password=ALICE, new_password="Down-rabbit3")
    new = json.loads(answer.text)
    assert client.get("/", bearer(old["access_token"])).status == 401
    assert client.post("/authtoken", refresh_token=old["refresh_token"]).status == 401
    assert client.who("/", bearer(new["access_token"]))[0] == "alice"
    assert client.post("/authtoken", refresh_token=new["refresh_token"]).status == 200


def test_refreshing(guarded, tokens):
    """A refresh token is good once, for new tokens, as long as it is not too old."""
    client = guarded(tokens()).client()
    given = login(client)
    for _ in range(3):
        client.clock.advance(80_000)
        answer = client.post("/authtoken", refresh_token=given["refresh_token"])
        assert answer.status == 200
        given = json.loads(answer.text)
        assert client.who("/", bearer(given["access_token"]))[0] == "alice"
    client.clock.advance(86_401)
    assert client.post("/authtoken", refresh_token=given["refresh_token"]).status == 401


def test_a_stolen_refresh_token(guarded, tokens, events):
    """When a refresh token is used twice, all of its login end, for the thief and for the user; other logins go on."""
    client = guarded(tokens()).client("192.0.2.7")
    first, other = login(client)["refresh_token"], login(client)["refresh_token"]
    second = json.loads(client.post("/authtoken", refresh_token=first).text)["refresh_token"]
    assert client.post("/authtoken", refresh_token=first).status == 401
    assert client.post("/authtoken", refresh_token=second).status == 401
    assert client.post("/authtoken", refresh_token=other).status == 200
    assert "login failed from 192.0.2.7: refresh, a token that was used before, user 'alice'" in events


@pytest.mark.parametrize(
    "sent", [{}, {"refresh_token": ""}, {"refresh_token": "x"}, {"refresh_token": "a" * 22 + "." + "b" * 43}]
)
def test_what_is_no_refresh_token(sent, guarded, tokens):
    """No refresh token, no new tokens; nor one in the address, nor by the form of another site."""
    client = guarded(tokens()).client()
    answer = client.post("/authtoken", **sent)
    assert (answer.status, answer["WWW-Authenticate"]) == (401, 'Bearer realm="mixweb", error="invalid_token"')
    given = login(client)["refresh_token"]
    assert client.request("POST", f"/authtoken?refresh_token={given}").status == 401
    assert client.post("/authtoken", {"Origin": "http://evil.example"}, refresh_token=given).status == 403
    assert client.post("/authtoken", refresh_token=given).status == 200


def test_logging_out_ends_the_refresh_token(guarded, tokens):
    """Who logs out with the refresh token can use it no more."""
    client = guarded(tokens()).client()
    given = login(client)["refresh_token"]
    assert client.post("/logout", refresh_token=given).status == 200
    assert client.post("/authtoken", refresh_token=given).status == 401


def test_refresh_tokens_are_stored_hashed():
    """Who reads the store has no token: neither names nor values give one."""
    clock = Clock()
    store = open_store("memory:", clock)
    store.open()
    tokens = RefreshTokens(store, 60)
    token = result(tokens.begin(Holder("users", "alice", "stamp")))
    (key,) = store.scan(b"", 10).result
    kept = key + store.get(key).result.value
    family, secret = token.split(".")
    assert family.encode() not in kept
    assert secret.encode() not in kept


def test_refreshing_at_the_same_time(monkeypatch):
    """Of two who use one token at the same time at most one gets new ones."""
    clock = Clock()
    store = open_store("memory:", clock)
    store.open()
    tokens = RefreshTokens(store, 60)
    token = result(tokens.begin(Holder("users", "alice", "stamp")))
    held, get = [], store.get

    def late(key):
        held.append(Deferred())
        return held[-1].addCallback(lambda entry: entry) if len(held) <= 2 else get(key)

    entry = get(store.scan(b"", 10).result[0]).result
    monkeypatch.setattr(store, "get", late)
    running = [Deferred.fromCoroutine(tokens.use(token)) for _ in range(2)]
    for waiting in held[:2]:
        waiting.callback(entry)
    assert running[0].result[0].name == "alice"
    assert running[1].result.check(Reused)
    running[1].addErrback(lambda _: None)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"secret": SECRET}, SECRET.encode()),
        ({"secret": b64encode(b"\xfb\xff" * 20).decode(), "secret_encoding": "base64std"}, b"\xfb\xff" * 20),
        ({"secret": urlsafe_b64encode(b"\xfb\xff" * 20).decode(), "secret_encoding": "base64url"}, b"\xfb\xff" * 20),
    ],
)
def test_tokens_of_who_has_the_secret(changes, key, guarded, settings):
    """Without users of its own a site believes what a token says that is signed with its secret, for its audience."""
    from joserfc.jwk import OctKey

    site = guarded(settings(users="", token_algorithm="HS256", audience="ABC", name_claim="email", **changes))
    client = site.client()
    claims = {"sub": "1", "email": "carol@example.org", "roles": ["a"], "aud": "ABC", "exp": site.clock.seconds() + 60}

    def token(**more):
        return sign({**claims, **more}, OctKey(key, key), "HS256", None)

    assert client.who("/", bearer(token())) == ["carol@example.org", ["a"], "bearer"]
    for wrong in ({"aud": "DEF"}, {"exp": 0}, {"email": None}, {"email": ["x"]}, {"roles": {"a": 1}}, {"roles": [1]}):
        assert client.get("/", bearer(token(**wrong))).status == 401
    assert client.get("/login").status == 401


def pem(tmp_path, name, key):
    path = tmp_path / name
    path.write_bytes(key.as_pem(private=True))
    return str(path)


@pytest.mark.parametrize(
    ("algorithm", "key"),
    [("RS256", RSA), ("ES256", ECKey.generate_key("P-256")), ("EdDSA", OKPKey.generate_key("Ed25519"))],
)
def test_key_pairs(algorithm, key, guarded, settings, tmp_path):
    """With a key pair the public key is shown to everybody, and nothing of the private one."""
    site = guarded(
        settings(token_algorithm=algorithm, token_keys=[pem(tmp_path, "key.pem", key)], token_issuer="https://us")
    )
    client = site.client()
    given = login(client)
    assert client.who("/", bearer(given["access_token"]))[0] == "alice"
    answer = client.get("/.well-known/jwks.json")
    assert (answer.status, answer["Cache-Control"]) == (200, "public, max-age=300")
    (shown,) = json.loads(answer.text)["keys"]
    assert (shown["alg"], shown["use"], shown["kid"]) == (algorithm, "sig", key.thumbprint())
    assert not {"d", "p", "q", "dp", "dq", "qi", "k"} & shown.keys()
    if algorithm == "ES256":
        assert {"x", "y", "crv"} <= shown.keys()
        assert not {"n", "e"} & shown.keys()


def test_changing_the_key(guarded, settings, tmp_path):
    """The first key signs; tokens of the others are believed until they are over."""
    old, new = pem(tmp_path, "old.pem", RSA), pem(tmp_path, "new.pem", OTHER)
    before = guarded(settings(token_algorithm="RS256", token_keys=[old])).client()
    token = login(before)["access_token"]
    after = guarded(settings(token_algorithm="RS256", token_keys=[new, old])).client()
    assert after.who("/", bearer(token))[0] == "alice"
    assert [key["kid"] for key in json.loads(after.get("/.well-known/jwks.json").text)["keys"]] == [
        OTHER.thumbprint(), RSA.thumbprint()
    ]  # fmt: skip
    assert guarded(settings(token_algorithm="RS256", token_keys=[new])).client().get("/", bearer(token)).status == 401


def test_a_public_key_only_checks(guarded, tmp_path):
    """With a public key tokens are checked, and none are made."""
    path = tmp_path / "public.pem"
    path.write_bytes(RSA.as_pem(private=False))
    site = guarded(Auth(token_algorithm="RS256", token_keys=[path]))
    token = sign({"sub": "carol", "exp": site.clock.seconds() + 60}, RSA, "RS256", None)
    assert site.client().who("/", bearer(token)) == ["carol", [], "bearer"]
    assert site.client().get("/authtoken").status == 401


def test_a_secret_of_the_start(guarded, settings):
    """Without a secret tokens are good until the next start, which says so."""
    one, two = (guarded(settings(token_algorithm="HS256")) for _ in range(2))
    assert any("a secret of this process" in warning for warning in one.warnings)
    token = login(one.client())["access_token"]
    assert one.client().get("/", bearer(token)).status == 200
    assert two.client().get("/", bearer(token)).status == 401


def test_the_secret_is_not_shown(tokens):
    """Settings that are shown have no secret in them."""
    from mixweb.kit.shown import masked

    assert SECRET not in str(masked(tokens(), {"secret": SECRET}))


# Others' tokens


ISSUER = {"jwks_issuer": "https://them", "jwks_audience": "site"}


def jwks(*keys):
    return json.dumps({"keys": [{**key.as_dict(private=False), "kid": key.thumbprint()} for key in keys]})


def theirs(site, key=RSA, **more):
    claims = {
        "sub": "carol",
        "roles": ["guest"],
        "iss": "https://them",
        "aud": "site",
        "exp": site.clock.seconds() + 60,
    }
    return sign({**claims, **more}, key, "RS256", key.thumbprint())


def test_tokens_of_an_issuer(guarded, settings, tmp_path):
    """Tokens of an outside issuer are believed by its keys in a file; new keys are found when they are there."""
    path = tmp_path / "keys.json"
    path.write_text(jwks(RSA))
    site = guarded(settings(jwks=str(path), **ISSUER))
    client = site.client()
    assert client.who("/", bearer(theirs(site))) == ["carol", ["guest"], "bearer"]
    for wrong in (
        {"iss": "https://us"},
        {"iss": None},
        {"aud": "other"},
        {"exp": 0},
        {"sub": ""},
        {"roles": ["x"] * 1500},
    ):
        assert client.get("/", bearer(theirs(site, **wrong))).status in (400, 401)
    assert client.get("/", bearer(theirs(site, OTHER))).status == 401
    path.write_text(jwks(RSA, OTHER))
    site.clock.advance(1)
    assert client.who("/", bearer(theirs(site, OTHER)))[0] == "carol"
    assert client.get("/", {"Authorization": "Bearer x"}).status == 401


def test_own_tokens_and_others(guarded, tokens, tmp_path):
    """Who a token says that it is from decides by whose keys it is checked; nobody makes tokens for the other."""
    path = tmp_path / "keys.json"
    path.write_text(jwks(RSA))
    site = guarded(tokens(jwks=str(path), token_issuer="https://us", **ISSUER))
    client = site.client()
    assert client.who("/", bearer(login(client)["access_token"]))[0] == "alice"
    assert client.who("/", bearer(theirs(site)))[0] == "carol"
    assert client.get("/", bearer(theirs(site, iss="https://us"))).status == 401
    forged = sign(
        {"sub": "alice", "iss": "https://them", "aud": "site", "exp": site.clock.seconds() + 60},
        secret_key(SECRET, "clear"), "HS256", None,
    )  # fmt: skip
    assert client.get("/", bearer(forged)).status == 401


def test_keys_that_cannot_be_had(guarded, settings, tmp_path):
    """When there are no keys nobody gets in: 503, and when to come back."""
    path = tmp_path / "keys.json"
    path.write_text("{")
    site = guarded(settings(jwks=str(path), **ISSUER))
    answer = site.client().get("/", bearer(theirs(site)))
    assert (answer.status, answer["Retry-After"]) == (503, "5")


class Issuer:
    """Answers with keys, or not; counts how often it is asked."""

    def __init__(self):
        self.keys = [RSA]
        self.asked = 0
        self.down = False
        self.waiting = None

    def read(self):
        self.asked += 1
        if self.waiting is not None:
            return self.waiting
        return fail(OSError("down")) if self.down else succeed(jwks(*self.keys).encode())


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def issuer():
    return Issuer()


@pytest.fixture
def keys(issuer, clock):
    return IssuerKeys(issuer.read, ["RS256"], clock.seconds)


def kids(keys, kid=None):
    return [key.kid for key in result(keys.get(kid))]


def test_keys_are_remembered(keys, issuer, clock):
    """The issuer is asked once an hour; for a key that is not known at once, but not all the time."""
    for _ in range(5):
        assert kids(keys, RSA.thumbprint()) == [RSA.thumbprint()]
    assert issuer.asked == 1
    issuer.keys = [RSA, OTHER]
    assert kids(keys, OTHER.thumbprint()) == [RSA.thumbprint()]
    clock.advance(PAUSE)
    assert len(kids(keys, OTHER.thumbprint())) == 2
    for number in range(100):
        kids(keys, f"invented{number}")
    assert issuer.asked == 2
    clock.advance(FRESH)
    kids(keys)
    assert issuer.asked == 3


def test_an_issuer_that_is_down(keys, issuer, clock, events):
    """Old keys are good for a day when the issuer is down; after that nobody gets in until it is back."""
    kids(keys)
    issuer.down = True
    clock.advance(FRESH)
    assert kids(keys) == [RSA.thumbprint()]
    assert "cannot be had: down" in events[-1]
    clock.advance(STALE)
    with pytest.raises(IssuerUnavailable):
        kids(keys)
    issuer.down = False
    clock.advance(PAUSE)
    assert kids(keys) == [RSA.thumbprint()]


def test_all_wait_for_one_answer(keys, issuer):
    """Many who need the keys at the same time wait for one answer; who leaves does not take it from the others."""
    issuer.waiting = Deferred()
    running = [Deferred.fromCoroutine(keys.get(None)) for _ in range(10)]
    running[0].addErrback(lambda _: "left").cancel()
    issuer.waiting.callback(jwks(RSA).encode())
    assert issuer.asked == 1
    assert [len(one.result) for one in running[2:]] == [1] * 8


@pytest.mark.parametrize(
    ("claims", "names", "found"),
    [
        ({"sub": "a"}, Names(), ("a", set())),
        ({"sub": "a", "roles": "x y"}, Names(), ("a", {"x", "y"})),
        ({"sub": "a", "scope": "x y"}, Names(roles="scope"), ("a", {"x", "y"})),
        ({"sub": "a", "realm_access": {"roles": ["x"]}}, Names(roles="realm_access.roles"), ("a", {"x"})),
        ({"sub": "a", "https://x.example/roles": ["x"]}, Names(roles="https://x.example/roles"), ("a", {"x"})),
        ({"sub": "a", "realm_access": 1}, Names(roles="realm_access.roles"), ("a", set())),
        ({}, Names(), None),
        ({"sub": 1}, Names(), None),
        ({"sub": "a\nb"}, Names(), None),
        ({"sub": "x" * 300}, Names(), None),
        ({"sub": "a", "roles": [["x"]]}, Names(), None),
        ({"sub": "a", "roles": [str(number) for number in range(10_000)]}, Names(), None),
    ],
)
def test_whom_claims_are_about(claims, names, found):
    """Name and roles are where the settings say; what is none of them is refused."""
    if found is None:
        with pytest.raises(TokenError):
            bearing_of(claims, names)
    else:
        bearing = bearing_of(claims, names)
        assert (bearing.name, set(bearing.roles)) == found
