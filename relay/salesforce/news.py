"""Whether any Task of users was changed: told along with calls that mail makes.

It is a bell and no reading: it says that something was changed, and costs no call. What
that is, a round reads by a call of its own, with all that guards it. So a bell that is
wrong costs a call, and one that is silent leaves a change to the next round.

Three things are asked: the Tasks of these users with a newer SystemModstamp, by id and
stamp alone; which Tasks were deleted; and which were changed, of whomever, which tells
of a Task that belongs to somebody else by now.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from relay.core.ids import record_id
from relay.salesforce.rides import Ride, State
from relay.salesforce.soql import Query, moment, statement
from relay.salesforce.tasks import MAX_OWNERS, minute, written

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from relay.core.model import Json
    from relay.salesforce.client import Part
    from relay.salesforce.connection import Connection
    from relay.salesforce.schema import Schema

MAX_TOLD: Final = 200
"""Tasks of one query; where there are more, the bell rings."""
MAX_QUERIES: Final = 4
"""More queries than these find no room beside a call of mail."""


@dataclass(frozen=True, slots=True)
class Told:
    """What was changed.

    Attributes:
        changed: Tasks of the users, each with its stamp, and whether our own user made
            it.
        deleted: Ids of Tasks that were deleted.
        updated: Ids of Tasks of whomever that were changed.
        full: There are more than one answer holds.
    """

    changed: Mapping[tuple[str, datetime], bool]
    deleted: tuple[str, ...]
    updated: tuple[str, ...]
    full: bool


class News:
    """Asks whether anything was changed."""

    def __init__(self, connection: Connection, schema: Schema) -> None:
        """Keep the parts; nothing is asked yet."""
        self._connection = connection
        self._schema = schema

    async def ask(self, owners: Sequence[str], since: datetime) -> Ride | None:
        """Let the next call with room ask what was changed.

        Args:
            owners: The Salesforce users.
            since: From when on, by Salesforce's clock.

        Returns:
            What tells how far that is; None: nothing can go along at present.
        """
        parts = [
            owners[at : at + MAX_OWNERS] for at in range(0, len(owners), MAX_OWNERS)
        ]
        if not parts or len(parts) > MAX_QUERIES:
            return None
        schema = await self._schema.get()
        conditions = ["OwnerId IN {}", "SystemModstamp >= {}"]
        if schema.field("Task", "IsRecurrence"):
            conditions.append("IsRecurrence = false")
        if schema.field("Task", "TaskSubtype"):
            conditions.append("TaskSubtype = 'Task'")
        begin = minute(since)
        queries = [
            Query(
                "SELECT Id, SystemModstamp, CreatedById FROM Task WHERE "  # noqa: S608 - quoted by `statement`
                + statement(" AND ".join(conditions), list(part), begin)
                + f" ORDER BY SystemModstamp DESC LIMIT {MAX_TOLD}",
                deleted=True,
            ).path
            for part in parts
        ]

        def paths() -> list[str]:
            end = minute(self._connection.stats.server_now()) + timedelta(minutes=1)
            window = f"start={written(begin)}&end={written(end)}"
            also = (
                f"sobjects/Task/{kind}/?{window}" for kind in ("deleted", "updated")
            )
            return [*queries, *also]

        ride = Ride(paths, len(queries))
        return ride if self._connection.rides.offer(ride) else None

    def forget(self, ride: Ride) -> None:
        """Let no call take it along any more."""
        self._connection.rides.withdraw(ride)

    def told(self, ride: Ride, me: str) -> Told | None:
        """Return what a ride brought; None: it says nothing.

        Args:
            ride: One that is done, or lost.
            me: Id of our own user.
        """
        if ride.state is not State.DONE:
            return None
        rows: list[Mapping[str, Any]] = []
        full = False
        for part in ride.answers[: ride.queries]:
            found = _list(part, "records")
            if found is None:
                self._connection.rides.lose(ride, "unread")
                return None
            rows += found
            full |= len(found) >= MAX_TOLD
        deleted, updated = (
            _list(ride.answers[ride.queries], "deletedRecords"),
            _list(ride.answers[ride.queries + 1], "ids"),
        )
        if deleted is None:
            self._connection.rides.lose(ride, "unread")
            return None
        return Told(
            {
                (sfid, moment(row.get("SystemModstamp"))): (
                    record_id(row.get("CreatedById") or "") == me
                )
                for row in rows
                if (sfid := record_id(row.get("Id") or ""))
            },
            _ids(one.get("id") for one in deleted if isinstance(one, dict)),
            _ids(updated or ()),
            full,
        )


def _list(part: Part | None, name: str) -> list[Any] | None:
    """Return a list of an answer; None where there is none, or not all of it."""
    body: Json = part.body if part is not None and part.ok else None
    found = body.get(name) if isinstance(body, dict) else None
    whole = isinstance(body, dict) and body.get("done") is not False
    return found if isinstance(found, list) and whole else None


def _ids(found: Any) -> tuple[str, ...]:
    return tuple(
        sfid for one in found if isinstance(one, str) and (sfid := record_id(one))
    )
