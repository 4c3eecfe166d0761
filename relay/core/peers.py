"""What counts as one peer: an IPv4 address, or an IPv6 network of 64 bits.

Whoever has one address of such a network has them all (RFC 4291 section 2.5.1), so that
limits and counts by single IPv6 addresses would limit and count nothing. An IPv4
address that is written as an IPv6 one (section 2.5.5.2) is the IPv4 address.
"""

from __future__ import annotations

import ipaddress
from typing import Final

_NETWORK_BITS: Final = 64
_SITE_BITS: Final = 48
"""What a customer of a provider gets at most (RFC 6177)."""


def peer_network(peer: str) -> str:
    """Return what a peer's address counts as; any other text counts as itself."""
    return _network(peer, _NETWORK_BITS)


def peer_site(peer: str) -> str:
    """Return the IPv6 site of 48 bits that an address is of; others count as before."""
    return _network(peer, _SITE_BITS)


def _network(peer: str, bits: int) -> str:
    if ":" not in peer:
        return peer
    try:
        address = ipaddress.IPv6Address(peer.partition("%")[0])
    except ValueError:
        return peer
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, bits), strict=False))
