"""Which processes a relay consists of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relay.config import Settings


@dataclass(frozen=True, slots=True)
class Part:
    """One process: its name in the log, and what it does."""

    name: str
    roles: frozenset[str]

    @property
    def takes_mail(self) -> bool:
        """Whether it needs the listening sockets."""
        return "smtp" in self.roles


def parts(settings: Settings, roles: frozenset[str]) -> list[Part]:
    """Return the processes, those that take mail first.

    Reading mail and speaking to Salesforce have a process of their own, so that they
    never delay a `250`.
    """
    found = []
    if "smtp" in roles:
        found += [
            Part(f"smtp-{number}", frozenset({"smtp"}))
            for number in range(settings.serve.processes)
        ]
    found += [Part(f"{role}-0", frozenset({role})) for role in sorted(roles - {"smtp"})]
    return found
