"""
The documentation is complete and says what is so.
"""

import re
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
        assert list((ROOT / "tests").glob(f"**/test_{name}*.py")), name


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md"], ids=lambda path: path.name)
def test_links(page):
    """Links between pages lead somewhere."""
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), target
