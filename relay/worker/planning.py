"""From mails to records: ask, decide, write; for a batch together.

A mail of which nothing is in Salesforce yet is planned whole. One that has been logged
before (another copy of it has come, or a person wants it tried again) gets what its
ledger does not have yet: people who have become known and new opportunities, in Tasks
of their own. What is there is never changed, and what somebody has deleted is never
made again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from relay.core.addresses import address_key
from relay.core.errors import OrgPaused
from relay.core.model import LedgerUpdate
from relay.core.states import ActivityState, Event
from relay.diagnose.org import setting_problems
from relay.match import (
    MailFacts,
    Redraft,
    ask,
    decide,
    drafts,
    owners_of,
    rule_line,
    without_user,
)
from relay.outbox.backoff import GIVE_BACK_S
from relay.telemetry import get_logger
from relay.worker import redraft
from relay.worker.decisions import Decisions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from relay.activity import Mode, Owner
    from relay.config import Settings
    from relay.core.clock import Clock
    from relay.core.directory import Directory, User
    from relay.core.model import Draft
    from relay.core.org import OrgSchema
    from relay.match import Decision, Question
    from relay.outbox.batch import Batch, BatchMail
    from relay.outbox.mode import WriteMode
    from relay.outbox.records import RecordWriter
    from relay.salesforce import Org
    from relay.store import Store
    from relay.worker.decisions import Decided

logger = get_logger(__name__)

USER_WAIT_S: Final = 60.0
"""Wait before a user without a Salesforce user is looked for again."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A mail in hand, and whom to look up for it."""

    mail: BatchMail
    facts: MailFacts
    question: Question


class Planning:
    """Makes and writes what mails need."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        org: Org,
        clock: Clock,
        *,
        directory: Callable[[], Directory],
        mode: WriteMode,
        writer: RecordWriter,
    ) -> None:
        """Keep the parts; nothing is started."""
        self._settings = settings
        self._store = store
        self._org = org
        self._clock = clock
        self._mode = mode
        self._writer = writer
        self._decisions = Decisions(settings, org, mode, directory)
        self._compared: OrgSchema | None = None

    async def write(self, batch: Batch, mails: Sequence[BatchMail]) -> None:
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
            [(one.facts, one.question) for one in asked], fresh=_asked_anew(asked)
        )
        self._compare(decided.answers.schema)
        for one, decision in zip(asked, decided.decisions, strict=True):
            await self._remember(decision.owners)
            self._take(one.mail, decision)
        if self._mode.shadow:
            await self._show_only(batch, asked, decided)
        else:
            await self._write(batch, asked, decided)

    # ------------------------------------------------------------ again

    async def rewrite(self, batch: Batch, mails: Sequence[BatchMail]) -> None:
        """Draft once more what was refused, with today's org and records.

        Mails that a new draft cannot help are left as they are.

        Raises:
            RelayError: Mails without a settlement are not finished.
        """
        stand_in = self._settings.salesforce.fallback_owner
        outdated = [mail for mail in mails if redraft.outdated(mail, stand_in)]
        if not outdated:
            return
        fresh = [redraft.prepare(mail, stand_in) for mail in outdated]
        if any(fresh):
            await self._org.schema.get(fresh=True)
        await self.write(batch, outdated)

    async def _forget_refused(self, batch: Batch, mails: Sequence[BatchMail]) -> None:
        """Let refused rows be planned anew."""
        refused = [(m, row) for m in mails for row in m.of(ActivityState.REFUSED)]
        updates = [
            LedgerUpdate(row.key, ActivityState.PLANNED, error=row.error)
            for _, row in refused
        ]
        if updates:
            await batch.advance(self._store, ledger=updates)
        for mail, row in refused:
            # A row that was sent keeps its place in a plan; this one makes room.
            mail.change(row, state=ActivityState.PLANNED)

    # ------------------------------------------------------------ ask

    def _ask(self, mail: BatchMail) -> _Asked | None:
        """Apply the rules to one mail; None where nobody is to be looked up."""
        facts = facts_of(mail)
        question = ask(facts, self._decisions.context)
        for item, verdict in zip(mail.items, question.verdicts, strict=True):
            # Each user's exclusions are for that user's copies alone.
            if verdict:
                item.trace(*rule_line(verdict))
                item.settle(verdict.event, verdict.reason, verdict.detail)
        if question.people:
            return _Asked(mail, facts, question)
        mail.checked = True
        return None

    async def _without_waiting(self, asked: list[_Asked]) -> list[_Asked]:
        """Put off mails that have waited for their user before and still must.

        The user alone is asked for, so that such a mail costs no look-up of people
        each time.

        Raises:
            RelayError: Nobody could be asked for, or remembered.
        """
        waiting = [one for one in asked if _waits_again(one)]
        if not waiting:
            return asked
        found = await self._decisions.users(
            [user for one in waiting for user in one.question.users]
        )
        still: list[_Asked] = []
        for one in waiting:
            users = one.question.users
            owners = owners_of(users, found)
            await self._remember(owners)
            if not owners:
                still.append(one)
                decision = decide(
                    one.facts, one.question, None, self._decisions.context
                )
                self._take(one.mail, replace(decision, verdict=without_user(users)))
        return [one for one in asked if one not in still]

    async def _remember(self, owners: Sequence[tuple[User, Owner]]) -> None:
        """Keep the Salesforce user of each of our users, where it is news.

        Raises:
            StoreUnavailable: It could not be kept.
        """
        for user, owner in owners:
            if not user.salesforce_id:
                await self._store.directory.set_salesforce_id(
                    user.id, owner.salesforce_id, "relay"
                )
            if owner.time_zone and not (user.salesforce_id and user.time_zone):
                await self._store.directory.set_time_zone(user.id, owner.time_zone)

    # ------------------------------------------------------------ write

    def _take(self, mail: BatchMail, decision: Decision) -> None:
        """Take a decision into the trace; settle what is not to be written."""
        mail.checked = True
        for line in decision.steps:
            mail.trace(*line)
        verdict = decision.verdict
        if verdict.event is Event.GIVE_BACK:
            retry_at = self._in(USER_WAIT_S)
            mail.settle(verdict.event, verdict.reason, verdict.detail, retry_at)
        elif verdict.event is not Event.LOGGED:
            mail.settle(verdict.event, verdict.reason, verdict.detail)

    async def _show_only(
        self, batch: Batch, asked: Sequence[_Asked], decided: Decided
    ) -> None:
        """Shadow mode: the drafts are kept and shown, nothing is written."""
        plans = [
            (one.mail.mail.id, decision.drafts)
            for one, decision in zip(asked, decided.decisions, strict=True)
            if decision.drafts
        ]
        await batch.advance(self._store, plans=plans)

    async def _write(
        self, batch: Batch, asked: Sequence[_Asked], decided: Decided
    ) -> None:
        """Write the drafts, once it is known in which shape this org logs mail."""
        plans: dict[int, tuple[Draft, ...]] = {}
        first: list[tuple[_Asked, Decision]] = []
        for one, decision in zip(asked, decided.decisions, strict=True):
            mail = one.mail
            if decision.verdict.event is not Event.LOGGED:
                continue
            if decision.drafts and not (decided.answers.mode_known or mail.begun):
                first.append((one, decision))
            elif decision.drafts or mail.of(ActivityState.PLANNED):
                # An empty plan takes out what a logged mail does not need any more.
                plans[mail.mail.id] = decision.drafts
        if first:
            plans |= await self._write_first(batch, first, decided)
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
            The drafts of the other mails; they wait where the mode is still open.
        """

        def as_mode(one: _Asked, decision: Decision, mode: Mode) -> tuple[Draft, ...]:
            answers = replace(decided.answers, mode=mode)
            return drafts(one.facts, decision, answers, decided.context)

        one, decision = undecided[0]
        others = undecided
        async with self._mode.probing(batch.owner):
            mode = await self._mode.known(decided.answers.schema)
            if mode is None:
                others = undecided[1:]
                mode = await self._writer.probe(
                    batch, one.mail, lambda mode: as_mode(one, decision, mode)
                )
        if mode is not None:
            return {
                one.mail.mail.id: as_mode(one, decision, mode)
                for one, decision in others
            }
        detail = "the first write has not shown yet how this org logs mail"
        for one, _ in others:
            one.mail.trace("mode", "waiting", detail)
            one.mail.settle(
                Event.GIVE_BACK, "mode_undecided", detail, self._in(GIVE_BACK_S)
            )
        return {}

    def _compare(self, schema: OrgSchema) -> None:
        """Log, once for each description of the org, which settings do not fit it."""
        if schema is self._compared:
            return
        self._compared = schema
        for name, problem in setting_problems(self._settings.salesforce, schema):
            logger.error(
                "setting_does_not_fit", setting=f"salesforce.{name}", problem=problem
            )

    def _in(self, seconds: float) -> datetime:
        return self._clock.now() + timedelta(seconds=seconds)


def facts_of(mail: BatchMail) -> MailFacts:
    """Return what is known of a mail in hand."""
    refused = Redraft(mail.left_out, mail.task_owner) if mail.redrafted else None
    return MailFacts(
        mail.email,
        mail.mail.key,
        mail.received_at,
        tuple(item.user for item in mail.items if item.user),
        tuple(mail.sure),
        refused,
    )


def check_keys(drafts: Sequence[Draft]) -> None:
    """See to it that each record carries its key: without it none is ever found again.

    Raises:
        OrgPaused: Our user may not set the field that would hold the key.
    """
    for made in drafts:
        place = "MessageIdentifier" if made.object == "EmailMessage" else "Description"
        if place not in made.fields and not made.key_field:
            text = (
                f"{made.object}.{place} may not be set by the integration user, so a "
                f"record could be written twice: give it edit access to the field"
            )
            raise OrgPaused(text, code="no_place_for_key")


def _asked_anew(asked: Sequence[_Asked]) -> frozenset[str]:
    """Return what must be asked for, although it may be remembered.

    Whoever has a mail tried again has changed something a moment ago.
    """
    again = [
        one
        for one in asked
        if one.mail.redrafted or any(item.again for item in one.mail.items)
    ]
    keys = {key for one in again for key in one.question.addresses}
    users = [user for one in again for user in one.facts.users]
    emails = {address_key(user.email) or "" for user in users}
    return frozenset(keys | emails | {user.salesforce_id or "" for user in users})


def _waits_again(one: _Asked) -> bool:
    """Say whether no copy has a Salesforce user, and that this is not news."""
    return all(
        item.again and item.user and not item.user.salesforce_id
        for item in one.mail.items
        if not item.settlement
    )
