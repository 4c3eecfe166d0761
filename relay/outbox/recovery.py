"""Finding out what became of records that were sent and never answered.

Best first, as the draft itself shows: a unique field that holds the key, an
EmailMessage's MessageIdentifier, the last line of a Task's Description. With a unique
field nothing needs to be waited for: to create the record again is harmless. Without
one, absent is only what could be seen if it were there.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from relay.core.errors import OutcomeUnknown
from relay.core.states import ActivityState
from relay.outbox.backoff import look_up_wait_s
from relay.outbox.visibility import RIGHT, Visibility, owner_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from datetime import datetime

    from relay.config import SalesforceSettings
    from relay.core.clock import Clock
    from relay.core.model import Activity
    from relay.outbox.batch import Batch, BatchMail
    from relay.outbox.mode import WriteMode
    from relay.salesforce import FoundRecord, Org, OrgSchema
    from relay.store import Store

    Prove = Callable[[Batch, BatchMail, Activity, FoundRecord], Awaitable[bool]]
    """Settles a found row where more than its being there counts; says whether."""

CLOCK_SLACK: Final = timedelta(minutes=5)
"""How far Salesforce's clock, as read from its answers, may be off."""

AT_ONCE: Final = timedelta(minutes=1)
"""How long nobody can have deleted what was just written: no need to look first."""

_NOT_YET: Final = "sent without an answer; not found yet"
_BLIND: Final = (
    "sent without an answer; not found, and none of its owner's Tasks can be read, so "
    f"it may be there: {RIGHT}; until then it is not written again"
)
_NO_FIELD: Final = (
    "sent without an answer; its key is in the field {name}, which is not there any "
    "more, or hidden: bring it back, or discard the message"
)


class Recovery:
    """Resolves rows in the state *sent*."""

    def __init__(
        self,
        settings: SalesforceSettings,
        store: Store,
        org: Org,
        clock: Clock,
        mode: WriteMode,
    ) -> None:
        """Keep the parts."""
        self._settings = settings
        self._store = store
        self._org = org
        self._clock = clock
        self._mode = mode
        self._sight = Visibility(store, org)

    async def resolve(
        self, run: Batch, works: Sequence[BatchMail], shape: OrgSchema, *, prove: Prove
    ) -> list[tuple[BatchMail, Activity]]:
        """Look for rows that were sent; return those to be sent again right away.

        A row that is found is written (or gone, where somebody has deleted the record
        since), unless `prove` settles it otherwise. Without a unique field, one that
        is proven absent is planned again, and any other waits: absence is proven once
        no call can run any more, and where the owner's Tasks can be read.

        Raises:
            RelayError: Salesforce could not be asked; nothing is known.
        """
        unknown = [(w, row) for w in works for row in w.of(ActivityState.SENT)]
        again = [(w, row) for w, row in unknown if self._may_repeat(row, shape)]
        sought = [(w, row) for w, row in unknown if not self._may_repeat(row, shape)]
        found = await self._find([row for _, row in sought if _findable(row, shape)])
        absent = [row for _, row in sought if row.key not in found]
        blind = await self._sight.blind(
            {
                owner_of(row)
                for row in absent
                if self._over(row) and not self._harmless(row, shape)
            }
        )
        for work, row in sought:
            record = found.get(row.key)
            if record is None and self._harmless(row, shape):
                again.append((work, row))
                work.trace("look-up by key", "absent", row.slot)
            elif record is None:
                self._absent(run, work, row, shape, blind)
            elif not await prove(run, work, row, record):
                state = (
                    ActivityState.GONE if record.is_deleted else ActivityState.WRITTEN
                )
                run.update(work, row, state, salesforce_id=record.id)
                work.trace("look-up by key", f"found {record.id}", row.slot)
        return again

    def _harmless(self, row: Activity, shape: OrgSchema) -> bool:
        """Say whether Salesforce refuses to create the row twice.

        A first EmailMessage is none of them: it must be read back, not only be there.
        """
        first = row.object == "EmailMessage" and self._mode.may_be_unproven
        return (
            row.key_field is not None
            and shape.holds_key(row.object, row.key_field)
            and not first
        )

    def _may_repeat(self, row: Activity, shape: OrgSchema) -> bool:
        """Say whether the row may be created again without a look."""
        if not self._harmless(row, shape) or row.lookups:
            return False
        now = self._clock.now()
        return now - (row.sent_at or now) < AT_ONCE

    def _over(self, row: Activity) -> bool:
        """Say whether the call cannot be carried out any more."""
        patience_s = self._settings.timeout_s + self._settings.settle_s
        now = self._clock.now()
        return now >= (row.sent_at or now) + timedelta(seconds=patience_s)

    def _absent(
        self,
        run: Batch,
        work: BatchMail,
        row: Activity,
        shape: OrgSchema,
        blind: frozenset[str],
    ) -> None:
        """Plan again what is proven absent; anything else waits, with the reason."""
        if not _findable(row, shape):
            self._wait(run, work, row, _NO_FIELD.format(name=row.key_field))
        elif not self._over(row):
            self._wait(run, work, row, _NOT_YET)
        elif owner_of(row) in blind:
            self._wait(run, work, row, _BLIND)
        else:
            run.update(work, row, ActivityState.PLANNED)
            work.trace("look-up by key", "proven absent", row.slot)

    def _wait(self, run: Batch, work: BatchMail, row: Activity, reason: str) -> None:
        wait = look_up_wait_s(row.lookups)
        run.update(
            work, row, ActivityState.SENT, sent_at=row.sent_at, lookups=row.lookups + 1
        )
        work.error = OutcomeUnknown(reason, retry_after_s=wait)
        work.trace("look-up by key", "not found yet", row.slot)

    async def _find(self, rows: Sequence[Activity]) -> dict[str, FoundRecord]:
        """Return what Salesforce holds, by key. Only what we wrote since counts."""
        if not rows:
            return {}
        server_now = await self._org.access.server_time()
        drift = server_now - self._clock.now()
        since = {
            row.key: (row.sent_at or self._clock.now()) + drift - CLOCK_SLACK
            for row in rows
        }
        found: dict[str, FoundRecord] = {}
        by_field: dict[tuple[str, str], list[str]] = defaultdict(list)
        mails: list[Activity] = []
        tasks: list[Activity] = []
        for row in rows:
            if row.key_field:
                by_field[row.object, row.key_field].append(row.key)
            elif row.object == "EmailMessage":
                mails.append(row)
            else:
                tasks.append(row)
        for (sobject, field), keys in by_field.items():
            found |= await self._org.records.find_by_key(sobject, field, keys)
        if mails:
            by_identifier = await self._org.records.find_email_messages(
                sorted({str(row.fields["MessageIdentifier"]) for row in mails})
            )
            found |= await self._ours(mails, by_identifier, since)
        if tasks:
            found |= await self._org.records.find_own_tasks(
                min(since[row.key] for row in tasks), server_now + CLOCK_SLACK
            )
        return found

    async def _ours(
        self,
        mails: Sequence[Activity],
        by_identifier: Mapping[str, Sequence[FoundRecord]],
        since: Mapping[str, datetime],
    ) -> dict[str, FoundRecord]:
        """Return for each row the EmailMessage that we wrote for it.

        A Message-ID may be reused by another mail: a record that answers another row
        is not taken twice, and a living one goes before a deleted one.
        """
        me = await self._org.access.me()
        ids = [r.id for records in by_identifier.values() for r in records]
        taken = await self._store.ledger.holders(ids) if ids else {}
        found: dict[str, FoundRecord] = {}
        for row in sorted(mails, key=lambda row: (since[row.key], row.key)):
            fitting = [
                record
                for record in by_identifier.get(row.fields["MessageIdentifier"], ())
                if record.created_by_id in {None, me}
                and record.created_at >= since[row.key]
                and taken.get(record.id, row.key) == row.key
            ]
            fitting.sort(key=lambda record: (record.is_deleted, record.created_at))
            if fitting:
                found[row.key] = fitting[0]
                taken[fitting[0].id] = row.key
        return found


def _findable(row: Activity, shape: OrgSchema) -> bool:
    """Say whether the place of the row's key can still be asked for."""
    return not row.key_field or shape.field(row.object, row.key_field) is not None
