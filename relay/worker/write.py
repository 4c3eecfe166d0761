"""Writing to Salesforce, once: ledger first, then the call, then what came of it.

Every row is committed as *sent* before its request leaves. A row found as *sent* at
the start of an attempt has an unknown outcome, and is looked for by its key before
anything is sent again: found settles it, and only what is still absent after the
longest time that a call may run counts as never done.
"""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from relay.activity import Mode
from relay.core.errors import OutcomeUnknown, SalesforceUnavailable, TransientError
from relay.core.model import Activity, LedgerUpdate
from relay.core.states import Ledger
from relay.telemetry import get_logger, metrics
from relay.worker.retry import look_up_wait_s

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from relay.config import SalesforceSettings
    from relay.core.clock import Clock
    from relay.core.model import Draft
    from relay.salesforce import FoundRecord, Org, WriteOutcome
    from relay.store import Store
    from relay.worker.item import Run, Work
    from relay.worker.mode import WriteMode

MAX_RECORDS: Final = 1000
"""Records of one composite call: five collections of 200."""

SEND_WITHIN_S: Final = 5.0
"""A request that has not left by then is dropped: a paused process must not wake up
and write what another has settled meanwhile."""

CLOCK_SLACK: Final = timedelta(minutes=5)
"""How far Salesforce's clock, as read from its answers, may be off."""

logger = get_logger(__name__)


class Writer:
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

    # ------------------------------------------------------------ unknown outcomes

    async def resolve(self, run: Run, works: Sequence[Work]) -> None:
        """Look for the rows that were sent and never answered.

        A row that is found is written (or gone, where somebody has deleted the record
        since); one that is proven absent is planned again; any other waits.
        """
        unknown = [(w, row) for w in works for row in w.of(Ledger.SENT)]
        if not unknown:
            return
        found = await self._find([row for _, row in unknown])
        now = self._clock.now()
        patience = timedelta(seconds=self._settings.timeout_s + self._settings.settle_s)
        for work, row in unknown:
            record = found.get(row.key)
            if record is not None:
                state = Ledger.GONE if record.is_deleted else Ledger.WRITTEN
                self._update(run, work, row, state, salesforce_id=record.id)
                work.note("look-up by key", f"found {record.id}", row.slot)
            elif now >= (row.sent_at or now) + patience:
                self._update(run, work, row, Ledger.PLANNED)
                work.note("look-up by key", "proven absent", row.slot)
            else:
                wait = look_up_wait_s(row.lookups)
                self._update(
                    run,
                    work,
                    row,
                    Ledger.SENT,
                    sent_at=row.sent_at,
                    lookups=row.lookups + 1,
                )
                work.trouble = OutcomeUnknown(
                    "sent without an answer; not found yet", retry_after_s=wait
                )
                work.note("look-up by key", "not found yet", row.slot)

    async def _find(self, rows: Sequence[Activity]) -> dict[str, FoundRecord]:
        """Return what Salesforce holds, by key. Only what we wrote since counts."""
        server_now = self._org.server_now()
        drift = server_now - self._clock.now()
        since = {
            row.key: (row.sent_at or self._clock.now()) + drift - CLOCK_SLACK
            for row in rows
        }
        found: dict[str, FoundRecord] = {}
        mails = [row for row in rows if row.object == "EmailMessage"]
        if mails:
            by_identifier = await self._org.find_email_messages(
                sorted({str(row.fields["MessageIdentifier"]) for row in mails})
            )
            me = await self._org.me()
            for row in mails:
                for record in by_identifier.get(row.fields["MessageIdentifier"], ()):
                    ours = record.created_by_id in {None, me}
                    if ours and record.created_at >= since[row.key]:
                        found[row.key] = record
        if len(mails) < len(rows):
            tasks = [since[row.key] for row in rows if row.object == "Task"]
            found |= await self._org.find_own_tasks(
                min(tasks), server_now + CLOCK_SLACK
            )
        return found

    # ------------------------------------------------------------ writing

    async def write(
        self,
        run: Run,
        works: Sequence[Work],
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
                for row in work.of(Ledger.PLANNED, Ledger.REFUSED)
                if only is None or row.key in only
            ]
            await self._send(
                run,
                rows,
                [(w.mail.id, plans[w.mail.id]) for w in group if w.mail.id in plans],
            )

    async def _send(
        self,
        run: Run,
        rows: Sequence[tuple[Work, Activity]],
        plans: Sequence[tuple[int, Sequence[Draft]]],
    ) -> None:
        sent_at = self._clock.now()
        deadline_s = self._clock.boottime_s() + SEND_WITHIN_S
        for work, row in rows:
            self._change(
                work, row, state=Ledger.SENT, sent_at=sent_at, lookups=0, error=""
            )
        await run.advance(
            self._store,
            plans=plans,
            ledger=[
                LedgerUpdate(row.key, Ledger.SENT, sent_at=sent_at, lookups=0)
                for _, row in rows
            ],
        )
        rows = [(work, row) for work, row in rows if not work.lost]
        if not rows:
            return
        try:
            outcomes = await self._org.create(
                [(row.key, row.object, row.fields) for _, row in rows],
                not_after_boottime_s=deadline_s,
            )
        except TransientError:
            # The whole call was refused before anything was done.
            for work, row in rows:
                self._update(run, work, work.rows[row.key], Ledger.PLANNED)
            raise
        by_key = {outcome.key: outcome for outcome in outcomes}
        for work, row in rows:
            self._take(run, work, work.rows[row.key], by_key[row.key])

    def _take(self, run: Run, work: Work, row: Activity, outcome: WriteOutcome) -> None:
        """Take one record's outcome into the ledger and the trace."""
        error = f"{outcome.code} {outcome.text}".strip()
        metrics.ACTIVITIES.labels(row.object, str(outcome.state)).inc()
        match str(outcome.state):
            case "written":
                self._update(run, work, row, Ledger.WRITTEN, salesforce_id=outcome.id)
                work.note("write", f"{row.object} {outcome.id}", row.rule)
            case "refused":
                self._update(run, work, row, Ledger.REFUSED, error=error)
                work.note("write", f"{row.object} refused", error)
            case "unknown":
                work.trouble = OutcomeUnknown(
                    f"{row.object} was sent, no usable answer came ({error})",
                    retry_after_s=look_up_wait_s(0),
                )
                work.note("write", f"{row.object} unknown", error)
            case "not_sent":
                self._update(run, work, row, Ledger.PLANNED, error=error)
                work.trouble = TransientError(
                    "the request did not leave in time", retry_after_s=1.0
                )
                work.note("write", f"{row.object} not sent", error)
            case _:
                self._update(run, work, row, Ledger.PLANNED, error=error)
                work.trouble = SalesforceUnavailable(outcome.text, code=outcome.code)
                work.note("write", f"{row.object} not written", error)

    # ------------------------------------------------------------ the first write

    async def probe(
        self, run: Run, work: Work, drafts: Callable[[Mode], tuple[Draft, ...]]
    ) -> Mode | None:
        """Find out by a first EmailMessage how this org logs mail; log the mail.

        Returns:
            The shape, remembered from now on; None where the write had no clear end.
        """
        plan = drafts(Mode.EMAIL_MESSAGE)
        key = plan[0].key
        await self.write(run, [work], {work.mail.id: plan}, only={key})
        row = work.rows[key]
        if row.state is Ledger.REFUSED:
            reason = f"the first EmailMessage was refused: {row.error}"
            self._update(run, work, row, Ledger.PLANNED)
        elif row.state is not Ledger.WRITTEN or row.salesforce_id is None:
            return None
        elif await self._has_activity(row.salesforce_id):
            await self._mode.remember(
                Mode.EMAIL_MESSAGE, "the first EmailMessage got its activity"
            )
            work.note("mode", "email_message", "the org made an activity for it")
            await self.write(run, [work])
            return Mode.EMAIL_MESSAGE
        else:
            reason = "the first EmailMessage got no activity (no Enhanced Email)"
            await self._org.delete("EmailMessage", row.salesforce_id)
            self._update(run, work, row, Ledger.GONE)
        await self._mode.remember(Mode.TASK, reason)
        work.note("mode", "task", reason)
        await self.write(run, [work], {work.mail.id: drafts(Mode.TASK)})
        return Mode.TASK

    async def _has_activity(self, email_message: str) -> bool:
        found = await self._org.read_email_messages([email_message])
        record = found.get(email_message)
        return record is not None and record.activity_id is not None

    # ------------------------------------------------------------ ledger rows

    def _update(
        self, run: Run, work: Work, row: Activity, state: Ledger, **changes: Any
    ) -> None:
        """Change a row here, and with the next commit in the store."""
        changes.setdefault("error", "")
        self._change(work, row, state=state, **changes)
        run.pending.append(LedgerUpdate(row.key, state, **changes))

    def _change(self, work: Work, row: Activity, **changes: Any) -> Activity:
        changed = dataclasses.replace(row, **changes)
        work.rows[row.key] = changed
        return changed


def _plan(work: Work, drafts: Iterable[Draft]) -> None:
    """Replace the rows that were never sent by a new plan."""
    kept = {k: row for k, row in work.rows.items() if row.state is not Ledger.PLANNED}
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
                state=Ledger.PLANNED,
            ),
        )
    work.rows = kept


def _groups(
    works: Sequence[Work], plans: Mapping[int, tuple[Draft, ...]]
) -> Iterable[list[Work]]:
    """Yield the mails in groups whose records fit one call."""
    group: list[Work] = []
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
