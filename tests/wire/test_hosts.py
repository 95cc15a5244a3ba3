"""
Host routing, as curl asks.
"""

import pytest

TOML = """\
listen = ["tcp:0:interface=127.0.0.1", "tcp6:0:interface=\\\\:\\\\:1"]
respond.body = "default"

[host."shop.example"]
aliases = ["www.shop.example", "*.wild.example", "bücher.example"]
respond.body = "shop"

[host."[::1]"]
respond.body = "six"

[host."port.example:1234"]
respond.body = "port"
"""


@pytest.fixture(scope="module")
def expected():
    """Which host answers to which name."""
    return {
        "shop.example": "shop",
        "www.shop.example": "shop",
        "a.b.wild.example": "shop",
        "wild.example": "default",
        "SHOP.EXAMPLE": "shop",
        "shop.example.": "shop",
        "shop.example:8080": "shop",
        "[::1]:8080": "six",
        "[::1]": "six",
        "xn--bcher-kva.example": "shop",
        "port.example:1234": "port",
        "port.example": "default",
        "unknown.example": "default",
    }


def test_names(twistd, curl, tmp_path, expected):
    """Folder, TOML, alias, wildcard, port, case, final dot, IPv6 literal, international name, unknown."""
    (tmp_path / "site.toml").write_text(TOML)
    server = twistd("--config", "site.toml")
    found = {name: curl(f"{server.url}/", "-H", f"Host: {name}")[2] for name in expected}
    assert found == expected


def test_real_ipv6(twistd, curl, tmp_path):
    """curl to [::1]:PORT reaches the IPv6 listener and the host of that name."""
    (tmp_path / "site.toml").write_text(TOML)
    server = twistd("--config", "site.toml")
    url = server.wait_for(r"(http://\[::1\]:\d+)/")[1]
    assert curl(f"{url}/")[2] == "six"
