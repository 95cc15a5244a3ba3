"""
Where a login leads back to.
"""

import pytest

from mixweb.features.auth._goto import any_url, local_path

HERE = "https://example.org"


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("/", "/"),
        ("/admin/?a=b&c=d#e", "/admin/?a=b&c=d#e"),
        ("/with%20escape", "/with%20escape"),
        ("/snö", "/sn%C3%B6"),
        ('/quote"<', "/quote%22%3C"),
        ("https://example.org/x", "/x"),
        ("HTTPS://Example.ORG/x", "/x"),
        ("https://example.org", "/"),
        ("/x//y", "/x//y"),
        ("/@evil.example", "/@evil.example"),
        ("", ""),
        ("admin", ""),
        ("//evil.example", ""),
        ("///evil.example", ""),
        ("/\\evil.example", ""),
        ("\\\\evil.example", ""),
        ("/\t/evil.example", ""),
        ("/\n/evil.example", ""),
        (" //evil.example", ""),
        ("\x00//evil.example", ""),
        ("https://evil.example", ""),
        ("http://example.org/", ""),
        ("https://example.org.evil.example/", ""),
        ("https://example.org@evil.example/", ""),
        ("https://example.org:444/", ""),
        ("https://example.org//evil.example", ""),
        ("https://example.org\\@evil.example", ""),
        ("javascript:alert(1)", ""),
        ("data:text/html,x", ""),
        ("/x\r\nSet-Cookie: a=b", ""),
        ("/" + "x" * 3000, ""),
    ],
)
def test_only_here(text, path):
    """A goto is a path of this site, however it is written; anything else is none."""
    assert local_path(text, HERE) == path


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://evil.example/a b", "https://evil.example/a%20b"),
        ("//evil.example", "//evil.example"),
        ("/x", "/x"),
        ("javascript:alert(1)", ""),
        ("/x\r\nSet-Cookie: a=b", ""),
        ("", ""),
    ],
)
def test_anywhere(text, url):
    """Where that is asked for, a goto leads to any site of the web, and to nothing that is none."""
    assert any_url(text) == url
