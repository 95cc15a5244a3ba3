"""
Applications on the wire: started in each way, started anew, typed, and one in a real browser.
"""

import json
import os
import shutil
import signal
import sys

import pytest

from tests.wire.conftest import BIN, ROOT

PROGRAM = """
import sys
{imports}
import mixweb
from mixweb.pages import Page, Pages

site = Pages()


@site.route("/hi")
def hi(name: str, times: int = 1) -> str:
    return f"Hi {{name}}! " * times


@site.route("/take")
class Take(Page):
    size = 0

    async def data_received(self, chunk: bytes) -> None:
        self.size += len(chunk)

    def put(self) -> str:
        return str(self.size)


if __name__ == "__main__":
    mixweb.run(site, mixweb.Respond("behind", at="/behind"), port="tcp:0:interface=127.0.0.1")
"""


@pytest.mark.parametrize("imports", ["", "from twisted.internet import reactor"])
def test_run(start, curl, tmp_path, imports):
    """A program serves its application by itself, on mixweb's reactor or the one it has, with an access log, and ends."""
    (tmp_path / "program.py").write_text(PROGRAM.format(imports=imports))
    server = start(sys.executable, "program.py")
    status, _, body = curl(f"{server.url}/hi?name=A&times=2")
    assert (status, body) == ("HTTP/1.1 200 OK", "Hi A! Hi A! ")
    assert curl(f"{server.url}/behind")[2] == "behind"
    server.wait_for(r'"GET /hi\?name=A&times=2 HTTP/1.1" 200 ')
    assert server.stop(signal.SIGINT) in (0, -signal.SIGINT)


def test_streamed_body(start, curl, tmp_path):
    """A body of many megabytes goes through a page in pieces; the server does not grow by it."""
    (tmp_path / "program.py").write_text(PROGRAM.format(imports=""))
    (tmp_path / "big").write_bytes(os.urandom(1024) * 40 * 1024)
    server = start(sys.executable, "program.py")

    def memory():
        with open(f"/proc/{server.process.pid}/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))

    assert curl("-H", "Expect:", "--upload-file", "big", f"{server.url}/take")[2] == str(40 * 1024 * 1024)
    before = memory()
    assert curl("-H", "Expect:", "--upload-file", "big", f"{server.url}/take")[2] == str(40 * 1024 * 1024)
    assert memory() - before < 4 * 1024


@pytest.mark.parametrize("surface", ["option", "file", "rpy", "tac"])
def test_surfaces(start, twistd, curl, tmp_path, surface):
    """An application is mounted from the command line, a file, a script and a .tac."""
    (tmp_path / "program.py").write_text(PROGRAM.format(imports=""))
    port = "tcp:0:interface=127.0.0.1"
    if surface == "option":
        server = twistd("--port", port, "--pages", "program:site", "--at", "/shop")
    elif surface == "file":
        (tmp_path / "site.toml").write_text(f'port = "{port}"\n[pages]\napp = "program:site"\nat = "/shop"\n')
        server = twistd("--config", "site.toml")
    elif surface == "rpy":
        (tmp_path / "root").mkdir()
        (tmp_path / "root" / "shop.rpy").write_text("import program\nresource = program.site\n")
        server = twistd("--port", port, "--path", "root", "--ignore-ext", ".rpy", PYTHONPATH=str(tmp_path))
    else:
        (tmp_path / "site.tac").write_text(
            "import program\nfrom mixweb import Host, PagesMount, application as make\n"
            f'application = make(listen=["{port}"], default=Host(PagesMount(program.site, at="/shop")))\n'
        )
        server = start(BIN / "twistd", "-n", "--pidfile=", "-y", "site.tac", PYTHONPATH=str(tmp_path))
    assert curl(f"{server.url}/shop/hi?name=A")[2] == "Hi A! "
    assert curl(f"{server.url}/shop/hi")[0] == "HTTP/1.1 400 Bad Request"


def test_started_anew(twistd, curl, tmp_path):
    """With --reload a changed module is served at once, at the same port; one that cannot be read is waited for."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(imports=""))
    server = twistd("--port", "tcp:0:interface=127.0.0.1", "--reload", "--pages", "program:site")
    assert curl(f"{server.url}/hi?name=A")[2] == "Hi A! "
    program.write_text(PROGRAM.format(imports="").replace("Hi {name}", "Bye {name"))
    server.wait_for("not started anew: .*program.py")
    program.write_text(PROGRAM.format(imports="").replace("Hi {name}", "Bye {name}"))
    server.wait_for("program.py has changed: starting anew")
    server.lines.clear()
    assert curl(f"{server.wait_for(r'(http://127.0.0.1:[0-9]+)/')[1]}/hi?name=A")[2] == "Bye A! "


def test_wrong_at_start(mixweb, tmp_path):
    """What is wrong with handlers is said with file and line, all at once, and nothing is served."""
    (tmp_path / "wrong.py").write_text(
        "from mixweb.pages import Pages, Session\nsite = Pages()\n\n@site.route('/a')\ndef a(x: complex) -> str: ...\n\n"
        "@site.route('/a')\ndef b(x: 'Nonesuch') -> str: ...\n"
    )
    status, _, said = mixweb("--pages", "wrong:site", "--port", "0")
    assert status == 2
    assert f"{tmp_path}/wrong.py:4: a: parameter 'x': complex cannot be made" in said
    assert f"{tmp_path}/wrong.py:7: GET /a is b here, and a at {tmp_path}/wrong.py:4" in said
    assert "Traceback" not in said


def test_types(run, tmp_path):
    """A module of handlers is well typed for mypy, at its strictest, and a wrong use is not."""
    module = (ROOT / "tests" / "pages" / "typed_handlers.py").read_text()
    (tmp_path / "handlers.py").write_text(module)
    (tmp_path / "wrong.py").write_text(
        "from mixweb.pages import Page\n\n\nclass P(Page):\n    def get(self) -> None:\n"
        '        age: str = self.get_argument("age", type=int)\n        self.set_status("200")\n'
    )
    cache = f"--cache-dir={ROOT}/.mypy_cache"
    assert run(sys.executable, "-m", "mypy", "--strict", cache, "handlers.py")[:2] == (
        0, "Success: no issues found in 1 source file\n"
    )  # fmt: skip
    status, said, _ = run(sys.executable, "-m", "mypy", "--strict", cache, "wrong.py")
    assert (status, said.count("error:")) == (1, 2)


@pytest.fixture
def todo(twistd, tmp_path):
    """The example hosts, the list of things to do among them."""
    hosts = tmp_path / "hosts"
    shutil.copytree(ROOT / "vhosts.example", hosts, ignore=shutil.ignore_patterns("todo.db", "__pycache__"))
    server = twistd("--vhosts", hosts, "--port", "0")
    server.todo = f"http://todo.localhost:{server.port}"
    return server


def test_things_to_do_by_program(todo, curl):
    """The list has an API for programs; what is wrong is said, and nobody sees another's things."""

    def ask(*arguments, path="/api/todos", user="alice:Wonder-land1"):
        status, _, body = curl(
            "-u", user, "-H", "Host: todo.localhost", *arguments, f"http://127.0.0.1:{todo.port}{path}"
        )
        return int(status.split()[1]), json.loads(body) if body.startswith("{") else body

    assert ask() == (200, {"todos": []})
    assert ask("--json", '{"title": "milk"}')[0] == 204
    assert ask() == (200, {"todos": [{"id": 1, "title": "milk", "done": False, "name": None}]})
    assert ask("-X", "PATCH", "--json", '{"done": true}', path="/api/todos/1")[0] == 204
    assert ask()[1]["todos"][0]["done"]
    assert ask("-X", "PATCH", "--json", '{"done": 1}', path="/api/todos/1") == (
        400, {"status": 400, "error": "Bad Request", "detail": "done: expected true or false, got 1."}
    )  # fmt: skip
    assert ask("-X", "DELETE", path="/api/todos/9")[0] == 404
    assert ask("--json", "{}")[1]["detail"] == "title: missing."
    assert ask("-X", "DELETE", path="/api/todos/1")[0] == 204
    assert ask(user="alice:wrong")[0] == 401


def test_things_to_do_in_a_browser(todo, browser, tmp_path):
    """One logs in, adds, ticks off and deletes; a file goes up and comes back; a second window shows it without being asked."""
    window = browser()
    window.open(f"{todo.todo}/")
    window.wait("document.querySelector('input[name=password]')")
    window.run(
        "document.querySelector('input[name=username]').value = 'alice';"
        "const password = document.querySelector('input[name=password]'); password.value = 'Wonder-land1'; password.form.submit()"
    )
    window.wait("document.querySelector('h1')?.textContent === 'alice has to do'")
    shown = "[...document.querySelectorAll('li')].map(item => item.innerText.replace(/\\s+/g, ' ').trim())"
    assert window.run(f"return {shown}") == ["nothing"]
    window.run("window.kept = true")
    add = (
        "const data = new FormData(document.getElementById('new')); data.set('title', arguments[0]);"
        "if (arguments[1]) data.set('file', new File([arguments[1]], 'note.txt'));"
        "fetch('/', {method: 'POST', body: data})"
    )
    window.run(add, "<b>milk</b>", "")
    window.wait(f"JSON.stringify({shown}) === JSON.stringify(['☐ <b>milk</b> ✕'])")
    window.run(add, "read", "what is in it")
    window.wait(f"{shown}.length === 2 && {shown}[1] === '☐ read note.txt ✕'")
    assert window.run("return window.kept")
    file = "fetch(document.querySelector('a[download]').href).then(answer => answer.text()).then(text => window.text = text)"
    window.run(file)
    assert window.wait("window.text") == "what is in it"
    window.run("document.querySelector('li button').click()")
    window.wait(f"{shown}[0] === '☑ <b>milk</b> ✕'")
    assert window.run("return document.querySelector('li').className") == "done"
    window.run("[...document.querySelectorAll('li')][0].querySelectorAll('button')[1].click()")
    window.wait(f"{shown}.length === 1 && {shown}[0] === '☐ read note.txt ✕'")
    window.run("document.querySelector('form[action=\"/logout\"] button').click()")
    window.wait("!document.querySelector('#new')")
    window.open(f"{todo.todo}/")
    window.wait("document.querySelector('input[name=password]')")
    assert [line for line in window.console() if "favicon" not in line and "404" not in line] == []
