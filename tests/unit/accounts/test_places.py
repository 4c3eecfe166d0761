"""From where somebody signs in, and at which site: addresses, networks, names."""

from __future__ import annotations

import pytest

from relay.accounts import Peer
from relay.accounts.factors import site_of
from relay.accounts.service import console_url
from relay.config import Settings


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("", ""),
        ("no address", "no address"),
    ],
)
def test_one_customer_is_one_place(address, network):
    """Of IPv6 one has a whole network: its addresses count together."""
    assert Peer(address).network == network


def settings(**web):
    return Settings.model_validate({"web": web})


@pytest.mark.parametrize(
    ("web", "scheme", "host", "site"),
    [
        ({}, "http", "127.0.0.1:8080", None),
        ({}, "http", "[::1]:8080", None),
        ({}, "http", "relay.corp", None),
        ({}, "http", "", None),
        ({}, "http", "localhost:8080", ("localhost", "http://localhost:8080")),
        ({}, "https", "relay.corp", ("relay.corp", "https://relay.corp")),
        (
            {"public_url": "https://crm.example.com:8443"},
            "http",
            "127.0.0.1",
            ("crm.example.com", "https://crm.example.com:8443"),
        ),
    ],
)
def test_passkeys_are_for_names_that_browsers_trust(web, scheme, host, site):
    """No address, and nothing without TLS but localhost."""
    found = site_of(settings(**web), scheme, host)
    assert (found and (found.host, found.origin)) == site


def test_links_lead_to_where_people_reach_the_console():
    """The public address, else where it listens; with the base path."""
    web = {"listen": "127.0.0.1:8080", "base_path": "/relay/"}
    assert console_url(settings(**web)) == "http://127.0.0.1:8080/relay"
    web["public_url"] = "https://crm.example.com"
    assert console_url(settings(**web)) == "https://crm.example.com/relay"
