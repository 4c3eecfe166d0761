"""Logged mails whose records are taken out of Salesforce: held, then recorded as gone.

The lease of the mail keeps every worker away from `begin` to `finish`, as it does while
a worker writes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update

from relay.core.errors import Conflict, LeaseLost, NotFound
from relay.core.model import Step
from relay.core.states import ActivityState, Event, State
from relay.store import schema
from relay.store.attachments import file_of, files_on_records
from relay.store.context import Part
from relay.store.ledger import activity_of
from relay.store.queue import apply_event
from relay.store.values import SECOND, chunks, dump_steps, moment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Row

    from relay.core.files import FileRow
    from relay.core.model import Activity
    from relay.core.queue import LeaseOwner

a, f = schema.activities.c, schema.files.c
m, mails = schema.messages.c, schema.mails


@dataclass(frozen=True, slots=True)
class Undoing:
    """A logged mail that is held: its rows that Salesforce has, and its messages.

    `messages` are pairs of the id of a logged message and its user's address.
    """

    mail_id: int
    messages: tuple[tuple[str, str], ...]
    rows: tuple[Activity, ...]
    files: tuple[FileRow, ...]


class Undo(Part):
    """Holding a logged mail, and recording that its records are gone."""

    async def begin(
        self, message_id: str, owner: LeaseOwner, lease_s: float
    ) -> Undoing:
        """Hold the mail of a logged message, and return what Salesforce has of it.

        Raises:
            NotFound: There is no such message.
            Conflict: It is not logged, a worker has its mail or a file of it, or a
                write of it has no known outcome. Nothing is held.
        """
        now = self._context.now()
        until = now + int(lease_s * SECOND)
        return await self._context.write(
            lambda c: _begin(c, message_id, str(owner), now, until)
        )

    async def finish(
        self,
        undoing: Undoing,
        owner: LeaseOwner,
        actor: str,
        *,
        keys: Sequence[str],
        files: Sequence[str],
        lines: Sequence[tuple[str, str]],
    ) -> None:
        """Record that rows are gone, and discard the messages of the mail.

        Args:
            undoing: As `begin` returned it.
            owner: Who holds the mail.
            actor: Who asked for it.
            keys: Rows of records that are not in Salesforce any more.
            files: The same for files.
            lines: Result and detail of each record, for the trace.

        Raises:
            LeaseLost: The mail is not held any more; nothing was changed.
        """
        now = self._context.now()
        steps = [Step(moment(now), "undo", result, text) for result, text in lines]

        def work(connection: Connection) -> None:
            held = select(mails.c.id).where(
                mails.c.id == undoing.mail_id, mails.c.lease_owner == str(owner)
            )
            if connection.scalar(held.with_for_update()) is None:
                raise LeaseLost(frozenset({undoing.mail_id}))
            for part in chunks(sorted(keys)):
                connection.execute(
                    update(schema.activities)
                    .where(a.key.in_(part), a.state == ActivityState.WRITTEN)
                    .values(state=ActivityState.GONE.value, owner_due_at=None)
                )
            for part in chunks(sorted(files)):
                connection.execute(
                    update(schema.files)
                    .where(f.key.in_(part))
                    .values(state=ActivityState.GONE.value, due_at=None)
                )
            # Files that were still to be sent have no record to hang on.
            connection.execute(
                update(schema.files)
                .where(f.mail_id == undoing.mail_id)
                .values(due_at=None)
            )
            rows = _logged(connection, undoing.mail_id)
            apply_event(
                connection, Event.UNDO, rows, actor, now, trace=dump_steps(steps)
            )
            _release(connection, undoing.mail_id, str(owner))

        await self._context.write(work)

    async def release(self, undoing: Undoing, owner: LeaseOwner) -> None:
        """Let go of the mail; nothing happens where it is not held any more."""
        await self._context.write(lambda c: _release(c, undoing.mail_id, str(owner)))


def _begin(
    connection: Connection, message_id: str, owner: str, now: int, until: int
) -> Undoing:
    query = select(m.state, m.mail_id).where(m.id == message_id)
    message = connection.execute(query).first()
    if message is None:
        text = f"there is no message {message_id}"
        raise NotFound(text)
    if message.state != State.LOGGED or message.mail_id is None:
        text = f"{message_id} is {message.state}; only what is logged can be undone"
        raise Conflict(text)
    mail_id = message.mail_id
    taken = connection.execute(
        update(mails)
        .where(
            mails.c.id == mail_id,
            mails.c.lease_owner.is_(None) | (mails.c.lease_until < now),
        )
        .values(lease_owner=owner, lease_until=until)
        .returning(mails.c.id)
    ).first()
    busy = select(m.id).where(
        m.mail_id == mail_id, m.state.in_([State.QUEUED, State.CLAIMED])
    )
    at_files = select(f.id).where(f.mail_id == mail_id, f.lease_until >= now)
    if taken is None or any(
        connection.scalar(one.limit(1)) is not None for one in (busy, at_files)
    ):
        text = "a worker is busy with this mail, or it is queued; try again in a moment"
        raise Conflict(text)
    rows = [
        activity_of(row)
        for row in connection.execute(
            select(schema.activities).where(a.mail_id == mail_id).order_by(a.id)
        )
    ]
    if any(row.state is ActivityState.SENT for row in rows):
        text = "the outcome of a write of this mail is not known yet; try again later"
        raise Conflict(text)
    there = [ActivityState.WRITTEN.value, ActivityState.LINKED.value]
    files = files_on_records().where(f.mail_id == mail_id, f.state.in_(there))
    return Undoing(
        mail_id,
        _logged_users(connection, mail_id),
        tuple(row for row in rows if row.state is ActivityState.WRITTEN),
        tuple(file_of(row) for row in connection.execute(files.order_by(f.id))),
    )


def _logged_users(connection: Connection, mail_id: int) -> tuple[tuple[str, str], ...]:
    query = (
        select(m.id, schema.users.c.email)
        .outerjoin(schema.users, schema.users.c.id == m.user_id)
        .where(m.mail_id == mail_id, m.state == State.LOGGED)
    )
    rows = connection.execute(query.order_by(m.id))
    return tuple((row.id, row.email or "") for row in rows)


def _logged(connection: Connection, mail_id: int) -> list[Row[Any]]:
    query = select(schema.messages).where(m.mail_id == mail_id, m.state == State.LOGGED)
    return list(connection.execute(query.order_by(m.id).with_for_update()).all())


def _release(connection: Connection, mail_id: int, owner: str) -> None:
    connection.execute(
        update(mails)
        .where(mails.c.id == mail_id, mails.c.lease_owner == owner)
        .values(lease_owner=None, lease_until=None)
    )
