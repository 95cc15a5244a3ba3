"""
Files over real sockets: by sendfile, through threads, to clients that leave.
"""

import os
import socket
import struct
from pathlib import Path

import pytest
import pytest_twisted
import treq
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from mixweb.engine.site import Site
from mixweb.engine.transports import Server
from mixweb.features.files import Files, FilesResource
from mixweb.features.files._directory import INLINE_STEPS

CONTENT = os.urandom(3_000_000)


@pytest_twisted.async_yield_fixture(params=[True, False], ids=["sendfile", "plain"])
async def address(request, tmp_path):
    """Where a folder is served, by a transport that can send files or by one that cannot."""
    (tmp_path / "big").write_bytes(CONTENT)
    site = Site(FilesResource(Files(tmp_path)), reactor=reactor)
    port = reactor.listenTCP(0, site, interface="127.0.0.1")
    if request.param:
        port.transport = Server
    yield f"http://127.0.0.1:{port.getHost().port}"
    await port.stopListening()


def get(url, **headers):
    return treq.get(url, headers=headers, persistent=False)


@pytest_twisted.ensureDeferred
async def test_large_file(address):
    """A large file arrives whole, and any part of it."""
    answer = await get(address + "/big")
    assert await answer.content() == CONTENT
    part = await get(address + "/big", range="bytes=1000000-2999998")
    assert (part.code, await part.content()) == (206, CONTENT[1_000_000:2_999_999])
    parts = await get(address + "/big", range="bytes=0-999999,2000000-2999999")
    body = await parts.content()
    assert CONTENT[:1_000_000] in body
    assert CONTENT[2_000_000:] in body
    head = await treq.head(address + "/big", persistent=False)
    assert head.headers.getRawHeaders("Content-Length") == ["3000000"]


@pytest_twisted.ensureDeferred
async def test_keep_alive(address):
    """After a large file the connection goes on."""

    def talk():
        with socket.create_connection(address.removeprefix("http://").split(":"), timeout=10) as client:
            client.sendall(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n" * 3 + b"GET /big HTTP/1.0\r\n\r\n")
            with client.makefile("rb") as stream:
                return stream.read()

    received = await deferToThread(talk)
    assert received.count(CONTENT) == 4


@pytest_twisted.ensureDeferred
async def test_large_directory(address, tmp_path):
    """A large directory is listed in a thread."""
    for number in range(INLINE_STEPS * 4):
        (tmp_path / f"file{number}").touch()
    answer = await get(address + "/?format=text")
    assert len((await answer.text()).splitlines()) == INLINE_STEPS * 4 + 1


def descriptors():
    """The files below the root that are open."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            found.append(os.readlink(link))
        except OSError:
            continue
    return [path for path in found if path.endswith("/big")]


@pytest_twisted.ensureDeferred
async def test_clients_leave(address, failures):
    """Clients that leave in the middle of a large file leave nothing open and nothing in the log."""
    host, port = address.removeprefix("http://").split(":")
    for _ in range(20):
        client = socket.create_connection((host, int(port)), timeout=10)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.sendall(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
        await deferToThread(client.recv, 1000)
        client.close()
    for _ in range(100):
        if not descriptors():
            break
        await deferLater(reactor, 0.02)
    assert descriptors() == []
    assert failures == []


@pytest.mark.parametrize("size", [0, 1_500_000])
@pytest_twisted.ensureDeferred
async def test_file_shrinks(address, tmp_path, size):
    """A file that is cut while it is sent has the connection dropped."""
    host, port = address.removeprefix("http://").split(":")
    path = tmp_path / "huge"
    with path.open("wb") as file:
        file.truncate(100_000_000)
    with socket.create_connection((host, int(port)), timeout=10) as client:
        client.sendall(b"GET /huge HTTP/1.1\r\nHost: x\r\n\r\n")
        first = await deferToThread(client.recv, 1000)
        assert b"Content-Length: 100000000" in first
        os.truncate(path, size)

        def read():
            total = 0
            try:
                while data := client.recv(1_000_000):
                    total += len(data)
            except ConnectionResetError:
                pass
            return total

        assert await deferToThread(read) < 100_000_000 - len(first)
