"""The DNS records that belong to a relay, made from its settings; no network.

Each comes with the reason why it should be published. The RFC beside a record
says what it holds.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from relay.diagnose.finding import Finding, ok, warn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.config import Settings, SMTPSettings

STS_MAX_AGE_S: Final = 604_800
"""A week: long enough to protect, short enough to take back (RFC 8461 section 3.2)."""
_ID_LENGTH: Final = 16
_SMTP_PORT: Final = 25
_TIMEOUT_S: Final = 3.0
YES: Final = "yes"
NO: Final = "no"
OTHER: Final = "other"
UNKNOWN: Final = "unknown"


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
                "no mail is sent from this domain; leave it out if some is (RFC 7208)",
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


# ------------------------------------------------------------------ published


@dataclass(frozen=True, slots=True)
class Published:
    """A record, and whether the world sees it."""

    record: Record
    state: str
    """yes, no, other (there is one of its kind, with another value), or unknown."""
    found: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the stable names that `relay check --dns --json` prints."""
        return {
            "name": self.record.name,
            "type": self.record.type,
            "value": self.record.value,
            "published": self.state,
            "found": list(self.found),
            "why": self.record.why,
        }


async def published(smtp: SMTPSettings) -> list[Published]:
    """Return every record to publish, each with what the DNS has today."""
    return list(await asyncio.gather(*(_look(one) for one in records(smtp))))


async def _look(record: Record) -> Published:
    import dns.asyncresolver  # noqa: PLC0415 - 0.1 s, only where needed
    import dns.exception  # noqa: PLC0415
    import dns.resolver  # noqa: PLC0415

    try:
        answer = await dns.asyncresolver.resolve(
            record.name, record.type, lifetime=_TIMEOUT_S
        )
        found = tuple(sorted(_text(one) for one in answer))
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return Published(record, NO, ())
    except (dns.exception.DNSException, OSError):
        return Published(record, UNKNOWN, ())
    if record.type == "TXT":
        # A name may have texts of other kinds beside ours.
        kind = record.value.partition(";")[0].split()[0]
        found = tuple(text for text in found if text.startswith(kind))
        if not found:
            return Published(record, NO, ())
    wanted = record.value.lower()
    state = YES if any(text.lower() == wanted for text in found) else OTHER
    return Published(record, state, found)


def _text(answer: Any) -> str:
    """Return the value as `Record` writes it."""
    strings = getattr(answer, "strings", None)
    if strings is not None:
        return b"".join(strings).decode("utf-8", "replace")
    return str(answer)


# ------------------------------------------------------------------ MX


async def mx(settings: Settings) -> list[Finding]:
    """Ask for the MX of each relay domain; nothing here is a failure.

    A relay behind a company's mail server needs no MX, and a machine without DNS can
    still take mail.
    """
    unnamed = no_hostname(settings.smtp)
    return list(
        await asyncio.gather(
            *(
                _mx(domain, settings.smtp.hostname, unnamed)
                for domain in settings.smtp.domains
            )
        )
    )


async def _mx(domain: str, hostname: str, unnamed: str) -> Finding:
    import dns.asyncresolver  # noqa: PLC0415 - 0.1 s, only where needed
    import dns.exception  # noqa: PLC0415

    area = f"dns {domain}"
    try:
        answer = await dns.asyncresolver.resolve(domain, "MX", lifetime=_TIMEOUT_S)
        hosts = [str(record.exchange).rstrip(".").lower() for record in answer]
    except (dns.exception.DNSException, OSError) as error:
        detail = f"no MX found ({_dns_reason(error)})"
        hint = unnamed or (
            f"publish: {domain}. MX 10 {hostname}. or route the domain here in your "
            "mail server; relay check --dns prints all records"
        )
        return warn(area, detail, hint)
    return _mx_finding(area, hosts, hostname, unnamed)


def _dns_reason(error: Exception) -> str:
    words = {
        "NXDOMAIN": "the domain does not exist",
        "NoAnswer": "the domain has none",
        "LifetimeTimeout": "no answer from the DNS",
        "NoNameservers": "the name servers fail",
        "NoResolverConfiguration": "this machine has no DNS",
    }
    return words.get(type(error).__name__, type(error).__name__)


def _mx_finding(
    area: str, hosts: Sequence[str], hostname: str, unnamed: str = ""
) -> Finding:
    listed = ", ".join(hosts)
    if hostname.lower() in hosts:
        return ok(area, f"MX is {listed}")
    hint = "fine if that server passes mail on; else " + (
        unnamed or f"point the MX to {hostname}"
    )
    return warn(area, f"MX is {listed}, not {hostname}", hint)
