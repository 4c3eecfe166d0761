"""A batch of messages, from bytes to settlements.

The order below is the order of the work: read → join → plan → look up → choose and
draft → write → settle. Look-ups and writes are made for the whole batch together; what
happens to one mail never delays its neighbours.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from relay.core.errors import (
    ActivityRefused,
    OutcomeUnknown,
    RawUnreadable,
    RecordLocked,
    SalesforceDown,
    SalesforceUnavailable,
    StoreUnavailable,
    TransientError,
    UnparsableMessage,
)
from relay.core.retry import Then
from relay.core.states import ActivityState, Event
from relay.outbox.backoff import GIVE_BACK_S
from relay.outbox.batch import Batch, BatchMail, ClaimedMessage, SpoiltBatchError
from relay.outbox.circuit_breaker import pausing
from relay.worker.planning import Planning
from relay.worker.reading import read_emails

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Executor
    from datetime import datetime

    from relay.attachments.stage import Attachments
    from relay.config import Settings
    from relay.core.clock import Clock
    from relay.core.directory import Directory
    from relay.core.errors import RelayError
    from relay.core.queue import Claimed
    from relay.outbox.backoff import Backoff
    from relay.outbox.circuit_breaker import PausingError
    from relay.outbox.mode import WriteMode
    from relay.outbox.records import RecordWriter
    from relay.salesforce import Org
    from relay.store import Store

SHADOW_WAIT_S: Final = 60.0
"""Wait before a half-written mail is looked at again in shadow mode."""

_UNFINISHED: Final = TransientError("not everything is written yet")


class Pipeline:
    """Takes batches of claimed messages to their settlements."""

    def __init__(  # noqa: PLR0913 - the parts it works with
        self,
        settings: Settings,
        store: Store,
        org: Org,
        clock: Clock,
        *,
        directory: Callable[[], Directory],
        mode: WriteMode,
        writer: RecordWriter,
        backoff: Backoff,
        files: Attachments,
        executor: Executor,
    ) -> None:
        """Keep the parts; nothing is started."""
        self._settings = settings
        self._store = store
        self._org = org
        self._clock = clock
        self._directory = directory
        self._mode = mode
        self._writer = writer
        self._planning = Planning(
            settings,
            store,
            org,
            clock,
            directory=directory,
            mode=mode,
            writer=writer,
        )
        self._backoff = backoff
        self._files = files
        self._executor = executor

    def items(self, batch: Sequence[Claimed]) -> list[ClaimedMessage]:
        """Return the batch as items, each with its user as the directory has it."""
        users = self._directory().users
        now = self._clock.now()
        return [
            ClaimedMessage(
                claimed,
                users.get(claimed.user_id) if claimed.user_id is not None else None,
                self._clock,
                now,
            )
            for claimed in batch
        ]

    async def run(
        self, run: Batch, items: Sequence[ClaimedMessage], *, isolate: bool = False
    ) -> None:
        """Give every item a settlement, and do what that takes.

        The caller commits `run.pending` together with the settlements.

        Args:
            run: The pass.
            items: The messages.
            isolate: Raise instead of putting all off where one may have spoilt it.

        Raises:
            SpoiltBatchError: (isolate) Items without a settlement are not finished.
            StoreUnavailable: Items without a settlement were not finished; what was
                sent is in the ledger as *sent*.
            OrgPaused, SalesforceDown: Every item is settled all the same, unfinished
                ones given back; the caller must let the org rest.
            PermanentError: Salesforce refused something that was asked for the batch
                as a whole; nothing was written, and a smaller batch isolates it.
        """
        await self._read(items)
        works = await self._join(run, [i for i in items if i.settlement is None])
        trouble: TransientError | None = None
        try:
            await self._writer.recover(run, [w for w in works if w.begun])
            again = [w for w in works if w.begun and not w.done and not w.error]
            if self._mode.shadow:
                self._stand_still(again)
            else:
                await self._writer.write(run, again)
            await self._planning.write(run, [w for w in works if _to_plan(w)])
            await self._planning.rewrite(run, works)
        except StoreUnavailable:
            raise
        except TransientError as error:
            trouble = error
        if isolate and len(works) > 1 and _may_be_one_mail(trouble):
            raise SpoiltBatchError(str(trouble)) from trouble
        pause = pausing(works, trouble)
        self._conclude(run, works, trouble, pause)
        if pause:
            raise pause

    def _stand_still(self, works: Sequence[BatchMail]) -> None:
        """Let half-written mails wait: shadow mode writes not even the rest."""
        detail = "shadow mode: the rest of this mail waits for salesforce.write_as"
        for work in works:
            work.trace("mode", "shadow", detail)
            work.settle(Event.GIVE_BACK, "shadow_mode", detail, self._in(SHADOW_WAIT_S))

    # ------------------------------------------------------------ read

    async def _read(self, items: Sequence[ClaimedMessage]) -> None:
        """Parse every mail, in threads; one blob is parsed once."""
        sizes = {i.claimed.blob_id: i.claimed.size_bytes for i in items if i.user}
        emails = await read_emails(self._store, self._executor, sizes)
        for item in items:
            read = emails.get(item.claimed.blob_id)
            if item.claimed.user_id is None:
                item.trace("user", "none", "mail for postmaster is never logged")
                item.settle(Event.RULED_OUT, "postmaster", "kept, never logged")
            elif item.user is None:
                # Users are never deleted: the directory here is a moment old.
                detail = "the user was added a moment ago"
                item.trace("user", "unknown", detail)
                item.settle(Event.GIVE_BACK, "new_user", detail, self._in(GIVE_BACK_S))
            elif isinstance(read, RawUnreadable):
                item.trace("parse", "unreadable", str(read))
                self._put_off(item, read)
            elif read is None or isinstance(read, UnparsableMessage):
                detail = str(read) if read else "the raw mail is gone"
                item.trace("parse", "failed", detail)
                item.settle(Event.PERMANENT, "unparsable", detail)
            else:
                item.email = read
                mended = ", ".join(read.repairs)
                item.trace("parse", "ok", f"repaired: {mended}" if mended else "")

    # ------------------------------------------------------------ join

    async def _join(
        self, run: Batch, items: Sequence[ClaimedMessage]
    ) -> list[BatchMail]:
        """Find out which mail each message is a copy of, and take those mails."""
        copies = [
            (i.claimed.id, i.email.key1, i.email.key2, i.email.message_id or "")
            for i in items
            if i.email
        ]
        if not copies:
            return []
        states = await self._store.mails.join(run.owner, copies)
        works: dict[int, BatchMail] = {}
        for item in items:
            state = states.get(item.claimed.id)
            if state is None:
                detail = "the lease of this message ran out"
                item.settle(Event.GIVE_BACK, "lease_lost", detail, self._in(0))
                continue
            if not state.leased:
                detail = "another worker is busy with a copy of this mail"
                item.trace("join", "busy", detail)
                item.settle(Event.GIVE_BACK, "mail_busy", detail, self._in(GIVE_BACK_S))
                continue
            work = works.get(state.id)
            if work is None:
                rows = {row.key: row for row in state.activities}
                work = works[state.id] = BatchMail(state, [], rows)
                run.mails[state.id] = work
            work.items.append(item)
            if state.activities:
                item.trace(
                    "join",
                    "known mail",
                    f"{len(state.activities)} records planned or written before",
                )
        return list(works.values())

    # ------------------------------------------------------------ settle

    def _conclude(
        self,
        run: Batch,
        works: Sequence[BatchMail],
        trouble: TransientError | None,
        pause: PausingError | None,
    ) -> None:
        """Turn the state of each mail's ledger into the end of the attempt."""
        for work in works:
            if all(item.settlement for item in work.items):
                continue
            refused = work.of(ActivityState.REFUSED)
            if work.done and work.checked:
                self._files.plan(run, work)
                work.settle(Event.LOGGED)
            elif refused and not work.of(ActivityState.PLANNED, ActivityState.SENT):
                code, _, text = refused[0].error.partition(" ")
                self._failed(work, ActivityRefused(code, text))
            elif pause and not isinstance(work.error, OutcomeUnknown):
                self._failed(work, pause, paused=True)
            else:
                self._failed(work, work.error or trouble or _UNFINISHED)

    def _failed(
        self, work: BatchMail, error: RelayError, *, paused: bool = False
    ) -> None:
        """End the attempt of a mail that is not logged, for each of its copies."""
        open_outcome = bool(work.of(ActivityState.SENT))
        step = ("org", "paused") if paused else ("attempt", "failed")
        for item in work.items:
            if not item.settlement:
                if not isinstance(error, ActivityRefused):  # the write has traced it
                    item.trace(*step, str(error))
                self._put_off(item, error, paused=paused, open_outcome=open_outcome)

    def _put_off(
        self,
        item: ClaimedMessage,
        error: RelayError,
        *,
        paused: bool = False,
        open_outcome: bool = False,
    ) -> None:
        """Do with a message what the error's retry rule says; see `Backoff.after`."""
        after = self._backoff.after(
            error.retry,
            self._clock.now(),
            item.claimed.failures + 1,
            failing_since=item.claimed.failing_since,
            retry_after_s=getattr(error, "retry_after_s", None),
            paused=paused,
            open_outcome=open_outcome,
        )
        reason = getattr(error, "code", "") or type(error).__name__
        if after.then is Then.GIVE_BACK:
            item.settle(Event.GIVE_BACK, reason, str(error), after.due_at)
        elif after.then is Then.WAIT:
            item.settle(Event.TRANSIENT, reason, str(error), after.due_at)
        else:
            event = Event.EXHAUSTED if after.too_old else Event.PERMANENT
            item.settle(event, reason, str(error))

    def _in(self, seconds: float) -> datetime:
        return self._clock.now() + timedelta(seconds=seconds)


def _to_plan(work: BatchMail) -> bool:
    """Say whether a mail is to be planned, or looked at for what is missing."""
    return not work.begun or (work.done and not work.error and not work.lost)


def _may_be_one_mail(trouble: TransientError | None) -> bool:
    """Say whether a failure of the whole batch may be the fault of one mail."""
    return isinstance(trouble, SalesforceUnavailable) and not isinstance(
        trouble, (SalesforceDown, RecordLocked)
    )
