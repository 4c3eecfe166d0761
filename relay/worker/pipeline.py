"""A batch of messages, from bytes to settlements.

The order below is the order of the work: read → join → plan → look up → choose and
draft → write → settle. Look-ups and writes are made for the whole batch together; what
happens to one mail never delays its neighbours.
"""

from __future__ import annotations

import asyncio
import functools
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import relay.activity
import relay.mail
import relay.match
from relay.core.addresses import address_key
from relay.core.errors import (
    OrgPaused,
    StoreUnavailable,
    TransientError,
    UnparsableMessage,
)
from relay.core.model import LedgerUpdate
from relay.core.states import Event, Ledger
from relay.match import Several
from relay.worker.item import Item, Run, Work
from relay.worker.retry import GIVE_BACK_S

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Executor
    from datetime import datetime

    from relay.activity import Mode
    from relay.config import Settings
    from relay.core.clock import Clock
    from relay.core.model import (
        Claimed,
        Directory,
        Draft,
        Email,
        Match,
        User,
    )
    from relay.salesforce import LookupResult, Org, OrgShape, SalesforceUser
    from relay.store import Store
    from relay.worker.mode import WriteMode
    from relay.worker.retry import Backoff
    from relay.worker.write import Writer

USER_WAIT_S: Final = 60.0
"""Wait before a user without a Salesforce user is looked for again."""

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
        writer: Writer,
        backoff: Backoff,
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
        self._backoff = backoff
        self._executor = executor

    def items(self, batch: Sequence[Claimed]) -> list[Item]:
        """Return the batch as items, each with its user as the directory has it."""
        users = self._directory().users
        now = self._clock.now()
        return [
            Item(
                claimed,
                users.get(claimed.user_id) if claimed.user_id is not None else None,
                self._clock,
                now,
            )
            for claimed in batch
        ]

    async def run(self, run: Run, items: Sequence[Item]) -> None:
        """Give every item a settlement, and do what that takes.

        The caller commits `run.pending` together with the settlements.

        Raises:
            StoreUnavailable: Items without a settlement were not finished; what was
                sent is in the ledger as *sent*.
            OrgPaused: Every item is settled all the same, unfinished ones given back;
                the caller must let the org rest.
            PermanentError: Salesforce refused something that was asked for the batch
                as a whole; nothing was written, and a smaller batch isolates it.
        """
        await self._read(items)
        works = await self._join(run, [i for i in items if i.settlement is None])
        trouble: TransientError | None = None
        try:
            await self._writer.resolve(run, [w for w in works if w.begun])
            again = [w for w in works if w.begun and not w.done and not w.trouble]
            await self._writer.write(run, again)
            await self._plan_and_write(run, [w for w in works if not w.begun])
        except StoreUnavailable:
            raise
        except TransientError as error:
            trouble = error
        self._conclude(works, trouble)
        if isinstance(trouble, OrgPaused):
            raise trouble

    # ------------------------------------------------------------ read

    async def _read(self, items: Sequence[Item]) -> None:
        """Parse every mail, in threads; one blob is parsed once."""
        raws = await self._store.raws([item.claimed.blob_id for item in items])
        loop = asyncio.get_running_loop()
        emails: Mapping[str, Email | UnparsableMessage] = await loop.run_in_executor(
            self._executor, _parse_all, raws
        )
        for item in items:
            read = emails.get(item.claimed.blob_id)
            if item.user is None:
                item.note("user", "unknown", "the user of this relay address is gone")
                item.settle(Event.PERMANENT, "no_user", "the user is gone")
            elif read is None or isinstance(read, UnparsableMessage):
                detail = str(read) if read else "the raw mail is gone"
                item.note("parse", "failed", detail)
                item.settle(Event.PERMANENT, "unparsable", detail)
            else:
                item.email = read
                mended = ", ".join(read.repairs)
                item.note("parse", "ok", f"repaired: {mended}" if mended else "")

    # ------------------------------------------------------------ join

    async def _join(self, run: Run, items: Sequence[Item]) -> list[Work]:
        """Find out which mail each message is a copy of, and take those mails."""
        copies = [
            (i.claimed.id, i.email.key1, i.email.key2, i.email.message_id or "")
            for i in items
            if i.email
        ]
        if not copies:
            return []
        states = await self._store.join(run.owner, copies)
        works: dict[int, Work] = {}
        for item in items:
            state = states.get(item.claimed.id)
            if state is None:
                detail = "the lease of this message ran out"
                item.settle(Event.GIVE_BACK, "lease_lost", detail, self._in(0))
                continue
            if not state.leased:
                detail = "another worker is busy with a copy of this mail"
                item.note("join", "busy", detail)
                item.settle(Event.GIVE_BACK, "mail_busy", detail, self._in(GIVE_BACK_S))
                continue
            work = works.get(state.id)
            if work is None:
                rows = {row.key: row for row in state.activities}
                work = works[state.id] = Work(state, [], rows)
                run.works[state.id] = work
            work.items.append(item)
            if state.activities:
                item.note(
                    "join",
                    "known mail",
                    f"{len(state.activities)} records planned or written before",
                )
        return list(works.values())

    # ------------------------------------------------------------ plan, look up

    async def _plan_and_write(self, run: Run, works: Sequence[Work]) -> None:
        await self._forget_refused(run, works)
        plans = {w.mail.id: p for w in works if (p := self._plan(w)) is not None}
        wanted = [w for w in works if w.mail.id in plans]
        if not wanted:
            return
        result = await self._look_up(wanted, plans)
        owners = await self._owners(wanted, result.users)
        matches: list[tuple[Work, Match]] = []
        several = self._several()
        for work in wanted:
            match = relay.match.choose(
                plans[work.mail.id].people, result.found, several
            )
            if not match.who:
                self._unmatched(work, match)
            elif work.mail.id in owners:
                self._note_match(work, match)
                matches.append((work, match))
        await self._draft_and_write(run, matches, owners)

    async def _forget_refused(self, run: Run, works: Sequence[Work]) -> None:
        """Let refused rows of a mail of which nothing was written be planned anew."""
        updates = [
            LedgerUpdate(row.key, Ledger.PLANNED, error=row.error)
            for work in works
            for row in work.of(Ledger.REFUSED)
        ]
        if updates:
            await run.advance(self._store, ledger=updates)

    def _plan(self, work: Work) -> relay.match.Plan | None:
        """Apply the rules to one mail; None where they settled it."""
        user = work.items[0].user
        plan = relay.match.plan(
            work.email,
            self._directory(),
            user_id=user.id if user else -1,
            relay_domains=self._settings.smtp.domains,
            limit=self._settings.salesforce.max_addresses_per_mail,
        )
        if plan.skipped:
            work.note("rules", "skipped", plan.detail)
            work.settle(Event.RULED_OUT, plan.skipped, plan.detail)
            return None
        if plan.unmatched:
            work.note("rules", "unmatched", plan.detail)
            work.settle(Event.NO_MATCH, plan.unmatched, plan.detail)
            return None
        people = ", ".join(person.address for person in plan.people)
        cut = f"; {plan.left_out} more beyond the limit" if plan.left_out else ""
        work.note("people", str(len(plan.people)), people + cut)
        return plan

    async def _look_up(
        self, works: Sequence[Work], plans: Mapping[int, relay.match.Plan]
    ) -> LookupResult:
        addresses = {p.key for w in works for p in plans[w.mail.id].people}
        users = [i.user for w in works for i in w.items if i.user]
        return await self._org.lookup(
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
        )

    def _several(self) -> Several:
        chosen = self._directory().settings.get("match.several")
        return Several(chosen or self._settings.match.several)

    # ------------------------------------------------------------ who logs

    async def _owners(
        self, works: Sequence[Work], users: Sequence[SalesforceUser]
    ) -> dict[int, relay.activity.Owner]:
        """Return the Salesforce user for each mail; mails without one wait, visibly.

        What was found out is remembered with the user, so that it is asked once.
        """
        found: dict[int, relay.activity.Owner] = {}
        known: dict[int, relay.activity.Owner | None] = {}
        for work in works:
            for item in work.items:
                if item.user and item.user.id not in known:
                    known[item.user.id] = await self._owner(item.user, users)
                owner = known[item.user.id] if item.user else None
                if owner:
                    found.setdefault(work.mail.id, owner)
            if work.mail.id not in found:
                user = work.items[0].user
                detail = (
                    f"no single active Salesforce user has the e-mail "
                    f"{user.email if user else '?'}: name one with "
                    f"'relay user set {user.email if user else ''} --salesforce-id'"
                )
                work.note("user", "waiting", detail)
                work.settle(
                    Event.GIVE_BACK,
                    "no_salesforce_user",
                    detail,
                    self._in(USER_WAIT_S),
                )
        return found

    async def _owner(
        self, user: User, found: Sequence[SalesforceUser]
    ) -> relay.activity.Owner | None:
        if user.salesforce_id:
            zone = user.time_zone
            if not zone:
                zone = next(
                    (f.time_zone for f in found if f.id == user.salesforce_id), None
                )
                if zone:
                    await self._store.user_set_time_zone(user.id, zone)
            return relay.activity.Owner(user.salesforce_id, zone)
        key = address_key(user.email)
        fitting = [f for f in found if f.email_key == key and f.is_active]
        if len(fitting) != 1:
            return None
        match = fitting[0]
        await self._store.user_set_salesforce_id(user.id, match.id, "relay")
        if match.time_zone:
            await self._store.user_set_time_zone(user.id, match.time_zone)
        return relay.activity.Owner(match.id, match.time_zone)

    # ------------------------------------------------------------ choose, draft

    def _unmatched(self, work: Work, match: Match) -> None:
        people = ", ".join(person.address for person in match.unknown)
        detail = f"no Contact or open Lead has one of these addresses: {people}"
        work.note("match", "none", detail)
        work.settle(Event.NO_MATCH, "no_record", detail)

    def _note_match(self, work: Work, match: Match) -> None:
        for chosen in (*match.who, *match.what):
            name = f"{chosen.object} {chosen.id} {chosen.name}".rstrip()
            work.note("match", name, chosen.rule)
        for person in match.unknown:
            work.note("match", "no record", person.address)

    async def _draft_and_write(
        self,
        run: Run,
        matches: Sequence[tuple[Work, Match]],
        owners: Mapping[int, relay.activity.Owner],
    ) -> None:
        if not matches:
            return
        shape = await self._org.shape()

        def drafts(work: Work, match: Match, mode: Mode) -> tuple[Draft, ...]:
            return relay.activity.draft(
                work.email,
                match,
                mail_key=work.mail.key,
                owner=owners[work.mail.id],
                mode=mode,
                org=shape,
                received_at=work.received_at,
                relay_domains=self._settings.smtp.domains,
            )

        if self._mode.shadow:
            await self._show_only(run, matches, drafts, shape)
            return
        mode = await self._mode.known(shape)
        if mode is None:
            async with self._mode.probing:
                mode = await self._mode.known(shape)
                if mode is None:
                    (work, match), *matches = matches
                    mode = await self._writer.probe(
                        run, work, functools.partial(drafts, work, match)
                    )
        if mode is None:
            for work, _ in matches:
                detail = "the first write has not shown yet how this org logs mail"
                work.note("mode", "waiting", detail)
                work.settle(
                    Event.GIVE_BACK, "mode_undecided", detail, self._in(GIVE_BACK_S)
                )
            return
        await self._writer.write(
            run,
            [work for work, _ in matches],
            {work.mail.id: drafts(work, match, mode) for work, match in matches},
        )

    async def _show_only(
        self,
        run: Run,
        matches: Sequence[tuple[Work, Match]],
        drafts: Callable[[Work, Match, Mode], tuple[Draft, ...]],
        shape: OrgShape,
    ) -> None:
        """Shadow mode: the plan is kept and shown, nothing is written."""
        mode = await self._mode.likely(shape)
        plans = []
        for work, match in matches:
            planned = drafts(work, match, mode)
            plans.append((work.mail.id, planned))
            for record in planned:
                work.note("plan", f"{record.object} {record.slot}", record.rule)
            detail = f"shadow mode: {len(planned)} records planned, none written"
            work.settle(Event.RULED_OUT, "shadow_mode", detail)
        await run.advance(self._store, plans=plans)

    # ------------------------------------------------------------ settle

    def _conclude(self, works: Sequence[Work], trouble: TransientError | None) -> None:
        """Turn the state of each mail's ledger into the end of the attempt."""
        for work in works:
            if all(item.settlement for item in work.items):
                continue
            refused = work.of(Ledger.REFUSED)
            if work.done:
                work.settle(Event.LOGGED)
            elif refused and not work.of(Ledger.PLANNED, Ledger.SENT):
                code, _, text = refused[0].error.partition(" ")
                work.settle(Event.PERMANENT, code, text)
            elif isinstance(trouble, OrgPaused):
                self._give_back(work, trouble)
            else:
                self._retry(work, work.trouble or trouble or _UNFINISHED)

    def _retry(self, work: Work, error: TransientError) -> None:
        """Try again later; what has been tried for too long is dead."""
        now = self._clock.now()
        reason = getattr(error, "code", "") or type(error).__name__
        for item in work.items:
            if item.settlement:
                continue
            item.note("attempt", "failed", str(error))
            if self._backoff.too_old(now, item.claimed.waiting_since):
                item.settle(Event.EXHAUSTED, reason, str(error))
                continue
            retry_at = self._backoff.retry_at(
                now, item.claimed.failures + 1, error.retry_after_s
            )
            item.settle(Event.TRANSIENT, reason, str(error), retry_at)

    def _give_back(self, work: Work, error: OrgPaused) -> None:
        wait = self._in(error.retry_after_s or USER_WAIT_S)
        work.note("org", "paused", str(error))
        work.settle(Event.GIVE_BACK, error.code or "paused", str(error), wait)

    def _in(self, seconds: float) -> datetime:
        return self._clock.now() + timedelta(seconds=seconds)


def _parse_all(raws: Mapping[str, bytes]) -> dict[str, Email | UnparsableMessage]:
    """Parse blobs in a worker thread; a mail that cannot be read is a value."""
    emails: dict[str, Email | UnparsableMessage] = {}
    for blob_id, raw in raws.items():
        try:
            emails[blob_id] = relay.mail.parse(raw)
        except UnparsableMessage as error:
            emails[blob_id] = error
    return emails
