"""Writing to Salesforce, once: ledger first, then the call, then what came of it.

Every row is committed as *sent* before its request leaves. A row found as *sent* at
the start of an attempt has an unknown outcome, and is looked for by its key before
anything is sent again: found settles it, and only what is still absent after the
longest time that a call may run counts as never done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from relay.activity import Mode
from relay.core.errors import OutcomeUnknown, StoreUnavailable, TransientError
from relay.core.model import Activity, LedgerUpdate, Unsent
from relay.core.states import ActivityState
from relay.outbox.backoff import look_up_wait_s
from relay.outbox.recovery import Recovery
from relay.outbox.visibility import RIGHT
from relay.salesforce import errors
from relay.telemetry import metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from relay.config import SalesforceSettings
    from relay.core.clock import Clock
    from relay.core.model import Draft
    from relay.outbox.batch import Batch, BatchMail
    from relay.outbox.mode import WriteMode
    from relay.salesforce import FoundRecord, Org, WriteOutcome
    from relay.store import Store

MAX_RECORDS: Final = 1000
"""Records of one composite call: five collections of 200."""

SEND_WITHIN_S: Final = 5.0
"""A request that has not left by then is dropped: a paused process must not wake up
and write what another has settled meanwhile."""

_NO_EMAIL_MESSAGES: Final = frozenset(
    {"INVALID_TYPE", "INVALID_TYPE_FOR_OPERATION", "FUNCTIONALITY_NOT_ENABLED"}
    | {"INVALID_FIELD_FOR_INSERT_UPDATE", "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY"}
)
"""Refusals that say: this org, or our user, logs no EmailMessages."""


class RecordWriter:
    """Writes ledger rows, and finds out about those whose outcome is unknown."""

    def __init__(
        self,
        settings: SalesforceSettings,
        store: Store,
        org: Org,
        clock: Clock,
        mode: WriteMode,
    ) -> None:
        """Keep the parts; nothing is started."""
        self._settings = settings
        self._store = store
        self._org = org
        self._clock = clock
        self._mode = mode
        self._unknown = Recovery(settings, store, org, clock, mode)

    # ------------------------------------------------------------ unknown outcomes

    async def resolve(self, run: Batch, works: Sequence[BatchMail]) -> None:
        """Find out about the rows that were sent and never answered.

        Where a unique field holds the key, they are simply sent again: what is there
        already is refused as a duplicate, and so written.

        Raises:
            SalesforceUnavailable: Nothing is known yet.
            OrgPaused: Likewise.
        """
        if not any(work.of(ActivityState.SENT) for work in works):
            return
        shape = await self._org.schema.get()
        await self._mode.known(shape)
        again = await self._unknown.resolve(run, works, shape, prove=self._prove)
        if self._mode.shadow:
            for work, _ in again:
                work.error = TransientError(
                    "shadow mode sends nothing, not even again", retry_after_s=60.0
                )
            return
        for at in range(0, len(again), MAX_RECORDS):
            await self._send(run, again[at : at + MAX_RECORDS], ())

    # ------------------------------------------------------------ writing

    async def write(
        self,
        run: Batch,
        works: Sequence[BatchMail],
        plans: Mapping[int, tuple[Draft, ...]] | None = None,
        only: Collection[str] | None = None,
    ) -> None:
        """Write what the mails need and do not have yet.

        Args:
            run: The pass; holds what is not committed yet.
            works: The mails.
            plans: New drafts by mail id; they take the place of rows never sent.
            only: Keys to send; all others stay planned.

        Raises:
            SalesforceUnavailable: Nothing of the last call was written; rows are
                planned again.
            OrgPaused: Likewise.
        """
        plans = plans or {}
        if plans and run.pending:
            # A plan replaces rows that are *planned* in the store; what answers have
            # changed since must be there first.
            await run.advance(self._store)
        for group in _groups(works, plans):
            for work in group:
                if work.mail.id in plans:
                    _plan(work, plans[work.mail.id])
            rows = [
                (work, row)
                for work in group
                for row in work.of(ActivityState.PLANNED, ActivityState.REFUSED)
                if only is None or row.key in only
            ]
            await self._send(
                run,
                rows,
                [(w.mail.id, plans[w.mail.id]) for w in group if w.mail.id in plans],
            )

    async def _send(
        self,
        run: Batch,
        rows: Sequence[tuple[BatchMail, Activity]],
        plans: Sequence[tuple[int, Sequence[Draft]]],
    ) -> None:
        sent_at = self._clock.now()
        deadline_s = self._clock.boottime_s() + SEND_WITHIN_S
        for work, row in rows:
            # Sent again with an unknown outcome: the next time somebody looks first.
            lookups = row.lookups + 1 if row.state is ActivityState.SENT else 0
            work.change(
                row,
                state=ActivityState.SENT,
                sent_at=sent_at,
                lookups=lookups,
                error="",
            )
        marks = [
            LedgerUpdate(
                row.key,
                ActivityState.SENT,
                sent_at=sent_at,
                lookups=work.rows[row.key].lookups,
            )
            for work, row in rows
        ]
        try:
            await run.advance(self._store, plans=plans, ledger=marks)
        except StoreUnavailable:
            # The marks may be committed still, and nothing leaves.
            run.unsent += [
                Unsent(work.mail.id, row.key, sent_at)
                for work, row in rows
                if row.state is not ActivityState.SENT
            ]
            raise
        rows = [(work, row) for work, row in rows if not work.lost]
        if not rows:
            return
        try:
            outcomes = await self._org.records.create(
                [(row.key, row.object, row.fields) for _, row in rows],
                not_after_boottime_s=deadline_s,
                unique_fields={
                    row.key: row.key_field for _, row in rows if row.key_field
                },
            )
        except TransientError:
            # The whole call was refused before anything was done.
            for work, row in rows:
                run.update(work, work.rows[row.key], ActivityState.PLANNED)
            raise
        by_key = {outcome.key: outcome for outcome in outcomes}
        for work, row in rows:
            self._take(run, work, work.rows[row.key], by_key[row.key])

    def _take(
        self, run: Batch, work: BatchMail, row: Activity, outcome: WriteOutcome
    ) -> None:
        """Take one record's outcome into the ledger and the trace."""
        error = f"{outcome.code} {outcome.text}".strip()
        metrics.ACTIVITIES.labels(row.object, str(outcome.state)).inc()
        match str(outcome.state):
            case "written":
                run.update(work, row, ActivityState.WRITTEN, salesforce_id=outcome.id)
                work.trace("write", f"{row.object} {outcome.id}", row.rule)
            case "refused":
                run.update(work, row, ActivityState.REFUSED, error=error)
                work.refusals[row.key] = outcome
                work.trace("write", f"{row.object} refused", error)
            case "unknown":
                text = f"{row.object} was sent, no usable answer came ({error})"
                if outcome.code == "DUPLICATE_VALUE":
                    text = (
                        f"{row.object} is there and cannot be seen ({error}): {RIGHT}"
                    )
                wait = look_up_wait_s(row.lookups)
                work.error = OutcomeUnknown(text, retry_after_s=wait)
                work.trace("write", f"{row.object} unknown", error)
            case "not_sent":
                run.update(work, row, ActivityState.PLANNED, error=error)
                work.error = TransientError(
                    "the request did not leave in time", retry_after_s=1.0
                )
                work.trace("write", f"{row.object} not sent", error)
            case _:
                run.update(work, row, ActivityState.PLANNED, error=error)
                work.error = errors.error_of(outcome)
                work.trace("write", f"{row.object} not written", error)

    # ------------------------------------------------------------ the first write

    async def probe(
        self, run: Batch, work: BatchMail, drafts: Callable[[Mode], tuple[Draft, ...]]
    ) -> Mode | None:
        """Find out by a first EmailMessage how this org logs mail; log the mail.

        Returns:
            The shape, remembered from now on; None where the write had no clear end.
        """
        plan = drafts(Mode.EMAIL_MESSAGE)
        key = plan[0].key
        await self.write(run, [work], {work.mail.id: plan}, only={key})
        row = work.rows[key]
        if row.state is ActivityState.REFUSED:
            if not _speaks_of_the_org(row):
                return None
            run.update(work, row, ActivityState.PLANNED)
            reason = f"the first EmailMessage was refused: {row.error}"
            await self._mode.remember(Mode.TASK, reason)
            work.trace("mode", "task", reason)
        elif row.state is ActivityState.WRITTEN and row.salesforce_id:
            # Until it is proven the row is not *written*: a crash, or an answer that
            # does not come, must find it as one whose outcome is unknown.
            run.pending = [change for change in run.pending if change.key != key]
            work.change(row, state=ActivityState.SENT)
            records = await self._org.records.read_email_messages([row.salesforce_id])
            if row.salesforce_id not in records:
                work.error = OutcomeUnknown(
                    "the first EmailMessage cannot be read back yet",
                    retry_after_s=look_up_wait_s(0),
                )
                return None
            record = records[row.salesforce_id]
            await self._prove(run, work, work.rows[key], record)
        else:
            return None
        mode = self._mode.remembered
        if mode is not None:
            again = {work.mail.id: drafts(mode)} if mode is Mode.TASK else None
            await self.write(run, [work], again)
        return mode

    async def _prove(
        self, run: Batch, work: BatchMail, row: Activity, record: FoundRecord
    ) -> bool:
        """Settle an EmailMessage that was written before the shape was decided.

        With an activity it is written, and the shape decided. Without one nobody can
        see it: it is taken back, and the mail is planned anew as Tasks.

        Returns:
            False where the shape was decided before, or the row is no EmailMessage.

        Raises:
            SalesforceUnavailable: It could not be taken back; the row stays *sent*.
        """
        if row.object != "EmailMessage" or not self._mode.may_be_unproven:
            return False
        if record.activity_id and not record.is_deleted:
            reason = "the first EmailMessage got its activity"
            if self._mode.remembered is None:
                await self._mode.remember(Mode.EMAIL_MESSAGE, reason)
            run.update(work, row, ActivityState.WRITTEN, salesforce_id=record.id)
            work.trace("mode", "email_message", "the org made an activity for it")
            return True
        if not record.is_deleted:
            reason = "the first EmailMessage got no activity (no Enhanced Email)"
            if self._mode.remembered is None:
                await self._mode.remember(Mode.TASK, reason)
            await self._org.records.delete("EmailMessage", record.id)
            work.trace("mode", "task", reason)
        run.update(work, row, ActivityState.PLANNED)
        return True


def _speaks_of_the_org(row: Activity) -> bool:
    """Say whether a refusal is about the org and not about this record.

    A validation rule that one mail breaks, or a Contact that was deleted a moment ago,
    is no reason to write Tasks for ever.
    """
    code = row.error.partition(" ")[0]
    return code in _NO_EMAIL_MESSAGES or code.startswith("INSUFFICIENT_ACCESS")


def _plan(work: BatchMail, drafts: Iterable[Draft]) -> None:
    """Replace the rows that were never sent by a new plan."""
    kept = {
        k: row for k, row in work.rows.items() if row.state is not ActivityState.PLANNED
    }
    for new in drafts:
        kept.setdefault(
            new.key,
            Activity(
                key=new.key,
                mail_id=work.mail.id,
                slot=new.slot,
                object=new.object,
                fields=new.fields,
                rule=new.rule,
                state=ActivityState.PLANNED,
                people=new.people,
                key_field=new.key_field,
            ),
        )
    work.rows = kept


def _groups(
    works: Sequence[BatchMail], plans: Mapping[int, tuple[Draft, ...]]
) -> Iterable[list[BatchMail]]:
    """Yield the mails in groups whose records fit one call."""
    group: list[BatchMail] = []
    size = 0
    for work in works:
        records = len(plans.get(work.mail.id, ())) or len(work.rows)
        if group and size + records > MAX_RECORDS:
            yield group
            group, size = [], 0
        group.append(work)
        size += records
    if group:
        yield group
