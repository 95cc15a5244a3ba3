"""
WebSockets between real browsers.
"""

import signal

CHAT = """\
<!DOCTYPE html><title>Chat</title><script>
  const said = [], ended = [];
  const socket = new WebSocket(`ws://${location.host}/chat`, ["other", "chat.v1"]);
  socket.onmessage = event => said.push(event.data);
  socket.onclose = event => ended.push(event.code);
</script>
"""


def test_chat(twistd, browser, tmp_path):
    """Two windows talk, through a reload of the server too; when it ends they are told so."""
    (tmp_path / "index.html").write_text(CHAT)
    options = ["--path", tmp_path, "--websocket", "broadcast", "--at", "/chat", "--websocket-protocols", "chat.v1"]
    server = twistd(*options, "--port", "0")
    ann, ben = browser(), browser()
    for window in (ann, ben):
        window.open(f"{server.url}/")
        assert window.wait("socket.readyState == 1 && socket.protocol") == "chat.v1"
    ann.run("socket.send('hello ben')")
    assert ben.wait("said[0]") == "hello ben"
    server.send(signal.SIGHUP)
    server.wait_for("reloaded")
    ben.run("socket.send('still there')")
    assert ann.wait("said[1]") == "still there"
    server.send(signal.SIGTERM)
    assert [window.wait("ended[0]") for window in (ann, ben)] == [1001, 1001]


def test_other_sites(twistd, browser, tmp_path):
    """The page of another site cannot connect."""
    (tmp_path / "index.html").write_text(CHAT.replace("${location.host}", "127.0.0.1:${location.port}"))
    server = twistd("--path", tmp_path, "--websocket", "broadcast", "--at", "/chat", "--port", "0")
    window = browser()
    window.open(f"http://other.localhost:{server.port}/")
    assert window.wait("ended[0]") == 1006
