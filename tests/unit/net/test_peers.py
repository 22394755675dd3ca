"""What an address counts as."""

import pytest

from quail.net.peers import network


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("2001:DB8::1", "2001:db8:0:0:0::2", True),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("local", "local", True),
        ("uid 1", "uid 2", False),
        ("", "::", False),
    ],
)
def test_what_counts_as_one(one, other, same):
    assert (network(one) == network(other)) is same
