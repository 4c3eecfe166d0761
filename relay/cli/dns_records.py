"""The DNS records that belong to a relay, made from its settings; no network.

Each comes with the reason why it should be published. What a record holds is told by
the RFC beside it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from relay.config import SMTPSettings

STS_MAX_AGE_S: Final = 604_800
"""A week: long enough to protect, short enough to take back (RFC 8461 section 3.2)."""
_ID_LENGTH: Final = 16
_SMTP_PORT: Final = 25


@dataclass(frozen=True, slots=True)
class Record:
    """One record to publish."""

    name: str
    type: str
    value: str
    why: str

    @property
    def line(self) -> str:
        """Return it as a line of a zone file."""
        value = f'"{self.value}"' if self.type == "TXT" else self.value
        return f"{self.name}. IN {self.type} {value}"


def no_hostname(smtp: SMTPSettings) -> str:
    """Return what to do before a record is published; empty where nothing is.

    The name of the machine stands for `smtp.hostname` where that is empty. The world
    need not know that name.
    """
    if "hostname" in smtp.model_fields_set:
        return ""
    return (
        f"set smtp.hostname first, to a name that the world knows: {smtp.hostname} is "
        "only what this machine calls itself"
    )


def records(smtp: SMTPSettings) -> list[Record]:
    """Return the records of every relay domain, then those of the host."""
    found: list[Record] = []
    secured = smtp.tls_certificate is not None
    for domain in smtp.domains:
        found += [
            Record(domain, "MX", f"10 {smtp.hostname}.", "mail for it comes here"),
            Record(
                domain,
                "TXT",
                "v=spf1 -all",
                "nobody sends from it; leave out where somebody does (RFC 7208)",
            ),
        ]
        if secured:
            policy = hashlib.sha256(sts_policy(smtp).encode()).hexdigest()
            found.append(
                Record(
                    f"_mta-sts.{domain}",
                    "TXT",
                    f"v=STSv1; id={policy[:_ID_LENGTH]}",
                    f"senders insist on TLS; serve the policy at https://mta-sts."
                    f"{domain}/.well-known/mta-sts.txt (RFC 8461)",
                )
            )
        found.append(
            Record(
                f"_smtp._tls.{domain}",
                "TXT",
                f"v=TLSRPTv1; rua=mailto:postmaster@{domain}",
                "senders report failures of TLS; the relay keeps mail for postmaster "
                "(RFC 8460)",
            )
        )
    if secured:
        found.append(
            Record(
                f"_{_SMTP_PORT}._tcp.{smtp.hostname}",
                "TLSA",
                f"3 1 1 {key_digest(smtp)}",
                "DANE: only where DNSSEC signs the zone; before the key changes, add "
                "the new one's (RFC 7672)",
            )
        )
    return found


def sts_policy(smtp: SMTPSettings) -> str:
    """Return the MTA-STS policy, the same for each domain.

    It begins in mode `testing`; `enforce` follows once the reports are clean.

    Source: RFC 8461 section 3.2.
    """
    lines = (
        "version: STSv1",
        "mode: testing",
        f"mx: {smtp.hostname}",
        f"max_age: {STS_MAX_AGE_S}",
    )
    return "".join(f"{line}\r\n" for line in lines)


def key_digest(smtp: SMTPSettings) -> str:
    """Return the SHA-256 of the certificate's public key, as TLSA 3 1 1 has it.

    It stays the same when a certificate is renewed with the same key.

    Source: RFC 6698 section 2.1.
    """
    from cryptography import x509  # noqa: PLC0415 - 60 ms, only where needed
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
        Encoding,
        PublicFormat,
    )

    if smtp.tls_certificate is None:
        raise ValueError
    pem = smtp.tls_certificate.read_bytes()
    key = x509.load_pem_x509_certificates(pem)[0].public_key()
    return hashlib.sha256(
        key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    ).hexdigest()
