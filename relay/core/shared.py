"""Facts that all relays on one database share: the org's pause, and its API usage.

All frozen values; `relay.store.shared` keeps them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

_CLASS = re.compile(r"\b[A-Z][a-z]\w*(?:Error|Timeout|Exception): ")
"""The class of a library that a text begins with, which tells people nothing."""


def without_class(text: str) -> str:
    """Return a text for people: no class of a library in it."""
    return _CLASS.sub("", text)


@dataclass(frozen=True, slots=True)
class Pause:
    """Why no work is done for the org, since when, and when it is tried again.

    Attributes:
        since: When the org was paused.
        until: When one mail, or a small call, may probe it.
        reason: `credentials`, `quota`, `budget`, `down` or `access`.
        code: Salesforce's code, an HTTP status, or a word for the transport.
        text: The sentence for the admin.
        probes: How often a probe has failed.
    """

    since: datetime
    until: datetime
    reason: str
    code: str
    text: str
    probes: int = 0

    @property
    def report(self) -> str:
        """Return the pause in one line for people."""
        return (
            f"paused since {_minute(self.since)} ({self.reason}), next try "
            f"{_minute(self.until)}: {self.cause}"
        )

    @property
    def cause(self) -> str:
        """Return the sentence for people: no class of a library in it."""
        return without_class(self.text)


@dataclass(frozen=True, slots=True)
class PauseState:
    """The org's pause as the database has it, or None while the org is used.

    `version` rises with every change. A relay that wants to change the pause names the
    version it knows, so that two relays never answer one failure twice.
    """

    version: int = 0
    pause: Pause | None = None


@dataclass(frozen=True, slots=True)
class CallReading:
    """What Salesforce said about the calls of the whole org in 24 hours."""

    at: datetime
    used: int
    limit: int


@dataclass(frozen=True, slots=True)
class APIUsage:
    """The API calls of all relays on one database.

    Attributes:
        calls: How many calls all relays made, by hour since 1970; the last 24 hours.
        readings: One a minute at most, oldest first; the last three hours, and in any
            case the last one.
    """

    calls: Mapping[int, int] = field(default_factory=dict)
    readings: tuple[CallReading, ...] = ()


def _minute(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%SZ")
