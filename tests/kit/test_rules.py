"""
Patterns over paths, and paths as text.
"""

from time import monotonic

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixweb.kit.rules import capture_names, captures, clean_target, clean_url, compile_pattern, path_text, quote_path
from mixweb.paths import canonical


@given(st.binary(max_size=40).map(lambda path: canonical(b"/" + path).segments))
def test_round_trip(segments):
    """The text of any path, quoted, is the same path again, in characters that may stand in a URL."""
    quoted = quote_path(path_text(segments))
    assert canonical(quoted.encode("ascii")).segments == segments
    assert not set(quoted) & set('\\"<>^`{|}?# \r\n\0')


@pytest.mark.parametrize(
    ("segments", "quoted"),
    [
        ([b"a", b"b"], "/a/b"),
        ([b""], "/"),
        ([b"a", b""], "/a/"),
        ([b"a/b"], "/a%2Fb"),
        ([b"a%2Fb"], "/a%252Fb"),
        ([b"a+b", b"c d"], "/a+b/c%20d"),
        (["é".encode(), b"\xff"], "/%C3%A9/%FF"),
        ([b"a?b#c", b"x\r\ny", b"\0"], "/a%3Fb%23c/x%0D%0Ay/%00"),
        ([b"\\evil"], "/%5Cevil"),
    ],
)
def test_quote(segments, quoted):
    """A path is percent-encoded by segments."""
    assert quote_path(path_text(segments)) == quoted


@pytest.mark.parametrize(
    ("pattern", "path", "found"),
    [
        ("/old", "/old", {}),
        ("/old", "/old/", {}),
        ("/old/", "/old", {}),
        ("old", "/old", {}),
        ("/old", "/old/x", None),
        ("/old", "/older", None),
        ("/", "/", {}),
        ("/", "/x", None),
        ("/a.b", "/axb", None),
        ("/old/*", "/old/a/b", {"1": "a/b"}),
        ("/old/*", "/old/", {"1": ""}),
        ("/old/*", "/old", None),
        ("/*/x/*", "/a/x/b/x/c", {"1": "a", "2": "b/x/c"}),
        ("*.html", "/a/b.html", {"1": "/a/b"}),
        ("*.html", "/a/b.html/c", None),
        ("x/**", "/x/y/z", {"1": "y/z"}),
        ("/?.js", "/a.js", {}),
        ("/?.js", "/ab.js", None),
        ("/[ab]/[!c]", "/a/d", {}),
        ("/[ab]/[!c]", "/a/c", None),
        ("/[a-c]x", "/bx", {}),
        ("/[a*", "/[abc", {"1": "bc"}),
        (r"^/u/(\d+)$", "/u/12", {"1": "12"}),
        (r"^/u/(?P<id>\d+)(/x)?", "/u/12", {"1": "12", "2": "", "id": "12"}),
        (r"^/u/(\d+)$", "/v/u/12", None),
    ],
)
def test_patterns(pattern, path, found):
    """A plain rule is one path, a glob matches a whole path, a regular expression its beginning; both capture."""
    match = compile_pattern(pattern).match(path)
    assert (None if match is None else captures(match)) == found


def test_slash_in_segment():
    """An encoded slash is no slash to a pattern."""
    path = path_text(canonical(b"/a%2Fb").segments)
    assert compile_pattern("^/([^/]+)$").match(path)
    assert not compile_pattern("/a/b").match(path)


def test_capture_names():
    """Captures are called by number and by name."""
    assert capture_names(compile_pattern("^/(a)(?P<b>b)")) == ["1", "2", "b"]
    assert capture_names(compile_pattern("/*/*")) == ["1", "2"]


def test_malformed():
    """A malformed regular expression is an error that shows it."""
    with pytest.raises(ValueError, match=r"'\^/\(' is not a regular expression"):
        compile_pattern("^/(")


def test_globs_are_quick():
    """A glob with many stars takes no long time on a long path that nearly matches."""
    pattern = compile_pattern("/" + "*a" * 12 + "*b")
    began = monotonic()
    assert not pattern.match("/" + "a" * 8000)
    assert monotonic() - began < 1


def test_clean():
    """What a client or the author of a setting wrote is percent-encoded where it has to be, and not twice."""
    assert clean_target(b'/a%20b?c=%zz&d="<\\\xff\r\n') == "/a%20b?c=%zz&d=%22%3C%5C%FF%0D%0A"
    assert clean_url("/é b\\?x={1}#\r\n") == "/%C3%A9%20b%5C?x={1}#%0D%0A"
