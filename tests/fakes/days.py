"""Days of the sync's pace, without a relay: only the clock runs.

Mail, edits here and changes there come at random moments; what is looked up is when
Salesforce was asked, at what cost, and how late a change would have been seen.
"""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from relay.core.pace import Pace, Spent, is_awake
from relay.reminders.bell import LISTEN_S


@dataclass
class Traffic:
    """What happens in an hour, on the average: while somebody works, and else."""

    mails: tuple[float, float] = (0.0, 0.0)
    edits: tuple[float, float] = (0.0, 0.0)
    changes: tuple[float, float] = (0.0, 0.0)


@dataclass
class Days:
    """What a simulation has seen.

    Attributes:
        gaps: By moment, the time from one look at Salesforce to the next, in seconds.
        pushes: By moment, how long edits waited until they were sent, in seconds.
        calls: The moment of each call.
    """

    gaps: list[tuple[datetime, float]] = field(default_factory=list)
    pushes: list[tuple[datetime, float]] = field(default_factory=list)
    calls: list[datetime] = field(default_factory=list)

    def most_in_24_hours(self):
        """Return the most calls in any 24 hours, wherever they begin."""
        most, first = 0, 0
        for number, at in enumerate(self.calls):
            while at - self.calls[first] >= timedelta(days=1):
                first += 1
            most = max(most, number - first + 1)
        return most

    def by_hour(self):
        """Return by the hour of the clock: days of work, and others, the gaps."""
        found = defaultdict(list)
        for at, gap in self.gaps:
            found[at.weekday() < 5, at.hour].append(gap)
        return found

    def within(self, zones, *, awake):
        """Return the gaps in working hours, or in others."""
        return [
            gap
            for at, gap in self.gaps
            if is_awake([at.astimezone(zone) for zone in zones]) is awake
        ]


def simulate(pace: Pace, zones, start: datetime, days: float, **more) -> Days:
    """Let days pass; the first ones, `warm`, are left out of what is looked up."""
    run = _Run(pace, frozenset(zones), start, **more)
    while run.now < start + timedelta(days=days):
        run.step()
    return run.done


@dataclass
class _Run:
    pace: Pace
    zones: frozenset
    now: datetime
    traffic: Traffic = field(default_factory=Traffic)
    step_s: float = 5.0
    seed: int = 1
    warm: float = 1.0
    done: Days = field(default_factory=Days)
    spent: Spent = field(default_factory=Spent)
    changed_at: datetime | None = None
    edited_at: datetime | None = None
    rings: bool = False
    changed: bool = False
    busy: bool = False

    def __post_init__(self):
        self.dice = random.Random(self.seed)
        self.counted = self.now + timedelta(days=self.warm)
        self.looked = self.rounded = self.now

    def happens(self, rates):
        rate = rates[0 if self.busy else 1]
        return rate > 0 and self.dice.random() < rate * self.step_s / 3600

    def step(self):
        """Let a few seconds pass."""
        self.now += timedelta(seconds=self.step_s)
        if self.now.second < self.step_s:
            self.busy = is_awake([self.now.astimezone(zone) for zone in self.zones])
        if self.happens(self.traffic.edits) and self.edited_at is None:
            self.edited_at = self.now
        self.changed |= self.happens(self.traffic.changes)
        if self.happens(self.traffic.mails):
            self.listen()
        if self.due():
            self.round()

    def listen(self):
        """Ask along with a call of mail."""
        if self.rings or (self.now - self.looked).total_seconds() < LISTEN_S:
            return
        if self.changed:
            self.rings = True
            return
        self.spent.add(self.now, free=1)
        self.look()

    def due(self):
        """Say whether a round is due, as the service does."""
        waiting = self.edited_at is not None
        since = (self.now - self.rounded).total_seconds()
        if since < (self.pace.push_s if waiting or self.rings else self.pace.poll_s):
            return False
        passed = since
        if not waiting and since < self.pace.idle_s:
            passed = (self.now - self.looked).total_seconds()
            if passed < self.pace.poll_s and not self.rings:
                return False
        wait = self.pace.wait_s(
            self.now,
            self.spent,
            self.zones,
            looked_at=self.looked,
            waiting=waiting,
            changed_at=self.changed_at,
        )
        return wait is not None and (self.rings or passed >= wait)

    def round(self):
        """Ask, and send what waits."""
        waiting = self.edited_at is not None
        self.spent.add(self.now, reads=self.pace.cost, writes=int(waiting))
        self.done.calls += [self.now] * (self.pace.cost + waiting)
        self.look()
        self.rounded = self.now
        if self.changed or waiting:
            self.changed_at = self.now
        if self.edited_at is not None:
            wait = (self.now - self.edited_at).total_seconds()
            self.done.pushes.append((self.edited_at, wait))
        self.edited_at, self.rings, self.changed = None, False, False

    def look(self):
        """Note that Salesforce was asked."""
        if self.looked >= self.counted:
            gap = (self.now - self.looked).total_seconds()
            self.done.gaps.append((self.looked, gap))
        self.looked = self.now
