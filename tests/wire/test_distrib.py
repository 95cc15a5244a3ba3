"""
One site in two processes.
"""

import signal
import time

from tests.wire.conftest import BIN, ROOT


def test_spread(start, curl, unused_port, tmp_path):
    """The example starts a second process, hands requests on to it, and takes it along when it ends."""
    text = (ROOT / "vhosts.example" / "spread.tac").read_text()
    text = text.replace("Path(__file__)", f"Path({str(ROOT / 'vhosts.example' / 'spread.tac')!r})")
    (tmp_path / "spread.tac").write_text(text.replace('"8080"', f'"{unused_port}"'))
    server = start(BIN / "twistd", "--pidfile=", "-ny", tmp_path / "spread.tac")
    shop = f"{server.url}/shop/offers/"
    end = time.monotonic() + 20
    while (answer := curl(shop))[0].split()[1] == "502" and time.monotonic() < end:
        time.sleep(0.1)
    assert (answer[0].split()[1], "Offers" in answer[2]) == ("200", True)
    assert "mixweb is running" in curl(f"{server.url}/")[2]
    server.stop(signal.SIGTERM)


def test_two_processes(twistd, curl, tmp_path):
    """A path of one server is a site of another, over a socket; while that is gone it is a 502."""
    (tmp_path / "a.txt").write_text("published")
    socket = tmp_path / "s"
    front = twistd("--distrib", f"unix:{socket}", "--at", "/other", "--port", "0")
    assert curl(f"{front.url}/other/a.txt")[0].split()[1] == "502"
    twistd("--personal", "--listen", f"unix:{socket}", "--path", tmp_path).wait_for("unix")
    assert curl(f"{front.url}/other/a.txt")[2] == "published"
