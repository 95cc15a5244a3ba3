"""
Files in memory: what is kept, for how long, and how much of it.
"""

import os

import pytest
from twisted.web.http_headers import Headers

from mixweb.engine.files import FieldBlock, FileCache, is_settled

SECOND = 1_000_000_000


@pytest.fixture
def stored(tmp_path):
    """Puts what was made of a file into a cache; the file was written long ago."""

    def put(cache, name, value="made", size=0, age=10 * SECOND):
        path = tmp_path / name
        if not path.exists():
            path.write_bytes(b"content")
        status = path.stat()
        now = max(status.st_mtime_ns, status.st_ctime_ns) + age
        cache.put(name, os.fsencode(path), status, value, size, now)
        return path

    return put


def test_kept(stored):
    """What was put is there as long as the file is as it was."""
    cache = FileCache()
    stored(cache, "a")
    assert cache.get("a") == "made"
    assert cache.get("b") is None


def rewrite(path):
    path.write_bytes(b"another content")


def rewrite_quietly(path):
    """The size and the time of change are as before."""
    status = path.stat()
    path.write_bytes(b"CONTENT")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def replace(path):
    status = path.stat()
    other = path.with_name("other")
    other.write_bytes(b"CONTENT")
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(path)


@pytest.mark.parametrize(
    "change", [rewrite, rewrite_quietly, replace, lambda path: path.unlink(), lambda path: path.chmod(0)]
)
def test_changed(stored, change):
    """A file that was changed, replaced, removed or locked is not answered from memory, and its entry is gone."""
    cache = FileCache()
    path = stored(cache, "a")
    os.utime(path, ns=(0, 5 * SECOND))
    stored(cache, "a")
    change(path)
    assert cache.get("a") is None
    assert (len(cache), cache.weight) == (0, 0)


def test_just_written(stored):
    """A file that could be written again without showing it is not kept."""
    cache = FileCache()
    stored(cache, "a", age=SECOND // 100)
    assert cache.get("a") is None


@pytest.mark.parametrize(
    ("stamp", "age", "settled"),
    [
        (1_700_000_000_123_456_789, 0, False),
        (1_700_000_000_123_456_789, 50_000_000, False),
        (1_700_000_000_123_456_789, 150_000_000, True),
        (1_700_000_000_000_000_000, 150_000_000, False),
        (1_700_000_000_000_000_000, 2_100_000_000, True),
        (1_700_000_000_123_456_789, -SECOND, False),
    ],
)
def test_is_settled(stamp, age, settled):
    """A stamp of whole seconds needs two seconds to be past, a finer one a tenth; one of the future is never past."""
    assert is_settled(stamp, stamp + age) is settled


def test_bounded(stored):
    """It never holds more than its bytes: what was not asked for longest goes first."""
    cache = FileCache(max_bytes=100_000)
    for number in range(20):
        stored(cache, f"file{number}", size=20_000)
        assert cache.get("file0") == "made"
        assert cache.weight <= 100_000
    kept = [number for number in range(20) if cache.get(f"file{number}")]
    assert kept == [0, 17, 18, 19]


def test_too_large(stored):
    """What is larger than the cache is not kept, and puts out nothing."""
    cache = FileCache(max_bytes=100_000)
    stored(cache, "small", size=50_000)
    stored(cache, "large", size=100_000)
    assert cache.get("large") is None
    assert cache.get("small") == "made"


def test_put_again(stored):
    """A new value takes the place of the old one, in the sum too."""
    cache = FileCache()
    stored(cache, "a", "old", size=1000)
    stored(cache, "a", "new", size=500)
    assert cache.get("a") == "new"
    assert len(cache) == 1
    cache.discard("a")
    assert cache.weight == 0


def test_field_block():
    """A block sets its fields in the place of others, adds to Vary, and leaves nothing of itself to be changed."""
    block = FieldBlock([(b"x-a", [b"1", b"2"]), (b"Vary", [b"Accept"])])
    first, second = Headers({"X-A": ["old"], "X-B": ["kept"], "Vary": ["Origin"]}), Headers()
    block.set_on(first)
    block.set_on(second)
    first.addRawHeader("X-A", "3")
    first.addRawHeader("Vary", "Cookie")
    assert dict(first.getAllRawHeaders()) == {
        b"X-A": [b"1", b"2", b"3"], b"X-B": [b"kept"], b"Vary": [b"Origin", b"Accept", b"Cookie"],
    }  # fmt: skip
    assert dict(second.getAllRawHeaders()) == {b"X-A": [b"1", b"2"], b"Vary": [b"Accept"]}
    assert block.only({b"Vary"}).fields == {b"Vary": [b"Accept"]}


def test_field_block_has_no_line_breaks():
    """A value cannot end its line."""
    assert FieldBlock([(b"X-A", [b"1\r\nX-B: 2"])]).fields == {b"X-A": [b"1 X-B: 2"]}
