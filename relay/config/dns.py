"""The settings of the DNS: whom to ask, for how long, and how much.

The checks of a sender (SPF, DKIM, DMARC) ask; a policy without checks asks nothing.
"""

from __future__ import annotations

import ipaddress
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from relay.config.values import HostPort, Seconds, Section, mistake

_PORT = 53
_HINT = 'write an IP address, such as "192.0.2.53", "192.0.2.53:5353" or "[::1]:53"'
_Entries = Annotated[int, Field(strict=True, ge=100, le=1_000_000)]
_Lookups = Annotated[int, Field(strict=True, ge=10, le=1000)]
_Patience = Annotated[Seconds, Field(le=120)]
"""A peer waits ten minutes for the reply to a mail (RFC 5321 section 4.5.3.2.6)."""


def _name_server(value: object) -> HostPort:
    """Read `address`, `address:port` or `[IPv6]:port`."""
    if isinstance(value, HostPort):
        return value
    if not isinstance(value, str):
        raise mistake("is no name server", _HINT)
    text = value.strip()
    host, colon, port = text.rpartition(":")
    if _is_ip(text) or text.endswith("]"):
        host, port = text, str(_PORT)
    elif not colon:
        raise mistake("is no name server", _HINT)
    host = host.removeprefix("[").removesuffix("]")
    if not _is_ip(host):
        raise mistake("is no name server", _HINT)
    if not (port.isascii() and port.isdigit() and 0 < int(port) <= 0xFFFF):  # noqa: PLR2004
        raise mistake("has no port between 1 and 65535", _HINT)
    return HostPort(host, int(port))


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


class DNSSettings(Section):
    """The DNS, asked when a sender is checked (SPF, DKIM, DMARC)."""

    servers: tuple[Annotated[HostPort, BeforeValidator(_name_server)], ...] = Field(
        default=(),
        description="Name servers that answer for all domains (resolvers), as IP "
        "addresses, with :port where it is not 53; empty: those of the machine "
        "(/etc/resolv.conf).",
    )
    timeout_s: _Patience = Field(
        default=3.0,
        description="Longest wait for the answer to one question, in seconds; all "
        "servers and tries together.",
    )
    mail_timeout_s: _Patience = Field(
        default=10.0,
        description="Longest wait for all answers that one mail needs, in seconds; "
        "what is not known then is a temporary failure.",
    )
    lookups: _Lookups = Field(
        default=60,
        description="Most questions that one mail may cause, a count from 10: its "
        "sender's records decide how many are asked.",
    )
    cache_entries: _Entries = Field(
        default=10_000,
        description="Answers that are remembered for their time to live, a count; a "
        "long answer counts more than once.",
    )

    @model_validator(mode="after")
    def _mail_waits_for_one_question(self) -> Self:
        if self.mail_timeout_s < self.timeout_s:
            raise mistake(
                "is shorter than dns.timeout_s, the wait for one question",
                "write at least as much",
                key="mail_timeout_s",
            )
        return self
