"""
A real browser: Debian's Chromium without a screen.
"""

import json
import struct

from tests.wire.conftest import ROOT

SECONDS = 120
RATE = 44_100

#: Plays a recording, jumps to its last tenth and says where it is, in the page itself.
PLAYER = """\
<!DOCTYPE html>
<meta charset="utf-8">
<title>Player</title>
<audio id="a" src="tone.wav" preload="metadata"></audio>
<pre id="said">waiting</pre>
<script>
const audio = document.getElementById("a"), said = document.getElementById("said");
audio.addEventListener("loadedmetadata", () => { audio.currentTime = 108; });
audio.addEventListener("seeked", () => {
  said.textContent = JSON.stringify({duration: audio.duration, at: audio.currentTime, error: audio.error});
});
audio.addEventListener("error", () => { said.textContent = "error " + audio.error.message; });
</script>
"""


def write_tone(path):
    """A silent recording of two minutes: the head of a WAV file and ten megabytes."""
    size = SECONDS * RATE * 2
    head = (
        b"RIFF" + struct.pack("<I", 36 + size) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, RATE, RATE * 2, 2, 16)
    )
    with path.open("wb") as file:
        file.write(head + b"data" + struct.pack("<I", size))
        file.truncate(44 + size)


def test_seeking(twistd, browser, tmp_path):
    """A browser that jumps in a recording gets the part it needs by a range request, not the whole file."""
    root = tmp_path / "root"
    root.mkdir()
    write_tone(root / "tone.wav")
    (root / "player.html").write_text(PLAYER)
    server = twistd("--port", "0", "--path", root)
    window = browser()
    window.open(f"{server.url}/player.html")
    said = json.loads(window.wait("document.getElementById('said').textContent.startsWith('{') && said.textContent"))
    assert said == {"duration": SECONDS, "at": 108, "error": None}
    server.wait_for(r'"GET /tone.wav HTTP/1.1" 206 ')
    assert [line for line in window.console() if "favicon" not in line] == []


def test_listing(twistd, browser):
    """A folder without an index file is listed; typing in the filter hides what does not match; its policy refuses nothing."""
    server = twistd("--vhosts", ROOT / "vhosts.example", "--port", "0")
    window = browser()
    window.open(f"http://static.localhost:{server.port}/docs/")
    shown = "[...document.querySelectorAll('tr[data-name]')].filter(row => !row.hidden).map(row => row.dataset.name)"
    assert {"first.txt", "second.html"} <= set(window.run(f"return {shown}"))
    window.run(
        "const box = document.querySelector('input'); box.value = 'second'; box.dispatchEvent(new Event('input'))"
    )
    assert window.run(f"return {shown}") == ["second.html"]
    assert [line for line in window.console() if "favicon" not in line] == []
