"""Copies of mails to Email to Salesforce: planned, sent once, remembered.

A mail has one copy at most. The mail's lease (`relay.store.mails`) guards its row, as
it guards the ledger: `mark_sent` refuses to let a copy leave without it. What the
smarthost answered is accepted without the lease: it is a fact.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from relay.core.copies import Copied, CopyRow
from relay.core.states import ActivityState
from relay.store import schema
from relay.store.context import Part
from relay.store.reminders import make_or_complete
from relay.store.settlement import settle
from relay.store.values import chunks, maybe_moment, stamp, text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Row

    from relay.core.copies import CopyDraft, CopyUpdate
    from relay.core.queue import LeaseOwner, Settlement

c, mails = schema.copies.c, schema.mails


class Copies(Part):
    """The copies of all mails."""

    async def plan(self, drafts: Sequence[CopyDraft]) -> dict[int, CopyRow]:
        """Plan copies of mails that have none; return the copy of each mail, by mail.

        A copy that is planned or was refused takes the new recipient.

        Raises:
            StoreUnavailable: Nothing was changed.
        """

        def work(connection: Connection) -> dict[int, CopyRow]:
            for one in drafts:
                make = sqlite if connection.dialect.name == "sqlite" else postgresql
                new = make.insert(schema.copies).values(
                    key=one.key,
                    mail_id=one.mail_id,
                    message_id=one.message_id,
                    user_id=one.user_id,
                    recipient=text(one.recipient),
                    state=ActivityState.PLANNED.value,
                )
                connection.execute(new.on_conflict_do_nothing())
                connection.execute(
                    update(schema.copies)
                    .where(c.mail_id == one.mail_id)
                    .where(c.state.in_([ActivityState.PLANNED, ActivityState.REFUSED]))
                    .values(
                        recipient=text(one.recipient),
                        user_id=one.user_id,
                        message_id=one.message_id,
                    )
                )
            return _rows(connection, [one.mail_id for one in drafts])

        return await self._context.write(work)

    async def mark_sent(
        self, owner: LeaseOwner, marks: Mapping[int, int], sent_at: datetime
    ) -> list[CopyRow]:
        """Commit that copies leave now; return those whose mails `owner` still leases.

        Args:
            owner: Who sends them.
            marks: By mail, how often the copy was looked for.
            sent_at: Now.

        Raises:
            StoreUnavailable: No copy may leave.
        """
        name = str(owner)

        def work(connection: Connection) -> list[CopyRow]:
            leased: list[int] = []
            for part in chunks(sorted(marks)):
                query = select(mails.c.id).where(
                    mails.c.id.in_(part), mails.c.lease_owner == name
                )
                leased += connection.scalars(
                    query.order_by(mails.c.id).with_for_update()
                )
            for mail_id in leased:
                connection.execute(
                    update(schema.copies)
                    .where(c.mail_id == mail_id, c.state != ActivityState.WRITTEN)
                    .values(
                        state=ActivityState.SENT.value,
                        sent_at=stamp(sent_at),
                        lookups=marks[mail_id],
                        error="",
                    )
                )
            rows = _rows(connection, leased).values()
            return [row for row in rows if row.state is ActivityState.SENT]

        return await self._context.write(work)

    async def settle(
        self,
        owner: LeaseOwner,
        updates: Sequence[CopyUpdate],
        settlements: Sequence[Settlement],
    ) -> set[str]:
        """Write down what became of copies and of their messages, all or none.

        Settlements of messages that `owner` does not hold under that attempt are left
        out; the ids of the others come back.

        Raises:
            StoreUnavailable: Nothing was changed.
        """
        name, now = str(owner), self._context.now()

        def work(connection: Connection) -> set[str]:
            for one in updates:
                values: dict[str, Any] = {
                    "state": one.state.value,
                    "error": text(one.error),
                }
                if one.state is ActivityState.WRITTEN:
                    values["written_at"] = now
                connection.execute(
                    update(schema.copies)
                    .where(c.key == one.key, c.state == ActivityState.SENT)
                    .values(values)
                )
            settled = settle(connection, name, settlements, now)
            for end in settlements:
                if end.reminder is not None and end.message_id in settled:
                    make_or_complete(connection, self._context.clock, end.reminder)
            return settled

        return await self._context.write(work)

    async def find(self, user_id: int | None = None, limit: int = 50) -> list[CopyRow]:
        """Return the latest copies, of one user or of all, the newest first."""
        query = select(schema.copies).order_by(c.id.desc()).limit(limit)
        if user_id is not None:
            query = query.where(c.user_id == user_id)
        return await self._context.read(
            lambda connection: [_row(row) for row in connection.execute(query)]
        )

    async def counts(self) -> dict[ActivityState, int]:
        """Return how many copies are in each state."""
        query = select(c.state, func.count()).group_by(c.state)
        rows = await self._context.read(lambda conn: conn.execute(query).all())
        return {ActivityState(row[0]): int(row[1]) for row in rows}


def copies_of(connection: Connection, mail_ids: Iterable[int]) -> dict[int, Copied]:
    """Return how far the copies of mails are, by mail, where there is one."""
    found: dict[int, Copied] = {}
    for part in chunks(mail_ids):
        query = select(c.mail_id, c.state, c.sent_at).where(c.mail_id.in_(part))
        for row in connection.execute(query):
            found[row.mail_id] = Copied(
                ActivityState(row.state), maybe_moment(row.sent_at)
            )
    return found


def _rows(connection: Connection, mail_ids: Sequence[int]) -> dict[int, CopyRow]:
    found: dict[int, CopyRow] = {}
    for part in chunks(sorted(mail_ids)):
        query = select(schema.copies).where(c.mail_id.in_(part)).order_by(c.id)
        found |= {row.mail_id: _row(row) for row in connection.execute(query)}
    return found


def _row(row: Row[Any]) -> CopyRow:
    return CopyRow(
        key=row.key,
        mail_id=row.mail_id,
        message_id=row.message_id,
        user_id=row.user_id,
        recipient=row.recipient,
        state=ActivityState(row.state),
        sent_at=maybe_moment(row.sent_at),
        written_at=maybe_moment(row.written_at),
        error=row.error,
        lookups=row.lookups,
    )
