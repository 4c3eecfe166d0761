"""Mails, their leases, and the ledger of what is written for them.

A mail is one content, whoever's copy it is; it has at most one worker at a time, and
that lease is what guards the ledger. `advance` refuses to plan or to mark as sent
without it: a worker that slept through its lease must not write beside its successor.
What Salesforce has answered is taken from anybody, for it is a fact.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, delete, exists, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from relay.core.errors import IllegalTransition, LeaseLost, NotFound
from relay.core.model import Activity, MailState
from relay.core.states import (
    LEDGER_TRANSITIONS,
    NO_ATTEMPT,
    SETTLED,
    Event,
    Ledger,
    State,
    next_state,
)
from relay.store import schema
from relay.store.access import Access
from relay.store.files import add_files, drop_files
from relay.store.queue import FREE, attempt_record, failing_since
from relay.store.values import chunks, dump, dump_steps, load, maybe_moment, stamp, text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection, Row

    from relay.core.model import (
        Draft,
        FileDraft,
        LeaseOwner,
        LedgerUpdate,
        Settlement,
    )

m = schema.messages.c
mails = schema.mails
activities = schema.activities

Copy = tuple[str, str, str, str]
"""Message id, key 1, key 2, RFC Message-ID."""


class LedgerOperations(Access):
    """Joining copies to mails, and writing down what happens to both."""

    async def join(
        self, owner: LeaseOwner, copies: Sequence[Copy]
    ) -> dict[str, MailState]:
        """Assign each held message its mail, and take the mails' leases.

        A mail with equal key 1, else one with equal key 2, is the same mail; else it is
        new. A message that has a mail keeps it. A mail held by another live worker
        comes back with `leased` False. Messages that `owner` does not hold any more are
        left out.

        Raises:
            StoreUnavailable: Nothing was changed.
        """
        name, now = str(owner), self._now()
        return await self._write(lambda c: _join(c, name, copies, now))

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
    ) -> set[str]:
        """Write plans, ledger changes, outcomes and files down in one transaction.

        A plan replaces the mail's rows that are still planned; a draft whose key exists
        beyond that keeps the old row. Settlements of messages that `owner` does not
        hold under that attempt are left out; the ids of the others come back. A mail's
        lease ends with the last of its messages that `owner` holds. Files that are
        there already stay, those that were refused are tried again.

        Raises:
            LeaseLost: A plan, or a ledger change that is no answer of Salesforce,
                concerns a mail whose lease is not the owner's. Nothing was changed.
            IllegalTransition: A change is not in the tables. Nothing was changed.
            NotFound: A ledger row does not exist. Nothing was changed.
        """
        name, now = str(owner), self._now()

        def work(connection: Connection) -> set[str]:
            _write_ledger(connection, name, plans, ledger, now)
            add_files(connection, files, now)
            return _settle(connection, name, settlements, now)

        return await self._write(work)


# ------------------------------------------------------------------ join


def _join(
    connection: Connection, owner: str, copies: Sequence[Copy], now: int
) -> dict[str, MailState]:
    held = _held(connection, owner, [copy[0] for copy in copies])
    known = {i: row.mail_id for i, row in held.items() if row.mail_id is not None}
    new = [copy for copy in copies if copy[0] in held and copy[0] not in known]
    known |= _assign(connection, new, now)
    if new:
        connection.execute(
            update(schema.messages)
            .where(m.id == bindparam("the_id"))
            .values(mail_id=bindparam("mail")),
            [{"the_id": copy[0], "mail": known[copy[0]]} for copy in new],
        )
    until: dict[int, int] = {}
    for message_id, mail_id in known.items():
        until[mail_id] = max(until.get(mail_id, 0), held[message_id].lease_until)
    states = _mail_states(connection, _lease(connection, owner, until, now))
    return {message_id: states[mail_id] for message_id, mail_id in known.items()}


def _held(
    connection: Connection, owner: str, ids: Iterable[str]
) -> dict[str, Row[Any]]:
    """Return the messages that the owner holds, locked, by id."""
    found: dict[str, Row[Any]] = {}
    for part in chunks(sorted(set(ids))):
        query = select(schema.messages).where(
            m.id.in_(part), m.state == State.CLAIMED, m.lease_owner == owner
        )
        for row in connection.execute(query.order_by(m.id).with_for_update()):
            found[row.id] = row
    return found


def _assign(connection: Connection, copies: Sequence[Copy], now: int) -> dict[str, int]:
    """Return the mail of each copy, made where there is none."""
    if not copies:
        return {}
    by_key1, by_key2 = _mails_by_keys(connection, copies)
    fresh: list[Copy] = []
    key1s, key2s = set(by_key1), set(by_key2)
    for copy in copies:
        _, key1, key2, _ = copy
        if key1 not in key1s and key2 not in key2s:
            fresh.append(copy)
            key1s.add(key1)
            key2s.add(key2)
    if fresh:
        make = sqlite if connection.dialect.name == "sqlite" else postgresql
        # Another relay may have made it since we looked: then its row counts.
        connection.execute(
            make.insert(mails).on_conflict_do_nothing(),
            [
                {
                    "key1": key1,
                    "key2": key2,
                    "rfc_message_id": text(rfc_message_id),
                    "created_at": now,
                }
                for _, key1, key2, rfc_message_id in sorted(fresh, key=lambda c: c[1])
            ],
        )
        by_key1, by_key2 = _mails_by_keys(connection, copies)
    return {
        message_id: by_key1[key1] if key1 in by_key1 else by_key2[key2]
        for message_id, key1, key2, _ in copies
    }


def _mails_by_keys(
    connection: Connection, copies: Sequence[Copy]
) -> tuple[dict[str, int], dict[str, int]]:
    by_key1: dict[str, int] = {}
    by_key2: dict[str, int] = {}
    for column, index, found in (
        (mails.c.key1, 1, by_key1),
        (mails.c.key2, 2, by_key2),
    ):
        for part in chunks({copy[index] for copy in copies}):
            query = select(column, mails.c.id).where(column.in_(part))
            found.update({row[0]: row[1] for row in connection.execute(query)})
    return by_key1, by_key2


def _lease(
    connection: Connection, owner: str, until: dict[int, int], now: int
) -> dict[int, tuple[str, bool]]:
    """Take the leases of mails that are free; return (key, whether ours) by mail."""
    found: dict[int, tuple[str, bool]] = {}
    for part in chunks(sorted(until)):
        query = select(mails).where(mails.c.id.in_(part)).order_by(mails.c.id)
        for row in connection.execute(query.with_for_update()):
            free = row.lease_owner in (None, owner) or (row.lease_until or 0) < now
            found[row.id] = (row.key1, free)
    ours = [{"mail": i, "until": until[i]} for i, (_, free) in found.items() if free]
    if ours:
        connection.execute(
            update(mails)
            .where(mails.c.id == bindparam("mail"))
            .values(lease_owner=owner, lease_until=bindparam("until")),
            ours,
        )
    return found


def _mail_states(
    connection: Connection, leases: dict[int, tuple[str, bool]]
) -> dict[int, MailState]:
    rows: defaultdict[int, list[Activity]] = defaultdict(list)
    for part in chunks(leases):
        query = select(activities).where(activities.c.mail_id.in_(part))
        for row in connection.execute(query.order_by(activities.c.id)):
            rows[row.mail_id].append(activity_of(row))
    return {
        mail_id: MailState(mail_id, key, tuple(rows[mail_id]), leased)
        for mail_id, (key, leased) in leases.items()
    }


def activity_of(row: Row[Any]) -> Activity:
    """Return a row of the ledger as a value."""
    return Activity(
        key=row.key,
        mail_id=row.mail_id,
        slot=row.slot,
        object=row.object,
        fields=load(row.fields),
        rule=row.rule,
        state=Ledger(row.state),
        salesforce_id=row.salesforce_id,
        sent_at=maybe_moment(row.sent_at),
        error=row.error,
        lookups=row.lookups,
        people=tuple(load(row.people)),
        key_field=row.key_field,
    )


# ------------------------------------------------------------------ ledger


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


def _ledger_rows(connection: Connection, keys: set[str]) -> dict[str, Row[Any]]:
    rows: dict[str, Row[Any]] = {}
    for part in chunks(sorted(keys)):
        query = select(activities).where(activities.c.key.in_(part))
        for row in connection.execute(
            query.order_by(activities.c.key).with_for_update()
        ):
            rows[row.key] = row
    return rows


def _need_leases(connection: Connection, owner: str, needed: set[int]) -> None:
    ours: set[int] = set()
    for part in chunks(sorted(needed)):
        query = select(mails.c.id).where(
            mails.c.id.in_(part), mails.c.lease_owner == owner
        )
        ours.update(connection.scalars(query.order_by(mails.c.id).with_for_update()))
    if needed - ours:
        raise LeaseLost(frozenset(needed - ours))


def _write_plans(
    connection: Connection, plans: Sequence[tuple[int, Sequence[Draft]]], now: int
) -> None:
    """Replace the rows that are planned; a row whose key stays keeps its files."""
    a = activities.c
    wanted = {draft.key for _, drafts in plans for draft in drafts}
    for part in chunks(mail_id for mail_id, _ in plans):
        planned = select(a.key).where(a.mail_id.in_(part), a.state == Ledger.PLANNED)
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
            "state": Ledger.PLANNED.value,
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
            where=a.state == Ledger.PLANNED,
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
    state_of = {key: Ledger(row.state) for key, row in rows.items()}
    for change in changes:
        old = state_of.get(change.key)
        if old is None:
            problem = f"there is no ledger row {change.key}"
            raise NotFound(problem)
        if _said_before(rows[change.key], old, change):
            continue
        if change.state not in LEDGER_TRANSITIONS[old]:
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


def _said_before(row: Row[Any], old: Ledger, change: LedgerUpdate) -> bool:
    """Say whether Salesforce's answer is known already; a fact may come twice."""
    return (
        old is change.state
        and old in SETTLED
        and change.salesforce_id in (None, row.salesforce_id)
    )


# ------------------------------------------------------------------ settlements


def _settle(
    connection: Connection, owner: str, settlements: Sequence[Settlement], now: int
) -> set[str]:
    held = _held(connection, owner, [s.message_id for s in settlements])
    values: list[dict[str, Any]] = []
    records: list[dict[str, Any]] = []
    given_back: list[str] = []
    done: dict[str, int | None] = {}
    for settlement in settlements:
        row = held.get(settlement.message_id)
        if row is None or row.attempts != settlement.attempt or row.id in done:
            continue
        state = next_state(State.CLAIMED, settlement.event)
        done[row.id] = row.mail_id
        values.append(_settled(row, settlement, state, now))
        if settlement.event in NO_ATTEMPT:
            given_back.append(row.id)
        started = settlement.started_at
        records.append(
            attempt_record(
                row,
                now,
                settlement.event,
                state,
                reason=text(settlement.reason),
                detail=text(settlement.detail),
                trace=dump_steps(settlement.trace),
                started_at=None if started is None else stamp(started),
            )
        )
    if not values:
        return set()
    connection.execute(_SETTLE, values)
    # A pause of the org gives thousands back each minute: the latest one says it all.
    for part in chunks(given_back):
        connection.execute(
            delete(schema.attempts).where(
                schema.attempts.c.message_id.in_(part),
                schema.attempts.c.event.in_([event.value for event in NO_ATTEMPT]),
            )
        )
    connection.execute(insert(schema.attempts), records)
    _end_mail_leases(connection, owner, {i for i in done.values() if i is not None})
    return set(done)


_VARYING: Final = (
    "state",
    "reason",
    "detail",
    "next_attempt_at",
    "attempts",
    "failures",
    "failing_since",
)
_SETTLE: Final = (
    update(schema.messages)
    .where(m.id == bindparam("the_id"))
    .values({name: bindparam(name) for name in _VARYING} | FREE)
)


def _settled(
    row: Row[Any], settlement: Settlement, state: State, now: int
) -> dict[str, Any]:
    due = row.next_attempt_at
    if state is State.QUEUED:
        due = now if settlement.retry_at is None else stamp(settlement.retry_at)
    return {
        "the_id": row.id,
        "state": state.value,
        "reason": text(settlement.reason),
        "detail": text(settlement.detail),
        "next_attempt_at": due,
        "attempts": row.attempts - (1 if settlement.event in NO_ATTEMPT else 0),
        "failures": row.failures + (1 if settlement.event is Event.TRANSIENT else 0),
        "failing_since": _failing_since(row, settlement.event, due, now),
    }


def _failing_since(row: Row[Any], event: Event, due: int, now: int) -> int | None:
    """Return since when a message has failed, time without a try left out."""
    if event is Event.TRANSIENT:
        return now if row.failing_since is None else failing_since(row)
    if event in NO_ATTEMPT and row.failing_since is not None:
        return int(row.failing_since + max(0, due - row.next_attempt_at))
    return None


def _end_mail_leases(connection: Connection, owner: str, ids: set[int]) -> None:
    busy = exists().where(
        m.mail_id == mails.c.id, m.state == State.CLAIMED, m.lease_owner == owner
    )
    for part in chunks(sorted(ids)):
        connection.execute(
            update(mails)
            .where(mails.c.id.in_(part), mails.c.lease_owner == owner, ~busy)
            .values(lease_owner=None, lease_until=None)
        )
