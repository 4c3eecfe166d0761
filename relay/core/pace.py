"""How often Salesforce is asked what was changed, so that a day's calls are enough.

Calls are counted in parts of a quarter of an hour, and a part counts until all of it is
more than 24 hours ago: so in no 24 hours there are more than the limit, wherever they
begin. Some of them are kept for what is sent.

The plan looks 24 hours ahead, as far as a call that is made now counts. It knows which
calls are free again by when, and when people work. Working hours come first: they get
the rounds they need, and if these are too many, they are slowed down evenly. What is
left is spread evenly over the other hours. What Salesforce tells along with calls that
are made anyway costs nothing, and leaves more for both.

It is arithmetic alone: nothing here waits, and no time but the given one counts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import tzinfo

PART_S: Final = 900
"""Seconds of a part."""
PARTS: Final = 96
"""Parts of 24 hours; with the present one, as many and one more count."""
FOR_READING: Final = 0.92
"""The part of a day's calls that reading may use; the rest is for sending."""
KEPT: Final = 0.04
"""The part of a day's calls that reading leaves to sending whatever was sent."""
STIR: Final = timedelta(minutes=10)
"""So long after a change, another one is likely."""
LATEST_S: Final = 55.0
"""An edit of ours waits so long at the most, while there are calls, in seconds."""
MOST: Final = 6
"""Calls that one round may cost; a fuller one is rare, and counts afterwards."""
TRUSTED: Final = 0.5
"""So much of what cost nothing yesterday is expected to cost nothing today."""

WORK_FROM: Final = 7
WORK_UNTIL: Final = 19
_SATURDAY: Final = 5


def is_awake(moments: Collection[datetime]) -> bool:
    """Say whether somebody may be working, by the local time of each user."""
    return any(
        WORK_FROM <= one.hour < WORK_UNTIL and one.weekday() < _SATURDAY
        for one in moments
    )


@dataclass
class Spent:
    """The calls of the last 24 hours, by part.

    Attributes:
        reads: Calls of reading.
        writes: All others.
        free: Readings that went along with other calls, and cost none.
    """

    reads: dict[int, int] = field(default_factory=dict)
    writes: dict[int, int] = field(default_factory=dict)
    free: dict[int, int] = field(default_factory=dict)

    def add(
        self, now: datetime, *, reads: int = 0, writes: int = 0, free: int = 0
    ) -> None:
        """Count calls; forget those that do not count any more."""
        part = part_of(now)
        for counts, more in (
            (self.reads, reads),
            (self.writes, writes),
            (self.free, free),
        ):
            counts[part] = counts.get(part, 0) + more
            for old in [one for one in counts if one < part - PARTS]:
                del counts[old]

    def used(self, now: datetime) -> int:
        """Return the calls that count now."""
        return sum(_line(self.reads, now)) + sum(_line(self.writes, now))

    def share_free(self, now: datetime) -> float:
        """Return which part of the readings cost nothing, from 0 to 1."""
        free, reads = sum(_line(self.free, now)), sum(_line(self.reads, now))
        return free / (free + reads) if free else 0.0

    def as_json(self) -> dict[str, dict[str, int]]:
        """Return it as JSON."""
        return {
            name: {str(part): count for part, count in counts.items() if count}
            for name, counts in vars(self).items()
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any] | None) -> Spent:
        """Return what `as_json` made; of nothing, that nothing was spent."""
        known = value or {}
        return cls(
            *(
                {int(part): int(count) for part, count in known.get(name, {}).items()}
                for name in ("reads", "writes", "free")
            )
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """What the calls of 24 hours are enough for.

    Attributes:
        awake_s: Seconds between two rounds while people work; None: there are no calls.
        idle_s: The same at other times.
        spare: Calls that are left over if other times get no more than their least.
    """

    awake_s: float | None
    idle_s: float | None
    spare: float


@dataclass(frozen=True, slots=True)
class Pace:
    """How often Salesforce is asked.

    Attributes:
        poll_s: Seconds between two rounds, where there are calls enough.
        idle_s: Seconds between two rounds, outside working hours, that are not
            exceeded for the sake of working hours.
        push_s: Seconds between two rounds while edits of ours wait.
        calls: Calls that 24 hours may cost.
        cost: Calls of a round in which nothing was changed.
    """

    poll_s: float
    idle_s: float
    push_s: float
    calls: int
    cost: int = 1

    def wait_s(
        self,
        now: datetime,
        spent: Spent,
        zones: Collection[tzinfo],
        *,
        looked_at: datetime | None = None,
        waiting: bool = False,
        changed_at: datetime | None = None,
    ) -> float | None:
        """Return the time between two rounds; None: until calls are free again.

        Args:
            now: The time.
            spent: The calls so far.
            zones: Where the users are.
            looked_at: When Salesforce was asked last: what was changed in the last
                minute of work is not to wait for the night.
            waiting: Edits of ours wait to be sent.
            changed_at: When anything was changed last, on either side.
        """
        left = self.calls - spent.used(now)
        if left < min(MOST * self.cost, -(-self.calls // 10)):
            return None
        plan = self.plan(now, spent, zones)
        wait = plan.idle_s
        if any(_awake(at, zones) for at in (now, looked_at or now)):
            wait = plan.awake_s
        elif changed_at is not None and now - changed_at < STIR:
            lasts = STIR.total_seconds() / self.poll_s * self.cost
            wait = self.poll_s if plan.spare >= lasts else wait
        if not waiting:
            return wait
        push = self._push_s(now, spent)
        return push if wait is None else min(wait, push)

    def _push_s(self, now: datetime, spent: Spent) -> float:
        """Return how long edits of ours wait: longer where they come without end."""
        hour = PART_S * 4 / self.poll_s * 2 * self.cost
        lately = sum(_line(spent.reads, now)[-4:]) + sum(_line(spent.writes, now)[-4:])
        return self.push_s if lately <= hour else max(self.push_s, LATEST_S)

    def plan(self, now: datetime, spent: Spent, zones: Collection[tzinfo]) -> Plan:
        """Return what the calls of the next 24 hours are enough for."""
        left = self._left(_line(spent.reads, now), _line(spent.writes, now))
        free = TRUSTED * spent.share_free(now)
        work, rest = _hours(now, zones)
        work = [one * (1 - free) for one in work]
        most = self.cost * PART_S / self.poll_s
        least = min(most, self.cost * PART_S / self.idle_s)
        by = list(zip(left, work, rest, strict=True))
        awake = min(
            (
                most,
                *((calls - least * idle) / busy for calls, busy, idle in by if busy),
            )
        )
        if awake < least:
            # Not even the least can be had at all hours: all get the same.
            each = min(calls / (busy + idle) for calls, busy, idle in by)
            same = self._seconds(min(least, each))
            return Plan(same, same, 0.0)
        idle_rate = min(
            (most, *((calls - awake * busy) / idle for calls, busy, idle in by if idle))
        )
        spare = min(calls - awake * busy - least * idle for calls, busy, idle in by)
        return Plan(self._seconds(awake), self._seconds(idle_rate), max(0.0, spare))

    def _left(self, reads: Sequence[int], writes: Sequence[int]) -> list[float]:
        """Return how many calls reading may use until the end of each coming part."""
        kept = FOR_READING * self.calls
        left: list[float] = []
        read = written = 0
        # What counts until the end of each coming part, from the last one on.
        for more_read, more_written in zip(
            reversed(reads), reversed(writes), strict=True
        ):
            read, written = read + more_read, written + more_written
            # More was sent than was kept for it: then there is less to read with.
            left.append(min(kept - read, (1 - KEPT) * self.calls - read - written))
        return left[::-1]

    def _seconds(self, rate: float) -> float | None:
        return self.cost * PART_S / rate if rate > 0 else None


def part_of(at: datetime) -> int:
    """Return the number of the part that a moment is in."""
    return int(at.timestamp() // PART_S)


def _line(counts: Mapping[int, int], now: datetime) -> list[int]:
    """Return the counts of the parts that count, the oldest first."""
    part = part_of(now)
    return [counts.get(one, 0) for one in range(part - PARTS, part + 1)]


def _hours(now: datetime, zones: Collection[tzinfo]) -> tuple[list[float], list[float]]:
    """Return how many parts of working hours, and of others, there are up to each."""
    part = part_of(now)
    # Of the present part counts what is left of it.
    gone = now.timestamp() / PART_S - part
    work, rest = [], []
    busy = idle = 0.0
    for ahead, is_busy in enumerate(_awake_in(part, frozenset(zones))):
        length = 1.0 if ahead else 1 - gone
        if is_busy:
            busy += length
        else:
            idle += length
        work.append(busy)
        rest.append(idle)
    return work, rest


def _awake(at: datetime, zones: Collection[tzinfo]) -> bool:
    return _awake_in(part_of(at), frozenset(zones))[0]


@lru_cache(maxsize=64)
def _awake_in(part: int, zones: frozenset[tzinfo]) -> tuple[bool, ...]:
    """Return for a part, and each of the coming 24 hours, whether people work."""
    moments = (
        datetime.fromtimestamp((part + ahead) * PART_S, UTC)
        for ahead in range(PARTS + 1)
    )
    return tuple(is_awake([at.astimezone(one) for one in zones]) for at in moments)
