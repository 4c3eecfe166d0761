"""The way of a mail from the queue into Salesforce, from top to bottom.

claim → read → choose → join → recover → ask → look up and decide → write → settle, each
step a function, in this order. Look-ups and writes are made for a whole batch together;
what happens to one mail never delays its neighbours.

Four commits stand on the way. `claim` counts the attempt before it is made. `join`
takes the lease of each mail. The outbox commits a record as *sent* before its request
leaves. `_settle` commits what Salesforce answered, the files to send, and how each
message ends, all or none. A crash between two of them leaves a state from which the
next worker goes on. A message that holds several mails is divided with a commit before
`join`, once.

A mail of which nothing is in Salesforce yet is planned whole. One that has been logged
before (another copy of it has come, or a person wants it tried again) gets what its
ledger does not have yet. The relay never changes a record that is there, and
never makes again one that was deleted in Salesforce.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import relay.mail
from relay.core.errors import (
    ActivityRefused,
    OrgPaused,
    OutcomeUnknown,
    PermanentError,
    RawUnreadable,
    SalesforceDown,
    StoreUnavailable,
    TransientError,
    UnparsableMessage,
)
from relay.core.ids import new_message_id
from relay.core.log_by import by_bcc
from relay.core.model import LedgerUpdate, Step
from relay.core.queue import PartOf
from relay.core.retry import Then
from relay.core.states import ActivityState, Event
from relay.match import (
    ask,
    decide,
    drafts,
    owners_of,
    part_of,
    to_log,
    waiting_for_user,
)
from relay.outbox.backoff import GIVE_BACK_S, MAX_UNEXPECTED
from relay.outbox.batch import (
    Batch,
    BatchMail,
    ClaimedMessage,
    Ending,
    Isolation,
    SpoiltBatchError,
    claimed_messages,
    may_be_one,
)
from relay.outbox.circuit_breaker import pausing
from relay.outbox.records import RecordWriter
from relay.telemetry import get_logger, metrics
from relay.worker.decisions import (
    Decisions,
    check_keys,
    facts_of,
    keys_of,
    may_be_redrafted,
    prepare_redraft,
)
from relay.worker.reading import read_emails
from relay.worker.reminding import with_reminder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from concurrent.futures import Executor
    from datetime import datetime

    from relay.activity import Mode, Owner
    from relay.attachments.stage import Attachments
    from relay.core.copies import Copied
    from relay.core.directory import Directory, User
    from relay.core.errors import RelayError
    from relay.core.model import Draft
    from relay.core.queue import Claimed, LeaseOwner, Settlement
    from relay.match import Decision, Logged, MailFacts, Question
    from relay.outbox.circuit_breaker import CircuitBreaker, PausingError
    from relay.outbox.engine import Parts
    from relay.outbox.mode import WriteMode
    from relay.worker.decisions import Decided

STORE_RETRY_S: Final = 1.0
"""Wait while the store cannot be used."""
SHADOW_WAIT_S: Final = 60.0
"""Wait before a half-written mail is looked at again in shadow mode."""
USER_WAIT_S: Final = 60.0
"""Wait before a user without a Salesforce user is looked for again."""

_UNFINISHED: Final = TransientError("not everything is written yet")

logger = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A mail of the batch, and whom to look up for it."""

    mail: BatchMail
    facts: MailFacts
    question: Question


class Pipeline:
    """Takes messages from the queue to their settlements, a batch at a time."""

    def __init__(
        self,
        parts: Parts,
        mode: WriteMode,
        breaker: CircuitBreaker,
        *,
        directory: Callable[[], Directory],
        files: Attachments,
        executor: Executor,
    ) -> None:
        """Keep the parts; nothing is started.

        Args:
            parts: What every part of the way out works with.
            mode: In which shape this org logs mail.
            breaker: Learns of each pass whether the org could be used.
            directory: Returns the present directory.
            files: Plans the files of logged mails.
            executor: Runs the parsing.
        """
        self._settings = parts.settings
        self._store = parts.store
        self._org = parts.org
        self._clock = parts.clock
        self._backoff = parts.backoff
        self._mode = mode
        self._breaker = breaker
        self._directory = directory
        self._files = files
        self._executor = executor
        self._writer = RecordWriter(parts, mode)
        self._decisions = Decisions(
            parts.settings, parts.org, mode, directory, parts.store.mails.threads
        )

    # ------------------------------------------------------------ claim

    async def claim(
        self, owner: LeaseOwner, limit: int, batch: Sequence[Claimed] = ()
    ) -> list[Claimed]:
        """Claim as many messages as fit beside those that are in the batch already.

        The attempt is counted, and the lease taken, with this commit.

        Raises:
            StoreUnavailable: Nothing is claimed; or, where the store did not answer in
                time, the next claim of this process gives it back.
        """
        count, max_bytes = self.space(batch, limit)
        lease_s = self._settings.worker.lease_s
        others = by_bcc(self._directory())
        if others is None:
            return []  # All mail goes by copies (`relay.worker.copies`).
        return await self._store.queue.claim(
            owner, count, lease_s, max_bytes=max_bytes, without=others
        )

    def space(self, batch: Sequence[Claimed], limit: int) -> tuple[int, int]:
        """Return how many messages and bytes still fit; (0, 0) for a full batch."""
        count = limit - len(batch)
        size_bytes = sum(claimed.size_bytes for claimed in batch)
        max_bytes = self._settings.worker.batch_bytes - size_bytes
        return (count, max_bytes) if count > 0 and max_bytes > 0 else (0, 0)

    # ------------------------------------------------------------ an attempt

    async def work(self, owner: LeaseOwner, claimed: Sequence[Claimed]) -> None:
        """Bring claimed messages to the end of their attempts, and commit how they end.

        Whatever fails, each message gets a settlement. A batch that fails without
        saying which mail is to blame is halved until the mail is alone.
        """
        await self._attempt(owner, claimed, Isolation())

    async def _attempt(
        self, owner: LeaseOwner, claimed: Sequence[Claimed], isolation: Isolation
    ) -> None:
        batch = Batch(owner)
        messages = self.messages(claimed)
        try:
            await self.run(batch, messages, isolate=isolation.left > 0)
            await self._breaker.went_through()
        except (OrgPaused, SalesforceDown) as error:
            await self._breaker.trip(error)
        except StoreUnavailable as error:
            due_at = self._in(STORE_RETRY_S)
            for message in messages:
                message.settle(Event.GIVE_BACK, "store_unavailable", str(error), due_at)
        except Exception as error:  # noqa: BLE001 - settled and logged by `_spoilt`
            open_ones = [one for one in messages if not one.settlement]
            halves = isolation.halves(open_ones, error)
            if len(open_ones) == 1 < len(messages):
                halves = [open_ones]  # Its neighbours are settled: now it is alone.
            if halves:
                logger.warning("batch_halved", size=len(claimed), error=repr(error))
                await self._settle(batch, [one for one in messages if one.settlement])
                for half in halves:
                    await self._attempt_half(owner, half, isolation)
                return
            for message in open_ones:
                self._spoilt(message, error)
        await self._settle(batch, messages)

    async def _attempt_half(
        self, owner: LeaseOwner, half: Sequence[ClaimedMessage], isolation: Isolation
    ) -> None:
        """Work on a part of a batch; give it back where the org is paused by now."""
        claimed = [message.claimed for message in half]
        if self._breaker.pause is None:
            await self._attempt(owner, claimed, isolation)
            return
        again = self.messages(claimed)
        for message in again:
            message.settle(Event.GIVE_BACK, "paused", "", self._in(0))
        await self._settle(Batch(owner), again)

    def _spoilt(self, message: ClaimedMessage, error: Exception) -> None:
        """End the attempt of a mail that fails alone.

        One that Salesforce refuses is dead. Any other error is a fault of the code:
        the mail is tried again later, and is dead in the end.
        """
        if isinstance(error, PermanentError):
            code = getattr(error, "code", "") or type(error).__name__
            message.trace("salesforce", "refused", str(error))
            message.settle(Event.PERMANENT, code, str(error))
            return
        logger.error("attempt_failed", message_id=message.claimed.id, exc_info=error)
        detail = f"unexpected {type(error).__name__}; the log has the traceback"
        message.trace("attempt", "failed", detail)
        failures = message.claimed.failures + 1
        if failures >= MAX_UNEXPECTED:
            message.settle(Event.EXHAUSTED, "unexpected", detail)
        else:
            due_at = self._backoff.retry_at(self._clock.now(), failures)
            message.settle(Event.TRANSIENT, "unexpected", detail, due_at)

    def messages(self, claimed: Sequence[Claimed]) -> list[ClaimedMessage]:
        """Return claimed messages, each with its user as the directory has them."""
        return claimed_messages(claimed, self._directory().users, self._clock)

    # ------------------------------------------------------------ one pass

    async def run(
        self, batch: Batch, messages: Sequence[ClaimedMessage], *, isolate: bool = False
    ) -> None:
        """Do what it takes to give every message a settlement.

        The caller commits `batch.pending` together with the settlements.

        Args:
            batch: The pass.
            messages: The messages.
            isolate: Raise instead of putting all off where one may have spoilt it.

        Raises:
            SpoiltBatchError: (isolate) Messages without a settlement are not finished.
            StoreUnavailable: Messages without a settlement were not finished; what was
                sent is in the ledger as *sent*.
            OrgPaused, SalesforceDown: Every message is settled all the same,
                unfinished ones given back; the caller must pause the work.
            PermanentError: Salesforce refused something that was asked for the batch
                as a whole; nothing was written, and a smaller batch isolates it.
        """
        await self._read(messages)
        await self._choose(batch.owner, [m for m in messages if m.settlement is None])
        mails = await self._join(batch, [m for m in messages if m.settlement is None])
        error: TransientError | None = None
        try:
            await self._recover(batch, [m for m in mails if m.sure])
            await self._log(batch, [m for m in mails if _to_plan(m)])
            await self._log_refused_again(batch, mails)
        except StoreUnavailable:
            raise
        except TransientError as failed:
            error = failed
        if isolate and len(mails) > 1 and may_be_one(error):
            raise SpoiltBatchError(str(error)) from error
        pause = pausing(mails, error)
        self._conclude(batch, mails, error, pause)
        if pause:
            raise pause

    # ------------------------------------------------------------ read

    async def _read(self, messages: Sequence[ClaimedMessage]) -> None:
        """Parse every mail, in threads; one blob is parsed once."""
        sizes = {m.claimed.blob_id: m.claimed.size_bytes for m in messages if m.user}
        emails = await read_emails(self._store, self._executor, sizes)
        for message in messages:
            read = emails.get(message.claimed.blob_id)
            if message.claimed.user_id is None:
                message.trace("user", "none", "mail for postmaster is never logged")
                message.settle(Event.RULED_OUT, "postmaster", "kept, never logged")
            elif message.user is None:
                # Users are never deleted: the directory here is a moment old.
                detail = "the user was added a moment ago"
                message.trace("user", "unknown", detail)
                due_at = self._in(GIVE_BACK_S)
                message.settle(Event.GIVE_BACK, "new_user", detail, due_at)
            elif isinstance(read, RawUnreadable):
                message.trace("parse", "unreadable", str(read))
                self._end_failed(message, read)
            elif read is None or isinstance(read, UnparsableMessage):
                detail = str(read) if read else "the raw mail is gone"
                message.trace("parse", "failed", detail)
                message.settle(Event.PERMANENT, "unparsable", detail)
            else:
                message.email = read
                repairs = ", ".join(read.repairs)
                message.trace("parse", "ok", f"repaired: {repairs}" if repairs else "")

    # ------------------------------------------------------------ choose

    async def _choose(
        self, owner: LeaseOwner, messages: Sequence[ClaimedMessage]
    ) -> None:
        """Choose which mail of each message is logged: itself, or one it forwards.

        A message that holds several is divided with a commit of its own, before any of
        them is worked on. This worker goes on with the first, and whoever claims the
        others with them.

        Raises:
            StoreUnavailable: A message may be divided; it knows by itself.
        """
        context = self._decisions.context
        for message in messages:
            if message.email is None or message.user is None:
                continue  # pragma: no cover - such a message is settled
            found = to_log(message.email, message.user, context)
            part = message.claimed.part
            if part is None and len(found) > 1:
                part = 1
                if not await self._divide(owner, message, found):
                    detail = "the lease of this message ran out"
                    message.settle(Event.GIVE_BACK, "lease_lost", detail, self._in(0))
                    continue
            if (part or 1) > len(found):
                detail = (
                    f"mail {part} of a message in which {len(found)} are found by now; "
                    "forward that mail by itself"
                )
                message.trace("kind", "unsure", detail)
                message.settle(Event.NO_MATCH, "forward_unsure", detail)
                continue
            chosen = part_of(found, part)
            if part:
                message.trace("part", f"{part} of {len(found)} mails in the message")
            for line in chosen.steps:
                message.trace(*line)
            message.email = chosen.email

    async def _divide(
        self, owner: LeaseOwner, message: ClaimedMessage, found: Sequence[Logged]
    ) -> bool:
        """Give each further mail of a message a message of its own."""
        id_ = message.claimed.id
        step = Step(self._clock.now(), "part", f"of message {id_}")
        parts = [
            PartOf(
                new_message_id(self._clock),
                one.email.subject,
                one.email.message_id or "",
                step,
            )
            for one in found[1:]
        ]
        return await self._store.mails.divide(owner, id_, parts)

    # ------------------------------------------------------------ join

    async def _join(
        self, batch: Batch, messages: Sequence[ClaimedMessage]
    ) -> list[BatchMail]:
        """Find out which mail each message is a copy of, and lease those mails.

        The lease is taken with this commit; it guards the mail's rows in the ledger.
        """
        copies = [
            (
                m.claimed.id,
                *relay.mail.keys_of(m.email, m.claimed.received_at),
                m.email.message_id or "",
            )
            for m in messages
            if m.email
        ]
        if not copies:
            return []
        told = [(m.claimed, m.email, m.user) for m in messages if m.email and m.user]
        states = await self._store.mails.join(
            batch.owner,
            copies,
            contents={
                claimed.id: content
                for claimed, email, user in told
                if (content := relay.mail.content_of(email, user.time_zone))
            },
            incoming={claimed.id for claimed, email, _ in told if email.incoming},
            # It may have been joined before forwards were read.
            anew={claimed.id for claimed, email, _ in told if email.forwarded},
        )
        for message in messages:
            state = states.get(message.claimed.id)
            if state is None:
                detail = "the lease of this message ran out"
                message.settle(Event.GIVE_BACK, "lease_lost", detail, self._in(0))
                continue
            if not state.leased:
                detail = "another worker is busy with a copy of this mail"
                message.trace("join", "busy", detail)
                due_at = self._in(GIVE_BACK_S)
                message.settle(Event.GIVE_BACK, "mail_busy", detail, due_at)
                continue
            if state.copied and state.copied.in_the_way(message.claimed.asked_at):
                _end_copied(message, state.copied)
                continue
            mail = batch.mails.get(state.id)
            if mail is None:
                rows = {row.key: row for row in state.activities}
                mail = batch.mails[state.id] = BatchMail(state, [], rows)
            mail.add(message)
            if count := len(state.activities):
                detail = f"{count} records planned or written before"
                message.trace("join", "known mail", detail)
        return list(batch.mails.values())

    # ------------------------------------------------------------ recover

    async def _recover(self, batch: Batch, mails: Sequence[BatchMail]) -> None:
        """Finish what earlier attempts have begun.

        Records that were sent without an answer are looked for; then the records that
        are planned and were never sent are written.
        """
        await self._writer.recover(batch, mails)
        unfinished = [m for m in mails if m.begun and not m.done and not m.error]
        if not self._mode.shadow:
            await self._writer.write(batch, unfinished)
            return
        detail = "shadow mode: the rest of this mail waits for salesforce.write_as"
        for mail in unfinished:
            mail.trace("mode", "shadow", detail)
            due_at = self._in(SHADOW_WAIT_S)
            mail.settle(Event.GIVE_BACK, "shadow_mode", detail, due_at)

    # ------------------------------------------------------------ ask, decide, write

    async def _log(self, batch: Batch, mails: Sequence[BatchMail]) -> None:
        """Write what these mails need and do not have, or settle them.

        Refused rows give way to the new plan.

        Raises:
            RelayError: Mails without a settlement are not finished.
        """
        await self._forget_refused(batch, mails)
        asked = [one for mail in mails if (one := self._ask(mail)) is not None]
        asked = await self._without_waiting(asked)
        if not asked:
            return
        decided = await self._decisions.decide(
            [(one.facts, one.question) for one in asked],
            fresh={key for one in asked for key in _asked_anew(one)},
        )
        await self._remember(o for each in decided.decisions for o in each.owners)
        for one, decision in zip(asked, decided.decisions, strict=True):
            self._take(one.mail, decision)
        if self._mode.shadow:
            await self._keep_plans(batch, asked, decided)
        else:
            await self._write(batch, asked, decided)

    async def _log_refused_again(
        self, batch: Batch, mails: Sequence[BatchMail]
    ) -> None:
        """Draft once more what was refused, with today's org and records.

        Mails that a new draft cannot help are left as they are.

        Raises:
            RelayError: Mails without a settlement are not finished.
        """
        fallback = self._settings.salesforce.fallback_owner
        outdated = [m for m in mails if may_be_redrafted(m, fallback)]
        if not outdated:
            return
        fresh = [prepare_redraft(mail, fallback) for mail in outdated]
        if any(fresh):
            await self._org.schema.get(fresh=True)
        await self._log(batch, outdated)

    async def _forget_refused(self, batch: Batch, mails: Sequence[BatchMail]) -> None:
        """Commit refused rows as planned, so that a new plan may replace them."""
        refused = [(m, row) for m in mails for row in m.of(ActivityState.REFUSED)]
        updates = [
            LedgerUpdate(row.key, ActivityState.PLANNED, error=row.error)
            for _, row in refused
        ]
        if updates:
            await batch.advance(self._store, ledger=updates)
        for mail, row in refused:
            # A row that was sent keeps its place in a plan; this one may be replaced.
            mail.change(row, state=ActivityState.PLANNED)

    def _ask(self, mail: BatchMail) -> _Asked | None:
        """Apply the rules to one mail; None where there is nothing to look up."""
        facts = facts_of(mail)
        question = ask(facts, self._decisions.context)
        for message, verdict, lines in zip(
            mail.items, question.verdicts, question.endings, strict=True
        ):
            # Each user's exclusions are for that user's copies alone.
            if verdict:
                for line in lines:
                    message.trace(*line)
                message.settle(verdict.event, verdict.reason, verdict.detail)
        if question.asks:
            return _Asked(mail, facts, question)
        mail.checked = True
        return None

    async def _without_waiting(self, asked: list[_Asked]) -> list[_Asked]:
        """Put off mails that have waited for their Salesforce user and still must.

        The user alone is asked for, so that such a mail costs no look-up of people
        each time.

        Raises:
            RelayError: Salesforce could not be asked, or an answer not be kept.
        """
        waiting = [one for one in asked if _waits_again(one)]
        if not waiting:
            return asked
        found = await self._decisions.users(
            [user for one in waiting for user in one.question.users]
        )
        owners = [(one, owners_of(one.question.users, found)) for one in waiting]
        await self._remember(o for _, each in owners for o in each)
        put_off = [one for one, each in owners if not each]
        for one in put_off:
            decision = decide(one.facts, one.question, None, self._decisions.context)
            self._take(one.mail, waiting_for_user(one.question, decision))
        return [one for one in asked if one not in put_off]

    async def _remember(self, owners: Iterable[tuple[User, Owner]]) -> None:
        """Keep the Salesforce user of each of our users, where it is news.

        Each is written once for all mails of the batch.

        Raises:
            StoreUnavailable: It could not be kept.
        """
        for user, owner in {user.id: (user, owner) for user, owner in owners}.values():
            if not user.salesforce_id:
                await self._store.directory.set_salesforce_id(
                    user.id, owner.salesforce_id, "relay"
                )
            if owner.time_zone and not (user.salesforce_id and user.time_zone):
                await self._store.directory.set_time_zone(user.id, owner.time_zone)

    def _take(self, mail: BatchMail, decision: Decision) -> None:
        """Take a decision into the trace; settle what is not to be written."""
        mail.checked = True
        mail.ending = None
        mail.decision = decision
        for line in decision.steps:
            mail.trace(*line)
        verdict = decision.verdict
        mail.unplanned = bool(decision.drafts) and not self._mode.shadow
        if verdict.event is not Event.LOGGED:
            waits = verdict.event is Event.GIVE_BACK
            due_at = self._in(USER_WAIT_S) if waits else None
            unknown = decision.match.unknown if verdict.event is Event.NO_MATCH else ()
            end = (verdict.event, verdict.reason, verdict.detail)
            if mail.unplanned:
                # It ends so once its open Task is written.
                mail.ending = Ending(*end, unknown)
            else:
                mail.settle(*end, due_at, unknown)

    async def _keep_plans(
        self, batch: Batch, asked: Sequence[_Asked], decided: Decided
    ) -> None:
        """Shadow mode: commit the drafts as planned, to be shown; write nothing."""
        plans = [
            (one.mail.mail.id, decision.drafts)
            for one, decision in zip(asked, decided.decisions, strict=True)
            if decision.drafts
        ]
        await batch.advance(self._store, plans=plans)

    async def _write(
        self, batch: Batch, asked: Sequence[_Asked], decided: Decided
    ) -> None:
        """Write the drafts, once it is known in which shape this org logs mail.

        The outbox commits each record as *sent* before its request leaves
        (`relay.outbox.records`); what Salesforce answers waits in `batch.pending`.
        """
        plans: dict[int, tuple[Draft, ...]] = {}
        undecided: list[tuple[_Asked, Decision]] = []
        for one, decision in zip(asked, decided.decisions, strict=True):
            mail = one.mail
            if decision.verdict.event is not Event.LOGGED and not decision.drafts:
                continue
            open_shape = not (decided.answers.mode_known or mail.begun)
            if open_shape and _shape_counts(decision):
                undecided.append((one, decision))
            elif decision.drafts or mail.of(ActivityState.PLANNED):
                # An empty plan takes out what a logged mail does not need any more.
                plans[mail.mail.id] = decision.drafts
        if undecided:
            plans |= await self._write_first(batch, undecided, decided)
        for planned in plans.values():
            check_keys(planned)
        ready = [one.mail for one in asked if one.mail.mail.id in plans]
        await self._writer.write(batch, ready, plans)

    async def _write_first(
        self,
        batch: Batch,
        undecided: Sequence[tuple[_Asked, Decision]],
        decided: Decided,
    ) -> dict[int, tuple[Draft, ...]]:
        """Let the first mail that is logged whole show how this org logs mail.

        Returns:
            The drafts of the other mails; they wait where the shape is still open.
        """

        def drafted(one: _Asked, decision: Decision, mode: Mode) -> tuple[Draft, ...]:
            answers = replace(decided.answers, mode=mode)
            return drafts(one.facts, decision, answers, decided.context)

        first, decision = undecided[0]
        others = undecided
        async with self._mode.probing(batch.owner):
            mode = await self._mode.known(decided.answers.schema)
            if mode is None:
                others = undecided[1:]
                mode = await self._writer.probe(
                    batch, first.mail, lambda mode: drafted(first, decision, mode)
                )
        if mode is not None:
            return {
                one.mail.mail.id: drafted(one, decision, mode)
                for one, decision in others
            }
        detail = "the first write has not shown yet how this org logs mail"
        due_at = self._in(GIVE_BACK_S)
        for one, _ in others:
            one.mail.trace("mode", "waiting", detail)
            one.mail.settle(Event.GIVE_BACK, "mode_undecided", detail, due_at)
        return {}

    # ------------------------------------------------------------ settle

    def _conclude(
        self,
        batch: Batch,
        mails: Sequence[BatchMail],
        error: TransientError | None,
        pause: PausingError | None,
    ) -> None:
        """Turn the state of each mail's ledger into the end of the attempt."""
        for mail in mails:
            if all(message.settlement for message in mail.items):
                continue
            refused = mail.of(ActivityState.REFUSED)
            if mail.ending and _is_over(mail):
                # An open Task that Salesforce refuses changes nothing for the mail.
                end = mail.ending
                mail.settle(end.event, end.reason, end.detail, None, end.unknown)
            elif mail.done and mail.checked:
                body, _ = self._decisions.context.body_mode(mail.email)
                self._files.plan(batch, mail, body)
                mail.settle(Event.LOGGED)
            elif refused and not mail.of(ActivityState.PLANNED, ActivityState.SENT):
                code, _, text = refused[0].error.partition(" ")
                self._failed(mail, ActivityRefused(code, text))
            elif pause and not isinstance(mail.error, OutcomeUnknown):
                self._failed(mail, pause, paused=True)
            else:
                self._failed(mail, mail.error or error or _UNFINISHED)

    def _failed(
        self, mail: BatchMail, error: RelayError, *, paused: bool = False
    ) -> None:
        """End the attempt of a mail that is not logged, for each of its copies."""
        open_outcome = bool(mail.of(ActivityState.SENT))
        step = ("org", "paused") if paused else ("attempt", "failed")
        for message in mail.items:
            if not message.settlement:
                if not isinstance(error, ActivityRefused):  # The write has traced it.
                    message.trace(*step, str(error))
                self._end_failed(
                    message, error, paused=paused, open_outcome=open_outcome
                )

    def _end_failed(
        self,
        message: ClaimedMessage,
        error: RelayError,
        *,
        paused: bool = False,
        open_outcome: bool = False,
    ) -> None:
        """Do with a message what the error's retry rule says; see `Backoff.after`."""
        after = self._backoff.after(
            error.retry,
            self._clock.now(),
            message.claimed.failures + 1,
            failing_since=message.claimed.failing_since,
            retry_after_s=getattr(error, "retry_after_s", None),
            paused=paused,
            open_outcome=open_outcome,
        )
        reason = getattr(error, "code", "") or type(error).__name__
        if after.then is Then.GIVE_BACK:
            message.settle(Event.GIVE_BACK, reason, str(error), after.due_at)
        elif after.then is Then.WAIT:
            message.settle(Event.TRANSIENT, reason, str(error), after.due_at)
        else:
            event = Event.EXHAUSTED if after.too_old else Event.PERMANENT
            message.settle(event, reason, str(error))

    async def _settle(self, batch: Batch, messages: Sequence[ClaimedMessage]) -> None:
        """Commit what the batch came to, however long the store needs.

        Ledger rows, files to send, outcomes and traces go together, all or none.
        Salesforce has the records already: giving up here would turn answers that we
        have into outcomes that must be looked for.
        """
        fallback = self._settings.notices.time_zone
        mails = {
            one.claimed.id: mail for mail in batch.mails.values() for one in mail.items
        }
        settlements = [
            with_reminder(message, end, mails.get(message.claimed.id), fallback)
            for message in messages
            if (end := message.settlement)
        ]
        while settlements or batch.pending:
            try:
                planned = bool(batch.files)
                settled = await batch.advance(self._store, settlements=settlements)
            except StoreUnavailable as error:
                logger.warning("store_unavailable", error=str(error))
                await asyncio.sleep(STORE_RETRY_S)
                continue
            if planned:
                self._files.wake()
            for settlement in settlements:
                _report(settlement, lost=settlement.message_id not in settled)
            return

    def _in(self, seconds: float) -> datetime:
        return self._clock.now() + timedelta(seconds=seconds)


def _end_copied(message: ClaimedMessage, copied: Copied) -> None:
    """End a message whose mail may be in Salesforce by its copy to Email to Salesforce.

    Its records would be doubles.
    """
    if copied.state is ActivityState.WRITTEN:
        message.trace("copy", "known mail", "its copy went to Email to Salesforce")
        message.settle(Event.LOGGED)
        return
    detail = (
        "its copy to Email to Salesforce left, and nothing says that it came: look "
        "into Salesforce; if it is not there, retry the message, else discard it"
    )
    message.trace("copy", "unknown", detail)
    message.settle(Event.PERMANENT, "copy_unknown", detail)


def _to_plan(mail: BatchMail) -> bool:
    """Say whether a mail is to be planned, or looked at for what is missing."""
    if not mail.begun and not mail.of(ActivityState.SENT):
        return True
    return mail.done and not mail.error and not mail.lost


def _is_over(mail: BatchMail) -> bool:
    """Say whether every row of a mail is settled, or refused."""
    open_ones = mail.of(ActivityState.PLANNED, ActivityState.SENT)
    return not (mail.unplanned or open_ones or mail.lost)


def _shape_counts(decision: Decision) -> bool:
    """Say whether it counts for a mail in which shape this org logs mail."""
    return any(draft.object == "EmailMessage" for draft in decision.drafts)


def _asked_anew(one: _Asked) -> set[str]:
    """Return the keys and ids of a mail that are asked for although remembered.

    Whoever has a mail tried again has changed something a moment ago.
    """
    if not (one.mail.redrafted or any(message.again for message in one.mail.items)):
        return set()
    return {*one.question.addresses, *keys_of(one.facts.users)}


def _waits_again(one: _Asked) -> bool:
    """Say whether no copy has a Salesforce user, and that this is not news.

    A message that waited is given back, and its attempt is not counted: that it was
    joined to its mail before tells that it was tried.
    """
    return all(
        (message.again or message.claimed.mail_id is not None)
        and message.user
        and not message.user.salesforce_id
        for message in one.mail.items
        if not message.settlement
    )


def _report(settlement: Settlement, *, lost: bool) -> None:
    """Log and count an attempt; one whose lease was lost was not settled by us."""
    metrics.ATTEMPTS.labels(str(settlement.event)).inc()
    logger.info(
        "attempt_lost" if lost else "attempt_settled",
        message_id=settlement.message_id,
        attempt=settlement.attempt,
        result=str(settlement.event),
        reason=settlement.reason,
    )
