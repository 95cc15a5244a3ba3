"""
Imports point one way.
"""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "mixweb"

#: Each layer may import those behind it, and itself.
LAYERS = [
    {"quickstart"},
    {"cli", "tap", "__main__"},
    {
        "explain",
        "init",
        "routelist",
        "importing",
        "_importing_canister",
        "_importing_cherrypy",
        "_importing_lines",
        "worker",
    },
    {"server", "_store_checks", "serving", "terminal", "inspection", "autoreload"},
    {"commandline", "dump"},
    {"config", "_plan_checks", "reading", "draft", "convert", "_toml_lines"},
    {"assemble"},
    {"registry"},
    {"features"},
    {"testing", "_testing_http2", "shared", "route"},
    {"pages"},
    {"kit"},
    {"wrapper", "vhost"},
    {"plan"},
    {"feature"},
    {"engine"},
    {"paths", "stores", "interfaces", "_version"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
MODULES = sorted(path for path in ROOT.rglob("*.py") if path.name != "__init__.py" or path.parent != ROOT)


def part(name):
    """The part of mixweb that a module belongs to."""
    return name.split(".")[1] if "." in name else "_version"


def imported(path):
    """The modules of mixweb that a module imports, also inside functions, and those of twisted.internet.reactor."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            yield from ((alias.name, []) for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports(path):
    """A module imports only its own layer and those behind it; a feature no other feature; only the doors the reactor."""
    own = path.relative_to(ROOT).with_suffix("").parts
    for module, names in imported(path):
        if module == "twisted.internet" and "reactor" in names:
            assert own[0] in ("tap", "cli")
        if module.split(".")[0] != "mixweb" or (module == "mixweb" and names == ["__version__"]):
            continue
        if module == "mixweb":
            module = next(f"mixweb.{name}" for name in names if name != "__version__")
        if module.startswith("mixweb.features.") and own[0] == "features":
            assert module.split(".")[2].lstrip("_").startswith(own[1].lstrip("_").split("_")[0]), module
        assert LEVEL[own[0]] <= LEVEL[part(module)], f"{'.'.join(own)} imports {module}"


def test_every_part_has_a_layer():
    """No part of mixweb stands outside the order."""
    parts = {path.relative_to(ROOT).with_suffix("").parts[0] for path in MODULES}
    assert parts <= set(LEVEL)
