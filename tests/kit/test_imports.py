"""
Python objects by name, and what is said of names that are wrong.
"""

import sys

import pytest

from mixweb.kit.imports import import_name

PACKAGE = {
    "sillyweb/__init__.py": "class Counter:\n    value = 3\n    class Inner: pass\n",
    "sillyweb/pages.py": "application = 'the application'\n",
    "sillyweb/broken.py": "import os\n1 / 0\n",
    "sillyweb/needy.py": "import nosuchlibrary\n",
    "sillyweb/wrong.py": "x = (\n",
}


@pytest.fixture(autouse=True)
def package(tmp_path, monkeypatch):
    """A package in the current directory."""
    for name, text in PACKAGE.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "sillyweb"]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("sillyweb.Counter.value", 3),
        ("sillyweb:Counter.value", 3),
        ("sillyweb.pages.application", "the application"),
        ("sillyweb.pages:application", "the application"),
        ("os.path.sep", "/"),
    ],
)
def test_found(name, found):
    """A name is looked up with dots or with a colon behind the module, also in the current directory."""
    assert import_name(name) == found


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "'' is no Python name: expected module.object or module:object"),
        ("a-b.c", "'a-b.c' is no Python name: expected module.object or module:object"),
        ("sillyweb.", "'sillyweb.' is no Python name: expected module.object or module:object"),
        ("silyweb.Counter", "'silyweb.Counter': there is no module 'silyweb' (nearest: 'sillyweb')"),
        ("sillyweb.page:x", "'sillyweb.page:x': there is no module 'sillyweb.page' (nearest: 'pages')"),
        ("sillyweb.Countr", "'sillyweb.Countr': module 'sillyweb' has no 'Countr' (nearest: 'Counter')"),
        ("sillyweb.zzz", "'sillyweb.zzz': module 'sillyweb' has no 'zzz'"),
        ("sillyweb:Counter.Iner", "'sillyweb:Counter.Iner': 'type' has no 'Iner' (nearest: 'Inner')"),
        ("sillyweb.pages.x:y", "'sillyweb.pages.x:y': module 'sillyweb.pages' is no package"),
        (
            "sillyweb.broken.x",
            "'sillyweb.broken.x': importing 'sillyweb.broken' failed: ZeroDivisionError: division by zero"
            " ({tmp}/sillyweb/broken.py, line 2)",
        ),
        (
            "sillyweb.needy.x",
            "'sillyweb.needy.x': importing 'sillyweb.needy' failed: ModuleNotFoundError: No module named 'nosuchlibrary'"
            " ({tmp}/sillyweb/needy.py, line 1)",
        ),
        (
            "sillyweb.wrong.x",
            "'sillyweb.wrong.x': importing 'sillyweb.wrong' failed: SyntaxError: '(' was never closed (wrong.py, line 1)",
        ),
    ],
)
def test_wrong(name, message, tmp_path):
    """An error says which part of a name could not be imported and why, and the nearest that could."""
    with pytest.raises(ValueError, match=r"\A") as caught:
        import_name(name)
    assert str(caught.value) == message.replace("{tmp}", str(tmp_path))


def test_current_directory_comes_last(tmp_path):
    """A module in the current directory does not take the place of one that Python finds itself."""
    (tmp_path / "colorsys.py").write_text("rgb_to_hsv = None\n")
    assert import_name("colorsys.rgb_to_hsv") is not None
    assert sys.path[0] != str(tmp_path)
