"""
HTTP/2 as h2spec sees it (github.com/summerwind/h2spec). No distribution has it, so it is run where somebody has put it.
"""

import re
import socket
from contextlib import closing
from shutil import which

import pytest
import trustme


@pytest.mark.skipif(which("h2spec") is None, reason="h2spec is missing")
def test_h2spec(twistd, run, tmp_path):
    """Nothing is left to be desired, in strict mode over TLS."""
    trustme.CA().issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("hello")
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    server = twistd("--https", str(port), "--certificate", "server.pem", "--http2", "own", "--files", "site")
    server.wait_for("https://")
    _, said, _ = run(which("h2spec"), "--strict", "-t", "-k", "-p", str(port))
    assert re.search(r"^(\d+) tests, \1 passed, 0 skipped, 0 failed", said, re.MULTILINE), said[-3000:]
