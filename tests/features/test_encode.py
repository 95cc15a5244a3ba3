"""
Answers leave compressed for clients that take them so.
"""

import gzip
import zlib

import brotli
import pytest
from twisted.internet.task import Clock
from twisted.web.resource import Resource

from mixweb.engine.site import Site
from mixweb.features._encode_bodies import Encoding, Variants
from mixweb.features.encode import Encode, EncodeWrapper, build
from mixweb.features.files import Files
from mixweb.features.files import build as build_files
from mixweb.interfaces import ISession, IUser
from mixweb.kit.codings import CODINGS, Coder, coder
from mixweb.testing import SiteAgent, make_context

try:
    from compression import zstd
except ImportError:
    from backports import zstd

TEXT = b"".join(b"<p>%d times %d</p>\n" % (number, number * number) for number in range(200))
DECODE = {b"gzip": gzip.decompress, b"br": brotli.decompress, b"zstd": zstd.decompress}


class Call(Resource):
    """Answers with what a function returns."""

    isLeaf = True

    def __init__(self, answer):
        super().__init__()
        self.render = answer


def whole(request):
    return TEXT


async def pieces(request):
    for start in range(0, len(TEXT), 1000):
        yield TEXT[start : start + 1000]


def get(answer=whole, accept="gzip", method="GET", secure=False, headers=(), **settings):
    site = Site(EncodeWrapper(Encode(**settings), Call(answer)), reactor=Clock())
    given = [*headers, *([("Accept-Encoding", accept)] if accept is not None else [])]
    return SiteAgent(site, secure=secure).request(method, "/", headers=given)


def answer_of(body=TEXT, code=200, **fields):
    """A function that answers so; underscores in names of fields are hyphens, ``None`` is no field."""

    def render(request):
        request.setResponseCode(code)
        for name, value in fields.items():
            if value is not None:
                request.setHeader(name.replace("_", "-"), value)
        return body

    return render


@pytest.mark.parametrize("answer", [whole, pieces])
@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        ("gzip", "gzip"),
        ("br", "br"),
        ("zstd", "zstd"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip, br", "br"),
        ("gzip;q=1.0, br;q=0.5", "gzip"),
        ("x-gzip", "gzip"),
        ("*", "zstd"),
        ("*;q=0.5, zstd;q=0", "br"),
        ("GZIP;Q=0.8", "gzip"),
        ("gzip;q=0.2, identity;q=0.5", None),
        ("gzip;q=0", None),
        ("identity", None),
        ("deflate", None),
        ("", None),
        (None, None),
        ("gzip;q=nonsense", None),
    ],
)
def test_negotiation(accept, coding, answer):
    """The best coding that the client takes is sent, whole or in pieces; caches hear that it was chosen."""
    got = get(answer, accept)
    encoding = got.headers.getRawHeaders("Content-Encoding")
    assert encoding == (None if coding is None else [coding])
    assert got.headers.getRawHeaders("Vary") == ["Accept-Encoding"]
    decode = DECODE[coding.encode()] if coding else bytes
    if coding == "zstd" and answer is pieces:
        decode = zstd.ZstdDecompressor().decompress
    assert decode(got.body) == TEXT
    assert coding is None or len(got.body) < len(TEXT) / 2


@pytest.mark.parametrize(
    ("answer", "method"),
    [
        (answer_of(b"x" * 511), "GET"),
        (answer_of(content_type=None, content_encoding=b"br"), "GET"),
        (answer_of(content_type=b"image/png"), "GET"),
        (answer_of(content_type=b"video/mp4"), "GET"),
        (answer_of(code=204, body=b""), "GET"),
        (answer_of(code=205, body=b""), "GET"),
        (answer_of(code=206, content_range=b"bytes 0-9/100"), "GET"),
        (answer_of(cache_control=b"max-age=5, no-transform"), "GET"),
        (answer_of(b"x" * 2000, content_type=b"application/zip"), "GET"),
        (answer_of(b"x" * 5_000_000), "GET"),
    ],
)
def test_left_alone(answer, method):
    """What is short, encoded, of another kind, a part, too long for one go or not to be transformed stays as it is."""
    got, plain = get(answer, "gzip, br", method), get(answer, None, method)
    assert got.body == plain.body
    for name in ("Content-Encoding", "Content-Length", "ETag", "Vary"):
        assert got.headers.getRawHeaders(name) == plain.headers.getRawHeaders(name)


@pytest.mark.parametrize("kind", [b"application/json; charset=utf-8", b"Application/Problem+JSON", b"image/svg+xml"])
def test_types(kind):
    """Types are compared without case and parameters."""
    assert gzip.decompress(get(answer_of(content_type=kind)).body) == TEXT


def test_head():
    """HEAD is told that the answer varies, and no length that GET would not have."""
    got = get(answer_of(etag=b'"a"'), method="HEAD")
    assert got.body == b""
    assert got.headers.getRawHeaders("Vary") == ["Accept-Encoding"]
    assert not got.headers.hasHeader("Content-Length")
    assert not got.headers.hasHeader("Content-Encoding")


@pytest.mark.parametrize(("tag", "sent"), [(b'"a"', [b'W/"a"']), (b'W/"a"', [b'W/"a"']), (None, None)])
def test_entity_tags(tag, sent):
    """An entity tag becomes weak where the bytes are others."""
    assert get(answer_of(etag=tag)).headers.getRawHeaders(b"ETag") == sent
    assert get(answer_of(etag=tag), None).headers.getRawHeaders(b"ETag") == (tag and [tag])


def test_vary_is_kept():
    """What an answer varies by already stays, and is not said twice."""
    assert get(answer_of(vary=b"Cookie")).headers.getRawHeaders("Vary") == ["Cookie", "Accept-Encoding"]
    for value in (b"accept-encoding", b"Cookie, Accept-Encoding", b"*"):
        assert get(answer_of(vary=value)).headers.getRawHeaders(b"Vary") == [value]


class Somebody:
    """A user, and a session."""

    name, roles, scheme, new = "ann", frozenset(), "session", False


def known_as(interface):
    def render(request):
        request.setComponent(interface, Somebody())
        return TEXT

    return render


@pytest.mark.parametrize(
    ("answer", "headers"),
    [
        (answer_of(set_cookie=b"a=b"), []),
        (whole, [("Authorization", "Basic QTpC")]),
        (known_as(IUser), []),
        (known_as(ISession), []),
    ],
)
def test_secrets(answer, headers):
    """Over TLS nothing that was made for one user is compressed, unless somebody insists."""
    assert get(answer, secure=True, headers=headers).body == TEXT
    assert gzip.decompress(get(answer, secure=False, headers=headers).body) == TEXT
    assert gzip.decompress(get(answer, secure=True, headers=headers, secrets=True).body) == TEXT
    assert gzip.decompress(get(whole, secure=True).body) == TEXT


def test_secrets_warn():
    """The unsafe switch says so at start."""
    said = []
    build(Encode(secrets=True), Resource(), make_context(Clock(), warn=said.append))
    assert len(said) == 1
    assert "BREACH" in said[0]


@pytest.fixture
def files(tmp_path):
    """Files behind an encoder."""
    import os

    for name in ("page.html", "large.txt"):
        (tmp_path / name).write_bytes(TEXT * (1 if name == "page.html" else 100))
        os.utime(tmp_path / name, (1, 1))
    clock = Clock()
    wrapper = EncodeWrapper(Encode(), build_files(Files(tmp_path), make_context(clock)))
    agent = SiteAgent(Site(wrapper, reactor=clock), clock=clock)
    agent.wrapper = wrapper
    return agent


def test_files(files):
    """Files are encoded, known again by their weak tags, and sent in part as they are."""
    gzipped = [("Accept-Encoding", "gzip")]
    got = files.request("GET", "/page.html", headers=gzipped)
    assert gzip.decompress(got.body) == TEXT
    (tag,) = got.headers.getRawHeaders("ETag")
    assert tag.startswith('W/"')
    again = files.request("GET", "/page.html", headers=[*gzipped, ("If-None-Match", tag)])
    assert (again.status, again.headers.getRawHeaders("ETag")) == (304, [tag])
    plain = files.request("GET", "/page.html", headers=[("If-None-Match", tag[2:])])
    assert (plain.status, plain.headers.getRawHeaders("ETag")) == (304, [tag[2:]])
    part = files.request("GET", "/page.html", headers=[*gzipped, ("Range", "bytes=0-9")])
    assert (part.status, part.body) == (206, TEXT[:10])
    large = files.request("GET", "/large.txt", headers=gzipped)
    assert zlib.decompressobj(31).decompress(large.body) == TEXT * 100


def test_kept_variants():
    """The same body is encoded once; memory is bounded and the least recently used goes first."""
    made = []

    def encode(body):
        made.append(body)
        return body[:2]

    variants, fake = Variants(max_bytes=26), Coder(encode, None)
    for body in (b"aaaaaaaa", b"bbbbbbbb", b"aaaaaaaa", b"cccccccc", b"aaaaaaaa", b"bbbbbbbb"):
        assert variants.get(b"x", body, fake) == body[:2]
        assert variants.weight <= 26
    assert made == [b"aaaaaaaa", b"bbbbbbbb", b"cccccccc", b"bbbbbbbb"]
    variants.get(b"x", b"d" * 100, fake)
    assert variants.weight <= 26


def test_only_lasting_answers_are_kept():
    """What has no validator is not kept: it would be another one the next time."""
    for answer, weight in ((whole, 0), (answer_of(etag=b'"a"'), len(TEXT))):
        wrapper = EncodeWrapper(Encode(), Call(answer))
        agent = SiteAgent(Site(wrapper, reactor=Clock()))
        for _ in range(2):
            got = agent.request("GET", "/", headers=[("Accept-Encoding", "gzip")])
            assert gzip.decompress(got.body) == TEXT
        assert (wrapper.variants.weight > weight) is bool(weight)


@pytest.mark.parametrize("effort", ["fast", "normal", "best"])
@pytest.mark.parametrize("coding", CODINGS)
def test_pieces_arrive_at_once(coding, effort):
    """A client can read each piece of a stream before the next one is written."""
    encoding = Encoding(coding.encode(), coder(coding, effort), None, None)
    decoders = {
        "gzip": lambda: zlib.decompressobj(31).decompress,
        "br": lambda: brotli.Decompressor().process,
        "zstd": lambda: zstd.ZstdDecompressor().decompress,
    }
    decode = decoders[coding]()
    for piece in (b"first", b"", b"second" * 1000):
        encoded = encoding.feed(piece)
        assert (decode(encoded) if encoded else b"") == piece
    assert decode(encoding.flush()) == b""


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"codings": ["deflate"]}, "codings: expected zstd, br, gzip, got 'deflate'"),
        ({"codings": []}, "codings must name at least one coding"),
        ({"effort": "hard"}, "effort: expected fast, normal, best, got 'hard'"),
        ({"min_bytes": -1}, "min_bytes must not be negative"),
    ],
)
def test_settings(settings, problem):
    """Settings that make no sense are refused."""
    with pytest.raises(ValueError, match=problem):
        Encode(**settings)
