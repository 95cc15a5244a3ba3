"""
One canonical path for each request.
"""

from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixweb.paths import CanonicalPath, PathMatcher, PathTable, RawPrefixes, canonical

SPELLINGS = [
    ("/", [b""]),
    ("/admin/x", [b"admin", b"x"]),
    ("//admin/x", [b"admin", b"x"]),
    ("/./admin/x", [b"admin", b"x"]),
    ("/%61dmin/x", [b"admin", b"x"]),
    ("/%2e/admin/x", [b"admin", b"x"]),
    ("/x/../admin/x", [b"admin", b"x"]),
    ("/x/%2E%2e/admin/x", [b"admin", b"x"]),
    ("/../../admin/x", [b"admin", b"x"]),
    ("/admin//x", [b"admin", b"x"]),
    ("/admin/", [b"admin", b""]),
    ("/admin/.", [b"admin", b""]),
    ("/admin/x/..", [b"admin", b""]),
    ("/admin", [b"admin"]),
    ("/a%2Fb/c", [b"a/b", b"c"]),
    ("/a/%2e%2e%2fb", [b"a", b"../b"]),
    ("/a+b", [b"a+b"]),
    ("/a%00b", [b"a\0b"]),
    ("/a%zz", [b"a%zz"]),
    ("/a?x=/../b", [b"a"]),
    ("/...", [b"..."]),
    ("/.hidden", [b".hidden"]),
    ("", [b""]),
    ("/..", [b""]),
]


@pytest.mark.parametrize(("target", "segments"), SPELLINGS)
def test_canonical(target, segments):
    """Every spelling of a path has the same canonical segments."""
    assert canonical(target.encode()).segments == tuple(segments)


@pytest.mark.parametrize(
    ("target", "at", "rest"),
    [
        ("/goto///foo.baz/../..//cache", [b"goto"], b"//foo.baz/../..//cache"),
        ("/goto/http://e.com/a/../b?x=1", [b"goto"], b"http://e.com/a/../b?x=1"),
        ("/goto?/http://e.com/a?x=1", [b"goto"], b"?/http://e.com/a?x=1"),
        ("/goto", [b"goto"], b""),
        ("/goto/", [b"goto"], b""),
        ("//%67oto/x%20y", [b"goto"], b"x%20y"),
        ("/login/../goto/..", [b"goto"], b".."),
        ("/login///foo.baz/../..//cache", [b"cache"], None),
        ("/gotox/../y", [b"y"], None),
        ("/api/any/raw//x/..", [b"api", b"any", b"raw"], b"/x/.."),
    ],
)
def test_raw(target, at, rest):
    """Behind a raw mount the target stays as it came; before it, everything is canonical."""
    raw = RawPrefixes([[b"goto"], [b"api", None, b"raw"]])
    assert canonical(target.encode(), raw) == CanonicalPath(tuple(at), rest)


def test_raw_root():
    """A raw mount at the root takes the whole target."""
    assert canonical(b"//a/../b?c", RawPrefixes([[]])) == CanonicalPath((), b"/a/../b?c")


@given(st.binary(max_size=40).map(lambda path: b"/" + path))
def test_never_above_the_root(path):
    """No input leaves a dot segment or an empty one inside a path, and a canonical path is its own canonical path."""
    found = canonical(path)
    assert not {b".", b".."} & set(found.segments)
    assert b"" not in found.segments[:-1]
    assert canonical(path, RawPrefixes([[b"\0never"]])) == found


@pytest.mark.parametrize(
    ("paths", "except_paths", "path", "applies"),
    [
        ([], [], "/x", True),
        (["/admin/"], [], "/admin", True),
        (["/admin/"], [], "/admin/", True),
        (["/admin"], [], "/%61dmin//x", True),
        (["/admin"], [], "/administrator", False),
        (["/admin"], [], "/admin%2Fx", False),
        (["*.php"], [], "/a/b.php", True),
        (["*.php"], [], "/a/b.php/c", True),
        (["*.php"], [], "/a/b.phpx", False),
        ([], ["*.css"], "/a.css/b", True),
        (["/caf?"], [], "/caf%C3%A9", True),
        (["/caf?"], [], "/caf%ff", True),
        (["/a/*"], [], "/a/b/c", True),
        (["/a/?.js"], [], "/a/x.js", True),
        ([], ["/login"], "/login", False),
        ([], ["/login"], "/logins", True),
        (["/a"], ["/a/public"], "/a/public/x", False),
        (["/a"], ["/a/public"], "/a/../a/secret", True),
        (["/é"], [], "/%C3%A9/x", True),
    ],
)
def test_matcher(paths, except_paths, path, applies):
    """Rules match the canonical path: prefixes by whole segments, globs over the whole path."""
    assert PathMatcher(paths, except_paths).match(canonical(path.encode())) is applies


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/", [(0, "root"), (0, "second")]),
        ("/api", [(1, "api"), (0, "root"), (0, "second")]),
        ("/api/v2/x", [(2, "v2"), (1, "api"), (0, "root"), (0, "second")]),
        ("/apix", [(0, "root"), (0, "second")]),
    ],
)
def test_table(path, found):
    """The longest mount is asked first, equal ones in the order given, the root last."""
    table = PathTable([("/", "root"), ("/api", "api"), ("/api/v2/", "v2"), ("", "second")])
    assert list(table.find(canonical(path.encode()).segments)) == found


def test_long_paths_are_quick():
    """The cost of a path grows with its length, not with its square."""
    began = process_time()
    canonical(b"/a" * 30_000)
    canonical(b"/a" * 30_000, RawPrefixes([[b"goto"]]))
    assert process_time() - began < 1
