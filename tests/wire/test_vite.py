"""
A Vite dev server behind the proxy, with hot reload, as docs/howto/vite.md has it.
"""

import re
import socket
import subprocess

import pytest
import trustme

from tests.wire.conftest import ROOT

PAGE = (ROOT / "docs" / "howto" / "vite.md").read_text()
FILES = {name: text for text, name in re.findall(r"```toml\n(# (\S+)\n.*?)```", PAGE, re.DOTALL) for name in [name]}

MAIN = """\
import { text } from "./text.js";
const show = text => { document.querySelector("#app").textContent = text; };
show(text);
import.meta.hot.accept("./text.js", module => show(module.text));
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with Vite in it."""
    from tests.conftest import needs

    npm = needs("npm")
    folder = tmp_path_factory.mktemp("vite")
    (folder / "package.json").write_text('{"name": "app", "private": true, "version": "0.0.0"}')
    done = subprocess.run(
        [npm, "install", "vite@5", "--no-audit", "--no-fund"], cwd=folder, capture_output=True, timeout=180, check=False
    )
    if done.returncode:
        pytest.skip(f"Vite cannot be installed: {done.stderr[-200:]!r}")
    return folder


@pytest.fixture
def vite(installed, start):
    """Starts Vite: its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (installed / "index.html").write_text(
        '<!doctype html><div id="app"></div><script type="module" src="/main.js"></script>'
    )
    (installed / "main.js").write_text(MAIN)
    (installed / "text.js").write_text('export const text = "before";')

    def begin(*options):
        command = ["--port", str(port), "--strictPort", "--host", "127.0.0.1", *options]
        start(installed / "node_modules" / ".bin" / "vite", *command, folder=installed).wait_for("ready in")
        return port

    return begin


def reloads_hot(window, folder, url):
    """Whether a change reaches the page without a reload."""
    window.open(url)
    assert window.wait("document.querySelector('#app').textContent") == "before"
    window.run("window.kept = 'kept'")
    (folder / "text.js").write_text('export const text = "after";')
    window.wait("document.querySelector('#app').textContent == 'after'")
    return window.run("return window.kept") == "kept"


def test_hot_reload(vite, installed, twistd, browser, curl, tmp_path):
    """Pages, modules and hot reload come through; an API stands beside them."""
    port, api = vite(), twistd("--respond", "from the API", "--port", "0")
    document = FILES["site.toml"].replace("5173", str(port)).replace("9000", str(api.port)).replace("tcp:8080", "tcp:0")
    (tmp_path / "site.toml").write_text(document.replace("localhost", "127.0.0.1"))
    server = twistd("--config", tmp_path / "site.toml")
    assert reloads_hot(browser(), installed, f"{server.url}/")
    assert curl(f"{server.url}/api/users")[2] == "from the API"


def test_hot_reload_over_tls(vite, installed, twistd, browser, tmp_path):
    """Also over TLS."""
    trustme.CA().issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(tmp_path / "localhost.pem")
    port = vite()
    with socket.create_server(("127.0.0.1", 0)) as free:
        https = free.getsockname()[1]
    server = twistd("--https", str(https), "--certificate", "localhost.pem", "--proxy", f"http://127.0.0.1:{port}")
    server.wait_for("https://")
    assert reloads_hot(browser(), installed, f"https://localhost:{https}/")


def test_below_a_path(vite, installed, twistd, browser, tmp_path):
    """And below a path."""
    port = vite("--base", "/app/")
    document = FILES["below.toml"].replace("5173", str(port)).replace("localhost", "127.0.0.1")
    (tmp_path / "below.toml").write_text(document)
    server = twistd("--config", tmp_path / "below.toml", "--port", "0")
    assert reloads_hot(browser(), installed, f"{server.url}/app/")
