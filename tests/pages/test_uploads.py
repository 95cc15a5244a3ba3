"""
Files in forms: streamed to disk, and bounded.
"""

import os
import tempfile

import pytest
from twisted.internet.task import Clock

from mixweb.engine.site import Site
from mixweb.pages import Limits, Page, Pages, Upload
from mixweb.testing import SiteAgent

BOUNDARY = "----b0undary"
MULTIPART = {"Content-Type": f'multipart/form-data; boundary="{BOUNDARY}"'}


def part(name, content, filename=None, kind="text/plain"):
    """One part of a form."""
    disposition = f'form-data; name="{name}"' + ("" if filename is None else f'; filename="{filename}"')
    typed = "" if filename is None else f"Content-Type: {kind}\r\n"
    return f"--{BOUNDARY}\r\nContent-Disposition: {disposition}\r\n{typed}\r\n".encode() + content + b"\r\n"


def form(*parts):
    """A whole form."""
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def site_of(handler, **options):
    """A site with one handler of forms."""
    site = Pages(**options)
    site.route("/", methods=["POST", "PUT", "PATCH"])(handler)
    return site


def post(site, body, method="POST"):
    """The text of the answer, or its status and the reason."""
    answer = SiteAgent(site).request(method, "/", MULTIPART, body)
    return answer.text if answer.status == 200 else (answer.status, answer.text.split("\n")[1])


def show(title: str, file: Upload, n: int = 0) -> str:
    return f"{title} {n} {file.name} {file.type} {file.size} {file.read()[:20]!r} {file.read()[:5]!r}"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_upload(method):
    """A file comes with its name, its type, its size and what is in it, beside the fields."""
    body = form(part("title", "tïtle".encode()), part("file", b"hello\r\n--", "a.txt"), part("n", b"3"))
    assert post(site_of(show), body, method) == r"tïtle 3 a.txt text/plain 9 b'hello\r\n--' b'hello'"


@pytest.mark.parametrize(
    ("filename", "name"),
    [
        ("a.txt", "a.txt"),
        ("../../etc/passwd", "passwd"),
        (r"C:\\Temp\\a.txt", "a.txt"),
        ("..", ".."),
        ("é.txt", "é.txt"),
        ("%0d%0aa", "%0d%0aa"),
        ("a\x01b\x7f", "ab"),
        ("a\x00b", "ab"),
    ],
)
def test_names(filename, name):
    """The name of a file has no folders and no control characters in it."""

    def handler(file: Upload) -> str:
        return f"{file.name}|"

    site = site_of(handler)
    assert post(site, form(part("file", b"x", filename))) == f"{name}|"


def several(files: list[Upload], last: Upload | None = None) -> str:
    return f"{[file.name for file in files]} {last and last.name}"


def test_several():
    """A list takes all files of a field, and another parameter the last one."""
    files = part("files", b"1", "a"), part("files", b"2", "b")
    assert post(site_of(several), form(*files, part("last", b"3", "c"), part("last", b"4", "d"))) == "['a', 'b'] d"
    assert post(site_of(several), form(*files)) == "['a', 'b'] None"
    assert post(site_of(several), form(part("files", b"text"))) == (400, "files: missing.")


def test_no_file_was_chosen():
    """The empty part that a browser sends where no file was chosen is none; an empty file is one."""
    assert post(site_of(show), form(part("title", b"t"), part("file", b"", ""))) == (400, "file: missing.")
    empty = form(part("title", b"t"), part("file", b"", "empty"))
    assert post(site_of(show), empty) == "t 0 empty text/plain 0 b'' b''"


@pytest.mark.parametrize(
    ("limits", "parts", "status", "said"),
    [
        ({"upload_bytes": 10}, [part("file", b"x" * 10, "a")], 200, ""),
        ({"upload_bytes": 10}, [part("file", b"x" * 11, "a")], 413, "A file has at most 10 bytes."),
        ({"form_bytes": 10}, [part("title", b"x" * 5), part("n", b"1" * 5)], 200, ""),
        ({"form_bytes": 10}, [part("title", b"x" * 5), part("n", b"1" * 6)], 413, "A form has at most 10 bytes without its"),
        ({"form_bytes": 10, "upload_bytes": 20}, [part("file", b"x" * 20, "a")], 200, ""),
        ({"uploads": 2}, [part("a", b"1", "a")] * 2, 200, ""),
        ({"uploads": 2}, [part("a", b"1", "a")] * 3, 413, "A form has at most 2 files."),
        ({"fields": 3}, [part("a", b"1")] * 3, 200, ""),
        ({"fields": 3}, [part("a", b"1")] * 4, 413, "A form has at most 3 fields, with short headers."),
        ({}, [part("a" * 5000, b"1")], 413, "A form has at most 1000 fields, with short headers."),
    ],
)  # fmt: skip
def test_limits(limits, parts, status, said):
    """What a form may bring has limits; beyond them nothing more is read."""

    def handler(file: Upload | None = None, title: str = "") -> str:
        return "taken"

    result = post(site_of(handler, limits=Limits(**limits)), form(*parts))
    assert result == "taken" if status == 200 else (result[0] == status and result[1].startswith(said))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no form",
        form(part("title", b"t"))[:-4],
        part("title", b"t"),
        form(b"--" + BOUNDARY.encode() + b"\r\nContent-Disposition: form-data\r\n\r\nx\r\n"),
        form(b"--" + BOUNDARY.encode() + b"\r\nBroken\r\n\r\nx\r\n"),
    ],
)
def test_malformed(body):
    """A form that is not one is 400."""

    def handler(title: str = "") -> str:
        return "taken"

    assert post(site_of(handler), body or b"\r\n")[0] == 400


def urlencoded(site, body):
    answer = SiteAgent(site).request("POST", "/", {"Content-Type": "application/x-www-form-urlencoded"}, body)
    return answer.status


def test_limits_of_other_forms():
    """Forms without files and documents have the same limits."""

    def handler(a: str = "") -> str:
        return "taken"

    site = site_of(handler, limits=Limits(form_bytes=100, fields=3))
    assert [urlencoded(site, body) for body in (b"a=1&a=2&a=3", b"a&a&a&a", b"a=" + b"x" * 98, b"a=" + b"x" * 99)] == [
        200,
        413,
        200,
        413,
    ]


def test_it_goes_to_disk_while_it_arrives(monkeypatch, failures):
    """A large file is on disk before it has arrived; it is gone when the request ends, also when the client leaves."""
    made = []
    spooled = tempfile.SpooledTemporaryFile

    def remember(*arguments):
        made.append(spooled(*arguments))
        return made[-1]

    monkeypatch.setattr("mixweb.pages.uploads.SpooledTemporaryFile", remember)
    body = form(part("title", b"t"), part("file", b"x" * 1_000_000, "big"))
    for leaves in (False, True):
        made.clear()
        exchange = SiteAgent(Site(site_of(show), reactor=Clock())).connect()
        head = f"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\nContent-Type: {MULTIPART['Content-Type']}\r\n\r\n"
        exchange.heads.append(b"POST")
        exchange.send(head.encode())
        for start in range(0, 600_000, 50_000):
            exchange.send(body[start : start + 50_000])
        assert made[0]._rolled
        assert os.fstat(made[0].fileno()).st_size > 500_000
        if leaves:
            exchange.disconnect()
        else:
            exchange.send(body[600_000:])
            assert exchange.answer.text.startswith("t 0 big text/plain 1000000 ")
        assert made[0].closed
    assert failures == []


def test_a_file_is_saved(tmp_path):
    """A file can be kept under a new name, and takes no other's place."""

    async def keep(file: Upload) -> str:
        await file.save(tmp_path / "kept")
        return "kept"

    body = form(part("file", b"x" * 100_000, "a"))
    assert post(site_of(keep), body) == "kept"
    assert (tmp_path / "kept").read_bytes() == b"x" * 100_000
    assert post(site_of(keep), body)[0] == 500


def test_pages_have_files():
    """A page finds the files of a form by field."""

    class Take(Page):
        def post(self) -> str:
            return f"{self.get_body_argument('title')} {[file.name for file in self.files['file']]}"

    site = Pages()
    site.route("/")(Take)
    assert post(site, form(part("title", b" t "), part("file", b"1", "a"), part("file", b"2", "b"))) == "t ['a', 'b']"


def test_early_refusal_stops_the_upload():
    """A file that is too long is refused before the rest of it has come."""
    site = site_of(show, limits=Limits(upload_bytes=1000))
    exchange = SiteAgent(site).connect()
    exchange.heads.append(b"POST")
    exchange.send(
        f"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\nContent-Type: {MULTIPART['Content-Type']}\r\n\r\n".encode()
    )
    exchange.send(part("file", b"x" * 2000, "a"))
    assert exchange.answer.status == 413
