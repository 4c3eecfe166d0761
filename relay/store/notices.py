"""Notices: mails of the relay to its users, planned, leased, sent and remembered.

An event is told once: its key is in `notice_items` for as long as notices are kept. So
the journal may be read again from a little before the last look, and a row that was
committed late is not missed. Events of one kind for one user join the notice that
waits, and after a notice the next one of that kind waits for an interval: however much
happens, a user gets few mails.
"""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, bindparam, delete, func, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from relay.core.errors import NotFound
from relay.core.ids import first_id
from relay.core.notices import (
    NO_ANSWER,
    NoticeCursor,
    NoticeEvent,
    NoticeItem,
    NoticeKind,
    NoticeRow,
)
from relay.core.states import TAKEN_BACK, ActivityState, State
from relay.store import schema
from relay.store.context import Part
from relay.store.edits import write_audit
from relay.store.row_leases import release_dead, take_due
from relay.store.sender import BY_HAND
from relay.store.values import (
    EPOCH,
    SECOND,
    chunks,
    dump,
    load,
    maybe_moment,
    moment,
    replace_value,
    stamp,
    text,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Row

    from relay.core.model import Json
    from relay.core.notices import NoticeDraft, NoticeUpdate
    from relay.core.queue import LeaseOwner

SHOWN_ITEMS: Final = 20
"""Events that a notice names one by one; the others are counted."""
_READ: Final = 1000
"""Attempts, refusals and held messages that are read at a time."""
_OVERLAP: Final = 200
"""Attempts read again: on PostgreSQL a lower number may be committed later."""
_OVERLAP_S: Final = 60.0
"""The same for what goes by time; longer than a commit may take."""
_CURSOR: Final = "notices.seen"
_KINDS: Final = {
    State.UNMATCHED.value: NoticeKind.UNMATCHED,
    State.DEAD.value: NoticeKind.FAILED,
    State.LOGGED.value: NoticeKind.LOGGED,
}
_RANDOM_BITS: Final = 80

n, i = schema.notices.c, schema.notice_items.c
m, a, r = schema.messages.c, schema.attempts.c, schema.refusals.c


class Notices(Part):
    """The notices of all users: planning, sending, listing."""

    # ------------------------------------------------------------ what happened

    async def cursor(self) -> NoticeCursor | None:
        """Return up to where the journal was read; None: it never was."""
        query = select(schema.notes.c.value).where(schema.notes.c.key == _CURSOR)
        value = await self._context.read(lambda c: c.scalar(query))
        if value is None:
            return None
        attempt, at, begun = load(value)
        return NoticeCursor(attempt, moment(at), moment(begun))

    async def end(self) -> NoticeCursor:
        """Return the present end of the journal."""
        newest = await self._context.read(lambda c: c.scalar(select(func.max(a.id))))
        now = self._context.clock.now()
        return NoticeCursor(newest or 0, now, now)

    async def happened(
        self, since: NoticeCursor, *, logged: Collection[int] = ()
    ) -> tuple[list[NoticeEvent], NoticeCursor]:
        """Return what happened to mails of users, and up to where that was read.

        Args:
            since: From where to read; some events of before come again.
            logged: Users who want to hear of each logged mail.
        """
        now = self._context.clock.now()
        floor = first_id(since.at - timedelta(seconds=_OVERLAP_S))

        def read(connection: Connection) -> tuple[list[NoticeEvent], NoticeCursor]:
            attempts = _attempts(connection, since.attempt - _OVERLAP)
            newest = max([since.attempt, *(row.id for row in attempts)])
            refused, held = _refused(connection, floor), _held(connection, floor)
            events = [
                event
                for row in attempts
                if (event := _of_attempt(row, logged)) is not None
            ]
            # What did not fit is read next time, from the last that did: with the
            # overlap, for else the same rows would be read again and again.
            cut = [rows[-1].id for rows in (refused, held) if len(rows) == _READ]
            overlap = timedelta(seconds=_OVERLAP_S)
            at = min([now, *(_time_of(one) + overlap for one in cut)])
            events += [_of_refusal(row) for row in refused]
            events += [_of_held(row) for row in held]
            told = [one for one in events if one.item.at >= since.begun]
            return told, NoticeCursor(newest, at, since.begun)

        return await self._context.read(read)

    async def digest(self, user_id: int, since: datetime) -> dict[str, int]:
        """Return what became of a user's mail since a time: counts by state.

        `refused` counts refusals; a message counts under the state that it has now.
        """
        floor = first_id(since)
        states = (
            select(m.state, func.count())
            .where(m.user_id == user_id, m.id >= floor)
            .group_by(m.state)
        )
        refused = select(func.coalesce(func.sum(r.times), 0)).where(
            r.user_id == user_id, r.id >= floor, no_probe()
        )

        def read(connection: Connection) -> dict[str, int]:
            found = {row[0]: int(row[1]) for row in connection.execute(states)}
            count = int(connection.scalar(refused) or 0)
            return found | ({"refused": count} if count else {})

        return await self._context.read(read)

    # ------------------------------------------------------------ planning

    async def plan(
        self,
        drafts: Sequence[NoticeDraft],
        seen: NoticeCursor,
        *,
        gather_s: float,
        interval_s: float,
    ) -> int:
        """Plan notices of events, and remember up to where the journal was read.

        Events that were told before are left out. All is one transaction: after a crash
        the journal is read again from before.

        Args:
            drafts: One for each user and kind, with its events.
            seen: What `happened` returned.
            gather_s: How long a new notice waits for further events.
            interval_s: Time between two notices of one kind to one user.

        Returns:
            How many events are new.
        """
        now = self._context.now()

        def work(connection: Connection) -> int:
            value = [seen.attempt, stamp(seen.at), stamp(seen.begun)]
            replace_value(connection, schema.notes, _CURSOR, value)
            return sum(
                _join(connection, draft, now, gather_s, interval_s) for draft in drafts
            )

        return await self._context.write(work)

    async def add(self, key: str, draft: NoticeDraft) -> bool:
        """Plan one notice under a key of its own, due at once; False: it is there."""
        now = self._context.now()

        def work(connection: Connection) -> bool:
            return plan_one(connection, key, draft, now)

        return await self._context.write(work)

    # ------------------------------------------------------------ sending

    async def claim(
        self, owner: LeaseOwner, limit: int, lease_s: float
    ) -> list[NoticeRow]:
        """Take notices that are due, the longest due first.

        A claim whose answer was lost ends with its lease.
        """
        now = self._context.now()
        until = now + int(lease_s * SECOND)

        def work(connection: Connection) -> list[NoticeRow]:
            table = schema.notices
            ids = take_due(connection, table, owner, now=now, until=until, limit=limit)
            return _rows(connection, n.id.in_(ids))

        return await self._context.write(work)

    async def settle(self, owner: LeaseOwner, updates: Sequence[NoticeUpdate]) -> None:
        """Write down what became of leased notices; their leases end.

        A notice that another process has leased meanwhile is left to it, unless it was
        written: what the smarthost has is not sent again.
        """
        now = self._context.now()

        def work(connection: Connection) -> None:
            for change in updates:
                written = change.state is ActivityState.WRITTEN
                waits = change.state is ActivityState.PLANNED
                values: dict[str, Any] = {
                    "state": change.state.value,
                    "error": text(change.error),
                    "due_at": stamp(change.due_at) if change.due_at else None,
                    "lease_owner": None,
                    "lease_until": None,
                }
                if written:
                    # A code is a secret: it is not kept once it is out.
                    values |= {"written_at": now, "facts": "{}", "failing_since": None}
                elif waits:
                    since = func.coalesce(n.failing_since, now)
                    values |= {"failures": n.failures + 1, "failing_since": since}
                which = n.key == change.key
                if not written:
                    which = and_(which, n.lease_owner == str(owner))
                connection.execute(update(schema.notices).where(which).values(values))

        await self._context.write(work)

    async def release_dead(
        self, owner: LeaseOwner, is_alive: Callable[[str], bool]
    ) -> None:
        """End the leases of dead processes of this host."""
        await release_dead(self._context, schema.notices, owner, is_alive)

    # ------------------------------------------------------------ people

    async def find(
        self, state: ActivityState | None = None, limit: int = 50
    ) -> list[NoticeRow]:
        """Return the latest notices, oldest first."""
        newest = select(n.id).order_by(n.id.desc()).limit(limit)
        if state is not None:
            newest = newest.where(n.state == state.value)
        return await self._context.read(
            lambda c: _rows(c, n.id.in_(newest.scalar_subquery()))
        )

    async def retry(self, ids: Collection[int] | None, actor: str) -> list[int]:
        """Send refused notices, and those that wait, at once; return their numbers.

        Raises:
            NotFound: One of `ids` is no notice; nothing was changed.
        """
        now = self._context.now()
        open_ones = n.state != ActivityState.WRITTEN.value

        def work(connection: Connection) -> list[int]:
            if ids is not None:
                known = set(connection.scalars(select(n.id).where(n.id.in_(ids))))
                if lost := set(ids) - known:
                    problem = (
                        f"there is no notice {min(lost)}; `relay notices list` shows "
                        "all"
                    )
                    raise NotFound(problem)
            which = open_ones if ids is None else and_(open_ones, n.id.in_(ids))
            changed = connection.scalars(
                update(schema.notices)
                .where(which)
                .values(
                    state=ActivityState.PLANNED.value,
                    due_at=now,
                    failures=0,
                    failing_since=None,
                )
                .returning(n.id)
            ).all()
            if changed:
                subject = f"{len(changed)} notices"
                change = (subject, None, None)
                write_audit(connection, now, actor, "notices_retry", change)
            return sorted(changed)

        return await self._context.write(work)

    async def counts(self) -> dict[ActivityState, int]:
        """Return how many notices are in each state."""
        query = select(n.state, func.count()).group_by(n.state)
        rows = await self._context.read(lambda c: c.execute(query).all())
        found = {row[0]: int(row[1]) for row in rows}
        states = (ActivityState.PLANNED, ActivityState.WRITTEN, ActivityState.REFUSED)
        return {state: found.get(state.value, 0) for state in states}

    async def purge(self, keep: timedelta) -> int:
        """Remove notices older than `keep` that need no further attempt."""
        before = stamp(self._context.clock.now() - keep)

        def work(connection: Connection) -> int:
            ended = n.state != ActivityState.PLANNED.value
            ids = connection.scalars(
                select(n.id).where(n.created_at < before, ended).limit(_READ)
            ).all()
            for part in chunks(ids):
                connection.execute(
                    delete(schema.notice_items).where(i.notice_id.in_(part))
                )
                connection.execute(delete(schema.notices).where(n.id.in_(part)))
            return len(ids)

        return await self._context.write(work)


# ------------------------------------------------------------------ events


def _attempts(connection: Connection, after: int) -> Sequence[Any]:
    query = (
        select(
            *(a.id, a.message_id, a.number, a.state, a.reason, a.detail, a.ended_at),
            *(m.user_id, m.header_from, m.header_to, m.subject),
        )
        .join(schema.messages, m.id == a.message_id)
        # What is dead or unmatched again because an act was taken back is no news.
        .where(a.id > after, a.event != TAKEN_BACK)
        .order_by(a.id)
        .limit(_READ)
    )
    return connection.execute(query).all()


def _of_attempt(row: Row[Any], logged: Collection[int]) -> NoticeEvent | None:
    kind = _KINDS.get(row.state)
    if kind is None or row.user_id is None:
        return None
    if kind is NoticeKind.LOGGED and row.user_id not in logged:
        return None
    facts = _mail(row) | {"reason": row.reason, "detail": row.detail}
    item = NoticeItem(f"attempt:{row.id}", moment(row.ended_at), facts)
    return NoticeEvent(kind, row.user_id, item)


def _refused(connection: Connection, floor: str) -> Sequence[Row[Any]]:
    query = (
        select(schema.refusals)
        .where(r.id >= floor, r.user_id.is_not(None), no_probe())
        .order_by(r.id)
        .limit(_READ)
    )
    return connection.execute(query).all()


def _of_refusal(row: Row[Any]) -> NoticeEvent:
    facts = {
        "id": row.id,
        "from": row.header_from,
        "subject": row.subject,
        "reason": row.reason,
        "reply": row.reply,
        "mail_from": row.mail_from,
    }
    item = NoticeItem(f"refusal:{row.id}", moment(row.at), facts)
    return NoticeEvent(NoticeKind.REFUSED, row.user_id, item)


def _held(connection: Connection, floor: str) -> Sequence[Any]:
    query = (
        select(
            *(m.id, m.id.label("message_id"), m.user_id, m.received_at, m.reason),
            *(m.detail, m.header_from, m.header_to, m.subject, m.verdict),
        )
        .where(
            m.state == State.HELD.value,
            m.id >= floor,
            m.user_id.is_not(None),
            # What a person held by hand is no news to people.
            m.reason.not_in(BY_HAND),
        )
        .order_by(m.id)
        .limit(_READ)
    )
    return connection.execute(query).all()


def _of_held(row: Row[Any]) -> NoticeEvent:
    verdict = load(row.verdict) if row.verdict and not row.detail else {}
    known = ("cause", "text", "address", "detail")
    facts = _mail(row) | {
        "reason": row.reason,
        "detail": row.detail or verdict.get("text", ""),
        # For the letter, which says it in the user's language.
        "verdict": {name: verdict[name] for name in known if name in verdict},
    }
    item = NoticeItem(f"held:{row.message_id}", moment(row.received_at), facts)
    return NoticeEvent(NoticeKind.HELD, row.user_id, item)


def _mail(row: Row[Any]) -> dict[str, Json]:
    return {
        "id": row.message_id,
        "from": row.header_from,
        "to": row.header_to,
        "subject": row.subject,
    }


def no_probe() -> Any:
    """Leave out what a session of `relay check` asked for."""
    return or_(r.bucket.is_(None), r.bucket.not_like("probe|%"))


def _time_of(ident: str) -> datetime:
    """Return the time that an id of a message or refusal holds."""
    number = 0
    for character in ident:
        number = number << 5 | "0123456789abcdefghjkmnpqrstvwxyz".index(character)
    return EPOCH + timedelta(milliseconds=number >> _RANDOM_BITS)


# ------------------------------------------------------------------ rows


def plan_one(connection: Connection, key: str, draft: NoticeDraft, now: int) -> bool:
    """Plan a notice in an open transaction, due at once; False: it is there."""
    made = _make(connection).insert(schema.notices)
    new = made.values(_values(draft, key, now, now)).on_conflict_do_nothing()
    return connection.scalar(new.returning(n.id)) is not None


def _join(
    connection: Connection,
    draft: NoticeDraft,
    now: int,
    gather_s: float,
    interval_s: float,
) -> int:
    """Put the new events of a draft into a notice that waits, or into a new one."""
    keys = {item.key: item for item in draft.items}
    for part in chunks(sorted(keys)):
        for known in connection.scalars(select(i.key).where(i.key.in_(part))).all():
            del keys[known]
    if not keys:
        return 0
    same = and_(n.user_id == draft.user_id, n.kind == draft.kind.value)
    free = or_(n.lease_until.is_(None), n.lease_until < now)
    waiting = connection.scalar(
        select(n.id)
        .where(
            same,
            n.state == ActivityState.PLANNED.value,
            free,
            # A notice that may be out already is sent again as it was.
            n.error.not_like(f"{NO_ANSWER}%"),
        )
        .order_by(n.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    if waiting is None:
        last = connection.scalar(select(func.max(n.written_at)).where(same)) or 0
        due = max(now + int(gather_s * SECOND), last + int(interval_s * SECOND))
        values = _values(draft, f"{draft.kind}-{secrets.token_hex(8)}", now, due)
        made = insert(schema.notices).values(values).returning(n.id)
        waiting = connection.execute(made).scalar_one()
    make = _make(connection).insert(schema.notice_items).on_conflict_do_nothing()
    connection.execute(
        make,
        [
            {
                "key": item.key,
                "notice_id": waiting,
                "at": stamp(item.at),
                "facts": dump(item.facts),
            }
            for item in keys.values()
        ],
    )
    return len(keys)


def _values(draft: NoticeDraft, key: str, now: int, due: int) -> dict[str, Any]:
    return {
        "key": key,
        "kind": draft.kind.value,
        "user_id": draft.user_id,
        "recipient": text(draft.recipient),
        "facts": dump(draft.facts),
        "state": ActivityState.PLANNED.value,
        "created_at": now,
        "due_at": due,
    }


def _rows(connection: Connection, which: Any) -> list[NoticeRow]:
    """Return notices with their first events, by number."""
    rows = connection.execute(select(schema.notices).where(which).order_by(n.id)).all()
    ids = [row.id for row in rows]
    counts: dict[int, int] = {}
    items: dict[int, list[NoticeItem]] = {}
    for part in chunks(ids):
        counted = (
            select(i.notice_id, func.count())
            .where(i.notice_id.in_(part))
            .group_by(i.notice_id)
        )
        counts |= {row[0]: int(row[1]) for row in connection.execute(counted)}
    first = (
        select(schema.notice_items)
        .where(i.notice_id == bindparam("notice"))
        .order_by(i.at, i.key)
        .limit(SHOWN_ITEMS)
    )
    for ident in counts:
        items[ident] = [
            NoticeItem(row.key, moment(row.at), load(row.facts))
            for row in connection.execute(first, {"notice": ident})
        ]
    return [
        NoticeRow(
            id=row.id,
            key=row.key,
            kind=NoticeKind(row.kind),
            recipient=row.recipient,
            state=ActivityState(row.state),
            created_at=moment(row.created_at),
            user_id=row.user_id,
            facts=load(row.facts),
            items=tuple(items.get(row.id, ())),
            count=counts.get(row.id, 0),
            due_at=maybe_moment(row.due_at),
            written_at=maybe_moment(row.written_at),
            error=row.error,
            failures=row.failures,
            failing_since=maybe_moment(row.failing_since),
        )
        for row in rows
    ]


def _make(connection: Connection) -> Any:
    return sqlite if connection.dialect.name == "sqlite" else postgresql
