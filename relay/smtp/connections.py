"""The open connections: how many there may be, and how they end when the relay stops.

A stranger's sessions are counted by peer (an IPv4 address, an IPv6 /64) and by network
(IPv4 /24, IPv6 /48), because who has one address often has its neighbours as well; and
strangers together leave a tenth of `max_connections` free. So no stranger, and no
network of them, keeps out the mail servers that mail comes from every day.

Those are the *trusted* peers: this machine, Unix sockets, peers with a client
certificate that was verified, and `trusted_peers`. They are held to `max_connections`
alone, and to no rate: they have limited themselves what they pass on. A user who logs
in has a rate as a user, and takes no part of the limits of the peer either.
"""

from __future__ import annotations

import asyncio
import ipaddress
from typing import TYPE_CHECKING, Final, Protocol

from relay.core.peers import peer_network
from relay.smtp.listener import is_this_machine
from relay.telemetry import get_logger
from relay.telemetry.metrics import SMTP_CONNECTIONS

if TYPE_CHECKING:
    from relay.config import SMTPSettings

log = get_logger(__name__)

_LAST_WAIT_S: Final = 5.0
"""After the connections of late sessions were cut: for their commits to end."""
_RESERVE: Final = 10
"""One in so many sessions is kept for trusted peers."""
_NETWORK_BITS: Final = {4: 24, 6: 48}


class ConnectionLimits:
    """Counts sessions, and says whether one more may begin."""

    def __init__(self, settings: SMTPSettings) -> None:
        """Begin without sessions."""
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
            via: The load balancer that passed the connection on, or empty. A loopback
                address that it names is on the load balancer's machine, not on this
                one, and is not trusted.
            own: The address of our end of the connection. A peer that has the same
                address is on this machine, if the address is public. A private one
                proves nothing: a container's port forwarder (rootlesskit) shows every
                peer under the container's own address.
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


class Session(Protocol):
    """What the end of all connections needs of one."""

    def drain(self) -> None:
        """End when next idle."""

    def abort(self) -> None:
        """Cut the connection; a commit that runs still ends."""


class Connections:
    """Every session of a server that was admitted.

    Attributes:
        limits: How many there may be.
        draining: No new mail is begun; set by `drain`.
        sessions: Those that are open.
    """

    def __init__(self, settings: SMTPSettings) -> None:
        """Begin without sessions."""
        self.limits = ConnectionLimits(settings)
        self.draining = False
        self.sessions: set[Session] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    def admit(self, session: Session, peer: str, *, trusted: bool) -> str:
        """Let a session begin; or return the reason why it may not."""
        reason = self.limits.enter(peer, trusted=trusted)
        if not reason:
            self.sessions.add(session)
            self._idle.clear()
            SMTP_CONNECTIONS.inc()
        return reason

    def release(self, session: Session, peer: str, *, trusted: bool) -> None:
        """Forget a session that was admitted, when its last reply has left."""
        self.sessions.discard(session)
        SMTP_CONNECTIONS.dec()
        self.limits.leave(peer, trusted=trusted)
        if not self.sessions:
            self._idle.set()

    async def drain(self, timeout_s: float) -> None:
        """End all sessions: idle ones at once, others when their mail is answered.

        Those that have not ended after `timeout_s` are cut; a commit that has begun is
        still waited for a little, so that its mail is stored once and known.
        """
        self.draining = True
        for session in tuple(self.sessions):
            session.drain()
        if not await self._wait_idle(timeout_s):
            log.warning("smtp_drain_cut", sessions=len(self.sessions))
            for session in tuple(self.sessions):
                session.abort()
            await self._wait_idle(_LAST_WAIT_S)

    async def _wait_idle(self, timeout_s: float) -> bool:
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True
