"""
What a person at the terminal sees.
"""

import io

import pytest
from twisted.logger import Logger, LogLevel

from mixweb.kit.colours import paint, uses_colour
from mixweb.terminal import TerminalObserver, since_start, start_lines


class Screen(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("stream", "variables", "coloured"),
    [
        (Screen(), {}, True),
        (io.StringIO(), {}, False),
        (None, {}, False),
        (Screen(), {"NO_COLOR": "1"}, False),
        (io.StringIO(), {"FORCE_COLOR": "1"}, True),
        (Screen(), {"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
    ],
)
def test_colours(stream, variables, coloured, monkeypatch):
    """Colours are for terminals; NO_COLOR and FORCE_COLOR decide where they are set."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert uses_colour(stream) is coloured
    assert ("\x1b[31m" in paint("text", "red", stream)) is coloured


def test_start_lines():
    """The lines say what is served, where, how to open it, and what is unsafe."""
    said = start_lines(
        "1.2", "./site (files)", ["http://127.0.0.1:8080/"], False, "site.toml", ["goto_any is on"], None
    )
    lines = [line.rstrip() for line in said.splitlines()]
    assert lines[0].startswith("mixweb 1.2  serving ./site (files)    ready in ")
    assert lines[2:] == [
        "  Local     http://127.0.0.1:8080/",
        "  Network   off: add --public to expose",
        "  Config    site.toml   (mixweb check, mixweb show)",
        "  Warning   goto_any is on",
        "",
        "  Ctrl-C to stop.  Requests appear below.",
    ]


def test_inspector_line():
    """The line of the inspector has the address that opens it."""
    url = "http://127.0.0.1:8080/~mix/?token=x"
    said = start_lines("1.2", "files", ["http://127.0.0.1:8080/"], False, "site.toml", [], None, [url])
    lines = said.splitlines()
    assert lines[2:6] == [
        "  Local     http://127.0.0.1:8080/",
        "  Network   off: add --public to expose",
        f"  Inspect   {url}",
        "  Config    site.toml   (mixweb check, mixweb show)",
    ]


def test_public():
    """Where others may come, nothing is said of how to let them."""
    urls = ["http://127.0.0.1:8080/", "http://192.0.2.7:8080/"]
    said = start_lines("1.2", "files", urls, True, "", [], None)
    assert "  Address   http://192.0.2.7:8080/" in said
    assert "--public" not in said


def test_observer():
    """Warnings and failures are shown, what only a log wants is not."""
    stream = io.StringIO()
    log = Logger(observer=TerminalObserver(stream))
    log.info("noise")
    log.warn("careful: {what}", what="thin ice")
    try:
        raise KeyError("inside")
    except KeyError:
        log.failure("it broke", level=LogLevel.critical)
    assert "noise" not in stream.getvalue()
    assert stream.getvalue().startswith("careful: thin ice\nit broke\nTraceback")
    assert "KeyError: 'inside'" in stream.getvalue()


def test_since_start():
    """The age of the process is known on Linux."""
    assert since_start() > 0
