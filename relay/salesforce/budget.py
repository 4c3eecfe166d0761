"""The budget: how many of the org's API calls are used, by whom, and until when.

Salesforce grants calls for a rolling window of 24 hours, to all programs of the org
together, and tells with each answer how many are used. The relays on one database count
their own beside that, all of them together. Two limits follow: the org's calls, and the
share of them that these relays may use. The nearer one decides: from `slow_at` on
batches come less often and fuller, from `pause_at` on nothing is written until calls
are free again.

Everything here is arithmetic over what Salesforce reported; asking, waiting and sharing
the count with other relays are left to others. Safe to use from many threads.

Source: "API Request Limits and Allocations"; REST API Guide, "Limit Info Header".
"""

from __future__ import annotations

import re
import threading
from collections import Counter, deque
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

from relay.core.shared import CallReading
from relay.telemetry import metrics

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from relay.config import SalesforceSettings
    from relay.core.clock import Clock
    from relay.core.shared import APIUsage
    from relay.salesforce.transport import Flight

WINDOW_H: Final = 24
"""Hours over which Salesforce counts."""
RATE_WINDOW_S: Final = 3 * 3600.0
"""The forecast goes by the rate of so long."""
RATE_LEAST_S: Final = 60.0
"""What was seen for less than this gives no rate."""
SAMPLE_S: Final = 60.0
"""One reading is kept for so long a time."""
SLOWEST_S: Final = 60.0
"""Longest time between two batches, reached just below `pause_at`."""
REPORT_S: Final = 3600.0
"""An older report of Salesforce says nothing about now: calls have become free."""

LOGIN: Final = "login"
"""The kind of call that asks for a token; it costs no API call."""
_USAGE: Final = re.compile(r"(?:^|[;\s])api-usage=(\d{1,12})/(\d{1,12})")
_MAX_SKEW: Final = timedelta(days=2)
"""A Date header further off than this comes from something broken; it is ignored."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How the budget stands at one moment.

    `own` is the number of calls of all relays on this database. `share` is the larger
    of the org's share and that of the relays; 1 is all there is.
    `lasts_until` is None where nothing runs out within 24 hours, or too little is
    known to say (`per_hour` is None then).
    """

    used: int | None
    limit: int | None
    own: int
    share: float
    per_hour: float | None
    lasts_until: datetime | None


class Budget:
    """Counts calls, and says how fast the rest may be used."""

    def __init__(self, settings: SalesforceSettings, clock: Clock) -> None:
        """Start at nothing known."""
        self._settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        self._stored: Mapping[int, int] = {}
        """Calls of all relays, by hour, as the database had them last."""
        self._pending: dict[int, int] = {}
        """Calls of this process, by hour, that the database does not have yet."""
        self._reported: tuple[float, int, int] | None = None
        self._samples: deque[tuple[float, int]] = deque()

    # ------------------------------------------------------------ what is reported

    def spent(self) -> None:
        """Count one call of the relay's own."""
        hour = self._hour()
        with self._lock:
            self._pending[hour] = self._pending.get(hour, 0) + 1
            for old in [h for h in self._pending if h <= hour - WINDOW_H]:
                del self._pending[old]

    def report(self, used: int, limit: int) -> None:
        """Take over what Salesforce says about all of the org's calls."""
        at = self._clock.now().timestamp()
        with self._lock:
            self._reported = (at, used, limit)
            if not self._samples or at - self._samples[-1][0] >= SAMPLE_S:
                self._samples.append((at, used))
            while self._samples[0][0] < at - RATE_WINDOW_S:
                self._samples.popleft()

    # ------------------------------------------------------------ what follows

    def reading(self) -> Reading:
        """Return how the budget stands now, and how long it lasts."""
        now = self._clock.now()
        with self._lock:
            own, reported = self._own_calls(), self._reported
            rate, own_rate = self._rate(), self._own_rate()
        if reported is None:
            return Reading(None, None, own, 0.0, None, None)
        _, used, limit = reported
        ours = limit * self._settings.daily_share
        share = max(_part(used, limit), _part(own, ours))
        pause_at = self._settings.pause_at
        ends = [
            hours
            for hours in (
                _hours_left(limit * pause_at - used, rate),
                _hours_left(ours * pause_at - own, own_rate),
            )
            if hours is not None and hours < WINDOW_H
        ]
        until = now + timedelta(hours=min(ends)) if ends else None
        return Reading(used, limit, own, share, rate, until)

    def exhausted(self) -> str | None:
        """Say why nothing may be written now, or None while there are calls left.

        The org's own figure counts for an hour: calls become free meanwhile.
        """
        reading = self.reading()
        if reading.limit is None or reading.used is None:
            return None
        at, percent = self._settings.pause_at, f"{self._settings.pause_at:.0%}"
        ours = reading.limit * self._settings.daily_share
        if reading.own >= at * ours:
            return (
                f"the relay made {reading.own} calls in 24 hours, {percent} of the "
                f"{ours:.0f} it may make (salesforce.daily_share)"
            )
        fresh = self._clock.now().timestamp() - (self._reported or (0.0,))[0] < REPORT_S
        if fresh and reading.used >= at * reading.limit:
            return (
                f"{reading.used} of the org's {reading.limit} calls in 24 hours are "
                f"used, {percent} or more (salesforce.pause_at)"
            )
        return None

    @property
    def near(self) -> bool:
        """Say whether `slow_at` is reached."""
        return self.reading().share >= self._settings.slow_at

    def pace_s(self) -> float:
        """Return the least time between two batches; 0 while there is plenty."""
        slow, pause = self._settings.slow_at, self._settings.pause_at
        if not self.near:
            return 0.0
        if pause <= slow:
            return SLOWEST_S
        over = self.reading().share - slow
        return SLOWEST_S * min(1.0, over / (pause - slow))

    def sentence(self) -> str:
        """Return how the budget stands, for people."""
        reading = self.reading()
        if reading.used is None:
            return "calls not reported yet"
        pace_s = self.pace_s()
        slow = f"; slowed to a batch every {pace_s:.0f} s" if pace_s else ""
        return (
            f"{reading.used} of {reading.limit} calls used in 24 hours, "
            f"{reading.own} by the relay; "
            f"{when(reading.lasts_until, self._clock.now())}{slow}"
        )

    def publish(self) -> None:
        """Bring the gauges up to date."""
        reading = self.reading()
        metrics.ORG_API_SHARE.set(reading.share)
        metrics.ORG_API_OWN.set(reading.own)
        left = float("inf")
        if reading.lasts_until is not None:
            left = (reading.lasts_until - self._clock.now()).total_seconds()
        metrics.ORG_API_LASTS.set(max(0.0, left))

    # ------------------------------------------------------------ with other relays

    def pending(self) -> dict[int, int]:
        """Return the calls of this process, by hour, that are not stored yet."""
        with self._lock:
            return dict(self._pending)

    def last_reading(self) -> CallReading | None:
        """Return what Salesforce said last, to this relay or to another one."""
        with self._lock:
            if self._reported is None:
                return None
            at, used, limit = self._reported
        return CallReading(datetime.fromtimestamp(at, UTC), used, limit)

    def load(self, usage: APIUsage, stored: Mapping[int, int] | None = None) -> None:
        """Take over what all relays used.

        Args:
            usage: As the database has it now.
            stored: Those of `pending` that it holds by now.
        """
        now = self._clock.now().timestamp()
        with self._lock:
            self._stored = dict(usage.calls)
            for hour, count in (stored or {}).items():
                left = self._pending.get(hour, 0) - count
                self._pending.pop(hour, None)
                if left > 0:
                    self._pending[hour] = left
            if not usage.readings:
                return
            said = [(one.at.timestamp(), one.used) for one in usage.readings]
            newest = usage.readings[-1]
            if self._reported is None or self._reported[0] < said[-1][0]:
                self._reported = (said[-1][0], newest.used, newest.limit)
            self._samples = deque(s for s in said if s[0] >= now - RATE_WINDOW_S)

    # ------------------------------------------------------------ arithmetic

    def _hour(self) -> int:
        return int(self._clock.now().timestamp() // 3600)

    def _own(self) -> Iterator[tuple[int, int]]:
        """Yield calls by hour, those of one hour perhaps in two parts."""
        yield from self._stored.items()
        yield from self._pending.items()

    def _own_calls(self) -> int:
        hour = self._hour()
        return sum(n for h, n in self._own() if hour - WINDOW_H < h <= hour)

    def _rate(self) -> float | None:
        """Return by how many calls an hour the org's figure grows."""
        if self._reported is None or not self._samples:
            return None
        (at, used), (now, used_now) = self._samples[0], self._reported[:2]
        if now - at < RATE_LEAST_S:
            return None
        return max(0.0, (used_now - used) / ((now - at) / 3600))

    def _own_rate(self) -> float | None:
        """Return how many calls an hour the relays make themselves."""
        seconds = self._clock.now().timestamp() % 3600
        hours = int(RATE_WINDOW_S // 3600)
        now = self._hour()
        calls = sum(n for h, n in self._own() if now - hours < h <= now)
        return calls / (hours - 1 + seconds / 3600)


def _part(used: float, whole: float) -> float:
    return used / whole if whole > 0 else 1.0


def _hours_left(calls: float, per_hour: float | None) -> float | None:
    if calls <= 0:
        return 0.0
    return calls / per_hour if per_hour else None


def when(lasts_until: datetime | None, now: datetime) -> str:
    """Return the forecast for people: `quota lasts until …`."""
    if lasts_until is None:
        return "quota lasts beyond 24 hours"
    if lasts_until <= now:
        return "quota is used up"
    shown = lasts_until.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"quota lasts until {shown}"


# ------------------------------------------------------------------ call stats


class CallStats:
    """Counts calls, and keeps what the last answers said."""

    def __init__(self, clock: Clock, budget: Budget | None = None) -> None:
        """Start at nothing; each call is reported to `budget`."""
        self._clock = clock
        self._budget = budget
        self._answers = 0
        self._lock = threading.Lock()
        self._calls: Counter[str] = Counter()
        self._usage: tuple[int, int] | None = None
        self._ahead = timedelta(0)
        self._clock_seen = False

    def count(self, kind: str, flight: Flight, outcome: str) -> None:
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
                self._budget.report(*usage)
        metrics.SALESFORCE_CALLS.labels(kind, outcome).inc()
        if flight.left:
            metrics.SALESFORCE_CALL_SECONDS.labels(kind).observe(flight.seconds)
        if usage is not None:
            metrics.ORG_API_USED.set(usage[0])
            metrics.ORG_API_LIMIT.set(usage[1])

    @property
    def clock_seen(self) -> bool:
        """Say whether an answer has reported Salesforce's time yet."""
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
        """Return (used, limit) of the org's calls in 24 hours, as last reported."""
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
