"""A DNS for tests: the sandbox's server in a thread, and a resolver that asks it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay.core.clock import SystemClock
from relay.sandbox.dns import DNSServer, txt_record
from relay.sender.resolver import Resolver

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["DNS", "dns"]


class DNS(DNSServer):
    """A server with short words for the records of tests.

    Use it as the fixture `dns`, or `with DNS() as dns`.
    """

    def txt(self, name: str, text: str | bytes, ttl_s: int = 300) -> None:
        """Publish a text."""
        self.zones.add(txt_record(name, text, ttl_s))

    def dmarc(self, domain: str, text: str = "v=DMARC1; p=reject") -> None:
        """Publish a DMARC record for a domain."""
        self.txt(f"_dmarc.{domain}", text)

    def records(self, text: str) -> None:
        """Publish zone text."""
        self.zones.add(text)

    def resolver(self, **settings: object) -> Resolver:
        """Return a resolver that asks this server alone."""
        settings.setdefault("clock", SystemClock())
        return Resolver([self.address], **settings)

    def dmarc_queries(self) -> int:
        """Return how many questions for `_dmarc` names came."""
        return sum(
            count
            for (name, _), count in self.counts.items()
            if name.startswith("_dmarc.")
        )


@pytest.fixture
def dns() -> Iterator[DNS]:
    """Run a DNS for one test."""
    with DNS() as server:
        yield server
