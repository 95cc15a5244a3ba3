"""
Text with placeholders.
"""

import json
from html import unescape
from operator import itemgetter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixweb.kit.placeholders import Template, escape_field, escape_for, escape_script

KNOWN = {"path": itemgetter("path"), "1": itemgetter("1")}
FAMILIES = {"header": lambda name: lambda values: values["header"][name]}
VALUES = {"path": "/a<b>", "1": "one", "header": {"X-Y": "why"}}


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("", ""),
        ("plain", "plain"),
        ("{path}", "/a<b>"),
        ("<{path}{1}>", "</a<b>one>"),
        ("{header.X-Y}", "why"),
        ("{{path}}", "{path}"),
        ("{{unknown}}", "{unknown}"),
        ("{{{path}}}", "{{path}}"),
        ('{"ok": true, "in": {"at": "{path}"}}', '{"ok": true, "in": {"at": "/a<b>"}}'),
        ('{"a":{"b":{}}}', '{"a":{"b":{}}}'),
        ("@media x{a{color:red}}", "@media x{a{color:red}}"),
        ("{ path } {} { {{ }} {path", "{ path } {} { {{ }} {path"),
    ],
)
def test_render(text, rendered):
    """A name in braces is its value, in double braces itself, and all other braces are text."""
    assert Template(text, KNOWN, FAMILIES).render(VALUES) == rendered


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{pth}", "{pth}; did you mean {path}? Write {{pth}}"),
        ("x {zzzzzz} y", "{zzzzzz}; known here: {path}, {1}, {header.NAME}."),
        ("{header.}", "{header.}"),
        ("{headers.X}", "{headers.X}"),
    ],
)
def test_unknown(text, said):
    """A placeholder that is not known is an error that names it and says what was expected."""
    with pytest.raises(ValueError, match="there is no placeholder") as caught:
        Template(text, KNOWN, FAMILIES)
    assert said in str(caught.value)


def test_nothing_known():
    """Where no placeholder is known, the error does not list any."""
    with pytest.raises(ValueError, match=r"no placeholder \{a\} here\. Write"):
        Template("{a}", {})


def test_values_are_not_templates():
    """A value with braces in it is not looked at again."""
    assert Template("{path}", KNOWN).render({"path": "{1}{{1}}"}) == "{1}{{1}}"


def test_constant():
    """Text without placeholders is known before anything is rendered, and is never escaped."""
    assert Template("a{{b}}<", KNOWN).constant == "a{b}<"
    assert Template("a{{b}}<", KNOWN).render({}, lambda value: "x") == "a{b}<"
    assert Template("{1}", KNOWN).constant is None


@pytest.mark.parametrize(
    ("kind", "rendered"),
    [
        ("text/plain", "<b>'\"\\"),
        ("text/html; charset=utf-8", "&lt;b&gt;&#x27;&quot;\\"),
        ("application/xhtml+xml", "&lt;b&gt;&#x27;&quot;\\"),
        ("image/svg+xml", "&lt;b&gt;&#x27;&quot;\\"),
        ("TEXT/HTML", "&lt;b&gt;&#x27;&quot;\\"),
        ("application/json", '\\u003cb\\u003e\\u0027\\"\\\\'),
        ("application/problem+json", '\\u003cb\\u003e\\u0027\\"\\\\'),
        ("text/javascript", '\\u003cb\\u003e\\u0027\\"\\\\'),
    ],
)
def test_escapes(kind, rendered):
    """Values are escaped as the media type needs it."""
    assert escape_for(kind)("<b>'\"\\") == rendered


@given(st.text())
def test_script_round_trip(text):
    """A value in a JSON string is read back as it was, and can leave neither the string nor an element around it."""
    escaped = escape_script(text)
    assert json.loads(f'"{escaped}"') == text
    assert not set("<>&'`$\n\u2028") & set(escaped)


@given(st.text())
def test_markup_round_trip(text):
    """A value in markup is read back as it was."""
    escaped = escape_for("text/html")(text)
    assert not set("<>\"'") & set(escaped)
    assert unescape(escaped) == text


def test_field_value():
    """A value in a header has no control characters."""
    assert escape_field("a\r\nX: b\0\x7f\x85é") == "aX: bé"
