"""
Whom requests are counted for.
"""

import pytest

from mixweb.kit.addresses import network


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("unix", "unix"),
    ],
)
def test_networks(address, counted):
    """An IPv6 network counts as one address: the others in it are had for nothing."""
    assert network(address) == counted
