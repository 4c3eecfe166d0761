"""Who is connected, and who may be one more.

A stranger's sessions are counted by peer (an IPv4 address, an IPv6 /64) and by network
(IPv4 /24, IPv6 /48), because who has one address often has its neighbours as well; and
strangers together leave a tenth of `max_connections` free. So no stranger, and no
network of them, keeps out the mail servers that mail comes from every day.

Those are the *trusted* peers: this machine, Unix sockets, whoever shows a client
certificate that was verified, and `trusted_peers`. They are held to `max_connections`
alone, and to no rate: what they pass on they have limited themselves. Who logs in has
the rate of their user, and no share of their peer's either.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

from relay.core.peers import peer_network
from relay.smtp.listener import is_this_machine

if TYPE_CHECKING:
    from relay.config import SMTPSettings

_RESERVE: Final = 10
"""One in so many sessions is kept for trusted peers."""
_NETWORK_BITS: Final = {4: 24, 6: 48}


class ConnectionLimits:
    """The sessions of one intake, counted."""

    def __init__(self, settings: SMTPSettings) -> None:
        """Begin with nobody."""
        self._settings = settings
        most = settings.max_connections
        self._most_with_strangers = most - most // _RESERVE
        self._sessions = 0
        self._of_peer: dict[str, int] = {}
        self._of_network: dict[str, int] = {}

    def trusts(self, peer: str, *, via: str = "", own: str = "") -> bool:
        """Say whether a peer is trusted for its address.

        Args:
            peer: The address.
            via: A load balancer in between. Its machine is not ours: loopback behind it
                is nobody.
            own: The address of our end of the connection. A peer that has it is on this
                machine if it is a public one: ports of a container are passed on in its
                own, private address for everybody (rootlesskit).
        """
        if not via and (is_this_machine(peer) or (peer == own and _is_public(own))):
            return True
        networks = self._settings.trusted_peers
        if not networks:
            return False
        try:
            address = ipaddress.ip_address(peer)
        except ValueError:
            return False
        return any(address in network for network in networks)

    def enter(self, peer: str, *, trusted: bool) -> str:
        """Count one more session; or return the reason why it may not begin."""
        settings = self._settings
        most = settings.max_connections if trusted else self._most_with_strangers
        if self._sessions >= most:
            return "too_many_connections"
        if not trusted:
            group, network = peer_network(peer), _network(peer)
            if self._of_peer.get(group, 0) >= settings.max_connections_per_peer:
                return "too_many_connections_of_peer"
            of_network = self._of_network.get(network, 0)
            if of_network >= settings.max_connections_per_network:
                return "too_many_connections_of_network"
            _add(self._of_peer, group, 1)
            _add(self._of_network, network, 1)
        self._sessions += 1
        return ""

    def trust(self, peer: str) -> None:
        """Take a session that has begun for a trusted one from here on."""
        _add(self._of_peer, peer_network(peer), -1)
        _add(self._of_network, _network(peer), -1)

    def leave(self, peer: str, *, trusted: bool) -> None:
        """Forget a session; `trusted` as it was when it left."""
        self._sessions -= 1
        if not trusted:
            self.trust(peer)

    @property
    def strangers(self) -> dict[str, int]:
        """The sessions of strangers, by peer."""
        return dict(self._of_peer)


def _is_public(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_global
    except ValueError:
        return False


def _network(peer: str) -> str:
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return peer
    bits = _NETWORK_BITS[address.version]
    return str(ipaddress.ip_network((address, bits), strict=False))


def _add(counts: dict[str, int], key: str, change: int) -> None:
    left = counts.get(key, 0) + change
    if left:
        counts[key] = left
    else:
        del counts[key]
