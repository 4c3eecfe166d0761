"""When to try again, and when to stop.

`Backoff.after` turns a failure into what happens: it reads the effect of the error's
retry rule (`relay.core.retry`) and adds the time. Transient failures end by age,
counted from the first of them and without the time in which the relay or Salesforce
was down, so that a long outage kills no mail. A failure that has no rule (a fault of
the relay's own) ends by count: it would fail for ever.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from relay.core.retry import EFFECTS, SOON_S, SOON_TRIES, Retry, Then

if TYPE_CHECKING:
    import random

    from relay.config import WorkerSettings

LOOK_UP_AFTER_S: Final = (2.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""Waits between looks for a record whose outcome is unknown."""

GIVE_BACK_S: Final = 1.0
"""Wait for a mail that another worker has leased."""

MAX_UNEXPECTED: Final = 10
"""Failures without a rule, after which a message is dead."""


@dataclass(frozen=True, slots=True)
class Next:
    """What happens after a failure, and when the next try is due.

    `too_old` says that a failure that may pass is given up because of its age.
    """

    then: Then
    due_at: datetime
    too_old: bool = False


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential waits with jitter, bounded below and above, ended by age."""

    settings: WorkerSettings
    chance: random.Random

    def after(
        self,
        retry: Retry,
        now: datetime,
        failures: int,
        *,
        failing_since: datetime | None,
        retry_after_s: float | None = None,
        paused: bool = False,
        open_outcome: bool = False,
    ) -> Next:
        """Return what happens after a failure.

        Args:
            retry: The rule of the error.
            now: Now.
            failures: How often it failed, this time included.
            failing_since: When it failed first; None: now.
            retry_after_s: Wait that the error asks for, if it does.
            paused: The org is paused for this failure. Without a pause a mail that is
                given back would be claimed again at once.
            open_outcome: Whether it was written is open. It is never given up: what
                is dead is retried by people, and might be written twice.
        """
        effect = EFFECTS[retry]
        if effect.then is Then.DEAD:
            return Next(Then.DEAD, now)
        if effect.then is Then.GIVE_BACK and paused:
            return Next(Then.GIVE_BACK, now)
        gives_up = effect.gives_up or effect.then is Then.GIVE_BACK
        if gives_up and not open_outcome and self.too_old(now, failing_since):
            return Next(Then.DEAD, now, too_old=True)
        due_at = self.retry_at(now, failures, retry_after_s, soon=effect.soon)
        return Next(Then.WAIT, due_at)

    def retry_at(
        self,
        now: datetime,
        failures: int,
        retry_after_s: float | None = None,
        *,
        soon: bool = False,
    ) -> datetime:
        """Return when to try again after the `failures`-th failure (from 1).

        A wait that the other side asked for is kept, jitter on top.
        """
        if retry_after_s is not None:
            wait = max(0.0, retry_after_s)
            return now + timedelta(seconds=wait * self.chance.uniform(1.0, 1.1))
        if soon and failures <= SOON_TRIES:
            return now + timedelta(seconds=self.chance.uniform(*SOON_S))
        before = SOON_TRIES if soon else 0
        exponent = min(max(failures - before, 1) - 1, 30)
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
