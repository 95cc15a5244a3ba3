"""
The pages about users, rules and rates say what is so.
"""

import re
import shlex
from pathlib import Path

import pytest

from mixweb.commandline import Parser
from mixweb.config import load
from mixweb.features.auth._lockout import cells
from mixweb.kit.rates import parse_rate

DOCS = Path(__file__).parents[3] / "docs"
PAGES = ["features/auth.md", "features/rate.md", "features/quota.md", "howto/users.md"]


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with what the examples name."""
    (tmp_path / "site").mkdir()
    (tmp_path / "users").write_text("alice:Wonder-land1:admin\n")
    (tmp_path / "token.key").write_text("k" * 64)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", PAGES)
def test_examples_in_toml(page, folder):
    """Each table can be taken."""
    found = blocks(page, "toml")
    assert found
    for text in found:
        whole = text if "[auth]\n" in text or not text.startswith("[auth.") else f'[auth]\nusers = "users"\n{text}'
        (folder / "site.toml").write_text(whole)
        assert load(folder / "site.toml", None, {}).plan.default.settings


@pytest.mark.parametrize("page", PAGES)
def test_examples_in_python(page, folder):
    """Each program makes a server."""
    for text in blocks(page, "python"):
        names = {}
        exec(text, names)
        assert names["application"] is not None


def test_command_lines(folder):
    """Each command line that serves can be taken."""
    lines = [
        line for page in PAGES for line in re.findall(r"^\$? ?mixweb ((?:--|site).*)$", (DOCS / page).read_text(), re.M)
    ]
    assert len(lines) >= 2
    for line in lines:
        words = shlex.split(line)
        words = ["--files", *words] if not words[0].startswith("-") else words
        assert load(None, Parser().parse(words).draft, {}).plan.default.settings


def test_numbers():
    """The numbers on the page about failures are those that count."""
    found = {(cell.burst, cell.period / cell.burst) for cell in cells("alice", "192.0.2.1", 5)}
    assert {(5, 12), (10, 90), (15, 1440), (25, 24)} <= found
    text = (DOCS / "features/auth.md").read_text()
    assert "every 12 seconds, later every 90 seconds, later every 24 minutes" in text
    assert "An address gets 25 failures" in text


def test_rates_on_the_page():
    """The rates that are named as examples are rates."""
    text = (DOCS / "features/rate.md").read_text()
    (line,) = re.findall(r"A rate is a number and a time: (.*?)\. So many", text, re.DOTALL)
    for example in re.findall("`([^`]+)`", line):
        parse_rate(example)
