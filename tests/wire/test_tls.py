"""
TLS: certificates by name, read again when they change, HTTP/2 by ALPN.
"""

import os
import re
import time

import pytest
import trustme


@pytest.fixture
def authority(tmp_path):
    """A certificate authority, and a folder of certificates it signed."""
    made = trustme.CA()
    made.cert_pem.write_to_path(tmp_path / "ca.pem")
    folder = tmp_path / "certificates"
    folder.mkdir()
    for name in ("a.example", "b.example"):
        made.issue_cert(name).private_key_and_cert_chain_pem.write_to_path(folder / f"{name}.pem")
    return made


def ask(curl, server, tmp_path, name, *options):
    """A request to one of the names; the subject's names are in what curl says."""
    port = server.port
    return curl(
        "--cacert",
        tmp_path / "ca.pem",
        "--resolve",
        f"{name}:{port}:127.0.0.1",
        *options,
        f"https://{name}:{port}/a.txt",
    )


def test_https(twistd, curl, tmp_path, authority):
    """--https with a folder serves each name its certificate, over HTTP/2 where the client can and HTTP/1.1 where not."""
    (tmp_path / "a.txt").write_text("hello")
    server = twistd("--https", "18443", "--certificate", "certificates", "--path", ".")
    for name in ("a.example", "b.example"):
        line, fields, body = ask(curl, server, tmp_path, name)
        assert (line.split()[:2], body) == (["HTTP/2", "200"], "hello")
        assert "x-content-type-options: nosniff" in fields.lower()
        line, _, body = ask(curl, server, tmp_path, name, "--http1.1")
        assert (line, body) == ("HTTP/1.1 200 OK", "hello")


def test_renewal(twistd, curl, tmp_path, authority, run, program):
    """A certificate that is replaced is served from then on; a broken file leaves the old one in use and is said."""
    (tmp_path / "a.txt").write_text("hello")
    server = twistd("--https", "18444", "--certificate", "certificates", "--path", ".")
    assert ask(curl, server, tmp_path, "a.example")[2] == "hello"
    path = tmp_path / "certificates" / "a.example.pem"
    path.write_text("not a certificate")
    server.wait_for(r"a\.example\.pem.*stays in use")
    assert ask(curl, server, tmp_path, "a.example")[2] == "hello"
    other = trustme.CA()
    other.cert_pem.write_to_path(tmp_path / "ca.pem")
    other.issue_cert("a.example").private_key_and_cert_chain_pem.write_to_path(path)
    os.utime(path, (time.time() + 5, time.time() + 5))
    for _ in range(40):
        status, out, _ = run(
            program("curl"),
            "-sS",
            "--cacert",
            "ca.pem",
            "--resolve",
            "a.example:18444:127.0.0.1",
            "https://a.example:18444/a.txt",
        )
        if status == 0:
            break
        time.sleep(0.25)
    assert (status, out) == (0, "hello")


def test_http2_drain(twistd, tmp_path, authority, start, program):
    """SIGTERM lets an HTTP/2 answer that is under way end."""
    with (tmp_path / "big.bin").open("wb") as file:
        file.truncate(300_000_000)
    server = twistd("--https", "18445", "--certificate", "certificates", "--path", ".")
    server.wait_for("https://")
    client = start(
        program("curl"), "-sS", "--http2", "--limit-rate", "60M", "-o", "out.bin", "-w", "%{http_version} %{http_code}",
        "--cacert", "ca.pem", "--resolve", "a.example:18445:127.0.0.1", "https://a.example:18445/big.bin",
    )  # fmt: skip
    time.sleep(1)
    server.stop(seconds=40)
    assert client.wait_for(r"^2 200$")
    assert os.path.getsize(tmp_path / "out.bin") == 300_000_000


def test_bad_certificates(run, tmp_path, authority):
    """A certificate that is missing or does not fit is said in a sentence that names the file."""
    from tests.wire.conftest import BIN

    (tmp_path / "empty.pem").write_text("")
    for options in (["--certificate", "none.pem"], ["--certificate", "empty.pem"], []):
        status, out, err = run(BIN / "twistd", "-n", "--pidfile=", "web-mix", "--https", "18446", *options)
        assert status in (2, 4)
        assert "Traceback" not in out + err
        assert re.search(r"none\.pem|empty\.pem|add --certificate FILE", err)
