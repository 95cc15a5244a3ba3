"""
What a route matches, and the paths that can be made of it.
"""

import re
from uuid import UUID

import pytest

from mixweb.pages.patterns import KINDS, PathPattern, RegexPattern, rest_text

SOME = UUID("12345678-1234-5678-1234-567812345678")


@pytest.mark.parametrize(
    ("kind", "segment", "value"),
    [
        ("int", b"12", 12),
        ("int", b"-3", -3),
        ("int", b"007", 7),
        ("int", b"+3", None),
        ("int", b"1_0", None),
        ("int", b"1.0", None),
        ("int", b"9" * 41, None),
        ("int", "١".encode(), None),
        ("float", b"1.5", 1.5),
        ("float", b"-2", -2.0),
        ("float", b"1e5", None),
        ("float", b"nan", None),
        ("float", b".5", None),
        ("uuid", str(SOME).encode(), SOME),
        ("uuid", SOME.hex.encode(), None),
        ("uuid", b"{" + str(SOME).encode() + b"}", None),
        ("str", "é".encode(), "é"),
        ("str", b"a/b", "a/b"),
        ("str", b"", None),
        ("str", b"\xff", None),
    ],
)
def test_kinds(kind, segment, value):
    """A kind of variable takes the segments that are such a value, and no other."""
    if value is None:
        with pytest.raises(ValueError):  # noqa: PT011 - its text is for nobody
            KINDS[kind].decode(segment)
    else:
        found = KINDS[kind].decode(segment)
        assert (found, type(found)) == (value, KINDS[kind].type)


@pytest.mark.parametrize(
    ("segments", "text"),
    [
        ([b"a", b"b"], "a/b"),
        ([b""], ""),
        ([b"a", b""], "a/"),
        (["é".encode()], "é"),
        ([b"a/b"], None),
        ([b"../x"], None),
        ([b"a\0"], None),
        ([b"\xff"], None),
    ],
)
def test_rest(segments, text):
    """The rest of a path is text that has no slash or NUL that the path has not."""
    if text is None:
        with pytest.raises(ValueError):  # noqa: PT011
            rest_text(segments)
    else:
        assert rest_text(segments) == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hi", "must begin with a slash"),
        ("/a//b", "not canonical"),
        ("/a/../b", "not canonical"),
        ("/./b", "not canonical"),
        ("/<int:a", "neither text nor one variable"),
        ("/x<a>", "neither text nor one variable"),
        ("/<number:a>", "there is no kind 'number' of variables, only int, float, uuid, str, path, raw"),
        ("/<int:1a>", "'1a' is no name"),
        ("/<>", "'' is no name"),
        ("/<a>/<a>", "two variables of one name"),
        ("/<path:a>/b", "nothing can follow"),
        ("/<raw:a>/<b>", "nothing can follow"),
        (r"/user/(\d+)", r"looks like a regular expression: give re.compile"),
        ("/user/.*", "looks like a regular expression"),
    ],
)
def test_malformed(text, said):
    """A path that nothing can match is refused, with the reason."""
    with pytest.raises(ValueError, match=said):
        PathPattern(text)


@pytest.mark.parametrize(
    ("pattern", "values", "named", "path"),
    [
        ("/", (), {}, "/"),
        ("/a b/é", (), {}, "/a%20b/%C3%A9"),
        ("/people/<int:person>/age", (3,), {}, "/people/3/age"),
        ("/people/<int:person>/age", (), {"person": 3}, "/people/3/age"),
        ("/<name>", ("a/b?c#d%",), {}, "/a%2Fb%3Fc%23d%25"),
        ("/<path:rest>", ("a/b c",), {}, "/a/b%20c"),
        ("/to/<raw:address>", (b"http://e.com/?a%20b",), {}, "/to/http://e.com/?a%20b"),
        ("/<a>/<b>", ("x",), {"b": "y"}, "/x/y"),
        (re.compile(r"/user/(\d+)"), (5,), {}, "/user/5"),
        (re.compile(r"^/user/(?P<id>\d+)/x\.html$"), (), {"id": 5}, "/user/5/x.html"),
        (re.compile(r"/a/(\w+)/(?P<b>\w+)"), ("x",), {"b": "y"}, "/a/x/y"),
    ],
)
def test_reverse(pattern, values, named, path):
    """The values of its variables make the path of a route, percent-encoded."""
    made = PathPattern(pattern) if isinstance(pattern, str) else RegexPattern(pattern)
    assert made.path(values, named) == path


@pytest.mark.parametrize(
    ("pattern", "values", "named", "said"),
    [
        ("/<int:a>", ("x",), {}, "x"),
        ("/<a>", ("",), {}, "not empty"),
        ("/<a>", (), {}, "takes a, not"),
        ("/<a>", (1, 2), {}, "takes a"),
        ("/<a>", (1,), {"b": 2}, "takes a"),
        (re.compile(r"/user/(\d+)"), ("x",), {}, "no path"),
        (re.compile(r"/user/(\d+)"), (), {}, "no path"),
        (re.compile(r"/user/(\d+)"), (1, 2), {}, "takes 1 values"),
        (re.compile(r"/user/(a|(b))"), ("a",), {}, "takes 2 values"),
    ],
)
def test_reverse_refused(pattern, values, named, said):
    """No path is made of values that a route would not take."""
    made = PathPattern(pattern) if isinstance(pattern, str) else RegexPattern(pattern)
    with pytest.raises(ValueError, match=said):
        made.path(values, named)


@pytest.mark.parametrize(
    ("regex", "segments", "groups"),
    [
        (r"/user/(\d+)", [b"user", b"5"], ("5",)),
        (r"/user/(\d+)", [b"user", b"5", b""], None),
        (r"/user/(\d+)", [b"x", b"user", b"5"], None),
        (r"/(a)?(b)?", [b"b"], (None, "b")),
        (r"/([^/]+)", [b"a/b"], ("a/b",)),
        (r"/(.)/(.)", [b"a/b"], None),
        (r"/(.*)", [], ("",)),
    ],
)
def test_expressions(regex, segments, groups):
    """A regular expression is over the whole path, and a slash inside a segment is none for it."""
    assert RegexPattern(re.compile(regex)).match(segments) == groups
