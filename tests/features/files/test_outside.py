"""
Nothing outside the root is ever served, however its path is spelled.
"""

import os
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixweb.engine.files import FileCache
from mixweb.features.files import Files, FilesResource
from mixweb.features.files._walk import Tree
from mixweb.testing import SiteAgent

SECRET = b"this is outside"
PIECES = [
    b"..", b".", b"", b"sub", b"a.txt", b"secret.txt", b"out.txt", b"up", b"self", b"root", b"etc", b"passwd", b"\0", b"/",
    b"\\", b"..;", b"....", b"\xff", b"\xc0\xae", b"%2e", b"%2f", b"%", b":", b"~", b" ", b"a.txt.gz", b"x" * 300, b"script.rpy",
]  # fmt: skip


@pytest.fixture(scope="module")
def agents(tmp_path_factory):
    """Clients of a folder with links that lead outside, served in several ways."""
    outer = tmp_path_factory.mktemp("outer")
    root = outer / "root"
    (root / "sub").mkdir(parents=True)
    (outer / "secret.txt").write_bytes(SECRET)
    (outer / "root.txt").write_bytes(SECRET)
    for name in ("a.txt", "sub/a.txt"):
        (root / name).write_text("inside")
    (root / "out.txt").symlink_to("../secret.txt")
    (root / "a.txt.gz").symlink_to("../secret.txt")
    (root / "sub/index.html").symlink_to("../../secret.txt")
    (root / "up").symlink_to("..")
    (root / "self").symlink_to("../root/.")
    (root / "etc").symlink_to("/etc")
    (root / "script.rpy").symlink_to("../secret.txt")
    (root / "_headers").symlink_to("../secret.txt")
    return [
        SiteAgent(FilesResource(Files(root, **options), cache=FileCache()))
        for options in (
            {},
            {"symlinks": "refuse", "hidden": True},
            {"ignore_ext": ["*", "txt"], "sidecars": True},
            {"try_files": ["{path}", "{path}.txt", "{path}/secret.txt", "up/{path}"], "fallback": "out.txt"},
            {"not_found": "up/secret.txt"},
        )
    ]


def spelled(segment, how):
    """A segment, percent-encoded in part."""
    return "".join(
        chr(byte) if 0x21 <= byte < 0x7F and chr(byte) not in '"#<>?' and not how & 1 << (index % 8) else f"%{byte:02x}"
        for index, byte in enumerate(segment)
    )


SEGMENTS = st.builds(spelled, st.one_of(st.sampled_from(PIECES), st.binary(max_size=4)), st.integers(0, 255))


@settings(deadline=None)
@given(st.lists(SEGMENTS, max_size=6), st.sampled_from([{}, {"Accept": "text/html", "Accept-Encoding": "gzip"}]))
def test_any_spelling(agents, segments, headers):
    """No spelling of a path yields bytes of a file that is not below the root, or makes the server fail."""
    for agent in agents:
        exchange = agent.open("GET", "/" + "/".join(segments), headers)
        received = exchange.received
        assert received.startswith(b"HTTP/1.1 ")
        assert int(received[9:12]) < 500
        assert SECRET not in received
        assert b"root:x:0" not in received


@settings(deadline=None)
@given(st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=4)), max_size=6))
def test_any_segments(agents, segments):
    """The same for segments that no canonicaliser has seen."""
    for agent in agents:
        try:
            found = agent.site.resource.lookup.find(segments)
        except PermissionError:
            continue
        if hasattr(found, "descriptor"):
            assert found.is_directory or os.read(found.descriptor, 100) == b"inside"
            found.close()


def test_no_race(tmp_path):
    """A link that comes and goes while files are opened never leads outside."""
    root = tmp_path / "root"
    (root / "real").mkdir(parents=True)
    (root / "real/a").write_bytes(b"inside")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/a").write_bytes(SECRET)
    (root / "link").symlink_to("real")
    stop = threading.Event()

    def swap():
        targets = [os.fspath(tmp_path / "outside"), "real"]
        number = 0
        while not stop.is_set():
            number += 1
            os.symlink(targets[number % 2], root / "new")
            os.replace(root / "new", root / "link")

    thread = threading.Thread(target=swap)
    thread.start()
    tree = Tree(os.fsencode(root))
    seen = set()
    for _ in range(2000):
        try:
            opened = tree.open([b"link", b"a"])
        except OSError:
            seen.add(None)
            continue
        seen.add(os.read(opened.descriptor, 100))
        opened.close()
    stop.set()
    thread.join()
    assert SECRET not in seen
    assert b"inside" in seen
