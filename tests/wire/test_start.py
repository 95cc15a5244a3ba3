"""
Starting: what is printed, what is refused, how it ends.
"""

import signal
import socket

import pytest

from tests.wire.conftest import BIN, ROOT

BAD = """\
prot = 8080
[files]
path = "wwww"
indx = ["a"]
[redirect]
code = "permanent"
[host."a b".files]
path = "www"
"""


def test_serves_a_folder(twistd, curl, tmp_path):
    """twistd web-mix --path DIR prints its address and serves the folder; SIGTERM ends it at once when idle."""
    (tmp_path / "hello.txt").write_text("hello\n")
    server = twistd("--port", "0", "--path", tmp_path)
    line, _, body = curl(f"{server.url}/hello.txt")
    assert (line, body) == ("HTTP/1.1 200 OK", "hello\n")
    assert server.stop() == -signal.SIGTERM


def test_the_mixweb_command(start, curl, tmp_path):
    """mixweb DIR and mixweb alone serve a folder."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.txt").write_text("a")
    for arguments, path in ((["sub"], "/a.txt"), (["serve", "sub"], "/a.txt"), ([], "/sub/a.txt")):
        server = start(BIN / "mixweb", *arguments, "--port", "0") if arguments else start(BIN / "mixweb", "--port", "0")
        assert curl(server.url + path)[2] == "a"
        assert server.stop(signal.SIGINT) == -signal.SIGINT


def test_unknown_option(run, mixweb):
    """An unknown option suggests the nearest one in a line, exit 2."""
    for command in ((BIN / "twistd", "-n", "web-mix"), (BIN / "mixweb",)):
        status, _, err = run(*command, "--prot", "8080")
        assert status == 2
        assert "unknown option --prot; did you mean '--port'?" in err
        assert len(err.splitlines()) == 2


def test_mistyped_command(mixweb):
    """A mistyped command is not taken for a folder."""
    status, _, err = mixweb("chekc")
    assert (status, err) == (2, "mixweb: there is no command, folder or file 'chekc'; did you mean 'mixweb check'?\n")


def test_check(mixweb, tmp_path):
    """mixweb check reports five mistakes with line and suggestion, exit 4; a good file is good, exit 0."""
    (tmp_path / "www").mkdir()
    (tmp_path / "site.toml").write_text(BAD)
    status, out, err = mixweb("check", "site.toml")
    assert (status, out) == (4, "")
    assert [line for line in err.splitlines() if line] == [
        "site.toml:1: unknown key 'prot'; did you mean 'port'?",
        f"site.toml:3: files: path '{tmp_path}/wwww' does not exist (nearest: '{tmp_path}/www')",
        "site.toml:4: unknown key 'indx' in files; did you mean 'index'?",
        "site.toml:6: redirect.code: expected an integer, got text",
        "site.toml:7: 'a b' is not a host name",
    ]
    (tmp_path / "site.toml").write_text('[files]\npath = "www"\n')
    assert mixweb("check") == (0, "site.toml: good\n", "")


def test_config_invalid(run, tmp_path):
    """A server does not start with a wrong configuration, exit 4."""
    (tmp_path / "site.toml").write_text(BAD)
    status, _, err = run(BIN / "twistd", "-n", "--pidfile=", "web-mix", "--config", "site.toml")
    assert status == 4
    assert "site.toml:1: unknown key 'prot'" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "endpoint", ["tcp:abc", "nonsense:1", "tcp:80:interface=nowhere..", "unix:/nowhere/s", "tcp:99999"]
)
def test_endpoints(run, endpoint):
    """An endpoint that makes no sense is said in one line, without a traceback."""
    status, out, err = run(BIN / "twistd", "-n", "--pidfile=", "web-mix", "--listen", endpoint)
    assert status in (2, 3, 4)
    assert "Traceback" not in out + err
    assert endpoint.split(":")[1] in err or endpoint in err


def test_busy_port(run, tmp_path):
    """A port that is taken is one line that helps, exit 3."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, out, err = run(BIN / "twistd", "-n", "--pidfile=", "web-mix", "--port", port, "--path", tmp_path)
    assert status == 3
    assert str(port) in err
    assert len(err.splitlines()) == 1
    assert "Traceback" not in out


def test_print_config_round_trip(run, mixweb, tmp_path):
    """--print-config writes a file that serves the same; --print-tac one that twistd -y takes; neither listens."""
    line = ["--port", "0", "--path", str(tmp_path), "--respond", "hi\n", "--at", "/hi", "--headers", "X-A: 1"]
    status, out, err = run(BIN / "twistd", "-n", "web-mix", *line, "--print-config")
    assert (status, err) == (0, "")
    (tmp_path / "site.toml").write_text(out)
    assert mixweb("check", "site.toml")[0] == 0
    status, again, _ = mixweb("--config", "site.toml", "--print-config")
    assert (status, again) == (0, out)
    status, out, err = mixweb(*line, "--print-tac")
    assert (status, err) == (0, "")
    compile(out, "site.tac", "exec")


def test_print_tac_runs(run, start, mixweb, curl, tmp_path):
    """The .tac that --print-tac writes serves what the line does."""
    _, out, _ = mixweb(
        "--port", "0", "--respond", "hi\n", "--at", "/hi", "--host", "b.example", "--respond", "b", "--print-tac"
    )
    (tmp_path / "site.tac").write_text(out)
    server = start(BIN / "twistd", "-n", "--pidfile=", "-y", "site.tac")
    assert curl(server.url + "/hi")[2] == "hi\n"
    assert curl(server.url + "/", "-H", "Host: b.example")[2] == "b"


def test_init(mixweb, start, curl, tmp_path):
    """mixweb init writes a site that serves, and overwrites nothing."""
    for kind in ("static", "hosts"):
        folder = tmp_path / kind
        folder.mkdir()
        assert mixweb("init", kind, folder=folder)[0] == 0
        status, _, err = mixweb("init", kind, folder=folder)
        assert status == 2
        assert "would be overwritten; nothing was written" in err
        assert mixweb("check", folder=folder)[0] == 0
        server = start(BIN / "mixweb", "site.toml", "--port", "0", folder=folder)
        assert "It works" in curl(server.url + "/")[2]


def test_show(mixweb, tmp_path):
    """mixweb show tells where each value was said, and what a request passes."""
    (tmp_path / "site.toml").write_text(
        '[files]\npath = "."\n[respond]\nat = "/hi"\nbody = "x"\n[headers]\npaths = ["/hi"]\n'
    )
    status, out, _ = mixweb("show")
    assert status == 0
    assert 'body = "x"  # site.toml:5' in out
    status, out, _ = mixweb("show", "--host", "a.example", "--path", "/x/../hi")
    assert "passes   headers (headers): paths has /hi" in out
    assert "asks     respond at /hi" in out
    assert "files at /" not in out
    status, out, _ = mixweb("show", "--path", "/x", "--method", "PUT")
    assert "skips    headers" in out
    assert "asks     files at /" in out


def test_make_run_hosts(twistd, curl):
    """vhosts.example serves its folders, its TOML host with aliases and wildcard, its scripts and a default."""
    server = twistd("--vhosts", ROOT / "vhosts.example", "--port", "0")

    def title(host, path="/"):
        return curl(server.url + path, "-H", f"Host: {host}")

    assert "mixweb is running" in title("anything.example")[2]
    assert "docs" in title("static.localhost")[2]
    assert title("scripts.localhost", "/?name=You")[2] == "Hello, You!\n"
    assert "visitor 1." in title("scripts.localhost", "/visits.rpy")[2]
    assert "visitor 2." in title("scripts.localhost", "/visits.rpy")[2]
    assert "X-From: a script" in title("scripts.localhost", "/careful.rpy")[1]
    for name in (
        "shop.localhost",
        "www.shop.localhost",
        "a.shop.localhost",
        "SHOP.localhost.",
        f"shop.localhost:{server.port}",
    ):
        _, fields, body = title(name)
        assert "The shop is open" in body, name
        assert "X-Shop: open" in fields
    assert title("shop.localhost", "/health")[2] == "ok\n"
    assert "Location: /offers/" in title("shop.localhost", "/sale")[1]


def test_example_tac(start, curl, tmp_path):
    """vhosts.example/site.tac serves the same hosts."""
    text = (ROOT / "vhosts.example" / "site.tac").read_text().replace('port="8080"', 'port="0"')
    (tmp_path / "site.tac").write_text(text.replace("Path(__file__).parent", f"Path({str(ROOT / 'vhosts.example')!r})"))
    server = start(BIN / "twistd", "-n", "--pidfile=", "-y", "site.tac")
    assert "The shop is open" in curl(server.url + "/", "-H", "Host: www.shop.localhost")[2]
    assert "mixweb is running" in curl(server.url + "/")[2]


def test_one_of_two_ports_is_busy(run, tmp_path):
    """When one port is taken the server ends and says so, though another one could be had."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, _, err = run(
            BIN / "mixweb", "--files", tmp_path, "--listen", "tcp:0:interface=127.0.0.1",
            "--listen", f"tcp:{port}:interface=127.0.0.1",
        )  # fmt: skip
    assert (status, len(err.splitlines())) == (3, 1)
    assert str(port) in err


def test_nothing_is_served_unasked(start, curl, tmp_path):
    """A file that says nothing of files does not have the current directory served."""
    (tmp_path / "site.toml").write_text('port = "0"\n[redirect]\nrules = { "/a" = "/b" }\n')
    server = start(BIN / "mixweb", "site.toml")
    assert curl(f"{server.url}/site.toml")[0] == "HTTP/1.1 404 Not Found"


def test_reload_takes_process_ids_only(mixweb, tmp_path):
    """A number that stands for many processes is no process id."""
    (tmp_path / "all.pid").write_text("-1")
    for arguments in (["--pid", "0"], ["--pid", "-1"], ["--pidfile", "all.pid"]):
        assert mixweb("reload", *arguments)[0] == 1
