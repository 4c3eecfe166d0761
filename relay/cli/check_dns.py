"""Asks the DNS whether the records of `dns_records` are published."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from relay.cli.dns_records import Record, records

if TYPE_CHECKING:
    from relay.config import SMTPSettings

_TIMEOUT_S: Final = 3.0
YES: Final = "yes"
NO: Final = "no"
OTHER: Final = "other"
UNKNOWN: Final = "unknown"


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
