"""Owner changes: the platform's own records of an EmailMessage go to their owner.

The platform makes a Task of each EmailMessage, for the integration user; the Task is
given to the rep. And replying from Salesforce needs a relation of type FromAddress to
the sender, which is made where the platform has not made it of FromId. Both for many
mails together, a while after they were written: two calls for up to a thousand.

These requests are a client of the outbox that may be repeated without harm: nothing is
marked before a request, and what failed comes back by itself. What is due stands in the
store from the plan of the mail on, so that a crash forgets nothing.

Source: Salesforce Object Reference, "EmailMessage" (usage), "EmailMessageRelation".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from relay.core.errors import RelayError
from relay.core.states import ActivityState
from relay.outbox.engine import Client, Outbox, Result
from relay.outbox.turns import keep_working
from relay.telemetry import get_logger

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from relay.core.model import OwnerChange
    from relay.outbox.engine import Change, Parts
    from relay.salesforce import Filed, WriteOutcome
    from relay.salesforce.records import Records

MAX_CHANGES: Final = 1000
"""Owner changes of one turn: five collections of 200."""
MIN_WAIT_S: Final = 0.2
"""Shortest wait between two turns."""
INACTIVE_OWNER: Final = "INACTIVE_OWNER_OR_USER"

logger = get_logger(__name__)


class OwnerChanges:
    """Works off the owner changes that are due."""

    def __init__(self, parts: Parts, *, paused: Callable[[], bool]) -> None:
        """Keep the parts; nothing is started.

        Args:
            parts: The shared parts.
            paused: Says whether the org is paused; no turn is made then.
        """
        self._parts = parts
        self._paused = paused
        self._outbox = Outbox(parts.clock)

    async def run(self, stopping: asyncio.Event) -> None:
        """Make a turn now and then, until it is asked to stop."""
        await keep_working(
            self.turn,
            stopping=stopping,
            paused=self._paused,
            idle_s=max(MIN_WAIT_S, self._parts.settings.salesforce.owner_after_s),
            failed_event="handover_failed",
        )

    async def turn(self) -> bool:
        """See to what is due, at most a thousand; return whether more may be due.

        What fails comes back after a while by itself.

        Raises:
            StoreUnavailable: Nothing was taken, or what was done is not stored.
        """
        settings, store = self._parts.settings.salesforce, self._parts.store
        lease_s = max(60.0, 4 * settings.timeout_s)
        due = await store.ledger.claim_owner_changes(MAX_CHANGES, lease_s)
        if not due:
            return False
        try:
            filed = await self._parts.org.records.filed(
                [one.salesforce_id for one in due]
            )
            unfinished = await self._change(due, filed)
        except RelayError as error:
            logger.warning("handover_put_off", count=len(due), error=str(error))
            return False
        done = [one.key for one in due if one.key not in unfinished]
        await store.ledger.settle_owner_changes(done)
        logger.info("handed_over", count=len(done))
        return len(due) == MAX_CHANGES

    async def _change(
        self, due: Sequence[OwnerChange], filed: Mapping[str, Filed]
    ) -> set[str]:
        """Send what is due; return the keys of what must be tried again.

        Raises:
            TransientError: A request was refused as a whole.
        """
        me = await self._parts.org.access.me()
        there = [
            (one, found)
            for one in due
            if (found := filed.get(one.salesforce_id)) and not found.is_deleted
        ]
        tasks = [
            Step(one.key, "Task", {"OwnerId": one.owner}, found.activity_id)
            for one, found in there
            if found.activity_id and one.owner != me
        ]
        relations = [
            Step(one.key, "EmailMessageRelation", _relation(one, found))
            for one, found in there
            if not found.has_sender and _names_sender(one)
        ]
        steps = Steps(self._parts.org.records)
        if tasks:
            await self._outbox.send(steps, tasks)
        fallback = self._parts.settings.salesforce.fallback_owner
        if fallback and steps.inactive:
            again = [
                replace(task, fields={"OwnerId": fallback})
                for task in tasks
                if task.key in steps.inactive
            ]
            await self._outbox.send(steps, again)
        if relations:
            await self._outbox.send(steps, relations)
        return steps.unfinished


@dataclass(frozen=True, slots=True)
class Step:
    """One request of an owner change: a record with an id is updated, else created."""

    key: str
    object: str
    fields: Mapping[str, Any]
    record_id: str | None = None
    state: ActivityState = ActivityState.PLANNED
    sent_at: datetime | None = None
    lookups: int = 0


class Steps(Client[Step]):
    """The requests of one turn.

    Attributes:
        inactive: Keys of Tasks whose new owner is an inactive user.
        unfinished: Keys of what was neither done nor refused.
    """

    def __init__(self, records: Records) -> None:
        """Keep the way to write records; nothing is sent yet."""
        self._records = records
        self.inactive: set[str] = set()
        self.unfinished: set[str] = set()

    async def request(
        self, rows: Sequence[Step], *, not_after_boottime_s: float
    ) -> list[WriteOutcome]:
        """Update, or create, records in one call; a call is of one kind."""
        updates = [
            (row.key, row.object, row.record_id, row.fields)
            for row in rows
            if row.record_id
        ]
        if updates:
            return await self._records.update(updates)
        return await self._records.create(
            [(row.key, row.object, row.fields) for row in rows],
            not_after_boottime_s=not_after_boottime_s,
        )

    async def take(self, changes: Sequence[Change[Step]]) -> None:
        """Remember what must be tried again; what is refused is given up."""
        for change in changes:
            key, outcome = change.row.key, change.outcome
            code = outcome.code if outcome else ""
            if change.result is Result.REFUSED:
                logger.warning("handover_refused", key=key, code=code)
                if code == INACTIVE_OWNER:
                    self.inactive.add(key)
            elif change.result is not Result.WRITTEN:
                self.unfinished.add(key)


def _names_sender(one: OwnerChange) -> bool:
    """Say whether there is a sender to relate: of incoming mail a record or address."""
    if one.incoming:
        return bool(one.sender or one.address)
    return one.owner.startswith("005")


def _relation(one: OwnerChange, found: Filed) -> dict[str, Any]:
    """Return the fields of the relation between an EmailMessage and its sender."""
    return {
        "EmailMessageId": found.id,
        "RelationType": "FromAddress",
        "RelationId": one.sender if one.incoming else one.owner,
        "RelationAddress": one.address or None,
    }
