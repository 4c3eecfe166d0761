"""What counts as one peer."""

from __future__ import annotations

import pytest

from relay.core.peers import peer_network, peer_site


@pytest.mark.parametrize(
    ("peer", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("local", "local"),
        ("not:an:address", "not:an:address"),
    ],
)
def test_peer_network(peer, network):
    """An IPv4 address stands for itself, an IPv6 one for its network of 64 bits."""
    assert peer_network(peer) == network


@pytest.mark.parametrize(
    ("peer", "site"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2::1", "2001:db8:1::/48"),
        ("2001:db8:1:3::1", "2001:db8:1::/48"),
        ("2001:db8:2:3::1", "2001:db8:2::/48"),
        ("unix:/run/x", "unix:/run/x"),
    ],
)
def test_peer_site(peer, site):
    """What a customer of a provider gets; anything else stands for itself."""
    assert peer_site(peer) == site
