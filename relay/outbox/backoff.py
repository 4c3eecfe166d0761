"""When to try again, and when to stop.

Transient failures end by age, counted from the first of them and without the time in
which nobody tried, so that a long outage of Salesforce or of the relay kills no mail.
What nobody foresaw ends by count: it would fail for ever.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import random

    from relay.config import WorkerSettings

LOOK_UP_AFTER_S: Final = (2.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""Waits between looks for a record whose outcome is unknown."""

GIVE_BACK_S: Final = 1.0
"""Wait for a mail that another worker holds."""

MAX_UNEXPECTED: Final = 10
"""Failures that nobody foresaw, after which a message is dead."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential waits with jitter, bounded below and above, ended by age."""

    settings: WorkerSettings
    chance: random.Random

    def retry_at(
        self, now: datetime, failures: int, retry_after_s: float | None = None
    ) -> datetime:
        """Return when to try again after the `failures`-th failure (from 1).

        A wait that the other side asked for is kept, jitter on top.
        """
        if retry_after_s is not None:
            wait = max(0.0, retry_after_s)
            return now + timedelta(seconds=wait * self.chance.uniform(1.0, 1.1))
        exponent = min(max(failures, 1) - 1, 30)
        wait = min(
            self.settings.retry_max_s, self.settings.retry_first_s * 2.0**exponent
        )
        return now + timedelta(seconds=wait * self.chance.uniform(0.5, 1.0))

    def too_old(self, now: datetime, failing_since: datetime | None) -> bool:
        """Say whether a message has been tried for long enough."""
        if failing_since is None:
            return False
        return now - failing_since > timedelta(days=self.settings.retry_days)


def look_up_wait_s(lookups: int) -> float:
    """Return seconds until the next look for an unknown outcome."""
    return LOOK_UP_AFTER_S[min(lookups, len(LOOK_UP_AFTER_S) - 1)]
