"""
The documentation is complete and says what is so.
"""

import re
import shlex
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs").rglob("*.md"))


def load_tables():
    """The module that writes the tables."""
    spec = spec_from_file_location("tables", ROOT / "docs" / "tables.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_tables_are_up_to_date():
    """The tables of options are what the settings say (make docs)."""
    tables = load_tables()
    stale = [path.name for path in PAGES if tables.filled(path.read_text()) != path.read_text()]
    assert stale == []


def test_every_feature_has_a_page(features):
    """Each feature has a page with its table, and a test module."""
    for name in features.features:
        page = ROOT / "docs" / "features" / f"{name}.md"
        assert f"<!-- options: {name} -->" in page.read_text()
        assert list((ROOT / "tests").glob(f"**/test_{name.replace('-', '_')}*.py")), name


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md"], ids=lambda path: path.name)
def test_links(page):
    """Links between pages lead somewhere."""
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_readme_commands_are_taken(features, tmp_path, monkeypatch):
    """The command lines of the README and of the page about the server can be taken, and the tables of TOML read."""
    from mixweb.commandline import Parser
    from mixweb.config import load

    for folder in ("site", "shop"):
        (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path)
    texts = [(ROOT / name).read_text().replace("\\\n", " ") for name in ("README.md", "docs/features/server.md")]
    lines = [line for text in texts for line in re.findall(r"^\$ twistd -n web-mix (.*)$", text, re.M)]
    assert len(lines) >= 3
    for line in lines:
        assert load(None, Parser().parse(shlex.split(line)).draft, {}).plan.default.settings
    documents = [document for text in texts for document in re.findall(r"```toml\n(.*?)```", text, re.S)]
    assert len(documents) == 2
    for document in documents:
        (tmp_path / "site.toml").write_text(document)
        assert load(tmp_path / "site.toml", None, {}).plan.hosts
