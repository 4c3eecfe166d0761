"""The ledger: what is written to Salesforce for each mail, and how far it is.

The mail's lease (`relay.store.mails`) guards its rows. `advance` refuses to plan or to
mark as sent without it: a worker that slept through its lease must not write beside its
successor. What Salesforce has answered is taken from anybody, for it is a fact.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from relay.core.errors import IllegalTransition, LeaseLost, NotFound
from relay.core.model import Activity
from relay.core.states import ACTIVITY_TRANSITIONS, SETTLED, ActivityState
from relay.store import schema
from relay.store.access import Access
from relay.store.files import add_files, drop_files
from relay.store.settlement import settle
from relay.store.values import chunks, dump, load, maybe_moment, stamp, text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Row

    from relay.core.files import FileDraft
    from relay.core.model import Draft, LedgerUpdate, Unsent
    from relay.core.queue import LeaseOwner, Settlement

mails = schema.mails
activities = schema.activities


class LedgerOperations(Access):
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

        return await self._read(work)

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
        lease ends with the last of its messages that `owner` holds. Files that are
        there already stay, those that were refused are tried again. Rows that are
        `unsent` are planned again first, where they carry that mark and the mail's
        lease is the owner's.

        Raises:
            LeaseLost: A plan, or a ledger change that is no answer of Salesforce,
                concerns a mail whose lease is not the owner's. Nothing was changed.
            IllegalTransition: A change is not in the tables. Nothing was changed.
            NotFound: A ledger row does not exist. Nothing was changed.
        """
        name, now = str(owner), self._now()

        def work(connection: Connection) -> set[str]:
            _take_back(connection, name, unsent)
            _write_ledger(connection, name, plans, ledger, now)
            add_files(connection, files, now)
            return settle(connection, name, settlements, now)

        return await self._write(work)


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
