"""The Tasks that the platform made and that still belong to the integration user.

An EmailMessage's row says to whom its Task is to be given, from the plan on: a crash
forgets nothing. A handover that is taken is not given out again for a while, so that
two relays do not both see to it, and one that failed comes back by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import bindparam, select, update

from relay.core.model import OwnerChange
from relay.core.states import ActivityState
from relay.store import schema
from relay.store.access import Access
from relay.store.values import load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

_MICROSECONDS = 1_000_000

activities = schema.activities


class Handovers(Access):
    """Taking what is due, and settling it."""

    async def handovers(self, limit: int, hold_s: float) -> list[OwnerChange]:
        """Take Tasks to be given to their reps, the oldest first.

        They come back after `hold_s` unless they are settled with `handed_over`.

        Raises:
            StoreUnavailable: Nothing was taken.
        """
        now = self._now()
        until = now + int(hold_s * _MICROSECONDS)
        if not await self._read(lambda c: _any_due(c, now)):
            return []
        return await self._write(lambda c: _take(c, now, until, limit))

    async def handed_over(self, keys: Sequence[str]) -> None:
        """Settle handovers: done, or never to be done.

        Raises:
            StoreUnavailable: They are still to be done.
        """
        if not keys:
            return

        def work(connection: Connection) -> None:
            _set_due(connection, keys, None)

        await self._write(work)


def _any_due(connection: Connection, now: int) -> bool:
    a = activities.c
    query = select(a.id).where(a.owner_due_at <= now, a.state == ActivityState.WRITTEN)
    return connection.execute(query.limit(1)).first() is not None


def _take(
    connection: Connection, now: int, until: int, limit: int
) -> list[OwnerChange]:
    a = activities.c
    query = (
        select(a.key, a.salesforce_id, a.owner, a.fields)
        .where(a.owner_due_at <= now, a.state == ActivityState.WRITTEN)
        .order_by(a.owner_due_at, a.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    found = [
        OwnerChange(
            row.key,
            row.salesforce_id,
            row.owner,
            str(load(row.fields).get("FromAddress") or ""),
        )
        for row in connection.execute(query)
    ]
    if found:
        _set_due(connection, [one.key for one in found], until)
    return found


def _set_due(connection: Connection, keys: Sequence[str], due: int | None) -> None:
    connection.execute(
        update(activities)
        .where(activities.c.key == bindparam("the_key"))
        .values(owner_due_at=bindparam("due")),
        [{"the_key": key, "due": due} for key in keys],
    )
