"""The records of mails, EmailMessages and Tasks, as a client of the outbox.

The rows of a mail are its ledger; the mail's lease guards them. Every row is committed
as *sent* together with the plan that it comes from. What Salesforce answers is kept in
the batch and committed with the next step, at the latest with the settlements.

How a record is looked up by its key shows in the draft, best first: a unique field that
holds the key, an EmailMessage's MessageIdentifier, the last line of a Task's
Description. The first EmailMessage of an org is a special case: it is written only once
it is proven that the org makes an activity for it (`RecordWriter.probe`).
"""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from relay.activity import Mode
from relay.core.errors import OutcomeUnknown, StoreUnavailable, TransientError
from relay.core.model import Activity, LedgerUpdate, Unsent
from relay.core.states import ActivityState
from relay.outbox.backoff import look_up_wait_s
from relay.outbox.engine import CLOCK_SLACK, OnceClient, Outbox, Result
from relay.outbox.visibility import HINT, Visibility, owner_of
from relay.salesforce import FoundRecord, errors
from relay.store.backup import BACKUP_OF
from relay.telemetry import metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from relay.core.model import Draft
    from relay.outbox.batch import Batch, BatchMail
    from relay.outbox.engine import Change, Mark, Parts
    from relay.outbox.mode import WriteMode
    from relay.salesforce import OrgSchema, WriteOutcome

MAX_RECORDS: Final = 1000
"""Records of one composite call: five collections of 200."""

_NO_EMAIL_MESSAGES: Final = frozenset(
    {"INVALID_TYPE", "INVALID_TYPE_FOR_OPERATION", "FUNCTIONALITY_NOT_ENABLED"}
    | {"INVALID_FIELD_FOR_INSERT_UPDATE", "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY"}
)
"""Refusals that say: this org, or our user, logs no EmailMessages."""

_HIDDEN: Final = (
    "sent without an answer; not found, and none of its owner's Tasks can be read, so "
    f"it may be there: {HINT}; until then it is not written again"
)
_NO_FIELD: Final = (
    "sent without an answer; its key is in the field {name}, which is not there any "
    "more, or hidden: bring it back, or discard the message"
)


class RecordWriter:
    """Writes the records of mails, and recovers those whose outcome is unknown."""

    def __init__(self, parts: Parts, mode: WriteMode) -> None:
        """Keep the parts; nothing is started."""
        self._parts = parts
        self._mode = mode
        self._outbox = Outbox(parts.clock)
        self._backup_of: datetime | None = None
        self._asked = False

    async def recover(self, batch: Batch, mails: Sequence[BatchMail]) -> None:
        """Find out what became of the rows that are *sent* without an answer.

        Where a unique field holds the key, they are simply sent again: a record that is
        there already is refused as a duplicate, and is so known as written.

        Raises:
            SalesforceUnavailable: Nothing is known yet.
            OrgPaused: Likewise.
        """
        rows = [row for mail in mails for row in mail.of(ActivityState.SENT)]
        if not rows:
            return
        schema = await self._parts.org.schema.get()
        await self._mode.known(schema)
        records = Records(self._parts, self._mode, batch, mails, schema=schema)
        again = await self._outbox.recover(records, rows)
        if self._mode.shadow:
            records.keep_waiting(
                again, "shadow mode sends nothing, not even again", wait_s=60.0
            )
            return
        for at in range(0, len(again), MAX_RECORDS):
            await self._outbox.send(records, again[at : at + MAX_RECORDS])

    async def write(
        self,
        batch: Batch,
        mails: Sequence[BatchMail],
        plans: Mapping[int, tuple[Draft, ...]] | None = None,
        only: Collection[str] | None = None,
    ) -> None:
        """Write the records that the mails need and do not have yet.

        Args:
            batch: Holds the changes that are not committed yet.
            mails: The mails.
            plans: New drafts by mail id; they take the place of rows never sent.
            only: Keys to send; all others stay planned.

        Raises:
            SalesforceUnavailable: Nothing of the last call was written; rows are
                planned again.
            OrgPaused: Likewise.
        """
        plans = plans or {}
        if plans and batch.pending:
            # A plan replaces rows that are *planned* in the store. Changes that follow
            # from answers must be there first.
            await batch.advance(self._parts.store)
        since = await self._since_backup()
        if since is None:
            await self._write(batch, mails, plans, only)
            return
        older = [mail for mail in mails if mail.received_at <= since]
        newer = [mail for mail in mails if mail.received_at > since]
        await self._write(batch, newer, plans, only)
        await self._write(batch, older, plans, only, since=since)

    async def _write(
        self,
        batch: Batch,
        mails: Sequence[BatchMail],
        plans: Mapping[int, tuple[Draft, ...]],
        only: Collection[str] | None,
        *,
        since: datetime | None = None,
    ) -> None:
        """Write the records of mails; `since`: where nobody has done so from then on.

        Raises:
            SalesforceUnavailable: See `write`.
            OrgPaused: Likewise.
        """
        schema = None if since is None else await self._parts.org.schema.get()
        for group in _groups(mails, plans):
            planned = [
                (m.mail.id, plans[m.mail.id]) for m in group if m.mail.id in plans
            ]
            for mail in group:
                if mail.mail.id in plans:
                    _plan(mail, plans[mail.mail.id])
            rows = [
                row
                for mail in group
                for row in mail.of(ActivityState.PLANNED, ActivityState.REFUSED)
                if only is None or row.key in only
            ]
            records = Records(
                self._parts, self._mode, batch, group, plans=planned, schema=schema
            )
            if since is None:
                await self._outbox.send(records, rows)
            else:
                await self._outbox.send_unless_there(records, rows, since)

    async def _since_backup(self) -> datetime | None:
        """Return of which moment the store is a backup; None: it is none.

        What it had to write then may have been written since, by the relay that the
        backup was taken from.
        """
        if not self._asked:
            said = await self._parts.store.shared.get(BACKUP_OF)
            self._backup_of = datetime.fromisoformat(said) if said else None
            self._asked = True
        return self._backup_of

    # ------------------------------------------------------------ the first write

    async def probe(
        self, batch: Batch, mail: BatchMail, drafts: Callable[[Mode], tuple[Draft, ...]]
    ) -> Mode | None:
        """Find out by a first EmailMessage how this org logs mail; log the mail.

        Returns:
            The mode, remembered from now on; None where the write had no clear end.
        """
        plan = drafts(Mode.EMAIL_MESSAGE)
        key = plan[0].key
        await self.write(batch, [mail], {mail.mail.id: plan}, only={key})
        row = mail.rows[key]
        if row.state is ActivityState.REFUSED:
            if not _speaks_of_the_org(row):
                return None
            batch.update(mail, row, ActivityState.PLANNED)
            reason = f"the first EmailMessage was refused: {row.error}"
            await self._mode.remember(Mode.TASK, reason)
            mail.trace("mode", "task", reason)
        elif row.state is ActivityState.WRITTEN and row.salesforce_id:
            # Until it is proven the row is not *written*: a crash, or an answer that
            # does not come, must leave it as one whose outcome is unknown.
            batch.pending = [change for change in batch.pending if change.key != key]
            mail.change(row, state=ActivityState.SENT)
            found = await self._parts.org.records.read_email_messages(
                [row.salesforce_id]
            )
            if row.salesforce_id not in found:
                mail.error = OutcomeUnknown(
                    "the first EmailMessage cannot be read back yet",
                    retry_after_s=look_up_wait_s(0),
                )
                return None
            records = Records(self._parts, self._mode, batch, [mail])
            await records.prove(mail, mail.rows[key], found[row.salesforce_id])
        else:
            return None
        mode = self._mode.remembered
        if mode is not None:
            again = {mail.mail.id: drafts(mode)} if mode is Mode.TASK else None
            await self.write(batch, [mail], again)
        return mode


class Records(OnceClient[Activity]):
    """The rows of some mails of a batch, as the outbox sends and recovers them."""

    def __init__(
        self,
        parts: Parts,
        mode: WriteMode,
        batch: Batch,
        mails: Sequence[BatchMail],
        *,
        plans: Sequence[tuple[int, Sequence[Draft]]] = (),
        schema: OrgSchema | None = None,
    ) -> None:
        """Keep the mails by the keys of their rows.

        Args:
            parts: The shared parts.
            mode: How this org logs mail.
            batch: Takes the changes until they are committed.
            mails: The mails whose rows are sent or recovered.
            plans: Committed with the marks *sent*.
            schema: The org, for look-ups by key.
        """
        self._settings = parts.settings.salesforce
        self._parts = parts
        self._mode = mode
        self._batch = batch
        self._mails = {key: mail for mail in mails for key in mail.rows}
        self._plans = plans
        self._schema = schema

    # ------------------------------------------------------------ send

    async def mark_sent(self, marks: Sequence[Mark[Activity]]) -> list[Activity]:
        """Commit plans and marks; rows of mails whose lease is lost stay here."""
        for mark in marks:
            self._mails[mark.row.key].change(
                mark.row,
                state=ActivityState.SENT,
                sent_at=mark.sent_at,
                lookups=mark.lookups,
                error="",
            )
        updates = [
            LedgerUpdate(
                mark.row.key,
                ActivityState.SENT,
                sent_at=mark.sent_at,
                lookups=mark.lookups,
            )
            for mark in marks
        ]
        try:
            await self._batch.advance(
                self._parts.store, plans=self._plans, ledger=updates
            )
            self._plans = ()
        except StoreUnavailable:
            # The marks may still be committed, and nothing leaves.
            self._batch.unsent += [
                Unsent(self._mails[mark.row.key].mail.id, mark.row.key, mark.sent_at)
                for mark in marks
                if mark.row.state is not ActivityState.SENT
            ]
            raise
        keys = [mark.row.key for mark in marks]
        return [self._mails[key].rows[key] for key in keys if not self._mails[key].lost]

    async def request(
        self, rows: Sequence[Activity], *, not_after_boottime_s: float
    ) -> list[WriteOutcome]:
        """Create the records, up to a thousand in one call."""
        return await self._parts.org.records.create(
            [(row.key, row.object, row.fields) for row in rows],
            not_after_boottime_s=not_after_boottime_s,
            unique_fields={row.key: row.key_field for row in rows if row.key_field},
        )

    async def take(self, changes: Sequence[Change[Activity]]) -> None:
        """Take changes into the batch, and into the trace of each mail.

        Raises:
            SalesforceUnavailable: (a first EmailMessage) It could not be taken back;
                its row, and those behind it, stay *sent*.
        """
        for change in changes:
            mail = self._mails[change.row.key]
            if change.outcome is not None:
                self._take_outcome(mail, change, change.outcome)
            elif change.cause is not None:
                self._batch.update(mail, change.row, ActivityState.PLANNED)
            else:
                await self._take_look_up(mail, change)

    def _take_outcome(
        self, mail: BatchMail, change: Change[Activity], outcome: WriteOutcome
    ) -> None:
        """Take Salesforce's answer about one record."""
        row, error = change.row, change.error
        metrics.ACTIVITIES.labels(row.object, str(outcome.state)).inc()
        match change.result:
            case Result.WRITTEN:
                self._batch.update(mail, row, change.state, salesforce_id=outcome.id)
                mail.trace(
                    "write", f"{row.object} {outcome.id}", f"{row.slot}: {row.rule}"
                )
            case Result.REFUSED:
                self._batch.update(mail, row, change.state, error=error)
                mail.refusals[row.key] = outcome
                mail.trace("write", f"{row.object} refused", error)
            case Result.UNKNOWN:
                text = f"{row.object} was sent, no usable answer came ({error})"
                if outcome.code == "DUPLICATE_VALUE":
                    text = f"{row.object} is there and cannot be seen ({error}): {HINT}"
                mail.error = OutcomeUnknown(text, retry_after_s=change.wait_s)
                mail.trace("write", f"{row.object} unknown", error)
            case Result.NOT_SENT:
                self._batch.update(mail, row, change.state, error=error)
                mail.error = TransientError(
                    "the request did not leave in time", retry_after_s=change.wait_s
                )
                mail.trace("write", f"{row.object} not sent", error)
            case _:
                self._batch.update(mail, row, change.state, error=error)
                mail.error = errors.error_of(outcome)
                mail.trace("write", f"{row.object} not written", error)

    # ------------------------------------------------------------ recover

    async def _take_look_up(self, mail: BatchMail, change: Change[Activity]) -> None:
        """Take what a look-up by key said about one record."""
        row = change.row
        if isinstance(change.found, FoundRecord):
            if not await self.prove(mail, row, change.found):
                sfid = change.found.id
                self._batch.update(mail, row, change.state, salesforce_id=sfid)
                mail.trace("look-up by key", f"found {sfid}", row.slot)
        elif change.result is Result.REPEATED:
            mail.trace("look-up by key", "absent", row.slot)
        elif change.result is Result.ABSENT:
            self._batch.update(mail, row, change.state)
            mail.trace("look-up by key", "proven absent", row.slot)
        else:
            self._batch.update(
                mail, row, change.state, sent_at=row.sent_at, lookups=change.lookups
            )
            mail.error = OutcomeUnknown(change.error, retry_after_s=change.wait_s)
            mail.trace("look-up by key", "not found yet", row.slot)

    def keep_waiting(
        self, rows: Iterable[Activity], reason: str, *, wait_s: float
    ) -> None:
        """Leave rows as they are; their mails are tried again later."""
        for row in rows:
            self._mails[row.key].error = TransientError(reason, retry_after_s=wait_s)

    def longest_call(self, row: Activity) -> timedelta:
        """Return the time-out, and the time that a call may run on after it."""
        del row
        return timedelta(seconds=self._settings.timeout_s + self._settings.settle_s)

    def refuses_twice(self, row: Activity) -> bool:
        """Say whether a unique field holds the key.

        For a first EmailMessage that is not enough: it must be read back, not only be
        there.
        """
        first = row.object == "EmailMessage" and self._mode.may_be_unproven
        return (
            row.key_field is not None
            and self._schema is not None
            and self._schema.holds_key(row.object, row.key_field)
            and not first
        )

    def cannot_find(self, row: Activity) -> str:
        """Say that the field which holds the key is not there any more."""
        schema = self._schema
        if not row.key_field or (schema and schema.field(row.object, row.key_field)):
            return ""
        return _NO_FIELD.format(name=row.key_field)

    async def hidden(self, rows: Sequence[Activity]) -> dict[str, str]:
        """Return the Tasks whose owner's Tasks are not proven to be visible."""
        visibility = Visibility(self._parts.store, self._parts.org)
        owners = await visibility.hidden_owners({owner_of(row) for row in rows})
        return {row.key: _HIDDEN for row in rows if owner_of(row) in owners}

    async def find(self, rows: Sequence[Activity]) -> dict[str, FoundRecord]:
        """Return what Salesforce holds. Only what we wrote since the mark counts."""
        org, clock = self._parts.org, self._parts.clock
        server_now = await org.access.server_time()
        drift = server_now - clock.now()
        since = {
            row.key: (row.sent_at or clock.now()) + drift - CLOCK_SLACK for row in rows
        }
        found: dict[str, FoundRecord] = {}
        by_field: dict[tuple[str, str], list[str]] = defaultdict(list)
        emails: list[Activity] = []
        tasks: list[Activity] = []
        for row in rows:
            if row.key_field:
                by_field[row.object, row.key_field].append(row.key)
            elif row.object == "EmailMessage":
                emails.append(row)
            else:
                tasks.append(row)
        for (sobject, field), keys in by_field.items():
            found |= await org.records.find_by_key(sobject, field, keys)
        if emails:
            by_identifier = await org.records.find_email_messages(
                sorted({str(row.fields["MessageIdentifier"]) for row in emails})
            )
            found |= await self._ours(emails, by_identifier, since)
        if tasks:
            found |= await org.records.find_own_tasks(
                min(since[row.key] for row in tasks), server_now + CLOCK_SLACK
            )
        return found

    async def _ours(
        self,
        emails: Sequence[Activity],
        by_identifier: Mapping[str, Sequence[FoundRecord]],
        since: Mapping[str, datetime],
    ) -> dict[str, FoundRecord]:
        """Return for each row the EmailMessage that we wrote for it.

        A Message-ID may be reused by another mail: a record that answers another row
        is not taken twice, and a living one goes before a deleted one.
        """
        me = await self._parts.org.access.me()
        ids = [r.id for records in by_identifier.values() for r in records]
        taken = await self._parts.store.ledger.holders(ids) if ids else {}
        found: dict[str, FoundRecord] = {}
        for row in sorted(emails, key=lambda row: (since[row.key], row.key)):
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

    # ------------------------------------------------------------ the first write

    async def prove(self, mail: BatchMail, row: Activity, record: FoundRecord) -> bool:
        """Settle an EmailMessage that was written before the mode was decided.

        With an activity it is written, and the mode decided. Without one it is visible
        nowhere: it is deleted, and the mail is planned anew as Tasks.

        Returns:
            False where the mode was decided before, or the row is no EmailMessage.

        Raises:
            SalesforceUnavailable: It could not be deleted; the row stays *sent*.
        """
        if row.object != "EmailMessage" or not self._mode.may_be_unproven:
            return False
        if record.activity_id and not record.is_deleted:
            reason = "the first EmailMessage got its activity"
            if self._mode.remembered is None:
                await self._mode.remember(Mode.EMAIL_MESSAGE, reason)
            self._batch.update(
                mail, row, ActivityState.WRITTEN, salesforce_id=record.id
            )
            mail.trace("mode", "email_message", "the org made an activity for it")
            return True
        if not record.is_deleted:
            reason = "the first EmailMessage got no activity (no Enhanced Email)"
            if self._mode.remembered is None:
                await self._mode.remember(Mode.TASK, reason)
            await self._parts.org.records.delete("EmailMessage", record.id)
            mail.trace("mode", "task", reason)
        self._batch.update(mail, row, ActivityState.PLANNED)
        return True


def _speaks_of_the_org(row: Activity) -> bool:
    """Say whether a refusal is about the org and not about this record.

    A validation rule that one mail breaks, or a Contact that was deleted a moment ago,
    is no reason to write Tasks for ever.
    """
    code = row.error.partition(" ")[0]
    return code in _NO_EMAIL_MESSAGES or code.startswith("INSUFFICIENT_ACCESS")


def _plan(mail: BatchMail, drafts: Iterable[Draft]) -> None:
    """Replace the rows that were never sent by a new plan."""
    kept = {
        key: row
        for key, row in mail.rows.items()
        if row.state is not ActivityState.PLANNED
    }
    for new in drafts:
        kept.setdefault(
            new.key,
            Activity(
                key=new.key,
                mail_id=mail.mail.id,
                slot=new.slot,
                object=new.object,
                fields=new.fields,
                rule=new.rule,
                state=ActivityState.PLANNED,
                people=new.people,
                key_field=new.key_field,
            ),
        )
    mail.rows = kept
    mail.unplanned = False


def _groups(
    mails: Sequence[BatchMail], plans: Mapping[int, tuple[Draft, ...]]
) -> Iterable[list[BatchMail]]:
    """Yield the mails in groups whose records fit one call."""
    group: list[BatchMail] = []
    size = 0
    for mail in mails:
        records = len(plans.get(mail.mail.id, ())) or len(mail.rows)
        if group and size + records > MAX_RECORDS:
            yield group
            group, size = [], 0
        group.append(mail)
        size += records
    if group:
        yield group
