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

from sqlalchemy import delete, func, insert, select

from relay.core.addresses import address_key
from relay.core.model import Person, Place
from relay.core.states import State
from relay.core.unmatched import SearchHit, UnmatchedMessage
from relay.store import schema
from relay.store.context import Part
from relay.store.settlement import write_people
from relay.store.values import SECOND, chunks, dump, load, moment, replace_value, stamp

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sqlalchemy import Connection, Select

    from relay.core.unmatched import UnmatchedFilter

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
