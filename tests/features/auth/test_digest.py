"""
HTTP digest, and the credentials of requests.
"""

import hashlib
from base64 import b64encode

import pytest
from twisted.internet.task import Clock

from mixweb.features.auth._credentials import Basic, Bearer, Digest, Malformed, parse, single
from mixweb.features.auth._digest import LIFETIME, Nonces, expected


def encoded(data):
    return b"Basic " + b64encode(data)


DIGEST = (
    b'Digest username="Mufasa", realm="http-auth@example.org", uri="/dir/index.html", algorithm=%b,'
    b' nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", nc=00000001,'
    b' cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", qop=auth, response="%b",'
    b' opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (encoded(b"alice:secret"), Basic("alice", "secret")),
        (encoded(b"alice:se:cret"), Basic("alice", "se:cret")),
        (encoded(b"alice:"), Basic("alice", "")),
        (encoded("Jürgen:schön".encode()), Basic("Jürgen", "schön")),
        (encoded("Jürgen:schön".encode("latin-1")), Basic("Jürgen", "schön")),
        (encoded("Ju\u0308rgen:x".encode()), Basic("Jürgen", "x")),
        (encoded(b"alice:\xff\xfe"), Basic("alice", "ÿþ")),
        (b"bASIC   " + b64encode(b"a:b"), Basic("a", "b")),
        (b"Bearer abc.def-_~+/==", Bearer("abc.def-_~+/==")),
        (b"Negotiate x", None),
        (b"Basic-ish x", None),
    ],
)
def test_credentials(value, found):
    """Names and passwords are UTF-8, or Latin-1 where they are not; schemes that are not ours are nobody's business."""
    assert parse(value) == found


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"Basic",
        b"Basic !!!",
        b"Basic YWxpY2U=",  # no colon
        b"Basic YWxpY2U6eA==\x00",
        encoded(b"ali\x00ce:x"),
        encoded(b"alice:x\n"),
        b"Bearer",
        b"Bearer a b",
        b"Bearer \xff",
        b"Digest",
        b'Digest username="x"',
        b'Digest username="x", username="y"',
        b'Digest username="x',
        b"Digest " + b", ".join(b"a%d=b" % number for number in range(100)),
        DIGEST.replace(b"qop=auth", b"qop=auth-int") % (b"MD5", b"x"),
        DIGEST.replace(b"nc=00000001", b"nc=1") % (b"MD5", b"x"),
        DIGEST.replace(b"nc=00000001, ", b"") % (b"MD5", b"x"),
        (DIGEST % (b"MD5", b"x")) + b", userhash=true",
        (DIGEST % (b"MD5", b"x")) + b", username*=UTF-8''x",
        b"\xff\xfe",
        b"Bearer " + b"x" * 1_000_000,
        b"Basic " + b"x" * 1_000_000,
    ],
)
def test_malformed_credentials(value):
    """What is no credential is told so, however long it is."""
    with pytest.raises(Malformed):
        parse(value)


def test_two_fields():
    """Two fields are one too many."""
    with pytest.raises(Malformed):
        single([b"Bearer a", b"Bearer b"])


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        (b"MD5", b"8ca523f5e9506fed4657c9700eebdbec"),
        (b"SHA-256", b"753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_the_examples_of_the_rfc(algorithm, response):
    """The answers are those of RFC 7616, 3.9.1."""
    given = parse(DIGEST % (algorithm, response))
    name = {b"MD5": "md5", b"SHA-256": "sha256"}[algorithm]
    key = hashlib.new(name, b"Mufasa:http-auth@example.org:Circle of Life").hexdigest()
    assert isinstance(given, Digest)
    assert given.name == "Mufasa"
    assert expected(given, b"GET", key) == given.response == response.decode()
    assert expected(given, b"POST", key) != given.response


def test_names_beyond_ascii():
    """A name may come as an extended parameter (RFC 7616, 3.4)."""
    value = (DIGEST % (b"MD5", b"x")).replace(b'username="Mufasa"', b"username*=UTF-8''J%C3%A4s%C3%B8n%20Doe")
    assert parse(value).name == "Jäsøn Doe"


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def nonces(clock):
    clock.advance(1_800_000_000)
    return Nonces(b"key", clock.seconds)


def test_nonces_are_ours(nonces, clock):
    """A nonce is known again by its signature alone, for a while; whoever has the key knows it too."""
    nonce = nonces.new()
    assert nonces.new() != nonce
    assert nonces.issued(nonce)
    assert Nonces(b"key", clock.seconds).issued(nonce)
    assert not Nonces(b"other", clock.seconds).issued(nonce)
    assert not any(
        map(nonces.issued, ["", "x", "!", nonce[:-1], nonce + "A", nonce[:-1] + "é", nonce[:5] + "." + nonce[5:]])
    )
    clock.advance(LIFETIME + 1)
    assert not nonces.issued(nonce)


def test_counts_are_used_once(nonces):
    """Each count of a nonce is good once, in whatever order they come; what is too far behind is not."""
    nonce = nonces.new()
    assert [nonces.use(nonce, count) for count in (1, 1, 2, 5, 4, 4, 3, 5, 1, 200, 60, 199, 73, 72)] == [
        True, False, True, True, True, False, True, False, False, True, False, True, True, False
    ]  # fmt: skip
    assert nonces.use(nonces.new(), 0xFFFFFFFF)


def test_nonces_are_bounded(nonces, clock):
    """Of more nonces than are remembered, the oldest ones, and all as old as they, are good no more."""
    first = [nonces.new() for _ in range(10)]
    clock.advance(1)
    for nonce in first[:5]:
        nonces.use(nonce, 1)
    for _ in range(4096):
        nonces.use(nonces.new(), 1)
    assert not any(map(nonces.issued, first))
    assert nonces.issued(nonces.new())
    assert len(nonces._used) == 4096
