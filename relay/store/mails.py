"""Mails: which messages are copies of one mail, and which worker has it.

A mail is one content with all its copies; it has at most one worker at a time, and
that lease is what guards its rows in the ledger (`relay.store.ledger`). Two relays may
join copies of one mail at the same time: its keys are unique, so that one row is made.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, select, update
from sqlalchemy.dialects import postgresql, sqlite

from relay.core.model import MailState
from relay.store import schema
from relay.store.context import Part
from relay.store.ledger import activity_of
from relay.store.settlement import messages_leased
from relay.store.values import chunks, text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from relay.core.model import Activity
    from relay.core.queue import LeaseOwner

m = schema.messages.c
mails = schema.mails
activities = schema.activities

Copy = tuple[str, str, str, str]
"""Message id, key 1, key 2, RFC Message-ID."""


class Mails(Part):
    """Assigning messages to mails."""

    async def join(
        self, owner: LeaseOwner, copies: Sequence[Copy]
    ) -> dict[str, MailState]:
        """Assign each leased message its mail, and take the mails' leases.

        A mail with equal key 1, else one with equal key 2, is the same mail; else it is
        new. A message that has a mail keeps it. A mail leased by another live worker
        comes back with `leased` False. Messages that `owner` does not lease any more
        are left out.

        Raises:
            StoreUnavailable: Nothing was changed.
        """
        name, now = str(owner), self._context.now()
        return await self._context.write(lambda c: _join(c, name, copies, now))

    async def find(self, key1: str, key2: str) -> MailState | None:
        """Return the mail that a copy with these keys would join; None: it is new.

        Nothing is leased, and nothing changed: `leased` says nothing here.

        Raises:
            StoreUnavailable: The store cannot be read.
        """
        return await self._context.read(lambda c: _find(c, key1, key2))


def _join(
    connection: Connection, owner: str, copies: Sequence[Copy], now: int
) -> dict[str, MailState]:
    leased = messages_leased(connection, owner, [copy[0] for copy in copies])
    known = {i: row.mail_id for i, row in leased.items() if row.mail_id is not None}
    new = [copy for copy in copies if copy[0] in leased and copy[0] not in known]
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
        until[mail_id] = max(until.get(mail_id, 0), leased[message_id].lease_until)
    states = _mail_states(connection, _lease(connection, owner, until, now))
    return {message_id: states[mail_id] for message_id, mail_id in known.items()}


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


def _find(connection: Connection, key1: str, key2: str) -> MailState | None:
    by_key1, by_key2 = _mails_by_keys(connection, [("", key1, key2, "")])
    mail_id = by_key1.get(key1, by_key2.get(key2))
    if mail_id is None:
        return None
    key = connection.execute(
        select(mails.c.key1).where(mails.c.id == mail_id)
    ).scalar_one()
    return _mail_states(connection, {mail_id: (key, False)})[mail_id]


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
