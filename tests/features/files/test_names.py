"""
Names of files: types, codings, rules.
"""

import pytest

from mixweb.features.files._names import Types, ValueByName, attachment, check_media_type, name_rule
from mixweb.kit.codings import choose


@pytest.mark.parametrize(
    ("name", "found"),
    [
        (b"a.html", (b"text/html; charset=utf-8", None)),
        (b"A.HTML", (b"text/html; charset=utf-8", None)),
        (b"a.txt", (b"text/plain; charset=utf-8", None)),
        (b"a.css", (b"text/css; charset=utf-8", None)),
        (b"a.js", (b"text/javascript; charset=utf-8", None)),
        (b"a.mjs", (b"text/javascript; charset=utf-8", None)),
        (b"a.md", (b"text/markdown; charset=utf-8", None)),
        (b"a.json", (b"application/json", None)),
        (b"a.wasm", (b"application/wasm", None)),
        (b"a.svg", (b"image/svg+xml", None)),
        (b"a.svgz", (b"image/svg+xml", b"gzip")),
        (b"a.png", (b"image/png", None)),
        (b"a.woff2", (b"font/woff2", None)),
        (b"a.webp", (b"image/webp", None)),
        (b"a.xyz", (b"chemical/x-xyz", None)),
        (b"a.log", (b"text/x-log; charset=ascii", None)),
        (b"a.txt.gz", (b"text/plain; charset=utf-8", b"gzip")),
        (b"a.svg.gz", (b"image/svg+xml", b"gzip")),
        (b"a.tar.gz", (b"application/gzip", None)),
        (b"a.gz", (b"application/gzip", None)),
        (b"a.nobody-knows.gz", (b"application/gzip", None)),
        (b"a.txt.bz2", (b"application/x-bzip2", None)),
        (b"index", (b"text/html; charset=utf-8", None)),
        (b"README", (None, None)),
        (b"a.nobody-knows", (None, None)),
        (b"a.", (None, None)),
        (b".html", (None, None)),
        (b"\xff.txt", (b"text/plain; charset=utf-8", None)),
        (b"a.\xff", (None, None)),
    ],
)
def test_types(name, found):
    """The extension tells the type; names that tell none get none, an index file is HTML."""
    types = Types(
        "application/octet-stream",
        {"xyz": "chemical/x-xyz", ".LOG": "text/x-log; charset=ascii"},
        "utf-8",
        {"gz": "gzip"},
        ["index", "index.html"],
    )
    assert types.find(name) == found


def test_no_charset():
    """Without a charset none is said."""
    assert Types("text/plain").find(b"a.html") == (b"text/html", None)
    assert Types("text/plain").default == b"text/plain"
    assert Types("text/plain", charset="utf-8").default == b"text/plain; charset=utf-8"


@pytest.mark.parametrize("text", ["", "text", "text/", "/x", "text/plain\r\nX: y", "text/plain; a=é", "a b/c"])
def test_bad_media_types(text):
    """What cannot be a content type is an error that shows it."""
    with pytest.raises(ValueError, match="is not a media type"):
        check_media_type(text)


@pytest.mark.parametrize(
    ("pattern", "covered", "others"),
    [
        ("zip", [b"a.zip", b"x/A.ZIP"], [b"zip", b"a.zip.txt", b"azip"]),
        (".zip", [b"a.zip", b"x/A.ZIP"], [b"zip", b"a.zip.txt"]),
        (".tar.gz", [b"a.tar.gz"], [b"a.gz", b"tar.gz"]),
        ("*.min.js", [b"a.min.js", b"x/y/a.min.js"], [b"a.js", b"a.min.js.map"]),
        ("assets/*", [b"assets/a", b"assets/x/y"], [b"a", b"x/assets/a", b"assets"]),
        ("/assets/*.css", [b"assets/a.css", b"assets/x/a.css"], [b"a.css"]),
        ("robots.txt", [b"robots.txt", b"x/robots.txt"], [b"robots_txt", b"arobots.txt"]),
        ("/index.html", [b"index.html"], [b"x/index.html"]),
        ("docs/index.html", [b"docs/index.html"], [b"index.html"]),
        ("[ab].txt", [b"a.txt"], [b"c.txt"]),
        ("*", [b"a", b"x/y", b"\xff"], []),
    ],
)
def test_name_rules(pattern, covered, others):
    """Extensions, ends of names, globs over names and over paths, and names themselves."""
    rule = name_rule(pattern)
    assert [path for path in (*covered, *others) if rule(path)] == covered


def test_first_value():
    """The first pattern that covers a path has the value."""
    values = ValueByName({"assets/*": "one", "css": "two"})
    assert [values.find(path) for path in (b"assets/a.css", b"a.css", b"a.js")] == [b"one", b"two", None]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"a b.zip", b'attachment; filename="a b.zip"'),
        ("é.zip".encode(), b"attachment; filename=\"_.zip\"; filename*=UTF-8''%C3%A9.zip"),
        (b'a"b\\c%20.txt', b"attachment; filename=\"a_b_c_20.txt\"; filename*=UTF-8''a%22b%5Cc%2520.txt"),
        (b"a\r\nX: y", b"attachment; filename=\"a__X: y\"; filename*=UTF-8''a%0D%0AX%3A%20y"),
        (b"\xff", b"attachment; filename=\"_\"; filename*=UTF-8''%EF%BF%BD"),
    ],
)
def test_attachment(name, value):
    """A name of any characters is said so that every client understands it (RFC 6266)."""
    assert attachment(name) == value


ALL = (b"br", b"zstd", b"gzip")


@pytest.mark.parametrize(
    ("accept", "codings", "chosen"),
    [
        ([b"gzip, deflate, br, zstd"], ALL, b"br"),
        ([b"gzip, deflate, br, zstd"], (b"gzip",), b"gzip"),
        ([b"gzip", b"br"], ALL, b"br"),
        ([b"br;q=0.5, gzip"], ALL, b"gzip"),
        ([b"GZIP;Q=1.0"], ALL, b"gzip"),
        ([b"x-gzip"], ALL, b"gzip"),
        ([b"gzip;q=0"], ALL, None),
        ([b"gzip;q=0, *"], (b"gzip",), None),
        ([b"*"], ALL, b"br"),
        ([b"*;q=0.1, br;q=0"], ALL, b"zstd"),
        ([b"*;q=0"], ALL, None),
        ([b"identity, gzip;q=0.5"], ALL, None),
        ([b"identity;q=0.1, gzip;q=0.5"], ALL, b"gzip"),
        ([b"deflate"], ALL, None),
        ([b""], ALL, None),
        ([], ALL, None),
        ([b"gzip"], (), None),
        ([b"gzip, " + b"x, " * 1000], ALL, b"gzip"),
    ],
)
def test_choose(accept, codings, chosen):
    """The coding that the client likes best, the best one of those; none when it likes the plain file more."""
    assert choose(tuple(accept), codings) == chosen
