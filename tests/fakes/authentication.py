"""Checks mails of tests: the real Authenticator, against the DNS of a test."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from relay.core.clock import SystemClock
from relay.core.model import RawMail
from relay.intake.buffer import header_end
from relay.sender.authenticate import AuthenticationRequest, Authenticator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.core.authentication import Authentication
    from relay.core.clock import Clock
    from tests.fakes.dns import DNS

PEER = "192.0.2.1"
"""Who sends, unless a test says otherwise."""

MAIL = (
    b"From: Ada <ada@corp.example>\r\n"
    b"To: Ben <ben@customer.example>\r\n"
    b"Subject: The offer\r\n"
    b"Date: Mon, 30 Nov 2026 11:00:00 +0000\r\n"
    b"Message-ID: <1@corp.example>\r\n"
    b"MIME-Version: 1.0\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n"
    b"\r\n"
    b"Dear Ben,\r\n\r\nhere is  the offer. \r\n\r\n"
)
"""A mail of Ada to Ben, unsigned."""


def raw_mail(data: bytes) -> RawMail:
    """Return bytes as the intake holds them."""
    return RawMail(len(data), hashlib.sha256(data).hexdigest(), data=data)


def head_of(data: bytes) -> bytes:
    """Return the header block, as the intake takes it."""
    end = header_end(data, 1 << 30)
    return data if end < 0 else data[:end]


def request_for(
    data: bytes,
    *,
    author: str = "ada@corp.example",
    mail_from: str = "ada@corp.example",
    peer: str = PEER,
    helo: str = "mail.corp.example",
) -> AuthenticationRequest:
    """Return what the intake would ask about a mail."""
    return AuthenticationRequest(
        peer_ip=peer,
        helo=helo,
        mail_from=mail_from,
        author=author,
        raw=raw_mail(data),
        head=head_of(data),
    )


class Checker:
    """An Authenticator with defaults for everything about a mail."""

    def __init__(
        self,
        dns: DNS,
        *,
        clock: Clock | None = None,
        sealers: Sequence[str] = (),
        max_bytes: int = 1 << 30,
        **settings: object,
    ) -> None:
        """Ask this DNS; other settings are the resolver's."""
        clock = clock or SystemClock()
        self.resolver = dns.resolver(clock=clock, **settings)
        self.authenticator = Authenticator(
            self.resolver, clock, sealers=sealers, max_bytes=max_bytes
        )

    async def close(self) -> None:
        """End the threads and the questions."""
        await self.authenticator.close()
        await self.resolver.close()

    async def check(
        self,
        data: bytes = MAIL,
        *,
        author: str = "ada@corp.example",
        mail_from: str | None = None,
        peer: str = PEER,
        helo: str = "mail.corp.example",
    ) -> Authentication:
        """Check a mail; the envelope sender is the author unless it is given."""
        sender = author if mail_from is None else mail_from
        return await self.authenticator.authenticate(
            request_for(data, author=author, mail_from=sender, peer=peer, helo=helo)
        )
