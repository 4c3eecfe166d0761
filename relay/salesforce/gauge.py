"""What the calls tell beside their answers: how many, how much is left, what time.

Shared by all threads of one org; counts go to the metrics as well.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

from relay.telemetry import metrics

if TYPE_CHECKING:
    from relay.core.clock import Clock
    from relay.salesforce.budget import Budget
    from relay.salesforce.transport import Flight

LOGIN: Final = "login"
"""The kind of call that asks for a token; it costs no API call."""
_USAGE: Final = re.compile(r"(?:^|[;\s])api-usage=(\d{1,12})/(\d{1,12})")
_MAX_SKEW: Final = timedelta(days=2)
"""A Date header further off than this comes from something broken; it is ignored."""


class Gauge:
    """Counts calls, and keeps what the last answers said."""

    def __init__(self, clock: Clock, budget: Budget | None = None) -> None:
        """Start at nothing; `budget` is told of each call."""
        self._clock = clock
        self._budget = budget
        self._answers = 0
        self._lock = threading.Lock()
        self._calls: Counter[str] = Counter()
        self._usage: tuple[int, int] | None = None
        self._ahead = timedelta(0)
        self._clock_seen = False

    def note(self, kind: str, flight: Flight, outcome: str) -> None:
        """Count one call that left, with its outcome; read the headers of its answer.

        Args:
            kind: What for: `login`, `lookup`, `write`, …
            flight: The call; one that never left is not counted as a call.
            outcome: A stable word: `ok`, `refused`, `unknown`, …
        """
        usage = usage_of(flight.headers.get("Sforce-Limit-Info", ""))
        ahead = self._skew(flight)
        with self._lock:
            if flight.left:
                self._calls[kind] += 1
            if outcome == "ok" and kind != LOGIN:
                self._answers += 1
            if usage is not None:
                self._usage = usage
            if ahead is not None:
                self._ahead = ahead
                self._clock_seen = True
        if self._budget is not None:
            if flight.left and kind != LOGIN:
                self._budget.spent()
            if usage is not None:
                self._budget.told(*usage)
        metrics.SALESFORCE_CALLS.labels(kind, outcome).inc()
        if flight.left:
            metrics.SALESFORCE_CALL_SECONDS.labels(kind).observe(flight.seconds)
        if usage is not None:
            metrics.ORG_API_USED.set(usage[0])
            metrics.ORG_API_LIMIT.set(usage[1])

    @property
    def clock_seen(self) -> bool:
        """Say whether an answer has told Salesforce's time yet."""
        with self._lock:
            return self._clock_seen

    @property
    def calls(self) -> dict[str, int]:
        """Return the number of calls that left, by kind."""
        with self._lock:
            return dict(self._calls)

    @property
    def answers(self) -> int:
        """Return how many calls, logins left out, were answered as asked."""
        return self._answers

    @property
    def usage(self) -> tuple[int, int] | None:
        """Return (used, limit) of the org's calls in 24 hours, as last told."""
        return self._usage

    def server_now(self) -> datetime:
        """Return the time by Salesforce's clock, up to a second or two behind it."""
        return self._clock.now() + self._ahead

    def server_ahead_s(self) -> float:
        """Return the seconds by which Salesforce's clock is ahead of ours."""
        return self._ahead.total_seconds()

    def _skew(self, flight: Flight) -> timedelta | None:
        text = flight.headers.get("Date", "")
        if not text:
            return None
        try:
            date = parsedate_to_datetime(text)
        except (ValueError, TypeError, OverflowError):
            return None
        if date.tzinfo is None:
            date = date.replace(tzinfo=UTC)
        skew = date - self._clock.now()
        return skew if abs(skew) <= _MAX_SKEW else None


def usage_of(header: str) -> tuple[int, int] | None:
    """Read `Sforce-Limit-Info`: `api-usage=18/5000; per-app-api-usage=…`."""
    found = _USAGE.search(header)
    return (int(found[1]), int(found[2])) if found else None
