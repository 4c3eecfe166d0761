"""From mails to records: plan, look up, choose, draft, write; for a batch together.

A mail of which nothing is in Salesforce yet is planned whole. One that has been logged
before (another copy of it has come, or a person wants it tried again) gets what its
ledger does not have yet: people who have become known and new opportunities, in Tasks
of their own. What is there is never changed, and what somebody has deleted is never
made again.
"""

from __future__ import annotations

import functools
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import relay.activity
import relay.match
from relay.activity import Mode
from relay.core.addresses import address_key
from relay.core.errors import OrgPaused
from relay.core.model import LedgerUpdate
from relay.core.states import ActivityState, Event
from relay.diagnose.org import setting_problems
from relay.match import Several
from relay.outbox.backoff import GIVE_BACK_S
from relay.telemetry import get_logger
from relay.worker import redraft
from relay.worker.drafting import Drafting
from relay.worker.elsewhere import not_elsewhere
from relay.worker.owners import Owners

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from relay.activity import Owner
    from relay.config import Settings
    from relay.core.clock import Clock
    from relay.core.directory import Directory
    from relay.core.model import Draft, Email, Match
    from relay.match import Plan
    from relay.outbox.batch import Batch, BatchMail, ClaimedMessage
    from relay.outbox.mode import WriteMode
    from relay.outbox.records import RecordWriter
    from relay.salesforce import LookupResult, Org, OrgSchema
    from relay.store import Store

logger = get_logger(__name__)

Matched = list[tuple["BatchMail", "Match"]]

_UNTRIED: Final = (
    "no EmailMessage was written to this org yet: where it makes no activity, "
    'write_as = "auto" will write Tasks in its place'
)
"""Why a plan of shadow mode may be of another shape than what is written later."""


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
        self._directory = directory
        self._mode = mode
        self._writer = writer
        self._drafting = Drafting(settings, directory)
        self._owners = Owners(store, org, clock)
        self._compared: OrgSchema | None = None

    async def write(self, run: Batch, works: Sequence[BatchMail]) -> None:
        """Write what these mails need and do not have, or settle them.

        Refused rows give way to the new plan.

        Raises:
            RelayError: Mails without a settlement are not finished.
        """
        await self._forget_refused(run, works)
        plans = {w.mail.id: p for w in works if (p := self._plan(w)) is not None}
        wanted = [w for w in works if w.mail.id in plans]
        wanted = await self._owners.without_strangers(wanted)
        if not wanted:
            return
        result = await self._look_up(wanted, plans)
        matches = self._choose(wanted, plans, result)
        await self._drop_plans(run, [w for w in wanted if w.begun], matches)
        if self._settings.salesforce.look_before_write:
            matches = await not_elsewhere(self._org, matches)
        owners = await self._owners.of([work for work, _ in matches], result.users)
        matches = [(work, match) for work, match in matches if work.mail.id in owners]
        await self._draft_and_write(run, matches, owners)

    # ------------------------------------------------------------ again

    async def rewrite(self, run: Batch, works: Sequence[BatchMail]) -> None:
        """Draft once more what was refused, with today's org and records.

        Mails that a new draft cannot help are left as they are.

        Raises:
            RelayError: Mails without a settlement are not finished.
        """
        stand_in = self._settings.salesforce.fallback_owner
        works = [work for work in works if redraft.outdated(work, stand_in)]
        if not works:
            return
        fresh = [redraft.prepare(work, stand_in) for work in works]
        if any(fresh):
            await self._org.schema.get(fresh=True)
        await self.write(run, works)

    async def _forget_refused(self, run: Batch, works: Sequence[BatchMail]) -> None:
        """Let refused rows be planned anew."""
        refused = [(w, row) for w in works for row in w.of(ActivityState.REFUSED)]
        updates = [
            LedgerUpdate(row.key, ActivityState.PLANNED, error=row.error)
            for _, row in refused
        ]
        if updates:
            await run.advance(self._store, ledger=updates)
        for work, row in refused:
            # A row that was sent keeps its place in a plan; this one makes room.
            work.change(row, state=ActivityState.PLANNED)

    async def _drop_plans(
        self, run: Batch, works: Sequence[BatchMail], matches: Matched
    ) -> None:
        """Take out what was planned for a logged mail and is not needed any more."""
        needed = {work.mail.id for work, _ in matches}
        unneeded = {
            work.mail.id: ()
            for work in works
            if work.of(ActivityState.PLANNED) and work.mail.id not in needed
        }
        if unneeded:
            left = [work for work in works if work.mail.id in unneeded]
            await self._writer.write(run, left, unneeded)

    # ------------------------------------------------------------ plan, look up

    def _plan(self, work: BatchMail) -> Plan | None:
        """Apply the rules to one mail; None where there is nothing to look for."""
        if work.begun and self._mode.shadow:
            work.checked = True
            return None
        plans = [self._plan_for(item, work.email) for item in work.items]
        wanted = [plan for plan in plans if plan.people]
        if work.begun:
            # It is logged: a rule that came later does not change what happened.
            work.checked = not wanted
            return relay.match.together(wanted) if wanted else None
        for item, plan in zip(work.items, plans, strict=True):
            # Each user's exclusions are for that user's copies alone.
            if plan.skipped:
                item.trace("rules", "skipped", plan.detail)
                item.settle(Event.RULED_OUT, plan.skipped, plan.detail)
            elif plan.unmatched:
                item.trace("rules", "unmatched", plan.detail)
                item.settle(Event.NO_MATCH, plan.unmatched, plan.detail)
        if not wanted:
            return None
        plan = relay.match.together(wanted)
        people = ", ".join(person.address for person in plan.people)
        cut = f"; {plan.left_out} more beyond the limit" if plan.left_out else ""
        work.trace("people", str(len(plan.people)), people + cut)
        return plan

    def _plan_for(self, item: ClaimedMessage, email: Email) -> Plan:
        return relay.match.plan(
            email,
            self._directory(),
            user_id=item.user.id if item.user else -1,
            relay_domains=self._settings.smtp.domains,
            limit=self._settings.salesforce.max_addresses_per_mail,
        )

    async def _look_up(
        self, works: Sequence[BatchMail], plans: Mapping[int, Plan]
    ) -> LookupResult:
        addresses = {p.key for w in works for p in plans[w.mail.id].people}
        users = [i.user for w in works for i in w.items if i.user]
        return await self._org.lookup.find(
            sorted(addresses),
            user_emails=sorted(
                {
                    key
                    for user in users
                    if not user.salesforce_id and (key := address_key(user.email))
                }
            ),
            user_ids=sorted(
                {u.salesforce_id for u in users if u.salesforce_id and not u.time_zone}
            ),
            activity_counts=self._several() is Several.MOST_ACTIVITY,
            fresh=_asked_anew(works, plans),
        )

    def _several(self) -> Several:
        chosen = self._directory().settings.get("match.several")
        return Several(chosen or self._settings.match.several)

    # ------------------------------------------------------------ choose

    def _choose(
        self,
        works: Sequence[BatchMail],
        plans: Mapping[int, Plan],
        result: LookupResult,
    ) -> Matched:
        matches: Matched = []
        several = self._several()
        for work in works:
            people = plans[work.mail.id].people
            match = relay.match.choose(people, result.found, several)
            work.checked = True
            if work.begun:
                match = _missing(work, match)
                if not (match.who or match.what):
                    work.trace("complete", "nothing is missing")
                    continue
                work.trace("complete", "known later", _records(match))
            elif not match.who:
                self._unmatched(work, match)
                continue
            self._note_match(work, match)
            matches.append((work, match))
        return matches

    def _unmatched(self, work: BatchMail, match: Match) -> None:
        people = ", ".join(person.address for person in match.unknown)
        detail = f"no Contact or open Lead has one of these addresses: {people}"
        work.trace("match", "none", detail)
        work.settle(Event.NO_MATCH, "no_record", detail)

    def _note_match(self, work: BatchMail, match: Match) -> None:
        for chosen in (*match.who, *match.what):
            name = f"{chosen.object} {chosen.id} {chosen.name}".rstrip()
            work.trace("match", name, chosen.rule)
        for person in match.unknown:
            work.trace("match", "no record", person.address)

    # ------------------------------------------------------------ draft

    async def _draft_and_write(
        self, run: Batch, matches: Matched, owners: Mapping[int, Owner]
    ) -> None:
        if not matches:
            return
        shape = await self._org.schema.get()
        self._compare(shape)

        def drafts(work: BatchMail, match: Match, mode: Mode) -> tuple[Draft, ...]:
            return self._drafting.drafts(
                work.email,
                match,
                mail_key=work.mail.key,
                owner=owners[work.mail.id],
                # An EmailMessage is whole when it is sent; what comes later is Tasks.
                mode=Mode.TASK if work.begun else mode,
                shape=shape,
                received_at=work.received_at,
                again=work.redrafted,
                left_out=work.left_out,
                task_owner=work.task_owner,
            )

        if self._mode.shadow:
            await self._show_only(run, matches, drafts, shape)
            return
        mode = await self._mode.known(shape)
        if mode is None:
            mode, matches = await self._find_mode(run, matches, drafts, shape)
        # What is missing of a logged mail is Tasks, however the org logs mail.
        ready = [(w, match) for w, match in matches if mode or w.begun]
        for work, _ in matches:
            if not (mode or work.begun):
                detail = "the first write has not shown yet how this org logs mail"
                work.trace("mode", "waiting", detail)
                work.settle(
                    Event.GIVE_BACK, "mode_undecided", detail, self._in(GIVE_BACK_S)
                )
        plans = {w.mail.id: drafts(w, match, mode or Mode.TASK) for w, match in ready}
        for planned in plans.values():
            check_keys(planned)
        await self._writer.write(run, [work for work, _ in ready], plans)

    async def _find_mode(
        self,
        run: Batch,
        matches: Matched,
        drafts: Callable[[BatchMail, Match, Mode], tuple[Draft, ...]],
        shape: OrgSchema,
    ) -> tuple[Mode | None, Matched]:
        """Let the first mail that is to be logged whole show how this org logs mail.

        Returns:
            The shape, if it is known now, and the mails that are still to be written.
        """
        first = next((each for each in matches if not each[0].begun), None)
        if first is None:
            return None, matches
        async with self._mode.probing(run.owner):
            mode = await self._mode.known(shape)
            if mode is not None:
                return mode, matches
            work, match = first
            mode = await self._writer.probe(
                run, work, functools.partial(drafts, work, match)
            )
        return mode, [each for each in matches if each is not first]

    def _compare(self, shape: OrgSchema) -> None:
        """Log, once for each description of the org, which settings do not fit it."""
        if shape is self._compared:
            return
        self._compared = shape
        for name, problem in setting_problems(self._settings.salesforce, shape):
            logger.error(
                "setting_does_not_fit", setting=f"salesforce.{name}", problem=problem
            )

    async def _show_only(
        self,
        run: Batch,
        matches: Matched,
        drafts: Callable[[BatchMail, Match, Mode], tuple[Draft, ...]],
        shape: OrgSchema,
    ) -> None:
        """Shadow mode: the plan is kept and shown, nothing is written."""
        mode = await self._mode.likely(shape)
        tried = await self._mode.known(shape) is not None
        plans = []
        for work, match in matches:
            planned = drafts(work, match, mode)
            plans.append((work.mail.id, planned))
            for record in planned:
                work.trace("plan", f"{record.object} {record.slot}", record.rule)
            if not tried:
                work.trace("mode", "untried", _UNTRIED)
            detail = f"shadow mode: {len(planned)} records planned, none written"
            work.settle(Event.RULED_OUT, "shadow_mode", detail)
        await run.advance(self._store, plans=plans)

    def _in(self, seconds: float) -> datetime:
        return self._clock.now() + timedelta(seconds=seconds)


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


def _asked_anew(
    works: Sequence[BatchMail], plans: Mapping[int, Plan]
) -> frozenset[str]:
    """Return what must be asked for, although it may be remembered.

    Whoever has a mail tried again has changed something a moment ago.
    """
    again = [w for w in works if w.redrafted or any(i.again for i in w.items)]
    people = {p.key for w in again for p in plans[w.mail.id].people}
    users = [i.user for w in again for i in w.items if i.user]
    emails = {address_key(user.email) or "" for user in users}
    return frozenset(people | emails | {user.salesforce_id or "" for user in users})


def _missing(work: BatchMail, match: Match) -> Match:
    """Return what the ledger of a logged mail does not have yet."""
    ids = {i for row in work.sure for i in relay.activity.named(row.fields)}
    people = {key for row in work.sure for key in row.people}
    return relay.match.missing(match, ids, people)


def _records(match: Match) -> str:
    return ", ".join(f"{c.object} {c.id}" for c in (*match.who, *match.what))
