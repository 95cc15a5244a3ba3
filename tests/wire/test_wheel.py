"""
What is shipped: one file below ``twisted``, and a server that starts from a fresh environment.
"""

import subprocess
import sys
import venv
import zipfile

import pytest

from tests.wire.conftest import ROOT, environment


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from this tree."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT, check=True, capture_output=True, env=environment(),
    )  # fmt: skip
    return next(folder.glob("*.whl"))


def test_contents(wheel):
    """The wheel has exactly one file below twisted, and no tests: another one there would break Twisted itself."""
    names = zipfile.ZipFile(wheel).namelist()
    assert [name for name in names if name.startswith("twisted/")] == ["twisted/plugins/mixweb_plugin.py"]
    assert not [name for name in names if name.startswith(("tests/", "docs/")) or "dropin" in name]
    assert "mixweb/py.typed" in names
    assert {f"mixweb/features/inspect/{name}" for name in ("page.html", "inspect.css", "inspect.js")} <= set(names)


def test_installed(wheel, tmp_path, start, curl, run):
    """Installed in a fresh environment, twistd finds web-mix and the reactor, and both doors serve."""
    target = tmp_path / "venv"
    venv.create(target, with_pip=False, symlinks=True)
    packages = next((target / "lib").iterdir()) / "site-packages"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--ignore-installed", "--prefix", str(target), str(wheel)],
        check=True, capture_output=True, env=environment(),
    )  # fmt: skip
    # What mixweb depends on is taken from here: downloading it again would prove nothing about the wheel.
    outside = [path for path in sys.path if path.endswith("site-packages")]
    (packages / "outside.pth").write_text("\n".join(outside))
    (tmp_path / "a.txt").write_text("hello")
    python = target / "bin" / "python"
    where = run(python, "-c", "import mixweb; print(mixweb.__file__)")[1]
    assert str(target) in where
    twistd = (python, "-c", "from twisted.scripts.twistd import run; run()")
    assert "    mixweb" in run(*twistd, "--help-reactors")[1]
    for command in ((*twistd, "-r", "mixweb", "-n", "--pidfile=", "web-mix"), (python, "-m", "mixweb")):
        server = start(*command, "--port", "0")
        assert curl(f"{server.url}/a.txt")[2] == "hello"
