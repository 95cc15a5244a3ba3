"""
Where stores are.
"""

from pathlib import Path

import pytest

from mixweb.stores import check_url, hidden, located
from mixweb.stores.urls import Address

BASE = Path("/srv/site")


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("memory:", Address("memory")),
        ("memory:pages", Address("memory", "pages")),
        ("sqlite:state.db", Address("sqlite", "state.db")),
        ("redis://localhost", Address("redis", host="localhost", port=6379)),
        ("redis://db.example:7000/2", Address("redis", host="db.example", port=7000, database=2)),
        ("redis://[::1]:7000/", Address("redis", host="::1", port=7000)),
        ("redis://:s%40x@h", Address("redis", host="h", password="s@x")),
        ("redis://ann:pw@h?prefix=shop:", Address("redis", host="h", user="ann", password="pw", prefix="shop:")),
        ("rediss://h?ca=/a/ca.pem&cert=/a/c.pem", Address("rediss", host="h", ca="/a/ca.pem", cert="/a/c.pem")),
        ("unix:/run/redis.sock", Address("unix", "/run/redis.sock")),
        ("unix:///run/redis.sock?database=3", Address("unix", "/run/redis.sock", database=3)),
        ("unix://ann:pw@/run/r.sock?prefix=", Address("unix", "/run/r.sock", user="ann", password="pw", prefix="")),
    ],
)
def test_addresses(url, address):
    """A URL says where a store is and how it is reached; a password is not shown."""
    assert check_url(url) == address
    assert address.password == "" or address.password not in repr(address)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "store must be memory:, sqlite:PATH, redis://HOST, rediss://HOST or unix:PATH, not ''"),
        ("memory", "store must be memory:"),
        ("Memory:", "store must be memory:"),
        ("sqlite:", "store must be memory:"),
        ("sqlite", "store must be memory:"),
        ("store.db", "store must be memory:"),
        ("http://u:geheim@h", "not 'http://u:(hidden)@h'"),
        ("redis:", "expected a host, as redis://localhost:6379"),
        ("redis://", "expected a host"),
        ("redis:///1", "expected a host"),
        ("redis://:geheim@h/x", "store is 'redis://:(hidden)@h/x': the database is 'x'; expected its number"),
        ("redis://h/-1", "expected its number"),
        ("redis://h:70000", "Port out of range"),
        ("redis://h:x", "Port could not be cast"),
        ("redis://[h", "Invalid IPv6 URL"),
        ("redis://h#x", "a # in it is written %23"),
        ("redis://h?ca=/a.pem", "there is no option 'ca', only prefix"),
        ("redis://h?database=1", "there is no option 'database', only prefix"),
        ("rediss://h?tls=yes", "there is no option 'tls', only ca, cert, prefix"),
        ("unix:", "expected the path of a socket"),
        ("unix://host/run/x", "expected the path of a socket"),
        ("unix:/run/x?database=x", "the database is 'x'"),
    ],
)
def test_refused(url, reason):
    """What is no URL of a store is refused with what was expected, and without its password."""
    with pytest.raises(ValueError, match=r"^store ") as caught:
        check_url(url)
    assert reason in str(caught.value)
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("memory:", "memory:"),
        ("sqlite:state.db", "sqlite:/srv/site/state.db"),
        ("sqlite:../state.db", "sqlite:/srv/state.db"),
        ("sqlite:/var/x/../state.db", "sqlite:/var/state.db"),
        ("sqlite:", "sqlite:"),
        ("redis://localhost/1", "redis://localhost/1"),
        ("unix:redis.sock", "unix:/srv/site/redis.sock"),
        ("unix:redis.sock?database=1", "unix:/srv/site/redis.sock?database=1"),
        ("unix:/run/redis.sock", "unix:/run/redis.sock"),
        ("unix://:pw@/run/redis.sock", "unix://:pw@/run/redis.sock"),
        ("unix:", "unix:"),
        (
            "rediss://:p%40w@h/1?ca=ca.pem&prefix=a%26b&cert=",
            "rediss://:p%40w@h/1?ca=/srv/site/ca.pem&prefix=a%26b&cert=",
        ),
        ("nonsense", "nonsense"),
    ],
)
def test_located(url, found):
    """Relative paths in a URL count from the folder; everything else stays."""
    assert located(url, BASE) == found
    assert located(found, Path("/elsewhere")) == found


def test_located_at_home(monkeypatch):
    """A tilde is somebody's home."""
    monkeypatch.setenv("HOME", "/home/ann")
    assert located("sqlite:~/state.db", BASE) == "sqlite:/home/ann/state.db"
    with pytest.raises(ValueError, match="names a user that does not exist"):
        located("sqlite:~nobody-of-this-name/state.db", BASE)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:geheim@h/1", "redis://:(hidden)@h/1"),
        ("redis://ann:ge:h@eim@h", "redis://ann:(hidden)@h"),
        ("unix://:geheim@/run/x", "unix://:(hidden)@/run/x"),
        ("redis://h", "redis://h"),
        ("redis://ann@h", "redis://ann@h"),
        ("sqlite:/a:b@c", "sqlite:/a:b@c"),
    ],
)
def test_hidden(url, shown):
    """A URL is shown without its password."""
    assert hidden(url) == shown
