"""
The forward proxy with curl and a browser.
"""

import socket
import threading
from pathlib import Path

import pytest
import trustme

from tests.wire.conftest import BIN


@pytest.fixture
def secure(start, tmp_path):
    """A server of HTTPS on loopback: its port."""
    authority = trustme.CA()
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "a.txt").write_text("secret page")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = ["--https", str(port), "--certificate", tmp_path / "server.pem", "--port", "0"]
    start(BIN / "twistd", "-n", "--pidfile=", "web-mix", "--path", tmp_path / "www", *options).wait_for("https://")
    return port


@pytest.fixture
def plain(start, tmp_path):
    """A server of HTTP on loopback: its URL."""
    (tmp_path / "open").mkdir()
    (tmp_path / "open" / "b.txt").write_text("open page")
    return start(BIN / "twistd", "-n", "--pidfile=", "web-mix", "--path", tmp_path / "open", "--port", "0").url


def port_of(url):
    return url.rpartition(":")[2]


def test_curl(plain, secure, twistd, curl, tmp_path):
    """curl reaches what it may: pages in clear by their URLs, and others through a tunnel that nobody looks into."""
    (tmp_path / "users").write_text("alice:secret\n")
    ports = ["--forward-proxy-ports", port_of(plain), "--forward-proxy-connect-ports", str(secure)]
    server = twistd(
        "--forward-proxy", "--forward-proxy-private", "localhost", *ports,
        "--auth", "users", "--auth-schemes", "basic", "--port", "0",
    )  # fmt: skip
    proxy = ["--proxy", server.url, "--noproxy", ""]
    known = [*proxy, "--proxy-user", "alice:secret"]
    page, tunnelled = f"http://localhost:{port_of(plain)}/b.txt", f"https://localhost:{secure}/a.txt"
    assert server.wait_for("forward-proxy: known users")
    assert curl(*proxy, page)[0].startswith("HTTP/1.1 407 ")
    line, fields, body = curl(*known, page)
    assert (line, body) == ("HTTP/1.1 200 OK", "open page")
    assert "X-Frame-Options" in fields
    assert curl(*known, f"http://127.0.0.1:{port_of(plain)}/b.txt")[0] == "HTTP/1.1 403 Forbidden"
    head, _, body = curl(*known, "--cacert", tmp_path / "ca.pem", "--http1.1", tunnelled)
    assert head.startswith("HTTP/1.1 200")
    assert body.endswith("secret page")
    assert server.wait_for(f"CONNECT localhost:{secure}")
    log = "\n".join(server.lines)
    assert "a.txt" not in log
    assert "secret" not in log


def test_refused_tunnels(secure, twistd, run, program, tmp_path):
    """A tunnel to a private address that is not named is refused."""
    server = twistd("--forward-proxy", "--forward-proxy-connect-ports", str(secure), "--port", "0")
    command = [program("curl"), "-sS", "--proxy", server.url, "--noproxy", "", "--cacert", tmp_path / "ca.pem"]
    status, _, err = run(*command, f"https://localhost:{secure}/a.txt")
    assert status == 56
    assert "403" in err


def test_long_tunnels(twistd, tmp_path):
    """Many bytes go through a tunnel both ways at once."""
    echo = socket.create_server(("127.0.0.1", 0))

    def serve():
        connection, _ = echo.accept()
        with connection:
            while piece := connection.recv(65536):
                connection.sendall(piece)

    serving = threading.Thread(target=serve, daemon=True)
    serving.start()
    port = echo.getsockname()[1]
    server = twistd(
        "--forward-proxy", "--forward-proxy-private", "loopback", "--forward-proxy-connect-ports", str(port), "--port", "0"
    )  # fmt: skip
    data = bytes(range(256)) * 40_000
    with server.connect() as client:
        client.sendall(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: x\r\n\r\n" % port)
        assert client.recv(100) == b"HTTP/1.1 200 OK\r\n\r\n"
        sending = threading.Thread(target=client.sendall, args=(data,))
        sending.start()
        received = bytearray()
        while len(received) < len(data):
            received += client.recv(1 << 20)
        sending.join()
    assert received == data
    serving.join(10)
    echo.close()
    assert not serving.is_alive()
    assert Path(f"/proc/{server.process.pid}").exists()
