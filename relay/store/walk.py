"""Walking the ledger from end to end, for the audit; and taking back what is missing.

Reading goes by pages in the order of the rows, so that the size of the ledger does not
matter. `rewrite` is the one way on which a written row becomes planned again: an audit
found that Salesforce does not have the record, and a person wants it there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, or_, select, update

from relay.core.states import (
    ACTIVITY_BY_AUDIT,
    FILE_BY_AUDIT,
    ActivityState,
    Event,
    State,
)
from relay.store import schema
from relay.store.access import SLOWEST_ROWS_S, Access
from relay.store.audit import write_audit
from relay.store.files import file_of, files_on_records
from relay.store.interventions import apply_event
from relay.store.ledger import activity_of
from relay.store.values import chunks, stamp

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Row

    from relay.core.files import FileRow
    from relay.core.model import Activity

a = schema.activities.c
f = schema.files.c
m = schema.messages.c
mails = schema.mails


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """A row of the ledger, its place in the walk, and the messages it is for."""

    number: int
    activity: Activity
    messages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FileLedgerRow:
    """A file on a record, its place in the walk, and the messages it is for."""

    number: int
    file: FileRow
    messages: tuple[str, ...]


class LedgerWalk(Access):
    """Operations of the audit."""

    async def ledger_count(self, since: datetime | None) -> int:
        """Return how many rows a walk will see."""
        query = select(func.count()).select_from(schema.activities).where(*_from(since))
        return await self._read(lambda c: int(c.scalar(query) or 0))

    async def ledger_page(
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
            of_mail = _messages(connection, rows)
            return [
                LedgerRow(row.id, activity_of(row), of_mail.get(row.mail_id, ()))
                for row in rows
            ]

        return await self._read(work)

    async def files_page(
        self, since: datetime | None, after: int, limit: int
    ) -> list[FileLedgerRow]:
        """Return the next files, as `ledger_page` returns records."""
        begins = (
            []
            if since is None
            else [or_(f.created_at >= (at := stamp(since)), f.sent_at >= at)]
        )
        query = (
            files_on_records().where(f.id > after, *begins).order_by(f.id).limit(limit)
        )

        def work(connection: Connection) -> list[FileLedgerRow]:
            rows = connection.execute(query).all()
            of_mail = _messages(connection, rows)
            return [
                FileLedgerRow(row.id, file_of(row), of_mail.get(row.mail_id, ()))
                for row in rows
            ]

        return await self._read(work)

    async def files_known(self, keys: Collection[str]) -> set[str]:
        """Return those of the keys that a file has, of whatever age."""

        def work(connection: Connection) -> set[str]:
            found: set[str] = set()
            for part in chunks(sorted(keys)):
                found.update(connection.scalars(select(f.key).where(f.key.in_(part))))
            return found

        return await self._read(work)

    async def files_gone(self, keys: Collection[str]) -> None:
        """Note that somebody has deleted these files."""
        await self._move_files(
            keys, {"state": ActivityState.GONE.value, "due_at": None}
        )

    async def files_rewrite(self, keys: Collection[str], actor: str) -> set[str]:
        """Have files sent again that Salesforce does not have any more.

        Returns:
            The keys for which that was done; a file in a worker's hands is left alone.
        """
        now = self._now()
        values = {
            "state": ActivityState.PLANNED.value,
            "version_id": None,
            "document_id": None,
            "sent_at": None,
            "due_at": now,
            "error": "",
            "lookups": 0,
            "failures": 0,
        }
        subject = f"{len(keys)} missing files"
        return await self._move_files(keys, values, (actor, subject))

    async def _move_files(
        self,
        keys: Collection[str],
        values: dict[str, Any],
        noted: tuple[str, str] | None = None,
    ) -> set[str]:
        """Change files that are linked and in nobody's hands; return their keys."""
        if not keys:
            return set()
        now = self._now()
        free = or_(f.lease_until.is_(None), f.lease_until < now)
        fit = [state.value for state in FILE_BY_AUDIT]

        def work(connection: Connection) -> set[str]:
            done: set[str] = set()
            for part in chunks(sorted(keys)):
                changed = connection.execute(
                    update(schema.files)
                    .where(f.key.in_(part), f.state.in_(fit), free)
                    .values(values)
                    .returning(f.key)
                )
                done.update(row.key for row in changed)
            if done and noted:
                actor, subject = noted
                write_audit(
                    connection, now, actor, "files_rewrite", (subject, None, None)
                )
            return done

        return await self._write(work, more_s=len(keys) / SLOWEST_ROWS_S)

    async def ledger_latest(self, sobject: str, limit: int) -> list[Activity]:
        """Return the rows of an object that were written last, the newest first."""
        query = (
            select(schema.activities)
            .where(a.object == sobject, a.state == ActivityState.WRITTEN)
            .order_by(a.id.desc())
            .limit(limit)
        )
        return await self._read(
            lambda c: [activity_of(row) for row in c.execute(query)]
        )

    async def ledger_known(self, keys: Collection[str]) -> set[str]:
        """Return those of the keys that have a row, of whatever age."""

        def work(connection: Connection) -> set[str]:
            found: set[str] = set()
            for part in chunks(sorted(keys)):
                found.update(connection.scalars(select(a.key).where(a.key.in_(part))))
            return found

        return await self._read(work)

    async def ledger_gone(self, keys: Collection[str]) -> int:
        """Note that somebody has deleted these records; return how many were new."""

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

        return await self._write(work, more_s=len(keys) / SLOWEST_ROWS_S)

    async def rewrite(self, keys: Collection[str], actor: str) -> dict[str, list[str]]:
        """Have records written again that Salesforce does not have any more.

        A row becomes planned, and the logged messages of its mail are queued. A mail
        that a worker holds, or of which no message is logged, is left as it is.

        Returns:
            The requeued messages by key; a key that was left out is not in it.
        """
        now = self._now()

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

        done = await self._write(work, more_s=len(keys) / SLOWEST_ROWS_S)
        if done:
            self._ring()
        return done


def _from(since: datetime | None) -> list[Any]:
    if since is None:
        return []
    at = stamp(since)
    return [or_(a.created_at >= at, a.sent_at >= at)]


def _messages(
    connection: Connection, rows: Sequence[Row[Any]]
) -> dict[int, tuple[str, ...]]:
    """Return the messages of each mail that one of the rows is for."""
    of_mail: dict[int, tuple[str, ...]] = {}
    for part in chunks({row.mail_id for row in rows}):
        named = select(m.id, m.mail_id).where(m.mail_id.in_(part))
        for message in connection.execute(named.order_by(m.id)):
            before = of_mail.get(message.mail_id, ())
            of_mail[message.mail_id] = (*before, message.id)
    return of_mail


def _free(keys: Sequence[str], now: int) -> Any:
    """Return the rows that may be taken back: written, and nobody works on the mail."""
    fit = [state.value for state in ACTIVITY_BY_AUDIT]
    free = or_(mails.c.lease_owner.is_(None), mails.c.lease_until < now)
    return (
        select(schema.activities)
        .join(mails, mails.c.id == a.mail_id)
        .where(a.key.in_(keys), a.state.in_(fit), free)
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
