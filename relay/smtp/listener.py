"""One way in: what a listener's settings mean for the sessions that come through it."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

from relay.config import HostPort
from relay.smtp import replies
from relay.smtp.tls import ServerTLS

if TYPE_CHECKING:
    from pathlib import Path

    from relay.config import ListenerSettings, SMTPSettings

LOCAL: Final = "local"
"""The peer of a Unix socket."""
_MAPPED: Final = "::ffff:"


class Listener:
    """What sessions of one listener share.

    Attributes:
        settings: Its table.
        name: Its address as it was set, for logs.
        tls: Its certificate, None where TLS is not spoken.
        greeting: The first line of a session.
        lmtp: RFC 2033 instead of RFC 5321.
        submission: Mail only from who has logged in.
        implicit: TLS from the first byte.
    """

    def __init__(
        self, settings: ListenerSettings, smtp: SMTPSettings, tls: ServerTLS | None
    ) -> None:
        """Prepare; nothing is opened."""
        self.settings = settings
        self.name = str(settings.address)
        self.tls = tls
        self.lmtp = settings.protocol == "lmtp"
        self.submission = settings.protocol == "submission"
        self.implicit = settings.tls == "implicit"
        reply = replies.GREETING_LMTP if self.lmtp else replies.GREETING
        self.greeting = reply.line(hostname=smtp.hostname).encode("ascii") + b"\r\n"
        self._smtp = smtp
        self._hello: dict[tuple[bool, bool], bytes] = {}

    def hello(self, *, starttls: bool, login: bool) -> bytes:
        """Return the reply to EHLO or LHLO (RFC 5321 section 4.1.1.1)."""
        wanted = (starttls, login)
        if wanted not in self._hello:
            self._hello[wanted] = self._extensions(starttls=starttls, login=login)
        return self._hello[wanted]

    def _extensions(self, *, starttls: bool, login: bool) -> bytes:
        words = [
            self._smtp.hostname,
            "PIPELINING",
            f"SIZE {self._smtp.max_message_bytes}",
            "8BITMIME",
            "SMTPUTF8",
            "ENHANCEDSTATUSCODES",
            "CHUNKING",
            *(["STARTTLS"] if starttls else []),
            *(["AUTH PLAIN LOGIN"] if login else []),
        ]
        last = len(words) - 1
        return b"".join(
            f"250{' ' if at == last else '-'}{word}\r\n".encode("ascii")
            for at, word in enumerate(words)
        )

    def expects_header(self, peer: str) -> bool:
        """Say whether a connection from there must begin with a PROXY header."""
        if not self.settings.proxy_from:
            return False
        try:
            address = ipaddress.ip_address(peer)
        except ValueError:
            return False
        return any(address in network for network in self.settings.proxy_from)


def listeners(smtp: SMTPSettings) -> list[Listener]:
    """Return every listener of the settings, with its certificate loaded.

    Raises:
        ConfigError: A file does not load.
    """
    by_ca: dict[Path | None, ServerTLS] = {}
    found: list[Listener] = []
    for settings in smtp.all_listeners():
        tls = None
        wanted = settings.tls != "none" and isinstance(settings.address, HostPort)
        if wanted and smtp.tls_certificate is not None:
            ca = settings.client_ca
            tls = by_ca[ca] if ca in by_ca else ServerTLS(smtp, ca)
            by_ca[ca] = tls
        found.append(Listener(settings, smtp, tls))
    return found


def is_this_machine(peer: str) -> bool:
    """Say whether a peer is on this machine, so that nobody can listen in between."""
    if peer == LOCAL:
        return True
    try:
        return ipaddress.ip_address(peer).is_loopback
    except ValueError:
        return False


def peer_address(name: object) -> str:
    """Return the IP address of a peer as text, `local` for a Unix socket."""
    if not isinstance(name, tuple) or not name:
        return LOCAL
    return plain_address(str(name[0]).partition("%")[0])


def plain_address(host: str) -> str:
    """Return an address as text; an IPv4 one in IPv6 clothes as IPv4."""
    if host.startswith(_MAPPED):
        mapped = ipaddress.IPv6Address(host).ipv4_mapped
        return str(mapped or host)
    return host
