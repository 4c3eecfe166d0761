"""The ledger: what is written to Salesforce for each mail, and how far it is.

The mail's lease (`relay.store.mails`) guards its rows. `advance` refuses to plan or to
mark as sent without it: a worker whose lease ran out must not write beside the worker
that has it now. An answer of Salesforce is accepted without the lease: it is a fact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, delete, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from relay.core.errors import IllegalTransition, LeaseLost, NotFound
from relay.core.model import OPEN_TASK, Activity, OwnerChange
from relay.core.states import (
    ACTIVITY_BY_AUDIT,
    ACTIVITY_TRANSITIONS,
    FILE_BY_AUDIT,
    SETTLED,
    ActivityState,
    Event,
    State,
)
from relay.store import schema
from relay.store.attachments import add_files, drop_files, messages_of_mails
from relay.store.context import SLOWEST_ROWS_S, Part
from relay.store.edits import write_audit
from relay.store.queue import apply_event
from relay.store.reminders import make_or_complete
from relay.store.settlement import settle
from relay.store.values import SECOND, chunks, dump, load, maybe_moment, stamp, text

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Row

    from relay.core.files import FileDraft
    from relay.core.model import Draft, LedgerUpdate, Unsent
    from relay.core.queue import LeaseOwner, Settlement

mails = schema.mails
activities = schema.activities
a = schema.activities.c
f = schema.files.c
m = schema.messages.c


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """A row of the ledger, its place in the walk, and the messages it is for."""

    number: int
    activity: Activity
    messages: tuple[str, ...]


class ActivityLedger(Part):
    """Writing down what is planned, sent and answered for mails."""

    async def holders(self, salesforce_ids: Sequence[str]) -> dict[str, str]:
        """Return the key of the ledger row that a Salesforce record answers, by id.

        Raises:
            StoreUnavailable: Nothing is known.
        """
        a = schema.activities.c

        def work(connection: Connection) -> dict[str, str]:
            found: dict[str, str] = {}
            for part in chunks(sorted(set(salesforce_ids))):
                query = select(a.salesforce_id, a.key).where(a.salesforce_id.in_(part))
                found |= {
                    row.salesforce_id: row.key for row in connection.execute(query)
                }
            return found

        return await self._context.read(work)

    async def advance(
        self,
        owner: LeaseOwner,
        *,
        plans: Sequence[tuple[int, Sequence[Draft]]] = (),
        ledger: Sequence[LedgerUpdate] = (),
        settlements: Sequence[Settlement] = (),
        files: Sequence[FileDraft] = (),
        unsent: Sequence[Unsent] = (),
    ) -> set[str]:
        """Write plans, ledger changes, outcomes and files down in one transaction.

        A plan replaces the mail's rows that are still planned; a draft whose key exists
        beyond that keeps the old row. Settlements of messages that `owner` does not
        hold under that attempt are left out; the ids of the others come back. A mail's
        lease ends with the last of its messages that `owner` holds. A reminder of a
        settlement is made with it, once for its origin. Files that are
        there already stay, those that were refused are tried again. Rows that are
        `unsent` are planned again first, where they carry that mark and the mail's
        lease is the owner's.

        Raises:
            LeaseLost: A plan, or a ledger change that is no answer of Salesforce,
                concerns a mail whose lease is not the owner's. Nothing was changed.
            IllegalTransition: A change is not in the tables. Nothing was changed.
            NotFound: A ledger row does not exist. Nothing was changed.
        """
        name, now = str(owner), self._context.now()

        def work(connection: Connection) -> set[str]:
            _take_back(connection, name, unsent)
            _write_ledger(connection, name, plans, ledger, now)
            add_files(connection, files, now)
            settled = settle(connection, name, settlements, now)
            for one in settlements:
                if one.reminder is not None and one.message_id in settled:
                    make_or_complete(connection, self._context.clock, one.reminder)
            return settled

        return await self._context.write(work)

    # ------------------------------------------------------------ for the audit

    async def count(self, since: datetime | None) -> int:
        """Return how many rows a walk will see."""
        query = select(func.count()).select_from(schema.activities).where(*_from(since))
        return await self._context.read(lambda c: int(c.scalar(query) or 0))

    async def page(
        self, since: datetime | None, after: int, limit: int
    ) -> list[LedgerRow]:
        """Return the next rows, planned or sent since then, of whatever state.

        Args:
            since: None for all.
            after: `number` of the last row seen; 0 at first.
            limit: How many at most.
        """
        query = (
            select(schema.activities)
            .where(a.id > after, *_from(since))
            .order_by(a.id)
            .limit(limit)
        )

        def work(connection: Connection) -> list[LedgerRow]:
            rows = connection.execute(query).all()
            of_mail = messages_of_mails(connection, rows)
            return [
                LedgerRow(row.id, activity_of(row), of_mail.get(row.mail_id, ()))
                for row in rows
            ]

        return await self._context.read(work)

    async def latest(self, sobject: str, limit: int) -> list[Activity]:
        """Return the rows of an object that were written last, the newest first."""
        query = (
            select(schema.activities)
            .where(a.object == sobject, a.state == ActivityState.WRITTEN)
            .order_by(a.id.desc())
            .limit(limit)
        )
        return await self._context.read(
            lambda c: [activity_of(row) for row in c.execute(query)]
        )

    async def known(self, keys: Collection[str]) -> set[str]:
        """Return those of the keys that have a row, of whatever age."""

        def work(connection: Connection) -> set[str]:
            found: set[str] = set()
            for part in chunks(sorted(keys)):
                found.update(connection.scalars(select(a.key).where(a.key.in_(part))))
            return found

        return await self._context.read(work)

    async def mark_gone(self, keys: Collection[str]) -> int:
        """Record that these were deleted in Salesforce; return how many were new."""

        def work(connection: Connection) -> int:
            count = 0
            for part in chunks(sorted(keys)):
                changed = connection.execute(
                    update(schema.activities)
                    .where(a.key.in_(part), a.state == ActivityState.WRITTEN)
                    .values(state=ActivityState.GONE.value)
                    .returning(a.id)
                )
                count += len(changed.all())
            return count

        return await self._context.write(work, more_s=len(keys) / SLOWEST_ROWS_S)

    async def rewrite(self, keys: Collection[str], actor: str) -> dict[str, list[str]]:
        """Have records written again that Salesforce does not have any more.

        A row becomes planned, and the logged messages of its mail are queued. A mail
        that a worker holds, or of which no message is logged, is left as it is, and so
        is an open Task.

        Returns:
            The requeued messages by key; a key that was left out is not in it.
        """
        now = self._context.now()

        def work(connection: Connection) -> dict[str, list[str]]:
            rows: list[Row[Any]] = []
            for part in chunks(sorted(keys)):
                rows += connection.execute(_free(part, now)).all()
            ids = {row.mail_id for row in rows}
            messages = _logged(connection, ids)
            rows = [row for row in rows if row.mail_id in messages]
            if not rows:
                return {}
            for part in chunks(sorted(row.key for row in rows)):
                connection.execute(
                    update(schema.activities)
                    .where(a.key.in_(part))
                    .values(
                        state=ActivityState.PLANNED.value,
                        salesforce_id=None,
                        sent_at=None,
                        lookups=0,
                        error="",
                    )
                )
                # Their files are there, and hang on a record that is not.
                connection.execute(
                    update(schema.files)
                    .where(
                        f.activity_key.in_(part),
                        f.state.in_([state.value for state in FILE_BY_AUDIT]),
                    )
                    .values(state=ActivityState.WRITTEN.value, due_at=now, lookups=0)
                )
            queued = [message for found in messages.values() for message in found]
            apply_event(connection, Event.REQUEUE, queued, actor, now)
            subject = f"{len(rows)} missing records"
            write_audit(connection, now, actor, "ledger_rewrite", (subject, None, None))
            return {row.key: [x.id for x in messages[row.mail_id]] for row in rows}

        done = await self._context.write(work, more_s=len(keys) / SLOWEST_ROWS_S)
        if done:
            self._context.ring()
        return done

    # ------------------------------------------------------------ owner changes

    async def claim_owner_changes(self, limit: int, hold_s: float) -> list[OwnerChange]:
        """Take Tasks to be given to their reps, the oldest first.

        They come back after `hold_s` unless `settle_owner_changes` ends them.

        Raises:
            StoreUnavailable: Nothing was taken.
        """
        now = self._context.now()
        until = now + int(hold_s * SECOND)
        if not await self._context.read(lambda c: _any_due(c, now)):
            return []
        return await self._context.write(lambda c: _take(c, now, until, limit))

    async def settle_owner_changes(self, keys: Sequence[str]) -> None:
        """Settle handovers: done, or never to be done.

        Raises:
            StoreUnavailable: They are still to be done.
        """
        if not keys:
            return

        def work(connection: Connection) -> None:
            _set_due(connection, keys, None)

        await self._context.write(work)


def activity_of(row: Row[Any]) -> Activity:
    """Return a row of the ledger as a value."""
    return Activity(
        key=row.key,
        mail_id=row.mail_id,
        slot=row.slot,
        object=row.object,
        fields=load(row.fields),
        rule=row.rule,
        state=ActivityState(row.state),
        salesforce_id=row.salesforce_id,
        sent_at=maybe_moment(row.sent_at),
        error=row.error,
        lookups=row.lookups,
        people=tuple(load(row.people)),
        key_field=row.key_field,
    )


def _write_ledger(
    connection: Connection,
    owner: str,
    plans: Sequence[tuple[int, Sequence[Draft]]],
    changes: Sequence[LedgerUpdate],
    now: int,
) -> None:
    """Write plans and ledger changes, those of mails without our lease not at all."""
    needed = {mail_id for mail_id, _ in plans}
    before = _ledger_rows(connection, {change.key for change in changes})
    for change in changes:
        row = before.get(change.key)
        # A draft of this very call is there only after the plans are written.
        if row is not None and change.state not in SETTLED:
            needed.add(row.mail_id)
    _need_leases(connection, owner, needed)
    _write_plans(connection, plans, now)
    if changes:
        rows = _ledger_rows(connection, {change.key for change in changes})
        _write_changes(connection, rows, changes)


def _take_back(connection: Connection, owner: str, unsent: Sequence[Unsent]) -> None:
    """Plan rows again that are *sent* by a mark of ours whose request never left."""
    a = activities.c
    # A mark that is still being committed holds the mail's row: it is waited for.
    ours = _leased(connection, owner, {one.mail_id for one in unsent})
    for sent_at in {one.sent_at for one in unsent}:
        marked = [u.key for u in unsent if u.sent_at == sent_at and u.mail_id in ours]
        for part in chunks(sorted(marked)):
            connection.execute(
                update(activities)
                .where(a.key.in_(part), a.state == ActivityState.SENT)
                .where(a.sent_at == stamp(sent_at))
                .values(state=ActivityState.PLANNED.value, **_NEVER_SENT)
            )


def _ledger_rows(connection: Connection, keys: set[str]) -> dict[str, Row[Any]]:
    rows: dict[str, Row[Any]] = {}
    for part in chunks(sorted(keys)):
        query = select(activities).where(activities.c.key.in_(part))
        for row in connection.execute(
            query.order_by(activities.c.key).with_for_update()
        ):
            rows[row.key] = row
    return rows


def _leased(connection: Connection, owner: str, mail_ids: set[int]) -> set[int]:
    """Return the mails whose lease is the owner's, locked."""
    ours: set[int] = set()
    for part in chunks(sorted(mail_ids)):
        query = select(mails.c.id).where(
            mails.c.id.in_(part), mails.c.lease_owner == owner
        )
        ours.update(connection.scalars(query.order_by(mails.c.id).with_for_update()))
    return ours


def _need_leases(connection: Connection, owner: str, needed: set[int]) -> None:
    ours = _leased(connection, owner, needed)
    if needed - ours:
        raise LeaseLost(frozenset(needed - ours))


def _write_plans(
    connection: Connection, plans: Sequence[tuple[int, Sequence[Draft]]], now: int
) -> None:
    """Replace the rows that are planned; a row whose key stays keeps its files."""
    a = activities.c
    wanted = {draft.key for _, drafts in plans for draft in drafts}
    for part in chunks(mail_id for mail_id, _ in plans):
        planned = select(a.key).where(
            a.mail_id.in_(part), a.state == ActivityState.PLANNED
        )
        dropped = sorted(set(connection.scalars(planned)) - wanted)
        for keys in chunks(dropped):
            drop_files(connection, keys)
            connection.execute(delete(activities).where(a.key.in_(keys)))
    rows = [
        {
            "key": draft.key,
            "mail_id": mail_id,
            "slot": draft.slot,
            "object": draft.object,
            "fields": dump(dict(draft.fields)),
            "rule": draft.rule,
            "state": ActivityState.PLANNED.value,
            "created_at": now,
            "people": dump(list(draft.people)),
            "key_field": draft.key_field,
            "owner": draft.owner,
            "owner_due_at": now if draft.owner else None,
        }
        for mail_id, drafts in plans
        for draft in drafts
    ]
    if rows:
        make = sqlite if connection.dialect.name == "sqlite" else postgresql
        new = make.insert(activities)
        fresh = {name: new.excluded[name] for name in rows[0] if name != "key"}
        put = new.on_conflict_do_update(
            index_elements=["key"],
            set_=fresh | _NEVER_SENT,
            where=a.state == ActivityState.PLANNED,
        )
        connection.execute(put, rows)


_NEVER_SENT: Final[dict[str, Any]] = {
    "salesforce_id": None,
    "sent_at": None,
    "error": "",
    "lookups": 0,
}


def _write_changes(
    connection: Connection, rows: dict[str, Row[Any]], changes: Sequence[LedgerUpdate]
) -> None:
    values: list[dict[str, Any]] = []
    state_of = {key: ActivityState(row.state) for key, row in rows.items()}
    for change in changes:
        old = state_of.get(change.key)
        if old is None:
            problem = f"there is no ledger row {change.key}"
            raise NotFound(problem)
        if _said_before(rows[change.key], old, change):
            continue
        if change.state not in ACTIVITY_TRANSITIONS[old]:
            raise IllegalTransition(old, change.state)
        state_of[change.key] = change.state
        row = rows[change.key]
        values.append(
            {
                "the_key": change.key,
                "state": change.state.value,
                "salesforce_id": change.salesforce_id or row.salesforce_id,
                "sent_at": (
                    row.sent_at if change.sent_at is None else stamp(change.sent_at)
                ),
                "error": text(change.error),
                "lookups": row.lookups if change.lookups is None else change.lookups,
            }
        )
    if values:
        names = ("state", "salesforce_id", "sent_at", "error", "lookups")
        connection.execute(
            update(activities)
            .where(activities.c.key == bindparam("the_key"))
            .values({name: bindparam(name) for name in names}),
            values,
        )


def _said_before(row: Row[Any], old: ActivityState, change: LedgerUpdate) -> bool:
    """Say whether Salesforce's answer is known already; a fact may come twice."""
    return (
        old is change.state
        and old in SETTLED
        and change.salesforce_id in (None, row.salesforce_id)
    )


# ------------------------------------------------------------------ the audit


def _from(since: datetime | None) -> list[Any]:
    if since is None:
        return []
    at = stamp(since)
    return [or_(a.created_at >= at, a.sent_at >= at)]


def _free(keys: Sequence[str], now: int) -> Any:
    """Return the rows that may be planned again: written, and their mail not leased."""
    fit = [state.value for state in ACTIVITY_BY_AUDIT]
    free = or_(mails.c.lease_owner.is_(None), mails.c.lease_until < now)
    return (
        select(schema.activities)
        .join(mails, mails.c.id == a.mail_id)
        .where(a.key.in_(keys), a.state.in_(fit), a.slot != OPEN_TASK, free)
        .order_by(a.id)
        .with_for_update()
    )


def _logged(connection: Connection, mail_ids: set[int]) -> dict[int, list[Row[Any]]]:
    found: dict[int, list[Row[Any]]] = {}
    for part in chunks(sorted(mail_ids)):
        query = select(schema.messages).where(
            m.mail_id.in_(part), m.state == State.LOGGED
        )
        for row in connection.execute(query.order_by(m.id).with_for_update()):
            found.setdefault(row.mail_id, []).append(row)
    return found


# ------------------------------------------------------------------ owner changes


def _any_due(connection: Connection, now: int) -> bool:
    a = activities.c
    query = select(a.id).where(a.owner_due_at <= now, a.state == ActivityState.WRITTEN)
    return connection.execute(query.limit(1)).first() is not None


def _take(
    connection: Connection, now: int, until: int, limit: int
) -> list[OwnerChange]:
    a = activities.c
    query = (
        select(a.key, a.salesforce_id, a.owner, a.fields)
        .where(a.owner_due_at <= now, a.state == ActivityState.WRITTEN)
        .order_by(a.owner_due_at, a.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    found = [_owner_change(row) for row in connection.execute(query)]
    if found:
        _set_due(connection, [one.key for one in found], until)
    return found


def _owner_change(row: Any) -> OwnerChange:
    fields = load(row.fields)
    return OwnerChange(
        row.key,
        row.salesforce_id,
        row.owner,
        str(fields.get("FromAddress") or ""),
        fields.get("FromId"),
        incoming=bool(fields.get("Incoming")),
    )


def _set_due(connection: Connection, keys: Sequence[str], due: int | None) -> None:
    connection.execute(
        update(activities)
        .where(activities.c.key == bindparam("the_key"))
        .values(owner_due_at=bindparam("due")),
        [{"the_key": key, "due": due} for key in keys],
    )
