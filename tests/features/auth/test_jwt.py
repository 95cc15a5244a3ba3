"""
Tokens, and the ways to forge one.
"""

import json
import os
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from mixweb.features.auth._jwt import Expected, TokenError, check_claims, claims_of, sign, unverified, verified
from mixweb.features.auth._keys import (
    ALGORITHMS,
    KeyProblem,
    VerifyingKey,
    check_key,
    pem_key,
    public_keys,
    secret_key,
)

NOW = 1_800_000_000
SECRET = secret_key("0123456789abcdef" * 4, "clear")
RSA = RSAKey.generate_key(2048)
OTHER_RSA = RSAKey.generate_key(2048)
P256 = ECKey.generate_key("P-256")
ED = OKPKey.generate_key("Ed25519")
CLAIMS = {"sub": "alice", "exp": NOW + 900, "iat": NOW, "iss": "us", "aud": "site"}
EXPECTED = Expected("us", "site", 60)

HS_KEYS = [VerifyingKey(SECRET, frozenset(["HS256"]))]
RS_KEYS = [VerifyingKey(RSA, frozenset(["RS256"]), "one"), VerifyingKey(OTHER_RSA, frozenset(["RS256"]), "two")]


def encode(data):
    return urlsafe_b64encode(data if isinstance(data, bytes) else json.dumps(data).encode()).decode().rstrip("=")


def forged(header, claims=CLAIMS, key=SECRET, algorithm="HS256"):
    """A token with any header, that a key signed nonetheless."""
    from joserfc.jws import JWSRegistry

    signed = f"{encode(header)}.{encode(claims)}"
    return f"{signed}.{encode(JWSRegistry.algorithms[algorithm].sign(signed.encode(), key))}"


GOOD = sign(CLAIMS, SECRET, "HS256", None)
RSA_GOOD = sign(CLAIMS, RSA, "RS256", "one")


@pytest.mark.parametrize(
    ("algorithm", "key"),
    [
        ("HS256", SECRET),
        ("HS384", SECRET),
        ("HS512", SECRET),
        ("RS256", RSA),
        ("RS512", RSA),
        ("PS256", RSA),
        ("ES256", P256),
        ("ES384", ECKey.generate_key("P-384")),
        ("ES512", ECKey.generate_key("P-521")),
        ("EdDSA", ED),
        ("Ed25519", ED),
    ],
)
def test_algorithms(algorithm, key):
    """What is signed by a key is believed by who has it, and by nobody who has another key or pins another algorithm."""
    token = sign(CLAIMS, key, algorithm, "kid")
    assert claims_of(token, [VerifyingKey(key, frozenset([algorithm]), "kid")], EXPECTED, NOW) == CLAIMS
    for keys in (
        [],
        [VerifyingKey(key, frozenset([algorithm]), "other")],
        [VerifyingKey(key, frozenset(["HS256", "RS256"]) - {algorithm}, "kid")],
        [VerifyingKey(OctKey.import_key("x" * 64), frozenset([algorithm]), "kid")] if algorithm[:2] == "HS" else [],
    ):
        with pytest.raises(TokenError):
            claims_of(token, keys, EXPECTED, NOW)


def flipped(token, part):
    pieces = token.split(".")
    pieces[part] = ("B" if pieces[part][0] != "B" else "C") + pieces[part][1:]
    return ".".join(pieces)


HEAD, BODY, SEAL = GOOD.split(".")
RHEAD, RBODY, RSEAL = RSA_GOOD.split(".")
NONE = encode({"alg": "none", "typ": "JWT"})
EVIL = encode({**CLAIMS, "sub": "admin"})


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "a.b.c",
        GOOD + ".",
        GOOD + "." + SEAL,
        f"{HEAD}.{BODY}",
        f"{HEAD}.{BODY}.",
        f"{HEAD}..{SEAL}",
        f"{HEAD}.{EVIL}.{SEAL}",
        flipped(GOOD, 0),
        flipped(GOOD, 1),
        flipped(GOOD, 2),
        GOOD + "=",
        GOOD + "\n",
        " " + GOOD,
        GOOD.replace(".", ". "),
        f"{NONE}.{EVIL}.",
        f"{NONE}.{EVIL}.{SEAL}",
        *[f"{encode({'alg': name})}.{EVIL}.{encode(b'')}" for name in ("None", "NONE", "nOnE", "", "HS256 ", "hs256")],
        *[f"{encode({'alg': name})}.{EVIL}.x" for name in (None, 1, ["HS256"], {"HS256": 1}, True)],
        f"{encode({})}.{BODY}.{SEAL}",
        f"{encode(b'[]')}.{BODY}.{SEAL}",
        f"{encode(b'null')}.{BODY}.{SEAL}",
        f"{encode(b'{')}.{BODY}.{SEAL}",
        f"{encode(bytes([0xFF, 0xFE]))}.{BODY}.{SEAL}",
        forged({"alg": "HS256", "crit": ["exp"]}),
        forged({"alg": "HS256", "crit": []}),
        forged({"alg": "HS256", "b64": False}),
        forged({"alg": "HS256", "b64": True}),
        forged({"alg": "HS256", "zip": "DEF"}),
        forged({"alg": "HS256", "typ": "JWE"}),
        forged({"alg": "HS256", "typ": 1}),
        forged({"alg": "HS256", "kid": 1}),
        forged({"alg": "HS256", "kid": ["x"]}),
        forged(b'{"alg":"HS256","alg":"none"}'),
        forged(b'{"alg":"none","alg":"HS256"}'),
        forged({"alg": "HS256"}, b'{"sub":"alice","sub":"admin","exp":1800000900,"iss":"us","aud":"site"}'),
        forged({"alg": "HS256"}, b'{"sub":"alice","exp":NaN}'),
        forged({"alg": "HS256"}, b"[" * 3000),
        forged({"alg": "HS256"}, b"1" * 5000),
        forged({"alg": "HS256"}, key=OctKey.import_key("another secret of at least 32 bytes")),
        forged({"alg": "HS384"}, key=SECRET, algorithm="HS384"),
        forged({"alg": "HS256"}, {**CLAIMS, "more": "x" * 1_000_000}),
        "x" * 1_000_000,
        "." * 1_000_000,
        "a.b.c" * 200_000,
    ],
    ids=lambda token: token[:40],
)
def test_forgeries(token):
    """Nothing but a token that the key signed, written in the one way it can be, is believed."""
    with pytest.raises(TokenError):
        claims_of(token, HS_KEYS, EXPECTED, NOW)


@pytest.mark.parametrize(
    "token",
    [
        # The public key, in any of its forms, is no secret.
        *[
            forged({"alg": "HS256", "kid": "one"}, key=OctKey(form, form))
            for form in (
                RSA.as_pem(private=False),
                RSA.as_pem(private=False).strip(),
                RSA.public_key.public_bytes(
                    serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
                ),
                json.dumps(RSA.as_dict(private=False)).encode(),
            )
        ],
        # What a header says of keys is not looked at.
        forged(
            {"alg": "RS256", "jwk": OTHER_RSA.as_dict(private=False)}, key=RSAKey.generate_key(2048), algorithm="RS256"
        ),
        forged(
            {"alg": "RS256", "kid": "one", "jku": "http://127.0.0.1/k"},
            key=RSAKey.generate_key(2048),
            algorithm="RS256",
        ),
        forged({"alg": "RS256", "x5u": "http://127.0.0.1/k"}, key=RSAKey.generate_key(2048), algorithm="RS256"),
        forged({"alg": "RS256", "x5c": ["MIIB"]}, key=RSAKey.generate_key(2048), algorithm="RS256"),
        # The name of a key is a name, not a path, a query or a command.
        *[
            forged({"alg": "RS256", "kid": kid}, key=RSA, algorithm="RS256")
            for kid in ("../../dev/null", "/dev/null", "' or 1=1 --", "one\0", "two", "", "x" * 4000, "$(id)")
        ],
        f"{RHEAD}.{EVIL}.{RSEAL}",
        f"{RHEAD}.{RBODY}.{encode(bytes(256))}",
        f"{RHEAD}.{RBODY}.{encode(b'x')}",
    ],
    ids=lambda token: token[:40],
)
def test_forgeries_of_signatures(token):
    """The algorithm belongs to the key: a public key is never taken for a secret, nor a key from a token."""
    with pytest.raises(TokenError):
        claims_of(token, RS_KEYS, EXPECTED, NOW)
    assert claims_of(RSA_GOOD, RS_KEYS, EXPECTED, NOW) == CLAIMS


def test_keys_of_a_rotation():
    """Each of several keys is believed, by its name or without one."""
    for kid, key in (("one", RSA), ("two", OTHER_RSA), (None, OTHER_RSA)):
        assert claims_of(sign(CLAIMS, key, "RS256", kid), RS_KEYS, EXPECTED, NOW) == CLAIMS


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({}, None),
        ({"exp": NOW - 59}, None),
        ({"exp": NOW - 60}, "expired"),
        ({"exp": None}, "no time"),
        ({"exp": "1900000000"}, "no time"),
        ({"exp": True}, "no time"),
        ({"exp": [NOW + 900]}, "no time"),
        ({"exp": 1e300}, "no time"),
        ({"exp": -1e300}, "no time"),
        ({"exp": NOW + 0.5}, None),
        ({"nbf": NOW + 60}, None),
        ({"nbf": NOW + 61}, "not valid yet"),
        ({"nbf": "0"}, "no time"),
        ({"nbf": {}}, "no time"),
        ({"iat": NOW + 61}, "not valid yet"),
        ({"iat": "x"}, "no time"),
        ({"iss": "them"}, "issuer"),
        ({"iss": ["us"]}, "issuer"),
        ({"iss": None}, "issuer"),
        ({"aud": "other"}, "audience"),
        ({"aud": ["other", "site"]}, None),
        ({"aud": []}, "audience"),
        ({"aud": ["other"]}, "audience"),
        ({"aud": {"site": 1}}, "malformed"),
        ({"aud": ["site", 1]}, "malformed"),
        ({"aud": None}, "malformed"),
        ({"aud": "sit"}, "audience"),
    ],
)
def test_claims(changes, problem):
    """The times, issuer and audience of a token are what they should be, and of the right kind."""
    claims = {**CLAIMS, **changes}
    if problem is None:
        check_claims(claims, EXPECTED, NOW)
    else:
        with pytest.raises(TokenError, match=problem):
            check_claims(claims, EXPECTED, NOW)


@pytest.mark.parametrize(
    ("claims", "expected", "good"),
    [
        ({"exp": NOW + 1}, Expected(), True),
        ({"exp": NOW + 1, "aud": "site"}, Expected(), False),
        ({"exp": NOW + 1}, Expected(audience="site"), False),
        ({"exp": NOW + 1}, Expected(issuer="us"), False),
        ({"exp": NOW + 1, "iss": "anybody"}, Expected(), True),
        ({}, Expected(), False),
        ({"exp": NOW - 1}, Expected(leeway=0), False),
        ({"exp": NOW, "nbf": NOW}, Expected(leeway=0), False),
        ({"exp": NOW + 1, "nbf": NOW}, Expected(leeway=0), True),
    ],
)
def test_what_is_expected(claims, expected, good):
    """A token without an end is none; one for an audience is for nobody else; what is expected has to be there."""
    try:
        check_claims(claims, expected, NOW)
    except TokenError:
        assert not good
    else:
        assert good


def test_looking_at_a_token():
    """What a token says of itself can be had before it is believed; of what is none there is nothing to be had."""
    found = unverified(RSA_GOOD)
    assert (found.kid, found.issuer) == ("one", "us")
    for token in ("", "a.b.c", f"{NONE}.{BODY}.{SEAL}", "x" * 1_000_000):
        with pytest.raises(TokenError):
            unverified(token)


@pytest.mark.parametrize(
    ("secret", "encoding", "key"),
    [
        ("secret", "clear", b"secret"),
        ("schön", "clear", "schön".encode()),
        ("c2VjcmV0Pz8_", "base64url", b"secret???"),
        ("c2VjcmV0Pz8/", "base64std", b"secret???"),
        ("c2VjcmV0MQ==", "base64std", b"secret1"),
        ("c2VjcmV0MQ", "base64std", b"secret1"),
        ("c2VjcmV0MQ", "base64url", b"secret1"),
        ("c2VjcmV0Pz8_", "base64std", None),
        ("c2VjcmV0Pz8/", "base64url", None),
        ("not base64", "base64std", None),
        ("c2Vj cmV0", "base64url", None),
        ("x", "base64std", None),
        ("-----BEGIN PUBLIC KEY-----", "clear", None),
    ],
)
def test_secrets(secret, encoding, key):
    """A secret is its characters, or what its Base64 stands for, in either alphabet."""
    if key is None:
        with pytest.raises(KeyProblem):
            secret_key(secret, encoding)
    else:
        assert secret_key(secret, encoding).raw_value == key


WEAK = rsa.generate_private_key(65537, 1024)
WEAK_RSA = RSAKey(WEAK, WEAK)


@pytest.mark.parametrize(
    ("key", "algorithm", "problem"),
    [
        (secret_key("x" * 31, "clear"), "HS256", "32 bytes"),
        (secret_key("x" * 32, "clear"), "HS384", "48 bytes"),
        (secret_key("x" * 48, "clear"), "HS512", "64 bytes"),
        (secret_key("x" * 64, "clear"), "RS256", "not for"),
        (RSA, "HS256", "not for"),
        (RSA, "ES256", "not for"),
        (P256, "ES384", "not for"),
        (P256, "RS256", "not for"),
        (ED, "ES256", "not for"),
        (WEAK_RSA, "RS256", "2048 bits"),
        (WEAK_RSA, "PS512", "2048 bits"),
    ],
)
def test_keys_that_do_not_suit(key, algorithm, problem):
    """A key that is too weak, or of another kind than the algorithm's, is refused."""
    with pytest.raises(KeyProblem, match=problem):
        check_key(key, algorithm)


def pem(key, password=None):
    protection = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection)


def test_pem_files():
    """Private and public keys of all kinds are read; what is none, or encrypted, says so."""
    keys = [
        rsa.generate_private_key(65537, 2048),
        ec.generate_private_key(ec.SECP256R1()),
        ed25519.Ed25519PrivateKey.generate(),
    ]
    for key, kind in zip(keys, (RSAKey, ECKey, OKPKey), strict=True):
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        assert isinstance(pem_key(pem(key)), kind)
        assert pem_key(pem(key)).is_private
        assert isinstance(pem_key(public), kind)
        assert not pem_key(public).is_private
        with pytest.raises(KeyProblem, match="encrypted"):
            pem_key(pem(key, b"password"))
    for data in (b"", b"x", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"):
        with pytest.raises(KeyProblem):
            pem_key(data)


def jwk(key, **more):
    return {**key.as_dict(private=False), **more}


@pytest.mark.parametrize(
    ("keys", "usable"),
    [
        ([jwk(RSA)], [{"RS256", "PS256"}]),
        ([jwk(RSA, alg="RS256")], [{"RS256"}]),
        ([jwk(RSA, alg="RS512")], []),
        ([jwk(RSA, alg="none")], []),
        ([jwk(RSA, use="enc")], []),
        ([jwk(RSA, key_ops=["encrypt"])], []),
        ([jwk(WEAK_RSA), jwk(P256)], [{"ES256"}]),
        (
            [jwk(ED), {"kty": "unheard of"}, {"kty": "RSA"}, {"kty": "EC", "crv": "P-256", "x": 1, "y": 2}],
            [{"EdDSA", "Ed25519"}],
        ),
        ([{"kty": "oct", "k": encode(b"x" * 64)}], []),
        ([jwk(RSA, kid="a"), jwk(P256, kid="a")], [{"RS256", "PS256"}, {"ES256"}]),
        ([jwk(RSA, kid=str(number)) for number in range(200)], [{"RS256", "PS256"}] * 100),
        ([], []),
    ],
)
def test_key_sets(keys, usable):
    """Of a set the keys count that can check signatures by an algorithm that is allowed; never so many that it takes long."""
    found = public_keys({"keys": keys}, ["RS256", "PS256", "ES256", "EdDSA", "Ed25519"])
    assert [set(key.algorithms) for key in found] == usable


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"keys": {}},
        {"keys": [1]},
        {"keys": [jwk(RSA, kid="a"), jwk(OTHER_RSA, kid="a")]},
        {"keys": [jwk(RSA), {"kty": "oct", "k": encode(b"x" * 64)}]},
    ],
)
def test_sets_that_are_none(document):
    """A set that leaves open which key is meant, or mixes secrets with public keys, is refused."""
    with pytest.raises(KeyProblem):
        public_keys(document, ALGORITHMS)


VECTORS = Path(os.environ.get("MIXWEB_WYCHEPROOF", "/nonexistent"))

#: Vectors that are called invalid though the same text is a valid one of the same key.
_SAME_AS_VALID = {("json_web_signature_test", 367), ("json_web_signature_test", 370)}


@pytest.mark.skipif(not VECTORS.is_dir(), reason="MIXWEB_WYCHEPROOF names no folder with Wycheproof's test vectors")
@pytest.mark.parametrize("name", ["json_web_signature_test", "json_web_key_test", "json_web_crypto_test"])
def test_wycheproof(name):
    """No invalid token of Wycheproof's vectors is believed; every valid one that has a payload and a key for it is."""
    path = next(VECTORS.glob(f"**/{name}.json"))
    believed, refused = [], []
    for group in json.loads(path.read_text())["testGroups"]:
        given = group.get("public") or group.get("private")
        for test in group["tests"]:
            if "jws" not in test:
                continue
            try:
                keys = public_keys(given if "keys" in given else {"keys": [given]}, ALGORITHMS)
                token = test["jws"] if isinstance(test["jws"], str) else json.dumps(test["jws"])
                verified(token, keys)
            except (TokenError, KeyProblem):
                refused += [test] if test["result"] == "valid" else []
            else:
                believed += [test["tcId"]] if test["result"] != "valid" else []
    assert {(name, number) for number in believed} <= _SAME_AS_VALID
    # An empty payload is no token; a key says which algorithm it is for; what is no base64url is none.
    assert {test["comment"].rstrip("0123456789") for test in refused} <= {
        "emptyPayload", "Figure", "InvalidCharacterInsertedInHeader", "InvalidCharacterInsertedInPayload"
    }  # fmt: skip
