"""Numbers for charts: mails by hour and outcome, how long they take, refusals.

Each costs little, however many rows there are: mails are counted in an index that has
all that is asked for, and of everything else no more than the latest rows are read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, func, select

from relay.core.filters import REFUSED
from relay.core.ids import first_id, time_of
from relay.core.states import Event, State
from relay.store import schema
from relay.store.context import Part
from relay.store.refusals import is_no_probe
from relay.store.values import moment

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from sqlalchemy import Connection, Select

MOST_OWN: Final = 20_000
"""Messages of one user that are counted."""
MOST_REFUSALS: Final = 20_000
MOST_TIMED: Final = 2_000
"""Logged messages whose time is looked at."""
_PREFIX: Final = 7
"""Characters of an id that are equal within 33 seconds."""

m = schema.messages.c
r = schema.refusals.c
t = schema.attempts.c


@dataclass(frozen=True, slots=True)
class Timed:
    """When a message got its `250`, and when it was in Salesforce."""

    received_at: datetime
    logged_at: datetime


class Figures(Part):
    """Operations that count."""

    async def mails(
        self,
        since: datetime,
        step: timedelta,
        steps: int,
        user_id: int | None = None,
    ) -> list[dict[str, int]]:
        """Return how many mails are in each state, for each step of time.

        A mail near the edge of two steps may be counted half a minute aside. Refusals
        are counted as `refused`.

        Args:
            since: When the first step begins.
            step: How long each is.
            steps: How many there are.
            user_id: Whose mails; None: all.
        """

        def read(connection: Connection) -> list[dict[str, int]]:
            counted: list[dict[str, int]] = [{} for _ in range(steps)]

            def add(state: str, id_: str, count: int) -> None:
                number = int((time_of(id_) - since) / step)
                if 0 <= number < steps:
                    counted[number][state] = counted[number].get(state, 0) + count

            if user_id is None:
                for state in State:
                    query = of_state(state, since)
                    for prefix, count in connection.execute(query):
                        add(state.value, prefix, count)
            else:
                own = (
                    select(m.state, m.id)
                    .where(m.user_id == user_id, m.id >= first_id(since))
                    .order_by(m.id.desc())
                    .limit(MOST_OWN)
                )
                for state_name, id_ in connection.execute(own):
                    add(state_name, id_, 1)
            for id_, times, _ in connection.execute(_refused(since, user_id)):
                add(REFUSED, id_, times)
            return counted

        return await self._context.read(read)

    async def refusals(
        self, since: datetime, user_id: int | None = None
    ) -> dict[str, int]:
        """Return how often each reason refused a mail, the most frequent first."""

        def read(connection: Connection) -> dict[str, int]:
            found: dict[str, int] = {}
            for _, times, reason in connection.execute(_refused(since, user_id)):
                found[reason] = found.get(reason, 0) + times
            return dict(sorted(found.items(), key=lambda one: (-one[1], one[0])))

        return await self._context.read(read)

    async def times(self, since: datetime, user_id: int | None = None) -> list[Timed]:
        """Return the times of the latest messages that were logged, the latest first.

        A message that was logged again counts from its first time.
        """
        own = [] if user_id is None else [m.user_id + 0 == user_id]
        latest = (
            select(m.id, m.received_at)
            .where(m.state == State.LOGGED.value, m.id >= first_id(since), *own)
            .order_by(m.id.desc())
            .limit(MOST_TIMED)
            .subquery()
        )
        query = (
            select(latest.c.received_at, func.min(t.ended_at))
            .join(
                schema.attempts,
                and_(
                    t.message_id == latest.c.id,
                    t.event.concat("") == Event.LOGGED.value,
                ),
            )
            .group_by(latest.c.id, latest.c.received_at)
            .order_by(latest.c.id.desc())
        )
        return await self._context.read(
            lambda connection: [
                Timed(moment(row[0]), moment(row[1]))
                for row in connection.execute(query)
            ]
        )


def of_state(state: State, since: datetime) -> Select[Any]:
    """Count the messages of a state by the beginning of their ids."""
    begins = func.substr(m.id, 1, _PREFIX)
    return (
        select(begins, func.count())
        .where(m.state == state.value, m.id >= first_id(since))
        .group_by(begins)
    )


def _refused(since: datetime, user_id: int | None) -> Select[Any]:
    own = [] if user_id is None else [r.user_id == user_id]
    return (
        select(r.id, r.times, r.reason)
        .where(r.id >= first_id(since), is_no_probe(), *own)
        .order_by(r.id.desc())
        .limit(MOST_REFUSALS)
    )
