"""Who may connect: strangers by peer and network, trusted peers beside them."""

from __future__ import annotations

import pytest

from relay.config import SMTPSettings
from relay.smtp.connections import ConnectionLimits


def crowd(**settings):
    """Return an empty crowd."""
    return ConnectionLimits(SMTPSettings(**settings))


def fill(place, peers, *, trusted=False):
    """Let them in one after the other; return the reasons of those who stay out."""
    reasons = [place.enter(peer, trusted=trusted) for peer in peers]
    return [reason for reason in reasons if reason]


def hosts(count, network="203.0.113"):
    """Return addresses of one IPv4 /24."""
    return [f"{network}.{number}" for number in range(count)]


def test_two_addresses_cannot_take_all():
    """With the defaults, whoever has two addresses gets no more than 100 sessions."""
    place = crowd()
    greedy = fill(place, ["203.0.113.2"] * 1200 + ["198.51.100.3"] * 800)
    assert len(greedy) == 2000 - 100
    assert set(greedy) == {"too_many_connections_of_peer"}
    assert place.enter("192.0.2.1", trusted=False) == ""


@pytest.mark.parametrize(
    ("inside", "outside"),
    [
        (hosts(10), "203.0.114.1"),
        ([f"2001:db8:7:{n:x}::1" for n in range(10)], "2001:db8:8::1"),
    ],
)
def test_a_network_shares(inside, outside):
    """Neighbours (IPv4 /24, IPv6 /48) have a limit together; others do not feel it."""
    place = crowd(max_connections_per_network=8)
    assert fill(place, inside) == ["too_many_connections_of_network"] * 2
    assert place.enter(outside, trusted=False) == ""
    place.leave(inside[0], trusted=False)
    assert place.enter(inside[-1], trusted=False) == ""


def test_strangers_leave_a_tenth_to_trusted_peers():
    """However many strangers there are, a trusted peer still gets in."""
    place = crowd(max_connections=100)
    strangers = [f"10.{n}.0.1" for n in range(200)]
    assert fill(place, strangers) == ["too_many_connections"] * 110
    assert fill(place, ["127.0.0.1"] * 12, trusted=True) == ["too_many_connections"] * 2


def test_trusted_peers_have_no_share():
    """The mail server beside us may hold more sessions than a stranger."""
    place = crowd()
    assert fill(place, ["127.0.0.1"] * 1000, trusted=True) == []
    assert place.strangers == {}


def test_who_shows_a_certificate_makes_room():
    """A session that turns out to be a trusted relay's counts as no stranger's."""
    place = crowd(max_connections_per_peer=1)
    assert place.enter("192.0.2.1", trusted=False) == ""
    assert place.enter("192.0.2.1", trusted=False) == "too_many_connections_of_peer"
    place.trust("192.0.2.1")
    assert place.enter("192.0.2.1", trusted=False) == ""
    place.leave("192.0.2.1", trusted=True)
    place.leave("192.0.2.1", trusted=False)
    assert place.strangers == {}
    assert place._sessions == 0
    assert place._of_network == {}


@pytest.mark.parametrize(
    ("peer", "via", "trusted"),
    [
        ("127.0.0.1", "", True),
        ("127.0.0.2", "", True),
        ("::1", "", True),
        ("local", "", True),
        ("127.0.0.1", "10.0.0.5", False),
        ("10.0.0.5", "", False),
        ("192.0.2.77", "", True),
        ("192.0.2.77", "10.0.0.5", True),
        ("192.0.3.77", "", False),
        ("2001:db8:1::5", "", True),
        ("2001:db8:2::5", "", False),
        ("no address", "", False),
    ],
)
def test_who_is_trusted(peer, via, trusted):
    """This machine and listed networks; behind a load balancer, its client counts."""
    place = crowd(trusted_peers=["192.0.2.0/24", "2001:db8:1::/48"])
    assert place.trusts(peer, via=via) is trusted


@pytest.mark.parametrize(
    ("peer", "own", "via", "trusted"),
    [
        ("93.184.215.14", "93.184.215.14", "", True),
        ("2606:2800:21f::1", "2606:2800:21f::1", "", True),
        ("93.184.215.15", "93.184.215.14", "", False),
        ("93.184.215.14", "93.184.215.14", "10.0.0.5", False),
        ("10.0.2.100", "10.0.2.100", "", False),
        ("fd00::100", "fd00::100", "", False),
        ("no address", "no address", "", False),
    ],
)
def test_our_own_public_address(peer, own, via, trusted):
    """Who comes from it is here; a container's own address may stand for anybody."""
    assert crowd().trusts(peer, own=own, via=via) is trusted
