"""
Logging in, with a real browser and real programs.
"""

import json
import os
import pty
import subprocess

import pytest

from tests.wire.conftest import BIN, environment

ALICE = "Wonder-land1"


@pytest.fixture
def site(tmp_path, mixweb, run):
    """A folder with a page that is open, and one for known users."""
    root = tmp_path / "site"
    (root / "admin").mkdir(parents=True)
    (root / "index.html").write_text("<title>open</title><p>hello")
    (root / "admin" / "index.html").write_text("<title>admin</title><p>secret")
    done = subprocess.run(
        [BIN / "mixweb", "passwd", "users", "alice", "--stdin", "--roles", "admin"],
        cwd=tmp_path, input=ALICE + "\n", text=True, env=environment(), capture_output=True, check=True,
    )  # fmt: skip
    assert done.stdout == "alice: added: users\n"
    return root


def fill(window, **fields):
    """Fill in the form of a page, and send it."""
    for name, value in fields.items():
        window.run("document.getElementById(arguments[0]).value = arguments[1]", name, value)
    window.run("document.querySelector('button').click()")


def test_a_person_logs_in_and_out(twistd, browser, site, tmp_path):
    """A browser is shown the login page, says what is wrong, leads to where it was going, and out again."""
    server = twistd("--port", "0", "--files", site, "--auth", tmp_path / "users", "--paths", "/admin/")
    window = browser()
    window.open(f"{server.url}/admin/?a=b")
    window.wait("document.title === 'Log in'")
    assert window.run("return location.pathname + location.search") == "/login?goto=/admin/%3Fa%3Db"
    window.wait("document.activeElement.id === 'username'")
    assert window.run("return getComputedStyle(document.querySelector('input')).borderRadius") == "8px"
    fill(window, username="alice", password="wrong")
    window.wait("document.querySelector('[role=alert]')")
    assert window.run("return document.getElementById('username').value") == "alice"
    assert window.run("return document.getElementById('password').value") == ""
    window.wait("document.activeElement.id === 'password'")
    fill(window, password=ALICE)
    window.wait("document.title === 'admin'")
    assert window.run("return location.pathname + location.search") == "/admin/?a=b"
    assert window.run("return document.cookie") == ""
    window.open(f"{server.url}/login")
    assert "Your name here is alice." in window.run("return document.body.innerText")
    fill(window)
    window.wait("document.title === 'Log in'")
    window.open(f"{server.url}/admin/")
    window.wait("document.title === 'Log in'")
    said = [line for line in window.console() if "favicon" not in line]
    assert all("401 (Unauthorized)" in line for line in said), said


def test_a_person_is_locked_out(twistd, browser, mixweb, site, tmp_path):
    """After five failures a browser is told to come back later, until the user is unlocked."""
    server = twistd("--port", "0", "--files", site, "--auth", tmp_path / "users", "--paths", "/admin/")
    window = browser()
    window.open(f"{server.url}/login?goto=/admin/")
    for number in range(6):
        window.run("window.before = true")
        fill(window, username="alice", password=f"wrong{number}")
        window.wait("!window.before && document.querySelector('[role=alert]')")
    assert "Try again later" in window.run("return document.body.innerText")
    server.wait_for(r"\[mixweb\.auth#warn\] login failed from 127\.0\.0\.1: form, locked, user 'alice'")
    assert mixweb("unlock", "alice", "--users", "users")[0] == 0
    server.wait_for("'alice' may try again")
    fill(window, username="alice", password=ALICE)
    window.wait("document.title === 'admin'")


def test_pages_of_other_sites(twistd, browser, site, tmp_path):
    """A page of another site logs nobody in and nobody out, in a browser that has a session here."""
    server = twistd("--port", "0", "--files", site, "--auth", tmp_path / "users", "--paths", "/admin/")
    window = browser()
    window.open(f"{server.url}/login?goto=/admin/")
    fill(window, username="alice", password=ALICE)
    window.wait("document.title === 'admin'")
    for action in ("logout", "login"):
        # The same server under another name is another site.
        window.open(f"http://evil.localhost:{server.port}/")
        window.run(
            "document.body.innerHTML = `<form method=post action=${arguments[0]}><input name=username id=username>"
            "<input name=password id=password><button>x</button></form>`",
            f"{server.url}/{action}",
        )
        fill(window, username="alice", password=ALICE)
        window.wait("document.body.innerText.includes('403')")
    window.open(f"{server.url}/admin/")
    assert window.wait("document.title") == "admin"


def test_scripts_open_no_window(twistd, browser, site, tmp_path):
    """What a script of a page fetches without a session is 401, and the browser asks nobody for a password."""
    server = twistd("--port", "0", "--files", site, "--auth", tmp_path / "users", "--paths", "/admin/")
    window = browser()
    window.open(server.url)
    window.run("fetch('/admin/').then(r => { window.got = [r.status, r.headers.get('WWW-Authenticate')] })")
    status, challenge = window.wait("window.got")
    assert status == 401
    assert challenge == 'Cookie realm="mixweb", form-action="/login"'


def test_programs(twistd, curl, site, tmp_path):
    """curl gets in by Basic, by Digest, by a token, and by the cookie of a login."""
    plain = tmp_path / "plain"
    plain.write_text("bob:Looking-glass2\n")
    server = twistd(
        "--port", "0", "--files", site, "--auth", plain, "--auth-token-algorithm", "HS256", "--auth-rehash" , "--no-auth-rehash",
        *(item for name in ("form", "basic", "digest", "bearer") for item in ("--auth-schemes", name)),
    )  # fmt: skip
    url = f"{server.url}/admin/"
    assert curl("--user", "bob:Looking-glass2", url)[2].endswith("secret")
    assert curl("--digest", "--user", "bob:Looking-glass2", url)[2].rpartition("\n\n")[2].endswith("secret")
    assert "HTTP/1.1 401" in curl("--digest", "--user", "bob:wrong", url)[2]
    answer = curl("--json", json.dumps({"username": "bob", "password": "Looking-glass2"}), f"{server.url}/login")
    token = json.loads(answer[2])["access_token"]
    assert curl("--oauth2-bearer", token, url)[2].endswith("secret")
    jar = tmp_path / "jar"
    form = ["--data", "username=bob", "--data", "password=Looking-glass2", "--header", "Accept: text/html"]
    assert curl("--cookie-jar", jar, *form, f"{server.url}/login")[0] == "HTTP/1.1 303 See Other"
    assert curl("--cookie", jar, url)[2].endswith("secret")
    assert curl(url)[0] == "HTTP/1.1 401 Unauthorized"


def test_typing_a_password(tmp_path):
    """What is typed at mixweb passwd is not shown; two different passwords change nothing."""

    def typed(*answers):
        child, terminal = pty.fork()
        if not child:
            os.chdir(tmp_path)
            os.execve(BIN / "mixweb", ["mixweb", "passwd", "users", "alice"], environment())
        shown = b""
        for prompt, answer in zip((b"alice: ", b"Again: "), answers, strict=True):
            while prompt not in shown:
                shown += os.read(terminal, 1000)
            os.write(terminal, answer.encode() + b"\n")
        while True:
            try:
                data = os.read(terminal, 1000)
            except OSError:
                break
            if not data:
                break
            shown += data
        os.close(terminal)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), shown.decode()

    status, shown = typed(ALICE, "Wonder-land2")
    assert (status, "two different passwords" in shown, (tmp_path / "users").exists()) == (1, True, False)
    status, shown = typed(ALICE, ALICE)
    assert (status, "Wonder" in shown) == (0, False)
    assert (tmp_path / "users").read_text().startswith("alice:$argon2id$")


def test_users_in_a_store(twistd, curl, site, tmp_path):
    """A user that mixweb passwd makes in a store may log in at a server with this store, and is locked out by it."""
    done = subprocess.run(
        [BIN / "mixweb", "passwd", "sqlite:state.db", "carol", "--stdin"],
        cwd=tmp_path, input="Down-rabbit3\n", text=True, env=environment(), capture_output=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "carol: added: sqlite:state.db\n"), done.stderr
    (tmp_path / "site.toml").write_text(
        'store = "sqlite:state.db"\nport = 0\n[auth]\nusers = "store:"\n[[files]]\npath = "site"\n'
    )
    server = twistd("--config", tmp_path / "site.toml")
    assert curl("--user", "carol:Down-rabbit3", server.url)[2].endswith("hello")
    codes = [curl("--user", "carol:wrong", server.url)[0].split()[1] for _ in range(6)]
    assert codes == ["401"] * 5 + ["429"]
    done = subprocess.run(
        [BIN / "mixweb", "unlock", "carol"], cwd=tmp_path, text=True, env=environment(), capture_output=True
    )
    assert (done.returncode, done.stdout) == (0, "carol may try again\n"), done.stderr
    assert curl("--user", "carol:wrong", server.url)[0] == "HTTP/1.1 401 Unauthorized"


def test_many_who_log_in_at_once(start, curl, site, tmp_path):
    """When more log in than can be checked in good time, some are answered 503 at once and everybody else gets in."""
    from concurrent.futures import ThreadPoolExecutor

    config = tmp_path / "site.toml"
    config.write_text(
        '[auth]\nusers = "users"\nattempts = 0\nhash_threads = 1\nhash_queue = 4\n[[files]]\npath = "site"\n'
    )
    server = start(BIN / "mixweb", config, "--port", "0")
    with ThreadPoolExecutor(30) as pool:
        answers = list(
            pool.map(lambda number: curl("--user", f"alice:{ALICE}{'x' * (number % 2)}", server.url), range(30))
        )
    codes = [line.split()[1] for line, _, _ in answers]
    assert {"503"} < set(codes) <= {"200", "401", "503"}
    assert all("Retry-After: 1" in fields for line, fields, _ in answers if " 503 " in line)
    assert curl("--user", f"alice:{ALICE}", server.url)[2].endswith("hello")


def test_keys_of_an_issuer_by_url(start, curl, site, tmp_path):
    """Tokens of an issuer are checked by the keys at its URL; what is no set of keys, or too long, or elsewhere, is none."""
    import time

    from joserfc.jwk import RSAKey

    from mixweb.features.auth._jwt import sign

    key = RSAKey.generate_key(2048)
    keys = json.dumps({"keys": [{**key.as_dict(private=False), "kid": key.thumbprint()}]})
    issuer_folder = tmp_path / "issuer"
    issuer_folder.mkdir()
    for name, content in (("keys", keys), ("long", keys + " " * 300_000), ("text", "hello")):
        (issuer_folder / f"{name}.json").write_text(content)
    issuer = start(BIN / "mixweb", issuer_folder, "--redirect", "/moved.json=/keys.json", "--port", "0")
    claims = {"sub": "carol", "iss": "them", "aud": "site", "exp": time.time() + 600}
    token = sign(claims, key, "RS256", key.thumbprint())
    for place, status in (("keys", 200), ("long", 503), ("text", 503), ("none", 503), ("moved", 503)):
        options = [
            "--auth-jwks",
            f"{issuer.url}/{place}.json",
            "--auth-jwks-issuer",
            "them",
            "--auth-jwks-audience",
            "site",
        ]
        server = start(BIN / "mixweb", site, *options, "--port", "0")
        assert curl("--oauth2-bearer", token, server.url)[0].split()[1] == str(status), place
        assert curl("--oauth2-bearer", token[:-4] + "AAAA", server.url)[0].split()[1] in ("401", "503")
        server.stop()


def test_lockout_of_several_nodes(start, curl, program, site, tmp_path):
    """Servers that share a store share its failures, sessions and tokens."""
    socket = tmp_path / "redis.sock"
    redis = start(program("redis-server"), "--port", "0", "--unixsocket", socket, "--save", "", "--dir", tmp_path)
    redis.wait_for("eady to accept connections")
    (tmp_path / "site.toml").write_text(
        f'store = "unix:{socket}"\n[auth]\nusers = "users"\ntoken_algorithm = "HS256"\nsecret = "{"k" * 64}"\n'
        '[[files]]\npath = "site"\n'
    )
    nodes = [start(BIN / "mixweb", tmp_path / "site.toml", "--port", "0") for _ in range(2)]
    codes = [curl("--user", "alice:wrong", nodes[number % 2].url)[0].split()[1] for number in range(7)]
    assert codes == ["401"] * 5 + ["429"] * 2
    done = subprocess.run(
        [BIN / "mixweb", "unlock", "alice"], cwd=tmp_path, text=True, env=environment(), capture_output=True
    )
    assert (done.returncode, done.stdout) == (0, "alice may try again\n"), done.stderr
    body = json.dumps({"username": "alice", "password": ALICE})
    given = json.loads(curl("--json", body, f"{nodes[0].url}/login")[2])
    assert curl("--oauth2-bearer", given["access_token"], nodes[1].url)[2].endswith("hello")
    again = json.dumps({"refresh_token": given["refresh_token"]})
    assert curl("--json", again, f"{nodes[1].url}/authtoken")[0].split()[1] == "200"
    assert curl("--json", again, f"{nodes[0].url}/authtoken")[0].split()[1] == "401"
    jar = tmp_path / "jar"
    form = ["--data", "username=alice", "--data", f"password={ALICE}", "--header", "Accept: text/html"]
    curl("--cookie-jar", jar, *form, f"{nodes[0].url}/login")
    for node in nodes:
        assert curl("--cookie", jar, node.url)[2].endswith("hello")
    redis.stop()
    for node in nodes:
        line, fields, _ = curl("--user", "alice:wrong", node.url)
        assert line.split()[1] == "503"
        assert "Retry-After" in fields
