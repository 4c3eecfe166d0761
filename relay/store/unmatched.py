"""What did not match: listings, its people, what was searched, and what was decided.

`unmatched_people` has an indexed row for each person without a record of each unmatched
message: records that appear later are compared with it, whatever the number of mails.
A row is written with the settlement and may outlive the state, so that every query here
asks for the state as well. Messages of an older relay have none; their people stand in
the sentence of the settlement, and are filled in before they are needed (`fill`).
"""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from relay.core.addresses import address_key
from relay.core.errors import Conflict, NotFound
from relay.core.model import Person, Place, Resolution
from relay.core.states import ActivityState, Event, State
from relay.core.unmatched import MadeRecord, SearchHit, UnmatchedMessage
from relay.store import schema
from relay.store.context import Part
from relay.store.edits import edit_directory, read_aliases, write_audit
from relay.store.queue import apply_event
from relay.store.settlement import write_people
from relay.store.values import (
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
    from collections.abc import Collection, Mapping, Sequence

    from sqlalchemy import Connection, Row, Select

    from relay.core.model import Json
    from relay.core.unmatched import Alias, UnmatchedFilter
    from relay.store.edits import Edit

NO_RECORD: Final = "no_record"
"""The reason of a message that was looked up and has no record."""
_FILLED: Final = "unmatched.filled"
_FILL: Final = 500
"""Older messages that one transaction fills in."""
_SENTENCE: Final = re.compile(r"(?:address(?:es)?): (.*)", re.DOTALL)
_KEEP_SEARCHES_S: Final = 7 * 86_400

m = schema.messages.c
p = schema.unmatched_people.c


class Unmatched(Part):
    """Operations on unmatched messages, their people and searches for them."""

    # ------------------------------------------------------------ listings

    async def find(self, wanted: UnmatchedFilter) -> list[UnmatchedMessage]:
        """Return unmatched messages that fit, the newest first, with their people."""
        await self.fill()
        return await self._context.read(lambda c: _find(c, wanted))

    async def count(self, wanted: UnmatchedFilter) -> int:
        """Return how many fit; `limit` is left out of account."""
        await self.fill()
        query = select(func.count()).select_from(_fitting(wanted).subquery())
        return await self._context.read(lambda c: int(c.scalar(query) or 0))

    async def get(self, ids: Collection[str]) -> list[UnmatchedMessage]:
        """Return those of these messages that are unmatched, the newest first."""
        await self.fill()

        def work(connection: Connection) -> list[UnmatchedMessage]:
            found: list[UnmatchedMessage] = []
            for part in chunks(sorted(ids)):
                query = _messages().where(m.id.in_(part), m.state == State.UNMATCHED)
                found += _read(connection, query.order_by(m.id.desc()))
            return found

        return await self._context.read(work)

    async def fill(self) -> int:
        """Fill in the people of messages that an older relay left; return how many.

        Done once: what this relay settles has its people from the start.
        """
        done = await self._context.read(_filled)
        count = 0
        while done is not True:
            done, part = await self._context.write(_fill)
            count += part
        return count

    # ------------------------------------------------------------ decisions

    async def resolve(
        self,
        ids: Collection[str],
        records: Sequence[Resolution],
        actor: str,
        *,
        remember: Mapping[str, Resolution] | None = None,
    ) -> list[str]:
        """Have mails logged on records that a person chose; return the requeued ids.

        Decision, remembered addresses and requeue are one transaction: a crash leaves
        all or nothing, and the worker goes on from there. Copies of the mails that are
        unmatched as well come along. To choose a record again changes nothing.

        Args:
            ids: Messages that are unmatched.
            records: On which their mails are wanted.
            actor: Who chose.
            remember: By address key, the record that it belongs to from now on.

        Raises:
            Conflict: One of the messages is not unmatched; nothing was changed.
        """

        def work(edit: Edit) -> list[str]:
            rows = _locked(edit.connection, ids)
            mails = sorted({row.mail_id for row in rows if row.mail_id is not None})
            added = [
                number
                for mail_id in mails
                for one in records
                if (number := _add(edit, mail_id, one)) is not None
            ]
            kept = [_remember(edit, key, one) for key, one in (remember or {}).items()]
            apply_event(edit.connection, Event.REQUEUE, rows, actor, edit.now)
            subject = rows[0].id if len(rows) == 1 else f"{len(rows)} messages"
            new = {
                "records": [f"{one.object} {one.record_id}" for one in records],
                "mails": mails,
                "resolutions": added,
                "remembered": [key for key, _ in kept],
            }
            old = {key: before for key, before in kept if before}
            edit.done("unmatched_resolve", subject, old or None, new)
            return [row.id for row in rows]

        done = await edit_directory(self._context, actor, work)
        self._context.ring()
        return done

    async def requeue(
        self, ids: Collection[str], actor: str, *, delay_s: float = 0.0
    ) -> list[str]:
        """Have those of the messages matched anew that are still unmatched.

        `delay_s` gives running relays the time to read an edit on which it depends.
        """
        now = self._context.now()
        due = now + int(delay_s * SECOND)

        def work(connection: Connection) -> list[str]:
            rows: list[Row[Any]] = []
            for part in chunks(sorted(set(ids))):
                query = select(schema.messages).where(
                    m.id.in_(part), m.state == State.UNMATCHED
                )
                rows += connection.execute(query.order_by(m.id).with_for_update()).all()
            apply_event(connection, Event.REQUEUE, rows, actor, now)
            for part in chunks(row.id for row in rows if delay_s):
                connection.execute(
                    update(schema.messages)
                    .where(m.id.in_(part))
                    .values(next_attempt_at=due)
                )
            return [row.id for row in rows]

        done = await self._context.write(work)
        if done:
            self._context.ring()
        return done

    async def ids_by_addresses(self, keys: Collection[str]) -> list[str]:
        """Return the unmatched messages in which one of these people takes part."""
        await self.fill()

        def work(connection: Connection) -> list[str]:
            found: set[str] = set()
            for part in chunks(sorted(set(keys))):
                query = (
                    select(p.message_id)
                    .join(schema.messages, m.id == p.message_id)
                    .where(p.key.in_(part), m.state == State.UNMATCHED)
                )
                found.update(connection.scalars(query))
            return sorted(found)

        return await self._context.read(work)

    async def aliases(self) -> list[Alias]:
        """Return the remembered addresses of records, by address."""
        return list((await self._context.read(read_aliases)).values())

    async def forget_alias(self, key: str, actor: str) -> None:
        """Let an address belong to no record any more.

        Raises:
            NotFound: It belongs to none.
        """

        def work(edit: Edit) -> None:
            before = edit.alias(key)
            if before is None:
                problem = f"no record is remembered for {key!r}"
                raise NotFound(problem)
            edit.set_alias(key, None)
            edit.done("alias_remove", key, before, None)

        await edit_directory(self._context, actor, work)

    # ------------------------------------------------------------ new records

    async def made(self, key: str) -> MadeRecord | None:
        """Return what is known of the record that was made for an address."""
        return await self._context.read(lambda c: _made(c, key))

    async def mark_making(
        self, wanted: MadeRecord, known: MadeRecord | None, actor: str
    ) -> bool:
        """Commit a record as *sent* before its request leaves.

        Args:
            wanted: What is about to be created; its key is unique for ever.
            known: The row as it was read; None: there was none.
            actor: Who asked for it.

        Returns:
            False where somebody else was faster: nothing may be sent.
        """
        now = self._context.now()
        n = schema.made_records.c
        values = {
            "object": wanted.object,
            "fields": dump(dict(wanted.fields)),
            "state": ActivityState.SENT.value,
            "sent_at": now,
            "salesforce_id": None,
            "error": "",
            "actor": actor,
        }

        def work(connection: Connection) -> bool:
            if known is None:
                make = sqlite if connection.dialect.name == "sqlite" else postgresql
                new = make.insert(schema.made_records).values(
                    key=wanted.key, address=wanted.address, created_at=now, **values
                )
                added = new.on_conflict_do_nothing().returning(n.key)
                return connection.scalar(added) is not None
            before = None if known.sent_at is None else stamp(known.sent_at)
            again = (
                update(schema.made_records)
                .where(n.key == wanted.key, n.state == known.state.value)
                .where(n.sent_at.is_not_distinct_from(before))
                .values(values)
                .returning(n.key)
            )
            return connection.scalar(again) is not None

        return await self._context.write(work)

    async def end_making(
        self, key: str, state: ActivityState, salesforce_id: str | None, error: str
    ) -> None:
        """Write down what became of a record that was sent."""
        n = schema.made_records.c
        now = self._context.now()

        def work(connection: Connection) -> None:
            row = connection.execute(
                update(schema.made_records)
                .where(n.key == key, n.state == ActivityState.SENT.value)
                .values(
                    state=state.value, salesforce_id=salesforce_id, error=text(error)
                )
                .returning(n.object, n.address, n.actor)
            ).first()
            if row is not None and state is ActivityState.WRITTEN:
                new = {"object": row.object, "id": salesforce_id}
                change = (row.address, None, new)
                write_audit(connection, now, row.actor, "record_create", change)

        await self._context.write(work)

    # ------------------------------------------------------------ searches

    async def searched(
        self, people: Collection[Person], max_age_s: float
    ) -> dict[str, tuple[SearchHit, ...]]:
        """Return what was found near these people, by address key.

        Whoever was looked for under another display name, or longer ago, is left out.
        """
        since = self._context.now() - int(max_age_s * SECOND)
        s = schema.searches.c
        names = {one.key: one.name for one in people}

        def work(connection: Connection) -> dict[str, tuple[SearchHit, ...]]:
            found = {}
            for part in chunks(sorted(names)):
                query = select(schema.searches).where(s.key.in_(part), s.at >= since)
                for row in connection.execute(query):
                    if row.name == names[row.key]:
                        hits = tuple(SearchHit(**one) for one in load(row.hits))
                        found[row.key] = hits
            return found

        return await self._context.read(work)

    async def keep_search(self, found: Mapping[Person, Sequence[SearchHit]]) -> None:
        """Remember what was found near people; older searches are dropped."""
        now = self._context.now()
        s = schema.searches.c

        def work(connection: Connection) -> None:
            old = now - _KEEP_SEARCHES_S * SECOND
            connection.execute(delete(schema.searches).where(s.at < old))
            for person, hits in sorted(found.items(), key=lambda one: one[0].key):
                connection.execute(delete(schema.searches).where(s.key == person.key))
                connection.execute(
                    insert(schema.searches).values(
                        key=person.key,
                        name=person.name,
                        at=now,
                        hits=dump([asdict(hit) for hit in hits]),
                    )
                )

        await self._context.write(work)


# ------------------------------------------------------------------ decisions


def _add(edit: Edit, mail_id: int, one: Resolution) -> int | None:
    """Keep a choice for a mail; None: it was made before."""
    r = schema.resolutions.c
    known = select(r.id).where(r.mail_id == mail_id, r.record_id == one.record_id)
    if edit.connection.scalar(known) is not None:
        return None
    new = insert(schema.resolutions).values(
        mail_id=mail_id,
        record_id=one.record_id,
        object=one.object,
        name=text(one.name),
        key=text(one.key),
        actor=one.actor,
        at=edit.now,
    )
    return int(edit.connection.scalar(new.returning(r.id)) or 0)


def _remember(edit: Edit, key: str, one: Resolution) -> tuple[str, Json]:
    """Let an address belong to a record; return it with what it belonged to before."""
    before = edit.alias(key)
    edit.set_alias(key, [one.record_id, one.object, text(one.name)])
    return key, before


def _made(connection: Connection, key: str) -> MadeRecord | None:
    n = schema.made_records.c
    query = select(schema.made_records).where(n.key == key)
    row = connection.execute(query).first()
    if row is None:
        return None
    return MadeRecord(
        row.key,
        row.address,
        row.object,
        load(row.fields),
        ActivityState(row.state),
        row.salesforce_id,
        maybe_moment(row.sent_at),
        row.error,
    )


def resolutions_of(
    connection: Connection, mail_ids: Collection[int]
) -> dict[int, tuple[Resolution, ...]]:
    """Return on which records people want mails, in the order of their choice."""
    r = schema.resolutions.c
    found: dict[int, tuple[Resolution, ...]] = {}
    for part in chunks(sorted(mail_ids)):
        query = select(schema.resolutions).where(r.mail_id.in_(part)).order_by(r.id)
        for row in connection.execute(query):
            one = Resolution(row.record_id, row.object, row.name, row.actor, row.key)
            found[row.mail_id] = (*found.get(row.mail_id, ()), one)
    return found


def _locked(connection: Connection, ids: Collection[str]) -> list[Row[Any]]:
    """Return messages and their copies that are unmatched, locked.

    Raises:
        Conflict: One of them is not unmatched any more; nothing is to be changed.
    """
    wanted = sorted(set(ids))
    rows: dict[str, Row[Any]] = {}
    for part in chunks(wanted):
        query = select(schema.messages).where(m.id.in_(part)).order_by(m.id)
        for row in connection.execute(query.with_for_update()):
            rows[row.id] = row
    for ident in wanted:
        if ident not in rows or rows[ident].state != State.UNMATCHED:
            state = rows[ident].state if ident in rows else "unknown"
            problem = f"{ident} is {state} by now, not unmatched; nothing was changed"
            raise Conflict(problem)
    mails = sorted({row.mail_id for row in rows.values() if row.mail_id is not None})
    for part in chunks(mails):
        query = select(schema.messages).where(
            m.mail_id.in_(part), m.state == State.UNMATCHED
        )
        for row in connection.execute(query.order_by(m.id).with_for_update()):
            rows[row.id] = row
    return [rows[ident] for ident in sorted(rows)]


# ------------------------------------------------------------------ reading


def _messages() -> Select[Any]:
    return select(
        m.id,
        m.received_at,
        m.user_id,
        schema.users.c.email,
        m.header_from,
        m.subject,
        m.reason,
        m.detail,
        m.mail_id,
        m.blob_id,
    ).outerjoin(schema.users, schema.users.c.id == m.user_id)


def _fitting(wanted: UnmatchedFilter) -> Select[Any]:
    query = _messages().where(m.state == State.UNMATCHED)
    if wanted.user_id is not None:
        query = query.where(m.user_id == wanted.user_id)
    if wanted.reason is not None:
        query = query.where(m.reason == wanted.reason)
    if wanted.since is not None:
        query = query.where(m.received_at >= stamp(wanted.since))
    if wanted.before_id is not None:
        query = query.where(m.id < wanted.before_id)
    person = select(p.message_id).where(p.message_id == m.id)
    if wanted.address is not None:
        query = query.where(person.where(p.key == wanted.address).exists())
    if wanted.domain is not None:
        ends = p.key.endswith(f"@{wanted.domain}", autoescape=True)
        query = query.where(person.where(ends).exists())
    return query


def _find(connection: Connection, wanted: UnmatchedFilter) -> list[UnmatchedMessage]:
    query = _fitting(wanted).order_by(m.id.desc())
    return _read(connection, query.limit(wanted.limit))


def _read(connection: Connection, query: Select[Any]) -> list[UnmatchedMessage]:
    rows = connection.execute(query).all()
    people: dict[str, list[Person]] = {}
    for part in chunks([row.id for row in rows]):
        of_them = select(schema.unmatched_people).where(p.message_id.in_(part))
        for row in connection.execute(of_them.order_by(p.place.desc(), p.key)):
            person = Person(row.key, row.address, row.name, Place(row.place))
            people.setdefault(row.message_id, []).append(person)
    return [
        UnmatchedMessage(
            row.id,
            moment(row.received_at),
            row.user_id,
            row.email or "",
            row.header_from,
            row.subject,
            row.reason,
            row.detail,
            row.mail_id,
            row.blob_id,
            tuple(people.get(row.id, ())),
        )
        for row in rows
    ]


# ------------------------------------------------------------------ older messages


def _filled(connection: Connection) -> Any:
    query = select(schema.notes.c.value).where(schema.notes.c.key == _FILLED)
    value = connection.scalar(query)
    return "" if value is None else load(value)


def _fill(connection: Connection) -> tuple[Any, int]:
    """Fill in the next messages; return how far it is (True: done) and how many."""
    after = _filled(connection)
    if after is True:
        return True, 0
    there = select(p.message_id).where(p.message_id == m.id).exists()
    rows = connection.execute(
        select(m.id, m.detail)
        .where(m.state == State.UNMATCHED, m.reason == NO_RECORD, m.id > after, ~there)
        .order_by(m.id)
        .limit(_FILL)
    ).all()
    people = {row.id: people_said(row.detail) for row in rows}
    write_people(connection, people)
    done: Any = rows[-1].id if len(rows) == _FILL else True
    replace_value(connection, schema.notes, _FILLED, done)
    return done, sum(1 for some in people.values() if some)


def people_said(detail: str) -> tuple[Person, ...]:
    """Return the people whose addresses end the sentence of a settlement."""
    found = _SENTENCE.search(detail)
    addresses = found[1].split(", ") if found else []
    return tuple(
        Person(key, address, "", Place.TO)
        for address in addresses
        if (key := address_key(address))
    )
