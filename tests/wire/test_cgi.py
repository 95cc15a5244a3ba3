"""
Real programs behind a real server: PHP, Perl, a shell script.
"""

PHP = """\
<?php
header("X-Self: " . $_SERVER["SCRIPT_NAME"]);
setcookie("seen", "yes");
echo $_SERVER["PATH_INFO"] ?? "", " ", $_GET["a"] ?? "", " ", $_POST["b"] ?? "", " ", strlen(file_get_contents("php://input"));
"""
PERL = """\
print "Content-Type: text/plain\\n\\n$ENV{REQUEST_METHOD} $ENV{PATH_INFO}";
"""


def test_php(twistd, curl, program, tmp_path):
    """A folder of PHP is served by php-cgi: pages, index, forms, and what stands behind the name."""
    program("php-cgi")
    site = tmp_path / "site"
    site.mkdir()
    (site / "index.php").write_text(PHP)
    (site / "style.css").write_text("p {}")
    server = twistd("--path", site, "--files-interpreters", "php=php-cgi", "--files-index", "index.php", "--port", "0")
    assert curl(f"{server.url}/?a=1")[2] == " 1  0"
    assert curl("-d", "b=2", f"{server.url}/index.php/more?a=1")[2] == "/more 1 2 3"
    _, fields, _ = curl(f"{server.url}/index.php")
    assert "X-Self: /index.php" in fields
    assert "Set-Cookie: seen=yes" in fields
    assert curl(f"{server.url}/style.css")[2] == "p {}"


def test_folder_of_programs(twistd, curl, tmp_path):
    """Programs of a folder run, the one without an interpreter must be executable."""
    folder = tmp_path / "cgi-bin"
    folder.mkdir()
    (folder / "a.pl").write_text(PERL)
    (folder / "hello").write_text("#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\nhello'")
    (folder / "hello").chmod(0o755)
    (folder / "plain").write_text("text")
    server = twistd("--cgi", folder, "--cgi-interpreters", "pl=perl", "--port", "0")
    assert curl(f"{server.url}/cgi-bin/a.pl/x/y")[2] == "GET /x/y"
    assert curl(f"{server.url}/cgi-bin/hello")[2] == "hello"
    for path, status in (("plain", "403"), ("none", "404"), ("", "404"), ("..%2fsecret", "404")):
        assert curl(f"{server.url}/cgi-bin/{path}")[0].split()[1] == status, path


def test_client_leaves(twistd, tmp_path):
    """A program ends when its client breaks the connection, and the server has no more to say about it."""
    folder = tmp_path / "cgi-bin"
    folder.mkdir()
    (folder / "endless").write_text(
        "#!/bin/sh\ntrap 'echo told to end >&2; exit' TERM\nprintf '\\nx'; while :; do sleep 0.05; done"
    )
    (folder / "endless").chmod(0o755)
    server = twistd("--cgi", folder, "--port", "0")
    with server.connect() as client:
        client.sendall(b"GET /cgi-bin/endless HTTP/1.1\r\nHost: localhost\r\n\r\n")
        client.recv(4096)
    server.wait_for("told to end")
    server.stop()
    assert "Traceback" not in server.output
