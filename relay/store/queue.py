"""The queue: the table of messages, claimed by lease, changed by the state table.

A claim raises the attempt counter in the same statement that takes the message, before
anything is tried: a crash counts, and cannot make a mail come back at once for ever.

A message that was leased at two crashes is claimed alone, so that it cannot take others
down with it; only when it was leased alone at three crashes is it exhausted. Meanwhile
its process gets no other message: else the crash could again be any message's fault.

People hold, release, requeue, discard and undo by hand, named messages or all in a
state. Each such change leaves a row in the message's attempts. What one person does at
once has a line in the audit, by which it can be taken back (`relay.store.acts`).
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, bindparam, false, func, insert, or_, select, true, update

from relay.core.errors import IllegalTransition, NotFound, StoreUnavailable
from relay.core.queue import Act, Claimed
from relay.core.states import Event, State, next_state, sources
from relay.store import schema
from relay.store.acts import UNDOABLE, record
from relay.store.context import SLOWEST_ROWS_S, Part
from relay.store.edits import write_audit
from relay.store.row_leases import gone
from relay.store.settlement import (
    FREE,
    LateClaims,
    attempt_record,
    failing_since,
    give_back_messages,
    leased_by,
)
from relay.store.values import SECOND, chunks, maybe_moment, moment

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Row, Select

    from relay.core.queue import LeaseOwner
    from relay.store.context import StoreContext


ALONE_AFTER: Final = 2
"""Crashes after which a message is claimed alone."""
LONE_CRASHES: Final = 3
"""Crashes alone that exhaust a message."""
CLAIM_BYTES: Final = 64 * 1024 * 1024
"""Bytes of raw mail in one claim, where the caller says nothing else."""

m = schema.messages.c


class Queue(Part):
    """Operations on messages: those of the worker, and those of people."""

    def __init__(self, context: StoreContext) -> None:
        """Take the shared context; nothing is claimed yet."""
        super().__init__(context)
        self._late_claims = LateClaims()

    async def claim(
        self,
        owner: LeaseOwner,
        limit: int,
        lease_s: float,
        *,
        max_bytes: int = CLAIM_BYTES,
        only: Collection[int] | None = None,
        without: Collection[int] = (),
    ) -> list[Claimed]:
        """Take up to `limit` due messages, the longest due first, for `lease_s`.

        Their raw mails have at most `max_bytes` together; a larger one comes by itself.
        Leases that have run out are ended first. The answer holds ordinary messages,
        or exactly one that is claimed alone. It is empty while this process leases such
        a message, or must first settle others to claim it.

        Args:
            owner: Who takes them.
            limit: How many.
            lease_s: For how long.
            max_bytes: See above.
            only: Mail of these users alone; None: of all, and for postmaster.
            without: Not mail of these users.

        Raises:
            StoreUnavailable: Nothing was claimed; or what was comes back with the next
                claim, as if it had not been.
        """
        now = self._context.now()
        whose = _whose(only, without)
        late = self._late_claims.now()
        taken: dict[str, int] = {}

        def work(connection: Connection) -> tuple[list[Claimed], set[str]]:
            taken.clear()
            seen = give_back_messages(connection, late, now)
            _expire(connection, now)
            until = now + int(lease_s * SECOND)
            claimed = _claim(connection, owner, limit, max_bytes, (now, until), whose)
            taken.update((one.id, one.attempt) for one in claimed)
            return claimed, seen

        with self._late_claims.kept(str(owner), taken):
            claimed, seen = await self._context.write(work)
        self._late_claims.forget(seen | taken.keys())
        return claimed

    async def renew(
        self, owner: LeaseOwner, ids: Iterable[str], lease_s: float
    ) -> set[str]:
        """Prolong the leases on messages and their mails; return those still leased."""
        wanted, name = sorted(ids), str(owner)
        until = self._context.now() + int(lease_s * SECOND)
        mails = schema.mails

        def work(connection: Connection) -> set[str]:
            leased: set[str] = set()
            of_mails: set[int] = set()
            for part in chunks(wanted):
                rows = connection.execute(
                    update(schema.messages)
                    .where(m.id.in_(part), leased_by(name))
                    .values(lease_until=until)
                    .returning(m.id, m.mail_id)
                )
                for row in rows:
                    leased.add(row.id)
                    if row.mail_id is not None:
                        of_mails.add(row.mail_id)
            for part in chunks(sorted(of_mails)):
                connection.execute(
                    update(mails)
                    .where(mails.c.id.in_(part), mails.c.lease_owner == name)
                    .values(lease_until=until)
                )
            return leased

        return await self._context.write(work)

    async def release_dead(
        self, owner: LeaseOwner, is_alive: Callable[[str], bool]
    ) -> int:
        """End the leases of dead processes on this host; return how many messages.

        `is_alive` gets each owner in its stored form; leases of other hosts are left to
        run out. Each message counts a crash.
        """
        now = self._context.now()
        mails = schema.mails

        def holders(connection: Connection) -> set[str]:
            queries = (
                select(m.lease_owner).where(m.state == State.CLAIMED).distinct(),
                select(mails.c.lease_owner)
                .where(mails.c.lease_owner.is_not(None))
                .distinct(),
            )
            return {
                name
                for query in queries
                for name in connection.scalars(query)
                if name is not None
            }

        def work(connection: Connection) -> int:
            count = 0
            for name in dead:
                count += _crash(connection, now, m.lease_owner == name)
                connection.execute(
                    update(mails)
                    .where(mails.c.lease_owner == name)
                    .values(lease_owner=None, lease_until=None)
                )
            return count

        dead = gone(await self._context.read(holders), owner, is_alive)
        if not dead:
            return 0
        count = await self._context.write(work)
        self._context.ring()
        return count

    async def wait_for_work(self, timeout_s: float) -> None:
        """Return once something may be due, at the latest after `timeout_s`.

        Woken by this process and by others (`relay.store.wake`).
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self._context.database.wake.listen(self._context.bell.set)
                await self._context.bell.wait()
        except TimeoutError:
            return
        self._context.bell.clear()

    async def counts(self) -> dict[State, int]:
        """Return how many messages are in each state."""
        query = select(m.state, func.count()).group_by(m.state)
        rows = await self._context.read(
            lambda connection: connection.execute(query).all()
        )
        found = {row[0]: int(row[1]) for row in rows}
        return {state: found.get(state.value, 0) for state in State}

    async def oldest_queued(self) -> datetime | None:
        """Return when the oldest message that waits for the worker was received."""
        # Ids sort by time of receipt, and the index has them: no row is read but one.
        first = select(func.min(m.id)).where(m.state == State.QUEUED).scalar_subquery()
        query = select(m.received_at).where(m.id == first)
        found = await self._context.read(lambda connection: connection.scalar(query))
        return None if found is None else moment(found)

    # ------------------------------------------------------------ interventions

    async def apply(
        self,
        event: Event,
        ids: Sequence[str] | None,
        state: State | None,
        actor: str | Act,
    ) -> list[tuple[str, State, State]]:
        """Do what a person asked for to messages; return (id, old state, new state).

        It is one act, however many transactions it takes. An `Act` that is passed as
        `actor` has its number afterwards.

        With `ids`, all of them or none. Without, those that are in `state`, as far as
        the event is possible there, many transactions for many messages; mail for
        postmaster, which is never logged, is requeued by its id alone. A released or
        requeued message is due at once, and its failures and crashes are forgotten.

        Raises:
            IllegalTransition: One of `ids` cannot take the event; nothing was changed.
            NotFound: One of `ids` does not exist; nothing was changed.
            StoreUnavailable: Without `ids`, the text says how many were changed before.
        """
        act = Act(actor) if isinstance(actor, str) else actor
        if ids is None:
            return await self._apply_by_state(event, state, act)
        return await self._apply_to(
            event,
            lambda connection: named(connection, event, ids),
            act,
            len(ids),
        )

    async def apply_still(
        self, event: Event, ids: Sequence[str], actor: str | Act
    ) -> list[tuple[str, State, State]]:
        """Do it to those of these messages that it is possible for now.

        With the same `Act`, several calls are one act. The others are passed over: they
        were found a moment ago, and have moved on.
        Mail for postmaster, which is never logged, is not requeued.
        """

        def find(connection: Connection) -> list[Row[Any]]:
            if event not in BY_PEOPLE:
                return []
            found: list[Row[Any]] = []
            for part in chunks(dict.fromkeys(ids)):
                query = select(schema.messages).where(_possible(event, part))
                query = query.order_by(m.id).with_for_update()
                found += connection.execute(query)
            return found

        act = Act(actor) if isinstance(actor, str) else actor
        return await self._apply_to(event, find, act, len(ids))

    async def count_still(self, event: Event, ids: Sequence[str]) -> int:
        """Return to how many of these messages `apply_still` would do it now."""

        def read(connection: Connection) -> int:
            count = select(func.count()).select_from(schema.messages)
            return sum(
                connection.scalar(count.where(_possible(event, part))) or 0
                for part in chunks(dict.fromkeys(ids))
            )

        return await self._context.read(read)

    async def _apply_by_state(
        self, event: Event, state: State | None, act: Act
    ) -> list[tuple[str, State, State]]:
        """Go through the messages of a state by their ids, a chunk at a time."""
        if state is None or event not in BY_PEOPLE or state not in sources(event):
            return []
        changed: list[tuple[str, State, State]] = []
        more = True
        while more:
            query = in_state(event, state, after=changed[-1][0] if changed else "")
            try:
                part = await self._apply_to(event, partial(rows_of, query), act, CHUNK)
            except StoreUnavailable as error:
                if not changed:
                    raise
                text = f"{error}; {len(changed)} messages were changed before"
                raise StoreUnavailable(text) from error
            changed += part
            more = len(part) == CHUNK
        return changed

    async def _apply_to(
        self,
        event: Event,
        find: Callable[[Connection], list[Row[Any]]],
        act: Act,
        count: int,
    ) -> list[tuple[str, State, State]]:
        """Do it to the messages that `find` locks, some `count`, in one transaction."""
        now = self._context.now()

        def work(
            connection: Connection,
        ) -> tuple[list[tuple[str, State, State]], int | None]:
            rows = find(connection)
            if event not in UNDOABLE:
                return apply_event(connection, event, rows, act.actor, now), None
            done = change_state(connection, event, rows, act.actor, now)
            number = record(connection, act, event, rows, now) if done else act.number
            return done, number

        changed, act.number = await self._context.write(
            work, more_s=count / SLOWEST_ROWS_S
        )
        if event in DUE_AGAIN and changed:
            self._context.ring()
        return changed


# ------------------------------------------------------------------ claims


def _whose(only: Collection[int] | None, without: Collection[int]) -> Any:
    """Return the condition for the users whose mail is claimed."""
    if only is not None:
        return m.user_id.in_(sorted(only))
    if without:
        return or_(m.user_id.is_(None), m.user_id.not_in(sorted(without)))
    return true()


def _claim(
    connection: Connection,
    owner: LeaseOwner,
    limit: int,
    max_bytes: int,
    times: tuple[int, int],
    whose: Any,
) -> list[Claimed]:
    now, until = times
    process = str(owner).rpartition("/")[0] + "/"
    in_hand = connection.scalars(
        select(m.alone).where(
            m.state == State.CLAIMED,
            m.lease_owner.startswith(process, autoescape=True),
        )
    ).all()
    if any(in_hand):
        return []
    due = (m.state == State.QUEUED) & (m.next_attempt_at <= now) & whose
    order = (m.next_attempt_at, m.id)
    first = connection.execute(
        select(m.id, m.crashes).where(due).order_by(*order).limit(1)
    ).first()
    if first is None:
        return []
    alone = first.crashes >= ALONE_AFTER
    if alone and in_hand:
        return []  # It is claimed next, once this process has settled the others.
    choice = m.id == first.id if alone else m.crashes < ALONE_AFTER
    waiting = connection.execute(
        select(m.id, m.size_bytes)
        .where(due, choice)
        .order_by(*order)
        .limit(1 if alone else limit)
        .with_for_update(skip_locked=True)
    )
    sizes = {row.id: row.size_bytes for row in waiting}
    taking = (
        update(schema.messages)
        .values(
            state=next_state(State.QUEUED, Event.CLAIM).value,
            attempts=m.attempts + 1,
            alone=true() if alone else false(),
            lease_owner=str(owner),
            lease_until=until,
            claimed_at=now,
        )
        .returning(schema.messages)
    )
    rows = [
        row
        for part in chunks(_fitting(sizes, max_bytes))
        for row in connection.execute(taking.where(m.id.in_(part)))
    ]
    return [
        _claimed(row) for row in sorted(rows, key=lambda r: (r.next_attempt_at, r.id))
    ]


def _fitting(sizes: Mapping[str, int], max_bytes: int) -> list[str]:
    """Return the first ids whose bytes fit together, one at least."""
    ids: list[str] = []
    for message_id, size in sizes.items():
        max_bytes -= size
        if ids and max_bytes < 0:
            break
        ids.append(message_id)
    return ids


def _possible(event: Event, ids: Sequence[str]) -> ColumnElement[bool]:
    """Return the condition that an event is possible for one of these messages.

    Mail for postmaster, which is never logged, is not requeued.
    """
    fits = and_(m.id.in_(ids), m.state.in_([one.value for one in sources(event)]))
    return and_(fits, m.user_id.is_not(None)) if event is Event.REQUEUE else fits


def _claimed(row: Row[Any]) -> Claimed:
    return Claimed(
        id=row.id,
        attempt=row.attempts,
        user_id=row.user_id,
        rcpt=row.rcpt,
        received_at=moment(row.received_at),
        waiting_since=moment(row.renewed_at or row.received_at),
        mail_from=row.mail_from,
        mail_id=row.mail_id,
        blob_id=row.blob_id,
        size_bytes=row.size_bytes,
        failures=row.failures,
        alone=row.alone,
        failing_since=maybe_moment(failing_since(row)),
        # Doors without an envelope, such as HTTP, have no HELO either.
        null_sender=not row.mail_from and bool(row.helo),
        part=row.part,
    )


def _expire(connection: Connection, now: int) -> None:
    """End leases that have run out, of whatever owner."""
    _crash(connection, now, m.lease_until < now)


def _crash(connection: Connection, now: int, which: Any) -> int:
    """End the claims of workers that are gone; return of how many messages."""
    rows = connection.execute(
        select(schema.messages)
        .where(m.state == State.CLAIMED, which)
        .order_by(m.id)
        .with_for_update(skip_locked=True)
    ).all()
    if not rows:
        return 0
    changes, records = [], []
    for row in rows:
        lone = row.lone_crashes + (1 if row.alone else 0)
        event = Event.EXHAUSTED if lone >= LONE_CRASHES else Event.LEASE_EXPIRED
        state = next_state(State.CLAIMED, event)
        if event is Event.EXHAUSTED:
            detail = f"the relay stopped {lone} times while it had this mail alone"
        else:
            detail = "the worker stopped, or took longer than its lease"
        changes.append(
            {
                "the_id": row.id,
                "state": state.value,
                "reason": event.value,
                "detail": detail,
                "crashes": row.crashes + 1,
                "lone_crashes": lone,
            }
        )
        records.append(
            attempt_record(row, now, event, state, reason=event.value, detail=detail)
        )
    connection.execute(
        update(schema.messages)
        .where(m.id == bindparam("the_id"))
        .values(
            state=bindparam("state"),
            reason=bindparam("reason"),
            detail=bindparam("detail"),
            crashes=bindparam("crashes"),
            lone_crashes=bindparam("lone_crashes"),
            # No worker tried since it was due: a machine may have been off for days.
            failing_since=m.failing_since + (now - m.next_attempt_at),
            next_attempt_at=now,
            **FREE,
        ),
        changes,
    )
    connection.execute(insert(schema.attempts), records)
    return len(rows)


BY_PEOPLE: Final = frozenset(
    {Event.HOLD, Event.RELEASE, Event.REQUEUE, Event.DISCARD, Event.UNDO}
)
"""Events that a person may ask for; the others belong to a worker's lease."""
CHUNK: Final = 1000
"""Messages of one state that are changed in one transaction."""
DUE_AGAIN: Final = frozenset({Event.RELEASE, Event.REQUEUE})

m = schema.messages.c


def in_state(event: Event, state: State, after: str) -> Select[Any]:
    """Return the query for the next chunk of messages that an event is for, locked."""
    query = select(schema.messages).where(m.state == state, m.id > after)
    if event is Event.REQUEUE:
        query = query.where(m.user_id.is_not(None))
    return query.order_by(m.id).limit(CHUNK).with_for_update()


def rows_of(query: Select[Any], connection: Connection) -> list[Row[Any]]:
    """Run a query of messages."""
    return list(connection.execute(query))


def named(connection: Connection, event: Event, ids: Sequence[str]) -> list[Row[Any]]:
    """Return the named messages, locked.

    Raises:
        NotFound: One of them does not exist.
        IllegalTransition: The event is not one that a person may ask for.
    """
    wanted = list(dict.fromkeys(ids))
    found: dict[str, Row[Any]] = {}
    for part in chunks(wanted):
        query = select(schema.messages).where(m.id.in_(part)).order_by(m.id)
        for row in connection.execute(query.with_for_update()):
            found[row.id] = row
    for message_id in wanted:
        if message_id not in found:
            text = f"there is no message {message_id}"
            raise NotFound(text)
        if event not in BY_PEOPLE:
            raise IllegalTransition(State(found[message_id].state), event)
    return [found[message_id] for message_id in wanted]


def apply_event(
    connection: Connection,
    event: Event,
    rows: list[Row[Any]],
    actor: str,
    now: int,
    *,
    trace: str = "[]",
) -> list[tuple[str, State, State]]:
    """Change messages as a part of a larger edit, with their attempts and the audit.

    `trace` has the steps of what was done for it.

    Raises:
        IllegalTransition: One of them cannot take the event.
    """
    changed = change_state(connection, event, rows, actor, now, trace=trace)
    if changed:
        subject = changed[0][0] if len(changed) == 1 else f"{len(changed)} messages"
        write_audit(
            connection, now, actor, f"message_{event.value}", (subject, None, None)
        )
    return changed


def change_state(
    connection: Connection,
    event: Event,
    rows: list[Row[Any]],
    actor: str,
    now: int,
    *,
    trace: str = "[]",
) -> list[tuple[str, State, State]]:
    """Change messages as a person asked, with their attempts; the audit is left out.

    Raises:
        IllegalTransition: One of them cannot take the event.
    """
    changed: list[tuple[str, State, State]] = []
    records: list[dict[str, Any]] = []
    for row in rows:
        old = State(row.state)
        new = next_state(old, event)
        changed.append((row.id, old, new))
        records.append(attempt_record(row, now, event, new, actor=actor, trace=trace))
    values: dict[str, Any] = {"reason": event.value, "detail": f"by {actor}"}
    if event in DUE_AGAIN:
        values |= {
            "reason": "",
            "detail": "",
            "next_attempt_at": now,
            "renewed_at": now,
            "failing_since": None,
            "failures": 0,
            "crashes": 0,
            "lone_crashes": 0,
        }
    for state in {new for _, _, new in changed}:
        for part in chunks(i for i, _, new in changed if new is state):
            connection.execute(
                update(schema.messages)
                .where(m.id.in_(part))
                .values(state=state.value, **values)
            )
    if records:
        connection.execute(insert(schema.attempts), records)
    return changed
