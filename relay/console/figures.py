"""What happened lately, in numbers: the same for charts, tables and programs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from relay.core.filters import REFUSED
from relay.core.states import State

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from relay.config import Settings
    from relay.core.shared import APIUsage
    from relay.store import Store
    from relay.store.figures import Timed

HOURS: Final = 24
HOUR: Final = timedelta(hours=1)
OUTCOMES: Final[Mapping[str, frozenset[str]]] = {
    "logged": frozenset({State.LOGGED.value}),
    "waiting": frozenset(
        {State.QUEUED.value, State.CLAIMED.value, State.HELD.value}
        | {State.UNMATCHED.value}
    ),
    "left_out": frozenset({State.SKIPPED.value, State.DISCARDED.value}),
    "failed": frozenset({State.DEAD.value}),
    "refused": frozenset({REFUSED}),
}
"""What came of a mail, as charts tell it apart: the states of each."""


@dataclass(frozen=True, slots=True)
class Hour:
    """What came in an hour.

    Attributes:
        at: Its beginning.
        outcomes: How many mails, by what came of them.
        half_s: Half of the mails that were logged were so within this time, in seconds;
            None: none was.
        most_s: The same for 95 of 100.
        calls: API calls of all relays.
    """

    at: datetime
    outcomes: Mapping[str, int]
    half_s: float | None
    most_s: float | None
    calls: int


@dataclass(frozen=True, slots=True)
class Figures:
    """The last hours.

    Attributes:
        hours: Oldest first; the last one is not over.
        refusals: By reason, the most frequent first.
        calls: Of all relays in 24 hours.
        used: What Salesforce says that everybody used of the org's calls; None: it has
            not said so.
        limit: Of the org.
        may: How many of them the relay may use (`salesforce.daily_share`).
    """

    hours: tuple[Hour, ...]
    refusals: Mapping[str, int]
    calls: int
    used: int | None
    limit: int | None
    may: int | None

    def as_json(self) -> dict[str, Any]:
        """Return the stable names."""
        return {
            "hours": [
                {
                    "at": one.at,
                    **one.outcomes,
                    "half_s": one.half_s,
                    "most_s": one.most_s,
                    "calls": one.calls,
                }
                for one in self.hours
            ],
            "refusals": dict(self.refusals),
            "calls": {
                "relay": self.calls,
                "org": self.used,
                "limit": self.limit,
                "may": self.may,
            },
        }


async def figures(
    store: Store, settings: Settings, now: datetime, user_id: int | None = None
) -> Figures:
    """Return the numbers of the last 24 hours.

    Args:
        store: The open store.
        settings: Has the relay's share of the org's calls.
        now: The time.
        user_id: Whose mails; None: all. Calls are those of all.
    """
    began = now.replace(minute=0, second=0, microsecond=0) - (HOURS - 1) * HOUR
    counted = await store.figures.mails(began, HOUR, HOURS, user_id)
    timed = await store.figures.times(began, user_id)
    usage = await store.usage.get()
    hours = tuple(
        _hour(began + number * HOUR, counted[number], timed, usage)
        for number in range(HOURS)
    )
    last = usage.readings[-1] if usage.readings else None
    return Figures(
        hours,
        await store.figures.refusals(began, user_id),
        sum(usage.calls.values()),
        last.used if last else None,
        last.limit if last else None,
        int(last.limit * settings.salesforce.daily_share) if last else None,
    )


def _hour(
    at: datetime, states: Mapping[str, int], timed: Sequence[Timed], usage: APIUsage
) -> Hour:
    took = sorted(
        max((one.logged_at - one.received_at).total_seconds(), 0.0)
        for one in timed
        if at <= one.received_at < at + HOUR
    )
    outcomes = {
        name: sum(states.get(state, 0) for state in fitting)
        for name, fitting in OUTCOMES.items()
    }
    calls = usage.calls.get(int(at.timestamp()) // 3600, 0)
    return Hour(at, outcomes, _part(took, 0.5), _part(took, 0.95), calls)


def _part(ordered: Sequence[float], part: float) -> float | None:
    """Return the value that a part of the values does not exceed (nearest rank)."""
    if not ordered:
        return None
    return ordered[min(int(part * len(ordered)), len(ordered) - 1)]
